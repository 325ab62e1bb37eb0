//! A server under load: one real `somnus-server` process, and in this process as many clients as are asked for, each enrolled
//! by the real commands, with a QUIC connection of its own and the federation's own machine.
//!
//! Each [`Stage`] is a life of the server. All clients but one connect and check in: then they are idle, and what the server's
//! memory has grown by since it began to listen is theirs. The last one opens the rounds.
//!
//! - `place`: the server's folder and process, and enrolment; `line`: one connection; `crowd`: all clients.

use std::fmt::Write;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::runtime::Builder;

use crate::rss;

mod crowd;
mod line;
mod place;

use crowd::Crowd;
use place::Place;

/// Memory that an idle client may take at the server, KiB.
pub const ALLOWED_KIB: f64 = 32.0;
/// How much memory may have grown since the early rounds, as a ratio.
pub const ALLOWED_GROWTH: f64 = 1.05;
/// Rounds after which a server has seen everything once.
const EARLY: usize = 50;
/// Samples behind one number of resident memory; the median is taken.
const SAMPLES: usize = 10;

/// How much load.
#[derive(Clone, Copy, Debug)]
pub struct LoadConfig {
    /// Clients that hold a connection.
    pub clients: u32,
    /// Weights of the model.
    pub weights: usize,
    /// Clients in each round of the long stage, drawn from all.
    pub cohort: u32,
    /// Rounds of the long stage.
    pub rounds: u64,
    /// Rounds of each of the other stages.
    pub few: u64,
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// One of the programs did not do its part.
    #[error("{program}: {why}")]
    Program {
        /// Which.
        program: String,
        /// What it said.
        why: String,
    },
    /// A client lost its place.
    #[error("{client}: {why}")]
    Client {
        /// Its name.
        client: String,
        /// Why.
        why: String,
    },
    /// This machine's fault: no socket, no disk, no thread.
    #[error(transparent)]
    Machine(#[from] std::io::Error),
    /// The model cannot be made.
    #[error(transparent)]
    Model(#[from] somnus_protocol::checkpoint::CheckpointError),
}

/// One life of the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Stage {
    /// Whether updates are masked.
    pub masked: bool,
    /// Clients in each round.
    pub cohort: u32,
    /// Rounds.
    pub rounds: u64,
}

/// What a stage took.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// What was done.
    #[serde(flatten)]
    pub stage: Stage,
    /// Clients that were connected, all the time.
    pub held: u32,
    /// The server's resident memory when it had begun to listen, KiB.
    pub alone_kib: u64,
    /// With all clients but one, idle.
    pub idle_kib: u64,
    /// For each of these.
    pub kib_per_idle_client: f64,
    /// From the opening of the first round to the last release.
    pub rounds_per_minute: f64,
    /// Rounds behind `early_kib`.
    pub early: usize,
    /// Memory between rounds after those.
    pub early_kib: u64,
    /// Memory between rounds at the end.
    pub late_kib: u64,
    /// `late_kib` by `early_kib`.
    pub growth: f64,
    /// Memory at the opening of each round, KiB.
    pub series_kib: Vec<u64>,
}

/// What the server bore.
#[derive(Clone, Debug, Serialize)]
pub struct Load {
    /// Clients.
    pub clients: u32,
    /// Weights of the model.
    pub weights: usize,
    /// Seconds that their enrolment took, two processes each.
    pub enrolment_seconds: f64,
    /// The long stage first.
    pub stages: Vec<Measured>,
}

/// Puts a server under load; `announce` hears of each step.
///
/// # Errors
/// [`LoadError`]; a client that loses its connection is one, too.
pub fn measure(config: &LoadConfig, announce: &dyn Fn(&str)) -> Result<Load, LoadError> {
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    let place = Place::found(config)?;
    announce(&format!("enrolling {} clients", config.clients));
    let began = Instant::now();
    let cards = place.enrol(config.clients)?;
    let enrolment_seconds = began.elapsed().as_secs_f64();
    let mut measured = Vec::new();
    let mut releases = 0;
    for stage in stages(config) {
        announce(&format!(
            "{} rounds of {} {} updates, {} clients",
            stage.rounds,
            stage.cohort,
            if stage.masked { "masked" } else { "plain" },
            config.clients
        ));
        releases += stage.rounds;
        let server = place.serve(&stage, releases)?;
        let alone_kib = server.resident_kib();
        let result = runtime.block_on(async {
            let mut crowd = Crowd::new(&place, &server, &cards)?;
            let idle_kib = crowd.gather().await?;
            let rounds = crowd.play().await?;
            Ok::<_, LoadError>(result(stage, config.clients, [alone_kib, idle_kib], &rounds))
        })?;
        announce(&format!(
            "  {:.1} KiB for each idle client, {:.1} rounds a minute, {:.1} MiB at the end",
            result.kib_per_idle_client,
            result.rounds_per_minute,
            result.late_kib as f64 / 1024.0
        ));
        measured.push(result);
    }
    runtime.shutdown_timeout(Duration::from_secs(1));
    Ok(Load { clients: config.clients, weights: config.weights, enrolment_seconds, stages: measured })
}

