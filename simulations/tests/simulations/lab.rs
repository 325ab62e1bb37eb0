//! Studies without a federation, on recordings that are made up here in the layouts of the public sets.

use std::f32::consts::TAU;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use somnus_report::{Grid, Summary};
use somnus_sim::lab::{Lab, Means};
use somnus_sim::progress::Progress;

fn run(text: &str, data: &Path, jobs: usize) -> Summary {
    let means = Means { jobs, progress: |_| Progress::hidden() };
    Lab::from_text(text).unwrap().run(Some(data), &means).unwrap()
}

fn mean(grid: &Grid, line: &str, column: usize) -> f64 {
    let found = grid.lines.iter().find(|one| one.name == line);
    found.unwrap_or_else(|| panic!("no line {line}")).cells[column].mean.unwrap_or(f64::NAN)
}

/// `wisdm-watch` with half a minute of each activity: another swing for each, faster for some people.
fn activities(dir: &Path, people: usize) {
    for person in 0..people {
        let mut text = String::new();
        for (activity, letter) in ['A', 'B', 'C', 'D', 'E', 'M'].into_iter().enumerate() {
            let mut rng = ChaCha8Rng::seed_from_u64((person * 10 + activity) as u64);
            let (hertz, size) =
                ([1.8, 2.6, 1.4, 0.0, 0.0, 0.9][activity], [4.0, 9.0, 3.0, 0.1, 0.1, 6.0][activity]);
            let tilt = if activity == 4 { 9.0 } else { 1.0 };
            for i in 0..600 {
                let at = TAU * hertz * (1.0 + 0.02 * person as f32) * i as f32 / 20.0;
                let noise = [(); 3].map(|()| rng.random_range(-0.3..0.3f32));
                let (x, y, z) =
                    (tilt + size * at.sin(), size * at.cos(), 9.8 - tilt + 0.3 * size * (2.0 * at).sin());
                let [a, b, c] = noise;
                let _ = writeln!(text, "{},{letter},{:.4},{:.4},{:.4};", 1600 + person, x + a, y + b, z + c);
            }
        }
        fs::write(dir.join(format!("data_{}_accel_watch.txt", 1600 + person)), text).unwrap();
    }
}

/// E4 folders of three minutes: the wrist trembles with every pulse, and hearts differ and drift.
fn wrists(dir: &Path, people: usize) {
    for person in 0..people {
        let folder = dir.join(format!("S{:02}", person + 1));
        fs::create_dir_all(&folder).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(person as u64);
        let bpm = |t: f32| 58.0 + 5.0 * person as f32 + t / 12.0;
        let turns = |t: f32| (58.0 + 5.0 * person as f32) / 60.0 * t + t * t / 1440.0;
        let mut accel = "1000,1000,1000\n32,32,32\n".to_owned();
        for i in 0..180 * 32 {
            let tremble = 6.0 * (TAU * turns(i as f32 / 32.0)).sin();
            let noise = [(); 3].map(|()| rng.random_range(-1.0..1.0f32));
            let [x, y, z] = [20.0 + tremble, -10.0 + 0.5 * tremble, 58.0].map(|v| v + noise[0]);
            let _ = writeln!(accel, "{x:.0},{y:.0},{z:.0}");
        }
        let mut pulse = "1000\n64\n".to_owned();
        for i in 0..180 * 64 {
            let at = TAU * turns(i as f32 / 64.0);
            let _ = writeln!(pulse, "{:.2}", 40.0 * at.sin() + 15.0 * (2.0 * at).sin());
        }
        let mut heart = "1000\n1\n".to_owned();
        (0..180).for_each(|t| {
            let _ = writeln!(heart, "{:.2}", bpm(t as f32));
        });
        let (mut beats, mut t) = ("1000, IBI\n".to_owned(), 0.0f32);
        while t < 178.0 {
            let interval = 60.0 / bpm(t) + 0.02 * (t * 1.3).sin();
            t += interval;
            let _ = writeln!(beats, "{t:.4},{interval:.4}");
        }
        for (name, text) in [("ACC", accel), ("BVP", pulse), ("HR", heart), ("IBI", beats)] {
            fs::write(folder.join(format!("{name}.csv")), text).unwrap();
        }
    }
}

