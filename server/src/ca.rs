//! The certificate authority of one federation, and the server identity under it.
//!
//! X.509 (RFC 5280) with Ed25519 (RFC 8410) throughout. The authority signs two kinds of certificates: the server's
//! (extended key usage *server authentication*, name [`SERVER_NAME`]) and the hubs' (*client authentication*, the
//! client's name as common name). Neither can pass for the other.

use std::path::Path;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ED25519, PublicKeyData,
    SerialNumber, date_time_ymd,
};
use ring::hkdf::{HKDF_SHA256, Salt};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use somnus_protocol::ids::{ClientId, Digest};
use somnus_protocol::token::SERVER_NAME;

use crate::clock::Seconds;
use crate::error::{IdentityError, RequestError};
use crate::files::{self, Access};

const DAY: Seconds = 24 * 3600;
/// The authority and the server's own certificate outlive the machines: 30 years.
const AUTHORITY_LIFE: Seconds = 30 * 365 * DAY;

/// The names of the identity files in a federation's folder. All of them are in a backup.
pub const FILES: [(&str, Access); 4] = [
    ("ca.pem", Access::Everyone),
    ("ca.key", Access::Owner),
    ("server.pem", Access::Everyone),
    ("server.key", Access::Owner),
];

/// The key that signs hubs into the federation. No `Debug`.
pub struct Authority {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

/// What the server shows to hubs: its certificate, the authority's, and its key.
pub struct ServerIdentity {
    /// The server's certificate, then the authority's.
    pub chain: Vec<CertificateDer<'static>>,
    /// The server's private key.
    pub key: PrivateKeyDer<'static>,
}

/// A certificate as its holder presents it; nothing in here has been verified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Presented {
    /// SHA-256 of the Ed25519 public key (32 bytes).
    pub key: Digest,
    /// The subject's common name.
    pub name: String,
    /// When the certificate ends.
    pub not_after: Seconds,
}

/// A hub's request that carries a proof of possession of its key.
pub struct Request {
    csr: CertificateSigningRequestParams,
}

/// Makes a new authority and server identity in `folder`.
///
/// # Errors
/// [`IdentityError`] if there is no entropy or the folder cannot be written.
pub fn create(folder: &Path, federation: &str, hosts: &[String], now: Seconds) -> Result<(), IdentityError> {
    let ca_key = KeyPair::generate_for(&PKCS_ED25519)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name(&format!("Somnus {federation}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    validity(&mut params, now, AUTHORITY_LIFE);
    params.serial_number = Some(serial()?);
    let ca = params.self_signed(&ca_key)?;

    let server_key = KeyPair::generate_for(&PKCS_ED25519)?;
    let issuer = Issuer::from_params(&params, &ca_key);
    let mut names = vec![SERVER_NAME.to_owned()];
    names.extend(hosts.iter().filter(|host| *host != SERVER_NAME).cloned());
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = common_name(&format!("Somnus server of {federation}"));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    validity(&mut params, now, AUTHORITY_LIFE);
    params.serial_number = Some(serial()?);
    let server = params.signed_by(&server_key, &issuer)?;

    let contents = [ca.pem(), ca_key.serialize_pem(), server.pem(), server_key.serialize_pem()];
    for ((name, access), text) in FILES.iter().zip(contents) {
        files::write_atomically(&folder.join(name), text.as_bytes(), *access)?;
    }
    Ok(())
}

impl Authority {
    /// Loads the authority from `folder`.
    ///
    /// # Errors
    /// [`IdentityError`] naming the file that is missing or unusable.
    pub fn load(folder: &Path) -> Result<Self, IdentityError> {
        let certificate = certificate(&folder.join("ca.pem"))?;
        let path = folder.join("ca.key");
        let pkcs8 = PrivatePkcs8KeyDer::from_pem_slice(&files::read(&path)?)
            .map_err(|why| unusable(&path, format!("not a private key: {why}")))?;
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8, &PKCS_ED25519)
            .map_err(|why| unusable(&path, format!("not an Ed25519 key: {why}")))?;
        let issuer = Issuer::from_ca_cert_der(&certificate, key)?;
        Ok(Self { certificate, issuer })
    }

    /// The authority's certificate, DER.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// What tokens pin: SHA-256 of the certificate.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.certificate)
    }

    /// Signs a hub's key under `name` for `life` seconds.
    ///
    /// # Errors
    /// [`IdentityError`] if there is no entropy.
    pub fn issue(
        &self,
        request: &Request,
        name: &ClientId,
        now: Seconds,
        life: Seconds,
    ) -> Result<CertificateDer<'static>, IdentityError> {
        // Nothing of the request but its key is used: a hub cannot ask for a name or a usage.
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name(name.as_str());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        validity(&mut params, now, life);
        params.serial_number = Some(serial()?);
        Ok(params.signed_by(&request.csr.public_key, &self.issuer)?.der().clone())
    }
}

