//! Discrepancy analysis: by how much a device's night statistics miss the reference's, over a group of people.
//!
//! The pipeline of Menghini et al. (2021, Sleep 44:zsaa170; functions of SRI's sleep-trackers-performance), differences
//! always **device minus reference**:
//!
//! * bias = mean difference, limits of agreement = bias ± 1.96 SD; 95 % intervals from Student's t with n - 1 degrees of
//!   freedom, standard error SD / √n for the bias and √(3 SD² / n) for the limits (Bland and Altman 1986);
//! * proportional bias: the slope of difference on size differs from zero (its 95 % interval excludes 0); the bias is then
//!   b0 + b1 size and the limits lie ± 1.96 SD of the residuals about it;
//! * heteroscedasticity: the slope of |residual| on size differs from zero; the limits are then ± 2.46 (c0 + c1 size)
//!   about the bias (Bland and Altman 1999).
//!
//! One pair is one **person**: nights of one person are not independent, so average them first. The pipeline's
//! bootstrapped intervals and its logarithmic limits are alternatives that it offers and that are not built here.

use crate::night::NightStatistics;
use crate::special::{student_quantile, student_two_sided};
use crate::staging::Staging;
use crate::stats::{Spread, mean, sd};
use serde::{Deserialize, Serialize};

/// A value with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The point estimate.
    pub value: f64,
    /// Lower end of its 95 % interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// What the size of a measurement is taken to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Size {
    /// The reference's value (the pipeline's default).
    #[default]
    Reference,
    /// The mean of device and reference (Bland and Altman).
    Mean,
}

/// A straight line fitted by least squares.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Trend {
    /// Value at size 0.
    pub intercept: Estimate,
    /// Change per unit of size.
    pub slope: Estimate,
    /// Two-sided p value of the slope.
    pub p: f64,
    /// Sample standard deviation of the residuals (n - 1, as the pipeline takes it).
    pub residual_sd: f64,
    /// Whether the slope's 95 % interval excludes zero.
    pub significant: bool,
}

/// The discrepancy of one measure over a group of people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Discrepancy {
    /// The measure: `TST`, `SE`, ...
    pub measure: String,
    /// Its unit.
    pub unit: String,
    /// What size means in the two trends.
    pub size: Size,
    /// The reference's values.
    pub reference: Spread,
    /// The device's values.
    pub device: Spread,
    /// Mean difference, device minus reference.
    pub bias: Estimate,
    /// Standard deviation of the differences.
    pub sd: f64,
    /// Lower limit of agreement.
    pub lower: Estimate,
    /// Upper limit of agreement.
    pub upper: Estimate,
    /// Difference against size; `None` below three people or when all sizes are equal.
    pub proportional_bias: Option<Trend>,
    /// |Residual of that line| against size.
    pub heteroscedasticity: Option<Trend>,
}

impl Discrepancy {
    /// Analyses (reference, device) pairs, one per person. Pairs that are not finite are left out.
    ///
    /// `None` below two pairs.
    #[must_use]
    pub fn of(measure: &str, unit: &str, pairs: &[(f64, f64)], size: Size) -> Option<Self> {
        let pairs: Vec<(f64, f64)> =
            pairs.iter().copied().filter(|(r, d)| r.is_finite() && d.is_finite()).collect();
        let differences: Vec<f64> = pairs.iter().map(|(reference, device)| device - reference).collect();
        let sd = sd(&differences)?;
        let bias = mean(&differences)?;
        let n = pairs.len() as f64;
        let t = student_quantile(0.975, n - 1.0);
        let about =
            |value: f64, error: f64| Estimate { value, low: value - t * error, high: value + t * error };
        let limit_error = (3.0 * sd * sd / n).sqrt();

        let sizes: Vec<f64> = pairs
            .iter()
            .map(|&(reference, device)| match size {
                Size::Reference => reference,
                Size::Mean => f64::midpoint(reference, device),
            })
            .collect();
        let line = Trend::fit(&sizes, &differences);
        let spread = line.as_ref().and_then(|(_, residuals)| {
            let magnitudes: Vec<f64> = residuals.iter().map(|residual| residual.abs()).collect();
            Trend::fit(&sizes, &magnitudes)
        });
        Some(Self {
            measure: measure.to_owned(),
            unit: unit.to_owned(),
            size,
            reference: Spread::of(pairs.iter().map(|pair| Some(pair.0))),
            device: Spread::of(pairs.iter().map(|pair| Some(pair.1))),
            bias: about(bias, sd / n.sqrt()),
            sd,
            lower: about(bias - 1.96 * sd, limit_error),
            upper: about(bias + 1.96 * sd, limit_error),
            proportional_bias: line.map(|(trend, _)| trend),
            heteroscedasticity: spread.map(|(trend, _)| trend),
        })
    }

