//! The commands of `somnus-server`.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use clap::{Args, Parser, Subcommand};
use somnus_protocol::ids::{ClientId, Version};
use somnus_service::Supervisor;
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;

use crate::admin::{AdminReply, AdminRequest, Status};
use crate::backup;
use crate::clock::{Seconds, WallClock};
use crate::control::{ask, open_to_serve};
use crate::driver::{Ending, Options, Server};
use crate::federation::{CONFIG, Federation, Founding, MODEL};
use crate::privacy::{self, Question};
use crate::watch::alarm::alarms;

/// How often `status --watch` looks.
const LOOK: Duration = Duration::from_secs(2);

/// The aggregator of a Somnus federation.
#[derive(Debug, Parser)]
#[command(
    name = "somnus-server",
    version,
    about,
    after_help = "Ends with 0 if it worked, with 1 and one line on standard error if not, with 2 if the command was not understood."
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a federation: certificate authority, server identity, store and configuration.
    Init(Init),
    /// Make an invitation for one hub and print its token.
    Invite {
        /// The name that the hub will have.
        name: ClientId,
        /// How long the invitation is good: a number and s, m, h or d.
        #[arg(long, default_value = "24h", value_parser = span)]
        expires: Duration,
        #[command(flatten)]
        place: Place,
    },
    /// Take a hub off the roster; withdraws its invitations and ends its connection.
    Revoke {
        /// Its name.
        name: ClientId,
        #[command(flatten)]
        place: Place,
    },
    /// Serve the federation.
    Serve {
        /// End once all releases are made.
        #[arg(long)]
        until_finished: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Show clients, invitations, rounds and the running server, and what to look at.
    Status {
        /// As JSON.
        #[arg(long)]
        json: bool,
        /// Again and again, until interrupted.
        #[arg(long, conflicts_with = "json")]
        watch: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Plan the noise that privacy needs, and see what was spent.
    #[command(subcommand)]
    Privacy(PrivacyCommand),
    /// Write a release as a safetensors file.
    Export {
        /// The file to write.
        #[arg(long)]
        out: PathBuf,
        /// Which release; the newest by default.
        #[arg(long)]
        version: Option<u64>,
        #[command(flatten)]
        place: Place,
    },
    /// Write the report of all rounds: a page, JSON and CSV, with as much of people as the server gets to know.
    Report {
        /// The folder to write into.
        #[arg(long)]
        out: PathBuf,
        #[command(flatten)]
        place: Place,
    },
    /// Write everything, private keys included, to one file.
    Backup {
        /// The file to write.
        file: PathBuf,
        #[command(flatten)]
        place: Place,
    },
    /// Make a federation from a backup.
    Restore {
        /// The backup.
        file: PathBuf,
        /// The folder to make.
        dir: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
enum PrivacyCommand {
    /// Print the least noise that makes a guarantee true, and what it does to the model.
    Plan {
        /// As JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        question: Question,
    },
    /// Print what a federation's rounds have told so far.
    Status {
        /// Probability that the guarantee does not hold.
        #[arg(long, default_value_t = 1e-5)]
        delta: f64,
        /// The epsilon that is allowed, to see how much of it is left.
        #[arg(long)]
        epsilon: Option<f64>,
        /// As JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Debug, Args)]
struct Init {
    /// The folder to make.
    dir: PathBuf,
    /// The federation's name [default: the folder's].
    #[arg(long)]
    name: Option<String>,
    /// UDP address and port to listen on.
    #[arg(long, default_value = "[::]:4433")]
    listen: SocketAddr,
    /// Address by which hubs find this server, host:port; may be given several times.
    #[arg(long)]
    public: Vec<String>,
    /// The foundation model (safetensors) to copy into the folder.
    #[arg(long)]
    model: Option<PathBuf>,
    /// Let the server see every single update instead of masked sums. Hubs refuse unless their own configuration agrees.
    #[arg(long)]
    danger_plain_aggregation: bool,
}

#[derive(Debug, Args)]
struct Place {
    /// The federation's folder.
    #[arg(long, default_value = ".")]
    dir: PathBuf,
}

impl Cli {
    /// Does what the command line says.
    ///
    /// # Errors
    /// What stands in the way, for people.
    pub fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Init(init) => init.run(),
            Command::Invite { name, expires, place } => {
                let reply = place.ask(AdminRequest::Invite { name, life: expires.as_secs() })?;
                let AdminReply::Invited { token } = reply else { bail!("unexpected answer") };
                say(&token)
            }
            Command::Revoke { name, place } => {
                place.ask(AdminRequest::Revoke { name: name.clone() })?;
                say(&format!("{name} is revoked"))
            }
            Command::Status { json, watch, place } => loop {
                let AdminReply::Status(status) = place.ask(AdminRequest::Status)? else {
                    bail!("unexpected answer")
                };
                if json {
                    return say(&serde_json::to_string_pretty(&status)?);
                }
                let text = describe(&status, now());
                if !watch {
                    return say(&text);
                }
                // To the upper left, and nothing behind what is written.
                say(&format!("\x1b[H\x1b[J{text}"))?;
                std::thread::sleep(LOOK);
            },
            Command::Privacy(PrivacyCommand::Plan { json, question }) => {
                let answer = question.answer()?;
                say(&if json { serde_json::to_string_pretty(&answer)? } else { answer.describe() })
            }
            Command::Privacy(PrivacyCommand::Status { delta, epsilon, json, place }) => {
                let AdminReply::Privacy(log) = place.ask(AdminRequest::Privacy)? else {
                    bail!("unexpected answer")
                };
                let balance = privacy::balance(log, epsilon, delta)?;
                say(&if json { serde_json::to_string_pretty(&balance)? } else { privacy::describe(&balance) })
            }
            Command::Export { out, version, place } => {
                let request = AdminRequest::Export { out: absolute(&out)?, version: version.map(Version) };
                let AdminReply::Exported { version } = place.ask(request)? else {
                    bail!("unexpected answer")
                };
                say(&format!("release {version} written to {}", out.display()))
            }
            Command::Report { out, place } => {
                place.ask(AdminRequest::Report { out: absolute(&out)? })?;
                say(&format!("written to {}", out.join("report.html").display()))
            }
            Command::Backup { file, place } => {
                place.ask(AdminRequest::Backup { out: absolute(&file)? })?;
                say(&format!("written to {}; it contains the private keys: keep it safe", file.display()))
            }
            Command::Restore { file, dir } => {
                backup::restore(&file, &dir, &WallClock::system())?;
                say(&format!("restored in {}", dir.display()))
            }
            Command::Serve { until_finished, place } => serve(&place.dir, until_finished),
        }
    }
}

impl Init {
    fn run(self) -> anyhow::Result<()> {
        let folder = absolute(&self.dir)?;
        let own = folder.file_name().map_or_else(|| "somnus".into(), |n| n.to_string_lossy().into_owned());
        let founding = Founding {
            name: self.name.unwrap_or(own),
            listen: self.listen,
            public: self.public,
            model: self.model,
            plain: self.danger_plain_aggregation,
        };
        Federation::create(&folder, &founding, &WallClock::system())?;
        let dir = self.dir.display();
        // Without a model there is nothing to serve yet.
        let first = if founding.model.is_none() {
            format!("put a model into {dir}/{MODEL}, ")
        } else {
            String::new()
        };
        say(&format!(
            "a federation is in {dir}; {first}see {dir}/{CONFIG}, then: somnus-server serve --dir {dir}"
        ))
    }
}

impl Place {
    fn ask(&self, request: AdminRequest) -> anyhow::Result<AdminReply> {
        match ask(&self.dir, request)? {
            AdminReply::Failed(why) => bail!(why),
            reply => Ok(reply),
        }
    }
}

fn serve(dir: &Path, until_finished: bool) -> anyhow::Result<()> {
    let federation = open_to_serve(dir, &WallClock::system())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("threads")?;
    let supervisor = Supervisor::from_env();
    let ending = runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let server = Server::start(federation, Options { until_finished, ..Options::default() })?;
        say(&format!("listening on {}", server.listening()))?;
        let stop = async {
            tokio::select! {
                _ = interrupt.recv() => info!("interrupted"),
                _ = terminate.recv() => info!("terminated"),
            }
            supervisor.stopping();
        };
        supervisor.ready();
        anyhow::Ok(supervisor.watched(server.run(stop)).await?)
    })?;
    match ending {
        Ending::Stopped => say("stopped"),
        Ending::Finished(version) => say(&format!("finished with release {version}")),
    }
}

/// A line on the standard output. A reader that has gone away is no error.
fn say(line: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{line}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error).context("standard output"),
        _ => Ok(()),
    }
}

fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    std::path::absolute(path).with_context(|| path.display().to_string())
}

fn now() -> Seconds {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A span of time: a number and its unit.
fn span(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.trim_end_matches(|c: char| c.is_ascii_alphabetic()).len());
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 24 * 3600,
        _ => return Err("a number and s, m, h or d, such as 24h".into()),
    };
    let number: u64 = number.parse().map_err(|_| format!("`{number}` is not a whole number"))?;
    let span = number.checked_mul(seconds).filter(|span| (1..=10 * 365 * 24 * 3600).contains(span));
    span.map(Duration::from_secs).ok_or_else(|| "from 1s to 3650d".into())
}

/// A status for people.
fn describe(status: &Status, now: Seconds) -> String {
    let mut out = vec![format!("{}  authority {}", status.federation, &status.authority[..16])];
    match &status.running {
        Some(r) => out.push(format!(
            "serving on {}: {}, round {}, release {}, {} connected",
            r.listening,
            if r.finished { "finished" } else { &r.phase },
            r.round,
            r.version,
            r.connected.len()
        )),
        None => {
            let release = status.release.map_or_else(|| "none yet".into(), |version| version.to_string());
            out.push(format!("no server is running; last release {release}"));
        }
    }
    let left = |until: Seconds| match until.saturating_sub(now) {
        0 => "past".into(),
        seconds if seconds < 2 * 24 * 3600 => format!("{} h", seconds / 3600),
        seconds => format!("{} d", seconds / (24 * 3600)),
    };
    for client in &status.clients {
        let state = match (client.revoked, client.connected) {
            (true, _) => "revoked",
            (false, true) => "connected",
            (false, false) => "away",
        };
        out.push(format!(
            "client  {:<20} {state:<10} certificate {}",
            client.name,
            left(client.certificate_expires)
        ));
    }
    for invitation in status.invitations.iter().filter(|i| i.state != "used") {
        let (name, state) = (&invitation.name, &invitation.state);
        out.push(format!("invited {name:<20} {state:<10} {}", left(invitation.expires)));
    }
    for round in &status.rounds {
        out.push(format!(
            "round {:<4} {:<24} {} of {} counted, loss {:.3}, {:.1} s{}{}",
            round.round,
            round.outcome,
            round.counted,
            round.selected,
            round.loss,
            round.millis as f64 / 1000.0,
            round.epsilon.map(|epsilon| format!(", epsilon {epsilon:.3}")).unwrap_or_default(),
            round.evaluated.as_ref().map(|score| format!(", {score}")).unwrap_or_default()
        ));
    }
    out.extend(alarms(status, now).into_iter().map(|alarm| format!("LOOK  {}", alarm.text)));
    out.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn spans_have_a_unit_and_a_bound() {
        assert_eq!(span("24h"), Ok(Duration::from_secs(86_400)));
        assert_eq!(span("90s"), Ok(Duration::from_secs(90)));
        for bad in ["", "24", "h", "1w", "0h", "-1h", "99999999d", "99999999999999999999d"] {
            assert!(span(bad).is_err(), "{bad}");
        }
    }
}
