//! Bootstrap intervals **over subjects**: people are drawn with replacement, each with all of their epochs.
//!
//! Epochs of one night are strongly dependent; an interval over epochs would be several times too narrow, so there is
//! none here. Everything is seeded (ChaCha8): the same subjects in the same order and the same seed give the same interval.

use crate::stats::quantile;
use crate::{Confusion, ConfusionError};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// An interval estimate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Coverage, 0.95 for a 95 % interval.
    pub level: f64,
}

impl Interval {
    /// Whether `value` lies inside, ends included.
    #[must_use]
    pub fn contains(&self, value: f64) -> bool {
        self.low <= value && value <= self.high
    }
}

/// How to resample.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Bootstrap {
    /// Resamples drawn.
    pub resamples: usize,
    /// Coverage of the interval.
    pub level: f64,
    /// Seed of the draws.
    pub seed: u64,
}

impl Bootstrap {
    /// 2,000 resamples, 95 %.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { resamples: 2000, level: 0.95, seed }
    }

    /// Values of a statistic over resamples of `subjects` people, in ascending order. The statistic gets the drawn
    /// indices (`subjects` of them, with repetition); resamples where it is undefined are left out.
    ///
    /// `None` below two subjects, or when the statistic is undefined in more than half of the resamples: an
    /// interval of the rest would answer another question.
    pub fn distribution<F>(&self, subjects: usize, mut statistic: F) -> Option<Vec<f64>>
    where
        F: FnMut(&[usize]) -> Option<f64>,
    {
        if subjects < 2 {
            return None;
        }
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let mut drawn = vec![0; subjects];
        let mut values = Vec::with_capacity(self.resamples);
        for _ in 0..self.resamples {
            for index in &mut drawn {
                *index = rng.random_range(0..subjects);
            }
            values.extend(statistic(&drawn).filter(|value| value.is_finite()));
        }
        if 2 * values.len() < self.resamples || values.is_empty() {
            return None;
        }
        values.sort_by(f64::total_cmp);
        Some(values)
    }

    /// Percentile interval (Efron): the quantiles of the distribution themselves.
    pub fn percentile<F>(&self, subjects: usize, statistic: F) -> Option<Interval>
    where
        F: FnMut(&[usize]) -> Option<f64>,
    {
        self.quantiles(&self.distribution(subjects, statistic)?)
    }

    /// Basic interval (Davison and Hinkley 1997): the percentile interval mirrored at the statistic of the sample,
    /// 2 s - q. Menghini's pipeline prints this one.
    pub fn basic<F>(&self, subjects: usize, mut statistic: F) -> Option<Interval>
    where
        F: FnMut(&[usize]) -> Option<f64>,
    {
        let everyone: Vec<usize> = (0..subjects).collect();
        let sample = statistic(&everyone)?;
        let percentile = self.percentile(subjects, statistic)?;
        Some(Interval {
            low: 2.0 * sample - percentile.high,
            high: 2.0 * sample - percentile.low,
            level: self.level,
        })
    }

    /// Percentile interval of a score of the pooled confusion matrix, over the people who own its parts.
    ///
    /// # Errors
    /// [`ConfusionError`] when the people's matrices differ in size.
    pub fn pooled<F>(
        &self,
        subjects: &BTreeMap<String, Confusion>,
        score: F,
    ) -> Result<Option<Interval>, ConfusionError>
    where
        F: Fn(&Confusion) -> Option<f64>,
    {
        let matrices: Vec<&Confusion> = subjects.values().collect();
        Confusion::sum(matrices.iter().copied())?;
        Ok(self.percentile(matrices.len(), |drawn| score(&draw(&matrices, drawn))))
    }

    /// Percentile interval of the difference in a pooled score, `a` minus `b`, over the people who are in both:
    /// each resample draws the same people on both sides.
    ///
    /// # Errors
    /// [`ConfusionError`] when matrices differ in size.
    pub fn paired_difference<F>(
        &self,
        a: &BTreeMap<String, Confusion>,
        b: &BTreeMap<String, Confusion>,
        score: F,
    ) -> Result<Option<Interval>, ConfusionError>
    where
        F: Fn(&Confusion) -> Option<f64>,
    {
        let (left, right) = shared(a, b);
        Confusion::sum(left.iter().chain(&right).copied())?;
        Ok(self
            .percentile(left.len(), |drawn| Some(score(&draw(&left, drawn))? - score(&draw(&right, drawn))?)))
    }

    fn quantiles(&self, sorted: &[f64]) -> Option<Interval> {
        let tail = (1.0 - self.level) / 2.0;
        Some(Interval {
            low: quantile(sorted, tail)?,
            high: quantile(sorted, 1.0 - tail)?,
            level: self.level,
        })
    }
}

