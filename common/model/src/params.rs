//! Where each weight lives: one flat vector in the order that training likes, and the named tensors of a checkpoint.
//!
//! Inside, matrices are stored as the matrix products take them, `[in, out]`, so that a step never permutes the whole
//! network. Outside (checkpoints and releases) tensors have the shapes that PyTorch gives them: `[out, in]` for linear
//! layers, `[out, in, taps]` for convolutions. A [`Param`] maps one to the other by strides.

use std::collections::BTreeMap;
use std::ops::Range;

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use somnus_protocol::checkpoint::Tensor;
use somnus_protocol::plan::TrainableSet;
use somnus_signals::StreamKind;

use crate::config::NetConfig;
use crate::context;
use crate::error::ModelError;

/// Numbers that say what time of the night an epoch is at, beside the streams.
pub(crate) const TIME: usize = 2;

/// Which of the trainable sets a weight is first part of; each set contains the ones before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Part {
    Head,
    Adapter,
    Body,
}

impl Part {
    /// Whether `set` moves these weights.
    pub(crate) fn is_in(self, set: TrainableSet) -> bool {
        match set {
            TrainableSet::Head => self == Part::Head,
            TrainableSet::Adapters => self != Part::Body,
            TrainableSet::Full => true,
        }
    }
}

/// How a weight begins.
#[derive(Clone, Copy, Debug)]
enum Start {
    Constant(f32),
    /// Uniform within the bound: one over the square root of the inputs of a unit, as PyTorch's layers begin.
    Uniform(f32),
}

/// One named tensor.
#[derive(Clone, Debug)]
pub(crate) struct Param {
    pub(crate) name: String,
    /// As in the checkpoint, slowest axis first.
    pub(crate) shape: Vec<usize>,
    pub(crate) part: Part,
    /// Where its first value is in the flat vector.
    offset: usize,
    /// Steps in the flat vector along each axis of `shape`.
    strides: Vec<usize>,
    start: Start,
}

impl Param {
    pub(crate) fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// The places of its values in the flat vector, in the order of the checkpoint.
    fn places(&self) -> impl Iterator<Item = usize> + '_ {
        let (shape, strides) = (&self.shape, &self.strides);
        let axis = |i: usize| (shape.get(i).copied().unwrap_or(1), strides.get(i).copied().unwrap_or(0));
        let ((n0, s0), (n1, s1), (n2, s2)) = (axis(0), axis(1), axis(2));
        (0..n0).flat_map(move |a| {
            (0..n1).flat_map(move |b| (0..n2).map(move |c| self.offset + a * s0 + b * s1 + c * s2))
        })
    }
}

/// Places of one block in the flat vector.
#[derive(Clone, Debug)]
pub(crate) struct BlockPlaces {
    /// Gain of the layer norm, `[C]`.
    pub(crate) gain: Range<usize>,
    /// Shift of the layer norm, `[C]`.
    pub(crate) shift: Range<usize>,
    /// Convolution, `[taps * C in, C out]`.
    pub(crate) weight: Range<usize>,
    /// `[C]`.
    pub(crate) bias: Range<usize>,
    /// The adapter behind the block, if the network has adapters.
    pub(crate) adapter: Option<AdapterPlaces>,
}

/// Places of one adapter, bottleneck `b`.
#[derive(Clone, Debug)]
pub(crate) struct AdapterPlaces {
    /// `[C, b]`.
    pub(crate) down: Range<usize>,
    /// `[b]`.
    pub(crate) down_bias: Range<usize>,
    /// `[b, C]`.
    pub(crate) up: Range<usize>,
    /// `[C]`.
    pub(crate) up_bias: Range<usize>,
}

/// The whole map.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    params: Vec<Param>,
    pub(crate) len: usize,
    /// All stream encoders and the time encoding as one matrix, `[inputs, C]`; see [`Layout::inputs`].
    pub(crate) input: Range<usize>,
    /// `[C]`.
    pub(crate) input_bias: Range<usize>,
    pub(crate) blocks: Vec<BlockPlaces>,
    /// `[C, classes]`.
    pub(crate) head: Range<usize>,
    /// `[classes]`.
    pub(crate) head_bias: Range<usize>,
    /// Per stream, its first column among the inputs and its numbers (features and context); the column behind them says
    /// "missing".
    pub(crate) streams: BTreeMap<StreamKind, (usize, usize)>,
    /// Columns of the input matrix: features and one "missing" of each stream, then [`TIME`].
    pub(crate) inputs: usize,
    /// Computed once: a release is taken apart and put together in every round.
    sets: BTreeMap<TrainableSet, SetPlaces>,
}

/// Where the weights of a trainable set are in the flat vector.
#[derive(Clone, Debug)]
struct SetPlaces {
    /// In release order.
    order: Vec<u32>,
    /// See [`Layout::runs`].
    runs: Vec<(Range<usize>, bool)>,
}

