//! A night of stages: cycles of about 90 minutes, deep sleep early, REM late, and what interrupts them.

use crate::Stage;

use super::chance::Chance;
use super::person::Person;

/// Mean epochs of deep and of REM sleep in each cycle of the night.
const DEEP: [f64; 6] = [56.0, 42.0, 18.0, 6.0, 3.0, 1.0];
const REM: [f64; 6] = [13.0, 38.0, 57.0, 72.0, 66.0, 55.0];

/// One stage per epoch, `[epochs]`.
pub(super) fn stages(person: &Person, epochs: usize, chance: &mut Chance) -> Vec<Stage> {
    let mut night = Builder { stages: Vec::with_capacity(epochs + 64), epochs, lightness: person.lightness };
    night.fall_asleep(person, chance);
    let mut cycle = 0;
    while night.stages.len() < epochs {
        night.cycle(cycle, person, chance);
        cycle += 1;
    }
    // Most recordings end with the person awake for a while.
    let (often, mean) = person.waking.last;
    if chance.happens(often) {
        let last = chance.length(mean).min(epochs);
        night.stages.truncate(epochs - last);
        night.push(Stage::Wake, last);
    }
    night.stages.truncate(epochs);
    night.stages
}

struct Builder {
    stages: Vec<Stage>,
    epochs: usize,
    lightness: f64,
}

impl Builder {
    fn push(&mut self, stage: Stage, epochs: usize) {
        self.stages.extend(std::iter::repeat_n(stage, epochs));
    }

    fn fall_asleep(&mut self, person: &Person, chance: &mut Chance) {
        let latency = chance.log_normal(person.waking.latency * (0.15 * person.chronotype).exp(), 0.45);
        self.push(Stage::Wake, (latency as usize).clamp(8, self.epochs / 4));
        // Drowsing: in and out of N1 before sleep holds.
        for _ in 0..chance.length(2.0) {
            self.push(Stage::N1, chance.length(3.0));
            if chance.happens(0.5) {
                self.push(Stage::Wake, chance.length(3.0));
            }
        }
    }

    fn cycle(&mut self, cycle: usize, person: &Person, chance: &mut Chance) {
        let at = |table: &[f64; 6]| table[cycle.min(table.len() - 1)];
        let late = (0.12 * person.chronotype * (cycle as f64 - 2.0)).exp();
        let deep = at(&DEEP) * person.deep * chance.log_normal(1.0, 0.35);
        let rem = at(&REM) * person.dream * late * chance.log_normal(1.0, 0.30);
        // The first REM period is sometimes skipped.
        let rem = if cycle == 0 && chance.happens(0.3) { 0.0 } else { rem };
        let length = chance.normal(178.0, 26.0).max(110.0);
        let core = (length - deep - rem).max(30.0);
        let before = core * chance.uniform(0.35, 0.65);

        self.stretch(Stage::N2, before as usize, person, chance);
        self.stretch(Stage::N3, deep as usize, person, chance);
        self.stretch(Stage::N2, (core - before) as usize, person, chance);
        self.stretch(Stage::Rem, rem as usize, person, chance);
        if chance.happens(0.35 * self.lightness) {
            self.awakening(person, chance);
        }
    }

    /// About `epochs` of one stage, with the interruptions typical of it.
    fn stretch(&mut self, stage: Stage, epochs: usize, person: &Person, chance: &mut Chance) {
        let end = self.stages.len() + epochs;
        // Chance per epoch of: an awakening, a lapse to N1, a lapse to N2.
        let [wake, n1, n2] = match stage {
            Stage::N3 => [0.005, 0.001, 0.028],
            Stage::Rem => [0.010, 0.014, 0.006],
            _ => [0.015, 0.034, 0.0],
        };
        while self.stages.len() < end.min(self.epochs) {
            self.push(stage, 1);
            if chance.happens(wake * self.lightness) {
                self.awakening(person, chance);
            } else if chance.happens(n1 * self.lightness) {
                self.push(Stage::N1, chance.length(2.1));
            } else if chance.happens(n2) {
                self.push(Stage::N2, chance.length(4.0));
            }
        }
    }

    /// Mostly an epoch or two; now and then a quarter of an hour. Sleep comes back through N1.
    fn awakening(&mut self, person: &Person, chance: &mut Chance) {
        let (part, mean) = person.waking.long;
        let long = chance.happens(part);
        self.push(Stage::Wake, chance.length(if long { mean } else { 1.4 }));
        if long || chance.happens(0.7) {
            self.push(Stage::N1, chance.length(2.0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn night(i: u64) -> Vec<Stage> {
        let mut chance = Chance::new(11, i);
        let person = Person::usual(&mut chance);
        stages(&person, 960, &mut chance)
    }

    #[test]
    fn deep_sleep_comes_early_and_rem_late() {
        let mut halves = [[0usize; 2]; 2];
        for i in 0..40 {
            for (epoch, stage) in night(i).into_iter().enumerate() {
                let half = usize::from(epoch >= 480);
                halves[half][0] += usize::from(stage == Stage::N3);
                halves[half][1] += usize::from(stage == Stage::Rem);
            }
        }
        assert!(halves[0][0] > 2 * halves[1][0], "deep {halves:?}");
        assert!(halves[1][1] > 2 * halves[0][1], "REM {halves:?}");
    }

    #[test]
    fn a_night_begins_awake_and_sleep_begins_light() {
        for i in 0..40 {
            let night = night(i);
            assert_eq!(night.len(), 960);
            assert_eq!(night[0], Stage::Wake);
            let onset = night.iter().position(|s| *s != Stage::Wake).unwrap();
            assert!((8..=240).contains(&onset));
            assert_eq!(night[onset], Stage::N1);
        }
    }

    #[test]
    fn even_the_shortest_night_has_its_length() {
        let mut chance = Chance::new(1, 1);
        let person = Person::usual(&mut chance);
        for epochs in [40, 120, 300] {
            assert_eq!(stages(&person, epochs, &mut chance).len(), epochs);
        }
    }
}
