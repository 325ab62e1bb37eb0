//! The way of whole contributions: against [`Sum`], which adds them in the clear.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::checkpoint::{bytes_of, floats};
use crate::fault::{ConfigError, Fault};
use crate::moments::Embedding;
use crate::packed::Packed;
use crate::seed::Seed;
use crate::sum::{MAX_EXAMPLES, Sum, Weighting};
use crate::update::{Extra, Sections, UpdateLayout};

const SHAPE: Embedding = Embedding { classes: 3, width: 2 };

/// One client: the change of each weight and of its control variate, moments, steps, examples, loss.
#[derive(Clone, Debug)]
struct Client {
    weights: Vec<f32>,
    control: Vec<f32>,
    moments: Vec<f32>,
    steps: u32,
    examples: u32,
    loss: f32,
}

impl Client {
    fn update(&self, layout: &UpdateLayout) -> Vec<u8> {
        let mut numbers = self.weights.clone();
        numbers.extend(&self.control[..layout.control().len()]);
        numbers.extend(&self.moments[..layout.moments().len()]);
        numbers.extend(layout.steps().map(|_| self.steps as f32 / 1024.0));
        bytes_of(&numbers)
    }
}

fn client(len: usize) -> impl Strategy<Value = Client> {
    let vector = || prop::collection::vec(-0.5f32..0.5, len);
    let moments = prop::collection::vec(-128f32..=128.0, SHAPE.numbers());
    (vector(), vector(), moments, 1u32..=100_000, 1..=MAX_EXAMPLES, -5f32..5.0).prop_map(
        |(weights, control, moments, steps, examples, loss)| Client {
            weights,
            control,
            moments,
            steps,
            examples,
            loss,
        },
    )
}

fn clients() -> impl Strategy<Value = Vec<Client>> {
    (1usize..300).prop_flat_map(|len| prop::collection::vec(client(len), 1..6))
}

fn layouts() -> impl Strategy<Value = Sections> {
    let extra = prop_oneof![Just(Extra::Nothing), Just(Extra::Control), Just(Extra::Steps)];
    (extra, prop::option::of(Just(SHAPE))).prop_map(|(extra, moments)| Sections { extra, moments })
}

fn configs() -> impl Strategy<Value = EncodingConfig> {
    let spread = prop_oneof![Just(Spread::Rotation), Just(Spread::Range(0.5))];
    let rounding = prop_oneof![Just(Rounding::Independent), Just(Rounding::Bounded)];
    (8u32..=20, spread, rounding).prop_map(|(levels_bits, spread, rounding)| EncodingConfig {
        levels_bits,
        spread,
        rounding,
        ..EncodingConfig::default()
    })
}

fn setup(layout: UpdateLayout, roster: u32, public: &Seed) -> Setup<'_> {
    Setup {
        layout,
        weighting: Weighting::Examples,
        roster,
        evaluation: None,
        public,
        beside: Beside::Everything,
        favourites: None,
    }
}

fn contribution(update: &[u8]) -> Contribution<'_> {
    Contribution { update, examples: MAX_EXAMPLES, loss: 0.5, evaluation: None, residual: None }
}

fn norm(x: &[f32]) -> f64 {
    x.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt()
}

