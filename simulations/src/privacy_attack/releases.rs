//! Two releases of a federation on its way, as its clients get them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use somnus_model::{Foundations, NightPart, NightTrainer, Stager};
use somnus_protocol::checkpoint::{Checkpoint, floats};
use somnus_protocol::ids::Round;
use somnus_protocol::message::Role;
use somnus_protocol::plan::TrainPlan;
use somnus_protocol::trainer::{EvaluateTask, LocalEvaluation, LocalUpdate, TrainError, TrainTask, Trainer};
use somnus_signals::split::Fold;
use somnus_signals::{Night, PersonId};

use super::{AttackError, Lab};
use crate::federate::{StudyError, run_one};
use crate::federation::Client;
use crate::recipe::{assemble, client_id};

/// A night, with the part that its person takes part with and the part that the attacker has.
pub(super) struct Shares {
    pub(super) night: Arc<Night>,
    pub(super) own: Range<usize>,
    pub(super) other: Range<usize>,
}

/// What a round asks of everybody.
pub(super) struct Halted {
    pub(super) release: Stager,
    /// With the round's rate.
    pub(super) plan: TrainPlan,
}

/// A client that writes down what it is asked.
struct Scribe {
    hands: NightTrainer,
    heard: Arc<Mutex<BTreeMap<Round, TrainTask>>>,
}

impl Trainer for Scribe {
    fn train(&self, task: &TrainTask) -> Result<LocalUpdate, TrainError> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).insert(task.round, task.clone());
        self.hands.train(task)
    }

    fn evaluate(&self, task: &EvaluateTask) -> Result<LocalEvaluation, TrainError> {
        self.hands.evaluate(task)
    }
}

/// A federation of everybody's own parts, after a quarter and after three quarters of its rounds.
pub(super) fn releases(
    lab: &Lab,
    shares: &BTreeMap<PersonId, Shares>,
    seed: u64,
) -> Result<[Halted; 2], AttackError> {
    let shared = Foundations::default();
    let heard = Arc::new(Mutex::new(BTreeMap::new()));
    let client = |(person, share): (&PersonId, &Shares)| {
        let own = vec![NightPart::part(share.night.clone(), share.own.clone())];
        let hands = NightTrainer::new(lab.scenario.device, own.clone(), own).sharing(&shared);
        let trainer = Arc::new(Scribe { hands, heard: Arc::clone(&heard) });
        Client { id: client_id(person), role: Role::Trains, trainer }
    };
    let clients = shares.iter().map(client).collect();
    let rules = lab.scenario.federation_of(shares.len());
    let rounds = rules.rounds;
    let foundation = lab.origin.checkpoint(&lab.scenario, seed).map_err(StudyError::from)?;
    let fold = Fold { train: shares.keys().cloned().collect(), test: Vec::new() };
    let recipe = assemble(rules, foundation, clients, fold, seed).map_err(StudyError::from)?;
    run_one(&recipe, &lab.scenario, 0, format!("linkage, seed {seed}"), lab.means, &lab.progress)?;
    let foundation = Checkpoint::from_bytes(&recipe.federation.start.foundation).map_err(StudyError::from)?;
    let foundation = Stager::from_checkpoint(&foundation, lab.scenario.device)?;
    let heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
    let after = |part: u64| -> Result<Halted, AttackError> {
        let round = Round(1 + (part * rounds / 4).min(rounds - 1));
        let task = heard.range(round..).next().or(heard.iter().next_back());
        let (_, task) = task.ok_or(AttackError::Nobody)?;
        let mut release = foundation.clone();
        release.set_trainable(task.plan.trainable, &floats(&task.weights)).map_err(StudyError::from)?;
        Ok(Halted { release, plan: task.plan.clone() })
    };
    Ok([after(1)?, after(3)?])
}
