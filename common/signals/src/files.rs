//! Files as they lie in a folder, packed with gzip or not: `X` is read from `X` or, where that is absent, from `X.gz`.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use crate::recording::natural_order;
use crate::{DataError, PersonId, parquet};

/// A packed file may unpack to this many bytes (512 MiB), some hundred times the largest real one. Gzip packs zeros
/// a thousandfold, so the size on disk says nothing about the memory a hostile file would take.
const MAX_UNPACKED: u64 = 1 << 29;
/// So many bytes (16 GiB) of one of which little is kept, as of years of a watch.
const MAX_PASSED: u64 = 1 << 34;

/// A file that was found and is being read.
pub(crate) struct Source {
    /// Where it really lies, for messages.
    pub(crate) path: PathBuf,
    /// What somebody should know who uses it.
    pub(crate) note: Option<String>,
    reader: Box<dyn Read>,
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer)
    }
}

/// Opens `path` or `path.gz`, the plain one if there are both. A Parquet file is read as the CSV that it stands for.
///
/// # Errors
/// [`DataError::Missing`] with the plain path when there is neither.
pub(crate) fn open(path: &Path) -> Result<Source, DataError> {
    open_bounded(path, MAX_UNPACKED)
}

/// As [`open`], for who keeps little of it however long it is.
pub(crate) fn open_long(path: &Path) -> Result<Source, DataError> {
    open_bounded(path, MAX_PASSED)
}

fn open_bounded(path: &Path, limit: u64) -> Result<Source, DataError> {
    let source = open_as_it_is(path, limit)?;
    if !path.to_string_lossy().ends_with(parquet::SUFFIX) {
        return Ok(source);
    }
    let (path, mut bytes) = (source.path, Vec::new());
    source.reader.take(limit + 1).read_to_end(&mut bytes).map_err(|e| DataError::read(&path, e))?;
    if bytes.len() as u64 > limit {
        let what = format!("it is larger than {limit} bytes: divide it, or write it as CSV");
        return Err(DataError::unsupported(&path, what));
    }
    let csv = parquet::Csv::of(bytes).map_err(|what| DataError::corrupt(&path, what))?;
    Ok(Source { path, note: csv.note(), reader: Box::new(csv) })
}

fn open_as_it_is(path: &Path, limit: u64) -> Result<Source, DataError> {
    match File::open(path) {
        Ok(file) => Ok(Source { path: path.to_owned(), note: None, reader: Box::new(file) }),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let packed = packed(path);
            match File::open(&packed) {
                Ok(file) => {
                    let unpacked = MultiGzDecoder::new(file);
                    let reader = Box::new(Bounded { unpacked, left: limit, limit });
                    Ok(Source { path: packed, note: None, reader })
                }
                Err(of_packed) if of_packed.kind() == io::ErrorKind::NotFound => {
                    Err(DataError::read(path, e))
                }
                Err(e) => Err(DataError::read(&packed, e)),
            }
        }
        Err(e) => Err(DataError::read(path, e)),
    }
}

/// The whole file and where it really lies. For binary formats, whose files are small beside their signals.
///
/// # Errors
/// As [`open`], and [`DataError::Read`] when it cannot be read or unpacked.
pub(crate) fn bytes(path: &Path) -> Result<(PathBuf, Vec<u8>), DataError> {
    let mut source = open(path)?;
    let mut bytes = Vec::new();
    source.read_to_end(&mut bytes).map_err(|e| DataError::read(&source.path, e))?;
    Ok((source.path, bytes))
}

/// Whether `path` or `path.gz` is there.
pub(crate) fn exist(path: &Path) -> bool {
    path.is_file() || packed(path).is_file()
}

/// The names in a folder, without `.gz`, in [`natural_order`], each once. Hidden files are what operating systems
/// leave behind, not recordings.
///
/// # Errors
/// [`DataError`] when the folder is missing or cannot be read.
pub(crate) fn names(dir: &Path) -> Result<Vec<String>, DataError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(|e| DataError::read(dir, e))? {
        let name = entry.map_err(|e| DataError::read(dir, e))?.file_name();
        if let Some(name) = name.to_str().filter(|n| !n.starts_with('.')) {
            names.push(name.strip_suffix(".gz").unwrap_or(name).to_owned());
        }
    }
    names.sort_by(|a, b| natural_order(a, b));
    names.dedup();
    Ok(names)
}

/// The person a file or folder is named after.
///
/// # Errors
/// [`DataError::Unsupported`] when the name is no [`PersonId`].
pub(crate) fn person(path: &Path, name: &str) -> Result<PersonId, DataError> {
    PersonId::new(name).map_err(|e| DataError::unsupported(path, e.to_string()))
}