proptest! {
    #[test]
    fn the_sum_of_encodings_is_the_sum(
        clients in clients(), sections in layouts(), config in configs(), uniform: bool, seed: u64, spare in 0u32..100,
    ) {
        let layout = UpdateLayout::new(clients[0].weights.len(), sections);
        let weighting = if uniform { Weighting::Uniform } else { Weighting::Examples };
        let public = Seed::from_number(seed);
        let count = clients.len() as u32;
        let setup = Setup { weighting, ..setup(layout, count + spare, &public) };
        let codec = Codec::new(&config, &setup).unwrap();
        let mut exact = Sum::new(layout.numbers());
        let mut encoded = Vec::new();
        for (i, client) in clients.iter().enumerate() {
            let update = client.update(&layout);
            let contribution =
                Contribution { examples: client.examples, loss: client.loss, ..contribution(&update) };
            encoded.push(codec.encode(&contribution, &Seed::from_number(i as u64)).unwrap().packed);
            exact.add(&update, if uniform { 1 } else { client.examples }, client.loss).unwrap();
        }
        let mut sum = Packed::zero(codec.words());
        let mut backwards = sum.clone();
        encoded.iter().for_each(|packed| sum.add_assign(packed));
        encoded.iter().rev().for_each(|packed| backwards.add_assign(packed));
        prop_assert_eq!(&sum, &backwards);

        let decoded = codec.decode(&sum, count).unwrap();
        let mean = exact.mean();
        prop_assert_eq!(decoded.mean.len(), mean.len());
        prop_assert_eq!(decoded.weight, exact.examples());
        prop_assert_eq!(decoded.examples, clients.iter().map(|c| u64::from(c.examples)).sum::<u64>());
        prop_assert!((decoded.loss - exact.mean_loss()).abs() < 1e-4);
        prop_assert_eq!((decoded.updates, decoded.clipped), (count, 0));
        // Each client moves each lane by less than one unit; the rotation keeps the length of that.
        let heaviest = if uniform { 1 } else { MAX_EXAMPLES };
        let share = f64::from(heaviest) * f64::from(count) / exact.examples() as f64;
        let Sensitivity { unit, lanes, .. } = codec.sensitivity();
        let vector = unit * (lanes as f64).sqrt() * share + 1e-4;
        let error = |section: std::ops::Range<usize>| {
            let differences = decoded.mean[section.clone()].iter().zip(&mean[section]).map(|(a, b)| a - b);
            norm(&differences.collect::<Vec<f32>>())
        };
        prop_assert!(error(layout.weights()) < vector, "{} of {vector}", error(layout.weights()));
        prop_assert!(error(layout.control()) < vector);
        prop_assert!(error(layout.moments()) < 1e-3 * share.max(1.0));
        if let (Some(got), Some(exact)) = (decoded.mean[layout.steps()].first(), mean[layout.steps()].first()) {
            prop_assert!((got - exact).abs() <= exact * 1e-6);
        }
    }

    /// What is left out of one round comes with a later one: what has arrived and what is still at home is all there was.
    #[test]
    fn error_feedback_loses_nothing(len in 20usize..200, low_rank: bool, seed: u64) {
        let reduce = if low_rank { Reduce::LowRank { rank: 3 } } else { Reduce::TopK { fraction: 0.2 } };
        let config = EncodingConfig { reduce, clip_norm: 1e4, ..EncodingConfig::default() };
        let layout = UpdateLayout::new(len, Sections::default());
        let weights: Vec<f32> = (0..len).map(|i| (i as f32 * 0.7).sin()).collect();
        let update = bytes_of(&weights);
        let (mut arrived, mut favourites, mut residual) = (vec![0.0; len], None::<Bytes>, None);
        let rounds = 12;
        for round in 0..rounds {
            let public = Seed::from_number(seed ^ round);
            let setup = Setup { favourites: favourites.as_deref(), ..setup(layout, 1, &public) };
            let codec = Codec::new(&config, &setup).unwrap();
            let contribution = Contribution { residual: residual.as_deref(), ..contribution(&update) };
            let encoded = codec.encode(&contribution, &Seed::from_number(round)).unwrap();
            let mean = codec.decode(&encoded.packed, 1).unwrap().mean;
            let before = arrived.clone();
            arrived.iter_mut().zip(&mean).for_each(|(sum, mean)| *sum += mean);
            (favourites, residual) = (reduce.favourites(&before, &arrived), encoded.residual);
        }
        let home = floats(&residual.unwrap());
        // Lanes are worth about 1e4 * 2 * 6 / 65536 / sqrt(lanes): that much is lost to rounding, by chance.
        for ((arrived, home), weight) in arrived.iter().zip(&home).zip(&weights) {
            prop_assert!((arrived + home - weight * rounds as f32).abs() < 12.0, "{arrived} {home} {weight}");
        }
        prop_assert!(norm(&home) < norm(&weights) * rounds as f64 * 0.9);
    }
}