/// The matrices of the people who are in both maps, in the order of their names.
pub(crate) fn shared<'a>(
    a: &'a BTreeMap<String, Confusion>,
    b: &'a BTreeMap<String, Confusion>,
) -> (Vec<&'a Confusion>, Vec<&'a Confusion>) {
    a.iter().filter_map(|(id, left)| Some((left, b.get(id)?))).unzip()
}

/// Sum of the drawn matrices; all are known to be of one size.
fn draw(matrices: &[&Confusion], drawn: &[usize]) -> Confusion {
    let classes = matrices[0].classes();
    let mut counts = vec![0; classes * classes];
    for &index in drawn {
        for (sum, count) in counts.iter_mut().zip(matrices[index].counts()) {
            *sum += count;
        }
    }
    Confusion::from_counts(classes, counts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn people(kappas: &[u64]) -> BTreeMap<String, Confusion> {
        kappas
            .iter()
            .enumerate()
            .map(|(i, &right)| {
                let rows = vec![vec![right, 100 - right], vec![100 - right, right]];
                (format!("p{i:02}"), Confusion::try_from(rows).unwrap())
            })
            .collect()
    }

    #[test]
    fn the_interval_depends_on_the_seed_alone() {
        let people = people(&[60, 70, 75, 80, 85, 90, 95]);
        let at = |seed| Bootstrap::new(seed).pooled(&people, Confusion::kappa).unwrap().unwrap();
        assert_eq!(at(7), at(7));
        assert_ne!(at(7), at(8));
        let point = Confusion::sum(people.values()).unwrap().unwrap().kappa().unwrap();
        assert!(at(7).contains(point) && at(7).low > 0.3 && at(7).high < 0.9);
    }

    #[test]
    fn a_hundred_copies_of_each_epoch_do_not_narrow_it() {
        let few = people(&[60, 70, 75, 80, 85, 90, 95]);
        let many: BTreeMap<String, Confusion> = few
            .iter()
            .map(|(id, c)| {
                let rows: Vec<Vec<u64>> =
                    c.to_rows().iter().map(|row| row.iter().map(|count| count * 100).collect()).collect();
                (id.clone(), Confusion::try_from(rows).unwrap())
            })
            .collect();
        let boot = Bootstrap::new(3);
        let (few, many) = (boot.pooled(&few, Confusion::kappa), boot.pooled(&many, Confusion::kappa));
        let (few, many) = (few.unwrap().unwrap(), many.unwrap().unwrap());
        assert!((few.low - many.low).abs() < 1e-9 && (few.high - many.high).abs() < 1e-9);
    }

    #[test]
    fn nobody_and_one_person_have_no_interval() {
        let boot = Bootstrap::new(1);
        assert_eq!(boot.pooled(&BTreeMap::new(), Confusion::kappa).unwrap(), None);
        assert_eq!(boot.pooled(&people(&[80]), Confusion::kappa).unwrap(), None);
        // Undefined everywhere: one class only.
        let same = Confusion::try_from(vec![vec![9, 0], vec![0, 0]]).unwrap();
        let same: BTreeMap<String, Confusion> = (0..5).map(|i| (i.to_string(), same.clone())).collect();
        assert_eq!(boot.pooled(&same, Confusion::kappa).unwrap(), None);
    }

    #[test]
    fn people_of_different_tasks_are_refused() {
        let mut people = people(&[80, 90]);
        people.insert("z".into(), Confusion::new(3).unwrap());
        assert!(Bootstrap::new(1).pooled(&people, Confusion::kappa).is_err());
    }

    #[test]
    fn a_paired_difference_is_narrower_than_its_parts() {
        let low = people(&[50, 60, 70, 80, 90]);
        let high = people(&[55, 65, 75, 85, 95]);
        let boot = Bootstrap::new(5);
        let difference = boot.paired_difference(&high, &low, Confusion::kappa).unwrap().unwrap();
        assert!((difference.low - 0.1).abs() < 1e-9 && (difference.high - 0.1).abs() < 1e-9);
        let alone = boot.pooled(&high, Confusion::kappa).unwrap().unwrap();
        assert!(alone.high - alone.low > 0.1);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn an_interval_of_a_symmetric_sample_contains_its_mean(
            half in proptest::collection::vec(0.01_f64..10.0, 4..20), seed in 0_u64..1000,
        ) {
            let sample: Vec<f64> = half.iter().flat_map(|x| [5.0 - x, 5.0 + x]).collect();
            let boot = Bootstrap { resamples: 500, level: 0.95, seed };
            let mean = |drawn: &[usize]| {
                Some(drawn.iter().map(|&i| sample[i]).sum::<f64>() / drawn.len() as f64)
            };
            let percentile = boot.percentile(sample.len(), mean).unwrap();
            let basic = boot.basic(sample.len(), mean).unwrap();
            prop_assert!(percentile.contains(5.0), "{percentile:?}");
            prop_assert!(basic.contains(5.0), "{basic:?}");
            prop_assert!((basic.high - basic.low - (percentile.high - percentile.low)).abs() < 1e-9);
        }
    }
}
