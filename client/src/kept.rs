//! Files in which a hub keeps something for itself: what rounds leave behind, the secrets of the open round, its update,
//! which nights have trained.
//!
//! ```text
//! "somnus"         6 bytes
//! format           2 bytes, little-endian: 1
//! SHA-256          32 bytes, over all before and the content
//! content          as the participant gave it
//! ```
//!
//! They are written whole or not at all; what is damaged nevertheless is named, set aside, and never used.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ring::digest::{Context, SHA256};
use somnus_protocol::participant::Secret;
use tracing::warn;
use zeroize::Zeroizing;

use crate::files::{self, FileError};

const MAGIC: &[u8] = b"somnus";
/// The layout that this program writes, and the newest it reads.
const FORMAT: u16 = 1;
const HEAD: usize = MAGIC.len() + 2;
const DIGEST: usize = 32;

/// Writes a file in place of the one before, for its owner alone.
///
/// # Errors
/// [`FileError`] naming the path.
pub fn write(path: &Path, content: &Secret) -> Result<(), FileError> {
    let content = content.as_bytes();
    let head = [MAGIC, &FORMAT.to_le_bytes()].concat();
    let mut bytes = Zeroizing::new(Vec::with_capacity(HEAD + DIGEST + content.len()));
    bytes.extend_from_slice(&head);
    bytes.extend_from_slice(digest(&head, content).as_ref());
    bytes.extend_from_slice(content);
    files::write_atomically(path, &bytes)
}

/// The content of a file, if there is one. A file that is damaged gets another name, and counts as none.
///
/// # Errors
/// [`FileError`] naming the path: the disk fails, or a newer program wrote it.
pub fn read(path: &Path) -> Result<Option<Secret>, FileError> {
    let Some(bytes) = files::read(path)? else { return Ok(None) };
    match open(bytes.as_bytes()) {
        Ok(content) => Ok(Some(content)),
        Err(Unfit::Newer(format)) => {
            let why = format!("a newer somnus-client wrote it (format {format}, this one knows {FORMAT})");
            Err(FileError::new(path, io::Error::new(io::ErrorKind::InvalidData, why)))
        }
        Err(Unfit::Damaged(why)) => {
            let aside = aside(path);
            fs::rename(path, &aside).map_err(|cause| FileError::new(path, cause))?;
            warn!(file = %path.display(), why, kept = %aside.display(), "damaged; this hub goes on without it");
            Ok(None)
        }
    }
}

/// Why a file cannot be used.
#[derive(PartialEq, Eq, Debug)]
enum Unfit {
    Damaged(&'static str),
    Newer(u16),
}

fn open(bytes: &[u8]) -> Result<Secret, Unfit> {
    let (head, rest) = bytes.split_at_checked(HEAD).ok_or(Unfit::Damaged("it is too short"))?;
    let format = head.strip_prefix(MAGIC).ok_or(Unfit::Damaged("it does not begin like one"))?;
    let format = format.try_into().map_or(0, u16::from_le_bytes);
    let (sum, content) = rest.split_at_checked(DIGEST).ok_or(Unfit::Damaged("it is too short"))?;
    if digest(head, content).as_ref() != sum {
        return Err(Unfit::Damaged("its digest does not match"));
    }
    if format != FORMAT {
        return Err(Unfit::Newer(format));
    }
    Ok(Secret::new(content.to_vec()))
}

fn digest(head: &[u8], content: &[u8]) -> ring::digest::Digest {
    let mut context = Context::new(&SHA256);
    context.update(head);
    context.update(content);
    context.finish()
}

/// The name that a damaged file gets.
pub fn aside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".damaged");
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_comes_back_and_what_is_torn_or_flipped_never_does() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secrets");
        assert!(read(&path).unwrap().is_none());
        for content in [&b""[..], b"the seed of a round"] {
            write(&path, &Secret::new(content.to_vec())).unwrap();
            assert_eq!(read(&path).unwrap().unwrap().as_bytes(), content);
        }
        let whole = fs::read(&path).unwrap();
        let torn = (0..whole.len()).map(|cut| whole[..cut].to_vec());
        let zeroed = (0..whole.len()).map(|cut| [&whole[..cut], &vec![0; whole.len() - cut][..]].concat());
        let flipped = (0..whole.len()).map(|at| {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x40;
            bytes
        });
        let longer = [&whole[..], b"x"].concat();
        for bytes in torn.chain(zeroed).chain(flipped).chain([longer]) {
            fs::write(&path, &bytes).unwrap();
            assert!(read(&path).unwrap().is_none(), "{bytes:?}");
            // It is not in the way, and not lost to whoever wants to know what happened.
            assert_eq!(fs::read(aside(&path)).unwrap(), bytes);
            assert!(!path.exists());
        }
        write(&path, &Secret::new(b"the next round".to_vec())).unwrap();
        assert_eq!(read(&path).unwrap().unwrap().as_bytes(), b"the next round");
    }

    #[test]
    fn a_newer_program_s_file_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("memory");
        let head = [MAGIC, &2u16.to_le_bytes()].concat();
        let bytes = [&head[..], digest(&head, b"news").as_ref(), b"news"].concat();
        fs::write(&path, &bytes).unwrap();
        let error = read(&path).err().unwrap().to_string();
        assert!(error.contains("memory: a newer somnus-client wrote it (format 2"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), bytes);
    }
}
