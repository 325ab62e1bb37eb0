//! The few loops over long runs of numbers, compiled for the widest vectors that the processor has.
//!
//! Each public function hands its loop to [`pulp::Arch::dispatch`], which compiles it once per instruction set and
//! chooses at run time. Sums run in sixteen lanes that are folded in a fixed order, so a result depends on the kind of
//! processor but never on chance or on other threads.

use pulp::Arch;

/// Floats that a loop handles at once; row lengths are multiples of it.
pub(crate) const LANES: usize = 16;

/// Runs `loops` compiled for this processor's vectors. It and all closures and functions in it must be `inline(always)`:
/// what is compiled apart is compiled for the least of processors.
pub(crate) fn dispatch<R>(loops: impl FnOnce() -> R) -> R {
    Arch::new().dispatch(loops)
}

/// The sum of sixteen lanes, always in the same order.
#[inline(always)]
pub(crate) fn fold(lanes: &[f32; LANES]) -> f32 {
    let mut half = [0.0; 8];
    for i in 0..8 {
        half[i] = lanes[i] + lanes[i + 8];
    }
    (half[0] + half[4]) + (half[1] + half[5]) + ((half[2] + half[6]) + (half[3] + half[7]))
}

/// e^x to 2 ulp for |x| < 87, by the reduction and polynomial of Cephes (Moshier 1989); clamped outside.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    // Adding this number rounds to an integer, in the low bits of the sum.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 87.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let p = 1.987_569_1e-4;
    let p = p * r + 1.398_199_9e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 0.5;
    let p = p * (r * r) + r + 1.0;
    let power = f32::from_bits(shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23);
    p * power
}

/// The GELU of `x` in its tanh form (Hendrycks and Gimpel 2016), and its derivative.
///
/// tanh is written through the logistic function, one exponential for both results.
#[inline(always)]
pub(crate) fn gelu(x: f32) -> (f32, f32) {
    const SLOPE: f32 = 1.595_769; // 2 sqrt(2 / pi)
    const CUBE: f32 = 0.044_715;
    let square = x * x;
    let s = 1.0 / (1.0 + exp(-SLOPE * x * (1.0 + CUBE * square)));
    let y = x * s;
    (y, s + y * (1.0 - s) * SLOPE * (1.0 + 3.0 * CUBE * square))
}

/// `to += from`, element by element.
pub(crate) fn add(to: &mut [f32], from: &[f32]) {
    dispatch(
        #[inline(always)]
        || {
            for (a, b) in to.iter_mut().zip(from) {
                *a += b;
            }
        },
    );
}

/// The sum of squares, in f64 across blocks so that a norm of many weights keeps its digits.
pub(crate) fn sum_of_squares(values: &[f32]) -> f64 {
    let (blocks, rest) = values.as_chunks::<LANES>();
    dispatch(
        #[inline(always)]
        || {
            let mut total = 0.0f64;
            for group in blocks.chunks(64) {
                let mut lanes = [0.0; LANES];
                for block in group {
                    for (lane, v) in lanes.iter_mut().zip(block) {
                        *lane += v * v;
                    }
                }
                total += f64::from(fold(&lanes));
            }
            total + rest.iter().map(|v| f64::from(v * v)).sum::<f64>()
        },
    )
}

/// Sums of the columns of `rows` (each `width` long), added to `sums`.
pub(crate) fn add_columns(sums: &mut [f32], rows: &[f32]) {
    let width = sums.len();
    dispatch(
        #[inline(always)]
        || {
            for row in rows.chunks_exact(width) {
                for (sum, v) in sums.iter_mut().zip(row) {
                    *sum += v;
                }
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_agrees_with_the_standard_library() {
        for i in -8000..=8000 {
            let x = i as f32 * 0.01;
            let (ours, theirs) = (exp(x), x.exp());
            assert!((ours / theirs - 1.0).abs() < 4e-7, "exp({x}) = {ours}, not {theirs}");
        }
        assert!(exp(-1e30) < 1e-37 && exp(1e30).is_finite());
    }

    #[test]
    fn gelu_and_its_slope_agree_with_finite_differences() {
        let exact = |x: f64| {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3));
            0.5 * x * (1.0 + inner.tanh())
        };
        for i in -600..=600 {
            let x = f64::from(i) * 0.02;
            let (y, slope) = gelu(x as f32);
            let expected = (exact(x + 1e-6) - exact(x - 1e-6)) / 2e-6;
            assert!((f64::from(y) - exact(x)).abs() < 2e-6, "gelu({x})");
            assert!((f64::from(slope) - expected).abs() < 1e-5, "gelu'({x})");
        }
    }

    #[test]
    fn sums_cover_the_ragged_end() {
        let values: Vec<f32> = (0..1_000).map(|v| v as f32 * 0.5).collect();
        let expected: f64 = values.iter().map(|v| f64::from(*v).powi(2)).sum();
        assert!((sum_of_squares(&values) / expected - 1.0).abs() < 1e-6);
    }
}
