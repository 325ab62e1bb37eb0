//! Pages of one column.

use std::io::Read;

use flate2::read::MultiGzDecoder;

use super::runs;
use super::thrift::Fields;

/// No page unpacks to more bytes.
const LARGEST: usize = 1 << 28;

/// What a column holds, and how that is written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Kind {
    /// Whole numbers of so many bytes; multiplied, seconds.
    Int {
        bytes: usize,
        factor: f64,
    },
    Float,
    Double,
    Text,
}

/// A cell.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell {
    Nothing,
    Number(f64),
    Whole(i64),
    Text(String),
}

/// How pages are packed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Codec {
    Plain,
    Snappy,
    Gzip,
}

impl Codec {
    pub(super) fn of(number: i64) -> Result<Self, String> {
        match number {
            0 => Ok(Self::Plain),
            1 => Ok(Self::Snappy),
            2 => Ok(Self::Gzip),
            other => {
                let name = ["LZO", "brotli", "LZ4", "zstd", "raw LZ4"];
                let name =
                    usize::try_from(other - 3).ok().and_then(|i| name.get(i)).unwrap_or(&"an unknown way");
                Err(format!("its pages are packed with {name}: write it with snappy, gzip or nothing"))
            }
        }
    }

    fn unpack(self, bytes: &[u8], size: usize) -> Option<Vec<u8>> {
        let unpacked = match self {
            Self::Plain => bytes.to_vec(),
            Self::Snappy => {
                let held = snap::raw::decompress_len(bytes).ok().filter(|held| *held == size)?;
                let mut unpacked = vec![0; held];
                snap::raw::Decoder::new().decompress(bytes, &mut unpacked).ok()?;
                unpacked
            }
            Self::Gzip => {
                let mut unpacked = Vec::new();
                MultiGzDecoder::new(bytes).take(size as u64 + 1).read_to_end(&mut unpacked).ok()?;
                unpacked
            }
        };
        (unpacked.len() == size).then_some(unpacked)
    }
}

/// A column's chunk, page after page.
pub(super) struct Chunk<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) kind: Kind,
    pub(super) optional: bool,
    pub(super) codec: Codec,
}

