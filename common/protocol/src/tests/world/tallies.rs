//! What must be true of evaluations: sums are exact, and nobody is told more than the policy says.

use super::hands::Arithmetic;
use super::{SEED, World};
use crate::encoding::Contribution;
use crate::evaluation::{Counting, EvaluationPolicy, Scoring, Tally};
use crate::ids::{ClientId, Round, Version};
use crate::record::{Outcome, Record};
use crate::seed::{Label, Seed};
use crate::trainer::{EvaluateTask, Trainer};
use crate::update::{Sections, UpdateLayout};

impl World {
    /// What a round that starts from this release counts.
    pub(super) fn counting(&self, version: Version) -> Counting {
        let config = self.config.clone().check().unwrap();
        let Some(classes) = config.classes(&self.foundation).unwrap() else { return Counting::Nothing };
        let (scoring, every) = (Scoring { version, classes }, config.evaluate_every);
        match version.0 {
            last if last >= config.rounds => Counting::Alone(scoring),
            _ if config.asynchronous.is_some() => Counting::Nothing,
            due if due > 0 && every > 0 && due % every == 0 => Counting::Beside(scoring),
            _ => Counting::Nothing,
        }
    }

    /// What a client counts in a round, computed anew.
    pub(super) fn counts(&self, client: &ClientId, round: Round, counting: Counting) -> Option<Vec<u32>> {
        let scoring = counting.scoring()?;
        if self.blind.iter().any(|who| self.hubs[*who].id == *client) {
            return None;
        }
        let count = self.begun[&(client.clone(), round)];
        let memory = (count > 0).then(|| count.to_le_bytes().to_vec().into());
        let task = EvaluateTask { version: scoring.version, memory, ..EvaluateTask::default() };
        Some(Arithmetic::new(self.weights).evaluate(&task).unwrap().confusion)
    }

    /// `exact-tally`: what is told of an evaluation is the sum over exactly those in the round's sum, and is what the policy
    /// allows to be told.
    pub(super) fn check_evaluations(&self) {
        let policy = self.config.clone().check().unwrap().policy;
        let mut version = Version(0);
        for record in &self.disk {
            match record {
                Record::Release(release) => version = release.version,
                Record::Round(round) => {
                    let start = match round.outcome {
                        Outcome::Released(made) => Version(made.0 - 1),
                        Outcome::Evaluated(last) => {
                            assert_eq!(last, version, "the last release is counted");
                            self.check_closing(round.round, &round.counted, last);
                            last
                        }
                        Outcome::Aborted(_) => {
                            assert_eq!(round.tally, None, "an aborted round tells nothing");
                            continue;
                        }
                    };
                    assert_eq!(round.tally, self.tally(round.round, &round.counted, start), "exact-tally");
                    assert!(round.evaluations.is_empty() || policy == EvaluationPolicy::PerClient, "untold");
                }
                Record::Masked(..) | Record::Privacy(_) => {}
            }
        }
        assert!(!self.witness.counts || policy == EvaluationPolicy::PerClient, "unsaid");
    }

    /// The sum of matrices, cell by cell.
    fn tally(&self, round: Round, counted: &[ClientId], version: Version) -> Option<Tally> {
        let Scoring { version, classes } = self.counting(version).scoring()?;
        let mut confusion = vec![0; usize::from(classes).pow(2)];
        let blind: Vec<ClientId> = self.blind.iter().map(|who| self.client(*who)).collect();
        let counted: Vec<&ClientId> = counted.iter().filter(|client| !blind.contains(client)).collect();
        for client in &counted {
            let counts = self.counts(client, round, self.counting(version))?;
            confusion.iter_mut().zip(counts).for_each(|(sum, count)| *sum += u64::from(count));
        }
        Some(Tally { version, clients: counted.len() as u32, classes, confusion })
    }

    /// `hidden` and `threshold` of a round of counts alone.
    fn check_closing(&self, round: Round, counted: &[ClientId], version: Version) {
        assert!(counted.len() >= self.config.min_reports as usize, "threshold");
        let seed = Seed::from_number(SEED).derive(Label::Training, &round.0.to_le_bytes()).number();
        let layout = UpdateLayout::new(self.weights, Sections::default());
        let counting = self.counting(version);
        let beside = (None, counting);
        let Some((_, groups)) = self.masked_sums(round, layout, seed, None, beside) else { return };
        for client in counted {
            let group = groups.iter().find(|group| group.roster.index_of(client).is_some());
            let codec = &group.expect("counted-in-a-group").codec;
            let counts = self.counts(client, round, counting);
            let nothing = Contribution {
                update: &[],
                examples: 1,
                loss: 0.0,
                evaluation: counts.as_deref(),
                residual: None,
            };
            let plain = codec.encode(&nothing, &Seed::from_number(0)).unwrap().packed;
            self.witness.hidden(client, round, &plain);
        }
    }
}
