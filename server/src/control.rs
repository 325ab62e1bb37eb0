//! The control socket: operator commands while the server runs, because one process has the store open at a time.
//!
//! A Unix socket in the federation's folder, for its owner alone. One request and one reply, each a line of JSON.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tracing::warn;

use crate::admin::{AdminReply, AdminRequest, execute};
use crate::clock::WallClock;
use crate::error::{FileError, StoreError};
use crate::federation::{Federation, OpenError};
use crate::live::Live;

const NAME: &str = "control.sock";
/// Longest request, bytes.
const MAX_REQUEST: u64 = 16 * 1024;
/// Longest reply, bytes: a status of many clients.
const MAX_REPLY: u64 = 64 * 1024 * 1024;
/// A backup of a large federation takes its time.
const PATIENCE: Duration = Duration::from_secs(600);
/// How long a command waits for another one, or for a server that is starting.
const BUSY: Duration = Duration::from_secs(5);
/// How long an operator's connection may take to say what it wants.
const ASK: Duration = Duration::from_secs(10);

/// Does what an operator asks: through the running server if there is one, else in this process.
///
/// # Errors
/// [`OpenError`] if there is no federation, or neither a server answers nor the store can be opened.
pub fn ask(folder: &Path, request: AdminRequest) -> Result<AdminReply, OpenError> {
    let path = folder.join(NAME);
    let began = Instant::now();
    loop {
        if let Ok(stream) = BlockingStream::connect(&path) {
            return Ok(converse(stream, &request).map_err(|source| FileError::new(&path, source))?);
        }
        // No server has the store: nobody listens, or what listened was killed.
        match Federation::open(folder, WallClock::system()) {
            Ok(federation) => return Ok(execute(&federation, None, request)),
            // A server that is just starting, or another command that is just ending.
            Err(error) if is_busy(&error) && began.elapsed() < BUSY => std::thread::sleep(BUSY / 100),
            Err(error) => return Err(error),
        }
    }
}

/// Opens a federation to serve it; waits a moment for an operator's command that is just using it.
///
/// # Errors
/// As [`Federation::open`].
pub fn open_to_serve(folder: &Path, clock: &WallClock) -> Result<Federation, OpenError> {
    let began = Instant::now();
    loop {
        match Federation::open(folder, clock.clone()) {
            Err(error) if is_busy(&error) && began.elapsed() < BUSY => std::thread::sleep(BUSY / 100),
            other => return other,
        }
    }
}

fn is_busy(error: &OpenError) -> bool {
    matches!(error, OpenError::Store(StoreError::Busy { .. }))
}

fn converse(mut stream: BlockingStream, request: &AdminRequest) -> io::Result<AdminReply> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut reply = Vec::new();
    BufReader::new(stream.take(MAX_REPLY)).read_until(b'\n', &mut reply)?;
    if reply.is_empty() {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server hung up without an answer"));
    }
    Ok(serde_json::from_slice(&reply)?)
}

/// The listening end. Removed when dropped.
pub struct Control {
    listener: UnixListener,
    path: PathBuf,
}

impl Control {
    /// Listens in the folder of a federation that this process has open; what a killed server left there is replaced.
    ///
    /// # Errors
    /// [`StoreError`] naming the path.
    pub fn listen(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.join(NAME);
        let fresh = folder.join("control.new");
        let failed = |source: io::Error| {
            let long = source.kind() == io::ErrorKind::InvalidInput;
            let why = "the folder's path is too long for a Unix socket (about 100 bytes)";
            FileError::new(
                &path,
                if long { io::Error::new(io::ErrorKind::InvalidInput, why) } else { source },
            )
        };
        // It gets its mode before it gets its name: nobody else can connect in between.
        let _ = fs::remove_file(&fresh);
        let listener = UnixListener::bind(&fresh).map_err(failed)?;
        fs::set_permissions(&fresh, fs::Permissions::from_mode(0o600)).map_err(failed)?;
        fs::rename(&fresh, &path).map_err(failed)?;
        Ok(Self { listener, path })
    }

