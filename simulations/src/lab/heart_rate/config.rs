//! What a file says about the study of small networks for the heart rate.

use serde::{Deserialize, Serialize};
use somnus_model::distil::Strategy;

use super::net::{Net, Shape};
use crate::lab::within;

/// Rates that the wristband's can be averaged to, and that a perceptron's input is averaged from, Hz.
const RATES: [usize; 3] = [16, 32, 64];

/// `study = "heart-rate"`, on `--data` with folders of an E4 wristband such as stress-predict.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HeartRate {
    /// Names the run. Default `heart-rate`.
    pub name: String,
    /// Each holds out other people and begins with other weights. Default 4, 5, 6: settings were chosen with 1 to 3.
    pub seeds: Vec<u64>,
    /// People held out. Default 10.
    pub test_people: usize,
    /// Samples of the wave per second, 16, 32 or 64. Default 16: a pulse has little above 8 Hz.
    pub rate: usize,
    /// Labels are normal distributions of this deviation, bpm: the wristband is about as sure of its heart rate. Default 3.
    pub label_sigma: f64,
    /// Copies of each training window, played faster or slower. Default 2.
    pub copies: usize,
    /// By how much at most, 1.3 for 30 %. Default 1.3.
    pub stretch: f64,
    /// The teacher's network. Default 200,000 weights.
    pub teacher: Shape,
    /// Its training steps. Default 800.
    pub teacher_steps: u32,
    /// Networks to be taught; the law of size is of those over the wave. Default a thousand to a million
    /// weights, and a perceptron.
    pub students: Vec<Shape>,
    /// Ways to teach them. Default all four, at temperature 1: neighbouring classes share a label already.
    pub strategies: Vec<Strategy>,
    /// A student's training steps. Default 400.
    pub steps: u32,
    /// Windows of a step. Default 32.
    pub batch: usize,
    /// Peak of the rate. Default .01.
    pub learning_rate: f32,
    /// The part of the steps over which the teacher is let in. Default .2.
    pub warm_up: f32,
}

impl Default for HeartRate {
    fn default() -> Self {
        let wave = |widths: &[usize], embedding| Shape::Wave { widths: widths.to_vec(), embedding };
        Self {
            name: "heart-rate".into(),
            seeds: vec![4, 5, 6],
            test_people: 10,
            rate: 16,
            label_sigma: 3.0,
            copies: 2,
            stretch: 1.3,
            teacher: wave(&[16, 32, 64, 128], 64),
            teacher_steps: 800,
            students: vec![
                wave(&[4, 4], 4),
                wave(&[4, 8, 8], 8),
                wave(&[8, 8, 16], 16),
                wave(&[8, 16, 16], 32),
                wave(&[8, 16, 32, 64], 64),
                wave(&[16, 32, 64, 128], 64),
                wave(&[16, 32, 64, 128, 320], 64),
                Shape::Mlp { hidden: vec![128, 64] },
            ],
            strategies: vec![
                Strategy::Hard { labels: 1.0 },
                Strategy::Soft { alpha: 0.7, temperature: 1.0 },
                Strategy::Dkd { alpha: 1.0, beta: 4.0, temperature: 1.0 },
                Strategy::Feature { gamma: 1.0 },
            ],
            steps: 400,
            batch: 32,
            learning_rate: 1e-2,
            warm_up: 0.2,
        }
    }
}

impl HeartRate {
    /// What is wrong, by the key.
    pub(super) fn refuse_absurd(&self) -> Result<(), (String, String)> {
        let refuse = |key: &str, why: String| Err((key.to_owned(), why));
        if !RATES.contains(&self.rate) {
            return refuse("rate", format!("{} is not 16, 32 or 64", self.rate));
        }
        if self.students.is_empty() || self.students.len() > 20 {
            return refuse("students", format!("{} of them, not 1 to 20", self.students.len()));
        }
        within(&[
            ("test_people", self.test_people as f64, 1.0, 1e4),
            ("label_sigma", self.label_sigma, 0.25, 20.0),
            ("copies", self.copies as f64, 0.0, 20.0),
            ("stretch", self.stretch, 1.0, 2.0),
            ("teacher_steps", f64::from(self.teacher_steps), 1.0, 1e6),
            ("steps", f64::from(self.steps), 1.0, 1e6),
            ("batch", self.batch as f64, 1.0, 4096.0),
            ("learning_rate", f64::from(self.learning_rate), 1e-6, 1.0),
            ("warm_up", f64::from(self.warm_up), 0.0, 1.0),
        ])?;
        for strategy in &self.strategies {
            if let Err(error) = strategy.check("strategies") {
                return refuse("strategies", error.to_string());
            }
        }
        let shapes = self.students.iter().map(|shape| ("students", shape));
        for (key, shape) in shapes.chain([("teacher", &self.teacher)]) {
            Net::new(shape, self.rate).map_err(|(part, why)| (format!("{key}.{part}"), why))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::lab::Lab;

    #[test]
    fn absurd_values_name_their_key() {
        for (text, key) in [
            ("rate = 25", "`rate`: 25"),
            ("students = []", "`students`: 0"),
            ("label_sigma = 0.0", "`label_sigma`: 0"),
            ("stretch = 3.0", "`stretch`: 3"),
            ("teacher = { kind = 'wave', widths = [6], embedding = 4 }", "`teacher.widths`"),
            ("students = [{ kind = 'mlp', hidden = [] }]", "`students.hidden`"),
            ("strategies = [{ kind = 'soft', alpha = 2.0 }]", "alpha"),
            ("strategy = 1", "strategies"),
        ] {
            let error = Lab::from_text(&format!("study = 'heart-rate'\n{text}\n")).unwrap_err().to_string();
            assert!(error.contains(key), "{error:?} does not contain {key:?}");
        }
    }
}
