//! A small synthetic study for tests: seeded people with plausible nights, and a predictor that errs plausibly.

use crate::{
    ClientResult, Comparison, Confusion, Excluded, Hypnogram, Metrics, NightOptions, NightResult,
    RoundResult, Row, Staging, Summary,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, BTreeSet};

/// A night of ninety-minute cycles, deep early and REM late, as codes of [`Staging::four`].
pub(crate) fn night(rng: &mut ChaCha8Rng) -> Hypnogram {
    let epochs = rng.random_range(820..1000);
    let latency = rng.random_range(10..50);
    let mut codes: Hypnogram = Vec::with_capacity(epochs);
    while codes.len() < epochs {
        let (code, run) = if codes.len() < latency {
            (0, latency)
        } else {
            let cycle = (codes.len() - latency) / 180;
            let place = (codes.len() - latency) % 180;
            let deep_until = 110_usize.saturating_sub(28 * cycle);
            match place {
                _ if rng.random_bool(0.06) => (0, rng.random_range(1..12)),
                0..30 => (1, rng.random_range(8..20)),
                place if place < deep_until => (2, rng.random_range(10..30)),
                place if place > 165 - 14 * cycle => (3, rng.random_range(10..30)),
                _ => (1, rng.random_range(8..24)),
            }
        };
        codes.extend(std::iter::repeat_n(Some(code), run));
    }
    codes.truncate(epochs);
    codes
}

/// The truth seen through a predictor of the given skill (0..1), in runs as a smoothed network errs.
pub(crate) fn predicted(truth: &Hypnogram, skill: f64, rng: &mut ChaCha8Rng) -> Hypnogram {
    let mut out: Hypnogram = Vec::with_capacity(truth.len());
    while out.len() < truth.len() {
        let run = rng.random_range(4..16);
        let start = out.len();
        let right = rng.random_bool(skill);
        let wrong = [1, 1, 1, 3, 2, 0][rng.random_range(0..6)];
        let end = (start + run).min(truth.len());
        out.extend(truth[start..end].iter().map(|&stage| if right { stage } else { Some(wrong) }));
    }
    out
}

/// Somewhat surer where it is right, in runs as a smoothed network is.
pub(crate) fn confidence(truth: &Hypnogram, predicted: &Hypnogram, rng: &mut ChaCha8Rng) -> Vec<f32> {
    let mut sure = 0.7;
    let one = |(truth, predicted): (&Option<u8>, &Option<u8>)| {
        let aim = if truth == predicted { 0.85 } else { 0.6 };
        sure = (sure + 0.15 * (aim - sure) + 0.1 * (rng.random::<f32>() - 0.5)).clamp(0.25, 1.0);
        sure
    };
    truth.iter().zip(predicted).map(one).collect()
}

/// A study of `people` clients and `seeds` seeds; the same for the same arguments.
pub(crate) fn summary(people: usize, seeds: u64) -> Summary {
    let staging = Staging::four();
    let mut summary = Summary::new("demo", "four", staging.clone());
    summary.seeds = (1..=seeds).collect();
    summary.config = serde_json::json!({
        "cohort": { "people": people, "source": "synthetic" },
        "model": { "width": 32, "blocks": 6, "trainable": "full" },
        "rounds": 12, "strategy": { "name": "fedavg", "server_rate": 1.0 },
    });
    let named = [
        ("majority", 0.0, Some("negative control")),
        ("time-of-night only", 0.12, Some("negative control")),
        ("local only", 0.34, None),
        ("central", 0.62, None),
        ("federated", 0.58, None),
    ];
    for (name, skill, note) in named {
        let by_seed: Vec<BTreeMap<String, Confusion>> =
            summary.seeds.iter().map(|&seed| matrices(people, seed, name, skill)).collect();
        let mut row = Row::from_seeds(name, &by_seed, 7).unwrap();
        row.note = note.map(str::to_owned);
        summary.rows.push(row);
    }
    let federated = &summary.rows[4];
    summary.comparisons = [3, 2, 0]
        .iter()
        .map(|&baseline| Comparison::between(federated, &summary.rows[baseline], 7).unwrap())
        .collect();
    let mut rng = ChaCha8Rng::seed_from_u64(99);
    for person in 0..people {
        let mut truth = night(&mut rng);
        let skill = 0.45 + 0.35 * rng.random::<f64>();
        let predicted = predicted(&truth, skill, &mut rng);
        for epoch in truth.iter_mut().skip(300).take(if person % 4 == 0 { 25 } else { 0 }) {
            *epoch = None;
        }
        let sure = confidence(&truth, &predicted, &mut rng);
        let result = NightResult::new("night 1", truth, predicted, &staging, NightOptions::default())
            .with_confidence(sure)
            .with_coverage([("activity", 1.0), ("hr", if person % 4 == 0 { 0.93 } else { 0.99 })]);
        let mut client = ClientResult::from_nights(&id(person), "held-out", vec![result], &staging).unwrap();
        if person % 4 == 0 {
            client.notes.push("heart rate covers 93 % of epochs; 25 epochs were not scored".into());
        }
        summary.clients.push(client);
    }
    summary.rounds = (1..=12).map(|round| self::round(round, people, &summary.rows[4].confusion)).collect();
    summary.excluded.push(Excluded {
        id: "7749105".into(),
        reason: "heart rate covers 11 % of epochs; the rule asks for 50 %".into(),
    });
    summary.analyse();
    summary.seconds = 93.4;
    summary.peak_rss_mib = 312.5;
    summary
}

