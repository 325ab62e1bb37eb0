//! Real processes in a folder of their own, and the lines that they print.

use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// Longer than anything here takes on a slow and busy machine; reached only by a process that hangs.
const LIVENESS: Duration = Duration::from_secs(240);

/// Where the binaries are, if they need not be built: in a test that runs itself again, or for binaries from elsewhere.
pub(crate) const BINARIES: &str = "SOMNUS_BINARIES";

/// The binaries of this workspace, built once.
pub(crate) fn binaries() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        if let Some(folder) = std::env::var_os(BINARIES) {
            return folder.into();
        }
        // This test runs from <target>/<profile>/deps.
        let test = std::env::current_exe().expect("a path");
        let profile = test.parent().and_then(Path::parent).expect("deps lies in the profile's folder");
        let mut build = builder(env!("CARGO"));
        // The whole workspace and what needs its dev-dependencies, as the tests were built and as a release is: with less,
        // dependencies have other features, and are built again.
        build.args(["build", "--offline", "--locked", "--workspace", "--bins", "--examples"]);
        if profile.ends_with("release") {
            build.arg("--release");
        }
        build.arg("--target-dir").arg(profile.parent().expect("a target folder"));
        let built = build.current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("cargo runs");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        profile.to_owned()
    })
}

/// A command that builds, and hears nothing of the package that is tested: build scripts that look at such variables would run
/// again, and everything above them would be built again.
pub(crate) fn builder(program: &str) -> Command {
    let mut command = Command::new(program);
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let ours = |name: &String| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    names.filter(ours).for_each(|name| _ = command.env_remove(name));
    command
}

/// The folder that everything is built in.
pub(crate) fn target() -> &'static Path {
    binaries().parent().expect("a target folder")
}

pub(crate) fn program(name: &str) -> Command {
    let mut command = Command::new(binaries().join(name));
    command.env("RUST_LOG", "info").env("RAYON_NUM_THREADS", "1").stdin(Stdio::null());
    command
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command) -> Output {
    command.output().expect("the program starts")
}

/// Runs a command that must succeed; its standard output.
pub(crate) fn good(command: &mut Command) -> String {
    let output = run(command);
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

/// Runs a command that must fail; the one line that it says.
pub(crate) fn bad(command: &mut Command) -> String {
    let output = run(command);
    assert!(!output.status.success(), "{command:?} succeeded: {}", String::from_utf8_lossy(&output.stdout));
    let text = String::from_utf8(output.stderr).expect("text");
    let errors: Vec<&str> = text.lines().filter(|line| line.starts_with("somnus-")).collect();
    assert_eq!(errors.len(), 1, "one line says what is wrong: {text}");
    errors[0].to_owned()
}

/// A process whose lines go to a shared log.
pub(crate) struct Process {
    child: Child,
    name: String,
    readers: Vec<JoinHandle<()>>,
}

impl Process {
    /// SIGKILL, as by `kill -9`.
    pub(crate) fn kill(mut self) {
        self.kill_it();
    }

    /// The same; what it had said is in the log then.
    pub(crate) fn kill_it(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it is gone");
        self.readers.drain(..).for_each(|reader| reader.join().expect("a reader does not panic"));
    }

    /// Waits for its end, which must be a good one, while the log is read.
    pub(crate) fn done(mut self, log: &Log) {
        self.ends(log);
    }

    /// The same.
    pub(crate) fn ends(&mut self, log: &Log) {
        while !self.has_ended() {
            if log.quiet() {
                panic!("{} does not end; so far:\n{}", self.name, log.seen().join("\n"));
            }
        }
        let status = self.child.wait().expect("it ends");
        assert!(status.success(), "{} ended with {status}:\n{}", self.name, log.seen().join("\n"));
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("its state").is_some()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What all processes of a test print, in order of arrival.
pub(crate) struct Log {
    lines: Receiver<String>,
    sender: Sender<String>,
    seen: Mutex<Vec<String>>,
    last: Mutex<Instant>,
}

impl Log {
    pub(crate) fn new() -> Self {
        let (sender, lines) = channel();
        Self { lines, sender, seen: Mutex::default(), last: Mutex::new(Instant::now()) }
    }

    /// Starts a process whose lines are logged as `NAME: LINE`.
    pub(crate) fn start(&self, name: &str, command: &mut Command) -> Process {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let streams: [Box<dyn std::io::Read + Send>; 2] =
            [Box::new(child.stdout.take().expect("a pipe")), Box::new(child.stderr.take().expect("a pipe"))];
        let read = |stream: Box<dyn std::io::Read + Send>| {
            let (sender, name) = (self.sender.clone(), name.to_owned());
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    // A test that is over does not listen.
                    let _ = sender.send(format!("{name}: {line}"));
                }
            })
        };
        Process { child, name: name.to_owned(), readers: streams.into_iter().map(read).collect() }
    }

    /// Another one that speaks in this log.
    pub(crate) fn voice(&self, name: &str) -> Voice {
        Voice { name: name.to_owned(), sender: self.sender.clone() }
    }

    /// Whether nothing has happened for longer than anything here takes. Reads a line, or waits a moment for one.
    pub(crate) fn quiet(&self) -> bool {
        match self.lines.recv_timeout(Duration::from_millis(100)) {
            Ok(line) => {
                self.seen.lock().expect("no panic").push(line);
                *self.last.lock().expect("no panic") = Instant::now();
                false
            }
            Err(_) => self.last.lock().expect("no panic").elapsed() > LIVENESS,
        }
    }

    /// The next line, whoever printed it.
    pub(crate) fn next(&self) -> String {
        match self.lines.recv_timeout(LIVENESS) {
            Ok(line) => {
                self.seen.lock().expect("no panic").push(line.clone());
                *self.last.lock().expect("no panic") = Instant::now();
                line
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                panic!(
                    "nothing happens any more; so far:\n{}",
                    self.seen.lock().expect("no panic").join("\n")
                )
            }
        }
    }

    /// Waits for a line of `name` that contains `what`.
    pub(crate) fn until(&self, name: &str, what: &str) -> String {
        loop {
            let line = self.next();
            if line.starts_with(&format!("{name}: ")) && line.contains(what) {
                return line;
            }
        }
    }

    /// What is there to be read, without waiting for more.
    pub(crate) fn rest(&self) -> Vec<String> {
        let rest: Vec<String> = self.lines.try_iter().collect();
        self.seen.lock().expect("no panic").extend(rest.iter().cloned());
        rest
    }

    /// What has been read so far.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.lock().expect("no panic").clone()
    }
}

