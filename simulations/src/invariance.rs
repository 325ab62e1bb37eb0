//! What it costs to hide who sleeps: staging of new people against a fresh probe's knowledge of the people that were
//! trained on, over a range of weights, in one place and in the federation.

use std::sync::Arc;
use std::time::{Duration, Instant as Clock};

use serde::{Deserialize, Serialize};
use somnus_model::{Likeness, Stager};
use somnus_protocol::plan::Invariance;
use somnus_protocol::time::Instant;
use somnus_report::{Comparison, Identification, Row, Summary};
use somnus_signals::PersonId;
use somnus_signals::split::Fold;

use crate::baselines::{BaselineError, Bench, Scores, score};
use crate::cohort::People;
use crate::executor::Executor;
use crate::federate::{Means, StudyError, Watch, released};
use crate::probe::{Gallery, Identity, Look, identification, nights_of};
use crate::progress::Progress;
use crate::recipe::recipe;
use crate::scenario::Scenario;
use crate::start::Start;
use crate::study::BOOTSTRAP;
use crate::summary;

/// The weights of a study of invariance. Training without any is always part of it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sweep {
    /// Of the pull towards class-conditional moments, in one place and in the federation. Default .1, .3, 1.
    pub moments: Vec<f32>,
    /// Of the adversary, who needs everybody's embeddings in one place. Default .01, .1.
    pub adversary: Vec<f32>,
}

impl Default for Sweep {
    fn default() -> Self {
        Self { moments: vec![0.1, 0.3, 1.0], adversary: vec![0.01, 0.1] }
    }
}

/// One way to train.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Arm {
    Central(Option<Likeness>),
    /// With the weight of [`Invariance`].
    Federated(Option<f32>),
}

impl Arm {
    fn all(sweep: &Sweep) -> Vec<Self> {
        let moments = || sweep.moments.iter().copied();
        let mut arms = vec![Self::Central(None)];
        arms.extend(moments().map(|weight| Self::Central(Some(Likeness::Moments(weight)))));
        arms.extend(sweep.adversary.iter().map(|weight| Self::Central(Some(Likeness::Adversary(*weight)))));
        arms.push(Self::Federated(None));
        arms.extend(moments().map(|weight| Self::Federated(Some(weight))));
        arms
    }

    fn name(self) -> String {
        match self {
            Self::Central(None) => "central".into(),
            Self::Central(Some(Likeness::Moments(weight))) => format!("central, moments {weight}"),
            Self::Central(Some(Likeness::Adversary(weight))) => format!("central, adversary {weight}"),
            Self::Federated(None) => "federated".into(),
            Self::Federated(Some(weight)) => format!("federated, moments {weight}"),
        }
    }

    /// The same without a weight, which it is compared with.
    fn plain(self) -> Self {
        match self {
            Self::Central(_) => Self::Central(None),
            Self::Federated(_) => Self::Federated(None),
        }
    }
}

/// What one network came to, of one fold and seed.
struct Trial {
    scores: Scores,
    /// In its embeddings, of the people it was trained on and of those it never saw.
    trained: Option<Identity>,
    held_out: Option<Identity>,
}

/// Trains every arm in every fold with every seed. `start` is when the work began.
///
/// # Errors
/// [`StudyError`] naming the row, or the fold and seed.
pub fn run(
    scenario: Scenario,
    sweep: &Sweep,
    origin: &Start,
    people: People,
    means: Means,
    start: Clock,
    progress: impl FnOnce(u64) -> Progress,
) -> Result<Summary, StudyError> {
    let (scenario, people) = (Arc::new(scenario), Arc::new(people));
    let arms = Arm::all(sweep);
    let progress = progress(steps(&scenario, &people, &arms));
    let central = central(&scenario, origin, &people, &arms, means.jobs, &progress)?;
    let mut central = central.into_iter();

    let mut summary = summary::begun(&scenario, &means, &people);
    summary.identification = inputs(&scenario, origin, &people)?;
    for arm in &arms {
        let trials = match arm {
            Arm::Central(_) => central.next().expect("one entry for each central arm"),
            Arm::Federated(weight) => federated(&scenario, origin, &people, *weight, means, &progress)?,
        };
        let scores: Vec<Scores> =
            trials.iter().map(|seed| seed.iter().flat_map(|trial| trial.scores.clone()).collect()).collect();
        summary.rows.push(Row::from_seeds(&arm.name(), &scores, BOOTSTRAP)?);
        let found = |look: fn(&Trial) -> Option<Identity>| {
            trials.iter().flatten().filter_map(look).collect::<Vec<_>>()
        };
        let group = [(TRAINED, found(|trial| trial.trained)), (HELD_OUT, found(|trial| trial.held_out))];
        let told = group.into_iter().filter_map(|(who, found)| identification(&arm.name(), who, &found));
        summary.identification.extend(told);
    }
    progress.finish();
    for (row, arm) in summary.rows.iter().zip(&arms).filter(|(_, arm)| arm.plain() != **arm) {
        let plain = summary.rows.iter().find(|row| row.name == arm.plain().name());
        let plain = plain.expect("every sweep has the plain arms");
        summary.comparisons.push(Comparison::between(row, plain, BOOTSTRAP)?);
    }
    summary.notes = vec![
        "Staging is of people whom the network never saw. The probe is a fresh softmax regression: it learns from the first \
         part of everybody's night and names the sleepers of the last; its accuracy is a lower bound of what embeddings \
         give away."
            .into(),
    ];
    summary.notes.extend(scenario.notes.iter().cloned());
    Ok(summary::ended(summary, start))
}

