//! Hockey-stick divergences of the Poisson-subsampled Gaussian, in both directions, and their losses on a grid.

use super::normal::{ln_tail, tail};

/// Which of the two neighbours has the person whose presence is to be hidden.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Direction {
    /// P is the sum with the person (drawn with probability q), Q without.
    Remove,
    /// P is the sum without the person, Q with.
    Add,
}

/// One sum: P and Q are, in the order of the direction, (1-q) N(0, z²) + q N(1, z²) and N(0, z²).
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Pair {
    pub(super) direction: Direction,
    /// Probability q, above 0.
    pub(super) rate: f64,
    /// Standard deviation z over sensitivity.
    pub(super) multiplier: f64,
}

/// Losses ln(P/Q) on a grid, with their probabilities under P.
pub(super) struct Losses {
    /// Index of the smallest loss: it is `first * step`.
    pub(super) first: i64,
    pub(super) step: f64,
    pub(super) mass: Vec<f64>,
    /// Probability of a loss without bound.
    pub(super) infinite: f64,
}

impl Pair {
    /// ln of mixture over N(0, z²) at x.
    fn ratio(&self, x: f64) -> f64 {
        let z = self.multiplier;
        let exponent = (2.0 * x - 1.0) / (2.0 * z * z);
        if exponent < 30.0 {
            (self.rate * exponent.exp_m1()).ln_1p()
        } else {
            exponent + (self.rate + (1.0 - self.rate) * (-exponent).exp()).ln()
        }
    }

    /// The losses of all outcomes but those beyond `k` standard deviations.
    pub(super) fn range(&self, k: f64) -> (f64, f64) {
        let z = self.multiplier;
        match self.direction {
            Direction::Remove => (self.ratio(-k * z), self.ratio(1.0 + k * z)),
            Direction::Add => (-self.ratio(k * z), -self.ratio(-k * z)),
        }
    }

    /// Half of what the loss moves within a standard deviation of the commoner part of the mixture: what a grid must resolve.
    pub(super) fn width(&self) -> f64 {
        let centre = if self.rate > 0.5 { 1.0 } else { 0.0 };
        0.5 * (self.ratio(centre + self.multiplier) - self.ratio(centre - self.multiplier))
    }

    /// sup over events of P - e^epsilon Q, for epsilon >= 0 or so.
    pub(super) fn above(&self, epsilon: f64) -> f64 {
        match self.direction {
            Direction::Remove => self.right(epsilon),
            // e^epsilon is below 1/(1-q) here, or the divergence is zero.
            Direction::Add => scaled(epsilon, self.left(-epsilon)),
        }
    }

    /// The same less 1 - e^epsilon, which it is close to for epsilon < 0: sup over events of e^epsilon Q - P.
    pub(super) fn below(&self, epsilon: f64) -> f64 {
        match self.direction {
            Direction::Remove => self.left(epsilon),
            Direction::Add => scaled(epsilon, self.right(-epsilon)),
        }
    }

    /// Where the mixture is e^epsilon times N(0, z²), and (e^epsilon - (1-q)); None where it never is.
    fn crossing(&self, epsilon: f64) -> Option<(f64, f64)> {
        let excess = if self.rate == 1.0 { epsilon.exp() } else { epsilon.exp_m1() + self.rate };
        let ln_excess = if epsilon > 600.0 { epsilon } else { excess.ln() };
        let z = self.multiplier;
        (excess > 0.0).then(|| (0.5 + z * z * (ln_excess - self.rate.ln()), excess))
    }

    /// Mixture less e^epsilon N(0, z²) to the right of their crossing.
    fn right(&self, epsilon: f64) -> f64 {
        let z = self.multiplier;
        let Some((x, excess)) = self.crossing(epsilon) else { return -epsilon.exp_m1() };
        let other = if epsilon > 600.0 { (epsilon + ln_tail(x / z)).exp() } else { excess * tail(x / z) };
        (self.rate * tail((x - 1.0) / z) - other).max(0.0)
    }

    /// e^epsilon N(0, z²) less mixture to the left of their crossing.
    fn left(&self, epsilon: f64) -> f64 {
        let z = self.multiplier;
        let Some((x, excess)) = self.crossing(epsilon) else { return 0.0 };
        if epsilon > 600.0 {
            return f64::INFINITY;
        }
        (excess * tail(-x / z) - self.rate * tail((1.0 - x) / z)).max(0.0)
    }

