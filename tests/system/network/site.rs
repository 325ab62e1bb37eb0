//! Where a test's machines stand: the server and the hubs in network namespaces of their own, with nothing between them
//! but the relay; or, where the kernel does not allow that, all of them on loopback.

use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// The machines' places.
pub(crate) enum Site {
    /// Two namespaces, each joined to this one.
    Apart {
        /// The server's.
        server: Cell,
        /// The hubs'.
        house: Cell,
    },
    /// One for all.
    Loopback,
}

/// A namespace; it ends with the process that holds it, which ends with its standard input, which ends with this one.
pub(crate) struct Cell {
    holder: Child,
    /// This side's end of the cable.
    cable: String,
    subnet: Ipv4Addr,
}

impl Site {
    /// Namespaces if they can be had; else says by name what is left out.
    pub(crate) fn new(test: &str) -> Self {
        match Self::apart() {
            Ok(site) => site,
            Err(why) => {
                println!("SKIPPED namespaces in {test}: {why}; its machines share loopback");
                Self::Loopback
            }
        }
    }

    /// Namespaces, or why not.
    pub(crate) fn apart() -> Result<Self, String> {
        Ok(Self::Apart { server: Cell::new()?, house: Cell::new()? })
    }

    /// The server's own address.
    pub(crate) fn server(&self) -> Ipv4Addr {
        match self {
            Self::Apart { server, .. } => server.host(2),
            Self::Loopback => Ipv4Addr::LOCALHOST,
        }
    }

    /// Where hubs find the relay.
    pub(crate) fn gate(&self) -> Ipv4Addr {
        match self {
            Self::Apart { house, .. } => house.host(1),
            Self::Loopback => Ipv4Addr::LOCALHOST,
        }
    }

    /// From where the server is spoken to.
    pub(crate) fn outward(&self) -> Vec<Ipv4Addr> {
        match self {
            Self::Apart { server, .. } => vec![server.host(1), server.host(3)],
            Self::Loopback => vec![Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 2)],
        }
    }

    /// The hubs' namespace.
    ///
    /// # Panics
    /// If there is none.
    pub(crate) fn house(&self) -> &Cell {
        match self {
            Self::Apart { house, .. } => house,
            Self::Loopback => panic!("loopback cannot move"),
        }
    }

    /// A command on the server's machine.
    pub(crate) fn at_server(&self, command: Command) -> Command {
        match self {
            Self::Apart { server, .. } => server.inside(&command),
            Self::Loopback => command,
        }
    }

    /// A command on the hubs' machine.
    pub(crate) fn at_house(&self, command: Command) -> Command {
        match self {
            Self::Apart { house, .. } => house.inside(&command),
            Self::Loopback => command,
        }
    }
}

impl Cell {
    /// # Errors
    /// The tool that failed and what it said.
    fn new() -> Result<Self, String> {
        // Of the addresses for benchmarks (RFC 2544), sixteen for each namespace of each process.
        static CELLS: AtomicU32 = AtomicU32::new(0);
        let (process, cell) = (std::process::id(), CELLS.fetch_add(1, Ordering::Relaxed));
        let subnet = Ipv4Addr::from(
            u32::from(Ipv4Addr::new(198, 18, 0, 0)) + 16 * ((process * 64 + cell) % (1 << 13)),
        );
        let holder = Command::new("unshare")
            .args(["--net", "cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("unshare: {error}"))?;
        let mut cell = Self { holder, cable: format!("s{process}n{cell}"), subnet };
        cell.wait()?;
        let (pid, cable) = (cell.holder.id().to_string(), cell.cable.clone());
        ip(&["link", "add", &cable, "type", "veth", "peer", "name", "eth0", "netns", &pid])?;
        for host in [1, 3] {
            ip(&["addr", "add", &cell.within(host), "dev", &cable])?;
        }
        ip(&["link", "set", &cable, "up"])?;
        cell.ip(&["addr", "add", &cell.within(2), "dev", "eth0"])?;
        cell.ip(&["link", "set", "eth0", "up"])?;
        Ok(cell)
    }

    /// Until the holder is in its namespace: it echoes from then on.
    fn wait(&mut self) -> Result<(), String> {
        let forbidden = |_| "the kernel does not let this user make namespaces".to_owned();
        self.holder.stdin.as_mut().expect("a pipe").write_all(b".").map_err(forbidden)?;
        let mut echo = [0];
        self.holder.stdout.as_mut().expect("a pipe").read_exact(&mut echo).map_err(forbidden)
    }

    fn host(&self, host: u32) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.subnet) + host)
    }

    /// The machine in it gives up its address and has another one, 2 to 14, of which 3 is taken.
    pub(crate) fn move_to(&self, host: u32) {
        self.ip(&["addr", "flush", "dev", "eth0"]).expect("addresses can go");
        self.ip(&["addr", "add", &self.within(host), "dev", "eth0"]).expect("and come");
    }

    fn within(&self, host: u32) -> String {
        format!("{}/28", self.host(host))
    }

    fn ip(&self, arguments: &[&str]) -> Result<(), String> {
        let mut command = Command::new("ip");
        done(&mut self.inside(command.args(arguments)))
    }

    fn inside(&self, command: &Command) -> Command {
        let mut inside = Command::new("nsenter");
        inside.arg(format!("--net=/proc/{}/ns/net", self.holder.id())).arg("--");
        inside.arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
        for (key, value) in command.get_envs() {
            if let Some(value) = value {
                inside.env(key, value);
            }
        }
        inside
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        // Nobody is left to be told what fails here.
        let _ = ip(&["link", "del", &self.cable]);
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    done(Command::new("ip").args(arguments))
}

fn done(command: &mut Command) -> Result<(), String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}
