//! How much memory work with a network takes: counted from the shapes, of the arrays that live at one time at most.

use somnus_protocol::plan::{Personalisation, TrainPlan, TrainableSet};

use crate::conv::Phases;
use crate::net::Net;

/// Bytes of a number.
const NUMBER: usize = size_of::<f32>();

/// Vectors of all weights that a training has, beside those of the foundation and the release: its own, gradients, two moments,
/// a correction, where it is drawn to, everybody's control, its change, the same in release order and as bytes.
const TRAINING: usize = 10;

/// What somebody's work is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work<'a> {
    /// Epochs of each night that trains.
    pub(crate) train: &'a [usize],
    /// Epochs of each night that judges.
    pub(crate) judge: &'a [usize],
    /// How it trains; an evaluation does not.
    pub(crate) plan: Option<&'a TrainPlan>,
}

impl Net {
    /// Bytes of the nights, the networks and the largest pass over a night of `work`, less those of the model's files.
    pub(crate) fn footprint(&self, work: Work<'_>) -> u64 {
        let Work { train, judge, plan } = work;
        let (inputs, width) = (self.layout.inputs, self.config.width);
        let all: usize = train.iter().chain(judge).sum();
        // Laid out, and behind the frozen part.
        let nights = all * (inputs + width);
        let own = plan.map_or(0, |plan| if plan.personal == Personalisation::None { 0 } else { 2 });
        let weights = self.layout.len * (2 + own + if plan.is_some() { TRAINING } else { 0 });
        let taped = plan.is_some_and(|plan| plan.trainable != TrainableSet::Head);
        let longest = |nights: &[usize]| nights.iter().copied().max().unwrap_or(0);
        let forward = self.pass(longest(train).max(longest(judge)), false);
        let pass = if taped { forward.max(self.pass(longest(train), true)) } else { forward };
        ((nights + weights + pass) * NUMBER) as u64
    }

    /// Numbers of one pass over a night, with its way back if it is `taped`.
    fn pass(&self, epochs: usize, taped: bool) -> usize {
        let (inputs, width, taps) = (self.layout.inputs, self.config.width, self.config.kernel);
        let rows = |dilation: &usize| Phases::new(epochs, *dilation, taps).rows();
        let most = self.config.dilations.iter().map(rows).max().unwrap_or(0);
        // Input, normalised, slope; and what one block has besides: product, chance, the filter both ways, and its windows side by
        // side where the engine has no views of them.
        let tape = |rows: usize| rows * width + 2 * epochs * width + epochs;
        let block = 3 * most * width + epochs * width + 2 * taps * width * width + 2 * taps * most * width;
        let tapes: usize = match taped {
            true => self.config.dilations.iter().map(rows).map(tape).sum(),
            false => tape(most),
        };
        let adapters =
            if taped { self.config.dilations.len() * epochs * (width + 2 * self.config.adapters) } else { 0 };
        // The night as it is viewed and as the engine has it, embeddings and their slopes.
        3 * epochs * inputs + 4 * epochs * width + tapes + block + adapters
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{DeviceKind, NetConfig};

    fn bytes(config: &NetConfig, epochs: usize, plan: Option<&TrainPlan>) -> u64 {
        Net::new(config.clone(), DeviceKind::Flex).footprint(Work {
            train: &[epochs],
            judge: &[epochs],
            plan,
        })
    }

    #[test]
    fn more_work_takes_more() {
        let config = NetConfig::default();
        let wide = NetConfig { width: 64, ..config.clone() };
        let deep = NetConfig {
            dilations: [config.dilations.clone(), config.dilations.clone()].concat(),
            ..config.clone()
        };
        let full = TrainPlan { trainable: TrainableSet::Full, ..TrainPlan::default() };
        let head = TrainPlan { trainable: TrainableSet::Head, ..full };
        let usual = bytes(&config, 960, Some(&full));
        assert!(bytes(&config, 960, None) < bytes(&config, 960, Some(&head)));
        assert!(bytes(&config, 960, Some(&head)) < usual);
        for more in [
            bytes(&config, 1920, Some(&full)),
            bytes(&wide, 960, Some(&full)),
            bytes(&deep, 960, Some(&full)),
        ] {
            assert!(more > usual + usual / 4, "{more}, usually {usual}");
        }
        // A night of eight hours is small beside the program.
        assert!((4 << 20..64 << 20).contains(&usual), "{usual}");
    }
}
