//! Ridge regression: how near a weighted sum of an embedding comes to a number.
//!
//! How much the weights are held back is chosen by leaving people out, because neighbouring rows of one person are nearly
//! copies of each other: rows left out at random would choose too little.

/// What a mean squared weight costs against a mean squared error, both in deviations: from almost nothing to nearly all.
const STRENGTHS: [f64; 9] = [1e-5, 1e-4, 1e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 10.0];
/// The strength where there are not two people to choose it by.
const USUAL: f64 = 1e-2;
/// Parts that the people are dealt into, at most.
const PARTS: usize = 5;

/// A fitted line (Hoerl and Kennard 1970).
#[derive(Clone, PartialEq, Debug)]
pub struct Ridge {
    scale: Vec<(f64, f64)>,
    /// One for each column, and the constant.
    weights: Vec<f64>,
    strength: f64,
}

impl Ridge {
    /// Fits `rows` `[n, width]` to `targets` `[n]`; `groups` `[n]` says whose each row is. Columns are standardised, the
    /// constant is free, sums are in f64. A function of its arguments alone; the order of rows changes late digits only.
    ///
    /// # Panics
    /// When the three disagree about `n`, or `width` is 0.
    #[must_use]
    pub fn fit(width: usize, rows: &[f32], targets: &[f32], groups: &[usize]) -> Self {
        assert!(rows.len() == width * targets.len() && targets.len() == groups.len(), "as many of each");
        let scale = standards(width, rows);
        let mut people = groups.to_vec();
        people.sort_unstable();
        people.dedup();
        let parts = people.len().clamp(1, PARTS);
        let part_of = |group: &usize| people.binary_search(group).map_or(0, |place| place % parts);
        let mut moments = vec![Moments::new(width + 1); parts];
        let mut row = Vec::with_capacity(width + 1);
        for ((values, target), group) in rows.chunks_exact(width).zip(targets).zip(groups) {
            standardise(&scale, values, &mut row);
            moments[part_of(group)].add(&row, f64::from(*target));
        }
        let mut all = Moments::new(width + 1);
        moments.iter().for_each(|part| all.merge(part, 1.0));

        let cost = |strength: f64| -> f64 {
            let without = |left_out: usize| {
                let mut others = all.clone();
                others.merge(&moments[left_out], -1.0);
                others.solve(strength)
            };
            let fitted: Vec<Vec<f64>> = (0..parts).map(without).collect();
            let mut row = Vec::with_capacity(width + 1);
            let each = rows.chunks_exact(width).zip(targets).zip(groups);
            each.map(|((values, target), group)| {
                standardise(&scale, values, &mut row);
                (dot(&fitted[part_of(group)], &row) - f64::from(*target)).abs()
            })
            .sum()
        };
        let strength = match parts {
            1 => USUAL,
            _ => {
                let costs = STRENGTHS.map(|strength| (strength, cost(strength)));
                costs.into_iter().min_by(|a, b| a.1.total_cmp(&b.1)).map_or(USUAL, |best| best.0)
            }
        };
        Self { scale, weights: all.solve(strength), strength }
    }

    /// What the line says of a row `[width]`.
    #[must_use]
    pub fn predict(&self, row: &[f32]) -> f32 {
        let mut standardised = Vec::with_capacity(self.weights.len());
        standardise(&self.scale, row, &mut standardised);
        dot(&self.weights, &standardised) as f32
    }

    /// The mean absolute error on `rows` `[n, width]`, in the unit of `targets` `[n]`; `None` of none.
    #[must_use]
    pub fn mae(&self, rows: &[f32], targets: &[f32]) -> Option<f64> {
        let rows = rows.chunks_exact(self.scale.len());
        let errors = rows.zip(targets).map(|(row, target)| f64::from((self.predict(row) - target).abs()));
        (!targets.is_empty()).then(|| errors.sum::<f64>() / targets.len() as f64)
    }

    /// The strength that was chosen.
    #[must_use]
    pub fn strength(&self) -> f64 {
        self.strength
    }
}

