//! The rim to the model: the one file of this crate that names `somnus-model`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use somnus_model::{Between, DeviceKind, ModelError, NightPart, NightTrainer, Stager};
use somnus_protocol::checkpoint::{Checkpoint, floats};
use somnus_protocol::ids::Digest;
use somnus_protocol::message::Role;
use somnus_protocol::plan::TrainPlan;
use somnus_protocol::trainer::{EvaluateTask, LocalEvaluation, LocalUpdate, TrainError, TrainTask, Trainer};
use somnus_report::{ClientReport, ClientResult, ModelInfo, NightOptions, NightResult, Staging};
use somnus_signals::{DataError, Layout, Night, NightRules, PersonId, Task, prepare};

use crate::config::{DataConfig, Device};
use crate::division::{Known, Part, divide};
use crate::files::FileError;
use crate::hands::{About, Hands};
use crate::ledger::Ledger;
use crate::limits::{Brake, memory};
use crate::trained::NightKey;

/// Why there are no nights to work with.
#[derive(Debug, thiserror::Error)]
pub enum NightsError {
    /// A file's fault; names it, and the line.
    #[error(transparent)]
    Data(#[from] DataError),
    /// What has trained cannot be known.
    #[error(transparent)]
    File(#[from] FileError),
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
    /// A hub that is to train has nothing to train on.
    #[error(
        "{person}: {reason}, so there is nothing to train on; with role = \"evaluates\" in client.toml this hub stages its nights without"
    )]
    NothingToTrainOn {
        /// Whose.
        person: PersonId,
        /// What is missing.
        reason: &'static str,
    },
}

/// One person's nights behind the federation's trainer.
pub struct HubNights {
    trainer: NightTrainer,
    judged: Vec<NightPart>,
    /// What trains: of each night the first epochs.
    lessons: Vec<(NightKey, usize)>,
    ledger: Arc<Ledger>,
    device: DeviceKind,
    role: &'static str,
    notes: Vec<String>,
    brake: Arc<Brake>,
}

