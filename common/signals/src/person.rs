//! Who a recording belongs to.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A person's identifier: 1 to 64 of `A-Z a-z 0-9 . _ -`, not beginning with a dot.
///
/// It becomes part of file and folder names, so anything that could climb out of a folder (`..`, `/`)
/// or hide in it is refused when it is parsed and never has to be checked again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PersonId(String);

/// The text is no [`PersonId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a person's id: 1 to 64 of A-Z a-z 0-9 . _ - are allowed, and no dot in front")]
pub struct InvalidPersonId(String);

impl PersonId {
    /// The longest identifier, in bytes.
    pub const MAX_LEN: usize = 64;

    /// Checks the text.
    ///
    /// # Errors
    /// [`InvalidPersonId`] when it is empty, too long, begins with a dot or holds another character.
    pub fn new(id: impl Into<String>) -> Result<Self, InvalidPersonId> {
        let id = id.into();
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if (1..=Self::MAX_LEN).contains(&id.len()) && !id.starts_with('.') && id.bytes().all(allowed) {
            Ok(Self(id))
        } else {
            // A hostile id may be megabytes long; the message repeats only its beginning.
            Err(InvalidPersonId(id.chars().take(80).collect()))
        }
    }

    /// The identifier as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PersonId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for PersonId {
    type Err = InvalidPersonId;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Self::new(s)
    }
}

impl TryFrom<String> for PersonId {
    type Error = InvalidPersonId;

    fn try_from(s: String) -> Result<Self, Self::Error> {
        Self::new(s)
    }
}

impl From<PersonId> for String {
    fn from(id: PersonId) -> Self {
        id.0
    }
}

impl AsRef<str> for PersonId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_file_names_can_carry() {
        for id in ["1066528", "a", "P-01_b.2", &"x".repeat(64)] {
            assert_eq!(PersonId::new(id).unwrap().to_string(), id);
        }
    }

    #[test]
    fn refuses_what_could_leave_a_folder() {
        for id in ["", ".", "..", ".hidden", "a/b", "a\\b", "a b", "é", "a\n", &"x".repeat(65)] {
            assert!(PersonId::new(id).is_err(), "{id:?} was accepted");
        }
    }

    #[test]
    fn serde_checks_too() {
        let ok: PersonId = serde_json::from_str("\"1066528\"").unwrap();
        assert_eq!(serde_json::to_string(&ok).unwrap(), "\"1066528\"");
        assert!(serde_json::from_str::<PersonId>("\"../x\"").is_err());
    }
}
