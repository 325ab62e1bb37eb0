//! The published evaluation of a sleep tracker against PSG (SRI's pipeline, 14 people), reproduced.
//!
//! Compared exactly, at the two decimals printed: per-subject and pooled accuracy, sensitivity, specificity, group mean
//! and SD, kappa, PABAK, prevalence index, pooled and proportional error matrices, sleep measures, per-subject
//! discrepancies. The pipeline rounds each person's score to two decimals **before** it averages, so the group tests do too.
//!
//! Compared within a stated tolerance: PPV and NPV, which the pipeline computes from already rounded sensitivity,
//! specificity and prevalence (0.02 points pooled, .05 averaged); the "basic" bootstrap intervals over people, whose draws are random
//! (0.15 standard errors of the mean: four times the Monte-Carlo error of 10,000 draws on both sides).
//!
//! Not compared: group bias and limits of agreement. The published file holds the discrepancy of each person but no group
//! row; bias and limits are checked against their definition on those published discrepancies instead.

use serde_json::{Map, Value};
use somnus_report::agreement::{Size, discrepancies};
use somnus_report::stats::{mean, sd};
use somnus_report::{Bootstrap, ClassMetrics, Confusion, Hypnogram, NightOptions, NightStatistics, Staging};
use std::collections::BTreeMap;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/golden/sri-sleep");
const STAGES: [&str; 4] = ["WAKE", "LIGHT", "DEEP", "REM"];

struct Study {
    people: BTreeMap<String, (Hypnogram, Hypnogram)>,
    published: Value,
}

impl Study {
    fn staged(&self) -> BTreeMap<String, Confusion> {
        let matrix = |(truth, device): &(Hypnogram, Hypnogram)| Confusion::from_hypnograms(4, truth, device);
        self.people.iter().map(|(id, nights)| (id.clone(), matrix(nights).unwrap())).collect()
    }

    /// Sleep is class 0 and wake class 1, so that sleep is the positive class, as published.
    fn sleep_wake(&self) -> BTreeMap<String, Confusion> {
        let two = |matrix: &Confusion| matrix.merged(2, &[1, 0, 0, 0]).unwrap();
        self.staged().iter().map(|(id, matrix)| (id.clone(), two(matrix))).collect()
    }
}

fn study(test: &str) -> Option<Study> {
    if !std::path::Path::new(FOLDER).exists() {
        println!("SKIPPED {test}: {FOLDER} is absent");
        return None;
    }
    let published = std::fs::read_to_string(format!("{FOLDER}/evaluation_sri_full.json")).unwrap();
    let csv = std::fs::read_to_string(format!("{FOLDER}/hypnograms.csv")).unwrap();
    let mut people: BTreeMap<String, (Hypnogram, Hypnogram)> = BTreeMap::new();
    for line in csv.lines().skip(1).filter(|line| !line.is_empty()) {
        let cells: Vec<&str> = line.split(',').collect();
        let night = people.entry(cells[0].to_owned()).or_default();
        assert_eq!(cells[1].parse::<usize>().unwrap(), night.0.len() + 1, "{line}: epochs out of order");
        night.0.push(Some(cells[2].parse().unwrap()));
        night.1.push(Some(cells[3].parse().unwrap()));
    }
    assert_eq!(people.len(), 14);
    assert_eq!(people.values().map(|night| night.0.len()).sum::<usize>(), 10_766);
    Some(Study { people, published: serde_json::from_str(&published).unwrap() })
}

/// The published score `key` of one class, in the units printed: percent for all but the last three.
fn score(class: &ClassMetrics, key: &str) -> f64 {
    let fraction = match key {
        "accuracy" => class.accuracy,
        "sensitivity" => class.recall,
        "specificity" => class.specificity,
        "ppv" => class.precision,
        "npv" => class.npv,
        "kappa" => return class.kappa.unwrap(),
        "pabak" => return class.pabak.unwrap(),
        "pindex" => return class.prevalence_index.unwrap(),
        other => panic!("no score {other}"),
    };
    100.0 * fraction.unwrap()
}

