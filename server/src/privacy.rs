//! The privacy ledger on disk, and what an operator may want to know before there is one.

use anyhow::ensure;
use clap::{Args, ValueEnum};
use serde::Serialize;
use somnus_protocol::fault::ConfigError;
use somnus_protocol::privacy::clip::{Adaptive, Clip};
use somnus_protocol::privacy::ledger::{Balance, Budget, Entry, Ledger};
use somnus_protocol::privacy::mechanism::{Distributed, Mechanism, PrivacyConfig, Sampling};
use somnus_protocol::privacy::planning::{Plan, Setting, plan};
use somnus_protocol::wire;

use crate::error::StoreError;
use crate::store::{Change, Key, Store, Table};

/// The change that writes an entry. A round has one record for each stage, so that none is ever lost to a later one.
pub fn change(entry: &Entry) -> Change {
    let (round, stage) = match entry {
        Entry::Reserved { round, .. } => (round, b"reserved".as_slice()),
        Entry::Returned { round } => (round, b"returned".as_slice()),
        Entry::Spent { round } => (round, b"spent".as_slice()),
    };
    let name = [&round.0.to_be_bytes(), stage].concat();
    Change::Put(Key::new(Table::Privacy, name), wire::to_disk(entry))
}

/// All entries, to be replayed.
///
/// # Errors
/// [`StoreError`] if one cannot be read.
pub fn entries(store: &Store) -> Result<Vec<Entry>, StoreError> {
    let read = |(key, bytes): (Vec<u8>, Vec<u8>)| {
        wire::from_disk(&bytes).map_err(|why| store.damaged(&Key::new(Table::Privacy, &key), &why))
    };
    store.table(Table::Privacy)?.into_iter().map(read).collect()
}

/// What a log adds up to, of `epsilon` that is allowed, if that is known.
///
/// # Errors
/// If `delta` is no probability or `epsilon` is not positive.
pub fn balance(log: Vec<Entry>, epsilon: Option<f64>, delta: f64) -> anyhow::Result<Balance> {
    ensure!(delta > 0.0 && delta < 1.0, "--delta: {delta} is not between 0 and 1");
    let epsilon = epsilon.unwrap_or(f64::INFINITY);
    ensure!(epsilon > 0.0, "--epsilon: {epsilon} is not above 0");
    Ok(Ledger::replay(Budget { epsilon, delta }, log).balance())
}

/// A balance for people.
pub fn describe(balance: &Balance) -> String {
    let Balance { budget, spent, reserved, returned, .. } = balance;
    if spent + reserved + returned == 0 {
        return "nothing is in the privacy ledger: no round of this federation was made with noise".into();
    }
    let mut out =
        vec![format!("rounds {spent} spent, {reserved} reserved (they count), {returned} given back")];
    let by = |name: &str, epsilon: f64| format!("epsilon {epsilon:.4} at delta {} by {name}", budget.delta);
    out.extend(balance.epsilon_pld.map(|epsilon| by("loss distributions", epsilon)));
    out.push(by("orders", balance.epsilon_rdp));
    if budget.epsilon.is_finite() {
        let part = 100.0 * balance.epsilon / budget.epsilon;
        out.push(format!("{part:.1} % of the {} that is allowed", budget.epsilon));
    }
    out.join("\n")
}

/// A federation for which the noise is asked.
#[derive(Debug, Args)]
pub struct Question {
    /// People among whom one is to be hidden.
    #[arg(long)]
    population: u64,
    /// People in a round.
    #[arg(long)]
    cohort: u32,
    /// Rounds to make.
    #[arg(long)]
    rounds: u64,
    /// The most that all rounds together may tell of one person's presence.
    #[arg(long)]
    epsilon: f64,
    /// Probability that the guarantee does not hold [default: population^-1.1].
    #[arg(long)]
    delta: Option<f64>,
    /// How cohorts come about.
    #[arg(long, value_enum, default_value_t)]
    sampling: Drawn,
    /// Who adds which noise.
    #[arg(long, value_enum, default_value_t)]
    mechanism: Kind,
    /// Clients whose updates are in a sum at least, for skellam and discrete-gaussian [default: two thirds of the cohort].
    #[arg(long)]
    survivors: Option<u32>,
    /// Of these, clients that may tell the server their noise.
    #[arg(long, default_value_t = 0)]
    colluders: u32,
    /// Lane units in a clip norm, for skellam and discrete-gaussian.
    #[arg(long, default_value_t = 65536.0)]
    units: f64,
    /// Rounds of which a person takes part in one at most, for ftrl.
    #[arg(long, default_value_t = 1)]
    separation: u64,
    /// Let the clip norm follow the median of the updates' norms.
    #[arg(long)]
    adaptive: bool,
    /// Weights that travel.
    #[arg(long, default_value_t = 100_000)]
    weights: u64,
}

