//! How an error falls with a network's size, and whether that tells the error of a size that was not looked at.
//!
//! "Error falls exponentially in the logarithm of the size" (arXiv 2511.18829), `c + a e^(-b log N)`, is a power law under another
//! name: with the natural logarithm `e^(-b ln N) = N^(-b)`, with any other one only `b` changes. So that is one form here, and the other
//! is one that really differs: `c + a e^(-N / s)`, an error that is at its floor after a few times `s` weights.

/// The least number of sizes that a law of three numbers is fitted to.
const LEAST: usize = 3;
/// Steps of the grid over a form's one shape, and the times it is made finer around its best place.
const STEPS: usize = 200;
const TIMES: usize = 3;
/// Powers of the size that are tried, from nearly none (a straight line over the logarithm) to a cliff.
const POWERS: (f64, f64) = (1e-3, 8.0);

/// In which way an error falls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Form {
    /// `c + a N^(-b)`, the shape is `b`.
    Power,
    /// `c + a e^(-N / s)`, the shape is `s`.
    Exponential,
}

/// A fitted law.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct SizeLaw {
    pub(crate) form: Form,
    /// What no size gets below, `c`, 0 or more.
    pub(crate) floor: f64,
    /// The error above the floor at the smallest size, 0 or more.
    pub(crate) above: f64,
    /// `b` of a power, weights of an exponential.
    pub(crate) shape: f64,
    /// Root mean square of what it leaves unexplained, in the error's unit.
    pub(crate) off: f64,
    smallest: f64,
}

impl SizeLaw {
    /// The law of a form with the least squares, of `(weights, error)`; floor, height and shape are never negative. `None`
    /// below three different sizes, or when a number is not finite or a size not above 0.
    pub(crate) fn fit(form: Form, points: &[(f64, f64)]) -> Option<Self> {
        let fine = |(n, error): &(f64, f64)| n.is_finite() && *n > 0.0 && error.is_finite();
        let mut sizes: Vec<f64> = points.iter().map(|(n, _)| *n).collect();
        sizes.sort_by(f64::total_cmp);
        sizes.dedup();
        if sizes.len() < LEAST || !points.iter().all(fine) {
            return None;
        }
        let (smallest, largest) = (sizes[0], sizes[sizes.len() - 1]);
        let (mut from, mut to) = match form {
            Form::Power => POWERS,
            // From done with the second size to hardly begun with the last.
            Form::Exponential => ((sizes[1] - smallest) / 20.0, 20.0 * largest),
        };
        let mut best: Option<Self> = None;
        for _ in 0..TIMES {
            let ratio = (to / from).powf(1.0 / STEPS as f64);
            for step in 0..=STEPS {
                let law = Self::with_shape(form, from * ratio.powi(step as i32), smallest, points);
                if best.is_none_or(|best| law.off < best.off) {
                    best = Some(law);
                }
            }
            let at = best?.shape;
            (from, to) = (at / ratio, at * ratio);
        }
        best
    }

    /// The error that it expects of so many weights.
    pub(crate) fn at(&self, weights: f64) -> f64 {
        self.floor + self.above * height(self.form, self.shape, self.smallest, weights)
    }

