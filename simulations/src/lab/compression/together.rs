//! Distillation in a federation (Li and Wang 2019, FedMD; Lin et al. 2020, FedDF), beside averaging of weights.
//!
//! In each round every client trains a copy of everybody's network on its own nights. What it sends is not its weights but what it
//! makes of public nights that everybody has; the means of that teach everybody's next network. Such means add up like any
//! update, so masks can hide each part of them. Nobody's labels are used but on the own nights.

use serde::{Deserialize, Serialize};
use somnus_model::distil::{Strategy, Teacher};
use somnus_model::{Course, DeviceKind, Posterior, Prepared, Stager, one_cycle};
use somnus_protocol::plan::{TrainPlan, TrainableSet};
use somnus_report::{Confusion, Grid, GridLine, Spread};
use somnus_signals::PersonId;
use somnus_signals::synthetic::SyntheticConfig;

use super::students::{Bench, unscored};
use crate::lab::{LabError, within};
use crate::progress::Progress;
use crate::start::{Origin, Start};

/// A federation of the fold's training people. The network is that of its start; random weights have the shape of `nano`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Together {
    /// What each federation starts from; `none` for random weights. Default both `none` and `nano`.
    pub starts: Vec<Origin>,
    /// Rounds. Default 10.
    pub rounds: u32,
    /// Steps of a client in a round. Default 10.
    pub steps: u32,
    /// The public nights: people who do not exist. Their stages are not used.
    pub public: SyntheticConfig,
    /// Steps of the aggregator in a round. Default 60.
    pub lessons: u32,
}

impl Default for Together {
    fn default() -> Self {
        Self {
            starts: vec![Origin::None, Origin::Nano],
            rounds: 10,
            steps: 10,
            public: SyntheticConfig { people: 24, seed: 31, ..SyntheticConfig::default() },
            lessons: 60,
        }
    }
}

/// How a round's copies become one network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Rule {
    Averaged,
    Distilled,
}

const RULES: [(Rule, &str); 2] =
    [(Rule::Averaged, "weights averaged"), (Rule::Distilled, "soft labels distilled")];

/// What came of one start on one fold.
pub(super) struct Line {
    /// As it is, then by [`RULES`].
    counts: Vec<Confusion>,
    /// Numbers that a client sends in a round, by [`RULES`].
    sent: [usize; 2],
}

impl Together {
    pub(super) fn check(&self) -> Result<(), (String, String)> {
        within(&[
            ("together.starts", self.starts.len() as f64, 1.0, 10.0),
            ("together.rounds", f64::from(self.rounds), 1.0, 1000.0),
            ("together.steps", f64::from(self.steps), 1.0, 1000.0),
            ("together.public.people", self.public.people as f64, 1.0, 10_000.0),
            ("together.lessons", f64::from(self.lessons), 1.0, 1e5),
        ])
    }

    /// Steps of one client in all federations, for a bar.
    pub(super) fn steps(&self, folds: usize) -> u64 {
        (folds * self.starts.len() * RULES.len()) as u64 * u64::from(self.rounds * self.steps)
    }

    /// All starts and rules on one fold of one seed.
    pub(super) fn run(
        &self,
        bench: &Bench<'_>,
        seed: u64,
        fold: usize,
        bar: &Progress,
    ) -> Result<Vec<Line>, LabError> {
        let start = |origin: &Origin| {
            let Start::Foundation(nano) = Start::load(&Origin::Nano, DeviceKind::Flex)? else {
                unreachable!("it ships");
            };
            Ok::<_, LabError>(match Start::load(origin, DeviceKind::Flex)? {
                Start::Foundation(model) => model.stager.clone(),
                Start::Random => {
                    Stager::new(nano.stager.config(), bench.chance(seed, fold, "start"), DeviceKind::Flex)?
                }
            })
        };
        let of = |origin: &Origin| {
            let first = start(origin)?;
            let company = Company::new(self, bench, &first, seed, fold)?;
            let mut counts = vec![bench.judge(&first, fold)?];
            for (rule, _) in RULES {
                counts.push(bench.judge(&company.run(&first, rule, bar)?, fold)?);
            }
            let labels =
                company.public.iter().map(Prepared::epochs).sum::<usize>() * (first.task().classes() - 1);
            Ok(Line { counts, sent: [first.parameters(), labels] })
        };
        self.starts.iter().map(of).collect()
    }

