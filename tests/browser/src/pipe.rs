//! A Chromium and the two ends of its DevTools pipe: JSON objects, each ended by a zero byte.

use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::Value;

/// Only a Chromium that hangs takes this long; the test then fails instead of hanging as well.
const PATIENCE: Duration = Duration::from_secs(300);

pub(crate) struct Pipe {
    child: Child,
    to: ChildStdin,
    from: Receiver<Value>,
}

impl Pipe {
    /// Starts `program` with a profile of its own.
    pub(crate) fn open(program: &Path, profile: &Path) -> io::Result<Self> {
        // Chromium reads descriptor 3 and writes 4, which a shell can give it and the standard library cannot.
        let mut child = Command::new("sh")
            .args(["-c", r#"exec "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null 2>&1"#])
            .arg(program)
            .args(["--headless", "--remote-debugging-pipe", "--disable-gpu", "--hide-scrollbars"])
            // Our own pages; and where tests run as root, as in most CI, there is no sandbox to be had.
            .args(["--no-sandbox", "--disable-dev-shm-usage", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update"])
            .arg(format!("--user-data-dir={}", profile.display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (Some(to), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let (sender, from) = channel();
        std::thread::spawn(move || {
            for message in BufReader::new(output).split(0) {
                let Some(message) = message.ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()) else {
                    return;
                };
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, to, from })
    }

    pub(crate) fn send(&mut self, message: &Value) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(message)?;
        bytes.push(0);
        self.to.write_all(&bytes)?;
        self.to.flush()
    }

    pub(crate) fn receive(&mut self) -> io::Result<Value> {
        self.from.recv_timeout(PATIENCE).map_err(io::Error::other)
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        // One that has ended already is what we want.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
