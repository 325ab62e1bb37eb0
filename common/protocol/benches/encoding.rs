//! What packing, adding and encoding an update cost: `cargo bench -p somnus-protocol --bench encoding`.

#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::hint::black_box;
use std::time::Instant;

use somnus_protocol::checkpoint::bytes_of;
use somnus_protocol::encoding::{
    Beside, Codec, Contribution, EncodingConfig, Reduce, Rounding, Setup, Spread,
};
use somnus_protocol::packed::{Lanes, Packed};
use somnus_protocol::seed::Seed;
use somnus_protocol::sum::Weighting;
use somnus_protocol::update::{Sections, UpdateLayout};

/// Seconds of the fastest of `times` runs: what others on the machine take does not count.
fn fastest(times: usize, mut run: impl FnMut()) -> f64 {
    let seconds = (0..times).map(|_| {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64()
    });
    seconds.fold(f64::INFINITY, f64::min)
}

fn main() {
    println!("one thread, lanes of 22 bits\n");
    println!("{:>10} {:>12} {:>12} {:>10} {:>10}", "lanes", "add GB/s", "sub GB/s", "write ms", "read ms");
    for count in [100_000usize, 1_000_000, 5_000_000] {
        let times = 5 + 20_000_000 / count;
        let lanes = Lanes::new(22, count);
        let mut packed = Packed::zero(lanes.words().end);
        let write =
            fastest(times, || lanes.write(&mut packed, (0..count as u64).map(|i| black_box(i) & 0xffff)));
        let read = fastest(times, || {
            black_box(lanes.read(black_box(&packed)).sum::<u64>());
        });
        let mut sum = packed.clone();
        let gigabytes = 8.0 * packed.len() as f64 / 1e9;
        let add = gigabytes / fastest(times, || sum.add_assign(black_box(&packed)));
        let sub = gigabytes / fastest(times, || sum.sub_assign(black_box(&packed)));
        println!("{count:>10} {add:>12.2} {sub:>12.2} {:>10.2} {:>10.2}", 1e3 * write, 1e3 * read);
    }
    println!("\none thread, 64 clients, 16 bits\n");
    println!(
        "{:>10} {:>18} {:>10} {:>12} {:>10} {:>10}",
        "weights", "encoding", "setup ms", "bytes/weight", "encode ms", "decode ms"
    );
    for weights in [100_000usize, 1_000_000, 5_000_000] {
        encodings(weights);
    }
}

fn encodings(weights: usize) {
    let plain = EncodingConfig { spread: Spread::Range(0.05), ..EncodingConfig::default() };
    let variants = [
        ("encoding", EncodingConfig::default()),
        ("without rotation", plain),
        ("bounded", EncodingConfig { rounding: Rounding::Bounded, ..EncodingConfig::default() }),
        ("top tenth", EncodingConfig { reduce: Reduce::TopK { fraction: 0.1 }, ..EncodingConfig::default() }),
        ("rank 16", EncodingConfig { reduce: Reduce::LowRank { rank: 16 }, ..EncodingConfig::default() }),
    ];
    let delta: Vec<f32> = (0..weights).map(|i| (i % 1000) as f32 * 1e-5 - 0.005).collect();
    let update = bytes_of(&delta);
    let contribution =
        Contribution { update: &update, examples: 960, loss: 1.0, evaluation: None, residual: None };
    let (public, rounding) = (Seed::from_number(1), Seed::from_number(2));
    let layout = UpdateLayout::new(weights, Sections::default());
    let times = 3 + 10_000_000 / weights;
    for (name, config) in variants {
        let favourites = config.reduce.favourites(&vec![0.0; weights], &delta);
        let setup = Setup {
            layout,
            weighting: Weighting::Examples,
            roster: 64,
            evaluation: None,
            public: &public,
            beside: Beside::Everything,
            favourites: favourites.as_deref(),
        };
        let make = || Codec::new(&config, &setup).expect("a good configuration");
        let codec = make();
        let made = fastest(3, || {
            black_box(make());
        });
        let encode = || codec.encode(black_box(&contribution), &rounding).expect("a good update").packed;
        let packed = encode();
        let encoded = fastest(times, || {
            black_box(encode());
        });
        let decoded = fastest(times, || {
            black_box(codec.decode(black_box(&packed), 1).expect("one encoding"));
        });
        println!(
            "{weights:>10} {name:>18} {:>10.2} {:>12.3} {:>10.2} {:>10.2}",
            1e3 * made,
            codec.bytes() as f64 / weights as f64,
            1e3 * encoded,
            1e3 * decoded
        );
    }
}
