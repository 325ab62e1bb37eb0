//! A client's hands: its private nights behind the federation's [`Trainer`].

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use somnus_protocol::checkpoint::{Checkpoint, bytes_of, floats};
use somnus_protocol::moments::{Embedding, Moments};
use somnus_protocol::plan::{TrainPlan, TrainableSet};
use somnus_protocol::strategy::ClientControl;
use somnus_protocol::trainer::{EvaluateTask, LocalEvaluation, LocalUpdate, TrainError, TrainTask, Trainer};
use somnus_signals::Night;

use crate::between::Between;
use crate::config::DeviceKind;
use crate::error::ModelError;
use crate::footprint::Work;
use crate::input::Prepared;
use crate::invariance;
use crate::personal::{self, Outcome, Round};
use crate::stager::Stager;
use crate::train::{Embedded, Lessons, TrainReport};

/// A night, or the part of one that a client trains or is judged on.
#[derive(Clone, Debug)]
pub struct NightPart {
    /// The night.
    pub night: Arc<Night>,
    /// Its epochs that count. Training sees no label and no epoch outside them, except through the whole night's heart-rate level; evaluation stages the whole night and counts these.
    pub epochs: Range<usize>,
}

impl NightPart {
    /// All of a night.
    pub fn whole(night: impl Into<Arc<Night>>) -> Self {
        let night = night.into();
        Self { epochs: 0..night.epochs, night }
    }

    /// Some epochs of a night.
    pub fn part(night: impl Into<Arc<Night>>, epochs: Range<usize>) -> Self {
        Self { night: night.into(), epochs }
    }
}

/// The foundation and the release that were parsed last, to be shared by the clients of one process.
#[derive(Clone, Default)]
pub struct Foundations(Arc<Mutex<Parsed>>);

#[derive(Default)]
struct Parsed {
    foundation: Option<(Bytes, Arc<Stager>)>,
    release: Option<Release>,
}

/// A foundation whose trainable weights are a release's.
struct Release {
    foundation: Arc<Stager>,
    set: TrainableSet,
    weights: Bytes,
    stager: Arc<Stager>,
}

impl Foundations {
    fn foundation(&self, file: &Bytes, device: DeviceKind) -> Result<Arc<Stager>, ModelError> {
        let mut parsed = self.lock();
        match &parsed.foundation {
            Some((known, stager)) if same(known, file) => Ok(Arc::clone(stager)),
            _ => {
                let stager = Arc::new(Stager::from_checkpoint(&Checkpoint::from_bytes(file)?, device)?);
                parsed.foundation = Some((file.clone(), Arc::clone(&stager)));
                Ok(stager)
            }
        }
    }

    fn release(
        &self,
        foundation: &Arc<Stager>,
        set: TrainableSet,
        weights: &Bytes,
    ) -> Result<Arc<Stager>, ModelError> {
        let mut parsed = self.lock();
        match &parsed.release {
            Some(known)
                if known.set == set
                    && Arc::ptr_eq(&known.foundation, foundation)
                    && same(&known.weights, weights) =>
            {
                Ok(Arc::clone(&known.stager))
            }
            _ => {
                let mut stager = Stager::clone(foundation);
                stager.set_trainable(set, &floats(weights))?;
                let stager = Arc::new(stager);
                let (foundation, weights) = (Arc::clone(foundation), weights.clone());
                parsed.release = Some(Release { foundation, set, weights, stager: Arc::clone(&stager) });
                Ok(stager)
            }
        }
    }

