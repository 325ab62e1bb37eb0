//! What the coordinator remembers, as records of the store: releases, rounds, and the model they continue.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use somnus_protocol::checkpoint::{Checkpoint, bytes_of, floats};
use somnus_protocol::ids::{Digest, Round, Version};
use somnus_protocol::plan::TrainableSet;
use somnus_protocol::record::{Masked, Outcome, Record, Release, RoundRecord, Snapshot};
use somnus_protocol::wire;

use crate::audit::{Audit, AuditEvent};
use crate::clock::Seconds;
use crate::error::{RequestError, StoreError};
use crate::files;
use crate::privacy;
use crate::store::{Change, Key, Store, Table};

/// Releases and rounds of one federation.
pub struct History {
    store: Arc<Store>,
    audit: Arc<Audit>,
    keep: usize,
}

impl History {
    /// The history in `store`, which keeps the last `keep` releases.
    pub fn new(store: Arc<Store>, audit: Arc<Audit>, keep: usize) -> Self {
        Self { store, audit, keep }
    }

    /// Writes what a coordinator must not forget, all of it in one flush.
    ///
    /// # Errors
    /// [`StoreError`] if the disk refuses; none of the records counts then.
    pub fn persist(&self, records: &[Record], now: Seconds) -> Result<(), StoreError> {
        let mut changes = Vec::new();
        let mut newest = None;
        for record in records {
            match record {
                Record::Release(release) => {
                    let key = Key::number(Table::Releases, release.version.0);
                    changes.push(Change::Put(key, wire::to_disk(release)));
                    newest = newest.max(Some(release.version));
                }
                Record::Round(record) => {
                    changes
                        .push(Change::Put(Key::number(Table::Rounds, record.round.0), wire::to_disk(record)));
                    let (round, outcome) = (record.round, outcome(&record.outcome));
                    changes.push(self.audit.line(now, AuditEvent::RoundEnded { round, outcome }));
                    let steps = self.store.keys(Table::Masked)?;
                    changes.extend(steps.into_iter().map(|key| Change::Delete(Key::new(Table::Masked, key))));
                }
                Record::Privacy(entry) => changes.push(privacy::change(entry)),
                Record::Masked(round, group, step) => {
                    changes.push(Change::Put(step_key(*group, step.step()), wire::to_disk(&(round, step))));
                }
            }
        }
        if let Some(newest) = newest {
            let mut kept: Vec<u64> = self.versions()?.into_iter().map(|version| version.0).collect();
            kept.retain(|version| *version != newest.0);
            let surplus = (kept.len() + 1).saturating_sub(self.keep);
            changes.extend(kept[..surplus].iter().map(|v| Change::Delete(Key::number(Table::Releases, *v))));
        }
        self.store.write(&changes)
    }

    /// Where a coordinator goes on, with the foundation model in `path`.
    ///
    /// # Errors
    /// [`RequestError`] if the model cannot be read or is not the one that the releases continue.
    pub fn snapshot(&self, path: &Path, set: TrainableSet) -> Result<Snapshot, RequestError> {
        let wrong = |why: String| RequestError::Model { path: path.to_owned(), why };
        let bytes = Bytes::from(files::read(path)?);
        let checkpoint = Checkpoint::from_bytes(&bytes).map_err(|why| wrong(why.to_string()))?;
        let weights = checkpoint.flatten(set).map_err(|why| wrong(why.to_string()))?;
        let weights = Bytes::from(bytes_of(&weights));
        let key = Key::new(Table::Meta, "foundation");
        let digest = Digest::of(&bytes).to_hex();
        match self.store.read(&key)? {
            None => self.store.write(&[Change::Put(key, digest.into_bytes())])?,
            Some(known) if known == digest.as_bytes() => {}
            Some(_) => {
                return Err(wrong(
                    "this is not the foundation model that this federation started with; put that one back, or \
                     start a new federation with `init`"
                        .into(),
                ));
            }
        }
        let expected = weights.len();
        let mut snapshot = Snapshot::fresh(bytes, weights);
        if let Some(release) = self.newest()? {
            if release.weights.len() != expected {
                return Err(wrong(format!(
                    "the releases have {} weights, the trainable set of `federation.plan` has {}; a federation \
                     cannot change its trainable set",
                    release.weights.len() / 4,
                    expected / 4
                )));
            }
            snapshot.apply(Record::Release(release));
        }
        // All of them: they also tell when each client was last in a release.
        self.rounds()?.into_values().for_each(|record| snapshot.apply(Record::Round(record)));
        privacy::entries(&self.store)?.into_iter().for_each(|entry| snapshot.apply(Record::Privacy(entry)));
        for (key, bytes) in self.store.table(Table::Masked)? {
            let damaged = |why| self.store.damaged(&Key::new(Table::Masked, &key), &why);
            let (round, step): (Round, Masked) = wire::from_disk(&bytes).map_err(damaged)?;
            snapshot.apply(Record::Masked(round, group_of(&key), step));
        }
        Ok(snapshot)
    }

