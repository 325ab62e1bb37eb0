//! What a driver tells the server's machine, and what the machine wants of it.

use super::job::{Job, JobResult};
use crate::fault::Fault;
use crate::ids::{BlobId, ClientId, Round, Version};
use crate::message::{Role, ToClient, ToServer};
use crate::record::{Record, RoundRecord};
use crate::robust::Verdict;
use crate::time::Instant;

/// What happens to a coordinator.
#[derive(Debug)]
pub enum Input {
    /// An enrolled client has connected; the driver has authenticated it.
    Connected(ClientId),
    /// Its connection is gone.
    Disconnected(ClientId),
    /// It said something.
    Message(ClientId, ToServer),
    /// The operator wants something.
    Command(Command),
    /// A [`Job`] is done.
    Finished(JobResult),
    /// The moment that [`Output::Wait`] named has come.
    Timeout,
}

/// What an operator can ask of a running federation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Command {
    /// End the open round, if any, without a release, and start no other.
    Stop,
}

/// What a coordinator wants from its driver, in this order.
#[derive(Debug)]
pub enum Output {
    /// Write this, all of a drain in one flush, before anything is sent.
    Persist(Record),
    /// Send this, if the client is still connected.
    Send(ClientId, ToClient),
    /// Run this on a thread that may block, and bring the result back as [`Input::Finished`].
    Run(Job),
    /// Tell the operator.
    Event(Event),
    /// Nothing more until this moment, or until something happens.
    Wait(Option<Instant>),
}

/// What an operator may want to know.
#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    /// A client said hello.
    CheckedIn(ClientId, Role),
    /// A client's message was refused.
    Refused(ClientId, Fault),
    /// A cohort was selected.
    Opened(Round, Vec<ClientId>),
    /// A client has trained and advertised its keys: the round, the client, how many have, how many still may.
    Ready(Round, ClientId, usize, usize),
    /// A survivor will not help to unmask, and says why.
    Declined(Round, ClientId, String),
    /// So many updates are in the sum, and their clients are asked to remove the masks.
    Unmasking(Round, usize),
    /// An update is in the sum: the round, the client, how many there are, how many are wanted.
    Counted(Round, ClientId, usize, usize),
    /// A robust rule did not take a client's update at face value, or that of its group.
    Judged(Round, ClientId, Verdict),
    /// A new global model.
    Released(Version, BlobId),
    /// A round ended.
    Closed(RoundRecord),
    /// The federation ends before all releases are made; the text says why.
    Ended(String),
    /// The federation is over.
    Finished(Version),
}
