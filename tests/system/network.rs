//! Rounds over networks as they are in homes: slow, lossy, cut off, renumbered. The real binaries, in namespaces of their own
//! where the kernel allows it, and between them a relay that is as bad as a test wants.
//!
//! Nothing is timed: a link changes after so many bytes or losses, or when somebody says something.

mod line;
mod relay;
mod site;

use std::process::Command;
use std::time::{Duration, Instant};

use line::Line;
use relay::{Relay, Tallies, What, When};
use site::Site;

use crate::harness::{Log, PLAIN, Place, Process, good};

/// Bytes of a part of a transfer; see the protocol's `CHUNK`.
const CHUNK: u64 = somnus_protocol::message::CHUNK as u64;

/// Bytes that QUIC and TLS add to a transfer of so many, with a handshake, acknowledgements and signs of life.
fn dressed(bytes: u64) -> u64 {
    bytes + bytes / 8 + 16 * 1024
}

/// What every round of these tests has.
const ROUND: &str = "rounds = 1\nselection_seconds = 0.5\npause_seconds = 0.5\ntraining_seconds = 120.0\nevaluation_seconds = 60.0\n";

/// A federation, its machines and the link between them.
struct Scene {
    place: Place,
    site: Site,
    relay: Relay,
    log: Log,
    server: Process,
    names: Vec<String>,
}

/// How a scene differs from the usual one.
struct Setting<'a> {
    people: usize,
    /// Of the network: an update has about 73 bytes for each unit of its square.
    width: usize,
    masked: bool,
    /// Replacements in the server's file.
    server: &'a [(&'a str, &'a str)],
    /// Of the hubs.
    keep_alive: f64,
    idle: f64,
}

/// One hub, whose updates may be seen, on a link that dies after 20 seconds.
const USUAL: Setting<'static> =
    Setting { people: 1, width: 32, masked: false, server: &[], keep_alive: 0.5, idle: 20.0 };

impl Scene {
    fn new(test: &str, site: Site, setting: &Setting<'_>) -> Self {
        let Setting { people, width, masked, .. } = *setting;
        let model = format!(
            "name = \"network\"\n[data]\nkind = \"synthetic\"\npeople = 8\n[net]\nwidth = {width}\n\
             dilations = [1, 4]\n[federation]\ndanger_plain_aggregation = true\n"
        );
        let federation =
            format!("{ROUND}cohort = {people}\nmin_clients = {people}\nmin_reports = {people}\n");
        let flags: &[&str] = if masked { &[] } else { &[PLAIN] };
        let place = Place::with_model(people, &federation, &model, flags);
        let log = Log::new();
        let server = (site.server(), place.port()).into();
        let relay = Relay::new(server, &site.outward(), seed_of(test), log.voice("relay"));
        let path = place.server().join("server.toml");
        let mut text = std::fs::read_to_string(&path).expect("a configuration");
        let (gate, listen) = (format!("{}:{}", site.gate(), relay.port()), server.to_string());
        let fixed = [
            (format!("listen = \"127.0.0.1:{}\"", place.port()), format!("listen = \"{listen}\"")),
            ("public = []".to_owned(), format!("public = [\"{gate}\"]")),
        ];
        let wanted = setting.server.iter().map(|(old, new)| ((*old).to_owned(), (*new).to_owned()));
        for (old, new) in fixed.into_iter().chain(wanted) {
            assert!(text.contains(&old), "server.toml does not say {old}");
            text = text.replace(&old, &new);
        }
        std::fs::write(path, text).expect("written");
        let serve = site.at_server(place.admin(&["serve", "--until-finished"]));
        let server = log.start("server", &mut { serve });
        log.until("server", "listening on");
        let names = place.people();
        for name in &names {
            std::fs::create_dir_all(place.hub(name)).expect("a folder");
            std::fs::write(place.hub(name).join("client.toml"), client(setting)).expect("written");
            good(&mut site.at_house(place.enrolling(name, &place.invite(name))));
        }
        Self { place, site, relay, log, server, names }
    }

    /// The first hub's name.
    fn hub(&self) -> &str {
        &self.names[0]
    }

    fn start_hubs(&self) -> Vec<Process> {
        let start = |name: &String| {
            let mut command: Command = self.place.running(name);
            command.env("RUST_LOG", "info,somnus_client=debug");
            self.log.start(name, &mut self.site.at_house(command))
        };
        self.names.iter().map(start).collect()
    }

