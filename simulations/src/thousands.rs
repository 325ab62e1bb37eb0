//! The virtual world with thousands of clients that only add: what the machines and the world themselves take.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Instant as Clock;

use bytes::Bytes;
use serde::Serialize;
use somnus_protocol::config::FederationConfig;
use somnus_protocol::coordinator::Event;
use somnus_protocol::message::Role;
use somnus_protocol::record::Snapshot;
use somnus_protocol::seed::Seed;
use somnus_protocol::time::Instant;

use crate::bench::BenchError;
use crate::federation::{Client, Federation, Observer};
use crate::network::WorldConfig;
use crate::steady::{self, Steady};
use crate::{rss, world};

/// What the rounds took.
#[derive(Clone, Debug, Serialize)]
pub struct Thousands {
    /// Clients that were there.
    pub clients: u32,
    /// Clients whose updates each round wanted, and had.
    pub cohort: u32,
    /// Weights of the model.
    pub weights: usize,
    /// Real seconds from the opening of each round to its release.
    pub seconds: Vec<f64>,
    /// Real seconds until all had checked in and the first round opened.
    pub gathering_seconds: f64,
    /// Messages that arrived.
    pub messages: u64,
    /// Virtual hours.
    pub virtual_hours: f64,
    /// Peak memory of this process with the server, all clients and the world, MiB.
    pub peak_mib: f64,
}

/// Runs plain rounds of `cohort` out of `clients` on `jobs` threads.
///
/// # Errors
/// [`BenchError`] if the numbers are not those of a federation.
pub fn measure(
    clients: u32,
    cohort: u32,
    weights: usize,
    rounds: u64,
    jobs: usize,
) -> Result<Thousands, BenchError> {
    let client = |number: u32| Client {
        id: format!("client-{number:05}").parse().unwrap_or_else(|error| unreachable!("{error}")),
        role: Role::Trains,
        trainer: Arc::new(Steady),
    };
    let rules = FederationConfig {
        rounds,
        cohort,
        min_clients: clients,
        min_reports: cohort,
        evaluate_every: 0,
        danger_plain_aggregation: true,
        ..FederationConfig::default()
    };
    let start = Snapshot::fresh(steady::checkpoint(weights)?.into(), Bytes::from(vec![0; 4 * weights]));
    let federation = Federation {
        config: rules.check()?,
        start,
        seed: Seed::from_number(1),
        clients: (0..clients).map(client).collect(),
    };
    let mut watch = Watch { began: Clock::now(), opened: None, gathering: 0.0, seconds: Vec::new() };
    let outcome = world::run(&federation, &WorldConfig::default(), jobs.max(1), &mut watch)?;
    assert!(outcome.rounds.iter().all(|round| round.counted.len() == cohort as usize), "nobody drops out");
    Ok(Thousands {
        clients,
        cohort,
        weights,
        seconds: watch.seconds,
        gathering_seconds: watch.gathering,
        messages: outcome.statistics.messages,
        virtual_hours: outcome.statistics.virtual_time.as_secs_f64() / 3600.0,
        peak_mib: rss::peak_mib(),
    })
}

/// The lines for a terminal.
#[must_use]
pub fn table(result: &Thousands) -> String {
    let Thousands { clients, cohort, weights, seconds, gathering_seconds, messages, .. } = result;
    let mut out = format!(
        "{clients} clients in the virtual world, a model of {weights} weights; all had checked in after \
         {gathering_seconds:.1} s\n"
    );
    for (round, seconds) in seconds.iter().enumerate() {
        let _ = writeln!(out, "round {}: {cohort} updates in {seconds:.1} s", round + 1);
    }
    let _ = writeln!(
        out,
        "{messages} messages, {:.1} virtual hours, {:.0} MiB for the server, all clients and the world",
        result.virtual_hours, result.peak_mib
    );
    out
}

struct Watch {
    began: Clock,
    opened: Option<Clock>,
    gathering: f64,
    seconds: Vec<f64>,
}

impl Observer for Watch {
    fn server(&mut self, _: Instant, event: &Event) {
        match event {
            Event::Opened(..) => {
                if self.seconds.is_empty() {
                    self.gathering = self.began.elapsed().as_secs_f64();
                }
                self.opened = Some(Clock::now());
            }
            Event::Released(..) => {
                self.seconds.extend(self.opened.take().map(|opened| opened.elapsed().as_secs_f64()));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_has_its_cohort() {
        // The assertion on each round is inside.
        let result = measure(300, 200, 1000, 2, 2).unwrap();
        assert_eq!(result.seconds.len(), 2);
        assert!(result.messages > 2 * 200 * 3, "{result:?}");
        assert!(table(&result).contains("round 2: 200 updates"));
    }
}
