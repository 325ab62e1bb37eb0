//! What came of students: kappa by size and way, what a teacher adds, what eight bits take, and the law of sizes.

use somnus_report::{Confusion, Grid, GridLine, Spread};

use super::Compression;
use super::students::{Fold, Judged, Speed, Way};
use crate::cohort::People;
use crate::lab::LabError;
use crate::lab::size_law::{Form, SizeLaw};

/// Bytes of a KiB.
const KIB: f64 = 1024.0;

/// Kappa of held-out people together, for each seed.
type Kappas = Vec<Option<f64>>;

/// All students.
pub(super) struct Students<'a> {
    pub(super) study: &'a Compression,
    pub(super) ways: &'a [Way],
    /// Place in `taught`, place in the sizes, way.
    pub(super) jobs: &'a [(usize, usize, Way)],
    /// Seed and fold.
    pub(super) taught: &'a [(u64, usize)],
    /// Of each job.
    pub(super) found: &'a [Judged],
}

impl Students<'_> {
    /// Four tables.
    pub(super) fn grids(&self, speeds: &[Speed]) -> Result<Vec<Grid>, LabError> {
        let exact = self.all(|judged| &judged.exact)?;
        let rounded = self.all(|judged| &judged.rounded)?;
        Ok(vec![
            self.sizes(&exact, speeds),
            self.gains(&exact),
            self.losses(&exact, &rounded),
            self.laws(&exact, speeds),
        ])
    }

    /// Kappas by size and way, of one precision.
    fn all(&self, of: fn(&Judged) -> &Confusion) -> Result<Vec<Vec<Kappas>>, LabError> {
        let ways = |size| self.ways.iter().map(move |way| self.kappas(size, *way, of)).collect();
        (0..self.study.sizes.len()).map(ways).collect()
    }

    /// Of one size and way.
    fn kappas(&self, size: usize, way: Way, of: fn(&Judged) -> &Confusion) -> Result<Kappas, LabError> {
        let mine = |seed: u64| {
            let jobs = self.jobs.iter().zip(self.found);
            let own = move |((fold, s, w), _): &(&(usize, usize, Way), &Judged)| {
                *s == size && *w == way && self.taught[*fold].0 == seed
            };
            jobs.filter(own).map(move |(_, judged)| of(judged))
        };
        let pooled = |seed: &u64| Ok(Confusion::sum(mine(*seed))?.and_then(|sum| sum.kappa()));
        self.study.seeds.iter().map(pooled).collect()
    }

    fn sizes(&self, all: &[Vec<Kappas>], speeds: &[Speed]) -> Grid {
        let line = |name: String, speed: &Speed, kappas: &[Kappas]| {
            let one = |value: f64| Spread::of([Some(value)]);
            let [plain, small] = speed.bytes.map(|bytes| one(bytes as f64 / KIB));
            let [slow, fast] = speed.milliseconds.map(one);
            let cost = [one(speed.weights as f64), plain, small, slow, fast];
            let kappas = kappas.iter().map(|kappas| Spread::of(kappas.iter().copied()));
            GridLine { name, cells: cost.into_iter().chain(kappas).collect() }
        };
        let students = self.study.sizes.iter().zip(all).zip(speeds);
        let mut lines: Vec<GridLine> =
            students.map(|((size, kappas), speed)| line(size.name(), speed, kappas)).collect();
        // Its kappa is in the notes: it has learned in none of these ways.
        lines.extend(speeds[lines.len()..].iter().map(|speed| {
            let name = format!("the teacher, {}", String::from(self.study.teacher.clone()));
            line(name, speed, &vec![Kappas::new(); self.ways.len()])
        }));
        let costs = ["weights", "KiB (f32)", "KiB (int8)", "ms a night (f32)", "ms a night (int8)"];
        let columns = costs.into_iter().chain(self.ways.iter().map(Way::name));
        Grid {
            title: "Kappa of held-out people by size of the student and way of learning".into(),
            lines_are: "student".into(),
            columns: columns.map(str::to_owned).collect(),
            lines,
        }
    }

    /// Seed by seed, so that what a seed does to both sides cancels.
    fn gains(&self, all: &[Vec<Kappas>]) -> Grid {
        let line = |(size, kappas): (&super::Size, &Vec<Kappas>)| {
            let gain =
                |taught: &Kappas| Spread::of(taught.iter().zip(&kappas[0]).map(|(a, b)| Some((*a)? - (*b)?)));
            GridLine { name: size.name(), cells: kappas[1..].iter().map(gain).collect() }
        };
        Grid {
            title: "What the teacher adds: kappa minus that of the twin from scratch, seed by seed".into(),
            lines_are: "student".into(),
            columns: self.ways[1..].iter().map(|way| way.name().to_owned()).collect(),
            lines: self.study.sizes.iter().zip(all).map(line).collect(),
        }
    }

    /// Seed by seed too: the same student, its weights and activations rounded.
    fn losses(&self, exact: &[Vec<Kappas>], rounded: &[Vec<Kappas>]) -> Grid {
        let line = |((size, exact), rounded): ((&super::Size, &Vec<Kappas>), &Vec<Kappas>)| {
            let lost = |(exact, rounded): (&Kappas, &Kappas)| {
                Spread::of(rounded.iter().zip(exact).map(|(a, b)| Some((*a)? - (*b)?)))
            };
            GridLine { name: size.name(), cells: exact.iter().zip(rounded).map(lost).collect() }
        };
        Grid {
            title: "What eight bits take: kappa in int8 minus that in f32, seed by seed".into(),
            lines_are: "student".into(),
            columns: self.ways.iter().map(|way| way.name().to_owned()).collect(),
            lines: self.study.sizes.iter().zip(exact).zip(rounded).map(line).collect(),
        }
    }

    /// Laws of 1 - kappa without the largest size, and what they say of it.
    fn laws(&self, all: &[Vec<Kappas>], speeds: &[Speed]) -> Grid {
        let largest = (0..all.len()).max_by_key(|size| speeds[*size].weights).unwrap_or(0);
        let mut lines = Vec::new();
        for (number, way) in self.ways.iter().enumerate() {
            let errors: Vec<Option<f64>> =
                all.iter().map(|size| Some(1.0 - Spread::of(size[number].iter().copied()).mean?)).collect();
            let points: Vec<(f64, f64)> = (0..all.len())
                .filter(|size| *size != largest)
                .filter_map(|size| Some((speeds[size].weights as f64, errors[size]?)))
                .collect();
            for (form, law) in [(Form::Power, "power"), (Form::Exponential, "exponential")] {
                let Some(fit) = SizeLaw::fit(form, &points) else { continue };
                let predicted = fit.at(speeds[largest].weights as f64);
                let cells =
                    [Some(fit.floor), Some(fit.shape), Some(fit.off), Some(predicted), errors[largest]];
                let cells = cells.into_iter().map(|value| Spread::of([value])).collect();
                lines.push(GridLine { name: format!("{}, {law}", way.name()), cells });
            }
        }
        let columns = ["floor c", "b, or weights s", "off by (RMS)", "largest, predicted", "largest, found"];
        Grid {
            title: "Error (1 - kappa) by size N: c + a N^-b and c + a e^(-N/s), fitted without the largest"
                .into(),
            lines_are: "learned, law".into(),
            columns: columns.map(str::to_owned).to_vec(),
            lines,
        }
    }

    /// What the tables do not say.
    pub(super) fn notes(&self, folds: &[Fold], people: &People) -> Result<Vec<String>, LabError> {
        let mut teachers = Vec::new();
        for seed in &self.study.seeds {
            let of = folds.iter().zip(self.taught).filter(|(_, (s, _))| s == seed);
            teachers.push(Confusion::sum(of.map(|(fold, _)| &fold.counts))?.and_then(|sum| sum.kappa()));
        }
        let teacher = Spread::of(teachers);
        let judged = people.folds.len().min(self.study.judged);
        let held_out: usize = people.folds[..judged].iter().map(|fold| fold.test.len()).sum();
        let number = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.3}"));
        Ok(vec![
            format!(
                "The teacher is the foundation `{}`, trained on all training people of a fold together for {} passes: kappa {} ± {} on \
                 the same held-out people.",
                String::from(self.study.teacher.clone()),
                self.study.passes,
                number(teacher.mean),
                number(teacher.sd)
            ),
            format!(
                "{held_out} of {} people are held out, in {judged} of {} folds; mean ± sd over seeds. Students begin with random weights, \
                 the same for each way, and take {} steps on the training people's nights{}.",
                people.people().len(),
                people.folds.len(),
                self.study.plan.steps,
                self.study.unscored.as_ref().map_or(String::new(), |config| {
                    format!("; those with a teacher also on {} synthetic ones that it alone stages", config.people)
                })
            ),
            "The base foundation was chosen on people of sleep-accel: what students have from it is optimistic there.".into(),
            "Milliseconds are of the machine that made this, one night from features to stages, the median of 15. KiB are of the weights at rest; \
             to compute with them, int8 codes are laid out as f32.".into(),
        ])
    }
}
