//! Parquet files of a table of numbers, and of words, as the CSV text that they stand for.
//!
//! Own, and small: columns of the types INT32, INT64 (also as times), FLOAT, DOUBLE and BYTE_ARRAY, not nested; PLAIN and dictionary
//! encoding; pages of both versions, packed with snappy, gzip or nothing. It is what pandas, R's arrow and DuckDB write by
//! themselves. (Apache Parquet format 2.10.) The usual crate is not used: through it the engine that computes with tensors would get
//! hash maps in random order, and the same input has to give the same bytes.

mod page;
mod runs;
mod thrift;

use std::fmt::Write as _;

use page::{Cell, Chunk, Codec, Kind};
use thrift::Fields;

/// How the files' names end.
pub(crate) const SUFFIX: &str = ".parquet";
/// Before and behind everything.
const MAGIC: &[u8] = b"PAR1";
/// Rows that are stored together have no more cells, 32 bytes of memory each: a run of equal values takes a few bytes, so the
/// file's size says nothing.
const MOST_CELLS: usize = 1 << 23;
/// Nor more columns.
const MOST_COLUMNS: usize = 8;
/// Nor more text, bytes.
const MOST_TEXT: usize = 1 << 29;

/// The table as CSV: a line with the columns' names, a line for each row.
pub(crate) fn csv(bytes: &[u8]) -> Result<String, String> {
    let (columns, groups) = footer(bytes)?;
    let mut text = columns.iter().map(|column| column.name).collect::<Vec<_>>().join(",");
    text.push('\n');
    for group in groups {
        let rows = group.cells(bytes, &columns)?;
        let length = rows.first().map_or(0, Vec::len);
        for row in 0..length {
            for (i, column) in rows.iter().enumerate() {
                if i > 0 {
                    text.push(',');
                }
                add(&mut text, &column[row]);
            }
            text.push('\n');
            if text.len() > MOST_TEXT {
                return Err(format!("it is more than {MOST_TEXT} bytes of text"));
            }
        }
    }
    Ok(text)
}

fn add(text: &mut String, cell: &Cell) {
    // Writing to a string does not fail.
    let _ = match cell {
        Cell::Nothing => Ok(()),
        Cell::Number(number) => write!(text, "{number}"),
        Cell::Whole(number) => write!(text, "{number}"),
        // What would be several cells, or lines, is none that a table of samples has.
        Cell::Text(word) => write!(text, "{}", word.replace([',', '\n', '\r'], " ")),
    };
}

struct Column<'a> {
    name: &'a str,
    kind: Kind,
    optional: bool,
}

/// Rows that are stored together.
struct Group<'a>(Fields<'a>);

fn footer(bytes: &[u8]) -> Result<(Vec<Column<'_>>, Vec<Group<'_>>), String> {
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
    let columns = leaves.iter().map(|leaf| column(leaf)).collect::<Result<_, _>>()?;
    let groups = about.list(4).unwrap_or_default().into_iter().cloned().map(Group).collect();
    Ok((columns, groups))
}

fn column<'a>(leaf: &Fields<'a>) -> Result<Column<'a>, String> {
    let name = leaf.text(4).ok_or("a column has no name")?;
    let optional = match leaf.int(3) {
        Some(0) => false,
        Some(1) => true,
        _ => return Err(format!("column {name:?} is a list or a structure")),
    };
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
    Ok(Column { name, kind, optional })
}

/// What makes seconds of a column of times, and the number that is meant of a decimal one; 1 of another.
fn factor(leaf: &Fields<'_>) -> f64 {
    let unit = leaf.inner(10).and_then(|logical| logical.inner(8)?.inner(2));
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

impl Group<'_> {
    /// By column.
    fn cells(&self, bytes: &[u8], columns: &[Column<'_>]) -> Result<Vec<Vec<Cell>>, String> {
        let chunks = self.0.list(1).unwrap_or_default();
        let rows = self.0.count(3).ok_or("a group of rows has no count")?;
        if rows.saturating_mul(columns.len()) > MOST_CELLS {
            return Err(format!(
                "{rows} rows are stored together: write it in groups of at most 1,000,000 (row_group_size)"
            ));
        }
        if chunks.len() != columns.len() {
            return Err(format!(
                "a group of rows has {} columns, the schema {}",
                chunks.len(),
                columns.len()
            ));
        }
        let one = |(chunk, column): (&&Fields<'_>, &Column<'_>)| {
            let named = |what: String| format!("column {:?}: {what}", column.name);
            let torn = || named("where it lies is not said, or not in the file".into());
            let about = chunk.inner(3).ok_or_else(torn)?;
            let data = about.count(9).ok_or_else(torn)?;
            // Some writers say 0 where there is no dictionary.
            let from = about.count(11).filter(|at| *at > 0 && *at < data).unwrap_or(data);
            let length = about.count(7).ok_or_else(torn)?;
            let held = from.checked_add(length).and_then(|end| bytes.get(from..end)).ok_or_else(torn)?;
            let codec = Codec::of(about.int(4).unwrap_or(0)).map_err(named)?;
            let chunk = Chunk { bytes: held, kind: column.kind, optional: column.optional, codec };
            chunk.read(rows).map_err(named)
        };
        chunks.iter().zip(columns).map(one).collect()
    }
}
