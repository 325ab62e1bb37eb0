//! The federation's alignment where all nights are in one place: each person is pulled towards all others.

use somnus_protocol::moments::{Embedding, Moments};

use super::{Align, Alignment, add};

/// What everybody's embeddings were like when they were last seen.
pub(crate) struct Others {
    weight: f32,
    shape: Embedding,
    /// Whose each night is.
    people: Vec<usize>,
    /// Of each person, the moments of the last view; of one that was not seen yet, none.
    last: Vec<Option<Moments>>,
}

impl Others {
    pub(crate) fn new(weight: f32, shape: Embedding, people: &[usize]) -> Self {
        let number = people.iter().max().map_or(0, |last| last + 1);
        Self { weight, shape, people: people.to_vec(), last: vec![None; number] }
    }
}

impl Align for Others {
    /// Pulls once everybody was seen, as a federation does from its second round on.
    fn pull(&mut self, night: usize, h: &[f32], classes: &[Option<u8>], dh: &mut [f32]) {
        let own = self.people[night];
        let others = self.last.iter().enumerate().filter(|(person, _)| *person != own);
        if others.clone().all(|(_, last)| last.is_some()) {
            let mut sum = Moments::new(self.shape);
            others.flat_map(|(_, last)| last).for_each(|last| sum.merge(last));
            Alignment::new(self.weight, &sum).of(h, classes, dh);
        }
        let mut seen = Moments::new(self.shape);
        add(&mut seen, h, classes);
        self.last[own] = Some(seen);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_is_pulled_towards_the_others_once_all_were_seen() {
        let shape = Embedding { classes: 1, width: 1 };
        let mut others = Others::new(1.0, shape, &[0, 1, 1, 2]);
        let classes = vec![Some(0); 20];
        let mut slope = |night: usize, level: f32| {
            // Around the level, so that there is a variance.
            let h: Vec<f32> = (0..20).map(|i| level + if i % 2 == 0 { 1.0 } else { -1.0 }).collect();
            let mut dh = vec![0.0; 20];
            others.pull(night, &h, &classes, &mut dh);
            dh.iter().sum::<f32>()
        };
        assert_eq!([slope(0, 0.0), slope(1, 5.0), slope(2, 5.0)], [0.0; 3]);
        // The first two were seen, the third is new to itself only.
        assert!(slope(3, 0.0) < 0.0, "up towards 2.5");
        assert!(slope(0, 9.0) > 0.0, "down towards 2.5");
        assert!(slope(2, 4.5).abs() < 1e-6, "the mean of 0 and 9");
    }
}
