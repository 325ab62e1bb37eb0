//! `somnus-sim`: federations on one machine.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Parser;
use somnus_model::DeviceKind;
use somnus_report::{Staging, Summary, device, markdown, output, table};
use somnus_signals::{NightRules, sleep_accel, synthetic};
use somnus_sim::cli::{
    BenchArgs, BenchCommand, Cli, Command, CompareArgs, EvaluateArgs, FoundationArgs, LoadArgs, PretrainArgs,
    ProbeArgs, ResultsArgs, RunArgs, StageArgs, SynthArgs, WorldArgs,
};
use somnus_sim::cohort::{People, in_folder};
use somnus_sim::evaluate::{Precision, evaluate as score};
use somnus_sim::federate::Means;
use somnus_sim::lab::{self, Lab};
use somnus_sim::personal;
use somnus_sim::poisoning;
use somnus_sim::pretrain::{Loaded, Pretraining};
use somnus_sim::privacy_attack;
use somnus_sim::progress::Progress;
use somnus_sim::scenario::Scenario;
use somnus_sim::start::{Origin, Profile, Start, named};
use somnus_sim::study;
use somnus_sim::train::train;
use somnus_sim::transport::Transport;
use somnus_sim::{bench, hub, invariance, load, memory, thousands, variants};

/// Keeps a step's buffers for the next one.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match command(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody may be listening; the exit code says it too.
            let _ = writeln!(std::io::stderr(), "somnus-sim: {}", chain(&error));
            ExitCode::FAILURE
        }
    }
}

/// An error and its causes in one line; some say their cause themselves, and once is enough.
fn chain(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |line, cause| match line.as_str() {
        "" => cause,
        said if said.ends_with(&cause) => line,
        said => format!("{said}: {cause}"),
    })
}

fn command(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Demo(args) => {
            let means = Means { transport: Transport::Memory, jobs: args.jobs };
            study(Scenario::demo(), None, &Report { out: &args.out, json: args.json }, args.seed, means)
        }
        Command::Run(args) => {
            if let Some(lab) = Lab::load(&args.scenario)? {
                return in_the_lab(&lab, &args);
            }
            let scenario = Scenario::load(&args.scenario)?;
            let out = args.out.unwrap_or_else(|| PathBuf::from("runs").join(&scenario.name));
            let means = Means { transport: args.transport, jobs: args.jobs };
            study(scenario, args.data.as_deref(), &Report { out: &out, json: args.json }, args.seed, means)
        }
        Command::Evaluate(args) => evaluate(&args),
        Command::Stage(args) => stage(&args),
        Command::Compare(args) => compare(&args),
        Command::Results(args) => results(&args),
        Command::Probe(args) if args.subjects => subjects(&args),
        Command::Probe(args) => probe(&args),
        Command::Synth(args) => synth(&args),
        Command::Foundation(args) => foundation(&args),
        Command::Pretrain(args) => pretrain(&args),
        Command::Bench(args) => bench(&args),
    }
}

