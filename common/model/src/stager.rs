//! A network with its weights: it predicts, it trains, it becomes a checkpoint and comes back from one.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use somnus_protocol::checkpoint::{Checkpoint, FORMAT, Manifest, Tensor};
use somnus_protocol::moments::{Embedding, Moments};
use somnus_protocol::plan::{TrainPlan, TrainableSet};
use somnus_signals::{Night, Stage, Task};

use crate::between::Between;
use crate::config::{DeviceKind, NetConfig};
use crate::error::ModelError;
use crate::input::Prepared;
use crate::invariance::{Align, Alignment, Alike};
use crate::loss::softmax;
use crate::net::Net;
use crate::train::{self, Embedded, Lead, Lessons, TrainReport};

/// The licence that a new checkpoint's manifest states.
const LICENCE: &str = "MIT OR Apache-2.0";

/// A sleep stager.
#[derive(Clone)]
pub struct Stager {
    net: Net,
    weights: Vec<f32>,
    /// Encoders of waveforms beside the network: nothing here trains them, they travel with it.
    frozen: Arc<BTreeMap<String, Tensor>>,
}

/// What a manifest says of the network's make.
#[derive(Serialize, Deserialize)]
#[serde(tag = "family", rename_all = "kebab-case")]
enum Architecture {
    /// [`Stager`].
    NightMixer(NetConfig),
}

/// Probabilities of the classes, epoch by epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct Posterior {
    /// Classes of the task.
    pub classes: usize,
    /// `[epochs, classes]`, row-major; each row sums to 1.
    pub values: Vec<f32>,
}

impl Posterior {
    /// The number of epochs.
    pub fn epochs(&self) -> usize {
        self.values.len() / self.classes
    }

    /// The likeliest class of each epoch; the first of equals.
    pub fn argmax(&self) -> Vec<usize> {
        let best = |row: &[f32]| {
            let mut best = 0;
            for (class, p) in row.iter().enumerate() {
                if *p > row[best] {
                    best = class;
                }
            }
            best
        };
        self.values.chunks_exact(self.classes).map(best).collect()
    }

    /// The probability of the likeliest class of each epoch.
    pub fn confidence(&self) -> Vec<f32> {
        let most = |row: &[f32]| row.iter().copied().fold(0.0, f32::max);
        self.values.chunks_exact(self.classes).map(most).collect()
    }
}

impl Stager {
    /// A network with random weights, a function of `seed` alone.
    ///
    /// # Errors
    /// [`ModelError::Config`].
    pub fn new(config: &NetConfig, seed: u64, device: DeviceKind) -> Result<Self, ModelError> {
        config.check()?;
        let net = Net::new(config.clone(), device);
        let weights = net.layout.start(&mut ChaCha8Rng::seed_from_u64(seed));
        Ok(Self { net, weights, frozen: Arc::default() })
    }

    /// The network of a checkpoint, with the frozen encoders that lie beside it.
    ///
    /// # Errors
    /// [`ModelError`] naming the tensor that is missing, unknown, of a wrong shape or not finite, or the set whose order
    /// differs.
    pub fn from_checkpoint(checkpoint: &Checkpoint, device: DeviceKind) -> Result<Self, ModelError> {
        let architecture = checkpoint.manifest.architecture.clone();
        let Architecture::NightMixer(config) =
            serde_json::from_value(architecture).map_err(ModelError::Architecture)?;
        config.check()?;
        let net = Net::new(config, device);
        let weights = net.layout.read_tensors(&checkpoint.tensors)?;
        for (set, names) in &checkpoint.manifest.trainable {
            if !net.layout.params(*set)?.map(|p| &p.name).eq(names) {
                return Err(ModelError::Order(*set));
            }
        }
        let mut stager = Self { net, weights, frozen: Arc::default() };
        let mut others = checkpoint.tensors.clone();
        for name in stager.net.layout.names() {
            others.remove(name);
        }
        stager.add_frozen(others)?;
        Ok(stager)
    }

