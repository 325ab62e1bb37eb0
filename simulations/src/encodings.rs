//! What an upload costs and what staging keeps of it: the same federation with plain updates, then under each encoding of
//! masked ones.

use std::fmt::Write;
use std::time::Instant as Clock;

use serde::{Deserialize, Serialize};
use somnus_protocol::encoding::{EncodingConfig, Reduce};
use somnus_protocol::fault::ConfigError;
use somnus_report::{Comparison, Excluded, Row, Spread, Summary};

use crate::cohort::People;
use crate::federate::{Federated, Means, ReleaseId, StudyError, federate, staging};
use crate::progress::Progress;
use crate::rss;
use crate::scenario::{MANY, Scenario};
use crate::start::Start;
use crate::study::BOOTSTRAP;

/// Bytes of a weight of a plain update.
const PLAIN: f64 = 4.0;

/// Every number of bits with every reduction; norms, spread and rounding are those of the scenario's `federation.secure`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EncodingsConfig {
    /// Values of `levels_bits`. Default 8, 10, 12, 16.
    pub levels_bits: Vec<u32>,
    /// Values of `reduce`. Default none, a tenth and a quarter of the weights, rank 16.
    pub reduce: Vec<Reduce>,
}

impl Default for EncodingsConfig {
    fn default() -> Self {
        Self {
            levels_bits: vec![8, 10, 12, 16],
            reduce: vec![
                Reduce::None,
                Reduce::TopK { fraction: 0.1 },
                Reduce::TopK { fraction: 0.25 },
                Reduce::LowRank { rank: 16 },
            ],
        }
    }
}

impl EncodingsConfig {
    /// Refuses what cannot be studied on such a scenario.
    ///
    /// # Errors
    /// [`ConfigError::Value`] naming the key.
    pub fn check(&self, scenario: &Scenario) -> Result<(), ConfigError> {
        let refuse = |why: String| Err(ConfigError::Value { key: "encodings".into(), why });
        if scenario.folds == 0 {
            return refuse("releases are judged on people held out: `folds` is 0".into());
        }
        if scenario.federation.danger_plain_aggregation {
            return refuse("it has a plain row of its own: leave out `danger_plain_aggregation`".into());
        }
        for encoding in self.all(&scenario.federation.secure.encoding) {
            // What is wrong with the federation beside its encoding is said elsewhere.
            if let Err(ConfigError::Value { key, why }) =
                encoded(scenario, &encoding).federation_of(MANY).check()
                && (key.starts_with("encoding") || key.starts_with("secure.encoding"))
            {
                return refuse(format!("{}: `{key}`: {why}", name(&encoding)));
            }
        }
        Ok(())
    }

    fn all(&self, base: &EncodingConfig) -> Vec<EncodingConfig> {
        let of = |reduce: &Reduce| {
            let (reduce, base) = (*reduce, base.clone());
            self.levels_bits.iter().map(move |bits| EncodingConfig {
                levels_bits: *bits,
                reduce,
                ..base.clone()
            })
        };
        self.reduce.iter().flat_map(of).collect()
    }
}

fn encoded(scenario: &Scenario, encoding: &EncodingConfig) -> Scenario {
    let mut scenario = scenario.clone();
    scenario.federation.secure.encoding = encoding.clone();
    scenario
}

fn name(encoding: &EncodingConfig) -> String {
    let bits = encoding.levels_bits;
    match encoding.reduce {
        Reduce::None => format!("{bits} bits"),
        Reduce::TopK { fraction } => format!("{bits} bits, {:.0} % of the weights", 100.0 * fraction),
        Reduce::LowRank { rank } => format!("{bits} bits, rank {rank}"),
    }
}

/// One row.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Cell {
    /// The encoding.
    pub name: String,
    /// Bytes of one client's update.
    pub bytes_up: f64,
    /// The same for each weight.
    pub bytes_a_weight: f64,
    /// Bytes of blobs for one client and round.
    pub bytes_down: f64,
    /// Pooled kappa of held-out people over seeds.
    pub kappa: Spread,
    /// Each held-out person's kappa.
    pub people: Spread,
}

/// What the study found.
pub struct Findings {
    /// For `summary.json` and the reports.
    pub summary: Summary,
    /// The table's numbers, also in the summary's configuration as `encodings`.
    pub cells: Vec<Cell>,
    /// The last release of each federation.
    pub releases: Vec<ReleaseId>,
}

