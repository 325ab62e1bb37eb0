//! Small networks for the heart rate, on real pulse waves.

use std::path::Path;

use somnus_sim::lab::{Lab, Means};
use somnus_sim::progress::Progress;

#[test]
fn the_heart_rate_study_runs_on_a_wristbands_recordings() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let data = root.join("../shared/data/stress-predict");
    if !data.is_dir() {
        println!(
            "SKIPPED the_heart_rate_study_runs_on_a_wristbands_recordings: {} is absent",
            data.display()
        );
        return;
    }
    let lab = Lab::load(&root.join("configs/sim/heart-rate-smoke.toml")).unwrap().unwrap();
    let means = Means { jobs: 2, progress: |_| Progress::hidden() };
    let summary = lab.run(Some(&data), &means).unwrap();
    assert_eq!((summary.seeds.len(), summary.grids.len()), (2, 7));
    let others = &summary.grids[4];
    let error = |line: usize, column: usize| others.lines[line].cells[column].mean.unwrap();
    // People differ, and in clean half minutes the rule and the wristband agree.
    assert!((8.0..16.0).contains(&error(0, 0)), "{others:?}");
    assert!(error(1, 0) < error(0, 0) && error(1, 2) < 3.0, "{others:?}");
}