    /// This network as a checkpoint, with every trainable set that it has.
    pub fn to_checkpoint(&self, name: &str, provenance: BTreeMap<String, String>) -> Checkpoint {
        let architecture = Architecture::NightMixer(self.net.config.clone());
        let names = |set| {
            let params = self.net.layout.params(set).expect("one of the network's own sets");
            (set, params.map(|p| p.name.clone()).collect())
        };
        Checkpoint {
            manifest: Manifest {
                format: FORMAT,
                name: name.to_owned(),
                architecture: serde_json::to_value(architecture).expect("a configuration is plain JSON"),
                licence: LICENCE.to_owned(),
                provenance,
                trainable: self.net.layout.sets().into_iter().map(names).collect(),
                embedding: Some(self.net.embedding()),
            },
            tensors: {
                let mut tensors = self.net.layout.tensors(&self.weights);
                tensors.extend(self.frozen.iter().map(|(name, tensor)| (name.clone(), tensor.clone())));
                tensors
            },
        }
    }

    /// Encoders that travel beside the network, by their tensors; no trainable set has them.
    pub fn frozen(&self) -> &BTreeMap<String, Tensor> {
        &self.frozen
    }

    /// Puts frozen tensors beside the network, in the place of those of the same names.
    ///
    /// # Errors
    /// [`ModelError::UnknownTensor`] for a name that does not begin with `encoder.`, or is the network's own.
    pub fn add_frozen(&mut self, tensors: BTreeMap<String, Tensor>) -> Result<(), ModelError> {
        let own = |name: &String| self.net.layout.names().any(|own| own == name);
        if let Some(name) = tensors.keys().find(|name| !name.starts_with("encoder.") || own(name)) {
            return Err(ModelError::UnknownTensor(name.clone()));
        }
        Arc::make_mut(&mut self.frozen).extend(tensors);
        Ok(())
    }

    pub(crate) fn net(&self) -> &Net {
        &self.net
    }

    pub(crate) fn weights(&self) -> &[f32] {
        &self.weights
    }

    /// The same network with other weights, as many as it has.
    pub(crate) fn with_weights(self, weights: Vec<f32>) -> Self {
        debug_assert_eq!(self.weights.len(), weights.len());
        Self { weights, ..self }
    }

    /// The same network; trainings of it, and of its copies, ask before every step.
    #[must_use]
    pub fn asking(mut self, between: Between) -> Self {
        self.net.between = between;
        self
    }

    /// What the network is built from.
    pub fn config(&self) -> &NetConfig {
        &self.net.config
    }

    /// What the head sees of an epoch.
    pub fn embedding(&self) -> Embedding {
        self.net.embedding()
    }

    /// What the network tells apart.
    pub fn task(&self) -> Task {
        self.net.config.task
    }

    /// The same body for another task. A class's column of the head is the mean of the columns of the classes that its
    /// stages had before.
    #[must_use]
    pub fn for_task(&self, task: Task) -> Self {
        let before = self.net.config.task;
        let net = self.net.for_task(task);
        let (body, width) = (net.layout.head.start, self.net.config.width);
        let mut weights = vec![0.0; net.layout.len];
        weights[..body].copy_from_slice(&self.weights[..body]);
        for class in 0..task.classes() {
            let stages = Stage::ALL.into_iter().filter(|stage| task.class_of(*stage) == class);
            let parents: BTreeSet<usize> = stages.map(|stage| before.class_of(stage)).collect();
            let mean = |row: Range<usize>| {
                let row = &self.weights[row];
                parents.iter().map(|parent| row[*parent]).sum::<f32>() / parents.len() as f32
            };
            for channel in 0..width {
                let row = self.net.layout.head.start + channel * before.classes();
                weights[body + channel * task.classes() + class] = mean(row..row + before.classes());
            }
            weights[net.layout.head_bias.start + class] = mean(self.net.layout.head_bias.clone());
        }
        Self { net, weights, frozen: Arc::clone(&self.frozen) }
    }

