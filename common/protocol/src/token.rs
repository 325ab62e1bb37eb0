//! How a hub and a server find and recognise each other: invitations, names, and reasons to hang up.
//!
//! *An invitation is a key.* A token carries the seed of an Ed25519 key; the hub proves that it holds the token by
//! presenting a self-signed certificate made with that key, inside the same mutual TLS handshake that every peer goes
//! through. The server keeps only the digest of the token's public key, so a stolen store invites nobody.
//!
//! Text of a token: `somnus1.` and, in base64url without padding (RFC 4648 section 5),
//!
//! ```text
//! length of the address   1 byte
//! public address          host:port, UTF-8
//! authority              32 bytes, SHA-256 of the certificate authority's certificate (DER)
//! seed                   32 bytes, Ed25519 (RFC 8032)
//! checksum                4 bytes, the first of the SHA-256 of all before; catches a torn paste, not an attacker
//! ```

use std::str::FromStr;

use data_encoding::{BASE64_NOPAD, BASE64URL_NOPAD};
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::ids::Digest;

/// The name in every server certificate. Hubs check this name and the pinned authority, never an address, so that a
/// server may move.
pub const SERVER_NAME: &str = "server.somnus.internal";

/// The longest certificate request or reply, in bytes.
pub const MAX_CERTIFICATE_FRAME: usize = 16 * 1024;

const PREFIX: &str = "somnus1.";
const CHECKSUM: usize = 4;
/// An Ed25519 private key in PKCS #8 (RFC 8410 section 7), up to the seed.
const PKCS8_HEAD: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

/// An invitation as the hub holds it. It is a secret: no `Debug`, no `Display`.
#[derive(Clone)]
pub struct Token {
    server: String,
    authority: Digest,
    seed: Zeroizing<[u8; 32]>,
}

/// Why a text is no token.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadToken {
    /// Not one of ours, or of another version.
    #[error("this is not an invitation: it does not start with `{PREFIX}`")]
    Foreign,
    /// Characters were lost or changed.
    #[error("the invitation is damaged: copy it again, whole and on one line")]
    Damaged,
    /// The address is empty or longer than 255 bytes.
    #[error("the server's public address must be 1 to 255 bytes")]
    Address,
}

impl Token {
    /// An invitation to the server at `address`, from 32 bytes of entropy.
    ///
    /// # Errors
    /// [`BadToken::Address`] if the address is empty or too long.
    pub fn new(address: &str, authority: Digest, seed: [u8; 32]) -> Result<Self, BadToken> {
        if address.is_empty() || address.len() > usize::from(u8::MAX) {
            return Err(BadToken::Address);
        }
        Ok(Self { server: address.to_owned(), authority, seed: Zeroizing::new(seed) })
    }

    /// Where the server is: `host:port`.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The authority that the server must prove to stand under.
    pub fn authority(&self) -> Digest {
        self.authority
    }

    /// The text to hand over.
    pub fn to_text(&self) -> String {
        let mut body = Zeroizing::new(Vec::with_capacity(512));
        body.push(u8::try_from(self.server.len()).unwrap_or(u8::MAX));
        body.extend_from_slice(self.server.as_bytes());
        body.extend_from_slice(self.authority.as_bytes());
        body.extend_from_slice(&*self.seed);
        let sum = Digest::of(&body);
        body.extend_from_slice(&sum.as_bytes()[..CHECKSUM]);
        format!("{PREFIX}{}", BASE64URL_NOPAD.encode(&body))
    }

    /// The private key in PKCS #8 (RFC 8410).
    pub fn key_pkcs8(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new([&PKCS8_HEAD[..], &*self.seed].concat())
    }

    /// What the server remembers of this invitation: the digest of its public key.
    pub fn key_id(&self) -> Digest {
        let pair =
            Ed25519KeyPair::from_seed_unchecked(&*self.seed).expect("every 32 bytes are an Ed25519 seed");
        Digest::of(pair.public_key().as_ref())
    }
}

impl FromStr for Token {
    type Err = BadToken;

    fn from_str(text: &str) -> Result<Self, BadToken> {
        let body = text.trim().strip_prefix(PREFIX).ok_or(BadToken::Foreign)?;
        let bytes = Zeroizing::new(BASE64URL_NOPAD.decode(body.as_bytes()).map_err(|_| BadToken::Damaged)?);
        let (body, sum) = bytes.split_last_chunk::<CHECKSUM>().ok_or(BadToken::Damaged)?;
        if Digest::of(body).as_bytes()[..CHECKSUM] != sum[..] {
            return Err(BadToken::Damaged);
        }
        let (len, rest) = body.split_first().ok_or(BadToken::Damaged)?;
        let (address, keys) = rest.split_at_checked(usize::from(*len)).ok_or(BadToken::Damaged)?;
        let (authority, seed) = keys.split_first_chunk::<32>().ok_or(BadToken::Damaged)?;
        let seed: [u8; 32] = seed.try_into().map_err(|_| BadToken::Damaged)?;
        let address = std::str::from_utf8(address).map_err(|_| BadToken::Damaged)?;
        Self::new(address, (*authority).into(), seed)
    }
}