/// How cohorts come about.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
enum Drawn {
    /// Whoever is there: everyone is accounted for as if in every round.
    #[default]
    Fixed,
    /// By a secret coin for each person.
    Poisson,
}

/// Who adds which noise.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
enum Kind {
    /// The server, to each sum.
    #[default]
    Gaussian,
    /// Each client, inside its mask.
    Skellam,
    /// Each client, inside its mask.
    DiscreteGaussian,
    /// The server, to the running sum.
    Ftrl,
}

/// What `privacy plan` prints. The schema of its `--json`.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Answer {
    /// The plan.
    #[serde(flatten)]
    pub plan: Plan,
    /// Standard deviation of the noise on each weight of a round's mean, in clip norms.
    pub deviation_on_mean: f64,
    /// Norm of the noise on a round's mean, in clip norms.
    pub noise_norm: f64,
    /// The most weights for which that norm is 1 at most.
    pub bearable_weights: u64,
    /// What speaks against it.
    pub warnings: Vec<String>,
}

impl Question {
    /// The plan that answers it.
    ///
    /// # Errors
    /// [`ConfigError`] naming the key that cannot be met.
    pub fn answer(&self) -> Result<Answer, ConfigError> {
        let survivors = self.survivors.unwrap_or(self.cohort.saturating_mul(2).div_ceil(3));
        let distributed = Distributed { survivors, colluders: self.colluders, units: self.units };
        let config = PrivacyConfig {
            epsilon: self.epsilon,
            delta: self.delta,
            population: self.population,
            sampling: match self.sampling {
                Drawn::Fixed => Sampling::Fixed,
                Drawn::Poisson => Sampling::Poisson,
            },
            mechanism: match self.mechanism {
                Kind::Gaussian => Mechanism::Gaussian,
                Kind::Skellam => Mechanism::Skellam(distributed),
                Kind::DiscreteGaussian => Mechanism::DiscreteGaussian(distributed),
                Kind::Ftrl => Mechanism::Ftrl { separation: self.separation },
            },
            clip: if self.adaptive { Clip::Adaptive(Adaptive::default()) } else { Clip::default() },
        };
        let setting = Setting { rounds: self.rounds, cohort: self.cohort, weights: self.weights };
        let plan = plan(&config, setting)?;
        let mut warnings = Vec::new();
        let norm = plan.noise_norm();
        if norm > 1.0 {
            warnings.push(format!(
                "with {} weights the noise in a round's mean is {norm:.1} clip norms long, and no update is longer than \
                 one: train fewer weights (a head; {} or so can bear this noise), or find more people",
                self.weights,
                plan.bearable_weights()
            ));
        }
        if self.epsilon > 10.0 {
            warnings.push(format!("an epsilon of {} guarantees next to nothing", self.epsilon));
        }
        if matches!(config.mechanism, Mechanism::Ftrl { separation: 1 }) {
            warnings.push(
                "if a person may be in every round, a tree needs more noise than independent rounds".into(),
            );
        }
        Ok(Answer {
            deviation_on_mean: plan.deviation_on_mean(),
            noise_norm: norm,
            bearable_weights: plan.bearable_weights(),
            warnings,
            plan,
        })
    }
}