/// Whom the network was trained on.
const TRAINED: &str = "trained";
/// Whom it never saw.
const HELD_OUT: &str = "held-out";

/// Training steps of the whole study.
fn steps(scenario: &Scenario, people: &People, arms: &[Arm]) -> u64 {
    let federation = &scenario.federation;
    let of_fold = |fold: &Fold| {
        let nights = people.nights_of_all(&fold.train).len() as u64;
        let cohort = u64::from(scenario.federation_of(fold.train.len()).cohort).min(fold.train.len() as u64);
        let of_arm = |arm: &Arm| match arm {
            Arm::Central(_) => u64::from(scenario.passes()) * nights,
            Arm::Federated(_) => federation.rounds * u64::from(federation.plan.steps_over(1)) * cohort,
        };
        arms.iter().map(of_arm).sum::<u64>()
    };
    scenario.seeds.len() as u64 * people.folds.iter().map(of_fold).sum::<u64>()
}

/// For each central arm, for each seed, the trial of each fold; side by side on the pool.
fn central(
    scenario: &Arc<Scenario>,
    origin: &Start,
    people: &Arc<People>,
    arms: &[Arm],
    jobs: usize,
    progress: &Progress,
) -> Result<Vec<Vec<Vec<Trial>>>, StudyError> {
    let wrong = |source| StudyError::Baseline { row: "central", source };
    let mut pool = Executor::new(jobs);
    let mut number = 0;
    let mut submit = |likeness: Option<Likeness>, seed: u64, fold: &Fold| {
        let bench = Bench {
            scenario: Arc::clone(scenario),
            start: origin.clone(),
            people: Arc::clone(people),
            fold: fold.clone(),
            seed,
            progress: progress.clone(),
        };
        let due = Instant::at(Duration::from_secs(number));
        number += 1;
        pool.submit(due, move || {
            let stager = bench.network(likeness)?;
            judge(&stager, &bench.people, &bench.fold, seed)
        })
    };
    let mut handed_in = Vec::new();
    for arm in arms {
        let Arm::Central(likeness) = arm else { continue };
        let of_seed = |seed: &u64| people.folds.iter().map(|fold| submit(*likeness, *seed, fold)).collect();
        handed_in.push(scenario.seeds.iter().map(of_seed).collect::<Vec<Vec<_>>>());
    }
    let mut take =
        |tickets: Vec<_>| tickets.into_iter().map(|ticket| pool.take(ticket).map_err(wrong)).collect();
    handed_in.into_iter().map(|seeds| seeds.into_iter().map(&mut take).collect()).collect()
}

/// For each seed the trial of each fold, with the pull towards everybody's moments or without.
fn federated(
    scenario: &Scenario,
    origin: &Start,
    people: &People,
    weight: Option<f32>,
    means: Means,
    progress: &Progress,
) -> Result<Vec<Vec<Trial>>, StudyError> {
    let invariance = weight.map(|weight| Invariance { weight, from_round: 2 });
    let mut scenario = scenario.clone();
    scenario.federation.plan.invariance = invariance;
    let trial = |seed: u64, (index, fold): (usize, &Fold)| {
        let recipe = recipe(&scenario, origin, people, fold, seed)?;
        let mut watch = Watch {
            progress,
            steps: u64::from(recipe.rules.plan.steps_over(1)),
            rounds: recipe.rules.rounds,
            place: format!("fold {}/{}, seed {seed}", index + 1, people.folds.len()),
            releases: None,
        };
        let outcome = means
            .transport
            .run(&recipe.federation, &scenario.world, means.jobs, &mut watch)
            .map_err(|source| StudyError::Federation { fold: index, seed, source })?;
        let stager = released(&recipe, &outcome, &scenario)?;
        judge(&stager, people, fold, seed).map_err(|source| StudyError::Baseline { row: "federated", source })
    };
    let of_seed = |seed: &u64| people.folds.iter().enumerate().map(|fold| trial(*seed, fold)).collect();
    scenario.seeds.iter().map(of_seed).collect()
}

fn judge(stager: &Stager, people: &People, fold: &Fold, seed: u64) -> Result<Trial, BaselineError> {
    let probed = |chosen: &[PersonId]| -> Result<_, BaselineError> {
        Ok(Gallery::of(stager, Look::Embeddings, nights_of(people, chosen))?.identify(seed))
    };
    let (trained, held_out) = (probed(&fold.train)?, probed(&fold.test)?);
    let scores = score(people, &fold.test, stager.task(), |night| Ok(stager.predict(night)?.argmax()))?;
    Ok(Trial { scores, trained, held_out })
}

/// What there is to know before any training: who sleeps, by what the network is given.
fn inputs(scenario: &Scenario, origin: &Start, people: &People) -> Result<Vec<Identification>, StudyError> {
    let seed = scenario.seeds[0];
    let recipe = |fold: &Fold| recipe(scenario, origin, people, fold, seed);
    let mut groups = [(TRAINED, Vec::new()), (HELD_OUT, Vec::new())];
    for fold in &people.folds {
        let file = recipe(fold)?.federation.start.foundation;
        let checkpoint = somnus_protocol::checkpoint::Checkpoint::from_bytes(&file)?;
        let stager = Stager::from_checkpoint(&checkpoint, scenario.device)?;
        for ((_, found), chosen) in groups.iter_mut().zip([&fold.train, &fold.test]) {
            let gallery = Gallery::of(&stager, Look::Inputs, nights_of(people, chosen))?;
            found.extend(gallery.identify(seed));
        }
    }
    Ok(groups.into_iter().filter_map(|(who, found)| identification("inputs", who, &found)).collect())
}
