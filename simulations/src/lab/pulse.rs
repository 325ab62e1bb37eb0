//! Moments of a wristband: acceleration, pulse wave, and what the heart did meanwhile.

use std::path::Path;

use somnus_signals::{DataError, NormalIntervals, PersonId, Recording, Stream, StreamKind, View, e4};

use crate::pretrain::windows::{Track, together, tracks};

/// Samples of acceleration per second.
pub(crate) const ACCEL_RATE: usize = 32;
/// Samples of the pulse wave per second.
pub(crate) const PPG_RATE: usize = 64;
/// The wristband's heart rate is an average over the past and trails its own beats. Against the beats that it times itself, in the
/// half minutes of stress-predict that these cover to nine tenths, it is 2.7 bpm off when read at once, 1.2 bpm when read
/// so many seconds later; more and less are worse.
const TRAILS: f64 = 35.0;
/// The least part of a moment for which there are readings of the heart rate.
const LEAST_READ: f64 = 0.8;
/// The least part of a moment that normal intervals must cover before their variability counts.
const LEAST_COVERAGE: f64 = 0.5;

/// Signals of the same seconds without gaps, and what the wristband itself made of them.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Moment {
    /// Whose, by place in the list of people.
    pub(crate) person: usize,
    /// `[T, 3]`, g, at [`ACCEL_RATE`].
    pub(crate) accel: Vec<f32>,
    /// At [`PPG_RATE`], arbitrary unit.
    pub(crate) ppg: Vec<f32>,
    /// Mean heart rate, bpm; `None` where the wristband reports none for a fifth of the time.
    pub(crate) hr: Option<f32>,
    /// Standard deviation of normal intervals, ms; `None` where they cover less than half of the moment.
    pub(crate) sdnn: Option<f32>,
    /// Root mean square of differences of neighbouring normal intervals, ms; `None` as for `sdnn`.
    pub(crate) rmssd: Option<f32>,
}

/// Everybody in a folder of E4 recordings, and their moments of `seconds` one after the other, in order of time.
///
/// Who has no moment is on the list all the same.
///
/// # Errors
/// [`DataError`] as of [`e4::load`].
pub(crate) fn moments(dir: &Path, seconds: f64) -> Result<(Vec<PersonId>, Vec<Moment>), DataError> {
    let recordings = e4::load(dir)?;
    let found = recordings.iter().enumerate();
    let moments = found.flat_map(|(person, recording)| of_person(person, recording, seconds)).collect();
    Ok((recordings.into_iter().map(|recording| recording.person).collect(), moments))
}

fn of_person(person: usize, recording: &Recording, seconds: f64) -> Vec<Moment> {
    let stream = |kind| recording.streams.get(&kind);
    let runs = |kind, rate| stream(kind).map_or_else(Vec::new, |stream| tracks(stream, rate));
    let pulse = runs(StreamKind::Ppg, PPG_RATE);
    let normal = stream(StreamKind::Ibi).map(|ibi| NormalIntervals::of(ibi, View::Around));
    let mut moments = Vec::new();
    for movement in runs(StreamKind::Accel, ACCEL_RATE) {
        for pulse in &pulse {
            let Some(run) = together(&movement, pulse) else { continue };
            let from = movement.0.max(pulse.0);
            let count = (run.iter().map(Track::seconds).fold(f64::INFINITY, f64::min) / seconds) as usize;
            let starts: Vec<f64> = (0..count).map(|i| i as f64 * seconds).collect();
            let times: Vec<f64> = starts.iter().map(|start| from + start).collect();
            let variability = normal
                .as_ref()
                .map_or_else(|| vec![None; count], |normal| normal.variability_from(&times, seconds));
            for ((start, time), beats) in starts.into_iter().zip(times).zip(variability) {
                let beats = beats.filter(|beats| beats.coverage >= LEAST_COVERAGE);
                moments.push(Moment {
                    person,
                    accel: run[0].window(start, seconds),
                    ppg: run[1].window(start, seconds),
                    hr: stream(StreamKind::Hr).and_then(|hr| mean(hr, time + TRAILS, seconds)),
                    sdnn: beats.map(|beats| (1e3 * beats.sdnn) as f32),
                    rmssd: beats.map(|beats| (1e3 * beats.rmssd) as f32),
                });
            }
        }
    }
    moments
}

/// The mean of readings once a second.
fn mean(hr: &Stream, from: f64, seconds: f64) -> Option<f32> {
    let read = &hr.values()[hr.within(from, from + seconds)];
    let enough = read.len() as f64 >= LEAST_READ * seconds && !read.is_empty();
    enough.then(|| read.iter().sum::<f32>() / read.len() as f32)
}

#[cfg(test)]
pub(crate) mod testing {
    use std::fs;
    use std::path::Path;

