//! The sum is exact, or there is none.

use proptest::prelude::{ProptestConfig, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use rand::RngCore;

use super::*;

fn vector(seed: u64, words: usize) -> Packed {
    let mut rng = Seed::from_number(seed).rng();
    Packed::from_words((0..words).map(|_| rng.next_u64()).collect())
}

/// Some of `from`, such that every member keeps a threshold of holders.
fn thinned(cohort: &Cohort, from: &Subset, rng: &mut impl RngCore) -> Subset {
    let graph = Graph::new(&cohort.parameters, cohort.roster.digest());
    let n = from.members();
    let mut left = from.clone();
    for _ in 0..rng.next_u32() % (n + 1) {
        let gone = rng.next_u32() % n;
        let fewer = Subset::of(n, left.iter().filter(|&member| member != gone));
        let living =
            |member: u32| graph.holders(member).into_iter().filter(|&h| fewer.contains(h)).count() as u32;
        if fewer.len() >= 2 && (0..n).all(|member| living(member) >= cohort.parameters.threshold()) {
            left = fewer;
        }
    }
    left
}

fn sizes() -> impl Strategy<Value = u32> {
    prop_oneof![12 => 2u32..=8, 4 => 9u32..=40, 1 => 41u32..=200]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_masked_sum_is_the_plain_sum_whoever_drops_out_and_whenever(n in sizes(), words in 0usize..150, number in any::<u64>()) {
        let cohort = Cohort { roll: Box::new(Credulous), ..Cohort::new(n, number) };
        let mut rng = Seed::from_number(!number).rng();
        let present = thinned(&cohort, &Subset::all(n), &mut rng);
        let survivors = thinned(&cohort, &present, &mut rng);
        let answering = thinned(&cohort, &survivors, &mut rng);
        let mut holdings = cohort.share(&present);
        let (mut plain, mut masked) = (Packed::zero(words), Packed::zero(words));
        for me in survivors.iter() {
            let mut vector = vector(number ^ u64::from(me), words);
            plain.add_assign(&vector);
            holdings[&me].mask(&mut vector);
            masked.add_assign(&vector);
        }
        let revealed = cohort.reveal(&mut holdings, &survivors, &answering);
        let unmask = cohort.unmask(&present, &survivors, revealed);
        prop_assert!(unmask.enough());
        prop_assert_eq!(unmask.run(&mut masked).unwrap(), Unmasked::default());
        prop_assert_eq!(masked, plain);
    }

    #[test]
    fn one_answer_below_the_threshold_there_is_no_sum(n in 2u32..=12, number in any::<u64>()) {
        let cohort = Cohort::new(n, number);
        let everybody = Subset::all(n);
        let mut holdings = cohort.share(&everybody);
        let mut revealed = cohort.reveal(&mut holdings, &everybody, &everybody);
        let threshold = cohort.parameters.threshold();
        while revealed.len() as u32 >= threshold {
            revealed.pop_first();
        }
        let unmask = cohort.unmask(&everybody, &everybody, revealed);
        prop_assert!(!unmask.enough());
        let mut sum = vector(number, 20);
        let fault: Fault = Violation::TooFewShares { client: cohort.client(0), got: threshold - 1, threshold }.into();
        prop_assert_eq!(unmask.run(&mut sum).unwrap_err(), fault);
        prop_assert_eq!(sum, vector(number, 20), "an error leaves the sum as it was");
    }
}

#[test]
fn what_a_client_sends_twice_is_the_same_bytes() {
    let cohort = Cohort::new(5, 1);
    let everybody = Subset::all(5);
    assert_eq!(cohort.join(2).shares(), cohort.join(2).shares());
    let masked = || {
        let mut vector = Packed::zero(70);
        cohort.share(&everybody)[&2].mask(&mut vector);
        vector
    };
    assert_eq!(masked(), masked());
    let revealed = || cohort.reveal(&mut cohort.share(&everybody), &everybody, &everybody);
    assert_eq!(revealed(), revealed());
}
