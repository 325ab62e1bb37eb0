//! The others of a masked round: an honest server, and two members beside the hub. Nobody gets past keys by luck.

use std::collections::BTreeMap;

use somnus_protocol::asynchronous::Lag;
use somnus_protocol::encoding::{EncodingConfig, Reduce};
use somnus_protocol::ids::{BlobId, ClientId, Round, Version};
use somnus_protocol::message::{Assignment, ToClient, ToServer};
use somnus_protocol::plan::TrainPlan;
use somnus_protocol::secagg::session::confirmation;
use somnus_protocol::secagg::{
    Enrolled, Identity, Joining, Member, Roster, RoundSecrets, RoundSeed, Session, Signature,
    SimulatedAuthority, Subset,
};
use somnus_protocol::secure::SecureConfig;
use somnus_protocol::sum::Weighting;
use somnus_protocol::update::Sections;

pub(crate) type Cache = BTreeMap<BlobId, Vec<u8>>;

const WEIGHTS: usize = 64;

pub(crate) struct Company {
    authority: SimulatedAuthority,
    hub: ClientId,
    peers: [(ClientId, Enrolled); 2],
    assignment: Option<Assignment>,
    roster: Option<Roster>,
}

fn keep(cache: &mut Cache, bytes: Vec<u8>) -> BlobId {
    let blob = BlobId::of(&bytes);
    cache.insert(blob, bytes);
    blob
}

impl Company {
    pub(crate) fn new(authority: SimulatedAuthority, hub: ClientId) -> Self {
        let peers = ["ann", "zoe"].map(|name| {
            let peer: ClientId = name.parse().unwrap();
            let identity = authority.enrol(&peer);
            (peer, identity)
        });
        Self { authority, hub, peers, assignment: None, roster: None }
    }

    /// A round that the dice choose: which, how reduced, after which one that counted, beside what.
    pub(crate) fn begin(&mut self, dice: &[u8], cache: &mut Cache) -> ToClient {
        let die = |at: usize| dice.get(at).copied().unwrap_or_default();
        let reduce = match die(0) % 3 {
            0 => Reduce::None,
            1 => Reduce::TopK { fraction: (1.0 + f64::from(die(1))) / 256.0 },
            _ => Reduce::LowRank { rank: 1 + u32::from(die(1)) },
        };
        let encoding = EncodingConfig { reduce, ..EncodingConfig::default() };
        let secure = SecureConfig { encoding, ..SecureConfig::default() };
        let favourites = dice.get(4..).unwrap_or_default();
        let assignment = Assignment {
            round: Round(u64::from(die(2) % 4)),
            plan: TrainPlan::default(),
            seed: 1,
            foundation: keep(cache, b"foundation".to_vec()),
            release: keep(cache, vec![0; 4 * WEIGHTS]),
            companion: (!favourites.is_empty()).then(|| keep(cache, favourites.to_vec())),
            sections: Sections::default(),
            secure: Some(secure.check(Weighting::Examples).unwrap().0),
            time_left_ms: 0,
            counted: (die(3) % 5).checked_sub(1).map(|round| Round(u64::from(round))),
            lag: (die(0) > 200).then(|| Lag { version: Version(u64::from(die(2) % 4)), most: 2, exponent: 0.5 }),
        };
        self.assignment = Some(assignment.clone());
        ToClient::Train(assignment)
    }

    fn seed(at: usize) -> RoundSeed {
        RoundSeed::new([at as u8 + 1; 32])
    }

    /// What follows from what the hub has said.
    pub(crate) fn answer(&mut self, said: ToServer, cache: &mut Cache) -> Option<Vec<ToClient>> {
        let everybody = Subset::all(3);
        Some(match said {
            ToServer::Ready { round, keys } => {
                let assignment = self.assignment.as_ref().filter(|assignment| assignment.round == round)?;
                let promise = assignment.promise();
                let member = |(at, (peer, identity)): (usize, &(ClientId, Enrolled))| {
                    let keys = RoundSecrets::new(&Self::seed(at)).advertisement();
                    Member::new(peer.clone(), identity, keys, round, &promise)
                };
                let members = self.peers.iter().enumerate().map(member).chain([keys]).collect();
                let roster = Roster::new(round, promise, members).ok()?;
                let blob = keep(cache, roster.to_bytes());
                self.roster = Some(roster);
                vec![ToClient::Share { round, roster: blob }]
            }
            ToServer::Shares { round, .. } => {
                let roster = self.roster.as_ref()?;
                let me = roster.index_of(&self.hub)?;
                let shares = self.peers.iter().enumerate().map(|(at, (peer, _))| {
                    let own = roster.index_of(peer).unwrap();
                    let joining = Joining {
                        round: roster.round(),
                        assignment: *roster.assignment(),
                        client: peer.clone(),
                        advertisement: roster.members()[own as usize].advertisement.clone(),
                        minimum: 2,
                    };
                    let parameters = self.assignment.as_ref()?.secure.as_ref()?.parameters(3);
                    let (seed, roll) = (Self::seed(at), self.authority.roll());
                    let session = Session::join(&seed, roster.clone(), parameters, &roll, &joining).ok()?;
                    Some((own, session.shares().into_iter().find(|(to, _)| *to == me)?.1))
                });
                vec![ToClient::Mask { round, present: everybody, shares: shares.collect::<Option<_>>()? }]
            }
            ToServer::Offer { round, visible: None, .. } => {
                vec![
                    ToClient::Upload { round, offset: 0 },
                    ToClient::Survivors { round, survivors: everybody },
                ]
            }
            ToServer::Confirm { round, .. } => {
                let roster = self.roster.as_ref()?;
                let statement = confirmation(roster.digest(), &everybody, &everybody);
                let sign = |(peer, identity): &(ClientId, Enrolled)| {
                    Some((roster.index_of(peer)?, Signature(identity.sign(&statement))))
                };
                let signatures = self.peers.iter().map(sign).collect::<Option<_>>()?;
                vec![ToClient::Reveal { round, signatures }]
            }
            ToServer::Revealed { round, .. } => vec![ToClient::Counted { round }, ToClient::Over { round }],
            _ => return None,
        })
    }
}
