//! Bytes against kappa: every encoding, the same numbers on any number of threads.

use std::path::Path;
use std::time::Instant;

use somnus_sim::cohort::People;
use somnus_sim::encodings::{self, Findings};
use somnus_sim::federate::Means;
use somnus_sim::progress::Progress;
use somnus_sim::scenario::Scenario;
use somnus_sim::start::Start;
use somnus_sim::transport::Transport;

fn run(transport: Transport, jobs: usize) -> Findings {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/sim/encoding-smoke.toml");
    let scenario = Scenario::load(Path::new(path)).unwrap();
    let people = People::of(&scenario, None).unwrap();
    let (config, means) = (scenario.encodings.clone().unwrap(), Means { transport, jobs });
    let hidden = |_| Progress::hidden();
    encodings::run(&scenario, &config, &Start::Random, &people, means, Instant::now(), hidden).unwrap()
}

#[test]
fn encodings_cost_what_they_should_and_threads_and_transport_change_nothing() {
    let found = run(Transport::Memory, 2);
    let cells = &found.cells;
    assert_eq!((cells.len(), found.summary.rows.len()), (9, 9));
    assert_eq!((cells[0].name.as_str(), cells[0].bytes_a_weight), ("plain", 4.0));
    // Two folds each, all of them other releases.
    let releases: Vec<_> = found.releases.chunks(2).collect();
    assert!(releases.iter().enumerate().all(|(at, row)| !releases[..at].contains(row)));
    for pair in cells[1..].chunks(2) {
        assert!(pair[0].bytes_up < pair[1].bytes_up, "fewer bits, fewer bytes: {pair:?}");
    }
    let a_weight: Vec<f64> = cells.iter().skip(2).step_by(2).map(|cell| cell.bytes_a_weight).collect();
    let [all, tenth, quarter, low_rank] = a_weight[..] else { panic!("{a_weight:?}") };
    // Four clients a fold: 18 bits, and up to an eighth of padding.
    assert!((18.0 / 8.0..18.0 / 8.0 * 1.2).contains(&all), "{all}");
    assert!(tenth < 0.2 * all && quarter < 0.4 * all && low_rank < 0.2 * all, "{a_weight:?}");
    for cell in &cells[1..] {
        assert!(cell.kappa.mean.is_some(), "{cell:?}");
    }
    assert_eq!(found.summary.reproducible(), run(Transport::Memory, 1).summary.reproducible());
    assert_eq!(found.releases, run(Transport::Quic, 2).releases);
}
