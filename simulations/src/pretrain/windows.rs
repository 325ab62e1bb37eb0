//! Raw signals to learn from: runs without gaps, from which windows are drawn at random.

use std::collections::BTreeMap;
use std::path::Path;

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use somnus_signals::{DataError, PersonId, Recording, Segment, Stream, StreamKind, e4, wfdb, wisdm};

use super::sets::PublicSet;

/// One signal at a whole rate, `[T, channels]`.
#[derive(Clone, Debug)]
pub(crate) struct Track {
    pub(crate) channels: usize,
    /// Samples per second.
    pub(crate) rate: usize,
    pub(crate) samples: Vec<f32>,
}

/// Signals of the same time, side by side.
pub(crate) type Run = Vec<Track>;

/// Runs by person; every person has one, and every run is at least as long as what is drawn from it.
#[derive(Debug)]
pub(crate) struct Bank {
    people: Vec<Vec<Run>>,
    seconds: f64,
}

impl Bank {
    /// Windows of `seconds` from these runs; those that are shorter are left out. `None` when nothing is left.
    pub(crate) fn new(people: impl IntoIterator<Item = Vec<Run>>, seconds: f64) -> Option<Self> {
        let keep = |mut runs: Vec<Run>| {
            runs.retain(|run| !run.is_empty() && run.iter().all(|track| track.seconds() >= seconds));
            (!runs.is_empty()).then_some(runs)
        };
        let people: Vec<_> = people.into_iter().filter_map(keep).collect();
        (!people.is_empty()).then_some(Self { people, seconds })
    }

    pub(crate) fn people(&self) -> usize {
        self.people.len()
    }

    /// As many different people as there are, then some again.
    pub(crate) fn choose(&self, count: usize, rng: &mut ChaCha8Rng) -> Vec<usize> {
        let mut chosen = Vec::with_capacity(count);
        while chosen.len() < count {
            let wanted = (count - chosen.len()).min(self.people());
            chosen.extend(rand::seq::index::sample(rng, self.people(), wanted));
        }
        chosen
    }

    /// A random window of a person, one `[T, channels]` for each of the tracks.
    pub(crate) fn draw(&self, person: usize, rng: &mut ChaCha8Rng) -> Vec<Vec<f32>> {
        let runs = &self.people[person];
        let run = &runs[rng.random_range(0..runs.len())];
        let last = run.iter().map(Track::seconds).fold(f64::INFINITY, f64::min) - self.seconds;
        let from = rng.random_range(0.0..=last.max(0.0));
        run.iter().map(|track| track.window(from, self.seconds)).collect()
    }
}

impl Track {
    pub(crate) fn seconds(&self) -> f64 {
        (self.samples.len() / self.channels) as f64 / self.rate as f64
    }

    pub(crate) fn window(&self, from: f64, seconds: f64) -> Vec<f32> {
        let len = (seconds * self.rate as f64).round() as usize;
        let all = self.samples.len() / self.channels;
        let first = ((from * self.rate as f64) as usize).min(all - len);
        self.samples[first * self.channels..(first + len) * self.channels].to_vec()
    }
}

/// A window to mean 0 and variance 1, so that changes of a fixed size mean the same everywhere.
pub(crate) fn standardised(window: &[f32]) -> Vec<f32> {
    let n = window.len().max(1) as f32;
    let mean = window.iter().sum::<f32>() / n;
    let spread = (window.iter().map(|v| (v - mean) * (v - mean)).sum::<f32>() / n).sqrt().max(1e-6);
    window.iter().map(|v| (v - mean) / spread).collect()
}

