//! Milliseconds per training step on one thread: encoders with im2col against burn's stock convolution, the night-level
//! network, and the hub's waveform encoders.
//!
//! The encoder shapes are those of the design's table, each one forward and backward pass and one plain descent step, batch
//! 32, under autodiff: `b` 0.24 M parameters on `[32, 4, 480]`; `a32` a ResNet-34 shape of width 32, 1.8 M parameters,
//! and `a` the same of width 64, 7.4 M, both on `[32, 3, 256]`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use burn::tensor::activation::relu;
use burn::tensor::module::conv1d as stock;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor, TensorData};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use somnus_model::conv::{Slide, conv1d};
use somnus_model::encoder::{Wave, Weights, windows};
use somnus_model::objective::{Adam, AdamRule};
use somnus_model::{DeviceKind, NetConfig, Stager};
use somnus_protocol::plan::TrainPlan;
use somnus_signals::{Features, Night, Normalisation, Quality, Stage, StreamKind};

/// No shape is measured for longer than this.
const PATIENCE: Duration = Duration::from_secs(4);

#[allow(clippy::print_stdout)]
fn main() {
    // `cargo test --benches` and tools that list benches call us too; only a bench run takes minutes.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    println!(
        "{:<22} {:>12} {:>14} {:>16} {:>8}",
        "training step", "parameters", "im2col, ms", "stock conv, ms", "ratio"
    );
    for (name, encoder) in [
        ("b [32, 4, 480]", Encoder::b()),
        ("a32 [32, 3, 256]", Encoder::a(32)),
        ("a [32, 3, 256]", Encoder::a(64)),
    ] {
        let ours = encoder.measure(Convolution::Im2col);
        let theirs = encoder.measure(Convolution::Stock);
        let ratio = theirs / ours;
        println!("{name:<22} {:>12} {ours:>14.1} {theirs:>16.1} {ratio:>8.1}", encoder.parameters());
    }
    println!("\n{:<22} {:>12} {:>14} {:>16}", "night of 960 epochs", "parameters", "flex, ms", "ndarray, ms");
    for width in [32, 48, 64] {
        let config = NetConfig { width, ..NetConfig::default() };
        let [flex, ndarray] =
            [DeviceKind::Flex, DeviceKind::Ndarray].map(|device| night_step(&config, device));
        let parameters =
            Stager::new(&config, 0, DeviceKind::Flex).expect("a good configuration").parameters();
        println!("{:<22} {parameters:>12} {flex:>14.2} {ndarray:>16.2}", format!("width {width}"));
    }
    println!(
        "\n{:<22} {:>12} {:>14} {:>16}",
        "waveform encoder", "parameters", "step of 64, ms", "night of 8 h, ms"
    );
    for stream in [StreamKind::Accel, StreamKind::Ppg, StreamKind::Ecg] {
        let wave = Wave::hub(stream).expect("a waveform");
        let (parameters, step, night) = wave_times(&wave);
        println!("{:<22} {parameters:>12} {step:>14.1} {night:>16.0}", stream.name());
    }
    println!("\nhead on one cached night of 960 epochs, {HEAD_STEPS} steps: {:.1} ms", head_time());
}

/// Local steps of a head in one round, far more than a plan asks for.
const HEAD_STEPS: u32 = 1000;

/// Milliseconds to train the head on a night whose embeddings are there already.
fn head_time() -> f64 {
    let stager = Stager::new(&NetConfig::default(), 1, DeviceKind::Flex).expect("a good configuration");
    let embedded = stager.embed(&stager.prepare(&night(960)).expect("streams of the default widths"));
    let plan = TrainPlan { steps: HEAD_STEPS, ..TrainPlan::default() };
    median_ms(|| {
        let report = stager.clone().train_head(&[&embedded], &plan, 1, &[]);
        assert!(report.is_ok_and(|report| report.steps == HEAD_STEPS));
    })
}

/// One step of the night-level network, everything included: view of the night, noise, dropout, AdamW.
fn night_step(config: &NetConfig, device: DeviceKind) -> f64 {
    const STEPS: u32 = 5;
    let mut stager = Stager::new(config, 0, device).expect("a good configuration");
    let night = stager.prepare(&night(960)).expect("a fitting night");
    let plan = TrainPlan { steps: STEPS, ..TrainPlan::default() };
    let steps = median_ms(|| {
        stager.train(&[&night], &plan, 1).expect("a good plan");
    });
    steps / f64::from(STEPS)
}

/// Weights, milliseconds of one pretraining step (forward, backward, Adam) and of embedding 960 epochs.
fn wave_times(wave: &Wave) -> (usize, f64, f64) {
    const BATCH: usize = 64;
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut weights = Weights::new(&wave.specs(), &mut rng, DeviceKind::Flex);
    let mut adam = Adam::new(AdamRule::default());
    let epoch = wave.windows_per_epoch() * wave.window_len();
    let samples: Vec<f32> = (0..960 * epoch).map(|i| noise(i, 0.5)).collect();
    let batch: Vec<&[f32]> = samples.chunks_exact(wave.window_len()).take(BATCH).collect();
    let step = median_ms(|| {
        let x = windows(&batch, wave.stream.channels(), weights.device());
        let loss = wave.embed(&weights, x).square().mean();
        adam.step(&mut weights, &mut loss.backward(), 1e-3);
    });
    let night = median_ms(|| {
        wave.embed_night(&weights, &samples);
    });
    (weights.trained(), step, night)
}

