//! The client's half of the federation, as a state machine without I/O.
//!
//! Driven like the coordinator: [`Participant::handle`] once for each thing that happens, then [`Participant::poll`]
//! until [`Output::Wait`]. It works on one thing at a time; a newer request of the server replaces an older one.
//! Blobs live in the driver's cache, which answers [`Output::Lookup`] and verifies digests; the machine only decides
//! what to fetch and from where.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use crate::evaluation::EvaluationPolicy;
use crate::fault::Fault;
use crate::ids::{BlobId, ClientId, Round, Version};
use crate::memory::{Left, Memory};
use crate::message::{Assignment, CHUNK, Examination, PROTOCOL, REASON, Role, ToClient, ToServer, Visible};
use crate::record::Evaluation;
use crate::seed::Seed;
use crate::time::Instant;
use crate::trainer::LocalEvaluation;

mod guard;
mod job;
mod owner;
mod part;

use guard::Guard;
pub use job::{
    Confirm, Hands, Job, JobResult, Mask, Masked, Materials, Needs, Receipt, Reveal, Share, Train, Update,
};
pub use owner::{Keep, Kept, Policy, Secret};
use part::Part;

/// Chunks asked for ahead of what has arrived.
const WINDOW: u64 = 4 * CHUNK as u64;

/// Silence after which a request is repeated.
const PATIENCE: Duration = Duration::from_secs(30);

/// What happens to a participant.
#[derive(Debug)]
pub enum Input {
    /// The server is there.
    Connected,
    /// It is not any more.
    Disconnected,
    /// It said something.
    Message(ToClient),
    /// The answer to [`Output::Lookup`]: so many bytes are in the cache, `blob.len` of them only if they are verified.
    Cached(BlobId, u64),
    /// A [`Job`] is done.
    Finished(JobResult),
    /// The moment that [`Output::Wait`] named has come.
    Timeout,
}

/// What a participant wants from its driver, in this order.
pub enum Output {
    /// Append these bytes to the cached blob, which has `offset` bytes so far.
    Persist {
        /// The blob.
        blob: BlobId,
        /// Bytes before these.
        offset: u64,
        /// The bytes.
        bytes: Bytes,
    },
    /// Say with [`Input::Cached`] what the cache has of this blob, after all `Persist` before it. A complete blob
    /// with a wrong digest is thrown away and counts as nothing.
    Lookup(BlobId),
    /// Keep these bytes in place of those before, whole or not at all, for [`Participant::new`] after a restart, and have
    /// them on the disk before anything that is wanted later. They are this client's own and never leave it.
    Remember(Keep, Secret),
    /// Send this, if connected.
    Send(ToServer),
    /// Run this on a thread that may block, and bring the result back as [`Input::Finished`].
    Run(Box<Job>),
    /// Tell the person whose hub this is.
    Event(Event),
    /// Nothing more until this moment, or until something happens.
    Wait(Option<Instant>),
}

// What is remembered has no place in a log.
impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Persist { blob, offset, .. } => write!(f, "Persist({blob:?} from {offset})"),
            Self::Lookup(blob) => write!(f, "Lookup({blob:?})"),
            Self::Remember(keep, _) => write!(f, "Remember({keep:?})"),
            Self::Send(message) => write!(f, "Send({message:?})"),
            Self::Run(job) => write!(f, "Run({job:?})"),
            Self::Event(event) => write!(f, "Event({event:?})"),
            Self::Wait(until) => write!(f, "Wait({until:?})"),
        }
    }
}

/// What a person may want to know.
#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    /// Training began.
    Training(Round),
    /// Training is done.
    Trained {
        /// The round.
        round: Round,
        /// Scored epochs.
        examples: u32,
        /// Mean loss.
        loss: f32,
    },
    /// The update is part of the next release.
    Counted(Round),
    /// A release was scored on this client's nights.
    Evaluated(Version, LocalEvaluation),
    /// The work could not be done.
    Declined(String),
    /// The federation is complete.
    Finished(Version),
    /// The server said something that makes no sense.
    Refused(Fault),
}

