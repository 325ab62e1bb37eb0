//! `kill -9` of servers and hubs at random points, on the real binaries, and what must hold afterwards.
//!
//! One federation is founded and run without a kill. Then it is put back to its beginning and run again and again, while a
//! process, drawn by chance, is killed after a random number of log lines and then a random number of its writes. Nothing is
//! timed. Every federation must end with the very releases of the first one.
//!
//! `SOMNUS_KILLS` is the number of kills (default 12), half of them in masked rounds, half in masked rounds with noise:
//!
//!     SOMNUS_KILLS=1000 cargo test --release --test system -- kills --nocapture

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;
use somnus_protocol::checkpoint::Checkpoint;
use somnus_protocol::ids::Digest;

use crate::harness::{Log, Place, Process, good};

/// Releases of a federation.
const ROUNDS: u64 = 6;
const PEOPLE: usize = 4;
/// With everybody in every round, a release depends on nothing but the release before it.
const MASKED: &str = "rounds = 6\ncohort = 4\nmin_clients = 4\nmin_reports = 4\nselection_seconds = 5.0\n\
                      training_seconds = 60.0\nevaluation_seconds = 30.0\npause_seconds = 0.2\n\
                      secure = { patience_seconds = 30.0 }\n";
const PRIVATE: &str = "weighting = \"uniform\"\nprivacy = { epsilon = 8.0, delta = 0.01, population = 4, mechanism = \"gaussian\", \
                       clip = { fixed = { norm = 0.5 } } }\n";
const EPSILON: f64 = 8.0;
/// Log lines between two kills.
const LINES: std::ops::Range<usize> = 1..40;
/// Federations among which one must go by without a repeated round.
const ENOUGH: u64 = 5;
/// Writes of the victim after that, and how often it is looked whether it has made them.
const WRITES: std::ops::Range<u64> = 0..6;
const LOOKS: usize = 2000;

fn kills() -> usize {
    std::env::var("SOMNUS_KILLS").ok().map_or(12, |text| text.parse().expect("SOMNUS_KILLS is a number"))
}

#[test]
fn kills_in_masked_rounds_lose_nothing() {
    Suite::new("masked", MASKED, false).run(kills().div_ceil(2));
}

#[test]
fn kills_in_private_rounds_lose_nothing() {
    Suite::new("private", &format!("{MASKED}{PRIVATE}"), true).run(kills() / 2);
}

/// A federation at its beginning, and how it goes if nobody disturbs it.
struct Suite {
    name: &'static str,
    place: Place,
    private: bool,
    undisturbed: BTreeMap<u64, String>,
    servers: usize,
    hubs: usize,
    masks: usize,
    compared: usize,
    repeated: usize,
}

impl Suite {
    fn new(name: &'static str, federation: &str, private: bool) -> Self {
        let place = Place::new(PEOPLE, federation);
        let log = Log::new();
        let server = place.serve(&log);
        assert_eq!(place.enrol_everybody().len(), PEOPLE);
        server.kill();
        place.keep_beginning();
        let undisturbed = BTreeMap::new();
        let mut suite = Self {
            name,
            place,
            private,
            undisturbed,
            servers: 0,
            hubs: 0,
            masks: 0,
            compared: 0,
            repeated: 0,
        };
        let first = Run::of(&suite, 0).played(0);
        assert_eq!(first.aborted, 0, "{}", first.told);
        suite.undisturbed = first.made;
        suite
    }

