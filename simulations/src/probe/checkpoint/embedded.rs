//! Embeddings to ask: those of a checkpoint's encoder, and those of the same encoder with random weights.

use std::rc::Rc;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use somnus_model::encoder::{Wave, Weights};
use somnus_model::{DeviceKind, ModelError, Stager};
use somnus_signals::StreamKind;

/// Rows `[n, width]`.
pub(super) struct Matrix {
    pub(super) width: usize,
    pub(super) values: Vec<f32>,
}

impl Matrix {
    /// Some of the rows.
    pub(super) fn pick(&self, rows: &[usize]) -> Vec<f32> {
        rows.iter().flat_map(|row| &self.values[row * self.width..][..self.width]).copied().collect()
    }
}

/// What one way of embedding makes of all rows, for each seed.
#[derive(Clone)]
pub(super) struct Line {
    pub(super) name: String,
    pub(super) of_seed: Vec<Rc<Matrix>>,
}

/// What was trained, and beside it what was not.
pub(super) fn lines<E>(
    name: &str,
    seeds: u64,
    trained: Matrix,
    untrained: impl Fn(u64) -> Result<Matrix, E>,
) -> Result<[Line; 2], E> {
    let trained = Rc::new(trained);
    let fresh = (0..seeds).map(|seed| untrained(seed).map(Rc::new)).collect::<Result<_, _>>()?;
    Ok([
        Line { name: name.to_owned(), of_seed: (0..seeds).map(|_| Rc::clone(&trained)).collect() },
        Line { name: format!("{name}, untrained"), of_seed: fresh },
    ])
}

/// A waveform's encoder.
pub(super) struct Encoder {
    pub(super) wave: Wave,
    weights: Weights,
}

impl Encoder {
    /// The encoder of a stream that lies beside a stager; `None` if there is none.
    pub(super) fn of(stager: &Stager, stream: StreamKind) -> Result<Option<Self>, ModelError> {
        let Some(wave) = Wave::hub(stream) else { return Ok(None) };
        let own = format!("encoder.{stream}.");
        if !stager.frozen().keys().any(|name| name.starts_with(&own)) {
            return Ok(None);
        }
        let weights = Weights::from_tensors(&wave.specs(), stager.frozen(), DeviceKind::Flex)?;
        Ok(Some(Self { wave, weights }))
    }

    /// Its embeddings of `windows`, each `[window, channels]`, and those of fresh ones.
    pub(super) fn lines<W: AsRef<[f32]>>(&self, windows: &[W], seeds: u64) -> [Line; 2] {
        self.lines_by(seeds, |weights| self.wave.embed_windows(weights, windows))
    }

    /// Its embeddings of half minutes that follow each other in `samples`, and those of fresh ones.
    pub(super) fn lines_of_epochs(&self, samples: &[f32], seeds: u64) -> [Line; 2] {
        self.lines_by(seeds, |weights| self.wave.embed_night(weights, samples).values)
    }

    fn lines_by(&self, seeds: u64, embed: impl Fn(&Weights) -> Vec<f32>) -> [Line; 2] {
        let matrix = |weights: &Weights| Matrix { width: self.wave.embedding, values: embed(weights) };
        let fresh = |seed| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            Ok::<_, std::convert::Infallible>(matrix(&Weights::new(
                &self.wave.specs(),
                &mut rng,
                DeviceKind::Flex,
            )))
        };
        let Ok(lines) = lines(self.wave.stream.name(), seeds, matrix(&self.weights), fresh);
        lines
    }
}