impl SetPlaces {
    fn new(params: &[Param], set: TrainableSet, len: usize) -> Self {
        let mut order = Vec::new();
        let mut places: Vec<Option<bool>> = vec![None; len];
        for param in params.iter().filter(|p| p.part.is_in(set)) {
            for place in param.places() {
                order.push(u32::try_from(place).expect("fewer weights than 2^32"));
                places[place] = Some(param.shape.len() > 1);
            }
        }
        let mut runs: Vec<(Range<usize>, bool)> = Vec::new();
        for (place, decays) in places.into_iter().enumerate() {
            let Some(decays) = decays else { continue };
            match runs.last_mut() {
                Some((run, same)) if run.end == place && *same == decays => run.end += 1,
                _ => runs.push((place..place + 1, decays)),
            }
        }
        Self { order, runs }
    }
}

impl Layout {
    pub(crate) fn new(config: &NetConfig) -> Self {
        let (c, taps, classes) = (config.width, config.kernel, config.task.classes());
        let mut build = Builder::default();

        let width =
            |(stream, own): (&StreamKind, &usize)| (*stream, own + context::width(*stream, &config.context));
        let widths: Vec<(StreamKind, usize)> = config.streams.iter().map(width).collect();
        let features: usize = widths.iter().map(|(_, width)| width).sum();
        let inputs = features + config.streams.len() + TIME;
        let input = build.reserve(inputs * c);
        let input_bias = build.reserve(c);
        let fan_in = uniform(features);
        let mut streams = BTreeMap::new();
        let mut column = 0;
        for (stream, width) in &widths {
            let at = input.start + column * c;
            build.name(format!("encoder.{stream}.weight"), &[c, *width], at, &[1, c], fan_in, Part::Body);
            build.name(format!("encoder.{stream}.missing"), &[c], at + width * c, &[1], fan_in, Part::Body);
            streams.insert(*stream, (column, *width));
            column += width + 1;
        }
        let at = input.start + column * c;
        build.name("encoder.time.weight".into(), &[c, TIME], at, &[1, c], fan_in, Part::Body);
        build.name("encoder.bias".into(), &[c], input_bias.start, &[1], fan_in, Part::Body);

        let mut blocks = Vec::new();
        for i in 0..config.dilations.len() {
            let one = Start::Constant(1.0);
            let zero = Start::Constant(0.0);
            let fan_in = uniform(taps * c);
            let gain = build.vector(format!("blocks.{i}.norm.weight"), c, one, Part::Body);
            let shift = build.vector(format!("blocks.{i}.norm.bias"), c, zero, Part::Body);
            let weight = build.reserve(taps * c * c);
            let name = format!("blocks.{i}.conv.weight");
            build.name(name, &[c, c, taps], weight.start, &[1, c, c * c], fan_in, Part::Body);
            let bias = build.vector(format!("blocks.{i}.conv.bias"), c, fan_in, Part::Body);
            let adapter = (config.adapters > 0).then(|| {
                let b = config.adapters;
                let name = |what: &str| format!("blocks.{i}.adapter.{what}");
                let down = build.matrix(name("down.weight"), c, b, uniform(c), Part::Adapter);
                let down_bias = build.vector(name("down.bias"), b, zero, Part::Adapter);
                // Zero, so that a fresh adapter changes nothing (Houlsby et al. 2019).
                let up = build.matrix(name("up.weight"), b, c, zero, Part::Adapter);
                let up_bias = build.vector(name("up.bias"), c, zero, Part::Adapter);
                AdapterPlaces { down, down_bias, up, up_bias }
            });
            blocks.push(BlockPlaces { gain, shift, weight, bias, adapter });
        }
        let head = build.matrix("head.weight".into(), c, classes, uniform(c), Part::Head);
        let head_bias = build.vector("head.bias".into(), classes, uniform(c), Part::Head);
        let adapters = config.adapters > 0;
        let sets = [TrainableSet::Head, TrainableSet::Adapters, TrainableSet::Full]
            .into_iter()
            .filter(|set| adapters || *set != TrainableSet::Adapters)
            .map(|set| (set, SetPlaces::new(&build.params, set, build.len)))
            .collect();
        Self {
            sets,
            params: build.params,
            len: build.len,
            input,
            input_bias,
            blocks,
            head,
            head_bias,
            streams,
            inputs,
        }
    }

    /// The tensors' names, in the order of the whole network.
    pub(crate) fn names(&self) -> impl Iterator<Item = &String> {
        self.params.iter().map(|param| &param.name)
    }

    /// The sets that this network has.
    pub(crate) fn sets(&self) -> Vec<TrainableSet> {
        self.sets.keys().copied().collect()
    }

