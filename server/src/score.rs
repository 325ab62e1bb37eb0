//! How good a release is on the nights of a round's clients, as far as the server gets to know it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use somnus_protocol::ids::Version;
use somnus_protocol::record::{Evaluation, Outcome, RoundRecord};
use somnus_report::Confusion;

/// What the clients that evaluated a release counted, taken together.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ScoreLine {
    /// The release: the one that the round made, or with `evaluation = "aggregate"` the one that it started from.
    pub version: Version,
    /// Clients that evaluated.
    pub clients: usize,
    /// Their epochs.
    pub epochs: u64,
    /// The fraction that is staged as the truth is.
    pub accuracy: Option<f64>,
    /// Cohen's kappa.
    pub kappa: Option<f64>,
}

/// The counts themselves.
pub struct Scored {
    /// The release.
    pub version: Version,
    /// Clients that evaluated.
    pub clients: usize,
    /// All counts together.
    pub all: Confusion,
    /// Each client's own, or one line for all of them where the server is told no more.
    pub each: BTreeMap<String, Confusion>,
}

impl Scored {
    /// What a round's record tells; `None` if nobody evaluated.
    pub fn of(record: &RoundRecord) -> Option<Self> {
        if let Some(tally) = &record.tally {
            let clients = usize::try_from(tally.clients).ok().filter(|clients| *clients > 0)?;
            let all = matrix(tally.classes, tally.confusion.iter().copied())?;
            let each = BTreeMap::from([(format!("{clients} clients together"), all.clone())]);
            return Some(Self { version: tally.version, clients, all, each });
        }
        let Outcome::Released(version) = record.outcome else { return None };
        let classes = record.evaluations.values().next()?.classes;
        // A client that counts other classes than the rest has a model of its own.
        let alike = record.evaluations.iter().filter(|(_, evaluation)| evaluation.classes == classes);
        let each: BTreeMap<String, Confusion> = alike
            .filter_map(|(client, Evaluation { confusion, .. })| {
                Some((client.to_string(), matrix(classes, confusion.iter().map(|count| u64::from(*count)))?))
            })
            .collect();
        let all = Confusion::sum(each.values()).ok()??;
        Some(Self { version, clients: each.len(), all, each })
    }

    /// Whether nothing is known of any single client.
    pub fn is_sum(&self) -> bool {
        self.each.len() < self.clients
    }
}

fn matrix(classes: u8, counts: impl Iterator<Item = u64>) -> Option<Confusion> {
    let counts: Vec<u64> = counts.collect();
    let rows: Vec<Vec<u64>> = counts.chunks(usize::from(classes).max(1)).map(<[u64]>::to_vec).collect();
    Confusion::try_from(rows).ok()
}

impl ScoreLine {
    /// What a round's record tells; `None` if nobody evaluated.
    pub fn of(record: &RoundRecord) -> Option<Self> {
        let Scored { version, clients, all, .. } = Scored::of(record)?;
        let (accuracy, kappa) = (all.accuracy(), all.kappa());
        Some(Self { version, clients, epochs: all.total(), accuracy, kappa })
    }
}

impl std::fmt::Display for ScoreLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "release {} evaluated by {}", self.version, self.clients)?;
        match (self.kappa, self.accuracy) {
            (Some(kappa), Some(accuracy)) => write!(f, " (kappa {kappa:.3}, accuracy {accuracy:.3})"),
            (None, Some(accuracy)) => write!(f, " (accuracy {accuracy:.3})"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use somnus_protocol::evaluation::Tally;
    use somnus_protocol::ids::{ClientId, Round};

    use super::*;

    pub(crate) fn record(tally: Option<Tally>, evaluations: BTreeMap<ClientId, Evaluation>) -> RoundRecord {
        RoundRecord {
            round: Round(5),
            outcome: Outcome::Released(Version(5)),
            evaluating: false,
            cohort: Vec::new(),
            counted: Vec::new(),
            dropped: BTreeMap::new(),
            examples: 0,
            loss: 0.0,
            evaluations,
            tally,
            durations: Vec::new(),
            millis: 0,
            bytes_up: 0,
            bytes_down: 0,
            epsilon: None,
        }
    }

    /// Of 100 epochs 80 agree, where chance makes 50 agree: kappa .6.
    #[test]
    fn sums_of_masked_rounds_and_counts_of_single_clients_score_the_same() {
        let confusion = vec![40, 10, 10, 40];
        let tally = Tally { version: Version(4), clients: 3, classes: 2, confusion };
        let summed = ScoreLine::of(&record(Some(tally), BTreeMap::new())).unwrap();
        assert_eq!(summed.to_string(), "release 4 evaluated by 3 (kappa 0.600, accuracy 0.800)");
        let single = |confusion: [u32; 4]| Evaluation { classes: 2, confusion: confusion.to_vec() };
        let each = BTreeMap::from([
            ("ann".parse().unwrap(), single([30, 10, 0, 10])),
            ("ben".parse().unwrap(), single([10, 0, 10, 30])),
        ]);
        let added = ScoreLine::of(&record(None, each)).unwrap();
        assert_eq!(added.to_string(), "release 5 evaluated by 2 (kappa 0.600, accuracy 0.800)");
        assert_eq!(added.epochs, 100);
        assert_eq!(ScoreLine::of(&record(None, BTreeMap::new())), None);
    }
}
