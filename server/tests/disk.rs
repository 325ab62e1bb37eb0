//! The real binary on disks that refuse: one line names the disk and says why, and nothing that was promised is lost.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};

const BINARY: &str = env!("CARGO_BIN_EXE_somnus-server");
/// Nobody, on every Linux.
const NOBODY: u32 = 65534;

/// The one line that a command which failed has said.
fn complaint(output: &Output) -> String {
    assert!(!output.status.success(), "it succeeded: {}", String::from_utf8_lossy(&output.stdout));
    one_line(&String::from_utf8_lossy(&output.stderr))
}

fn one_line(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("somnus-server: ")).collect();
    assert_eq!(lines.len(), 1, "one line says what is wrong: {text}");
    assert!(!text.contains("panicked"), "{text}");
    lines[0].to_owned()
}

fn init(folder: &Path) -> Command {
    let mut command = Command::new(BINARY);
    command.args(["init", "--danger-plain-aggregation", "--public", "127.0.0.1:1"]).arg(folder);
    command
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let closed = dir.path().join("closed");
    fs::create_dir(&closed).unwrap();
    for (path, mode) in [(dir.path(), 0o755), (closed.as_path(), 0o555)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let mut command = init(&closed.join("fed"));
    // Root may write everywhere; then somebody else has to try.
    let omnipotent = fs::write(closed.join("probe"), "").is_ok();
    if omnipotent {
        command.uid(NOBODY).gid(NOBODY);
    }
    match command.output() {
        Err(error) if omnipotent => {
            println!(
                "SKIPPED a_folder_that_cannot_be_written_is_named: root cannot run it as nobody: {error}"
            );
        }
        output => {
            let line = complaint(&output.unwrap());
            assert!(line.ends_with("closed/fed: permission denied"), "{line}");
        }
    }
    // A place where not even root can make a folder.
    let line = complaint(&init(Path::new("/proc/somnus")).output().unwrap());
    assert!(line.starts_with("somnus-server: /proc/somnus: "), "{line}");
}

/// In a mount namespace of its own, so that neither root nor cleaning up is needed.
const FULL_DISK: &str = r#"
mount -t tmpfs -o size=3m somnus "$DISK" || { echo CANNOT MOUNT; exit 0; }
"$SERVER" init --danger-plain-aggregation --public 127.0.0.1:1 "$DISK/fed" > /dev/null || exit 1
for n in 1 2 3 4 5; do
    "$SERVER" invite "before-$n" --dir "$DISK/fed" > /dev/null || exit 1
done
cat /dev/zero > "$DISK/filler" 2> /dev/null
for n in 1 2 3; do
    "$SERVER" invite "full-$n" --dir "$DISK/fed" > /dev/null 2> "$OUT/full-$n" && exit 1
done
rm "$DISK/filler"
"$SERVER" invite after --dir "$DISK/fed" > /dev/null || exit 1
"$SERVER" status --json --dir "$DISK/fed" > "$OUT/status" || exit 1
"#;

#[test]
fn a_full_disk_is_called_that_and_nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, out) = (dir.path().join("disk"), dir.path().join("out"));
    fs::create_dir(&disk).unwrap();
    fs::create_dir(&out).unwrap();
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", FULL_DISK]);
    let ran = command.env("DISK", &disk).env("OUT", &out).env("SERVER", BINARY).output();
    let skipped = match &ran {
        Err(_) => true,
        Ok(ran) => {
            let said = [&ran.stdout[..], &ran.stderr[..]].concat();
            let said = String::from_utf8_lossy(&said);
            said.contains("CANNOT MOUNT") || said.contains("unshare: ")
        }
    };
    if skipped {
        println!(
            "SKIPPED a_full_disk_is_called_that_and_nothing_is_lost: no disk can be mounted here: {ran:?}"
        );
        return;
    }
    let ran = ran.unwrap();
    assert!(ran.status.success(), "{ran:?}");
    for complaint in ["full-1", "full-2", "full-3"] {
        let line = one_line(&fs::read_to_string(out.join(complaint)).unwrap());
        assert!(line.contains("disk/fed/store") && line.ends_with("the disk is full"), "{line}");
    }
    let status: serde_json::Value = serde_json::from_slice(&fs::read(out.join("status")).unwrap()).unwrap();
    let mut names: Vec<&str> =
        status["invitations"].as_array().unwrap().iter().map(|i| i["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["after", "before-1", "before-2", "before-3", "before-4", "before-5"]);
}
