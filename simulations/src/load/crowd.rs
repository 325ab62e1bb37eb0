//! All clients: a connection and a participant each; their disks and their processors are shared.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use somnus_protocol::credentials::{AuthorityRoll, HubIdentity};
use somnus_protocol::evaluation::EvaluationPolicy;
use somnus_protocol::fault::Fault;
use somnus_protocol::ids::{Digest, Round};
use somnus_protocol::message::{Role, ToClient};
use somnus_protocol::participant::{Event, Hands, Input, Job, JobResult, Kept, Output, Participant, Policy};
use somnus_protocol::secagg::{Claim, Roll};
use somnus_protocol::seed::{Label, Seed};
use somnus_protocol::time::Instant;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant as Clock, sleep_until};

use super::line::{Dialer, Line, identity};
use super::place::{Card, Place, Server};
use super::{LoadError, Sample, resident_kib};
use crate::blobs::{Blobs, Disk};
use crate::steady::Steady;

/// Handshakes at a time; a server gives one address no more than 32.
const HANDSHAKES: usize = 16;

/// Clients of one server.
pub(super) struct Crowd<'a> {
    cards: &'a [Card],
    all: Arc<All>,
    server: u32,
    lives: JoinSet<Result<(), LoadError>>,
}

/// What they share.
struct All {
    dialer: Dialer,
    masked: bool,
    roll: Known,
    blobs: Mutex<Blobs>,
    /// Handshakes, and jobs.
    dialling: Semaphore,
    jobs: Arc<Semaphore>,
    clock: Clock,
    server: u32,
    /// Clients whose check-in the server has answered.
    welcomed: watch::Sender<usize>,
    rounds: Mutex<Rounds>,
    finished: watch::Sender<bool>,
}

/// When each round was heard of first, and the end.
#[derive(Default)]
struct Rounds {
    last: Round,
    samples: Vec<Sample>,
    over: bool,
}

/// The authority's roll for everybody in this process: each signature is checked once, not by each to whom it is shown.
struct Known {
    roll: AuthorityRoll,
    good: Mutex<BTreeSet<Digest>>,
}

/// Signatures that are remembered; of a round each member has one for its keys, and one for the survivors.
const KNOWN: usize = 1 << 14;

impl Roll for Known {
    fn verify(&self, claim: Claim<'_>) -> Result<(), Fault> {
        let Claim { client, certificate, message, signature } = claim;
        let lengths = [client.as_str().len(), certificate.len(), signature.len()].map(usize::to_le_bytes);
        let question = [lengths.as_flattened(), client.as_str().as_bytes(), certificate, signature, message];
        let digest = Digest::of(&question.concat());
        if lock(&self.good).contains(&digest) {
            return Ok(());
        }
        self.roll.verify(claim)?;
        let mut good = lock(&self.good);
        if good.len() >= KNOWN {
            good.clear();
        }
        good.insert(digest);
        Ok(())
    }
}

impl<'a> Crowd<'a> {
    /// Nobody is connected yet.
    pub(super) fn new(place: &Place, server: &Server, cards: &'a [Card]) -> Result<Self, LoadError> {
        let dialer = Dialer::new(&place.authority()?, server.address)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let roll = dialer.roll(now).ok_or_else(|| std::io::Error::other("ca.pem is no certificate"))?;
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let all = All {
            dialer,
            masked: server.masked,
            roll: Known { roll, good: Mutex::default() },
            blobs: Mutex::default(),
            dialling: Semaphore::new(HANDSHAKES),
            jobs: Arc::new(Semaphore::new(cores)),
            clock: Clock::now(),
            server: server.id(),
            welcomed: watch::Sender::new(0),
            rounds: Mutex::default(),
            finished: watch::Sender::new(false),
        };
        Ok(Self { cards, all: Arc::new(all), server: server.id(), lives: JoinSet::new() })
    }

    /// Brings in everybody but the last, without whom no round begins; the server's memory then, KiB.
    pub(super) async fn gather(&mut self) -> Result<u64, LoadError> {
        let idle = self.cards.len() - 1;
        for number in 0..idle {
            self.bring(number)?;
        }
        let mut welcomed = self.all.welcomed.subscribe();
        self.unless_broken(async { drop(welcomed.wait_for(|count| *count == idle).await) }).await?;
        Ok(resident_kib(self.server))
    }

    /// Brings in the last one and waits for the last release; a sample for the opening of each round, and one for the end.
    pub(super) async fn play(mut self) -> Result<Vec<Sample>, LoadError> {
        self.bring(self.cards.len() - 1)?;
        let mut finished = self.all.finished.subscribe();
        self.unless_broken(async { drop(finished.wait_for(|is| *is).await) }).await?;
        Ok(std::mem::take(&mut lock(&self.all.rounds).samples))
    }

