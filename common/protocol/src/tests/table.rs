//! One client's machine at a table where everybody else is played by the test: the server, and the other clients, whose
//! secrets it knows.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::world::hands::{Arithmetic, foundation};
use crate::checkpoint::bytes_of;
use crate::fault::Fault;
use crate::ids::{BlobId, ClientId, Round};
use crate::message::{Assignment, Role, ToClient, ToServer};
use crate::participant::{Event, Hands, Input, Kept, Output, Participant, Policy};
use crate::plan::TrainPlan;
use crate::secagg::session::confirmation;
use crate::secagg::{
    Enrolled, Identity, Joining, Member, Revealed, Roster, RoundSecrets, RoundSeed, SealedShare, Session,
    Signature, SimulatedAuthority, Subset,
};
use crate::secure::{SecureConfig, SecurePlan};
use crate::seed::{Label, Seed};
use crate::sum::Weighting;
use crate::time::Instant;
use crate::update::Sections;

const WEIGHTS: usize = 10;

/// The client under test is member 0, called `c00`.
pub(super) const ME: u32 = 0;

pub(super) struct Table {
    machine: Participant,
    pub(super) kept: Kept,
    cache: BTreeMap<BlobId, Bytes>,
    lives: u64,
    pub(super) authority: SimulatedAuthority,
    identities: Vec<Enrolled>,
    pub(super) mood: u64,
    /// What the client under test has said, refused and given as a reason to decline.
    pub(super) said: Vec<ToServer>,
    pub(super) refused: Vec<Fault>,
    pub(super) declined: Vec<String>,
}

pub(super) fn name(member: u32) -> ClientId {
    format!("c{member:02}").parse().unwrap()
}

/// The secrets of a member that the test plays.
pub(super) fn seed(round: Round, member: u32) -> RoundSeed {
    let context = [round.0, u64::from(member)].map(u64::to_le_bytes).concat();
    RoundSeed::new(Seed::from_number(5).derive(Label::World, &context).into_bytes())
}

fn machine(kept: &Kept, life: u64) -> Participant {
    Participant::new(name(ME), Role::Trains, Policy::default(), kept, Seed::from_number(life))
}

pub(super) fn plan() -> SecurePlan {
    SecureConfig::default().check(Weighting::Examples).unwrap().0
}

impl Table {
    pub(super) fn of(members: u32) -> Self {
        let authority = SimulatedAuthority::new(Seed::from_number(3));
        let blobs = [foundation(), Bytes::from(bytes_of(&[0.25; WEIGHTS]))];
        let mut table = Self {
            machine: machine(&Kept::default(), 0),
            kept: Kept::default(),
            cache: blobs.into_iter().map(|blob| (BlobId::of(&blob), blob)).collect(),
            lives: 0,
            identities: (0..members).map(|member| authority.enrol(&name(member))).collect(),
            authority,
            mood: 0,
            said: Vec::new(),
            refused: Vec::new(),
            declined: Vec::new(),
        };
        table.restart();
        table
    }

    pub(super) fn members(&self) -> u32 {
        self.identities.len() as u32
    }

    /// Kills the client and starts it again with what is on its disk.
    pub(super) fn restart(&mut self) {
        self.lives += 1;
        self.machine = machine(&self.kept, self.lives);
        self.handle(Input::Connected);
        self.hears(ToClient::Welcome { version: Default::default() });
    }

