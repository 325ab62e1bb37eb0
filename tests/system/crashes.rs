//! `kill -9` at random points of a round, on the real binaries.
//!
//! A point is a line: all processes' lines arrive in one log, and a process is killed right after the n-th, n by chance.
//! Nothing is timed. The number of kills is `SOMNUS_KILLS` (default 6).

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;

use crate::harness::{Log, Place, Process};

const ROUNDS: &str = "rounds = 5\ncohort = 4\nmin_clients = 4\nmin_reports = 4\nselection_seconds = 5.0\n\
                      training_seconds = 60.0\nevaluation_seconds = 5.0\npause_seconds = 0.2\n\
                      secure = { patience_seconds = 20.0 }\n";

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
    let wanted = kills();
    let mut killed = 0;
    for life in 0..100 {
        if killed < wanted {
            killed += one_federation(20 + life, wanted - killed);
        }
    }
    assert_eq!(killed, wanted);
}

/// Kills the server at most `kills` times while a federation runs to its end; how often it was.
fn one_federation(seed: u64, kills: usize) -> usize {
    let mut chance = SmallRng::seed_from_u64(seed);
    let place = Place::new(4, ROUNDS);
    let log = Log::new();
    let mut server = place.serve(&log);
    let names = place.enrol_everybody();
    let mut hubs: Vec<Process> = names.iter().map(|name| log.start(name, &mut place.running(name))).collect();
    let mut announced = 0;
    let mut killed = 0;
    'lives: loop {
        let mut countdown = if killed < kills { chance.random_range(1..60) } else { usize::MAX };
        while countdown > 0 {
            let line = log.next();
            announced = announced.max(released(&line).unwrap_or(0));
            countdown -= 1;
            if line.starts_with("server: finished") {
                break 'lives;
            }
        }
        server.kill();
        killed += 1;
        // The dead server's disk, read by a command of its own.
        let status = place.status();
        let release = status["release"].as_u64().unwrap_or(0);
        assert!(release >= announced, "seed {seed}: release {announced} was announced, {release} is on disk");
        assert_eq!(status["clients"].as_array().map(Vec::len), Some(names.len()), "seed {seed}: the roster");
        if announced < 5 {
            assert!(hubs.iter_mut().all(|hub| !hub.has_ended()), "seed {seed}: a hub gave up");
        }
        server = place.serve(&log);
    }
    server.done(&log);
    hubs.into_iter().for_each(|hub| hub.done(&log));
    let status = place.status();
    assert_eq!(status["release"], 5, "seed {seed}: {status:#}");
    for name in &names {
        let path = place.hub(name).join("report").join(format!("{name}.json"));
        let report: Value =
            serde_json::from_str(&std::fs::read_to_string(path).expect("a report")).expect("JSON");
        assert_eq!(report["model"]["version"], 5, "seed {seed}: {name} has a report on the last release");
    }
    println!("seed {seed}: killed the server {killed} times");
    killed
}

#[test]
fn clients_that_are_killed_cost_the_round_its_deadline_and_no_more() {
    for seed in [5, 6] {
        two_hubs_die(seed);
    }
}

/// Two of four hubs die somewhere in the first round; one of them comes back.
fn two_hubs_die(seed: u64) {
    let rounds = "rounds = 3\ncohort = 4\nmin_clients = 4\nmin_reports = 2\nselection_seconds = 0.5\n\
                  training_seconds = 6.0\nevaluation_seconds = 4.0\npause_seconds = 0.2\n";
    let mut chance = SmallRng::seed_from_u64(seed);
    // Rounds after the first have to do with three.
    let place = Place::plain(4, &rounds.replace("min_clients = 4", "min_clients = 3"));
    let log = Log::new();
    let server = place.serve(&log);
    let names = place.enrol_everybody();
    let mut hubs: Vec<Process> = names.iter().map(|name| log.start(name, &mut place.running(name))).collect();
    log.until("server", "round opened");
    for victim in [3, 2] {
        for _ in 0..chance.random_range(0..6) {
            log.next();
        }
        hubs.remove(victim).kill();
    }
    hubs.push(log.start(&names[2], &mut place.running(&names[2])));
    hubs.into_iter().for_each(|hub| hub.done(&log));
    drop(server);
    let status = place.status();
    let told = || format!("seed {seed}: {status:#}\n{}", log.seen().join("\n"));
    assert_eq!(status["release"], 3, "{}", told());
    // Each of the three rounds made its release at its deadline or before; none had to be repeated.
    assert_eq!(status["rounds"].as_array().map(Vec::len), Some(3), "{}", told());
}

/// One of five hubs dies somewhere in a masked round and stays away: before its keys, its shares, its upload or its part
/// of the unmasking.
#[test]
fn a_masked_round_goes_on_without_a_hub_that_dies_in_any_of_its_phases() {
    for (seed, line) in
        [(1, "round opened"), (2, "trained, keys advertised"), (3, "update counted"), (4, "unmasking")]
    {
        one_hub_dies(seed, line);
    }
}

fn one_hub_dies(seed: usize, line: &str) {
    let rounds = "rounds = 2\ncohort = 5\nmin_clients = 4\nmin_reports = 4\nselection_seconds = 0.5\n\
                  training_seconds = 8.0\nevaluation_seconds = 4.0\npause_seconds = 0.2\n\
                  secure = { patience_seconds = 3.0 }\n";
    let place = Place::new(5, rounds);
    let log = Log::new();
    let server = place.serve(&log);
    let names = place.enrol_everybody();
    let mut hubs: Vec<Process> = names.iter().map(|name| log.start(name, &mut place.running(name))).collect();
    log.until("server", line);
    hubs.remove(seed).kill();
    hubs.into_iter().for_each(|hub| hub.done(&log));
    // It would wait for the dead hub to hear of the last release.
    drop(server);
    let status = place.status();
    let told = || format!("{line}: {status:#}\n{}", log.seen().join("\n"));
    assert_eq!(status["release"], 2, "{}", told());
    // Two releases, and the counts of the last one.
    assert_eq!(status["rounds"].as_array().map(Vec::len), Some(3), "no round was repeated; {}", told());
    assert_eq!(status["rounds"][2]["evaluated"]["clients"], 4, "{}", told());
}
