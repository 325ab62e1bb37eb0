//! A fresh probe: somebody who knows part of everybody's night tries to tell whose the other epochs are.
//!
//! The probe is a softmax regression on standardised rows of numbers, one row an epoch, trained on the first part of each
//! night and judged on the last. It shares nothing with whatever made the rows, so what it finds is in them. What it cannot
//! tell apart, a stronger one might: its accuracy is a lower bound of what rows give away. On one night a person the bound
//! is easily high: a whole night's level of heart rate, or how the watch sits, stays from the first part to the last.

use somnus_model::{ModelError, Stager};
use somnus_report::{Identification, Spread};
use somnus_signals::split::chronological;
use somnus_signals::{Cohort, Night, PersonId};

use crate::regression::Regression;

/// The part of a night that the probe learns from, and the epochs between it and what it is judged on.
pub(crate) const CUT: (f32, usize) = (0.6, 20);

/// How well people are told apart, each person weighing alike.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Identity {
    /// People.
    pub people: usize,
    /// Share of epochs whose sleeper is named; a guess gets one over [`Identity::people`].
    pub epoch: f64,
    /// Share of nights whose sleeper most epochs name.
    pub night: f64,
}

/// Rows of numbers of each person's nights.
pub struct Gallery {
    width: usize,
    /// Per person its nights, each `[epochs, width]`.
    people: Vec<Vec<Vec<f32>>>,
    cut: (f32, usize),
}

/// What of a night the probe looks at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Look {
    /// What the network is given.
    Inputs,
    /// What its head is given.
    Embeddings,
}

impl Gallery {
    /// Rows that are there already: of each person the nights, each `[epochs, width]`.
    #[must_use]
    pub fn new(width: usize, people: Vec<Vec<Vec<f32>>>) -> Self {
        Self { width, people, cut: CUT }
    }

    /// The same with another cut: the first `cut.0` of a recording is learned from, the next `cut.1` rows are neither.
    #[must_use]
    pub fn cut_at(self, cut: (f32, usize)) -> Self {
        Self { cut, ..self }
    }

    /// The rows of `people`, as a network has them.
    ///
    /// # Errors
    /// [`ModelError`] for a night that the network cannot take.
    pub fn of<'a>(
        stager: &Stager,
        look: Look,
        people: impl IntoIterator<Item = Vec<&'a Night>>,
    ) -> Result<Self, ModelError> {
        let rows = |night: &Night| -> Result<_, ModelError> {
            let prepared = stager.prepare(night)?;
            Ok(match look {
                Look::Inputs => (prepared.values().to_vec(), prepared.epochs()),
                Look::Embeddings => (stager.embed(&prepared).values().to_vec(), prepared.epochs()),
            })
        };
        let mut gallery = Self { width: 0, people: Vec::new(), cut: CUT };
        for nights in people {
            let mut own = Vec::new();
            for night in nights {
                let (values, epochs) = rows(night)?;
                gallery.width = values.len() / epochs.max(1);
                own.push(values);
            }
            gallery.people.push(own);
        }
        Ok(gallery)
    }

    /// Trains a probe and judges it. `None` with fewer than two people who have something to learn from and to be judged
    /// on.
    #[must_use]
    pub fn identify(&self, seed: u64) -> Option<Identity> {
        let (mut known, mut asked) = (Vec::new(), Vec::new());
        for nights in &self.people {
            let parts = nights.iter().map(|night| {
                let (first, last) = chronological(night.len() / self.width.max(1), self.cut.0, self.cut.1);
                let rows =
                    |part: std::ops::Range<usize>| &night[part.start * self.width..part.end * self.width];
                (rows(first), rows(last))
            });
            let (first, last): (Vec<&[f32]>, Vec<&[f32]>) =
                parts.filter(|(first, last)| !first.is_empty() && !last.is_empty()).unzip();
            if !first.is_empty() {
                known.push(first);
                asked.push(last);
            }
        }
        if known.len() < 2 {
            return None;
        }
        let probe = Regression::fit(self.width, &known, seed);
        let people = known.len();
        let (mut epoch, mut night) = (0.0, 0.0);
        for (person, nights) in asked.iter().enumerate() {
            let (mut right, mut rows, mut named) = (0, 0, 0);
            for asked in nights {
                let mut votes = vec![0usize; people];
                asked.chunks_exact(self.width).for_each(|row| votes[probe.class(row)] += 1);
                right += votes[person];
                rows += votes.iter().sum::<usize>();
                // The first of equals.
                named += usize::from((0..people).rev().max_by_key(|p| votes[*p]) == Some(person));
            }
            epoch += right as f64 / rows as f64 / people as f64;
            night += named as f64 / nights.len() as f64 / people as f64;
        }
        Some(Identity { people, epoch, night })
    }
}

