//! The server's folder, its process, and the enrolment of everybody by the programs that people use.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde::Deserialize;
use somnus_protocol::ids::ClientId;
use tempfile::TempDir;

use super::{LoadConfig, LoadError, Stage, resident_kib};
use crate::steady;

/// Enrolments at a time.
const HANDS: usize = 4;

/// A federation on this machine.
pub(super) struct Place {
    folder: TempDir,
    programs: PathBuf,
    address: SocketAddr,
    clients: u32,
}

/// A client's identity as the programs left it.
#[derive(Clone)]
pub(super) struct Card {
    pub(super) name: ClientId,
    /// Base64.
    pub(super) certificate: String,
    /// PEM.
    pub(super) key: String,
}

/// What a client's folder says of its membership.
#[derive(Deserialize)]
struct Membership {
    certificate: String,
}

/// A server that listens, until it is dropped.
pub(super) struct Server {
    child: Child,
    pub(super) address: SocketAddr,
    pub(super) masked: bool,
}

impl Place {
    /// Makes the federation.
    pub(super) fn found(config: &LoadConfig) -> Result<Self, LoadError> {
        let folder = tempfile::tempdir()?;
        let program = std::env::current_exe()?;
        let programs = program.parent().unwrap_or(Path::new(".")).to_owned();
        let address = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let place = Self { folder, programs, address, clients: config.clients };
        let model = place.path("model.safetensors");
        fs::write(&model, steady::checkpoint(config.weights)?)?;
        let listen = address.to_string();
        let mut init = place.program("somnus-server");
        init.args(["init", "--name", "load", "--listen", &listen, "--model"]).arg(model);
        said(init.arg(place.server()))?;
        Ok(place)
    }

    /// Enrols everybody, by `invite` and `enrol`, while the server runs.
    pub(super) fn enrol(&self, clients: u32) -> Result<Vec<Card>, LoadError> {
        let _server = self.serve(&Stage { masked: false, cohort: 1, rounds: 1 }, 1)?;
        let next = AtomicU32::new(0);
        let work = || -> Result<Vec<(u32, Card)>, LoadError> {
            let mut cards = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= clients {
                    return Ok(cards);
                }
                cards.push((number, self.enrol_one(number)?));
            }
        };
        let mut cards = std::thread::scope(|scope| {
            let hands: Vec<_> = (0..HANDS).map(|_| scope.spawn(work)).collect();
            let mut cards = Vec::new();
            for hand in hands {
                cards.extend(hand.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
            }
            Ok::<_, LoadError>(cards)
        })?;
        cards.sort_by_key(|(number, _)| *number);
        Ok(cards.into_iter().map(|(_, card)| card).collect())
    }

    fn enrol_one(&self, number: u32) -> Result<Card, LoadError> {
        let name = format!("client-{number:05}");
        let token = said(self.program("somnus-server").args(["invite", &name, "--dir"]).arg(self.server()))?;
        let folder = self.path("clients").join(&name);
        said(self.program("somnus-client").args(["enrol", &token, "--dir"]).arg(&folder))?;
        let membership: Membership =
            serde_json::from_str(&fs::read_to_string(folder.join("federation.json"))?)
                .map_err(std::io::Error::from)?;
        let key = fs::read_to_string(folder.join("hub.key"))?;
        let id = name.parse().map_err(|why| LoadError::Client { client: name, why: format!("{why}") })?;
        Ok(Card { name: id, certificate: membership.certificate, key })
    }

    /// Starts the server for a stage, up to release number `releases`, and waits until it listens.
    pub(super) fn serve(&self, stage: &Stage, releases: u64) -> Result<Server, LoadError> {
        let config = self.server().join("server.toml");
        fs::write(config, self.config(stage, releases))?;
        let log = File::options().create(true).append(true).open(self.path("server.log"))?;
        let mut command = self.program("somnus-server");
        command.args(["serve", "--dir"]).arg(self.server());
        let child = command.stdout(Stdio::piped()).stderr(log).spawn();
        let mut child = child.map_err(|why| failed(&command, &why.to_string()))?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let server = Server { child, address: self.address, masked: stage.masked };
        if line.contains("listening on") { Ok(server) } else { Err(failed(&command, &self.last_line())) }
    }

    /// What the authority signs with, PEM.
    pub(super) fn authority(&self) -> Result<String, LoadError> {
        Ok(fs::read_to_string(self.server().join("ca.pem"))?)
    }

    fn config(&self, stage: &Stage, releases: u64) -> String {
        let (Self { address, clients, .. }, Stage { masked, cohort, .. }) = (self, stage);
        // Everybody at once, and those of the last life that the server still remembers.
        format!(
            "name = \"load\"\nlisten = \"{address}\"\n[limits]\nconnections = {}\n[federation]\n\
             danger_plain_aggregation = {}\nrounds = {releases}\ncohort = {cohort}\nmin_clients = {clients}\n\
             min_reports = {cohort}\nweighting = \"uniform\"\nevaluation = \"none\"\nevaluate_every = 0\n\
             average_late = 0.0\n",
            clients + 64,
            !masked,
        )
    }

    fn last_line(&self) -> String {
        let log = fs::read_to_string(self.path("server.log")).unwrap_or_default();
        log.lines().last().unwrap_or("it said nothing").to_owned()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn server(&self) -> PathBuf {
        self.path("server")
    }

    /// A program that lies beside this one.
    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        command.stdin(Stdio::null());
        command
    }
}

impl Server {
    /// Its memory now, KiB.
    pub(super) fn resident_kib(&self) -> u64 {
        resident_kib(self.child.id())
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It can be killed at any time; what it has released is on the disk.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a program to its end; what it printed.
fn said(command: &mut Command) -> Result<String, LoadError> {
    let output = command.output().map_err(|why| failed(command, &why.to_string()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let error = String::from_utf8_lossy(&output.stderr);
    Err(failed(command, error.lines().last().unwrap_or("it failed without a word")))
}

fn failed(command: &Command, why: &str) -> LoadError {
    LoadError::Program { program: command.get_program().to_string_lossy().into_owned(), why: why.to_owned() }
}