    /// Somebody who sits still for so many seconds, with a steady heart rate and without beat intervals.
    pub(crate) fn write_pulse(dir: &Path, bpm: f64, seconds: usize) {
        fs::create_dir_all(dir).unwrap();
        let file = |name: &str, header: &str, count: usize, line: &dyn Fn(usize) -> String| {
            let lines: String = (0..count).map(|i| line(i) + "\n").collect();
            fs::write(dir.join(name), format!("{header}\n{lines}")).unwrap();
        };
        let beat = |i: usize| (i as f64 / 64.0 * bpm / 60.0 * std::f64::consts::TAU).sin();
        file("ACC.csv", "1000,1000,1000\n32,32,32", 32 * seconds, &|i| format!("{},0,64", i % 3));
        file("BVP.csv", "1000\n64", 64 * seconds, &|i| format!("{:.3}", 40.0 * beat(i)));
        file("HR.csv", "1010\n1", seconds - 10, &|_| format!("{bpm}"));
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::fs;

    use super::*;

    /// A minute and a half of a person whose heart beats every `beat` seconds; heart rate from second 10 on, `bpm` of each second.
    fn write(dir: &Path, beat: f64, bpm: impl Fn(usize) -> f64) {
        fs::create_dir_all(dir).unwrap();
        let sampled = |header: &str, rate: usize, line: &dyn Fn(usize) -> String| {
            let lines: String = (0..90 * rate).map(|i| line(i) + "\n").collect();
            format!("{header}\n{lines}")
        };
        let accel = sampled("1000,1000,1000\n32,32,32", 32, &|i| format!("{},0,64", i % 50));
        fs::write(dir.join("ACC.csv"), accel).unwrap();
        fs::write(dir.join("BVP.csv"), sampled("1000\n64", 64, &|i| format!("{i}"))).unwrap();
        fs::write(dir.join("HR.csv"), sampled("1010\n1", 1, &|i| format!("{}", bpm(i + 10)))).unwrap();
        let mut beats = "1000, IBI\n".to_owned();
        for i in 1..(60.0 / beat) as usize {
            let swing = if i % 2 == 0 { 0.01 } else { -0.01 };
            writeln!(beats, "{},{}", i as f64 * beat + swing, beat + 2.0 * swing).unwrap();
        }
        fs::write(dir.join("IBI.csv"), beats).unwrap();
    }

    #[test]
    fn moments_are_of_the_same_seconds_and_know_their_heart() {
        let dir = tempfile::tempdir().unwrap();
        write(&dir.path().join("S2"), 0.75, |second| second as f64);
        write(&dir.path().join("S10"), 1.0, |_| 60.0);
        let (people, moments) = moments(dir.path(), 20.0).unwrap();
        assert_eq!(people.iter().map(PersonId::as_str).collect::<Vec<_>>(), ["S2", "S10"]);
        assert_eq!(moments.iter().map(|m| m.person).collect::<Vec<_>>(), [0, 0, 0, 0, 1, 1, 1, 1]);
        for (i, moment) in moments[..4].iter().enumerate() {
            assert_eq!((moment.accel.len(), moment.ppg.len()), (20 * 32 * 3, 20 * 64));
            assert_eq!(moment.ppg[0], (i * 20 * 64) as f32);
            assert_eq!(moment.accel[0], ((i * 20 * 32) % 50) as f32 / 64.0);
        }
        // Seconds 35 to 54, then 55 to 74; readings end with second 99.
        let rates: Vec<Option<f32>> = moments[..4].iter().map(|m| m.hr).collect();
        assert_eq!(rates, [Some(44.5), Some(64.5), Some(84.5), None]);
        // Beats every 0.75 s, earlier and later in turn: intervals 0.77 and 0.73. They end after a minute.
        for moment in &moments[..3] {
            assert!((moment.rmssd.unwrap() - 40.0).abs() < 0.1, "{:?}", moment.rmssd);
            assert!((moment.sdnn.unwrap() - 20.0).abs() < 0.6, "{:?}", moment.sdnn);
        }
        assert_eq!((moments[3].sdnn, moments[3].rmssd), (None, None));
        assert_eq!(moments[4].hr, Some(60.0));
    }

    #[test]
    fn what_the_wristband_does_not_know_is_left_open() {
        let dir = tempfile::tempdir().unwrap();
        let person = dir.path().join("S1");
        write(&person, 0.8, |_| 75.0);
        fs::remove_file(person.join("HR.csv")).unwrap();
        fs::remove_file(person.join("IBI.csv")).unwrap();
        let (_, moments) = moments(dir.path(), 30.0).unwrap();
        assert_eq!(moments.len(), 3);
        assert!(moments.iter().all(|m| m.hr.is_none() && m.sdnn.is_none() && m.rmssd.is_none()));
    }
}