impl HubNights {
    /// Loads a person's nights from `folder`; the only person's if none is named. What has trained by the `ledger` does not judge.
    ///
    /// # Errors
    /// [`NightsError`]: a malformed file with its line, or why no night can be used; the ledger's file.
    pub fn load(
        folder: &Path,
        person: Option<&str>,
        config: &DataConfig,
        role: Role,
        ledger: &Arc<Ledger>,
    ) -> Result<Self, NightsError> {
        let layout = Layout::detect(folder)?;
        let person = match person {
            Some(id) => PersonId::new(id).map_err(|error| NightsError::BadPerson(error.to_string()))?,
            None => {
                let mut people = layout.people(folder)?;
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
        for recording in layout.load_person(folder, &person)? {
            match prepare(&recording, &rules) {
                Ok(night) => nights.push((Arc::new(night), NightKey::of(&recording))),
                Err(excluded) => notes.push(format!("{} left out: {}", excluded.id, excluded.reason)),
            }
        }
        if nights.is_empty() {
            return Err(NightsError::Excluded { person, reasons: notes });
        }
        let lengths: Vec<_> = nights.iter().map(|(night, key)| (*key, night.epochs)).collect();
        let trained = ledger.trained(&lengths)?;
        let known = |(night, key): (Arc<Night>, NightKey)| Known {
            trained: trained.of(&key, night.epochs),
            night,
            key,
        };
        let nights = nights.into_iter().map(known).collect();
        Self::new(nights, config, role, notes, ledger)
            .map_err(|reason| NightsError::NothingToTrainOn { person, reason })
    }

    fn new(
        nights: Vec<Known>,
        config: &DataConfig,
        role: Role,
        mut notes: Vec<String>,
        ledger: &Arc<Ledger>,
    ) -> Result<Self, &'static str> {
        let device = match config.device {
            Device::Flex => DeviceKind::Flex,
            Device::Ndarray => DeviceKind::Ndarray,
        };
        let division = divide(nights, config, role)?;
        notes.extend(division.notes);
        let lessons = division.train.iter().map(|part| (part.key, part.epochs.end)).collect();
        let parts = |parts: Vec<Part>| -> Vec<NightPart> {
            parts.into_iter().map(|part| NightPart::part(part.night, part.epochs)).collect()
        };
        let judged = parts(division.judged);
        let trainer = NightTrainer::new(device, parts(division.train), judged.clone());
        let role = if role == Role::Trains { "trained" } else { "held-out" };
        let ledger = Arc::clone(ledger);
        Ok(Self { trainer, judged, lessons, ledger, device, role, notes, brake: Arc::default() })
    }

    /// The same under what this machine's owner allows.
    #[must_use]
    pub fn under(mut self, brake: Brake) -> Self {
        self.brake = Arc::new(brake);
        let brake = Arc::clone(&self.brake);
        let ask = move || brake.between().map_err(|reason| reason.to_string());
        self.trainer = self.trainer.asking(Between::asking(ask));
        self
    }

    /// Waits until work may begin that needs model files of so many bytes: a training under `plan`, or without one an evaluation.
    fn begin(&self, foundation: &Bytes, files: usize, plan: Option<&TrainPlan>) -> Result<(), TrainError> {
        let what = if plan.is_some() { "this training" } else { "this evaluation" };
        if self.brake.counts_memory() {
            let arrays =
                self.trainer.footprint(foundation, plan).map_err(|error| TrainError(error.to_string()))?;
            let need = memory::of_files(files as u64).saturating_add(arrays);
            self.brake.fits(need, what).map_err(|reason| TrainError(reason.to_string()))?;
        }
        self.brake.begin().map_err(|reason| TrainError(reason.to_string()))
    }

    fn client(&self, task: &EvaluateTask, about: &About) -> Result<ClientReport, ModelError> {
        let checkpoint = Checkpoint::from_bytes(&task.foundation)?;
        let mut stager = Stager::from_checkpoint(&checkpoint, self.device)?;
        stager.set_trainable(task.plan.trainable, &floats(&task.weights))?;
        let stager = stager.with_memory(&task.plan, task.memory.as_deref())?;
        let options = NightOptions::default();
        let staging = staging(stager.task());
        let mut nights = Vec::new();
        for part in &self.judged {
            let posterior = stager.predict(&part.night)?;
            let predicted = posterior.argmax();
            let code = |class: usize| u8::try_from(class).ok();
            let predicted = predicted.into_iter().map(code).collect();
            let truth = part.night.classes(stager.task()).into_iter();
            let truth = truth.map(|class| class.and_then(code)).collect();
            let id = part.night.id();
            let night = if part.epochs.is_empty() {
                // Staged like a night without labels.
                NightResult::new(&id, vec![None; part.night.epochs], predicted, &staging, options)
            } else if part.epochs == (0..part.night.epochs) {
                NightResult::new(&id, truth, predicted, &staging, options)
            } else {
                // What was trained on is not judged: it counts as not scored here.
                NightResult::part(&id, truth, predicted, part.epochs.clone(), &staging, options)
            };
            let coverage =
                part.night.quality.coverage.iter().map(|(stream, share)| (stream, f64::from(*share)));
            nights.push(night.with_confidence(posterior.confidence()).with_coverage(coverage));
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
        let control = task.control.as_ref().map_or(0, |control| size_of_val(control.as_slice()));
        let files = task.foundation.len() + task.weights.len() + control;
        self.begin(&task.foundation, files, Some(&task.plan))?;
        self.ledger.add(&self.lessons).map_err(|error| TrainError(error.to_string()))?;
        self.trainer.train(task)
    }

    fn evaluate(&self, task: &EvaluateTask) -> Result<LocalEvaluation, TrainError> {
        self.begin(&task.foundation, task.foundation.len() + task.weights.len(), None)?;
        self.trainer.evaluate(task)
    }
}

impl Hands for HubNights {
    fn report(&self, task: &EvaluateTask, about: &About) -> Result<ClientReport, TrainError> {
        self.begin(&task.foundation, task.foundation.len() + task.weights.len(), None)?;
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

    use somnus_model::NetConfig;
    use somnus_protocol::checkpoint::bytes_of;
    use somnus_protocol::ids::{Round, Version};
    use somnus_protocol::plan::{Personalisation, TrainPlan, TrainableSet};
    use somnus_report::Extent;
    use somnus_signals::synthetic::{SyntheticConfig, recordings};

    use somnus_signals::sleep_accel;

    use super::*;
    use crate::limits::{Limits, MIB, Reason, Verdict};

    fn folder(people: usize) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for recording in recordings(&SyntheticConfig { people, ..SyntheticConfig::default() }) {
            sleep_accel::write(dir.path(), &recording).unwrap();
        }
        dir
    }

    /// The nights of the only person of a hub that remembers in `memory`.
    fn remembering(memory: &Path, nights: &Path, role: Role) -> Result<HubNights, NightsError> {
        let ledger = Arc::new(Ledger::open(memory).unwrap());
        HubNights::load(nights, None, &DataConfig::default(), role, &ledger)
    }

    /// Those of a hub that has trained on nothing, and will not.
    fn load(nights: &Path, role: Role) -> Result<HubNights, NightsError> {
        remembering(tempfile::tempdir().unwrap().path(), nights, role)
    }

    fn model() -> (Bytes, Bytes) {
        let stager = Stager::new(&NetConfig::default(), 1, DeviceKind::Flex).unwrap();
        let weights = stager.trainable(TrainableSet::Full).unwrap();
        let bytes = stager.to_checkpoint("test", BTreeMap::new()).to_bytes().unwrap();
        (bytes.into(), bytes_of(&weights).into())
    }

    #[test]
    fn a_night_trains_with_its_beginning_and_is_judged_on_its_end() {
        let (dir, memory) = (folder(1), tempfile::tempdir().unwrap());
        let hub = remembering(memory.path(), dir.path(), Role::Trains).unwrap();
        let (foundation, weights) = model();
        let plan = TrainPlan { steps: 1, ..TrainPlan::default() };
        let task = TrainTask {
            round: Round(1),
            plan: plan.clone(),
            seed: 1,
            foundation: foundation.clone(),
            weights: weights.clone(),
            ..TrainTask::default()
        };
        let update = hub.train(&task).unwrap();
        assert_eq!(update.delta.len() * 4, weights.len());
        assert!(update.delta.iter().any(|delta| *delta != 0.0));

        let task = EvaluateTask { version: Version(3), plan, foundation, weights, memory: None };
        let counts = hub.evaluate(&task).unwrap();
        let judged: u32 = counts.confusion.iter().sum();
        let about = About { federation: "night".into(), client: "ann".parse().unwrap() };
        let report = hub.report(&task, &about).unwrap();
        // The report counts the same epochs as the federation does, and none that was trained on.
        assert_eq!(report.client.metrics.n, u64::from(judged));
        assert!(update.examples > judged && judged > 0, "{} trained, {judged} judged", update.examples);
        assert_eq!((report.model.version, report.client.id.as_str()), (3, "ann"));
        assert_eq!(report.client.nights.len(), 1);
        let note = &report.client.notes[0];
        assert!(note.starts_with("a single night with labels, night: trained on epochs 1 to"), "{note}");
        // Minutes into the judged part are no sleep latency.
        let night = &report.client.nights[0];
        for statistics in [night.truth_statistics.as_ref().unwrap(), &night.predicted_statistics] {
            assert_eq!(
                (statistics.extent, statistics.sol, statistics.rem_latency),
                (Extent::Part, None, None)
            );
            assert_eq!(statistics.tib, f64::from(judged) / 2.0);
        }
    }

    #[test]
    fn what_work_takes_is_known_before_it_begins() {
        let dir = folder(1);
        let foundation = Bytes::from_static(include_bytes!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../models/somnus-base.safetensors"
        )));
        let under = |memory| {
            let verdict = Verdict::default();
            let limits = Limits { memory: Some(memory * MIB), ..Limits::default() };
            let hub = load(dir.path(), Role::Trains).unwrap();
            (hub.under(Brake::new(verdict.clone(), &limits)), verdict)
        };
        let plan = TrainPlan { trainable: TrainableSet::Full, ..TrainPlan::default() };
        let begins = |memory| {
            let (hub, verdict) = under(memory);
            let begun = hub.begin(&foundation, foundation.len() + 182_544, Some(&plan));
            assert_eq!(begun.is_err(), verdict.take_misfit().is_some());
            begun
        };
        // Resident at most in a federation of real processes on x86-64: 26 to 27 MiB. Twice that is no estimate any more.
        let error = begins(27).unwrap_err().to_string();
        assert!(error.starts_with("this training takes about "), "{error}");
        assert!(error.ends_with(" MiB, and `memory_mib = 27`"), "{error}");
        assert_eq!(begins(54), Ok(()));
    }