    fn handle(&mut self, input: Input) {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            self.machine.handle(Instant::default(), input);
            loop {
                match self.machine.poll() {
                    Output::Lookup(blob) => {
                        let have = self.cache.get(&blob).map_or(0, |bytes| bytes.len() as u64);
                        self.machine.handle(Instant::default(), Input::Cached(blob, have));
                    }
                    Output::Remember(keep, bytes) => self.kept.set(keep, bytes),
                    Output::Send(message) => self.said.push(message),
                    Output::Run(job) => {
                        let needs = job.needs().try_map(|blob| self.cache.get(&blob).cloned().ok_or(()));
                        let trainer = Arithmetic { mood: self.mood, ..Arithmetic::new(WEIGHTS) };
                        let (identity, roll) = (&self.identities[ME as usize], self.authority.roll());
                        let hands = Hands { trainer: &trainer, identity, roll: &roll };
                        inputs.push(Input::Finished(job.run(hands, needs.unwrap())));
                    }
                    Output::Event(Event::Refused(fault)) => self.refused.push(fault),
                    Output::Event(Event::Declined(why)) => self.declined.push(why),
                    Output::Event(_) => {}
                    Output::Persist { .. } => panic!("nothing has to be fetched"),
                    Output::Wait(_) => break,
                }
            }
        }
    }

    /// The server says something to the client under test.
    pub(super) fn hears(&mut self, message: ToClient) {
        self.handle(Input::Message(message));
    }

    pub(super) fn assignment(&self, round: Round) -> Assignment {
        let blob = |len: usize| *self.cache.keys().find(|blob| blob.len as usize == len).unwrap();
        Assignment {
            round,
            plan: TrainPlan::default(),
            seed: 17,
            foundation: BlobId::of(&foundation()),
            release: blob(4 * WEIGHTS),
            companion: None,
            sections: Sections::default(),
            secure: Some(plan()),
            time_left_ms: 0,
            counted: None,
            lag: None,
        }
    }

    /// Gives it work; returns the keys that it advertises then.
    pub(super) fn train(&mut self, assignment: &Assignment) -> Member {
        self.hears(ToClient::Train(assignment.clone()));
        match self.said.last() {
            Some(ToServer::Ready { keys, .. }) => keys.clone(),
            other => panic!("no keys but {other:?}; {:?}", self.declined),
        }
    }

    /// An honest member's keys.
    pub(super) fn peer(&self, assignment: &Assignment, member: u32) -> Member {
        let keys = RoundSecrets::new(&seed(assignment.round, member)).advertisement();
        let identity = &self.identities[member as usize];
        Member::new(name(member), identity, keys, assignment.round, &assignment.promise())
    }

    /// The honest roster.
    pub(super) fn roster(&self, assignment: &Assignment, mine: &Member) -> Roster {
        let peers = (1..self.members()).map(|member| self.peer(assignment, member));
        let members = std::iter::once(mine.clone()).chain(peers).collect();
        Roster::new(assignment.round, assignment.promise(), members).unwrap()
    }

    /// Shows it a roster as that of `round`.
    pub(super) fn show(&mut self, round: Round, roster: &Roster) {
        let bytes = Bytes::from(roster.to_bytes());
        let blob = BlobId::of(&bytes);
        self.cache.insert(blob, bytes);
        self.hears(ToClient::Share { round, roster: blob });
    }

    /// A session of a member that the test plays.
    pub(super) fn session(&self, roster: &Roster, member: u32) -> Session {
        let Member { client, advertisement, .. } = roster.members()[member as usize].clone();
        let (round, assignment) = (roster.round(), *roster.assignment());
        let joining = Joining { round, assignment, client, advertisement, minimum: 2 };
        let parameters = plan().parameters(roster.size());
        let roll = self.authority.roll();
        Session::join(&seed(round, member), roster.clone(), parameters, &roll, &joining).unwrap()
    }

    /// What the members of `present` share with the client under test.
    pub(super) fn shares(&self, roster: &Roster, present: &Subset) -> Vec<(u32, SealedShare)> {
        let to_me = |member: u32| {
            let shares = self.session(roster, member).shares();
            (member, shares.into_iter().find(|(to, _)| *to == ME).unwrap().1)
        };
        present.iter().filter(|member| *member != ME).map(to_me).collect()
    }

    pub(super) fn present(&mut self, roster: &Roster, present: &Subset) {
        let shares = self.shares(roster, present);
        self.hears(ToClient::Mask { round: roster.round(), present: present.clone(), shares });
    }

    /// Members' signatures under a list.
    pub(super) fn confirmations(
        &self,
        roster: &Roster,
        present: &Subset,
        survivors: &Subset,
        signers: impl IntoIterator<Item = u32>,
    ) -> BTreeMap<u32, Signature> {
        let statement = confirmation(roster.digest(), present, survivors);
        let sign = |member: u32| Signature(self.identities[member as usize].sign(&statement));
        signers.into_iter().map(|member| (member, sign(member))).collect()
    }

    /// Goes through a round up to the upload; returns its roster.
    pub(super) fn upload(&mut self, assignment: &Assignment) -> Roster {
        let mine = self.train(assignment);
        let roster = self.roster(assignment, &mine);
        self.show(assignment.round, &roster);
        let everybody = Subset::all(self.members());
        self.present(&roster, &everybody);
        assert_eq!((&self.refused, &self.declined), (&vec![], &vec![]));
        assert!(matches!(self.said.last(), Some(ToServer::Offer { .. })));
        roster
    }

    /// The bytes of its masked update.
    pub(super) fn uploaded(&mut self, round: Round) -> Bytes {
        self.hears(ToClient::Upload { round, offset: 0 });
        match self.said.last() {
            Some(ToServer::Part { bytes, .. }) => bytes.clone(),
            other => panic!("no upload but {other:?}"),
        }
    }

    /// Asks it to confirm, and to reveal with good signatures of everybody else.
    pub(super) fn unmask(&mut self, roster: &Roster, present: &Subset, survivors: &Subset) {
        let (round, others) = (roster.round(), survivors.iter().filter(|member| *member != ME));
        let signatures = self.confirmations(roster, present, survivors, others);
        self.hears(ToClient::Survivors { round, survivors: survivors.clone() });
        self.hears(ToClient::Reveal { round, signatures });
    }

    /// Everything that it has revealed.
    pub(super) fn revealed(&self) -> Vec<&Vec<Revealed>> {
        let mut all = Vec::new();
        for message in &self.said {
            if let ToServer::Revealed { shares, .. } = message {
                all.push(shares);
            }
        }
        all
    }

    /// How often it has said something like that.
    pub(super) fn count(&self, like: impl Fn(&ToServer) -> bool) -> usize {
        self.said.iter().filter(|message| like(message)).count()
    }
}