/// The mean absolute error of the best constant of `known` on `asked`: what anything that looks has to beat. `None` when
/// either is empty.
#[must_use]
pub fn median_error(known: &[f32], asked: &[f32]) -> Option<f64> {
    let mut sorted = known.to_vec();
    sorted.sort_by(f32::total_cmp);
    let median = *sorted.get(sorted.len().checked_sub(1)? / 2)?;
    let errors = asked.iter().map(|value| f64::from((value - median).abs()));
    (!asked.is_empty()).then(|| errors.sum::<f64>() / asked.len() as f64)
}

/// Mean of each column, and one over its deviation; 0 for a column that never changes.
fn standards(width: usize, rows: &[f32]) -> Vec<(f64, f64)> {
    let part = 1.0 / (rows.len() / width).max(1) as f64;
    let mean_of = |of: &dyn Fn(usize, f64) -> f64| {
        let mut sums = vec![0.0; width];
        for row in rows.chunks_exact(width) {
            sums.iter_mut()
                .zip(row)
                .enumerate()
                .for_each(|(c, (sum, v))| *sum += of(c, f64::from(*v)) * part);
        }
        sums
    };
    let mean = mean_of(&|_, v| v);
    let variance = mean_of(&|c, v| (v - mean[c]).powi(2));
    let inverse = |v: f64| if v.sqrt() > 1e-9 { 1.0 / v.sqrt() } else { 0.0 };
    mean.iter().zip(variance).map(|(mean, v)| (*mean, inverse(v))).collect()
}

