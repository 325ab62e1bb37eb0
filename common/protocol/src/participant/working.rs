//! Jobs that a task takes, and what comes of them.

use super::job::{Job, JobResult, Receipt, Train, Update};
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
                let secrets = assignment.secure.is_some().then(|| self.secrets(assignment.promise()));
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

    fn examined(&mut self, done: &Examination, evaluation: LocalEvaluation) {
        let (version, told) = (done.version, done.policy == EvaluationPolicy::PerClient);
        let LocalEvaluation { classes, confusion } = evaluation.clone();
        // Told before it is sent: who hears of both sides hears that the server counted it after that.
        self.event(Event::Evaluated(version, evaluation));
        let counts = told.then_some(Evaluation { classes, confusion });
        self.send(ToServer::Evaluated { version, counts });
    }
}
