//! Pages in a real browser: desktop, phone and paper, light and dark. Pictures are left in `target/pages`.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use somnus_browser::{Browser, look};

use super::{client_page, run_page};
use crate::testing;
use crate::{
    ClientReport, ClientResult, Comparison, Excluded, Grid, GridLine, Hypnogram, Identification, Leak,
    LeakScore, Metrics, ModelInfo, NightOptions, NightResult, RoundResult, Row, Spread, Staging, Summary,
};

/// Nobody means well who is called this, but somebody will be.
const LONG: &str = "participant-of-the-second-arm-of-the-multicentre-study-0000000042_visit-3-repeat";

#[test]
fn pages_are_legible_on_screens_and_paper() {
    let Some(mut browser) = Browser::launch("pages_are_legible_on_screens_and_paper") else { return };
    let mut faults = Vec::new();
    for (name, page) in pages() {
        assert!(page.len() < 1_000_000, "{name} weighs {} bytes", page.len());
        let look = look(&mut browser, name, &page);
        assert!(look.texts > 100, "{name}: only {} texts were measured", look.texts);
        faults.extend(look.faults.into_iter().map(|fault| format!("{name}: {fault}")));
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// Every kind of page, typical and hard.
fn pages() -> Vec<(&'static str, String)> {
    let study = testing::summary(30, 3);
    let typical = ClientReport::of_run(&study, &study.clients[4]);
    let mut pages = vec![("study", run_page(&study)), ("client", client_page(&typical))];
    pages.push(("study-hard", run_page(&hard())));
    pages.push(("study-of-many", run_page(&testing::summary(60, 1))));
    pages.push(("study-empty", run_page(&Summary::new("nothing", "three", Staging::three()))));
    for (name, nights) in hard_nights() {
        pages.push((name, client_page(&person("person-01", nights))));
    }
    let long = person(LONG, vec![night(LONG, 900, true)]);
    pages.push(("client-long-names", client_page(&long)));
    pages
}

fn night(id: &str, epochs: usize, scored: bool) -> NightResult {
    let mut rng = ChaCha8Rng::seed_from_u64(epochs as u64);
    let mut truth: Hypnogram = Vec::new();
    while truth.len() < epochs {
        truth.extend(testing::night(&mut rng));
    }
    truth.truncate(epochs);
    let predicted = testing::predicted(&truth, 0.6, &mut rng);
    let sure = testing::confidence(&truth, &predicted, &mut rng);
    let truth = if scored { truth } else { Vec::new() };
    NightResult::new(id, truth, predicted, &Staging::four(), NightOptions::default()).with_confidence(sure)
}

fn hard_nights() -> Vec<(&'static str, Vec<NightResult>)> {
    let alone = |stage: Option<u8>| {
        let codes = vec![stage; 840];
        let (staging, options) = (Staging::four(), NightOptions::default());
        NightResult::new("one stage", codes.clone(), codes, &staging, options)
    };
    vec![
        ("client-three-nights", (1..=3).map(|n| night(&format!("2026-03-0{n}"), 900 + n, true)).collect()),
        ("client-fourteen-hours", vec![night("a long night", 14 * 120, true)]),
        ("client-twenty-minutes", vec![night("a nap", 40, true)]),
        ("client-unscored", vec![night("at home", 930, false)]),
        ("client-one-stage", vec![alone(Some(1))]),
        ("client-nothing", vec![alone(None)]),
    ]
}

fn person(id: &str, nights: Vec<NightResult>) -> ClientReport {
    let staging = Staging::four();
    let client = ClientResult::from_nights(id, "held-out", nights, &staging)
        .expect("codes are classes")
        .with_notes(vec!["heart rate covers 93 % of epochs; 25 epochs were not scored".into()]);
    let model = ModelInfo { name: "watch-1".into(), version: 12, digest: Some("c0ffee".repeat(10)) };
    ClientReport::new("bedtime", "four", model, staging, NightOptions::default(), client)
}

/// A study in which everything is long, large, missing or not a number.
fn hard() -> Summary {
    let staging = Staging::four();
    let mut summary = Summary::new(LONG, "four", staging.clone());
    summary.seeds = vec![u64::MAX, 1, 2];
    let template = testing::summary(5, 2);
    let rows = [LONG, "federated with personal heads and distributed noise", "majority"];
    for (name, row) in rows.into_iter().zip(&template.rows) {
        let mut row = Row { name: name.into(), ..row.clone() };
        row.note = Some(format!("negative control, see {LONG}"));
        (row.pooled.n, row.interval.macro_f1) = (123_456_789, None);
        summary.rows.push(row);
    }
    summary.comparisons =
        vec![Comparison::between(&summary.rows[1], &summary.rows[0], 1).expect("the same people")];
    for (index, scored) in [true, false, true].into_iter().enumerate() {
        let nights = vec![night("2026-03-01", 400 + index, scored)];
        let client = ClientResult::from_nights(&format!("{LONG}-{index}"), "held-out", nights, &staging);
        summary.clients.push(client.expect("codes are classes").with_notes(vec![format!("see {LONG}")]));
    }
    summary.clients[2].metrics.kappa = Some(-0.3);
    summary.rounds = (1..=3)
        .map(|round| RoundResult {
            round: round * 1_000_000,
            mean_loss: Some([f64::NAN, 1e9, 3e-7][round as usize - 1]),
            evaluation: (round == 2).then(Metrics::default),
            bytes_up: u64::MAX,
            aborted: (round == 1).then(|| format!("2 of 4 needed clients reported: {LONG}")),
            ..RoundResult::default()
        })
        .collect();
    let spread = Spread { n: 3, mean: Some(123_456.789), sd: Some(0.001) };
    let lines = vec![GridLine { name: LONG.into(), cells: vec![spread, Spread::default(), spread] }];
    let columns = ["kappa", LONG, "bytes up (MB)"].map(str::to_owned).into();
    summary.grids = vec![Grid { title: LONG.into(), lines_are: "strength".into(), columns, lines }];
    let score = LeakScore { measure: "AUC".into(), value: None, interval: None, chance: 0.5, seeds: spread };
    let scores = vec![LeakScore { value: Some(0.7), ..score.clone() }, score];
    summary.leaks = vec![Leak { attack: LONG.into(), against: LONG.into(), people: 3, scores }];
    let row = summary.rows[0].name.clone();
    summary.identification =
        vec![Identification { row, who: LONG.into(), chance: 0.1, epoch: spread, night: spread }];
    summary.excluded =
        vec![Excluded { id: LONG.into(), reason: format!("the rule asks for 50 % of {LONG}") }];
    summary.notes = vec![format!("a warning about {LONG}")];
    summary.config = serde_json::json!({ LONG: [LONG, LONG], "number": 1e300 });
    summary.analyse();
    summary
}