    /// The foundation model with a release in it, as a safetensors file's bytes; `None` means the newest release.
    ///
    /// # Errors
    /// [`RequestError`] if the release is not kept or does not fit the model.
    pub fn export(&self, model: &Path, version: Option<Version>) -> Result<(Version, Vec<u8>), RequestError> {
        let wrong = |why: String| RequestError::Model { path: model.to_owned(), why };
        let mut checkpoint =
            Checkpoint::from_bytes(&files::read(model)?).map_err(|why| wrong(why.to_string()))?;
        let release = match version {
            Some(wanted) => self.release(wanted)?.ok_or(self.not_kept(wanted)?),
            None => self.newest()?.ok_or(RequestError::NothingReleased),
        }?;
        let weights = floats(&release.weights);
        let fits =
            |set: &&TrainableSet| checkpoint.flatten(**set).is_ok_and(|own| own.len() == weights.len());
        let set = checkpoint.manifest.trainable.keys().find(fits).copied();
        let set =
            set.ok_or_else(|| wrong(format!("no trainable set of it has {} weights", weights.len())))?;
        checkpoint.overlay(set, &weights).map_err(|why| wrong(why.to_string()))?;
        let provenance = &mut checkpoint.manifest.provenance;
        provenance.insert("release".into(), release.version.to_string());
        provenance.insert("round".into(), release.round.to_string());
        provenance.insert("release-sha256".into(), release.blob().digest.to_hex());
        let bytes = checkpoint.to_bytes().map_err(|why| wrong(why.to_string()))?;
        Ok((release.version, bytes))
    }

    /// A release, if it is kept.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    pub fn release(&self, version: Version) -> Result<Option<Release>, StoreError> {
        let key = Key::number(Table::Releases, version.0);
        let bytes = self.store.read(&key)?;
        bytes.map(|bytes| wire::from_disk(&bytes).map_err(|why| self.store.damaged(&key, &why))).transpose()
    }

    /// The newest release.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    pub fn newest(&self) -> Result<Option<Release>, StoreError> {
        self.versions()?.pop().map_or(Ok(None), |version| self.release(version))
    }

    /// The versions that are kept, oldest first.
    ///
    /// # Errors
    /// [`StoreError`] if they cannot be read.
    pub fn versions(&self) -> Result<Vec<Version>, StoreError> {
        let number = |key: Vec<u8>| key.try_into().ok().map(|bytes| Version(u64::from_be_bytes(bytes)));
        Ok(self.store.keys(Table::Releases)?.into_iter().filter_map(number).collect())
    }

    /// All rounds that ended.
    ///
    /// # Errors
    /// [`StoreError`] if a record cannot be read.
    pub fn rounds(&self) -> Result<BTreeMap<Round, RoundRecord>, StoreError> {
        let read = |(key, bytes): (Vec<u8>, Vec<u8>)| {
            let damaged = |why| self.store.damaged(&Key::new(Table::Rounds, &key), &why);
            let record: RoundRecord = wire::from_disk(&bytes).map_err(damaged)?;
            Ok((record.round, record))
        };
        self.store.table(Table::Rounds)?.into_iter().map(read).collect()
    }

    fn not_kept(&self, wanted: Version) -> Result<RequestError, StoreError> {
        let versions: Vec<String> = self.versions()?.iter().map(Version::to_string).collect();
        let kept = match (versions.first(), versions.last()) {
            (Some(first), Some(last)) if first != last => format!("{first} to {last}"),
            (Some(only), _) => only.clone(),
            _ => "none yet".into(),
        };
        Ok(RequestError::NoRelease { wanted, kept })
    }
}

/// Where a step of a masked round's group is: in the order of steps, then of groups.
fn step_key(group: u32, step: u8) -> Key {
    Key::new(Table::Masked, [&[step][..], &group.to_be_bytes()].concat())
}

