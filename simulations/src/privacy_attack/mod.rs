//! Attacks on people's privacy: what an update, a sum or a release gives away, with and without each defence.
//!
//! * `inversion`: what was in an update, from its [`gradient`]s;
//! * `membership`: was a person in the training of a release;
//! * `linkage`: whose update is it, and is a person in a sum; from `releases` on the way;
//! * [`defence`]: what an attacker gets to see; [`judge`]: how far it gets, over people.
//!
//! The attackers are simple ones with much knowledge. That one of them fails is no proof; that one of them succeeds is.

mod config;
pub mod defence;
pub mod gradient;
mod inversion;
pub mod judge;
mod lesson;
mod linkage;
mod membership;
mod releases;

use std::time::Instant as Clock;

use somnus_model::{ModelError, Stager};
use somnus_protocol::checkpoint::Checkpoint;
use somnus_protocol::seed::{Label, Seed};
use somnus_report::Summary;
use somnus_signals::PersonId;

pub use config::PrivacyAttackConfig;
use defence::{Defence, Setting, SumError};

use crate::cohort::People;
use crate::federate::{Means, StudyError};
use crate::progress::Progress;
use crate::scenario::{DataConfig, Scenario};
use crate::start::Start;
use crate::summary;

/// Why attacks came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum AttackError {
    /// A federation, or its releases.
    #[error(transparent)]
    Study(#[from] StudyError),
    /// A sum that cannot be made.
    #[error("privacy_attacks: {0}")]
    Sum(#[from] SumError),
    /// Too few people for a secret.
    #[error("privacy_attacks: {people} people with a scored night, more than {needed} are needed")]
    TooFew {
        /// People.
        people: usize,
        /// Needed.
        needed: usize,
    },
    /// No round was heard of.
    #[error("privacy_attacks: the federation asked nobody to train")]
    Nobody,
}

impl From<ModelError> for AttackError {
    fn from(error: ModelError) -> Self {
        Self::Study(error.into())
    }
}

/// Everything that all attacks share.
struct Lab {
    scenario: Scenario,
    config: PrivacyAttackConfig,
    origin: Start,
    /// What the first seed's federations start from.
    foundation: Stager,
    people: People,
    everyone: Vec<PersonId>,
    means: Means,
    progress: Progress,
}

impl Lab {
    /// Chance for one use of one seed.
    fn seed(&self, seed: u64, what: &str, number: usize) -> Seed {
        Seed::from_number(seed).derive(Label::World, format!("attack {what} {number}").as_bytes())
    }

    /// The sums that are attacked, smallest first.
    fn cohorts(&self) -> Vec<usize> {
        let mut cohorts = self.config.cohorts.clone();
        cohorts.sort_unstable();
        cohorts
    }

    /// Noise that is tried: the server's, then the clients'.
    fn noises(&self) -> Vec<Defence> {
        let epsilons = &self.config.epsilons;
        epsilons
            .iter()
            .copied()
            .map(Defence::Central)
            .chain(epsilons.iter().copied().map(Defence::Distributed))
            .collect()
    }

    /// What noise is planned for; without a norm.
    fn setting(&self, weights: usize) -> Setting {
        let (rounds, population) = (self.scenario.federation.rounds, self.everyone.len() as u64);
        Setting { weights, rounds, population, norm: 1.0 }
    }
}

/// Runs all attacks on the scenario's people. `start` is when the work began, loading included.
///
/// # Errors
/// [`AttackError`] naming the key, or the fold and seed.
pub fn run(
    scenario: &Scenario,
    config: &PrivacyAttackConfig,
    origin: &Start,
    people: People,
    means: Means,
    start: Clock,
    progress: impl FnOnce(u64) -> Progress,
) -> Result<Summary, AttackError> {
    let everyone = people.people();
    // One more than the largest sum, so that somebody is not in it; and enough for two halves.
    let needed = config.largest().max(3);
    if everyone.len() <= needed {
        return Err(AttackError::TooFew { people: everyone.len(), needed });
    }
    let file = origin.checkpoint(scenario, scenario.seeds[0]).map_err(StudyError::from)?;
    let foundation =
        Stager::from_checkpoint(&Checkpoint::from_bytes(&file).map_err(StudyError::from)?, scenario.device)?;
    let mut lab = Lab {
        scenario: scenario.clone(),
        config: config.clone(),
        origin: origin.clone(),
        foundation,
        people,
        everyone,
        means,
        progress: Progress::hidden(),
    };
    let federation = &scenario.federation;
    let linkage = federation.rounds
        * u64::from(federation.plan.steps_over(1))
        * (lab.everyone.len() * scenario.seeds.len()) as u64;
    lab.progress = progress(membership::steps(&lab) + linkage);

    let mut summary = summary::begun(scenario, &means, &lab.people);
    summary.leaks = inversion::run(&lab)?;
    summary.leaks.extend(linkage::run(&lab)?);
    let (leaks, rows) = membership::run(&lab)?;
    summary.leaks.extend(leaks);
    summary.rows = rows;
    lab.progress.finish();
    summary.notes = notes(&lab);
    Ok(summary::ended(summary, start))
}

fn notes(lab: &Lab) -> Vec<String> {
    let mut notes = vec![
        format!(
            "Masks hide single updates entirely, so a masked round is attacked by its sum. Epsilon is for all {} rounds among {} people, at \
             delta people^-1.1; clip norms are the median of the updates' own.",
            lab.scenario.federation.rounds,
            lab.everyone.len()
        ),
        "Inversion is tried on the first round. Chance is the same guess against somebody else's epoch, and for stages a guess of \
         the usual ones. A cosine is of standardised columns; guessing the mean has 0."
            .into(),
        "Whoever asks for membership has the person's labelled nights, and for the likelihood ratio federations of its own. The noise \
         of a release is the same for all who are asked about it: intervals over people do not have it, the spread over seeds does. The \
         rows of staging are of people who were not in the training."
            .into(),
    ];
    notes.extend(lab.scenario.notes.iter().cloned());
    if let DataConfig::Synthetic(_) = lab.scenario.data {
        notes.push("These people are synthetic: nothing here says anything about real sleep.".into());
    }
    notes
}

/// A defence by noise, in words.
fn with_noise(defence: Defence) -> String {
    match defence {
        Defence::Masks => "masks alone".into(),
        Defence::Central(epsilon) => format!("the server's noise of epsilon {epsilon}"),
        Defence::Distributed(epsilon) => format!("the clients' noise of epsilon {epsilon}"),
    }
}

/// The mean of what guesses without knowledge got.
fn chance_of(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}
