//! Lines into the order of their times.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::Path;

/// Sorts a file whose lines begin with a time, but for the first, which names columns. Only lines that came late are held in memory.
pub(super) fn sort(path: &Path) -> io::Result<()> {
    let mut late = Vec::new();
    let mut latest = f64::NEG_INFINITY;
    each(path, |time, line| {
        if time < latest {
            late.push((time, line.to_owned()));
        }
        latest = latest.max(time);
        Ok(())
    })?;
    late.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut late = late.into_iter().peekable();
    let sorted = path.with_extension("sorted");
    let mut out = BufWriter::new(File::create(&sorted)?);
    latest = f64::NEG_INFINITY;
    each(path, |time, line| {
        if time < latest {
            return Ok(());
        }
        latest = time;
        while let Some((_, before)) = late.next_if(|(before, _)| *before < time) {
            writeln!(out, "{before}")?;
        }
        writeln!(out, "{line}")
    })?;
    out.flush()?;
    out.get_ref().sync_data()?;
    fs::rename(&sorted, path)
}

/// Calls `take` with each line and its time; the first is before all others.
fn each(path: &Path, mut take: impl FnMut(f64, &str) -> io::Result<()>) -> io::Result<()> {
    for line in BufReader::new(File::open(path)?).lines() {
        let line = line?;
        take(time(&line).unwrap_or(f64::NEG_INFINITY), &line)?;
    }
    Ok(())
}

/// The time that a line begins with.
pub(super) fn time(line: &str) -> Option<f64> {
    line.split(',').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_lines_go_where_they_belong() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hr.csv");
        fs::write(&path, "time,value\n5,a\n7,b\n6,c\n7,d\n1,e\n9,f\n8.5,g\n").unwrap();
        sort(&path).unwrap();
        let sorted = "time,value\n1,e\n5,a\n6,c\n7,b\n7,d\n8.5,g\n9,f\n";
        assert_eq!(fs::read_to_string(&path).unwrap(), sorted);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
