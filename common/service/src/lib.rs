//! What a program owes the service manager that watches over it: sd_notify(3), without its library.
//!
//! systemd names a datagram socket in `NOTIFY_SOCKET` and, with `WatchdogSec=`, a span in `WATCHDOG_USEC`. A service
//! that then says nothing for that long is killed and started again. Without these variables, in a terminal or a
//! test, nothing is said to anybody.

use std::convert::Infallible;
use std::env;
use std::future::{Future, pending};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The manager's ear, if there is one.
#[derive(Debug, Default)]
pub struct Supervisor {
    manager: Option<(UnixDatagram, SocketAddr)>,
    patience: Option<Duration>,
}

impl Supervisor {
    /// Whoever the environment names; a manager that cannot be spoken to is none.
    pub fn from_env() -> Self {
        let manager = env::var_os("NOTIFY_SOCKET").and_then(|name| ear(name.as_bytes()).ok());
        let number = |name| env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        // The variables are inherited; the watchdog waits for one process.
        let for_us = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let patience = number("WATCHDOG_USEC").filter(|&span| span > 0 && for_us).map(Duration::from_micros);
        Self { manager, patience }
    }

    /// The service does its work from now on.
    pub fn ready(&self) {
        self.say("READY=1");
    }

    /// The service is about to end because it was asked to.
    pub fn stopping(&self) {
        self.say("STOPPING=1");
    }

    /// Does `work` and gives signs of life, twice in the time that the manager waits. They come from the task that polls `work`, so
    /// work that spins or blocks its thread is found out. Needs a tokio runtime.
    pub async fn watched<T>(&self, work: impl Future<Output = T>) -> T {
        let beats = async {
            let Some(patience) = self.patience else { return pending::<Infallible>().await };
            let mut beat = tokio::time::interval(patience / 2);
            loop {
                beat.tick().await;
                self.say("WATCHDOG=1");
            }
        };
        tokio::select! {
            done = work => done,
            never = beats => match never {},
        }
    }

    /// A manager that has no time now, or is gone, is none of the service's troubles.
    fn say(&self, what: &str) {
        if let Some((socket, manager)) = &self.manager {
            let _ = socket.send_to_addr(what.as_bytes(), manager);
        }
    }
}

/// A path, or behind an `@` a name that is in no file system.
fn ear(name: &[u8]) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = match name {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        path => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(path))?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn supervisor(name: &[u8], patience: Option<Duration>) -> Supervisor {
        Supervisor { manager: Some(ear(name).unwrap()), patience }
    }

    async fn hears(manager: &tokio::net::UnixDatagram) -> String {
        let mut buffer = [0; 64];
        let length = manager.recv(&mut buffer).await.unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    #[tokio::test]
    async fn a_service_gives_signs_of_life_while_it_works() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = tokio::net::UnixDatagram::bind(&path).unwrap();
        let supervisor = supervisor(path.as_os_str().as_bytes(), Some(Duration::from_millis(2)));
        supervisor.ready();
        // Work that is not done before the manager has heard this.
        let work = async {
            for expected in ["READY=1", "WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1"] {
                assert_eq!(hears(&manager).await, expected);
            }
            7
        };
        assert_eq!(supervisor.watched(work).await, 7);
    }

    #[tokio::test]
    async fn a_manager_without_a_watchdog_hears_of_beginning_and_end_alone() {
        let name = format!("somnus-service-{}", std::process::id());
        let manager = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        manager.set_nonblocking(true).unwrap();
        let manager = tokio::net::UnixDatagram::from_std(manager).unwrap();
        let supervisor = supervisor(format!("@{name}").as_bytes(), None);
        supervisor.ready();
        supervisor.watched(tokio::task::yield_now()).await;
        supervisor.stopping();
        assert_eq!([hears(&manager).await, hears(&manager).await], ["READY=1", "STOPPING=1"]);
    }

    #[test]
    fn a_manager_that_is_gone_disturbs_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        supervisor(path.as_os_str().as_bytes(), None).ready();
        Supervisor::default().ready();
    }
}
