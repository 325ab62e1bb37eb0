//! What every study's summary says beside its findings: whose it is, who was left out, and what it took.

use std::time::Instant as Clock;

use somnus_report::{Excluded, Summary};

use crate::cohort::People;
use crate::federate::{Means, staging};
use crate::rss;
use crate::scenario::Scenario;

/// The summary of a study of `people`, without findings.
pub(crate) fn begun(scenario: &Scenario, means: &Means, people: &People) -> Summary {
    let mut summary = Summary::new(&scenario.name, scenario.task.name(), staging(scenario.task));
    summary.seeds = scenario.seeds.clone();
    summary.config = serde_json::json!({ "scenario": scenario, "transport": means.transport.name() });
    summary.excluded = left_out(&people.excluded);
    summary
}

/// The same with what it took since `start`.
pub(crate) fn ended(mut summary: Summary, start: Clock) -> Summary {
    summary.seconds = start.elapsed().as_secs_f64();
    summary.peak_rss_mib = rss::peak_mib();
    summary
}

/// Who was left out, for a reader.
pub(crate) fn left_out(excluded: &[somnus_signals::Excluded]) -> Vec<Excluded> {
    excluded.iter().map(|one| Excluded { id: one.id.clone(), reason: one.reason.clone() }).collect()
}
