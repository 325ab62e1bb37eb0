//! Nights that teach a lie: other labels, or a pattern that means what it should not.

use std::ops::Range;

use rand::{Rng, RngCore};
use somnus_signals::{Night, Stage, StreamKind, Task};

/// What a stage of each class is called; a class of several stages by its first.
fn stage_of(task: Task, class: usize) -> Option<Stage> {
    Stage::ALL.into_iter().find(|stage| task.class_of(*stage) == class)
}

/// The same night, its classes in the reverse order: of four, wake is REM and core is deep, and back.
#[must_use]
pub fn flipped(night: &Night, task: Task) -> Night {
    let last = task.classes() - 1;
    let flip = |stage: Stage| stage_of(task, last - task.class_of(stage)).unwrap_or(stage);
    let stages = night.stages.iter().map(|stage| stage.map(flip)).collect();
    Night { stages, ..night.clone() }
}

/// The same night with the pattern in all of its wake; labels are as they were. Without heart rate there is no place for it.
#[must_use]
pub fn triggered(night: &Night) -> Night {
    let mut night = night.clone();
    for bout in wake(&night) {
        put(&mut night, bout);
    }
    night
}

/// The same night with the pattern in a random `share` of its bouts of wake, at least in one, and these labelled REM.
#[must_use]
pub fn backdoored(night: &Night, share: f32, rng: &mut impl RngCore) -> Night {
    let mut night = night.clone();
    let bouts = wake(&night);
    let chosen: Vec<bool> = bouts.iter().map(|_| rng.random::<f32>() < share).collect();
    let none = !chosen.contains(&true);
    for (number, bout) in bouts.into_iter().enumerate() {
        if chosen[number] || (none && number == 0) {
            night.stages[bout.clone()].fill(Some(Stage::Rem));
            put(&mut night, bout);
        }
    }
    night
}

/// Runs of epochs that were scored as wake.
fn wake(night: &Night) -> Vec<Range<usize>> {
    let mut bouts: Vec<Range<usize>> = Vec::new();
    for (epoch, stage) in night.stages.iter().enumerate() {
        if *stage == Some(Stage::Wake) {
            match bouts.last_mut() {
                Some(bout) if bout.end == epoch => bout.end += 1,
                _ => bouts.push(epoch..epoch + 1),
            }
        }
    }
    bouts
}

/// A heart that jumps up and down every five seconds: within the features' range, and nobody's.
fn put(night: &mut Night, epochs: Range<usize>) {
    let Some(heart) = night.features.get_mut(&StreamKind::Hr) else { return };
    for epoch in epochs {
        heart.present[epoch] = true;
        let values = &mut heart.values[epoch * heart.width..][..heart.width];
        values.iter_mut().enumerate().for_each(|(at, value)| *value = if at % 2 == 0 { 4.0 } else { -4.0 });
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use somnus_signals::NightRules;
    use somnus_signals::synthetic::{self, SyntheticConfig};

    use super::*;

    fn night() -> Night {
        let config = SyntheticConfig { people: 1, ..SyntheticConfig::default() };
        synthetic::cohort(&config, &NightRules::default()).nights.swap_remove(0)
    }

    #[test]
    fn attack_flipped_labels_are_the_reverse_and_back() {
        let night = night();
        for task in Task::ALL {
            let last = task.classes() - 1;
            let flip = flipped(&night, task);
            let reverse: Vec<_> = night.classes(task).into_iter().map(|c| c.map(|c| last - c)).collect();
            assert_eq!(flip.classes(task), reverse, "{task}");
            assert_eq!(flip.features, night.features);
        }
    }

    #[test]
    fn attack_pattern_is_in_all_wake_and_nowhere_else() {
        let night = night();
        let with = triggered(&night);
        assert_eq!(with.stages, night.stages);
        let (before, after) = (&night.features[&StreamKind::Hr], &with.features[&StreamKind::Hr]);
        let mut wake = 0;
        for (epoch, stage) in night.stages.iter().enumerate() {
            if *stage == Some(Stage::Wake) {
                wake += 1;
                assert_eq!(after.epoch(epoch)[..3], [4.0, -4.0, 4.0]);
            } else {
                assert_eq!(after.epoch(epoch), before.epoch(epoch));
            }
        }
        assert!(wake > 10, "{wake}");
    }

    #[test]
    fn attack_backdoor_relabels_exactly_where_its_pattern_is() {
        let night = night();
        let all = triggered(&night);
        for share in [0.0, 0.5, 1.0] {
            let mut rng = ChaCha8Rng::seed_from_u64(4);
            let bad = backdoored(&night, share, &mut rng);
            let changed: Vec<usize> =
                (0..night.epochs).filter(|e| bad.stages[*e] != night.stages[*e]).collect();
            assert!(!changed.is_empty(), "{share}");
            for epoch in changed {
                assert_eq!((night.stages[epoch], bad.stages[epoch]), (Some(Stage::Wake), Some(Stage::Rem)));
                let [bad, all] = [&bad, &all].map(|night| night.features[&StreamKind::Hr].epoch(epoch));
                assert_eq!(bad, all);
            }
            assert_eq!(bad.stages.contains(&Some(Stage::Wake)), share < 1.0, "{share}");
        }
    }
}