/// Clients that step towards targets of their own, a third of whom are missing each round: with a tenth of the weights a
/// round the release comes to rest where it does with all of them, at the mean of the targets.
#[test]
fn a_federation_with_a_tenth_of_the_weights_comes_to_the_same_mean() {
    const LEN: usize = 400;
    const CLIENTS: usize = 6;
    let target = |client: usize, i: usize| ((client * 31 + i * 17) % 23) as f32 / 11.0 - 1.0;
    let layout = UpdateLayout::new(LEN, Sections::default());
    let run = |reduce: Reduce, rounds: u64| {
        let config = EncodingConfig { reduce, clip_norm: 100.0, ..EncodingConfig::default() };
        let (mut release, mut favourites) = (vec![0.0f32; LEN], None::<Bytes>);
        let mut residuals = vec![None::<Bytes>; CLIENTS];
        let mut average = vec![0.0f64; LEN];
        for round in 0..rounds {
            let public = Seed::from_number(round);
            let there = |client: &usize| !(*client as u64 + round).is_multiple_of(3);
            let cohort: Vec<usize> = (0..CLIENTS).filter(there).collect();
            let setup = Setup {
                favourites: favourites.as_deref(),
                weighting: Weighting::Uniform,
                ..setup(layout, cohort.len() as u32, &public)
            };
            let codec = Codec::new(&config, &setup).unwrap();
            let mut sum = Packed::zero(codec.words());
            for client in &cohort {
                let step = |(i, weight): (usize, &f32)| 0.01 * (target(*client, i) - weight);
                let update = bytes_of(&release.iter().enumerate().map(step).collect::<Vec<f32>>());
                let residual = residuals[*client].take();
                let contribution = Contribution { residual: residual.as_deref(), ..contribution(&update) };
                let encoded = codec.encode(&contribution, &Seed::from_number(round * 100 + *client as u64));
                let Encoded { packed, residual } = encoded.unwrap();
                residuals[*client] = residual;
                sum.add_assign(&packed);
            }
            let mean = codec.decode(&sum, cohort.len() as u32).unwrap().mean;
            let before = release.clone();
            release.iter_mut().zip(&mean).for_each(|(weight, mean)| *weight += mean);
            favourites = reduce.favourites(&before, &release);
            if round >= rounds / 2 {
                let part = 1.0 / (rounds - rounds / 2) as f64;
                average.iter_mut().zip(&release).for_each(|(sum, weight)| *sum += f64::from(*weight) * part);
            }
        }
        let wanted =
            (0..LEN).map(|i| (0..CLIENTS).map(|client| target(client, i)).sum::<f32>() / CLIENTS as f32);
        norm(&average.iter().zip(wanted).map(|(x, wanted)| *x as f32 - wanted).collect::<Vec<f32>>())
    };
    let (start, all) = (run(Reduce::None, 0), run(Reduce::None, 4000));
    let tenth = run(Reduce::TopK { fraction: 0.1 }, 4000);
    println!("from {start}: all weights {all}, a tenth {tenth}");
    assert!(all < 0.01 * start && tenth < 0.01 * start, "{start} {all} {tenth}");
}

#[test]
fn encoding_has_no_bias() {
    let layout = UpdateLayout::new(5, Sections::default());
    let public = Seed::from_number(3);
    let config = EncodingConfig { levels_bits: 8, clip_norm: 1.0, ..EncodingConfig::default() };
    let codec = Codec::new(&config, &setup(layout, 1, &public)).unwrap();
    let weights = [0.1f32, -0.01, 0.0, 0.5, -0.7];
    let update = bytes_of(&weights);
    let (mut sums, draws) = ([0.0f64; 5], 4000);
    for draw in 0..draws {
        let encoded = codec.encode(&contribution(&update), &Seed::from_number(draw)).unwrap();
        let mean = codec.decode(&encoded.packed, 1).unwrap().mean;
        sums.iter_mut().zip(mean).for_each(|(sum, x)| *sum += f64::from(x));
    }
    // A coordinate's standard deviation is at most half a unit, also after the rotation back.
    let tolerance = 5.0 * 0.5 * codec.sensitivity().unit / (draws as f64).sqrt();
    for (sum, weight) in sums.iter().zip(weights) {
        let mean = sum / draws as f64;
        assert!((mean - f64::from(weight)).abs() < tolerance, "{mean} for {weight}, within {tolerance}");
    }
}

