//! One real server, eight real hubs, three rounds, eight reports.

use serde_json::{Value, json};

use crate::harness::{Log, PLAIN, Place, good, peak_mib};

const ROUNDS: &str = "rounds = 3\ncohort = 8\nmin_clients = 8\nmin_reports = 8\n";

fn read_json(path: &std::path::Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn eight_hubs_make_three_releases_and_eight_reports() {
    let place = Place::new(8, ROUNDS);
    let log = Log::new();
    let server = place.serve(&log);
    let names = place.enrol_everybody();
    assert_eq!(names.len(), 8);
    let hubs: Vec<_> = names.iter().map(|name| log.start(name, &mut place.running(name))).collect();
    log.until("server", "round opened");
    hubs.into_iter().for_each(|hub| hub.done(&log));
    server.done(&log);

    let status = place.status();
    assert_eq!(status["release"], 3, "{status:#}");
    let rounds = status["rounds"].as_array().expect("rounds");
    // Each round counts, under its masks, the release that it starts from; a last one does nothing else.
    assert_eq!(rounds.len(), 4);
    assert_eq!(rounds[0]["evaluated"], Value::Null, "nobody scores the foundation");
    for (version, round) in rounds.iter().enumerate().skip(1) {
        let evaluated = &round["evaluated"];
        assert_eq!((&evaluated["version"], &evaluated["clients"]), (&json!(version), &json!(8)), "{round:#}");
        assert!(evaluated["kappa"].is_number() && evaluated["accuracy"].is_number(), "{round:#}");
    }
    for name in &names {
        let report = place.hub(name).join("report");
        let html = std::fs::read_to_string(report.join(format!("{name}.html"))).expect("a page");
        assert!(html.contains("<svg") && html.contains(name.as_str()));
        let report = read_json(&report.join(format!("{name}.json")));
        assert_eq!(report["model"]["version"], 3, "{name}");
        let epochs = report["client"]["metrics"]["n"].as_u64().expect("a number of epochs");
        assert!(epochs > 100, "{name} was judged on {epochs} epochs");
    }

    // The release as a file that other tools can read: the foundation's tensors with the trained ones replaced.
    let out = place.path("release.safetensors");
    good(place.admin(&["export"]).arg("--out").arg(&out));
    let read =
        |path| somnus_protocol::checkpoint::Checkpoint::from_bytes(&std::fs::read(path).expect("a file"));
    let release = read(out).expect("a checkpoint");
    let foundation = read(place.path("model.safetensors")).expect("a checkpoint");
    assert_eq!(release.tensors.keys().collect::<Vec<_>>(), foundation.tensors.keys().collect::<Vec<_>>());
    assert_ne!(release.tensors, foundation.tensors);
}

/// The hub's budget is a Raspberry Pi's: one night, the default network, 64 MiB.
#[test]
fn a_client_trains_within_64_mib() {
    let place = Place::with_model(
        1,
        "rounds = 6\ncohort = 1\nmin_clients = 1\nmin_reports = 1\n",
        "name = \"memory\"\n[data]\nkind = \"synthetic\"\npeople = 1\n[federation]\ndanger_plain_aggregation = true\n",
        &[PLAIN],
    );
    let log = Log::new();
    let server = place.serve(&log);
    let name = place.enrol_everybody().remove(0);
    let hub = log.start(&name, &mut place.running(&name));
    let mut peak = 0.0f64;
    loop {
        let line = log.next();
        peak = peak.max(peak_mib(&hub).unwrap_or(0.0));
        if line.starts_with(&format!("{name}: finished")) {
            break;
        }
    }
    println!("peak resident memory of a training client: {peak:.1} MiB");
    assert!((1.0..64.0).contains(&peak), "{peak:.1} MiB");
    hub.done(&log);
    server.done(&log);
}
