//! Who gets into a federation and who does not, over real QUIC on loopback, each refusal with its sentence.

use crate::common::{World, id};
use somnus_client::enrol::EnrolError;
use somnus_client::identity::{Folder, IdentityError, Membership};
use somnus_protocol::token::Token;

const ROUNDS: &str = "min_clients = 9\n";
const DAY: u64 = 24 * 3600;

fn flat(result: Result<Membership, EnrolError>) -> String {
    match result {
        Ok(membership) => panic!("enrolled as {}", membership.name),
        Err(error) => error.to_string(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_enrols_one_hub_and_no_other() {
    let world = World::new(ROUNDS);
    let server = world.serve();
    let token = server.invite("ann");
    let first = world.enrol("ann", &token).await.unwrap();
    assert_eq!((first.federation.as_str(), first.name.clone()), ("fed", id("ann")));
    assert_eq!(server.federation.registry.roster().len(), 1);

    // The reply was lost: the hub has its key but no certificate, and asks again.
    std::fs::remove_file(world.hub("ann").join("federation.json")).unwrap();
    let again = world.enrol("ann", &token).await.unwrap();
    assert_eq!((again.certificate, again.expires), (first.certificate, first.expires));

    // Another hub with the same token.
    let error = flat(world.enrol("thief", &token).await);
    assert_eq!(error, "this invitation has already been used, or was withdrawn");
    // And the same hub a second time.
    let error = world.enrol("ann", &token).await.unwrap_err();
    assert!(matches!(&error, EnrolError::Identity(IdentityError::Enrolled { .. })), "{error}");
    // Only the thief is in the audit log.
    crate::common::until(|| !server.refusals().is_empty()).await;
    assert_eq!(server.refusals().len(), 1, "{:?}", server.refusals());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_invitation_says_so() {
    let world = World::new(ROUNDS);
    let server = world.serve();
    let token = server.invite("ann");
    world.later(3599);
    let late = server.invite("bob");
    world.later(1);
    assert_eq!(flat(world.enrol("ann", &token).await), "this invitation expired");
    world.enrol("bob", &late).await.unwrap();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_forged_and_withdrawn_invitations_say_so() {
    let world = World::new(ROUNDS);
    world.found("other", &world.dir.path().join("model.safetensors"));
    let foreign = {
        // Same address, another authority.
        let other = world.open("other");
        let address = other.config.listen.to_string();
        other.registry.invite(&id("ann"), &address, other.clock.now(), 60).unwrap().to_text()
    };
    let server = world.serve();
    assert_eq!(
        flat(world.enrol("ann", &foreign).await),
        "this invitation belongs to another federation: the server does not have the authority that it names"
    );
    let authority = server.federation.registry.authority().digest();
    let forged = Token::new(&server.address.to_string(), authority, [9; 32]).unwrap().to_text();
    assert_eq!(
        flat(world.enrol("ann", &forged).await),
        "the server does not know this invitation: it belongs to another federation or was forgotten"
    );
    let withdrawn = server.invite("ann");
    server.revoke("ann");
    assert_eq!(
        flat(world.enrol("ann", &withdrawn).await),
        "this invitation has already been used, or was withdrawn"
    );
    assert_eq!(
        flat(world.enrol("ann", "somnus1.nonsense").await),
        "the invitation is damaged: copy it again, whole and on one line"
    );
    let nowhere = Token::new("127.0.0.1:1", authority, [9; 32]).unwrap().to_text();
    assert_eq!(flat(world.enrol("ann", &nowhere).await), "127.0.0.1:1: no answer");
    assert!(server.federation.registry.roster().is_empty());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_hub_is_told_so_now_and_when_it_comes_back() {
    let world = World::new(ROUNDS);
    let server = world.serve();
    world.enrol("ann", &server.invite("ann")).await.unwrap();
    let running = world.run("ann");
    crate::common::until(|| server.live.running().connected.contains(&id("ann"))).await;
    server.revoke("ann");
    assert_eq!(running.await.unwrap().unwrap_err().to_string(), "this hub was revoked");
    assert_eq!(world.run("ann").await.unwrap().unwrap_err().to_string(), "this hub was revoked");
    assert!(server.live.running().connected.is_empty());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_certificate_says_so() {
    let world = World::new(ROUNDS);
    let server = world.serve();
    world.enrol("ann", &server.invite("ann")).await.unwrap();
    world.later(91 * 24 * 3600);
    assert_eq!(
        world.run("ann").await.unwrap().unwrap_err().to_string(),
        "this hub's certificate expired: it was away for too long and has to be invited again"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_outlives_another_server_at_its_servers_address() {
    let world = World::new(ROUNDS);
    world.found("other", &world.dir.path().join("model.safetensors"));
    let server = world.serve();
    world.enrol("ann", &server.invite("ann")).await.unwrap();
    server.stop().await;
    let impostor = world.serve_named("other", false);
    let running = world.run("ann");
    // The hub's own alerts, as the impostor sees them: it comes back after each.
    crate::common::until(|| impostor.refusals().len() >= 3).await;
    assert!(impostor.refusals()[2].contains("UnknownIssuer"), "{:?}", impostor.refusals());
    assert!(!running.is_finished(), "the hub believed a stranger");
    impostor.stop().await;
    let server = world.serve();
    crate::common::until(|| server.live.running().connected.contains(&id("ann"))).await;
    running.abort();
    server.stop().await;
}

/// The hub lives today; the server, which is founded then, a day before or after it, or as long after it as a hub is late whose
/// clock starts in 1970.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_a_day_off_or_starts_in_1970_keeps_nobody_out() {
    for (before, after) in [(DAY, 0), (0, DAY), (0, 60 * 365 * DAY)] {
        let world = World::new(ROUNDS);
        world.later(after);
        world.earlier(before);
        world.found("then", &world.dir.path().join("model.safetensors"));
        let server = world.serve_named("then", false);
        world.enrol("ann", &server.invite("ann")).await.unwrap();
        let running = world.run("ann");
        crate::common::until(|| server.live.running().connected.contains(&id("ann"))).await;
        running.abort();
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_wrong_is_called_that() {
    let world = World::new(ROUNDS);
    // A server that has ended, for a hub that lives today: 31 years ago.
    world.earlier(31 * 365 * DAY);
    world.found("earlier", &world.dir.path().join("model.safetensors"));
    let server = world.serve_named("earlier", false);
    let error = flat(world.enrol("ann", &server.invite("ann")).await);
    assert!(error.starts_with("this machine's clock is wrong, or the server's is"), "{error}");
    let error = somnus_client::link::LinkError::Clock;
    assert!(error.is_verdict() && !error.is_final());
    server.stop().await;
}

/// A server whose clock was set back, as after a change of its battery, does not turn its hubs away.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_clock_goes_back_still_knows_its_hubs() {
    let world = World::new(ROUNDS);
    let server = world.serve();
    world.enrol("ann", &server.invite("ann")).await.unwrap();
    world.earlier(400 * DAY);
    let running = world.run("ann");
    crate::common::until(|| server.live.running().connected.contains(&id("ann"))).await;
    running.abort();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_renew_by_themselves_over_the_connection() {
    let world = World::new(ROUNDS);
    let server = world.serve();
    let first = world.enrol("ann", &server.invite("ann")).await.unwrap();
    // 80 of 90 days later, for the server and for the hub (whose own clock the test does not turn).
    world.later(80 * 24 * 3600);
    let folder = Folder::open(&world.hub("ann")).unwrap();
    let due = Membership { expires: first.issued + 60, ..first.clone() };
    folder.keep(&Membership { issued: first.issued - 80 * 24 * 3600, ..due }).unwrap();
    drop(folder);
    let running = world.run("ann");
    crate::common::until(|| Membership::load(&world.hub("ann")).unwrap().certificate != first.certificate)
        .await;
    let renewed = Membership::load(&world.hub("ann")).unwrap();
    assert_eq!(renewed.expires, first.expires + 80 * 24 * 3600);
    running.abort();
    let _ = running.await;
    // The new one is good for a connection of its own.
    let running = world.run("ann");
    crate::common::until(|| server.live.running().connected.contains(&id("ann"))).await;
    running.abort();
    server.stop().await;
}