#[test]
fn a_long_update_is_clipped_and_says_so() {
    let layout = UpdateLayout::new(1000, Sections { extra: Extra::Control, moments: None });
    let public = Seed::from_number(3);
    let config = EncodingConfig { clip_norm: 2.0, control_norm: 4.0, ..EncodingConfig::default() };
    let codec = Codec::new(&config, &setup(layout, 2, &public)).unwrap();
    let update = bytes_of(&[1.0; 2000]);
    let encoded = codec.encode(&contribution(&update), &Seed::from_number(1)).unwrap();
    let decoded = codec.decode(&encoded.packed, 1).unwrap();
    assert_eq!(decoded.clipped, 1);
    for (section, length) in [(layout.weights(), 2.0), (layout.control(), 4.0)] {
        let section = &decoded.mean[section];
        assert!((norm(section) - length).abs() < 1e-3 * length, "{} for {length}", norm(section));
        let each = length as f32 / 1000f32.sqrt();
        assert!(section.iter().all(|x| (x - each).abs() < 1e-2 * each));
    }
}

#[test]
fn evaluations_ride_along() {
    let layout = UpdateLayout::new(3, Sections::default());
    let public = Seed::from_number(3);
    let setup = Setup { evaluation: Some(2), ..setup(layout, 3, &public) };
    let codec = Codec::new(&EncodingConfig::default(), &setup).unwrap();
    let update = bytes_of(&[0.0; 3]);
    let mut sum = Packed::zero(codec.words());
    for confusion in [Some([1, 2, 3, 4]), None, Some([10, 0, 0, 1 << 20])] {
        let contribution =
            Contribution { evaluation: confusion.as_ref().map(|c| c.as_slice()), ..contribution(&update) };
        sum.add_assign(&codec.encode(&contribution, &Seed::from_number(1)).unwrap().packed);
    }
    let evaluated = Evaluated { clients: 2, confusion: vec![11, 2, 3, 4 + (1 << 20)] };
    assert_eq!(codec.decode(&sum, 3).unwrap().evaluation, Some(evaluated));
}

#[test]
fn noise_is_added_in_lane_units_and_cut_off_at_its_room() {
    let layout = UpdateLayout::new(300, Sections::default());
    let public = Seed::from_number(3);
    let config = EncodingConfig { spread: Spread::Range(0.1), ..EncodingConfig::default() };
    let codec = Codec::new(&config, &setup(layout, 3, &public)).unwrap().with_noise(8.0).unwrap();
    let update = bytes_of(&[0.05; 300]);
    let mut sum = Packed::zero(codec.words());
    let mut quiet = sum.clone();
    for client in 0..3i64 {
        let seed = Seed::from_number(client as u64);
        let mut draw = 0;
        let mut noise = || {
            draw += 1;
            if draw == 1 { i64::MIN } else { draw % 7 - 3 * client }
        };
        sum.add_assign(&codec.encode_noisy(&contribution(&update), &seed, &mut noise).unwrap().packed);
        quiet.add_assign(&codec.encode(&contribution(&update), &seed).unwrap().packed);
    }
    let unit = codec.sensitivity().unit;
    let (noisy, quiet) = (codec.decode(&sum, 3).unwrap(), codec.decode(&quiet, 3).unwrap());
    for (i, (noisy, quiet)) in noisy.mean.iter().zip(&quiet.mean).enumerate() {
        // Room is 10 * 8 + 20.
        let draws = if i == 0 { -300 } else { 3 * ((i as i64 + 1) % 7) - 9 };
        let expected = draws as f64 * unit / 3.0;
        assert!((f64::from(noisy - quiet) - expected).abs() < 0.01 * unit, "{i}: {noisy} {quiet} {expected}");
    }
}

