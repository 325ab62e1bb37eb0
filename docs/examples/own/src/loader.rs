//! Own loader: diaries, a CSV file for each person with a line for each half minute of a night.
//!
//! ```text
//! epoch,bpm,counts,stage
//! 0,63,12,wake
//! 1,61,0,n1
//! 2,61,0,
//! ```
//!
//! A line without a stage was not scored.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use somnus_signals::{EPOCH_SECONDS, PersonId, Recording, Stage, Stream, StreamKind};

const HEADER: &str = "epoch,bpm,counts,stage";

/// Every diary of a folder, in the order of names.
///
/// # Errors
/// Names the file and the line.
pub(crate) fn load(dir: &Path) -> Result<Vec<Recording>> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "csv"));
    paths.sort();
    if paths.is_empty() {
        bail!("{} holds no diary, a file NAME.csv for each person", dir.display());
    }
    paths.iter().map(|path| diary(path).with_context(|| path.display().to_string())).collect()
}

fn diary(path: &Path) -> Result<Recording> {
    let text = fs::read_to_string(path)?;
    let mut lines = text.lines();
    if lines.next() != Some(HEADER) {
        bail!("line 1 is not `{HEADER}`");
    }
    let (mut times, mut bpm, mut counts, mut labels) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (number, line) in lines.enumerate() {
        let wrong = || format!("line {}: `{line}` is not `{HEADER}`", number + 2);
        let fields: Vec<&str> = line.split(',').collect();
        let [epoch, heart, movement, stage] = fields[..] else { bail!(wrong()) };
        if epoch.parse() != Ok(number) {
            bail!("line {}: epoch {epoch} stands where {number} belongs", number + 2);
        }
        times.push(number as f64 * EPOCH_SECONDS);
        bpm.push(heart.parse().with_context(wrong)?);
        counts.push(movement.parse().with_context(wrong)?);
        labels.push(named(stage).with_context(wrong)?);
    }
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let streams =
        [Stream::new(StreamKind::Hr, times.clone(), bpm), Stream::new(StreamKind::Activity, times, counts)];
    Ok(Recording { labels, ..Recording::unscored(PersonId::new(name)?, "night", streams) })
}

/// The stage of a word; none for the empty one.
fn named(word: &str) -> Option<Option<Stage>> {
    if word.is_empty() {
        return Some(None);
    }
    Stage::ALL.into_iter().find(|stage| word.eq_ignore_ascii_case(stage_word(*stage))).map(Some)
}

fn stage_word(stage: Stage) -> &'static str {
    if stage == Stage::Wake { "wake" } else { stage.name() }
}

/// Writes a night as a diary.
///
/// # Errors
/// If the disk refuses.
pub(crate) fn write(night: &Recording, dir: &Path) -> Result<()> {
    fs::create_dir_all(dir)?;
    let mean = |kind, epoch: usize| {
        let values = night.streams.get(&kind).map(|stream| within(stream, epoch)).unwrap_or_default();
        values.iter().sum::<f32>() / values.len().max(1) as f32
    };
    let mut text = format!("{HEADER}\n");
    for (epoch, label) in night.labels.iter().enumerate() {
        let (bpm, counts) = (mean(StreamKind::Hr, epoch), mean(StreamKind::Activity, epoch));
        text += &format!("{epoch},{bpm:.1},{counts:.1},{}\n", label.map_or("", stage_word));
    }
    let path = dir.join(format!("{}.csv", night.person));
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// The values of an epoch.
fn within(stream: &Stream, epoch: usize) -> Vec<f32> {
    let (begin, end) = (epoch as f64 * EPOCH_SECONDS, (epoch + 1) as f64 * EPOCH_SECONDS);
    let samples = stream.times().iter().zip(stream.values());
    samples.filter(|(time, _)| (begin..end).contains(*time)).map(|(_, value)| *value).collect()
}
