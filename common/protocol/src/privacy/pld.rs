//! Accounting by privacy loss distributions (Sommer et al. 2019; Koskela et al. 2020): the loss of a round is a random
//! number, losses of rounds add, so their distributions are convolved. Tighter than orders, never below the truth.

use super::cost::{Cost, Noise};
use super::dominating::{Direction, Losses, Pair};
use super::fft::{Complex, Fft};
use super::normal::{ln_tail, tail};

/// The probability of what the grid leaves out, as a part of delta; it counts as lost.
const LEFT_OUT: f64 = 1e-4;
/// Points that resolve a round's loss within one standard deviation.
const RESOLUTION: f64 = 32.0;
/// Fewest and most points of a grid, powers of two.
const POINTS: (usize, usize) = (1 << 15, 1 << 20);
/// Points of the first look at how far losses reach.
const SKETCH: f64 = 1024.0;
/// More noise than this is counted as this: nothing is left to resolve in double precision.
const MOST_NOISE: f64 = 1e5;
/// With less noise than this the loss is in the hundreds of thousands.
const LEAST_NOISE: f64 = 1e-3;

/// An upper bound on epsilon at `delta`, in 0 to infinity, the larger of adding and removing a person. None if there
/// is noise other than Gaussian, or next to none, for which [`super::rdp`] has to do.
///
/// Below a delta of 1e-10 the arithmetic's own error makes the bound loose, not wrong.
pub fn epsilon(cost: &Cost, delta: f64) -> Option<f64> {
    if delta >= 1.0 {
        return Some(0.0);
    }
    if !cost.spends().iter().all(|(spend, _)| spend.is_sound()) || delta.is_nan() || delta <= 0.0 {
        return None;
    }
    let mut rounds = Vec::new();
    for (spend, times) in cost.folded().spends() {
        let Noise::Gaussian { multiplier } = spend.noise else { return None };
        if multiplier < LEAST_NOISE {
            return None;
        }
        rounds.push((spend.rate, multiplier.min(MOST_NOISE), *times));
    }
    match rounds[..] {
        [] => Some(0.0),
        [(1.0, multiplier, 1)] => Some(one_gaussian(multiplier, delta)),
        _ => {
            let towards = |direction| {
                let pair = |&(rate, multiplier, times): &_| (Pair { direction, rate, multiplier }, times);
                composed(&rounds.iter().map(pair).collect::<Vec<_>>(), delta)
            };
            Some(towards(Direction::Remove)?.max(towards(Direction::Add)?))
        }
    }
}

/// Epsilon of a Gaussian without sampling, exactly (Balle and Wang 2018).
fn one_gaussian(multiplier: f64, delta: f64) -> f64 {
    let centre = 0.5 / multiplier;
    let lost = |epsilon: f64| {
        let x = epsilon * multiplier;
        tail(x - centre) - (epsilon + ln_tail(x + centre)).exp()
    };
    let (mut low, mut high) = (0.0, 1e-9);
    while lost(high) > delta {
        (low, high) = (high, 2.0 * high);
    }
    if low == 0.0 && lost(0.0) <= delta {
        return 0.0;
    }
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if lost(middle) > delta { low = middle } else { high = middle }
    }
    high
}

