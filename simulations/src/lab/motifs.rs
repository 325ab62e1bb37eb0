//! Is the learnt motif distance worth its name? Windows that hold the same movement should be near each other however it
//! is shifted, turned or stretched (METHODS of RelCon, Xu et al. 2025); Euclid and dynamic time warping are asked the same.
//!
//! Movements are made up, so that it is known which are the same. The distance learns from movements that are never asked.

use std::path::Path;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use somnus_model::DeviceKind;
use somnus_model::encoder::{Weights, windows};
use somnus_model::objective::{Attention, Change, MotifDistance};
use somnus_report::{Grid, GridLine, Spread, Summary};

use super::{LabError, Means, Study, crew, within};
use crate::pretrain::learner::Learner;
use crate::pretrain::relcon::{Parts, rebuilding};
use crate::pretrain::windows::{Bank, Track};

/// A study of the distance.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Motifs {
    /// Its name.
    pub name: String,
    /// Each makes other movements.
    pub seeds: Vec<u64>,
    /// Movements that the distance learns from. Default 40.
    pub known: usize,
    /// Movements that are asked. Default 8.
    pub asked: usize,
    /// Windows of each that is asked. Default 6.
    pub windows: usize,
    /// Steps of the distance. Default 300.
    pub steps: u32,
    /// Windows of a step. Default 16.
    pub batch: usize,
}

impl Default for Motifs {
    fn default() -> Self {
        Self {
            name: "motifs".into(),
            seeds: vec![1, 2, 3],
            known: 40,
            asked: 8,
            windows: 6,
            steps: 300,
            batch: 16,
        }
    }
}

/// Moments of a window, and of the movement in it.
const WINDOW: usize = 128;
const MOTIF: usize = 64;
const NOISE: f32 = 0.15;
const RATE: f32 = 1e-3;
/// Moments that dynamic time warping may shift by: a tenth of a window (Sakoe and Chiba 1978).
const BAND: usize = WINDOW / 10;

/// What differs between two windows of one movement, beside noise.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Condition {
    Shifted,
    Turned,
    Stretched,
    All,
}

const CONDITIONS: [(Condition, &str); 4] = [
    (Condition::Shifted, "shifted"),
    (Condition::Turned, "shifted, turned"),
    (Condition::Stretched, "shifted, stretched"),
    (Condition::All, "shifted, turned, stretched"),
];

/// Ways of comparing, in the order of the lines.
const WAYS: [&str; 6] = [
    "motif distance",
    "motif distance, sparsemax",
    "untrained motif distance",
    "Euclidean",
    "DTW, band of a tenth",
    "DTW, any shift",
];

impl Study for Motifs {
    fn subject(&self) -> &'static str {
        "motif distance on made-up movements"
    }

    fn check(&self) -> Result<(), (String, String)> {
        within(&[
            ("known", self.known as f64, 2.0, 1e4),
            ("asked", self.asked as f64, 2.0, 100.0),
            ("windows", self.windows as f64, 2.0, 100.0),
            ("steps", f64::from(self.steps), 1.0, 1e5),
            ("batch", self.batch as f64, 2.0, 256.0),
        ])
    }

    fn run(&self, _: Option<&Path>, means: &Means, summary: &mut Summary) -> Result<(), LabError> {
        let bar = (means.progress)(u64::from(self.steps) * self.seeds.len() as u64);
        let found = crew::all(means.jobs, &self.seeds, |seed| self.areas(*seed, &bar))?;
        bar.finish();
        let line = |(way, name): (usize, &&str)| GridLine {
            name: (*name).to_owned(),
            cells: (0..CONDITIONS.len())
                .map(|condition| Spread::of(found.iter().map(|seed| Some(seed[way][condition]))))
                .collect(),
        };
        summary.grids.push(Grid {
            title:
                "How often a window of the same movement is nearer than one of another (AUC; .5 is chance)"
                    .into(),
            lines_are: "distance".into(),
            columns: CONDITIONS.iter().map(|(_, name)| (*name).to_owned()).collect(),
            lines: WAYS.iter().enumerate().map(line).collect(),
        });
        summary.notes.push(format!(
            "{} movements of {} windows each are asked, of which the distance has seen none; mean ± sd over seeds. \
             DTW warps all three axes together, by at most {BAND} of {WINDOW} moments (Sakoe and Chiba), which cannot undo \
             most of the shifts, or by as much as any shift.",
            self.asked, self.windows
        ));
        Ok(())
    }
}