fn study(
    scenario: Scenario,
    data: Option<&Path>,
    report: &Report<'_>,
    seed: Option<u64>,
    means: Means,
) -> anyhow::Result<()> {
    let scenario = match seed {
        Some(seed) => scenario.with_seed(seed),
        None => scenario,
    };
    let start = std::time::Instant::now();
    report.probe()?;
    let origin = Start::load(&scenario.foundation, scenario.device)?;
    let people = People::of(&scenario, data)?;
    if let Some(config) = scenario.personal.clone() {
        let findings = personal::run(scenario, &config, &origin, people, means, start, Progress::new)?;
        return report.write(findings.summary);
    }
    if let Some(config) = scenario.poisoning.clone() {
        let findings = poisoning::run(&scenario, &config, &origin, people, means, start, Progress::new)?;
        return report.write(findings.summary);
    }
    if !scenario.variants.is_empty() {
        let (findings, _) = variants::run(scenario, &origin, people, means, start, Progress::new)?;
        return report.write(findings.summary);
    }
    if let Some(config) = scenario.privacy_attacks.clone() {
        let summary = privacy_attack::run(&scenario, &config, &origin, people, means, start, Progress::new)?;
        return report.write(summary);
    }
    if let Some(sweep) = scenario.invariance.clone() {
        let summary = invariance::run(scenario, &sweep, &origin, people, means, start, Progress::new)?;
        return report.write(summary);
    }
    if scenario.folds > 0 {
        let findings = study::run(scenario, &origin, people, means, start, Progress::new)?;
        return report.write(findings.summary);
    }
    let trained = train(&scenario, &origin, people, means, start, Progress::new)?;
    let release = report.out.join("release.safetensors");
    std::fs::write(&release, trained.checkpoint.to_bytes()?)
        .with_context(|| format!("cannot write {}", release.display()))?;
    report.write(trained.summary)?;
    report.say(&format!("the release is in {}", release.display()))
}

fn in_the_lab(lab: &Lab, args: &RunArgs) -> anyhow::Result<()> {
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from("runs").join(lab.name()));
    let report = Report { out: &out, json: args.json };
    report.probe()?;
    let means = lab::Means { jobs: args.jobs, progress: Progress::new };
    let lab = lab.clone().with_seed(args.seed);
    report.write(lab.run(args.data.as_deref(), &means)?)
}

fn evaluate(args: &EvaluateArgs) -> anyhow::Result<()> {
    let start = std::time::Instant::now();
    let model = named(&args.model, DeviceKind::Flex)?;
    let report = Report { out: &args.out, json: args.json };
    report.probe()?;
    let precision = if args.int8 { Precision::Int8 } else { Precision::F32 };
    report.write(score(&model, &args.data, precision, start)?)
}

fn stage(args: &StageArgs) -> anyhow::Result<()> {
    let model = named(&args.model, DeviceKind::Flex)?;
    Report { out: &args.out, json: args.json }.probe()?;
    let staged = somnus_sim::stage::stage(&model, &args.data, &args.out, args.tensors)?;
    let mut stdout = std::io::stdout().lock();
    if args.json {
        let found = serde_json::json!({ "tables": staged.tables, "left_out": staged.excluded });
        writeln!(stdout, "{found:#}")?;
        return Ok(());
    }
    for left in &staged.excluded {
        writeln!(stdout, "{} left out: {}", left.id, left.reason)?;
    }
    let nights = match staged.tables.len() {
        1 => "1 night is".to_owned(),
        many => format!("{many} nights are"),
    };
    writeln!(stdout, "{nights} staged in {}", args.out.display())?;
    Ok(())
}

fn compare(args: &CompareArgs) -> anyhow::Result<()> {
    let start = std::time::Instant::now();
    let file = args.table.display();
    if args.classes.len() < 2 {
        bail!("--classes: at least two are needed");
    }
    let table = std::fs::read_to_string(&args.table).with_context(|| file.to_string())?;
    let names: Vec<&str> = args.classes.iter().map(String::as_str).collect();
    let rem = names.last().is_some_and(|last| last.eq_ignore_ascii_case("rem"));
    let name = args.table.file_stem().map_or_else(|| "compare".into(), |stem| stem.to_string_lossy());
    let mut summary =
        device::study(&name, &table, &Staging::new(&names, rem)).with_context(|| file.to_string())?;
    summary.seconds = start.elapsed().as_secs_f64();
    let report = Report { out: &args.out, json: args.json };
    report.probe()?;
    report.write(summary)
}

fn results(args: &ResultsArgs) -> anyhow::Result<()> {
    for folder in &args.runs {
        let file = folder.join("summary.json");
        let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let summary = Summary::from_json(&text).with_context(|| file.display().to_string())?;
        writeln!(std::io::stdout(), "{}", markdown::run(&summary))?;
    }
    Ok(())
}

