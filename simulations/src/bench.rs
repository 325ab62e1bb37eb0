//! Seconds a round on the night-level network, beside Flower's, and the overhead over the training steps themselves.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Instant as Clock;

use bytes::Bytes;
use serde::Serialize;
use somnus_model::{
    DeviceKind, Foundations, ModelError, NetConfig, NightPart, NightTrainer, Prepared, Stager,
};
use somnus_protocol::checkpoint::{CheckpointError, bytes_of};
use somnus_protocol::config::FederationConfig;
use somnus_protocol::coordinator::Event;
use somnus_protocol::fault::ConfigError;
use somnus_protocol::message::Role;
use somnus_protocol::plan::{TrainPlan, TrainableSet};
use somnus_protocol::record::Snapshot;
use somnus_protocol::seed::Seed;
use somnus_protocol::time::Instant;
use somnus_signals::{Night, NightRules, synthetic};

use crate::federation::{Client, Federation, Observer};
use crate::network::WorldConfig;
use crate::world::{self, WorldError};

/// Epochs of every client's night.
const EPOCHS: usize = 960;

/// Different nights; more clients share them.
const NIGHTS: usize = 24;

/// What is measured: clients, local steps, and Flower 1.42 with PyTorch on two cores of such a machine, seconds.
const CASES: [(u32, u32, f64, f64); 3] = [(24, 5, 2.3, 3.0), (24, 1, 1.6, 8.0), (200, 1, 5.9, 4.0)];

/// One line of the table.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Line {
    /// Clients, all of which train in every round.
    pub clients: u32,
    /// Local steps of each.
    pub steps: u32,
    /// Seconds from the opening of a round to its release; the median round.
    pub seconds: f64,
    /// Seconds of the same training steps alone on as many threads; the median of as many tries.
    pub bare_seconds: f64,
    /// How much longer a round takes than its steps just before it, in percent; the median.
    pub overhead_percent: f64,
    /// How much more processor time it takes, in percent; other programs on the machine do not enter.
    pub cpu_overhead_percent: f64,
    /// Flower's seconds a round.
    pub flower_seconds: f64,
    /// How many times faster.
    pub ratio: f64,
    /// What is asked of the ratio.
    pub needed: f64,
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The network.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Its file.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The rounds.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The world.
    #[error(transparent)]
    World(#[from] WorldError),
}

/// Measures every case on `jobs` threads, `rounds` rounds each after one that warms up.
///
/// # Errors
/// [`BenchError`], which no argument can bring about.
pub fn rounds(jobs: usize, rounds: u64) -> Result<Vec<Line>, BenchError> {
    let nights = nights();
    let case = |(clients, steps, flower, needed): (u32, u32, f64, f64)| {
        let case = Case { clients, steps, jobs: jobs.max(1), rounds: rounds.max(1) };
        let measured = case.measure(&nights)?;
        let seconds = median(measured.iter().map(|m| m.round.seconds).collect());
        let more = |of: fn(Cost) -> f64| {
            median(measured.iter().map(|m| of(m.round) / of(m.bare) - 1.0).collect()) * 100.0
        };
        Ok(Line {
            clients,
            steps,
            seconds,
            bare_seconds: median(measured.iter().map(|m| m.bare.seconds).collect()),
            overhead_percent: more(|cost| cost.seconds),
            cpu_overhead_percent: more(|cost| cost.cpu),
            flower_seconds: flower,
            ratio: flower / seconds,
            needed,
        })
    };
    CASES.into_iter().map(case).collect()
}

/// The lines for a terminal.
#[must_use]
pub fn table(lines: &[Line], jobs: usize) -> String {
    let mut out = format!(
        "night-level network (width 48), one {EPOCHS}-epoch night a client, {jobs} threads\n\n\
         clients x steps   s/round   Flower   faster (needed)   bare steps   overhead   of CPU time\n"
    );
    for line in lines {
        let _ = writeln!(
            out,
            "{:>7} x {:<5} {:>9.3} {:>8.1} {:>8.1}x ({:.0}x) {:>12.3} s {:>8.1} % {:>9.1} %",
            line.clients,
            line.steps,
            line.seconds,
            line.flower_seconds,
            line.ratio,
            line.needed,
            line.bare_seconds,
            line.overhead_percent,
            line.cpu_overhead_percent
        );
    }
    out
}

struct Case {
    clients: u32,
    steps: u32,
    jobs: usize,
    rounds: u64,
}

fn config() -> NetConfig {
    NetConfig { width: 48, ..NetConfig::default() }
}

/// Nights of exactly [`EPOCHS`] epochs.
fn nights() -> Vec<NightPart> {
    let config = synthetic::SyntheticConfig { people: 4 * NIGHTS, ..Default::default() };
    let cohort = synthetic::cohort(&config, &NightRules::default());
    let long = cohort.nights.into_iter().filter(|night| night.epochs >= EPOCHS);
    long.take(NIGHTS).map(|night: Night| NightPart::part(night, 0..EPOCHS)).collect()
}