/// The nights of each of `people`, for [`Gallery::of`].
pub fn nights_of<'a>(
    people: &'a crate::cohort::People,
    chosen: &'a [PersonId],
) -> impl Iterator<Item = Vec<&'a Night>> {
    chosen.iter().map(|person| people.nights_of(person).map(|night| &**night).collect())
}

/// How well the people of a cohort are told apart by what a network is given, and by what it makes of it. Empty with fewer
/// than two people who have enough of a night.
///
/// # Errors
/// [`ModelError`] for a night that the network cannot take.
pub fn subjects(stager: &Stager, cohort: &Cohort, seeds: u64) -> Result<Vec<Identification>, ModelError> {
    let people = cohort.people();
    let mut found = Vec::new();
    for (name, look) in [("inputs", Look::Inputs), ("embeddings", Look::Embeddings)] {
        let nights = people.iter().map(|person| cohort.nights_of(person).collect());
        let gallery = Gallery::of(stager, look, nights)?;
        let identities: Vec<Identity> = (0..seeds).filter_map(|seed| gallery.identify(seed)).collect();
        found.extend(identification(name, "probed", &identities));
    }
    Ok(found)
}

/// Probes of one kind together; `None` of none.
pub fn identification(row: &str, who: &str, found: &[Identity]) -> Option<Identification> {
    let chance = Spread::of(found.iter().map(|identity| Some(1.0 / identity.people as f64))).mean?;
    Some(Identification {
        row: row.to_owned(),
        who: who.to_owned(),
        chance,
        epoch: Spread::of(found.iter().map(|identity| Some(identity.epoch))),
        night: Spread::of(found.iter().map(|identity| Some(identity.night))),
    })
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// `number` people with a night each, told apart by their level in one of three columns.
    fn gallery(number: usize, apart: f32) -> Gallery {
        let mut rng = ChaCha8Rng::seed_from_u64(9);
        let mut night = |person: usize| {
            let row = |_| {
                [0, 1, 2].map(|c| {
                    rng.random_range(-1.0..1.0f32) + if c == 1 { apart * person as f32 } else { 0.0 }
                })
            };
            (0..300).flat_map(row).collect::<Vec<f32>>()
        };
        Gallery::new(3, (0..number).map(|person| vec![night(person)]).collect())
    }

    #[test]
    fn people_who_differ_are_told_apart_and_others_are_not() {
        let far = gallery(5, 4.0).identify(1).unwrap();
        assert!(far.epoch > 0.97 && far.night == 1.0 && far.people == 5, "{far:?}");
        let same = gallery(5, 0.0).identify(1).unwrap();
        assert!((same.epoch - 0.2).abs() < 0.06, "{same:?}");
        assert_eq!(gallery(5, 0.3).identify(3), gallery(5, 0.3).identify(3));
    }

    #[test]
    fn what_only_the_first_part_of_a_night_has_is_no_clue() {
        let mut gallery = gallery(4, 0.0);
        for (person, nights) in gallery.people.iter_mut().enumerate() {
            nights[0][..3 * 180].chunks_exact_mut(3).for_each(|row| row[0] += 9.0 * person as f32);
        }
        let found = gallery.identify(1).unwrap();
        assert!(found.epoch < 0.4, "{found:?}");
    }

    #[test]
    fn one_person_alone_is_not_probed() {
        assert_eq!(gallery(1, 1.0).identify(1), None);
        let mut short = gallery(3, 1.0);
        short.people[1][0].truncate(3 * 20);
        assert_eq!(short.identify(1).unwrap().people, 2);
    }
}
