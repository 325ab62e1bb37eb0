//! Who this hub is: its key, made here and never sent anywhere, its certificate, and the federation it belongs to.
//!
//! ```text
//! DIR/hub.key          the private key (PKCS #8, PEM), made by the first `enrol`
//! DIR/federation.json  name, server, pinned authority, certificate; written when enrolment is complete
//! DIR/client.toml      configuration
//! DIR/cache/           models, by digest
//! DIR/memory           what rounds leave behind for later ones, and never sent
//! DIR/secrets          what the open round's masks are made of
//! DIR/misfit.json      work that did not fit into the limits, until when
//! DIR/report/          the last evaluation report
//! ```

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ED25519};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};
use somnus_protocol::ids::{ClientId, Digest};
use somnus_protocol::token::{Token, decode_der, encode_der};
use zeroize::Zeroizing;

use crate::files::{self, FileError, make_folder, write_atomically};

const KEY: &str = "hub.key";
const MEMBERSHIP: &str = "federation.json";
const LOCK: &str = "lock";
/// The layout of [`MEMBERSHIP`] that this program writes, and the newest it reads.
const FORMAT: u32 = 1;
const DAY: u64 = 24 * 3600;
/// The longest that a hub keeps a certificate.
const RENEWAL: u64 = 30 * DAY;
/// How long a command waits for another process to let go of the folder.
const BUSY: Duration = Duration::from_secs(2);

/// Why the folder's identity cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The disk's fault.
    #[error(transparent)]
    File(#[from] FileError),
    /// The hub has not enrolled.
    #[error("{}: this hub is not enrolled; `somnus-client enrol TOKEN` does that", .0.display())]
    NotEnrolled(PathBuf),
    /// The hub has enrolled already.
    #[error("{}: this hub is enrolled as {name} with {server}; use another --dir for another federation", path.display())]
    Enrolled {
        /// The folder.
        path: PathBuf,
        /// Its name.
        name: ClientId,
        /// The server.
        server: String,
    },
    /// A file that is not what it should be.
    #[error("{}: {why}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Another process uses the folder.
    #[error("{}: another somnus-client runs in this folder", .0.display())]
    Busy(PathBuf),
    /// The generator failed.
    #[error("cannot make a key or certificate: {0}")]
    Make(#[from] rcgen::Error),
}

/// The hub's key. No `Debug`.
pub struct HubKey(KeyPair);

/// The federation that a hub belongs to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Membership {
    /// The file's layout.
    #[serde(default = "first_format")]
    pub format: u32,
    /// The federation's name.
    pub federation: String,
    /// The hub's name in it.
    pub name: ClientId,
    /// Where its server is, host:port.
    pub server: String,
    /// SHA-256 of the authority's certificate, from the invitation, hexadecimal.
    pub authority: String,
    /// The hub's certificate, DER, base64.
    pub certificate: String,
    /// When this certificate was received, in seconds since 1970 UTC.
    pub issued: u64,
    /// When it ends.
    pub expires: u64,
}

/// What a membership of any format says first.
#[derive(Deserialize)]
struct AnyFormat {
    #[serde(default = "first_format")]
    format: u32,
}

/// Files that do not say it are of the first.
fn first_format() -> u32 {
    1
}

