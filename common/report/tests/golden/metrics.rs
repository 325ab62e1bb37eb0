//! Scores against scikit-learn's, to 1e-5, on every file of the pattern.

use serde_json::Value;
use somnus_report::{Confusion, Metrics};
use std::path::Path;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/golden");

#[test]
fn golden_epoch_metrics_match_scikit_learn() {
    let Ok(folder) = std::fs::read_dir(GOLDEN) else {
        println!("SKIPPED golden_epoch_metrics_match_scikit_learn: {GOLDEN} is absent");
        return;
    };
    let mut files: Vec<_> = folder
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_name().unwrap().to_string_lossy();
            name.starts_with("epoch_metrics_") && name.ends_with(".json")
        })
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no epoch_metrics_*.json in {GOLDEN}");
    let cases: usize = files.iter().map(|path| check(path)).sum();
    println!("{cases} cases of {} files agree", files.len());
}

fn check(path: &Path) -> usize {
    let json: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let cases = match json {
        Value::Array(cases) => cases,
        case => vec![case],
    };
    assert!(!cases.is_empty(), "{} holds no case", path.display());
    for (index, case) in cases.iter().enumerate() {
        let at = format!("{} case {index}", path.display());
        let classes = usize::try_from(case["classes"].as_u64().unwrap()).unwrap();
        let codes = |key: &str| -> Vec<u8> {
            let list = case[key].as_array().unwrap();
            list.iter().map(|code| u8::try_from(code.as_u64().unwrap()).unwrap()).collect()
        };
        let (truth, predicted) = (codes("truth"), codes("predicted"));
        assert_eq!(truth.len(), predicted.len(), "{at}");
        let matrix = Confusion::from_pairs(classes, truth.into_iter().zip(predicted)).unwrap();
        let counts: Confusion = serde_json::from_value(case["confusion"].clone()).unwrap();
        assert_eq!(matrix, counts, "{at}: confusion");

        let scores = Metrics::of(&matrix);
        near(scores.accuracy, &case["accuracy"], &format!("{at}: accuracy"));
        near(scores.kappa, &case["kappa"], &format!("{at}: kappa"));
        near(scores.macro_f1, &case["macro_f1_present"], &format!("{at}: macro-F1"));
        near(scores.mcc, &case["mcc"], &format!("{at}: MCC"));
        for (class, own) in scores.per_class.iter().enumerate() {
            // scikit-learn writes 0 where a ratio has no denominator (`zero_division`); here it is undefined.
            let zero = |score: Option<f64>| Some(score.unwrap_or(0.0));
            near(zero(own.f1), &case["f1_per_class"][class], &format!("{at}: F1 of {class}"));
            near(zero(own.recall), &case["recall"][class], &format!("{at}: recall of {class}"));
            near(zero(own.precision), &case["precision"][class], &format!("{at}: precision of {class}"));
        }
    }
    cases.len()
}

fn near(own: Option<f64>, golden: &Value, what: &str) {
    assert!(golden.is_null() || golden.is_number(), "{what} is missing from the golden file");
    match (own, golden.as_f64()) {
        (Some(own), Some(golden)) => assert!((own - golden).abs() < 1e-5, "{what}: {own} against {golden}"),
        (own, golden) => assert_eq!(own, golden, "{what}"),
    }
}
