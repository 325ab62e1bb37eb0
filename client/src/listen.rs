//! `listen`: devices of this machine stream samples into a Unix socket, line by line, and nights come out.

use std::fs::{self, Permissions};
use std::future::Future;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream as Probe;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use somnus_signals::DataError;
use somnus_signals::live::{GAP, Line, Recorder};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, interval, sleep_until};
use tracing::{info, warn};

/// Devices at once. Who comes later waits.
const DEVICES: usize = 16;
/// Lines between a device and the disk; a device that is faster than the disk waits.
const WAITING: usize = 4096;
/// At most this much of a night is lost with the power.
const FLUSH: Duration = Duration::from_secs(5);

/// Why nothing can be listened to.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The socket is taken.
    #[error("{}: another program listens here already", .0.display())]
    Taken(PathBuf),
    /// Something else has the socket's name.
    #[error("{}: a file that is no socket has this name", .0.display())]
    File(PathBuf),
    /// The system refused.
    #[error("{}: nobody can listen here: {cause}", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// Its reason.
        cause: io::Error,
    },
    /// The nights cannot be written.
    #[error(transparent)]
    Data(#[from] DataError),
}

/// A socket that its owner alone can write to. One that a program left behind is replaced.
///
/// # Errors
/// [`ListenError`] naming it.
pub fn bind(path: &Path) -> Result<UnixListener, ListenError> {
    let refused = |cause| ListenError::Socket { path: path.to_owned(), cause };
    if let Ok(about) = fs::symlink_metadata(path) {
        if !about.file_type().is_socket() {
            return Err(ListenError::File(path.to_owned()));
        }
        if Probe::connect(path).is_ok() {
            return Err(ListenError::Taken(path.to_owned()));
        }
        fs::remove_file(path).map_err(refused)?;
    }
    let listener = UnixListener::bind(path).map_err(refused)?;
    fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(refused)?;
    Ok(listener)
}

/// Records until `stop` is done. A night that goes on then is gone on with at the next start, if that is soon.
///
/// # Errors
/// [`DataError`] when the disk refuses: the device is not to believe that its night is kept.
pub async fn listen(
    listener: UnixListener,
    recorder: Recorder,
    stop: impl Future<Output = ()>,
) -> Result<(), DataError> {
    record(listener, recorder, GAP, stop).await
}

/// A night is over after so much silence.
async fn record(
    listener: UnixListener,
    mut recorder: Recorder,
    silence: Duration,
    stop: impl Future<Output = ()>,
) -> Result<(), DataError> {
    let (lines, mut heard) = mpsc::channel(WAITING);
    let devices = tokio::spawn(accept(listener, lines));
    let mut disk = interval(FLUSH);
    let mut over = Instant::now() + silence;
    tokio::pin!(stop);
    let ended = loop {
        let finished = tokio::select! {
            Some(line) = heard.recv() => {
                over = Instant::now() + silence;
                write(&mut recorder, line)
            }
            _ = disk.tick() => recorder.flush().map(|()| None),
            () = sleep_until(over), if recorder.is_recording() => recorder.finish(),
            () = &mut stop => break Ok(()),
        };
        match finished {
            Ok(folder) => tell(folder.as_deref()),
            Err(error) => break Err(error),
        }
    };
    devices.abort();
    // Until it is gone, the socket is not free.
    let _ = devices.await;
    ended?;
    // What a device was not told to be lost is not to be lost.
    heard.close();
    while let Some(line) = heard.recv().await {
        tell(write(&mut recorder, line)?.as_deref());
    }
    recorder.flush()
}

fn write(recorder: &mut Recorder, line: Line) -> Result<Option<PathBuf>, DataError> {
    match line {
        Line::Sample(sample) => recorder.push(&sample),
        Line::End => recorder.finish(),
        Line::Nothing => Ok(None),
    }
}

fn tell(finished: Option<&Path>) {
    if let Some(folder) = finished {
        info!(folder = %folder.display(), "a night is recorded");
    }
}

