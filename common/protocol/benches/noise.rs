//! How fast noise is drawn and costs are added up: `cargo bench -p somnus-protocol --bench noise`.

#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::hint::black_box;
use std::time::Instant;

use somnus_protocol::privacy::cost::{Cost, Noise, Spend};
use somnus_protocol::privacy::noise::{DiscreteGaussian, Gaussian, Skellam};
use somnus_protocol::privacy::{pld, rdp};
use somnus_protocol::seed::Seed;

/// The best of some runs, seconds: what the machine can do when nothing else is in its way.
fn best(runs: usize, mut run: impl FnMut()) -> f64 {
    let timed = (0..runs).map(|_| {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64()
    });
    timed.fold(f64::INFINITY, f64::min)
}

fn main() {
    const DRAWS: usize = 1 << 14;
    println!("one thread, million numbers a second\n");
    println!("{:>10} {:>18} {:>10} {:>10}", "variance", "discrete Gaussian", "Skellam", "Gaussian");
    let mut rng = Seed::from_number(1).rng();
    let mut whole = vec![0i64; DRAWS];
    let mut real = vec![0f64; DRAWS];
    for variance in [1.0, 10.0, 1e2, 1e3, 1e4, 1e5, 1e6, 1e8] {
        let millions = DRAWS as f64 / 1e6;
        let discrete = DiscreteGaussian::new(variance).expect("a variance");
        let skellam = Skellam::new(variance).expect("a variance");
        let gaussian = Gaussian::new(variance).expect("a variance");
        println!(
            "{variance:>10} {:>18.1} {:>10.1} {:>10.1}",
            millions / best(60, || discrete.fill(&mut rng, black_box(&mut whole))),
            millions / best(60, || skellam.fill(&mut rng, black_box(&mut whole))),
            millions / best(60, || gaussian.add(&mut rng, black_box(&mut real)))
        );
    }
    println!("\nmilliseconds for one epsilon\n");
    println!("{:>8} {:>6} {:>8} {:>10} {:>10}", "q", "z", "rounds", "orders", "losses");
    for (rate, multiplier, rounds) in
        [(1.0, 3.2, 50), (0.05, 0.93, 100), (0.01, 1.1, 200), (0.001, 0.6, 100_000)]
    {
        let cost = Cost::of(Spend { noise: Noise::Gaussian { multiplier }, rate }, rounds);
        let orders = 1e3 * best(5, || _ = black_box(rdp::epsilon(black_box(&cost), 1e-5)));
        let losses = 1e3 * best(5, || _ = black_box(pld::epsilon(black_box(&cost), 1e-5)));
        println!("{rate:>8} {multiplier:>6} {rounds:>8} {orders:>10.2} {losses:>10.1}");
    }
}
