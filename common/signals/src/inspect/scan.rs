//! One pass over a text file, line by line, that notices what a loader has no reason to.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;

use super::sheet::{Column, Sheet, Time};
use crate::files;

/// The longest line that is looked at, bytes.
const MAX_LINE: u64 = 4096;
/// Values that are kept to judge unit and order by; the first of the file.
const KEPT: usize = 50_000;
/// A step back in the time of day by more than this is a midnight, seconds.
const MIDNIGHT: f64 = 43_200.0;

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Where the file really lies.
    pub(super) path: PathBuf,
    /// Lines, samples or not.
    pub(super) lines: usize,
    /// Lines with a sample.
    pub(super) rows: usize,
    /// Time of the first and of the last sample, seconds, if the file says so.
    pub(super) span: Option<(f64, f64)>,
    /// The first line whose time is before the one above it, and the two times.
    pub(super) back: Option<(usize, f64, f64)>,
    /// How many lines are so.
    pub(super) backs: usize,
    /// Values in the stream's unit, with their line: the one, or of three the length.
    pub(super) values: Vec<(usize, f64)>,
    /// Whether the last line has an end.
    pub(super) ended: bool,
    /// What the file's format leaves open.
    pub(super) note: Option<String>,
    /// Where reading stopped, and why.
    pub(super) broken: Option<(usize, String)>,
}

impl Scan {
    /// Reads as far as it goes.
    pub(super) fn of(sheet: &Sheet) -> Self {
        let mut scan = Self { path: sheet.path.clone(), ended: true, ..Self::default() };
        match files::open(&sheet.path) {
            Ok(source) => {
                scan.path = source.path.clone();
                scan.note = source.note.clone();
                scan.read(BufReader::with_capacity(1 << 16, source), sheet);
            }
            Err(error) => scan.broken = Some((0, error.to_string())),
        }
        scan
    }

    fn read(&mut self, mut reader: impl BufRead, sheet: &Sheet) {
        let mut columns = Columns::new(sheet);
        let mut line = Vec::new();
        loop {
            line.clear();
            match reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) => {
                    self.broken = Some((self.lines + 1, error.to_string()));
                    return;
                }
            }
            self.lines += 1;
            self.ended = line.ends_with(b"\n");
            let Ok(text) = std::str::from_utf8(&line) else { continue };
            self.line(text.trim(), sheet, &mut columns);
        }
    }

    fn line(&mut self, text: &str, sheet: &Sheet, columns: &mut Columns) {
        let text = text.trim_end_matches(';');
        let words: Vec<&str> = match text.contains(',') {
            true => text.split(',').map(str::trim).collect(),
            false => text.split_whitespace().collect(),
        };
        if self.lines <= sheet.header {
            columns.header(self.lines, &words);
            return;
        }
        if text.is_empty() {
            return;
        }
        self.rows += 1;
        if let Some(time) = columns.time(&words, self.rows) {
            let (first, last) = self.span.unwrap_or((time, time));
            if time < last {
                self.backs += 1;
                self.back.get_or_insert((self.lines, last, time));
            }
            self.span = Some((first.min(time), time.max(last)));
        }
        if self.values.len() < KEPT
            && let Some(value) = columns.value(&words)
        {
            self.values.push((self.lines, value * sheet.factor));
        }
    }
}

/// Where the columns of a file are, once its first lines are read.
struct Columns {
    time: Time,
    time_at: Option<usize>,
    values: Vec<(Column, Option<usize>)>,
    start: Option<f64>,
    rate: Option<f64>,
    midnights: f64,
    before: Option<f64>,
}

impl Columns {
    fn new(sheet: &Sheet) -> Self {
        let at = |column: &Column| match column {
            Column::At(index) => Some(*index),
            Column::Named(_) => None,
        };
        let time_at = match &sheet.time {
            Time::Seconds(column) | Time::OfDay(column) | Time::After(column) => at(column),
            Time::Even | Time::Started => None,
        };
        let values = sheet.values.iter().map(|column| (*column, at(column))).collect();
        Self { time: sheet.time, time_at, values, start: None, rate: None, midnights: 0.0, before: None }
    }

    fn header(&mut self, line: usize, words: &[&str]) {
        let first = words.first().and_then(|word| word.parse().ok());
        match line {
            1 => self.start = first,
            2 => self.rate = first,
            _ => {}
        }
        let place = |name: &str| words.iter().position(|word| *word == name);
        if let Time::OfDay(Column::Named(name)) = self.time {
            self.time_at = self.time_at.or_else(|| place(name));
        }
        for (column, at) in &mut self.values {
            if let Column::Named(name) = column {
                *at = at.or_else(|| place(name));
            }
        }
    }

    fn time(&mut self, words: &[&str], row: usize) -> Option<f64> {
        let word = || words.get(self.time_at?).copied();
        match self.time {
            Time::Seconds(_) => word()?.parse().ok(),
            Time::After(_) => Some(self.start? + word()?.parse::<f64>().ok()?),
            Time::Started => Some(self.start? + (row - 1) as f64 / self.rate.filter(|rate| *rate > 0.0)?),
            Time::Even => None,
            Time::OfDay(_) => {
                let mut parts = word()?.split(':').map(|part| part.parse::<f64>().ok());
                let (hours, minutes, seconds) =
                    (parts.next()??, parts.next()??, parts.next().flatten().unwrap_or(0.0));
                let clock = hours * 3600.0 + minutes * 60.0 + seconds;
                if self.before.is_some_and(|before| before - clock > MIDNIGHT) {
                    self.midnights += 1.0;
                }
                self.before = Some(clock);
                Some(self.midnights * 86_400.0 + clock)
            }
        }
    }

    /// The value, or of three channels the length.
    fn value(&self, words: &[&str]) -> Option<f64> {
        let values = self.values.iter().map(|(_, at)| words.get((*at)?)?.parse::<f64>().ok());
        let values: Vec<f64> = values.collect::<Option<_>>()?;
        match values[..] {
            [] => None,
            [value] => Some(value),
            _ => Some(values.iter().map(|value| value * value).sum::<f64>().sqrt()),
        }
    }
}
