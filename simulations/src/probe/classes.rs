//! A linear probe: how well weighted sums of an embedding tell classes apart.
//!
//! As RelCon's makers judge theirs (arXiv 2411.18822): standardised columns, softmax regression, its strength chosen by
//! macro-F1 on people whom it has not seen, then fitted to all. Classes weigh alike, so that rare ones count in macro-F1.

use std::collections::BTreeSet;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use somnus_report::Confusion;
use somnus_report::Metrics;

use crate::regression::{Regression, Rule};

/// Weights of half the squared weights to choose from.
const STRENGTHS: [f32; 4] = [1e-4, 1e-2, 1e-1, 1.0];
/// Steps of a fit, at least: enough for few classes.
const LEAST_STEPS: usize = 1_000;
/// One of so many people chooses.
const PART: usize = 4;

/// A fitted probe.
pub struct LinearProbe {
    width: usize,
    classes: usize,
    strength: f32,
    regression: Regression,
}

impl LinearProbe {
    /// Fits `rows` `[n, width]` to `labels` `[n]`, each below `classes`; `groups` `[n]` says whose each row is. The seed
    /// says who chooses the strength, and shuffles. With fewer than four people the least strength is taken.
    ///
    /// # Panics
    /// When the three disagree about `n`, or a label is no class, or there are more than 64.
    #[must_use]
    pub fn fit(
        width: usize,
        rows: &[f32],
        labels: &[usize],
        groups: &[usize],
        classes: usize,
        seed: u64,
    ) -> Self {
        assert!(rows.len() == width * labels.len() && labels.len() == groups.len(), "as many of each");
        let all = Labelled { width, classes, rows, labels };
        let mut people: Vec<usize> = groups.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
        if people.len() < PART {
            return all.fit(|_| true, STRENGTHS[0], seed);
        }
        people.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        let choosing: BTreeSet<usize> = people[..people.len() / PART].iter().copied().collect();
        let chooses = |row: usize| choosing.contains(&groups[row]);
        let score = |strength: f32| {
            let probe = all.fit(|row| !chooses(row), strength, seed);
            Metrics::of(&all.judge(&probe, chooses)).macro_f1.unwrap_or(0.0)
        };
        let scores = STRENGTHS.map(|strength| (strength, score(strength)));
        // The first of equals: the weakest.
        let best = scores.into_iter().rev().max_by(|a, b| a.1.total_cmp(&b.1));
        all.fit(|_| true, best.map_or(STRENGTHS[0], |best| best.0), seed)
    }

    /// The strength that was chosen: the weight of half the squared weights.
    #[must_use]
    pub fn strength(&self) -> f32 {
        self.strength
    }

    /// The class of a row `[width]`.
    #[must_use]
    pub fn class(&self, row: &[f32]) -> usize {
        self.regression.class(row)
    }

    /// What it makes of `rows` `[n, width]` whose classes are `labels` `[n]`.
    ///
    /// # Panics
    /// When a label is no class.
    #[must_use]
    pub fn judge(&self, rows: &[f32], labels: &[usize]) -> Confusion {
        Labelled { width: self.width, classes: self.classes, rows, labels }.judge(self, |_| true)
    }
}

/// Rows with their classes.
struct Labelled<'a> {
    width: usize,
    classes: usize,
    rows: &'a [f32],
    labels: &'a [usize],
}

impl<'a> Labelled<'a> {
    /// The chosen rows.
    fn each(&self, choose: impl Fn(usize) -> bool) -> impl Iterator<Item = (&'a [f32], usize)> {
        let rows = self.rows.chunks_exact(self.width).zip(self.labels).enumerate();
        rows.filter(move |(i, _)| choose(*i)).map(|(_, (row, label))| (row, *label))
    }

    fn fit(&self, choose: impl Fn(usize) -> bool, strength: f32, seed: u64) -> LinearProbe {
        let mut blocks = vec![Vec::new(); self.classes];
        self.each(choose).for_each(|(row, label)| blocks[label].push(row));
        let rule = Rule { ridge: strength, least_steps: LEAST_STEPS };
        let regression = Regression::fit_by(self.width, &blocks, rule, seed);
        LinearProbe { width: self.width, classes: self.classes, strength, regression }
    }

    fn judge(&self, probe: &LinearProbe, choose: impl Fn(usize) -> bool) -> Confusion {
        let code = |class: usize| u8::try_from(class).expect("at most 64 classes");
        let pairs = self.each(choose).map(|(row, label)| (code(label), code(probe.class(row))));
        Confusion::from_pairs(self.classes, pairs).expect("labels are classes")
    }
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;

    /// Rows of 12 people in 3 classes: the first column says the class to within `noise`, `beside` columns say nothing.
    fn made(people: usize, noise: f32, beside: usize, seed: u64) -> (Vec<f32>, Vec<usize>, Vec<usize>) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let (mut rows, mut labels, mut groups) = (vec![], vec![], vec![]);
        for row in 0..people * 10 {
            let class = rng.random_range(0..3);
            rows.push(class as f32 + noise * rng.random_range(-1.0..1.0));
            rows.extend((0..beside).map(|_| rng.random_range(-1.0..1.0f32)));
            labels.push(class);
            groups.push(row % people);
        }
        (rows, labels, groups)
    }

    #[test]
    fn classes_on_a_line_are_told_apart() {
        let (rows, labels, groups) = made(12, 0.4, 1, 1);
        let probe = LinearProbe::fit(2, &rows, &labels, &groups, 3, 1);
        let (fresh, truth, _) = made(40, 0.4, 1, 2);
        let found = Metrics::of(&probe.judge(&fresh, &truth));
        assert!(found.macro_f1.unwrap() > 0.97 && found.kappa.unwrap() > 0.95, "{found:?}");
    }

    #[test]
    fn much_that_says_nothing_asks_for_a_strong_hand() {
        let (rows, labels, groups) = made(24, 0.5, 150, 3);
        let (fresh, truth, _) = made(100, 0.5, 150, 4);
        let chosen = LinearProbe::fit(151, &rows, &labels, &groups, 3, 1);
        let all = Labelled { width: 151, classes: 3, rows: &rows, labels: &labels };
        let score = |probe: &LinearProbe| Metrics::of(&probe.judge(&fresh, &truth)).macro_f1.unwrap();
        let weakest = score(&all.fit(|_| true, STRENGTHS[0], 1));
        assert!(chosen.strength() > STRENGTHS[0] && score(&chosen) > weakest, "{} {weakest}", score(&chosen));
    }

    #[test]
    fn a_class_that_nobody_has_and_people_too_few_to_choose_do_no_harm() {
        let rows = [0.0, 0.1, 1.0, 1.1];
        let probe = LinearProbe::fit(1, &rows, &[0, 0, 2, 2], &[1, 2, 1, 2], 4, 1);
        assert_eq!((probe.class(&[0.05]), probe.class(&[1.2])), (0, 2));
        assert_eq!(probe.judge(&rows, &[0, 0, 2, 3]).correct(), 3);
    }
}