impl Motifs {
    /// For each way and condition, the mean over anchors of the area under the curve.
    fn areas(&self, seed: u64, bar: &crate::progress::Progress) -> Result<Vec<Vec<f64>>, LabError> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let known: Vec<_> = (0..self.known).map(|_| movement(&mut rng)).collect();
        // As runs of a wearer: one movement after the other, each where it happens to be.
        let runs = known.iter().map(|motif| {
            let samples: Vec<f32> = (0..4)
                .flat_map(|_| window(motif, Condition::Shifted, &mut rng).into_iter().flatten())
                .collect();
            vec![vec![Track { channels: 3, rate: 32, samples }]]
        });
        let bank = Bank::new(runs.collect::<Vec<_>>(), WINDOW as f64 / 32.0)
            .unwrap_or_else(|| unreachable!("every run has four windows"));
        let distance = Parts::PUBLISHED.motif();
        let mut learner = Learner::fresh(distance.specs(), DeviceKind::Flex, seed, (self.steps, RATE))?;
        let untrained = learner.weights().frozen();
        while !learner.is_done() {
            learner.step(|weights, rng| rebuilding(&bank, self.batch, Parts::PUBLISHED, weights, rng))?;
            bar.steps(1);
        }
        let weights = learner.weights().frozen();
        let asked: Vec<_> = (0..self.asked).map(|_| movement(&mut rng)).collect();
        let mut areas = vec![Vec::new(); WAYS.len()];
        for (condition, _) in CONDITIONS {
            let of = |motif: &Vec<[f32; 3]>| window(motif, condition, &mut rng);
            let repeated = asked.iter().flat_map(|motif| vec![motif; self.windows]);
            let all: Vec<Vec<[f32; 3]>> = repeated.map(of).collect();
            let tables = [
                learnt(&distance, &weights, &all, Attention::Softmax),
                learnt(&distance, &weights, &all, Attention::Sparsemax),
                learnt(&distance, &untrained, &all, Attention::Softmax),
                table(&all, euclid),
                table(&all, |a, b| warped(a, b, BAND)),
                table(&all, |a, b| warped(a, b, WINDOW - MOTIF)),
            ];
            for (area, table) in areas.iter_mut().zip(tables) {
                area.push(self.area(&table));
            }
        }
        Ok(areas)
    }

    /// How often a random window of the anchor's movement is nearer than a random one of another.
    fn area(&self, table: &[Vec<f32>]) -> f64 {
        let movement = |window: usize| window / self.windows;
        let of_anchor = |(anchor, row): (usize, &Vec<f32>)| {
            let same = (0..row.len()).filter(|w| *w != anchor && movement(*w) == movement(anchor));
            let others = || (0..row.len()).filter(|w| movement(*w) != movement(anchor));
            let wins = |near: usize| others().map(|far| score(row[near], row[far])).sum::<f64>();
            let pairs = (self.windows - 1) * others().count();
            same.map(wins).sum::<f64>() / pairs as f64
        };
        table.iter().enumerate().map(of_anchor).sum::<f64>() / table.len() as f64
    }
}

fn score(near: f32, far: f32) -> f64 {
    match near.partial_cmp(&far) {
        Some(std::cmp::Ordering::Less) => 1.0,
        Some(std::cmp::Ordering::Equal) => 0.5,
        _ => 0.0,
    }
}

/// A movement: on each axis two swings that come and go, of unit variance together.
fn movement(rng: &mut ChaCha8Rng) -> Vec<[f32; 3]> {
    let mut motif = vec![[0.0; 3]; MOTIF];
    for axis in 0..3 {
        for _ in 0..2 {
            let (speed, phase) = (rng.random_range(0.1..0.9f32), rng.random_range(0.0..6.3f32));
            let (centre, spread) = (rng.random_range(12.0..52.0f32), rng.random_range(5.0..14.0f32));
            for (t, moment) in motif.iter_mut().enumerate() {
                let envelope = (-0.5 * ((t as f32 - centre) / spread).powi(2)).exp();
                moment[axis] += envelope * (speed * t as f32 + phase).sin();
            }
        }
    }
    let energy = motif.iter().flatten().map(|v| v * v).sum::<f32>() / (3 * MOTIF) as f32;
    motif.iter_mut().flatten().for_each(|v| *v /= energy.sqrt());
    motif
}

