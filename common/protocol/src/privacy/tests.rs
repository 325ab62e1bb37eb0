//! The accountants against a reference, against printed tables and against each other; planned noise against measured.

use std::path::Path;

use serde::Deserialize;

use super::cost::{Cost, Noise, Spend};
use super::mechanism::{Distributed, Mechanism, PrivacyConfig, Sampling};
use super::noise::{DiscreteGaussian, Skellam};
use super::planning::{Plan, Setting, least_multiplier, plan};
use super::{clip, pld, rdp};
use crate::seed::{Label, Seed};

fn gaussian(multiplier: f64, rate: f64) -> Spend {
    Spend { noise: Noise::Gaussian { multiplier }, rate }
}

#[derive(Deserialize)]
struct Golden {
    sampling_rate: f64,
    noise_multiplier: f64,
    rounds: u64,
    delta: f64,
    epsilon_rdp: f64,
    epsilon_pld: f64,
}

/// Cases of every `dp_epsilon_*.json`, or a printed line and none.
#[allow(clippy::print_stderr, clippy::disallowed_methods, reason = "a test says why it is skipped")]
fn golden(name: &str) -> Vec<Golden> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/golden"));
    let Ok(entries) = std::fs::read_dir(folder) else {
        eprintln!("SKIPPED {name}: no {}", folder.display());
        return Vec::new();
    };
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let ours = |path: &&std::path::PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        name.starts_with("dp_epsilon_") && name.ends_with(".json")
    };
    let cases: Vec<Golden> = files
        .iter()
        .filter(ours)
        .flat_map(|path| {
            serde_json::from_str::<Vec<Golden>>(&std::fs::read_to_string(path).unwrap()).unwrap()
        })
        .collect();
    assert!(!cases.is_empty(), "no case in {}", folder.display());
    cases
}

/// The reference sums an alternating series at orders that are no integers. For broad noise over a large sample (q .33, z 2.6)
/// it does not converge: some orders are dropped, others are off so far that (a-1) D_a is no longer convex, and the least is
/// that of a whole order. There the whole orders have to agree, and ours over all of them may be less.
#[test]
fn golden_epsilon_by_orders() {
    for case in golden("golden_epsilon_by_orders") {
        let (z, q) = (case.noise_multiplier, case.sampling_rate);
        let cost = Cost::of(gaussian(z, q), case.rounds);
        let off = |epsilon: f64| epsilon / case.epsilon_rdp - 1.0;
        let all = off(rdp::epsilon(&cost, case.delta));
        let whole = off(rdp::epsilon_over((2..=1024).map(f64::from), &cost, case.delta));
        let label = format!("q {q} z {z} T {}: off by {all}, by {whole} over whole orders", case.rounds);
        assert!(all < 1e-3, "{label}");
        assert!(all > -1e-3 || (q < 1.0 && whole.abs() < 1e-9), "{label}");
    }
}

#[test]
fn golden_epsilon_by_loss_distributions() {
    for case in golden("golden_epsilon_by_loss_distributions") {
        let cost = Cost::of(gaussian(case.noise_multiplier, case.sampling_rate), case.rounds);
        let ours = pld::epsilon(&cost, case.delta).unwrap();
        let (off, z, q) = (ours / case.epsilon_pld - 1.0, case.noise_multiplier, case.sampling_rate);
        assert!(off.abs() < 1e-2, "q {q} z {z} T {}: {ours}, {} expected", case.rounds, case.epsilon_pld);
    }
}