    /// (lower limit, bias, upper limit) for a measurement of this size: constants, unless the bias is proportional
    /// or the spread grows with size.
    #[must_use]
    pub fn limits_at(&self, size: f64) -> (f64, f64, f64) {
        let proportional = self.proportional_bias.filter(|trend| trend.significant);
        let growing = self.heteroscedasticity.filter(|trend| trend.significant);
        let bias = proportional.map_or(self.bias.value, |t| t.intercept.value + t.slope.value * size);
        let half = match (growing, proportional) {
            (Some(t), _) => 2.46 * (t.intercept.value + t.slope.value * size),
            (None, Some(t)) => 1.96 * t.residual_sd,
            (None, None) => 1.96 * self.sd,
        };
        (bias - half, bias, bias + half)
    }
}

impl Trend {
    /// Least squares of y on x with the line's residuals; `None` below three points or without spread in x.
    #[must_use]
    pub fn fit(x: &[f64], y: &[f64]) -> Option<(Self, Vec<f64>)> {
        if x.len() != y.len() || x.len() < 3 {
            return None;
        }
        let n = x.len() as f64;
        let (mx, my) = (mean(x)?, mean(y)?);
        let sxx: f64 = x.iter().map(|x| (x - mx).powi(2)).sum();
        // Relative to the size of x: equal values leave only rounding behind.
        if sxx <= 1e-20 * (1.0 + mx * mx) * n {
            return None;
        }
        let sxy: f64 = x.iter().zip(y).map(|(x, y)| (x - mx) * (y - my)).sum();
        let slope = sxy / sxx;
        let intercept = my - slope * mx;
        let residuals: Vec<f64> = x.iter().zip(y).map(|(x, y)| y - intercept - slope * x).collect();
        let df = n - 2.0;
        let variance = residuals.iter().map(|r| r * r).sum::<f64>() / df;
        let slope_error = (variance / sxx).sqrt();
        let intercept_error = (variance * (1.0 / n + mx * mx / sxx)).sqrt();
        let t = student_quantile(0.975, df);
        let about =
            |value: f64, error: f64| Estimate { value, low: value - t * error, high: value + t * error };
        let p = match (slope_error > 0.0, slope == 0.0) {
            (true, _) => student_two_sided(slope / slope_error, df),
            (false, true) => 1.0,
            (false, false) => 0.0,
        };
        let slope = about(slope, slope_error);
        let trend = Self {
            intercept: about(intercept, intercept_error),
            slope,
            p,
            residual_sd: sd(&residuals)?,
            significant: slope.low > 0.0 || slope.high < 0.0,
        };
        Some((trend, residuals))
    }
}

/// The discrepancy of every measure of [`NightStatistics::measures`] over people, one (reference, device) pair of
/// nights per entry and one list of nights per person; each person's nights are averaged first. A measure that is
/// undefined for fewer than two people in both is left out.
#[must_use]
pub fn discrepancies(
    people: &[Vec<(NightStatistics, NightStatistics)>],
    staging: &Staging,
    size: Size,
) -> Vec<Discrepancy> {
    let Some(template) = people.iter().flatten().next() else { return Vec::new() };
    template
        .0
        .measures(staging)
        .iter()
        .enumerate()
        .filter_map(|(index, (name, unit, _))| {
            let pairs: Vec<(f64, f64)> =
                people.iter().filter_map(|nights| person_mean(nights, staging, index)).collect();
            Discrepancy::of(name, unit, &pairs, size)
        })
        .collect()
}

