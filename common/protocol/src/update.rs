//! What one client sends: one vector of sections, so that one weight, one ring sum and (once there are masks) one mask
//! carry all of them.
//!
//! ```text
//! [ weights | control | moments | steps ]     up: the weighted mean of this comes out of the sum
//!           [ control | moments | favourites ]   down, beside the next release: the companion
//! ```

use std::ops::Range;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::checkpoint::{bytes_of, floats};
use crate::encoding::Reduce;
use crate::fault::Fault;
use crate::moments::{Embedding, Moments};
use crate::trainer::{LocalUpdate, TrainError};

/// Most local steps that one update may report.
pub const MAX_STEPS: u32 = 100_000;

/// One step in the section of steps: a power of two, so that counts stay exact, and small enough for the ring.
pub(crate) const STEP: f32 = 1.0 / 1024.0;

/// What a strategy needs of its clients beside the change of the weights.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Extra {
    /// Nothing.
    #[default]
    Nothing,
    /// The change of the client's control variate, one number a weight (SCAFFOLD).
    Control,
    /// The change of the weights per local step, and how many steps there were (FedNova).
    Steps,
}

/// Which sections an update has beside the weights.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Sections {
    /// For the strategy.
    pub extra: Extra,
    /// For subject-invariance: class-conditional moments of this shape.
    pub moments: Option<Embedding>,
}

/// Where the sections of an update are, in numbers from its beginning.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UpdateLayout {
    weights: usize,
    sections: Sections,
    /// Bytes of a companion's favourites.
    favourites: usize,
}

/// The weighted mean of a round's updates, as a strategy sees it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Mean<'a> {
    /// Of the changes of the weights; per local step if the strategy asked for [`Extra::Steps`].
    pub delta: &'a [f32],
    /// Of the changes of the control variates; empty unless the strategy asked for [`Extra::Control`].
    pub control: &'a [f32],
    /// Of the numbers of local steps; 1 unless the strategy asked for [`Extra::Steps`].
    pub steps: f32,
    /// Updates behind the mean.
    pub updates: u32,
}

impl<'a> Mean<'a> {
    /// A mean of `updates` updates that have no section but the weights.
    pub fn plain(delta: &'a [f32], updates: u32) -> Self {
        Self { delta, control: &[], steps: 1.0, updates }
    }
}

/// What travels beside a release.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Companion {
    /// The server's control variate.
    pub control: Option<Vec<f32>>,
    /// The class-conditional moments of the round that made the release.
    pub moments: Option<Moments>,
    /// Which weights a [`Reduce`] favours in the next round.
    pub favourites: Option<Bytes>,
}

impl UpdateLayout {
    /// The layout for so many trainable weights.
    pub fn new(weights: usize, sections: Sections) -> Self {
        Self { weights, sections, favourites: 0 }
    }

    /// The same where updates are reduced on their way.
    #[must_use]
    pub fn reduced(self, reduce: &Reduce) -> Self {
        Self { favourites: reduce.bytes_beside(self.weights), ..self }
    }

    /// What there is beside the weights.
    pub fn sections(&self) -> Sections {
        self.sections
    }

    /// The section of the weights.
    pub fn weights(&self) -> Range<usize> {
        0..self.weights
    }

    /// The section of the control variate; empty if there is none, as all sections are.
    pub fn control(&self) -> Range<usize> {
        let len = if self.sections.extra == Extra::Control { self.weights } else { 0 };
        self.weights..self.weights + len
    }

    /// The section of the moments.
    pub fn moments(&self) -> Range<usize> {
        let start = self.control().end;
        start..start + self.sections.moments.map_or(0, Embedding::numbers)
    }

    /// The section of the steps.
    pub fn steps(&self) -> Range<usize> {
        let start = self.moments().end;
        start..start + usize::from(self.sections.extra == Extra::Steps)
    }

    /// Numbers in an update.
    pub fn numbers(&self) -> usize {
        self.steps().end
    }

    /// Bytes of an update.
    pub fn bytes(&self) -> u64 {
        4 * self.numbers() as u64
    }

    /// Bytes of a companion; 0 if releases travel alone.
    pub fn companion_bytes(&self) -> u64 {
        (self.companion_numbers() + self.favourites) as u64
    }

    /// Bytes of its numbers; the favourites follow.
    fn companion_numbers(&self) -> usize {
        4 * (self.moments().end - self.control().start)
    }

