//! What clients say, so that nothing they say twice may differ, and nothing leaves before what it follows from is on
//! their disks.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::check::rosters;
use crate::ids::{ClientId, Digest, Round, Version};
use crate::message::ToServer;
use crate::packed::Packed;
use crate::participant::{Job, Kept, base_on};
use crate::record::Record;
use crate::secagg::{Advertisement, Revealed, RoundSecrets, RoundSeed, Share};

use crate::wire;

/// The steps of a masked round, as clients take them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(in crate::tests) enum Said {
    CheckIn,
    Ready,
    Shares,
    Offer,
    Part,
    Confirm,
    Revealed,
    Decline,
    Other,
}

impl Said {
    fn of(message: &ToServer) -> Self {
        match message {
            ToServer::CheckIn { .. } => Said::CheckIn,
            ToServer::Ready { .. } => Said::Ready,
            ToServer::Shares { .. } => Said::Shares,
            ToServer::Offer { .. } => Said::Offer,
            ToServer::Part { .. } => Said::Part,
            ToServer::Confirm { .. } => Said::Confirm,
            ToServer::Revealed { .. } => Said::Revealed,
            ToServer::Decline { .. } => Said::Decline,
            _ => Said::Other,
        }
    }
}

/// What a client's disk holds of a masked round: what it asked for, the seed, and the digests of the roster, of those who
/// shared, of the update and of the survivors.
type OnDisk = Option<(Digest, [u8; 32], [Option<Digest>; 4])>;

/// The seed of the round that a client takes part in, and what it was used for.
pub(in crate::tests) fn secrets_on(kept: &Kept) -> Option<(RoundSeed, [Option<Digest>; 4])> {
    let on_disk: OnDisk = wire::from_disk(kept.secrets.as_ref()?.as_bytes()).unwrap();
    on_disk.map(|(_, seed, pins)| (RoundSeed::new(seed), pins))
}

/// Everything that was said of masked rounds.
#[derive(Default)]
pub(in crate::tests) struct Witness {
    /// The keys that each client advertised last.
    keys: BTreeMap<ClientId, Advertisement>,
    /// Under each client's keys (by their commitment), and for each piece: the bytes.
    spoken: BTreeMap<([u8; 32], Said, u64), Digest>,
    /// Holder and commitment of the owner -> the share.
    pub(in crate::tests) revealed: BTreeMap<(ClientId, [u8; 32]), Share>,
    /// What clients uploaded in masked rounds, by offset.
    uploads: BTreeMap<(ClientId, Round), BTreeMap<u64, Bytes>>,
    /// Pieces of uploads that were sent again.
    pub(in crate::tests) again: u32,
    /// What reached the server.
    heard: BTreeSet<(ClientId, Said)>,
    /// Seeds of masked rounds.
    pub(in crate::tests) seeds: BTreeMap<(ClientId, Round), [u8; 32]>,
    /// All keys that were advertised.
    pub(in crate::tests) advertised: BTreeMap<(ClientId, Round), Advertisement>,
    /// What each client's update was trained for in an asynchronous round, if for an older one.
    pub(in crate::tests) bases: BTreeMap<(ClientId, Round), (Round, Version)>,
    /// Whether anything told the server of a single training.
    pub(in crate::tests) visible: bool,
    /// Whether anything told the server of a single client's evaluation.
    pub(in crate::tests) counts: bool,
}

impl Witness {
    pub(super) fn heard(&mut self, client: &ClientId, message: &ToServer) {
        self.heard.insert((client.clone(), Said::of(message)));
    }

    /// Whether the server has got this from a client.
    pub(in crate::tests) fn has_heard(&self, client: &ClientId, said: Said) -> bool {
        self.heard.contains(&(client.clone(), said))
    }

