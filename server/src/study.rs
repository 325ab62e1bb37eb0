//! What an operator may print of a federation: its rounds, and what evaluations came to, as far as the server gets to know it.
//!
//! `federation.evaluation` decides: with `per-client` everybody's counts are a line of the report, with `aggregate` there is one line for
//! all of them, with `none` there are rounds alone.

use somnus_protocol::config::RoundConfig;
use somnus_protocol::record::{Outcome, RoundRecord};
use somnus_report::{Metrics, PerSubject, RoundResult, Row, Staging, Summary};

use crate::error::RequestError;
use crate::federation::Federation;
use crate::score::Scored;

/// The report, from everything that the store remembers.
///
/// # Errors
/// [`RequestError`] if a record cannot be read.
pub fn study(federation: &Federation) -> Result<Summary, RequestError> {
    let records: Vec<RoundRecord> = federation.history.rounds()?.into_values().collect();
    let budget = federation.config.rounds.as_ref().ok().and_then(RoundConfig::epsilon);
    Ok(of(&federation.config.name, &records, budget))
}

fn of(federation: &str, records: &[RoundRecord], budget: Option<f64>) -> Summary {
    let scores: Vec<Option<Scored>> = records.iter().map(Scored::of).collect();
    let newest = scores.iter().flatten().max_by_key(|scored| scored.version);
    let (task, staging) = staged(newest.map_or(4, |scored| scored.all.classes()));
    let mut summary = Summary::new(federation, task, staging);
    let mut version = 0;
    for (record, scored) in records.iter().zip(&scores) {
        if let Outcome::Released(released) = record.outcome {
            version = released.0;
        }
        summary.rounds.push(round(record, version, scored.as_ref()));
    }
    summary.seconds = summary.rounds.iter().map(|round| round.seconds).sum();
    if let Some(budget) = budget {
        summary
            .notes
            .push(format!("All rounds together may tell at most ε {budget} of one person's presence."));
    }
    match newest {
        None => summary
            .notes
            .push("This server has no evaluations: it is told none, or none was made yet.".into()),
        Some(scored) => {
            summary.notes.push(told(scored));
            // Matrices of one size, by `Scored`; nobody, and there is none.
            summary.rows.extend(Row::from_subjects("federated", &scored.each, 0).ok());
            if scored.is_sum() {
                summary.rows.iter_mut().for_each(of_nobody);
            }
        }
    }
    summary.analyse();
    summary
}

/// A sum of all people is no person.
fn of_nobody(row: &mut Row) {
    row.subjects.clear();
    row.per_subject = PerSubject::default();
}

fn told(scored: &Scored) -> String {
    let Scored { version, clients, .. } = scored;
    if scored.is_sum() {
        format!(
            "Release {version} was evaluated by {clients} clients on their own nights. Their counts came as one sum: nothing here is about one of \
             them."
        )
    } else {
        format!("Release {version} was evaluated by {clients} clients, each on its own nights.")
    }
}

fn round(record: &RoundRecord, version: u64, scored: Option<&Scored>) -> RoundResult {
    let count = |clients: usize| u32::try_from(clients).unwrap_or(u32::MAX);
    let loss = f64::from(record.loss);
    // A closing round does nothing but count.
    let closing = matches!(record.outcome, Outcome::Evaluated(_));
    let trained = !record.counted.is_empty() && loss.is_finite() && !closing;
    RoundResult {
        round: record.round.0,
        version,
        cohort: count(record.cohort.len()),
        reported: count(record.counted.len()),
        mean_loss: trained.then_some(loss),
        examples: record.examples,
        evaluation: scored.map(|scored| Metrics::of(&scored.all)),
        seconds: record.millis as f64 / 1000.0,
        bytes_up: record.bytes_up,
        bytes_down: record.bytes_down,
        epsilon: record.epsilon,
        aborted: match &record.outcome {
            Outcome::Aborted(why) => Some(why.clone()),
            Outcome::Released(_) | Outcome::Evaluated(_) => None,
        },
    }
}

/// The task that has so many classes.
fn staged(classes: usize) -> (&'static str, Staging) {
    match classes {
        2 => ("sleep-wake", Staging::sleep_wake()),
        3 => ("three", Staging::three()),
        5 => ("five", Staging::five()),
        _ => ("four", Staging::four()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use somnus_protocol::evaluation::Tally;
    use somnus_protocol::ids::{Round, Version};
    use somnus_protocol::record::Evaluation;

    use super::*;
    use crate::score::tests::record;

    #[test]
    fn single_clients_are_lines_and_a_sum_is_one() {
        let single = |confusion: [u32; 4]| Evaluation { classes: 2, confusion: confusion.to_vec() };
        let each = BTreeMap::from([
            ("ann".parse().unwrap(), single([30, 10, 0, 10])),
            ("ben".parse().unwrap(), single([10, 0, 10, 30])),
        ]);
        let lines = of("home", &[record(None, each)], None);
        assert_eq!(lines.rows[0].subjects.keys().collect::<Vec<_>>(), ["ann", "ben"]);
        assert!(lines.rows[0].pooled.kappa.is_some_and(|kappa| (kappa - 0.6).abs() < 1e-12));

        let tally = Tally { version: Version(4), clients: 3, classes: 2, confusion: vec![40, 10, 10, 40] };
        let sum = of("home", &[record(Some(tally), BTreeMap::new())], None);
        assert!(sum.rows[0].subjects.is_empty() && sum.fairness.is_empty());
        assert!(sum.rows[0].pooled.kappa.is_some_and(|kappa| (kappa - 0.6).abs() < 1e-12));
        assert!(sum.notes[0].contains("one sum") && !lines.notes[0].contains("one sum"), "{:?}", sum.notes);
        assert_eq!((sum.task.as_str(), sum.staging.len()), ("sleep-wake", 2));
    }

    #[test]
    fn a_report_that_cannot_be_written_says_where_and_why() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let failed = somnus_report::write_run(&file.path().join("out"), &of("home", &[], None)).unwrap_err();
        let told = RequestError::from(failed).to_string();
        assert!(told.contains("/out") && told.ends_with("Not a directory (os error 20)"), "{told}");
    }

    #[test]
    fn a_round_that_only_counts_has_no_loss() {
        let mut trained = record(None, BTreeMap::new());
        (trained.counted, trained.loss) = (vec!["ann".parse().unwrap()], 0.5);
        let mut closing = trained.clone();
        (closing.outcome, closing.loss) = (Outcome::Evaluated(Version(5)), 0.0);
        let study = of("home", &[trained, closing], None);
        assert_eq!(study.rounds.iter().map(|r| r.mean_loss).collect::<Vec<_>>(), [Some(0.5), None]);
    }

    #[test]
    fn rounds_say_what_became_of_them_whatever_is_known_of_people() {
        let mut aborted = record(None, BTreeMap::new());
        aborted.round = Round(6);
        aborted.outcome = Outcome::Aborted("too few".into());
        aborted.millis = 1500;
        let study = of("home", &[record(None, BTreeMap::new()), aborted], Some(8.0));
        assert!(study.rows.is_empty() && study.notes.iter().any(|note| note.contains("no evaluations")));
        assert!(study.notes[0].contains("ε 8"), "{:?}", study.notes);
        assert_eq!(study.rounds.iter().map(|r| r.version).collect::<Vec<_>>(), [5, 5]);
        assert_eq!(study.rounds[1].aborted.as_deref(), Some("too few"));
        assert!((study.seconds - 1.5).abs() < 1e-9);
        assert!(somnus_report::html::run_page(&study).contains("too few"));
    }
}
