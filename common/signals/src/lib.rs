//! Recordings on disk become nights of 30-second epochs.
//!
//! A [`Recording`] is one person's night as the sensors gave it: [`Stream`]s of samples, and stages where a
//! human scored them. [`prepare`] turns it into a [`Night`] of features per epoch or says why not
//! ([`Excluded`]), by [`NightRules`]. Recordings come from disk or from a seed
//! ([`synthetic`]); [`split`] says which of them may be learned from.
//!
//! One module for each [`Layout`] on disk, any file of it perhaps gzipped: [`plain`] (for recordings of one's own), [`sleep_accel`] (a watch, scored), [`slpdb`]
//! (heart beats, scored), [`edf`] (polysomnographs, Holter recorders), [`apple_health`] (heart rate and a device's opinion), [`mmash`] (a day of movement and beats, times in bed), [`e4`] (wristband: acceleration
//! and pulse), [`crisdb`] (a day of heart rate), [`wisdm`] (acceleration of known activities), and [`wfdb`] for the
//! records that PhysioNet's databases are made of. [`inspect()`] says what is in a folder, and what is wrong with it,
//! [`Arrivals`] whether something came into it since. [`live`] is for devices that stream.
//!
//! [`derive()`] makes the streams that a night needs of those that were recorded. What it is made of stands alone: gaps cut a
//! stream into [`Segment`]s, which are resampled or searched for [`r_peaks`] and [`pulses`]; beats give [`intervals`], cleaned ones
//! ([`NormalIntervals`]) heart rate and its [`Variability`]; [`enmo`] says how much somebody moves, [`signal_quality`] what to trust.
//!
//! ```
//! use somnus_signals::{NightRules, Task, synthetic};
//!
//! let config = synthetic::SyntheticConfig { people: 2, ..Default::default() };
//! let cohort = synthetic::cohort(&config, &NightRules::default());
//! let classes = cohort.nights[0].classes(Task::Four);
//! assert_eq!(classes.len(), cohort.nights[0].epochs);
//! ```

mod arrivals;
mod butterworth;
mod calendar;
mod derive;
mod enmo;
mod error;
mod features;
mod files;
mod inspect;
mod layout;
mod motion;
mod moving;
mod night;
mod parquet;
mod person;
mod pulses;
mod quality;
mod recording;
mod resample;
mod rpeaks;
mod rr;
mod segment;
mod stage;
mod stream;
mod table;
mod two_averages;
mod view;

pub mod apple_health;
pub mod crisdb;
pub mod e4;
pub mod edf;
pub mod live;
pub mod mmash;
pub mod plain;
pub mod sleep_accel;
pub mod slpdb;
pub mod split;
pub mod synthetic;
pub mod wfdb;
pub mod wisdm;

pub use arrivals::{Arrivals, Contents};
pub use derive::derive;
pub use enmo::enmo;
pub use error::DataError;
pub use features::prepare;
pub use inspect::{Finding, Inspected, Inspection, Severity, Standing, inspect};
pub use layout::Layout;
pub use night::{Cohort, Excluded, Features, Night, NightRules, Normalisation, Quality};
pub use person::{InvalidPersonId, PersonId};
pub use pulses::{LEAST_PPG_RATE, pulses};
pub use quality::signal_quality;
pub use recording::{DEFAULT_NIGHT, EPOCH_SECONDS, Recording, natural_order, night_order};
pub use rpeaks::{LEAST_ECG_RATE, r_peaks};
pub use rr::{NormalIntervals, Variability, intervals};
pub use segment::{Segment, TooSlow};
pub use stage::{Stage, Task, UnknownTask};
pub use stream::{Stream, StreamKind};
pub use view::View;
