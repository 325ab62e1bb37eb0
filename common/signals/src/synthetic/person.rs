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
    /// How the person is awake.
    pub(super) waking: Waking,
}

/// How a person is awake in bed.
#[derive(Debug, Clone)]
pub(super) struct Waking {
    /// Part of the wake bouts that are spent lying still.
    pub(super) quiet: f64,
    /// Movement in those, relative to restless wake.
    pub(super) stillness: f64,
    /// Movement awake, relative to others as restless asleep.
    pub(super) stirring: f64,
    /// Median epochs from lights out to sleep.
    pub(super) latency: f64,
    /// Chance that the recording goes on after the last awakening, and mean epochs of that.
    pub(super) last: (f64, f64),
    /// Part of the awakenings that are long, and their mean epochs.
    pub(super) long: (f64, f64),
}

impl Waking {
    /// What most people of a sleep laboratory do.
    const USUAL: Self = Self {
        quiet: 0.3,
        stillness: 0.3,
        stirring: 1.0,
        latency: 39.0,
        last: (0.6, 8.0),
        long: (0.14, 14.0),
    };

    /// Any habit that beds have seen, the more so the larger `diversity`; the usual ones at 0.
    fn new(diversity: f64, chance: &mut Chance) -> Self {
        let usual = Self::USUAL;
        let d = diversity;
        let mut around = |median: f64, sd: f64| chance.log_normal(median, sd * d);
        Self {
            quiet: around(usual.quiet, 0.8).min(0.95),
            stillness: around(usual.stillness, 0.7).min(1.0),
            stirring: around(usual.stirring, 0.5),
            latency: around(usual.latency, 0.6),
            last: (around(usual.last.0, 0.3).min(0.95), around(usual.last.1, 1.0).clamp(1.0, 120.0)),
            long: (around(usual.long.0, 0.6).min(0.6), around(usual.long.1, 0.6).clamp(4.0, 60.0)),
        }
    }
}

impl Person {
    /// `diversity` widens every spread between people; `habits` is a source of its own, so that the rest of a person
    /// does not depend on them.
    pub(super) fn new(diversity: f64, chance: &mut Chance, habits: &mut Chance) -> Self {
        let wide = 1.0 + diversity;
        let age = chance.uniform(20.0, 60.0);
        let ageing = (age - 40.0) / 20.0;
        // One gain for the whole person on top of one per stage: who responds strongly does so in every stage.
        let response = chance.log_normal(1.0, 0.3 * wide);
        let rise = [(5.4, 3.2), (2.8, 2.0), (0.0, 0.0), (-1.0, 1.3), (3.4, 1.9)]
            .map(|(mean, sd)| response * chance.normal(mean, sd * wide));
        let unrest = [(2.1, 0.25), (2.0, 0.22), (1.0, 0.0), (0.68, 0.18), (1.45, 0.16)]
            .map(|(median, sd)| chance.log_normal(median, sd * wide));
        Self {
            baseline: chance.normal(64.0 + ageing, 10.5).clamp(44.0, 90.0),
            variability: chance.log_normal(1.0 - 0.15 * ageing, 0.22 * wide),
            restlessness: chance.log_normal(1.0, 0.35 * wide),
            lightness: chance.log_normal(1.0 + 0.2 * ageing, 0.35 * wide),
            deep: chance.log_normal(1.0 - 0.25 * ageing, 0.40 * wide),
            dream: chance.log_normal(1.0, 0.22 * wide),
            chronotype: chance.normal(-0.3 * ageing, 1.0),
            rise,
            unrest,
            startle: chance.log_normal(7.0, 0.35 * wide),
            evening_load: chance.normal(3.0, 2.2),
            wander: chance.log_normal(1.6, 0.4 * wide),
            waking: Waking::new(diversity, habits),
        }
    }

    /// A person for the tests.
    #[cfg(test)]
    pub(super) fn usual(chance: &mut Chance) -> Self {
        Self::new(0.0, chance, &mut Chance::new(0, 0))
    }
}