impl ServerIdentity {
    /// Loads the server's identity from `folder`.
    ///
    /// # Errors
    /// [`IdentityError`] naming the file that is missing or unusable.
    pub fn load(folder: &Path) -> Result<Self, IdentityError> {
        let chain = vec![certificate(&folder.join("server.pem"))?, certificate(&folder.join("ca.pem"))?];
        let path = folder.join("server.key");
        let key = PrivateKeyDer::from_pem_slice(&files::read(&path)?)
            .map_err(|why| unusable(&path, format!("not a private key: {why}")))?;
        Ok(Self { chain, key })
    }

    /// 32 secret bytes for one use, the same in every life of the server (HKDF-SHA256, RFC 5869).
    ///
    /// # Errors
    /// [`IdentityError::Entropy`] never, for lengths within HKDF's limit.
    pub fn derive(&self, label: &[u8]) -> Result<[u8; 32], IdentityError> {
        let mut out = [0; 32];
        Salt::new(HKDF_SHA256, label)
            .extract(self.key.secret_der())
            .expand(&[], HKDF_SHA256)
            .and_then(|okm| okm.fill(&mut out))
            .map_err(|_| IdentityError::Entropy)?;
        Ok(out)
    }
}

impl Presented {
    /// Reads a certificate. `None` if it is not X.509, has no common name, or its key is not Ed25519.
    pub fn read(der: &[u8]) -> Option<Self> {
        let (rest, parsed) = x509_parser::parse_x509_certificate(der).ok()?;
        let spki = parsed.public_key();
        let key = spki.subject_public_key.data.as_ref();
        let ed25519 = spki.algorithm.algorithm.to_id_string() == "1.3.101.112" && key.len() == 32;
        let name = parsed.subject().iter_common_name().next()?.as_str().ok()?.to_owned();
        let not_after = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or(0);
        (rest.is_empty() && ed25519).then(|| Self { key: Digest::of(key), name, not_after })
    }
}

impl Request {
    /// Reads a PKCS #10 request (RFC 2986) and verifies that its sender holds the key.
    ///
    /// # Errors
    /// [`RequestError::BadCsr`] if it is torn, forged, or not for an Ed25519 key.
    pub fn read(der: &[u8]) -> Result<Self, RequestError> {
        let csr = CertificateSigningRequestParams::from_der(&der.into())
            .map_err(|why| RequestError::BadCsr(why.to_string()))?;
        if csr.public_key.algorithm() != &PKCS_ED25519 {
            return Err(RequestError::BadCsr("the key is not Ed25519".into()));
        }
        Ok(Self { csr })
    }

    /// SHA-256 of the public key.
    pub fn key(&self) -> Digest {
        Digest::of(self.csr.public_key.der_bytes())
    }
}

/// 32 bytes from the operating system.
///
/// # Errors
/// [`IdentityError::Entropy`] if it has none.
pub fn entropy() -> Result<[u8; 32], IdentityError> {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).map_err(|_| IdentityError::Entropy)?;
    Ok(bytes)
}