    /// An update as it travels. The one place where sections are put together.
    ///
    /// # Errors
    /// [`TrainError`] naming the section that the trainer did not deliver as asked.
    pub fn pack(&self, update: LocalUpdate) -> Result<Bytes, TrainError> {
        let LocalUpdate { delta: mut out, control, moments, steps, .. } = update;
        expect("weights", self.weights, out.len())?;
        expect("numbers in the control variate", self.control().len(), control.as_ref().map_or(0, Vec::len))?;
        let given = moments.as_ref().map(Moments::shape);
        if given != self.sections.moments {
            let wanted = self.sections.moments;
            return Err(TrainError(format!("moments of {given:?} where those of {wanted:?} are due")));
        }
        out.reserve_exact(self.numbers() - out.len());
        out.extend(control.into_iter().flatten());
        if let Some(moments) = moments {
            out.extend(moments.section());
        }
        if self.sections.extra == Extra::Steps {
            if !(1..=MAX_STEPS).contains(&steps) {
                return Err(TrainError(format!("{steps} local steps, 1 to {MAX_STEPS} can be reported")));
            }
            out[..self.weights].iter_mut().for_each(|delta| *delta /= steps as f32);
            out.push(steps as f32 * STEP);
        }
        Ok(bytes_of(&out).into())
    }

    /// A packed update whose change of the weights is multiplied by `weight`; the other sections are as they were. None if it is
    /// of another length.
    pub fn weigh(&self, update: &Bytes, weight: f32) -> Option<Bytes> {
        if update.len() as u64 != self.bytes() {
            return None;
        }
        if weight == 1.0 {
            return Some(update.clone());
        }
        let mut numbers = floats(update);
        numbers[self.weights()].iter_mut().for_each(|change| *change *= weight);
        Some(bytes_of(&numbers).into())
    }

    /// The mean of packed updates, taken apart for the strategy.
    ///
    /// # Panics
    /// If the vector has another length.
    pub fn mean<'a>(&self, mean: &'a [f32], updates: u32) -> Mean<'a> {
        // No honest mean is below one step.
        let steps = mean[self.steps()].first().map_or(1.0, |steps| (steps / STEP).max(1.0));
        Mean { delta: &mean[self.weights()], control: &mean[self.control()], steps, updates }
    }

    /// What goes out beside the release that `mean`, of total weight `weight`, has made; `None` if releases travel alone.
    ///
    /// # Panics
    /// If the vector has another length.
    pub fn companion(
        &self,
        control: Option<&[f32]>,
        mean: &[f32],
        weight: u64,
        favourites: Option<&[u8]>,
    ) -> Option<Bytes> {
        let moments = mean[self.moments()].iter().map(|value| (f64::from(*value) * weight as f64) as f32);
        let control = control.unwrap_or_default().iter().copied().take(self.control().len());
        let mut bytes = bytes_of(&control.chain(moments).collect::<Vec<f32>>());
        bytes.extend_from_slice(favourites.unwrap_or_default());
        (self.companion_bytes() > 0).then(|| bytes.into())
    }

    /// The favourites of a companion.
    pub fn favourites(&self, companion: &Bytes) -> Option<Bytes> {
        let fits = self.favourites > 0 && companion.len() as u64 == self.companion_bytes();
        fits.then(|| companion.slice(self.companion_numbers()..))
    }

    /// Reads a companion; before the first round there is none, and the control variate is zero.
    ///
    /// # Errors
    /// A [`Fault`] of the server: another length, or a number that is none.
    pub fn read(&self, companion: Option<&Bytes>) -> Result<Companion, Fault> {
        let asked = self.sections.extra == Extra::Control;
        let Some(bytes) = companion else {
            let control = asked.then(|| vec![0.0; self.weights]);
            return Ok(Companion { control, ..Companion::default() });
        };
        let (expected, got) = (self.companion_bytes(), bytes.len() as u64);
        if expected != got {
            return Err(Fault::WrongLength { expected, got });
        }
        let mut control = floats(&bytes[..self.companion_numbers()]);
        if let Some(index) = control.iter().position(|value| !value.is_finite()) {
            return Err(Fault::NotFinite { index });
        }
        let moments = control.split_off(self.control().len());
        let moments = self.sections.moments.and_then(|shape| Moments::from_section(shape, &moments, 1.0));
        Ok(Companion { control: asked.then_some(control), moments, favourites: self.favourites(bytes) })
    }
}