    fn run(mut self, kills: usize) {
        let began = Instant::now();
        let mut federations = 0;
        // A round that had to be repeated, because a hub was away for too long, makes other releases: then there is one more.
        while self.servers + self.hubs < kills || (self.compared == 0 && kills > 0 && federations < ENOUGH) {
            federations += 1;
            self.place.back_to_beginning();
            let left = kills.saturating_sub(self.servers + self.hubs);
            let run = Run::of(&self, federations).played(left.max(1));
            self.servers += run.servers;
            self.hubs += run.hubs;
            self.masks += run.evidence.masks();
            self.repeated += run.aborted;
            if run.aborted == 0 {
                assert_eq!(run.made, self.undisturbed, "{}", run.told);
                self.compared += 1;
            }
            let done = self.servers + self.hubs;
            let left = began.elapsed().as_secs_f64() / done.max(1) as f64 * kills.saturating_sub(done) as f64;
            println!(
                "{}: {done} of {kills} kills ({} of servers, {} of hubs) in {federations} federations, {} with the same \
                 releases, {} rounds repeated, {} masked vectors, each once; about {:.0} min left",
                self.name,
                self.servers,
                self.hubs,
                self.compared,
                self.repeated,
                self.masks,
                left / 60.0
            );
        }
        assert!(self.compared > 0 || kills == 0, "no federation went by without a repeated round");
    }
}

/// One federation from its beginning to its end.
struct Run<'a> {
    suite: &'a Suite,
    seed: u64,
    chance: SmallRng,
    log: Log,
    server: Process,
    names: Vec<String>,
    running: Vec<Process>,
    evidence: Evidence,
    aborted: usize,
    over: bool,
    servers: usize,
    hubs: usize,
    spent: u64,
}

impl<'a> Run<'a> {
    fn of(suite: &'a Suite, seed: u64) -> Self {
        let place = &suite.place;
        let log = Log::new();
        let server = place.serve(&log);
        let names = place.people();
        let running = names.iter().map(|name| log.start(name, &mut hub(place, name))).collect();
        Self {
            suite,
            seed,
            chance: SmallRng::seed_from_u64(seed),
            log,
            server,
            names,
            running,
            evidence: Evidence::default(),
            aborted: 0,
            over: false,
            servers: 0,
            hubs: 0,
            spent: 0,
        }
    }

    fn told(&self) -> String {
        format!("{}, federation {}:\n{}", self.suite.name, self.seed, self.log.seen().join("\n"))
    }

