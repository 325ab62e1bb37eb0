//! The client's half of the federation, as a state machine without I/O.
//!
//! Driven like the coordinator: [`Participant::handle`] once for each thing that happens, then [`Participant::poll`]
//! until [`Output::Wait`]. It works on one thing at a time; a newer request of the server replaces an older one.
//! Blobs live in the driver's cache, which answers [`Output::Lookup`] and verifies digests; the machine only decides
//! what to fetch and from where.
//!
//! - `driver`: what goes in and what comes out; `job`: slow work, with `needs` and `training`;
//! - `task`: what it works on, and how far that has come; `gathering`: the blobs for it; `working`: the job that it takes;
//! - `shelf`: what outlasts its round; `part`: a masked round; `guard`: what may be said in one way only;
//! - `owner`: what belongs to the person whose hub this is.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use crate::ids::{ClientId, Round, Version};
use crate::memory::{Left, Memory};
use crate::message::{Assignment, CHUNK, PROTOCOL, REASON, Role, ToClient, ToServer};
use crate::seed::Seed;
use crate::time::Instant;

mod driver;
mod gathering;
mod guard;
mod job;
mod needs;
mod owner;
mod part;
mod shelf;
mod task;
mod training;
mod working;

pub use driver::{Event, Input, Output};
use guard::Guard;
pub use job::{Confirm, Hands, Job, JobResult, Mask, Masked, Receipt, Reveal, Share, Train, Update};
pub use needs::{Materials, Needs};
pub use owner::{Keep, Kept, Policy, Secret};
use shelf::Bench;
#[cfg(test)]
pub(crate) use shelf::base_on;
use task::{Task, Work};

/// Silence after which a request is repeated.
const PATIENCE: Duration = Duration::from_secs(30);

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
    bench: Bench,
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
            bench: Bench::restore(kept.update.as_ref()),
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
            Input::Message(message) => self.message(now, message, Ok(())),
            Input::Unfit(message, why) => self.message(now, message, Err(why)),
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

    /// Whether nothing is open here: neither work nor a round whose end this client has not heard of. Who leaves then
    /// leaves nothing undone.
    pub fn is_idle(&self) -> bool {
        matches!(self.task, Task::Idle) && !self.busy
    }

    /// Whether the server owes an answer.
    fn waits(&self) -> bool {
        match self.link {
            Link::Down => false,
            Link::Silent => true,
            Link::Up => matches!(self.task, Task::Fetching { .. } | Task::Holding { .. } | Task::Masking(_)),
        }
    }

    fn message(&mut self, now: Instant, message: ToClient, fits: Result<(), String>) {
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
                if assignment.lag.is_some() {
                    self.attend(assignment, fits);
                } else {
                    self.clear_bench();
                    self.take_on(Work::Train(assignment), fits);
                }
            }
            ToClient::Evaluate(examination) => self.take_on(Work::Examine(examination), fits),
            ToClient::Chunk { digest, offset, bytes } => self.chunk(digest, offset, bytes),
            ToClient::Share { round, roster } => self.share(round, roster),
            ToClient::Mask { round, present, shares } => self.mask(round, present, shares),
            ToClient::Upload { round, offset } => self.upload(round, offset),
            ToClient::Survivors { round, survivors } => self.survivors(round, &survivors),
            ToClient::Reveal { round, signatures } => self.reveal(round, signatures),
            ToClient::Counted { round } => {
                self.counted(round);
            }
            ToClient::Over { round } => self.over(round),
            ToClient::Finished { version } => {
                self.task = Task::Idle;
                self.forget();
                self.clear_bench();
                self.event(Event::Finished(version));
            }
        }
    }

    fn over(&mut self, round: Round) {
        if self.bench.leave(round) {
            self.forget();
        }
        // A training goes on: the next round may take it.
        let goes_on = matches!(&self.task, Task::Working(Work::Train(_))) && self.bench.trains();
        if self.task.round() == Some(round) && !goes_on {
            self.task = Task::Idle;
            self.forget();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::EvaluationPolicy;
    use crate::ids::BlobId;
    use crate::message::Examination;
    use crate::plan::TrainPlan;
    use crate::update::Sections;

    /// What it sends, and whether it looked for anything.
    fn handle(machine: &mut Participant, input: Input) -> (Vec<ToServer>, bool) {
        machine.handle(Instant::default(), input);
        let (mut said, mut looked) = (Vec::new(), false);
        loop {
            match machine.poll() {
                Output::Send(message) => said.push(message),
                Output::Lookup(_) => looked = true,
                Output::Wait(_) => return (said, looked),
                _ => {}
            }
        }
    }

    fn train(round: u64) -> ToClient {
        let blob = BlobId::of(b"model");
        ToClient::Train(Assignment {
            round: Round(round),
            plan: TrainPlan::default(),
            seed: 1,
            foundation: blob,
            release: blob,
            companion: None,
            sections: Sections::default(),
            secure: None,
            time_left_ms: round,
            counted: None,
            lag: None,
        })
    }

    #[test]
    fn work_that_does_not_fit_is_declined_before_anything_is_fetched_and_what_is_open_goes_on() {
        let policy = Policy { danger_plain_aggregation: true, ..Policy::default() };
        let id = "ann".parse().unwrap();
        let mut machine = Participant::new(id, Role::Trains, policy, &Kept::default(), Seed::from_number(1));
        handle(&mut machine, Input::Connected);
        let hot = || "hot".to_owned();
        let declined = |round| (vec![ToServer::Decline { round: Round(round), reason: hot() }], false);

        assert_eq!(handle(&mut machine, Input::Unfit(train(1), hot())), declined(1));
        assert!(machine.is_idle());
        // It cooled down, and got hot again: the server repeats what is being done, then asks for something new.
        assert_eq!(handle(&mut machine, Input::Message(train(2))), (Vec::new(), true));
        assert_eq!(handle(&mut machine, Input::Unfit(train(2), hot())), (Vec::new(), false));
        assert!(!machine.is_idle());
        assert_eq!(handle(&mut machine, Input::Unfit(train(3), hot())), declined(3));
        assert!(machine.is_idle());

        let (blob, version) = (BlobId::of(b"model"), Version(3));
        let (plan, policy) = (TrainPlan::default(), EvaluationPolicy::None);
        let examination = Examination { version, plan, foundation: blob, release: blob, policy };
        let (said, _) = handle(&mut machine, Input::Unfit(ToClient::Evaluate(examination), hot()));
        assert_eq!(said, [ToServer::DeclineEvaluation { version, reason: hot() }]);
        // What is no work is heard all the same.
        let finished = ToClient::Finished { version };
        handle(&mut machine, Input::Unfit(finished, hot()));
        assert!(machine.is_idle());
    }
}
