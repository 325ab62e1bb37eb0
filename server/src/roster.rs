//! The roster's lines and the invitations, as they are on the disk, and whom they let in.

use serde::{Deserialize, Serialize};
use somnus_protocol::ids::{ClientId, Digest};

use crate::clock::Seconds;

/// One line of the roster.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Enrolment {
    /// SHA-256 of the hub's public key.
    #[serde(with = "hex")]
    pub key: Digest,
    /// The current certificate, DER, base64.
    pub certificate: String,
    /// When it enrolled.
    pub enrolled: Seconds,
    /// When the current certificate ends.
    pub expires: Seconds,
    /// When it was revoked.
    pub revoked: Option<Seconds>,
}

/// An invitation as the server remembers it; the key itself is not here.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Invitation {
    /// Who is invited.
    pub name: ClientId,
    /// When the invitation ends.
    pub expires: Seconds,
    /// Whether it was withdrawn by revoking the name.
    pub withdrawn: bool,
    /// The hub that used it, by SHA-256 of its public key, hexadecimal.
    pub spent: Option<String>,
}

/// Why a peer is turned away in the handshake.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// The invitation or the certificate is past its end.
    #[error("its invitation or certificate has expired")]
    Expired,
    /// Another hub has used the invitation.
    #[error("its invitation has been used by another hub")]
    Spent,
    /// The client was revoked, or another hub has its name now.
    #[error("it was revoked")]
    Revoked,
    /// Not signed by our authority and not one of our invitations.
    #[error("it holds neither a certificate of this federation nor an invitation to it")]
    Foreign,
}

impl Enrolment {
    /// Whether the hub with this key is the one that has the name.
    pub fn belongs_to(&self, key: &Digest) -> bool {
        self.revoked.is_none() && self.key == *key
    }
}

impl Invitation {
    /// Whether it lets in the hub with this key.
    ///
    /// # Errors
    /// The [`Refusal`] that the hub is told of.
    pub fn admits(&self, hub: &Digest, now: Seconds) -> Result<(), Refusal> {
        if self.withdrawn {
            return Err(Refusal::Revoked);
        }
        if self.spent.as_ref().is_some_and(|spent| *spent != hub.to_hex()) {
            return Err(Refusal::Spent);
        }
        if now >= self.expires { Err(Refusal::Expired) } else { Ok(()) }
    }
}

/// Digests as hexadecimal text.
pub(crate) mod hex {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use somnus_protocol::ids::Digest;

    pub(crate) fn parse(text: &[u8]) -> Option<Digest> {
        let bytes: [u8; 32] = data_encoding::HEXLOWER.decode(text).ok()?.try_into().ok()?;
        Some(bytes.into())
    }

    pub(crate) fn serialize<S: Serializer>(digest: &Digest, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&digest.to_hex())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Digest, D::Error> {
        let text = String::deserialize(from)?;
        parse(text.as_bytes()).ok_or_else(|| D::Error::custom("not a digest"))
    }
}