    #[test]
    fn a_limit_that_binds_keeps_it_from_training_and_evaluating() {
        let (dir, memory) = (folder(1), tempfile::tempdir().unwrap());
        let verdict = Verdict::default();
        let brake = Brake::new(verdict.clone(), &Limits::default());
        let hub = remembering(memory.path(), dir.path(), Role::Trains).unwrap().under(brake);
        let (foundation, weights) = model();
        let plan = TrainPlan { steps: 1, ..TrainPlan::default() };
        let train = TrainTask {
            plan: plan.clone(),
            foundation: foundation.clone(),
            weights: weights.clone(),
            ..TrainTask::default()
        };
        let task = EvaluateTask { version: Version(1), plan, foundation, weights, memory: None };
        let about = About { federation: "night".into(), client: "ann".parse().unwrap() };
        verdict.set(Some(Reason::OnBattery));
        let why = Reason::OnBattery.to_string();
        assert_eq!(hub.train(&train).unwrap_err().to_string(), why);
        assert_eq!(hub.evaluate(&task).unwrap_err().to_string(), why);
        assert_eq!(hub.report(&task, &about).unwrap_err().to_string(), why);
        verdict.set(None);
        assert!(
            hub.train(&train).is_ok() && hub.evaluate(&task).is_ok() && hub.report(&task, &about).is_ok()
        );
    }