/// One federation, seen from one client.
pub struct Participant {
    id: ClientId,
    role: Role,
    policy: Policy,
    memory: Memory,
    guard: Guard,
    /// Where secrets come from, and how many rounds have had some.
    seed: Seed,
    drawn: u64,
    link: Link,
    task: Task,
    /// A job is with the driver; its result may be for a task that has been replaced since.
    busy: bool,
    /// When the server last moved the task on.
    progress: Instant,
    out: VecDeque<Output>,
}

/// How things stand with the server.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Link {
    /// No connection.
    Down,
    /// Connected, but the check-in has not been answered.
    Silent,
    /// Connected, and the server has spoken.
    Up,
}

/// What the server last asked for.
enum Work {
    Train(Assignment),
    Examine(Examination),
    /// Share secrets with those on the roster.
    Join(Box<Part>, BlobId),
}

impl Work {
    /// What to fetch, in order.
    fn blobs(&self) -> Vec<BlobId> {
        match self {
            Work::Train(assignment) => Needs::Model(Materials::from(assignment)).iter().copied().collect(),
            Work::Examine(examination) => {
                Needs::Model(Materials::from(examination)).iter().copied().collect()
            }
            Work::Join(_, roster) => vec![*roster],
        }
    }

    fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Work::Train(a), Work::Train(b)) => a.same_work(b),
            (Work::Examine(a), Work::Examine(b)) => a == b,
            (Work::Join(part, _), Work::Train(b)) => part.assignment.same_work(b),
            _ => false,
        }
    }

    fn round(&self) -> Option<Round> {
        match self {
            Work::Train(assignment) => Some(assignment.round),
            Work::Join(part, _) => Some(part.assignment.round),
            Work::Examine(_) => None,
        }
    }
}

/// How far it has come.
enum Task {
    /// Nothing to do.
    Idle,
    /// Asking the cache for the blobs, in order; `next` is the one that it was asked for last.
    Gathering { work: Work, next: usize },
    /// Fetching blob `next`: `have` bytes are cached, those up to `asked` are requested.
    Fetching { work: Work, next: usize, have: u64, asked: u64 },
    /// All blobs are there; the job runs, or will as soon as an older one is done.
    Working(Work),
    /// The update is offered, uploaded or counted; kept until the server says that the round is over.
    Holding { assignment: Assignment, update: Box<Update> },
    /// The same in a masked round.
    Masking(Box<Part>),
}

impl Task {
    /// The round that it is for.
    fn round(&self) -> Option<Round> {
        match self {
            Task::Idle => None,
            Task::Gathering { work, .. } | Task::Fetching { work, .. } | Task::Working(work) => work.round(),
            Task::Holding { assignment, .. } => Some(assignment.round),
            Task::Masking(part) => Some(part.assignment.round),
        }
    }
}

impl Participant {
    /// The participant of client `id`, with what [`Output::Remember`] last gave to the disk.
    ///
    /// `seed` makes this client's masks: OS entropy when deployed, the scenario's seed in a simulation.
    pub fn new(id: ClientId, role: Role, policy: Policy, kept: &Kept, seed: Seed) -> Self {
        Self {
            id,
            role,
            policy,
            memory: Memory::restore(kept.memory.as_ref()),
            guard: Guard::restore(kept.secrets.as_ref()),
            seed,
            drawn: 0,
            link: Link::Down,
            task: Task::Idle,
            busy: false,
            progress: Instant::default(),
            out: VecDeque::new(),
        }
    }

    /// Takes in one thing that happened.
    pub fn handle(&mut self, now: Instant, input: Input) {
        match input {
            Input::Connected => {
                self.link = Link::Silent;
                self.progress = now;
                self.check_in();
                // An update is offered again when the server repeats the assignment, which may be another one now.
                self.fetch_again();
            }
            Input::Disconnected => self.link = Link::Down,
            Input::Message(message) => self.message(now, message),
            Input::Cached(blob, have) => self.cached(now, blob, have),
            Input::Finished(result) => self.finished(now, result),
            Input::Timeout => {}
        }
        if self.waits() && now >= self.progress + PATIENCE {
            self.progress = now;
            match self.link {
                Link::Silent => self.check_in(),
                Link::Up => self.offer(),
                Link::Down => {}
            }
            self.fetch_again();
        }
    }

