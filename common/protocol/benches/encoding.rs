//! What packing, adding and encoding an update cost: `cargo bench -p somnus-protocol --bench encoding`.

#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::hint::black_box;
use std::time::Instant;

use somnus_protocol::packed::{Lanes, Packed};

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
    println!("one thread, lanes of 22 bits\n");
    println!("{:>10} {:>12} {:>12} {:>10} {:>10}", "lanes", "add GB/s", "sub GB/s", "write ms", "read ms");
    for count in [100_000usize, 1_000_000, 5_000_000] {
        let times = 5 + 20_000_000 / count;
        let lanes = Lanes::new(22, count);
        let mut packed = Packed::zero(lanes.words().end);
        let write =
            median(times, || lanes.write(&mut packed, (0..count as u64).map(|i| black_box(i) & 0xffff)));
        let read = median(times, || {
            black_box(lanes.read(black_box(&packed)).sum::<u64>());
        });
        let mut sum = packed.clone();
        let gigabytes = 8.0 * packed.len() as f64 / 1e9;
        let add = gigabytes / median(times, || sum.add_assign(black_box(&packed)));
        let sub = gigabytes / median(times, || sum.sub_assign(black_box(&packed)));
        println!("{count:>10} {add:>12.2} {sub:>12.2} {:>10.2} {:>10.2}", 1e3 * write, 1e3 * read);
    }
}
