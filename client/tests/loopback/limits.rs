//! Hubs whose machines are in the way: they are away, they come back, and no round waits for them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use somnus_client::config::ClientConfig;
use somnus_client::hands::{About, Hands};
use somnus_client::hub::Ending;
use somnus_client::identity::now;
use somnus_client::limits::status::standing;
use somnus_client::limits::{Machine, Watch};
use somnus_protocol::ids::Version;
use somnus_protocol::record::RoundRecord;
use somnus_protocol::trainer::{EvaluateTask, LocalEvaluation, LocalUpdate, TrainError, TrainTask, Trainer};
use somnus_report::ClientReport;
use somnus_server::driver;

use crate::common::{Adder, World, id, until};

/// Four are wanted, three are enough.
const ROUNDS: &str = "rounds = 4\ncohort = 4\nmin_clients = 3\nmin_reports = 3\nselection_seconds = 0.3\n\
                      training_seconds = 20.0\nevaluation_seconds = 20.0\npause_seconds = 0.1\n";
const OTHERS: [&str; 3] = ["ann", "bob", "zoe"];

fn battery(machine: &Machine, status: &str) {
    power(&machine.sys, status);
}

fn power(sys: &Path, status: &str) {
    let supply = sys.join("class/power_supply/BAT0");
    fs::create_dir_all(&supply).unwrap();
    fs::write(supply.join("type"), "Battery\n").unwrap();
    // A reader sees the one or the other.
    fs::write(supply.join("status.new"), status).unwrap();
    fs::rename(supply.join("status.new"), supply.join("status")).unwrap();
}

/// An adder whose cable is pulled during its first training.
struct Pulled(PathBuf);

impl Trainer for Pulled {
    fn train(&self, task: &TrainTask) -> Result<LocalUpdate, TrainError> {
        power(&self.0, "Discharging");
        Adder.train(task)
    }

    fn evaluate(&self, task: &EvaluateTask) -> Result<LocalEvaluation, TrainError> {
        Adder.evaluate(task)
    }
}

impl Hands for Pulled {
    fn report(&self, task: &EvaluateTask, about: &About) -> Result<ClientReport, TrainError> {
        Adder.report(task, about)
    }
}

async fn records(world: &World, server: crate::common::Running) -> Vec<RoundRecord> {
    // Who is away has not heard of the end: a server that waited for that would wait in vain.
    assert_eq!(server.stop().await, driver::Ending::Stopped);
    world.open("fed").history.rounds().unwrap().into_values().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_whose_limit_binds_finishes_its_round_and_is_away_until_it_is_over() {
    let world = World::new(ROUNDS);
    let server = world.serve();
    for name in OTHERS.into_iter().chain(["eve"]) {
        world.enrol(name, &server.invite(name)).await.unwrap();
    }
    let machine = world.machine("eve");
    battery(&machine, "Charging");
    let hands = Arc::new(Pulled(machine.sys.clone()));
    let eve = world.run_within("eve", hands, "on_mains = true");
    until(|| server.live.running().connected.len() == 1).await;
    let others = OTHERS.map(|name| world.run(name));
    until(|| server.live.running().version >= Version(1)).await;
    until(|| !server.live.running().connected.contains(&id("eve"))).await;
    for hub in others {
        assert_eq!(hub.await.unwrap().unwrap(), Ending::Finished(Version(4)));
    }
    let records = records(&world, server).await;
    eve.abort();
    assert!(records[0].counted.contains(&id("eve")), "{:?}", records[0]);
    for record in &records[1..] {
        // Not drawn, or at most once in vain: nobody waited for a deadline.
        assert!(!record.counted.contains(&id("eve")) && record.millis < 20_000, "{record:?}");
    }
    for record in &records[2..] {
        assert!(!record.cohort.contains(&id("eve")), "{record:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_comes_as_soon_as_no_limit_binds() {
    let world = World::new(&ROUNDS.replace("min_clients = 3", "min_clients = 4"));
    let server = world.serve();
    for name in OTHERS.into_iter().chain(["eve"]) {
        world.enrol(name, &server.invite(name)).await.unwrap();
    }
    let machine = world.machine("eve");
    battery(&machine, "Discharging");
    let eve = world.run_within("eve", Arc::new(Adder), "on_mains = true");
    let others = OTHERS.map(|name| world.run(name));
    until(|| server.live.running().connected.len() == 3).await;
    assert!(!server.live.running().connected.contains(&id("eve")));
    assert_eq!(server.live.running().version, Version(0));
    battery(&machine, "Charging");
    for hub in others.into_iter().chain([eve]) {
        assert_eq!(hub.await.unwrap().unwrap(), Ending::Finished(Version(4)));
    }
    let records = records(&world, server).await;
    assert!(records.iter().all(|record| record.counted.len() == 4), "{records:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn work_that_does_not_fit_is_declined_once_and_the_reason_is_told() {
    for (limits, reason) in [
        ("memory_mib = 20", "this training takes about 27 MiB, and `memory_mib = 20`"),
        ("disk_mib = 2", "the model needs 3 MiB beside 1 MiB of other files, and `disk_mib = 2`"),
    ] {
        let world = World::new(ROUNDS);
        let server = world.serve();
        for name in OTHERS.into_iter().chain(["eve"]) {
            world.enrol(name, &server.invite(name)).await.unwrap();
        }
        let eve = world.run_within("eve", Arc::new(Adder), limits);
        until(|| server.live.running().connected.len() == 1).await;
        let others = OTHERS.map(|name| world.run(name));
        for hub in others {
            assert_eq!(hub.await.unwrap().unwrap(), Ending::Finished(Version(4)));
        }
        let records = records(&world, server).await;
        // Its owner is told as well, by another process.
        let shown = ClientConfig::parse(&format!("[limits]\n{limits}")).unwrap().limits;
        let shown = standing(&shown, &world.machine("eve"), &world.hub("eve"), now());
        assert_eq!(shown[0].refuses.as_deref(), Some(reason));
        eve.abort();
        assert_eq!(records[0].dropped.get(&id("eve")).map(String::as_str), Some(reason));
        for record in &records[1..] {
            assert!(!record.cohort.contains(&id("eve")), "{limits}: {record:?}");
        }
        // Nothing of the model was fetched.
        assert_eq!(fs::read_dir(world.hub("eve").join("cache")).unwrap().count(), 0);
    }
}

#[test]
fn without_limits_nobody_is_looked_after() {
    let mut watch = Watch::new(&Default::default(), &Machine::default());
    assert!(watch.look(0).is_none() && watch.verdict().binds().is_none());
}
