//! Parquet files of a table of numbers, and of words, as the CSV text that they stand for.
//!
//! Own, and small: columns of the types INT32, INT64 (also as times), FLOAT, DOUBLE and BYTE_ARRAY, not nested; PLAIN and dictionary
//! encoding; pages of both versions, packed with snappy, gzip or nothing. It is what pandas, R's arrow and DuckDB write by
//! themselves. (Apache Parquet format 2.10.) The usual crate is not used: through it the engine that computes with tensors would get
//! hash maps in random order, and the same input has to give the same bytes.

mod page;
mod runs;
mod thrift;

use std::io::{self, Read, Write as _};
use std::ops::Range;
use std::vec::IntoIter;

use page::{Cell, Cells, Codec, Kind};
use thrift::Fields;

/// How the files' names end.
pub(crate) const SUFFIX: &str = ".parquet";
/// Before and behind everything.
const MAGIC: &[u8] = b"PAR1";
/// No page and no dictionary has more cells: a run of equal values takes a few bytes, so the file's size says nothing.
const MOST_CELLS: usize = 1 << 23;
/// Nor has a table more columns.
const MOST_COLUMNS: usize = 8;
/// Nor more text, bytes.
const MOST_TEXT: usize = 1 << 30;
/// Text that is made at once, bytes.
const AT_ONCE: usize = 1 << 16;

/// The table as CSV: a line with the columns' names, a line for each row. Rows are made as they are read, a page of each column at a
/// time.
pub(crate) struct Csv {
    file: Vec<u8>,
    columns: Vec<Column>,
    groups: IntoIter<Group>,
    /// Of the rows that are stored together and were begun: those to come, and each column's cells.
    rows: usize,
    cells: Vec<Cells>,
    text: Vec<u8>,
    given: usize,
    left: usize,
}

impl Csv {
    /// Of a whole file; its footer and the first rows are looked at.
    pub(crate) fn of(file: Vec<u8>) -> Result<Self, String> {
        let (columns, groups) = footer(&file)?;
        let names: Vec<&str> = columns.iter().map(|column| &column.name[..]).collect();
        let text = format!("{}\n", names.join(",")).into_bytes();
        let (groups, cells) = (groups.into_iter(), Vec::new());
        let mut csv = Self { file, columns, groups, rows: 0, cells, text, given: 0, left: MOST_TEXT };
        csv.fill()?;
        Ok(csv)
    }

    /// What somebody should know who uses it.
    pub(crate) fn note(&self) -> Option<String> {
        let local = self.columns.iter().find(|column| column.local)?;
        Some(format!("column {:?} has times of no zone, which are taken as UTC", local.name))
    }

    /// More text, if there is any.
    fn fill(&mut self) -> Result<(), String> {
        while self.text.len() < AT_ONCE {
            if self.rows == 0 {
                let Some(group) = self.groups.next() else { break };
                (self.rows, self.cells) = (group.rows, group.cells);
                continue;
            }
            self.rows -= 1;
            for (i, (cells, column)) in self.cells.iter_mut().zip(&self.columns).enumerate() {
                if i > 0 {
                    self.text.push(b',');
                }
                let cell =
                    cells.next(&self.file).map_err(|what| format!("column {:?}: {what}", column.name))?;
                add(&mut self.text, &cell);
            }
            self.text.push(b'\n');
        }
        let more = format!("it is more than {MOST_TEXT} bytes of text");
        self.left = self.left.checked_sub(self.text.len()).ok_or(more)?;
        Ok(())
    }
}

impl Read for Csv {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.given == self.text.len() {
            self.text.clear();
            self.given = 0;
            self.fill().map_err(|what| io::Error::new(io::ErrorKind::InvalidData, what))?;
        }
        let read = (&self.text[self.given..]).read(buffer)?;
        self.given += read;
        Ok(read)
    }
}

fn add(text: &mut Vec<u8>, cell: &Cell) {
    // Writing to a vector does not fail.
    let _ = match cell {
        Cell::Nothing => Ok(()),
        Cell::Number(number) => write!(text, "{number}"),
        Cell::Whole(number) => write!(text, "{number}"),
        // What would be several cells, or lines, is none that a table of samples has.
        Cell::Text(word) => write!(text, "{}", word.replace([',', '\n', '\r'], " ")),
    };
}

struct Column {
    name: String,
    kind: Kind,
    optional: bool,
    /// Times on a clock of an unknown zone.
    local: bool,
}

/// Rows that are stored together.
struct Group {
    rows: usize,
    /// Of each column.
    cells: Vec<Cells>,
}

