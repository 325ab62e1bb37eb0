//! Who belongs to the federation: the roster and the invitations, in memory for the handshake and on disk for good.
//!
//! A certificate alone lets nobody in: its key must be the one that the roster has under its name. Revoking a hub or
//! enrolling another one under its name therefore needs no revocation list.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use rustls::pki_types::CertificateDer;
use serde::Serialize;
use somnus_protocol::ids::{ClientId, Digest};
use somnus_protocol::token::{Token, decode_der, encode_der};

use crate::audit::{Audit, AuditEvent};
use crate::ca::{Authority, Presented, Request, entropy};
use crate::clock::Seconds;
use crate::error::{RequestError, StoreError};
use crate::roster::{Enrolment, Invitation, Refusal, hex};
use crate::store::{Change, Key, Store, Table};

/// Spent and expired invitations are remembered this long, so that a late hub is told what is wrong: 90 days.
const REMEMBER: Seconds = 90 * 24 * 3600;

/// Who is at the other end of a connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Peer {
    /// A hub with an invitation: it may enrol and nothing else.
    Invited(Invited),
    /// A client on the roster.
    Enrolled(Member),
}

/// A client as its certificate shows it. Only [`Registry::enrolled`] makes one; what it says was true then, and
/// [`Registry::admits`] tells whether it still is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    name: ClientId,
    key: Digest,
}

impl Member {
    /// Its name.
    pub fn name(&self) -> &ClientId {
        &self.name
    }

    /// SHA-256 of its public key.
    pub fn key(&self) -> Digest {
        self.key
    }
}

/// A hub that holds an invitation. Only [`Registry::invited`] makes one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Invited {
    name: ClientId,
    invitation: Digest,
    key: Digest,
}

impl Invited {
    /// The name that the hub will have.
    pub fn name(&self) -> &ClientId {
        &self.name
    }
}

/// A certificate and what it needs to be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Issued {
    /// The hub's name.
    pub name: ClientId,
    /// Its certificate.
    pub certificate: CertificateDer<'static>,
    /// The authority's certificate.
    pub authority: CertificateDer<'static>,
}

/// The roster and the invitations.
pub struct Registry {
    store: Arc<Store>,
    audit: Arc<Audit>,
    authority: Authority,
    life: Seconds,
    members: RwLock<Members>,
    /// Held over a change from reading to the disk to memory; readers wait only for the last step.
    change: Mutex<()>,
}

#[derive(Default)]
struct Members {
    roster: BTreeMap<ClientId, Enrolment>,
    invitations: BTreeMap<Digest, Invitation>,
}

impl Registry {
    /// Loads roster and invitations. Certificates are issued for `life` seconds.
    ///
    /// # Errors
    /// [`StoreError`] if a record cannot be read.
    pub fn open(
        store: Arc<Store>,
        audit: Arc<Audit>,
        authority: Authority,
        life: Seconds,
    ) -> Result<Self, StoreError> {
        let mut members = Members::default();
        for (name, text) in store.table(Table::Roster)? {
            let key = Key::new(Table::Roster, &name);
            let name = String::from_utf8_lossy(&name).parse().map_err(|why| store.damaged(&key, &why))?;
            members
                .roster
                .insert(name, serde_json::from_slice(&text).map_err(|why| store.damaged(&key, &why))?);
        }
        for (digest, text) in store.table(Table::Invitations)? {
            let key = Key::new(Table::Invitations, &digest);
            let digest = hex::parse(&digest).ok_or_else(|| store.damaged(&key, &"its key is no digest"))?;
            let invitation = serde_json::from_slice(&text).map_err(|why| store.damaged(&key, &why))?;
            members.invitations.insert(digest, invitation);
        }
        Ok(Self { store, audit, authority, life, members: RwLock::new(members), change: Mutex::new(()) })
    }

    /// The authority of this federation.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The roster as it is now.
    pub fn roster(&self) -> BTreeMap<ClientId, Enrolment> {
        self.read().roster.clone()
    }

    /// The invitations that are remembered.
    pub fn invitations(&self) -> Vec<Invitation> {
        self.read().invitations.values().cloned().collect()
    }

    /// Whether a certificate's key is that of an invitation, and whether that one is still good.
    ///
    /// The hub names in its self-signed certificate the key that it will ask a certificate for. A spent invitation
    /// still admits the very hub that spent it, so that a lost reply can be fetched again.
    pub fn invited(&self, seen: &Presented, now: Seconds) -> Option<Result<Invited, Refusal>> {
        let members = self.read();
        let invitation = members.invitations.get(&seen.key)?;
        let Some(key) = hex::parse(seen.name.as_bytes()) else { return Some(Err(Refusal::Foreign)) };
        let name = invitation.name.clone();
        Some(invitation.admits(&key, now).map(|()| Invited { name, invitation: seen.key, key }))
    }