    /// Answers until cancelled.
    pub async fn serve(&self, federation: Arc<Federation>, live: Arc<Live>) {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let (federation, live) = (Arc::clone(&federation), Arc::clone(&live));
                    tokio::spawn(async move {
                        if let Err(error) = answer(stream, federation, live).await {
                            warn!(%error, "an operator's request was not answered");
                        }
                    });
                }
                Err(error) => {
                    warn!(%error, "the control socket");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // A socket that stays behind is replaced by the next server.
        let _ = fs::remove_file(&self.path);
    }
}

async fn answer(stream: UnixStream, federation: Arc<Federation>, live: Arc<Live>) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    let mut reader = tokio::io::BufReader::new(read.take(MAX_REQUEST));
    tokio::time::timeout(ASK, reader.read_line(&mut line)).await??;
    let reply = match serde_json::from_str::<AdminRequest>(&line) {
        Ok(request) => {
            tokio::task::spawn_blocking(move || execute(&federation, Some(&live), request)).await?
        }
        Err(error) => AdminReply::Failed(format!("not a request: {error}")),
    };
    let mut text = serde_json::to_vec(&reply)?;
    text.push(b'\n');
    write.write_all(&text).await?;
    write.shutdown().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::federation::Founding;

    fn founded(folder: &Path) {
        let founding = Founding {
            name: "night".into(),
            listen: "127.0.0.1:0".parse().unwrap(),
            public: Vec::new(),
            model: None,
            plain: true,
        };
        Federation::create(folder, &founding, &WallClock::system()).unwrap();
    }

    fn name(text: &str) -> somnus_protocol::ids::ClientId {
        text.parse().unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn commands_work_with_and_without_a_server() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("fed");
        founded(&folder);
        let invite = || AdminRequest::Invite { name: name("ann"), life: 60 };
        // Port 0 is for a server that runs.
        let reply = ask(&folder, invite()).unwrap();
        assert!(
            matches!(&reply, AdminReply::Failed(why) if why.contains("start the server first")),
            "{reply:?}"
        );

        let federation = Arc::new(Federation::open(&folder, WallClock::system()).unwrap());
        let control = Control::listen(&folder).unwrap();
        let mode = fs::metadata(folder.join(NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let (live, mut dropped) = Live::new("127.0.0.1:5555".parse().unwrap());
        let server = Arc::clone(&federation);
        let serving = tokio::spawn(async move { control.serve(server, Arc::new(live)).await });
        let there = folder.clone();
        let run = move |request| {
            let folder = there.clone();
            async move { tokio::task::spawn_blocking(move || ask(&folder, request).unwrap()).await.unwrap() }
        };
        let AdminReply::Invited { token } = run(invite()).await else { panic!("no token") };
        let token: somnus_protocol::token::Token = token.parse().unwrap_or_else(|_| panic!("no token"));
        assert_eq!(token.server(), "127.0.0.1:5555");
        assert_eq!(run(AdminRequest::Revoke { name: name("ann") }).await, AdminReply::Revoked);
        assert_eq!(dropped.recv().await, Some(name("ann")));
        let out = dir.path().join("backup");
        assert_eq!(run(AdminRequest::Backup { out: out.clone() }).await, AdminReply::BackedUp);
        assert!(out.exists());
        let AdminReply::Status(status) = run(AdminRequest::Status).await else { panic!("no status") };
        assert_eq!(status.invitations[0].state, "withdrawn");
        assert!(status.running.is_some());
        serving.abort();
        let _ = serving.await;
        assert!(!folder.join(NAME).exists());
        drop(federation);

        let AdminReply::Status(status) = ask(&folder, AdminRequest::Status).unwrap() else {
            panic!("no status")
        };
        assert!(status.running.is_none() && status.address.is_none());
        let unknown = ask(&folder, AdminRequest::Revoke { name: name("bob") }).unwrap();
        assert_eq!(unknown, AdminReply::Failed("bob is neither enrolled nor invited".into()));
        assert!(matches!(ask(dir.path(), AdminRequest::Status), Err(OpenError::Missing(_))));
    }
}