/// The group of a key of [`step_key`].
fn group_of(key: &[u8]) -> u32 {
    key.last_chunk().map_or(0, |group| u32::from_be_bytes(*group))
}

/// How a round ended, in words.
pub fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Released(version) => format!("released {version}"),
        Outcome::Aborted(why) => format!("aborted: {why}"),
        Outcome::Evaluated(version) => format!("evaluated {version}"),
    }
}

#[cfg(test)]
mod tests {
    use somnus_protocol::checkpoint::{FORMAT, Manifest, Tensor};
    use somnus_protocol::privacy::cost::{Cost, Noise, Spend};
    use somnus_protocol::privacy::ledger::{Budget, Entry, Ledger};
    use somnus_protocol::record::Seen;

    use super::*;

    fn model(value: f32) -> Vec<u8> {
        let tensor = Tensor { shape: vec![3], values: vec![value; 3] };
        let trainable = BTreeMap::from([(TrainableSet::Full, vec!["w".to_owned()])]);
        let manifest = Manifest {
            format: FORMAT,
            name: "tiny".into(),
            architecture: serde_json::Value::Null,
            licence: "MIT OR Apache-2.0".into(),
            provenance: BTreeMap::new(),
            trainable,
            embedding: None,
        };
        Checkpoint { manifest, tensors: BTreeMap::from([("w".to_owned(), tensor)]) }.to_bytes().unwrap()
    }

    fn release(version: u64, value: f32) -> Record {
        let weights = Bytes::from(bytes_of(&[value; 3]));
        let (strategy, companion) = (Bytes::from_static(b"moments"), Some(Bytes::from_static(b"beside")));
        let (version, round, norm) = (Version(version), Round(version), Some(0.25));
        Record::Release(Release { version, round, weights, strategy, companion, norm })
    }

    fn round(number: u64, outcome: Outcome) -> Record {
        Record::Round(RoundRecord {
            round: Round(number),
            outcome,
            evaluating: false,
            cohort: vec!["ann".parse().unwrap()],
            counted: Vec::new(),
            dropped: BTreeMap::new(),
            examples: 0,
            loss: 0.0,
            evaluations: BTreeMap::new(),
            tally: None,
            durations: Vec::new(),
            millis: 1,
            bytes_up: 2,
            bytes_down: 3,
            epsilon: None,
        })
    }

    struct World {
        dir: tempfile::TempDir,
        path: std::path::PathBuf,
    }

    impl World {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("foundation.safetensors");
            std::fs::write(&path, model(1.0)).unwrap();
            Store::create(&dir.path().join("store")).unwrap();
            Self { dir, path }
        }

