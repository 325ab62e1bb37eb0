//! A scenario: one TOML file from which every number of a run follows.

use std::path::Path;

use serde::{Deserialize, Serialize};
use somnus_model::{DeviceKind, NetConfig};
use somnus_protocol::config::{FederationConfig, parse};
use somnus_protocol::fault::ConfigError;
use somnus_signals::synthetic::SyntheticConfig;
use somnus_signals::{NightRules, Task};

use crate::attack::AttackConfig;
use crate::invariance::Sweep;
use crate::network::WorldConfig;
use crate::personal::PersonalConfig;
use crate::poisoning::PoisoningConfig;
use crate::privacy_attack::PrivacyAttackConfig;
use crate::start::{Origin, Profile};
use crate::variants::{self, Variant};

/// What `somnus-sim demo` runs.
pub const DEMO: &str = include_str!("../../configs/sim/demo.toml");

/// An experiment: a cohort, a federation on it, and what to compare it with.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Names the run in reports and the foundation in its manifest.
    pub name: String,
    /// Which classes are told apart: `sleep-wake`, `three` or `four`. Default `four`.
    #[serde(default = "four")]
    pub task: Task,
    /// Whose nights.
    pub data: DataConfig,
    /// Which nights are good enough.
    #[serde(default)]
    pub nights: NightRules,
    /// What the federation starts from: `none` (random weights of `net`), `base` (the model that ships), `nano` (its small
    /// student), or a checkpoint's path, relative to this file. A checkpoint brings its network; `net` is then not used. Default
    /// `none`.
    #[serde(default)]
    pub foundation: Origin,
    /// For what hubs it is: `base` (a computer beside the bed) or `tiny` (the wearable itself). Where no `foundation` is named
    /// it chooses `base` or `nano`. Default none: it chooses nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<Profile>,
    /// The network; its task is the scenario's.
    #[serde(default)]
    pub net: NetConfig,
    /// Bottleneck of the adapters that a foundation without any gets behind each block, for `trainable = "adapters"`; 0
    /// for none. Fresh ones change nothing. Default 0.
    #[serde(default)]
    pub adapters: usize,
    /// Which engine multiplies matrices: `flex` or `ndarray`.
    #[serde(default)]
    pub device: DeviceKind,
    /// Every training person is selected in every round, and a round needs them all: overrides `cohort`,
    /// `min_clients` and `min_reports` of the federation. Default true.
    #[serde(default = "yes")]
    pub everyone: bool,
    /// The rounds, as a server's configuration has them.
    pub federation: FederationConfig,
    /// Parts into which the people are dealt; each part is held out once. As many as there are people, or more, hold each
    /// person out alone. With 0 nobody is: one federation of everybody, for the sake of its release. Default 4.
    #[serde(default = "four_folds")]
    pub folds: usize,
    /// Seed of the dealing; the same people are held out together whatever the other seeds. Default 0.
    #[serde(default)]
    pub fold_seed: u64,
    /// Each makes a federation per fold, from other initial weights and other chance. Default one, 1.
    #[serde(default = "one_seed")]
    pub seeds: Vec<u64>,
    /// Label-efficiency curve: for each number, federations in which only so many of the training people take part,
    /// others for every seed and fold. Default none.
    #[serde(default)]
    pub curve: Vec<usize>,
    /// Instead of the usual table: what it costs to hide who sleeps, over these weights. Neither `baselines` nor `curve`
    /// apply then. Default none.
    #[serde(default)]
    pub invariance: Option<Sweep>,
    /// What a reader of the report has to know; shown on it.
    #[serde(default)]
    pub notes: Vec<String>,
    /// What stands beside the federation in the table.
    #[serde(default)]
    pub baselines: Baselines,
    /// In place of all that: what is best for the same people later. See [`crate::personal`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub personal: Option<PersonalConfig>,
    /// Some of the training people lie: `kind` and `fraction`. See [`crate::attack`]. Default none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attack: Option<AttackConfig>,
    /// In place of the usual table: what lies cost under each rule that bears liars. See [`crate::poisoning`]. Default
    /// none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub poisoning: Option<PoisoningConfig>,
    /// In place of the usual table: what attacks on people's privacy get, with and without each defence. See
    /// [`crate::privacy_attack`]. Default none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub privacy_attacks: Option<PrivacyAttackConfig>,
    /// In place of the usual federation: the same under several settings, a row for each. See [`crate::variants`]. Default
    /// none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variants: Vec<Variant>,
    /// Score every release of the variants on held-out people too, to tell when each comes to what the first ends with, in
    /// virtual time. Default false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub timed: bool,
    /// Delays, speeds and failures.
    #[serde(default)]
    pub world: WorldConfig,
}