fn certificate(path: &Path) -> Result<CertificateDer<'static>, IdentityError> {
    CertificateDer::from_pem_slice(&files::read(path)?)
        .map_err(|why| unusable(path, format!("not a certificate: {why}")))
}

fn unusable(path: &Path, why: String) -> IdentityError {
    IdentityError::Unusable { path: path.to_owned(), why }
}

fn common_name(name: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    subject
}

fn validity(params: &mut CertificateParams, now: Seconds, life: Seconds) {
    let epoch = date_time_ymd(1970, 1, 1);
    // No key is older than its certificate, so a beginning protects nothing, and a clock that is late would stop at it: that
    // of a hub without a battery, which wakes up in 1970, or of a server after a repair.
    params.not_before = epoch;
    params.not_after = epoch + Duration::from_secs(now.saturating_add(life));
}

/// 127 random bits: positive as DER wants it, never twice (RFC 5280 section 4.1.2.2).
fn serial() -> Result<SerialNumber, IdentityError> {
    let mut bytes = entropy()?;
    bytes[0] = (bytes[0] & 0x7f) | 1;
    Ok(SerialNumber::from_slice(&bytes[..16]))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const NOW: Seconds = 1_800_000_000;

    fn csr(key: &KeyPair) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name("root");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.serialize_request(key).unwrap().der().to_vec()
    }

    #[test]
    fn an_issued_certificate_has_the_given_name_and_nothing_that_was_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        create(dir.path(), "night", &["127.0.0.1".into()], NOW).unwrap();
        let authority = Authority::load(dir.path()).unwrap();
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let request = Request::read(&csr(&key)).unwrap();
        let name = "hub-1".parse().unwrap();
        let der = authority.issue(&request, &name, NOW, 90 * DAY).unwrap();
        let seen = Presented::read(&der).unwrap();
        assert_eq!(seen, Presented { key: request.key(), name: "hub-1".into(), not_after: NOW + 90 * DAY });
        assert_eq!(request.key(), Digest::of(key.public_key_raw()));
        let (_, parsed) = x509_parser::parse_x509_certificate(&der).unwrap();
        assert!(!parsed.is_ca());
        let usage = parsed.extended_key_usage().unwrap().unwrap().value;
        assert!(usage.client_auth && !usage.server_auth);
    }

    #[test]
    fn only_certificates_are_readable_by_others() {
        let dir = tempfile::tempdir().unwrap();
        create(dir.path(), "night", &[], NOW).unwrap();
        for (name, access) in FILES {
            let mode = std::fs::metadata(dir.path().join(name)).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, if access == Access::Owner { 0o600 } else { 0o644 }, "{name}");
        }
        assert_eq!(ServerIdentity::load(dir.path()).unwrap().chain.len(), 2);
    }

    #[test]
    fn torn_and_forged_requests_are_refused() {
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let good = csr(&key);
        assert!(Request::read(&good).is_ok());
        for cut in 0..good.len() {
            assert!(Request::read(&good[..cut]).is_err(), "accepted {cut} bytes");
        }
        let mut forged = good;
        let last = forged.len() - 1;
        forged[last] ^= 1;
        assert!(matches!(Request::read(&forged), Err(RequestError::BadCsr(_))));
        assert!(Presented::read(b"no certificate").is_none());
    }

    #[test]
    fn a_missing_or_wrong_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = Authority::load(dir.path()).err().unwrap().to_string();
        assert!(error.contains("ca.pem: no such file"), "{error}");
        create(dir.path(), "night", &[], NOW).unwrap();
        std::fs::write(dir.path().join("ca.key"), "nonsense").unwrap();
        let error = Authority::load(dir.path()).err().unwrap().to_string();
        assert!(error.contains("ca.key: not a private key"), "{error}");
    }
}