/// Epsilon of several rounds of each pair.
fn composed(rounds: &[(Pair, u64)], delta: f64) -> Option<f64> {
    let left_out = LEFT_OUT * delta;
    let times: u64 = rounds.iter().fold(0, |sum, (_, times)| sum.saturating_add(*times));
    // A Gaussian tail beyond k is below exp(-k²/2)/2.
    let k = (2.0 * (times as f64 / left_out).ln()).sqrt();
    let (mut single, mut finest) = (0f64, f64::INFINITY);
    for (pair, _) in rounds {
        let (low, high) = pair.range(k);
        single = single.max(high - low);
        finest = finest.min(pair.width());
    }
    // NaN included: noise so extreme that losses are no numbers.
    if !(1e-100..1e9).contains(&single) || finest.is_nan() {
        return None;
    }
    let sketches: Vec<(Losses, u64)> =
        rounds.iter().map(|(pair, times)| (pair.discretise(single / SKETCH, k), *times)).collect();
    let reach = Reach::of(&sketches, left_out);
    let span = 1.02 * single.max(reach.high - reach.low);
    let points = (span * RESOLUTION / finest).min(POINTS.1 as f64) as usize;
    let points = points.next_power_of_two().clamp(POINTS.0, POINTS.1);
    let step = span / points as f64;
    // The last: a window so far out that its indices are no exact numbers.
    if step.is_nan() || step >= 1.0 || reach.low.abs() > step * (1u64 << 52) as f64 {
        return None;
    }
    let losses: Vec<(Losses, u64)> =
        rounds.iter().map(|(pair, times)| (pair.discretise(step, k), *times)).collect();
    let first = (reach.low / step).floor() as i64;
    let top = (first + points as i64) as f64 * step;
    // What lies above the window comes out at its lower end, so it is counted here; what lies below comes out as a high
    // loss.
    let beyond = (cumulant(&losses, reach.order) - reach.order * top).exp();
    let survives: f64 = losses.iter().map(|(round, times)| *times as f64 * (-round.infinite).ln_1p()).sum();
    let lost = beyond - survives.exp_m1();
    Some(read(&sum(&losses, points), first, step, delta - lost))
}

/// ln E[e^(order * sum of losses)].
fn cumulant(losses: &[(Losses, u64)], order: f64) -> f64 {
    losses.iter().map(|(round, times)| *times as f64 * round.cumulant(order)).sum()
}

/// How far the sum of losses reaches, by Chernoff's bound.
struct Reach {
    low: f64,
    high: f64,
    /// The order of the moment that bounds the upper end.
    order: f64,
}

impl Reach {
    /// Ends that the sum passes with probability `left_out` at most.
    fn of(losses: &[(Losses, u64)], left_out: f64) -> Self {
        let bound = |order: f64| (cumulant(losses, order) - left_out.ln()) / order.abs();
        let variance: f64 = losses.iter().map(|(round, times)| *times as f64 * round.variance()).sum();
        // The best order for a Gaussian sum; heavier tails want a smaller one. Any order bounds.
        let gaussian = (-2.0 * left_out.ln() / variance).sqrt();
        let best = |sign: f64| {
            let orders = (-16..=2).map(|i| sign * gaussian * f64::from(i).exp2().sqrt());
            let bounds = orders.map(|order| (bound(order), order)).filter(|(bound, _)| bound.is_finite());
            bounds.min_by(|a, b| a.0.total_cmp(&b.0)).unwrap_or((f64::INFINITY, sign))
        };
        let ((high, order), (low, _)) = (best(1.0), best(-1.0));
        Self { low: -low, high, order }
    }
}

/// The distribution of the sum of all losses, on a circle: the loss of index i is at i modulo `points`.
fn sum(losses: &[(Losses, u64)], points: usize) -> Vec<f64> {
    let fft = Fft::new(points);
    let mut product = vec![Complex { re: 1.0, im: 0.0 }; points];
    for (round, times) in losses {
        let mut circle = vec![Complex::default(); points];
        for (index, mass) in (round.first..).zip(&round.mass) {
            circle[index.rem_euclid(points as i64) as usize].re += mass;
        }
        fft.forward(&mut circle);
        for (product, frequency) in product.iter_mut().zip(circle) {
            *product = product.times(frequency.power(*times));
        }
    }
    fft.backward(&mut product);
    // Negative values are the arithmetic's error.
    product.into_iter().map(|value| value.re.max(0.0)).collect()
}

/// The smallest epsilon >= 0 with E[(1 - e^(epsilon - loss))+] <= delta, for losses from index `first` on.
fn read(circle: &[f64], first: i64, step: f64, delta: f64) -> f64 {
    if delta.is_nan() || delta <= 0.0 {
        return f64::INFINITY;
    }
    let shrink = (-step).exp();
    // P(loss > epsilon), and E[e^(epsilon - loss); loss > epsilon], at epsilon = index * step.
    let (mut above, mut discounted) = (0.0, 0.0);
    for index in (first.max(-1)..first + circle.len() as i64).rev() {
        if above - discounted > delta {
            let within = ((above - delta) / discounted).ln();
            return ((index + 1) as f64 * step + within).max(0.0);
        }
        let mass = circle[index.rem_euclid(circle.len() as i64) as usize];
        above += mass;
        discounted = (discounted + mass) * shrink;
    }
    0.0
}
