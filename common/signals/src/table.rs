//! Text files of numbers and small tables, read line by line, unpacked where they are gzipped.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use crate::{DataError, files};

/// The longest line that can be a sample; anything longer is no text file of numbers, and must
/// not be read into memory to find that out.
const MAX_LINE: u64 = 1024;

/// Calls `each` with every line's number, from 1, and its text without surrounding blanks and line break.
///
/// A last line without a line break is accepted when `each` accepts it.
///
/// # Errors
/// [`DataError`] naming file and line: what is no text, what `each` objects to, a file that cannot be read.
pub(crate) fn lines(
    path: &Path,
    mut each: impl FnMut(usize, &str) -> Result<(), String>,
) -> Result<(), DataError> {
    let source = files::open(path)?;
    let path = &source.path.clone();
    let mut reader = BufReader::with_capacity(1 << 16, source);
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
        each(number, text.trim()).map_err(fault)?;
    }
}

/// Calls `each` with every line's numbers, exactly `N` of them, whitespace or commas between.
///
/// Empty lines are skipped; words `nan` and `inf` are numbers here and are dropped by rule later.
///
/// # Errors
/// As [`lines`]; a line with another number of values, a word that is no number.
pub(crate) fn read<const N: usize>(
    path: &Path,
    mut each: impl FnMut([f64; N]) -> Result<(), String>,
) -> Result<(), DataError> {
    lines(path, |_, text| if text.is_empty() { Ok(()) } else { each(numbers(text)?) })
}

/// Calls `each` with the columns `names` of every row of a table whose first line names its columns, commas between.
///
/// # Errors
/// As [`lines`]; [`DataError::Empty`] without a first line, a column that is missing, a row of another width.
pub(crate) fn columns<const N: usize>(
    path: &Path,
    names: [&str; N],
    mut each: impl FnMut([&str; N]) -> Result<(), String>,
) -> Result<(), DataError> {
    let mut header: Option<(usize, [usize; N])> = None;
    lines(path, |_, text| {
        let words = || text.split(',').map(str::trim);
        let Some((width, places)) = header else {
            let mut places = [0; N];
            for (place, name) in places.iter_mut().zip(names) {
                let found = words().position(|word| word == name);
                *place = found.ok_or_else(|| format!("no column is named {name:?}"))?;
            }
            header = Some((words().count(), places));
            return Ok(());
        };
        if text.is_empty() {
            return Ok(());
        }
        let found = words().count();
        if found != width {
            return Err(format!("{width} columns expected, found {found}: {:?}", shorten(text)));
        }
        each(places.map(|place| words().nth(place).unwrap_or_default()))
    })?;
    match header {
        Some(_) => Ok(()),
        None => Err(DataError::Empty { path: path.to_owned(), what: "no line with the columns' names" }),
    }
}

/// The numbers of one line, exactly `N`.
pub(crate) fn numbers<const N: usize>(text: &str) -> Result<[f64; N], String> {
    let mut row = [0.0; N];
    let mut count = 0;
    let words = text.split(|c: char| c == ',' || c.is_whitespace());
    for word in words.filter(|w| !w.is_empty()) {
        if let Some(place) = row.get_mut(count) {
            *place = number(word)?;
        }
        count += 1;
    }
    if count == N {
        Ok(row)
    } else {
        Err(format!("{N} numbers expected, found {count}: {:?}", shorten(text)))
    }
}

/// One number.
pub(crate) fn number(word: &str) -> Result<f64, String> {
    word.parse().map_err(|_| format!("{:?} is not a number", shorten(word)))
}

/// The beginning of a text that may be hostile and long, for messages.
pub(crate) fn shorten(text: &str) -> String {
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

    fn picked(text: &str) -> Result<Vec<[String; 2]>, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.csv");
        std::fs::write(&path, text).unwrap();
        let mut rows = Vec::new();
        let result = columns(&path, ["time", "hr"], |row| {
            rows.push(row.map(str::to_owned));
            Ok(())
        });
        match result {
            Ok(()) => Ok(rows),
            Err(e) => {
                let text = e.to_string();
                Err(text[text.find("t.csv").expect("the file is named")..].to_owned())
            }
        }
    }

    #[test]
    fn columns_are_found_by_name() {
        let rows = picked(",hr,step,time\n1, 60.5,7,10:00\n\n2,,8,10:01").unwrap();
        assert_eq!(rows, [["10:00", "60.5"], ["10:01", ""]]);
        assert_eq!(picked(",hr,step\n").unwrap_err(), "t.csv:1: no column is named \"time\"");
        let wide = "t.csv:2: 2 columns expected, found 3: \"1,2,3\"";
        assert_eq!(picked("time,hr\n1,2,3\n").unwrap_err(), wide);
        let torn = "t.csv:2: the last line is torn: 2 columns expected, found 1: \"1\"";
        assert_eq!(picked("time,hr\n1").unwrap_err(), torn);
        assert_eq!(picked("").unwrap_err(), "t.csv: no line with the columns' names");
    }
}
