//! Enrolment and renewal: a certificate for the key that this hub made.

use std::time::Duration;

use quinn::{Connection, ConnectionError, ReadError, ReadToEndError, WriteError};
use somnus_protocol::ids::ClientId;
use somnus_protocol::token::{
    BadToken, CertificateReply, CertificateRequest, Close, MAX_CERTIFICATE_FRAME, StreamKind, Token,
    decode_der, encode_der,
};

use crate::identity::{Folder, HubKey, IdentityError, Membership, invitation, membership, now};
use crate::link::{self, LinkError, Pace, Purpose, connect, explain};

/// A server that has the connection answers within this time.
const REPLY: Duration = Duration::from_secs(30);

/// Why a hub did not get a certificate.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// The text is no token.
    #[error(transparent)]
    Token(#[from] BadToken),
    /// The folder's fault.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// No connection, or it ended.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The server says no.
    #[error("the server refused: {0}")]
    Refused(String),
    /// The server's answer makes no sense.
    #[error("the server's answer cannot be used: {0}")]
    Answer(String),
}

/// Enrols the hub in `folder` with an invitation. After a reply that was lost, the same call fetches it again.
///
/// # Errors
/// [`EnrolError`], each kind one sentence.
pub async fn enrol(folder: &Folder, token: &str, pace: Pace) -> Result<Membership, EnrolError> {
    let token: Token = token.parse()?;
    match Membership::load(folder.path()) {
        Ok(Membership { name, server, .. }) => {
            return Err(IdentityError::Enrolled { path: folder.path().to_owned(), name, server }.into());
        }
        Err(IdentityError::NotEnrolled(_)) => {}
        Err(other) => return Err(other.into()),
    }
    let key = folder.key()?;
    let (certificate, private) = invitation(&token, key.id())?;
    let connection =
        connect(token.server(), token.authority(), certificate, private, pace, Purpose::Enrol).await?;
    let reply = request(&connection, &key, Purpose::Enrol).await;
    link::close(&connection, Close::Done, "");
    let membership = accept(reply?, token.server(), token.authority())?;
    folder.keep(&membership)?;
    Ok(membership)
}

/// Renews the certificate of `old` over a connection that it has authenticated.
///
/// # Errors
/// [`EnrolError`]; the old certificate stays in use.
pub async fn renew(
    folder: &Folder,
    connection: &Connection,
    key: &HubKey,
    old: &Membership,
) -> Result<Membership, EnrolError> {
    let reply = request(connection, key, Purpose::Run).await?;
    let authority = old.pin().ok_or_else(|| EnrolError::Answer("no authority is pinned".into()))?;
    let new = accept(reply, &old.server, authority)?;
    if new.name != old.name {
        return Err(EnrolError::Answer(format!("it is for {}, this hub is {}", new.name, old.name)));
    }
    folder.keep(&new)?;
    Ok(new)
}

async fn request(
    connection: &Connection,
    key: &HubKey,
    purpose: Purpose,
) -> Result<CertificateReply, EnrolError> {
    let text = serde_json::to_vec(&CertificateRequest { csr: encode_der(&key.request()?) })
        .map_err(|why| EnrolError::Answer(why.to_string()))?;
    let talk = async {
        let (mut send, mut receive) = connection.open_bi().await.map_err(|e| explain(&e, purpose))?;
        send.write_all(&[StreamKind::Certificate as u8]).await.map_err(|e| written(e, purpose))?;
        send.write_all(&text).await.map_err(|e| written(e, purpose))?;
        // A stream that is closed already has told its reason above.
        let _ = send.finish();
        receive.read_to_end(MAX_CERTIFICATE_FRAME).await.map_err(|e| read(e, purpose))
    };
    let bytes = match tokio::time::timeout(REPLY, talk).await {
        Ok(bytes) => bytes?,
        Err(_) => return Err(LinkError::Lost("the server did not answer in time".into()).into()),
    };
    serde_json::from_slice(&bytes).map_err(|why| EnrolError::Answer(why.to_string()))
}

fn accept(
    reply: CertificateReply,
    server: &str,
    authority: somnus_protocol::ids::Digest,
) -> Result<Membership, EnrolError> {
    match reply {
        CertificateReply::Refused(why) => Err(EnrolError::Refused(why)),
        CertificateReply::Issued { federation, name, certificate, .. } => {
            let name: ClientId = name.parse().map_err(|why| EnrolError::Answer(format!("{why}")))?;
            let der = decode_der(&certificate);
            let der = der.ok_or_else(|| EnrolError::Answer("the certificate is not base64".into()))?;
            Ok(membership(federation, name, server, authority, &der, now()))
        }
    }
}

fn written(error: WriteError, purpose: Purpose) -> LinkError {
    match error {
        WriteError::ConnectionLost(error) => explain(&error, purpose),
        other => LinkError::Lost(other.to_string()),
    }
}

fn read(error: ReadToEndError, purpose: Purpose) -> LinkError {
    match error {
        ReadToEndError::Read(ReadError::ConnectionLost(error)) => explain(&error, purpose),
        other => LinkError::Lost(other.to_string()),
    }
}

/// The sentence behind the end of a connection.
pub fn ended(error: &ConnectionError) -> LinkError {
    explain(error, Purpose::Run)
}
