//! What belongs to the owner of a client, not to a round: what its disk keeps, and what it allows.

use zeroize::Zeroizing;

/// Bytes for the disk of their owner alone: overwritten when they are dropped, and with no `Debug`.
#[derive(Clone, Default)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes them over.
    pub fn new(bytes: Vec<u8>) -> Self {
        Zeroizing::new(bytes).into()
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<Zeroizing<Vec<u8>>> for Secret {
    fn from(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(bytes)
    }
}

use crate::evaluation::EvaluationPolicy;
use crate::message::{Assignment, Examination, Role};

/// What a client keeps on its disk beside blobs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keep {
    /// What rounds leave behind for later ones: the trainer's own memory, and what a reduction left out.
    Memory,
    /// The secrets of the open round. They are to be readable by nobody else.
    Secrets,
    /// What a training gave that may go on for later rounds; as secret.
    Update,
}

/// What a client's disk has of an earlier life.
#[derive(Clone, Default)]
pub struct Kept {
    /// Of [`Keep::Memory`].
    pub memory: Option<Secret>,
    /// Of [`Keep::Secrets`].
    pub secrets: Option<Secret>,
    /// Of [`Keep::Update`].
    pub update: Option<Secret>,
}

impl Kept {
    /// After [`Output::Remember`](super::Output::Remember).
    pub fn set(&mut self, keep: Keep, bytes: Secret) {
        match keep {
            Keep::Memory => self.memory = Some(bytes),
            Keep::Secrets => self.secrets = Some(bytes),
            Keep::Update => self.update = Some(bytes),
        }
    }
}

/// What a client allows, whatever the server asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Policy {
    /// Whether the server may see this client's update by itself.
    pub danger_plain_aggregation: bool,
    /// Fewest clients that a masked sum has to be of, where there are groups that of its own. At least 3: with two, each knows
    /// the other's.
    pub min_cohort: u32,
    /// The most that the server may get to know of this client's evaluations.
    pub evaluation: EvaluationPolicy,
}

impl Default for Policy {
    fn default() -> Self {
        let evaluation = EvaluationPolicy::usual(false);
        Self { danger_plain_aggregation: false, min_cohort: 3, evaluation }
    }
}

impl Policy {
    /// Whether a client in this role takes part in a round.
    pub(super) fn allows(&self, role: Role, assignment: &Assignment) -> Result<(), String> {
        let counting = assignment.counting();
        assignment.lag.map_or(Ok(()), |lag| lag.check()).map_err(|error| error.to_string())?;
        match &assignment.secure {
            Some(secure) => secure.check().map_err(|error| error.to_string())?,
            None if self.danger_plain_aggregation => {}
            None => {
                return Err("the server wants to see this hub's update by itself, and `danger_plain_aggregation = true` does \
                            not allow it here"
                    .into());
            }
        }
        if role == Role::Evaluates && !counting.is_alone() {
            return Err("the server wants this hub to train, and it only evaluates".into());
        }
        if counting.is_alone() { self.counts_in_sums() } else { Ok(()) }
    }

    /// Whether counts of evaluations may be in a cohort's sum. A round that also trains goes on without them.
    pub(super) fn counts_in_sums(&self) -> Result<(), String> {
        self.tells(EvaluationPolicy::Aggregate, "this hub's counts in a cohort's sum")
    }

    /// Whether a client does this evaluation: one that is for its owner alone in any case.
    pub(super) fn allows_evaluation(&self, examination: &Examination) -> Result<(), String> {
        match examination.policy {
            policy @ EvaluationPolicy::PerClient => self.tells(policy, "this hub's own counts"),
            EvaluationPolicy::None | EvaluationPolicy::Aggregate => Ok(()),
        }
    }

    fn tells(&self, asked: EvaluationPolicy, what: &str) -> Result<(), String> {
        if asked <= self.evaluation {
            return Ok(());
        }
        let (asked, most) = (asked.name(), self.evaluation.name());
        Err(format!(
            "the server wants {what} (`evaluation = \"{asked}\"`), and `evaluation = \"{most}\"` does not allow it here"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::{Counting, Scoring};
    use crate::ids::{BlobId, Round, Version};
    use crate::plan::TrainPlan;
    use crate::secure::{SecureConfig, SecurePlan};
    use crate::sum::Weighting;
    use crate::update::Sections;

    fn assignment(counting: Counting) -> Assignment {
        let (plan, _) = SecureConfig::default().check(Weighting::Examples).unwrap();
        let blob = BlobId::of(b"model");
        Assignment {
            round: Round(1),
            plan: TrainPlan::default(),
            seed: 1,
            foundation: blob,
            release: blob,
            companion: None,
            sections: Sections::default(),
            secure: Some(SecurePlan { counting, ..plan }),
            time_left_ms: 0,
            counted: None,
            lag: None,
        }
    }

    #[test]
    fn an_owner_allows_up_to_what_it_says() {
        let scoring = Scoring { version: Version(1), classes: 4 };
        let (beside, alone) = (assignment(Counting::Beside(scoring)), assignment(Counting::Alone(scoring)));
        let nothing = assignment(Counting::Nothing);
        for evaluation in [EvaluationPolicy::None, EvaluationPolicy::Aggregate, EvaluationPolicy::PerClient] {
            let policy = Policy { evaluation, ..Policy::default() };
            let sums = evaluation >= EvaluationPolicy::Aggregate;
            assert_eq!(policy.allows(Role::Trains, &nothing), Ok(()));
            assert_eq!(policy.allows(Role::Trains, &beside), Ok(()), "it trains, and counts only if it may");
            assert_eq!(policy.counts_in_sums().is_ok(), sums);
            assert_eq!(policy.allows(Role::Evaluates, &alone).is_ok(), sums);
        }
    }

    #[test]
    fn who_only_evaluates_is_not_made_to_train() {
        let scoring = Scoring { version: Version(1), classes: 4 };
        for counting in [Counting::Nothing, Counting::Beside(scoring)] {
            let refused = Policy::default().allows(Role::Evaluates, &assignment(counting)).unwrap_err();
            assert_eq!(refused, "the server wants this hub to train, and it only evaluates");
        }
    }

    #[test]
    fn a_matrix_of_no_size_is_not_asked_for() {
        for classes in [0, 1, 9, u8::MAX] {
            let absurd = assignment(Counting::Alone(Scoring { version: Version(1), classes }));
            assert!(Policy::default().allows(Role::Trains, &absurd).unwrap_err().contains("`evaluation`"));
        }
    }
}