    /// A client says something, with this on its disk.
    pub(super) fn says(&mut self, client: &ClientId, message: &ToServer, kept: &Kept, disk: &[Record]) {
        let pinned = || secrets_on(kept).expect("persist-then-send: no secrets on the client's disk");
        if let ToServer::Ready { round, .. } | ToServer::Offer { round, visible: Some(_), .. } = message {
            self.brings(client, *round, kept);
        }
        match message {
            ToServer::Ready { round, keys } => {
                let seed = pinned().0;
                let own = RoundSecrets::new(&seed).advertisement();
                assert_eq!(own, keys.advertisement, "persist-then-send: {client} keeps other secrets");
                self.keys.insert(client.clone(), own.clone());
                self.advertised.insert((client.clone(), *round), own);
                self.seeds.insert((client.clone(), *round), *seed.as_bytes());
            }
            ToServer::Shares { shares, .. } => {
                assert!(
                    pinned().1[0].is_some(),
                    "persist-then-send: {client} shares before it knows for whom"
                );
                self.once(client, Said::Shares, 0, &wire::to_disk(shares));
            }
            ToServer::Offer { update, visible: None, .. } => {
                let pins = pinned().1;
                assert!(pins[1].is_some() && pins[2].is_some(), "persist-then-send: {client} offers");
                self.once(client, Said::Offer, 0, &wire::to_disk(update));
            }
            ToServer::Offer { visible: Some(_), .. } => self.visible = true,
            ToServer::Evaluated { counts: Some(_), .. } => self.counts = true,
            ToServer::Part { round, offset, bytes } if self.keys.contains_key(client) => {
                assert!(pinned().1[2].is_some(), "persist-then-send: {client} uploads");
                self.again += u32::from(!self.once(client, Said::Part, *offset, bytes));
                let upload = self.uploads.entry((client.clone(), *round)).or_default();
                upload.insert(*offset, bytes.clone());
            }
            ToServer::Confirm { signature, .. } => {
                assert!(pinned().1[3].is_some(), "persist-then-send: {client} confirms");
                self.once(client, Said::Confirm, 0, &signature.0);
            }
            ToServer::Revealed { round, shares } => {
                assert!(pinned().1[3].is_some(), "persist-then-send: {client} reveals");
                self.reveals(client, *round, shares, disk);
            }
            _ => {}
        }
    }

    /// A client begins to work, with this on its disk.
    pub(super) fn works(&self, job: &Job, kept: &Kept) {
        let pin = match job {
            Job::Share(_) => 0,
            Job::Mask(_) => 1,
            Job::Confirm(_) => 3,
            _ => return,
        };
        let pins = secrets_on(kept).expect("persist-then-send: no secrets on the client's disk").1;
        assert!(pins[pin].is_some(), "persist-then-send: {job:?} before its step is on the disk");
    }

    /// `one-base`: in a round a client has one update, which is on its disk before anybody hears of it.
    fn brings(&mut self, client: &ClientId, round: Round, kept: &Kept) {
        let Some(base) = base_on(kept) else { return };
        let version = base.lag.expect("of an asynchronous round").version;
        let base = (base.round, version);
        let before = self.bases.insert((client.clone(), round), base);
        assert!(before.is_none_or(|before| before == base), "one-base: {client} brings another update");
    }

    /// `one-vector`: what is said again under the same keys is the same. Whether it is the first time.
    fn once(&mut self, client: &ClientId, said: Said, piece: u64, bytes: &[u8]) -> bool {
        let keys = self.keys[client].commitment;
        let before = self.spoken.insert((keys, said, piece), Digest::of(bytes));
        let same = before.is_none_or(|before| before == Digest::of(bytes));
        assert!(same, "one-vector: {client} says another {said:?} under the same keys");
        before.is_none()
    }

    /// `one-secret`: no client reveals a second share of anybody who keeps its keys.
    fn reveals(&mut self, client: &ClientId, round: Round, shares: &[Revealed], disk: &[Record]) {
        let mut rosters = rosters(disk, round).into_iter();
        let roster =
            rosters.find(|roster| roster.index_of(client).is_some()).expect("revealed under a roster");
        let mut owners = BTreeSet::new();
        for Revealed { owner, share } in shares {
            assert!(owners.insert(owner), "one-secret: {client} reveals twice of member {owner}");
            let commitment = roster.members()[*owner as usize].advertisement.commitment;
            let before = self.revealed.insert((client.clone(), commitment), share.clone());
            let same = before.is_none_or(|before| before == *share);
            assert!(same, "one-secret: {client} reveals both secrets of {}", roster.client(*owner));
        }
    }

    /// A masked update as it was uploaded; nothing if it was not sent whole.
    pub(in crate::tests) fn upload(&self, client: &ClientId, round: Round, words: usize) -> Option<Packed> {
        let parts = self.uploads.get(&(client.clone(), round))?;
        // A lie about how much there is makes a client begin anywhere: pieces may overlap.
        let mut bytes = Vec::new();
        for (offset, part) in parts {
            let offset = usize::try_from(*offset).ok().filter(|offset| *offset <= bytes.len())?;
            let end = offset + part.len();
            bytes.resize(end.max(bytes.len()), 0);
            bytes[offset..end].copy_from_slice(part);
        }
        Packed::from_bytes(&bytes, words).ok()
    }

    /// `hidden`: what the server got of an update has no word of it.
    pub(super) fn hidden(&self, client: &ClientId, round: Round, plain: &Packed) {
        let upload = self.upload(client, round, plain.len()).expect("a counted update was uploaded");
        let seen = upload.words().iter().zip(plain.words()).filter(|(seen, plain)| seen == plain).count();
        assert_eq!(seen, 0, "hidden: the server reads {seen} words of the update of {client}");
    }
}