impl Case {
    fn plan(&self) -> TrainPlan {
        TrainPlan { steps: self.steps, ..TrainPlan::default() }
    }

    /// A federation in the world; before each round, the same training steps alone, so that whatever else the machine
    /// does falls on both. The first round, in which nights are prepared, is not in the result.
    fn measure(&self, nights: &[NightPart]) -> Result<Vec<Measured>, BenchError> {
        let stager = Stager::new(&config(), 1, DeviceKind::Flex)?;
        let prepared: Vec<Prepared> = nights
            .iter()
            .map(|part| stager.prepare_part(&part.night, part.epochs.clone()))
            .collect::<Result<_, _>>()?;
        let shared = Foundations::default();
        let client = |number: u32| {
            let night = nights[number as usize % nights.len()].clone();
            Client {
                id: format!("client-{number:04}").parse().unwrap_or_else(|error| unreachable!("{error}")),
                role: Role::Trains,
                // Nobody is scored: a round here ends with its release.
                trainer: Arc::new(NightTrainer::new(DeviceKind::Flex, vec![night], vec![]).sharing(&shared)),
            }
        };
        let checkpoint = stager.to_checkpoint("bench", BTreeMap::new());
        let weights = Bytes::from(bytes_of(&checkpoint.flatten(TrainableSet::Full)?));
        let rules = FederationConfig {
            rounds: self.rounds + 1,
            cohort: self.clients,
            min_clients: self.clients,
            min_reports: self.clients,
            evaluate_every: 0,
            danger_plain_aggregation: true,
            plan: self.plan(),
            ..FederationConfig::default()
        };
        let federation = Federation {
            config: rules.check()?,
            start: Snapshot::fresh(checkpoint.to_bytes()?.into(), weights),
            seed: Seed::from_number(1),
            clients: (0..self.clients).map(client).collect(),
        };
        let mut watch = Watch { case: self, stager, nights: prepared, open: None, measured: Vec::new() };
        world::run(&federation, &WorldConfig::default(), self.jobs, &mut watch)?;
        Ok(watch.measured.split_off(1))
    }

    /// The training steps of one round, on as many threads and nothing around them.
    fn bare(&self, stager: &Stager, nights: &[Prepared]) {
        let plan = self.plan();
        std::thread::scope(|scope| {
            for worker in 0..self.jobs {
                let plan = &plan;
                // A name of its own, so that a profiler tells these threads from the world's.
                let thread = std::thread::Builder::new().name(format!("bare-{worker}"));
                let spawned = thread.spawn_scoped(scope, move || {
                    for client in (worker..self.clients as usize).step_by(self.jobs) {
                        let mut own = stager.clone();
                        let night = &nights[client % nights.len()];
                        let _ = std::hint::black_box(own.train(&[night], plan, client as u64));
                    }
                });
                spawned.expect("the system gives threads");
            }
        });
    }
}

/// What something took.
#[derive(Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) seconds: f64,
    /// Processor seconds of all threads.
    pub(crate) cpu: f64,
}

/// A round, and its training steps alone just before it.
struct Measured {
    round: Cost,
    bare: Cost,
}

/// Real time and processor time since a moment.
pub(crate) struct Meter(Clock, f64);

impl Meter {
    pub(crate) fn start() -> Self {
        Self(Clock::now(), cpu_seconds())
    }

    pub(crate) fn read(&self) -> Cost {
        Cost { seconds: self.0.elapsed().as_secs_f64(), cpu: cpu_seconds() - self.1 }
    }
}

/// Measures from the opening of each round to its release.
struct Watch<'a> {
    case: &'a Case,
    stager: Stager,
    nights: Vec<Prepared>,
    open: Option<(Cost, Meter)>,
    measured: Vec<Measured>,
}

impl Observer for Watch<'_> {
    fn server(&mut self, _: Instant, event: &Event) {
        match event {
            // Nobody has been told of the round yet: all threads rest.
            Event::Opened(..) => {
                let meter = Meter::start();
                self.case.bare(&self.stager, &self.nights);
                self.open = Some((meter.read(), Meter::start()));
            }
            Event::Released(..) => {
                if let Some((bare, meter)) = self.open.take() {
                    self.measured.push(Measured { round: meter.read(), bare });
                }
            }
            _ => {}
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) { (values[middle - 1] + values[middle]) / 2.0 } else { values[middle] }
}

/// Processor time of this process so far, with the threads that have ended; 0 where the system does not tell.
fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name of the program is in parentheses and may hold anything; user and system time are fields 14 and 15.
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_is_measured_and_printed() {
        let case = Case { clients: 2, steps: 1, jobs: 2, rounds: 1 };
        let nights = nights();
        assert_eq!(nights.len(), NIGHTS);
        assert!(nights.iter().all(|part| part.epochs == (0..EPOCHS)));
        let measured = case.measure(&nights).unwrap();
        assert_eq!(measured.len(), 1);
        assert!(measured[0].bare.seconds > 0.0 && measured[0].round.seconds > 0.0);
        assert!((median(vec![3.0, 1.0, 2.0, 10.0]) - 2.5).abs() < 1e-12);
    }
}
