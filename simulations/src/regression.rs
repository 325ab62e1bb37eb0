//! Softmax regression: the plainest classifier there is, for probes.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// Passes over the rows.
const PASSES: usize = 30;
const BATCH: usize = 128;
/// Rate of the first step; it falls to nothing along a straight line.
const RATE: f32 = 0.05;
const BETAS: [f32; 2] = [0.9, 0.999];

/// How a regression is fitted.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Rule {
    /// Weight of half the squared weights, but for the bias.
    pub ridge: f32,
    /// The steps that there are at least.
    pub least_steps: usize,
}

impl Default for Rule {
    /// For many classes: neighbours on a line need steep weights.
    fn default() -> Self {
        Self { ridge: 1e-4, least_steps: 4_000 }
    }
}

/// Weights for standardised rows of numbers.
pub struct Regression {
    classes: usize,
    mean: Vec<f32>,
    /// One over the standard deviation of each column; 0 for a column that never changes.
    inverse: Vec<f32>,
    /// `[classes, columns + 1]`; the last column is the bias.
    weights: Vec<f32>,
}

impl Regression {
    /// Learns to tell classes apart from their rows: `classes[k]` holds blocks of rows, `[rows, width]` each. Every class
    /// weighs alike, however many rows it has. A function of the rows and `seed` alone.
    ///
    /// Adam on the cross-entropy (Kingma and Ba 2015) from weights of zero; the seed shuffles.
    #[must_use]
    pub fn fit(width: usize, classes: &[Vec<&[f32]>], seed: u64) -> Self {
        Self::fit_by(width, classes, Rule::default(), seed)
    }

    /// [`Regression::fit`] by another rule.
    #[must_use]
    pub fn fit_by(width: usize, classes: &[Vec<&[f32]>], rule: Rule, seed: u64) -> Self {
        let rows: Vec<(usize, &[f32])> = classes
            .iter()
            .enumerate()
            .flat_map(|(class, blocks)| {
                blocks.iter().flat_map(|block| block.chunks_exact(width)).map(move |row| (class, row))
            })
            .collect();
        let mut of_class = vec![0usize; classes.len()];
        rows.iter().for_each(|(class, _)| of_class[*class] += 1);
        let share: Vec<f32> =
            of_class.iter().map(|n| rows.len() as f32 / (*n).max(1) as f32 / classes.len() as f32).collect();
        let (mean, inverse) = scale(width, &rows);
        let zeros = vec![0.0; (width + 1) * classes.len()];
        let mut fitted = Self { classes: classes.len(), mean, inverse, weights: zeros.clone() };
        let x: Vec<f32> = rows.iter().flat_map(|(_, row)| fitted.standardised(row)).collect();

        let mut adam = Adam { first: zeros.clone(), second: zeros.clone(), steps: 0 };
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut order: Vec<usize> = (0..rows.len()).collect();
        let batches = rows.len().div_ceil(BATCH).max(1);
        let passes = PASSES.max(rule.least_steps.div_ceil(batches));
        let mut gradient = zeros;
        for pass in 0..passes {
            order.shuffle(&mut rng);
            for (number, batch) in order.chunks(BATCH).enumerate() {
                for (gradient, weights) in
                    gradient.chunks_exact_mut(width + 1).zip(fitted.weights.chunks_exact(width + 1))
                {
                    gradient.iter_mut().zip(weights).for_each(|(g, w)| *g = rule.ridge * w);
                    gradient[width] = 0.0;
                }
                let of_batch: Vec<&[f32]> = batch.iter().map(|row| &x[row * width..][..width]).collect();
                let logits = fitted.logits(&of_batch);
                for (place, (row, x)) in batch.iter().zip(&of_batch).enumerate() {
                    let class = rows[*row].0;
                    let mut slope: Vec<f32> =
                        logits.iter().skip(place).step_by(batch.len()).copied().collect();
                    softmax(&mut slope);
                    slope[class] -= 1.0;
                    let part = share[class] / batch.len() as f32;
                    for (gradient, slope) in gradient.chunks_exact_mut(width + 1).zip(&slope) {
                        let slope = slope * part;
                        gradient.iter_mut().zip(*x).for_each(|(g, x)| *g += slope * x);
                        gradient[width] += slope;
                    }
                }
                let done = (pass * batches + number) as f32 / (passes * batches) as f32;
                adam.step(&mut fitted.weights, &gradient, RATE * (1.0 - done));
            }
        }
        fitted
    }

