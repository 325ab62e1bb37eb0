//! Dot plots and curves.

use super::format::{interval, score};
use super::scale::{Scale, frame};
use crate::{ClientResult, RoundResult, Row};
use maud::{Markup, html};

/// Above this many people their dots would be a bar.
const MOST_DOTS: usize = 400;
/// Above this many clients the dot plot drops its names.
const MOST_NAMES: usize = 40;
/// The axis of whole numbers from zero.
const COUNT: &str = "clients (count)";
/// Height of a row of the forest plot in px.
const ROW: usize = 38;

/// Rows as a forest plot: pooled kappa, its interval, and each person's own kappa behind it.
pub(super) fn forest(rows: &[Row]) -> Markup {
    let people =
        |row: &Row| -> Vec<f64> { row.subjects.values().filter_map(crate::Confusion::kappa).collect() };
    let values = rows.iter().flat_map(|row| {
        let ends = row.interval.kappa.map(|i| [i.low, i.high]);
        people(row).into_iter().chain(row.pooled.kappa).chain(ends.into_iter().flatten())
    });
    let scale = Scale::of(values);
    html! {
        figure {
            div.forest {
                @for row in rows {
                    div class=(if row.note.is_some() { "row control" } else { "row" }) {
                        div.name { (row.name) }
                        svg role="img" height=(ROW)
                            aria-label=(format!("{}: kappa {} {}", row.name, score(row.pooled.kappa), interval(row.interval.kappa))) {
                            (scale.grid(ROW))
                            @if row.subjects.len() <= MOST_DOTS {
                                @for kappa in people(row) {
                                    circle.person cx=(scale.at(kappa)) cy="29" r="2.5" {}
                                }
                            }
                            @if let Some(i) = row.interval.kappa {
                                line.whisker x1=(scale.at(i.low)) x2=(scale.at(i.high)) y1="16" y2="16" {}
                            }
                            @if let Some(kappa) = row.pooled.kappa {
                                circle.point cx=(scale.at(kappa)) cy="16" r="6.5" {}
                            }
                        }
                        div.value { (score(row.pooled.kappa)) " " small { (interval(row.interval.kappa)) } }
                    }
                }
                (scale.axis("kappa"))
            }
            figcaption {
                "Large dots: kappa of all epochs together, with its 95 % interval over people. "
                "Small dots below: each person’s own kappa. Grey rows are controls or carry a note."
            }
        }
    }
}

/// Each client's kappa, best first; with links while there are few enough to name.
pub(super) fn clients(clients: &[(&ClientResult, &str)]) -> Markup {
    let mut sorted: Vec<(&ClientResult, &str, f64)> =
        clients.iter().filter_map(|&(client, stem)| Some((client, stem, client.metrics.kappa?))).collect();
    sorted.sort_by(|a, b| b.2.total_cmp(&a.2).then_with(|| a.0.id.cmp(&b.0.id)));
    let scale = Scale::of(sorted.iter().map(|entry| entry.2));
    if sorted.len() > MOST_NAMES {
        return ranks(&sorted.iter().map(|entry| entry.2).collect::<Vec<_>>());
    }
    html! {
        figure {
            div class="forest dense" {
                @for (client, stem, kappa) in &sorted {
                    div.row {
                        div.name { a href={ "clients/" (stem) ".html" } { (client.id) } }
                        svg role="img" aria-label=(format!("{}: kappa {kappa:.3}", client.id)) height="22" {
                            (scale.grid(22))
                            line.grid x1=(scale.at(0.0)) x2=(scale.at(*kappa)) y1="11" y2="11" {}
                            circle.mark cx=(scale.at(*kappa)) cy="11" r="4.5" {}
                        }
                        div.value { (score(Some(*kappa))) }
                    }
                }
                (scale.axis("kappa"))
            }
        }
    }
}

