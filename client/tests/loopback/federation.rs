//! Whole federations over real QUIC on loopback: rounds, restarts, evaluation, reports.

use std::sync::Arc;

use crate::common::{Panics, WEIGHTS, World};
use somnus_client::hub::Ending;
use somnus_client::report;
use somnus_protocol::checkpoint::floats;
use somnus_protocol::ids::Version;
use somnus_protocol::record::Outcome;
use somnus_server::driver;

const ROUNDS: &str = "rounds = 3\ncohort = 3\nmin_clients = 3\nmin_reports = 2\nselection_seconds = 30.0\n\
                      training_seconds = 20.0\nevaluation_seconds = 20.0\npause_seconds = 0.1\n";

#[tokio::test(flavor = "multi_thread")]
async fn three_hubs_make_three_releases_and_three_reports() {
    let world = World::new(ROUNDS);
    let server = world.serve_named("fed", true);
    let names = ["ann", "bob", "eve"];
    for name in names {
        world.enrol(name, &server.invite(name)).await.unwrap();
    }
    let hubs: Vec<_> = names.iter().map(|name| world.run(name)).collect();
    for hub in hubs {
        assert_eq!(hub.await.unwrap().unwrap(), Ending::Finished(Version(3)));
    }
    assert_eq!(server.ended().await, driver::Ending::Finished(Version(3)));

    let federation = world.open("fed");
    let release = federation.history.newest().unwrap().unwrap();
    assert_eq!(floats(&release.weights), vec![3.0; WEIGHTS]);
    let rounds = federation.history.rounds().unwrap();
    assert_eq!(rounds.len(), 3);
    for record in rounds.values() {
        assert!(matches!(record.outcome, Outcome::Released(_)));
        assert_eq!((record.counted.len(), record.evaluations.len()), (3, 3));
    }
    for name in names {
        let last = report::last(&world.hub(name)).unwrap();
        assert_eq!((last.model.version, last.client.id.as_str()), (3, name));
        assert!(world.hub(name).join(format!("report/{name}.html")).exists());
        let out = world.dir.path().join("out");
        assert!(report::write(&world.hub(name), Some(&out)).unwrap().exists());
        // What three updates that counted left behind is the end of what is kept: a length and three bytes, no residual, and
        // that the last one counts.
        let memory = std::fs::read(world.hub(name).join("memory")).unwrap();
        assert!(memory.ends_with(&[3, 7, 7, 7, 0, 1]), "{memory:?}");
        // The cache holds the foundation and one release, nothing else.
        assert_eq!(std::fs::read_dir(world.hub(name).join("cache")).unwrap().count(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trainer_that_panics_costs_its_update_and_not_the_round() {
    let world = World::new(ROUNDS);
    let server = world.serve_named("fed", true);
    let names = ["ann", "bob", "eve"];
    for name in names {
        world.enrol(name, &server.invite(name)).await.unwrap();
    }
    let hubs = [world.run("ann"), world.run("bob"), world.run_with("eve", Arc::new(Panics))];
    for hub in hubs {
        assert_eq!(hub.await.unwrap().unwrap(), Ending::Finished(Version(3)));
    }
    assert_eq!(server.ended().await, driver::Ending::Finished(Version(3)));
    let rounds = world.open("fed").history.rounds().unwrap();
    for record in rounds.values() {
        // Nobody waited for the deadline of 20 s: the hub said that it could not.
        assert!(record.counted.len() == 2 && record.millis < 20_000, "{record:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_federation_goes_on_when_the_server_comes_back() {
    let world = World::new(ROUNDS);
    let server = world.serve();
    let names = ["ann", "bob", "eve"];
    for name in names {
        world.enrol(name, &server.invite(name)).await.unwrap();
    }
    let hubs: Vec<_> = names.iter().map(|name| world.run(name)).collect();
    crate::common::until(|| server.live.running().version >= Version(1)).await;
    assert_eq!(server.stop().await, driver::Ending::Stopped);
    let saved = world.open("fed").history.newest().unwrap().unwrap().version;
    let server = world.serve_named("fed", true);
    assert!(server.live.running().version <= saved || saved == Version(3));
    for hub in hubs {
        assert_eq!(hub.await.unwrap().unwrap(), Ending::Finished(Version(3)));
    }
    server.ended().await;
    let release = world.open("fed").history.newest().unwrap().unwrap();
    assert_eq!(floats(&release.weights), vec![3.0; WEIGHTS]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_disappears_costs_the_others_nothing() {
    let world = World::new(ROUNDS);
    let server = world.serve_named("fed", true);
    for name in ["ann", "bob", "eve"] {
        world.enrol(name, &server.invite(name)).await.unwrap();
    }
    let hubs = [world.run("ann"), world.run("bob")];
    let eve = world.run("eve");
    crate::common::until(|| server.live.running().connected.len() == 3).await;
    // As by kill -9: no goodbye. A hub with the same name and folder comes back later.
    eve.abort();
    let _ = eve.await;
    let eve = world.run("eve");
    for hub in hubs.into_iter().chain([eve]) {
        assert_eq!(hub.await.unwrap().unwrap(), Ending::Finished(Version(3)));
    }
    server.ended().await;
}