fn footer(bytes: &[u8]) -> Result<(Vec<Column>, Vec<Group>), String> {
    let cut = "no Parquet file, or cut off: it does not end with PAR1";
    let inner = bytes.strip_prefix(MAGIC).and_then(|rest| rest.strip_suffix(MAGIC)).ok_or(cut)?;
    let (before, length) = inner.split_last_chunk().ok_or(cut)?;
    let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
    let mut about =
        before.len().checked_sub(length).map(|from| &before[from..]).ok_or("its footer is torn")?;
    let about = Fields::take(&mut about).ok_or("its footer is torn")?;
    let schema = about.list(2).ok_or("its footer has no schema")?;
    let (root, leaves) = schema.split_first().ok_or("its footer has no schema")?;
    if leaves.is_empty() || leaves.len() > MOST_COLUMNS || root.count(5) != Some(leaves.len()) {
        return Err(format!("its columns are nested, or not 1 to {MOST_COLUMNS}: a flat table was expected"));
    }
    let columns = leaves.iter().map(|leaf| column(leaf)).collect::<Result<Vec<_>, _>>()?;
    let groups = about.list(4).unwrap_or_default().into_iter();
    let groups = groups.map(|group| Group::of(group, bytes, &columns)).collect::<Result<_, _>>()?;
    Ok((columns, groups))
}

fn column(leaf: &Fields<'_>) -> Result<Column, String> {
    let name = leaf.text(4).ok_or("a column has no name")?;
    let optional = match leaf.int(3) {
        Some(0) => false,
        Some(1) => true,
        _ => return Err(format!("column {name:?} is a list or a structure")),
    };
    if let Some(what) = of_a_day(leaf) {
        return Err(format!("column {name:?} has {what}: write seconds since the start, or timestamps"));
    }
    let factor = factor(leaf);
    let kind = match leaf.int(1) {
        Some(1) => Kind::Int { bytes: 4, factor },
        Some(2) => Kind::Int { bytes: 8, factor },
        Some(4) => Kind::Float,
        Some(5) => Kind::Double,
        Some(6) => Kind::Text,
        _ => {
            return Err(format!(
                "column {name:?} is of a type that is not read: numbers, times or text were expected"
            ));
        }
    };
    let local = timestamp(leaf).is_some_and(|time| time.bool(1) == Some(false));
    Ok(Column { name: name.to_owned(), kind, optional, local })
}

/// What makes seconds of a column of times, and the number that is meant of a decimal one; 1 of another.
fn factor(leaf: &Fields<'_>) -> f64 {
    let unit = timestamp(leaf).and_then(|time| time.inner(2));
    let unit = unit.and_then(|unit| (1..=3).find(|unit_of| unit.inner(*unit_of).is_some()));
    match (unit, leaf.int(6)) {
        (Some(1), _) | (None, Some(9)) => 1e-3,
        (Some(2), _) | (None, Some(10)) => 1e-6,
        (Some(3), _) => 1e-9,
        // DuckDB makes one of `61.5`.
        (None, Some(5)) => {
            10_f64.powi(-leaf.count(7).and_then(|scale| i32::try_from(scale).ok()).unwrap_or(0))
        }
        _ => 1.0,
    }
}

/// What is said of a column of moments.
fn timestamp<'a, 'b>(leaf: &'b Fields<'a>) -> Option<&'b Fields<'a>> {
    leaf.inner(10)?.inner(8)
}

/// What tells no moment: half of a time.
fn of_a_day(leaf: &Fields<'_>) -> Option<&'static str> {
    let logical = |kind: i16| leaf.inner(10).is_some_and(|logical| logical.inner(kind).is_some());
    match leaf.int(6) {
        Some(6) => Some("dates without a time of day"),
        Some(7 | 8) => Some("times of day without a date"),
        _ if logical(6) => Some("dates without a time of day"),
        _ if logical(7) => Some("times of day without a date"),
        _ => None,
    }
}

impl Group {
    fn of(group: &Fields<'_>, file: &[u8], columns: &[Column]) -> Result<Self, String> {
        let chunks = group.list(1).unwrap_or_default();
        let rows = group.count(3).ok_or("a group of rows has no count")?;
        if chunks.len() != columns.len() {
            return Err(format!(
                "a group of rows has {} columns, the schema {}",
                chunks.len(),
                columns.len()
            ));
        }
        let one = |(chunk, column): (&&Fields<'_>, &Column)| {
            let named = |what: String| format!("column {:?}: {what}", column.name);
            let torn = || named("where it lies is not said, or not in the file".into());
            let about = chunk.inner(3).ok_or_else(torn)?;
            let place = place(about).filter(|place| place.end <= file.len()).ok_or_else(torn)?;
            let codec = Codec::of(about.int(4).unwrap_or(0)).map_err(named)?;
            Ok(Cells::new(place, column.kind, column.optional, codec, rows))
        };
        let cells = chunks.iter().zip(columns).map(one).collect::<Result<_, String>>()?;
        Ok(Self { rows, cells })
    }
}

/// Where a column's pages lie.
fn place(about: &Fields<'_>) -> Option<Range<usize>> {
    let data = about.count(9)?;
    // Some writers say 0 where there is no dictionary.
    let from = about.count(11).filter(|at| *at > 0 && *at < data).unwrap_or(data);
    Some(from..from.checked_add(about.count(7)?)?)
}