        fn open(&self) -> History {
            let store = Arc::new(Store::open(&self.dir.path().join("store")).unwrap());
            let audit = Arc::new(Audit::open(Arc::clone(&store)).unwrap());
            History::new(store, audit, 3)
        }
    }

    #[test]
    fn a_restart_goes_on_from_the_last_release_and_the_last_round() {
        let world = World::new();
        let fresh = world.open().snapshot(&world.path, TrainableSet::Full).unwrap();
        assert_eq!((fresh.release.version, fresh.last_round), (Version(0), Round(0)));
        for n in 1..=5 {
            world
                .open()
                .persist(&[release(n, n as f32), round(n, Outcome::Released(Version(n)))], 0)
                .unwrap();
        }
        world.open().persist(&[round(6, Outcome::Aborted("too few".into()))], 0).unwrap();
        let history = world.open();
        let saved = history.snapshot(&world.path, TrainableSet::Full).unwrap();
        assert_eq!((saved.release.version, saved.last_round), (Version(5), Round(6)));
        assert_eq!(saved.release.strategy, Bytes::from_static(b"moments"));
        assert_eq!(saved.release.companion, Some(Bytes::from_static(b"beside")));
        assert_eq!(history.versions().unwrap(), [Version(3), Version(4), Version(5)]);
        assert_eq!(history.rounds().unwrap().len(), 6);
    }

    #[test]
    fn an_open_masked_round_goes_on_group_by_group_and_is_forgotten_at_its_end() {
        let world = World::new();
        world.open().snapshot(&world.path, TrainableSet::Full).unwrap();
        let roster = |group: u32| Masked::Roster(Bytes::from(vec![group as u8; 3]));
        let shares = || Masked::Shares(BTreeMap::new());
        let written = |records: &[Record]| {
            world.open().persist(records, 0).unwrap();
            world.open().snapshot(&world.path, TrainableSet::Full).unwrap().masked
        };
        // More groups than a byte can count; of the first and the last one more is known.
        let rosters: Vec<Record> =
            (0..300).map(|group| Record::Masked(Round(1), group, roster(group))).collect();
        let open = written(&rosters).unwrap();
        let expected: Vec<Vec<Masked>> = (0..300).map(|group| vec![roster(group)]).collect();
        assert_eq!((open.round, &open.groups), (Round(1), &expected));
        let open = written(&[0, 299].map(|group| Record::Masked(Round(1), group, shares()))).unwrap();
        let steps: Vec<usize> = open.groups.iter().map(Vec::len).collect();
        assert!(steps[0] == 2 && steps[299] == 2 && steps[1..299].iter().all(|steps| *steps == 1));
        let keys = world.open().store.keys(Table::Masked).unwrap();
        assert_eq!((keys.len(), &keys[0], &keys[300]), (302, &vec![0, 0, 0, 0, 0], &vec![1, 0, 0, 0, 0]));
        assert_eq!(written(&[round(1, Outcome::Aborted("too few".into()))]), None);
        assert!(world.open().store.keys(Table::Masked).unwrap().is_empty());
    }

    #[test]
    fn the_privacy_ledger_goes_on_where_it_was() {
        let world = World::new();
        world.open().snapshot(&world.path, TrainableSet::Full).unwrap();
        let cost = Cost::of(Spend::everybody(Noise::Gaussian { multiplier: 4.0 }), 1);
        let entries = [
            Entry::Reserved { round: Round(1), cost: cost.clone() },
            Entry::Spent { round: Round(1) },
            Entry::Reserved { round: Round(2), cost },
        ];
        let records: Vec<Record> = entries.iter().cloned().map(Record::Privacy).collect();
        world.open().persist(&records, 0).unwrap();
        let mut member = round(1, Outcome::Released(Version(1)));
        if let Record::Round(record) = &mut member {
            record.counted = vec!["ann".parse().unwrap()];
        }
        world
            .open()
            .persist(&[release(1, 1.0), member, round(2, Outcome::Aborted("too few".into()))], 0)
            .unwrap();
        let saved = world.open().snapshot(&world.path, TrainableSet::Full).unwrap();
        let ledger = |log| Ledger::replay(Budget { epsilon: 8.0, delta: 1e-3 }, log);
        assert_eq!(ledger(saved.privacy), ledger(entries.to_vec()));
        let seen = Seen { version: Version(1), round: Round(1) };
        assert_eq!(saved.seen, BTreeMap::from([("ann".parse().unwrap(), seen)]));
        assert_eq!((saved.last_round, saved.release.norm), (Round(2), Some(0.25)));
        assert_eq!(saved.last_outcome, Some(Outcome::Aborted("too few".into())));
    }

    #[test]
    fn an_exported_release_is_the_model_with_the_release_in_it() {
        let world = World::new();
        let history = world.open();
        assert!(matches!(history.export(&world.path, None), Err(RequestError::NothingReleased)));
        history.persist(&[release(1, 1.5), release(2, 2.5)], 0).unwrap();
        let (version, bytes) = history.export(&world.path, None).unwrap();
        let checkpoint = Checkpoint::from_bytes(&bytes).unwrap();
        assert_eq!((version, checkpoint.flatten(TrainableSet::Full).unwrap()), (Version(2), vec![2.5; 3]));
        assert_eq!(checkpoint.manifest.provenance["release"], "2");
        let error = history.export(&world.path, Some(Version(9))).unwrap_err().to_string();
        assert_eq!(error, "release 9 is not in the store, which keeps 1 to 2");
    }

    #[test]
    fn another_foundation_model_is_refused() {
        let world = World::new();
        world.open().snapshot(&world.path, TrainableSet::Full).unwrap();
        std::fs::write(&world.path, model(2.0)).unwrap();
        let error = world.open().snapshot(&world.path, TrainableSet::Full).unwrap_err().to_string();
        assert!(error.contains("not the foundation model that this federation started with"), "{error}");
        std::fs::write(&world.path, "torn").unwrap();
        let error = world.open().snapshot(&world.path, TrainableSet::Full).unwrap_err().to_string();
        assert!(error.contains("foundation.safetensors: not a safetensors file"), "{error}");
    }
}