/// Whether a file names a foundation; `none` is a name too.
#[derive(Deserialize)]
struct Named {
    foundation: Option<Origin>,
}

/// Whose nights.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum DataConfig {
    /// Made from a seed.
    Synthetic(SyntheticConfig),
    /// A folder of the sleep-accel layout, given by `--data`.
    SleepAccel {},
    /// A folder of the slpdb layout, given by `--data`: beats of an ECG and stages, no movement. Streams `hr` and `ibi`.
    Slpdb {},
    /// A folder of any layout that `somnus-client check` knows, given by `--data`.
    Recordings {},
}

/// Rows beside the federated one. All see the same training people and are judged on the same held-out people.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Baselines {
    /// The commonest class of the training people, always. Default true.
    pub majority: bool,
    /// A small network that sees nothing but the time since the recording's start. Default true.
    pub time_only: bool,
    /// Training people whose own-night models are tested on the held-out people; their mean is the row. 0 for no row.
    /// Default 3.
    pub donors: usize,
    /// The same network, trained on all training nights together, as many passes. Default true.
    pub central: bool,
    /// Passes of central training; 0 for as many as the federation makes (rounds times steps). Default 0.
    pub central_passes: u32,
    /// The federation again, from random weights; needs a `foundation`. Default false.
    pub scratch: bool,
    /// The federation again, each night's log-odds of wake shifted to what is usual for people of other folds. Default false.
    pub levelled: bool,
    /// Negative control: central training on nights whose labels were shuffled. Default true.
    pub shuffled: bool,
    /// Negative control: one's own night with epochs dealt out at random, beside the same night cut in time. The
    /// first is a leak and says nothing about staging. Default false.
    pub leak: bool,
}

impl Default for Baselines {
    fn default() -> Self {
        Self {
            majority: true,
            time_only: true,
            donors: 3,
            central: true,
            central_passes: 0,
            scratch: false,
            levelled: false,
            shuffled: true,
            leak: false,
        }
    }
}

fn four() -> Task {
    Task::Four
}

fn yes() -> bool {
    true
}

fn four_folds() -> usize {
    4
}

fn one_seed() -> Vec<u64> {
    vec![1]
}

/// Why a scenario cannot be used; names the file.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// The file cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file says something that cannot be done.
    #[error("{path}: {source}")]
    Config {
        /// The file.
        path: String,
        /// Key and reason.
        source: ConfigError,
    },
}

