//! One step of distillation: a view of a night, what the teacher makes of it, what the labels say, one gradient.

use rand_chacha::ChaCha8Rng;
use somnus_protocol::plan::TrainPlan;

use super::Strategy;
use super::projection::Projection;
use super::sight::Sight;
use super::terms::Terms;
use crate::augment::{self, View};
use crate::block::Dropout;
use crate::error::ModelError;
use crate::input::Prepared;
use crate::net::Net;
use crate::stager::{Posterior, Stager};

/// Probabilities below it are rounding.
const LEAST: f32 = 1e-6;

/// Who teaches.
#[derive(Clone, Copy)]
pub enum Teacher<'a> {
    /// A network. It sees the very view that its student sees: crop, noise and all. Nights are laid out for it.
    Network(&'a Stager),
    /// What somebody made of each night, in the order of nights: of the whole night, without noise. Nights are laid out for
    /// the student.
    Posteriors(&'a [Posterior]),
}

/// What a student is taught, night by night.
pub(crate) struct Distilled {
    /// As the teacher takes them.
    nights: Vec<Prepared>,
    plan: TrainPlan,
    strategy: Strategy,
    source: Source,
    sight: Sight,
    /// Of embeddings, if those are compared.
    pub(crate) projection: Option<Projection>,
}

enum Source {
    Network(Box<Stager>),
    /// Of each night, `[epochs, classes]`.
    Logits(Vec<Vec<f32>>),
}

/// What the teacher makes of a view.
struct Taught {
    /// `[epochs, classes]`.
    logits: Vec<f32>,
    /// `[epochs, C]`; of a network alone.
    embedding: Vec<f32>,
}

impl Distilled {
    /// Checks that this teacher can teach this student.
    ///
    /// # Errors
    /// [`ModelError::NoNights`] or [`ModelError::Teacher`].
    pub(crate) fn new(
        student: &Stager,
        teacher: Teacher<'_>,
        nights: Vec<Prepared>,
        plan: TrainPlan,
        strategy: Strategy,
    ) -> Result<Self, ModelError> {
        let refuse = |what: String| Err(ModelError::Teacher(what));
        if nights.is_empty() {
            return Err(ModelError::NoNights);
        }
        let net = student.net();
        let features = matches!(strategy, Strategy::Feature { .. });
        let (source, sight, inputs, projection) = match teacher {
            Teacher::Network(teacher) => {
                if teacher.task() != student.task() {
                    return refuse(format!("tells {}, its student {}", teacher.task(), student.task()));
                }
                let sight = Sight::new(net, teacher.net())?;
                let projection =
                    features.then(|| Projection::behind(net, teacher.net(), student.parameters()));
                let inputs = teacher.net().layout.inputs;
                (Source::Network(Box::new(teacher.clone())), sight, inputs, projection)
            }
            Teacher::Posteriors(_) if features => return refuse("has no embeddings to compare with".into()),
            Teacher::Posteriors(posteriors) => {
                let fits = |(night, posterior): (&Prepared, &Posterior)| {
                    posterior.classes == net.classes() && posterior.epochs() == night.epochs()
                };
                if posteriors.len() != nights.len() || !nights.iter().zip(posteriors).all(fits) {
                    return refuse(format!("has posteriors of other nights than these {}", nights.len()));
                }
                let logits = |posterior: &Posterior| {
                    posterior.values.iter().map(|p| p.max(LEAST).ln()).collect::<Vec<f32>>()
                };
                let source = Source::Logits(posteriors.iter().map(logits).collect());
                (source, Sight::whole(), net.layout.inputs, None)
            }
        };
        if let Some(night) = nights.iter().find(|night| night.inputs != inputs) {
            return refuse(format!("takes {inputs} numbers an epoch, a night has {}", night.inputs));
        }
        Ok(Self { nights, plan, strategy, source, sight, projection })
    }

    pub(crate) fn count(&self) -> usize {
        self.nights.len()
    }

    /// One step's loss; adds to `gradients`. `share`, 0 to 1, is how much of the teacher's part counts, as in
    /// [`Strategy::loss`]; labels have what it leaves. `None` if the view has nothing to learn from.
    pub(crate) fn learn(
        &self,
        net: &Net,
        night: usize,
        share: f32,
        weights: &[f32],
        rng: &mut ChaCha8Rng,
        gradients: &mut [f32],
    ) -> Option<f32> {
        let prepared = &self.nights[night];
        let layout = match &self.source {
            Source::Network(teacher) => &teacher.net().layout,
            Source::Logits(_) => &net.layout,
        };
        let view = augment::view(prepared, layout, &self.plan.augmentation, rng);
        let taught = self.taught(night, &view, net.classes());
        let own = self.sight.of(&view.values, prepared.inputs);
        let mut dropout = Dropout::new(self.plan.dropout, rng);
        let (h, tape) = net.embed_taped(weights, own, dropout.as_mut());
        let logits = net.head(weights, &h);
        let mut terms = Terms::new(net.config.task, &self.plan, &logits);
        terms.add(self.strategy, &taught.logits, &view.classes, share);
        let Terms { mut loss, mut learned, slope: d_logits, .. } = terms;
        let mut dh = net.head_input_gradient(weights, &d_logits);
        if let (Strategy::Feature { gamma }, Some(projection)) = (self.strategy, &self.projection)
            && !h.is_empty()
        {
            let gamma = gamma * share;
            loss += gamma * projection.apart(weights, &h, &taught.embedding, gamma, gradients, &mut dh);
            learned = true;
        }
        if !learned {
            return None;
        }
        net.head_backward(&h, &d_logits, gradients);
        net.backward(weights, tape, dh, gradients, false);
        Some(loss)
    }

    fn taught(&self, night: usize, view: &View, classes: usize) -> Taught {
        match &self.source {
            Source::Network(teacher) => {
                let (net, weights) = (teacher.net(), teacher.weights());
                let embedding = net.embed(weights, view.values.clone(), None);
                Taught { logits: net.head(weights, &embedding), embedding }
            }
            Source::Logits(nights) => {
                let row = |epoch: &usize| &nights[night][epoch * classes..][..classes];
                Taught { logits: view.epochs.iter().flat_map(row).copied().collect(), embedding: Vec::new() }
            }
        }
    }
}