    /// The tensors of a set in release order.
    ///
    /// # Errors
    /// [`ModelError::NoSuchSet`].
    pub(crate) fn params(&self, set: TrainableSet) -> Result<impl Iterator<Item = &Param>, ModelError> {
        self.places(set)?;
        Ok(self.params.iter().filter(move |p| p.part.is_in(set)))
    }

    /// Contiguous runs of the flat vector that a set moves, ascending, and whether weight decay applies to them
    /// (matrices: yes; biases, norms and "missing" embeddings: no).
    pub(crate) fn runs(&self, set: TrainableSet) -> Vec<(Range<usize>, bool)> {
        self.sets.get(&set).map(|places| places.runs.clone()).unwrap_or_default()
    }

    /// [`Layout::runs`] less the places in `held`.
    pub(crate) fn runs_without(&self, set: TrainableSet, held: &[u32]) -> Vec<(Range<usize>, bool)> {
        if held.is_empty() {
            return self.runs(set);
        }
        let mut free = vec![true; self.len];
        held.iter().for_each(|place| free[*place as usize] = false);
        let mut runs: Vec<(Range<usize>, bool)> = Vec::new();
        for (run, decays) in self.runs(set) {
            let mut open = false;
            for place in run {
                match runs.last_mut() {
                    Some((last, _)) if open && free[place] => last.end += 1,
                    _ if free[place] => runs.push((place..place + 1, decays)),
                    _ => {}
                }
                open = free[place];
            }
        }
        runs
    }

    /// Where the weights of a set are in the flat vector, in release order.
    ///
    /// # Errors
    /// [`ModelError::NoSuchSet`].
    pub(crate) fn order(&self, set: TrainableSet) -> Result<&[u32], ModelError> {
        Ok(&self.places(set)?.order)
    }

    /// Where the gains and shifts of the norms are, in release order.
    pub(crate) fn norms(&self) -> Vec<u32> {
        let of = |block: &BlockPlaces| block.gain.clone().chain(block.shift.clone());
        self.blocks.iter().flat_map(of).map(|place| place as u32).collect()
    }

    /// First weights, drawn in the order of the tensors.
    pub(crate) fn start(&self, rng: &mut ChaCha8Rng) -> Vec<f32> {
        let mut flat = vec![0.0; self.len];
        for param in &self.params {
            for place in param.places() {
                flat[place] = match param.start {
                    Start::Constant(value) => value,
                    Start::Uniform(bound) => rng.random_range(-bound..=bound),
                };
            }
        }
        flat
    }

    /// Overwrites the tensors that another network has too, by name, with that network's.
    pub(crate) fn copy_shared(&self, flat: &mut [f32], other: &Self, weights: &[f32]) {
        for param in &self.params {
            let Some(same) = other.params.iter().find(|same| same.name == param.name) else { continue };
            assert_eq!(same.shape, param.shape, "{}", param.name);
            param.places().zip(same.places()).for_each(|(to, from)| flat[to] = weights[from]);
        }
    }

    /// The weights of a set as a release lists them.
    ///
    /// # Errors
    /// [`ModelError::NoSuchSet`].
    pub(crate) fn gather(&self, flat: &[f32], set: TrainableSet) -> Result<Vec<f32>, ModelError> {
        Ok(self.places(set)?.order.iter().map(|place| flat[*place as usize]).collect())
    }

    /// The inverse of [`Layout::gather`]; `flat` is unchanged on error.
    ///
    /// # Errors
    /// [`ModelError::NoSuchSet`], [`ModelError::Length`] or [`ModelError::NotFinite`].
    pub(crate) fn scatter(
        &self,
        flat: &mut [f32],
        set: TrainableSet,
        weights: &[f32],
    ) -> Result<(), ModelError> {
        let order = &self.places(set)?.order;
        if order.len() != weights.len() {
            return Err(ModelError::Length { expected: order.len(), got: weights.len() });
        }
        if let Some(bad) = weights.iter().position(|value| !value.is_finite()) {
            let mut ends = self.params(set)?.scan(0, |end, param| {
                *end += param.len();
                Some((*end, param))
            });
            let name = ends.find(|(end, _)| bad < *end).map(|(_, param)| param.name.clone());
            return Err(ModelError::NotFinite(name.unwrap_or_default()));
        }
        for (place, value) in order.iter().zip(weights) {
            flat[*place as usize] = *value;
        }
        Ok(())
    }

    fn places(&self, set: TrainableSet) -> Result<&SetPlaces, ModelError> {
        self.sets.get(&set).ok_or(ModelError::NoSuchSet(set))
    }

    /// All weights as named tensors.
    pub(crate) fn tensors(&self, flat: &[f32]) -> BTreeMap<String, Tensor> {
        let tensor = |p: &Param| Tensor {
            shape: p.shape.clone(),
            values: p.places().map(|place| flat[place]).collect(),
        };
        self.params.iter().map(|p| (p.name.clone(), tensor(p))).collect()
    }