#[test]
fn what_cannot_be_encoded_is_named() {
    let layout = UpdateLayout::new(3, Sections { extra: Extra::Steps, moments: Some(SHAPE) });
    let public = Seed::from_number(3);
    let setup = Setup { evaluation: Some(2), ..setup(layout, 3, &public) };
    let codec = Codec::new(&EncodingConfig::default(), &setup).unwrap();
    let good = vec![0.5f32; layout.numbers()];
    let steps = layout.steps().start;
    let fault = |contribution: Contribution<'_>| codec.encode(&contribution, &public).err();
    let with = |index: usize, value: f32| {
        let mut bad = good.clone();
        bad[index] = value;
        fault(contribution(&bytes_of(&bad)))
    };
    assert_eq!(with(0, 1000.0), None);
    assert_eq!(with(2, f32::NAN), Some(Fault::NotFinite { index: 2 }));
    assert_eq!(with(4, f32::INFINITY), Some(Fault::NotFinite { index: 4 }));
    assert_eq!(with(steps, f32::NAN), Some(Fault::NotFinite { index: steps }));
    assert_eq!(with(5, -128.5), Some(Fault::OutOfRange { index: 5, limit: 128 }));
    assert_eq!(with(steps, 100.0), Some(Fault::OutOfRange { index: steps, limit: 100_000 }));
    let update = bytes_of(&good);
    let contribution = contribution(&update);
    let expected = layout.bytes();
    assert_eq!(
        fault(Contribution { update: &update[1..], ..contribution }),
        Some(Fault::WrongLength { expected, got: expected - 1 })
    );
    assert_eq!(
        fault(Contribution { residual: Some(&[0; 8]), ..contribution }),
        Some(Fault::WrongLength { expected: 12, got: 8 })
    );
    for got in [0, MAX_EXAMPLES + 1] {
        let limit = MAX_EXAMPLES;
        assert_eq!(
            fault(Contribution { examples: got, ..contribution }),
            Some(Fault::BadExamples { got, limit })
        );
    }
    for confusion in [&[1, 2, 3][..], &[1 << 22, 1, 0, 0], &[u32::MAX; 4]] {
        assert_eq!(
            fault(Contribution { evaluation: Some(confusion), ..contribution }),
            Some(Fault::BadEvaluation)
        );
    }
}

#[test]
fn the_index_of_a_fault_counts_from_the_beginning_of_the_update() {
    let layout = UpdateLayout::new(3, Sections { extra: Extra::Control, moments: Some(SHAPE) });
    let public = Seed::from_number(3);
    let codec = Codec::new(&EncodingConfig::default(), &setup(layout, 3, &public)).unwrap();
    for index in 0..layout.numbers() {
        let mut bad = vec![0.5; layout.numbers()];
        bad[index] = f32::NAN;
        let fault = codec.encode(&contribution(&bytes_of(&bad)), &public).err();
        assert_eq!(fault, Some(Fault::NotFinite { index }));
    }
}

#[test]
fn a_codec_that_cannot_be_made_names_the_key() {
    let layout = UpdateLayout::new(3, Sections::default());
    let public = Seed::from_number(3);
    let config = EncodingConfig::default();
    let make = |roster| Codec::new(&config, &setup(layout, roster, &public));
    let error = |codec: Result<Codec, ConfigError>| codec.err().unwrap().to_string();
    assert_eq!(error(make(0)), "`cohort`: 0 clients, 1 to 8192 can be added");
    assert_eq!(error(make(8193)), "`cohort`: 8193 clients, 1 to 8192 can be added");
    let noisy = |sd| make(8192).unwrap().with_noise(sd);
    assert_eq!(error(noisy(f64::NAN)), "`privacy`: noise of NaN lane units cannot be added");
    let wide = "`encoding.levels_bits`: the sum of 8192 clients needs 58 bits, a lane has 56";
    assert_eq!(error(noisy(1e12)), wide);
    assert!(noisy(1e9).is_ok());
}