    /// The client that a certificate of our authority belongs to, if the roster still has it.
    ///
    /// # Errors
    /// [`Refusal::Revoked`] if it has not.
    pub fn enrolled(&self, seen: &Presented) -> Result<Member, Refusal> {
        let name: ClientId = seen.name.parse().map_err(|_| Refusal::Foreign)?;
        match self.read().roster.get(&name) {
            Some(entry) if entry.belongs_to(&seen.key) => Ok(Member { name, key: seen.key }),
            _ => Err(Refusal::Revoked),
        }
    }

    /// Whether a client that was let in once still belongs here: a connection may be older than a revocation.
    ///
    /// # Errors
    /// [`Refusal::Revoked`] if it was revoked or another hub has its name, [`Refusal::Expired`] if its last
    /// certificate is past its end.
    pub fn admits(&self, member: &Member, now: Seconds) -> Result<(), Refusal> {
        match self.read().roster.get(&member.name) {
            Some(entry) if entry.belongs_to(&member.key) && now < entry.expires => Ok(()),
            Some(entry) if entry.belongs_to(&member.key) => Err(Refusal::Expired),
            _ => Err(Refusal::Revoked),
        }
    }

    /// Makes an invitation to the server at `address`.
    ///
    /// # Errors
    /// [`RequestError::Enrolled`] if the name is taken, or what the disk says.
    pub fn invite(
        &self,
        name: &ClientId,
        address: &str,
        now: Seconds,
        life: Seconds,
    ) -> Result<Token, RequestError> {
        let token = Token::new(address, self.authority.digest(), entropy()?)
            .map_err(|why| RequestError::Address(why.to_string()))?;
        let _one_change = self.lock();
        if self.read().roster.get(name).is_some_and(|entry| entry.revoked.is_none()) {
            return Err(RequestError::Enrolled(name.clone()));
        }
        let expires = now.saturating_add(life);
        let invitation = Invitation { name: name.clone(), expires, withdrawn: false, spent: None };
        let old = self.forgettable(now);
        let mut changes: Vec<Change> = old.iter().map(|id| Change::Delete(invitation_key(id))).collect();
        changes.push(Change::Put(invitation_key(&token.key_id()), json(&invitation)));
        changes.push(self.audit.line(now, AuditEvent::Invited { name: name.clone(), expires }));
        self.store.write(&changes)?;
        let mut members = self.members.write().unwrap_or_else(PoisonError::into_inner);
        members.invitations.retain(|id, _| !old.contains(id));
        members.invitations.insert(token.key_id(), invitation);
        Ok(token)
    }

    /// Signs an invited hub's key and spends its invitation, in one write. The same hub may ask again.
    ///
    /// # Errors
    /// [`RequestError`] telling the hub's operator what is wrong.
    pub fn enrol(&self, peer: &Invited, csr: &[u8], now: Seconds) -> Result<Issued, RequestError> {
        let request = Request::read(csr)?;
        if request.key() != peer.key {
            return Err(RequestError::NotAllowed("the request is not for the key that the hub announced"));
        }
        if request.key() == peer.invitation {
            return Err(RequestError::NotAllowed("a hub needs a key of its own, not the invitation's"));
        }
        let _one_change = self.lock();
        let (mut invitation, present) = {
            let members = self.read();
            let invitation = members.invitations.get(&peer.invitation).cloned();
            let invitation =
                invitation.ok_or(RequestError::NotAllowed("the invitation is no longer known"))?;
            (invitation, members.roster.get(&peer.name).cloned())
        };
        invitation.admits(&peer.key, now).map_err(|refusal| match refusal {
            Refusal::Expired => RequestError::NotAllowed("this invitation expired"),
            Refusal::Spent => RequestError::NotAllowed("this invitation has already been used"),
            _ => RequestError::NotAllowed("this invitation was withdrawn"),
        })?;
        match present {
            Some(entry) if entry.revoked.is_none() && entry.key == peer.key => {
                return self.issued(&peer.name, &entry);
            }
            Some(entry) if entry.revoked.is_none() => return Err(RequestError::Enrolled(peer.name.clone())),
            Some(_) if invitation.spent.is_some() => {
                return Err(RequestError::NotAllowed("this hub was revoked"));
            }
            _ => {}
        }
        invitation.spent = Some(peer.key.to_hex());
        let event = AuditEvent::Enrolled { name: peer.name.clone(), key: peer.key.to_hex() };
        let entry = self.sign(&request, &peer.name, now, now)?;
        self.store.write(&[
            Change::Put(roster_key(&peer.name), json(&entry)),
            Change::Put(invitation_key(&peer.invitation), json(&invitation)),
            self.audit.line(now, event),
        ])?;
        let issued = self.issued(&peer.name, &entry)?;
        let mut members = self.members.write().unwrap_or_else(PoisonError::into_inner);
        members.roster.insert(peer.name.clone(), entry);
        members.invitations.insert(peer.invitation, invitation);
        Ok(issued)
    }

