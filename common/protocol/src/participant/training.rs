//! Work with a model: train it and count what it gets right.

use bytes::Bytes;

use super::job::{Hands, JobResult, Train, Update, sign};
use super::needs::Materials;
use crate::encoding::Reduce;
use crate::evaluation::{Counting, MAX_EPOCHS, Scoring};
use crate::ids::{ClientId, UpdateId};
use crate::message::{Assignment, Examination, Visible};
use crate::seed::{Label, Seed};
use crate::trainer::{EvaluateTask, LocalEvaluation, TrainTask, Trainer};
use crate::update::UpdateLayout;

impl Train {
    pub(super) fn run(self, hands: Hands<'_>, materials: Materials<Bytes>) -> Result<JobResult, String> {
        let Self { assignment, client, memory, secrets, policy } = self;
        let keys = secrets.map(|secrets| {
            sign(hands.identity, client.clone(), &secrets, assignment.round, &assignment.promise())
        });
        let score = |scoring| score(&assignment, scoring, memory.clone(), hands.trainer, &materials);
        let update = match assignment.counting() {
            Counting::Nothing => train(&assignment, &client, memory, hands.trainer, materials)?,
            // Who cannot count, or may not, can train nevertheless.
            Counting::Beside(scoring) => {
                let counts = Some(policy.counts_in_sums().and_then(|()| score(scoring)));
                Update { counts, ..train(&assignment, &client, memory, hands.trainer, materials)? }
            }
            Counting::Alone(scoring) => Update::counts_alone(score(scoring)?),
        };
        Ok(JobResult::Trained(assignment, Box::new(Update { keys, ..update })))
    }
}

impl Update {
    /// What there is to mask where nobody trains.
    fn counts_alone(confusion: Vec<u32>) -> Self {
        let (bytes, visible) = (Bytes::new(), Visible { examples: 1, loss: 0.0 });
        let (id, counts) = (UpdateId::of(&bytes), Some(Ok(confusion)));
        Self { id, bytes, visible, counts, memory: None, favourites: None, keys: None }
    }
}

pub(super) fn examine(
    examination: Examination,
    memory: Option<Bytes>,
    trainer: &dyn Trainer,
    materials: Materials<Bytes>,
) -> Result<JobResult, String> {
    let (version, plan) = (examination.version, examination.plan.clone());
    plan.check().map_err(|error| error.to_string())?;
    let Materials { foundation, release: weights, .. } = materials;
    let task = EvaluateTask { version, plan, foundation, weights, memory };
    let evaluation = trainer.evaluate(&task).map_err(|error| error.to_string())?;
    Ok(JobResult::Examined(examination, evaluation))
}

fn train(
    assignment: &Assignment,
    client: &ClientId,
    memory: Option<Bytes>,
    trainer: &dyn Trainer,
    materials: Materials<Bytes>,
) -> Result<Update, String> {
    let Assignment { round, plan, sections, secure, .. } = assignment.clone();
    // A plan comes from another machine; absurd numbers in it must not reach a network.
    plan.check().map_err(|e| e.to_string())?;
    let Materials { foundation, release: weights, companion } = materials;
    let reduce = secure.map_or(Reduce::None, |secure| secure.encoding.reduce);
    let layout = UpdateLayout::new(weights.len() / 4, sections).reduced(&reduce);
    let beside = layout.read(companion.as_ref()).map_err(|fault| format!("the companion: {fault}"))?;
    let pulls = plan.invariance.is_some_and(|invariance| round.0 >= invariance.from_round);
    let moments = beside.moments.filter(|_| pulls);
    let seed = training_seed(assignment, client).number();
    let task = TrainTask {
        round,
        plan,
        seed,
        foundation,
        weights,
        sections,
        control: beside.control,
        moments,
        memory,
    };
    let mut update = trainer.train(&task).map_err(|e| e.to_string())?;
    let (visible, memory) = (Visible { examples: update.examples, loss: update.loss }, update.memory.take());
    let bytes = layout.pack(update).map_err(|e| e.to_string())?;
    let (id, favourites) = (UpdateId::of(&bytes), beside.favourites);
    Ok(Update { id, bytes, visible, counts: None, memory, favourites, keys: None })
}

/// The counts of the release that a round starts from.
fn score(
    assignment: &Assignment,
    scoring: Scoring,
    memory: Option<Bytes>,
    trainer: &dyn Trainer,
    materials: &Materials<Bytes>,
) -> Result<Vec<u32>, String> {
    let (version, plan) = (scoring.version, assignment.plan.clone());
    plan.check().map_err(|error| error.to_string())?;
    let Materials { foundation, release: weights, .. } = materials.clone();
    let task = EvaluateTask { version, plan, foundation, weights, memory };
    let LocalEvaluation { classes, confusion } =
        trainer.evaluate(&task).map_err(|error| error.to_string())?;
    let epochs: u64 = confusion.iter().copied().map(u64::from).sum();
    if classes != scoring.classes || confusion.len() != usize::from(classes).pow(2) {
        return Err(format!("this hub counts {classes} classes, the server {}", scoring.classes));
    }
    if epochs == 0 {
        return Err("no epoch has a label".into());
    }
    if epochs > u64::from(MAX_EPOCHS) {
        return Err(format!("{epochs} epochs, at most {MAX_EPOCHS} can be counted"));
    }
    Ok(confusion)
}

/// A client's own chance in a round; the server knows it.
pub(super) fn training_seed(assignment: &Assignment, client: &ClientId) -> Seed {
    Seed::from_number(assignment.seed).derive(Label::Client, client.as_str().as_bytes())
}