impl Chunk<'_> {
    /// Its `count` cells.
    pub(super) fn read(mut self, count: usize) -> Result<Vec<Cell>, String> {
        let mut cells: Vec<Cell> = Vec::new();
        let mut dictionary = Vec::new();
        while cells.len() < count {
            let torn = || format!("its pages end after {} of {count} values", cells.len());
            let header = Fields::take(&mut self.bytes).ok_or_else(torn)?;
            let (Some(size), Some(packed)) =
                (header.count(2).filter(|size| *size <= LARGEST), header.count(3))
            else {
                return Err(torn());
            };
            let held = self.bytes.split_off(..packed).ok_or_else(torn)?;
            let missing = count - cells.len();
            match (header.int(1), header.inner(5), header.inner(7), header.inner(8)) {
                (Some(0), Some(page), ..) => {
                    let bytes = self.codec.unpack(held, size).ok_or_else(torn)?;
                    cells.extend(self.first(&bytes, page, &dictionary, missing)?);
                }
                (Some(3), _, _, Some(page)) => {
                    cells.extend(self.second(held, size, page, &dictionary, missing)?);
                }
                (Some(2), _, Some(page), _) => {
                    let bytes = self.codec.unpack(held, size).ok_or_else(torn)?;
                    // Gzip packs zeros a thousandfold, and each would be an entry.
                    let entries =
                        page.count(1).filter(|entries| *entries <= super::MOST_CELLS).ok_or_else(torn)?;
                    dictionary = self.plain(&bytes, entries).ok_or_else(torn)?;
                }
                // An index, which helps who looks for something.
                (Some(1), ..) => {}
                _ => return Err(torn()),
            }
        }
        Ok(cells)
    }

    /// A page of version 1: levels, with their length, and values are packed together.
    fn first(
        &self,
        bytes: &[u8],
        page: &Fields<'_>,
        dictionary: &[Cell],
        missing: usize,
    ) -> Result<Vec<Cell>, String> {
        let count = page
            .count(1)
            .filter(|count| *count <= missing)
            .ok_or("a page has more values than its column")?;
        let mut values = bytes;
        let mut levels = || {
            let length = u32::from_le_bytes(*values.split_off(..4)?.as_array()?);
            runs::read(values.split_off(..usize::try_from(length).ok()?)?, 1, count)
        };
        let there = match self.optional {
            true => Some(levels().ok_or("the levels of a page are torn")?),
            false => None,
        };
        self.values(values, page.int(2), there, count, dictionary)
    }

    /// A page of version 2: levels come first, unpacked, and their length is in its header.
    fn second(
        &self,
        held: &[u8],
        size: usize,
        page: &Fields<'_>,
        dictionary: &[Cell],
        missing: usize,
    ) -> Result<Vec<Cell>, String> {
        let count = page
            .count(1)
            .filter(|count| *count <= missing)
            .ok_or("a page has more values than its column")?;
        let (depth, repeats) = (page.count(5).unwrap_or(0), page.count(6).unwrap_or(0));
        let before = repeats.checked_add(depth).filter(|before| *before <= held.len().min(size));
        let before = before.ok_or("the levels of a page are torn")?;
        let codec = if page.bool(7) == Some(false) { Codec::Plain } else { self.codec };
        let values = match held.len() - before {
            0 => Vec::new(),
            _ => codec.unpack(&held[before..], size - before).ok_or("a page is torn")?,
        };
        let levels = || runs::read(&held[repeats..before], 1, count).ok_or("the levels of a page are torn");
        let there = if self.optional { Some(levels()?) } else { None };
        self.values(&values, page.int(4), there, count, dictionary)
    }

    fn values(
        &self,
        bytes: &[u8],
        encoding: Option<i64>,
        there: Option<Vec<u32>>,
        count: usize,
        dictionary: &[Cell],
    ) -> Result<Vec<Cell>, String> {
        let held = there.as_ref().map_or(count, |there| there.iter().filter(|level| **level == 1).count());
        let values = match encoding {
            Some(0) => self.plain(bytes, held),
            Some(2 | 8) => looked_up(bytes, held, dictionary),
            other => {
                let number = other.unwrap_or(-1);
                return Err(format!(
                    "values in encoding {number} are not read: write it with PLAIN or dictionary encoding"
                ));
            }
        };
        let values = values.ok_or("the values of a page are torn")?;
        let Some(there) = there else { return Ok(values) };
        let mut values = values.into_iter();
        let cell =
            |level: u32| if level == 1 { values.next().unwrap_or(Cell::Nothing) } else { Cell::Nothing };
        Ok(there.into_iter().map(cell).collect())
    }

    fn plain(&self, mut bytes: &[u8], count: usize) -> Option<Vec<Cell>> {
        let fixed = |width: usize, cell: &dyn Fn(&[u8]) -> Option<Cell>| {
            let bytes = bytes.get(..count.checked_mul(width)?)?;
            bytes.chunks_exact(width).map(cell).collect()
        };
        match self.kind {
            Kind::Float => fixed(4, &|four| Some(Cell::Number(f32::from_le_bytes(*four.as_array()?).into()))),
            Kind::Double => fixed(8, &|eight| Some(Cell::Number(f64::from_le_bytes(*eight.as_array()?)))),
            Kind::Int { bytes: width, factor } => fixed(width, &|few| {
                let whole = match width {
                    4 => i32::from_le_bytes(*few.as_array()?).into(),
                    _ => i64::from_le_bytes(*few.as_array()?),
                };
                Some(if factor == 1.0 { Cell::Whole(whole) } else { Cell::Number(whole as f64 * factor) })
            }),
            Kind::Text => {
                let mut cells = Vec::new();
                for _ in 0..count {
                    let length = u32::from_le_bytes(*bytes.split_off(..4)?.as_array()?);
                    let text = bytes.split_off(..usize::try_from(length).ok()?)?;
                    cells.push(Cell::Text(std::str::from_utf8(text).ok()?.to_owned()));
                }
                Some(cells)
            }
        }
    }
}

fn looked_up(bytes: &[u8], count: usize, dictionary: &[Cell]) -> Option<Vec<Cell>> {
    if count == 0 {
        return Some(Vec::new());
    }
    let (width, places) = bytes.split_first()?;
    let cell = |place: u32| dictionary.get(usize::try_from(place).ok()?).cloned();
    runs::read(places, *width, count)?.into_iter().map(cell).collect()
}