impl Scenario {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`ScenarioError`] naming the file, the line or key, and the nearest key that exists.
    pub fn load(path: &Path) -> Result<Self, ScenarioError> {
        let name = || path.display().to_string();
        let text =
            std::fs::read_to_string(path).map_err(|source| ScenarioError::Read { path: name(), source })?;
        let mut scenario =
            Self::from_text(&text).map_err(|source| ScenarioError::Config { path: name(), source })?;
        if let (Origin::File(file), Some(folder)) = (&mut scenario.foundation, path.parent()) {
            *file = folder.join(&*file);
        }
        Ok(scenario)
    }

    /// The scenario of `somnus-sim demo`.
    #[must_use]
    pub fn demo() -> Self {
        // A test loads it, so it cannot fail on anyone's machine but ours.
        Self::from_text(DEMO).unwrap_or_else(|error| unreachable!("{error}"))
    }

    /// Reads and checks a text.
    ///
    /// # Errors
    /// [`ConfigError`] naming the line or the key.
    pub fn from_text(text: &str) -> Result<Self, ConfigError> {
        let mut scenario: Self = parse(text)?;
        scenario.net.task = scenario.task;
        if let Some(profile) = scenario.profile
            && parse::<Named>(text)?.foundation.is_none()
        {
            scenario.foundation = profile.foundation();
        }
        scenario.check()?;
        // Not where a variant is checked by itself.
        if scenario.timed && scenario.variants.is_empty() {
            let why = "it compares `variants`, and there are none".into();
            return Err(ConfigError::Value { key: "timed".into(), why });
        }
        Ok(scenario)
    }

    /// The same with other seeds, as many as there are, from `first` on.
    #[must_use]
    pub fn with_seed(mut self, first: u64) -> Self {
        self.seeds = (0..self.seeds.len() as u64).map(|n| first.wrapping_add(n)).collect();
        self
    }

    /// Passes over each training night that the federation makes, and central training too.
    #[must_use]
    pub fn passes(&self) -> u32 {
        let federated = u32::try_from(self.federation.rounds).unwrap_or(u32::MAX);
        match self.baselines.central_passes {
            0 => federated.saturating_mul(self.federation.plan.steps_over(1)),
            passes => passes,
        }
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let refuse = |key: &str, why: String| Err(ConfigError::Value { key: key.to_owned(), why });
        if self.name.is_empty() || self.name.len() > 100 {
            return refuse("name", "1 to 100 characters are needed".into());
        }
        if self.folds == 1 || self.folds > 1000 {
            return refuse("folds", format!("{} is neither 0 nor within 2 to 1,000", self.folds));
        }
        if self.seeds.is_empty() || self.seeds.len() > 100 {
            return refuse("seeds", format!("{} seeds, not 1 to 100", self.seeds.len()));
        }
        if let Some(twice) = (1..self.seeds.len()).find(|n| self.seeds[..*n].contains(&self.seeds[*n])) {
            return refuse("seeds", format!("{} is there twice", self.seeds[twice]));
        }
        if self.curve.contains(&0) {
            return refuse("curve", "0 people train nothing".into());
        }
        if self.baselines.scratch && self.foundation == Origin::None {
            return refuse(
                "baselines.scratch",
                "without a foundation every federation is from scratch".into(),
            );
        }
        if let Some(Sweep { moments, adversary }) = &self.invariance {
            if let Some(wrong) = moments.iter().chain(adversary).find(|w| !(0.0..=1e3).contains(*w)) {
                return refuse("invariance", format!("a weight of {wrong} is not within 0 to 1,000"));
            }
            if self.folds == 0 {
                return refuse("invariance", "staging is judged on people held out: `folds` is 0".into());
            }
        }
        if let DataConfig::Synthetic(cohort) = &self.data
            && !(1..=100_000).contains(&cohort.people)
        {
            return refuse("data.people", format!("{} is not within 1 to 100,000", cohort.people));
        }
        if let Some(personal) = &self.personal {
            personal.check(&self.federation.plan)?;
            if self.folds == 0 {
                return refuse(
                    "folds",
                    "personal models are compared with releases that never saw the person".into(),
                );
            }
        }
        if let Some(attack) = &self.attack {
            attack.check(self.task, &self.federation)?;
        }
        if let Some(poisoning) = &self.poisoning {
            poisoning.check(self)?;
        }
        let studies = [
            ("personal", self.personal.is_some()),
            ("poisoning", self.poisoning.is_some()),
            ("privacy_attacks", self.privacy_attacks.is_some()),
            ("invariance", self.invariance.is_some()),
            ("variants", !self.variants.is_empty()),
        ];
        let mut asked = studies.iter().filter(|(_, asked)| *asked);
        if let (Some((one, _)), Some((other, _))) = (asked.next(), asked.next()) {
            return refuse(other, format!("a scenario is one study, and there is `{one}`"));
        }
        if !self.variants.is_empty() {
            if self.baselines.scratch || !self.curve.is_empty() {
                return refuse(
                    "variants",
                    "`curve` and `baselines.scratch` are rows of the usual table".into(),
                );
            }
            if self.folds == 0 {
                return refuse("variants", "they are judged on people held out: `folds` is 0".into());
            }
            variants::all_of(self)?;
        }
        if let Some(attacks) = &self.privacy_attacks {
            attacks.check(self)?;
        }
        self.net.check().or_else(|error| refuse("net", error.to_string()))?;
        self.world.check()?;
        // Cohort and thresholds are the fold's when everybody takes part, and so is what a robust rule needs of them.
        self.federation_of(MANY).check().map(drop).map_err(|error| match error {
            ConfigError::Value { key, why } => ConfigError::Value { key: format!("federation.{key}"), why },
            other => other,
        })
    }

    /// The rounds for a fold of so many training people.
    #[must_use]
    pub fn federation_of(&self, training: usize) -> FederationConfig {
        if self.everyone { for_everyone(&self.federation, training) } else { self.federation.clone() }
    }
}