    /// The next thing that the driver has to do.
    pub fn poll(&mut self) -> Output {
        let next = self.out.pop_front();
        next.unwrap_or_else(|| Output::Wait(self.waits().then(|| self.progress + PATIENCE)))
    }

    /// Whether the server owes an answer.
    fn waits(&self) -> bool {
        match self.link {
            Link::Down => false,
            Link::Silent => true,
            Link::Up => matches!(self.task, Task::Fetching { .. } | Task::Holding { .. } | Task::Masking(_)),
        }
    }

    fn message(&mut self, now: Instant, message: ToClient) {
        self.progress = now;
        if self.link == Link::Silent {
            self.link = Link::Up;
        }
        match message {
            ToClient::Welcome { .. } => {}
            ToClient::Train(assignment) => {
                // Of an update that nobody has told the end of.
                if self.memory.begin(assignment.round, assignment.counted) {
                    self.keep_memory();
                }
                self.take_on(Work::Train(assignment));
            }
            ToClient::Evaluate(examination) => self.take_on(Work::Examine(examination)),
            ToClient::Chunk { digest, offset, bytes } => self.chunk(digest, offset, bytes),
            ToClient::Share { round, roster } => self.share(round, roster),
            ToClient::Mask { round, present, shares } => self.mask(round, present, shares),
            ToClient::Upload { round, offset } => self.upload(round, offset),
            ToClient::Survivors { round, survivors } => self.survivors(round, &survivors),
            ToClient::Reveal { round, signatures } => self.reveal(round, signatures),
            ToClient::Counted { round } => {
                self.counted(round);
            }
            ToClient::Over { round } => {
                if self.task.round() == Some(round) {
                    self.task = Task::Idle;
                    self.forget();
                }
            }
            ToClient::Finished { version } => {
                self.task = Task::Idle;
                self.forget();
                self.event(Event::Finished(version));
            }
        }
    }

    fn check_in(&mut self) {
        self.send(ToServer::CheckIn { protocol: PROTOCOL, role: self.role });
    }

    fn decline(&mut self, round: Round, why: String) {
        self.task = Task::Idle;
        self.send(ToServer::Decline { round, reason: why.chars().take(REASON).collect() });
        self.event(Event::Declined(why));
    }

    fn decline_evaluation(&mut self, version: Version, why: String) {
        self.task = Task::Idle;
        let reason = why.chars().take(REASON).collect();
        self.send(ToServer::DeclineEvaluation { version, reason });
        self.event(Event::Declined(why));
    }

    fn take_on(&mut self, work: Work) {
        match &self.task {
            Task::Gathering { work: old, .. } | Task::Fetching { work: old, .. } | Task::Working(old)
                if old.same(&work) => {}
            Task::Holding { assignment, .. } if matches!(&work, Work::Train(new) if assignment.same_work(new)) =>
            {
                self.offer();
            }
            Task::Masking(part) if matches!(&work, Work::Train(new) if part.assignment.same_work(new)) => {
                self.offer();
            }
            _ => {
                // What the owner of this client does not allow.
                match &work {
                    Work::Train(assignment) => {
                        if let Err(why) = self.policy.allows(self.role, assignment) {
                            return self.decline(assignment.round, why);
                        }
                    }
                    Work::Examine(examination) => {
                        if let Err(why) = self.policy.allows_evaluation(examination) {
                            return self.decline_evaluation(examination.version, why);
                        }
                    }
                    Work::Join(..) => {}
                }
                self.out.push_back(Output::Lookup(work.blobs()[0]));
                self.task = Task::Gathering { work, next: 0 };
            }
        }
    }

    fn cached(&mut self, now: Instant, blob: BlobId, have: u64) {
        let Task::Gathering { work, next } = std::mem::replace(&mut self.task, Task::Idle) else { return };
        let blobs = work.blobs();
        if blobs[next] != blob {
            self.task = Task::Gathering { work, next };
        } else if have < blob.len {
            self.task = Task::Fetching { work, next, have, asked: have };
            self.progress = now;
            self.ask();
        } else if next + 1 < blobs.len() {
            self.out.push_back(Output::Lookup(blobs[next + 1]));
            self.task = Task::Gathering { work, next: next + 1 };
        } else {
            self.task = Task::Working(work);
            self.start();
        }
    }