/// Runs the study on its people. `start` is when the work began, loading included.
///
/// # Errors
/// [`StudyError`] naming the row, or the fold and seed.
pub fn run(
    scenario: &Scenario,
    config: &EncodingsConfig,
    origin: &Start,
    people: &People,
    means: Means,
    start: Clock,
    progress: impl FnOnce(u64) -> Progress,
) -> Result<Findings, StudyError> {
    let mut plain = scenario.clone();
    plain.federation.danger_plain_aggregation = true;
    let encodings = config.all(&scenario.federation.secure.encoding);
    let mut rows = vec![("plain".to_owned(), plain)];
    rows.extend(encodings.iter().map(|encoding| (name(encoding), encoded(scenario, encoding))));
    let progress = progress(rows.len() as u64 * steps(scenario, people));
    let mut summary = Summary::new(&scenario.name, scenario.task.name(), staging(scenario.task));
    let (mut cells, mut releases): (Vec<Cell>, _) = (Vec::new(), Vec::new());
    for (name, scenario) in &rows {
        let mut found = federate(scenario, origin, people, None, means, &progress)?;
        releases.append(&mut found.releases);
        let row = Row::from_seeds(name, &found.scores, BOOTSTRAP)?;
        let cell = Cell::of(&row, &found, cells.first());
        let cost = format!("{:.2} bytes a weight, {:.1} kB up", cell.bytes_a_weight, cell.bytes_up / 1e3);
        if let Some(plain) = summary.rows.first() {
            summary.comparisons.push(Comparison::between(&row, plain, BOOTSTRAP)?);
        }
        summary.rows.push(row.with_note(&cost));
        cells.push(cell);
    }
    progress.finish();

    summary.seeds = scenario.seeds.clone();
    summary.config = serde_json::json!({
        "scenario": scenario,
        "transport": means.transport.name(),
        "releases": releases,
        "encodings": cells,
    });
    summary.excluded =
        people.excluded.iter().map(|e| Excluded { id: e.id.clone(), reason: e.reason.clone() }).collect();
    summary.notes = vec![
        "Bytes are of one client in one round: its update, without the few kilobytes of keys and shares of a masked round."
            .into(),
    ];
    summary.notes.extend(scenario.notes.iter().cloned());
    summary.seconds = start.elapsed().as_secs_f64();
    summary.peak_rss_mib = rss::peak_mib();
    Ok(Findings { summary, cells, releases })
}

impl Cell {
    /// `plain` is the first one, which tells how many weights there are.
    fn of(row: &Row, found: &Federated, plain: Option<&Self>) -> Self {
        let reported: u32 = found.rounds.iter().map(|round| round.reported).sum();
        let each = |bytes: u64| bytes as f64 / f64::from(reported.max(1));
        let bytes_up = each(found.rounds.iter().map(|round| round.bytes_up).sum());
        Self {
            name: row.name.clone(),
            bytes_up,
            bytes_a_weight: PLAIN * plain.map_or(1.0, |plain| bytes_up / plain.bytes_up),
            bytes_down: each(found.rounds.iter().map(|round| round.bytes_down).sum()),
            kappa: row.seeds.spread,
            people: row.per_subject.kappa,
        }
    }
}

/// Bytes against kappa of held-out people, mean ± sd over seeds, a line each. Ends with a newline.
#[must_use]
pub fn table(cells: &[Cell]) -> String {
    let width = cells.iter().map(|cell| cell.name.chars().count()).max().unwrap_or(0);
    let mut out = format!("{:<width$}  bytes a weight      kB up            kappa\n", "");
    for Cell { name, bytes_up, bytes_a_weight, kappa, .. } in cells {
        let kappa = match (kappa.mean, kappa.sd) {
            (Some(mean), Some(sd)) => format!("{mean:.3} ± {sd:.3}"),
            (Some(mean), None) => format!("{mean:.3}"),
            (None, _) => "-".into(),
        };
        let _ = writeln!(out, "{name:<width$}  {bytes_a_weight:>14.2} {:>10.1} {kappa:>16}", bytes_up / 1e3);
    }
    out
}

/// Training steps of one row.
fn steps(scenario: &Scenario, people: &People) -> u64 {
    let federation = &scenario.federation;
    let of_fold = |training: usize| {
        let cohort = u64::from(scenario.federation_of(training).cohort).min(training as u64);
        federation.rounds * u64::from(federation.plan.steps_over(1)) * cohort
    };
    let all: u64 = people.folds.iter().map(|fold| of_fold(fold.train.len())).sum();
    scenario.seeds.len() as u64 * all
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "name = 'x'\n[data]\nkind = 'synthetic'\n[federation]\n";

    #[test]
    fn encodings_are_every_number_of_bits_with_every_reduction() {
        let text = "[encodings]\nlevels_bits = [8, 16]\nreduce = ['none', { low-rank = { rank = 4 } }]\n";
        let scenario = Scenario::from_text(&(BASE.to_owned() + text)).unwrap();
        let all =
            scenario.encodings.unwrap().all(&EncodingConfig { clip_norm: 3.0, ..EncodingConfig::default() });
        let names: Vec<String> = all.iter().map(name).collect();
        assert_eq!(names, ["8 bits", "16 bits", "8 bits, rank 4", "16 bits, rank 4"]);
        assert!(all.iter().all(|encoding| encoding.clip_norm == 3.0));
        assert_eq!(EncodingsConfig::default().all(&EncodingConfig::default()).len(), 16);
    }

    #[test]
    fn mistakes_name_the_encoding() {
        let cases = [
            ("[encodings]\nlevels_bits = [4]\n", "`encodings`: 4 bits: `encoding.levels_bits`: 4 is not"),
            ("danger_plain_aggregation = true\n[encodings]\n", "`encodings`: it has a plain row"),
        ];
        for (text, expected) in cases {
            let error = Scenario::from_text(&(BASE.to_owned() + text)).unwrap_err().to_string();
            assert!(error.contains(expected), "{error:?} does not contain {expected:?}");
        }
    }

    #[test]
    fn the_table_has_a_line_each() {
        let spread = Spread::of([Some(0.5), Some(0.52)]);
        let cell = |name: &str, bytes_up, bytes_a_weight| Cell {
            name: name.into(),
            bytes_up,
            bytes_a_weight,
            bytes_down: 0.0,
            kappa: spread,
            people: spread,
        };
        let expected = [
            "        bytes a weight      kB up            kappa",
            "plain             4.00      400.0    0.510 ± 0.014",
            "8 bits            1.62      162.0    0.510 ± 0.014\n",
        ]
        .join("\n");
        assert_eq!(table(&[cell("plain", 4e5, 4.0), cell("8 bits", 1.62e5, 1.62)]), expected);
    }
}
