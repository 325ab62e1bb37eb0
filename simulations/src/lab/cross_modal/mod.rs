//! Distillation across streams (arXiv 2412.11276): an encoder of pulse waves learns first and is frozen, then one of
//! acceleration learns to find the pulse wave of its own moment among others. What it knows of the heart is compared with
//! the same encoder after other ways of learning, on people who taught nothing.

mod table;
mod ways;

use std::path::Path;

use serde::{Deserialize, Serialize};
use somnus_model::encoder::Patches;
use somnus_report::Summary;
use somnus_signals::StreamKind;

use self::table::{Score, finding, knowledge, pulse_score};
use self::ways::{TEACHERS, WAYS, Way};
use super::learn::Pace;
use super::pulse::{ACCEL_RATE, PPG_RATE};
use super::wrist::{Deal, SECONDS, Wrists};
use super::{LabError, Means, Study, crew, within};

/// A study of cross-modal distillation.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CrossModal {
    /// Its name.
    pub name: String,
    /// Each deals people anew.
    pub seeds: Vec<u64>,
    /// People who judge. Default 10.
    pub held_out: usize,
    /// Pairs among which a pulse wave is sought, of all who judge. Default 256.
    pub gallery: usize,
    /// Steps of each teacher. Default 600.
    pub teacher_steps: u32,
    /// Steps of each encoder of acceleration. Default 600.
    pub steps: u32,
    /// Windows of a step. Default 48.
    pub batch: usize,
    /// Peak of the rate. Default .001.
    pub learning_rate: f32,
    /// Divides cosines. Default .04, after arXiv 2312.05409.
    pub temperature: f32,
    /// The weight of asking acceleration for its pulse wave; the rest is the other way round. Default .5.
    pub lambda: f32,
    /// Parts that a window is cut into where both sides meet, so that they can say when something happened. Default 6.
    pub parts: usize,
    /// The share of patches that masked autoencoders do not see. Default .8.
    pub mask_ratio: f32,
}

impl Default for CrossModal {
    fn default() -> Self {
        Self {
            name: "cross-modal".into(),
            seeds: vec![1, 2, 3],
            held_out: 10,
            gallery: 256,
            teacher_steps: 600,
            steps: 600,
            batch: 48,
            learning_rate: 1e-3,
            temperature: 0.04,
            lambda: 0.5,
            parts: 6,
            mask_ratio: 0.8,
        }
    }
}
impl Study for CrossModal {
    fn subject(&self) -> &'static str {
        "what acceleration of the wrist knows of the heart"
    }

    fn check(&self) -> Result<(), (String, String)> {
        within(&[
            ("held_out", self.held_out as f64, 2.0, 1e4),
            ("gallery", self.gallery as f64, 2.0, 1e5),
            ("teacher_steps", f64::from(self.teacher_steps), 1.0, 1e6),
            ("steps", f64::from(self.steps), 1.0, 1e6),
            ("batch", self.batch as f64, 2.0, 1024.0),
            ("learning_rate", f64::from(self.learning_rate), 1e-9, 1.0),
            ("temperature", f64::from(self.temperature), 1e-3, 100.0),
            ("lambda", f64::from(self.lambda), 0.0, 1.0),
            // An encoder leaves a moment a second.
            ("parts", self.parts as f64, 1.0, SECONDS as f64),
            ("mask_ratio", f64::from(self.mask_ratio), 0.01, 0.99),
        ])
    }

    fn run(&self, data: Option<&Path>, means: &Means, summary: &mut Summary) -> Result<(), LabError> {
        let dir = data.ok_or(LabError::NoData("stress-predict"))?;
        let wrists = Wrists::load(dir)?;
        let deals: Vec<Deal<'_>> =
            self.seeds.iter().map(|seed| wrists.deal(dir, self.held_out, *seed)).collect::<Result<_, _>>()?;
        let learning =
            WAYS.iter().filter(|(way, _)| !matches!(way, Way::Handcrafted | Way::Untrained)).count();
        let steps = 2 * u64::from(self.teacher_steps) + learning as u64 * u64::from(self.steps);
        let bar = (means.progress)(steps * deals.len() as u64);
        let each = |count: usize| -> Vec<(usize, usize)> {
            (0..count).flat_map(|what| (0..deals.len()).map(move |deal| (what, deal))).collect()
        };
        let taught = crew::all(means.jobs, &each(TEACHERS.len()), |(teacher, deal)| {
            self.teacher(TEACHERS[*teacher].0, &deals[*deal], &bar)
        })?;
        let of_teacher = |teacher: usize, deal: usize| &taught[teacher * deals.len() + deal];
        let found = crew::all(means.jobs, &each(WAYS.len()), |(way, deal)| {
            let teacher =
                |teacher| of_teacher(TEACHERS.iter().position(|t| t.0 == teacher).unwrap_or(0), *deal);
            self.score(WAYS[*way].0, &teacher, &deals[*deal], &bar)
        })?;
        bar.finish();
        let mut rows: Vec<(&str, Vec<&Score>)> = Vec::new();
        let (ways, teachers) = (found.chunks(deals.len()), taught.chunks(deals.len()));
        rows.extend(WAYS.iter().zip(ways).map(|((_, name), scores)| (*name, scores.iter().collect())));
        let own: Vec<Vec<Score>> = teachers
            .map(|taught| taught.iter().zip(&deals).map(|(taught, deal)| pulse_score(taught, deal)).collect())
            .collect();
        let of_pulse = ["the pulse wave itself, masked", "the pulse wave itself, contrasted"];
        rows.extend(of_pulse.iter().zip(&own).map(|(name, scores)| (*name, scores.iter().collect())));
        summary.grids = vec![knowledge(&rows, &deals), finding(&rows[..2])];
        summary.notes.push(format!(
            "{} people, of whom {} judge and teach nobody; windows of {SECONDS} s; mean ± sd over seeds. Errors are mean \
             absolute ones of ridge regressions, whose strength is chosen on people who teach; they are the same whose labels \
             the supervised encoder was told, so that its own line is given too, and the better of both is compared with. \
             Every way but masked autoencoding trains the same encoder for as many steps on the same views. A pulse wave \
             that only gives away whose it is would be found within the right person by chance: the last columns ask \
             among moments of one person. Settings are those of the first try, made shorter to fit into minutes, but for `parts`, which came after it.",
            wrists.ids.len(),
            self.held_out
        ));
        Ok(())
    }
}

impl CrossModal {
    fn pace(&self) -> Pace {
        Pace { steps: self.steps, rate: self.learning_rate }
    }

    fn patches(&self, stream: StreamKind) -> Patches {
        // A second a patch.
        let (rate, name) = match stream {
            StreamKind::Ppg => (PPG_RATE, "ppg-masked"),
            _ => (ACCEL_RATE, "accel-masked"),
        };
        Patches {
            name: name.into(),
            channels: stream.channels(),
            window: SECONDS * rate,
            patch: rate,
            width: 64,
            depth: 3,
            heads: 4,
        }
    }
}