    fn chunk(&mut self, digest: crate::ids::Digest, offset: u64, bytes: Bytes) {
        let Task::Fetching { work, next, have, .. } = &mut self.task else { return };
        let blob = work.blobs()[*next];
        if digest != blob.digest || offset != *have || bytes.is_empty() {
            return;
        }
        let end = offset + bytes.len() as u64;
        if end > blob.len {
            return self.event(Event::Refused(Fault::WrongLength { expected: blob.len, got: end }));
        }
        *have = end;
        self.out.push_back(Output::Persist { blob, offset, bytes });
        if end < blob.len {
            return self.ask();
        }
        if let Task::Fetching { work, next, .. } = std::mem::replace(&mut self.task, Task::Idle) {
            self.out.push_back(Output::Lookup(blob));
            self.task = Task::Gathering { work, next };
        }
    }

    /// Requests chunks up to a window ahead of what is cached.
    fn ask(&mut self) {
        let mut requests = Vec::new();
        if let Task::Fetching { work, next, have, asked } = &mut self.task {
            let blob = work.blobs()[*next];
            while *asked < blob.len.min(*have + WINDOW) {
                requests.push(ToServer::Fetch { digest: blob.digest, offset: *asked });
                *asked = (*asked + CHUNK as u64).min(blob.len);
            }
        }
        for request in requests {
            self.send(request);
        }
    }

    /// Repeats the requests that were not answered.
    fn fetch_again(&mut self) {
        if let Task::Fetching { have, asked, .. } = &mut self.task {
            *asked = *have;
            self.ask();
        }
    }

    fn start(&mut self) {
        if self.busy {
            return;
        }
        let Task::Working(work) = &self.task else { return };
        let job = match work {
            Work::Train(assignment) => {
                let assignment = assignment.clone();
                if !assignment.counting().is_alone() {
                    self.out.push_back(Output::Event(Event::Training(assignment.round)));
                }
                let memory = self.before(&assignment).trainer;
                let secrets = assignment.secure.is_some().then(|| self.secrets(assignment.promise()));
                Job::Train(Train { assignment, client: self.id.clone(), memory, secrets })
            }
            Work::Examine(examination) => {
                let examination = examination.clone();
                let memory = self.memory.latest(examination.foundation.digest);
                Job::Examine { examination, memory }
            }
            Work::Join(part, roster) => {
                let (promise, roster) = (part.promise, *roster);
                let secrets = self.secrets(promise);
                let Task::Working(Work::Join(part, _)) = &self.task else { return };
                part.join(&self.id, roster, self.policy, secrets)
            }
        };
        self.run(job);
    }

    fn run(&mut self, job: Job) {
        self.busy = true;
        self.out.push_back(Output::Run(Box::new(job)));
    }

    fn finished(&mut self, now: Instant, result: JobResult) {
        self.busy = false;
        self.progress = now;
        match (std::mem::replace(&mut self.task, Task::Idle), result) {
            (Task::Working(Work::Train(task)), JobResult::Trained(done, update)) if task.same_work(&done) => {
                self.trained(task, update);
            }
            (Task::Working(Work::Train(task)), JobResult::Failed(Receipt::Train(done), why))
                if task.same_work(&done) =>
            {
                self.decline(task.round, why);
            }
            (Task::Working(Work::Examine(task)), JobResult::Examined(done, evaluation)) if task == done => {
                self.examined(&done, evaluation);
            }
            (Task::Working(Work::Examine(task)), JobResult::Failed(Receipt::Examine(done), why))
                if task == done =>
            {
                self.decline_evaluation(done.version, why);
            }
            (Task::Working(Work::Join(part, _)), JobResult::Shared(promise, session, shares))
                if part.promise == promise =>
            {
                self.joined(part, session, shares);
            }
            (Task::Working(Work::Join(part, _)), JobResult::Failed(Receipt::Step(promise), why))
                if part.promise == promise =>
            {
                self.decline(part.assignment.round, why);
            }
            (Task::Masking(part), result) => self.moved_on(part, result),
            // The result of a task that was replaced: start the new one.
            (task, _) => {
                self.task = task;
                self.start();
            }
        }
    }