/// Says lines in a log.
pub(crate) struct Voice {
    name: String,
    sender: Sender<String>,
}

impl Voice {
    pub(crate) fn say(&self, line: &str) {
        // A test that is over does not listen.
        let _ = self.sender.send(format!("{}: {line}", self.name));
    }
}

/// A hub's configuration on a network that is never slow.
const BRISK: &str = "danger_plain_aggregation = true\n[network]\nkeep_alive_seconds = 0.5\nbackoff_seconds = 0.1\nlongest_backoff_seconds = 1.0\n";

/// A federation on disk: its server's folder, its hubs' folders, their nights.
pub(crate) struct Place {
    folder: TempDir,
    port: u16,
}

/// A network that trains in no time.
const SCENARIO: &str = "name = \"system\"\n[data]\nkind = \"synthetic\"\npeople = 8\n[net]\nwidth = 16\n\
                        dilations = [1, 4]\n[federation]\ndanger_plain_aggregation = true\n";

/// Lets the server see single updates.
pub(crate) const PLAIN: &str = "--danger-plain-aggregation";

impl Place {
    /// Makes a foundation, nights of `people`, and a federation with these lines in its `[federation]`. Its rounds are
    /// masked.
    pub(crate) fn new(people: usize, federation: &str) -> Self {
        Self::with_model(people, federation, SCENARIO, &[])
    }

    /// The same with plain rounds.
    pub(crate) fn plain(people: usize, federation: &str) -> Self {
        Self::with_model(people, federation, SCENARIO, &[PLAIN])
    }