    /// `found` is of the folds in `taught`.
    pub(super) fn grid(
        &self,
        seeds: &[u64],
        taught: &[(u64, usize)],
        found: &[Vec<Line>],
    ) -> Result<Grid, LabError> {
        let mut lines = Vec::new();
        for (number, origin) in self.starts.iter().enumerate() {
            let name = match origin {
                Origin::None => "random weights".to_owned(),
                other => String::from(other.clone()),
            };
            let ways = std::iter::once(("as it is", None))
                .chain(RULES.iter().enumerate().map(|(i, r)| (r.1, Some(i))));
            for (place, (way, rule)) in ways.enumerate() {
                let mut kappas = Vec::new();
                for seed in seeds {
                    let of = found.iter().zip(taught).filter(|(_, (s, _))| s == seed);
                    let sum = Confusion::sum(of.map(|(lines, _)| &lines[number].counts[place]))?;
                    kappas.push(sum.and_then(|sum| sum.kappa()));
                }
                let sent =
                    rule.and_then(|rule| Some(found.first()?[number].sent[rule] as f64 * 4.0 / 1024.0));
                lines.push(GridLine {
                    name: format!("{name}, {way}"),
                    cells: vec![Spread::of(kappas), Spread::of([sent])],
                });
            }
        }
        Ok(Grid {
            title: "A federation that distils soft labels of public nights, beside one that averages weights"
                .into(),
            lines_are: "start, rule".into(),
            columns: vec!["kappa of held-out people".into(), "KiB up, a client and round (f32)".into()],
            lines,
        })
    }

    pub(super) fn note(&self) -> String {
        format!(
            "Federations: {} rounds, {} steps of each client in each; soft labels are of {} synthetic nights, whose own stages nobody uses, \
             and teach for {} steps a round. The last network counts, in the clear and without late averaging.",
            self.rounds, self.steps, self.public.people, self.lessons
        )
    }
}

/// The clients of a fold and what is public.
struct Company<'a> {
    together: &'a Together,
    plan: TrainPlan,
    /// Nights of each client.
    clients: Vec<Vec<Prepared>>,
    public: Vec<Prepared>,
    chance: Box<dyn Fn(u32, usize) -> u64 + 'a>,
}

impl<'a> Company<'a> {
    fn new(
        together: &'a Together,
        bench: &'a Bench<'_>,
        stager: &Stager,
        seed: u64,
        fold: usize,
    ) -> Result<Self, LabError> {
        let of = |person: &PersonId| {
            bench.people.nights_of(person).map(|night| stager.prepare(night)).collect::<Result<Vec<_>, _>>()
        };
        let clients = bench.people.folds[fold].train.iter().map(of).collect::<Result<_, _>>()?;
        let public = unscored(&together.public, stager)?;
        let plan = bench.plan(stager.config());
        let chance =
            Box::new(move |round, who| bench.chance(seed, fold, &format!("round {round} client {who}")));
        Ok(Self { together, plan, clients, public, chance })
    }

    fn run(&self, first: &Stager, rule: Rule, bar: &Progress) -> Result<Stager, LabError> {
        let Together { rounds, steps, lessons, .. } = *self.together;
        let mut everybody = first.clone();
        for round in 0..rounds {
            let learning_rate = one_cycle(round, rounds, self.plan.learning_rate);
            let plan = TrainPlan { steps, learning_rate, ..self.plan.clone() };
            let mut copies = Vec::with_capacity(self.clients.len());
            for (who, nights) in self.clients.iter().enumerate() {
                let mut copy = everybody.clone();
                copy.train(&nights.iter().collect::<Vec<_>>(), &plan, (self.chance)(round, who))?;
                copies.push(copy);
            }
            everybody = match rule {
                Rule::Averaged => averaged(everybody, &copies)?,
                Rule::Distilled => {
                    let said: Vec<Posterior> = self.public.iter().map(|night| mean(&copies, night)).collect();
                    let plan = TrainPlan { steps: lessons, ..plan };
                    // The labels are what was said, as it was said.
                    let strategy = Strategy::Soft { alpha: 1.0, temperature: 1.0 };
                    let (teacher, nights) = (Teacher::Posteriors(&said), self.public.clone());
                    let chance = (self.chance)(round, self.clients.len());
                    Course::distilled(&everybody, teacher, nights, &plan, strategy, 0.25, chance)?
                        .complete()?
                }
            };
            bar.steps(u64::from(steps));
        }
        Ok(everybody)
    }
}

fn averaged(mut everybody: Stager, copies: &[Stager]) -> Result<Stager, LabError> {
    let mut sum = vec![0.0f32; everybody.parameters()];
    for copy in copies {
        let weights = copy.trainable(TrainableSet::Full)?;
        sum.iter_mut().zip(weights).for_each(|(sum, weight)| *sum += weight / copies.len() as f32);
    }
    everybody.set_trainable(TrainableSet::Full, &sum)?;
    Ok(everybody)
}

/// What all make of a night together.
fn mean(copies: &[Stager], night: &Prepared) -> Posterior {
    let mut all = copies.iter().map(|copy| copy.predict_prepared(night));
    let Some(mut sum) = all.next() else { unreachable!("a fold has somebody who trains") };
    for one in all {
        sum.values.iter_mut().zip(one.values).for_each(|(sum, value)| *sum += value);
    }
    sum.values.iter_mut().for_each(|value| *value /= copies.len() as f32);
    sum
}
