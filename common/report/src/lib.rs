//! Metrics, night statistics, agreement analysis and the reports that show them.
//!
//! From hypnograms to paper, in the order a reader meets it:
//!
//! * [`Staging`] says what class codes mean; a [`Hypnogram`] is a list of them, unscored epochs `None`.
//! * [`Confusion`] counts, [`Metrics`] scores; [`NightStatistics`] reads a night as a sleep laboratory does.
//! * [`Bootstrap`] gives intervals over subjects, [`Wilcoxon`] tests pairs, [`Discrepancy`] measures device against reference.
//! * [`Row`], [`ClientResult`] and [`RoundResult`] make up a [`Summary`], the versioned content of `summary.json`;
//!   [`ClientReport`] is one person's share of it, written on a hub as well.
//! * [`table`] prints for a terminal, [`csv`] and [`html`] render, and [`output`] alone writes to the disk.
//!
//! Classes are indices with names: the crate knows no model, no recording and no other crate of the workspace.

pub mod agreement;
pub mod bootstrap;
mod client;
mod client_report;
mod confusion;
pub mod csv;
pub mod html;
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
pub use client::{ClientResult, NightResult};
pub use client_report::{ClientReport, ModelInfo};
pub use confusion::{Confusion, ConfusionError, MAX_CLASSES, MAX_EPOCHS};
pub use metrics::{ClassMetrics, Metrics};
pub use night::{NightOptions, NightStatistics, Onset, StageTime};
pub use output::{OutputError, write_client, write_run};
pub use row::{Comparison, Intervals, PerSubject, Pooled, Row, RowError, SeedSpread};
pub use staging::{Hypnogram, Staging};
pub use stats::Spread;
pub use summary::{Excluded, RoundResult, SCHEMA, SchemaError, Summary};
pub use wilcoxon::Wilcoxon;