/// The row as the line sees it, and 1 for the constant.
fn standardise(scale: &[(f64, f64)], row: &[f32], out: &mut Vec<f64>) {
    out.clear();
    out.extend(row.iter().zip(scale).map(|(v, (mean, inverse))| (f64::from(*v) - mean) * inverse));
    out.push(1.0);
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// All that a least-squares line depends on.
#[derive(Clone)]
struct Moments {
    rows: f64,
    width: usize,
    /// Sums of products of columns, the lower triangle of `[width, width]`.
    products: Vec<f64>,
    /// Sums of each column times the target.
    targets: Vec<f64>,
}

impl Moments {
    fn new(width: usize) -> Self {
        Self { rows: 0.0, width, products: vec![0.0; width * width], targets: vec![0.0; width] }
    }

    fn add(&mut self, row: &[f64], target: f64) {
        self.rows += 1.0;
        for (i, v) in row.iter().enumerate() {
            let products = &mut self.products[i * self.width..][..=i];
            products.iter_mut().zip(row).for_each(|(sum, other)| *sum += v * other);
            self.targets[i] += v * target;
        }
    }

    fn merge(&mut self, other: &Self, times: f64) {
        self.rows += times * other.rows;
        self.products.iter_mut().zip(&other.products).for_each(|(sum, v)| *sum += times * v);
        self.targets.iter_mut().zip(&other.targets).for_each(|(sum, v)| *sum += times * v);
    }

    /// The weights at a strength, by Cholesky's decomposition. The last column, the constant, is not held back.
    fn solve(&self, strength: f64) -> Vec<f64> {
        let n = self.width;
        let mut lower = self.products.clone();
        for i in 0..n {
            // Nothing at all to learn from must not divide by zero.
            let held = if i + 1 < n { strength * self.rows } else { 0.0 };
            lower[i * n + i] += held.max(f64::MIN_POSITIVE);
            for j in 0..=i {
                let (before, at) = lower.split_at_mut(i * n);
                let known =
                    if j < i { dot(&before[j * n..][..j], &at[..j]) } else { dot(&at[..j], &at[..j]) };
                let left = at[j] - known;
                at[j] = if j < i { left / before[j * n + j] } else { left.max(f64::MIN_POSITIVE).sqrt() };
            }
        }
        let mut x = self.targets.clone();
        for i in 0..n {
            x[i] = (x[i] - dot(&lower[i * n..][..i], &x[..i])) / lower[i * n + i];
        }
        for i in (0..n).rev() {
            let after: f64 = (i + 1..n).map(|j| lower[j * n + i] * x[j]).sum();
            x[i] = (x[i] - after) / lower[i * n + i];
        }
        x
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// `people` with `each` rows of `width` numbers; the target is `line` of a row.
    fn made(
        people: usize,
        each: usize,
        width: usize,
        line: impl Fn(&[f32], usize) -> f32,
    ) -> (Vec<f32>, Vec<f32>, Vec<usize>) {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let rows: Vec<f32> = (0..people * each * width).map(|_| rng.random_range(-3.0..5.0)).collect();
        let groups: Vec<usize> = (0..people * each).map(|i| i / each).collect();
        let targets = rows.chunks_exact(width).zip(&groups).map(|(row, group)| line(row, *group)).collect();
        (rows, targets, groups)
    }

    #[test]
    fn a_line_is_found_with_its_constant() {
        let line = |row: &[f32], _| 60.0 + 2.0 * row[0] - 0.5 * row[2];
        let (rows, targets, groups) = made(6, 50, 4, line);
        let fitted = Ridge::fit(4, &rows, &targets, &groups);
        assert_eq!(fitted.strength(), STRENGTHS[0]);
        let fresh = [1.0, 4.0, -2.0, 0.5];
        assert!((fitted.predict(&fresh) - line(&fresh, 0)).abs() < 1e-2, "{}", fitted.predict(&fresh));
        assert!(fitted.mae(&rows, &targets).unwrap() < 1e-3);
        assert_eq!(fitted.mae(&[], &[]), None);
    }

    #[test]
    fn what_only_one_person_shows_is_not_believed() {
        // Nothing in the rows says anything of a target that is a person's own.
        let (rows, targets, groups) = made(5, 12, 40, |_, group| 10.0 * group as f32);
        let fitted = Ridge::fit(40, &rows, &targets, &groups);
        assert!(fitted.strength() >= 0.3, "{}", fitted.strength());
        let (fresh, _, _) = made(50, 1, 40, |_, _| 0.0);
        // The mean of all people and little beside; without a hand on the weights it is some 16 beside.
        let beside = fresh.chunks_exact(40).map(|row| (fitted.predict(row) - 20.0).abs()).sum::<f32>() / 50.0;
        assert!(beside < 8.0, "{beside}");
    }

    #[test]
    fn the_weights_satisfy_the_normal_equations() {
        let (rows, targets, groups) = made(4, 9, 3, |row, group| row[0] * row[1] + group as f32);
        let fitted = Ridge::fit(3, &rows, &targets, &groups);
        let mut row = Vec::new();
        let mut slope = [0.0; 4];
        for (values, target) in rows.chunks_exact(3).zip(&targets) {
            standardise(&fitted.scale, values, &mut row);
            let wrong = dot(&fitted.weights, &row) - f64::from(*target);
            slope.iter_mut().zip(&row).for_each(|(s, v)| *s += wrong * v);
        }
        for (c, weight) in fitted.weights[..3].iter().enumerate() {
            slope[c] += fitted.strength() * targets.len() as f64 * weight;
        }
        assert!(slope.iter().all(|s| s.abs() < 1e-6), "{slope:?}");
    }

    #[test]
    fn columns_that_say_nothing_and_people_who_are_alone_do_no_harm() {
        let rows = [1.0, 0.0, 1.0, 1.0, 1.0, 2.0];
        let fitted = Ridge::fit(2, &rows, &[0.0, 1.0, 2.0], &[7, 7, 7]);
        assert_eq!(fitted.strength(), USUAL);
        assert!((fitted.predict(&[1.0, 1.0]) - 1.0).abs() < 1e-6);
        assert_eq!(Ridge::fit(2, &[], &[], &[]).predict(&[3.0, 4.0]), 0.0);
        // Fewer rows than columns.
        let (rows, targets, groups) = made(2, 2, 30, |row, _| row[0]);
        assert!(Ridge::fit(30, &rows, &targets, &groups).predict(&rows[..30]).is_finite());
    }

    #[test]
    fn the_best_constant_is_the_median() {
        assert_eq!(median_error(&[1.0, 2.0, 30.0], &[2.0, 5.0]), Some(1.5));
        assert_eq!((median_error(&[], &[1.0]), median_error(&[1.0], &[])), (None, None));
    }
}