    #[test]
    fn a_hub_reports_on_the_weights_that_it_keeps_for_itself() {
        let (dir, memory) = (folder(1), tempfile::tempdir().unwrap());
        let hub = remembering(memory.path(), dir.path(), Role::Trains).unwrap();
        let (foundation, weights) = model();
        let plan = TrainPlan { steps: 8, personal: Personalisation::Head, ..TrainPlan::default() };
        let train = TrainTask {
            plan: plan.clone(),
            foundation: foundation.clone(),
            weights: weights.clone(),
            ..TrainTask::default()
        };
        let memory = hub.train(&train).unwrap().memory;
        assert!(memory.is_some());
        let about = About { federation: "night".into(), client: "ann".parse().unwrap() };
        let [own, shared] = [memory, None].map(|memory| {
            let task = EvaluateTask {
                version: Version(1),
                plan: plan.clone(),
                foundation: foundation.clone(),
                weights: weights.clone(),
                memory,
            };
            let counts = hub.evaluate(&task).unwrap().confusion;
            let reported = hub.report(&task, &about).unwrap().client.confusion.to_rows().concat();
            assert_eq!(reported, counts.iter().copied().map(u64::from).collect::<Vec<_>>());
            counts
        });
        assert_ne!(own, shared);
    }

    /// Nights of one person by name; those that begin with `!` without labels.
    fn nights(names: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        names.iter().enumerate().for_each(|(n, name)| put(&dir, n, name));
        dir
    }

    /// The `n`th recording under a name, as if it had come now.
    fn put(dir: &tempfile::TempDir, n: usize, name: &str) {
        let mut recordings = recordings(&SyntheticConfig { people: n + 1, ..SyntheticConfig::default() });
        let person = recordings[0].person.clone();
        let mut recording = recordings.remove(n);
        recording.person = person;
        recording.name = name.trim_start_matches('!').to_owned();
        if name.starts_with('!') {
            recording.labels.clear();
        }
        sleep_accel::write(dir.path(), &recording).unwrap();
    }

    fn trains(hub: &HubNights) {
        let (foundation, weights) = model();
        let plan = TrainPlan { steps: 1, ..TrainPlan::default() };
        hub.train(&TrainTask { plan, foundation, weights, ..TrainTask::default() }).unwrap();
    }

    /// What counts, as reported and as told to the federation.
    fn judges(hub: &HubNights) -> u64 {
        let (foundation, weights) = model();
        let plan = TrainPlan::default();
        let task = EvaluateTask { version: Version(1), plan, foundation, weights, memory: None };
        let about = About { federation: "night".into(), client: "ann".parse().unwrap() };
        let report = hub.report(&task, &about).unwrap();
        let counts = hub.evaluate(&task).unwrap().confusion;
        assert_eq!(report.client.metrics.n, counts.iter().copied().map(u64::from).sum::<u64>());
        report.client.metrics.n
    }

    #[test]
    fn a_night_whose_beginning_has_trained_is_judged_on_the_rest_when_an_older_one_comes() {
        let (dir, memory) = (nights(&["b"]), tempfile::tempdir().unwrap());
        let hub = |role| remembering(memory.path(), dir.path(), role).unwrap();
        let first = hub(Role::Trains);
        trains(&first);
        put(&dir, 1, "a");
        // As it is read again, and after a restart.
        for hub in [
            HubNights::load(dir.path(), None, &DataConfig::default(), Role::Trains, &first.ledger).unwrap(),
            hub(Role::Trains),
        ] {
            let [judged] = &hub.judged[..] else { panic!("{:?}", hub.notes) };
            assert_eq!((judged.night.name.as_str(), &judged.epochs), ("b", &first.judged[0].epochs));
            assert_eq!(hub.lessons[1], first.lessons[0], "what has trained goes on to");
            assert_eq!(judges(&hub), judges(&first));
        }
        // As an evaluator it has not forgotten either.
        let [a, b] = &hub(Role::Evaluates).judged[..] else { panic!("two nights") };
        assert_eq!((a.epochs.clone(), &b.epochs), (0..a.night.epochs, &first.judged[0].epochs));
    }

