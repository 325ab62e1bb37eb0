//! Who lies in a federation.

use std::collections::BTreeSet;
use std::sync::Arc;

use rand::seq::SliceRandom;
use somnus_model::NightPart;
use somnus_protocol::seed::{Label, Seed};
use somnus_protocol::trainer::Trainer;
use somnus_signals::{PersonId, Task};

use super::config::{Attack, AttackConfig};
use super::forge::{Forgery, Liar};
use super::nights::{backdoored, flipped};
use super::ring::{Lie, Ring, hiding};

/// The liars of one federation.
pub struct Crew {
    attack: Attack,
    task: Task,
    liars: BTreeSet<PersonId>,
    forgery: Forgery,
    seed: Seed,
}

/// Makes a client's hands from the nights that it trains on.
pub trait Hands: Fn(&PersonId, Vec<NightPart>) -> Arc<dyn Trainer> {}

impl<F: Fn(&PersonId, Vec<NightPart>) -> Arc<dyn Trainer>> Hands for F {}

/// People in the order in which they become liars: who lies in a small crew lies in a larger one of the same seed.
#[must_use]
pub fn order(people: &[PersonId], seed: u64) -> Vec<PersonId> {
    let mut order = people.to_vec();
    order.sort();
    order.shuffle(&mut seed_of(seed).rng());
    order
}

fn seed_of(seed: u64) -> Seed {
    Seed::from_number(seed).derive(Label::World, b"liars")
}

impl Crew {
    /// The liars among the training people of a federation. `nights` and `hands` say what honest ones would have.
    pub fn recruit(
        config: &AttackConfig,
        task: Task,
        people: &[PersonId],
        seed: u64,
        nights: impl Fn(&PersonId) -> Vec<NightPart>,
        hands: &impl Hands,
    ) -> Self {
        let number = config.liars(people.len());
        let liars: Vec<PersonId> = order(people, seed).into_iter().take(number).collect();
        let ring = |lie| {
            let hands = liars.iter().map(|person| hands(person, nights(person))).collect();
            Forgery::Colluding(Arc::new(Ring::new(hands, lie, seed_of(seed))))
        };
        let forgery = match config.attack {
            Attack::LabelFlip {} => Forgery::Scaled(1.0),
            Attack::SignFlip { scale } => Forgery::Scaled(-scale),
            Attack::Boosting { gamma } | Attack::Backdoor { gamma, .. } => Forgery::Scaled(gamma),
            Attack::Alie { z } => ring(Lie::Deviations(z.unwrap_or_else(|| hiding(people.len(), number)))),
            Attack::InnerProduct { epsilon } => ring(Lie::Mean(-epsilon)),
            Attack::FreeRider { noise } => Forgery::Idle(noise),
            Attack::Replay {} => Forgery::Old,
        };
        let seed = seed_of(seed);
        Self { attack: config.attack, task, liars: liars.into_iter().collect(), forgery, seed }
    }

    /// Who lies.
    #[must_use]
    pub fn liars(&self) -> &BTreeSet<PersonId> {
        &self.liars
    }

    /// The trainer of a client: `hands` on its nights, or a liar's.
    pub fn trainer(&self, person: &PersonId, nights: Vec<NightPart>, hands: &impl Hands) -> Arc<dyn Trainer> {
        if !self.liars.contains(person) {
            return hands(person, nights);
        }
        let nights = nights.into_iter().map(|part| self.taint(person, part)).collect();
        Arc::new(Liar::new(hands(person, nights), self.forgery.clone()))
    }

    /// What a liar trains on.
    fn taint(&self, person: &PersonId, part: NightPart) -> NightPart {
        let NightPart { night, epochs } = part;
        match self.attack {
            Attack::LabelFlip {} | Attack::Boosting { .. } => {
                NightPart::part(flipped(&night, self.task), epochs)
            }
            Attack::Backdoor { share, .. } => {
                let context = format!("{person} {}", night.name);
                let mut rng = self.seed.derive(Label::Client, context.as_bytes()).rng();
                NightPart::part(backdoored(&night, share, &mut rng), epochs)
            }
            _ => NightPart { night, epochs },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attack_small_crews_are_part_of_larger_ones() {
        let people: Vec<PersonId> = (0..20).map(|n| PersonId::new(format!("p{n:02}")).unwrap()).collect();
        let hands = |_: &PersonId, _: Vec<NightPart>| -> Arc<dyn Trainer> {
            Arc::new(crate::attack::ring::tests::Fixed(vec![1.0]))
        };
        let crew = |fraction, seed| {
            let config = AttackConfig { fraction, attack: Attack::LabelFlip {} };
            Crew::recruit(&config, Task::Four, &people, seed, |_| Vec::new(), &hands).liars().clone()
        };
        let sizes: Vec<usize> = [0.0, 0.1, 0.3].iter().map(|f| crew(*f, 1).len()).collect();
        assert_eq!(sizes, [0, 2, 6]);
        assert!(crew(0.1, 1).is_subset(&crew(0.3, 1)));
        assert_ne!(crew(0.3, 1), crew(0.3, 2));
    }
}