    fn played(mut self, kills: usize) -> Ended {
        'lives: loop {
            let lines =
                if self.servers + self.hubs < kills { self.chance.random_range(LINES) } else { usize::MAX };
            for _ in 0..lines {
                let line = self.log.next();
                self.hear(&line);
                if self.over {
                    break 'lives;
                }
            }
            if self.chance.random_bool(0.5) {
                self.kill_the_server();
            } else {
                self.kill_a_hub();
            }
        }
        let made = self.ends();
        let told = self.told();
        let Self { evidence, aborted, servers, hubs, .. } = self;
        Ended { made, evidence, aborted, servers, hubs, told }
    }

    fn hear(&mut self, line: &str) {
        let heard = self.evidence.hear(line);
        if let Err(why) = heard {
            panic!("{why}; {}", self.told());
        }
        self.aborted += usize::from(line.contains(" round closed ") && line.contains("outcome=\"aborted"));
        self.over |= line.starts_with("server: ") && line.contains("the federation is over");
    }

    /// Lets the victim write a little more, so that a kill falls between two writes of one step, too.
    fn after_some_writes(&mut self, victim: u32) {
        let writes = self.chance.random_range(WRITES);
        let until = writes_of(victim).map(|made| made + writes);
        for _ in 0..LOOKS {
            if writes_of(victim) >= until {
                break;
            }
        }
    }

    fn kill_the_server(&mut self) {
        self.after_some_writes(self.server.id());
        self.server.kill_it();
        self.servers += 1;
        for line in self.log.rest() {
            self.hear(&line);
        }
        self.look_at_the_dead_server();
        self.server = self.suite.place.serve_hearing(&self.log, |line| {
            // What hubs said meanwhile.
            if let Err(why) = self.evidence.hear(line) {
                panic!("{why}; {}, federation {}", self.suite.name, self.seed);
            }
        });
        // They know that it is over, and a server that starts again wants to tell them.
        for (name, process) in self.names.iter().zip(&mut self.running) {
            if process.has_ended() {
                *process = self.log.start(name, &mut hub(&self.suite.place, name));
            }
        }
    }

    /// What the commands of an operator say of its disk.
    fn look_at_the_dead_server(&mut self) {
        let place = &self.suite.place;
        let status = place.status();
        let release = status["release"].as_u64().unwrap_or(0);
        let announced = self.evidence.releases.last_key_value();
        let newest = announced.map_or(0, |(version, _)| *version);
        assert!(release >= newest, "release {newest} was announced, {release} is there; {}", self.told());
        assert_eq!(status["clients"].as_array().map(Vec::len), Some(PEOPLE), "{}", self.told());
        if let Some((version, digest)) = announced {
            assert!(
                exported(place, *version).starts_with(digest.as_str()),
                "release {version}; {}",
                self.told()
            );
        }
        if self.suite.private {
            let text = good(&mut place.admin(&[
                "privacy",
                "status",
                "--json",
                "--delta",
                "0.01",
                "--epsilon",
                &EPSILON.to_string(),
            ]));
            let balance: Value = serde_json::from_str(&text).expect("JSON");
            let count = |key: &str| balance[key].as_u64().expect("a number of rounds");
            let (spent, reserved) = (count("spent"), count("reserved"));
            assert!(balance["epsilon"].as_f64().is_some_and(|epsilon| epsilon <= EPSILON), "{balance}");
            assert!(spent >= self.spent, "what was spent came back: {balance}; {}", self.told());
            // Every release once, and what may have been told of rounds that came to nothing.
            let aborted = self.aborted as u64;
            assert!((release..=release + aborted).contains(&spent), "{balance}; {}", self.told());
            assert!(reserved <= 1 + aborted, "{balance}; {}", self.told());
            self.spent = spent;
        }
    }

    fn kill_a_hub(&mut self) {
        let one = self.chance.random_range(0..self.names.len());
        if self.running[one].has_ended() {
            return;
        }
        self.after_some_writes(self.running[one].id());
        self.running[one].kill_it();
        self.hubs += 1;
        let place = &self.suite.place;
        let name = &self.names[one];
        for kept in ["secrets", "memory", "update"] {
            let path = place.hub(name).join(kept);
            assert!(is_whole(&path), "{}; {}", path.display(), self.told());
            assert!(!path.with_extension("damaged").exists(), "{}", path.display());
        }
        self.running[one] = self.log.start(name, &mut hub(place, name));
    }

    /// Lets everybody end; the digests of all releases.
    fn ends(&mut self) -> BTreeMap<u64, String> {
        let log = &self.log;
        while !self.running.iter_mut().all(Process::has_ended) {
            assert!(!log.quiet(), "nothing happens any more; {}", self.told());
            // It takes a hub that was killed at the very end for one that knows. Whoever starts again wants to hear it.
            if self.server.has_ended() {
                self.server = self.suite.place.serve(log);
            }
        }
        self.running.drain(..).for_each(|hub| hub.done(log));
        self.server.ends(log);
        let place = &self.suite.place;
        let status = place.status();
        assert_eq!(status["release"], ROUNDS, "{status:#}; {}", self.told());
        let made: BTreeMap<u64, String> =
            (1..=ROUNDS).map(|version| (version, exported(place, version))).collect();
        for (version, digest) in &self.evidence.releases {
            assert!(made[version].starts_with(digest.as_str()), "release {version}; {}", self.told());
        }
        // On the last release, unless the hub was away when that was evaluated.
        for name in &self.names {
            let path = place.hub(name).join("report").join(format!("{name}.json"));
            let text = std::fs::read_to_string(path).expect("a report");
            let report: Value = serde_json::from_str(&text).expect("JSON");
            let version = report["model"]["version"].as_u64();
            assert!(
                version.is_some_and(|version| (1..=ROUNDS).contains(&version)),
                "{report}; {}",
                self.told()
            );
        }
        made
    }
}

