//! The public sets that a pretraining reads, and what their makers ask for.

use std::path::{Path, PathBuf};

/// A public set of recordings, one folder under `--data`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum PublicSet {
    /// Days of heart rate after an infarction.
    Crisdb,
    /// Days of movement and beats of healthy people.
    Mmash,
    /// Accelerations of a watch in known activities.
    WisdmWatch,
    /// Acceleration and pulse wave of a wristband.
    StressPredict,
    /// Electrocardiograms.
    Mitdb,
}

impl PublicSet {
    /// The name of its folder.
    #[must_use]
    pub fn folder(self) -> &'static str {
        match self {
            Self::Crisdb => "crisdb",
            Self::Mmash => "mmash",
            Self::WisdmWatch => "wisdm-watch",
            Self::StressPredict => "stress-predict",
            Self::Mitdb => "mitdb",
        }
    }

    /// Its origin and licence, for a manifest.
    #[must_use]
    pub fn licence(self) -> &'static str {
        match self {
            Self::Crisdb => "CAST RR-interval sub-study, PhysioNet, ODC-By 1.0",
            Self::Mmash => "MMASH, PhysioNet, ODbL 1.0",
            Self::WisdmWatch => "WISDM smartphone and smartwatch activity, UCI, CC BY 4.0",
            Self::StressPredict => "Stress-Predict (Iqbal 2022), MIT",
            Self::Mitdb => "MIT-BIH Arrhythmia Database, PhysioNet, ODC-By 1.0",
        }
    }

    /// Where it is under `root`.
    #[must_use]
    pub fn path(self, root: &Path) -> PathBuf {
        root.join(self.folder())
    }
}