/// What a stream that the hub opens is for: its first byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum StreamKind {
    /// Frames of the federation, both ways, until either side hangs up.
    Federation = 1,
    /// One [`CertificateRequest`], one [`CertificateReply`], both as JSON up to the end of the stream.
    Certificate = 2,
}

impl StreamKind {
    /// The kind that a first byte announces.
    pub fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Federation),
            2 => Some(Self::Certificate),
            _ => None,
        }
    }
}

/// "Sign my key": from an invited hub to enrol, from an enrolled hub to renew.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateRequest {
    /// PKCS #10 request (RFC 2986), DER, base64.
    pub csr: String,
}

/// The answer to a [`CertificateRequest`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum CertificateReply {
    /// Signed.
    Issued {
        /// The federation's name, for people.
        federation: String,
        /// The hub's name in this federation.
        name: String,
        /// The hub's certificate, DER, base64.
        certificate: String,
        /// The authority's certificate, DER, base64.
        authority: String,
    },
    /// Not signed, and why, for the hub's operator.
    Refused(String),
}

/// DER in JSON: base64 without padding.
pub fn encode_der(der: &[u8]) -> String {
    BASE64_NOPAD.encode(der)
}

/// The inverse of [`encode_der`]; `None` if the text is not base64.
pub fn decode_der(text: &str) -> Option<Vec<u8>> {
    BASE64_NOPAD.decode(text.as_bytes()).ok()
}

/// Why one side closed a connection: the application error code of QUIC's CONNECTION_CLOSE (RFC 9000 section 19.19).
/// The reason text beside it is for people.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Close {
    /// Nothing is left to do.
    Done = 0,
    /// This side shuts down or restarts; come back later.
    Restarting = 1,
    /// Bytes that are no frame, or a stream that ended inside of one.
    Malformed = 2,
    /// A frame longer than any may be.
    Oversized = 3,
    /// The same client connected again; the older connection goes.
    Replaced = 4,
    /// The peer does not read what it is sent.
    TooSlow = 5,
    /// The client was taken off the roster.
    Revoked = 6,
    /// The peer did what its standing does not allow, such as an invited hub that does not enrol.
    NotAllowed = 7,
    /// The server holds as many connections as it may.
    Full = 8,
}

impl Close {
    /// The number on the wire.
    pub fn code(self) -> u32 {
        self as u32
    }

    /// The reason that a number stands for.
    pub fn from_code(code: u64) -> Option<Self> {
        [
            Self::Done,
            Self::Restarting,
            Self::Malformed,
            Self::Oversized,
            Self::Replaced,
            Self::TooSlow,
            Self::Revoked,
            Self::NotAllowed,
            Self::Full,
        ]
        .into_iter()
        .find(|close| u64::from(close.code()) == code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Token {
        Token::new("hub.example:4433", Digest::of(b"authority"), [7; 32]).unwrap()
    }

    #[test]
    fn a_token_survives_its_text() {
        let text = sample().to_text();
        let back: Token = format!("  {text}\n").parse().unwrap_or_else(|e: BadToken| panic!("{e}"));
        assert!(back.server() == "hub.example:4433" && back.authority() == Digest::of(b"authority"));
        assert_eq!(back.key_id(), sample().key_id());
        assert_eq!(back.key_pkcs8(), sample().key_pkcs8());
    }

    #[test]
    fn the_text_of_a_token_never_changes() {
        // Computed by an independent program from the layout above.
        let golden = concat!(
            "somnus1.EGh1Yi5leGFtcGxlOjQ0MzOPdv1QG7aO9x9OJ2vCjym84QA7DCydl",
            "HjegbW_wM3h6QcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH1FNn7w",
        );
        assert_eq!(sample().to_text(), golden);
        // RFC 8032 section 7.1, test 1: the public key of this seed.
        let seed = data_encoding::HEXLOWER
            .decode(b"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
            .unwrap();
        let public = data_encoding::HEXLOWER
            .decode(b"d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
            .unwrap();
        let token = Token::new("a:1", Digest::of(b""), seed.try_into().unwrap()).unwrap();
        assert_eq!(token.key_id(), Digest::of(&public));
    }

    #[test]
    fn every_changed_or_missing_character_is_noticed() {
        let text = sample().to_text();
        for cut in 0..text.len() {
            assert!(text[..cut].parse::<Token>().is_err(), "accepted {cut} characters");
        }
        for at in PREFIX.len()..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(changed.parse::<Token>().err(), Some(BadToken::Damaged), "character {at}");
        }
        assert_eq!("somnus2.AAAA".parse::<Token>().err(), Some(BadToken::Foreign));
    }

    #[test]
    fn close_codes_and_stream_kinds_come_back() {
        for code in 0..9 {
            assert_eq!(Close::from_code(code).map(|c| u64::from(c.code())), Some(code));
        }
        assert_eq!(Close::from_code(9), None);
        assert_eq!(StreamKind::from_byte(2), Some(StreamKind::Certificate));
        assert_eq!(StreamKind::from_byte(3), None);
    }
}
