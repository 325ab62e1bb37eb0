//! Gradient inversion: what one update says of the epochs that it was made from.
//!
//! Each person makes one step from the foundation on a few epochs, or on a night. The attacker, who knows the foundation and what
//! people's epochs are like on the average, guesses what went into the network, into its head, and which stages there were.

use somnus_model::{ModelError, Stager};
use somnus_protocol::plan::{TrainPlan, TrainableSet};
use somnus_report::Leak;
use somnus_signals::PersonId;

use super::defence::{Defence, Setting, SumError, Sums, median_norm, norm};
use super::gradient::Dissected;
use super::judge::{Trials, mean};
use super::lesson::{Length, Lesson, Public, lessons, right};
use super::{AttackError, Lab, chance_of, with_noise};
use crate::attack::crew;

const ATTACK: &str = "inversion: what was in an update?";

/// How well each guess fits.
#[derive(Default)]
struct Found {
    inputs: Trials<f64>,
    embedding: Trials<f64>,
    stages: Trials<f64>,
    /// The same guesses against somebody else's epochs, and stages guessed without an update.
    chance: [Vec<f64>; 3],
}

impl Found {
    fn line(&self, against: String) -> Leak {
        let chance = |at: usize| chance_of(&self.chance[at]);
        let scores = vec![
            self.inputs.score("inputs, cosine", chance(0), mean),
            self.embedding.score("embedding, cosine", chance(1), mean),
            self.stages.score("stages, share", chance(2), mean),
        ];
        Leak { attack: ATTACK.into(), against, people: self.inputs.people(), scores }
    }
}

/// Who looks at sums of so many people's updates.
struct Eye<'a> {
    stager: &'a Stager,
    public: &'a Public,
    people: usize,
    seed: u64,
}

impl Eye<'_> {
    /// What follows from the sums of `full` and of `head` updates, beside `lesson`, which is in them, and `other`, which is not.
    fn look(
        &self,
        found: &mut Found,
        (full, head): (&[f32], &[f32]),
        lesson: &Lesson,
        other: &Lesson,
    ) -> Result<(), ModelError> {
        let Self { stager, public, people, seed } = *self;
        let inputs = Dissected::new(stager, TrainableSet::Full, full)?.inputs();
        let head = Dissected::new(stager, TrainableSet::Head, head)?;
        let (embedding, stages) = (head.embedding(), public.stages_of(head.stages(), people));
        let person = &lesson.person;
        found.inputs.add(person, seed, public.inputs.likeness(&inputs, &lesson.inputs));
        found.chance[0].push(public.inputs.likeness(&inputs, &other.inputs));
        found.embedding.add(person, seed, public.embedding.likeness(&embedding, &lesson.embedding));
        found.chance[1].push(public.embedding.likeness(&embedding, &other.embedding));
        found.stages.add(person, seed, right(&stages, lesson));
        found.chance[2].push(right(&public.stages, lesson));
        Ok(())
    }
}

/// One thing to look at.
struct Sight {
    against: String,
    length: Length,
    /// Another plan than one step of gradient descent.
    plan: Option<TrainPlan>,
    /// People in the sum and what hides them; of one, everybody else is known. None is the update itself.
    hidden: Option<(usize, Defence)>,
}

/// All lines of the table.
pub(super) fn run(lab: &Lab) -> Result<Vec<Leak>, AttackError> {
    let line = |sight: Sight| {
        lab.progress.tell(format!("inversion: {}", sight.against));
        let mut found = Found::default();
        lab.scenario.seeds.iter().try_for_each(|seed| sight.attack(lab, *seed, &mut found))?;
        Ok(found.line(sight.against))
    };
    sights(lab).into_iter().map(line).collect()
}

