//! What an operator can ask of a federation, whether or not its server runs: one request, one function, one reply.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use somnus_protocol::config::RoundConfig;
use somnus_protocol::ids::{ClientId, Round, Version};
use somnus_protocol::privacy::ledger;

use crate::audit::Entry;
use crate::backup;
use crate::clock::Seconds;
use crate::error::RequestError;
use crate::federation::Federation;
use crate::files::{self, Access};
use crate::history::outcome;
use crate::live::{Live, Running};
use crate::privacy;
use crate::roster::Invitation;
use crate::score::ScoreLine;
use crate::study::study;

/// Rounds and audit lines that a status lists.
const RECENT: usize = 10;

/// An operator's request. Travels as one line of JSON over the control socket.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum AdminRequest {
    /// Make an invitation.
    Invite {
        /// The name that the hub will have.
        name: ClientId,
        /// Seconds for which the invitation is good.
        life: Seconds,
    },
    /// Take a hub off the roster, withdraw its invitations, end its connection.
    Revoke {
        /// Its name.
        name: ClientId,
    },
    /// Tell how things are.
    Status,
    /// Tell what is in the privacy ledger.
    Privacy,
    /// Write a release as a safetensors file.
    Export {
        /// The file, an absolute path.
        out: PathBuf,
        /// Which release; the newest if none.
        version: Option<Version>,
    },
    /// Write the report of all rounds into a folder.
    Report {
        /// The folder, an absolute path.
        out: PathBuf,
    },
    /// Write everything to one file.
    Backup {
        /// The file, an absolute path.
        out: PathBuf,
    },
}

/// The reply to an [`AdminRequest`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AdminReply {
    /// The token to hand over.
    Invited {
        /// Its text; a secret until it is used.
        token: String,
    },
    /// Done.
    Revoked,
    /// How things are.
    Status(Box<Status>),
    /// The privacy ledger's log.
    Privacy(Vec<ledger::Entry>),
    /// Written.
    Exported {
        /// The version that was written.
        version: Version,
    },
    /// Written.
    Reported,
    /// Written.
    BackedUp,
    /// It could not be done, and why.
    Failed(String),
}

/// How a federation is. The schema of `status --json`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Status {
    /// The federation's name.
    pub federation: String,
    /// SHA-256 of the authority's certificate, hexadecimal.
    pub authority: String,
    /// The address in invitations, if there is one.
    pub address: Option<String>,
    /// The running server, if there is one.
    pub running: Option<Running>,
    /// The newest release that is kept.
    pub release: Option<Version>,
    /// Clients, by name.
    pub clients: Vec<ClientLine>,
    /// Invitations that are remembered.
    pub invitations: Vec<InvitationLine>,
    /// The last rounds, oldest first.
    pub rounds: Vec<RoundLine>,
    /// The last lines of the audit log, oldest first.
    pub audit: Vec<Entry>,
    /// The most that all rounds together may tell of one person's presence, if there is a promise about it.
    #[serde(default)]
    pub budget: Option<f64>,
}

/// One client of a [`Status`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ClientLine {
    /// Its name.
    pub name: ClientId,
    /// Whether it is connected right now.
    pub connected: bool,
    /// Whether it was revoked.
    pub revoked: bool,
    /// When its certificate ends, in seconds since 1970 UTC.
    pub certificate_expires: Seconds,
}

/// One invitation of a [`Status`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct InvitationLine {
    /// Who is invited.
    pub name: ClientId,
    /// `open`, `used`, `expired` or `withdrawn`.
    pub state: String,
    /// When it ends, in seconds since 1970 UTC.
    pub expires: Seconds,
}

/// One round of a [`Status`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct RoundLine {
    /// Its number.
    pub round: Round,
    /// How it ended.
    pub outcome: String,
    /// Clients selected.
    pub selected: usize,
    /// Updates in the sum.
    pub counted: usize,
    /// What the evaluations that the server got to know come to, if there were any.
    pub evaluated: Option<ScoreLine>,
    /// Weighted mean of the training losses.
    pub loss: f32,
    /// How long it took, in milliseconds.
    pub millis: u64,
    /// The most that all rounds until this one may tell of one person's presence, if there is a promise about it.
    pub epsilon: Option<f64>,
}