    /// The likeliest class of a row; the first of equals.
    #[must_use]
    pub fn class(&self, row: &[f32]) -> usize {
        let x: Vec<f32> = self.standardised(row).collect();
        let p = self.logits(&[&x]);
        (0..self.classes).rev().max_by(|a, b| p[*a].total_cmp(&p[*b])).unwrap_or(0)
    }

    fn standardised<'a>(&'a self, row: &'a [f32]) -> impl Iterator<Item = f32> + 'a {
        row.iter().zip(&self.mean).zip(&self.inverse).map(|((x, mean), inverse)| (x - mean) * inverse)
    }

    /// The logits of standardised rows, `[classes, rows]`: rows are side by side, so that a processor takes many at once.
    fn logits(&self, rows: &[&[f32]]) -> Vec<f32> {
        let (n, width) = (rows.len(), self.mean.len());
        let mut columns = vec![0.0; width * n];
        for (place, row) in rows.iter().enumerate() {
            for (column, value) in row.iter().enumerate() {
                columns[column * n + place] = *value;
            }
        }
        let mut logits = Vec::with_capacity(self.classes * n);
        for weights in self.weights.chunks_exact(width + 1) {
            let first = logits.len();
            logits.resize(first + n, weights[width]);
            for (weight, column) in weights.iter().zip(columns.chunks_exact(n)) {
                logits[first..].iter_mut().zip(column).for_each(|(p, x)| *p += weight * x);
            }
        }
        logits
    }
}

fn softmax(logits: &mut [f32]) {
    let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    logits.iter_mut().for_each(|p| *p = (*p - top).exp());
    let sum: f32 = logits.iter().sum();
    logits.iter_mut().for_each(|p| *p /= sum);
}

/// Mean of each column, and one over its standard deviation.
fn scale(width: usize, rows: &[(usize, &[f32])]) -> (Vec<f32>, Vec<f32>) {
    let part = 1.0 / rows.len().max(1) as f64;
    let column = |c: usize| {
        let values = || rows.iter().map(|(_, row)| f64::from(row[c]));
        let mean = part * values().sum::<f64>();
        let deviation = (part * values().map(|x| (x - mean).powi(2)).sum::<f64>()).sqrt();
        (mean as f32, if deviation > 1e-9 { (1.0 / deviation) as f32 } else { 0.0 })
    };
    (0..width).map(column).unzip()
}

struct Adam {
    first: Vec<f32>,
    second: Vec<f32>,
    steps: i32,
}

impl Adam {
    fn step(&mut self, weights: &mut [f32], gradient: &[f32], rate: f32) {
        self.steps += 1;
        let bias = BETAS.map(|beta| 1.0 - beta.powi(self.steps));
        let moments = self.first.iter_mut().zip(&mut self.second);
        for ((w, g), (m, v)) in weights.iter_mut().zip(gradient).zip(moments) {
            *m += (1.0 - BETAS[0]) * (g - *m);
            *v += (1.0 - BETAS[1]) * (g * g - *v);
            *w -= rate * (*m / bias[0]) / ((*v / bias[1]).sqrt() + 1e-8);
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;

    #[test]
    fn it_comes_near_what_can_be_known() {
        // Two classes, uniform on [0, 3] and on [2, 5] in one column of three: nobody is right more than 5 times in 6.
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut rows = |low: f32, n: usize| -> Vec<f32> {
            let row = |_| [rng.random_range(-1e3..1e3f32), low + rng.random_range(0.0..3.0f32), 7.0];
            (0..n).flat_map(row).collect()
        };
        let (low, high) = (rows(0.0, 2_000), rows(2.0, 200));
        let fitted = Regression::fit(3, &[vec![&low[..]], vec![&high[..]]], 5);
        let mut right = |start: f32, class: usize| {
            let fresh = rows(start, 2_000);
            fresh.chunks_exact(3).filter(|row| fitted.class(row) == class).count() as f64 / 2_000.0
        };
        let accuracy = (right(0.0, 0) + right(2.0, 1)) / 2.0;
        assert!((0.81..0.85).contains(&accuracy), "{accuracy}");
    }
}