/// `slp01a` is what person `slp01` recorded as `a`; a name without such a letter has one recording.
pub(crate) fn lettered(stem: &str) -> (&str, Option<&str>) {
    let letter = stem.len().saturating_sub(1);
    match stem.as_bytes() {
        [.., b'0'..=b'9', b'a'..=b'z'] => (&stem[..letter], Some(&stem[letter..])),
        _ => (stem, None),
    }
}

fn packed(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".gz");
    name.into()
}

/// Unpacks up to `limit` bytes, and says what a failure means.
struct Bounded<R> {
    unpacked: R,
    left: u64,
    limit: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.unpacked.read(buffer).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => io::Error::new(e.kind(), "the gzip data ends too early"),
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
                io::Error::new(e.kind(), format!("the gzip data is damaged: {e}"))
            }
            _ => e,
        })?;
        let over = || io::Error::other(format!("it unpacks to more than {} bytes", self.limit));
        self.left = self.left.checked_sub(read as u64).ok_or_else(over)?;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// What reading `x` says after `x.gz` got these bytes, from the file's name on.
    fn reading(packed: &[u8], limit: u64) -> Result<Vec<u8>, String> {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("x.gz"), packed).unwrap();
        let mut source = open_bounded(&dir.path().join("x"), limit).unwrap();
        let mut bytes = Vec::new();
        match source.read_to_end(&mut bytes) {
            Ok(_) => Ok(bytes),
            Err(e) => {
                let text = DataError::read(&source.path, e).to_string();
                Err(text[text.find("x.gz").expect("the packed file is named")..].to_owned())
            }
        }
    }

    #[test]
    fn packed_files_read_as_plain_ones() {
        let two = [gzip(b"one,"), gzip(b"two")].concat();
        assert_eq!(reading(&two, 7).unwrap(), b"one,two");
        assert_eq!(reading(&gzip(b""), 0).unwrap(), b"");
    }

    #[test]
    fn damage_is_told_by_kind() {
        let whole = gzip(&[7; 1000]);
        let torn = "x.gz: cannot be read: the gzip data ends too early";
        for length in 0..whole.len() {
            assert_eq!(
                reading(&whole[..length], 1000).unwrap_err(),
                torn,
                "{length} of {} bytes",
                whole.len()
            );
        }
        let mut flipped = whole.clone();
        flipped[whole.len() - 6] ^= 1;
        let damaged = "x.gz: cannot be read: the gzip data is damaged: ";
        assert!(reading(&flipped, 1000).unwrap_err().starts_with(damaged));
        assert!(reading(b"hr_bpm\n61.0\n61.5\n62.0\n", 1000).unwrap_err().starts_with(damaged));
    }

    #[test]
    fn a_bomb_is_one_error() {
        let bomb = gzip(&vec![0; 100_000]);
        assert!(bomb.len() < 1000);
        assert_eq!(reading(&bomb, 100_000).unwrap().len(), 100_000);
        let refused = "x.gz: cannot be read: it unpacks to more than 99999 bytes";
        assert_eq!(reading(&bomb, 99_999).unwrap_err(), refused);
    }

    #[test]
    fn a_table_that_is_too_large_is_not_called_cut_off() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.parquet");
        fs::write(&path, b"PAR1 and more").unwrap();
        let fault = |limit| open_bounded(&path, limit).err().unwrap().to_string();
        assert!(fault(12).ends_with("it is larger than 12 bytes: divide it, or write it as CSV"));
        assert!(fault(13).contains("cut off"));
    }

    #[test]
    fn the_plain_file_stands_and_names_are_listed_once() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, bytes: &[u8]| fs::write(dir.path().join(name), bytes).unwrap();
        put("p10.csv.gz", &gzip(b"packed"));
        put("p10.csv", b"plain");
        put("p9.csv.gz", &gzip(b"packed"));
        put(".p1.csv", b"");
        assert_eq!(names(dir.path()).unwrap(), ["p9.csv", "p10.csv"]);
        assert_eq!(bytes(&dir.path().join("p10.csv")).unwrap().1, b"plain");
        assert_eq!(bytes(&dir.path().join("p9.csv")).unwrap().1, b"packed");
        assert!(exist(&dir.path().join("p9.csv")) && !exist(&dir.path().join("p8.csv")));
        let missing = bytes(&dir.path().join("p8.csv")).unwrap_err().to_string();
        assert!(missing.ends_with("p8.csv: no such file or folder"), "{missing}");
    }

    #[test]
    fn letters_tell_recordings_of_a_person_apart() {
        assert_eq!(lettered("slp01a"), ("slp01", Some("a")));
        assert_eq!(lettered("slp14"), ("slp14", None));
        assert_eq!(lettered("user"), ("user", None));
        assert_eq!(lettered("a"), ("a", None));
        assert_eq!(lettered(""), ("", None));
    }
}
