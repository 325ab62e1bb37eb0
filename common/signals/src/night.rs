//! A night ready for a model: features per 30-s epoch, and the rules that admit it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::recording::night_id;
use crate::{PersonId, Recording, Stage, StreamKind, Task, View, prepare};

/// One night of one person, epoch by epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Night {
    /// Whose night it is.
    pub person: PersonId,
    /// Which of the person's nights.
    pub name: String,
    /// The number of 30-s epochs, the length of everything below.
    pub epochs: usize,
    /// Features of the streams that were recorded; a missing stream has no entry.
    pub features: BTreeMap<StreamKind, Features>,
    /// Hours since the recording's start at the beginning of each epoch, `[epochs]`.
    pub time: Vec<f32>,
    /// The scored stage of each epoch, `[epochs]`; `None` where it was not scored.
    pub stages: Vec<Option<Stage>>,
    /// What its features know of the night. A model that learned from one mode is not fed the other: compare before use.
    #[serde(default)]
    pub normalisation: Normalisation,
    /// How much of it can be trusted.
    pub quality: Quality,
}

impl Night {
    /// The person's id, or `PERSON/NAME` unless the name is [`crate::DEFAULT_NIGHT`].
    #[must_use]
    pub fn id(&self) -> String {
        night_id(&self.person, &self.name)
    }

    /// The class of each epoch for a task, `[epochs]`; `None` where it was not scored.
    #[must_use]
    pub fn classes(&self, task: Task) -> Vec<Option<usize>> {
        let class = |s: &Option<Stage>| s.map(|s| task.class_of(s));
        self.stages.iter().map(class).collect()
    }

    /// Whether any epoch was scored.
    #[must_use]
    pub fn is_labelled(&self) -> bool {
        self.quality.scored > 0
    }
}

/// One stream's features, `[epochs, width]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Features {
    /// Values per epoch.
    pub width: usize,
    /// `[epochs, width]`, epoch-major; zero where the epoch is absent.
    pub values: Vec<f32>,
    /// Whether the stream was measured in the epoch, `[epochs]`.
    pub present: Vec<bool>,
}

impl Features {
    /// The features of one epoch, `[width]`.
    #[must_use]
    pub fn epoch(&self, epoch: usize) -> &[f32] {
        &self.values[epoch * self.width..(epoch + 1) * self.width]
    }

    /// The part of all epochs in which the stream was measured, 0 to 1.
    #[must_use]
    pub fn coverage(&self) -> f32 {
        let present = self.present.iter().filter(|p| **p).count();
        present as f32 / self.present.len().max(1) as f32
    }
}

/// How much of a night was measured and scored.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// The part of epochs with signal, 0 to 1, of each recorded stream.
    pub coverage: BTreeMap<StreamKind, f32>,
    /// Samples dropped as implausible or repeated, of each recorded stream.
    pub rejected: BTreeMap<StreamKind, usize>,
    /// Epochs with a stage.
    pub scored: usize,
    /// The longest run of epochs without heart rate, minutes.
    pub longest_hr_gap_min: f32,
}

/// How a person's own level and spread are taken out of heart rate and its variability, and with it what the features of an
/// epoch may know. The two give different numbers for the same epoch; nights of both are never mixed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Normalisation {
    /// By the median and the 90th percentile of absolute deviation over the whole night: an offline
    /// reading, available the morning after and not while the night goes on. Windows are centred on their epoch.
    #[default]
    WholeNight,
    /// By the same two numbers over what has passed of the night, up to the epoch's end. Windows end with their
    /// epoch, and nothing later than it is touched. During a warm-up of 10 min of signal relative
    /// features are 0. What [`crate::derive`] made of raw signals has passed filters that look a few seconds ahead.
    Causal,
}

impl Normalisation {
    /// Which neighbours of a moment its features are made of.
    #[must_use]
    pub fn view(self) -> View {
        match self {
            Self::WholeNight => View::Around,
            Self::Causal => View::Past,
        }
    }
}

/// Which nights are good enough, and how they are normalised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NightRules {
    /// The least part of epochs with heart rate, 0 to 1; 0 admits nights without any.
    pub min_hr_coverage: f32,
    /// The shortest night, epochs of 30 s.
    pub min_epochs: usize,
    /// The fewest scored epochs of a night that has labels at all.
    pub min_scored: usize,
    /// Whether nights without any label are refused. They are admitted by default: a model can stage them.
    pub require_labels: bool,
    /// How heart rate and its variability are normalised, and whether features may know what comes later.
    pub normalisation: Normalisation,
}

impl Default for NightRules {
    fn default() -> Self {
        Self {
            min_hr_coverage: 0.6,
            min_epochs: 120,
            min_scored: 60,
            require_labels: false,
            normalisation: Normalisation::WholeNight,
        }
    }
}

/// A night, or a person, that was left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Excluded {
    /// As [`Night::id`].
    pub id: String,
    /// Why, in words for a report.
    pub reason: String,
}

/// The nights that passed the rules and those that did not.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Cohort {
    /// In the order of person, and of nights as people count them.
    pub nights: Vec<Night>,
    /// In the same order.
    pub excluded: Vec<Excluded>,
}

impl Cohort {
    /// Prepares every recording; one that fails a rule is listed, never an error.
    #[must_use]
    pub fn from_recordings(recordings: &[Recording], rules: &NightRules) -> Self {
        let mut cohort = Self::default();
        for recording in recordings {
            cohort.push(recording, rules);
        }
        cohort
    }

    /// Prepares one recording more.
    pub fn push(&mut self, recording: &Recording, rules: &NightRules) {
        match prepare(recording, rules) {
            Ok(night) => self.nights.push(night),
            Err(excluded) => self.excluded.push(excluded),
        }
    }

    /// The people with at least one admitted night, sorted, each once.
    #[must_use]
    pub fn people(&self) -> Vec<PersonId> {
        let mut people: Vec<_> = self.nights.iter().map(|n| n.person.clone()).collect();
        people.sort();
        people.dedup();
        people
    }

    /// The nights of one person.
    pub fn nights_of<'a>(&'a self, person: &'a PersonId) -> impl Iterator<Item = &'a Night> {
        self.nights.iter().filter(move |n| n.person == *person)
    }
}
