//! Nights to learn from that nobody scored, and nights that a simulator did.

use std::path::Path;

use somnus_signals::synthetic::{self, SyntheticConfig};
use somnus_signals::{
    Cohort, DataError, Night, NightRules, Recording, Stream, StreamKind, crisdb, mmash, prepare,
};

use super::sets::PublicSet;

/// What is taken for the night of a day that nobody annotated, seconds.
const NIGHT: f64 = 8.5 * 3600.0;
/// Where a night may begin, seconds from one place to the next.
const STEP: f64 = 300.0;
/// A window with fewer samples than this part of the fullest one's is mostly a gap.
const FULL: f64 = 0.8;

/// The nights of a stage, public ones first; those that fail the usual rules are left out. Only synthetic ones have stages.
pub(super) fn gathered(
    sets: &[PublicSet],
    synthetic: Option<&SyntheticConfig>,
    root: &Path,
) -> Result<Vec<Night>, DataError> {
    let rules = NightRules::default();
    let mut nights = Vec::new();
    if sets.contains(&PublicSet::Crisdb) {
        let days = crisdb::load(&PublicSet::Crisdb.path(root))?;
        let quiet = days.iter().filter_map(quietest);
        nights.extend(quiet.filter_map(|night| prepare(&night, &rules).ok()));
    }
    if sets.contains(&PublicSet::Mmash) {
        let days = mmash::load(&PublicSet::Mmash.path(root))?;
        let beds = days.iter().filter_map(mmash::Day::night);
        nights.extend(beds.filter_map(|day| prepare(&day.recording, &rules).ok()));
    }
    if let Some(config) = synthetic {
        nights.extend(synthetic::cohort(config, &rules).nights);
    }
    Ok(nights)
}

/// Nights with the simulator's own stages.
pub(super) fn scored(config: &SyntheticConfig) -> Vec<Night> {
    let rules = NightRules { require_labels: true, ..NightRules::default() };
    let Cohort { nights, .. } = synthetic::cohort(config, &rules);
    nights
}

/// The 8.5 hours of a day with the lowest mean heart rate, heart rate alone. `None` where there is less.
fn quietest(day: &Recording) -> Option<Recording> {
    let hr = day.streams.get(&StreamKind::Hr)?;
    let from = quiet_start(hr)?;
    Some(Recording::unscored(day.person.clone(), &day.name, [hr.cut(from, from + NIGHT)]))
}

fn quiet_start(hr: &Stream) -> Option<f64> {
    let (first, last) = (*hr.times().first()?, *hr.times().last()?);
    let places = ((last - first - NIGHT) / STEP).floor();
    if places < 0.0 {
        return None;
    }
    let mut sums = vec![0.0f64];
    sums.extend(hr.values().iter().scan(0.0, |sum, bpm| {
        *sum += f64::from(*bpm);
        Some(*sum)
    }));
    // Start, samples, mean.
    let windows: Vec<(f64, usize, f64)> = (0..=places as usize)
        .map(|place| {
            let from = first + place as f64 * STEP;
            let range = hr.within(from, from + NIGHT);
            (from, range.len(), (sums[range.end] - sums[range.start]) / range.len().max(1) as f64)
        })
        .collect();
    let fullest = windows.iter().map(|window| window.1).max()?;
    let full = windows.into_iter().filter(|window| window.1 as f64 >= FULL * fullest as f64);
    full.min_by(|a, b| a.2.total_cmp(&b.2)).map(|(from, ..)| from)
}

#[cfg(test)]
mod tests {
    use somnus_signals::PersonId;

    use super::*;

    /// 24 hours at 0.2 Hz; slow from hour 14 to 23, slower still for an hour of which most is missing.
    fn day() -> Recording {
        let (mut times, mut values) = (Vec::new(), Vec::new());
        for i in 0..17_280 {
            let hour = f64::from(i) / 720.0;
            if (1.0..6.0).contains(&hour) && i % 10 != 0 {
                continue;
            }
            times.push(f64::from(i) * 5.0);
            values.push(match hour {
                h if (1.0..6.0).contains(&h) => 45.0,
                h if (14.0..23.0).contains(&h) => 58.0,
                _ => 80.0,
            });
        }
        let hr = Stream::new(StreamKind::Hr, times, values);
        Recording::unscored(PersonId::new("e001").unwrap(), "night", [hr])
    }

    #[test]
    fn the_quietest_hours_are_found_and_holes_are_not_quiet() {
        let night = quietest(&day()).unwrap();
        let hr = &night.streams[&StreamKind::Hr];
        assert!(hr.values().iter().all(|bpm| *bpm == 58.0));
        assert!((1018..=1020).contains(&night.epochs()), "{}", night.epochs());
        assert!(hr.times()[0] < STEP);
        let prepared = prepare(&night, &NightRules::default()).unwrap();
        assert!(prepared.quality.coverage[&StreamKind::Hr] > 0.99 && !prepared.is_labelled());
    }

    #[test]
    fn an_evening_has_no_night() {
        let mut short = day();
        let hr = short.streams[&StreamKind::Hr].cut(0.0, 8.0 * 3600.0);
        short.streams.insert(StreamKind::Hr, hr);
        assert!(quietest(&short).is_none());
        short.streams.clear();
        assert!(quietest(&short).is_none());
    }
}