    /// The federation is complete: its round was made at the first attempt, with everybody. What the relay has seen of it, and
    /// all lines.
    fn complete(self, hubs: Vec<Process>) -> (Tallies, Vec<String>) {
        let masked = self.is_masked();
        hubs.into_iter().for_each(|hub| hub.done(&self.log));
        self.server.done(&self.log);
        let lines = self.log.seen();
        let told = || lines.join("\n");
        let status = self.place.status();
        assert_eq!(status["release"], 1, "{status:#}\n{}", told());
        assert!(!lines.iter().any(|line| line.contains("Aborted")), "{}", told());
        let counted = said(&lines, "server", "update counted").len();
        assert_eq!(counted, self.names.len() * if masked { 2 } else { 1 }, "{}", told());
        (self.relay.tallies(), lines)
    }

    fn is_masked(&self) -> bool {
        let text = std::fs::read_to_string(self.place.server().join("server.toml")).expect("a file");
        text.contains("danger_plain_aggregation = false")
    }
}

fn client(setting: &Setting<'_>) -> String {
    let Setting { masked, keep_alive, idle, .. } = setting;
    format!(
        "danger_plain_aggregation = {}\n[network]\nkeep_alive_seconds = {keep_alive:?}\nidle_seconds = {idle:?}\n\
         backoff_seconds = 0.1\nlongest_backoff_seconds = 1.0\n",
        !masked
    )
}

/// The same for the same test.
fn seed_of(test: &str) -> u64 {
    test.bytes().fold(7, |seed, byte| seed * 31 % 1_000_003 + u64::from(byte))
}

/// Lines of `name` that contain `what`.
fn said<'a>(lines: &'a [String], name: &str, what: &str) -> Vec<&'a str> {
    let start = format!("{name}: ");
    let of = lines.iter().filter(|line| line.starts_with(&start) && line.contains(what));
    of.map(String::as_str).collect()
}

/// The number after `key=` in a line.
fn number(line: &str, key: &str) -> u64 {
    let rest = line.split(&format!("{key}=")).nth(1).unwrap_or_else(|| panic!("no {key} in {line}"));
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|_| panic!("{key} is no number in {line}"))
}

/// Nobody's connection broke.
fn assert_one_connection_each(names: &[String], lines: &[String]) {
    for name in names {
        assert_eq!(said(lines, name, "connected server=").len(), 1, "{}", lines.join("\n"));
        assert!(said(lines, name, "connecting again").is_empty(), "{}", lines.join("\n"));
    }
}

/// Bytes of the update, as the server has counted them.
fn update_bytes(lines: &[String]) -> u64 {
    number(said(lines, "server", "round closed")[0], "bytes_up")
}

#[test]
fn a_masked_round_completes_at_300_ms_with_5_percent_loss() {
    let test = "a_masked_round_completes_at_300_ms_with_5_percent_loss";
    let setting = Setting { people: 3, width: 16, masked: true, ..USUAL };
    let scene = Scene::new(test, Site::new(test), &setting);
    let bad = Line { latency: Duration::from_millis(300), loss: 0.05, hurry: 0.05, rate: None };
    scene.relay.link(bad, bad);
    let (hubs, names) = (scene.start_hubs(), scene.names.clone());
    let (tallies, lines) = scene.complete(hubs);
    assert!(tallies.up.losses > 0 && tallies.down.losses > 0, "{tallies:?}");
    assert_one_connection_each(&names, &lines);
}

#[test]
fn an_upload_at_64_kbit_survives_a_new_port_and_a_partition_without_saying_anything_twice() {
    let test = "an_upload_at_64_kbit_survives_a_new_port_and_a_partition_without_saying_anything_twice";
    let scene = Scene::new(test, Site::new(test), &USUAL);
    scene.relay.link(Line::slow(64.0), Line::slow(512.0));
    let hubs = scene.start_hubs();
    scene.log.until(scene.hub(), "trained");
    // From here on the hub has nothing to do but to upload.
    scene.relay.script(&[
        (When::Up(16 * 1024), What::Rebind),
        (When::Up(16 * 1024), What::Cut),
        (When::Lost(6), What::Heal),
    ]);
    let (before, names) = (scene.relay.tallies(), scene.names.clone());
    scene.log.until("relay", "Heal");
    let (after, lines) = scene.complete(hubs);
    assert_one_connection_each(&names, &lines);
    let update = update_bytes(&lines);
    let sent = after.up.carried - before.up.carried;
    println!("an update of {update} bytes took {sent} carried and {} lost", after.up.lost - before.up.lost);
    assert!(sent <= dressed(update), "{sent} bytes for an update of {update}");
}

