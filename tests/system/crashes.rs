//! `kill -9` at random points of a round, on the real binaries.
//!
//! A point is a line: all processes' lines arrive in one log, and a process is killed right after the n-th, n by chance.
//! Nothing is timed. The number of kills is `SOMNUS_KILLS` (default 6).

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::harness::{Log, Place, Process};

const ROUNDS: &str = "rounds = 5\ncohort = 4\nmin_clients = 4\nmin_reports = 4\nselection_seconds = 5.0\n\
                      training_seconds = 60.0\nevaluation_seconds = 5.0\npause_seconds = 0.2\n";

fn kills() -> usize {
    std::env::var("SOMNUS_KILLS").ok().map_or(6, |text| text.parse().expect("SOMNUS_KILLS is a number"))
}

/// The version in a line like `... released version=3 ...`.
fn released(line: &str) -> Option<u64> {
    let rest =
        line.strip_prefix("server: ").filter(|line| line.contains(" released "))?.split("version=").nth(1)?;
    rest.split(' ').next()?.parse().ok()
}

#[test]
fn a_server_that_is_killed_loses_nothing_and_the_federation_goes_on_by_itself() {
    let mut left = kills();
    for life in 0.. {
        if left == 0 {
            break;
        }
        left -= one_federation(life, left);
    }
}

/// Kills the server up to `kills` times while a federation runs to its end; how often it was.
fn one_federation(life: u64, kills: usize) -> usize {
    let seed = 20 + life;
    let mut chance = SmallRng::seed_from_u64(seed);
    let place = Place::new(4, ROUNDS);
    let log = Log::new();
    let mut server = place.serve(&log);
    let names = place.enrol_everybody();
    let mut hubs: Vec<(String, Process)> =
        names.iter().map(|name| (name.clone(), log.start(name, &mut place.running(name)))).collect();
    let mut announced = 0;
    let mut killed = 0;
    loop {
        let mut countdown = if killed < kills { chance.random_range(1..40) } else { usize::MAX };
        while countdown > 0 {
            let line = log.next();
            announced = announced.max(released(&line).unwrap_or(0));
            countdown -= 1;
            if line.starts_with("server: finished") {
                server.done();
                hubs.into_iter().for_each(|(_, hub)| hub.done());
                let status = place.status();
                assert_eq!(status["release"], 5, "seed {seed}: {status:#}");
                println!("seed {seed}: killed the server {killed} times");
                return killed.max(1);
            }
        }
        if server.has_ended() {
            continue;
        }
        server.kill();
        killed += 1;
        // The dead server's disk, read by a command of its own.
        let status = place.status();
        let release = status["release"].as_u64().unwrap_or(0);
        assert!(release >= announced, "seed {seed}: release {announced} was announced, {release} is on disk");
        assert_eq!(status["clients"].as_array().map(Vec::len), Some(names.len()), "seed {seed}: the roster");
        assert!(hubs.iter_mut().all(|(_, hub)| !hub.has_ended()), "seed {seed}: a hub gave up");
        server = place.serve(&log);
    }
}

#[test]
fn clients_that_are_killed_cost_the_round_its_deadline_and_no_more() {
    let rounds = "rounds = 3\ncohort = 4\nmin_clients = 2\nmin_reports = 2\nselection_seconds = 0.5\n\
                  training_seconds = 6.0\nevaluation_seconds = 4.0\npause_seconds = 0.2\n";
    let mut chance = SmallRng::seed_from_u64(5);
    let place = Place::new(4, rounds);
    let log = Log::new();
    let server = place.serve(&log);
    let names = place.enrol_everybody();
    let mut hubs: Vec<Process> = names.iter().map(|name| log.start(name, &mut place.running(name))).collect();
    // Two of the four die somewhere in the first round, one comes back.
    log.until("server", "round opened");
    for victim in [3, 2] {
        for _ in 0..chance.random_range(0..6) {
            log.next();
        }
        hubs.remove(victim).kill();
    }
    hubs.push(log.start(&names[2], &mut place.running(&names[2])));
    hubs.into_iter().for_each(Process::done);
    drop(server);
    let status = place.status();
    assert_eq!(status["release"], 3, "{status:#}\n{}", log.seen().join("\n"));
}
