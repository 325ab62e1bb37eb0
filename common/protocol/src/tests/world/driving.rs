//! The drivers of the machines: what goes in, what is done with what comes out, and the jobs in between.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::World;
use super::accidents::Dies;
use super::hands::{Arithmetic, Boosted, remembered};
use crate::coordinator;
use crate::ids::{BlobId, ClientId};
use crate::message::ToClient;
use crate::participant::{self, Event, Hands};
use crate::time::Instant;

/// A client's hands, which boost its updates if they do.
pub(super) fn boosted(boosts: &BTreeMap<ClientId, f32>, client: &ClientId, weights: usize) -> Boosted {
    let times = boosts.get(client).copied().unwrap_or(1.0);
    Boosted { hands: Arithmetic::new(weights), times }
}

/// The time since a machine started.
fn clock(now: Instant, started: Instant) -> Instant {
    Instant::at(now.since(started))
}

impl World {
    pub(super) fn run_job(&mut self, who: usize) {
        if who == self.hubs.len() {
            if let Some(job) = self.server_jobs.pop_front() {
                self.tell_server(coordinator::Input::Finished(job.run()));
            }
            return;
        }
        let hub = &mut self.hubs[who];
        if let Some(job) = hub.jobs.pop_front() {
            let load = |blob: BlobId| Ok::<_, ()>(Bytes::from(hub.cache[&blob].clone()));
            let needs = job.needs().try_map(load).unwrap();
            if let participant::Job::Train(train) = &job {
                let count = remembered(train.memory());
                let before = self.begun.insert((hub.id.clone(), train.assignment().round), count);
                assert!(
                    before.is_none_or(|before| before == count),
                    "repeatable: {} trained otherwise",
                    hub.id
                );
            }
            let mut trainer = boosted(&self.boosts, &hub.id, self.weights);
            trainer.hands.blind = self.blind.contains(&who);
            let roll = self.authority.roll();
            let hands = Hands { trainer: &trainer, identity: &hub.identity, roll: &roll };
            let result = job.run(hands, needs);
            let trains =
                matches!(&result, participant::JobResult::Trained(done, _) if !done.counting().is_alone());
            self.trained += u32::from(trains);
            self.tell_client(who, participant::Input::Finished(result));
        }
    }

    pub(super) fn tell_server(&mut self, input: coordinator::Input) {
        if let coordinator::Input::Message(client, message) = &input {
            self.witness.heard(client, message);
        }
        let now = clock(self.now, self.started);
        self.server.handle(now, input);
        let (mut sends, mut writes) = (Vec::new(), Vec::new());
        for step in 0.. {
            assert!(step < 10_000, "liveness: the server never comes to rest");
            match self.server.poll() {
                coordinator::Output::Persist(record) => writes.push(record),
                coordinator::Output::Send(client, message) => sends.push((client, message)),
                coordinator::Output::Run(job) => self.server_jobs.push_back(job),
                coordinator::Output::Event(coordinator::Event::Refused(client, fault)) => {
                    self.blamed.insert(client);
                    self.refused.push(fault);
                }
                coordinator::Output::Event(coordinator::Event::Counted(_, client, ..)) => {
                    self.uploading.remove(&client);
                }
                coordinator::Output::Event(coordinator::Event::Ended(why)) => self.ended.push(why),
                coordinator::Output::Event(coordinator::Event::Judged(_, client, _)) => {
                    self.judged.insert(client);
                }
                coordinator::Output::Event(_) => {}
                coordinator::Output::Wait(until) => {
                    assert!(until.is_none_or(|t| t > now), "no-busy-wait: {until:?} at {now:?}");
                    break;
                }
            }
        }
        if !writes.is_empty() {
            self.flushes += 1;
            let dies = self.dies_at.filter(|(at, _)| *at == self.flushes).map(|(_, dies)| dies);
            if dies == Some(Dies::Before) {
                return self.kill_server();
            }
            self.disk.append(&mut writes);
            if dies.is_some() || std::mem::take(&mut self.kill_after_flush) {
                return self.kill_server();
            }
        }
        for (client, message) in sends {
            self.check_send(&message);
            if let ToClient::Reveal { round, .. } = message {
                self.told.insert(round);
                self.check_ledger();
            }
            if let ToClient::Upload { .. } = message {
                self.uploading.insert(client.clone());
            }
            self.most_uploads = self.most_uploads.max(self.uploading.len());
            if let Some(hub) = self.hubs.iter_mut().find(|hub| hub.id == client && hub.connected) {
                hub.to_client.push_back(message);
            }
        }
    }

    pub(super) fn tell_client(&mut self, who: usize, input: participant::Input) {
        let hub = &mut self.hubs[who];
        let now = clock(self.now, hub.started);
        hub.machine.handle(now, input);
        for step in 0.. {
            assert!(step < 10_000, "liveness: client {who} never comes to rest");
            match hub.machine.poll() {
                participant::Output::Persist { blob, offset, bytes } => {
                    let cached = hub.cache.entry(blob).or_default();
                    assert_eq!(cached.len() as u64, offset, "append-only: client {who}");
                    cached.extend_from_slice(&bytes);
                }
                participant::Output::Lookup(blob) => {
                    let cached = hub.cache.entry(blob).or_default();
                    if cached.len() as u64 >= blob.len && BlobId::of(cached) != blob {
                        cached.clear();
                    }
                    let have = cached.len() as u64;
                    hub.machine.handle(now, participant::Input::Cached(blob, have));
                }
                participant::Output::Remember(keep, bytes) => hub.kept.set(keep, bytes),
                participant::Output::Send(message) => {
                    self.witness.says(&hub.id, &message, &hub.kept, &self.disk);
                    if hub.connected {
                        hub.to_server.push_back(message);
                    }
                }
                participant::Output::Run(job) => {
                    self.witness.works(&job, &hub.kept);
                    hub.jobs.push_back(*job);
                }
                participant::Output::Event(Event::Declined(why)) => self.declined.push(why),
                participant::Output::Event(Event::Evaluated(..)) => self.evaluated += 1,
                participant::Output::Event(_) => {}
                participant::Output::Wait(until) => {
                    assert!(until.is_none_or(|t| t > now), "no-busy-wait: client {who}");
                    break;
                }
            }
        }
    }
}
