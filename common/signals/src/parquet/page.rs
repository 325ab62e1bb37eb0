//! Pages of one column.

use std::io::Read;
use std::ops::Range;
use std::vec::IntoIter;

use flate2::read::MultiGzDecoder;

use super::thrift::Fields;
use super::{MOST_CELLS, runs};

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

/// The cells of a column's chunk, page after page.
pub(super) struct Cells {
    /// What was not looked at yet.
    place: Range<usize>,
    kind: Kind,
    optional: bool,
    codec: Codec,
    count: usize,
    /// Of these, in pages to come.
    missing: usize,
    dictionary: Vec<Cell>,
    page: Page,
}

/// A page that was unpacked.
#[derive(Default)]
struct Page {
    left: usize,
    /// Whether each cell to come is there; all are without.
    there: Option<IntoIter<u32>>,
    values: Values,
}

/// What follows, of the cells that are there.
enum Values {
    Plain { bytes: Vec<u8>, at: usize },
    Places(IntoIter<u32>),
}

impl Default for Values {
    fn default() -> Self {
        Self::Places(IntoIter::default())
    }
}

impl Cells {
    /// `count` cells, from `place` in the file on.
    pub(super) fn new(place: Range<usize>, kind: Kind, optional: bool, codec: Codec, count: usize) -> Self {
        let (dictionary, page) = (Vec::new(), Page::default());
        Self { place, kind, optional, codec, count, missing: count, dictionary, page }
    }

    /// The next one.
    pub(super) fn next(&mut self, file: &[u8]) -> Result<Cell, String> {
        while self.page.left == 0 {
            self.turn(file)?;
        }
        self.page.left -= 1;
        if self.page.there.as_mut().is_some_and(|there| there.next() != Some(1)) {
            return Ok(Cell::Nothing);
        }
        let cell = match &mut self.page.values {
            Values::Plain { bytes, at } => {
                let mut rest = bytes.get(*at..).unwrap_or_default();
                let cell = self.kind.plain(&mut rest);
                *at = bytes.len() - rest.len();
                cell
            }
            Values::Places(places) => {
                places.next().and_then(|place| self.dictionary.get(usize::try_from(place).ok()?)).cloned()
            }
        };
        cell.ok_or_else(|| "the values of a page are torn".into())
    }

    /// To the next page.
    fn turn(&mut self, file: &[u8]) -> Result<(), String> {
        let (count, missing) = (self.count, self.missing);
        let torn = || format!("its pages end after {} of {count} values", count - missing);
        let mut rest = file.get(self.place.clone()).unwrap_or_default();
        let header = Fields::take(&mut rest).ok_or_else(torn)?;
        let (Some(size), Some(packed)) = (header.count(2).filter(|size| *size <= LARGEST), header.count(3))
        else {
            return Err(torn());
        };
        let held = rest.split_off(..packed).ok_or_else(torn)?;
        self.place.start = self.place.end - rest.len();
        match (header.int(1), header.inner(5), header.inner(7), header.inner(8)) {
            (Some(0), Some(page), ..) => {
                let bytes = self.codec.unpack(held, size).ok_or_else(torn)?;
                self.page = self.first(bytes, page)?;
                self.missing -= self.page.left;
            }
            (Some(3), _, _, Some(page)) => {
                self.page = self.second(held, size, page)?;
                self.missing -= self.page.left;
            }
            (Some(2), _, Some(page), _) => {
                let bytes = self.codec.unpack(held, size).ok_or_else(torn)?;
                // Gzip packs zeros a thousandfold, and each would be an entry.
                let entries = page.count(1).filter(|entries| *entries <= MOST_CELLS).ok_or_else(torn)?;
                let mut rest = &bytes[..];
                let entries = (0..entries).map(|_| self.kind.plain(&mut rest)).collect::<Option<_>>();
                self.dictionary = entries.ok_or_else(torn)?;
            }
            // An index, which helps who looks for something.
            (Some(1), ..) => {}
            _ => return Err(torn()),
        }
        Ok(())
    }

    /// How many cells a page has.
    fn cells(&self, page: &Fields<'_>) -> Result<usize, String> {
        let count = page.count(1).filter(|count| *count <= self.missing);
        let count = count.ok_or("a page has more values than its column")?;
        if count > MOST_CELLS {
            return Err(format!("a page has {count} values: write pages of the usual size, 1 MiB"));
        }
        Ok(count)
    }

    /// A page of version 1: levels, with their length, and values are packed together.
    fn first(&self, bytes: Vec<u8>, page: &Fields<'_>) -> Result<Page, String> {
        let count = self.cells(page)?;
        let mut values = &bytes[..];
        let mut levels = || {
            let length = u32::from_le_bytes(*values.split_off(..4)?.as_array()?);
            runs::read(values.split_off(..usize::try_from(length).ok()?)?, 1, count)
        };
        let there = match self.optional {
            true => Some(levels().ok_or("the levels of a page are torn")?),
            false => None,
        };
        let at = bytes.len() - values.len();
        page_of(bytes, at, page.int(2), there, count)
    }

    /// A page of version 2: levels come first, unpacked, and their length is in its header.
    fn second(&self, held: &[u8], size: usize, page: &Fields<'_>) -> Result<Page, String> {
        let count = self.cells(page)?;
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
        page_of(values, 0, page.int(4), there, count)
    }
}

/// The values begin `at` in the bytes.
fn page_of(
    bytes: Vec<u8>,
    at: usize,
    encoding: Option<i64>,
    there: Option<Vec<u32>>,
    count: usize,
) -> Result<Page, String> {
    let held = there.as_ref().map_or(count, |there| there.iter().filter(|level| **level == 1).count());
    let values = match encoding {
        Some(0) => Values::Plain { bytes, at },
        Some(2 | 8) => Values::Places(places(&bytes[at..], held).ok_or("the values of a page are torn")?),
        other => {
            let number = other.unwrap_or(-1);
            return Err(format!(
                "values in encoding {number} are not read: write it with PLAIN or dictionary encoding"
            ));
        }
    };
    Ok(Page { left: count, there: there.map(Vec::into_iter), values })
}

/// Places in the dictionary.
fn places(bytes: &[u8], count: usize) -> Option<IntoIter<u32>> {
    if count == 0 {
        return Some(IntoIter::default());
    }
    let (width, places) = bytes.split_first()?;
    runs::read(places, *width, count).map(Vec::into_iter)
}

impl Kind {
    /// Takes a value off the front.
    fn plain(self, bytes: &mut &[u8]) -> Option<Cell> {
        Some(match self {
            Self::Float => Cell::Number(f32::from_le_bytes(*bytes.split_off(..4)?.as_array()?).into()),
            Self::Double => Cell::Number(f64::from_le_bytes(*bytes.split_off(..8)?.as_array()?)),
            Self::Int { bytes: width, factor } => {
                let few = bytes.split_off(..width)?;
                let whole = match width {
                    4 => i32::from_le_bytes(*few.as_array()?).into(),
                    _ => i64::from_le_bytes(*few.as_array()?),
                };
                if factor == 1.0 { Cell::Whole(whole) } else { Cell::Number(whole as f64 * factor) }
            }
            Self::Text => {
                let length = u32::from_le_bytes(*bytes.split_off(..4)?.as_array()?);
                let text = bytes.split_off(..usize::try_from(length).ok()?)?;
                Cell::Text(std::str::from_utf8(text).ok()?.to_owned())
            }
        })
    }
}