/// Wrist accelerations at `rate`, person by person.
pub(crate) fn accelerations(
    root: &Path,
    sets: &[PublicSet],
    rate: usize,
) -> Result<Vec<Vec<Run>>, DataError> {
    let mut people = Vec::new();
    for set in sets {
        match set {
            PublicSet::WisdmWatch => {
                let mut bouts: BTreeMap<PersonId, Vec<Run>> = BTreeMap::new();
                for bout in wisdm::load(&set.path(root))? {
                    let tracks = tracks(&bout.accel, rate).into_iter().map(|(_, track)| vec![track]);
                    bouts.entry(bout.person).or_default().extend(tracks);
                }
                people.extend(bouts.into_values());
            }
            PublicSet::StressPredict => {
                let recordings = e4::load(&set.path(root))?;
                let accel = recordings.iter().filter_map(|one| one.streams.get(&StreamKind::Accel));
                people.extend(
                    accel.map(|stream| {
                        tracks(stream, rate).into_iter().map(|(_, track)| vec![track]).collect()
                    }),
                );
            }
            PublicSet::Crisdb | PublicSet::Mmash | PublicSet::Mitdb => {}
        }
    }
    Ok(people)
}

/// Acceleration and pulse wave of the same time at their rates, person by person.
pub(crate) fn pairs(root: &Path, accel: usize, ppg: usize) -> Result<Vec<Vec<Run>>, DataError> {
    let mut people = Vec::new();
    for recording in e4::load(&PublicSet::StressPredict.path(root))? {
        people.extend(pairs_of(&recording, accel, ppg));
    }
    Ok(people)
}

/// The same of one recording; `None` where a signal is missing.
pub(crate) fn pairs_of(recording: &Recording, accel: usize, ppg: usize) -> Option<Vec<Run>> {
    let of = |kind, rate| recording.streams.get(&kind).map(|stream| tracks(stream, rate));
    let (movement, pulse) = (of(StreamKind::Accel, accel)?, of(StreamKind::Ppg, ppg)?);
    let both = |m: &(f64, Track)| pulse.iter().map(|p| together(m, p)).collect::<Vec<_>>();
    Some(movement.iter().flat_map(both).flatten().collect())
}

/// Every lead of every electrocardiogram at `rate`, record by record.
pub(crate) fn electrocardiograms(root: &Path, rate: usize) -> Result<Vec<Vec<Run>>, DataError> {
    let folder = PublicSet::Mitdb.path(root);
    let mut people = Vec::new();
    for name in wfdb::records(&folder)? {
        let record = wfdb::read(&folder, &name)?;
        let leads = (0..record.signals.len()).filter_map(|lead| record.ecg(lead));
        people.push(leads.flat_map(|stream| tracks(&stream, rate)).map(|(_, track)| vec![track]).collect());
    }
    Ok(people)
}

/// The gap-free runs of a stream at `rate`, each with its start.
pub(crate) fn tracks(stream: &Stream, rate: usize) -> Vec<(f64, Track)> {
    let channels = stream.kind().channels();
    let at_rate = |segment: Segment| match (segment.rate - rate as f64).abs() < 1e-6 * segment.rate {
        true => segment,
        false => segment.resampled(rate as f64),
    };
    let cut = |channel| Segment::cut(stream, channel, 0.0).into_iter().map(at_rate).collect::<Vec<_>>();
    let all: Vec<Vec<Segment>> = (0..channels).map(cut).collect();
    // Gaps are of all channels at once, so every channel has the same runs.
    (0..all.first().map_or(0, Vec::len))
        .map(|run| {
            let len = all[0][run].len();
            let moment = |i: usize| all.iter().map(move |channel| channel[run].samples[i]);
            let samples = (0..len).flat_map(moment).collect();
            (all[0][run].start, Track { channels, rate, samples })
        })
        .collect()
}