fn night(epochs: usize) -> Night {
    let stream = |width: usize| Features {
        width,
        values: (0..epochs * width).map(|i| noise(i, width as f32)).collect(),
        present: vec![true; epochs],
    };
    Night {
        person: "bench".parse().expect("a good name"),
        name: "night".into(),
        epochs,
        features: BTreeMap::from([
            (StreamKind::Hr, stream(12)),
            (StreamKind::Activity, stream(2)),
            (StreamKind::Posture, stream(4)),
        ]),
        time: (0..epochs).map(|epoch| epoch as f32 / 120.0).collect(),
        stages: (0..epochs).map(|epoch| Some(Stage::ALL[epoch / 20 % 5])).collect(),
        normalisation: Normalisation::default(),
        quality: Quality::default(),
    }
}

/// The median time of a call, after one that is not counted.
fn median_ms(mut step: impl FnMut()) -> f64 {
    step();
    let begin = Instant::now();
    let mut times = Vec::new();
    while times.len() < 15 && (times.is_empty() || begin.elapsed() < PATIENCE) {
        let start = Instant::now();
        step();
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

#[derive(Clone, Copy, PartialEq)]
enum Convolution {
    Im2col,
    Stock,
}

/// One convolution: input and output channels, taps, stride.
#[derive(Clone, Copy)]
struct Shape {
    from: usize,
    to: usize,
    taps: usize,
    stride: usize,
}

/// A residual encoder: a stem, then pairs of convolutions around a shortcut.
struct Encoder {
    input: [usize; 3],
    stem: Shape,
    blocks: Vec<(Shape, Shape)>,
}

impl Encoder {
    /// A hub's encoder: four stages of two blocks, 16 to 64 channels.
    fn b() -> Self {
        let stem = Shape { from: 4, to: 16, taps: 7, stride: 2 };
        Self { input: [32, 4, 480], stem, blocks: stages(&[(16, 2), (32, 2), (64, 2), (64, 2)], 7) }
    }

    /// ResNet-34's 3, 4, 6 and 3 blocks.
    fn a(width: usize) -> Self {
        let stem = Shape { from: 3, to: width, taps: 7, stride: 2 };
        Self {
            input: [32, 3, 256],
            stem,
            blocks: stages(&[(width, 3), (2 * width, 4), (4 * width, 6), (8 * width, 3)], 3),
        }
    }

    fn shapes(&self) -> impl Iterator<Item = Shape> + '_ {
        std::iter::once(self.stem).chain(self.blocks.iter().flat_map(|(first, second)| [*first, *second]))
    }

    fn parameters(&self) -> usize {
        self.shapes().map(|s| s.from * s.to * s.taps).sum()
    }

    fn measure(&self, convolution: Convolution) -> f64 {
        let device = Device::flex().autodiff();
        let [batch, channels, len] = self.input;
        let input = match convolution {
            Convolution::Im2col => random([channels, batch, len], &device),
            Convolution::Stock => random([batch, channels, len], &device),
        };
        let mut weights: Vec<Tensor<3>> =
            self.shapes().map(|s| random([s.to, s.from, s.taps], &device).require_grad()).collect();
        median_ms(|| {
            let mut next = weights.iter().zip(self.shapes());
            let mut convolve = |x: Tensor<3>| {
                let (weight, shape) = next.next().expect("a weight for every convolution");
                shape.apply(x, weight.clone(), convolution)
            };
            let mut h = relu(convolve(input.clone()));
            for (first, _) in &self.blocks {
                let inner = relu(convolve(h.clone()));
                let y = convolve(inner);
                h = if first.stride == 1 && first.from == first.to { relu(h + y) } else { relu(y) };
            }
            let mut gradients = (h.clone() * h).mean().backward();
            for weight in &mut weights {
                let gradient = weight.grad_remove(&mut gradients).expect("every weight is used");
                *weight = (weight.clone().inner() - gradient * 1e-3).autodiff().require_grad();
            }
        })
    }
}

impl Shape {
    fn apply(self, x: Tensor<3>, weight: Tensor<3>, convolution: Convolution) -> Tensor<3> {
        let padding = self.taps / 2;
        match convolution {
            Convolution::Im2col => {
                let weight = weight.permute([0, 2, 1]).reshape([self.to, self.taps * self.from]);
                conv1d(x, weight, self.taps, Slide { stride: self.stride, padding, dilation: 1 })
            }
            Convolution::Stock => stock(x, weight, None, ConvOptions::new([self.stride], [padding], [1], 1)),
        }
    }
}

/// Stages of `(channels, blocks)`; each but the first begins by halving the length.
fn stages(widths: &[(usize, usize)], taps: usize) -> Vec<(Shape, Shape)> {
    let mut blocks = Vec::new();
    let mut from = widths[0].0;
    for (stage, (to, count)) in widths.iter().enumerate() {
        for block in 0..*count {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            let first = Shape { from, to: *to, taps, stride };
            blocks.push((first, Shape { from: *to, to: *to, taps, stride: 1 }));
            from = *to;
        }
    }
    blocks
}

fn random<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    let fan = shape[1..].iter().product::<usize>() as f32;
    let values: Vec<f32> = (0..shape.iter().product()).map(|i| noise(i, 1.0) / fan.sqrt()).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

fn noise(i: usize, salt: f32) -> f32 {
    (i as f32 * 12.9898 + salt).sin()
}