fn id(person: usize) -> String {
    format!("person-{:02}", person + 1)
}

fn matrices(people: usize, seed: u64, name: &str, skill: f64) -> BTreeMap<String, Confusion> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..people)
        .map(|person| {
            let truth = night(&mut rng);
            let guess = if name == "majority" {
                vec![Some(1); truth.len()]
            } else {
                let own: f64 = skill + 0.12 * (rng.random::<f64>() - 0.5);
                predicted(&truth, own.clamp(0.0, 1.0), &mut rng)
            };
            (id(person), Confusion::from_hypnograms(4, &truth, &guess).unwrap())
        })
        .collect()
}

fn round(round: u64, people: usize, end: &Confusion) -> RoundResult {
    let progress = 1.0 - (-(round as f64) / 4.0).exp();
    let aborted = (round == 5).then(|| "2 of 4 needed clients reported before the deadline".to_owned());
    let mut evaluation = Metrics::of(end);
    evaluation.kappa = evaluation.kappa.map(|kappa| kappa * progress);
    evaluation.macro_f1 = evaluation.macro_f1.map(|f1| f1 * (0.4 + 0.6 * progress));
    RoundResult {
        round,
        version: round - u64::from(round >= 5),
        cohort: people as u32,
        reported: people as u32 - u32::from(round.is_multiple_of(3)),
        mean_loss: aborted.is_none().then_some(1.35 - 0.62 * progress),
        examples: 900 * people as u64,
        evaluation: (round.is_multiple_of(2) && aborted.is_none()).then_some(evaluation),
        seconds: 1.9,
        bytes_up: 412_000 * people as u64,
        bytes_down: 398_000 * people as u64,
        epsilon: Some(0.4 * (round as f64).sqrt()),
        aborted,
    }
}

/// Checks that tags nest and close, attributes are quoted and not repeated, ids are unique and no bare `<` is text.
/// Not a validator: enough to catch what escaping or templates can break.
pub(crate) fn well_formed(page: &str) -> Result<(), String> {
    const VOID: [&str; 4] = ["meta", "br", "hr", "col"];
    let (mut open, mut ids) = (Vec::new(), BTreeSet::new());
    let mut rest = page;
    while let Some(at) = rest.find('<') {
        let near: String = rest[at..].chars().take(60).collect();
        let end = rest[at..].find('>').ok_or_else(|| format!("unclosed tag: {near}"))? + at;
        let tag = &rest[at + 1..end];
        rest = &rest[end + 1..];
        if tag.starts_with('!') {
            continue;
        }
        if let Some(name) = tag.strip_prefix('/') {
            if open.pop() != Some(name) {
                return Err(format!("{near} closes what is not open: {open:?}"));
            }
            continue;
        }
        let name = tag.split(' ').next().unwrap_or_default();
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric()) {
            return Err(format!("not a tag: {near}"));
        }
        for (key, value) in attributes(&tag[name.len()..]).ok_or_else(|| format!("attributes: {near}"))? {
            if key == "id" && !ids.insert(value.clone()) {
                return Err(format!("id {value} twice"));
            }
        }
        if name == "style" {
            rest = rest.split_once("</style>").ok_or("style is not closed")?.1;
        } else if !VOID.contains(&name) {
            open.push(name);
        }
    }
    if open.is_empty() { Ok(()) } else { Err(format!("left open: {open:?}")) }
}

fn attributes(mut text: &str) -> Option<BTreeMap<String, String>> {
    let mut out = BTreeMap::new();
    while let Some(rest) = text.strip_prefix(' ') {
        let (key, rest) = rest.split_once("=\"")?;
        let (value, rest) = rest.split_once('"')?;
        let plain = key.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        if !plain || value.contains('<') || out.insert(key.to_owned(), value.to_owned()).is_some() {
            return None;
        }
        text = rest;
    }
    text.is_empty().then_some(out)
}
