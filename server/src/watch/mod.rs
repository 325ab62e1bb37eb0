//! A running server for those who watch it: a page, the same as JSON, metrics for Prometheus, and whether it lives.
//!
//! Read-only, on an address that is this machine's own: whoever should see it from elsewhere gets there through something that asks who
//! they are. Off unless `watch` names the address.
//!
//! | path | what |
//! |---|---|
//! | `/` | a page that reads itself again every few seconds |
//! | `/status.json` | [`Watched`], the same content |
//! | `/metrics` | Prometheus text exposition |
//! | `/health` | 200 while the server serves and nothing is stalled, else 503; a line for each alarm |

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tracing::warn;

use crate::admin::{AdminReply, AdminRequest, Status, execute};
use crate::error::FileError;
use crate::federation::Federation;
use crate::live::Live;

pub mod alarm;
mod metrics;
mod page;

use alarm::{Alarm, alarms};

/// Watchers at a time.
const WATCHERS: usize = 32;
/// How long a watcher may take to say what it wants.
const ASK: Duration = Duration::from_secs(10);

/// The schema of `status.json`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Watched {
    /// How things are.
    pub status: Status,
    /// What to look at.
    pub alarms: Vec<Alarm>,
}

/// The listening end.
pub struct Watch {
    listener: TcpListener,
}

impl Watch {
    /// Listens. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`FileError`] naming the address.
    pub fn listen(address: SocketAddr) -> Result<Self, FileError> {
        let listen = || {
            let listener = std::net::TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            TcpListener::from_std(listener)
        };
        let in_use = |why| FileError::new(address.to_string().as_ref(), why);
        Ok(Self { listener: listen().map_err(in_use)? })
    }

    /// Answers until cancelled.
    pub async fn serve(self, federation: Arc<Federation>, live: Arc<Live>) {
        let seats = Arc::new(Semaphore::new(WATCHERS));
        loop {
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    warn!(%error, "the watchers' port");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            // One too many is hung up on.
            let Ok(seat) = Arc::clone(&seats).try_acquire_owned() else { continue };
            let (federation, live) = (Arc::clone(&federation), Arc::clone(&live));
            tokio::spawn(async move {
                let service =
                    service_fn(|request| answer(request, Arc::clone(&federation), Arc::clone(&live)));
                let mut http = http1::Builder::new();
                http.timer(TokioTimer::new()).header_read_timeout(ASK).keep_alive(false);
                // A watcher that goes away is no news.
                let _ = http.serve_connection(TokioIo::new(stream), service).await;
                drop(seat);
            });
        }
    }
}

async fn answer(
    request: Request<Incoming>,
    federation: Arc<Federation>,
    live: Arc<Live>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Ok(reply(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "only GET\n".into()));
    }
    let now = federation.clock.now();
    let asked = move || execute(&federation, Some(&live), AdminRequest::Status);
    let status = match tokio::task::spawn_blocking(asked).await {
        Ok(AdminReply::Status(status)) => *status,
        Ok(AdminReply::Failed(why)) => {
            return Ok(reply(StatusCode::SERVICE_UNAVAILABLE, "text/plain", why + "\n"));
        }
        _ => return Ok(reply(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", "no status\n".into())),
    };
    let alarms = alarms(&status, now);
    Ok(match request.uri().path() {
        "/" => reply(StatusCode::OK, "text/html; charset=utf-8", page::page(&status, &alarms, now)),
        "/status.json" => match serde_json::to_string_pretty(&Watched { status, alarms }) {
            Ok(text) => reply(StatusCode::OK, "application/json", text),
            Err(why) => reply(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", format!("{why}\n")),
        },
        "/metrics" => {
            reply(StatusCode::OK, "text/plain; version=0.0.4", metrics::exposition(&status, &alarms))
        }
        "/health" => health(&alarms),
        _ => reply(StatusCode::NOT_FOUND, "text/plain", "/, /status.json, /metrics or /health\n".into()),
    })
}

/// A certificate that will end is worth a look and no reason to start a server again.
fn health(alarms: &[Alarm]) -> Response<Full<Bytes>> {
    let ill = alarms.iter().any(|alarm| alarm.kind == "stalled" || alarm.kind == "stopped");
    let mut text = String::from(if ill { "ill\n" } else { "well\n" });
    alarms.iter().for_each(|alarm| text.push_str(&format!("{}: {}\n", alarm.kind, alarm.text)));
    reply(if ill { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }, "text/plain", text)
}

fn reply(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let reply = Response::builder()
        .status(status)
        .header(CONTENT_TYPE, kind)
        .header(CACHE_CONTROL, "no-store")
        .header(
            CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
        )
        .body(Full::new(Bytes::from(body)));
    reply.expect("constant headers are headers")
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use super::*;
    use crate::admin::{ClientLine, RoundLine};
    use crate::clock::WallClock;
    use crate::federation::Founding;
    use crate::live::Running;
    use somnus_protocol::ids::{Round, Version};

    pub(super) fn status() -> Status {
        let client = |name: &str, connected| ClientLine {
            name: name.parse().unwrap(),
            connected,
            revoked: false,
            certificate_expires: 1_000_000 + 60 * 24 * 3600,
        };
        let round = |n| RoundLine {
            round: Round(n),
            outcome: format!("release {n}"),
            selected: 3,
            counted: 3,
            evaluated: None,
            loss: 0.5,
            millis: 1500,
            epsilon: None,
        };
        Status {
            federation: "night".into(),
            authority: "00".repeat(32),
            address: None,
            running: Some(Running {
                listening: "127.0.0.1:1".parse().unwrap(),
                phase: "collecting".into(),
                round: Round(4),
                version: Version(3),
                finished: false,
                connected: ["ann".parse().unwrap()].into(),
            }),
            release: Some(Version(3)),
            clients: vec![client("ann", true), client("bob", false)],
            invitations: Vec::new(),
            rounds: (1..4).map(round).collect(),
            audit: Vec::new(),
            budget: None,
        }
    }

    fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: watch\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_server_is_watched_over_http() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("fed");
        let founding = Founding {
            name: "night".into(),
            listen: "127.0.0.1:0".parse().unwrap(),
            public: Vec::new(),
            model: None,
            plain: true,
        };
        Federation::create(&folder, &founding, &WallClock::system()).unwrap();
        let federation = Arc::new(Federation::open(&folder, WallClock::system()).unwrap());
        let (live, _) = Live::new("127.0.0.1:5555".parse().unwrap());
        let watch = Watch::listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = watch.listener.local_addr().unwrap();
        let serving = tokio::spawn(watch.serve(federation, Arc::new(live)));
        let asked = tokio::task::spawn_blocking(move || {
            ["/", "/status.json", "/metrics", "/health", "/etc/passwd"].map(|path| get(address, path))
        });
        let [page, json, metrics, health, other] = asked.await.unwrap();
        assert!(page.starts_with("HTTP/1.1 200") && page.contains("<h1>night</h1>"), "{page}");
        let watched: Watched = serde_json::from_str(json.split("\r\n\r\n").nth(1).unwrap()).unwrap();
        assert_eq!(watched.status.federation, "night");
        assert!(metrics.contains("\nsomnus_up 1\n"), "{metrics}");
        assert!(health.starts_with("HTTP/1.1 200") && health.ends_with("well\n"), "{health}");
        assert!(other.starts_with("HTTP/1.1 404"), "{other}");
        serving.abort();
    }
}
