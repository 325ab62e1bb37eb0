//! Attacks on privacy: they succeed where nothing is in their way, and fail where the defence is sufficient.
//!
//! Successes are asserted far above chance. Failures are asserted within 3.3 standard errors of chance, people counted as the
//! independent ones: one such assertion in a thousand would fail by accident for another seed; for these it does not, or always.

use std::path::Path;
use std::time::Instant;

use somnus_report::{LeakScore, Summary};
use somnus_sim::cohort::People;
use somnus_sim::federate::Means;
use somnus_sim::privacy_attack;
use somnus_sim::progress::Progress;
use somnus_sim::scenario::Scenario;
use somnus_sim::start::Start;
use somnus_sim::transport::Transport;

const INVERSION: &str = "inversion: what was in an update?";
const LINKAGE: &str = "linkage: whose update is it?";
const PRESENCE: &str = "presence: is a person in the sum?";
const MEMBERSHIP: &str = "membership: was a person in the training?";

fn smoke() -> Scenario {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/sim/privacy-attacks-smoke.toml");
    Scenario::load(Path::new(path)).unwrap()
}

fn run(scenario: &Scenario, jobs: usize) -> Summary {
    let people = People::of(scenario, None).unwrap();
    let config = scenario.privacy_attacks.clone().unwrap();
    let means = Means { transport: Transport::Memory, jobs };
    let hidden = |_| Progress::hidden();
    privacy_attack::run(scenario, &config, &Start::Random, people, means, Instant::now(), hidden).unwrap()
}

fn score<'a>(found: &'a Summary, attack: &str, against: &str, measure: &str) -> &'a LeakScore {
    let line = found.leaks.iter().find(|leak| leak.attack == attack && leak.against == against);
    let line = line.unwrap_or_else(|| panic!("no line {attack} {against}"));
    line.scores.iter().find(|score| score.measure == measure).unwrap()
}

#[test]
fn privacy_every_attack_meets_every_defence_and_threads_change_nothing() {
    let scenario = smoke();
    let found = run(&scenario, 2);
    let lines = |attack: &str| found.leaks.iter().filter(|leak| leak.attack == attack).count();
    assert_eq!([INVERSION, LINKAGE, PRESENCE, MEMBERSHIP].map(lines), [8, 6, 4, 5]);
    for leak in &found.leaks {
        assert_eq!(leak.people, 10, "{}", leak.against);
        for score in &leak.scores {
            assert!(score.value.is_some() && score.interval.is_some(), "{}: {}", leak.against, score.measure);
            assert_eq!(score.seeds.n, 2, "{}: {}", leak.against, score.measure);
        }
    }
    assert_eq!(found.rows.len(), 5);
    assert!(found.rows.iter().all(|row| row.subjects.len() == 10));
    assert_eq!(found.reproducible(), run(&scenario, 1).reproducible());

    let mut few = scenario;
    few.privacy_attacks.as_mut().unwrap().cohorts = vec![10];
    let config = few.privacy_attacks.clone().unwrap();
    let people = People::of(&few, None).unwrap();
    let means = Means { transport: Transport::Memory, jobs: 1 };
    let none = privacy_attack::run(&few, &config, &Start::Random, people, means, Instant::now(), |_| {
        Progress::hidden()
    });
    let error = none.unwrap_err().to_string();
    assert_eq!(error, "privacy_attacks: 10 people with a scored night, more than 10 are needed");
}

/// People who differ much, and a plan that learns them by heart.
const LEAKY: &str = "
name = 'leaky'
seeds = [1]
[data]
kind = 'synthetic'
people = 24
seed = 3
diversity = 1.0
[net]
width = 16
dilations = [1, 4]
[federation]
rounds = 30
evaluate_every = 0
weighting = 'uniform'
[federation.plan]
steps = 3
learning_rate = 1e-2
dropout = 0.0
augmentation = { input_noise = 0.0 }
[privacy_attacks]
cohorts = [3, 20]
epsilons = [2.0]
sets = ['full']
references = 4
draws = 1
";

#[test]
fn privacy_attacks_succeed_on_what_is_plain_and_fail_against_sufficient_sums_and_noise() {
    let found = run(&Scenario::from_text(LEAKY).unwrap(), 2);
    let value = |attack: &str, against: &str, measure: &str| {
        let LeakScore { value, chance, .. } = score(&found, attack, against, measure);
        (value.unwrap(), *chance)
    };
    // Of rates over n people, or over pairs of a person and a truth.
    let blind =
        |(value, chance): (f64, f64), n: f64| value - chance < 3.3 * (chance * (1.0 - chance) / n).sqrt();
    // An AUC without knowledge has the deviation of the Mann-Whitney statistic, here of 12 people on each side.
    let level = |(value, _): (f64, f64)| (value - 0.5).abs() < 3.3 * (25.0 / (12.0 * 144.0f64)).sqrt();

    // One epoch comes back as it was: what went in, what the head saw, the stage.
    let of_one = |against: &str| {
        ["inputs, cosine", "embedding, cosine", "stages, share"].map(|it| value(INVERSION, against, it))
    };
    let plain = of_one("an update: one step on one epoch");
    assert!(plain.iter().all(|(value, _)| *value > 0.99), "{plain:?}");
    let few = of_one("masked sum of 3, one epoch each");
    assert!(few[0].0 > 0.25 && few[0].0 < 0.7, "a sum of three still says something: {few:?}");
    let many = of_one("masked sum of 20, one epoch each");
    assert!(many[0].0 < 0.4 && blind(many[2], 24.0), "{many:?}");
    for noise in ["server's", "clients'"] {
        let noisy = of_one(&format!("one epoch, the {noise} noise of epsilon 2, the others known"));
        // Cosines of some 50 standardised columns that have nothing to do with each other, over 24 people.
        assert!(noisy[..2].iter().all(|(value, _)| value.abs() < 0.2) && blind(noisy[2], 24.0), "{noisy:?}");
    }

    let linked = |against: &str| value(LINKAGE, against, "by another round, top-1");
    assert!(linked("an update").0 > 0.95);
    let twice = "two masked sums, 20 people and 19 of them, the same work twice";
    assert!(linked(twice).0 > 0.95, "masks do not help against a server that asks twice");
    for noise in ["server's", "clients'"] {
        let noisy = linked(&format!("an update, the {noise} noise of epsilon 2, the others known"));
        assert!(blind(noisy, 24.0), "{noise} {noisy:?}");
    }
    let noisy = linked(&format!("{twice}, the clients' noise of epsilon 2"));
    assert!(blind(noisy, 24.0), "{noisy:?}");

    let present = |against: &str| value(PRESENCE, against, "by another round, AUC");
    assert!(present("masked sum of 3").0 > 0.9);
    assert!(level(present("sum of 20, the server's noise of epsilon 2")));

    for measure in ["loss, AUC", "loss beside the foundation's, AUC", "likelihood ratio, AUC"] {
        let of = |against: &str| value(MEMBERSHIP, &format!("release, full, {against}"), measure);
        let (plain, masked, noisy) = (of("plain rounds"), of("masked rounds"), of("masked, epsilon 2"));
        assert!(plain.0 > 0.7, "{measure} {plain:?}");
        assert!(
            (masked.0 - plain.0).abs() < 0.02,
            "masks hide the way, not the result: {measure} {masked:?}"
        );
        assert!(level(noisy), "{measure} {noisy:?}");
    }
}
