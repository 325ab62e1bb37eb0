//! The crate from outside: folders on disk, the real cohort where it is, and the synthetic one.

mod derived;
mod edf_file;
mod health_file;
mod inspect;
mod inspect_edf;
mod inspect_health;
mod loaders;
mod mitdb;
mod parquet_file;
mod real_cohort;
mod sleep_accel_files;
mod stress_predict;
mod synthetic_cohort;
mod wfdb;