    /// Floor and height by least squares: the usual line if both are at least 0, else the better one of the two without either.
    fn with_shape(form: Form, shape: f64, smallest: f64, points: &[(f64, f64)]) -> Self {
        let rows: Vec<(f64, f64)> =
            points.iter().map(|(n, error)| (height(form, shape, smallest, *n), *error)).collect();
        let mean = |of: &dyn Fn(&(f64, f64)) -> f64| rows.iter().map(of).sum::<f64>() / rows.len() as f64;
        let (x, y) = (mean(&|row| row.0), mean(&|row| row.1));
        let (xx, xy) = (mean(&|row| (row.0 - x).powi(2)), mean(&|row| (row.0 - x) * (row.1 - y)));
        let slope = if xx > 0.0 { xy / xx } else { 0.0 };
        let line = (y - slope * x, slope);
        let flat = (y.max(0.0), 0.0);
        let floorless = (0.0, (mean(&|row| row.0 * row.1) / mean(&|row| row.0 * row.0)).max(0.0));
        let law = |(floor, above): (f64, f64)| {
            let off = mean(&|row| (floor + above * row.0 - row.1).powi(2)).sqrt();
            Self { form, floor, above, shape, off, smallest }
        };
        if line.0 >= 0.0 && line.1 >= 0.0 {
            return law(line);
        }
        let (flat, floorless) = (law(flat), law(floorless));
        if flat.off <= floorless.off { flat } else { floorless }
    }
}

/// The part of the height above the floor that is left at a size; 1 at the smallest.
fn height(form: Form, shape: f64, smallest: f64, weights: f64) -> f64 {
    match form {
        Form::Power => (weights / smallest).powf(-shape),
        Form::Exponential => (-(weights - smallest) / shape).exp(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: [f64; 6] = [1.3e3, 5e3, 1.4e4, 5.5e4, 1.9e5, 9.6e5];

    fn points(error: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
        SIZES.iter().map(|n| (*n, error(*n))).collect()
    }

    #[test]
    fn a_law_is_found_again_and_predicts_the_size_left_out() {
        let cases = [
            (Form::Power, 0.45, points(|n| 2.5 + 180.0 * n.powf(-0.45))),
            // The same in the paper's words, with decades.
            (Form::Power, 0.6 / std::f64::consts::LN_10, points(|n| 1.5 + 20.0 * (-0.6 * n.log10()).exp())),
            (Form::Exponential, 3e4, points(|n| 3.0 + 5.0 * (-n / 3e4).exp())),
        ];
        for (form, shape, all) in cases {
            let law = SizeLaw::fit(form, &all[..5]).unwrap();
            assert!((law.shape / shape - 1.0).abs() < 1e-2, "{law:?}");
            assert!(law.off < 1e-3 && (law.at(SIZES[5]) - all[5].1).abs() < 1e-2, "{law:?}");
            assert!((law.at(SIZES[0]) - law.floor - law.above).abs() < 1e-12);
            let other = if form == Form::Power { Form::Exponential } else { Form::Power };
            assert!(SizeLaw::fit(other, &all[..5]).unwrap().off > 10.0 * law.off);
        }
    }

    #[test]
    fn neither_floor_nor_height_is_negative() {
        // Steeper than any law with a floor of its own, then growing with the size, then below zero.
        let falling = SizeLaw::fit(Form::Power, &points(|n| 6.0 - 0.42 * n.ln())).unwrap();
        assert!(falling.floor == 0.0 && falling.above > 0.0, "{falling:?}");
        for form in [Form::Power, Form::Exponential] {
            let growing = SizeLaw::fit(form, &points(|n| 1.0 + 1e-6 * n)).unwrap();
            assert!(growing.above == 0.0 && (growing.at(1.0) - growing.at(1e9)).abs() < 1e-12, "{growing:?}");
            let below = SizeLaw::fit(form, &points(|_| -1.0)).unwrap();
            assert_eq!((below.floor, below.above), (0.0, 0.0));
        }
    }

    #[test]
    fn too_few_sizes_have_no_law() {
        let all = points(|n| 1.0 / n);
        let same = [all[0], all[1], all[1], all[0]];
        assert_eq!(SizeLaw::fit(Form::Power, &all[..2]), None);
        assert_eq!(SizeLaw::fit(Form::Power, &same), None);
        for odd in [(f64::NAN, 1.0), (0.0, 1.0), (10.0, f64::INFINITY)] {
            assert_eq!(SizeLaw::fit(Form::Exponential, &[all[0], all[1], all[2], odd]), None, "{odd:?}");
        }
    }
}
