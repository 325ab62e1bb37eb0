//! What a network is built from: a page of numbers that travels in every checkpoint's manifest.

use std::collections::BTreeMap;

use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use somnus_signals::{StreamKind, Task};

use crate::error::ModelError;

/// Which of burn's CPU engines multiplies the matrices.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    /// burn-flex: the default, and the faster one.
    #[default]
    Flex,
    /// burn-ndarray: deprecated upstream, kept to check the other against.
    Ndarray,
}

impl DeviceKind {
    /// burn's handle.
    pub(crate) fn open(self) -> Device {
        match self {
            Self::Flex => Device::flex(),
            // Deprecated upstream; we keep it as the second opinion of the parity test.
            #[allow(deprecated)]
            Self::Ndarray => Device::ndarray(),
        }
    }
}

/// The night-level staging network: one encoder per stream, a mixer of dilated residual blocks, a linear head.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NetConfig {
    /// Which classes are told apart. Default `four`.
    pub task: Task,
    /// Features per epoch of each stream that the network understands; any may be missing in a night.
    /// Default: heart rate 12, activity 2, posture 4.
    pub streams: BTreeMap<StreamKind, usize>,
    /// Half-widths in epochs of the windows whose mean, spread and maximum each epoch is given beside its own features;
    /// empty for none. Default 2, 5, 10, 20, 40.
    pub context: Vec<usize>,
    /// Channels of the mixer, a multiple of 16. Default 32.
    pub width: usize,
    /// Taps of each convolution, odd. Default 7.
    pub kernel: usize,
    /// One residual block for each; the step between taps in epochs. Default 1, 2, 4, 8, 16, 32.
    pub dilations: Vec<usize>,
    /// Bottleneck of the residual adapter behind each block; 0 for none. Default 0.
    pub adapters: usize,
}

impl Default for NetConfig {
    fn default() -> Self {
        Self {
            task: Task::Four,
            streams: BTreeMap::from([
                (StreamKind::Hr, 12),
                (StreamKind::Activity, 2),
                (StreamKind::Posture, 4),
            ]),
            context: vec![2, 5, 10, 20, 40],
            width: 32,
            kernel: 7,
            dilations: vec![1, 2, 4, 8, 16, 32],
            adapters: 0,
        }
    }
}

impl NetConfig {
    /// Refuses what no network can be built from, and sizes that a hub could not hold.
    ///
    /// # Errors
    /// [`ModelError::Config`] naming the key.
    pub fn check(&self) -> Result<(), ModelError> {
        let refuse = |key, reason: String| Err(ModelError::Config { key, reason });
        if !self.width.is_multiple_of(16) || !(16..=512).contains(&self.width) {
            return refuse("width", format!("{} is not a multiple of 16 from 16 to 512", self.width));
        }
        if self.kernel.is_multiple_of(2) || self.kernel > 31 {
            return refuse("kernel", format!("{} is not an odd number up to 31", self.kernel));
        }
        if self.dilations.is_empty() || self.dilations.len() > 24 {
            return refuse("dilations", format!("{} blocks, not 1 to 24", self.dilations.len()));
        }
        if let Some(bad) = self.dilations.iter().find(|d| !(1..=1024).contains(*d)) {
            return refuse("dilations", format!("{bad} is not within 1 to 1024"));
        }
        if self.context.len() > 16 || self.context.iter().any(|half| !(1..=1024).contains(half)) {
            return refuse("context", "at most 16 half-widths, each 1 to 1024 epochs".into());
        }
        if self.adapters > self.width {
            return refuse("adapters", format!("a bottleneck of {} is wider than the net", self.adapters));
        }
        if self.streams.is_empty() {
            return refuse("streams", "a network needs at least one stream".into());
        }
        if let Some((stream, width)) = self.streams.iter().find(|(_, width)| !(1..=4096).contains(*width)) {
            return refuse("streams", format!("{stream} has {width} features, not 1 to 4096"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absurd_configurations_name_their_key() {
        let ok = NetConfig::default();
        ok.check().unwrap();
        let cases = [
            ("net.width", NetConfig { width: 30, ..ok.clone() }),
            ("net.kernel", NetConfig { kernel: 6, ..ok.clone() }),
            ("net.dilations", NetConfig { dilations: vec![], ..ok.clone() }),
            ("net.dilations", NetConfig { dilations: vec![0], ..ok.clone() }),
            ("net.context", NetConfig { context: vec![5, 0], ..ok.clone() }),
            ("net.adapters", NetConfig { adapters: 33, ..ok.clone() }),
            ("net.streams", NetConfig { streams: BTreeMap::new(), ..ok }),
        ];
        for (key, config) in cases {
            assert!(config.check().unwrap_err().to_string().starts_with(key), "{key}");
        }
    }

    #[test]
    fn unknown_fields_are_refused() {
        let text = r#"{"task": "four", "widht": 48}"#;
        assert!(serde_json::from_str::<NetConfig>(text).unwrap_err().to_string().contains("widht"));
        let back: NetConfig = serde_json::from_value(serde_json::json!({"width": 48})).unwrap();
        assert_eq!(back, NetConfig { width: 48, ..NetConfig::default() });
    }
}
