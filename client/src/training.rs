//! The rim to the model: the one file of this crate that names `somnus-model` and `somnus-signals`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use somnus_model::{DeviceKind, ModelError, NightPart, NightTrainer, Stager};
use somnus_protocol::checkpoint::{Checkpoint, floats};
use somnus_protocol::ids::Digest;
use somnus_protocol::message::Role;
use somnus_protocol::trainer::{EvaluateTask, LocalEvaluation, LocalUpdate, TrainError, TrainTask, Trainer};
use somnus_report::{ClientReport, ClientResult, ModelInfo, NightOptions, NightResult, Staging};
use somnus_signals::{DataError, Night, NightRules, PersonId, Task, prepare, sleep_accel, split};

use crate::config::{DataConfig, Device};
use crate::hands::{About, Hands};

/// Why there are no nights to work with.
#[derive(Debug, thiserror::Error)]
pub enum NightsError {
    /// A file's fault; names it, and the line.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Several people, and none was named.
    #[error("{} has nights of {count} people; say whose hub this is with --person, e.g. --person {example}", folder.display())]
    WhichPerson {
        /// The folder.
        folder: PathBuf,
        /// How many.
        count: usize,
        /// One of them.
        example: PersonId,
    },
    /// Not a person's id.
    #[error("{0}")]
    BadPerson(String),
    /// No night passed the rules.
    #[error("{person}: no night can be used: {}", reasons.join("; "))]
    Excluded {
        /// Whose.
        person: PersonId,
        /// Why, per night.
        reasons: Vec<String>,
    },
}

/// One person's nights behind the federation's trainer.
pub struct HubNights {
    trainer: NightTrainer,
    judged: Vec<NightPart>,
    device: DeviceKind,
    role: &'static str,
    notes: Vec<String>,
}

impl HubNights {
    /// Loads a person's nights from `folder`; the only person's if none is named.
    ///
    /// # Errors
    /// [`NightsError`]: a malformed file with its line, or why no night can be used.
    pub fn load(
        folder: &Path,
        person: Option<&str>,
        config: &DataConfig,
        role: Role,
    ) -> Result<Self, NightsError> {
        let person = match person {
            Some(id) => PersonId::new(id).map_err(|error| NightsError::BadPerson(error.to_string()))?,
            None => {
                let mut people = sleep_accel::people(folder)?;
                match (people.len(), people.pop()) {
                    (1, Some(only)) => only,
                    (count, Some(example)) => {
                        return Err(NightsError::WhichPerson { folder: folder.to_owned(), count, example });
                    }
                    (_, None) => return Err(NightsError::BadPerson(format!("{}: nobody", folder.display()))),
                }
            }
        };
        let rules = NightRules::default();
        let (mut nights, mut notes) = (Vec::new(), Vec::new());
        for recording in sleep_accel::load_person(folder, &person)? {
            match prepare(&recording, &rules) {
                Ok(night) => nights.push(Arc::new(night)),
                Err(excluded) => notes.push(format!("{} left out: {}", excluded.id, excluded.reason)),
            }
        }
        if nights.is_empty() {
            return Err(NightsError::Excluded { person, reasons: notes });
        }
        Ok(Self::new(nights, config, role, notes))
    }

    /// Divides nights into what trains and what judges: never the same epochs.
    fn new(mut nights: Vec<Arc<Night>>, config: &DataConfig, role: Role, mut notes: Vec<String>) -> Self {
        let device = match config.device {
            Device::Flex => DeviceKind::Flex,
            Device::Ndarray => DeviceKind::Ndarray,
        };
        let whole = |nights: Vec<Arc<Night>>| nights.into_iter().map(NightPart::whole).collect::<Vec<_>>();
        let (train, judged) = match (role, nights.pop()) {
            (Role::Evaluates, last) => {
                nights.extend(last);
                (Vec::new(), whole(nights))
            }
            (Role::Trains, Some(only)) if nights.is_empty() => {
                let (first, rest) =
                    split::chronological(only.epochs, config.train_fraction, config.gap_epochs);
                notes.push(format!(
                    "a single night: trained on epochs 1 to {}, judged on {} to {}",
                    first.end,
                    rest.start + 1,
                    rest.end
                ));
                (vec![NightPart::part(Arc::clone(&only), first)], vec![NightPart::part(only, rest)])
            }
            (Role::Trains, last) => {
                notes.push("judged on the last night, trained on the others".into());
                (whole(nights), whole(last.into_iter().collect()))
            }
        };
        let trainer = NightTrainer::new(device, train, judged.clone());
        let role = if role == Role::Trains { "trained" } else { "held-out" };
        Self { trainer, judged, device, role, notes }
    }