/// The folder of one hub, for this process alone until it is dropped.
pub struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Opens `path`, making it if need be.
    ///
    /// # Errors
    /// [`IdentityError::Busy`] if another process has it.
    pub fn open(path: &Path) -> Result<Self, IdentityError> {
        make_folder(path)?;
        let lock_path = path.join(LOCK);
        let failed = |cause| IdentityError::from(FileError::new(&lock_path, cause));
        let lock =
            File::options().create(true).truncate(false).write(true).open(&lock_path).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(IdentityError::Busy(path.to_owned())),
            Err(TryLockError::Error(cause)) => Err(failed(cause)),
        }
    }

    /// As [`Folder::open`], but waits a moment for a process that was just killed to let go.
    ///
    /// # Errors
    /// As [`Folder::open`].
    pub fn wait(path: &Path) -> Result<Self, IdentityError> {
        let began = Instant::now();
        loop {
            match Self::open(path) {
                Err(IdentityError::Busy(_)) if began.elapsed() < BUSY => std::thread::sleep(BUSY / 100),
                other => return other,
            }
        }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The hub's key, made now if there is none. An enrolment that was interrupted goes on with the same key.
    ///
    /// # Errors
    /// [`IdentityError`] if it cannot be read or written.
    pub fn key(&self) -> Result<HubKey, IdentityError> {
        let path = self.path.join(KEY);
        let Some(pem) = files::read(&path)? else {
            let key = KeyPair::generate_for(&PKCS_ED25519)?;
            write_atomically(&path, Zeroizing::new(key.serialize_pem()).as_bytes())?;
            return Ok(HubKey(key));
        };
        let text = std::str::from_utf8(pem.as_bytes()).unwrap_or_default();
        let key = KeyPair::from_pem_and_sign_algo(text, &PKCS_ED25519);
        key.map(HubKey)
            .map_err(|why| IdentityError::Unusable { path, why: format!("not an Ed25519 key: {why}") })
    }

    /// Keeps what enrolment or renewal gave.
    ///
    /// # Errors
    /// [`IdentityError`] if it cannot be written.
    pub fn keep(&self, membership: &Membership) -> Result<(), IdentityError> {
        let text = serde_json::to_string_pretty(membership).expect("a membership is plain data");
        Ok(write_atomically(&self.path.join(MEMBERSHIP), text.as_bytes())?)
    }
}

impl Membership {
    /// What the folder says; needs no lock.
    ///
    /// # Errors
    /// [`IdentityError::NotEnrolled`] if there is nothing, or what is wrong with it.
    pub fn load(folder: &Path) -> Result<Self, IdentityError> {
        let path = folder.join(MEMBERSHIP);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(IdentityError::NotEnrolled(folder.to_owned()));
            }
            other => other.map_err(|cause| FileError::new(&path, cause))?,
        };
        let unusable = |why: String| IdentityError::Unusable { path: path.clone(), why };
        let any: AnyFormat = serde_json::from_str(&text).map_err(|why| unusable(why.to_string()))?;
        if any.format > FORMAT {
            let found = any.format;
            let why = format!("a newer somnus-client wrote it (format {found}, this one knows {FORMAT})");
            return Err(unusable(why));
        }
        let membership: Self = serde_json::from_str(&text).map_err(|why| unusable(why.to_string()))?;
        if membership.pin().is_none() || decode_der(&membership.certificate).is_none() {
            return Err(unusable("its authority or certificate is unreadable".into()));
        }
        Ok(membership)
    }

    /// The authority that the server must prove to stand under.
    pub fn pin(&self) -> Option<Digest> {
        let bytes = data_encoding::HEXLOWER.decode(self.authority.as_bytes()).ok()?;
        Some(<[u8; 32]>::try_from(bytes).ok()?.into())
    }

    /// The certificate, DER.
    pub fn certificate(&self) -> CertificateDer<'static> {
        decode_der(&self.certificate).unwrap_or_default().into()
    }

    /// Whether the certificate is to be renewed: a third of its life, or less, is left. So that a clock that is wrong cannot
    /// put it off for ever, it is also due after a month by this clock, and if this clock has gone back since.
    pub fn is_due(&self, now: u64) -> bool {
        self.expires.saturating_sub(now) <= self.expires.saturating_sub(self.issued) / 3
            || now.checked_sub(self.issued).is_none_or(|age| age >= RENEWAL)
    }
}

impl HubKey {
    /// SHA-256 of the public key: how the server knows it.
    pub fn id(&self) -> Digest {
        Digest::of(self.0.public_key_raw())
    }

    /// A request to sign this key (PKCS #10, RFC 2986), DER.
    ///
    /// # Errors
    /// [`IdentityError::Make`] if the library fails.
    pub fn request(&self) -> Result<Vec<u8>, IdentityError> {
        Ok(CertificateParams::default().serialize_request(&self.0)?.der().to_vec())
    }

    /// For TLS, which keeps copies of its own.
    pub fn private(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.0.serialize_der()).into()
    }

    /// PKCS #8 (RFC 5958), DER.
    pub fn pkcs8(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.0.serialize_der())
    }
}

