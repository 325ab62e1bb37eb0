//! Tests of the rules for clients that differ: bowls with minima of their own, several local steps, through the ring.

use proptest::prelude::*;

use super::{ClientControl, FedAvg, Scaffold, Strategy as _, StrategyConfig};
use crate::sum::Sum;
use crate::trainer::LocalUpdate;
use crate::update::{Extra, Mean, Sections, UpdateLayout};

/// One client's loss `a/2 (w - b)^2`, and how it works.
#[derive(Clone, Copy)]
struct Bowl {
    a: f32,
    b: f32,
    steps: u32,
    examples: u32,
}

const ETA: f32 = 0.002;

/// Steep and shallow bowls far apart; who is far to the right works most.
const BOWLS: [Bowl; 4] = [
    Bowl { a: 1.0, b: -4.0, steps: 3, examples: 100 },
    Bowl { a: 2.0, b: 0.0, steps: 10, examples: 300 },
    Bowl { a: 0.5, b: 2.0, steps: 25, examples: 200 },
    Bowl { a: 1.5, b: 5.0, steps: 40, examples: 150 },
];

/// Where the weighted mean of the losses is least.
fn optimum(bowls: &[Bowl; 4]) -> f32 {
    let weight = |bowl: &Bowl| bowl.a * bowl.examples as f32;
    let total: f32 = bowls.iter().map(weight).sum();
    bowls.iter().map(|bowl| weight(bowl) * bowl.b).sum::<f32>() / total
}

/// How far from the optimum a federation is after `rounds` with the clients `who(round)`.
fn distance(
    bowls: &[Bowl; 4],
    config: StrategyConfig,
    rounds: usize,
    who: impl Fn(usize) -> Vec<usize>,
) -> f32 {
    let layout = UpdateLayout::new(1, Sections { extra: config.extra(), moments: None });
    let mut rule = config.build(1);
    let mut weights = [10.0f32];
    let mut own = [const { None }; 4];
    for round in 0..rounds {
        let mut sum = Sum::new(layout.numbers());
        for k in who(round) {
            let Bowl { a, b, steps, examples } = bowls[k];
            let server = rule.control().map(<[f32]>::to_vec);
            let control = server.map(|server| ClientControl::new(server, own[k].take()));
            let correction = control.as_ref().map_or(0.0, |control| control.correction()[0]);
            let mut w = weights[0];
            (0..steps).for_each(|_| w -= ETA * (a * (w - b) + correction));
            let delta = vec![w - weights[0]];
            let (change, remembered) = control.map(|control| control.finish(&delta, steps, ETA)).unzip();
            own[k] = remembered;
            let update = LocalUpdate { delta, control: change, steps, examples, ..LocalUpdate::default() };
            sum.add(&layout.pack(update).unwrap(), examples, 0.0).unwrap();
        }
        let mean = sum.mean();
        rule.step(&mut weights, &layout.mean(&mean, sum.updates()));
    }
    (weights[0] - optimum(bowls)).abs()
}

#[test]
fn where_fed_avg_is_drawn_to_those_who_work_most_fed_nova_and_scaffold_are_not() {
    let rest = |config| distance(&BOWLS, config, 2000, |_| vec![0, 1, 2, 3]);
    let average = rest(StrategyConfig::FedAvg { rate: 1.0 });
    let nova = rest(StrategyConfig::FedNova { rate: 1.0 });
    let scaffold = rest(StrategyConfig::Scaffold { rate: 1.0, population: 4 });
    assert!(average > 1.0, "FedAvg rests {average} from the optimum");
    // What is left is the curvature within a round, of the order of eta times steps.
    assert!(nova < 0.1 * average, "FedNova {nova}, FedAvg {average}");
    assert!(scaffold < 1e-3, "SCAFFOLD {scaffold}");
}

#[test]
fn scaffold_needs_only_some_of_the_clients_in_a_round() {
    // Weights are relative to a round: halves of a federation are fair to everybody only if all weigh the same.
    let bowls = BOWLS.map(|bowl| Bowl { examples: 100, ..bowl });
    let pairs = |round: usize| if round.is_multiple_of(2) { vec![0, 3] } else { vec![1, 2] };
    let average = distance(&bowls, StrategyConfig::FedAvg { rate: 1.0 }, 4000, pairs);
    let scaffold = distance(&bowls, StrategyConfig::Scaffold { rate: 1.0, population: 4 }, 4000, pairs);
    assert!(average > 1.0 && scaffold < 1e-3, "SCAFFOLD {scaffold}, FedAvg {average}");
}

proptest! {
    #[test]
    fn fed_nova_of_equal_steps_is_fed_avg(
        updates in prop::collection::vec((prop::collection::vec(-1f32..1.0, 3), 1u32..500), 1..8),
        steps in 1u32..60,
    ) {
        let layout = |extra| UpdateLayout::new(3, Sections { extra, moments: None });
        let release = |config: StrategyConfig| {
            let layout = layout(config.extra());
            let mut sum = Sum::new(layout.numbers());
            for (delta, examples) in &updates {
                let update =
                    LocalUpdate { delta: delta.clone(), steps, examples: *examples, ..LocalUpdate::default() };
                sum.add(&layout.pack(update).unwrap(), *examples, 0.0).unwrap();
            }
            let mut weights = [0.5f32, 0.0, -2.0];
            config.build(3).step(&mut weights, &layout.mean(&sum.mean(), sum.updates()));
            weights
        };
        let (average, nova) =
            (release(StrategyConfig::FedAvg { rate: 1.0 }), release(StrategyConfig::FedNova { rate: 1.0 }));
        for (a, n) in average.iter().zip(nova) {
            prop_assert!((a - n).abs() <= 1e-6 * (1.0 + a.abs()), "{a} and {n}");
        }
    }

    #[test]
    fn the_first_round_of_scaffold_is_fed_avg(
        delta in prop::collection::vec(-1f32..1.0, 4),
        control in prop::collection::vec(-1f32..1.0, 4),
        rate in 0.1f32..2.0,
    ) {
        let (mut a, mut b) = ([1.0f32; 4], [1.0f32; 4]);
        FedAvg::new(rate).step(&mut a, &Mean::plain(&delta, 2));
        let mut rule = Scaffold::new(rate, 8, 4);
        rule.step(&mut b, &Mean { control: &control, ..Mean::plain(&delta, 2) });
        prop_assert_eq!(a, b);
        // A client without a past under a server without one is not corrected.
        prop_assert_eq!(ClientControl::new(vec![0.0; 4], None).correction(), vec![0.0; 4]);
        // Two of eight clients move the server's control variate by a quarter.
        for (server, change) in rule.control().unwrap().iter().zip(control) {
            prop_assert_eq!(*server, 0.25 * change);
        }
    }
}

#[test]
fn a_control_variate_is_the_mean_gradient_and_one_of_another_length_is_none() {
    // Two steps of .1 along gradients 3 and 5, corrected by c - c_k = 2 - 1 each.
    let control = ClientControl::new(vec![2.0], Some(vec![1.0]));
    assert_eq!(control.correction(), [1.0]);
    let (change, own) = control.finish(&[-0.1 * (3.0 + 1.0 + 5.0 + 1.0)], 2, 0.1);
    assert!((own[0] - 4.0).abs() < 1e-6 && (change[0] - 3.0).abs() < 1e-6, "{own:?} {change:?}");
    assert_eq!(ClientControl::new(vec![2.0, 2.0], Some(vec![1.0])).correction(), [2.0, 2.0]);
    assert_eq!(StrategyConfig::Scaffold { rate: 1.0, population: 4 }.extra(), Extra::Control);
}