/// Does what was asked; what fails is told in the reply. May block on the disk.
pub fn execute(federation: &Federation, live: Option<&Live>, request: AdminRequest) -> AdminReply {
    attempt(federation, live, request).unwrap_or_else(|error| AdminReply::Failed(error.to_string()))
}

fn attempt(
    federation: &Federation,
    live: Option<&Live>,
    request: AdminRequest,
) -> Result<AdminReply, RequestError> {
    let now = federation.clock.now();
    match request {
        AdminRequest::Invite { name, life } => {
            let address = address(federation, live)?;
            let token = federation.registry.invite(&name, &address, now, life)?;
            Ok(AdminReply::Invited { token: token.to_text() })
        }
        AdminRequest::Revoke { name } => {
            federation.registry.revoke(&name, now)?;
            if let Some(live) = live {
                live.disconnect(&name);
            }
            Ok(AdminReply::Revoked)
        }
        AdminRequest::Status => Ok(AdminReply::Status(Box::new(status(federation, live)?))),
        AdminRequest::Privacy => Ok(AdminReply::Privacy(privacy::entries(&federation.store)?)),
        AdminRequest::Export { out, version } => {
            let (version, bytes) = federation.history.export(&federation.model(), version)?;
            files::write_atomically(&out, &bytes, Access::Everyone)?;
            Ok(AdminReply::Exported { version })
        }
        AdminRequest::Report { out } => {
            somnus_report::write_run(&out, &study(federation)?)?;
            Ok(AdminReply::Reported)
        }
        AdminRequest::Backup { out } => {
            backup::write(federation, &out)?;
            Ok(AdminReply::BackedUp)
        }
    }
}

/// The address for invitations. Port 0 means any free one, which only a running server knows.
fn address(federation: &Federation, live: Option<&Live>) -> Result<String, RequestError> {
    let address = federation.config.address().map_err(|why| RequestError::Address(why.to_string()))?;
    match (address.strip_suffix(":0"), live) {
        (None, _) => Ok(address),
        (Some(host), Some(live)) => Ok(format!("{host}:{}", live.listening().port())),
        (Some(_), None) => Err(RequestError::Address(
            "`listen` has port 0, any free port: start the server first, or name a port".into(),
        )),
    }
}

fn status(federation: &Federation, live: Option<&Live>) -> Result<Status, RequestError> {
    let now = federation.clock.now();
    let running = live.map(Live::running);
    let is_connected = |name: &ClientId| running.as_ref().is_some_and(|r| r.connected.contains(name));
    let roster = federation.registry.roster();
    let clients = roster.into_iter().map(|(name, entry)| ClientLine {
        connected: is_connected(&name),
        revoked: entry.revoked.is_some(),
        certificate_expires: entry.expires,
        name,
    });
    let mut invitations: Vec<InvitationLine> =
        federation.registry.invitations().into_iter().map(|i| invitation_line(i, now)).collect();
    invitations.sort_by(|a, b| (&a.name, a.expires).cmp(&(&b.name, b.expires)));
    let rounds = federation.history.rounds()?;
    let skip = rounds.len().saturating_sub(RECENT);
    let rounds = rounds.into_values().skip(skip).map(|record| RoundLine {
        round: record.round,
        outcome: outcome(&record.outcome),
        selected: record.cohort.len(),
        counted: record.counted.len(),
        evaluated: ScoreLine::of(&record),
        loss: record.loss,
        millis: record.millis,
        epsilon: record.epsilon,
    });
    Ok(Status {
        federation: federation.config.name.clone(),
        authority: federation.registry.authority().digest().to_hex(),
        address: address(federation, live).ok(),
        release: federation.history.versions()?.last().copied(),
        clients: clients.collect(),
        invitations,
        rounds: rounds.collect(),
        audit: federation.audit.tail(RECENT)?,
        budget: federation.config.rounds.as_ref().ok().and_then(RoundConfig::epsilon),
        running,
    })
}

fn invitation_line(invitation: Invitation, now: Seconds) -> InvitationLine {
    let state = match &invitation {
        Invitation { withdrawn: true, .. } => "withdrawn",
        Invitation { spent: Some(_), .. } => "used",
        Invitation { expires, .. } if *expires <= now => "expired",
        _ => "open",
    };
    InvitationLine { name: invitation.name, state: state.into(), expires: invitation.expires }
}
