//! What the command line offers.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::start::Profile;
use crate::transport::Transport;

/// Federated sleep staging, simulated on this machine.
#[derive(Parser, Debug)]
#[command(
    name = "somnus-sim",
    version,
    about,
    after_help = "Ends with 0 if it worked, with 1 and one line on standard error if not, with 2 if the command was not understood."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run a small federation of synthetic people and show what it is worth.
    Demo(DemoArgs),
    /// Run a scenario file.
    Run(RunArgs),
    /// Score a checkpoint on a folder of labelled nights.
    Evaluate(EvaluateArgs),
    /// Stage recordings, scored or not: reports and tables of every night.
    Stage(StageArgs),
    /// Compare a device's hypnograms with a reference's: the report of a validation study.
    Compare(CompareArgs),
    /// Print finished runs as a page of Markdown tables.
    Results(ResultsArgs),
    /// Ask what a checkpoint's embeddings know: hearts, activities, stages, and whose they are.
    Probe(ProbeArgs),
    /// Write a cohort of synthetic people in the layout that `run --data` and somnus-client read.
    Synth(SynthArgs),
    /// Write the model that a federation starts from.
    Foundation(FoundationArgs),
    /// Make a foundation model from public recordings, without labels.
    Pretrain(PretrainArgs),
    /// Measure seconds a round, the server's memory, or what a hub has to bear.
    Bench(BenchArgs),
}