/// The movement somewhere in a window of noise.
fn window(motif: &[[f32; 3]], condition: Condition, rng: &mut ChaCha8Rng) -> Vec<[f32; 3]> {
    let mut flat: Vec<f32> = motif.iter().flatten().copied().collect();
    if matches!(condition, Condition::Turned | Condition::All) {
        Change::Rotation.apply(&mut flat, 3, rng);
    }
    if matches!(condition, Condition::Stretched | Condition::All) {
        Change::Warp.apply(&mut flat, 3, rng);
    }
    let start = rng.random_range(0..=WINDOW - MOTIF);
    let mut window: Vec<[f32; 3]> =
        (0..WINDOW).map(|_| [(); 3].map(|()| NOISE * rng.random_range(-1.7..1.7f32))).collect();
    for (moment, motif) in window[start..].iter_mut().zip(flat.as_chunks::<3>().0) {
        moment.iter_mut().zip(motif).for_each(|(v, m)| *v += m);
    }
    window
}

/// Row: anchor, column: candidate.
fn table(all: &[Vec<[f32; 3]>], distance: impl Fn(&[[f32; 3]], &[[f32; 3]]) -> f32) -> Vec<Vec<f32>> {
    all.iter().map(|anchor| all.iter().map(|candidate| distance(anchor, candidate)).collect()).collect()
}

fn learnt(
    net: &MotifDistance,
    weights: &Weights,
    all: &[Vec<[f32; 3]>],
    attention: Attention,
) -> Vec<Vec<f32>> {
    let flat: Vec<Vec<f32>> = all.iter().map(|window| window.as_flattened().to_vec()).collect();
    let candidates = windows(&flat, 3, weights.device());
    let row = |anchor: &Vec<f32>| {
        let anchors = windows(&vec![anchor; flat.len()], 3, weights.device());
        let found = net.compare(weights, anchors, candidates.clone(), attention).distance;
        found.into_data().try_to_vec::<f32>().unwrap_or_else(|_| unreachable!("distances are f32"))
    };
    flat.iter().map(row).collect()
}

fn apart(a: &[f32; 3], b: &[f32; 3]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

fn euclid(a: &[[f32; 3]], b: &[[f32; 3]]) -> f32 {
    a.iter().zip(b).map(|(a, b)| apart(a, b)).sum()
}

/// Dynamic time warping of all axes together within a band.
fn warped(a: &[[f32; 3]], b: &[[f32; 3]], band: usize) -> f32 {
    let mut before = vec![f32::INFINITY; b.len() + 1];
    before[0] = 0.0;
    for (i, a) in a.iter().enumerate() {
        let mut row = vec![f32::INFINITY; b.len() + 1];
        for j in i.saturating_sub(band)..b.len().min(i + band + 1) {
            let least = before[j].min(before[j + 1]).min(row[j]);
            row[j + 1] = least + apart(a, &b[j]);
        }
        before = row;
    }
    before[b.len()]
}

#[cfg(test)]
mod tests {
    use rand::seq::SliceRandom;

    use super::*;
    use crate::progress::Progress;

    #[test]
    fn warping_forgives_a_shift_that_euclid_does_not() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let motif = movement(&mut rng);
        let at = |start: usize| {
            let mut window = vec![[0.0; 3]; WINDOW];
            window[start..start + MOTIF].copy_from_slice(&motif);
            window
        };
        let other = {
            let mut window = at(30);
            window.shuffle(&mut rng);
            window
        };
        assert_eq!(warped(&at(30), &at(30), BAND), 0.0);
        assert!(warped(&at(30), &at(38), BAND) < 0.05 * euclid(&at(30), &at(38)));
        assert!(warped(&at(30), &at(38), BAND) < warped(&at(30), &other, BAND));
        // Beyond the band there is no way.
        assert!(warped(&at(0), &at(40), BAND) > 0.2 * euclid(&at(0), &at(40)));
    }

    #[test]
    fn areas_are_of_the_same_against_others() {
        let study = Motifs { asked: 2, windows: 2, ..Motifs::default() };
        // Anchors 0 and 1 are one movement, 2 and 3 another; the last is nearer to the first two than to its own.
        let table = vec![
            vec![0.0, 1.0, 5.0, 5.0],
            vec![1.0, 0.0, 5.0, 5.0],
            vec![5.0, 1.0, 0.0, 1.0],
            vec![1.0, 1.0, 5.0, 0.0],
        ];
        assert_eq!(study.area(&table), (1.0 + 1.0 + 0.75 + 0.0) / 4.0);
    }

    #[test]
    fn a_small_study_is_the_same_twice_and_in_bounds() {
        let study = Motifs { known: 4, asked: 3, windows: 2, steps: 2, batch: 2, ..Motifs::default() };
        let areas = study.areas(5, &Progress::hidden()).unwrap();
        assert!(areas.iter().flatten().all(|area| (0.0..=1.0).contains(area)));
        assert_eq!(areas, study.areas(5, &Progress::hidden()).unwrap());
    }
}
