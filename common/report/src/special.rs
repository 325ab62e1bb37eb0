//! The few distribution functions the statistics need, to about 1e-12: no dependency is worth three curves.

/// Standard normal distribution function.
pub(crate) fn normal_cdf(z: f64) -> f64 {
    // Through the regularised incomplete gamma function: erfc(x) = Q(1/2, x^2).
    let tail = 0.5 * upper_gamma_half(z * z / 2.0);
    if z > 0.0 { 1.0 - tail } else { tail }
}

/// Distribution function of Student's t with `df` degrees of freedom.
pub(crate) fn student_cdf(t: f64, df: f64) -> f64 {
    let tail = 0.5 * incomplete_beta(df / (df + t * t), df / 2.0, 0.5);
    if t > 0.0 { 1.0 - tail } else { tail }
}

/// Two-sided p value of a t statistic.
pub(crate) fn student_two_sided(t: f64, df: f64) -> f64 {
    incomplete_beta(df / (df + t * t), df / 2.0, 0.5)
}

/// Quantile of Student's t: the `t` with `student_cdf(t, df) == p`, by bisection.
pub(crate) fn student_quantile(p: f64, df: f64) -> f64 {
    if p < 0.5 {
        return -student_quantile(1.0 - p, df);
    }
    let mut high = 1.0;
    while student_cdf(high, df) < p && high < 1e12 {
        high *= 2.0;
    }
    let mut low = 0.0;
    for _ in 0..200 {
        let middle = f64::midpoint(low, high);
        if student_cdf(middle, df) < p { low = middle } else { high = middle }
    }
    f64::midpoint(low, high)
}

/// Logarithm of the gamma function for x > 0 (Lanczos, g = 7, nine terms).
fn ln_gamma(x: f64) -> f64 {
    const TERMS: [f64; 8] = [
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    let x = x - 1.0;
    let sum = TERMS
        .iter()
        .enumerate()
        .fold(0.999_999_999_999_809_9, |sum, (i, term)| sum + term / (x + i as f64 + 1.0));
    let t = x + 7.5;
    0.5 * (2.0 * std::f64::consts::PI).ln() + (x + 0.5) * t.ln() - t + sum.ln()
}

/// Regularised incomplete beta function I_x(a, b) by Lentz's continued fraction.
fn incomplete_beta(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    let front = (ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (1.0 - x).ln()).exp();
    // The fraction converges fast on this side of the mean; the other side is its mirror.
    if x < (a + 1.0) / (a + b + 2.0) {
        front * beta_fraction(x, a, b) / a
    } else {
        1.0 - front * beta_fraction(1.0 - x, b, a) / b
    }
}

fn beta_fraction(x: f64, a: f64, b: f64) -> f64 {
    let away = |v: f64| if v.abs() < 1e-300 { 1e-300 } else { v };
    let mut c = 1.0;
    let mut d = 1.0 / away(1.0 - (a + b) * x / (a + 1.0));
    let mut h = d;
    for m in 1..500 {
        let m = f64::from(m);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / away(1.0 + even * d);
        c = away(1.0 + even / c);
        h *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / away(1.0 + odd * d);
        c = away(1.0 + odd / c);
        h *= d * c;
        if (d * c - 1.0).abs() < 1e-15 {
            break;
        }
    }
    h
}

/// Q(1/2, x): the upper regularised incomplete gamma function at one half.
fn upper_gamma_half(x: f64) -> f64 {
    if x <= 0.0 {
        return 1.0;
    }
    let front = (-x + 0.5 * x.ln() - ln_gamma(0.5)).exp();
    if x < 1.5 {
        // Series for the lower function.
        let (mut term, mut sum, mut a) = (2.0, 2.0, 0.5);
        while term > sum * 1e-17 {
            a += 1.0;
            term *= x / a;
            sum += term;
        }
        1.0 - front * sum
    } else {
        let mut b = x + 0.5;
        let mut c = 1e300;
        let mut d = 1.0 / b;
        let mut h = d;
        for i in 1..500 {
            let i = f64::from(i);
            let an = -i * (i - 0.5);
            b += 2.0;
            d = 1.0 / (an * d + b);
            c = b + an / c;
            h *= d * c;
            if (d * c - 1.0).abs() < 1e-15 {
                break;
            }
        }
        front * h
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_matches_published_tables() {
        for (z, p) in [
            (0.0, 0.5),
            (1.0, 0.841_344_746_068_543),
            (-1.959_963_984_540_054, 0.025),
            (3.0, 0.998_650_101_968_370),
            (-5.0, 2.866_515_718_791_939e-7),
        ] {
            assert!((normal_cdf(z) - p).abs() < 1e-11, "Phi({z}) = {}", normal_cdf(z));
        }
    }

    #[test]
    fn student_matches_published_tables() {
        for (df, t) in [
            (1.0, 12.706_204_736),
            (4.0, 2.776_445_105),
            (13.0, 2.160_368_656),
            (30.0, 2.042_272_456),
            (1000.0, 1.962_339_081),
        ] {
            assert!(
                (student_quantile(0.975, df) - t).abs() < 1e-7,
                "t({df}) = {}",
                student_quantile(0.975, df)
            );
            assert!((student_two_sided(t, df) - 0.05).abs() < 1e-9);
            assert!((student_quantile(0.025, df) + t).abs() < 1e-7);
        }
        assert!((student_cdf(0.0, 5.0) - 0.5).abs() < 1e-12);
    }
}