/// What is left of a federation.
struct Ended {
    made: BTreeMap<u64, String>,
    evidence: Evidence,
    aborted: usize,
    servers: usize,
    hubs: usize,
    told: String,
}

fn hub(place: &Place, name: &str) -> std::process::Command {
    let mut command = place.running(name);
    command.env("RUST_LOG", "info,somnus_client=debug");
    command
}

/// What the processes said that must not contradict itself.
#[derive(Default)]
struct Evidence {
    /// The beginnings of the digests of the releases that were announced, by version.
    releases: BTreeMap<u64, String>,
    /// For each hub, keys of a round, and step: the one way in which it happens.
    bound: BTreeMap<[String; 3], String>,
}

impl Evidence {
    fn hear(&mut self, line: &str) -> Result<(), String> {
        let (who, line) = line.split_once(": ").unwrap_or_default();
        let (map_says, now) = if who == "server" && line.contains(" released version=") {
            let version = field(line, "version").parse().map_err(|_| format!("no version: {line}"))?;
            let digest = field(line, "sha256").to_owned();
            (self.releases.entry(version).or_insert(digest.clone()).clone(), digest)
        } else if line.contains(" bound ") {
            let key = [who, field(line, "keys"), field(line, "step")].map(str::to_owned);
            let way = field(line, "way").to_owned();
            (self.bound.entry(key).or_insert(way.clone()).clone(), way)
        } else {
            return Ok(());
        };
        if map_says == now && !now.is_empty() {
            Ok(())
        } else {
            Err(format!("{map_says} before, now: {line}"))
        }
    }

    fn masks(&self) -> usize {
        self.bound.keys().filter(|[_, _, step]| step == "masked update").count()
    }
}

/// The value of a field in a line of the log, without its quotes.
fn field<'a>(line: &'a str, name: &str) -> &'a str {
    let rest = line.split_once(&format!(" {name}=")).map_or("", |(_, rest)| rest);
    match rest.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next().unwrap_or_default(),
        None => rest.split(' ').next().unwrap_or_default(),
    }
}

/// System calls by which a process has written, of files and standard output, as Linux counts them.
fn writes_of(process: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/io")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("syscw: "))?.parse().ok()
}

/// The digest of a release that an operator's command writes, computed from its weights.
fn exported(place: &Place, version: u64) -> String {
    let out = place.path("exported.safetensors");
    good(place.admin(&["export", "--version", &version.to_string()]).arg("--out").arg(&out));
    let checkpoint = Checkpoint::from_bytes(&std::fs::read(out).expect("a file")).expect("a checkpoint");
    checkpoint.manifest.provenance["release-sha256"].clone()
}

/// Whether what a hub keeps is absent, or is as it was written (`client/src/kept.rs`).
fn is_whole(path: &Path) -> bool {
    let Ok(bytes) = std::fs::read(path) else { return true };
    let Some((head, rest)) = bytes.split_at_checked(8) else { return false };
    let Some((sum, content)) = rest.split_at_checked(32) else { return false };
    head.starts_with(b"somnus") && Digest::of(&[head, content].concat()).as_bytes() == sum
}

#[test]
fn the_evidence_would_tell() {
    let mut evidence = Evidence::default();
    let bound = |hub: &str, way: &str| {
        format!("{hub}: 2026-11-20T00:00:00Z DEBUG bound round=3 keys=aa step=\"masked update\" way={way}")
    };
    let released = |digest: &str| {
        format!("server: 2026-11-20T00:00:00Z  INFO released version=1 bytes=9 sha256={digest}")
    };
    for line in [bound("ann", "01"), bound("ann", "01"), bound("bob", "02"), released("03"), released("03")] {
        assert_eq!(evidence.hear(&line), Ok(()));
    }
    assert_eq!((evidence.masks(), evidence.releases.len()), (2, 1));
    for line in [bound("ann", "02"), released("04"), released("")] {
        assert!(evidence.hear(&line).is_err(), "{line}");
    }
}
