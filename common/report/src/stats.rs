//! Mean, spread and quantiles of a list of numbers.

use serde::{Deserialize, Serialize};

/// Mean and sample standard deviation (n - 1) of the values that are defined.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Spread {
    /// Values that entered.
    pub n: u64,
    /// Their mean; `None` when there is none.
    pub mean: Option<f64>,
    /// Their sample standard deviation; `None` below two values.
    pub sd: Option<f64>,
}

impl Spread {
    /// Mean and deviation of the defined values; an undefined one (`None`) and a value that is not finite are
    /// left out, and `n` says how many stayed.
    pub fn of<I>(values: I) -> Self
    where
        I: IntoIterator<Item = Option<f64>>,
    {
        let values: Vec<f64> = values.into_iter().flatten().filter(|value| value.is_finite()).collect();
        Self { n: values.len() as u64, mean: mean(&values), sd: sd(&values) }
    }
}

/// Arithmetic mean; `None` for an empty list.
#[must_use]
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// Sample standard deviation (n - 1); `None` below two values.
#[must_use]
pub fn sd(values: &[f64]) -> Option<f64> {
    if values.len() < 2 {
        return None;
    }
    let mean = mean(values)?;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    Some((squares / (values.len() - 1) as f64).sqrt())
}

/// Quantile `p` in 0..=1 by linear interpolation between order statistics (Hyndman and Fan's type 7, the
/// default of R and NumPy); `None` for an empty list. `sorted` must be in ascending order.
#[must_use]
pub fn quantile(sorted: &[f64], p: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let place = p.clamp(0.0, 1.0) * last as f64;
    let low = place.floor() as usize;
    let high = (low + 1).min(last);
    Some(sorted[low] + (place - low as f64) * (sorted[high] - sorted[low]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spread_leaves_undefined_values_out() {
        let spread = Spread::of([Some(1.0), None, Some(3.0), Some(f64::NAN)]);
        assert_eq!((spread.n, spread.mean), (2, Some(2.0)));
        assert!((spread.sd.unwrap() - std::f64::consts::SQRT_2).abs() < 1e-12);
        assert_eq!(Spread::of([Some(4.0)]), Spread { n: 1, mean: Some(4.0), sd: None });
        assert_eq!(Spread::of([None]), Spread::default());
    }

    #[test]
    fn quantiles_interpolate_as_type_seven() {
        let sorted = [1.0, 2.0, 3.0, 4.0];
        assert_eq!(quantile(&sorted, 0.25), Some(1.75));
        assert_eq!(quantile(&sorted, 1.0), Some(4.0));
        assert_eq!(quantile(&[], 0.5), None);
    }
}
