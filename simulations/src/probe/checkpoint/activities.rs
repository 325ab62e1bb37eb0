//! Acceleration on the wrist of people who do as they are told: is what they do in the embedding?

use std::collections::BTreeMap;
use std::path::Path;

use somnus_model::Stager;
use somnus_report::Grid;
use somnus_signals::wisdm::{self, Activity};
use somnus_signals::{PersonId, StreamKind};

use super::embedded::Encoder;
use super::questions::{Classes, identity, rank};
use super::{ProbeError, enough};
use crate::pretrain::windows::tracks;

/// The part of a bout that the probe of people learns from, and the windows between it and what it is judged on.
const CUT: (f32, usize) = (0.6, 2);

pub(super) fn ask(stager: &Stager, folder: &Path, seeds: u64) -> Result<Vec<Grid>, ProbeError> {
    let Some(encoder) = Encoder::of(stager, StreamKind::Accel)? else {
        let folder = folder.display().to_string();
        return Err(ProbeError::NoEncoder { folder, stream: StreamKind::Accel });
    };
    let seconds = encoder.wave.window as f64 / encoder.wave.rate as f64;
    let (mut windows, mut people, mut bouts, mut labels) = (vec![], vec![], vec![], vec![]);
    let mut numbers: BTreeMap<PersonId, usize> = BTreeMap::new();
    for (number, bout) in wisdm::load(folder)?.into_iter().enumerate() {
        let next = numbers.len();
        let person = *numbers.entry(bout.person).or_insert(next);
        for (_, track) in tracks(&bout.accel, encoder.wave.rate) {
            for window in 0..(track.seconds() / seconds) as usize {
                windows.push(track.window(window as f64 * seconds, seconds));
                people.push(person);
                bouts.push(number);
                labels.push(Activity::ALL.iter().position(|activity| *activity == bout.activity));
            }
        }
    }
    enough(folder, people.iter().max().map_or(0, |last| last + 1), "acceleration")?;
    let lines = encoder.lines(&windows, seeds);
    let classes = Classes { people: &people, labels: &labels, classes: Activity::ALL.len() };
    let of = format!("{} windows of {seconds} s of {} people", windows.len(), numbers.len());
    Ok(vec![
        classes.table(
            format!("What they do, six activities by a line; {of}, each judged by a probe of others"),
            &lines,
        ),
        classes.efficiency("Macro-F1 of activities with few labelled people".into(), &lines),
        identity(&lines, &people, &bouts, CUT),
        rank(&lines),
    ])
}