    /// The same network with adapters of a bottleneck behind its blocks, fresh ones, which change nothing until they are
    /// trained (Houlsby et al. 2019). Their first weights are a function of `seed`.
    ///
    /// # Errors
    /// [`ModelError::Config`] if it has adapters already, or none of this bottleneck can be.
    pub fn with_adapters(&self, bottleneck: usize, seed: u64) -> Result<Self, ModelError> {
        let config = NetConfig { adapters: bottleneck, ..self.net.config.clone() };
        if self.net.config.adapters > 0 {
            let reason = format!("there are adapters of {} already", self.net.config.adapters);
            return Err(ModelError::Config { key: "adapters", reason });
        }
        config.check()?;
        let net = self.net.of(config);
        let mut weights = net.layout.start(&mut ChaCha8Rng::seed_from_u64(seed));
        net.layout.copy_shared(&mut weights, &self.net.layout, &self.weights);
        Ok(Self { net, weights, frozen: Arc::clone(&self.frozen) })
    }

    /// The number of all weights.
    pub fn parameters(&self) -> usize {
        self.weights.len()
    }

    /// The weights of a set minus those of `before`, a network of the same make, in release order: the update of a
    /// client that began at `before`.
    ///
    /// # Errors
    /// [`ModelError::NoSuchSet`] or [`ModelError::Length`].
    pub fn change_from(mut self, before: &Self, set: TrainableSet) -> Result<Vec<f32>, ModelError> {
        if self.weights.len() != before.weights.len() {
            return Err(ModelError::Length { expected: self.weights.len(), got: before.weights.len() });
        }
        for (weight, before) in self.weights.iter_mut().zip(&before.weights) {
            *weight -= before;
        }
        self.trainable(set)
    }

    /// The weights of a trainable set, in the order of a release.
    ///
    /// # Errors
    /// [`ModelError::NoSuchSet`].
    pub fn trainable(&self, set: TrainableSet) -> Result<Vec<f32>, ModelError> {
        self.net.layout.gather(&self.weights, set)
    }

    /// Replaces the weights of a trainable set by a release; nothing changes on error.
    ///
    /// # Errors
    /// [`ModelError::NoSuchSet`], [`ModelError::Length`] or [`ModelError::NotFinite`].
    pub fn set_trainable(&mut self, set: TrainableSet, weights: &[f32]) -> Result<(), ModelError> {
        self.net.layout.scatter(&mut self.weights, set, weights)
    }

    /// A whole night laid out for this network, to train on many times.
    ///
    /// # Errors
    /// [`ModelError::StreamWidth`].
    pub fn prepare(&self, night: &Night) -> Result<Prepared, ModelError> {
        self.prepare_part(night, 0..night.epochs)
    }

    /// A part of a night; the network sees nothing outside it, except through the whole night's heart-rate level.
    ///
    /// # Errors
    /// [`ModelError::StreamWidth`] or [`ModelError::Range`].
    pub fn prepare_part(
        &self,
        night: &Night,
        epochs: std::ops::Range<usize>,
    ) -> Result<Prepared, ModelError> {
        Prepared::new(&self.net, night, epochs)
    }

    /// Stages a night. A stream that the night does not have is taken as missing.
    ///
    /// # Errors
    /// [`ModelError::StreamWidth`].
    pub fn predict(&self, night: &Night) -> Result<Posterior, ModelError> {
        Ok(self.predict_prepared(&self.prepare(night)?))
    }

    /// Stages a prepared night.
    pub fn predict_prepared(&self, night: &Prepared) -> Posterior {
        let h = self.net.embed(&self.weights, night.values.clone(), None);
        let mut values = self.net.head(&self.weights, &h);
        softmax(&mut values, self.net.classes());
        Posterior { classes: self.net.classes(), values }
    }

    /// Trains for `plan.steps` steps or `plan.passes` passes at `plan.learning_rate`; each step sees one night, nights in a
    /// shuffled order.
    ///
    /// The result is a function of the weights, the nights, the plan and `seed` alone. With `trainable = "head"` the
    /// frozen part runs once a night; input noise, scaling and stream dropout then do not apply.
    ///
    /// # Errors
    /// [`ModelError::NoLabels`], [`ModelError::NoSuchSet`], or [`ModelError::Diverged`] (weights are then useless).
    pub fn train(
        &mut self,
        nights: &[&Prepared],
        plan: &TrainPlan,
        seed: u64,
    ) -> Result<TrainReport, ModelError> {
        self.train_at(nights, plan, seed, &|_| plan.learning_rate)
    }

