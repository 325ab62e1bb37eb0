//! A new piece of work, up to the moment when the cache has all that it needs.

use bytes::Bytes;

use super::task::{Task, Work};
use super::{Event, Output, Participant};
use crate::fault::Fault;
use crate::ids::{BlobId, Digest};
use crate::message::{CHUNK, ToServer};
use crate::time::Instant;

/// Chunks asked for ahead of what has arrived.
const WINDOW: u64 = 16 * CHUNK as u64;

impl Participant {
    pub(super) fn take_on(&mut self, work: Work, fits: Result<(), String>) {
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
                // What the owner of this client does not allow, or its machine cannot do.
                match &work {
                    Work::Train(assignment) => {
                        if let Err(why) = self.policy.allows(self.role, assignment).and(fits) {
                            return self.decline(assignment.round, why);
                        }
                    }
                    Work::Examine(examination) => {
                        if let Err(why) = self.policy.allows_evaluation(examination).and(fits) {
                            return self.decline_evaluation(examination.version, why);
                        }
                    }
                    Work::Sign(_) | Work::Join(..) => {}
                }
                self.out.push_back(Output::Lookup(work.blobs()[0]));
                self.task = Task::Gathering { work, next: 0 };
            }
        }
    }

    pub(super) fn cached(&mut self, now: Instant, blob: BlobId, have: u64) {
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

    pub(super) fn chunk(&mut self, digest: Digest, offset: u64, bytes: Bytes) {
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
    pub(super) fn fetch_again(&mut self) {
        if let Task::Fetching { have, asked, .. } = &mut self.task {
            *asked = *have;
            self.ask();
        }
    }
}
