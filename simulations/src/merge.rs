//! The same predictions with fewer classes: four stages read as three, or as sleep and wake.

use std::collections::BTreeMap;

use somnus_report::{ConfusionError, Metrics, Row};
use somnus_signals::{Stage, Task};

/// Pooled scores of a row with the classes of each coarser task, by the task's name.
///
/// # Errors
/// [`ConfusionError`] if the row is not of `task`.
pub fn merged(row: &Row, task: Task) -> Result<BTreeMap<String, Metrics>, ConfusionError> {
    let coarser = Task::ALL.into_iter().filter(|other| other.classes() < task.classes());
    coarser
        .map(|other| {
            let mut map = vec![0; task.classes()];
            for stage in Stage::ALL {
                map[task.class_of(stage)] = other.class_of(stage) as u8;
            }
            let confusion = row.confusion.merged(other.classes(), &map)?;
            Ok((other.name().to_owned(), Metrics::of(&confusion)))
        })
        .collect()
}