    /// Renews a client's certificate over its present key. Asking early returns the present certificate.
    ///
    /// # Errors
    /// [`RequestError`] telling the hub's operator what is wrong.
    pub fn renew(&self, member: &Member, csr: &[u8], now: Seconds) -> Result<Issued, RequestError> {
        let request = Request::read(csr)?;
        let _one_change = self.lock();
        self.admits(member, now).map_err(|refusal| match refusal {
            Refusal::Expired => RequestError::NotAllowed("this hub's certificate expired"),
            _ => RequestError::NotAllowed("this hub was revoked"),
        })?;
        let name = &member.name;
        let entry = self.read().roster.get(name).cloned();
        let entry = entry.ok_or(RequestError::NotAllowed("this hub was revoked"))?;
        if entry.key != request.key() {
            return Err(RequestError::NotAllowed(
                "a certificate is renewed over the same key; enrol a new one",
            ));
        }
        if entry.expires.saturating_sub(now) > self.life / 2 {
            return self.issued(name, &entry);
        }
        let entry = self.sign(&request, name, entry.enrolled, now)?;
        self.store.write(&[
            Change::Put(roster_key(name), json(&entry)),
            self.audit.line(now, AuditEvent::Renewed { name: name.clone() }),
        ])?;
        let issued = self.issued(name, &entry)?;
        let mut members = self.members.write().unwrap_or_else(PoisonError::into_inner);
        members.roster.insert(name.clone(), entry);
        Ok(issued)
    }

    /// Takes a client off the roster and withdraws its invitations.
    ///
    /// # Errors
    /// [`RequestError::Unknown`] if the name is neither enrolled nor invited, or what the disk says.
    pub fn revoke(&self, name: &ClientId, now: Seconds) -> Result<(), RequestError> {
        let _one_change = self.lock();
        let (entry, invitations) = {
            let members = self.read();
            let entry = members.roster.get(name).filter(|entry| entry.revoked.is_none()).cloned();
            let open = |(_, i): &(&Digest, &Invitation)| i.name == *name && !i.withdrawn;
            let invitations: Vec<(Digest, Invitation)> =
                members.invitations.iter().filter(open).map(|(id, i)| (*id, i.clone())).collect();
            (entry, invitations)
        };
        if entry.is_none() && invitations.is_empty() {
            return Err(RequestError::Unknown(name.clone()));
        }
        let entry = entry.map(|entry| Enrolment { revoked: Some(now), ..entry });
        let withdrawn: Vec<(Digest, Invitation)> =
            invitations.into_iter().map(|(id, i)| (id, Invitation { withdrawn: true, ..i })).collect();
        let mut changes: Vec<Change> =
            withdrawn.iter().map(|(id, i)| Change::Put(invitation_key(id), json(i))).collect();
        changes.extend(entry.iter().map(|entry| Change::Put(roster_key(name), json(entry))));
        changes.push(self.audit.line(now, AuditEvent::Revoked { name: name.clone() }));
        self.store.write(&changes)?;
        let mut members = self.members.write().unwrap_or_else(PoisonError::into_inner);
        members.invitations.extend(withdrawn);
        members.roster.extend(entry.map(|entry| (name.clone(), entry)));
        Ok(())
    }

    fn sign(
        &self,
        request: &Request,
        name: &ClientId,
        enrolled: Seconds,
        now: Seconds,
    ) -> Result<Enrolment, RequestError> {
        let certificate = self.authority.issue(request, name, now, self.life)?;
        let expires = now.saturating_add(self.life);
        let certificate = encode_der(&certificate);
        Ok(Enrolment { key: request.key(), certificate, enrolled, expires, revoked: None })
    }

    fn issued(&self, name: &ClientId, entry: &Enrolment) -> Result<Issued, RequestError> {
        let certificate = decode_der(&entry.certificate)
            .ok_or_else(|| self.store.damaged(&roster_key(name), &"its certificate is not base64"))?;
        let authority = self.authority.certificate().clone();
        Ok(Issued { name: name.clone(), certificate: certificate.into(), authority })
    }