impl Answer {
    /// The same for people.
    pub fn describe(&self) -> String {
        let Plan { setting, delta, rate, multiplier, count_deviation, share, epsilon_pld, .. } = &self.plan;
        let who = if *rate < 1.0 {
            format!("each person with probability {rate:.4} in a round")
        } else {
            "everybody counted as if in every round".into()
        };
        let mut out = vec![
            format!("{} rounds of {} people, delta {delta:.3e}, {who}", setting.rounds, setting.cohort),
            format!("noise    {multiplier:.4} clip norms (sd) on each weight of the sum"),
            format!("         {:.4} clip norms (sd) on each weight of the mean", self.deviation_on_mean),
            format!("         {:.2} clip norms long over {} weights", self.noise_norm, setting.weights),
        ];
        out.extend(
            count_deviation.map(|sd| format!("         {sd:.2} people (sd) on the count for the clip norm")),
        );
        out.extend(share.map(|share| {
            let (units, longest) = (share.units, share.longest);
            format!(
                "client   variance {:.2} on each weight, {units} lane units a clip norm, at most {longest:.1} after rounding",
                share.variance
            )
        }));
        if let Some(pld) = epsilon_pld {
            out.push(format!("epsilon  {pld:.4} by loss distributions"));
        }
        out.push(format!("epsilon  {:.4} by orders", self.plan.epsilon_rdp));
        out.extend(self.warnings.iter().map(|warning| format!("warning  {warning}")));
        out.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use somnus_protocol::ids::Round;
    use somnus_protocol::privacy::cost::{Cost, Noise, Spend};

    use super::*;

    #[derive(Parser)]
    struct Ask {
        #[command(flatten)]
        question: Question,
    }

    fn ask(line: &str) -> Result<Answer, ConfigError> {
        let line = ["plan"].into_iter().chain(line.split_whitespace());
        Ask::try_parse_from(line).unwrap_or_else(|error| panic!("{error}")).question.answer()
    }

    #[test]
    fn a_plan_says_what_it_means_for_the_model() {
        let line = "--population 31 --cohort 31 --rounds 100 --epsilon 8 --delta 1e-2";
        let answer = ask(line).unwrap();
        assert!(answer.plan.epsilon() <= 8.0 && answer.plan.multiplier < 4.5);
        let text = answer.describe();
        assert!(
            text.contains("by loss distributions")
                && text.contains("clip norms long, and no update is longer")
        );
        let json = serde_json::to_value(&answer).unwrap();
        assert_eq!(json["setting"]["cohort"], 31);
        assert!(
            json["noise_norm"].as_f64().unwrap() > 30.0 && json["bearable_weights"].as_u64().unwrap() < 100
        );
        let head = ask(&format!("{line} --weights 40")).unwrap();
        assert_eq!(head.warnings, Vec::<String>::new());
    }

    #[test]
    fn every_mechanism_can_be_asked_for() {
        let line = "--population 100 --cohort 30 --rounds 20 --epsilon 4";
        for (more, word) in [
            ("--mechanism skellam --colluders 2", "client   variance"),
            ("--mechanism discrete-gaussian --adaptive", "on the count for the clip norm"),
            ("--mechanism ftrl", "a tree needs more noise"),
            ("--mechanism ftrl --separation 3", "epsilon"),
        ] {
            let text = ask(&format!("{line} {more}")).unwrap().describe();
            assert!(text.contains(word), "{more}: {text}");
        }
        let error = ask(&format!("{line} --mechanism skellam --survivors 31")).unwrap_err().to_string();
        assert!(error.contains("`privacy.mechanism.skellam.survivors`"), "{error}");
    }

    #[test]
    fn the_ledger_survives_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let cost = Cost::of(Spend::everybody(Noise::Gaussian { multiplier: 4.0 }), 1);
        let reserved = |round| Entry::Reserved { round: Round(round), cost: cost.clone() };
        let log = [
            reserved(1),
            Entry::Spent { round: Round(1) },
            reserved(2),
            Entry::Returned { round: Round(2) },
            reserved(3),
        ];
        {
            let store = Store::create(&path).unwrap();
            // The server died after the third reservation, and wrote the second one twice.
            for entry in log.iter().chain([&log[2]]) {
                store.write(&[change(entry)]).unwrap();
            }
        }
        let read = entries(&Store::open(&path).unwrap()).unwrap();
        let balance = balance(read, Some(4.0), 1e-5).unwrap();
        assert_eq!((balance.spent, balance.reserved, balance.returned), (1, 1, 1));
        let two = Ledger::replay(balance.budget, [reserved(1), reserved(3)]);
        assert_eq!(balance.epsilon, two.epsilon());
        let text = describe(&balance);
        assert!(text.contains("1 spent, 1 reserved (they count), 1 given back"), "{text}");
        assert!(text.contains("% of the 4 that is allowed"), "{text}");
    }

    #[test]
    fn an_empty_ledger_says_so() {
        let none = balance(Vec::new(), None, 1e-5).unwrap();
        assert!(describe(&none).contains("nothing is in the privacy ledger"));
        assert!(balance(Vec::new(), None, 1.0).is_err() && balance(Vec::new(), Some(-1.0), 0.1).is_err());
    }
}
