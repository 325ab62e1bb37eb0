//! Streams that were not recorded, made of those that were.

use crate::motion::Motion;
use crate::{NormalIntervals, Recording, Segment, Stream, StreamKind, View, intervals, pulses, r_peaks};

/// Heart rates per second made of beat intervals, Hz.
const HR_RATE: f64 = 1.0;
/// Lost samples that are drawn over, seconds: no QRS complex or pulse fits into it.
pub(crate) const BRIDGED_SECONDS: f64 = 0.03;

/// Fills in the streams that are missing: `ibi` from `ecg`, else from `ppg`; `hr` at 1 Hz from `ibi`; `activity` and
/// `posture` from `accel`. What was recorded is never replaced, and what gives nothing (an ECG below 100 Hz, a PPG
/// below 20 Hz) is left out. An offline reading: filters look a few seconds ahead.
#[must_use]
pub fn derive(mut recording: Recording) -> Recording {
    use StreamKind::{Accel, Activity, Ecg, Hr, Ibi, Posture, Ppg};
    let streams = &mut recording.streams;
    let mut fill = |kind: StreamKind, from: StreamKind, make: &dyn Fn(&Stream) -> Stream| {
        if streams.contains_key(&kind) {
            return;
        }
        if let Some(made) = streams.get(&from).map(make).filter(|made| !made.is_empty()) {
            streams.insert(kind, made);
        }
    };
    fill(Ibi, Ecg, &|ecg| beats(Ecg, Segment::cut(ecg, 0, BRIDGED_SECONDS)));
    fill(Ibi, Ppg, &|ppg| beats(Ppg, Segment::cut(ppg, 0, BRIDGED_SECONDS)));
    fill(Hr, Ibi, &|ibi| NormalIntervals::of(ibi, View::Around).heart_rate(HR_RATE));
    fill(Activity, Accel, &|accel| motion(accel).activity());
    fill(Posture, Accel, &|accel| motion(accel).posture());
    recording
}

/// Beat intervals in the runs of a waveform; none of them spans a gap.
pub(crate) fn beats(waveform: StreamKind, runs: Vec<Segment>) -> Stream {
    let (mut times, mut values) = (Vec::new(), Vec::new());
    for run in runs {
        let found = match waveform {
            StreamKind::Ecg => r_peaks(&run),
            _ => pulses(&run),
        };
        let ibi = intervals(&found.unwrap_or_default());
        times.extend_from_slice(ibi.times());
        values.extend_from_slice(ibi.values());
    }
    Stream::new(StreamKind::Ibi, times, values)
}

fn motion(accel: &Stream) -> Motion {
    let mut motion = Motion::default();
    for (i, time) in accel.times().iter().enumerate() {
        let xyz = accel.sample(i);
        motion.push(*time, [xyz[0], xyz[1], xyz[2]].map(f64::from));
    }
    motion
}
