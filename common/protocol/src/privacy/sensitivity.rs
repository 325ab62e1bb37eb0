//! How much one person can move a sum of whole numbers.

/// Bounds on one clipped and rounded update, in lane units. An absent person's update is zero.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Sensitivity {
    /// Sum of absolute values.
    pub l1: f64,
    /// Euclidean norm.
    pub l2: f64,
}

/// How real coordinates become whole ones; the expectation stays what it was, given that it is accepted.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Rounding {
    /// To either neighbour, once. The norm can grow by the root of the number of coordinates.
    Once,
    /// Again until the norm is within [`Sensitivity::l2`], which each trial is with probability 1 - `beta` at least; e^-.5 is
    /// usual (Kairouz, Liu and Steinke 2021).
    Conditional {
        /// Largest probability that a trial is rejected.
        beta: f64,
    },
}

impl Sensitivity {
    /// Of `weights` coordinates whose Euclidean norm is clipped to `norm` lane units before they are rounded.
    pub fn of(norm: f64, weights: u64, rounding: Rounding) -> Self {
        let d = weights as f64;
        let once = norm + d.sqrt();
        let l2 = match rounding {
            Rounding::Once => once,
            Rounding::Conditional { beta } => {
                let spread = (2.0 * beta.recip().ln()).sqrt() * (norm + 0.5 * d.sqrt());
                (norm * norm + 0.25 * d + spread).sqrt().min(once)
            }
        };
        // Whole numbers are no larger than their squares.
        Self { l1: (d.sqrt() * l2).min(l2 * l2), l2 }
    }
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;
    use crate::seed::Seed;

    #[test]
    fn rounding_stays_within_the_bound_as_often_as_it_says() {
        let beta = (-0.5f64).exp();
        let (norm, weights) = (40.0, 900u64);
        let bound = Sensitivity::of(norm, weights, Rounding::Conditional { beta });
        let once = Sensitivity::of(norm, weights, Rounding::Once);
        assert!(bound.l2 < once.l2 && bound.l1 < once.l1);
        let mut rng = Seed::from_number(3).rng();
        let value = norm / (weights as f64).sqrt();
        let mut accepted = 0;
        for _ in 0..400 {
            let rounded = (0..weights).map(|_| (value + rng.random::<f64>()).floor());
            let (mut squares, mut sum) = (0.0, 0.0);
            for coordinate in rounded {
                squares += coordinate * coordinate;
                sum += coordinate.abs();
            }
            assert!(squares.sqrt() <= once.l2 && sum <= once.l1);
            if squares.sqrt() <= bound.l2 {
                accepted += 1;
                assert!(sum <= bound.l1);
            }
        }
        assert!(f64::from(accepted) >= 400.0 * (1.0 - beta), "{accepted} of 400");
    }
}
