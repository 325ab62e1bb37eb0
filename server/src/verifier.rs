//! Who gets through the handshake: the server's own judgement inside mutual TLS 1.3 (RFC 8446).
//!
//! Exactly two kinds of peers do: the holder of a certificate of our authority that is valid, on the roster and not
//! revoked; and the holder of an invitation's key. Each reason to refuse has its own TLS alert, so that the hub can
//! print one clear sentence:
//!
//! | refusal | alert |
//! |---|---|
//! | no certificate | `certificate_required` |
//! | expired | `certificate_expired` |
//! | spent or revoked | `certificate_revoked` |
//! | foreign authority or invitation | `unknown_ca` |

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, ring, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerMisbehaved, RootCertStore,
    SignatureScheme,
};

use crate::ca::Presented;
use crate::error::IdentityError;
use crate::registry::{Peer, Registry};
use crate::roster::Refusal;

/// Judges peers by the registry.
pub struct Gate {
    registry: Arc<Registry>,
    authority: Arc<dyn ClientCertVerifier>,
    provider: Arc<CryptoProvider>,
}

impl Gate {
    /// A gate to the federation of `registry`.
    ///
    /// # Errors
    /// [`IdentityError`] if the authority's certificate cannot be a root.
    pub fn new(registry: Arc<Registry>) -> Result<Self, IdentityError> {
        let provider = Arc::new(ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(registry.authority().certificate().clone())?;
        let authority = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .map_err(|why| Error::General(why.to_string()))?;
        Ok(Self { registry, authority, provider })
    }

    /// Who presents this certificate.
    ///
    /// # Errors
    /// The [`Refusal`] that the peer is told of.
    pub fn judge(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Peer, Refusal> {
        let seen = Presented::read(leaf).ok_or(Refusal::Foreign)?;
        if let Some(verdict) = self.registry.invited(&seen, now.as_secs()) {
            return verdict.map(Peer::Invited);
        }
        self.authority.verify_client_cert(leaf, others, now).map_err(|why| match why {
            Error::InvalidCertificate(
                CertificateError::Expired | CertificateError::ExpiredContext { .. },
            ) => Refusal::Expired,
            _ => Refusal::Foreign,
        })?;
        self.registry.enrolled(&seen).map(Peer::Enrolled)
    }
}

impl Refusal {
    /// As rustls wants it; rustls derives the alert from it.
    pub fn as_tls(self) -> Error {
        Error::InvalidCertificate(match self {
            Self::Expired => CertificateError::Expired,
            Self::Spent | Self::Revoked => CertificateError::Revoked,
            Self::Foreign => CertificateError::UnknownIssuer,
        })
    }
}

impl ClientCertVerifier for Gate {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // A hint would make some clients withhold the self-signed certificate of an invitation.
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match self.judge(leaf, others, now) {
            Ok(_) => Ok(ClientCertVerified::assertion()),
            Err(refusal) => Err(refusal.as_tls()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerMisbehaved::SelectedUnofferedCipherSuite.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gate")
    }
}
