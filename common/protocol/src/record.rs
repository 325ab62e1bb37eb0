//! What a server must remember: releases and what happened in each round.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::deadline::Pace;
use crate::evaluation::Tally;
use crate::ids::{BlobId, ClientId, Round, Version};
use crate::privacy::ledger;
use crate::secagg::{SealedShare, Subset};

/// Something to write to disk before anything that follows from it is sent.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Record {
    /// A published global model.
    Release(Release),
    /// A round: written with its release, and again when its evaluation is complete, or once if it was aborted.
    Round(RoundRecord),
    /// How far one of a masked round's groups, counted from 0, has come: with these a server that is killed goes on with the
    /// same round, and asks nobody for anything that it could not have asked for before. Forgotten once the round's own
    /// record is written.
    Masked(Round, u32, Masked),
    /// A line of the privacy ledger, which is written before the sum that it is about can be known.
    Privacy(ledger::Entry),
}

/// What fixes a step of a group of a masked round, each written before anybody hears of it. A step is written in one flush
/// for all groups that take it; a group that does not is out of the round.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Masked {
    /// Who takes part, as the blob that clients fetch.
    Roster(Bytes),
    /// What each member has shared, by its place in the roster.
    Shares(BTreeMap<u32, Vec<(u32, SealedShare)>>),
    /// Who has survived, and their masked sum.
    Survivors(Subset, Bytes),
}

impl Masked {
    /// Its place in the order of steps, which is also the order on the disk.
    pub fn step(&self) -> u8 {
        match self {
            Masked::Roster(_) => 0,
            Masked::Shares(_) => 1,
            Masked::Survivors(..) => 2,
        }
    }
}

/// A masked round that was not over when the server ended.
#[derive(Clone, PartialEq, Debug)]
pub struct Interrupted {
    /// The round.
    pub round: Round,
    /// The steps of each of its groups that were fixed, in order.
    pub groups: Vec<Vec<Masked>>,
}

impl Interrupted {
    /// The same after `step` of a group. What does not follow from what is there is left over from another round.
    fn apply(&mut self, group: u32, step: Masked) {
        let (known, place) = (self.groups.len(), usize::from(step.step()));
        match self.groups.get_mut(group as usize) {
            Some(steps) if steps.len() == place => steps.push(step),
            None if place == 0 && known == group as usize => self.groups.push(vec![step]),
            _ => {}
        }
    }
}

/// A published global model.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Release {
    /// Its version.
    pub version: Version,
    /// The round that made it; 0 for the foundation model.
    pub round: Round,
    /// The trainable weights: little-endian f32 in the checkpoint's order.
    pub weights: Bytes,
    /// The strategy's own state (moments), for the round after a restart.
    pub strategy: Bytes,
    /// What goes out beside the weights, if anything.
    pub companion: Option<Bytes>,
    /// The clip norm of the next round, if it adapts.
    pub norm: Option<f64>,
}

impl Release {
    /// The name of the weights.
    pub fn blob(&self) -> BlobId {
        BlobId::of(&self.weights)
    }
}

/// How a round ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Outcome {
    /// It made this release.
    Released(Version),
    /// It made none; the text says why.
    Aborted(String),
    /// It was not to make any: its clients scored this release.
    Evaluated(Version),
}

/// One client's evaluation of a release: counts only.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Evaluation {
    /// Number of classes.
    pub classes: u8,
    /// Confusion matrix, rows truth, row-major.
    pub confusion: Vec<u32>,
}

