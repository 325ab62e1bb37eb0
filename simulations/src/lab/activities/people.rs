//! Everybody's windows, and one seed's deal of people into those who teach and those who judge.

use std::collections::BTreeMap;
use std::path::Path;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use somnus_report::Metrics;
use somnus_signals::{PersonId, wisdm};

use super::{Activities, CLASSES};
use crate::lab::LabError;
use crate::pretrain::windows::{Bank, Run, tracks};
use crate::probe::LinearProbe;

/// A window of an activity.
pub(super) struct Labelled {
    pub(super) person: usize,
    pub(super) activity: usize,
    pub(super) values: Vec<f32>,
}

/// Everybody's windows and runs.
pub(super) struct People {
    pub(super) ids: Vec<PersonId>,
    pub(super) runs: Vec<Vec<(usize, Run)>>,
    pub(super) windows: Vec<Labelled>,
}

/// Who teaches and who judges, and what can be drawn from those who teach.
pub(super) struct Deal<'a> {
    pub(super) seed: u64,
    pub(super) people: &'a People,
    pub(super) teaching: Vec<usize>,
    pub(super) judging: Vec<usize>,
    /// By person.
    pub(super) bank: Bank,
    /// By person and activity, with the activity of each.
    pub(super) told: (Bank, Vec<usize>),
}

impl Activities {
    pub(super) fn people(&self, dir: &Path) -> Result<People, LabError> {
        let mut runs: BTreeMap<PersonId, Vec<(usize, Run)>> = BTreeMap::new();
        let mut ids = Vec::new();
        for bout in wisdm::load(dir)? {
            if !runs.contains_key(&bout.person) {
                ids.push(bout.person.clone());
            }
            let activity = wisdm::Activity::ALL.iter().position(|a| *a == bout.activity).unwrap_or(0);
            let all = tracks(&bout.accel, self.wave().rate).into_iter().map(|(_, t)| (activity, vec![t]));
            runs.entry(bout.person).or_default().extend(all);
        }
        let len = self.window * 3;
        // Who has no whole window neither teaches nor judges.
        let long = |runs: &Vec<(usize, Run)>| runs.iter().any(|(_, run)| run[0].samples.len() >= len);
        ids.retain(|id| runs.get(id).is_some_and(long));
        let runs: Vec<_> = ids.iter().filter_map(|id| runs.remove(id)).collect();
        let mut windows = Vec::new();
        for (person, runs) in runs.iter().enumerate() {
            for (activity, run) in runs {
                let whole = run[0].samples.chunks_exact(len);
                windows.extend(whole.map(|w| Labelled { person, activity: *activity, values: w.to_vec() }));
            }
        }
        Ok(People { ids, runs, windows })
    }

    pub(super) fn deal<'a>(&self, seed: u64, people: &'a People, judging: usize) -> Deal<'a> {
        let mut order: Vec<usize> = (0..people.ids.len()).collect();
        order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        let teaching = order.split_off(judging);
        let seconds = self.window as f64 / 32.0;
        let runs_of = |person: &usize| people.runs[*person].iter().map(|(_, run)| run.clone()).collect();
        let mut by_activity: BTreeMap<(usize, usize), Vec<Run>> = BTreeMap::new();
        for person in &teaching {
            for (activity, run) in &people.runs[*person] {
                if run[0].seconds() >= seconds {
                    by_activity.entry((*person, *activity)).or_default().push(run.clone());
                }
            }
        }
        let labels = by_activity.keys().map(|(_, activity)| *activity).collect();
        let whole = "people who teach have whole windows";
        Deal {
            seed,
            people,
            bank: Bank::new(teaching.iter().map(runs_of), seconds).expect(whole),
            told: (Bank::new(by_activity.into_values(), seconds).expect(whole), labels),
            teaching,
            judging: order,
        }
    }
}

/// Rows of windows, and what is known of each.
pub(super) struct Rows<'a> {
    pub(super) rows: Vec<f32>,
    pub(super) chosen: Vec<&'a Labelled>,
}

impl<'a> Rows<'a> {
    pub(super) fn width(&self) -> usize {
        self.rows.len() / self.chosen.len().max(1)
    }

    pub(super) fn of(&self, people: &[usize]) -> Self {
        let each = self.rows.chunks_exact(self.width().max(1)).zip(&self.chosen);
        let (rows, chosen): (Vec<&[f32]>, Vec<&Labelled>) =
            each.filter(|(_, window)| people.contains(&window.person)).unzip();
        Self { rows: rows.concat(), chosen }
    }

    pub(super) fn labels(&self) -> Vec<usize> {
        self.chosen.iter().map(|window| window.activity).collect()
    }

    pub(super) fn judged_by(&self, asked: &Self, seed: u64) -> Metrics {
        let groups: Vec<usize> = self.chosen.iter().map(|window| window.person).collect();
        let probe = LinearProbe::fit(self.width(), &self.rows, &self.labels(), &groups, CLASSES, seed);
        Metrics::of(&probe.judge(&asked.rows, &asked.labels()))
    }
}
