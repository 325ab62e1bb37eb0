//! What a server sees, alone or with the colluders that the parameters allow, is noise.
//!
//! The seeds are fixed, so these tests always give the same result. For a true uniform source and a fresh seed, each
//! chi-square bound below would be passed by chance with a probability of 1e-6.

use std::collections::BTreeSet;

use super::mask::{Mask, Sign, apply};
use super::*;

/// The 1 - 1e-6 quantile of chi-square with 255 degrees of freedom (Wilson-Hilferty).
const CHI_SQUARE_255: f64 = 377.0;
/// The same with 64 degrees of freedom.
const CHI_SQUARE_64: f64 = 135.0;

/// Checks that words are uniform: their bytes, and each of their bits.
fn assert_uniform(words: &[u64]) {
    let mut bytes = [0u32; 256];
    let mut bits = [0u32; 64];
    for word in words {
        word.to_le_bytes().iter().for_each(|&byte| bytes[byte as usize] += 1);
        bits.iter_mut().enumerate().for_each(|(i, ones)| *ones += (word >> i & 1) as u32);
    }
    let expected = words.len() as f64 * 8.0 / 256.0;
    let of_bytes: f64 = bytes.iter().map(|&seen| (f64::from(seen) - expected).powi(2) / expected).sum();
    assert!(of_bytes < CHI_SQUARE_255, "bytes: chi-square {of_bytes}");
    let half = words.len() as f64 / 2.0;
    let of_bits: f64 = bits.iter().map(|&ones| (f64::from(ones) - half).powi(2) / (half / 2.0)).sum();
    assert!(of_bits < CHI_SQUARE_64, "bits: chi-square {of_bits}");
}

#[test]
fn the_test_itself_sees_a_missing_mask() {
    let almost: Vec<u64> = (0..20_000u64).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15) & !1).collect();
    assert!(std::panic::catch_unwind(|| assert_uniform(&almost)).is_err());
}

#[test]
fn one_upload_is_uniform_to_the_server() {
    let everybody = Subset::all(4);
    let mut seen = vec![];
    for number in 0..40 {
        let (holding, _) = Cohort::new(4, number).join(0).receive(everybody.clone(), []).unwrap();
        let mut upload = Packed::zero(512);
        holding.mask(&mut upload);
        seen.extend_from_slice(upload.words());
    }
    assert_uniform(&seen);
}

/// Everything that the server and `colluders` can subtract from the upload of `victim` once the round is over: its
/// self-mask and its masks with colluders and drop-outs.
fn stripped(cohort: &Cohort, upload: &Packed, victim: u32, known: &BTreeSet<u32>) -> Packed {
    let secrets = |member: u32| RoundSecrets::new(&cohort.seeds[member as usize]);
    let digest = cohort.roster.digest();
    let mut masks = vec![Mask::own(secrets(victim).self_mask(), digest, Sign::Minus)];
    for &other in known {
        let agreed = secrets(other).mask_key().diffie_hellman(&cohort.roster.mask_key(victim));
        masks.push(Mask::pair(&agreed, digest, other, victim, Sign::of_pair(victim, other).flip()));
    }
    let mut words = upload.words().to_vec();
    apply(&mut words, &mut masks);
    Packed::from_words(words)
}

#[test]
fn the_server_with_all_colluders_that_are_allowed_sees_only_the_sum_of_the_honest() {
    let (n, words) = (10, 512);
    let everybody = Subset::all(n);
    let mut seen = vec![];
    for number in 0..40 {
        let cohort = Cohort::new(n, number);
        let colluders: BTreeSet<u32> = (n - cohort.parameters.colluders()..n).collect();
        // Client 3 drops out after it shared; its mask key becomes known.
        let known: BTreeSet<u32> = colluders.iter().copied().chain([3]).collect();
        let honest: Vec<u32> = (0..n).filter(|member| !known.contains(member)).collect();
        let mut left = Packed::zero(words);
        for &victim in &honest {
            let (holding, _) = cohort.join(victim).receive(everybody.clone(), []).unwrap();
            let mut upload = Packed::from_words(vec![u64::from(victim); words]);
            holding.mask(&mut upload);
            let residual = stripped(&cohort, &upload, victim, &known);
            left.add_assign(&residual);
            if victim == 0 {
                seen.extend_from_slice(residual.words());
            }
        }
        assert_eq!(left, Packed::from_words(vec![honest.iter().map(|&v| u64::from(v)).sum(); words]));
    }
    assert_uniform(&seen);
}

#[test]
fn the_coalition_never_holds_a_threshold_of_shares_of_both_secrets() {
    for n in [3u32, 7, 10, 30] {
        let cohort = Cohort::new(n, 1);
        let (threshold, colluding) = (cohort.parameters.threshold(), cohort.parameters.colluders());
        assert!(colluding < threshold, "colluders alone recover nothing");
        let everybody = Subset::all(n);
        let survivors = Subset::of(n, if n > threshold { 1..n } else { 0..n });
        let colluders: BTreeSet<u32> = (n - colluding..n).collect();
        let mut holdings = cohort.share(&everybody);
        let revealed = cohort.reveal(&mut holdings, &survivors, &survivors);
        // (owner, of the mask key?) -> who gave the coalition a share of it.
        let mut view: BTreeMap<(u32, bool), BTreeSet<u32>> = BTreeMap::new();
        for &holder in &colluders {
            for owner in everybody.iter() {
                view.entry((owner, true)).or_default().insert(holder);
                view.entry((owner, false)).or_default().insert(holder);
            }
        }
        for (&holder, shares) in &revealed {
            for Revealed { owner, share } in shares {
                let secrets = RoundSecrets::new(&cohort.seeds[*owner as usize]);
                let (mask_key, self_mask) = secrets.split(threshold);
                let of_mask_key = *share == mask_key.share(holder);
                assert!(of_mask_key != (*share == self_mask.share(holder)), "one share of one secret");
                view.entry((*owner, of_mask_key)).or_default().insert(holder);
            }
        }
        for owner in everybody.iter().filter(|owner| !colluders.contains(owner)) {
            let survived = survivors.contains(owner);
            let forbidden = view.get(&(owner, survived)).map_or(0, BTreeSet::len) as u32;
            assert!(forbidden < threshold, "{forbidden} shares of the other secret of {owner}, n = {n}");
            assert!(view[&(owner, !survived)].len() as u32 >= threshold, "the round goes on");
        }
    }
}

#[test]
fn no_two_masks_are_alike_in_any_round_or_pair() {
    let mut seen = BTreeSet::new();
    let mut count = 0;
    let everybody = Subset::all(5);
    for number in [1, 2] {
        let cohort = Cohort::new(5, number);
        // The same keys under another roster: the server left one member out.
        let fewer = cohort.roster.members()[..4].to_vec();
        let smaller = Roster::new(ROUND, assignment(), fewer).unwrap();
        for (roster, n) in [(&cohort.roster, everybody.members()), (&smaller, 4)] {
            for a in 0..n {
                let secrets = RoundSecrets::new(&cohort.seeds[a as usize]);
                let mut masks = vec![Mask::own(secrets.self_mask(), roster.digest(), Sign::Plus)];
                for b in a + 1..n {
                    let agreed = secrets.mask_key().diffie_hellman(&roster.mask_key(b));
                    masks.push(Mask::pair(&agreed, roster.digest(), a, b, Sign::Plus));
                }
                for mask in masks {
                    let mut words = [0u64; 4];
                    apply(&mut words, &mut [mask]);
                    seen.insert(words);
                    count += 1;
                }
            }
        }
    }
    assert_eq!((seen.len(), count), (50, 50));
}