    #[test]
    fn a_night_that_has_trained_does_not_judge_when_the_last_one_goes() {
        let (dir, memory) = (nights(&["a", "b", "c"]), tempfile::tempdir().unwrap());
        let hub = || remembering(memory.path(), dir.path(), Role::Trains).unwrap();
        trains(&hub());
        for file in files_of(dir.path(), "c") {
            std::fs::remove_file(file).unwrap();
        }
        let left = hub();
        assert_eq!((left.lessons.len(), judges(&left)), (2, 0));
        assert_eq!(
            left.notes,
            ["nothing is judged until another night comes: all 2 nights with labels have trained"]
        );
        trains(&left);
        // By another name it is the same night; one that nobody has seen judges, wherever it comes in.
        put(&dir, 1, "d");
        assert_eq!(judges(&hub()), 0);
        put(&dir, 3, "aa");
        let hub = hub();
        assert_eq!((hub.judged[0].night.name.as_str(), hub.lessons.len()), ("aa", 3));
        assert!(judges(&hub) > 0);
        assert!(
            hub.notes[0].starts_with("judged on aa, the last of 4 nights with labels that has not trained")
        );
    }

    #[test]
    fn nothing_trains_that_cannot_be_remembered() {
        let (dir, memory) = (nights(&["a", "b"]), tempfile::tempdir().unwrap());
        let hub = remembering(memory.path(), dir.path(), Role::Trains).unwrap();
        drop(memory);
        let (foundation, weights) = model();
        let task = TrainTask { foundation, weights, ..TrainTask::default() };
        let error = hub.train(&task).unwrap_err().to_string();
        assert!(error.ends_with("trained: no such file or folder"), "{error}");
    }

    /// The files of the person's night of a name.
    fn files_of(dir: &Path, name: &str) -> Vec<PathBuf> {
        let entries = |dir: &Path| std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        let files = entries(dir).flat_map(|folder| entries(&folder).collect::<Vec<_>>());
        files.filter(|file| file.to_string_lossy().contains(&format!("+{name}_"))).collect()
    }

    fn judged_and_note(names: &[&str]) -> (Vec<String>, String) {
        let dir = nights(names);
        let hub = load(dir.path(), Role::Trains).unwrap();
        (hub.judged.iter().map(|part| part.night.name.clone()).collect(), hub.notes.join("; "))
    }

    #[test]
    fn the_last_night_with_labels_judges() {
        let (judged, note) = judged_and_note(&["night-10", "night", "night-2"]);
        assert_eq!(judged, ["night-10"]);
        assert_eq!(note, "judged on night-10, the last of 3 nights with labels, trained on the others");
        // The default name is the first night's, whatever the others are called.
        assert_eq!(judged_and_note(&["night", "2026-03-09", "2026-03-10"]).0, ["2026-03-10"]);
        let (judged, note) = judged_and_note(&["night", "2026-03-09", "!2026-03-10"]);
        assert_eq!(judged, ["2026-03-09", "2026-03-10"]);
        assert!(note.contains("judged on 2026-03-09, the last of 2 nights with labels"), "{note}");
        assert!(note.ends_with("neither trained nor judged on: 2026-03-10"), "{note}");
    }

    #[test]
    fn one_night_with_labels_is_cut_and_none_is_nothing_to_train_on() {
        let dir = nights(&["!night", "night-2"]);
        let hub = load(dir.path(), Role::Trains).unwrap();
        assert_eq!(hub.judged[0].night.name, "night-2");
        assert!(hub.judged[0].epochs.start > hub.judged[0].night.epochs / 2);
        assert!(hub.notes[0].starts_with("a single night with labels, night-2: trained on"));

        let dir = nights(&["!night"]);
        let error = load(dir.path(), Role::Trains).err().unwrap().to_string();
        assert!(error.contains("no night has labels, so there is nothing to train on"), "{error}");
        assert_eq!(load(dir.path(), Role::Evaluates).unwrap().judged.len(), 1);
    }

    #[test]
    fn an_evaluator_is_judged_on_everything() {
        let dir = folder(1);
        let hub = load(dir.path(), Role::Evaluates).unwrap();
        assert!(hub.judged.iter().all(|part| part.epochs == (0..part.night.epochs)));
        assert_eq!(hub.role, "held-out");
    }

    #[test]
    fn the_person_and_the_file_at_fault_are_named() {
        let dir = folder(2);
        let memory = tempfile::tempdir().unwrap();
        let ledger = Arc::new(Ledger::open(memory.path()).unwrap());
        let load =
            |person| HubNights::load(dir.path(), person, &DataConfig::default(), Role::Trains, &ledger);
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
