//! Nights: are the stages in what the staging network's head is given?

use std::path::Path;

use somnus_model::{DeviceKind, ModelError, Stager};
use somnus_report::Grid;
use somnus_signals::{Excluded, NightRules};

use super::embedded::{Matrix, lines};
use super::questions::{Classes, identity, rank};
use super::{ProbeError, enough};
use crate::cohort::in_folder;
use crate::probe::subjects::CUT;

pub(super) fn ask(
    stager: &Stager,
    folder: &Path,
    seeds: u64,
) -> Result<(Vec<Grid>, Vec<Excluded>), ProbeError> {
    let cohort = in_folder(folder, &NightRules::default())?;
    let everybody = cohort.people();
    enough(folder, everybody.len(), "a usable night")?;
    let (mut prepared, mut people, mut recordings, mut labels) = (vec![], vec![], vec![], vec![]);
    for (number, night) in cohort.nights.iter().enumerate() {
        let person = everybody.iter().position(|one| *one == night.person).unwrap_or(0);
        let classes = night.classes(stager.task());
        people.extend(classes.iter().map(|_| person));
        recordings.extend(classes.iter().map(|_| number));
        labels.extend(classes);
        prepared.push(stager.prepare(night)?);
    }
    let embed = |stager: &Stager| {
        let values = prepared.iter().flat_map(|night| stager.embed(night).values().to_vec()).collect();
        Matrix { width: stager.config().width, values }
    };
    let untrained = |seed| Ok::<_, ModelError>(embed(&Stager::new(stager.config(), seed, DeviceKind::Flex)?));
    let lines = lines("staging network", seeds, embed(stager), untrained)?;
    let mut grids = Vec::new();
    if labels.iter().any(Option::is_some) {
        let classes = Classes { people: &people, labels: &labels, classes: stager.task().classes() };
        let scored = labels.iter().flatten().count();
        let title = format!(
            "Stages ({}) by a line; {scored} epochs of {} people, each judged by a probe of others",
            stager.task(),
            everybody.len()
        );
        grids.push(classes.table(title, &lines));
        grids.push(classes.efficiency("Macro-F1 of stages with few labelled people".into(), &lines));
    }
    grids.push(identity(&lines, &people, &recordings, CUT));
    grids.push(rank(&lines));
    Ok((grids, cohort.excluded))
}
