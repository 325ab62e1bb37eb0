//! One federation of everybody, for its release: nobody is held out, so its scores prove nothing.

use std::collections::BTreeMap;
use std::time::Instant as Clock;

use somnus_protocol::checkpoint::Checkpoint;
use somnus_protocol::ids::Digest;
use somnus_report::Summary;
use somnus_signals::split::Fold;
use somnus_signals::{Night, PersonId};

use crate::cohort::People;
use crate::evaluate::row;
use crate::federate::{Means, StudyError, client_result, federate};
use crate::merge::merged;
use crate::progress::Progress;
use crate::scenario::Scenario;
use crate::start::Start;
use crate::summary;

/// The role of people whose labels the model has seen.
const TRAINED: &str = "trained";

/// A release and its story.
pub struct Trained {
    /// For `release.safetensors`.
    pub checkpoint: Checkpoint,
    /// For `summary.json`: rounds, and scores on the people who were trained on, named as such.
    pub summary: Summary,
}

/// Trains one federation of all `people` with the scenario's first seed. `start` is when the work began.
///
/// # Errors
/// [`StudyError`] naming the key or the night.
pub fn train(
    scenario: &Scenario,
    origin: &Start,
    mut people: People,
    means: Means,
    start: Clock,
    progress: impl FnOnce(u64) -> Progress,
) -> Result<Trained, StudyError> {
    let everyone: Vec<PersonId> = people.people();
    people.folds = vec![Fold { train: everyone.clone(), test: Vec::new() }];
    let one = Scenario { seeds: scenario.seeds[..1].to_vec(), ..scenario.clone() };
    let steps = one.federation.rounds * u64::from(one.federation.plan.steps_over(1)) * everyone.len() as u64;
    let progress = progress(steps);
    let federated = federate(&one, origin, &people, None, means, &progress)?;
    progress.finish();
    let Some(stager) = federated.stager else { unreachable!("there was one fold") };

    let config = serde_json::to_vec(&one).expect("a scenario is plain JSON");
    let provenance = BTreeMap::from([
        ("training".to_owned(), format!("a federation of {} people", everyone.len())),
        ("foundation".to_owned(), origin.name().to_owned()),
        ("scenario".to_owned(), one.name.clone()),
        ("config_sha256".to_owned(), Digest::of(&config).to_hex()),
        ("seed".to_owned(), one.seeds[0].to_string()),
    ]);
    let checkpoint = stager.to_checkpoint(&one.name, provenance);

    let person = |person: &PersonId| {
        let nights: Vec<&Night> = people.nights_of(person).map(|night| &**night).collect();
        client_result(person.as_str(), TRAINED, &nights, &stager)
    };
    let clients = everyone.iter().map(person).collect::<Result<Vec<_>, _>>()?;
    let row = row("federated", &clients)?.with_note("the people it was trained on: no evidence");
    let mut summary = summary::begun(&one, &means, &people);
    summary.config["releases"] = serde_json::json!(federated.releases);
    summary.merged = merged(&row, one.task)?;
    summary.rows = vec![row];
    summary.clients = clients;
    summary.rounds = federated.rounds;
    summary.notes = vec![
        "Everybody here was trained on. To know what the release is worth, score it on other people with \
         `somnus-sim evaluate`."
            .into(),
    ];
    summary.notes.extend(one.notes.iter().cloned());
    summary.analyse();
    Ok(Trained { checkpoint, summary: summary::ended(summary, start) })
}
