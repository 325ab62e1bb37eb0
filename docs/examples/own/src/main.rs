//! A federation with a rule, an encoder and a loader of one's own, each in a file, on the protocol as it is: masked updates over QUIC.
//!
//! `loader` makes recordings of files, `encoder` trains on them, `strategy` makes releases of what comes back. This file puts
//! them together and scores them on people whom no training saw. With a handful of people and one seed a difference between two rules
//! is noise; give it more of both.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Result, bail};
use clap::Parser;
use somnus_protocol::checkpoint::{bytes_of, floats};
use somnus_protocol::config::{FederationConfig, RoundConfig};
use somnus_protocol::message::Role;
use somnus_protocol::plan::{Schedule, TrainPlan, TrainableSet};
use somnus_protocol::record::Snapshot;
use somnus_protocol::seed::Seed;
use somnus_report::Confusion;
use somnus_signals::{Recording, synthetic};
use somnus_sim::federation::{Client, Federation};
use somnus_sim::quic;

mod encoder;
mod loader;
mod strategy;

use encoder::{Epochs, Hands, foundation};
use strategy::LookAhead;

/// Every so manieth person is left out of training.
const LEFT_OUT: usize = 3;
const ROUNDS: u64 = 30;
/// A masked sum of fewer is no secret from its own members.
const LEAST: usize = 3;

/// Federates a folder of diaries.
#[derive(Parser)]
struct Cli {
    /// The folder.
    diaries: PathBuf,
    /// Writes diaries of so many synthetic people into the folder first.
    #[arg(long, value_name = "PEOPLE")]
    make: Option<usize>,
    /// Decides who trains when, and the masks.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

fn main() -> ExitCode {
    match study(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell that nobody reads it.
            let _ = writeln!(std::io::stderr(), "somnus-own: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn study(Cli { diaries, make, seed }: Cli) -> Result<()> {
    if let Some(people) = make {
        let config = synthetic::SyntheticConfig { people, ..Default::default() };
        synthetic::recordings(&config).iter().try_for_each(|night| loader::write(night, &diaries))?;
    }
    let nights = loader::load(&diaries)?;
    let (tested, trained): (Vec<_>, Vec<_>) =
        nights.into_iter().enumerate().partition(|(number, _)| number % LEFT_OUT == 0);
    if trained.len() < LEAST {
        bail!(
            "{} people would train; a masked sum needs {LEAST}, and every third person is left out",
            trained.len()
        );
    }
    println!("{} people train, {} are left out; seed {seed}", trained.len(), tested.len());

    let plain = rounds(trained.len())?;
    let own = rounds(trained.len())?.with_rule(|len| Box::new(LookAhead::new(0.8, len)));
    let untrained = foundation().flatten(TrainableSet::Full)?;
    println!("untrained   kappa {:.3}", kappa(&untrained, &tested)?);
    for (name, config) in [("FedAvg", plain), ("look-ahead", own)] {
        let weights = federate(config, &trained, seed)?;
        println!("{name:<11} kappa {:.3}", kappa(&weights, &tested)?);
    }
    Ok(())
}

fn rounds(people: usize) -> Result<RoundConfig> {
    let plan = TrainPlan {
        trainable: TrainableSet::Full,
        steps: 4,
        learning_rate: 0.3,
        schedule: Schedule::Constant,
        ..TrainPlan::default()
    };
    let config = FederationConfig {
        rounds: ROUNDS,
        cohort: people as u32,
        min_clients: people as u32,
        selection_seconds: 0.0,
        evaluate_every: 0,
        plan,
        ..FederationConfig::default()
    };
    Ok(config.check()?)
}

/// The last release's weights.
fn federate(config: RoundConfig, nights: &[(usize, Recording)], seed: u64) -> Result<Vec<f32>> {
    let clients = nights.iter().map(|(_, night)| {
        Ok(Client {
            id: night.person.as_str().parse()?,
            role: Role::Trains,
            trainer: Arc::new(Hands(Epochs::of(night))),
        })
    });
    let model = foundation();
    let start =
        Snapshot::fresh(model.to_bytes()?.into(), bytes_of(&model.flatten(TrainableSet::Full)?).into());
    let clients = clients.collect::<Result<_>>()?;
    let federation = Federation { config, start, seed: Seed::from_number(seed), clients };
    Ok(floats(&quic::run(&federation, 2, &mut ())?.weights))
}

/// Agreement beyond chance, over all epochs of all people.
fn kappa(weights: &[f32], nights: &[(usize, Recording)]) -> Result<f64> {
    let each = nights.iter().map(|(_, night)| Epochs::of(night).confusion(weights));
    let each: Vec<Confusion> = each.collect::<Result<_>>()?;
    match Confusion::sum(&each)?.and_then(|all| all.kappa()) {
        Some(kappa) => Ok(kappa),
        None => bail!("nobody who was left out has scored epochs of two stages"),
    }
}