async fn accept(listener: UnixListener, lines: mpsc::Sender<Line>) {
    let places = Arc::new(Semaphore::new(DEVICES));
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        match listener.accept().await {
            Ok((device, _)) => {
                let lines = lines.clone();
                tokio::spawn(async move {
                    if let Err(error) = hear(device, lines).await {
                        warn!(%error, "a device was lost");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                warn!(%error, "a device cannot connect");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// One device. A line that is none is answered, `error LINE: why`, and passed over.
async fn hear(device: UnixStream, lines: mpsc::Sender<Line>) -> io::Result<()> {
    let (read, mut write) = device.into_split();
    let mut read = BufReader::new(read);
    let mut bytes = Vec::new();
    for number in 1_u64.. {
        bytes.clear();
        if (&mut read).take(Line::LONGEST as u64).read_until(b'\n', &mut bytes).await? == 0 {
            break;
        }
        match Line::sent(&bytes) {
            Ok(line) => {
                if lines.send(line).await.is_err() {
                    break;
                }
            }
            Err(why) => write.write_all(format!("error {number}: {why}\n").as_bytes()).await?,
        }
        if !bytes.ends_with(b"\n") {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use somnus_signals::{Layout, PersonId, StreamKind};
    use tokio::sync::oneshot;

    use super::*;

    fn recorder(dir: &Path) -> Recorder {
        Recorder::open(dir, PersonId::new("anna").unwrap()).unwrap()
    }

    #[tokio::test]
    async fn what_a_device_streams_becomes_a_night() {
        let dir = tempfile::tempdir().unwrap();
        let (socket, data) = (dir.path().join("socket"), dir.path().join("nights"));
        let listener = bind(&socket).unwrap();
        assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(bind(&socket), Err(ListenError::Taken(_))));
        let (stop, stopped) = oneshot::channel::<()>();
        let going = tokio::spawn(listen(listener, recorder(&data), async {
            let _ = stopped.await;
        }));
        let mut device = UnixStream::connect(&socket).await.unwrap();
        let mut text = String::from("# a strap\nhr 1773090000 60\npulse 1 2\n");
        (1..1000).for_each(|i| writeln!(text, "hr {} {}", 1_773_090_000 + i * 5, 60 + i % 7).unwrap());
        text.push_str("hr 1773099999 0\nend\n");
        device.write_all(text.as_bytes()).await.unwrap();
        device.shutdown().await.unwrap();
        let mut answer = String::new();
        device.read_to_string(&mut answer).await.unwrap();
        let answers: Vec<&str> = answer.lines().collect();
        assert!(answers[0].starts_with("error 3: \"pulse\" is nothing that is measured"), "{answer}");
        assert_eq!(answers[1..], ["error 1003: no body has 0 bpm of hr"]);
        // Cut off within a value.
        let mut cut = UnixStream::connect(&socket).await.unwrap();
        cut.write_all(b"hr 1773090000 6").await.unwrap();
        cut.shutdown().await.unwrap();
        answer.clear();
        cut.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "error 1: a line without an end\n");
        // Another device, which waits until the first one's lines are written: one channel carries both.
        let mut other = UnixStream::connect(&socket).await.unwrap();
        other.write_all("x".repeat(5000).as_bytes()).await.unwrap();
        answer.clear();
        let _ = other.read_to_string(&mut answer).await;
        assert_eq!(answer, "error 1: longer than 1024 bytes\n");
        while !data
            .read_dir()
            .unwrap()
            .any(|entry| !entry.unwrap().file_name().to_string_lossy().starts_with('.'))
        {
            tokio::task::yield_now().await;
        }
        stop.send(()).unwrap();
        going.await.unwrap().unwrap();
        let night = Layout::detect(&data).unwrap().load(&data).unwrap().remove(0);
        assert_eq!(
            (night.id().as_str(), night.streams[&StreamKind::Hr].len()),
            ("anna/2026-03-09T21-00-00Z", 1000)
        );
        // The program is gone and its socket is not: the next one takes its place.
        drop(bind(&socket).unwrap());
        fs::write(dir.path().join("file"), "").unwrap();
        assert!(matches!(bind(&dir.path().join("file")), Err(ListenError::File(_))));
    }

    #[tokio::test]
    async fn a_stop_loses_no_line_that_was_taken() {
        let dir = tempfile::tempdir().unwrap();
        let (socket, data) = (dir.path().join("socket"), dir.path().join("nights"));
        let listener = bind(&socket).unwrap();
        let mut device = UnixStream::connect(&socket).await.unwrap();
        let mut text = String::new();
        (0..2000).for_each(|i| writeln!(text, "hr {} 60", 1_773_090_000 + i * 5).unwrap());
        text.push_str("no line\n");
        device.write_all(text.as_bytes()).await.unwrap();
        // Answered, the last line was read, and those before it are on their way.
        let answered = async { assert_eq!(device.read_u8().await.unwrap(), b'e') };
        listen(listener, recorder(&data), answered).await.unwrap();
        recorder(&data).finish().unwrap();
        let night = Layout::detect(&data).unwrap().load(&data).unwrap().remove(0);
        assert_eq!(night.streams[&StreamKind::Hr].len(), 2000);
    }

    #[tokio::test]
    async fn silence_ends_a_night_and_a_stop_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("socket");
        let mut before = recorder(dir.path());
        let Line::Sample(sample) = "hr 1773090000 60".parse().unwrap() else { panic!("a sample") };
        before.push(&sample).unwrap();
        before.flush().unwrap();
        drop(before);
        listen(bind(&socket).unwrap(), recorder(dir.path()), std::future::ready(())).await.unwrap();
        assert!(Layout::detect(dir.path()).is_err());
        let shown = async {
            while Layout::detect(dir.path()).is_err() {
                tokio::task::yield_now().await;
            }
        };
        record(bind(&socket).unwrap(), recorder(dir.path()), Duration::ZERO, shown).await.unwrap();
        assert_eq!(Layout::detect(dir.path()).unwrap().load(dir.path()).unwrap().len(), 1);
    }
}