fn probe(args: &ProbeArgs) -> anyhow::Result<()> {
    let start = std::time::Instant::now();
    let model = named(&args.model, DeviceKind::Flex)?;
    let summary = somnus_sim::probe::checkpoint::probe(&model, &args.data, args.seeds, start)?;
    let mut stdout = std::io::stdout().lock();
    if args.json {
        writeln!(stdout, "{}", serde_json::to_string_pretty(&summary)?)?;
    } else {
        write!(stdout, "{}", table::run(&summary))?;
    }
    Ok(())
}

fn subjects(args: &ProbeArgs) -> anyhow::Result<()> {
    let model = named(&args.model, DeviceKind::Flex)?;
    let cohort = in_folder(&args.data, &NightRules::default())?;
    let found = somnus_sim::probe::subjects(&model.stager, &cohort, args.seeds)?;
    if found.is_empty() {
        bail!(
            "{}: at least two people with a usable night are needed to tell them apart",
            args.data.display()
        );
    }
    let mut stdout = std::io::stdout().lock();
    if args.json {
        writeln!(stdout, "{}", serde_json::to_string_pretty(&found)?)?;
    } else {
        write!(stdout, "{}", table::identification(&found))?;
    }
    Ok(())
}

/// Where a run's reports go, and how it is told.
struct Report<'a> {
    out: &'a Path,
    /// As JSON, and nothing else.
    json: bool,
}

impl Report<'_> {
    /// Finds out before the work whether its result can be written.
    fn probe(&self) -> anyhow::Result<()> {
        let out = self.out;
        std::fs::create_dir_all(out)
            .with_context(|| format!("cannot create the folder {}", out.display()))?;
        let file = out.join(".writable");
        let wrong = || format!("cannot write into {}", out.display());
        std::fs::write(&file, b"somnus").with_context(wrong)?;
        std::fs::remove_file(&file).with_context(wrong)
    }

    /// Writes the reports and shows the table.
    fn write(&self, mut summary: Summary) -> anyhow::Result<()> {
        summary.peak_rss_mib = somnus_sim::rss::peak_mib();
        output::write_run(self.out, &summary)?;
        if self.json {
            writeln!(std::io::stdout(), "{}", serde_json::to_string_pretty(&summary)?)?;
        }
        self.say(&table::run(&summary))?;
        let page = self.out.join("report.html");
        let also = match summary.clients.len() {
            0 => " is written".into(),
            some => format!(" and {some} client reports are in {}", self.out.join("clients").display()),
        };
        self.say(&format!(
            "{:.0} s, {:.0} MiB; {}{also}",
            summary.seconds,
            summary.peak_rss_mib,
            page.display()
        ))
    }

    /// For people.
    fn say(&self, text: &str) -> anyhow::Result<()> {
        if !self.json {
            writeln!(std::io::stdout(), "{text}")?;
        }
        Ok(())
    }
}

fn synth(args: &SynthArgs) -> anyhow::Result<()> {
    if args.people == 0 {
        bail!("--people: at least one person is needed");
    }
    let config = synthetic::SyntheticConfig { people: args.people, seed: args.seed, ..Default::default() };
    for index in 0..args.people {
        for recording in synthetic::recordings_of(&config, index) {
            let folder = if args.split { args.out.join(recording.person.as_str()) } else { args.out.clone() };
            sleep_accel::write(&folder, &recording)?;
        }
    }
    writeln!(std::io::stdout(), "{} synthetic people in {}", args.people, args.out.display())?;
    Ok(())
}

