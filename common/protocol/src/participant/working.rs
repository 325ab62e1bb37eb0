//! Jobs that a task takes, and what comes of them.

use super::job::{Job, JobResult, Receipt, Sign, Train, Update};
use super::part::Part;
use super::task::{Task, Work};
use super::{Event, Output, Participant};
use crate::evaluation::EvaluationPolicy;
use crate::message::{Assignment, Examination, ToServer, Visible};
use crate::record::Evaluation;
use crate::time::Instant;
use crate::trainer::LocalEvaluation;

impl Participant {
    pub(super) fn start(&mut self) {
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
                // The keys are of the round that takes what this gives, which may be another one.
                let signs = assignment.secure.is_some() && assignment.lag.is_none();
                let secrets = signs.then(|| self.secrets(assignment.promise()));
                self.bench.begin(&assignment);
                Job::Train(Train {
                    assignment,
                    client: self.id.clone(),
                    memory,
                    secrets,
                    policy: self.policy,
                })
            }
            Work::Examine(examination) => {
                let examination = examination.clone();
                let memory = self.memory.latest(examination.foundation.digest);
                Job::Examine { examination, memory }
            }
            Work::Sign(assignment) => {
                let (assignment, client) = (assignment.clone(), self.id.clone());
                let secrets = self.secrets(assignment.promise());
                Job::Sign(Sign { assignment, client, secrets })
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

    pub(super) fn run(&mut self, job: Job) {
        self.busy = true;
        self.out.push_back(Output::Run(Box::new(job)));
    }

    pub(super) fn finished(&mut self, now: Instant, result: JobResult) {
        self.busy = false;
        self.progress = now;
        let wanted = self.bench.end();
        let result = match (wanted, result) {
            (Some(base), JobResult::Trained(done, update)) if base.same_work(&done) => {
                return self.shelve(base, *update);
            }
            (_, result) => result,
        };
        match (std::mem::replace(&mut self.task, Task::Idle), result) {
            (Task::Working(Work::Train(task)), JobResult::Trained(done, update)) if task.same_work(&done) => {
                if task.lag.is_some() {
                    self.task = Task::Working(Work::Train(task.clone()));
                    self.shelve(task, *update);
                } else {
                    self.trained(task, update);
                }
            }
            (Task::Working(Work::Train(task)), JobResult::Failed(Receipt::Train(done), why))
                if task.same_work(&done) =>
            {
                match (self.bench.round(), task.lag) {
                    (None, Some(_)) => self.event(Event::Declined(why)),
                    (seat, _) => self.decline(seat.unwrap_or(task.round), why),
                }
            }
            (Task::Working(Work::Examine(task)), JobResult::Examined(done, evaluation)) if task == done => {
                self.examined(&done, evaluation);
            }
            (Task::Working(Work::Examine(task)), JobResult::Failed(Receipt::Examine(done), why))
                if task == done =>
            {
                self.decline_evaluation(done.version, why);
            }
            (Task::Working(Work::Sign(seat)), JobResult::Signed(promise, keys))
                if seat.promise() == promise =>
            {
                self.signed(seat, keys);
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
        match (assignment.secure.clone(), update.keys.take()) {
            (Some(plan), Some(keys)) => {
                self.task = Task::Masking(Box::new(Part::new(assignment, plan, update, keys)));
                self.offer();
            }
            (Some(_), None) => self.decline(assignment.round, "the training came without keys".into()),
            (None, _) => self.hold(assignment, update),
        }
    }

    /// Offers a plain update.
    pub(super) fn hold(&mut self, assignment: Assignment, mut update: Box<Update>) {
        // It leaves nothing out, and brings nothing that was left out before.
        let residual = self.before(&assignment).residual;
        self.leave(&assignment, update.memory.take(), residual);
        self.task = Task::Holding { assignment, update };
        self.offer();
    }

    fn examined(&mut self, done: &Examination, evaluation: LocalEvaluation) {
        let (version, told) = (done.version, done.policy == EvaluationPolicy::PerClient);
        let LocalEvaluation { classes, confusion } = evaluation.clone();
        // Told before it is sent: who hears of both sides hears that the server counted it after that.
        self.event(Event::Evaluated(version, evaluation));
        let counts = told.then_some(Evaluation { classes, confusion });
        self.send(ToServer::Evaluated { version, counts });
    }
}