/// The time that two tracks share; `None` if there is none.
pub(crate) fn together((a_start, a): &(f64, Track), (b_start, b): &(f64, Track)) -> Option<Run> {
    let from = a_start.max(*b_start);
    let until = (a_start + a.seconds()).min(b_start + b.seconds());
    let part = |start: f64, track: &Track| {
        let rate = track.rate as f64;
        let all = track.samples.len() / track.channels;
        let first = (((from - start) * rate).round() as usize).min(all);
        let len = (((until - from) * rate) as usize).min(all - first);
        let samples = track.samples[first * track.channels..(first + len) * track.channels].to_vec();
        Track { samples, ..*track }
    };
    (from < until).then(|| vec![part(*a_start, a), part(*b_start, b)])
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// People who swing each at a speed of their own, in as many tracks as there are `(channels, rate)`.
    pub(crate) fn swingers(people: usize, kinds: &[(usize, usize)], seconds: f64) -> Bank {
        let run = |person: usize| {
            let speed = 3.0 + person as f32;
            let track = |(channels, rate): &(usize, usize)| {
                let at = |i: usize| {
                    let (time, channel) = ((i / channels) as f32 / *rate as f32, (i % channels) as f32);
                    (time * speed + channel).sin() + 0.3 * (time * 1.7 * speed).cos()
                };
                let samples = (0..20 * rate * channels).map(at).collect();
                Track { channels: *channels, rate: *rate, samples }
            };
            kinds.iter().map(track).collect::<Run>()
        };
        Bank::new((0..people).map(|person| vec![run(person)]), seconds).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn ramp(kind: StreamKind, rate: f64, from: f64, seconds: f64) -> Stream {
        let n = (seconds * rate) as usize;
        let times: Vec<f64> = (0..n).map(|i| from + i as f64 / rate).collect();
        let values = times.iter().flat_map(|t| vec![*t as f32 / 100.0; kind.channels()]).collect();
        Stream::new(kind, times, values)
    }

    #[test]
    fn windows_of_two_rates_are_of_the_same_time() {
        let accel = tracks(&ramp(StreamKind::Accel, 32.0, 10.0, 60.0), 32);
        let ppg = tracks(&ramp(StreamKind::Ppg, 50.0, 4.0, 50.0), 64);
        let run = together(&accel[0], &ppg[0]).unwrap();
        assert_eq!((run[0].rate, run[1].rate, run[0].channels), (32, 64, 3));
        assert!((43.9..=44.0).contains(&run[0].seconds()) && (43.9..=44.0).contains(&run[1].seconds()));
        let bank = Bank::new([vec![run]], 7.5).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for _ in 0..50 {
            let drawn = bank.draw(0, &mut rng);
            assert_eq!((drawn[0].len(), drawn[1].len()), (240 * 3, 480));
            // Values are times: both windows begin together, to a sample of the slower one.
            assert!((drawn[0][0] - drawn[1][0]).abs() * 100.0 < 1.0 / 32.0 + 0.01, "{drawn:?}");
        }
        assert!(together(&accel[0], &(100.0, ppg[0].1.clone())).is_none());
    }

    #[test]
    fn short_runs_and_people_without_any_other_are_left_out() {
        let run = |seconds| vec![tracks(&ramp(StreamKind::Ecg, 128.0, 0.0, seconds), 128).remove(0).1];
        let bank = Bank::new([vec![run(2.0)], vec![run(2.0), run(9.0)], vec![]], 7.5).unwrap();
        assert_eq!((bank.people(), bank.people[0].len()), (1, 1));
        assert!(Bank::new([vec![run(2.0)]], 7.5).is_none());
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        assert_eq!(bank.choose(3, &mut rng), [0; 3]);
    }

    #[test]
    fn a_gap_ends_a_run() {
        let (a, b) = (ramp(StreamKind::Accel, 20.0, 0.0, 10.0), ramp(StreamKind::Accel, 20.0, 30.0, 20.0));
        let times = [a.times(), b.times()].concat();
        let both = Stream::new(StreamKind::Accel, times, [a.values(), b.values()].concat());
        let found = tracks(&both, 32);
        assert_eq!(found.iter().map(|(start, _)| *start as u32).collect::<Vec<_>>(), [0, 30]);
        assert!((found[1].1.seconds() - 20.0).abs() < 0.1);
    }
}