    fn bring(&mut self, number: usize) -> Result<(), LoadError> {
        let card = &self.cards[number];
        let client = card.name.clone();
        let failed = move |why: String| LoadError::Client { client: client.to_string(), why };
        let identity = identity(card).ok_or_else(|| failed("its key cannot be used".into()))?;
        let seed =
            Seed::from_number(number as u64).derive(Label::RoundSecrets, card.name.as_str().as_bytes());
        let policy = Policy {
            danger_plain_aggregation: !self.all.masked,
            evaluation: EvaluationPolicy::None,
            ..Policy::default()
        };
        let life = Life {
            machine: Participant::new(card.name.clone(), Role::Trains, policy, &Kept::default(), seed),
            identity: Arc::new(identity),
            disk: Disk::default(),
            all: Arc::clone(&self.all),
        };
        let call = {
            let (all, card) = (Arc::clone(&self.all), card.clone());
            async move {
                // The semaphore is never closed.
                let _turn = all.dialling.acquire().await;
                all.dialer.call(number, &card).await
            }
        };
        self.lives.spawn(async move { life.live(call.await.map_err(&failed)?).await.map_err(failed) });
        Ok(())
    }

    /// Waits for something that happens unless a client loses its place.
    async fn unless_broken(&mut self, done: impl Future<Output = ()>) -> Result<(), LoadError> {
        tokio::select! {
            () = done => Ok(()),
            Some(ended) = self.lives.join_next() => {
                ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
            }
        }
    }
}

/// One client.
struct Life {
    machine: Participant,
    identity: Arc<HubIdentity>,
    disk: Disk,
    all: Arc<All>,
}

impl Life {
    /// Lives until the server hangs up, which is always too early.
    async fn live(mut self, mut line: Line) -> Result<(), String> {
        let (results, mut done) = mpsc::unbounded_channel();
        let mut until = self.step(Input::Connected, &line, &results)?;
        loop {
            let input = tokio::select! {
                heard = line.inbox.recv() => {
                    let message = heard.unwrap_or_else(|| Err("the line is dead".into()))?;
                    self.all.heard(&message);
                    Input::Message(message)
                }
                Some(result) = done.recv() => Input::Finished(result),
                () = alarm(self.all.clock, until) => Input::Timeout,
            };
            until = self.step(input, &line, &results)?;
        }
    }

    /// One input, and everything that follows from it; when to look again. A client that will not do something is an error.
    fn step(
        &mut self,
        input: Input,
        line: &Line,
        results: &mpsc::UnboundedSender<JobResult>,
    ) -> Result<Option<Instant>, String> {
        let now = Instant::at(self.all.clock.elapsed());
        self.machine.handle(now, input);
        loop {
            match self.machine.poll() {
                Output::Persist { blob, offset, bytes } => {
                    lock(&self.all.blobs).append(&mut self.disk, blob, offset, &bytes);
                }
                Output::Lookup(blob) => {
                    let have = lock(&self.all.blobs).lookup(&mut self.disk, blob);
                    self.machine.handle(now, Input::Cached(blob, have));
                }
                // Nobody is restarted here.
                Output::Remember(..) => {}
                Output::Send(message) => {
                    // A line that is gone is noticed at its inbox.
                    let _ = line.outbox.send(message);
                }
                Output::Run(job) => self.begin(*job, results.clone()),
                Output::Event(Event::Finished(_)) => self.all.end(),
                Output::Event(Event::Declined(why)) => return Err(why),
                Output::Event(Event::Refused(fault)) => return Err(fault.to_string()),
                Output::Event(_) => {}
                Output::Wait(until) => return Ok(until),
            }
        }
    }

    fn begin(&self, job: Job, results: mpsc::UnboundedSender<JobResult>) {
        let found = {
            let blobs = lock(&self.all.blobs);
            job.needs().try_map(|blob| blobs.get(blob).ok_or(()))
        };
        let (all, identity) = (Arc::clone(&self.all), Arc::clone(&self.identity));
        tokio::spawn(async move {
            // The semaphore is never closed.
            let Ok(_turn) = Arc::clone(&all.jobs).acquire_owned().await else { return };
            let _ = spawn_blocking(move || {
                let hands = Hands { trainer: &Steady, identity: &*identity, roll: &all.roll };
                let result = match found {
                    Ok(found) => job.run(hands, found),
                    Err(()) => job.receipt().failed("what the work needs is not in the cache any more"),
                };
                // If nobody listens the client is gone.
                drop(results.send(result));
            })
            .await;
        });
    }
}

impl All {
    /// Notes what tells how far the server is.
    fn heard(&self, message: &ToClient) {
        match message {
            ToClient::Welcome { .. } => self.welcomed.send_modify(|count| *count += 1),
            ToClient::Train(assignment) => {
                let mut rounds = lock(&self.rounds);
                if assignment.round > rounds.last {
                    rounds.last = assignment.round;
                    rounds.samples.push(self.sample());
                }
            }
            _ => {}
        }
    }

    /// Notes the end, of which everybody hears.
    fn end(&self) {
        // The sample is there before anybody looks for it.
        let mut rounds = lock(&self.rounds);
        if !std::mem::replace(&mut rounds.over, true) {
            rounds.samples.push(self.sample());
            self.finished.send_replace(true);
        }
    }

    fn sample(&self) -> Sample {
        Sample { at: std::time::Instant::now(), kib: resident_kib(self.server) }
    }
}

/// Rings at a moment; never, without one.
async fn alarm(clock: Clock, until: Option<Instant>) {
    match until {
        // A little later than asked for, so that the machine's moment has surely come.
        Some(until) => sleep_until(clock + until.elapsed() + Duration::from_millis(1)).await,
        None => std::future::pending().await,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
