//! Both programs tell a service manager that they work, that they live, and that they are about to stop.

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use crate::harness::{Log, Place, Process, good};

/// A manager that listens all the time, as datagrams that nobody fetches are lost.
struct Manager {
    path: PathBuf,
    words: Receiver<String>,
}

impl Manager {
    fn new(path: PathBuf) -> Self {
        let ear = UnixDatagram::bind(&path).expect("a socket");
        let (sender, words) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 64];
            while let Ok(length) = ear.recv(&mut buffer) {
                let word = String::from_utf8_lossy(&buffer[..length]).into_owned();
                if sender.send(word).is_err() {
                    return;
                }
            }
        });
        Self { path, words }
    }

    /// Starts a program as systemd does that loses patience after a fifth of a second.
    fn start(&self, log: &Log, name: &str, command: &mut Command) -> Process {
        log.start(name, command.env("NOTIFY_SOCKET", &self.path).env("WATCHDOG_USEC", "200000"))
    }

    fn hears(&self) -> String {
        self.words.recv_timeout(Duration::from_secs(240)).expect("the program says something")
    }
}

#[test]
fn both_programs_answer_the_watchdog_until_they_are_stopped() {
    let place = Place::new(1, "");
    let log = Log::new();
    let managers = ["watches-server", "watches-hub"].map(|name| Manager::new(place.path(name)));
    let server = managers[0].start(&log, "server", &mut place.admin(&["serve"]));
    log.until("server", "listening on");
    let name = place.enrol_everybody().remove(0);
    let hub = managers[1].start(&log, &name, &mut place.running(&name));
    log.until(&name, "connected");
    for (manager, process) in managers.iter().zip([server, hub]) {
        assert_eq!(manager.hears(), "READY=1");
        for _ in 0..3 {
            assert_eq!(manager.hears(), "WATCHDOG=1");
        }
        good(Command::new("sh").args(["-c", &format!("kill {}", process.id())]));
        process.done(&log);
        let last = std::iter::repeat_with(|| manager.hears()).find(|word| word != "WATCHDOG=1");
        assert_eq!(last.as_deref(), Some("STOPPING=1"));
    }
}
