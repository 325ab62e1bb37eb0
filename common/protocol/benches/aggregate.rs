//! How fast updates are added, beside how fast this machine copies memory: `cargo bench -p somnus-protocol`.

#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::hint::black_box;
use std::time::Instant;

use somnus_protocol::checkpoint::bytes_of;
use somnus_protocol::ids::Digest;
use somnus_protocol::message::{CHUNK, ToServer};
use somnus_protocol::sum::Sum;
use somnus_protocol::wire;

/// Median seconds of `times` runs.
fn median(times: usize, mut run: impl FnMut()) -> f64 {
    let mut seconds: Vec<f64> = (0..times)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed().as_secs_f64()
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    seconds[times / 2]
}

fn main() {
    println!("one thread, GB of updates a second (4 bytes a weight)\n");
    println!(
        "{:>10} {:>12} {:>12} {:>12} {:>12} {:>14}",
        "weights", "memory copy", "add to sum", "SHA-256", "wire", "add vs copy"
    );
    for weights in [100_000usize, 1_000_000, 5_000_000] {
        let delta: Vec<f32> = (0..weights).map(|i| (i % 1000) as f32 * 1e-4 - 0.05).collect();
        let update = bytes_of(&delta);
        let gigabytes = update.len() as f64 / 1e9;
        let times = 2 + 60_000_000 / weights;
        let mut target = vec![0u8; update.len()];
        let copy = gigabytes / median(times, || target.copy_from_slice(black_box(&update)));
        let mut sum = Sum::new(weights);
        let add = gigabytes / median(times, || sum.add(black_box(&update), 900, 1.0).expect("a good update"));
        let hash = gigabytes
            / median(times / 4 + 1, || {
                black_box(Digest::of(black_box(&update)));
            });
        let chunks: Vec<ToServer> = update
            .chunks(CHUNK)
            .map(|part| ToServer::Part { round: Default::default(), offset: 0, bytes: part.to_vec().into() })
            .collect();
        let travel = gigabytes
            / median(times / 4 + 1, || {
                for chunk in &chunks {
                    let frame = wire::encode(chunk);
                    let back: ToServer = wire::decode(&frame[wire::HEADER..]).expect("our own frame");
                    black_box(back);
                }
            });
        println!(
            "{weights:>10} {copy:>12.2} {add:>12.2} {hash:>12.2} {travel:>12.2} {:>13.0} %",
            100.0 * add / copy
        );
    }
}
