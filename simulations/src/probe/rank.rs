//! The smooth effective rank: how many directions the rows of a matrix use, counted by weight.

/// Rounds over all pairs of columns, at most; a dozen are enough for hundreds of columns.
const SWEEPS: usize = 40;

/// exp(-sum p log p), where p are the singular values of `rows` `[n, width]` over their sum (Roy and Vetterli 2007; of
/// embeddings in arXiv 2312.05409). From 1 to the smaller side of the matrix; `None` of zeros or of nothing.
///
/// The matrix is taken as it is. Rows that share a large mean have a rank near 1, however they differ: [`centred`] takes it
/// away first.
///
/// # Panics
/// When `width` is 0.
#[must_use]
pub fn effective_rank(width: usize, rows: &[f32]) -> Option<f64> {
    let singular: Vec<f64> =
        eigenvalues(products(width, rows), width).iter().map(|v| v.max(0.0).sqrt()).collect();
    let sum: f64 = singular.iter().sum();
    let parts = singular.iter().map(|v| v / sum).filter(|p| *p > 0.0);
    (sum > 0.0 && sum.is_finite()).then(|| (-parts.map(|p| p * p.ln()).sum::<f64>()).exp())
}

/// `rows` `[n, width]` without the mean of each column.
///
/// # Panics
/// When `width` is 0.
#[must_use]
pub fn centred(width: usize, rows: &[f32]) -> Vec<f32> {
    let mut mean = vec![0.0f64; width];
    let part = 1.0 / (rows.len() / width).max(1) as f64;
    for row in rows.chunks_exact(width) {
        mean.iter_mut().zip(row).for_each(|(mean, v)| *mean += f64::from(*v) * part);
    }
    rows.chunks_exact(width)
        .flat_map(|row| row.iter().zip(&mean).map(|(v, mean)| (f64::from(*v) - mean) as f32))
        .collect()
}

/// Sums of products of columns, `[width, width]`.
fn products(width: usize, rows: &[f32]) -> Vec<f64> {
    let mut sums = vec![0.0; width * width];
    let mut wide = vec![0.0f64; width];
    for row in rows.chunks_exact(width) {
        wide.iter_mut().zip(row).for_each(|(wide, v)| *wide = f64::from(*v));
        for (v, sums) in wide.iter().zip(sums.chunks_exact_mut(width)) {
            sums.iter_mut().zip(&wide).for_each(|(sum, other)| *sum += v * other);
        }
    }
    sums
}

/// Those of a symmetric matrix `[n, n]`, in no order, by Jacobi's rotations: each makes one pair of columns independent, and
/// what is left beside the diagonal only shrinks.
fn eigenvalues(mut m: Vec<f64>, n: usize) -> Vec<f64> {
    let beside = |m: &[f64]| -> f64 { (0..n).flat_map(|i| m[i * n..][..i].iter().map(|v| v * v)).sum() };
    let all: f64 = m.iter().map(|v| v * v).sum();
    for _ in 0..SWEEPS {
        // Relative to the whole: far below what single precision puts in.
        let left = beside(&m);
        if left.is_nan() || left <= 1e-32 * all {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                rotate(&mut m, n, p, q);
            }
        }
    }
    (0..n).map(|i| m[i * n + i]).collect()
}

/// Turns columns and rows p and q until they have no product.
fn rotate(m: &mut [f64], n: usize, p: usize, q: usize) {
    let product = m[p * n + q];
    if product == 0.0 {
        return;
    }
    let theta = (m[q * n + q] - m[p * n + p]) / (2.0 * product);
    let tangent = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
    let cosine = 1.0 / (tangent * tangent + 1.0).sqrt();
    let sine = tangent * cosine;
    for row in m.chunks_exact_mut(n) {
        (row[p], row[q]) = (cosine * row[p] - sine * row[q], sine * row[p] + cosine * row[q]);
    }
    let (upper, lower) = m.split_at_mut(q * n);
    for (a, b) in upper[p * n..][..n].iter_mut().zip(&mut lower[..n]) {
        (*a, *b) = (cosine * *a - sine * *b, sine * *a + cosine * *b);
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn a_diagonal_has_the_rank_of_its_formula() {
        let diagonal = |values: &[f32]| -> Vec<f32> {
            let n = values.len();
            (0..n * n).map(|i| if i / n == i % n { values[i / n] } else { 0.0 }).collect()
        };
        assert!((effective_rank(5, &diagonal(&[2.0; 5])).unwrap() - 5.0).abs() < 1e-9);
        assert!((effective_rank(3, &diagonal(&[7.0, 0.0, 0.0])).unwrap() - 1.0).abs() < 1e-9);
        let p: [f64; 3] = [0.5, 0.3, 0.2];
        let expected = (-p.iter().map(|p| p * p.ln()).sum::<f64>()).exp();
        assert!((effective_rank(3, &diagonal(&[5.0, 3.0, 2.0])).unwrap() - expected).abs() < 1e-6);
    }

    #[test]
    fn turning_changes_nothing_and_copies_of_columns_add_nothing() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let rows: Vec<f32> = (0..300 * 3).map(|_| rng.random_range(-1.0..1.0)).collect();
        let rank = effective_rank(3, &rows).unwrap();
        assert!((2.9..=3.0).contains(&rank), "{rank}");
        let mixed: Vec<f32> = rows
            .chunks_exact(3)
            .flat_map(|r| [r[0], r[1], r[2], r[0] + r[1], r[1] - r[2], 2.0 * r[0], r[2]])
            .collect();
        let mixed = effective_rank(7, &mixed).unwrap();
        assert!(mixed < 3.0 + 1e-4, "{mixed}");
        let (sin, cos) = 0.7f32.sin_cos();
        let turned: Vec<f32> = rows
            .chunks_exact(3)
            .flat_map(|r| [cos * r[0] - sin * r[2], r[1], sin * r[0] + cos * r[2]])
            .collect();
        assert!((effective_rank(3, &turned).unwrap() - rank).abs() < 1e-4);
    }

    #[test]
    fn a_common_mean_hides_the_rest_until_it_is_taken_away() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let rows: Vec<f32> = (0..400 * 8).map(|_| 100.0 + rng.random_range(-1.0..1.0)).collect();
        assert!(effective_rank(8, &rows).unwrap() < 1.5);
        let away = centred(8, &rows);
        assert!(effective_rank(8, &away).unwrap() > 7.9);
        assert_eq!(
            (effective_rank(8, &[]), effective_rank(2, &[0.0; 6]), effective_rank(1, &[f32::NAN])),
            (None, None, None)
        );
    }
}