fn foundation(args: &FoundationArgs) -> anyhow::Result<()> {
    let mut scenario = match &args.config {
        Some(path) => Scenario::load(path)?,
        None => Scenario { foundation: Origin::None, ..Scenario::demo() },
    };
    // Without a scenario there is a model all the same; a scenario may want random weights.
    let profile = args.profile.or(args.config.is_none().then(Profile::default));
    if let (Some(profile), Origin::None) = (profile, &scenario.foundation) {
        scenario.foundation = profile.foundation();
    }
    let origin = Start::load(&scenario.foundation, scenario.device)?;
    let bytes = origin.checkpoint(&scenario, args.seed.unwrap_or(scenario.seeds[0]))?;
    if let Some(folder) = args.out.parent() {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot create the folder {}", folder.display()))?;
    }
    std::fs::write(&args.out, &bytes).with_context(|| format!("cannot write {}", args.out.display()))?;
    writeln!(std::io::stdout(), "{} bytes in {}", bytes.len(), args.out.display())?;
    Ok(())
}

fn pretrain(args: &PretrainArgs) -> anyhow::Result<()> {
    let loaded = Loaded::load(&args.config)?;
    Report { out: &args.out, json: false }.probe()?;
    let announce = |what: &str, steps: u64| {
        // Nobody may be listening on standard error; that is no reason to stop.
        let _ = writeln!(std::io::stderr(), "{what}");
        Progress::new(steps)
    };
    let mut pretraining = Pretraining::open(loaded, args.data.as_deref(), &args.out, &announce)?;
    while pretraining.advance()? {}
    let record = pretraining.finish()?;
    let mut stdout = std::io::stdout().lock();
    for stage in &record.stages {
        writeln!(stdout, "{} ({:.0} s)", stage.summary(), stage.seconds)?;
    }
    let model = args.out.join("foundation.safetensors");
    writeln!(stdout, "{} bytes in {}", record.model_bytes, model.display())?;
    Ok(())
}

fn bench(args: &BenchArgs) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    match args.what {
        None => {
            let lines = bench::rounds(args.jobs, args.rounds)?;
            if args.json {
                writeln!(stdout, "{}", serde_json::to_string_pretty(&lines)?)?;
            } else {
                write!(stdout, "{}", bench::table(&lines, args.jobs))?;
            }
        }
        Some(BenchCommand::Memory) => {
            let memory = memory::measure().context("cannot measure the server's memory")?;
            if args.json {
                writeln!(stdout, "{}", serde_json::to_string_pretty(&memory)?)?;
            } else {
                let [few, many] = memory::CLIENTS;
                writeln!(
                    stdout,
                    "server of {} weights: {:.1} MiB with {few} clients, {:.1} MiB with {many}: {:+.1} MiB (at most {:.0})",
                    memory.weights,
                    memory.few_mib,
                    memory.many_mib,
                    memory.growth_mib,
                    memory::ALLOWED_MIB
                )?;
            }
        }
        Some(BenchCommand::Hub) => {
            let hub = hub::measure().context("cannot measure a hub's work")?;
            if args.json {
                writeln!(stdout, "{}", serde_json::to_string_pretty(&hub)?)?;
            } else {
                write!(stdout, "{}", hub::table(&hub))?;
            }
        }
        Some(BenchCommand::Load(LoadArgs { clients, weights, cohort, rounds, few })) => {
            let config = load::LoadConfig { clients, weights, cohort: cohort.min(clients), rounds, few };
            let announce = |what: &str| {
                let _ = writeln!(std::io::stderr(), "{what}");
            };
            let load = load::measure(&config, &announce).context("no result")?;
            if args.json {
                writeln!(stdout, "{}", serde_json::to_string_pretty(&load)?)?;
            } else {
                write!(stdout, "{}", load::table(&load))?;
            }
        }
        Some(BenchCommand::World(WorldArgs { clients, weights, cohort, rounds })) => {
            let result = thousands::measure(clients, cohort.min(clients), weights, rounds, args.jobs)?;
            if args.json {
                writeln!(stdout, "{}", serde_json::to_string_pretty(&result)?)?;
            } else {
                write!(stdout, "{}", thousands::table(&result))?;
            }
        }
        Some(BenchCommand::MemoryOf { clients, weights }) => {
            writeln!(stdout, "{}", memory::server(clients, weights))?;
        }
    }
    Ok(())
}