#[test]
fn the_noise_that_is_needed_is_as_printed() {
    // METHODS F.3, by orders. Digits as there; the rest of a number is not claimed.
    // People, q, T, delta; then epsilon, multiplier, deviation on the mean.
    type Row = (f64, f64, u64, f64, [(f64, &'static str, &'static str); 3]);
    let table: [Row; 5] = [
        (31.0, 1.0, 50, 1e-2, [(8.0, "3.2", ".10"), (4.0, "5.3", ".17"), (1.0, "15.6", ".50")]),
        (31.0, 1.0, 100, 1e-2, [(8.0, "4.5", ".15"), (4.0, "7.5", ".24"), (1.0, "22", ".71")]),
        (31.0, 0.33, 100, 1e-2, [(8.0, "1.6", ".16"), (4.0, "2.6", ".26"), (1.0, "7.4", ".72")]),
        (1e3, 0.05, 100, 1e-4, [(8.0, ".71", ".014"), (4.0, ".93", ".019"), (1.0, "2.0", ".041")]),
        (1e4, 0.01, 200, 1e-5, [(8.0, ".55", ".006"), (4.0, ".67", ".007"), (1.0, "1.1", ".011")]),
    ];
    let mut wrong = Vec::new();
    for (people, rate, rounds, delta, row) in table {
        for (target, multiplier, deviation) in row {
            // The table was made with whole orders, and a few halves where nothing is sampled.
            let halves = [1.5, 2.5, 3.5, 4.5].into_iter().filter(|_| rate == 1.0);
            let orders = || halves.clone().chain((2..=256).map(f64::from));
            let epsilon = |z| rdp::epsilon_over(orders(), &Cost::of(gaussian(z, rate), rounds), delta);
            let ours = least_multiplier(target, 1.0, epsilon).unwrap();
            let print = |value: f64, like: &str| {
                let digits = like.split('.').nth(1).map_or(0, str::len);
                let text = format!("{value:.digits$}");
                text.strip_prefix('0').map_or(text.clone(), str::to_owned)
            };
            let z = print(ours, multiplier);
            // Of the multiplier, or of the multiplier as it was printed.
            let printed: f64 = multiplier.parse().unwrap();
            let sds = [ours, printed].map(|z| print(z / (rate * people) + 1e-9, deviation));
            if z != multiplier || sds.iter().all(|sd| sd != deviation) {
                wrong.push(format!(
                    "q {rate} T {rounds} eps {target}: {ours:.4} {sds:?}, not {multiplier} {deviation}"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn loss_distributions_are_tighter_than_orders_and_converge_to_what_is_known() {
    for (rate, z, rounds, delta) in [(0.2, 1.0, 30, 1e-5), (0.01, 0.6, 1000, 1e-6), (0.7, 5.0, 300, 1e-3)] {
        let cost = Cost::of(gaussian(z, rate), rounds);
        let (losses, orders) = (pld::epsilon(&cost, delta).unwrap(), rdp::epsilon(&cost, delta));
        assert!(losses < orders && losses > 0.6 * orders, "q {rate} z {z}: {losses} {orders}");
    }
    // Sampling with a rate of nearly one, by Fourier transforms, meets the closed form of no sampling at all.
    for (z, rounds) in [(1.0, 1), (40.0, 400), (3.0, 100_000)] {
        let closed = pld::epsilon(&Cost::of(gaussian(z, 1.0), rounds), 1e-4).unwrap();
        let composed = pld::epsilon(&Cost::of(gaussian(z, 1.0 - 1e-12), rounds), 1e-4).unwrap();
        assert!((composed / closed - 1.0).abs() < 1e-3, "z {z}: {composed} {closed}");
        assert!(composed > closed * (1.0 - 1e-7), "z {z}: {composed} below the truth {closed}");
    }
}

#[test]
fn mixed_rounds_cost_more_than_either_kind() {
    let (sampled, whole) = (gaussian(1.0, 0.1), gaussian(6.0, 1.0));
    let mut both = Cost::of(sampled, 20);
    both.add(whole, 20);
    let of = |cost: &Cost| (pld::epsilon(cost, 1e-4).unwrap(), rdp::epsilon(cost, 1e-4));
    let (a, b, c) = (of(&Cost::of(sampled, 20)), of(&Cost::of(whole, 20)), of(&both));
    assert!(c.0 > a.0.max(b.0) && c.0 < a.0 + b.0, "{c:?} of {a:?} and {b:?}");
    assert!(c.1 > c.0);
    both.add(Spend::everybody(Noise::Skellam { l1: 100.0, l2: 10.0, variance: 4000.0 }), 1);
    assert_eq!(pld::epsilon(&both, 1e-4), None);
    assert!(both.epsilon(1e-4) > c.1);
}

#[test]
fn extremes_are_numbers_or_no_answer() {
    for z in [1e-300, 1e-3, 0.02, 1.0, 1e4, 1e300] {
        for rate in [0.0, 1e-300, 1e-8, 0.5, 1.0 - 1e-16, 1.0] {
            for (delta, times) in [(1e-12, 1), (0.5, 100_000), (1e-5, u64::MAX)] {
                // A grid of a million points is for benchmarks.
                if rate == 1e-8 && z < 1e3 && z > 1e-4 && times > 1 {
                    continue;
                }
                let epsilon = pld::epsilon(&Cost::of(gaussian(z, rate), times), delta);
                assert!(
                    epsilon.is_none_or(|epsilon| epsilon >= 0.0),
                    "z {z} q {rate} times {times}: {epsilon:?}"
                );
            }
        }
    }
    for delta in [0.0, -1.0, f64::NAN] {
        assert_eq!(Cost::of(gaussian(1.0, 0.5), 1).epsilon(delta), f64::INFINITY);
    }
}

fn distributed(mechanism: fn(Distributed) -> Mechanism, units: f64) -> (Distributed, Plan) {
    let distributed = Distributed { survivors: 12, colluders: 2, units };
    let config = PrivacyConfig {
        epsilon: 8.0,
        delta: Some(1e-2),
        population: 31,
        sampling: Sampling::Fixed,
        mechanism: mechanism(distributed),
        clip: clip::Clip::default(),
    };
    let setting = Setting { rounds: 50, cohort: 20, weights: 256 };
    (distributed, plan(&config, setting).unwrap())
}

#[test]
fn the_noise_of_any_survivors_is_what_was_planned_or_more() {
    // Fewer than the whole cohort upload; of the fewest possible, those who collude subtract their noise.
    for (mechanism, units) in [(Mechanism::Skellam as fn(_) -> _, 64.0), (Mechanism::DiscreteGaussian, 512.0)]
    {
        let (shape, plan) = distributed(mechanism, units);
        let share = plan.share.unwrap();
        let planned = (plan.multiplier * units).powi(2);
        for survivors in [shape.survivors, 15, 20] {
            let mut sum = vec![0i64; 8192];
            let mut own = sum.clone();
            for client in 0..survivors - shape.colluders {
                let mut rng = Seed::from_number(4).derive(Label::Noise, &client.to_le_bytes()).rng();
                match plan.round.spends()[0].0.noise {
                    Noise::Skellam { .. } => Skellam::new(share.variance).unwrap().fill(&mut rng, &mut own),
                    _ => DiscreteGaussian::new(share.variance).unwrap().fill(&mut rng, &mut own),
                }
                sum.iter_mut().zip(&own).for_each(|(sum, own)| *sum += own);
            }
            let n = sum.len() as f64;
            let measured = sum.iter().map(|v| (*v as f64).powi(2)).sum::<f64>() / n;
            let expected = planned * f64::from(survivors - shape.colluders) / f64::from(shape.honest());
            // 99.9 % of a variance's estimate over n coordinates.
            let error = 3.3 * expected * ((2.0 + 1.0 / planned) / n).sqrt();
            assert!(
                (measured - expected).abs() < error,
                "{survivors}: {measured}, {expected} ± {error} planned"
            );
            assert!(measured > planned - error);
        }
    }
}