/// The long one, and a few rounds of everybody, in the clear and masked.
fn stages(config: &LoadConfig) -> Vec<Stage> {
    let LoadConfig { clients, cohort, rounds, few, .. } = *config;
    let few = |masked, cohort| Stage { masked, cohort, rounds: few };
    let long = Stage { masked: false, cohort, rounds };
    let mut stages = vec![long, few(false, clients), few(true, cohort), few(true, clients)];
    stages.dedup_by_key(|stage| (stage.masked, stage.cohort));
    stages
}

/// The moment at which a number of rounds was done, and the server's memory then.
#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Instant,
    kib: u64,
}

fn result(stage: Stage, clients: u32, [alone_kib, idle_kib]: [u64; 2], rounds: &[Sample]) -> Measured {
    let series_kib: Vec<u64> = rounds.iter().map(|sample| sample.kib).collect();
    // Sample n was taken when n rounds were done.
    let early = EARLY.min(rounds.len() / 2);
    let after = |done: usize| median(&series_kib[(done + 1).saturating_sub(SAMPLES)..=done]);
    let (early_kib, late_kib) = (after(early), after(rounds.len() - 1));
    let idle = f64::from(clients - 1).max(1.0);
    let took = rounds.last().map_or(Duration::ZERO, |last| last.at - rounds[0].at);
    Measured {
        stage,
        held: clients,
        alone_kib,
        idle_kib,
        kib_per_idle_client: idle_kib.saturating_sub(alone_kib) as f64 / idle,
        rounds_per_minute: (rounds.len() - 1) as f64 * 60.0 / took.as_secs_f64(),
        early,
        early_kib,
        late_kib,
        growth: late_kib as f64 / early_kib as f64,
        series_kib,
    }
}

fn median(values: &[u64]) -> u64 {
    let mut values = values.to_vec();
    values.sort_unstable();
    values[values.len() / 2]
}

/// The lines for a terminal.
#[must_use]
pub fn table(load: &Load) -> String {
    let mut out = format!(
        "{} clients held over QUIC by one somnus-server, a model of {} weights; enrolled in {:.0} s\n\n\
         updates  cohort  rounds   rounds/min   MiB alone   MiB idle   KiB/idle client   MiB early (after)   MiB late   growth\n",
        load.clients, load.weights, load.enrolment_seconds
    );
    let mib = |kib: u64| kib as f64 / 1024.0;
    for line in &load.stages {
        let _ = writeln!(
            out,
            "{:<8} {:>6} {:>7} {:>12.1} {:>11.1} {:>10.1} {:>17.1} {:>12.1} {:>6} {:>10.1} {:>8.3}",
            if line.stage.masked { "masked" } else { "plain" },
            line.stage.cohort,
            line.stage.rounds,
            line.rounds_per_minute,
            mib(line.alone_kib),
            mib(line.idle_kib),
            line.kib_per_idle_client,
            mib(line.early_kib),
            format!("({})", line.early),
            mib(line.late_kib),
            line.growth
        );
    }
    let _ = writeln!(
        out,
        "\nallowed: {ALLOWED_KIB:.0} KiB for each idle client, growth {ALLOWED_GROWTH} from {EARLY} to 1,000 rounds; \
         the clients share this machine's {} cores with the server",
        std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
    );
    out
}

/// The server's memory, KiB; 0 where the system does not tell.
fn resident_kib(process: u32) -> u64 {
    rss::resident_kib(process).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_stage_is_not_measured_twice() {
        let config = LoadConfig { clients: 50, weights: 1, cohort: 50, rounds: 9, few: 2 };
        let seen: Vec<_> = stages(&config).iter().map(|s| (s.masked, s.cohort, s.rounds)).collect();
        assert_eq!(seen, [(false, 50, 9), (true, 50, 2)]);
        assert_eq!(stages(&LoadConfig { cohort: 10, ..config }).len(), 4);
    }

    #[test]
    fn growth_is_between_medians_of_memory_at_the_same_place_of_a_round() {
        let began = Instant::now();
        // Rounds of a second; one sample of a job that is under way.
        let sample = |n: u64| Sample {
            at: began + Duration::from_secs(n),
            kib: if n == 50 { 9000 } else { 1000 + n },
        };
        let rounds: Vec<Sample> = (0..=1000).map(sample).collect();
        let stage = Stage { masked: false, cohort: 10, rounds: 1000 };
        let measured = result(stage, 101, [500, 3700], &rounds);
        assert!((measured.kib_per_idle_client - 32.0).abs() < 1e-9);
        assert!((measured.rounds_per_minute - 60.0).abs() < 1e-9);
        assert_eq!((measured.early, measured.early_kib, measured.late_kib), (50, 1046, 1996));
        let short = result(stage, 2, [500, 600], &rounds[..5]);
        assert_eq!((short.early, short.early_kib, short.late_kib), (2, 1001, 1002));
    }
}
