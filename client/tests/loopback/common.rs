//! A world on loopback: one real server in this process, hubs with a trainer that only adds, and a clock to turn.
#![allow(missing_docs, unreachable_pub)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use somnus_client::config::{Backoff, ClientConfig};
use somnus_client::enrol::{EnrolError, enrol};
use somnus_client::hands::{About, Hands};
use somnus_client::hub::{Ending, Hub, HubError};
use somnus_client::identity::{Folder, Membership};
use somnus_client::limits::{Machine, Watch};
use somnus_client::link::Pace;
use somnus_protocol::checkpoint::{Checkpoint, FORMAT, Manifest, Tensor};
use somnus_protocol::ids::ClientId;
use somnus_protocol::plan::TrainableSet;
use somnus_protocol::trainer::{EvaluateTask, LocalEvaluation, LocalUpdate, TrainError, TrainTask, Trainer};
use somnus_report::{ClientReport, ClientResult, ModelInfo, NightOptions, NightResult, Staging};
use somnus_server::admin::{AdminReply, AdminRequest, execute};
use somnus_server::clock::WallClock;
use somnus_server::driver::{self, Options, Server};
use somnus_server::error::StoreError;
use somnus_server::federation::{Federation, Founding, OpenError};
use somnus_server::live::Live;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// No step of any test may take longer; a test that hangs fails.
pub const LIVENESS: Duration = Duration::from_secs(60);
pub const PACE: Pace = Pace { keep_alive: Duration::from_millis(500), idle: Duration::from_secs(10) };

pub struct World {
    pub dir: tempfile::TempDir,
    clock: Arc<AtomicU64>,
    port: u16,
}

pub struct Running {
    pub federation: Arc<Federation>,
    pub live: Arc<Live>,
    pub address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<driver::Ending, driver::ServeError>>,
}