fn expect(what: &str, expected: usize, got: usize) -> Result<(), TrainError> {
    let fits = (expected == got).then_some(());
    fits.ok_or_else(|| TrainError(format!("the training gave {got} {what}, {expected} are due")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Embedding = Embedding { classes: 2, width: 1 };

    fn layout(extra: Extra, moments: Option<Embedding>) -> UpdateLayout {
        UpdateLayout::new(3, Sections { extra, moments })
    }

    fn update() -> LocalUpdate {
        LocalUpdate { delta: vec![2.0, 4.0, -6.0], examples: 2, steps: 4, ..LocalUpdate::default() }
    }

    fn moments() -> Moments {
        let mut moments = Moments::new(SHAPE);
        moments.add(1, &[3.0]);
        moments.add(1, &[5.0]);
        moments
    }

    #[test]
    fn an_update_without_sections_is_the_change_of_the_weights() {
        let plain = layout(Extra::Nothing, None);
        assert_eq!(plain.pack(update()).unwrap(), bytes_of(&[2.0, 4.0, -6.0]));
        assert_eq!((plain.bytes(), plain.companion_bytes()), (12, 0));
        assert_eq!(plain.companion(None, &[0.0; 3], 5, None), None);
        assert_eq!(plain.mean(&[1.0, 2.0, 3.0], 7), Mean::plain(&[1.0, 2.0, 3.0], 7));
    }

    #[test]
    fn sections_follow_one_another_and_come_back() {
        let full = layout(Extra::Control, Some(SHAPE));
        let sent = LocalUpdate { control: Some(vec![0.1, 0.2, 0.3]), moments: Some(moments()), ..update() };
        let numbers = floats(&full.pack(sent).unwrap());
        assert_eq!(numbers, [2.0, 4.0, -6.0, 0.1, 0.2, 0.3, 0.0, 0.0, 0.0, 1.0, 4.0 / 32.0, 17.0 / 1024.0]);
        let mean = full.mean(&numbers, 1);
        assert_eq!((mean.delta, mean.control, mean.steps), (&numbers[..3], &numbers[3..6], 1.0));
        let companion = full.companion(Some(&[7.0, 8.0, 9.0]), &numbers, 2, None).unwrap();
        let read = full.read(Some(&companion)).unwrap();
        let control = Some(vec![7.0, 8.0, 9.0]);
        assert_eq!(read, Companion { control, moments: Some(moments()), favourites: None });
        let first = full.read(None).unwrap();
        assert_eq!(first, Companion { control: Some(vec![0.0; 3]), ..Companion::default() });
    }

    #[test]
    fn favourites_travel_behind_whatever_else_there_is() {
        let reduce = Reduce::TopK { fraction: 0.5 };
        for extra in [Extra::Nothing, Extra::Control] {
            let layout = layout(extra, None).reduced(&reduce);
            let favourites = reduce.favourites(&[0.0; 3], &[0.1, -3.0, 0.2]).unwrap();
            let control = (extra == Extra::Control).then_some(&[7.0f32, 8.0, 9.0][..]);
            let companion = layout.companion(control, &[0.0; 6], 1, Some(&favourites)).unwrap();
            assert_eq!(companion.len() as u64, layout.companion_bytes());
            let read = layout.read(Some(&companion)).unwrap();
            assert_eq!((read.control.as_deref(), read.favourites), (control, Some(favourites)));
        }
    }

    #[test]
    fn steps_travel_exactly_and_divide_the_change() {
        let steps = layout(Extra::Steps, None);
        for count in [1, 3, 4, MAX_STEPS] {
            let numbers = floats(&steps.pack(LocalUpdate { steps: count, ..update() }).unwrap());
            assert_eq!(steps.mean(&numbers, 1).steps, count as f32);
            assert_eq!(numbers[0], 2.0 / count as f32);
            assert!(numbers[3] <= crate::sum::MAX_DELTA as f32);
        }
    }

    #[test]
    fn a_trainer_that_delivers_something_else_is_named_with_what() {
        let error = |layout: UpdateLayout, update| layout.pack(update).unwrap_err().to_string();
        let short = LocalUpdate { delta: vec![1.0], ..update() };
        assert_eq!(error(layout(Extra::Nothing, None), short), "the training gave 1 weights, 3 are due");
        let missing = error(layout(Extra::Control, None), update());
        assert_eq!(missing, "the training gave 0 numbers in the control variate, 3 are due");
        assert!(error(layout(Extra::Nothing, Some(SHAPE)), update()).starts_with("moments of None"));
        let extra = LocalUpdate { moments: Some(moments()), ..update() };
        assert!(error(layout(Extra::Nothing, None), extra).starts_with("moments of Some"));
        let lazy = LocalUpdate { steps: 0, ..update() };
        assert!(error(layout(Extra::Steps, None), lazy).starts_with("0 local steps"));
    }

    #[test]
    fn a_companion_of_another_length_or_without_numbers_is_the_servers_fault() {
        let layout = layout(Extra::Control, None);
        let short = Bytes::from(bytes_of(&[1.0]));
        assert_eq!(layout.read(Some(&short)), Err(Fault::WrongLength { expected: 12, got: 4 }));
        let nan = Bytes::from(bytes_of(&[1.0, f32::NAN, 0.0]));
        assert_eq!(layout.read(Some(&nan)), Err(Fault::NotFinite { index: 1 }));
    }
}
