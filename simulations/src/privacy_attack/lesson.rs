//! One-step updates of a few epochs, and what the public knows of such epochs.

use rand::Rng;
use somnus_model::{ModelError, NightPart, Prepared, Stager};
use somnus_protocol::plan::{Augmentation, ClassWeighting, Optimiser, TrainPlan, TrainableSet};
use somnus_protocol::seed::Seed;
use somnus_signals::PersonId;

use super::Lab;
use super::judge::cosine;

/// The rate of the step; what is found does not depend on it.
const RATE: f32 = 0.1;

/// What a person would not tell, and the updates that follow from it.
pub(super) struct Lesson {
    pub(super) person: PersonId,
    /// The mean row that the network was given, and that its head was given.
    pub(super) inputs: Vec<f32>,
    pub(super) embedding: Vec<f32>,
    /// Shares of the stages.
    stages: Vec<f64>,
    /// The mean of what the network takes the epochs for.
    expected: Vec<f64>,
    epochs: usize,
    full: Vec<f32>,
    head: Vec<f32>,
}

/// What people's lessons are like on the average: all that is known without an update.
pub(super) struct Public {
    pub(super) inputs: Scale,
    pub(super) embedding: Scale,
    pub(super) stages: Vec<f64>,
    expected: Vec<f64>,
}

/// Mean and spread of each column.
pub(super) struct Scale {
    mean: Vec<f32>,
    inverse: Vec<f32>,
}

/// One step of gradient descent, nothing random in it.
fn one_step(set: TrainableSet) -> TrainPlan {
    TrainPlan {
        trainable: set,
        steps: 1,
        learning_rate: RATE,
        optimiser: Optimiser::Sgd { momentum: 0.0 },
        gradient_clip: 0.0,
        class_weighting: ClassWeighting::None,
        dropout: 0.0,
        augmentation: Augmentation { input_noise: 0.0, ..Augmentation::default() },
        ..TrainPlan::default()
    }
}

/// How much of a night an update is made of.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Length {
    Epochs(usize),
    Night,
}

/// The change that a training makes.
pub(super) fn update(
    stager: &Stager,
    nights: &[&Prepared],
    plan: &TrainPlan,
    seed: u64,
) -> Result<Vec<f32>, ModelError> {
    let mut trained = stager.clone();
    trained.train(nights, plan, seed)?;
    trained.change_from(stager, plan.trainable)
}

impl Lesson {
    fn new(
        stager: &Stager,
        part: &NightPart,
        plan: Option<&TrainPlan>,
        seed: u64,
    ) -> Result<Self, ModelError> {
        let night = stager.prepare_part(&part.night, part.epochs.clone())?;
        let classes = &part.night.classes(stager.task())[part.epochs.clone()];
        let posterior = stager.predict_prepared(&night);
        let mut stages = vec![0.0; posterior.classes];
        let mut expected = stages.clone();
        let scored: Vec<usize> = (0..classes.len()).filter(|epoch| classes[*epoch].is_some()).collect();
        for epoch in &scored {
            let part = 1.0 / scored.len() as f64;
            classes[*epoch].into_iter().for_each(|class| stages[class] += part);
            let row = &posterior.values[epoch * posterior.classes..][..posterior.classes];
            expected.iter_mut().zip(row).for_each(|(sum, p)| *sum += part * f64::from(*p));
        }
        let change = |set| {
            let own = plan.map(|plan| TrainPlan { trainable: set, ..plan.clone() });
            update(stager, &[&night], &own.unwrap_or_else(|| one_step(set)), seed)
        };
        Ok(Self {
            person: part.night.person.clone(),
            inputs: mean_row(night.values(), night.epochs()),
            embedding: mean_row(stager.embed(&night).values(), night.epochs()),
            stages,
            expected,
            epochs: scored.len(),
            full: change(TrainableSet::Full)?,
            head: change(TrainableSet::Head)?,
        })
    }

    pub(super) fn of(&self, set: TrainableSet) -> &[f32] {
        if set == TrainableSet::Full { &self.full } else { &self.head }
    }
}

fn mean_row(values: &[f32], rows: usize) -> Vec<f32> {
    let mut mean = vec![0.0; values.len() / rows.max(1)];
    for row in values.chunks_exact(mean.len().max(1)) {
        mean.iter_mut().zip(row).for_each(|(sum, value)| *sum += value / rows as f32);
    }
    mean
}

