//! From a scenario to the exact federation: the same foundation, clients, rules and seed in the simulator, over QUIC,
//! and between real processes.

use std::sync::Arc;

use bytes::Bytes;
use somnus_model::{Foundations, ModelError, NightPart, NightTrainer};
use somnus_protocol::checkpoint::{Checkpoint, CheckpointError, bytes_of};
use somnus_protocol::config::FederationConfig;
use somnus_protocol::fault::ConfigError;
use somnus_protocol::ids::ClientId;
use somnus_protocol::message::Role;
use somnus_protocol::record::Snapshot;
use somnus_protocol::seed::Seed;
use somnus_protocol::trainer::Trainer;
use somnus_signals::PersonId;
use somnus_signals::split::Fold;

use crate::attack::Crew;
use crate::cohort::People;
use crate::federation::{Client, Federation};
use crate::scenario::Scenario;
use crate::start::Start;

/// One federation of a scenario, with what decides it.
pub struct Recipe {
    /// The rules as an operator would write them into the server's file.
    pub rules: FederationConfig,
    /// The number behind [`Federation::seed`].
    pub seed: u64,
    /// Ready to run.
    pub federation: Federation,
    /// Who trains and who is held out.
    pub fold: Fold,
}

/// Why there is no federation.
#[derive(Debug, thiserror::Error)]
pub enum RecipeError {
    /// The rules do not fit the fold.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The network.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The foundation's file.
    #[error("foundation: {0}")]
    Checkpoint(#[from] CheckpointError),
}

/// The federation of one fold and seed. Training people train and are scored, some of them lie if the scenario wants that;
/// held-out people are only scored.
///
/// # Errors
/// [`RecipeError`] naming the key, the tensor or the night.
pub fn recipe(
    scenario: &Scenario,
    start: &Start,
    people: &People,
    fold: &Fold,
    seed: u64,
) -> Result<Recipe, RecipeError> {
    let shared = Foundations::default();
    let nights = |person: &PersonId| -> Vec<NightPart> {
        people.nights_of(person).cloned().map(NightPart::whole).collect()
    };
    let hands = |person: &PersonId, train| -> Arc<dyn Trainer> {
        Arc::new(NightTrainer::new(scenario.device, train, nights(person)).sharing(&shared))
    };
    let crew = scenario
        .attack
        .as_ref()
        .map(|attack| Crew::recruit(attack, scenario.task, &fold.train, seed, nights, &hands));
    let client = |person: &PersonId, role| {
        let train = if role == Role::Trains { nights(person) } else { Vec::new() };
        let trainer = match &crew {
            Some(crew) => crew.trainer(person, train, &hands),
            None => hands(person, train),
        };
        Client { id: client_id(person), role, trainer }
    };
    let mut clients: Vec<Client> = fold.train.iter().map(|person| client(person, Role::Trains)).collect();
    clients.extend(fold.test.iter().map(|person| client(person, Role::Evaluates)));
    let rules = scenario.federation_of(fold.train.len());
    assemble(rules, start.checkpoint(scenario, seed)?, clients, fold.clone(), seed)
}

/// The federation of these clients from this checkpoint.
///
/// # Errors
/// [`RecipeError`] naming the key or the tensor.
pub fn assemble(
    rules: FederationConfig,
    foundation: Bytes,
    clients: Vec<Client>,
    fold: Fold,
    seed: u64,
) -> Result<Recipe, RecipeError> {
    let weights = Checkpoint::from_bytes(&foundation)?.flatten(rules.plan.trainable)?;
    let config = rules.clone().check()?;
    config.sections(&foundation)?;
    config.classes(&foundation)?;
    config.terms(weights.len())?;
    Ok(Recipe {
        federation: Federation {
            config,
            start: Snapshot::fresh(foundation, Bytes::from(bytes_of(&weights))),
            seed: Seed::from_number(seed),
            clients,
        },
        rules,
        seed,
        fold,
    })
}

/// A person's name as a client's.
#[must_use]
pub fn client_id(person: &PersonId) -> ClientId {
    // Both are 1 to 64 of the same characters.
    person.as_str().parse().unwrap_or_else(|error| unreachable!("{error}"))
}