    /// What is parsed is replaced whole, so what a panicking holder leaves behind is still sound.
    fn lock(&self) -> MutexGuard<'_, Parsed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether two blobs are equal; clients of one process mostly hold the very same one.
fn same(a: &Bytes, b: &Bytes) -> bool {
    (a.as_ptr() == b.as_ptr() && a.len() == b.len()) || a == b
}

/// One client's nights and what has been computed from them for the current foundation.
pub struct NightTrainer {
    device: DeviceKind,
    train: Vec<NightPart>,
    evaluate: Vec<NightPart>,
    foundations: Foundations,
    desk: Mutex<Option<Arc<Desk>>>,
    between: Between,
}

/// What depends on the foundation and the nights alone, kept from round to round.
struct Desk {
    foundation: Arc<Stager>,
    train: Vec<Prepared>,
    /// Whole nights and the epochs that count.
    evaluate: Vec<(Prepared, Range<usize>)>,
    /// `train` behind the frozen part, made when a head is first trained.
    embedded: OnceLock<Vec<Embedded>>,
}

impl Desk {
    fn embedded(&self) -> &[Embedded] {
        self.embedded.get_or_init(|| self.train.iter().map(|night| self.foundation.embed(night)).collect())
    }

    /// The moments that an update tells, before training adds the views that it trains on: those are what the pull acts on,
    /// and augmentation and dropout put their embeddings elsewhere than those of the nights as they are. A head trains behind
    /// embeddings that nothing moves, so its moments are there already.
    fn moments(&self, set: TrainableSet, shape: Embedding) -> Result<Moments, ModelError> {
        let own = self.foundation.embedding();
        if own != shape {
            return Err(ModelError::Moments { own, asked: shape });
        }
        Ok(match set {
            TrainableSet::Head => invariance::moments(own, self.embedded()),
            _ => Moments::new(own),
        })
    }
}

impl NightTrainer {
    /// A client that trains on `train` and is judged on `evaluate`.
    pub fn new(device: DeviceKind, train: Vec<NightPart>, evaluate: Vec<NightPart>) -> Self {
        let (foundations, between) = (Foundations::default(), Between::default());
        Self { device, train, evaluate, foundations, desk: Mutex::new(None), between }
    }

    /// Its trainings ask before every step.
    #[must_use]
    pub fn asking(self, between: Between) -> Self {
        Self { between, ..self }
    }

    /// Shares parsed foundations and releases with other clients of the same process and device.
    #[must_use]
    pub fn sharing(mut self, foundations: &Foundations) -> Self {
        self.foundations = foundations.clone();
        self
    }

    /// About the most bytes that training under `plan`, or an evaluation without one, takes beside the model's files. An upper
    /// bound by what the network's shapes say; the allocator adds some.
    ///
    /// # Errors
    /// Those of [`Stager::from_checkpoint`].
    pub fn footprint(&self, foundation: &Bytes, plan: Option<&TrainPlan>) -> Result<u64, ModelError> {
        let foundation = self.foundations.foundation(foundation, self.device)?;
        let train: Vec<usize> = self.train.iter().map(|part| part.epochs.len()).collect();
        let judge: Vec<usize> = self.evaluate.iter().map(|part| part.night.epochs).collect();
        Ok(foundation.net().footprint(Work { train: &train, judge: &judge, plan }))
    }

    fn desk(&self, file: &Bytes) -> Result<Arc<Desk>, ModelError> {
        let foundation = self.foundations.foundation(file, self.device)?;
        let mut slot = self.desk.lock().unwrap_or_else(PoisonError::into_inner);
        match &*slot {
            Some(desk) if Arc::ptr_eq(&desk.foundation, &foundation) => Ok(Arc::clone(desk)),
            _ => {
                let train =
                    self.train.iter().map(|part| foundation.prepare_part(&part.night, part.epochs.clone()));
                let evaluate = self.evaluate.iter().map(|part| {
                    foundation.prepare_part(&part.night, part.epochs.clone())?;
                    Ok((foundation.prepare(&part.night)?, part.epochs.clone()))
                });
                let desk = Desk {
                    train: train.collect::<Result<_, _>>()?,
                    evaluate: evaluate.collect::<Result<_, ModelError>>()?,
                    embedded: OnceLock::new(),
                    foundation,
                };
                Ok(Arc::clone(slot.insert(Arc::new(desk))))
            }
        }
    }