    fn forgettable(&self, now: Seconds) -> Vec<Digest> {
        let old = |(_, i): &(&Digest, &Invitation)| i.expires.saturating_add(REMEMBER) < now;
        self.read().invitations.iter().filter(old).map(|(id, _)| *id).collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, Members> {
        self.members.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.change.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("records are plain data")
}

fn roster_key(name: &ClientId) -> Key {
    Key::new(Table::Roster, name.as_str())
}

fn invitation_key(id: &Digest) -> Key {
    Key::new(Table::Invitations, id.to_hex())
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};

    use super::*;
    use crate::ca;

    const NOW: Seconds = 1_800_000_000;
    const LIFE: Seconds = 90 * 24 * 3600;

    struct World {
        dir: tempfile::TempDir,
    }

    impl World {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            ca::create(dir.path(), "test", &[], NOW).unwrap();
            Store::create(&dir.path().join("store")).unwrap();
            Self { dir }
        }

        fn open(&self) -> Registry {
            let store = Arc::new(Store::open(&self.dir.path().join("store")).unwrap());
            let audit = Arc::new(Audit::open(Arc::clone(&store)).unwrap());
            Registry::open(store, audit, Authority::load(self.dir.path()).unwrap(), LIFE).unwrap()
        }
    }

    struct Hub(KeyPair);

    impl Hub {
        fn new() -> Self {
            Self(KeyPair::generate_for(&PKCS_ED25519).unwrap())
        }

        fn csr(&self) -> Vec<u8> {
            CertificateParams::default().serialize_request(&self.0).unwrap().der().to_vec()
        }

        fn shows(&self, token: &Token) -> Presented {
            Presented {
                key: token.key_id(),
                name: Digest::of(self.0.public_key_raw()).to_hex(),
                not_after: 0,
            }
        }
    }

    fn name(text: &str) -> ClientId {
        text.parse().unwrap()
    }

    #[test]
    fn an_invitation_enrols_one_hub_once_and_that_hub_again() {
        let world = World::new();
        let registry = world.open();
        let token = registry.invite(&name("ann"), "a:1", NOW, 100).unwrap();
        let (hub, thief) = (Hub::new(), Hub::new());
        let invited = registry.invited(&hub.shows(&token), NOW).unwrap().unwrap();
        let late = registry.invited(&thief.shows(&token), NOW).unwrap().unwrap();
        let first = registry.enrol(&invited, &hub.csr(), NOW).unwrap();
        assert_eq!(registry.enrol(&invited, &hub.csr(), NOW + 1).unwrap(), first);
        assert!(
            registry.enrol(&late, &thief.csr(), NOW).unwrap_err().to_string().contains("already been used")
        );
        assert_eq!(registry.invited(&thief.shows(&token), NOW).unwrap(), Err(Refusal::Spent));
        assert_eq!(registry.invited(&hub.shows(&token), NOW + 100).unwrap(), Err(Refusal::Expired));
        // And after a restart: the disk says the same.
        drop(registry);
        let registry = world.open();
        assert_eq!(registry.invited(&thief.shows(&token), NOW).unwrap(), Err(Refusal::Spent));
        assert_eq!(registry.enrol(&invited, &hub.csr(), NOW + 2).unwrap(), first);
        let seen = Presented::read(&first.certificate).unwrap();
        assert_eq!(registry.enrolled(&seen).unwrap().name(), &name("ann"));
    }

    #[test]
    fn a_stolen_store_invites_nobody() {
        let world = World::new();
        let registry = world.open();
        let token = registry.invite(&name("ann"), "a:1", NOW, 100).unwrap();
        let secret = &token.key_pkcs8()[16..];
        let mut all = Vec::new();
        registry
            .store
            .dump(|key, payload| {
                all.extend_from_slice(key);
                all.extend_from_slice(payload);
                Ok(())
            })
            .unwrap();
        let hex = data_encoding::HEXLOWER.encode(secret);
        assert!(!all.windows(32).any(|w| w == secret));
        assert!(!String::from_utf8_lossy(&all).contains(&hex));
    }

    #[test]
    fn a_request_for_another_key_is_refused() {
        let world = World::new();
        let registry = world.open();
        let token = registry.invite(&name("ann"), "a:1", NOW, 100).unwrap();
        let (hub, other) = (Hub::new(), Hub::new());
        let invited = registry.invited(&hub.shows(&token), NOW).unwrap().unwrap();
        assert!(matches!(registry.enrol(&invited, &other.csr(), NOW), Err(RequestError::NotAllowed(_))));
        assert!(matches!(registry.enrol(&invited, b"?", NOW), Err(RequestError::BadCsr(_))));
        assert!(registry.roster().is_empty());
    }

