//! Text files of numbers, read line by line: one sample per line, whitespace or commas between.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use crate::DataError;

/// The longest line that can be a sample; anything longer is no text file of numbers, and must
/// not be read into memory to find that out.
const MAX_LINE: u64 = 1024;

/// Calls `each` with every line's numbers, exactly `N` of them.
///
/// Empty lines are skipped; words `nan` and `inf` are numbers here and are dropped by rule later.
/// A last line without a line break is accepted when it is complete.
///
/// # Errors
/// [`DataError`] naming file and line: a line with another number of values, a word that is no number,
/// what `each` objects to, a file that cannot be read.
pub(crate) fn read<const N: usize>(
    path: &Path,
    mut each: impl FnMut([f64; N]) -> Result<(), String>,
) -> Result<(), DataError> {
    let file = File::open(path).map_err(|e| DataError::read(path, e))?;
    let mut reader = BufReader::with_capacity(1 << 16, file);
    let mut line = Vec::with_capacity(128);
    let mut number = 0;
    loop {
        line.clear();
        let read = reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line);
        if read.map_err(|e| DataError::read(path, e))? == 0 {
            return Ok(());
        }
        number += 1;
        let whole = line.ends_with(b"\n");
        let fault = |what: String| {
            let torn = if whole { "" } else { "the last line is torn: " };
            DataError::malformed(path, number, format!("{torn}{what}"))
        };
        if !whole && line.len() as u64 == MAX_LINE {
            let what = format!("the line is longer than {MAX_LINE} bytes");
            return Err(DataError::malformed(path, number, what));
        }
        let text = std::str::from_utf8(&line).map_err(|_| fault("not text".into()))?;
        if let Some(row) = parse(text.trim()).map_err(fault)? {
            each(row).map_err(fault)?;
        }
    }
}

/// The numbers of one line, `None` for an empty one.
fn parse<const N: usize>(text: &str) -> Result<Option<[f64; N]>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let mut row = [0.0; N];
    let mut count = 0;
    let words = text.split(|c: char| c == ',' || c.is_whitespace());
    for word in words.filter(|w| !w.is_empty()) {
        if let Some(place) = row.get_mut(count) {
            *place = word.parse().map_err(|_| format!("{:?} is not a number", shorten(word)))?;
        }
        count += 1;
    }
    if count == N {
        Ok(Some(row))
    } else {
        Err(format!("{N} numbers expected, found {count}: {:?}", shorten(text)))
    }
}

fn shorten(text: &str) -> String {
    text.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(bytes: &[u8]) -> Result<Vec<[f64; 2]>, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.txt");
        std::fs::write(&path, bytes).unwrap();
        let mut rows = Vec::new();
        let result = read(&path, |row: [f64; 2]| {
            rows.push(row);
            Ok(())
        });
        match result {
            Ok(()) => Ok(rows),
            Err(e) => {
                let text = e.to_string();
                let at = text.find("t.txt").expect("the file is named");
                Err(text[at..].to_owned())
            }
        }
    }

    #[test]
    fn commas_blanks_tabs_and_windows_line_ends() {
        let text = b"1,2\n3 4\r\n\n  5\t6\n-7e1, 8";
        let expected = vec![[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [-70.0, 8.0]];
        assert_eq!(rows(text).unwrap(), expected);
        assert_eq!(rows(b"").unwrap(), Vec::<[f64; 2]>::new());
    }

    #[test]
    fn faults_name_file_and_line() {
        let fault = |text: &[u8]| rows(text).unwrap_err();
        assert_eq!(fault(b"1,2\n3,x\n5,6\n"), "t.txt:2: \"x\" is not a number");
        assert_eq!(fault(b"1,2\n\n3\n"), "t.txt:3: 2 numbers expected, found 1: \"3\"");
        assert_eq!(fault(b"1 2 3\n"), "t.txt:1: 2 numbers expected, found 3: \"1 2 3\"");
        assert_eq!(fault(b"1,2\n3,"), "t.txt:2: the last line is torn: 2 numbers expected, found 1: \"3,\"");
        assert_eq!(fault(b"1,2\n\xff\xfe,2\n"), "t.txt:2: not text");
        assert_eq!(fault(&[b'1'; 5000]), "t.txt:1: the line is longer than 1024 bytes");
    }
}