/// Arguments of `demo`.
#[derive(Args, Debug)]
pub struct DemoArgs {
    /// Where the reports go.
    #[arg(long, default_value = "runs/demo")]
    pub out: PathBuf,
    /// Another federation of the same people.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Threads that train; the results do not depend on it.
    #[arg(long, default_value_t = jobs())]
    pub jobs: usize,
    /// Print the summary as JSON instead of the table.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `run`.
#[derive(Args, Debug)]
pub struct RunArgs {
    /// The scenario, a TOML file.
    pub scenario: PathBuf,
    /// The folder of recordings, where the scenario asks for one.
    #[arg(long)]
    pub data: Option<PathBuf>,
    /// Where the reports go; runs/NAME if not given.
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// The first seed; as many follow as the scenario has.
    #[arg(long)]
    pub seed: Option<u64>,
    /// How messages travel: memory or quic. The results do not depend on it while nobody drops out.
    #[arg(long, default_value = "memory")]
    pub transport: Transport,
    /// Threads that train; the results do not depend on it.
    #[arg(long, default_value_t = jobs())]
    pub jobs: usize,
    /// Print the summary as JSON instead of the table.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `evaluate`.
#[derive(Args, Debug)]
pub struct EvaluateArgs {
    /// The checkpoint: a foundation, or the release of a scenario with `folds = 0`; `base` and `nano` are the models that ship.
    pub model: PathBuf,
    /// The folder of recordings, in any layout that `somnus-client check` knows, with labels.
    #[arg(long)]
    pub data: PathBuf,
    /// Where the reports go.
    #[arg(long)]
    pub out: PathBuf,
    /// Stage in eight bits, and show beside it what the network as it is comes to: kappa, milliseconds, KiB.
    #[arg(long)]
    pub int8: bool,
    /// Print the summary as JSON instead of the table.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `stage`.
#[derive(Args, Debug)]
pub struct StageArgs {
    /// The checkpoint: a foundation, or a release; `base` and `nano` are the models that ship.
    pub model: PathBuf,
    /// The folder of recordings, in any layout that `somnus-client check` knows.
    #[arg(long)]
    pub data: PathBuf,
    /// Where the reports and tables go.
    #[arg(long)]
    pub out: PathBuf,
    /// Also write what the network is given and its logits, as safetensors.
    #[arg(long)]
    pub tensors: bool,
    /// Print where the tables are and which nights were left out, as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `compare`.
#[derive(Args, Debug)]
pub struct CompareArgs {
    /// A CSV file with the columns subject,epoch,reference,device.
    pub table: PathBuf,
    /// The classes by their codes, wake first; REM last if it is one.
    #[arg(long, value_delimiter = ',', default_value = "Wake,Light,Deep,REM")]
    pub classes: Vec<String>,
    /// Where the report goes.
    #[arg(long)]
    pub out: PathBuf,
    /// Print the summary as JSON instead of the table.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `results`.
#[derive(Args, Debug)]
pub struct ResultsArgs {
    /// Folders with a `summary.json`, in the order of the page.
    #[arg(required = true)]
    pub runs: Vec<PathBuf>,
}

/// Arguments of `probe`.
#[derive(Args, Debug)]
pub struct ProbeArgs {
    /// The checkpoint; `base` and `nano` are the models that ship.
    pub model: PathBuf,
    /// The folder of recordings, in any layout that `somnus-client check` knows, or of wisdm; labels are not needed.
    #[arg(long)]
    pub data: PathBuf,
    /// Only who sleeps: a fresh probe learns the first part of everybody's night and names the sleepers of the last.
    #[arg(long)]
    pub subjects: bool,
    /// Probes, each from another seed.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=100))]
    pub seeds: u64,
    /// Print the numbers as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `synth`.
#[derive(Args, Debug)]
pub struct SynthArgs {
    /// The folder to write.
    #[arg(long)]
    pub out: PathBuf,
    /// How many people.
    #[arg(long, default_value_t = 8)]
    pub people: usize,
    /// Which people: the same seed makes the same ones.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Write each person into a folder of their own, named like the person: one per hub.
    #[arg(long)]
    pub split: bool,
}

/// Arguments of `foundation`.
#[derive(Args, Debug)]
pub struct FoundationArgs {
    /// The safetensors file to write.
    #[arg(long)]
    pub out: PathBuf,
    /// The scenario whose network it is; the demo's if not given.
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// The seed of its random weights; the scenario's first if not given.
    #[arg(long)]
    pub seed: Option<u64>,
    /// For what hubs: chooses the model that ships where no scenario names another.
    #[arg(long, value_enum)]
    pub profile: Option<Profile>,
}

/// Arguments of `pretrain`.
#[derive(Args, Debug)]
pub struct PretrainArgs {
    /// The stages, a TOML file.
    pub config: PathBuf,
    /// The folder that holds the public sets, where a stage asks for one: crisdb, mmash, wisdm-watch, stress-predict,
    /// mitdb.
    #[arg(long)]
    pub data: Option<PathBuf>,
    /// Where the model and its record go. What an interrupted run left there is taken up.
    #[arg(long)]
    pub out: PathBuf,
}

/// Arguments of `bench`.
#[derive(Args, Debug)]
pub struct BenchArgs {
    /// What to measure.
    #[command(subcommand)]
    pub what: Option<BenchCommand>,
    /// Print the numbers as JSON.
    #[arg(long, global = true)]
    pub json: bool,
    /// Threads that train.
    #[arg(long, default_value_t = 2)]
    pub jobs: usize,
    /// Rounds to measure, after one that is not counted.
    #[arg(long, default_value_t = 3)]
    pub rounds: u64,
}

/// What `bench` can measure beside rounds.
#[derive(Subcommand, Debug)]
pub enum BenchCommand {
    /// The server's memory with 10 and with 200 clients of a model with a million weights.
    Memory,
    /// A hub's seconds and memory: the head on a cached night, the encoders over a night.
    Hub,
    /// A real server under load: clients held, memory for each, rounds a minute, memory after many rounds. Needs
    /// somnus-server and somnus-client beside this program.
    Load(LoadArgs),
    /// The virtual world with thousands of clients: seconds a round, and this process's memory.
    World(WorldArgs),
    /// One server's peak memory; `memory` starts this once for each number of clients.
    #[command(hide = true)]
    MemoryOf {
        /// Clients.
        clients: u32,
        /// Weights of the model.
        weights: usize,
    },
}

/// Arguments of `bench load`.
#[derive(Args, Clone, Copy, Debug)]
pub struct LoadArgs {
    /// Clients that are connected all the time; each has a certificate and a QUIC connection.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(4..=8192))]
    pub clients: u32,
    /// Weights of the model.
    #[arg(long, default_value_t = 10_000)]
    pub weights: usize,
    /// Clients in each round of the long run.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(3..=8192))]
    pub cohort: u32,
    /// Rounds of the long run, at whose end memory is compared with that after 50.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(2..))]
    pub rounds: u64,
    /// Rounds of each shorter run: plain ones of everybody, masked ones of the cohort and of everybody.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    pub few: u64,
}

/// Arguments of `bench world`.
#[derive(Args, Clone, Copy, Debug)]
pub struct WorldArgs {
    /// Clients that are there.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub clients: u32,
    /// Weights of the model.
    #[arg(long, default_value_t = 10_000)]
    pub weights: usize,
    /// Clients in each round; a sum holds 8,192. The time of a round grows with the square.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=8192))]
    pub cohort: u32,
    /// Rounds.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    pub rounds: u64,
}

/// One thread per core.
fn jobs() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_foreign_transport_is_refused_by_name() {
        let error = Cli::try_parse_from(["somnus-sim", "run", "x.toml", "--transport", "tcp"]).unwrap_err();
        assert!(error.to_string().contains("memory or quic"), "{error}");
    }
}
