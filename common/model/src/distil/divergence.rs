//! How far a student's logits are from its teacher's, epoch by epoch, and which way is down.
//!
//! Everything is computed from logarithms of sums, in double precision: a sure teacher's other classes have probabilities that
//! single precision would round to nothing, and it is those that decoupled distillation is about.

/// A row's `T^2 KL(teacher || student)` at temperature T (Hinton et al. 2015); adds `weight` times its gradient to `slope`.
/// Rows of logits, `[classes]`.
pub(super) fn soft(
    teacher: &[f32],
    student: &[f32],
    temperature: f64,
    weight: f64,
    slope: &mut [f32],
) -> f64 {
    let (taught, own) = (Row::new(teacher, temperature), Row::new(student, temperature));
    let (all, own_all) = (taught.log_sum(None), own.log_sum(None));
    let mut total = 0.0;
    for (class, d) in slope.iter_mut().enumerate() {
        let (log_t, log_s) = (taught.at(class) - all, own.at(class) - own_all);
        total += log_t.exp() * (log_t - log_s);
        *d += (weight * temperature * (log_s.exp() - log_t.exp())) as f32;
    }
    temperature * temperature * total
}

/// Weights of the two parts of [`decoupled`].
#[derive(Clone, Copy)]
pub(super) struct Parts {
    /// Of the target class against all others.
    pub(super) target: f64,
    /// Of the others among themselves.
    pub(super) others: f64,
}

/// A row's `T^2 (alpha KL(b) + beta KL(p^))` (Zhao et al. 2022), where b is the target class against the rest and p^ the rest
/// without it; adds `weight` times its gradient to `slope`. Rows of logits, `[classes]`.
///
/// With `alpha = 1` and `beta` the teacher's own probability of the rest it is [`soft`].
pub(super) fn decoupled(
    teacher: &[f32],
    student: &[f32],
    target: usize,
    parts: Parts,
    temperature: f64,
    weight: f64,
    slope: &mut [f32],
) -> f64 {
    let (taught, own) = (Row::new(teacher, temperature), Row::new(student, temperature));
    let sums = |row: &Row<'_>| (row.log_sum(None), row.log_sum(Some(target)));
    let ((all, rest), (own_all, own_rest)) = (sums(&taught), sums(&own));
    // Logarithms of b, of the target class and of the rest.
    let (log_y, log_not) = (taught.at(target) - all, rest - all);
    let (own_y, own_not) = (own.at(target) - own_all, own_rest - own_all);
    let (p, q) = (log_y.exp(), own_y.exp());
    let sure = p * (log_y - own_y) + log_not.exp() * (log_not - own_not);
    let mut others = 0.0;
    let scale = weight * temperature;
    for (class, d) in slope.iter_mut().enumerate() {
        if class == target {
            *d += (scale * parts.target * (q - p)) as f32;
            continue;
        }
        let (log_t, log_s) = (taught.at(class) - rest, own.at(class) - own_rest);
        others += log_t.exp() * (log_t - log_s);
        let down = parts.target * log_s.exp() * (p - q) + parts.others * (log_s.exp() - log_t.exp());
        *d += (scale * down) as f32;
    }
    temperature * temperature * (parts.target * sure + parts.others * others)
}

/// Logits over a temperature.
struct Row<'a> {
    logits: &'a [f32],
    temperature: f64,
}

impl<'a> Row<'a> {
    fn new(logits: &'a [f32], temperature: f64) -> Self {
        Self { logits, temperature }
    }

    fn at(&self, class: usize) -> f64 {
        f64::from(self.logits[class]) / self.temperature
    }

    /// The logarithm of the sum of exponentials, of all classes or without one.
    fn log_sum(&self, without: Option<usize>) -> f64 {
        let others = || (0..self.logits.len()).filter(|class| Some(*class) != without);
        let top = others().map(|class| self.at(class)).fold(f64::NEG_INFINITY, f64::max);
        top + others().map(|class| (self.at(class) - top).exp()).sum::<f64>().ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEACHER: [f32; 4] = [2.0, -1.0, 0.5, 1.2];
    const STUDENT: [f32; 4] = [0.3, 0.8, -0.6, 1.1];

    /// Against finite differences of the value.
    fn slope_is_right(of: impl Fn(&[f32], &mut [f32]) -> f64) {
        let mut slope = [0.0; 4];
        of(&STUDENT, &mut slope);
        for class in 0..4 {
            let at = |d: f32| {
                let mut moved = STUDENT;
                moved[class] += d;
                of(&moved, &mut [0.0; 4])
            };
            let expected = (at(5e-3) - at(-5e-3)) / 1e-2;
            assert!((f64::from(slope[class]) - expected).abs() < 1e-4, "{class}: {slope:?} {expected}");
        }
    }

    #[test]
    fn gradients_are_the_slopes() {
        for temperature in [1.0, 4.0] {
            slope_is_right(|student, slope| soft(&TEACHER, student, temperature, 1.0, slope));
            for (target, parts) in
                [(0, Parts { target: 1.0, others: 0.0 }), (2, Parts { target: 0.7, others: 6.0 })]
            {
                slope_is_right(|student, slope| {
                    decoupled(&TEACHER, student, target, parts, temperature, 1.0, slope)
                });
            }
        }
    }

    /// KD = KL(b) + (1 - p_y) KL(p^), in value and in gradient.
    #[test]
    fn the_parts_put_together_are_the_whole() {
        for temperature in [1.0, 3.0] {
            for (target, logit) in TEACHER.into_iter().enumerate() {
                let all = Row::new(&TEACHER, temperature).log_sum(None);
                let rest = 1.0 - (f64::from(logit) / temperature - all).exp();
                let parts = Parts { target: 1.0, others: rest };
                let (mut whole, mut put) = ([0.0f32; 4], [0.0f32; 4]);
                let a = soft(&TEACHER, &STUDENT, temperature, 1.0, &mut whole);
                let b = decoupled(&TEACHER, &STUDENT, target, parts, temperature, 1.0, &mut put);
                assert!((a - b).abs() < 1e-12, "{a} {b}");
                assert!(whole.iter().zip(put).all(|(a, b)| (a - b).abs() < 1e-6), "{whole:?} {put:?}");
            }
        }
    }

    #[test]
    fn who_agrees_has_nothing_to_learn_and_the_sure_are_no_trouble() {
        let parts = Parts { target: 1.0, others: 8.0 };
        let mut slope = [0.0; 4];
        assert!(soft(&TEACHER, &TEACHER, 2.0, 1.0, &mut slope).abs() < 1e-12);
        assert!(decoupled(&TEACHER, &TEACHER, 1, parts, 2.0, 1.0, &mut slope).abs() < 1e-12);
        assert!(slope.iter().all(|d| d.abs() < 1e-6));
        // p_y is 1 to the last digit of single precision.
        let sure = [200.0, 1.0, 0.0, -1.0];
        let value = decoupled(&sure, &STUDENT, 0, parts, 1.0, 1.0, &mut slope);
        assert!(value.is_finite() && value > 1.0 && slope.iter().all(|d| d.is_finite()), "{value} {slope:?}");
        assert!(slope[1..].iter().any(|d| d.abs() > 0.1), "the others still teach: {slope:?}");
    }
}
