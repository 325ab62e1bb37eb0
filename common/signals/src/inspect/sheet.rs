//! The text files of a layout, and what their columns are.

use std::path::{Path, PathBuf};

use crate::{DataError, Layout, StreamKind, crisdb, e4, files, mmash, plain, sleep_accel, wisdm};

/// One text file of samples.
#[derive(Debug, Clone)]
pub(super) struct Sheet {
    pub(super) path: PathBuf,
    pub(super) content: Content,
    /// Lines before the first sample; with [`Column::Named`] the first of them names the columns.
    pub(super) header: usize,
    pub(super) time: Time,
    pub(super) values: Vec<Column>,
    /// What makes the unit of the stream of a value.
    pub(super) factor: f64,
}

/// What a file is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    Stream(StreamKind),
    Labels,
}

/// Where the time of a sample is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Time {
    /// Seconds.
    Seconds(Column),
    /// `HH:MM:SS`; a step back by more than half a day is a midnight.
    OfDay(Column),
    /// Nowhere: samples follow each other, so many a second, whatever line 1 says of the first.
    Even,
    /// As [`Time::Even`], after two lines with the unix time of the first sample and the rate.
    Started,
    /// Seconds after the unix time in line 1.
    After(Column),
}

/// A column, from 0, or by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    At(usize),
    Named(&'static str),
}

impl Content {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Stream(kind) => kind.name(),
            Self::Labels => "labels",
        }
    }
}

/// The text files of a folder, those of one recording together.
pub(super) fn sheets(layout: Layout, dir: &Path) -> Result<Vec<Vec<Sheet>>, DataError> {
    match layout {
        Layout::Plain => plain::folders(dir)?.iter().map(|folder| of_plain(folder)).collect::<Result<_, _>>(),
        Layout::SleepAccel => Ok(sleep_accel::night_files(dir)?.into_iter().map(of_sleep_accel).collect()),
        Layout::E4 => folders(dir, &e4::FILES, of_e4),
        Layout::Mmash => folders(dir, &[mmash::ACTIGRAPH], of_mmash),
        Layout::Crisdb => named(
            dir,
            |name| name.ends_with(crisdb::SUFFIX),
            |path| Sheet { header: 1, values: vec![Column::At(0)], ..Sheet::even(path, StreamKind::Hr) },
        ),
        Layout::Wisdm => named(
            dir,
            |name| name.ends_with(wisdm::SUFFIX),
            |path| Sheet {
                values: [2, 3, 4].map(Column::At).to_vec(),
                factor: 1.0 / wisdm::STANDARD_GRAVITY,
                ..Sheet::even(path, StreamKind::Accel)
            },
        ),
        // What these are made of has no lines, or no columns.
        Layout::Edf | Layout::AppleHealth | Layout::Slpdb | Layout::Wfdb => Ok(Vec::new()),
    }
}

impl Sheet {
    fn even(path: PathBuf, kind: StreamKind) -> Self {
        Self {
            path,
            content: Content::Stream(kind),
            header: 0,
            time: Time::Even,
            values: Vec::new(),
            factor: 1.0,
        }
    }

    /// A time in the first column, values behind it.
    fn timed(path: PathBuf, content: Content, channels: usize, header: usize) -> Self {
        let values = (1..=channels).map(Column::At).collect();
        Self { path, content, header, time: Time::Seconds(Column::At(0)), values, factor: 1.0 }
    }
}

fn of_sleep_accel(files: sleep_accel::NightFiles) -> Vec<Sheet> {
    let sheet = |(kind, path): (Option<StreamKind>, PathBuf)| match kind {
        Some(kind) => Sheet::timed(path, Content::Stream(kind), kind.channels(), 0),
        None => Sheet::timed(path, Content::Labels, 0, 0),
    };
    files.into_iter().map(sheet).collect()
}

fn of_plain(folder: &Path) -> Result<Vec<Sheet>, DataError> {
    let description = plain::Description::read(folder)?;
    let mut sheets = Vec::new();
    for (kind, source) in &description.streams {
        let path = plain::Description::path(folder, *kind, source);
        let factor = source.factor(*kind);
        sheets.push(match source.rate {
            None => Sheet { factor, ..Sheet::timed(path, Content::Stream(*kind), kind.channels(), 1) },
            Some(_) => Sheet {
                header: 1,
                values: (0..kind.channels()).map(Column::At).collect(),
                factor,
                ..Sheet::even(path, *kind)
            },
        });
    }
    if let Some(labels) = &description.labels {
        let path = plain::Description::labels_path(folder, labels);
        sheets.push(Sheet::timed(path, Content::Labels, 0, 1));
    }
    Ok(sheets)
}

fn of_e4(folder: &Path) -> Vec<Sheet> {
    let started = |file: &str, kind: StreamKind, factor: f64| Sheet {
        header: 2,
        time: Time::Started,
        values: (0..kind.channels()).map(Column::At).collect(),
        factor,
        ..Sheet::even(folder.join(file), kind)
    };
    let [accel, ppg, hr, ibi] = e4::FILES;
    vec![
        started(accel, StreamKind::Accel, 1.0 / e4::PER_G),
        started(ppg, StreamKind::Ppg, 1.0),
        started(hr, StreamKind::Hr, 1.0),
        Sheet {
            time: Time::After(Column::At(0)),
            ..Sheet::timed(folder.join(ibi), Content::Stream(StreamKind::Ibi), 1, 1)
        },
    ]
}

fn of_mmash(folder: &Path) -> Vec<Sheet> {
    let named = |file: &str, kind: StreamKind, value: &'static str| Sheet {
        header: 1,
        time: Time::OfDay(Column::Named("time")),
        values: vec![Column::Named(value)],
        ..Sheet::even(folder.join(file), kind)
    };
    vec![named(mmash::ACTIGRAPH, StreamKind::Hr, "HR"), named(mmash::RR, StreamKind::Ibi, "ibi_s")]
}

/// The sheets of every folder of `dir` that has one of `files`; those of them that are there.
fn folders(dir: &Path, any: &[&str], of: impl Fn(&Path) -> Vec<Sheet>) -> Result<Vec<Vec<Sheet>>, DataError> {
    let below = files::names(dir)?.into_iter().map(|name| dir.join(name));
    let found = below.filter(|folder| any.iter().any(|file| files::exist(&folder.join(file))));
    let there = |sheets: Vec<Sheet>| sheets.into_iter().filter(|sheet| files::exist(&sheet.path)).collect();
    Ok(found.map(|folder| there(of(&folder))).collect())
}

/// A recording for each file.
fn named(
    dir: &Path,
    is: impl Fn(&str) -> bool,
    of: impl Fn(PathBuf) -> Sheet,
) -> Result<Vec<Vec<Sheet>>, DataError> {
    Ok(files::names(dir)?.into_iter().filter(|name| is(name)).map(|name| vec![of(dir.join(name))]).collect())
}
