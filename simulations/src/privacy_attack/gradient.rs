//! What the layers of a network tell of what went into them.
//!
//! A linear layer that saw a row `x` has the gradients `x d^T` of its weights and `d` of its bias, with the same unknown `d`: their
//! quotient is `x` itself (Phong et al. 2018; Zhu, Liu and Han 2019 needed an optimiser for want of a bias). Of several rows
//! the quotient is a weighted mean. The bias of a softmax head has the gradient `p - y`, which gives the labels away
//! (Zhao, Mopuri and Bilen 2020). Both are exact after one step of gradient descent, so no search is needed.

use std::collections::BTreeMap;

use somnus_model::{ModelError, Stager};
use somnus_protocol::checkpoint::Tensor;
use somnus_protocol::plan::TrainableSet;

/// An update, taken apart by the names that the checkpoint's manifest gives its places.
pub struct Dissected {
    tensors: BTreeMap<String, Tensor>,
    streams: Vec<String>,
}

impl Dissected {
    /// `update` of the network's `set`.
    ///
    /// # Errors
    /// [`ModelError`] if it is none.
    pub fn new(stager: &Stager, set: TrainableSet, update: &[f32]) -> Result<Self, ModelError> {
        let mut shell = stager.clone();
        shell.set_trainable(set, update)?;
        let streams = shell.config().streams.keys().map(ToString::to_string).collect();
        Ok(Self { tensors: shell.to_checkpoint("update", BTreeMap::new()).tensors, streams })
    }

    /// The inputs of the network, from its first layer: `[inputs]`, in the order of [`somnus_model::Prepared::values`]. Of a
    /// `full` update.
    #[must_use]
    pub fn inputs(&self) -> Vec<f32> {
        let layer = self
            .streams
            .iter()
            .flat_map(|stream| ["weight", "missing"].map(|part| format!("encoder.{stream}.{part}")));
        let layer: Vec<String> = layer.chain(["encoder.time.weight".to_owned()]).collect();
        self.quotient(&layer, "encoder.bias")
    }

    /// What the head was given, `[width]`.
    #[must_use]
    pub fn embedding(&self) -> Vec<f32> {
        self.quotient(&["head.weight".to_owned()], "head.bias")
    }

    /// How far the head's bias moved towards each stage, `[classes]`.
    #[must_use]
    pub fn stages(&self) -> &[f32] {
        self.tensor("head.bias")
    }

    fn tensor(&self, name: &str) -> &[f32] {
        self.tensors.get(name).map_or(&[], |tensor| &tensor.values)
    }

    /// The row `x` for which `x d^T` comes nearest to the weights' gradient, by least squares, where `d` is the bias's.
    fn quotient(&self, weights: &[String], bias: &str) -> Vec<f32> {
        let bias = self.tensor(bias);
        let square: f64 = bias.iter().map(|d| f64::from(*d).powi(2)).sum();
        let mut row = Vec::new();
        for name in weights {
            // `[outputs, columns]`; a vector is one column.
            let tensor = self.tensor(name);
            let columns = tensor.len() / bias.len().max(1);
            for column in 0..columns {
                let ahead = bias.iter().zip(tensor[column..].iter().step_by(columns));
                let dot: f64 = ahead.map(|(d, value)| f64::from(*d) * f64::from(*value)).sum();
                row.push(if square > 0.0 { (dot / square) as f32 } else { 0.0 });
            }
        }
        row
    }
}

#[cfg(test)]
mod tests {
    use somnus_model::{DeviceKind, NetConfig};
    use somnus_protocol::plan::{Augmentation, Optimiser, TrainPlan};
    use somnus_signals::NightRules;
    use somnus_signals::synthetic::{SyntheticConfig, cohort};

    use super::*;

    #[test]
    fn privacy_one_epoch_comes_back_from_its_gradients() {
        let net = NetConfig { width: 16, dilations: vec![1, 4], ..NetConfig::default() };
        let stager = Stager::new(&net, 1, DeviceKind::Flex).unwrap();
        let people = SyntheticConfig { people: 1, ..SyntheticConfig::default() };
        let night = cohort(&people, &NightRules::default()).nights.remove(0);
        let at = (0..night.epochs).find(|epoch| night.stages[*epoch].is_some()).unwrap();
        let part = stager.prepare_part(&night, at..at + 1).unwrap();
        let plan = |trainable| TrainPlan {
            trainable,
            steps: 1,
            learning_rate: 0.1,
            optimiser: Optimiser::Sgd { momentum: 0.0 },
            dropout: 0.0,
            augmentation: Augmentation { input_noise: 0.0, ..Augmentation::default() },
            ..TrainPlan::default()
        };
        let update = |set| {
            let mut trained = stager.clone();
            trained.train(&[&part], &plan(set), 1).unwrap();
            Dissected::new(&stager, set, &trained.change_from(&stager, set).unwrap()).unwrap()
        };
        // Late digits of the weights are lost in an update: what is large comes back to a thousandth.
        let near = |guess: &[f32], truth: &[f32]| {
            let most = truth.iter().fold(0.0f32, |most, value| most.max(value.abs()));
            assert_eq!(guess.len(), truth.len());
            let off = guess.iter().zip(truth).map(|(guess, truth)| (guess - truth).abs());
            assert!(off.fold(0.0, f32::max) < 1e-3 * most, "{guess:?} is not {truth:?}");
        };
        let full = update(TrainableSet::Full);
        near(&full.inputs(), part.values());
        near(&full.embedding(), stager.embed(&part).values());
        let head = update(TrainableSet::Head);
        near(&head.embedding(), stager.embed(&part).values());
        let risen = (0..4).max_by(|a, b| head.stages()[*a].total_cmp(&head.stages()[*b]));
        assert_eq!(risen, night.classes(stager.task())[at]);
    }
}
