//! Names of things: clients, rounds, versions, and blobs by their content.

use std::fmt;
use std::str::FromStr;

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

/// The name of one client, unique in its federation; the common name of its certificate.
///
/// 1 to 64 characters of `A-Z a-z 0-9 . _ -`, not starting with a dot, so that it is safe as a file name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClientId(String);

/// Why a string is not a [`ClientId`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not a client name: use 1 to 64 of A-Z a-z 0-9 . _ - and no leading dot")]
pub struct BadClientId(String);

impl ClientId {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ClientId {
    type Err = BadClientId;

    fn from_str(name: &str) -> Result<Self, BadClientId> {
        let fits = (1..=64).contains(&name.len()) && !name.starts_with('.');
        let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        if fits && plain {
            Ok(Self(name.to_owned()))
        } else {
            Err(BadClientId(name.chars().take(80).collect()))
        }
    }
}

impl TryFrom<String> for ClientId {
    type Error = BadClientId;

    fn try_from(name: String) -> Result<Self, BadClientId> {
        name.parse()
    }
}

impl From<ClientId> for String {
    fn from(id: ClientId) -> Self {
        id.0
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The number of a round, counted from 1; a number is never used for two different cohorts that were both told of it
/// by the same server process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Round(pub u64);

impl Version {
    /// The version after this one.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl Round {
    /// The round after this one.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The version of a release: 0 is what the foundation model ships with, each aggregated round adds one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Version(pub u64);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A SHA-256 digest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let mut out = [0; 32];
        out.copy_from_slice(digest(&SHA256, bytes).as_ref());
        Self(out)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// 64 hexadecimal digits; also the name of the blob in a content-addressed cache.
    pub fn to_hex(&self) -> String {
        data_encoding::HEXLOWER.encode(&self.0)
    }
}

impl From<[u8; 32]> for Digest {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex()[..12])
    }
}

/// Bytes known by their content: what to fetch, how long it is, and how to tell that it arrived whole.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct BlobId {
    /// SHA-256 of the content.
    pub digest: Digest,
    /// Length in bytes.
    pub len: u64,
}

impl BlobId {
    /// The name of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self { digest: Digest::of(bytes), len: bytes.len() as u64 }
    }
}

/// Tells an upload that is resumed from one of another training.
///
/// Not a proof of content, which TLS is: a client that lies here can only confuse its own upload. So a checksum does,
/// which costs a tenth of a digest, and a hub that was restarted and trained the same again goes on where it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct UpdateId {
    /// CRC-32 (ISO 3309) of the content.
    pub checksum: u32,
    /// Length in bytes.
    pub len: u64,
}

impl UpdateId {
    /// The name of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self { checksum: crc32fast::hash(bytes), len: bytes.len() as u64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_names_are_safe_as_file_names() {
        for good in ["a", "7749105", "hub-1.bedroom", &"x".repeat(64)] {
            assert_eq!(good.parse::<ClientId>().unwrap().as_str(), good);
        }
        for bad in ["", ".", "..", ".hidden", "a/b", "a b", "é", "<script>", &"x".repeat(65)] {
            assert!(bad.parse::<ClientId>().is_err(), "{bad:?} was accepted");
        }
    }
}