#[test]
fn activities_that_swing_differently_are_told_apart_by_hand_and_every_way_has_its_line() {
    let dir = tempfile::tempdir().unwrap();
    activities(dir.path(), 7);
    let text = "study = 'activities'\nseeds = [1]\nsteps = 2\nmotif_steps = 2\nbatch = 8\nanchors = 3\n\
        candidates = 2\nlabelled = [1]\n";
    let summary = run(text, dir.path(), 2);
    let [whole, few] = &summary.grids[..] else { panic!("two tables") };
    assert_eq!((whole.lines.len(), few.lines.len()), (12, 11));
    assert!(mean(whole, "handcrafted features", 0) > 0.9, "{whole:?}");
    // Two steps teach nobody much, but what they leave is a classifier.
    for line in &whole.lines {
        assert!(
            line.cells[0].n == 1 && line.cells[0].mean.is_some_and(|f1| (0.0..=1.0).contains(&f1)),
            "{line:?}"
        );
    }
    assert!(mean(few, "handcrafted features", 0) <= mean(few, "handcrafted features", 1) + 0.02);
}

#[test]
fn a_wrist_that_trembles_with_the_pulse_knows_the_heart_and_every_way_has_its_line() {
    let dir = tempfile::tempdir().unwrap();
    wrists(dir.path(), 9);
    let text = "study = 'cross-modal'\nseeds = [1, 2]\nheld_out = 3\ngallery = 12\nteacher_steps = 2\nsteps = 2\nbatch = 6\n";
    let summary = run(text, dir.path(), 2);
    // Whoever is first, the tables are the same.
    assert_eq!(run(text, dir.path(), 1).grids, summary.grids);
    let [heart, found] = &summary.grids[..] else { panic!("two tables") };
    assert_eq!(heart.lines.len(), 12);
    let constant = mean(heart, "the median of people who teach", 0);
    assert!(mean(heart, "handcrafted features", 0) < 0.8 * constant, "{heart:?}");
    assert!(mean(heart, "the pulse wave itself, masked", 0) < 0.5 * constant, "{heart:?}");
    // Nobody can find much after two steps, and the table says what a guess finds.
    for line in &found.lines {
        let [gallery, guess, rank] = [0, 2, 5].map(|column| line.cells[column].mean.unwrap());
        assert_eq!((gallery, guess, rank), (12.0, 1.0 / 12.0, 6.5), "{line:?}");
    }

    let text = "study = 'positives'\nseeds = [1, 2]\nheld_out = 3\nsteps = 2\nbatch = 6\n";
    let summary = run(text, dir.path(), 2);
    let grid = &summary.grids[0];
    assert_eq!(grid.lines.len(), 6);
    assert_eq!(mean(grid, "a guess", 2), 1.0 / 3.0);
    assert!(
        grid.lines[..5].iter().all(|line| line.cells[0].mean.is_some_and(|rank| rank >= 1.0)),
        "{grid:?}"
    );
}

#[test]
fn what_is_missing_is_named() {
    let lab = |text: &str| Lab::from_text(text).unwrap();
    let means = Means { jobs: 1, progress: |_| Progress::hidden() };
    let dir = tempfile::tempdir().unwrap();
    wrists(dir.path(), 4);
    let error = |lab: Lab, data| lab.run(data, &means).unwrap_err().to_string();
    assert!(error(lab("study = 'positives'\n"), None).contains("stress-predict"));
    let few = error(lab("study = 'cross-modal'\n"), Some(dir.path()));
    assert!(few.contains("4 people") && few.contains(&dir.path().display().to_string()), "{few}");
    let none = error(lab("study = 'activities'\n"), Some(dir.path()));
    assert!(none.contains("data_1600_accel_watch.txt"), "{none}");
}
