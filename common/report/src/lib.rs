//! Metrics, night statistics, agreement analysis and the reports that show them.
//!
//! From hypnograms to paper, in the order a reader meets it:
//!
//! * [`Staging`] says what class codes mean; a [`Hypnogram`] is a list of them, unscored epochs `None`.
//! * [`Confusion`] counts, [`Metrics`] scores; [`NightStatistics`] reads a night as a sleep laboratory does.
//! * [`Bootstrap`] gives intervals over subjects, [`Wilcoxon`] tests pairs, [`Discrepancy`] measures device against reference,
//!   [`Calibration`] confidence against truth, [`Fairness`] and [`Standing`] people against each other.
//! * [`Row`], [`ClientResult`] and [`RoundResult`] make up a [`Summary`], the versioned content of `summary.json`;
//!   [`ClientReport`] is one person's share of it, written on a hub as well.
//! * [`table`] prints for a terminal, [`csv`] and [`html`] render, and [`output`] alone writes to the disk.
//!
//! ```
//! use somnus_report::{ClientResult, NightOptions, NightResult, Row, Staging, Summary, table};
//! use std::collections::BTreeMap;
//!
//! let staging = Staging::four();
//! let (truth, predicted) = (vec![Some(0), Some(1), None, Some(3)], vec![Some(0), Some(1), Some(1), Some(1)]);
//! let night = NightResult::new("2026-03-01", truth, predicted, &staging, NightOptions::default());
//! let client = ClientResult::from_nights("person-01", "held-out", vec![night], &staging)?;
//!
//! let people = BTreeMap::from([(client.id.clone(), client.confusion.clone())]);
//! let mut summary = Summary::new("demo", "four", staging);
//! summary.rows.push(Row::from_subjects("federated", &people, 1)?);
//! summary.clients.push(client);
//! assert_eq!(summary.rows[0].pooled.n, 3);
//! println!("{}", table::run(&summary));
//! // somnus_report::write_run(Path::new("runs/demo"), &summary)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Classes are indices with names: the crate knows no model, no recording and no other crate of the workspace.

pub mod agreement;
pub mod bootstrap;
pub mod calibration;
mod client;
mod client_report;
mod cohort;
mod confusion;
pub mod csv;
pub mod device;
mod grid;
pub mod html;
mod identification;
mod leak;
pub mod markdown;
mod metrics;
pub mod night;
pub mod output;
mod row;
mod special;
mod staging;
pub mod stats;
mod summary;
pub mod table;
#[cfg(test)]
mod testing;
pub mod wilcoxon;

pub use agreement::{Discrepancy, Estimate, Size, Trend};
pub use bootstrap::{Bootstrap, Interval};
pub use calibration::Calibration;
pub use client::{ClientResult, NightResult};
pub use client_report::{ClientReport, ModelInfo};
pub use cohort::{ByCoverage, Fairness, Quartiles, Standing};
pub use confusion::{Confusion, ConfusionError, MAX_CLASSES, MAX_EPOCHS};
pub use grid::{Grid, GridLine};
pub use identification::Identification;
pub use leak::{Leak, LeakScore};
pub use metrics::{ClassMetrics, Metrics};
pub use night::{Extent, NightOptions, NightStatistics, Onset, StageTime};
pub use output::{OutputError, write_client, write_run};
pub use row::{Comparison, Intervals, PerSubject, Pooled, Row, RowError, SeedSpread};
pub use staging::{Hypnogram, Staging};
pub use stats::Spread;
pub use summary::{Excluded, RoundResult, SCHEMA, SchemaError, Summary};
pub use wilcoxon::Wilcoxon;
