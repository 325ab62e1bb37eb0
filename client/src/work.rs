//! What a hub does with a job, on a thread of its own: models from the disk, training or evaluation, the person's report.

use std::any::Any;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use somnus_protocol::message::Examination;
use somnus_protocol::participant::{Job, JobResult, Needs};
use somnus_protocol::trainer::EvaluateTask;
use tracing::warn;

use crate::cache::Cache;
use crate::credentials::Credentials;
use crate::hands::{About, Hands};
use crate::identity::now;
use crate::report;

/// Trains or evaluates; an evaluation also refreshes the person's report.
pub(crate) fn work(
    job: Job,
    cache: &Mutex<Cache>,
    hands: &dyn Hands,
    credentials: &Credentials,
    about: &About,
    folder: &Path,
) -> JobResult {
    let needs = job.needs();
    let loaded = {
        let mut cache = lock(cache);
        if let Needs::Model(_) = needs
            && let Err(error) = cache.retain(&needs.iter().copied().collect::<Vec<_>>())
        {
            warn!(%error, "the cache");
        }
        needs.try_map(|blob| cache.load(blob))
    };
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(error) => return job.receipt().failed(error.to_string()),
    };
    if let (
        Job::Examine { examination: Examination { version, plan, .. }, memory },
        Needs::Model(materials),
    ) = (&job, &loaded)
    {
        let task = EvaluateTask {
            version: *version,
            plan: plan.clone(),
            foundation: materials.foundation.clone(),
            weights: materials.release.clone(),
            memory: memory.clone(),
        };
        let written = hands
            .report(&task, about)
            .map_err(|error| error.to_string())
            .and_then(|report| report::keep(folder, &report).map_err(|error| error.to_string()));
        if let Err(error) = written {
            warn!(error, "no report");
        }
    }
    job.run(credentials.hands(hands, &credentials.roll(now())), loaded)
}

/// What a panic said.
pub(crate) fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked")
}

pub(crate) fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    // What a panic left half-done on the disk is found by the digests.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
