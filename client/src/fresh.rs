//! Nights that came after the hub was started: before each piece of work, the folder is looked at again.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use somnus_protocol::trainer::{EvaluateTask, LocalEvaluation, LocalUpdate, TrainError, TrainTask, Trainer};
use somnus_report::ClientReport;
use somnus_signals::{Arrivals, Contents};
use tracing::{info, warn};

use crate::hands::{About, Hands};
use crate::training::NightsError;
use crate::work::lock;

/// Hands with the nights that their folder has now.
pub struct Fresh<H> {
    folder: PathBuf,
    load: Box<dyn Fn() -> Result<H, NightsError> + Send + Sync>,
    state: Mutex<State<H>>,
}

struct State<H> {
    arrivals: Arrivals,
    hands: Arc<H>,
}

impl<H: Hands> Fresh<H> {
    /// What `load` makes of `folder`, now and whenever something has come into it.
    ///
    /// # Errors
    /// [`NightsError`], of `load` or because the folder cannot be read.
    pub fn load(
        folder: &Path,
        load: impl Fn() -> Result<H, NightsError> + Send + Sync + 'static,
    ) -> Result<Self, NightsError> {
        // In this order: what comes while it is read is new.
        let arrivals = Arrivals::since(Contents::of(folder)?);
        let state = Mutex::new(State { arrivals, hands: Arc::new(load()?) });
        Ok(Self { folder: folder.to_owned(), load: Box::new(load), state })
    }

    fn hands(&self) -> Arc<H> {
        Arc::clone(&lock(&self.state).hands)
    }

    /// The hands for the next piece of work. What came and cannot be used changes nothing: the nights that were there still are.
    fn fresh(&self, now: SystemTime) -> Arc<H> {
        let folder = self.folder.display();
        let new = match Contents::of(&self.folder) {
            Ok(contents) => lock(&self.state).arrivals.call_for_reading(&contents, now),
            Err(error) => {
                warn!(%error, "the nights cannot be looked at");
                false
            }
        };
        if new {
            match (self.load)() {
                Ok(hands) => {
                    info!(%folder, "something new was found, and the nights were read again");
                    lock(&self.state).hands = Arc::new(hands);
                }
                Err(error) => {
                    warn!(%error, "something new was found and cannot be used; this hub goes on without");
                }
            }
        }
        self.hands()
    }
}

impl<H: Hands> Trainer for Fresh<H> {
    fn train(&self, task: &TrainTask) -> Result<LocalUpdate, TrainError> {
        self.fresh(SystemTime::now()).train(task)
    }

    /// On the nights of the report, which is written before it: both say the same.
    fn evaluate(&self, task: &EvaluateTask) -> Result<LocalEvaluation, TrainError> {
        self.hands().evaluate(task)
    }
}

impl<H: Hands> Hands for Fresh<H> {
    fn report(&self, task: &EvaluateTask, about: &About) -> Result<ClientReport, TrainError> {
        self.fresh(SystemTime::now()).report(task, about)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;

    /// Knows how many files there were.
    struct Counts(usize);

    impl Trainer for Counts {
        fn train(&self, _: &TrainTask) -> Result<LocalUpdate, TrainError> {
            Err(TrainError("not asked for".into()))
        }

        fn evaluate(&self, _: &EvaluateTask) -> Result<LocalEvaluation, TrainError> {
            Err(TrainError("not asked for".into()))
        }
    }

    impl Hands for Counts {
        fn report(&self, _: &EvaluateTask, _: &About) -> Result<ClientReport, TrainError> {
            Err(TrainError("not asked for".into()))
        }
    }

    #[test]
    fn a_night_that_came_is_used_and_one_that_cannot_be_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str| fs::write(dir.path().join(name), "").unwrap();
        put("first");
        let path = dir.path().to_owned();
        let load = move || {
            let names: Vec<_> =
                fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            match names.iter().any(|name| name == "bad") {
                true => Err(NightsError::BadPerson("bad".into())),
                false => Ok(Counts(names.len())),
            }
        };
        let fresh = Fresh::load(dir.path(), load).unwrap();
        let later = |seconds| SystemTime::now() + Duration::from_secs(seconds);
        assert_eq!(fresh.fresh(later(100)).0, 1);
        put("second");
        assert_eq!(fresh.fresh(later(0)).0, 1, "it may still be coming");
        assert_eq!(fresh.fresh(later(100)).0, 2);
        put("third");
        assert_eq!(fresh.hands().0, 2, "an evaluation is of what was reported");
        put("bad");
        assert_eq!(fresh.fresh(later(100)).0, 2);
        fs::remove_file(dir.path().join("bad")).unwrap();
        assert_eq!(fresh.fresh(later(100)).0, 3, "mended");
        drop(dir);
        assert_eq!(fresh.fresh(later(100)).0, 3, "a disk that went away");
    }
}
