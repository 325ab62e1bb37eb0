//! What a machine would not say.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::World;
use crate::ids::{BlobId, Digest, Round, UpdateId, Version};
use crate::message::{ToClient, ToServer, Visible};
use crate::participant;
use crate::record::Evaluation;
use crate::secagg::{Member, RoundSecrets, RoundSeed, SealedShare, Signature, Subset};

impl World {
    pub(super) fn lie(&mut self, n: usize) {
        let who = n % self.hubs.len();
        if !self.hubs[who].connected {
            return;
        }
        let round = Round((n / 7 % 4) as u64);
        let digest = Digest::of(&[n as u8]);
        let update = UpdateId { checksum: n as u32, len: (n / 3 % 3 * 4) as u64 };
        let bytes = Bytes::from(vec![0xff; n % 3 * 4]);
        let lies = [
            ToServer::CheckIn { protocol: n as u32, role: self.hubs[who].role },
            ToServer::Fetch { digest, offset: n as u64 },
            ToServer::Offer { round, update, visible: Some(Visible { examples: n as u32, loss: f32::NAN }) },
            ToServer::Part { round, offset: (n % 5) as u64, bytes },
            ToServer::Evaluated {
                version: Version(n as u64 % 3),
                counts: Some(Evaluation { classes: n as u8, confusion: vec![u32::MAX; n % 9] }),
            },
            ToServer::DeclineEvaluation { version: Version(n as u64 % 3), reason: "x".repeat(n) },
            ToServer::Ready { round, keys: self.stranger(who) },
            ToServer::Shares { round, shares: vec![(n as u32, SealedShare([n as u8; 80])); n % 5] },
            ToServer::Confirm { round, signature: Signature([n as u8; 64]) },
            ToServer::Revealed { round, shares: Vec::new() },
        ];
        let lie = lies[n / 11 % lies.len()].clone();
        self.say(who, lie);
    }

    pub(super) fn lie_back(&mut self, n: usize) {
        let who = n % self.hubs.len();
        if !self.hubs[who].connected {
            return;
        }
        let (round, digest) = (Round(n as u64 % 4), self.server.weights_id().digest);
        let offset = if n.is_multiple_of(2) { u64::MAX } else { n as u64 % 9 };
        let lies = [
            ToClient::Chunk { digest, offset, bytes: Bytes::from(vec![7; n % 5]) },
            ToClient::Chunk { digest, offset: 0, bytes: Bytes::new() },
            ToClient::Upload { round, offset },
            ToClient::Counted { round },
            ToClient::Over { round },
            ToClient::Welcome { version: Version(n as u64) },
            ToClient::Share { round, roster: BlobId { digest, len: n as u64 } },
            ToClient::Mask { round, present: Subset::all(n as u32 % 9), shares: Vec::new() },
            ToClient::Survivors { round, survivors: Subset::all(n as u32 % 9) },
            ToClient::Reveal { round, signatures: BTreeMap::new() },
        ];
        self.tell_client(who, participant::Input::Message(lies[n / 7 % lies.len()].clone()));
    }

    /// Keys that nobody signed.
    pub(in crate::tests) fn stranger(&self, who: usize) -> Member {
        let advertisement = RoundSecrets::new(&RoundSeed::new([7; 32])).advertisement();
        let (client, signature) = (self.hubs[who].id.clone(), Signature([7; 64]));
        Member { client, certificate: Bytes::from_static(b"none"), advertisement, signature }
    }
}