    fn trained(&mut self, assignment: Assignment, mut update: Box<Update>) {
        let Visible { examples, loss } = update.visible;
        if !assignment.counting().is_alone() {
            self.event(Event::Trained { round: assignment.round, examples, loss });
        }
        if let Some(Err(why)) = &update.counts {
            self.event(Event::Declined(format!("nothing was counted of the release: {why}")));
        }
        self.task = match (assignment.secure.clone(), update.keys.take()) {
            (Some(plan), Some(keys)) => Task::Masking(Box::new(Part::new(assignment, plan, update, keys))),
            _ => {
                // Plain updates leave nothing out, and bring nothing that was left out before.
                let residual = self.before(&assignment).residual;
                self.leave(&assignment, update.memory.take(), residual);
                Task::Holding { assignment, update }
            }
        };
        self.offer();
    }

    /// What the round of `assignment` begins with.
    fn before(&self, assignment: &Assignment) -> Left {
        self.memory.before(assignment.foundation.digest, assignment.round)
    }

    /// Has on the disk what the round leaves behind if its update counts, which is about to leave. A trainer that says
    /// nothing keeps what there was.
    fn leave(&mut self, assignment: &Assignment, trainer: Option<Bytes>, residual: Option<Bytes>) {
        let trainer = trainer.or_else(|| self.before(assignment).trainer);
        if self.memory.leave(assignment.foundation.digest, assignment.round, Left { trainer, residual }) {
            self.keep_memory();
        }
    }

    fn examined(&mut self, done: &Examination, evaluation: LocalEvaluation) {
        let (version, told) = (done.version, done.policy == EvaluationPolicy::PerClient);
        let LocalEvaluation { classes, confusion } = evaluation.clone();
        // Told before it is sent: who hears of both sides hears that the server counted it after that.
        self.event(Event::Evaluated(version, evaluation));
        let counts = told.then_some(Evaluation { classes, confusion });
        self.send(ToServer::Evaluated { version, counts });
    }

    /// Says again where this client is in its round; the server answers with what comes next.
    fn offer(&mut self) {
        match &self.task {
            Task::Holding { assignment, update } => {
                let (round, visible) = (assignment.round, Some(update.visible));
                self.send(ToServer::Offer { round, update: update.id, visible });
            }
            Task::Masking(part) => {
                let message = part.present();
                self.send(message);
            }
            _ => {}
        }
    }

    fn upload(&mut self, round: Round, offset: u64) {
        let bytes = match &self.task {
            Task::Holding { assignment, update } if assignment.round == round => update.bytes.clone(),
            Task::Masking(part) if part.assignment.round == round => match part.upload() {
                Some(bytes) => bytes.clone(),
                None => return,
            },
            _ => return,
        };
        let start = usize::try_from(offset).map_or(bytes.len(), |start| start.min(bytes.len()));
        for from in (start..bytes.len()).step_by(CHUNK) {
            let part = bytes.slice(from..bytes.len().min(from + CHUNK));
            self.send(ToServer::Part { round, offset: from as u64, bytes: part });
        }
    }

    fn counted(&mut self, round: Round) {
        let news = self.memory.count(round);
        if news {
            self.keep_memory();
        }
        let open = matches!(self.task, Task::Holding { .. } | Task::Masking(_));
        if news || (open && self.task.round() == Some(round)) {
            self.event(Event::Counted(round));
        }
    }

    fn keep_memory(&mut self) {
        self.out.push_back(Output::Remember(Keep::Memory, self.memory.saved()));
    }

    fn event(&mut self, event: Event) {
        self.out.push_back(Output::Event(event));
    }

    fn send(&mut self, message: ToServer) {
        if self.link != Link::Down {
            self.out.push_back(Output::Send(message));
        }
    }
}