/// One person's mean of measure `index` over the nights that define it on both sides.
pub(crate) fn person_mean(
    nights: &[(NightStatistics, NightStatistics)],
    staging: &Staging,
    index: usize,
) -> Option<(f64, f64)> {
    let (reference, device): (Vec<f64>, Vec<f64>) = nights
        .iter()
        .filter_map(|(r, d)| Some((r.measures(staging).get(index)?.2?, d.measures(staging).get(index)?.2?)))
        .unzip();
    Some((mean(&reference)?, mean(&device)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bias_and_limits_by_hand() {
        let pairs = [(400.0, 410.0), (380.0, 385.0), (420.0, 440.0), (390.0, 395.0)];
        let d = Discrepancy::of("TST", "min", &pairs, Size::Mean).unwrap();
        assert_eq!(d.bias.value, 10.0);
        let sd = (150.0_f64 / 3.0).sqrt();
        assert!((d.sd - sd).abs() < 1e-12);
        assert!((d.upper.value - (10.0 + 1.96 * sd)).abs() < 1e-12);
        // t(3) = 3.182446.
        assert!((d.bias.high - (10.0 + 3.182_446_305 * sd / 2.0)).abs() < 1e-6);
        assert!(
            (d.lower.low - (10.0 - 1.96 * sd - 3.182_446_305 * (3.0 * sd * sd / 4.0).sqrt())).abs() < 1e-6
        );
    }

    #[test]
    fn a_regression_matches_r() {
        // R: summary(lm(y ~ x)) for x = 1..5, y = (2.1, 3.9, 6.2, 7.8, 10.1).
        let (t, residuals) = Trend::fit(&[1., 2., 3., 4., 5.], &[2.1, 3.9, 6.2, 7.8, 10.1]).unwrap();
        assert!((t.slope.value - 1.99).abs() < 1e-12 && (t.intercept.value - 0.05).abs() < 1e-12);
        let error = (0.107_f64 / 3.0 / 10.0).sqrt();
        assert!((t.slope.high - (1.99 + 3.182_446_305 * error)).abs() < 1e-6);
        assert!(t.significant && t.p < 1e-3);
        assert!(residuals.iter().sum::<f64>().abs() < 1e-12);
    }

    #[test]
    fn proportional_bias_and_growing_spread_are_found() {
        let proportional: Vec<(f64, f64)> =
            (0..20).map(f64::from).map(|r| (r, 1.5 * r + 0.3 * (r * 7.0).sin())).collect();
        let d = Discrepancy::of("x", "min", &proportional, Size::Reference).unwrap();
        assert!(d.proportional_bias.unwrap().significant);
        let (low, bias, high) = d.limits_at(10.0);
        assert!((bias - 5.0).abs() < 0.2 && low < bias && bias < high && high - low < 1.5);

        let growing: Vec<(f64, f64)> = (1..=30)
            .map(|i| (f64::from(i), f64::from(i) + f64::from(i) * if i % 2 == 0 { 0.4 } else { -0.4 }))
            .collect();
        let d = Discrepancy::of("x", "min", &growing, Size::Reference).unwrap();
        assert!(d.heteroscedasticity.unwrap().significant);
        let width = |size| d.limits_at(size).2 - d.limits_at(size).0;
        assert!(width(30.0) > 3.0 * width(5.0));
    }

    #[test]
    fn too_few_or_equal_values_give_no_trend() {
        assert!(Discrepancy::of("x", "min", &[(1.0, 2.0)], Size::Mean).is_none());
        let flat =
            Discrepancy::of("x", "min", &[(1.0, 2.0), (1.0, 3.0), (1.0, 2.5)], Size::Reference).unwrap();
        assert_eq!((flat.proportional_bias, flat.heteroscedasticity), (None, None));
        let same =
            Discrepancy::of("x", "min", &[(1.0, 2.0), (2.0, 3.0), (3.0, 4.0)], Size::Reference).unwrap();
        assert!(same.proportional_bias.is_some_and(|t| !t.significant && t.p == 1.0));
    }

    #[test]
    fn nights_of_one_person_are_averaged_first() {
        let staging = Staging::four();
        let night = |sleep: usize| {
            let codes: Vec<Option<u8>> = (0..100).map(|i| Some(u8::from(i < sleep))).collect();
            NightStatistics::of(&codes, &staging, crate::NightOptions::default())
        };
        let people = vec![
            vec![(night(60), night(70)), (night(60), night(90))],
            vec![(night(50), night(50))],
            vec![(night(40), night(60))],
        ];
        let tst = &discrepancies(&people, &staging, Size::Reference)[0];
        assert_eq!((tst.measure.as_str(), tst.reference.n), ("TST", 3));
        assert!((tst.bias.value - (10.0 + 0.0 + 10.0) / 3.0).abs() < 1e-12);
    }
}