    /// The losses on multiples of `step`, none of them understated: what is between two points is put on both of them so
    /// that its probability stays what it is under P and under Q. That joins the points of the divergence as a function of
    /// e^epsilon by straight lines, and the divergence is convex (Doroshenko et al. 2022, "connect the dots").
    pub(super) fn discretise(&self, step: f64, k: f64) -> Losses {
        let (low, high) = self.range(k);
        let (first, last) = ((low / step).floor() as i64, (high / step).ceil() as i64);
        let (up, down) = (step.exp_m1(), -(-step).exp_m1());
        let mut mass = Vec::with_capacity((last - first + 1) as usize);
        let (mut before, mut here) = (0.0, 0.0);
        for i in first..=last {
            // Either function serves, as what they differ by has no mass; each is exact where it is small.
            let at = |j: i64| if i < 0 { self.below(j as f64 * step) } else { self.above(j as f64 * step) };
            if i == first || i == 0 {
                (before, here) = (at(i - 1), at(i));
            }
            let after = at(i + 1);
            let right = if i == last { 0.0 } else { (after - here) / up };
            mass.push((right + (before - here) / down).max(0.0));
            (before, here) = (here, after);
        }
        let infinite = self.above(last as f64 * step);
        // Whatever is below the grid is lifted onto it.
        let rest: f64 = mass.iter().skip(1).sum::<f64>() + infinite;
        mass[0] = (1.0 - rest).max(0.0);
        Losses { first, step, mass, infinite }
    }
}

/// e^exponent times a value that may be zero.
fn scaled(exponent: f64, value: f64) -> f64 {
    if value == 0.0 { 0.0 } else { exponent.exp() * value }
}

impl Losses {
    /// The variance of finite losses.
    pub(super) fn variance(&self) -> f64 {
        let (mut mean, mut square) = (0.0, 0.0);
        for (index, mass) in (self.first..).zip(&self.mass) {
            let loss = index as f64 * self.step;
            mean += mass * loss;
            square += mass * loss * loss;
        }
        square - mean * mean
    }

    /// ln E[e^(order * loss)] under P, of finite losses.
    pub(super) fn cumulant(&self, order: f64) -> f64 {
        let exponents = || {
            let loss = |i: usize| (self.first + i as i64) as f64 * self.step;
            self.mass
                .iter()
                .enumerate()
                .filter(|(_, p)| **p > 0.0)
                .map(move |(i, p)| p.ln() + order * loss(i))
        };
        let largest = exponents().fold(f64::NEG_INFINITY, f64::max);
        largest + exponents().map(|exponent| (exponent - largest).exp()).sum::<f64>().ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAIRS: [(f64, f64); 7] =
        [(1.0, 1.0), (1.0, 40.0), (0.3, 2.6), (0.01, 0.55), (1e-4, 1.0), (0.9, 0.2), (0.5, 300.0)];

    fn pairs() -> impl Iterator<Item = Pair> {
        PAIRS.into_iter().flat_map(|(rate, multiplier)| {
            [Direction::Remove, Direction::Add].map(|direction| Pair { direction, rate, multiplier })
        })
    }

    #[test]
    fn a_grid_keeps_the_divergence_at_its_points_and_never_lowers_it() {
        for pair in pairs() {
            let step = pair.width() / 50.0;
            let losses = pair.discretise(step, 9.0);
            let divergence = |epsilon: f64| {
                let term = |(i, p): (usize, &f64)| {
                    let loss = (losses.first + i as i64) as f64 * step;
                    if loss > epsilon { -p * (epsilon - loss).exp_m1() } else { 0.0 }
                };
                losses.infinite + losses.mass.iter().enumerate().map(term).sum::<f64>()
            };
            for i in [-90, -20, -1, 0, 1, 33, 100] {
                let epsilon = f64::from(i) * step;
                let truth = pair.above(epsilon).max(0.0);
                assert!(
                    (divergence(epsilon) - truth).abs() <= 1e-9 * truth.max(step),
                    "{pair:?} at {epsilon}: {truth}"
                );
                let between = epsilon + 0.4 * step;
                assert!(divergence(between) >= pair.above(between) - 1e-12, "{pair:?} at {between}");
            }
            let total = losses.mass.iter().sum::<f64>() + losses.infinite;
            assert!((total - 1.0).abs() < 1e-9, "{pair:?}: {total}");
        }
    }

    #[test]
    fn above_and_below_differ_by_what_they_should() {
        for pair in pairs() {
            for i in -20..20 {
                let epsilon = f64::from(i) * 0.2 * pair.width();
                let (above, below) = (pair.above(epsilon), pair.below(epsilon));
                let off = (above - below + epsilon.exp_m1()).abs();
                assert!(off < 1e-14 * epsilon.exp().max(1.0), "{pair:?} at {epsilon}: {off}");
            }
        }
    }

    #[test]
    fn without_sampling_both_directions_are_one() {
        let pair = |direction| Pair { direction, rate: 1.0, multiplier: 0.7 };
        for epsilon in [0.0, 0.3, 1.0, 7.0] {
            let (remove, add) = (pair(Direction::Remove).above(epsilon), pair(Direction::Add).above(epsilon));
            assert!((remove - add).abs() <= 1e-12 * remove, "{remove} {add}");
        }
    }
}
