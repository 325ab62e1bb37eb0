//! A real server with a few dozen connections, measured by the command that operators have.

use serde_json::Value;

use crate::harness::{good, program};

#[test]
fn forty_clients_are_held_and_every_round_has_its_release() {
    let mut load = program("somnus-sim");
    load.args([
        "bench",
        "load",
        "--json",
        "--clients",
        "40",
        "--cohort",
        "10",
        "--rounds",
        "12",
        "--few",
        "2",
    ]);
    let load: Value = serde_json::from_str(&good(&mut load)).expect("JSON");
    let stages = load["stages"].as_array().expect("stages");
    let what =
        |stage: &Value| (stage["masked"].as_bool(), stage["cohort"].as_u64(), stage["rounds"].as_u64());
    let told: Vec<_> = stages.iter().map(what).collect();
    let asked = [(false, 10, 12), (false, 40, 2), (true, 10, 2), (true, 40, 2)];
    assert_eq!(told, asked.map(|(masked, cohort, rounds)| (Some(masked), Some(cohort), Some(rounds))));
    for (stage, (_, _, rounds)) in stages.iter().zip(asked) {
        // Nobody lost a place, or the command would have said so; nor was a round repeated.
        assert_eq!(stage["held"], 40, "{stage:#}");
        assert_eq!(stage["series_kib"].as_array().map(Vec::len), Some(rounds as usize + 1), "{stage:#}");
        assert!(stage["rounds_per_minute"].as_f64().is_some_and(|rate| rate > 0.0), "{stage:#}");
    }
}
