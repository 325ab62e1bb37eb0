//! Data records: the samples of each signal for so many seconds, then the next.

use std::collections::BTreeMap;
use std::io::Read;

use super::annotations::{self, Annotation};
use super::header::{Fault, Header, Kind, SignalHeader};
use crate::recording::WEEK_SECONDS;

/// A header, the signals that were asked for, and all annotations.
#[derive(Debug, Clone, PartialEq)]
pub struct Edf {
    /// What the file says of itself.
    pub header: Header,
    /// When each data record begins, seconds since the file's start.
    pub records: Vec<f64>,
    /// By their place in the header, in their own unit.
    pub signals: BTreeMap<usize, Vec<f32>>,
    /// In the order of the file.
    pub annotations: Vec<Annotation>,
}

impl Edf {
    /// Seconds from the file's start to the end of its last record.
    #[must_use]
    pub fn end(&self) -> f64 {
        self.records.last().map_or(0.0, |begins| begins + self.header.seconds)
    }

    /// The time of each sample of signal `i`, seconds since the file's start.
    #[must_use]
    pub fn times(&self, i: usize) -> Vec<f64> {
        let samples = self.header.signals.get(i).map_or(0, |signal| signal.samples);
        let step = self.header.seconds / samples.max(1) as f64;
        let mut times = Vec::with_capacity(self.records.len() * samples);
        for begins in &self.records {
            times.extend((0..samples).map(|n| begins + n as f64 * step));
        }
        times
    }

    pub(super) fn read(
        mut reader: impl Read,
        keep: impl Fn(usize, &SignalHeader) -> bool,
    ) -> Result<Self, Fault> {
        let header = Header::read(&mut reader)?;
        let wanted = |(i, signal): (usize, &SignalHeader)| {
            Some((i, signal.scale.clone().ok().filter(|_| keep(i, signal))?))
        };
        let scales: BTreeMap<usize, _> = header.signals.iter().enumerate().filter_map(wanted).collect();
        let mut file = Self {
            records: Vec::new(),
            signals: scales.keys().map(|i| (*i, Vec::new())).collect(),
            annotations: Vec::new(),
            header,
        };
        while file.header.records != Some(file.records.len()) {
            let Some(record) = file.next(&mut reader)? else { break };
            let mut from = 0;
            let mut clock = None;
            let mut texts = 0;
            for (i, signal) in file.header.signals.iter().enumerate() {
                let bytes = &record[from..from + 2 * signal.samples];
                from += bytes.len();
                if let (Some(scale), Some(values)) = (scales.get(&i), file.signals.get_mut(&i)) {
                    let (pairs, _) = bytes.as_chunks();
                    values.extend(pairs.iter().map(|pair| scale.physical(i16::from_le_bytes(*pair)) as f32));
                }
                if signal.is_annotations() {
                    let lists = annotations::parse(bytes).map_err(|what| file.fault(&what))?;
                    if texts == 0 {
                        clock = lists.begins;
                    }
                    texts += 1;
                    file.annotations.extend(lists.annotations);
                }
            }
            let begins = file.begins(clock).map_err(|what| file.fault(&what))?;
            if begins.abs() > WEEK_SECONDS {
                return Err(file.fault("it is more than a week from the file's start"));
            }
            file.records.push(begins);
        }
        file.closed(&mut reader)?;
        Ok(file)
    }

    /// The bytes of the next record; none at the end of a file that does not say how many it has.
    fn next(&self, reader: &mut impl Read) -> Result<Option<Vec<u8>>, Fault> {
        let size = self.header.record_bytes();
        let mut bytes = Vec::new();
        reader.by_ref().take(size as u64).read_to_end(&mut bytes).map_err(Fault::Read)?;
        match self.header.records {
            _ if bytes.len() == size => Ok(Some(bytes)),
            None => Ok(None),
            Some(records) => {
                let before = 256 * (self.header.signals.len() + 1) + self.records.len() * size;
                Err(Fault::Wrong(format!(
                    "cut off in data record {} of {records}: it ends at byte {}, by its header at {}",
                    self.records.len() + 1,
                    before + bytes.len(),
                    256 * (self.header.signals.len() + 1) as u64 + records as u64 * size as u64,
                )))
            }
        }
    }

    /// When the next record begins, which an EDF+ says of each.
    fn begins(&self, clock: Option<f64>) -> Result<f64, String> {
        let seconds = self.header.seconds;
        let Some(before) = self.records.last() else { return Ok(clock.unwrap_or(0.0)) };
        let follows = before + seconds;
        match (self.header.kind, clock) {
            // Annotations alone: none of them is in another's place.
            (Kind::Continuous | Kind::Discontinuous, Some(clock)) if seconds == 0.0 => Ok(clock),
            (Kind::Edf, _) | (Kind::Continuous, None) => Ok(follows),
            (Kind::Continuous, Some(clock)) if (clock - follows).abs() <= seconds / 2.0 => Ok(follows),
            (Kind::Continuous, Some(clock)) => Err(format!(
                "it says that it begins at {clock} s, after the one before at {follows} s: records were shuffled, or some are missing"
            )),
            (Kind::Discontinuous, None) => Err("it does not say when it begins, as EDF+D has to".into()),
            (Kind::Discontinuous, Some(clock)) if clock >= follows - seconds / 2.0 => Ok(clock.max(follows)),
            (Kind::Discontinuous, Some(clock)) => Err(format!(
                "it says that it begins at {clock} s, and the one before ends at {follows} s: records were shuffled"
            )),
        }
    }

    fn fault(&self, what: &str) -> Fault {
        Fault::Wrong(format!("data record {}: {what}", self.records.len() + 1))
    }

    /// Whether the file ends where its header says.
    fn closed(&self, reader: &mut impl Read) -> Result<(), Fault> {
        let held = self.records.len();
        if self.header.records.is_none() {
            return Err(Fault::Wrong(format!(
                "header byte 236 (number of data records) is -1: the recording was never closed. {held} whole ones are here: close it \
                 with the program that made it, or write {held} into the field"
            )));
        }
        match reader.read(&mut [0]).map_err(Fault::Read)? {
            0 => Ok(()),
            _ => Err(Fault::Wrong(format!(
                "there are bytes behind data record {held}, the last by header byte 236 (number of data records)"
            ))),
        }
    }
}
