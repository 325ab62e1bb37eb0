//! How much acceleration exceeds gravity.

use crate::segment::usual_rate;
use crate::{Stream, StreamKind};

/// Mean Euclidean norm minus one, `max(|a| − 1, 0)`, of each of `windows` windows of `seconds`, g, from time 0 (van Hees
/// et al. 2013, doi 10.1371/journal.pone.0061691, who take 5 s). `None` where less than half of the samples are there.
///
/// # Panics
/// When the stream is not of [`StreamKind::Accel`].
#[must_use]
pub fn enmo(accel: &Stream, seconds: f64, windows: usize) -> Vec<Option<f32>> {
    assert_eq!(accel.kind(), StreamKind::Accel, "ENMO is made of acceleration");
    let least = usual_rate(accel.times()).map_or(1.0, |rate| 0.5 * rate * seconds);
    let excess = |i: usize| {
        let squares = accel.sample(i).iter().map(|v| f64::from(*v).powi(2));
        (squares.sum::<f64>().sqrt() - 1.0).max(0.0)
    };
    let window = |k: usize| {
        let inside = accel.within(k as f64 * seconds, (k + 1) as f64 * seconds);
        let n = inside.len() as f64;
        (n > 0.0 && n >= least).then(|| (inside.map(excess).sum::<f64>() / n) as f32)
    };
    (0..windows).map(window).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stillness_is_zero_movement_its_mean_and_a_gap_none() {
        let times: Vec<f64> = (0..32 * 20).map(|i| f64::from(i) / 32.0).collect();
        let times: Vec<f64> = times.into_iter().filter(|t| !(11.0..15.0).contains(t)).collect();
        // Tilted and still; then now and then half a g more and as much less; then, after the gap, too little of everything.
        let xyz = |t: &f64| match *t {
            t if t < 5.0 => [0.6, 0.0, -0.8],
            t if t < 10.0 => [0.0, if ((t * 32.0) as u32).is_multiple_of(2) { 1.5 } else { 0.5 }, 0.0],
            _ => [0.0, 0.1, 0.2],
        };
        let values = times.iter().flat_map(xyz).collect();
        let accel = Stream::new(StreamKind::Accel, times, values);
        let found = enmo(&accel, 5.0, 5);
        assert!(found[0].unwrap() < 1e-6);
        assert!((found[1].unwrap() - 0.25).abs() < 1e-6, "{found:?}");
        assert_eq!(found[2..], [None, Some(0.0), None]);
        assert_eq!(enmo(&Stream::new(StreamKind::Accel, vec![], vec![]), 5.0, 2), [None, None]);
    }
}