    fn update(&self, task: &TrainTask) -> Result<LocalUpdate, ModelError> {
        let desk = self.desk(&task.foundation)?;
        let set = task.plan.trainable;
        let release = self.foundations.release(&desk.foundation, set, &task.weights)?;
        let release = Stager::clone(&release).asking(self.between.clone());
        if let Some(update) = personal_update(task, &desk, &release)? {
            return Ok(update);
        }
        let mut moments = task.sections.moments.map(|shape| desk.moments(set, shape)).transpose()?;
        let mut stager = release.clone();
        // The memory is the control variate; nothing else is kept between rounds.
        let control =
            task.control.clone().map(|server| ClientControl::new(server, task.memory.as_deref().map(floats)));
        let correction = control.as_ref().map(ClientControl::correction).unwrap_or_default();
        let report = if set == TrainableSet::Head {
            let nights: Vec<&Embedded> = desk.embedded().iter().collect();
            stager.train_head(&nights, &task.plan, task.seed, &correction)?
        } else {
            let nights: Vec<&Prepared> = desk.train.iter().collect();
            let (everybody, seen) = (task.moments.as_ref(), moments.as_mut());
            stager.train_in_round(&nights, &task.plan, task.seed, &correction, everybody, seen)?
        };
        let delta = stager.change_from(&release, set)?;
        let TrainReport { loss, steps, examples } = report;
        let finish = |control: ClientControl| control.finish(&delta, steps.max(1), task.plan.learning_rate);
        let (control, own) = control.map(finish).unzip();
        let memory = own.map(|own| bytes_of(&own).into());
        Ok(LocalUpdate { delta, control, moments, steps, examples, loss, memory })
    }

    fn confusion(&self, task: &EvaluateTask) -> Result<LocalEvaluation, ModelError> {
        let desk = self.desk(&task.foundation)?;
        let release = self.foundations.release(&desk.foundation, task.plan.trainable, &task.weights)?;
        let own = personal::recall(&release, &task.plan, task.memory.as_deref())?;
        let stager = own.as_ref().unwrap_or(&release);
        let classes = stager.task().classes();
        let mut confusion = vec![0; classes * classes];
        for (night, counted) in &desk.evaluate {
            let predicted = stager.predict_prepared(night).argmax();
            for (truth, predicted) in night.classes[counted.clone()].iter().zip(&predicted[counted.clone()]) {
                if let Some(truth) = truth {
                    confusion[usize::from(*truth) * classes + predicted] += 1;
                }
            }
        }
        Ok(LocalEvaluation { classes: classes as u8, confusion })
    }
}

/// An update of which something stays here, if the plan wants that.
fn personal_update(
    task: &TrainTask,
    desk: &Desk,
    release: &Stager,
) -> Result<Option<LocalUpdate>, ModelError> {
    let plan = &task.plan;
    let embedded: Vec<&Embedded>;
    let nights: Vec<&Prepared>;
    let lessons = if plan.trainable == TrainableSet::Head {
        embedded = desk.embedded().iter().collect();
        Lessons::Embedded(&embedded)
    } else {
        nights = desk.train.iter().collect();
        Lessons::Nights(&nights)
    };
    let round = Round {
        release,
        lessons,
        plan,
        seed: task.seed,
        moments: task.moments.as_ref(),
        memory: task.memory.as_deref(),
    };
    let shape = task.sections.moments;
    let mut moments = shape.map(|shape| desk.moments(plan.trainable, shape)).transpose()?;
    let Some(Outcome { shared, report, memory }) = personal::train(&round, moments.as_mut())? else {
        return Ok(None);
    };
    let TrainReport { loss, steps, examples } = report;
    let delta = shared.change_from(release, plan.trainable)?;
    let memory = Some(memory);
    Ok(Some(LocalUpdate { delta, control: None, moments, steps, examples, loss, memory }))
}

impl Trainer for NightTrainer {
    fn train(&self, task: &TrainTask) -> Result<LocalUpdate, TrainError> {
        self.update(task).map_err(|error| TrainError(error.to_string()))
    }

    fn evaluate(&self, task: &EvaluateTask) -> Result<LocalEvaluation, TrainError> {
        self.confusion(task).map_err(|error| TrainError(error.to_string()))
    }
}