#[test]
fn a_sum_that_no_clients_can_have_made_is_refused() {
    let layout = UpdateLayout::new(3, Sections::default());
    let public = Seed::from_number(3);
    let codec = Codec::new(&EncodingConfig::default(), &setup(layout, 3, &public)).unwrap();
    let update = bytes_of(&[0.1, 0.2, 0.3]);
    let one = codec.encode(&contribution(&update), &public).unwrap().packed;
    let short = Packed::zero(codec.words() - 1);
    let expected = codec.words();
    assert_eq!(codec.decode(&short, 1), Err(DecodeError::Length { expected, got: expected - 1 }));
    assert_eq!(codec.decode(&one, 4), Err(DecodeError::Clients { got: 4, limit: 3 }));
    assert_eq!(codec.decode(&Packed::zero(expected), 1), Err(DecodeError::Examples { got: 0, clients: 1 }));
    let mut beyond = one;
    beyond.words_mut()[0] |= 0xffff;
    assert_eq!(
        codec.decode(&beyond, 1),
        Err(DecodeError::Beyond { section: "weights", lane: 0, got: 65535, limit: 65534 })
    );
    let nothing = codec.decode(&Packed::zero(expected), 0).unwrap();
    assert_eq!((nothing.mean, nothing.weight, nothing.loss), (vec![0.0; 3], 0, 0.0));
}

/// Design section 5, promise 3.
#[test]
fn at_most_three_bytes_a_weight_at_64_clients() {
    let public = Seed::from_number(3);
    for weights in [99_000, 1_000_000] {
        let setup = setup(UpdateLayout::new(weights, Sections::default()), 64, &public);
        let bytes = Codec::new(&EncodingConfig::default(), &setup).unwrap().bytes();
        assert!(bytes <= 3 * weights as u64, "{bytes} for {weights}");
    }
}

/// The table of `docs/protocol.md`: bytes a weight of an update of a million weights, to a cohort of 30.
#[test]
fn bytes_a_weight_of_every_encoding() {
    const WEIGHTS: usize = 1_000_000;
    const BITS: [u32; 4] = [8, 10, 12, 16];
    let (public, layout) = (Seed::from_number(3), UpdateLayout::new(WEIGHTS, Sections::default()));
    let a_weight = |levels_bits: u32, reduce: Reduce| {
        let config = EncodingConfig { levels_bits, reduce, ..EncodingConfig::default() };
        let codec = Codec::new(&config, &setup(layout, 30, &public)).unwrap();
        format!("{:.3}", codec.bytes() as f64 / WEIGHTS as f64)
    };
    let cases = [
        (Reduce::None, ["1.631", "1.882", "2.141", "2.635"]),
        (Reduce::TopK { fraction: 0.1 }, ["0.163", "0.188", "0.214", "0.264"]),
        (Reduce::TopK { fraction: 0.25 }, ["0.409", "0.472", "0.537", "0.661"]),
        (Reduce::LowRank { rank: 16 }, ["0.027", "0.031", "0.035", "0.043"]),
    ];
    for (reduce, expected) in cases {
        assert_eq!(BITS.map(|bits| a_weight(bits, reduce)), expected, "{reduce:?}");
    }
}

/// Pins the format: a change here is a change of the protocol.
#[test]
fn golden_words() {
    let layout = UpdateLayout::new(3, Sections { extra: Extra::Steps, moments: None });
    let public = Seed::from_number(3);
    let setup = Setup { evaluation: Some(2), ..setup(layout, 5, &public) };
    let codec = Codec::new(&EncodingConfig::default(), &setup).unwrap();
    let update = bytes_of(&[1.0, -2.0, 0.25, 7.0 / 1024.0]);
    let contribution = Contribution {
        update: &update,
        examples: 1024,
        loss: 1.5,
        evaluation: Some(&[1, 2, 3, 4]),
        residual: None,
    };
    let encoded = codec.encode(&contribution, &Seed::from_number(7)).unwrap();
    let counts = [7 * 1024, 1024, 0, (4096 << 28) + 3 * (512 << 16), 1, 1 | 2 << 25 | 3 << 50, 4 << 11];
    assert_eq!(encoded.packed.words()[..3], [9_088_246_198_551_741_183, 287_174_705_537_085_695, 1_040_354]);
    assert_eq!(encoded.packed.words()[3..], counts);
}