    /// The same with the model of a scenario and more flags for `init`.
    pub(crate) fn with_model(people: usize, federation: &str, model: &str, flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let port = UdpSocket::bind("127.0.0.1:0").and_then(|s| s.local_addr()).expect("a port").port();
        let place = Self { folder, port };
        let scenario = place.path("scenario.toml");
        std::fs::write(&scenario, model).expect("written");
        good(
            program("somnus-sim")
                .arg("foundation")
                .arg("--out")
                .arg(place.path("model.safetensors"))
                .arg("--config")
                .arg(scenario),
        );
        let people = people.to_string();
        good(
            program("somnus-sim")
                .args(["synth", "--split", "--people", &people, "--out"])
                .arg(place.path("data")),
        );
        let address = format!("127.0.0.1:{port}");
        let model = place.path("model.safetensors");
        good(
            program("somnus-server")
                .args(["init", "--name", "system", "--listen", &address])
                .args(flags)
                .arg("--model")
                .arg(model)
                .arg(place.server()),
        );
        let path = place.server().join("server.toml");
        let text = std::fs::read_to_string(&path).expect("a configuration");
        let marked = text.replace("[federation]\n", &format!("[federation]\n{federation}\n"));
        assert_ne!(text, marked, "the default configuration has a [federation] table");
        std::fs::write(path, marked).expect("written");
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn server(&self) -> PathBuf {
        self.path("server")
    }

    pub(crate) fn hub(&self, name: &str) -> PathBuf {
        self.path("hubs").join(name)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Names of the people with nights, which are the names of the clients too.
    pub(crate) fn people(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.path("data")).expect("nights");
        let mut names: Vec<String> = entries
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"))
            .collect();
        names.sort();
        names
    }

    /// A server command on this federation.
    pub(crate) fn admin(&self, arguments: &[&str]) -> Command {
        let mut command = program("somnus-server");
        command.args(arguments).arg("--dir").arg(self.server());
        command
    }

    pub(crate) fn status(&self) -> Value {
        serde_json::from_str(&good(&mut self.admin(&["status", "--json"]))).expect("JSON")
    }

    pub(crate) fn invite(&self, name: &str) -> String {
        good(&mut self.admin(&["invite", name]))
    }

    pub(crate) fn enrolling(&self, name: &str, token: &str) -> Command {
        let mut command = program("somnus-client");
        command.args(["enrol", token, "--dir"]).arg(self.hub(name));
        command
    }

    /// Starts the server and waits until it listens.
    pub(crate) fn serve(&self, log: &Log) -> Process {
        self.serve_hearing(log, |_| {})
    }

    /// The same; `hear` gets every line until then.
    pub(crate) fn serve_hearing(&self, log: &Log, mut hear: impl FnMut(&str)) -> Process {
        let server = log.start("server", &mut self.admin(&["serve", "--until-finished"]));
        loop {
            let line = log.next();
            hear(&line);
            if line.starts_with("server: listening on") {
                return server;
            }
        }
    }

    /// Keeps a copy of the folders of the server and of all hubs, none of which may be running.
    pub(crate) fn keep_beginning(&self) {
        for name in STATE {
            copy(&self.path(name), &self.path(&format!("{name}.beginning")));
        }
    }

    /// Puts these copies back.
    pub(crate) fn back_to_beginning(&self) {
        for name in STATE {
            std::fs::remove_dir_all(self.path(name)).expect("a folder");
            copy(&self.path(&format!("{name}.beginning")), &self.path(name));
        }
    }

    pub(crate) fn enrol_everybody(&self) -> Vec<String> {
        let people = self.people();
        self.enrol(&people);
        people
    }

    pub(crate) fn enrol(&self, people: &[String]) {
        for name in people {
            self.prepare(name);
            let token = self.invite(name);
            good(&mut self.enrolling(name, &token));
        }
    }

    /// A folder for a hub that notices soon that its server is gone; the defaults are kinder to home routers.
    pub(crate) fn prepare(&self, name: &str) {
        std::fs::create_dir_all(self.hub(name)).expect("a folder");
        std::fs::write(self.hub(name).join("client.toml"), BRISK).expect("written");
    }

    /// The command of a hub with the nights of its namesake.
    pub(crate) fn running(&self, name: &str) -> Command {
        let mut command = program("somnus-client");
        command.args(["run", "--until-finished", "--data"]).arg(self.path("data").join(name));
        command.arg("--dir").arg(self.hub(name));
        command
    }
}

/// The folders that processes write to.
const STATE: [&str; 2] = ["server", "hubs"];

/// Copies a folder; what is empty in its files takes no space in the copy.
pub(crate) fn copy(from: &Path, to: &Path) {
    good(Command::new("cp").args(["-a", "--sparse=always"]).arg(from).arg(to));
}

/// Peak resident memory of a process that still runs, in MiB.
pub(crate) fn peak_mib(process: &Process) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024.0)
}