impl World {
    /// A federation in `dir/fed` whose server.toml ends with `rounds`, keys of `[federation]`.
    pub fn new(rounds: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        // A port that is free now; the test's server takes it, and takes it again after a restart.
        let port = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let world = Self { dir, clock: Arc::new(AtomicU64::new(now)), port };
        let model = world.dir.path().join("model.safetensors");
        std::fs::write(&model, model_bytes()).unwrap();
        world.found("fed", &model);
        let path = world.dir.path().join("fed/server.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        let text = text.replace("\n[federation.plan]", &format!("\n{rounds}\n[federation.plan]"));
        std::fs::write(path, text).unwrap();
        world
    }

    /// Makes another federation beside the first.
    pub fn found(&self, name: &str, model: &Path) {
        let founding = Founding {
            name: name.into(),
            listen: format!("127.0.0.1:{}", self.port).parse().unwrap(),
            public: Vec::new(),
            model: Some(model.to_owned()),
            plain: true,
        };
        Federation::create(&self.dir.path().join(name), &founding, &self.clock()).unwrap();
    }

    pub fn clock(&self) -> WallClock {
        let clock = Arc::clone(&self.clock);
        WallClock::from_fn(move || clock.load(Ordering::SeqCst))
    }

    pub fn later(&self, seconds: u64) {
        self.clock.fetch_add(seconds, Ordering::SeqCst);
    }

    pub fn earlier(&self, seconds: u64) {
        self.clock.fetch_sub(seconds, Ordering::SeqCst);
    }

    /// Opens a federation; a server of this process that has just ended may still be letting go of the store.
    pub fn open(&self, name: &str) -> Federation {
        let began = Instant::now();
        loop {
            match Federation::open(&self.dir.path().join(name), self.clock()) {
                Ok(federation) => return federation,
                Err(OpenError::Store(StoreError::Busy { .. })) if began.elapsed() < LIVENESS => {
                    std::thread::yield_now();
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    pub fn serve(&self) -> Running {
        self.serve_named("fed", false)
    }

    pub fn serve_named(&self, name: &str, until_finished: bool) -> Running {
        let server = Server::start(self.open(name), Options { seed: None, until_finished }).unwrap();
        let (federation, live, address) = (server.federation(), server.live(), server.listening());
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(server.run(async {
            let _ = stopped.await;
        }));
        Running { federation, live, address, stop, task }
    }

    pub fn hub(&self, name: &str) -> PathBuf {
        self.dir.path().join("hubs").join(name)
    }

    pub async fn enrol(&self, name: &str, token: &str) -> Result<Membership, EnrolError> {
        let folder = Folder::open(&self.hub(name)).unwrap();
        tokio::time::timeout(LIVENESS, enrol(&folder, token, PACE)).await.expect("enrolment hangs")
    }

    /// A hub that takes part until the federation is complete or something is final.
    pub fn run(&self, name: &str) -> JoinHandle<Result<Ending, HubError>> {
        self.run_with(name, Arc::new(Adder))
    }

    /// The same with another trainer.
    pub fn run_with(&self, name: &str, hands: Arc<dyn Hands>) -> JoinHandle<Result<Ending, HubError>> {
        self.run_within(name, hands, "")
    }

    /// What plays the machine of a hub: a folder for its sensors' files.
    pub fn machine(&self, name: &str) -> Machine {
        let sys = self.dir.path().join("machines").join(name);
        Machine { proc: sys.clone(), sys, ..Machine::default() }
    }

    /// The same with limits.
    pub fn run_within(
        &self,
        name: &str,
        hands: Arc<dyn Hands>,
        limits: &str,
    ) -> JoinHandle<Result<Ending, HubError>> {
        let folder = self.hub(name);
        let membership = Membership::load(&folder).unwrap();
        let text = format!("danger_plain_aggregation = true\n[limits]\n{limits}");
        let mut config = ClientConfig::parse(&text).unwrap();
        let watch = Watch::new(&config.limits, &self.machine(name)).looking_every(Duration::from_millis(20));
        config.pace = PACE;
        config.backoff = Backoff { first: Duration::from_millis(20), longest: Duration::from_millis(200) };
        tokio::spawn(async move {
            // A hub that ran here before may still be letting go of its folder.
            until(|| Folder::open(&folder).is_ok()).await;
            let folder = Arc::new(Folder::open(&folder).unwrap());
            let hub = Hub { folder, config, membership, hands, watch, until_finished: true };
            tokio::time::timeout(LIVENESS, hub.run(std::future::pending())).await.expect("the hub hangs")
        })
    }
}

impl Running {
    pub fn invite(&self, name: &str) -> String {
        let request = AdminRequest::Invite { name: id(name), life: 3600 };
        match execute(&self.federation, Some(&self.live), request) {
            AdminReply::Invited { token } => token,
            other => panic!("{other:?}"),
        }
    }

    pub fn revoke(&self, name: &str) {
        let request = AdminRequest::Revoke { name: id(name) };
        assert_eq!(execute(&self.federation, Some(&self.live), request), AdminReply::Revoked);
    }

    pub async fn stop(self) -> driver::Ending {
        let Self { federation, live, stop, task, .. } = self;
        drop((federation, live));
        let _ = stop.send(());
        tokio::time::timeout(LIVENESS, task).await.expect("the server hangs").unwrap().unwrap()
    }

    /// Waits for a server that ends by itself.
    pub async fn ended(self) -> driver::Ending {
        let Self { federation, live, stop, task, .. } = self;
        drop((federation, live));
        let ending = tokio::time::timeout(LIVENESS, task).await.expect("the server hangs");
        drop(stop);
        ending.unwrap().unwrap()
    }

    /// The reasons for refusals in the audit log.
    pub fn refusals(&self) -> Vec<String> {
        let entries = self.federation.audit.tail(1000).unwrap();
        let texts = entries.iter().map(|entry| format!("{:?}", entry.event));
        texts.filter(|text| text.starts_with("Refused")).collect()
    }
}

pub fn id(name: &str) -> ClientId {
    name.parse().unwrap()
}

/// 200,000 weights: a release of several chunks.
pub const WEIGHTS: usize = 200_000;

pub fn model_bytes() -> Vec<u8> {
    let tensor = Tensor { shape: vec![WEIGHTS], values: vec![0.0; WEIGHTS] };
    let manifest = Manifest {
        format: FORMAT,
        name: "adder".into(),
        architecture: serde_json::Value::Null,
        licence: "MIT OR Apache-2.0".into(),
        provenance: BTreeMap::new(),
        trainable: BTreeMap::from([(TrainableSet::Full, vec!["w".to_owned()])]),
        embedding: None,
    };
    Checkpoint { manifest, tensors: BTreeMap::from([("w".to_owned(), tensor)]) }.to_bytes().unwrap()
}

/// Its update is one everywhere, so release n is n everywhere, whoever took part. It remembers a 7 for each that counted.
pub struct Adder;

impl Trainer for Adder {
    fn train(&self, task: &TrainTask) -> Result<LocalUpdate, TrainError> {
        let delta = vec![1.0; task.weights.len() / 4];
        let memory = Some([task.memory.as_deref().unwrap_or_default(), &[7]].concat().into());
        Ok(LocalUpdate { delta, examples: 10, loss: 0.5, memory, ..LocalUpdate::default() })
    }

    fn evaluate(&self, _: &EvaluateTask) -> Result<LocalEvaluation, TrainError> {
        Ok(LocalEvaluation { classes: 2, confusion: vec![5, 1, 2, 4] })
    }
}

impl Hands for Adder {
    fn report(&self, task: &EvaluateTask, about: &About) -> Result<ClientReport, TrainError> {
        let (staging, options) = (Staging::sleep_wake(), NightOptions::default());
        let codes = vec![Some(0), Some(1), Some(1)];
        let night = NightResult::new("n", codes.clone(), codes, &staging, options);
        let client = ClientResult::from_nights(about.client.as_str(), "trained", vec![night], &staging);
        let client = client.map_err(|error| TrainError(error.to_string()))?;
        let model = ModelInfo { name: "adder".into(), version: task.version.0, digest: None };
        Ok(ClientReport::new(&about.federation, "sleep-wake", model, staging, options, client))
    }
}

/// Its training panics.
pub struct Panics;

impl Trainer for Panics {
    fn train(&self, _: &TrainTask) -> Result<LocalUpdate, TrainError> {
        panic!("a bug in the engine")
    }

    fn evaluate(&self, task: &EvaluateTask) -> Result<LocalEvaluation, TrainError> {
        Adder.evaluate(task)
    }
}

impl Hands for Panics {
    fn report(&self, task: &EvaluateTask, about: &About) -> Result<ClientReport, TrainError> {
        Adder.report(task, about)
    }
}

/// Waits for something that another task brings about.
pub async fn until(done: impl Fn() -> bool) {
    let waiting = async {
        while !done() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIVENESS, waiting).await.expect("it never happens");
}
