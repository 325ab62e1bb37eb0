//! The commands of `somnus-client`.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use serde::Serialize;
use somnus_protocol::ids::ClientId;
use somnus_service::Supervisor;
use somnus_signals::PersonId;
use somnus_signals::live::Recorder;
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;

use crate::check;
use crate::config::{CONFIG, ClientConfig, DEFAULT_FILE};
use crate::enrol::enrol;
use crate::files::write_atomically;
use crate::fresh::Fresh;
use crate::hub::{Ending, Hub};
use crate::identity::{Folder, Membership, now};
use crate::ledger::Ledger;
use crate::limits::status::{Standing, describe as describe_limits, standing};
use crate::limits::{Brake, Machine, Watch, cpu};
use crate::listen;
use crate::report;
use crate::training::HubNights;

/// The hub of a Somnus federation: one person's nights.
#[derive(Debug, Parser)]
#[command(
    name = "somnus-client",
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
    /// Join a federation with an invitation; makes this hub's key.
    Enrol {
        /// The token that `somnus-server invite` printed.
        token: String,
        #[command(flatten)]
        place: Place,
    },
    /// Take part: train when the server asks, evaluate, write reports.
    Run {
        /// Where the nights are; `check` says whether they can be used. What comes into it later is used from the next work on.
        #[arg(long)]
        data: PathBuf,
        /// Whose nights; needed if the folder has those of several people.
        #[arg(long)]
        person: Option<String>,
        /// End once the server says that all releases are made.
        #[arg(long)]
        until_finished: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Say what is in a folder of recordings: what is missing, what will be used, what is wrong and what to do about it.
    Check {
        /// The folder, as for `run --data`.
        data: PathBuf,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Record what devices of this machine stream into a Unix socket, as nights in the plain format (docs/data.md).
    Listen {
        /// The socket; made here, for this user alone.
        #[arg(long)]
        socket: PathBuf,
        /// Where nights go: a folder of this person, as for `run --data`.
        #[arg(long)]
        data: PathBuf,
        /// Whose nights.
        #[arg(long)]
        person: String,
    },
    /// Write the report of the last evaluation; needs no network.
    Report {
        /// Where to [default: the hub's folder, report/].
        #[arg(long)]
        out: Option<PathBuf>,
        #[command(flatten)]
        place: Place,
    },
    /// Show which federation this hub belongs to, how its last evaluation went, and what its limits allow now.
    Status {
        /// As JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Debug, Args)]
struct Place {
    /// The hub's folder.
    #[arg(long, default_value = ".")]
    dir: PathBuf,
}

/// What a hub knows of itself. The schema of `status --json`.
#[derive(Clone, PartialEq, Debug, Serialize)]
struct Status {
    federation: String,
    name: ClientId,
    server: String,
    certificate_expires: u64,
    evaluated: Option<Evaluated>,
    /// The limits that are set.
    limits: Vec<Standing>,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
struct Evaluated {
    version: u64,
    epochs: u64,
    kappa: Option<f64>,
}

impl Cli {
    /// Does what the command line says.
    ///
    /// # Errors
    /// What stands in the way, for people.
    pub fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Enrol { token, place } => {
                let folder = Folder::wait(&place.dir)?;
                let pace = ClientConfig::load(&place.dir)?.pace;
                let membership = wait(async { anyhow::Ok(enrol(&folder, &token, pace).await?) })?;
                let config = place.dir.join(CONFIG);
                if !config.exists() {
                    write_atomically(&config, DEFAULT_FILE.as_bytes())?;
                }
                let Membership { federation, name, server, .. } = membership;
                say(&format!("enrolled as {name} in {federation} at {server}"))
            }
            Command::Run { data, person, until_finished, place } => {
                let folder = Arc::new(Folder::wait(&place.dir)?);
                let config = ClientConfig::load(&place.dir)?;
                let membership = Membership::load(&place.dir)?;
                // Before there is another thread: those that come inherit it.
                cpu::lower_priority(config.limits.nice).context("this program's priority")?;
                let watch = Watch::new(&config.limits, &Machine::default());
                let (verdict, known) = (watch.verdict().clone(), config.clone());
                let (folder_of_nights, ledger) = (data.clone(), Arc::new(Ledger::open(&place.dir)?));
                let load = move || {
                    let brake = Brake::new(verdict.clone(), &known.limits);
                    let (folder, person) = (&folder_of_nights, person.as_deref());
                    Ok(HubNights::load(folder, person, &known.data, known.role, &ledger)?.under(brake))
                };
                let hands = Arc::new(Fresh::load(&data, load)?);
                let hub = Hub { folder, config, membership, hands, watch, until_finished };
                let supervisor = Supervisor::from_env();
                let ending = wait(async {
                    let stopped = stopped()?;
                    let stop = async {
                        stopped.await;
                        supervisor.stopping();
                    };
                    supervisor.ready();
                    anyhow::Ok(supervisor.watched(hub.run(stop)).await?)
                })?;
                match ending {
                    Ending::Stopped => say("stopped"),
                    Ending::Finished(version) => say(&format!("finished with release {version}")),
                }
            }
            Command::Check { data, json } => {
                let inspection = check::check(&data);
                let text = if json {
                    serde_json::to_string_pretty(&inspection)?
                } else {
                    check::describe(&inspection)
                };
                say(&text)?;
                if inspection.is_sound() {
                    return Ok(());
                }
                anyhow::bail!("{}: something has to be mended first", data.display())
            }
            Command::Listen { socket, data, person } => {
                let person = PersonId::new(person)?;
                wait(async {
                    // Whoever has the socket has the nights: what is unfinished is looked for after that.
                    let (listener, stop) = (listen::bind(&socket)?, stopped()?);
                    let recorder = Recorder::open(&data, person)?;
                    info!(socket = %socket.display(), "listening");
                    anyhow::Ok(listen::listen(listener, recorder, stop).await?)
                })?;
                say("stopped")
            }
            Command::Report { out, place } => {
                say(&report::write(&place.dir, out.as_deref())?.display().to_string())
            }
            Command::Status { json, place } => {
                let status = status(&place)?;
                say(&if json { serde_json::to_string_pretty(&status)? } else { describe(&status) })
            }
        }
    }
}

fn status(place: &Place) -> anyhow::Result<Status> {
    let Membership { federation, name, server, expires, .. } = Membership::load(&place.dir)?;
    let evaluated = match report::last(&place.dir) {
        Ok(report) => {
            let metrics = &report.client.metrics;
            Some(Evaluated { version: report.model.version, epochs: metrics.n, kappa: metrics.kappa })
        }
        Err(report::ReportError::Nothing(_)) => None,
        Err(other) => return Err(other.into()),
    };
    let limits = ClientConfig::load(&place.dir)?.limits;
    let limits = standing(&limits, &Machine::default(), &place.dir, now());
    Ok(Status { federation, name, server, certificate_expires: expires, evaluated, limits })
}

fn describe(status: &Status) -> String {
    let days = status.certificate_expires.saturating_sub(now()) / 86_400;
    let Status { federation, name, server, .. } = status;
    let mut text = format!("{name} in {federation} at {server}; certificate for {days} more days");
    match &status.evaluated {
        None => text.push_str("\nnothing was evaluated yet"),
        Some(Evaluated { version, epochs, kappa }) => {
            let kappa = kappa.map_or_else(|| "not defined".into(), |kappa| format!("{kappa:.2}"));
            text.push_str(&format!("\nrelease {version} on {epochs} epochs: kappa {kappa}"));
        }
    }
    text.push('\n');
    text.push_str(&describe_limits(&status.limits));
    text
}

/// Done when somebody asks this program to stop.
fn stopped() -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => info!("interrupted"),
            _ = terminate.recv() => info!("terminated"),
        }
    })
}

/// Runs to the end; a training that is still going on then is left behind.
fn wait<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.context("threads")?;
    let done = runtime.block_on(work);
    runtime.shutdown_timeout(Duration::from_millis(100));
    done
}

/// A line on the standard output. A reader that has gone away is no error.
fn say(line: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{line}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error).context("standard output"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
