//! What goes into the network and what comes out of it, for those who compute it elsewhere.

use std::collections::BTreeMap;

use somnus_protocol::checkpoint::Tensor;

use crate::input::Prepared;
use crate::params::TIME;
use crate::stager::Stager;

impl Stager {
    /// The logits of a prepared night, `[epochs, classes]`, row-major: what the softmax of [`Stager::predict`] is of.
    pub fn logits(&self, night: &Prepared) -> Vec<f32> {
        let h = self.net().embed(self.weights(), night.values.clone(), None);
        self.net().head(self.weights(), &h)
    }

    /// What the network is given of a night: for each stream `STREAM.features` `[epochs, width]` (features and their context; zero
    /// where it is missing) and `STREAM.missing` `[epochs, 1]`, and `time` `[epochs, 2]`. With the checkpoint's tensors an epoch
    /// enters as the sum of `encoder.STREAM.weight · features + encoder.STREAM.missing · missing`, of `encoder.time.weight · time`
    /// and of `encoder.bias`.
    pub fn inputs(&self, night: &Prepared) -> BTreeMap<String, Tensor> {
        let columns = |from: usize, width: usize| Tensor {
            shape: vec![night.epochs(), width],
            values: night
                .values
                .chunks_exact(night.inputs)
                .flat_map(|row| &row[from..from + width])
                .copied()
                .collect(),
        };
        let mut tensors = BTreeMap::from([("time".to_owned(), columns(night.inputs - TIME, TIME))]);
        for (stream, (from, width)) in &self.net().layout.streams {
            tensors.insert(format!("{stream}.features"), columns(*from, *width));
            tensors.insert(format!("{stream}.missing"), columns(from + width, 1));
        }
        tensors
    }
}
