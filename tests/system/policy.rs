//! The walls of the house: which crate may name which dependency, and under which licences we build.
//!
//! This is the part of `cargo deny check` that needs no network, read from the same `deny.toml`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline", "--locked"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo writes JSON")
}

fn deny() -> toml::Table {
    std::fs::read_to_string(root().join("deny.toml")).expect("deny.toml").parse().expect("deny.toml is TOML")
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// Package id to package.
fn packages(metadata: &Value) -> BTreeMap<&str, &Value> {
    metadata["packages"]
        .as_array()
        .expect("packages")
        .iter()
        .map(|package| (text(package, "id"), package))
        .collect()
}

/// Names of the packages that `member` builds with, itself excluded; normal and build dependencies only.
fn closure<'a>(metadata: &'a Value, member: &str) -> BTreeSet<&'a str> {
    let packages = packages(metadata);
    let nodes: BTreeMap<&str, &Value> = metadata["resolve"]["nodes"]
        .as_array()
        .expect("nodes")
        .iter()
        .map(|node| (text(node, "id"), node))
        .collect();
    let start =
        packages.iter().find(|(_, p)| text(p, "name") == member).map(|(id, _)| *id).expect("a member");
    let mut seen = BTreeSet::from([start]);
    let mut todo = vec![start];
    while let Some(id) = todo.pop() {
        for dependency in nodes[id]["deps"].as_array().expect("deps") {
            let kinds = dependency["dep_kinds"].as_array().expect("kinds");
            let wanted = kinds.iter().any(|kind| kind["kind"].as_str() != Some("dev"));
            let id = text(dependency, "pkg");
            if wanted && seen.insert(id) {
                todo.push(id);
            }
        }
    }
    seen.remove(start);
    seen.into_iter().map(|id| text(packages[id], "name")).collect()
}

#[test]
fn the_core_links_no_io_and_the_server_links_no_burn() {
    let metadata = metadata();
    let rules: [(&str, &[&str]); 4] = [
        ("somnus-protocol", &["tokio", "quinn", "rustls", "sled", "burn", "mio"]),
        ("somnus-signals", &["tokio", "quinn", "sled", "burn"]),
        ("somnus-report", &["tokio", "quinn", "sled", "burn"]),
        ("somnus-server", &["burn", "burn-core", "somnus-model", "somnus-signals"]),
    ];
    for (member, forbidden) in rules {
        let used = closure(&metadata, member);
        for name in forbidden {
            assert!(!used.contains(name), "{member} depends on {name}");
        }
    }
}

#[test]
fn only_the_named_crates_depend_on_the_weak_ones() {
    let metadata = metadata();
    let bans = deny()["bans"]["deny"].as_array().expect("a list").clone();
    let mut checked = 0;
    for ban in &bans {
        let name = ban["crate"].as_str().expect("a name");
        let Some(wrappers) = ban.get("wrappers").and_then(toml::Value::as_array) else {
            if !name.contains(':') {
                let present = packages(&metadata).values().any(|package| text(package, "name") == name);
                assert!(!present, "{name} is banned: {}", ban["reason"]);
                checked += 1;
            }
            continue;
        };
        for package in packages(&metadata).values() {
            let direct = package["dependencies"].as_array().expect("a list").iter();
            if direct.filter(|d| d["kind"].is_null()).any(|d| text(d, "name") == name) {
                let user = text(package, "name");
                let allowed = wrappers.iter().any(|w| w.as_str() == Some(user));
                let in_use = !user.starts_with("somnus-") || closure(&metadata, user).contains(name);
                assert!(
                    allowed || !in_use || !user.starts_with("somnus-"),
                    "{user} names {name}: {}",
                    ban["reason"]
                );
                checked += 1;
            }
        }
    }
    assert!(checked >= 5, "only {checked} bans could be checked");
}

#[test]
fn every_dependency_has_a_licence_that_we_allow() {
    let metadata = metadata();
    let config = deny();
    let allowed: BTreeSet<&str> = config["licenses"]["allow"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(toml::Value::as_str)
        .collect();
    let clarified: BTreeMap<&str, &str> = config["licenses"]["clarify"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|entry| Some((entry["crate"].as_str()?, entry["expression"].as_str()?)))
        .collect();
    let packages = packages(&metadata);
    let mut used = BTreeSet::new();
    for member in ["somnus-server", "somnus-client", "somnus-sim"] {
        used.extend(closure(&metadata, member));
    }
    for package in packages.values().filter(|package| used.contains(text(package, "name"))) {
        let licence = clarified.get(text(package, "name")).copied().unwrap_or(text(package, "license"));
        // An SPDX expression without nested parentheses: alternatives of conjunctions, old files with slashes.
        let expression = licence.replace('/', " OR ").replace(['(', ')'], "");
        let fits = expression
            .split(" OR ")
            .any(|option| option.split(" AND ").all(|one| allowed.contains(one.trim())));
        assert!(fits, "{} is under {licence:?}, which deny.toml does not allow", text(package, "name"));
    }
}

#[test]
fn a_package_that_is_weak_is_named_in_one_file() {
    let rules = [("bincode", "common/protocol/src/wire.rs"), ("sled", "server/src/store")];
    for (name, place) in rules {
        let mut named = Vec::new();
        for file in sources(&root()) {
            let code = std::fs::read_to_string(&file).expect("a source file");
            if code.contains(&format!("{name}::")) {
                let file = file.canonicalize().expect("a path");
                named.push(
                    file.strip_prefix(root().canonicalize().expect("the root")).expect("inside").to_owned(),
                );
            }
        }
        let outside: Vec<_> =
            named.iter().filter(|file| !file.to_string_lossy().starts_with(place)).collect();
        assert!(outside.is_empty(), "{name} is named in {outside:?}, not only in {place}");
        assert_eq!(named.len(), 1, "{name} is named in {named:?}");
    }
}

/// The Rust sources of the members, without tests and build output.
fn sources(root: &std::path::Path) -> Vec<PathBuf> {
    let mut todo: Vec<PathBuf> =
        ["common", "server", "client", "simulations"].map(|dir| root.join(dir)).to_vec();
    let mut found = Vec::new();
    while let Some(path) = todo.pop() {
        for entry in std::fs::read_dir(path).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            if entry.is_dir() {
                todo.push(entry);
            } else if entry.extension().is_some_and(|e| e == "rs") {
                found.push(entry);
            }
        }
    }
    found
}

/// Every dependency with its features, as cargo would build them along `edges`.
fn features(edges: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--workspace",
            "--prefix",
            "none",
            "-f",
            "{p} {f}",
            "-e",
            edges,
            "--offline",
            "--locked",
        ])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().map(|line| line.trim_end_matches(" (*)").to_owned()).collect()
}

/// Else the tensor engine is built twice, which takes longer than all tests: see `[dependencies]` of this crate.
#[test]
fn tests_and_binaries_are_built_from_the_same_dependencies() {
    let (binaries, tests) = (features("normal,build"), features("normal,build,dev"));
    let otherwise: Vec<&String> = binaries.difference(&tests).collect();
    assert!(otherwise.is_empty(), "tests add features to: {otherwise:?}");
}