/// People enough for every rule.
pub(crate) const MANY: usize = 1000;

fn for_everyone(federation: &FederationConfig, people: usize) -> FederationConfig {
    let people = u32::try_from(people).unwrap_or(u32::MAX);
    FederationConfig {
        cohort: people,
        over_select: 1.0,
        min_clients: people,
        min_reports: people,
        strategy: federation.strategy.among(people),
        ..federation.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn folder() -> PathBuf {
        PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/sim"))
    }

    #[test]
    fn every_shipped_scenario_loads() {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(folder()).unwrap() {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            let (pretraining, lab) = (text.contains("[[stage]]"), crate::lab::Lab::is_in(&text));
            if path.extension().is_some_and(|e| e == "toml") && !pretraining && !lab {
                Scenario::load(&path).unwrap_or_else(|error| panic!("{error}"));
                names.push(path.file_stem().unwrap().to_string_lossy().into_owned());
            }
        }
        for name in [
            "demo",
            "sleep-accel",
            "sleep-accel-three",
            "sleep-accel-sleep-wake",
            "smoke",
            "storm",
            "strategies",
            "sleep-accel-train",
            "sleep-accel-few",
            "sleep-accel-nano",
            "personal",
            "personal-synthetic",
            "personal-smoke",
            "invariance",
            "slpdb",
            "poisoning",
            "poisoning-smoke",
            "encoding",
            "encoding-smoke",
            "privacy-attacks",
            "privacy-attacks-smoke",
            "privacy-attacks-synthetic",
            "privacy",
            "privacy-smoke",
            "stragglers",
            "stragglers-smoke",
        ] {
            assert!(names.iter().any(|n| n == name), "configs/sim/{name}.toml is missing");
        }
        assert_eq!(Scenario::demo().name, "demo");
    }

    /// The lines of `strategies.toml` that a reader may copy.
    #[test]
    fn every_strategy_that_the_scenario_names_can_be_chosen() {
        let text = std::fs::read_to_string(folder().join("strategies.toml")).unwrap();
        let shown: Vec<(&str, &str)> = text
            .lines()
            .filter_map(|line| line.strip_prefix("#   kind = ")?.split_once("    "))
            .filter_map(|(kind, rest)| Some((kind, rest.trim().split("   ").next()?.trim())))
            .collect();
        assert_eq!(shown.len(), 8, "{shown:?}");
        for (kind, settings) in shown {
            let line = format!("strategy = {{ kind = {kind}, {settings} }}");
            let changed =
                text.replace("strategy = { kind = \"fed-avg-m\", momentum = 0.5, rate = 1.0 }", &line);
            assert!(changed.contains(&line));
            // The one rule that asks for an optimiser; the comment beside it says so.
            let sgd = "[federation.plan]\noptimiser = { sgd = { momentum = 0.0 } }";
            let changed =
                if kind == "\"scaffold\"" { changed.replace("[federation.plan]", sgd) } else { changed };
            Scenario::from_text(&changed).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
    }

    #[test]
    fn a_scenario_survives_its_own_json() {
        let scenario = Scenario::demo();
        let json = serde_json::to_value(&scenario).unwrap();
        assert_eq!(serde_json::from_value::<Scenario>(json).unwrap(), scenario);
    }

    #[test]
    fn mistakes_name_line_or_key() {
        let base = "name = 'x'\n[data]\nkind = 'synthetic'\n[federation]\ndanger_plain_aggregation = true\n";
        Scenario::from_text(base).unwrap();
        let cases = [
            ("fold = 3\n".to_owned() + base, "line 1: unknown key `fold`; did you mean `folds`?"),
            (base.to_owned() + "round = 3\n", "line 6: unknown key `round`; did you mean `rounds`?"),
            (
                base.replace("'synthetic'", "'synthetic'\npeple = 3"),
                "unknown key `peple`; did you mean `people`?",
            ),
            ("seeds = [4, 4]\n".to_owned() + base, "`seeds`: 4 is there twice"),
            ("folds = 1\n".to_owned() + base, "`folds`: 1 is neither 0 nor within 2 to 1,000"),
            ("task = 'five'\n".to_owned() + base, "line 1: unknown variant `five`"),
            (base.to_owned() + "rounds = 0\n", "`federation.rounds`"),
            (base.to_owned() + "[net]\nwidth = 33\n", "`net`: net.width"),
            (base.to_owned() + "[invariance]\nmoments = [1.0, -1.0]\n", "`invariance`: a weight of -1"),
            (base.to_owned() + "[world]\nlatency_ms = -1\n", "`world.latency_ms`"),
            (base.to_owned() + "[personal]\nfolds = 3\n", "unknown key `folds`"),
            (base.to_owned() + "[personal]\ntrain_part = 1.0\n", "`personal.train_part`"),
            (
                base.to_owned() + "[personal]\nmethods = ['head', 'head']\n",
                "`personal.methods`: FedPer is there twice",
            ),
            (base.to_owned() + "[personal.fine_tuning]\nsteps = 0\n", "`personal.fine_tuning`"),
            (base.to_owned() + "plan = { personal = 'head' }\n[personal]\n", "`federation.plan.personal`"),
            (base.to_owned() + "[attack]\nkind = 'sign-flip'\nfraction = 1.0\n", "`attack.fraction`"),
            (base.to_owned() + "[attack]\nkind = 'bribe'\nfraction = 0.1\n", "unknown variant `bribe`"),
            (
                base.to_owned() + "robust = { kind = 'krum', fraction = 0.6 }\n",
                "`federation.robust.fraction`",
            ),
            (
                base.to_owned() + "[invariance]\n[[variants]]\nname = 'x'\n",
                "`variants`: a scenario is one study",
            ),
            ("curve = [2]\n".to_owned() + base + "[[variants]]\nname = 'x'\n", "`variants`: `curve`"),
            ("timed = true\n".to_owned() + base, "`timed`: it compares `variants`"),
            (base.to_owned() + "[poisoning]\nfractions = [0.0]\n", "`poisoning.fractions`"),
            (base.to_owned() + "[poisoning]\nrules = [{ kind = 'median', group = 5 }]\n", "`group`"),
            (
                "everyone = false\n".to_owned()
                    + &base.replace("= true", "= false")
                    + "cohort = 2\nmin_clients = 2\nmin_reports = 2\n",
                "`federation.min_reports`",
            ),
        ];
        for (text, expected) in cases {
            let error = Scenario::from_text(&text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error:?} does not contain {expected:?}");
        }
    }

    #[test]
    fn a_profile_chooses_where_no_foundation_is_named() {
        let text = |lines: &str| {
            format!("name = 'x'\n{lines}\ndata = {{ kind = 'sleep-accel' }}\nfederation = {{}}\n")
        };
        let origin = |lines: &str| Scenario::from_text(&text(lines)).unwrap().foundation;
        assert_eq!(origin(""), Origin::None);
        assert_eq!(origin("profile = 'tiny'"), Origin::Nano);
        assert_eq!(origin("profile = 'base'"), Origin::Base);
        assert_eq!(origin("profile = 'tiny'\nfoundation = 'base'"), Origin::Base);
        assert_eq!(origin("profile = 'tiny'\nfoundation = 'none'"), Origin::None);
        let error = Scenario::from_text(&text("profile = 'tinny'")).unwrap_err().to_string();
        assert!(error.contains("line 2: unknown variant `tinny`"), "{error}");
    }

    #[test]
    fn with_a_seed_the_number_of_seeds_stays() {
        let scenario = Scenario { seeds: vec![1, 2, 3], ..Scenario::demo() };
        assert_eq!(scenario.with_seed(40).seeds, [40, 41, 42]);
    }

    #[test]
    fn everybody_is_the_whole_fold() {
        let scenario = Scenario { everyone: true, ..Scenario::demo() };
        let federation = scenario.federation_of(17);
        assert_eq!((federation.cohort, federation.min_clients, federation.min_reports), (17, 17, 17));
        assert!(federation.check().is_ok());
    }
}