fn sights(lab: &Lab) -> Vec<Sight> {
    let single =
        |against: &str, length| Sight { against: against.to_owned(), length, plan: None, hidden: None };
    let epochs =
        |against, hidden| Sight { against, length: Length::Epochs(1), plan: None, hidden: Some(hidden) };
    let plan = TrainPlan { passes: 0, ..lab.scenario.federation.plan.clone() };
    let mut sights = vec![
        single("an update: one step on one epoch", Length::Epochs(1)),
        single("an update: one step on five minutes", Length::Epochs(10)),
        single("an update: one step on a night", Length::Night),
        Sight { plan: Some(plan), ..single("an update as the plan makes it, of a night", Length::Night) },
    ];
    for cohort in lab.cohorts() {
        sights.push(epochs(format!("masked sum of {cohort}, one epoch each"), (cohort, Defence::Masks)));
    }
    for noise in lab.noises() {
        sights.push(epochs(format!("one epoch, {}, the others known", with_noise(noise)), (1, noise)));
    }
    sights
}

impl Sight {
    /// Everybody's secrets of one seed.
    fn attack(&self, lab: &Lab, seed: u64, found: &mut Found) -> Result<(), AttackError> {
        let stager = &lab.foundation;
        let draws = if self.length == Length::Night { 1 } else { lab.config.draws };
        let mut all = Vec::new();
        for draw in 0..draws {
            let chance = lab.seed(seed, "epochs", draw);
            all.extend(lessons(lab, stager, self.length, self.plan.as_ref(), &chance)?);
        }
        let public = Public::of(&all);
        let hiders = |set| self.hidden.map(|(_, defence)| hider(lab, &all, defence, set)).transpose();
        let hiders = [hiders(TrainableSet::Full)?, hiders(TrainableSet::Head)?];
        let people = self.hidden.map_or(1, |(people, _)| people);
        let eye = Eye { stager, public: &public, people, seed };
        for (at, lesson) in all.iter().enumerate() {
            let chance = lab.seed(seed, &self.against, at);
            let others = others(&all, lesson, chance.number());
            // Nobody of the company: there are more people than in any sum.
            let Some(stranger) = others.last() else { continue };
            let company: Vec<&Lesson> =
                [lesson].into_iter().chain(others.iter().copied()).take(people).collect();
            let seen = |set, hider: &Option<Sums>| -> Result<Vec<f32>, SumError> {
                let updates: Vec<&[f32]> = company.iter().map(|lesson| lesson.of(set)).collect();
                match hider {
                    None => Ok(updates[0].to_vec()),
                    Some(sums) if people == 1 => sums.alone(updates[0], &chance),
                    Some(sums) => sums.of(&updates, &chance),
                }
            };
            let (full, head) = (seen(TrainableSet::Full, &hiders[0])?, seen(TrainableSet::Head, &hiders[1])?);
            eye.look(found, (&full, &head), lesson, stranger)?;
        }
        Ok(())
    }
}

/// Lessons of other people, one each, in an order of their own.
fn others<'a>(all: &'a [Lesson], own: &Lesson, seed: u64) -> Vec<&'a Lesson> {
    let mut people: Vec<PersonId> = all.iter().map(|lesson| lesson.person.clone()).collect();
    people.sort();
    people.dedup();
    let one_of = |person: PersonId| {
        let of: Vec<&Lesson> = all.iter().filter(|lesson| lesson.person == person).collect();
        of.get(seed as usize % of.len().max(1)).copied()
    };
    crew::order(&people, seed).into_iter().filter(|person| *person != own.person).filter_map(one_of).collect()
}

/// Sums of such updates: masks as tight as they can be, noise for the median update.
fn hider(lab: &Lab, all: &[Lesson], defence: Defence, set: TrainableSet) -> Result<Sums, SumError> {
    let updates = || all.iter().map(|lesson| lesson.of(set));
    let norm = match defence {
        Defence::Masks => 1.01 * updates().map(norm).fold(1e-6, f64::max),
        _ => median_norm(updates()),
    };
    let weights = updates().next().map_or(0, <[f32]>::len);
    let cohort = lab.cohorts().into_iter().max().unwrap_or(2);
    Sums::new(defence, &Setting { norm, ..lab.setting(weights) }, cohort, cohort)
}
