//! What of which night has trained, so that it is never judged.
//!
//! A night is known by what was measured in it: another name or other labels make no new one. It is known by its name too: one that
//! was mended, or has grown, may have its epochs elsewhere, and all of it counts as trained.
//!
//! As bytes, for each night, in ascending order:
//!
//! ```text
//! name         32 bytes, the SHA-256 of `PERSON/NAME`
//! measured     32 bytes, the SHA-256 of its streams
//! epochs       4 bytes, little-endian: as many from its beginning have trained
//! ```

use std::collections::BTreeMap;

use ring::digest::{Context, SHA256};
use somnus_protocol::ids::Digest;
use somnus_signals::Recording;

/// As many nights are remembered, 40 years of them in 1 MiB. More do not train: one that was forgotten could be judged.
pub const MOST: usize = 15_000;
const ENTRY: usize = 32 + 32 + 4;

/// A night, by its name and by what was measured in it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct NightKey {
    name: Digest,
    measured: Digest,
}

impl NightKey {
    /// That of a recording, whatever its labels are.
    pub fn of(recording: &Recording) -> Self {
        let mut context = Context::new(&SHA256);
        for (kind, stream) in &recording.streams {
            context.update(kind.name().as_bytes());
            context.update(&(stream.times().len() as u64).to_le_bytes());
            stream.times().iter().for_each(|time| context.update(&time.to_le_bytes()));
            stream.values().iter().for_each(|value| context.update(&value.to_le_bytes()));
        }
        let mut measured = [0; 32];
        measured.copy_from_slice(context.finish().as_ref());
        Self { name: Digest::of(recording.id().as_bytes()), measured: measured.into() }
    }
}

/// How many epochs of each night have trained, counted from its beginning.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Trained(BTreeMap<NightKey, u32>);

impl Trained {
    /// How many epochs of a night that has `epochs` have trained.
    pub fn of(&self, night: &NightKey, epochs: usize) -> usize {
        let known = self.0.iter().filter_map(|(known, trained)| {
            if known.measured == night.measured {
                Some(*trained as usize)
            } else {
                (known.name == night.name).then_some(epochs)
            }
        });
        known.max().unwrap_or(0).min(epochs)
    }

    /// With the first epochs of more nights; `None` beyond [`MOST`].
    pub fn with(&self, parts: &[(NightKey, usize)]) -> Option<Self> {
        let mut more = self.clone();
        for (night, epochs) in parts {
            let trained = more.0.entry(*night).or_default();
            *trained = (*trained).max(u32::try_from(*epochs).unwrap_or(u32::MAX));
        }
        (more.0.len() <= MOST).then_some(more)
    }

    /// As in the table above.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.0.len() * ENTRY);
        for (night, epochs) in &self.0 {
            bytes.extend_from_slice(night.name.as_bytes());
            bytes.extend_from_slice(night.measured.as_bytes());
            bytes.extend_from_slice(&epochs.to_le_bytes());
        }
        bytes
    }

    /// What [`Trained::to_bytes`] wrote, or nothing.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let entry = |bytes: &[u8]| {
            let (name, rest) = bytes.split_first_chunk::<32>()?;
            let (measured, epochs) = rest.split_first_chunk::<32>()?;
            let night = NightKey { name: (*name).into(), measured: (*measured).into() };
            Some((night, u32::from_le_bytes(epochs.try_into().ok()?)))
        };
        bytes.chunks(ENTRY).map(entry).collect::<Option<_>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use somnus_signals::synthetic::{SyntheticConfig, recordings};

    use super::*;

    fn key(name: u8, measured: u8) -> NightKey {
        NightKey { name: [name; 32].into(), measured: [measured; 32].into() }
    }

    #[test]
    fn a_night_is_known_by_what_was_measured_and_changed_ones_by_name() {
        let trained = Trained::default().with(&[(key(1, 1), 700), (key(2, 2), 900)]).unwrap();
        assert_eq!(trained.of(&key(1, 1), 1000), 700);
        assert_eq!(trained.of(&key(9, 1), 1000), 700, "by another name");
        assert_eq!(trained.of(&key(1, 9), 1200), 1200, "it has grown");
        assert_eq!(trained.of(&key(9, 9), 1000), 0);
        assert_eq!(trained.of(&key(9, 2), 800), 800, "no more than it has");
        // What has trained stays so, and a night that goes by two names has what either has.
        let more = trained.with(&[(key(1, 1), 10), (key(9, 1), 800)]).unwrap();
        assert_eq!((more.of(&key(1, 1), 1000), more.of(&key(9, 1), 1000)), (800, 800));
    }

    #[test]
    fn bytes_come_back_and_torn_ones_do_not() {
        let trained = Trained::default().with(&[(key(1, 2), 700), (key(2, 1), 900)]).unwrap();
        let bytes = trained.to_bytes();
        assert_eq!(Trained::from_bytes(&bytes).as_ref(), Some(&trained));
        assert_eq!(Trained::from_bytes(&[]), Some(Trained::default()));
        assert_eq!(Trained::from_bytes(&bytes[1..]), None);
    }

    #[test]
    fn there_is_a_bound() {
        let night = |n: usize| NightKey { name: Digest::of(&n.to_le_bytes()), measured: [0; 32].into() };
        let nights: Vec<_> = (0..MOST).map(|n| (night(n), 1)).collect();
        let full = Trained::default().with(&nights).unwrap();
        assert_eq!(full.with(&nights), Some(full.clone()), "those that are known may train again");
        assert_eq!(full.with(&[(night(MOST), 1)]), None);
        assert!(full.to_bytes().len() <= 1 << 20);
    }

    #[test]
    fn labels_make_no_other_night_and_samples_do() {
        let mut recordings = recordings(&SyntheticConfig { people: 2, ..SyntheticConfig::default() });
        let (mut first, second) = (recordings.remove(0), recordings.remove(0));
        let key = NightKey::of(&first);
        first.labels.clear();
        assert_eq!(NightKey::of(&first), key);
        first.streams = second.streams;
        let changed = NightKey::of(&first);
        assert_eq!((changed.name == key.name, changed.measured == key.measured), (true, false));
    }
}
