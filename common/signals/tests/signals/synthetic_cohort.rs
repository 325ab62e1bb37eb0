//! The synthetic cohort: the same from the same seed, and as hard as real people.

use std::path::Path;

use somnus_signals::synthetic::{self, SyntheticConfig};
use somnus_signals::{Cohort, Night, NightRules, PersonId, Stage, StreamKind, Task, sleep_accel, split};

fn config(people: usize, seed: u64) -> SyntheticConfig {
    SyntheticConfig { people, seed, ..SyntheticConfig::default() }
}

#[test]
fn the_same_seed_gives_the_same_people_whatever_their_number() {
    let few = synthetic::recordings(&config(2, 5));
    let more = synthetic::recordings(&config(4, 5));
    assert_eq!(few[..], more[..2]);
    assert_eq!(synthetic::recordings_of(&config(1, 5), 3), more[3..]);
    assert_ne!(few, synthetic::recordings(&config(2, 6)));
    assert_ne!(more[0].streams, more[1].streams);

    let two_nights = SyntheticConfig { nights_per_person: 2, ..config(2, 5) };
    let nights = synthetic::recordings(&two_nights);
    let ids: Vec<_> = nights.iter().map(|r| r.id()).collect();
    let expected = ["synthetic-0000", "synthetic-0000/night-2", "synthetic-0001", "synthetic-0001/night-2"];
    assert_eq!(ids, expected);
    assert_eq!(nights[0], few[0]);
    assert_ne!(nights[1].labels, nights[0].labels);
}

#[test]
fn marginals_are_those_of_the_real_people() {
    let cohort = synthetic::cohort(&config(40, 0), &NightRules::default());
    assert_eq!((cohort.nights.len(), cohort.excluded.len()), (40, 0));
    let stages: Vec<Stage> = cohort.nights.iter().flat_map(|n| n.stages.iter().flatten().copied()).collect();
    // The share of each stage in the real set: W 8, N1 7, N2 49, N3 14, REM 22 %.
    let ranges = [0.06..0.11, 0.05..0.09, 0.45..0.54, 0.11..0.17, 0.18..0.25];
    for (stage, range) in Stage::ALL.into_iter().zip(ranges) {
        let share = stages.iter().filter(|s| **s == stage).count() as f64 / stages.len() as f64;
        println!("{stage}: {:.1} %", share * 100.0);
        assert!(range.contains(&share), "{stage}: {share:.3} is outside {range:?}");
    }
    let epochs = cohort.nights.iter().map(|n| n.epochs).sum::<usize>() / 40;
    println!("{epochs} epochs a night");
    assert!((850..960).contains(&epochs));

    // Physiology: how the first, relative heart rate and movement differ by stage.
    let mean = |kind, stage, f: fn(&[f32]) -> f32| {
        let each = cohort.nights.iter().flat_map(|n| {
            let features = &n.features[&kind];
            (0..n.epochs)
                .filter(move |e| n.stages[*e] == Some(stage) && features.present[*e])
                .map(move |e| f(features.epoch(e)))
        });
        let (sum, n) = each.fold((0.0, 0), |(s, n), v| (s + v, n + 1));
        sum / n as f32
    };
    let level = |stage| mean(StreamKind::Hr, stage, |f| f[..6].iter().sum::<f32>() / 6.0);
    let swing = |stage| mean(StreamKind::Hr, stage, |f| f[6..].windows(2).map(|w| (w[1] - w[0]).abs()).sum());
    let moving =
        |stage| mean(StreamKind::Activity, stage, |f| f32::from(u8::from(f.iter().any(|c| *c > 0.0))));
    for stage in Stage::ALL {
        println!(
            "{stage}: level {:.2}, swing {:.2}, moving {:.3}",
            level(stage),
            swing(stage),
            moving(stage)
        );
    }
    assert!(level(Stage::N3) < level(Stage::N2) && level(Stage::N2) < level(Stage::Rem));
    assert!(level(Stage::Rem) < level(Stage::Wake));
    assert!(swing(Stage::N3) < swing(Stage::N2) && swing(Stage::N2) < swing(Stage::Rem));
    assert!(moving(Stage::Wake) > 0.2 && moving(Stage::N2) < 0.05);
}

#[test]
fn failing_sensors_are_excluded_with_a_reason() {
    let broken = SyntheticConfig { failures: 1.0, ..config(3, 1) };
    let cohort = synthetic::cohort(&broken, &NightRules::default());
    assert!(cohort.nights.is_empty());
    assert_eq!(cohort.excluded.len(), 3);
    assert!(cohort.excluded.iter().all(|e| e.reason.contains("heart-rate coverage")));
    // The failure touches nothing else of the person.
    let (whole, broken) = (synthetic::recordings(&config(1, 1)), synthetic::recordings(&broken));
    assert_eq!(whole[0].labels, broken[0].labels);
    assert_eq!(whole[0].streams[&StreamKind::Posture], broken[0].streams[&StreamKind::Posture]);
}

#[test]
fn files_of_synthetic_people_load_as_the_same_people() {
    let dir = tempfile::tempdir().unwrap();
    let recordings = synthetic::recordings(&config(2, 9));
    for recording in &recordings {
        sleep_accel::write(dir.path(), recording).unwrap();
    }
    assert_eq!(sleep_accel::load(dir.path()).unwrap(), recordings);
}