    /// [`Stager::train`] with a rate for each step, counted from 0.
    ///
    /// # Errors
    /// As [`Stager::train`].
    pub fn train_at(
        &mut self,
        nights: &[&Prepared],
        plan: &TrainPlan,
        seed: u64,
        rate: &dyn Fn(u32) -> f32,
    ) -> Result<TrainReport, ModelError> {
        train::on_nights(&self.net, &mut self.weights, nights, plan, Lead::new(seed, rate), &mut |_, _| {})
    }

    /// [`Stager::train`] with what a round brings beside its release. `correction`, in release order, is added to each
    /// step's gradient (SCAFFOLD); empty for none. Embeddings are pulled towards everybody's `moments` with the weight of
    /// `plan.invariance`; none if either is missing. `seen` takes in the scored epochs of every view that is trained on.
    ///
    /// # Errors
    /// As [`Stager::train`], [`ModelError::Length`] or [`ModelError::NotFinite`] for the correction, and
    /// [`ModelError::Moments`].
    pub fn train_in_round(
        &mut self,
        nights: &[&Prepared],
        plan: &TrainPlan,
        seed: u64,
        correction: &[f32],
        moments: Option<&Moments>,
        seen: Option<&mut Moments>,
    ) -> Result<TrainReport, ModelError> {
        let rate = |_| plan.learning_rate;
        let correction = self.in_place(plan.trainable, correction)?;
        let align = self.alignment(plan, moments)?;
        let lead = Lead { correction, align, seen, ..Lead::new(seed, &rate) };
        train::on_nights(&self.net, &mut self.weights, nights, plan, lead, &mut |_, _| {})
    }

    /// The pull of `plan.invariance` towards everybody's moments; none if either is missing.
    pub(crate) fn alignment(
        &self,
        plan: &TrainPlan,
        moments: Option<&Moments>,
    ) -> Result<Option<Box<dyn Align>>, ModelError> {
        match plan.invariance.zip(moments) {
            Some((_, moments)) if moments.shape() != self.embedding() => {
                Err(ModelError::Moments { own: self.embedding(), asked: moments.shape() })
            }
            Some((invariance, moments)) => Ok(Some(Box::new(Alignment::new(invariance.weight, moments)))),
            None => Ok(None),
        }
    }

    /// Trains as it is led.
    pub(crate) fn train_led(
        &mut self,
        lessons: Lessons<'_>,
        plan: &TrainPlan,
        lead: Lead<'_>,
    ) -> Result<TrainReport, ModelError> {
        lessons.train(&self.net, &mut self.weights, plan, lead)
    }

    /// A correction as the flat vector has it.
    fn in_place(&self, set: TrainableSet, correction: &[f32]) -> Result<Vec<f32>, ModelError> {
        if correction.is_empty() {
            return Ok(Vec::new());
        }
        let mut flat = vec![0.0; self.weights.len()];
        self.net.layout.scatter(&mut flat, set, correction)?;
        Ok(flat)
    }

    /// [`Stager::train_at`] that ends with the mean of the weights after each step from `from` on (Izmailov et al. 2018,
    /// "Averaging Weights Leads to Wider Optima"): what a server does that averages its late releases.
    ///
    /// # Errors
    /// As [`Stager::train`].
    pub fn train_averaged(
        &mut self,
        nights: &[&Prepared],
        plan: &TrainPlan,
        seed: u64,
        rate: &dyn Fn(u32) -> f32,
        from: u32,
    ) -> Result<TrainReport, ModelError> {
        self.averaged(nights, plan, Lead::new(seed, rate), from)
    }

