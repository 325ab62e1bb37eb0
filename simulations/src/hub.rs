//! What a hub has to bear: its head on a night that is embedded already, and the pass of each encoder over a night.

use std::fmt::Write;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use somnus_model::encoder::{Wave, Weights};
use somnus_model::{DeviceKind, ModelError, Stager};
use somnus_protocol::checkpoint::{Checkpoint, CheckpointError};
use somnus_protocol::plan::TrainPlan;
use somnus_signals::synthetic::{SyntheticConfig, cohort};
use somnus_signals::{NightRules, StreamKind};

use crate::bench::Meter;
use crate::eight_bits::{StagingCost, costs};
use crate::rss;
use crate::start::BASE;

/// Steps of the head, more than any plan of ours asks for in one round.
const STEPS: u32 = 1000;

/// Epochs of the night that the wave encoders see: eight hours.
const EPOCHS: usize = 960;

/// What a night on a hub took.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Hub {
    /// Epochs of the night whose head is trained.
    pub epochs: usize,
    /// Training steps of the head.
    pub steps: u32,
    /// Seconds by the clock for all of them.
    pub head_seconds: f64,
    /// Processor seconds for all of them, of all threads.
    pub head_cpu_seconds: f64,
    /// The most memory until then, of the whole process, MiB.
    pub head_mib: f64,
    /// Passes over a night, the staging network's first.
    pub passes: Vec<Pass>,
    /// Staging the night, at each precision.
    pub staging: [StagingCost; 2],
    /// The most memory in the end, MiB.
    pub peak_mib: f64,
}

/// One pass over a night.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Pass {
    /// The network or the encoder.
    pub of: String,
    /// Epochs of 30 seconds.
    pub epochs: usize,
    /// Seconds by the clock.
    pub seconds: f64,
    /// Processor seconds of all threads.
    pub cpu_seconds: f64,
}

/// Why there is nothing to print.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// The shipped model.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A network.
    #[error(transparent)]
    Model(#[from] ModelError),
}

/// Measures in this process, the head first: its memory is not the encoders'.
///
/// # Errors
/// If the shipped model cannot be used.
///
/// # Panics
/// If the synthetic cohort is empty.
pub fn measure() -> Result<Hub, HubError> {
    let people = cohort(&SyntheticConfig { people: 1, ..SyntheticConfig::default() }, &NightRules::default());
    let night = people.nights.first().expect("one person has a night");
    let mut stager = Stager::from_checkpoint(&Checkpoint::from_bytes(BASE)?, DeviceKind::Flex)?;
    let prepared = stager.prepare(night)?;
    let whole = Meter::start();
    let embedded = stager.embed(&prepared);
    let mut passes = vec![whole.pass("staging network".into(), night.epochs)];

    let staging = costs(&stager, &prepared);

    let plan = TrainPlan { steps: STEPS, ..TrainPlan::default() };
    let meter = Meter::start();
    let steps = stager.train_head(&[&embedded], &plan, 1, &[])?.steps;
    let head = meter.read();
    let head_mib = rss::peak_mib();

    for stream in [StreamKind::Accel, StreamKind::Ppg, StreamKind::Ecg] {
        let Some(wave) = Wave::hub(stream) else { continue };
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let weights = Weights::new(&wave.specs(), &mut rng, DeviceKind::Flex);
        let len = EPOCHS * wave.windows_per_epoch() * wave.window_len();
        let samples: Vec<f32> = (0..len).map(|_| rng.random_range(-1.0..1.0)).collect();
        let meter = Meter::start();
        let features = wave.embed_night(&weights, &samples);
        passes.push(meter.pass(format!("{stream} encoder"), features.present.len()));
    }
    Ok(Hub {
        epochs: night.epochs,
        steps,
        head_seconds: head.seconds,
        head_cpu_seconds: head.cpu,
        head_mib,
        passes,
        staging,
        peak_mib: rss::peak_mib(),
    })
}

impl Meter {
    fn pass(&self, of: String, epochs: usize) -> Pass {
        let cost = self.read();
        Pass { of, epochs, seconds: cost.seconds, cpu_seconds: cost.cpu }
    }
}

/// The numbers as lines, for a terminal. Ends with a newline.
#[must_use]
pub fn table(hub: &Hub) -> String {
    let mut out = format!(
        "head on a cached night of {} epochs, {} steps: {:.2} s ({:.2} s of processor time), {:.1} MiB at most\n",
        hub.epochs, hub.steps, hub.head_seconds, hub.head_cpu_seconds, hub.head_mib
    );
    for pass in &hub.passes {
        let _ = writeln!(
            out,
            "{:<16} over {:>4} epochs: {:.2} s ({:.2} s of processor time)",
            pass.of, pass.epochs, pass.seconds, pass.cpu_seconds
        );
    }
    for one in &hub.staging {
        let _ = writeln!(
            out,
            "staging a night of {} epochs in {:<4}: {:.2} ms, {:.0} KiB of weights",
            hub.epochs, one.of, one.milliseconds, one.kib
        );
    }
    let _ = writeln!(out, "with a night of raw signals in memory: {:.1} MiB at most", hub.peak_mib);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hub_passes_cover_a_night_each() {
        let hub = measure().unwrap();
        assert_eq!(hub.steps, STEPS);
        let of: Vec<(&str, usize)> = hub.passes.iter().map(|pass| (pass.of.as_str(), pass.epochs)).collect();
        assert_eq!(
            of,
            [
                ("staging network", hub.epochs),
                ("accel encoder", EPOCHS),
                ("ppg encoder", EPOCHS),
                ("ecg encoder", EPOCHS)
            ]
        );
        assert!(hub.passes.iter().all(|pass| pass.seconds > 0.0));
        assert!(hub.peak_mib >= hub.head_mib);
        let text = table(&hub);
        assert_eq!(text.lines().count(), 8, "{text}");
        let [exact, rounded] = &hub.staging;
        assert_eq!((exact.of, rounded.of), ("f32", "int8"));
        assert!(rounded.kib < 0.3 * exact.kib, "{:?}", hub.staging);
    }
}
