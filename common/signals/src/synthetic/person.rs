//! What makes one synthetic person differ from another, night after night.

use super::chance::Chance;

/// A person's constants. Means and spreads follow the 23 usable people of the sleep-accel set.
#[derive(Debug, Clone)]
pub(super) struct Person {
    /// Heart rate in quiet N2 sleep, bpm.
    pub(super) baseline: f64,
    /// Scales every fluctuation of the heart rate.
    pub(super) variability: f64,
    /// Scales how often the person moves.
    pub(super) restlessness: f64,
    /// Scales the rate of awakenings and arousals.
    pub(super) lightness: f64,
    /// Scales deep sleep; falls with age.
    pub(super) deep: f64,
    /// Scales REM sleep.
    pub(super) dream: f64,
    /// Evening types (positive) fall asleep later and carry more REM toward the morning; about N(0, 1).
    pub(super) chronotype: f64,
    /// Heart rate above N2, bpm, in W, N1, N2, N3, REM. It is not the same for everyone, which is what makes
    /// a new person hard: some people's heart slows in REM.
    pub(super) rise: [f64; 5],
    /// Fluctuation relative to N2's, in W, N1, N2, N3, REM.
    pub(super) unrest: [f64; 5],
    /// How much a movement raises the heart rate, bpm.
    pub(super) startle: f64,
    /// Height of the hump that heart rate has in the second hour of the night, bpm.
    pub(super) evening_load: f64,
    /// Size of the slow wandering that has nothing to do with stages, bpm.
    pub(super) wander: f64,
}

impl Person {
    pub(super) fn new(chance: &mut Chance) -> Self {
        let age = chance.uniform(20.0, 60.0);
        let ageing = (age - 40.0) / 20.0;
        // One gain for the whole person on top of one per stage: who responds strongly does so in every stage.
        let response = chance.log_normal(1.0, 0.3);
        let rise = [(5.4, 3.2), (2.8, 2.0), (0.0, 0.0), (-1.0, 1.3), (3.4, 1.9)]
            .map(|(mean, sd)| response * chance.normal(mean, sd));
        let unrest = [(2.1, 0.25), (2.0, 0.22), (1.0, 0.0), (0.68, 0.18), (1.45, 0.16)]
            .map(|(median, sd)| chance.log_normal(median, sd));
        Self {
            baseline: chance.normal(64.0 + ageing, 10.5).clamp(44.0, 90.0),
            variability: chance.log_normal(1.0 - 0.15 * ageing, 0.22),
            restlessness: chance.log_normal(1.0, 0.35),
            lightness: chance.log_normal(1.0 + 0.2 * ageing, 0.35),
            deep: chance.log_normal(1.0 - 0.25 * ageing, 0.40),
            dream: chance.log_normal(1.0, 0.22),
            chronotype: chance.normal(-0.3 * ageing, 1.0),
            rise,
            unrest,
            startle: chance.log_normal(7.0, 0.35),
            evening_load: chance.normal(3.0, 2.2),
            wander: chance.log_normal(1.6, 0.4),
        }
    }
}
