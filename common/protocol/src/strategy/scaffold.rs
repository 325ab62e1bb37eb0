//! SCAFFOLD (Karimireddy et al. 2020, "Stochastic Controlled Averaging for Federated Learning"): clients are told where
//! everybody is heading, and correct each step by how their own heading differs. Both halves are here.

use super::Strategy;
use crate::update::Mean;

/// The server's half: `w <- w + rate d`; `c <- c + |S|/N dc`, with `d` and `dc` the mean changes of weights and control
/// variates of the `|S|` clients in the round, `N` in the federation.
pub struct Scaffold {
    rate: f32,
    population: u32,
    control: Vec<f32>,
}

impl Scaffold {
    /// The rule for `len` weights and `population` clients, with no heading yet.
    pub fn new(rate: f32, population: u32, len: usize) -> Self {
        Self { rate, population, control: vec![0.0; len] }
    }
}

impl Strategy for Scaffold {
    fn step(&mut self, weights: &mut [f32], mean: &Mean<'_>) {
        let share = (mean.updates as f32 / self.population as f32).min(1.0);
        for (weight, delta) in weights.iter_mut().zip(mean.delta) {
            *weight += self.rate * delta;
        }
        for (control, change) in self.control.iter_mut().zip(mean.control) {
            *control += share * change;
        }
    }

    fn control(&self) -> Option<&[f32]> {
        Some(&self.control)
    }

    fn state(&self) -> Vec<&[f32]> {
        vec![&self.control]
    }

    fn restore(&mut self, state: Vec<Vec<f32>>) {
        if let Ok([control]) = <[Vec<f32>; 1]>::try_from(state) {
            self.control = control;
        }
    }
}

/// The client's half for one round: `y <- y - eta (g + c - c_k)` in each step; then, as the paper's option II,
/// `c_k+ = c_k - c + (w - y) / (steps eta)`.
#[derive(Clone, PartialEq, Debug)]
pub struct ClientControl {
    server: Vec<f32>,
    own: Vec<f32>,
}

impl ClientControl {
    /// From the server's control variate `c` and the client's own `c_k`; one of another length, as of another trainable
    /// set, counts as none.
    pub fn new(server: Vec<f32>, own: Option<Vec<f32>>) -> Self {
        let own = own.filter(|own| own.len() == server.len()).unwrap_or_else(|| vec![0.0; server.len()]);
        Self { server, own }
    }

    /// `c - c_k`: what to add to each step's gradient, after clipping.
    pub fn correction(&self) -> Vec<f32> {
        self.server.iter().zip(&self.own).map(|(server, own)| server - own).collect()
    }

    /// After `steps` steps at rate `eta` that changed the weights by `delta`: the change of the client's control variate,
    /// for the update, and the new one, to remember. `steps` must not be 0.
    pub fn finish(self, delta: &[f32], steps: u32, eta: f32) -> (Vec<f32>, Vec<f32>) {
        let Self { server, mut own } = self;
        let unit = 1.0 / (steps as f32 * eta);
        let change: Vec<f32> = server.iter().zip(delta).map(|(c, d)| -c - d * unit).collect();
        own.iter_mut().zip(&change).for_each(|(own, change)| *own += change);
        (change, own)
    }
}
