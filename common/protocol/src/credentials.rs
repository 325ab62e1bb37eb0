//! Names in a federation as X.509 has them: who a hub is to the others, and how it tells who they are.
//!
//! One authority signs one certificate for each hub, under its name; nothing else is a name. Time comes in.

use bytes::Bytes;
use pki_types::{CertificateDer, TrustAnchor, UnixTime};
use ring::signature::Ed25519KeyPair;
use webpki::{EndEntityCert, KeyUsage};

use crate::fault::Fault;
use crate::secagg::{Claim, Identity, Roll, Violation};

/// The enrolled key of a hub. No `Debug`.
pub struct HubIdentity {
    certificate: Bytes,
    key: Ed25519KeyPair,
}

impl HubIdentity {
    /// From the key's PKCS #8 (RFC 5958) and the certificate's DER; `None` if the key is not an Ed25519 one.
    pub fn new(pkcs8: &[u8], certificate: Bytes) -> Option<Self> {
        let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8).ok()?;
        Some(Self { certificate, key })
    }
}

impl Identity for HubIdentity {
    fn certificate(&self) -> &Bytes {
        &self.certificate
    }

    fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message).as_ref().try_into().expect("an Ed25519 signature has 64 bytes")
    }
}

/// Those whom an authority has enrolled, at one moment.
pub struct AuthorityRoll {
    anchor: TrustAnchor<'static>,
    now: UnixTime,
}

impl AuthorityRoll {
    /// From the authority's certificate, DER, and the time in seconds since 1970 UTC; `None` if it is no certificate.
    pub fn new(authority: &[u8], now: u64) -> Option<Self> {
        let der = CertificateDer::from(authority);
        let anchor = webpki::anchor_from_trusted_cert(&der).ok()?.to_owned();
        Some(Self { anchor, now: UnixTime::since_unix_epoch(std::time::Duration::from_secs(now)) })
    }
}

impl Roll for AuthorityRoll {
    fn verify(&self, claim: Claim<'_>) -> Result<(), Fault> {
        let Claim { client, certificate, message, signature } = claim;
        let stranger = || Fault::from(Violation::NotEnrolled { client: client.clone() });
        let der = CertificateDer::from(certificate);
        let leaf = EndEntityCert::try_from(&der).map_err(|_| stranger())?;
        let (anchors, usage) = (std::slice::from_ref(&self.anchor), KeyUsage::client_auth());
        leaf.verify_for_usage(&[webpki::ring::ED25519], anchors, &[], self.now, usage, None, None)
            .map_err(|_| stranger())?;
        if name(certificate).as_deref() != Some(client.as_str()) {
            return Err(stranger());
        }
        leaf.verify_signature(webpki::ring::ED25519, message, signature)
            .map_err(|_| Violation::NotSigned { client: client.clone() }.into())
    }
}

/// The common name of a certificate.
fn name(der: &[u8]) -> Option<String> {
    let (_, parsed) = x509_parser::parse_x509_certificate(der).ok()?;
    let mut names = parsed.subject().iter_common_name();
    let name = names.next()?.as_str().ok()?.to_owned();
    names.next().is_none().then_some(name)
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
        Issuer, KeyPair, PKCS_ED25519, date_time_ymd,
    };

    use super::*;
    use crate::ids::ClientId;

    struct Authority(Issuer<'static, KeyPair>, Vec<u8>);

    fn authority() -> Authority {
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let der = params.self_signed(&key).unwrap().der().to_vec();
        Authority(Issuer::new(params, key), der)
    }

    /// A hub under `name`, whose certificate is good in 2030.
    fn hub(authority: &Authority, name: &str, usage: ExtendedKeyUsagePurpose) -> HubIdentity {
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![usage];
        params.not_before = date_time_ymd(2030, 1, 1);
        params.not_after = date_time_ymd(2031, 1, 1);
        let der = params.signed_by(&key, &authority.0).unwrap().der().to_vec();
        HubIdentity::new(&key.serialize_der(), der.into()).unwrap()
    }

    const IN_2030: u64 = 1_900_000_000;

    #[test]
    fn only_the_key_under_that_name_of_our_authority_signs_for_a_hub() {
        let (ours, theirs) = (authority(), authority());
        let client = || ExtendedKeyUsagePurpose::ClientAuth;
        let (ann, eve, foreign) =
            (hub(&ours, "ann", client()), hub(&ours, "eve", client()), hub(&theirs, "ann", client()));
        let server = hub(&ours, "ann", ExtendedKeyUsagePurpose::ServerAuth);
        let name: ClientId = "ann".parse().unwrap();
        let roll = AuthorityRoll::new(&ours.1, IN_2030).unwrap();
        let check = |roll: &AuthorityRoll, who: &HubIdentity, signer: &HubIdentity| {
            let (certificate, signature) = (who.certificate(), &signer.sign(b"message"));
            roll.verify(Claim { client: &name, certificate, message: b"message", signature })
        };
        let stranger: Fault = Violation::NotEnrolled { client: name.clone() }.into();
        assert_eq!(check(&roll, &ann, &ann), Ok(()));
        assert_eq!(check(&roll, &ann, &eve), Err(Violation::NotSigned { client: name.clone() }.into()));
        for (who, why) in
            [(&eve, "another name"), (&foreign, "another authority"), (&server, "another usage")]
        {
            assert_eq!(check(&roll, who, who), Err(stranger.clone()), "{why}");
        }
        for seconds in [0, 1_800_000_000, 2_000_000_000] {
            let then = AuthorityRoll::new(&ours.1, seconds).unwrap();
            assert_eq!(check(&then, &ann, &ann), Err(stranger.clone()), "at {seconds}");
        }
        let none =
            Claim { client: &name, certificate: b"no certificate", message: b"message", signature: &[0; 64] };
        assert_eq!(roll.verify(none), Err(stranger));
        assert!(AuthorityRoll::new(b"no certificate", 0).is_none());
    }
}