/// What an invited hub shows: a self-signed certificate under the invitation's key that names the hub's own key.
///
/// # Errors
/// [`IdentityError::Make`] if the library fails.
pub fn invitation(
    token: &Token,
    hub: Digest,
) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), IdentityError> {
    let pkcs8 = PrivatePkcs8KeyDer::from(token.key_pkcs8().to_vec());
    let key = KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8, &PKCS_ED25519)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, hub.to_hex());
    Ok((params.self_signed(&key)?.der().clone(), pkcs8.into()))
}

/// The membership that a certificate makes, which ends when the server says so.
pub fn membership(
    federation: String,
    name: ClientId,
    server: &str,
    authority: Digest,
    certificate: &[u8],
    now: u64,
) -> Membership {
    Membership {
        format: FORMAT,
        federation,
        name,
        server: server.to_owned(),
        authority: authority.to_hex(),
        certificate: encode_der(certificate),
        issued: now,
        expires: not_after(certificate).unwrap_or(now + DAY),
    }
}

/// Seconds since 1970 UTC.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn not_after(der: &[u8]) -> Option<u64> {
    let (_, parsed) = x509_parser::parse_x509_certificate(der).ok()?;
    u64::try_from(parsed.validity().not_after.timestamp()).ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_is_for_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hub");
        let folder = Folder::open(&path).unwrap();
        let id = folder.key().unwrap().id();
        assert_eq!(folder.key().unwrap().id(), id);
        for file in [path.join(KEY), path.clone()] {
            assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o077, 0);
        }
        assert!(matches!(Folder::open(&path), Err(IdentityError::Busy(_))));
        drop(folder);
        let pem = fs::read(path.join(KEY)).unwrap();
        let torn = (0..pem.len() - 1).step_by(7).map(|cut| pem[..cut].to_vec());
        for bad in torn.chain([b"nonsense".to_vec()]) {
            fs::write(path.join(KEY), &bad).unwrap();
            let error = Folder::open(&path).unwrap().key().err().map(|error| error.to_string());
            assert!(error.is_some_and(|error| error.contains("hub.key: not an Ed25519 key")), "{bad:?}");
        }
    }

    #[test]
    fn a_membership_survives_the_disk_and_knows_when_it_is_due() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(Membership::load(dir.path()), Err(IdentityError::NotEnrolled(_))));
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let der = CertificateParams::default().self_signed(&key).unwrap().der().to_vec();
        let name: ClientId = "ann".parse().unwrap();
        let mut kept = membership("night".into(), name, "a:1", Digest::of(b"ca"), &der, 1000);
        kept.expires = 1900;
        Folder::open(dir.path()).unwrap().keep(&kept).unwrap();
        let loaded = Membership::load(dir.path()).unwrap();
        assert_eq!(loaded, kept);
        assert_eq!((loaded.pin(), loaded.certificate().to_vec()), (Some(Digest::of(b"ca")), der));
        assert!(!loaded.is_due(1599) && loaded.is_due(1600) && loaded.is_due(5000));
        // By a clock that was late when the certificate came, it seems to be good for years.
        let late = Membership { expires: 100 * RENEWAL, ..loaded };
        assert!(!late.is_due(999 + RENEWAL) && late.is_due(1000 + RENEWAL) && late.is_due(999));
        // Torn anywhere, or of a newer program: named, and not used.
        let path = dir.path().join(MEMBERSHIP);
        let text = fs::read_to_string(&path).unwrap();
        for cut in 0..text.len() {
            fs::write(&path, &text[..cut]).unwrap();
            let error = Membership::load(dir.path()).unwrap_err().to_string();
            assert!(error.contains("federation.json: "), "cut at {cut}: {error}");
        }
        fs::write(&path, text.replace("\"format\": 1", "\"format\": 2, \"new\": true")).unwrap();
        let error = Membership::load(dir.path()).unwrap_err().to_string();
        assert!(error.contains("federation.json: a newer somnus-client wrote it (format 2"), "{error}");
        // Before the file said its format.
        fs::write(&path, text.replace("\"format\": 1,", "")).unwrap();
        assert_eq!(Membership::load(dir.path()).unwrap(), kept);
    }
}
