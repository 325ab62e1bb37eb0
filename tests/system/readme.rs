//! What the README's first page tells people to type works as it stands there.

use std::path::Path;
use std::process::Command;

use crate::harness::program;

/// The indented lines after a marker.
fn block(marker: &str) -> String {
    let readme =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).expect("README.md");
    let (_, rest) =
        readme.split_once(&format!("<!-- {marker} -->\n")).unwrap_or_else(|| panic!("no <!-- {marker} -->"));
    let lines: Vec<&str> = rest.lines().map_while(|line| line.strip_prefix("    ")).collect();
    assert!(!lines.is_empty(), "nothing after <!-- {marker} -->");
    lines.join("\n")
}

#[test]
fn the_federation_of_real_processes_works_as_written() {
    let folder = tempfile::tempdir().expect("a folder");
    // The binaries are built already; everything else is as written, but for the port, which may be taken here.
    let port = std::net::UdpSocket::bind("127.0.0.1:0").and_then(|s| s.local_addr()).expect("a port").port();
    let script =
        block("processes").replace("cargo build --release", "true").replace("4433", &port.to_string());
    let binaries = Path::new(program("somnus-sim").get_program()).parent().expect("a folder").to_owned();
    std::os::unix::fs::symlink(binaries.parent().expect("a target folder"), folder.path().join("target"))
        .expect("a link");
    let output = Command::new("bash")
        .args(["-e", "-c", &script])
        .current_dir(folder.path())
        .output()
        .expect("bash runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    let hubs: Vec<_> = std::fs::read_dir(folder.path().join("hubs")).expect("hubs").flatten().collect();
    assert_eq!(hubs.len(), 8);
    for hub in hubs {
        let name = hub.file_name().into_string().expect("a name");
        assert!(hub.path().join(format!("report/{name}.html")).exists(), "{name} has no report: {told}");
    }
    let mut export = program("somnus-server");
    export.args(["export", "--dir", "fed", "--out", "release.safetensors"]).current_dir(folder.path());
    assert!(export.status().expect("it runs").success());
    assert!(folder.path().join("release.safetensors").exists());
}