    #[test]
    fn revoking_ends_the_certificate_and_the_invitation_and_frees_the_name() {
        let world = World::new();
        let registry = world.open();
        let (hub, next) = (Hub::new(), Hub::new());
        let token = registry.invite(&name("ann"), "a:1", NOW, 100).unwrap();
        let unused = registry.invite(&name("ann"), "a:1", NOW, 100).unwrap();
        let invited = registry.invited(&hub.shows(&token), NOW).unwrap().unwrap();
        let seen = Presented::read(&registry.enrol(&invited, &hub.csr(), NOW).unwrap().certificate).unwrap();
        let member = registry.enrolled(&seen).unwrap();
        assert_eq!(registry.admits(&member, NOW), Ok(()));
        assert_eq!(registry.admits(&member, NOW + LIFE), Err(Refusal::Expired));
        assert!(matches!(registry.invite(&name("ann"), "a:1", NOW, 9), Err(RequestError::Enrolled(_))));
        registry.revoke(&name("ann"), NOW).unwrap();
        assert_eq!(registry.enrolled(&seen), Err(Refusal::Revoked));
        assert_eq!(registry.admits(&member, NOW), Err(Refusal::Revoked));
        assert!(registry.renew(&member, &hub.csr(), NOW).unwrap_err().to_string().contains("revoked"));
        assert_eq!(registry.invited(&hub.shows(&token), NOW).unwrap(), Err(Refusal::Revoked));
        assert_eq!(registry.invited(&next.shows(&unused), NOW).unwrap(), Err(Refusal::Revoked));
        assert!(matches!(registry.revoke(&name("bob"), NOW), Err(RequestError::Unknown(_))));
        let again = registry.invite(&name("ann"), "a:1", NOW, 100).unwrap();
        let invited = registry.invited(&next.shows(&again), NOW).unwrap().unwrap();
        let new = Presented::read(&registry.enrol(&invited, &next.csr(), NOW).unwrap().certificate).unwrap();
        assert_eq!(registry.enrolled(&new).unwrap().key(), Digest::of(next.0.public_key_raw()));
        assert_eq!(registry.enrolled(&seen), Err(Refusal::Revoked));
        // The name is another hub's now: what the first one was let in as counts for nothing.
        assert_eq!(registry.admits(&member, NOW), Err(Refusal::Revoked));
        assert!(registry.renew(&member, &hub.csr(), NOW).is_err());
    }

    #[test]
    fn certificates_renew_over_the_same_key_when_half_their_life_is_over() {
        let world = World::new();
        let registry = world.open();
        let hub = Hub::new();
        let token = registry.invite(&name("ann"), "a:1", NOW, 100).unwrap();
        let invited = registry.invited(&hub.shows(&token), NOW).unwrap().unwrap();
        let first = registry.enrol(&invited, &hub.csr(), NOW).unwrap();
        let member = registry.enrolled(&Presented::read(&first.certificate).unwrap()).unwrap();
        assert_eq!(registry.renew(&member, &hub.csr(), NOW + 5).unwrap(), first);
        let later = NOW + 2 * LIFE / 3;
        let second = registry.renew(&member, &hub.csr(), later).unwrap();
        assert_eq!(Presented::read(&second.certificate).unwrap().not_after, later + LIFE);
        assert!(registry.renew(&member, &Hub::new().csr(), later).is_err());
        // The new certificate ends later than the one that the connection was made with.
        assert_eq!(registry.admits(&member, NOW + LIFE), Ok(()));
        assert!(
            registry.renew(&member, &hub.csr(), later + LIFE).unwrap_err().to_string().contains("expired")
        );
    }

    #[test]
    fn old_invitations_are_forgotten_and_unknown_ones_are_not_ours() {
        let world = World::new();
        let registry = world.open();
        let token = registry.invite(&name("ann"), "a:1", NOW, 100).unwrap();
        let hub = Hub::new();
        assert_eq!(registry.invited(&hub.shows(&token), NOW + REMEMBER).unwrap(), Err(Refusal::Expired));
        registry.invite(&name("bob"), "a:1", NOW + REMEMBER + 200, 100).unwrap();
        assert_eq!(registry.invited(&hub.shows(&token), NOW), None);
        assert_eq!(registry.invitations().len(), 1);
    }
}