    /// All weights from named tensors; tensors of other names are ignored.
    ///
    /// # Errors
    /// [`ModelError::MissingTensor`], [`ModelError::Shape`] or [`ModelError::NotFinite`] naming the tensor.
    pub(crate) fn read_tensors(&self, tensors: &BTreeMap<String, Tensor>) -> Result<Vec<f32>, ModelError> {
        let mut flat = vec![0.0; self.len];
        for param in &self.params {
            let Some(tensor) = tensors.get(&param.name) else {
                return Err(ModelError::MissingTensor(param.name.clone()));
            };
            if tensor.shape != param.shape || tensor.values.len() != param.len() {
                let (name, expected) = (param.name.clone(), param.shape.clone());
                return Err(ModelError::Shape { name, expected, got: tensor.shape.clone() });
            }
            if tensor.values.iter().any(|v| !v.is_finite()) {
                return Err(ModelError::NotFinite(param.name.clone()));
            }
            for (place, value) in param.places().zip(&tensor.values) {
                flat[place] = *value;
            }
        }
        Ok(flat)
    }
}

/// Hands out places in order.
#[derive(Default)]
struct Builder {
    params: Vec<Param>,
    pub(crate) len: usize,
}

impl Builder {
    fn reserve(&mut self, len: usize) -> Range<usize> {
        self.len += len;
        self.len - len..self.len
    }

    fn name(
        &mut self,
        name: String,
        shape: &[usize],
        offset: usize,
        strides: &[usize],
        start: Start,
        part: Part,
    ) {
        let (shape, strides) = (shape.to_vec(), strides.to_vec());
        self.params.push(Param { name, shape, part, offset, strides, start });
    }

    fn vector(&mut self, name: String, len: usize, start: Start, part: Part) -> Range<usize> {
        let place = self.reserve(len);
        self.name(name, &[len], place.start, &[1], start, part);
        place
    }

    /// A linear layer's `[outputs, inputs]`, stored `[inputs, outputs]`.
    fn matrix(
        &mut self,
        name: String,
        inputs: usize,
        outputs: usize,
        start: Start,
        part: Part,
    ) -> Range<usize> {
        let place = self.reserve(inputs * outputs);
        self.name(name, &[outputs, inputs], place.start, &[1, outputs], start, part);
        place
    }
}

fn uniform(inputs: usize) -> Start {
    Start::Uniform(1.0 / (inputs as f32).sqrt())
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn width_48_has_the_documented_number_of_weights() {
        let count = |context| Layout::new(&NetConfig { width: 48, context, ..NetConfig::default() }).len;
        // 18 features, 3 "missing" and 2 of time x 48 + 48; six of (2 x 48 + 7 x 48 x 48 + 48); 48 x 4 + 4.
        assert_eq!(count(vec![]), 1_152 + 6 * 16_272 + 196);
        assert_eq!(count(vec![]), 98_980);
        // 16 + 10 + 10 more inputs.
        assert_eq!(count(NetConfig::default().context), 98_980 + 36 * 48);
    }

    #[test]
    fn every_weight_has_one_name_and_one_place() {
        let layout = Layout::new(&NetConfig { adapters: 8, ..NetConfig::default() });
        let mut seen = vec![0; layout.len];
        for param in layout.params(TrainableSet::Full).unwrap() {
            for place in param.places() {
                seen[place] += 1;
            }
        }
        assert!(seen.iter().all(|n| *n == 1));
    }

    #[test]
    fn releases_go_out_and_come_back() {
        let layout = Layout::new(&NetConfig { adapters: 4, ..NetConfig::default() });
        let flat = layout.start(&mut ChaCha8Rng::seed_from_u64(1));
        for set in layout.sets() {
            let release = layout.gather(&flat, set).unwrap();
            let mut other = vec![0.0; flat.len()];
            layout.scatter(&mut other, set, &release).unwrap();
            assert_eq!(layout.gather(&other, set).unwrap(), release);
            let moved: usize = layout.runs(set).iter().map(|(run, _)| run.len()).sum();
            assert_eq!(moved, release.len());
            let short = layout.scatter(&mut other, set, &release[1..]);
            assert!(matches!(short, Err(ModelError::Length { .. })));
        }
        assert_eq!(layout.read_tensors(&layout.tensors(&flat)).unwrap(), flat);
    }

    #[test]
    fn a_network_without_adapters_has_no_such_set() {
        let layout = Layout::new(&NetConfig::default());
        let flat = vec![0.0; layout.len];
        let none = layout.gather(&flat, TrainableSet::Adapters);
        assert!(matches!(none, Err(ModelError::NoSuchSet(TrainableSet::Adapters))));
    }
}
