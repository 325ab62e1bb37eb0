//! Models that a person has by taking part: a federation of everybody, each with the own beginning.

use std::collections::BTreeMap;
use std::sync::Arc;

use somnus_model::{Foundations, NightTrainer};
use somnus_protocol::message::Role;
use somnus_protocol::plan::Personalisation;
use somnus_report::Confusion;
use somnus_signals::PersonId;
use somnus_signals::split::Fold;

use super::config::name;
use super::cut::Cut;
use crate::baselines::Scores;
use crate::federate::{Means, ReleaseId, StudyError, run_one};
use crate::federation::Client;
use crate::progress::Progress;
use crate::recipe::{assemble, client_id};
use crate::scenario::Scenario;
use crate::start::Start;

/// One federation: everybody trains on the own beginning, and is judged by the last release with the own memory.
pub(super) fn together(
    scenario: &Scenario,
    origin: &Start,
    cuts: &BTreeMap<PersonId, Cut>,
    method: Personalisation,
    seed: u64,
    means: Means,
    progress: &Progress,
) -> Result<(Scores, ReleaseId), StudyError> {
    let shared = Foundations::default();
    let client = |(person, cut): (&PersonId, &Cut)| {
        let trainer = NightTrainer::new(scenario.device, cut.learn.clone(), vec![cut.judge.clone()]);
        Client { id: client_id(person), role: Role::Trains, trainer: Arc::new(trainer.sharing(&shared)) }
    };
    let clients = cuts.iter().map(client).collect();
    let fold = Fold { train: cuts.keys().cloned().collect(), test: Vec::new() };
    let mut rules = scenario.federation_of(cuts.len());
    rules.plan.personal = method;
    let recipe = assemble(rules, origin.checkpoint(scenario, seed)?, clients, fold, seed)?;
    let place = format!("{}, seed {seed}", name(method));
    let (outcome, release) = run_one(&recipe, scenario, 0, place, means, progress)?;

    let mut scores = Scores::new();
    for person in cuts.keys() {
        // Whom the world kept from answering is missing in the row, and the row says of how many people it is.
        let scored = outcome.evaluations.get(&client_id(person));
        let Some(counts) = scored.and_then(|scored| scored.get(&outcome.version)) else { continue };
        let rows = counts.confusion.chunks_exact(usize::from(counts.classes));
        let rows: Vec<Vec<u64>> = rows.map(|row| row.iter().copied().map(u64::from).collect()).collect();
        scores.insert(person.to_string(), Confusion::try_from(rows)?);
    }
    Ok((scores, release))
}