/// Many clients: kappa over rank.
fn ranks(sorted: &[f64]) -> Markup {
    let points: Vec<(f64, f64)> =
        sorted.iter().enumerate().map(|(rank, &kappa)| (rank as f64 + 1.0, kappa)).collect();
    let series = [Series { points, second: false, joined: false }];
    html! { figure { (curve(&series, "kappa", "clients, best first")) } }
}

/// Loss and scores over rounds.
pub(super) fn rounds(rounds: &[RoundResult]) -> Markup {
    let series = |value: &dyn Fn(&RoundResult) -> Option<f64>, second: bool| Series {
        points: rounds
            .iter()
            .filter_map(|round| Some((round.round as f64, value(round).filter(|v| v.is_finite())?)))
            .collect(),
        second,
        joined: true,
    };
    let loss = [series(&|round| round.mean_loss, false)];
    let kappa = series(&|round| round.evaluation.as_ref()?.kappa, false);
    let f1 = series(&|round| round.evaluation.as_ref()?.macro_f1, true);
    let scored = !kappa.points.is_empty() || !f1.points.is_empty();
    let selected = series(&|round| Some(round.cohort.into()), true);
    let counted = series(&|round| Some(round.reported.into()), false);
    let spent = [series(&|round| round.epsilon, false)];
    html! {
        div.pair {
            @if !loss[0].points.is_empty() {
                figure { h3 { "Training loss" } (curve(&loss, "mean loss", "round")) }
            }
            @if scored {
                figure {
                    h3 { "Evaluation on clients" }
                    @if f1.points.is_empty() {
                        (curve(&[kappa], "kappa", "round"))
                    } @else {
                        (curve(&[kappa, f1], "score", "round"))
                        (key("kappa", "macro-F1"))
                    }
                }
            }
            @if rounds.iter().any(|round| round.reported < round.cohort) {
                figure {
                    h3 { "Drop-outs" }
                    (curve(&[counted, selected], COUNT, "round"))
                    (key("counted in the sum", "selected"))
                }
            }
            @if !spent[0].points.is_empty() {
                figure { h3 { "Privacy spent" } (curve(&spent, "epsilon, all rounds so far", "round")) }
            }
        }
    }
}

fn key(first: &str, second: &str) -> Markup {
    html! {
        div.key {
            span { (key_line("curve")) (first) }
            span { (key_line("curve second")) (second) }
        }
    }
}

fn key_line(class: &str) -> Markup {
    html! { svg height="8" aria-hidden="true" { line class=(class) x1="2" x2="24" y1="4" y2="4" {} } }
}

struct Series {
    /// (x, y) in ascending x.
    points: Vec<(f64, f64)>,
    second: bool,
    joined: bool,
}

/// Series over a common x of whole numbers; straight lines between neighbours, a dot at each point while they are few.
fn curve(series: &[Series], vertical: &str, horizontal: &str) -> Markup {
    let points = || series.iter().flat_map(|series| &series.points);
    let across = Scale::whole(points().map(|point| point.0));
    let up = match vertical {
        COUNT => Scale::whole(points().map(|point| point.1).chain([0.0])),
        _ => Scale::of(points().map(|point| point.1)),
    };
    let dots = points().count() <= 120;
    let marks = html! {
        @for series in series {
            @let class = if series.second { "second" } else { "first" };
            @if series.joined {
                @for pair in series.points.windows(2) {
                    line class={ "curve " (class) } x1=(across.at(pair[0].0)) y1=(up.up(pair[0].1))
                        x2=(across.at(pair[1].0)) y2=(up.up(pair[1].1)) {}
                }
            }
            @if dots || !series.joined {
                @for point in &series.points {
                    circle class={ "mark " (class) } cx=(across.at(point.0)) cy=(up.up(point.1)) r="3" {
                        title { (horizontal) " " (point.0) ": " (score(Some(point.1))) }
                    }
                }
            }
        }
    };
    frame(&format!("{vertical} over {horizontal}"), (&up, vertical), (&across, horizontal), &marks)
}
