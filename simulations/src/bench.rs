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

use crate::network::WorldConfig;
use crate::world::{self, Client, Federation, Observer, WorldError};

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
    /// How much longer the round takes, in percent.
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
    CASES
        .iter()
        .map(|(clients, steps, flower, needed)| {
            let bench = Case { clients: *clients, steps: *steps, jobs, rounds: rounds.max(1) };
            let (bare, bare_cpu) = bench.bare(&nights)?;
            let (seconds, cpu) = bench.federated(&nights)?;
            Ok(Line {
                clients: *clients,
                steps: *steps,
                seconds,
                bare_seconds: bare,
                overhead_percent: (seconds / bare - 1.0) * 100.0,
                cpu_overhead_percent: (cpu / bare_cpu - 1.0) * 100.0,
                flower_seconds: *flower,
                ratio: flower / seconds,
                needed: *needed,
            })
        })
        .collect()
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

    /// Wall-clock and processor seconds of the training steps alone: the median over rounds, and the mean.
    fn bare(&self, nights: &[NightPart]) -> Result<(f64, f64), BenchError> {
        let stager = Stager::new(&config(), 1, DeviceKind::Flex)?;
        let nights: Vec<Prepared> = nights
            .iter()
            .map(|part| stager.prepare_part(&part.night, part.epochs.clone()))
            .collect::<Result<_, _>>()?;
        let plan = self.plan();
        let mut seconds = Vec::new();
        let mut cpu = cpu_seconds();
        for round in 0..=self.rounds {
            if round == 1 {
                cpu = cpu_seconds();
            }
            let start = Clock::now();
            std::thread::scope(|scope| {
                for worker in 0..self.jobs {
                    let (stager, nights, plan) = (&stager, &nights, &plan);
                    scope.spawn(move || {
                        for client in (worker..self.clients as usize).step_by(self.jobs) {
                            let mut own = stager.clone();
                            let night = &nights[client % nights.len()];
                            let _ = std::hint::black_box(own.train(&[night], plan, client as u64));
                        }
                    });
                }
            });
            seconds.push(start.elapsed().as_secs_f64());
        }
        Ok((median(seconds.split_off(1)), (cpu_seconds() - cpu) / self.rounds as f64))
    }

    /// The same for whole rounds in the world.
    fn federated(&self, nights: &[NightPart]) -> Result<(f64, f64), BenchError> {
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
        let checkpoint = Stager::new(&config(), 1, DeviceKind::Flex)?.to_checkpoint("bench", BTreeMap::new());
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
        let mut watch = Watch::default();
        world::run(&federation, &WorldConfig::default(), self.jobs, &mut watch)?;
        Ok((median(watch.seconds.split_off(1)), watch.cpu.iter().skip(1).sum::<f64>() / self.rounds as f64))
    }
}

/// Real time from the opening of each round to its release.
#[derive(Default)]
struct Watch {
    opened: Option<(Clock, f64)>,
    seconds: Vec<f64>,
    cpu: Vec<f64>,
}

impl Observer for Watch {
    fn server(&mut self, _: Instant, event: &Event) {
        match event {
            Event::Opened(..) => self.opened = Some((Clock::now(), cpu_seconds())),
            Event::Released(..) => {
                if let Some((clock, cpu)) = self.opened.take() {
                    self.seconds.push(clock.elapsed().as_secs_f64());
                    self.cpu.push(cpu_seconds() - cpu);
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
        assert!(case.bare(&nights).unwrap().0 > 0.0);
        assert!(case.federated(&nights).unwrap().0 > 0.0);
        assert!((median(vec![3.0, 1.0, 2.0, 10.0]) - 2.5).abs() < 1e-12);
    }
}