impl Scale {
    fn of<'a>(rows: impl Iterator<Item = &'a [f32]> + Clone) -> Self {
        let number = rows.clone().count().max(1) as f32;
        let width = rows.clone().next().map_or(0, <[f32]>::len);
        let mut mean = vec![0.0f32; width];
        rows.clone().for_each(|row| mean.iter_mut().zip(row).for_each(|(sum, value)| *sum += value / number));
        let mut square = vec![0.0f32; width];
        for row in rows {
            let off = row.iter().zip(&mean).map(|(value, mean)| value - mean);
            square.iter_mut().zip(off).for_each(|(sum, off)| *sum += off * off / number);
        }
        // A column that never changes says nothing.
        let inverse = square.iter().map(|s| if *s > 1e-8 { s.sqrt().recip() } else { 0.0 }).collect();
        Self { mean, inverse }
    }

    fn standardised(&self, row: &[f32]) -> Vec<f32> {
        row.iter()
            .zip(&self.mean)
            .zip(&self.inverse)
            .map(|((x, mean), inverse)| (x - mean) * inverse)
            .collect()
    }

    /// How alike two rows are, beyond what all are alike: 1 for equal ones, about 0 for those that have nothing to do with
    /// each other, 0 for a guess of the mean.
    pub(super) fn likeness(&self, guess: &[f32], truth: &[f32]) -> f64 {
        cosine(&self.standardised(guess), &self.standardised(truth))
    }
}

impl Public {
    pub(super) fn of(lessons: &[Lesson]) -> Self {
        let average = |of: fn(&Lesson) -> &Vec<f64>| {
            let mut mean = vec![0.0; lessons.first().map_or(0, |lesson| of(lesson).len())];
            for lesson in lessons {
                mean.iter_mut().zip(of(lesson)).for_each(|(sum, value)| *sum += value / lessons.len() as f64);
            }
            mean
        };
        Self {
            inputs: Scale::of(lessons.iter().map(|lesson| lesson.inputs.as_slice())),
            embedding: Scale::of(lessons.iter().map(|lesson| lesson.embedding.as_slice())),
            stages: average(|lesson| &lesson.stages),
            expected: average(|lesson| &lesson.expected),
        }
    }

    /// Shares of the stages of `people` together, from how far the head's bias moved: each went by the rate times what was there
    /// less what was expected.
    pub(super) fn stages_of(&self, moved: &[f32], people: usize) -> Vec<f64> {
        let each = 1.0 / (people as f64 * f64::from(RATE));
        self.expected.iter().zip(moved).map(|(p, moved)| (p + f64::from(*moved) * each).max(0.0)).collect()
    }
}

/// The part of somebody's stages that a guess has right. Of a single epoch the likeliest stage is guessed.
pub(super) fn right(guess: &[f64], lesson: &Lesson) -> f64 {
    let total: f64 = guess.iter().sum();
    let best = (0..guess.len()).rev().max_by(|a, b| guess[*a].total_cmp(&guess[*b])).unwrap_or(0);
    let share = |stage: usize| match lesson.epochs {
        1 => f64::from(u8::from(stage == best)),
        _ if total > 0.0 => guess[stage] / total,
        _ => 0.0,
    };
    lesson.stages.iter().enumerate().map(|(stage, truth)| truth.min(share(stage))).sum()
}

/// One lesson of each person who has a scored epoch.
pub(super) fn lessons(
    lab: &Lab,
    stager: &Stager,
    length: Length,
    plan: Option<&TrainPlan>,
    seed: &Seed,
) -> Result<Vec<Lesson>, ModelError> {
    let mut rng = seed.rng();
    let mut lessons = Vec::new();
    for night in lab.everyone.iter().filter_map(|person| lab.people.nights_of(person).next()) {
        let scored: Vec<usize> = (0..night.epochs).filter(|epoch| night.stages[*epoch].is_some()).collect();
        if scored.is_empty() {
            continue;
        }
        let part = match length {
            Length::Night => 0..night.epochs,
            Length::Epochs(epochs) => {
                let epochs = epochs.min(night.epochs);
                let start = scored[rng.random_range(0..scored.len())].min(night.epochs - epochs);
                start..start + epochs
            }
        };
        lessons.push(Lesson::new(stager, &NightPart::part(night.clone(), part), plan, seed.number())?);
    }
    Ok(lessons)
}