    fn client(&self, task: &EvaluateTask, about: &About) -> Result<ClientReport, ModelError> {
        let checkpoint = Checkpoint::from_bytes(&task.foundation)?;
        let mut stager = Stager::from_checkpoint(&checkpoint, self.device)?;
        stager.set_trainable(task.plan.trainable, &floats(&task.weights))?;
        let options = NightOptions::default();
        let staging = staging(stager.task());
        let mut nights = Vec::new();
        for part in &self.judged {
            let predicted = stager.predict(&part.night)?.argmax();
            let predicted = predicted.into_iter().map(|class| u8::try_from(class).ok()).collect();
            let truth = part.night.classes(stager.task()).into_iter().enumerate();
            // What was trained on is not judged: it counts as not scored here.
            let truth = truth.map(|(epoch, class)| {
                class.filter(|_| part.epochs.contains(&epoch)).and_then(|class| u8::try_from(class).ok())
            });
            nights.push(NightResult::new(&part.night.id(), truth.collect(), predicted, &staging, options));
        }
        let client = ClientResult::from_nights(about.client.as_str(), self.role, nights, &staging)
            .expect("classes of the task, as the staging has them")
            .with_notes(self.notes.clone());
        let model = ModelInfo {
            name: checkpoint.manifest.name,
            version: task.version.0,
            digest: Some(Digest::of(&task.weights).to_hex()),
        };
        let name = stager.task().name();
        Ok(ClientReport::new(&about.federation, name, model, staging, options, client))
    }
}

impl Trainer for HubNights {
    fn train(&self, task: &TrainTask) -> Result<LocalUpdate, TrainError> {
        self.trainer.train(task)
    }

    fn evaluate(&self, task: &EvaluateTask) -> Result<LocalEvaluation, TrainError> {
        self.trainer.evaluate(task)
    }
}

impl Hands for HubNights {
    fn report(&self, task: &EvaluateTask, about: &About) -> Result<ClientReport, TrainError> {
        self.client(task, about).map_err(|error| TrainError(error.to_string()))
    }
}

fn staging(task: Task) -> Staging {
    match task {
        Task::SleepWake => Staging::sleep_wake(),
        Task::Three => Staging::three(),
        Task::Four => Staging::four(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::Bytes;
    use somnus_model::NetConfig;
    use somnus_protocol::checkpoint::bytes_of;
    use somnus_protocol::ids::{Round, Version};
    use somnus_protocol::plan::{TrainPlan, TrainableSet};
    use somnus_signals::synthetic::{SyntheticConfig, recordings};

    use super::*;

    fn folder(people: usize) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for recording in recordings(&SyntheticConfig { people, ..SyntheticConfig::default() }) {
            sleep_accel::write(dir.path(), &recording).unwrap();
        }
        dir
    }

    fn model() -> (Bytes, Bytes) {
        let stager = Stager::new(&NetConfig::default(), 1, DeviceKind::Flex).unwrap();
        let weights = stager.trainable(TrainableSet::Full).unwrap();
        let bytes = stager.to_checkpoint("test", BTreeMap::new()).to_bytes().unwrap();
        (bytes.into(), bytes_of(&weights).into())
    }

    #[test]
    fn a_night_trains_with_its_beginning_and_is_judged_on_its_end() {
        let dir = folder(1);
        let hub = HubNights::load(dir.path(), None, &DataConfig::default(), Role::Trains).unwrap();
        let (foundation, weights) = model();
        let plan = TrainPlan { steps: 1, ..TrainPlan::default() };
        let task = TrainTask {
            round: Round(1),
            plan: plan.clone(),
            seed: 1,
            foundation: foundation.clone(),
            weights: weights.clone(),
        };
        let update = hub.train(&task).unwrap();
        assert_eq!(update.delta.len() * 4, weights.len());
        assert!(update.delta.iter().any(|delta| *delta != 0.0));

        let task = EvaluateTask { version: Version(3), plan, foundation, weights };
        let counts = hub.evaluate(&task).unwrap();
        let judged: u32 = counts.confusion.iter().sum();
        let about = About { federation: "night".into(), client: "ann".parse().unwrap() };
        let report = hub.report(&task, &about).unwrap();
        // The report counts the same epochs as the federation does, and none that was trained on.
        assert_eq!(report.client.metrics.n, u64::from(judged));
        assert!(update.examples > judged && judged > 0, "{} trained, {judged} judged", update.examples);
        assert_eq!((report.model.version, report.client.id.as_str()), (3, "ann"));
        assert_eq!(report.client.nights.len(), 1);
        assert!(report.client.notes[0].starts_with("a single night: trained on epochs 1 to"));
    }

    #[test]
    fn an_evaluator_is_judged_on_everything() {
        let dir = folder(1);
        let hub = HubNights::load(dir.path(), None, &DataConfig::default(), Role::Evaluates).unwrap();
        assert!(hub.judged.iter().all(|part| part.epochs == (0..part.night.epochs)));
        assert_eq!(hub.role, "held-out");
    }

    #[test]
    fn the_person_and_the_file_at_fault_are_named() {
        let dir = folder(2);
        let load = |person| HubNights::load(dir.path(), person, &DataConfig::default(), Role::Trains);
        let error = load(None).err().unwrap().to_string();
        assert!(error.contains("has nights of 2 people; say whose hub this is with --person"), "{error}");
        assert!(load(Some("nobody")).is_err());
        let person = sleep_accel::people(dir.path()).unwrap().remove(0);
        let file = dir.path().join(format!("heart_rate/{person}_heartrate.txt"));
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, format!("{text}not a number\n")).unwrap();
        let error = load(Some(person.as_str())).err().unwrap().to_string();
        let line = text.lines().count() + 1;
        assert!(error.contains("_heartrate.txt") && error.contains(&line.to_string()), "{error}");
        // A watch that was hardly worn: excluded by rule, with the reason.
        std::fs::write(&file, "0.0,60\n30.0,61\n").unwrap();
        let error = load(Some(person.as_str())).err().unwrap().to_string();
        assert!(error.contains("no night can be used"), "{error}");
    }
}