#[test]
fn a_transfer_that_a_partition_ends_goes_on_where_it_was_acknowledged_both_ways() {
    let test = "a_transfer_that_a_partition_ends_goes_on_where_it_was_acknowledged_both_ways";
    let setting = Setting { width: 48, idle: 2.0, ..USUAL };
    let scene = Scene::new(test, Site::new(test), &setting);
    let (fast, hub) = (Line::slow(1024.0), scene.hub().to_owned());
    scene.relay.link(fast, fast);
    let handshake = 8 * 1024;
    scene.relay.script(&[(When::Down(handshake + 2 * CHUNK), What::Cut)]);
    let hubs = scene.start_hubs();
    scene.log.until(&hub, "connecting again");
    scene.relay.heal();
    scene.log.until(&hub, "trained");
    scene.relay.script(&[(When::Up(2 * CHUNK + CHUNK / 2), What::Cut)]);
    scene.log.until(&hub, "connecting again");
    let cut = scene.relay.tallies();
    scene.relay.heal();
    let (after, lines) = scene.complete(hubs);

    // Every byte of the model is on the hub's disk once: after the partition it asks for what it does not have.
    let breaks: Vec<usize> = lines
        .iter()
        .enumerate()
        .filter(|(_, line)| line.starts_with(&format!("{hub}: ")) && line.contains("connecting again"))
        .map(|(place, _)| place)
        .collect();
    assert_eq!(breaks.len(), 2, "{}", lines.join("\n"));
    let resumed = said(&lines[breaks[0]..], &hub, "asking for a chunk")[0];
    assert!(number(resumed, "offset") >= CHUNK, "{resumed}");
    // Every part that had arrived whole is not sent again.
    let uploads = said(&lines, &hub, "uploading");
    assert_eq!((uploads.len(), number(uploads[0], "offset")), (2, 0), "{uploads:?}");
    let (resumed, update) = (number(uploads[1], "offset"), update_bytes(&lines));
    assert!(resumed >= CHUNK && resumed.is_multiple_of(CHUNK), "{uploads:?}");
    for part in said(&lines[breaks[1]..], &hub, "sending a part") {
        assert!(number(part, "offset") >= resumed, "{part}");
    }
    let sent = after.up.carried - cut.up.carried;
    assert!(sent <= dressed(update - resumed), "{sent} bytes for {} of {update}", update - resumed);
}

#[test]
fn a_hub_whose_address_changes_in_mid_round_keeps_its_connection() {
    let test = "a_hub_whose_address_changes_in_mid_round_keeps_its_connection";
    let site = match Site::apart() {
        Ok(site) => site,
        Err(why) => return println!("SKIPPED {test}: {why}"),
    };
    let scene = Scene::new(test, site, &USUAL);
    scene.relay.link(Line::slow(256.0), Line::slow(256.0));
    // Once while it fetches, once while it uploads.
    scene.relay.script(&[(When::Down(40 * 1024), What::Tell)]);
    let hubs = scene.start_hubs();
    scene.log.until("relay", "Tell");
    scene.site.house().move_to(4);
    scene.log.until(scene.hub(), "trained");
    scene.relay.script(&[(When::Up(20 * 1024), What::Tell)]);
    scene.log.until("relay", "Tell");
    scene.site.house().move_to(5);
    let names = scene.names.clone();
    let (tallies, lines) = scene.complete(hubs);
    assert_one_connection_each(&names, &lines);
    assert!(tallies.flows > 3, "one to enrol, and one for each address: {tallies:?}");
}

#[test]
fn a_training_that_is_longer_than_every_timeout_keeps_its_connection() {
    let test = "a_training_that_is_longer_than_every_timeout_keeps_its_connection";
    let timeout = Duration::from_secs(5);
    // However fast the machine is.
    for steps in [8_000, 32_000, 100_000] {
        let steps = format!("steps = {steps}\n");
        let server = [
            ("# steps = 3\n", steps.as_str()),
            ("# idle_seconds = 60", "idle_seconds = 5"),
            ("# stall_seconds = 60.0", "stall_seconds = 5.0"),
        ];
        let scene =
            Scene::new(test, Site::new(test), &Setting { width: 16, server: &server, idle: 3.0, ..USUAL });
        let (hubs, names) = (scene.start_hubs(), scene.names.clone());
        scene.log.until(scene.hub(), "training");
        let began = Instant::now();
        scene.log.until(scene.hub(), "trained");
        let took = began.elapsed();
        let (_, lines) = scene.complete(hubs);
        assert_one_connection_each(&names, &lines);
        if took > timeout {
            return println!("{steps} took {took:.1?}");
        }
    }
    panic!("no training took {timeout:?}");
}
