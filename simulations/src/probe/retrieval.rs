//! Retrieval: of all windows of one stream, is the nearest to a window of another the one of the same moment?

/// How far up the right one is, over all questions. Only with the size of the gallery does it mean anything.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Retrieval {
    /// Rows to choose from, and questions.
    pub gallery: usize,
    /// Share of questions whose right row is the nearest.
    pub top1: f64,
    /// Share whose right row is among the nearest five.
    pub top5: f64,
    /// Mean place of the right row, from 1.
    pub mean_rank: f64,
}

impl Retrieval {
    /// What a guess gets: 1 / M, 5 / M at most 1, and (M + 1) / 2 of M rows.
    #[must_use]
    pub fn chance(gallery: usize) -> Self {
        let rows = gallery.max(1) as f64;
        let share = |places: f64| (places / rows).min(1.0);
        Self { gallery, top1: share(1.0), top5: share(5.0), mean_rank: (rows + 1.0) / 2.0 }
    }
}

/// Looks every row of `queries` `[n, width]` up in `gallery` `[n, width]` by cosine; row i of one belongs to row i of the
/// other. Rows that are equally near share their places: an embedding that is the same everywhere gets what a guess gets.
/// `None` of no rows.
///
/// # Panics
/// When the two differ in length, or `width` is 0.
#[must_use]
pub fn retrieval(queries: &[f32], gallery: &[f32], width: usize) -> Option<Retrieval> {
    assert_eq!(queries.len(), gallery.len(), "pairs");
    let (queries, gallery) = (unit(queries, width), unit(gallery, width));
    let rows = gallery.len() / width;
    if rows == 0 {
        return None;
    }
    let (mut top1, mut top5, mut places) = (0.0, 0.0, 0.0);
    for (own, query) in queries.chunks_exact(width).enumerate() {
        let near: Vec<f32> = gallery.chunks_exact(width).map(|row| dot(query, row)).collect();
        // A number that is none is nowhere near.
        let further = near.iter().filter(|one| **one < near[own]).count();
        let alike = if near[own].is_nan() { 1 } else { near.iter().filter(|one| **one == near[own]).count() };
        let nearer = rows - further - alike;
        let within = |best: usize| best.saturating_sub(nearer).min(alike) as f64 / alike as f64;
        top1 += within(1);
        top5 += within(5);
        places += nearer as f64 + (alike as f64 + 1.0) / 2.0;
    }
    let part = 1.0 / rows as f64;
    Some(Retrieval { gallery: rows, top1: top1 * part, top5: top5 * part, mean_rank: places * part })
}

/// Rows of length 1; a row of zeros stays.
fn unit(rows: &[f32], width: usize) -> Vec<f32> {
    let length = |row: &[f32]| row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
    let scaled = |row: &[f32]| -> Vec<f32> {
        let inverse = match length(row) {
            0.0 => 0.0,
            length => 1.0 / length,
        };
        row.iter().map(|v| (f64::from(*v) * inverse) as f32).collect()
    };
    rows.chunks_exact(width).flat_map(scaled).collect()
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    // Eight sums side by side, so that they can be one vector.
    let (a, b) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut lanes = [0.0; 8];
    for (a, b) in a.0.iter().zip(b.0) {
        lanes.iter_mut().zip(a.iter().zip(b)).for_each(|(lane, (a, b))| *lane += a * b);
    }
    lanes.iter().sum::<f32>() + a.1.iter().zip(b.1).map(|(a, b)| a * b).sum::<f32>()
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn rows(n: usize, width: usize, seed: u64) -> Vec<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        (0..n * width).map(|_| rng.random_range(-1.0..1.0)).collect()
    }

    #[test]
    fn a_row_finds_itself_at_any_length_and_strangers_are_a_guess() {
        let gallery = rows(200, 13, 1);
        let longer: Vec<f32> = gallery.iter().map(|v| v * 40.0).collect();
        let found = retrieval(&longer, &gallery, 13).unwrap();
        assert_eq!(found, Retrieval { gallery: 200, top1: 1.0, top5: 1.0, mean_rank: 1.0 });
        let strangers = retrieval(&rows(200, 13, 2), &gallery, 13).unwrap();
        let chance = Retrieval::chance(200);
        assert!((strangers.mean_rank - chance.mean_rank).abs() < 12.0, "{strangers:?}");
        assert!(strangers.top5 < 0.1 && chance.top5 == 0.025, "{strangers:?}");
    }

    #[test]
    fn rows_that_are_all_alike_get_exactly_what_a_guess_gets() {
        for collapsed in [vec![1.0; 30 * 4], vec![0.0; 30 * 4]] {
            let found = retrieval(&rows(30, 4, 1), &collapsed, 4).unwrap();
            let chance = Retrieval::chance(30);
            assert!((found.top1 - chance.top1).abs() < 1e-12, "{found:?}");
            assert!((found.top5 - chance.top5).abs() < 1e-12 && found.mean_rank == 15.5, "{found:?}");
        }
        let nothing = retrieval(&rows(30, 4, 1), &[f32::NAN; 30 * 4], 4).unwrap();
        assert_eq!((nothing.top1, nothing.mean_rank), (0.0, 30.0));
    }

    #[test]
    fn places_are_counted_by_hand() {
        // Angles of the gallery; each question is nearest to the row after its own, but for the last.
        let on = |degrees: f32| [degrees.to_radians().cos(), degrees.to_radians().sin()];
        let gallery: Vec<f32> = [0.0, 30.0, 60.0, 90.0].into_iter().flat_map(on).collect();
        let queries: Vec<f32> = [29.0, 59.0, 89.0, 91.0].into_iter().flat_map(on).collect();
        let found = retrieval(&queries, &gallery, 2).unwrap();
        // Of the first three the own row is beaten by the next; the one after that is further away by two degrees.
        assert_eq!((found.top1, found.mean_rank, found.top5), (0.25, (2.0 + 2.0 + 2.0 + 1.0) / 4.0, 1.0));
        assert_eq!(retrieval(&[], &[], 2), None);
    }
}