/// What happened in a round.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct RoundRecord {
    /// The round.
    pub round: Round,
    /// How it ended.
    pub outcome: Outcome,
    /// Whether its evaluation is still under way; a server that is killed then goes on with it.
    pub evaluating: bool,
    /// Who was selected.
    pub cohort: Vec<ClientId>,
    /// Whose updates are in the sum.
    pub counted: Vec<ClientId>,
    /// Who dropped out, and why.
    pub dropped: BTreeMap<ClientId, String>,
    /// Scored epochs behind the release (or clients, when weighting is uniform).
    pub examples: u64,
    /// Weighted mean of the training losses.
    pub loss: f32,
    /// Evaluations of the release by the clients that were there, if the server gets to know single ones.
    pub evaluations: BTreeMap<ClientId, Evaluation>,
    /// What the clients in the sum counted, of the release that the round started from, if they were asked to.
    pub tally: Option<Tally>,
    /// What its clients took from selection to the end of their training, in milliseconds, in order and without names: who was
    /// late counts with the time that it was given. None of a round that a restart of the server interrupted.
    pub durations: Vec<u64>,
    /// From selection to the end of the evaluation, in milliseconds of the server's clock.
    pub millis: u64,
    /// Bytes of updates received.
    pub bytes_up: u64,
    /// Bytes of blobs sent.
    pub bytes_down: u64,
    /// The most that all rounds until now may tell of one person's presence; `None` if there is no promise about it.
    pub epsilon: Option<f64>,
}

impl RoundRecord {
    /// The record of a round whose sum was dropped: nothing that only the sum tells.
    pub(crate) fn without_sum(self) -> Self {
        Self { examples: 0, loss: 0.0, tally: None, ..self }
    }
}

/// Where a coordinator starts: what the records of its earlier life add up to.
#[derive(Clone, PartialEq, Debug)]
pub struct Snapshot {
    /// The foundation checkpoint, as its file's bytes.
    pub foundation: Bytes,
    /// The last release.
    pub release: Release,
    /// The last round that ended.
    pub last_round: Round,
    /// How the last round ended.
    pub last_outcome: Option<Outcome>,
    /// The last round, if its release is made and its evaluation is not complete.
    pub evaluating: Option<RoundRecord>,
    /// The masked round that was open, if its roster was fixed.
    pub masked: Option<Interrupted>,
    /// The privacy ledger's log.
    pub privacy: Vec<ledger::Entry>,
    /// Where each client's update was last.
    pub seen: BTreeMap<ClientId, Seen>,
    /// How long clients took in the last rounds.
    pub pace: Pace,
}

/// The last release that a client's update is in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen {
    /// The release.
    pub version: Version,
    /// The round that made it.
    pub round: Round,
}

impl Snapshot {
    /// The snapshot of a federation that has not begun: the foundation model's own weights are version 0.
    pub fn fresh(foundation: Bytes, weights: Bytes) -> Self {
        let release = Release {
            version: Version(0),
            round: Round(0),
            weights,
            strategy: Bytes::new(),
            companion: None,
            norm: None,
        };
        Self {
            foundation,
            release,
            last_round: Round(0),
            last_outcome: None,
            evaluating: None,
            masked: None,
            privacy: Vec::new(),
            seen: BTreeMap::new(),
            pace: Pace::default(),
        }
    }

    /// The same after `record`, for replaying a log of records in order.
    pub fn apply(&mut self, record: Record) {
        match record {
            Record::Release(release) => {
                self.last_round = self.last_round.max(release.round);
                self.release = release;
            }
            Record::Round(record) => {
                self.last_round = self.last_round.max(record.round);
                self.masked = self.masked.take().filter(|masked| masked.round > record.round);
                if let Outcome::Released(version) = record.outcome {
                    let seen = Seen { version, round: record.round };
                    self.seen.extend(record.counted.iter().map(|client| (client.clone(), seen)));
                }
                self.pace.learn(&record);
                self.last_outcome = Some(record.outcome.clone());
                self.evaluating = record.evaluating.then_some(record);
            }
            Record::Privacy(entry) => self.privacy.push(entry),
            Record::Masked(round, group, step) => {
                if (group, step.step()) == (0, 0) && round > self.last_round {
                    self.masked = Some(Interrupted { round, groups: Vec::new() });
                }
                if let Some(masked) = self.masked.as_mut().filter(|masked| masked.round == round) {
                    masked.apply(group, step);
                }
            }
        }
    }
}
