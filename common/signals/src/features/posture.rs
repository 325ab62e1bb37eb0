//! Posture features: where gravity points, and how much that changed since the epoch before.

use crate::recording::EPOCH_SECONDS;
use crate::{Features, Stream, View};

/// `[epochs, 4]`: norm of the change since the previous epoch (g), then mean x, y, z (g).
///
/// The change is 0 in the first epoch and after a gap.
pub(super) fn features(posture: &Stream, epochs: usize, view: View) -> Features {
    let mut values = Vec::with_capacity(epochs * 4);
    let mut present = Vec::with_capacity(epochs);
    let mut previous: Option<[f32; 3]> = None;
    for epoch in 0..epochs {
        let mean = mean(posture, epoch as f64 * EPOCH_SECONDS, view);
        let now = mean.unwrap_or_default();
        let change = match (previous, mean) {
            (Some(before), Some(now)) => distance(before, now),
            _ => 0.0,
        };
        values.push(change);
        values.extend(now);
        present.push(mean.is_some());
        previous = mean;
    }
    Features { width: 4, values, present }
}

/// The mean of the epoch's samples; without one, the sample nearest to the epoch's middle if it is
/// less than an epoch away (time stamps at one per epoch may slip over the edge), or the last one before it.
fn mean(posture: &Stream, from: f64, view: View) -> Option<[f32; 3]> {
    let inside = posture.within(from, from + EPOCH_SECONDS);
    let inside = if inside.is_empty() {
        let middle = from + EPOCH_SECONDS / 2.0;
        let (i, away) = match view {
            View::Around => posture.nearest(middle)?,
            View::Past => {
                let before = inside.start.checked_sub(1)?;
                (before, middle - posture.times()[before])
            }
        };
        if away >= EPOCH_SECONDS {
            return None;
        }
        i..i + 1
    } else {
        inside
    };
    let n = inside.len() as f32;
    let mut sum = [0.0; 3];
    for i in inside {
        for (s, v) in sum.iter_mut().zip(posture.sample(i)) {
            *s += v;
        }
    }
    Some(sum.map(|s| s / n))
}

fn distance(a: [f32; 3], b: [f32; 3]) -> f32 {
    let squares = a.iter().zip(b).map(|(a, b)| (a - b).powi(2));
    squares.sum::<f32>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StreamKind;

    #[test]
    fn change_is_the_norm_of_the_difference() {
        let times = vec![0.0, 10.0, 30.0, 60.0, 200.0];
        let xyz = [[0.0, 0.0, 1.0], [0.0, 0.2, 1.0], [0.3, 0.5, 1.0], [0.3, 0.5, 1.0], [1.0, 0.0, 0.0]];
        let stream = Stream::new(StreamKind::Posture, times, xyz.concat());
        let f = features(&stream, 7, View::Around);
        assert_eq!(f.epoch(0), [0.0, 0.0, 0.1, 1.0]);
        assert!((f.epoch(1)[0] - 0.5).abs() < 1e-6);
        assert_eq!(f.epoch(2)[0], 0.0);
        assert_eq!(f.present, [true, true, true, false, false, false, true]);
        assert_eq!(f.epoch(6), [0.0, 1.0, 0.0, 0.0], "no change is known after a gap");
    }
}