    /// [`Stager::train_averaged`] that makes embeddings of different people alike; what that costs is not in the report's loss.
    ///
    /// # Errors
    /// As [`Stager::train`].
    ///
    /// # Panics
    /// If there are not as many of `alike.people` as nights.
    pub fn train_alike(
        &mut self,
        nights: &[&Prepared],
        plan: &TrainPlan,
        seed: u64,
        rate: &dyn Fn(u32) -> f32,
        from: u32,
        alike: Alike<'_>,
    ) -> Result<TrainReport, ModelError> {
        assert_eq!(alike.people.len(), nights.len(), "every night is somebody's");
        let lead = Lead { align: Some(alike.pull(self.embedding())), ..Lead::new(seed, rate) };
        self.averaged(nights, plan, lead, from)
    }

    fn averaged(
        &mut self,
        nights: &[&Prepared],
        plan: &TrainPlan,
        lead: Lead<'_>,
        from: u32,
    ) -> Result<TrainReport, ModelError> {
        let mut mean = self.weights.clone();
        let mut late = 0u32;
        let mut average = |step: u32, weights: &mut [f32]| {
            if step >= from {
                late += 1;
                if late == 1 {
                    return mean.copy_from_slice(weights);
                }
                let share = 1.0 / late as f32;
                for (mean, weight) in mean.iter_mut().zip(weights) {
                    *mean += share * (*weight - *mean);
                }
            }
        };
        let report = train::on_nights(&self.net, &mut self.weights, nights, plan, lead, &mut average)?;
        if late > 0 {
            self.weights = mean;
        }
        Ok(report)
    }

    /// Central training: `passes` over the nights with one cycle of the rate, up to `plan.learning_rate`
    /// (Smith and Topin 2019). `plan.steps` and `plan.passes` are not used.
    ///
    /// # Errors
    /// As [`Stager::train`].
    pub fn fit(
        &mut self,
        nights: &[&Prepared],
        plan: &TrainPlan,
        passes: u32,
        seed: u64,
    ) -> Result<TrainReport, ModelError> {
        let steps = passes * nights.len() as u32;
        let plan = TrainPlan { steps, passes: 0, ..plan.clone() };
        self.train_at(nights, &plan, seed, &|step| one_cycle(step, steps, plan.learning_rate))
    }

    /// A night behind the part that the `head` set leaves frozen.
    pub fn embed(&self, night: &Prepared) -> Embedded {
        train::embed(&self.net, &self.weights, night)
    }

    /// [`Stager::train_in_round`] of the head on embeddings that are already there, which nothing then pulls.
    ///
    /// # Errors
    /// As [`Stager::train_in_round`].
    pub fn train_head(
        &mut self,
        nights: &[&Embedded],
        plan: &TrainPlan,
        seed: u64,
        correction: &[f32],
    ) -> Result<TrainReport, ModelError> {
        let plan = TrainPlan { trainable: TrainableSet::Head, ..plan.clone() };
        let rate = |_| plan.learning_rate;
        let correction = self.in_place(plan.trainable, correction)?;
        let lead = Lead { correction, ..Lead::new(seed, &rate) };
        train::on_embeddings(&self.net, &mut self.weights, nights, &plan, lead)
    }
}

/// The rate of `step` of `steps`: half a cosine from a 25th of `peak` up over the first .3, then half a cosine down to
/// almost nothing, as PyTorch's `OneCycleLR` does by default.
pub fn one_cycle(step: u32, steps: u32, peak: f32) -> f32 {
    let along =
        |from: f64, to: f64, part: f64| to + (from - to) * 0.5 * (1.0 + (std::f64::consts::PI * part).cos());
    let (start, end) = (1.0 / 25.0, 1.0 / 25.0e4);
    let up = (0.3 * f64::from(steps) - 1.0).max(1.0);
    let last = f64::from(steps.saturating_sub(1)).max(up + 1.0);
    let at = f64::from(step);
    let factor = if at <= up {
        along(start, 1.0, at / up)
    } else {
        along(1.0, end, ((at - up) / (last - up)).min(1.0))
    };
    (f64::from(peak) * factor) as f32
}