fn two_decimals(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// At the two decimals printed; a value that lies on the edge between two may be rounded either way.
fn printed(own: f64, published: &Value, what: &str) {
    let published = published.as_f64().unwrap_or_else(|| panic!("{what}: nothing published"));
    assert!((own - published).abs() <= 0.005 + 1e-9, "{what}: {own} against {published}");
}

fn within(own: f64, published: &Value, tolerance: f64, what: &str) {
    let published = published.as_f64().unwrap_or_else(|| panic!("{what}: nothing published"));
    assert!((own - published).abs() <= tolerance, "{what}: {own} against {published} ± {tolerance}");
}

/// Entries that are data: keys with an underscore in front are remarks.
fn entries(map: &Value) -> impl Iterator<Item = (&String, &Map<String, Value>)> {
    map.as_object()
        .unwrap()
        .iter()
        .filter(|(key, _)| !key.starts_with('_'))
        .map(|(key, value)| (key, value.as_object().unwrap_or_else(|| panic!("{key} is not an object"))))
}

#[test]
fn golden_sri_per_subject_scores() {
    let Some(study) = study("golden_sri_per_subject_scores") else { return };
    let (staged, binary) = (study.staged(), study.sleep_wake());
    let mut compared = 0;
    for (id, stages) in entries(&study.published["per_subject"]) {
        for (class, stage) in STAGES.iter().enumerate() {
            let own = ClassMetrics::of(&staged[id], class);
            for key in ["accuracy", "sensitivity", "specificity"] {
                printed(score(&own, key), &stages[*stage][key], &format!("{id} {stage} {key}"));
                compared += 1;
            }
        }
    }
    for (id, scores) in entries(&study.published["per_subject_sleep_wake"]) {
        let own = ClassMetrics::of(&binary[id], 0);
        for key in ["accuracy", "sensitivity", "specificity"] {
            printed(score(&own, key), &scores[key], &format!("{id} sleep/wake {key}"));
            compared += 1;
        }
    }
    assert_eq!(compared, 14 * 4 * 3 + 14 * 3);
}

#[test]
fn golden_sri_group_scores() {
    let Some(study) = study("golden_sri_group_scores") else { return };
    let staged: Vec<(usize, &str)> =
        STAGES.iter().enumerate().map(|(class, &stage)| (class, stage)).collect();
    group(&study.published["group_ebe_staging"], &study.staged(), &staged);
    group(&study.published["group_ebe_sleep_wake"], &study.sleep_wake(), &[(0, "SLEEP")]);
}

fn group(published: &Value, people: &BTreeMap<String, Confusion>, classes: &[(usize, &str)]) {
    let pooled = Confusion::sum(people.values()).unwrap().unwrap();
    for &(class, stage) in classes {
        for table in ["basic_sum", "advanced_sum"] {
            for (key, value) in published[table][stage].as_object().unwrap() {
                let what = format!("{table} {stage} {key}");
                let own = score(&ClassMetrics::of(&pooled, class), key);
                if key == "ppv" || key == "npv" {
                    within(own, value, 0.02, &what);
                } else {
                    printed(own, value, &what);
                }
            }
        }
        for table in ["basic_avg", "advanced_avg"] {
            for (key, value) in published[table][stage].as_object().unwrap() {
                let own: Vec<f64> = people
                    .values()
                    .map(|matrix| two_decimals(score(&ClassMetrics::of(matrix, class), key)))
                    .collect();
                average(&own, value, key, &format!("{table} {stage} {key}"));
            }
        }
    }
}

fn average(people: &[f64], published: &Value, key: &str, what: &str) {
    let tolerance = if key == "ppv" || key == "npv" { 0.05 } else { 0.005 + 1e-9 };
    let (own_mean, own_sd) = (mean(people).unwrap(), sd(people).unwrap());
    within(own_mean, &published["mean"], tolerance, &format!("{what} mean"));
    within(own_sd, &published["sd"], tolerance, &format!("{what} sd"));
    let boot = Bootstrap { resamples: 10_000, level: 0.95, seed: 1 };
    let statistic =
        |drawn: &[usize]| Some(drawn.iter().map(|&i| people[i]).sum::<f64>() / drawn.len() as f64);
    let interval = boot.basic(people.len(), statistic).unwrap();
    let error = 0.15 * own_sd / (people.len() as f64).sqrt() + 0.005;
    within(interval.low, &published["CI_low"], error, &format!("{what} CI_low"));
    within(interval.high, &published["CI_high"], error, &format!("{what} CI_high"));
}

#[test]
fn golden_sri_error_matrices() {
    let Some(study) = study("golden_sri_error_matrices") else { return };
    let matrices = &study.published["error_matrices"];
    let stages = ["wake", "light", "deep", "REM"];
    error_matrix(&matrices["_condition_staging"], &study.staged(), &stages);
    let wake_first: BTreeMap<String, Confusion> =
        study.sleep_wake().iter().map(|(id, m)| (id.clone(), m.merged(2, &[1, 0]).unwrap())).collect();
    error_matrix(&matrices["_condition_sleep_wake"], &wake_first, &["wake", "sleep"]);
}

fn error_matrix(published: &Value, people: &BTreeMap<String, Confusion>, stages: &[&str]) {
    let pooled = Confusion::sum(people.values()).unwrap().unwrap();
    let (sum, shares) = (&published["absolute_sum"], &published["proportional_avg"]);
    for (truth, reference) in stages.iter().enumerate() {
        let counts = &sum[format!("{reference}_ref")];
        assert_eq!(Some(pooled.truth_total(truth)), counts["reference_total"].as_u64(), "{reference}");
        let total = &sum["device_totals"][format!("device_{reference}")];
        assert_eq!(Some(pooled.predicted_total(truth)), total.as_u64(), "device {reference}");
        for (predicted, device) in stages.iter().enumerate() {
            let what = format!("{reference} as {device}");
            let key = format!("device_{device}");
            assert_eq!(Some(pooled.count(truth, predicted)), counts[&key].as_u64(), "{what}");
            // "mean (sd) [low, high]" of each person's share of the row.
            let text = shares[format!("{reference}_ref")][&key].as_str().unwrap();
            let numbers: Vec<f64> = text
                .split(['(', ')', '[', ']', ',', ' '])
                .filter(|part| !part.is_empty())
                .map(|part| part.parse().unwrap())
                .collect();
            let own: Vec<f64> = people.values().map(|m| m.share(truth, predicted).unwrap()).collect();
            // The pipeline rounds each share to two decimals before averaging, up to .005 off each way.
            within(mean(&own).unwrap(), &numbers[0].into(), 0.01, &format!("{what} mean"));
            within(sd(&own).unwrap(), &numbers[1].into(), 0.01, &format!("{what} sd"));
        }
    }
    assert_eq!(Some(pooled.total()), sum["device_totals"]["grand_total"].as_u64());
}

/// Published name of a measure and its value here.
fn measures(night: &NightStatistics) -> [(&'static str, f64); 10] {
    let share = |class: usize| night.stages[class].percent_of_tst.unwrap();
    [
        ("TST", night.tst),
        ("SE", night.se.unwrap()),
        ("SOL", night.sol.unwrap()),
        ("WASO", night.waso.unwrap()),
        ("Light", night.stages[1].minutes),
        ("Deep", night.stages[2].minutes),
        ("REM", night.stages[3].minutes),
        ("LightPerc", share(1)),
        ("DeepPerc", share(2)),
        ("REMPerc", share(3)),
    ]
}

fn staging() -> Staging {
    Staging::new(&["Wake", "Light", "Deep", "REM"], true)
}

fn pair(study: &Study, id: &str) -> (NightStatistics, NightStatistics) {
    let (truth, device) = &study.people[id];
    NightStatistics::paired(truth, device, &staging(), NightOptions::default())
}

#[test]
fn golden_sri_sleep_measures_and_discrepancies() {
    let Some(study) = study("golden_sri_sleep_measures_and_discrepancies") else { return };
    let published = &study.published;
    let mut compared = 0;
    for (id, row) in entries(&published["per_subject_sleep_measures"]) {
        let (reference, device) = pair(&study, id);
        printed(reference.tib, &row["TIB"], &format!("{id} TIB"));
        for ((name, truth), (_, own)) in measures(&reference).into_iter().zip(measures(&device)) {
            printed(truth, &row[&format!("{name}_ref")], &format!("{id} {name} reference"));
            printed(own, &row[&format!("{name}_device")], &format!("{id} {name} device"));
            compared += 2;
        }
    }
    for table in ["per_subject_discrepancies_staging", "per_subject_discrepancies_sleep_wake"] {
        for (id, row) in entries(&published[table]) {
            let (reference, device) = pair(&study, id);
            for ((name, truth), (_, own)) in measures(&reference).into_iter().zip(measures(&device)) {
                if let Some(value) = row.get(&format!("{name}_diff")) {
                    // Published as the difference of the two printed numbers.
                    let own = two_decimals(own) - two_decimals(truth);
                    printed(own, value, &format!("{table} {id} {name}"));
                    compared += 1;
                }
            }
        }
    }
    assert_eq!(compared, 14 * 20 + 14 * 10 + 14 * 4);
}

#[test]
fn golden_sri_group_bias_follows_from_the_published_discrepancies() {
    let Some(study) = study("golden_sri_group_bias_follows_from_the_published_discrepancies") else { return };
    let people: Vec<_> = study.people.keys().map(|id| vec![pair(&study, id)]).collect();
    let own = discrepancies(&people, &staging(), Size::Reference);
    let published = &study.published["per_subject_discrepancies_staging"];
    let names = [
        ("TST", "TST"),
        ("SE", "SE"),
        ("SOL", "SOL"),
        ("WASO", "WASO"),
        ("Light", "Light"),
        ("Deep", "Deep"),
        ("REM", "REM"),
        ("LightPerc", "Light % of TST"),
        ("DeepPerc", "Deep % of TST"),
        ("REMPerc", "REM % of TST"),
    ];
    for (key, name) in names {
        let row = own.iter().find(|row| row.measure == name).unwrap();
        let differences: Vec<f64> =
            entries(published).map(|(_, person)| person[&format!("{key}_diff")].as_f64().unwrap()).collect();
        assert_eq!((differences.len(), row.reference.n), (14, 14));
        let (bias, spread) = (mean(&differences).unwrap(), sd(&differences).unwrap());
        for (what, own, golden) in [
            ("bias", row.bias.value, bias),
            ("sd", row.sd, spread),
            ("lower limit", row.lower.value, bias - 1.96 * spread),
            ("upper limit", row.upper.value, bias + 1.96 * spread),
            // t(13) = 2.160369.
            ("bias interval", row.bias.high, bias + 2.160_369 * spread / 14_f64.sqrt()),
            (
                "limit interval",
                row.lower.low,
                bias - 1.96 * spread - 2.160_369 * spread * (3_f64 / 14.0).sqrt(),
            ),
        ] {
            assert!((own - golden).abs() < 0.02, "{name} {what}: {own} against {golden}");
        }
    }
}

/// The same numbers, but out of the report that a user gets of the published hypnograms.
#[test]
fn golden_sri_is_a_study_report_with_the_published_numbers() {
    let Some(study) = study("golden_sri_is_a_study_report_with_the_published_numbers") else { return };
    let table = std::fs::read_to_string(format!("{FOLDER}/hypnograms.csv")).unwrap();
    let summary = somnus_report::device::study("sri", &table, &staging()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    somnus_report::write_run(dir.path(), &summary).unwrap();
    let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
    let written: Value = serde_json::from_str(&read("summary.json")).unwrap();
    let clients = written["clients"].as_array().unwrap();
    assert_eq!(clients.len(), 14);
    let page = read("report.html");
    let mut compared = 0;
    for (id, stages) in entries(&study.published["per_subject"]) {
        let client = clients.iter().find(|client| client["id"] == id.as_str()).unwrap();
        for (class, stage) in STAGES.iter().enumerate() {
            let own = &client["metrics"]["per_class"][class];
            for (key, ours) in
                [("accuracy", "accuracy"), ("sensitivity", "recall"), ("specificity", "specificity")]
            {
                printed(
                    100.0 * own[ours].as_f64().unwrap(),
                    &stages[*stage][key],
                    &format!("{id} {stage} {key}"),
                );
                compared += 1;
            }
        }
        assert!(page.contains(id.as_str()), "{id} is not on the page");
    }
    for (id, row) in entries(&study.published["per_subject_sleep_measures"]) {
        let client = clients.iter().find(|client| client["id"] == id.as_str()).unwrap();
        let night = &client["nights"][0];
        for (key, ours) in [("TST", "tst"), ("SE", "se"), ("SOL", "sol"), ("WASO", "waso")] {
            for (side, statistics) in [("ref", "truth_statistics"), ("device", "predicted_statistics")] {
                let own = night[statistics][ours].as_f64().unwrap();
                printed(own, &row[&format!("{key}_{side}")], &format!("{id} {key} {side}"));
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 14 * 12 + 14 * 8);
    assert_eq!(written["discrepancies"].as_array().unwrap().len(), summary.discrepancies.len());
    // Bland and Altman's plots stand on the page, one for each measure.
    assert!(
        summary.discrepancies.len() >= 10 && page.matches("<svg").count() >= 4,
        "{}",
        page.matches("<svg").count()
    );
}