#[test]
fn new_people_are_neither_easy_nor_hopeless() {
    let cohort = synthetic::cohort(&config(23, 3), &NightRules::default());
    let kappa = kappa_of_new_people(&cohort);
    println!("softmax regression, new synthetic people: kappa {kappa:.3}");
    assert!((0.25..0.50).contains(&kappa), "kappa {kappa:.3}");
}

#[test]
fn new_people_are_as_hard_as_real_ones() {
    let dir = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/sleep-accel"));
    if !dir.is_dir() {
        println!("SKIPPED new_people_are_as_hard_as_real_ones: {} is absent", dir.display());
        return;
    }
    let real = kappa_of_new_people(&sleep_accel::cohort(dir, &NightRules::default()).unwrap());
    let synthetic =
        [1, 2].map(|seed| kappa_of_new_people(&synthetic::cohort(&config(23, seed), &NightRules::default())));
    println!("softmax regression on new people: real kappa {real:.3}, synthetic {synthetic:.3?}");
    assert!(synthetic.iter().all(|k| (k - real).abs() < 0.15), "{real:.3} {synthetic:.3?}");
}

/// Three folds by person; the mean kappa on the people left out.
fn kappa_of_new_people(cohort: &Cohort) -> f64 {
    let folds = split::by_person(&cohort.people(), 3, 0);
    let kappas = folds.iter().map(|fold| {
        let of = |people: &[PersonId]| {
            let chosen = cohort.nights.iter().filter(|n| people.contains(&n.person));
            chosen.collect::<Vec<_>>()
        };
        kappa_of_softmax_regression(&of(&fold.train), &of(&fold.test))
    });
    kappas.sum::<f64>() / 3.0
}

/// Mean heart rate, its spread, movement and turning, at nine offsets within five minutes, and the time.
fn inputs(night: &Night, epoch: usize) -> Vec<f32> {
    let mut inputs = vec![1.0, night.time[epoch] / 4.0 - 1.0];
    for offset in [-10isize, -6, -3, -1, 0, 1, 3, 6, 10] {
        let e = epoch.saturating_add_signed(offset).min(night.epochs - 1);
        let hr = &night.features[&StreamKind::Hr].epoch(e)[..6];
        let mean = hr.iter().sum::<f32>() / 6.0;
        let spread = hr.iter().map(|v| (v - mean).abs()).sum::<f32>() / 6.0;
        let moved = night.features[&StreamKind::Activity].epoch(e).iter().sum::<f32>() / 4.0;
        inputs.extend([
            mean,
            (spread * 10.0).ln_1p() - 0.7,
            moved,
            night.features[&StreamKind::Posture].epoch(e)[0] * 3.0,
        ]);
    }
    inputs
}

fn kappa_of_softmax_regression(train: &[&Night], test: &[&Night]) -> f64 {
    let examples = |nights: &[&Night]| -> Vec<(Vec<f32>, usize)> {
        let of = |n: &&Night| {
            let classes = n.classes(Task::Four);
            let scored = classes.into_iter().enumerate().filter_map(|(e, c)| Some((e, c?)));
            scored.map(|(e, c)| (inputs(n, e), c)).collect::<Vec<_>>()
        };
        nights.iter().flat_map(of).collect()
    };
    let (train, test) = (examples(train), examples(test));
    let mut count = [0.0f32; 4];
    for (_, class) in &train {
        count[*class] += 1.0;
    }
    let mut weights = vec![[0.0f32; 4]; train[0].0.len()];
    let scores = |weights: &[[f32; 4]], x: &[f32]| {
        let mut s = [0.0f32; 4];
        for (x, w) in x.iter().zip(weights) {
            for (s, w) in s.iter_mut().zip(w) {
                *s += x * w;
            }
        }
        s
    };
    for pass in 0..4u16 {
        // A stride coprime with the length visits every example once, far from its neighbours.
        for i in 0..train.len() {
            let (x, class) = &train[i * 7919 % train.len()];
            let s = scores(&weights, x);
            let top = s.iter().copied().fold(f32::MIN, f32::max);
            let e = s.map(|s| (s - top).exp());
            let sum: f32 = e.iter().sum();
            let rate = 0.01 / f32::from(pass + 1) * (train.len() as f32 / 4.0 / count[*class]).sqrt();
            for (x, w) in x.iter().zip(&mut weights) {
                for c in 0..4 {
                    w[c] -= rate * x * (e[c] / sum - f32::from(u8::from(c == *class)));
                }
            }
        }
    }
    let mut confusion = [[0.0f64; 4]; 4];
    for (x, class) in &test {
        let s = scores(&weights, x);
        let best = (0..4).max_by(|a, b| s[*a].total_cmp(&s[*b])).unwrap_or(0);
        confusion[*class][best] += 1.0;
    }
    let n: f64 = confusion.iter().flatten().sum();
    let agree = (0..4).map(|c| confusion[c][c]).sum::<f64>() / n;
    let chance: f64 = (0..4)
        .map(|c| confusion[c].iter().sum::<f64>() * confusion.iter().map(|r| r[c]).sum::<f64>() / n / n)
        .sum();
    (agree - chance) / (1.0 - chance)
}
