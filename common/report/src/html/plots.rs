//! Dot plots and curves.

use super::format::{interval, percent, score};
use crate::{ClientResult, RoundResult, Row};
use maud::{Markup, html};

/// Above this many people their dots would be a bar.
const MOST_DOTS: usize = 400;
/// Above this many clients the dot plot drops its names.
const MOST_NAMES: usize = 40;
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
    html! {
        div.pair {
            @if !loss[0].points.is_empty() {
                figure { h3 { "Training loss" } (curve(&loss, "mean loss", "round")) }
            }
            @if scored {
                figure {
                    h3 { "Evaluation on clients" }
                    (curve(&[kappa, f1], "score", "round"))
                    div.key {
                        span { (key_line("curve")) "kappa" }
                        span { (key_line("curve second")) "macro-F1" }
                    }
                }
            }
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
    const HEIGHT: f64 = 180.0;
    let points = || series.iter().flat_map(|series| &series.points);
    let across = Scale::whole(points().map(|point| point.0));
    let up = Scale::of(points().map(|point| point.1));
    let y = |value: f64| format!("{:.1}", HEIGHT - HEIGHT * up.share(value));
    let dots = points().count() <= 120;
    html! {
        div.plot {
            div.over { (vertical) }
            svg role="img" aria-label={ "axis: " (vertical) } height=(HEIGHT) {
                @for tick in up.ticks() {
                    text.tick x="88%" y=(y(tick)) dy="4" text-anchor="end" { (up.label(tick)) }
                }
            }
            svg role="img" aria-label=(format!("{vertical} over {horizontal}")) height=(HEIGHT) {
                @for tick in up.ticks() {
                    line.grid x1="0" x2="100%" y1=(y(tick)) y2=(y(tick)) {}
                }
                @for series in series {
                    @let class = if series.second { "second" } else { "first" };
                    @if series.joined {
                        @for pair in series.points.windows(2) {
                            line class={ "curve " (class) } x1=(across.at(pair[0].0)) y1=(y(pair[0].1))
                                x2=(across.at(pair[1].0)) y2=(y(pair[1].1)) {}
                        }
                    }
                    @if dots || !series.joined {
                        @for point in &series.points {
                            circle class={ "mark " (class) } cx=(across.at(point.0)) cy=(y(point.1)) r="3" {
                                title { (horizontal) " " (point.0) ": " (score(Some(point.1))) }
                            }
                        }
                    }
                }
            }
            (across.axis(horizontal))
        }
    }
}

/// A linear axis with round ends.
struct Scale {
    low: f64,
    high: f64,
    step: f64,
}

impl Scale {
    /// Covers the finite values and, when they are positive, reaches down to zero unless that wastes half of it.
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(|value| value.is_finite()) {
            low = low.min(value);
            high = high.max(value);
        }
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        if low > 0.0 && low < 0.6 * high {
            low = 0.0;
        }
        if high - low < 1e-9 * high.abs().max(1.0) {
            (low, high) = (low - 0.5, high + 0.5);
        }
        let rough = (high - low) / 5.0;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|m| m * power).into_iter().find(|&s| s >= rough * 0.999);
        let step = step.unwrap_or(rough);
        Self { low: (low / step + 1e-9).floor() * step, high: (high / step - 1e-9).ceil() * step, step }
    }

    /// From the first to the last of some whole numbers; ticks on whole numbers within.
    fn whole(values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = values
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        if low > high {
            return Self { low: 0.0, high: 1.0, step: 1.0 };
        }
        let high = high.max(low + 1.0);
        let step = (Self::of([0.0, high - low].into_iter()).step).max(1.0);
        Self { low, high, step }
    }

    /// Place of a value on the axis, 0 to 1.
    fn share(&self, value: f64) -> f64 {
        (value - self.low) / (self.high - self.low)
    }

    fn at(&self, value: f64) -> String {
        percent(self.share(value))
    }

    fn ticks(&self) -> Vec<f64> {
        let first = (self.low / self.step - 1e-9).ceil() * self.step;
        let count = ((self.high - first) / self.step + 1e-9).floor() as usize;
        (0..=count.min(20)).map(|i| first + i as f64 * self.step).collect()
    }

    fn label(&self, tick: f64) -> String {
        let digits = (-self.step.log10().floor()).clamp(0.0, 6.0) as usize;
        // Adding zero turns −0 into 0.
        let tick = (tick / self.step).round() * self.step + 0.0;
        let text = match tick.abs() {
            size if size >= 1e6 => format!("{tick:e}"),
            size if size >= 1e4 => format!("{}k", tick / 1e3),
            _ => format!("{tick:.digits$}"),
        };
        text.replace('-', "−")
    }

    fn grid(&self, height: usize) -> Markup {
        html! {
            @for tick in self.ticks() {
                line.grid x1=(self.at(tick)) x2=(self.at(tick)) y1="0" y2=(height) {}
            }
        }
    }

    fn axis(&self, name: &str) -> Markup {
        html! {
            div.axis-row {
                svg role="img" aria-label=(format!("axis: {name}")) height="40" {
                    line.axis x1="0" x2="100%" y1="1" y2="1" {}
                    @for tick in self.ticks() {
                        line.axis x1=(self.at(tick)) x2=(self.at(tick)) y1="1" y2="6" {}
                        text.tick x=(self.at(tick)) y="19" text-anchor="middle" { (self.label(tick)) }
                    }
                    text x="50%" y="36" text-anchor="middle" { (name) }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn axes_end_on_round_numbers() {
        let scale = Scale::of([0.13, 0.52].into_iter());
        assert_eq!((scale.low, scale.label(scale.high)), (0.0, "0.6".to_owned()));
        let negative = Scale::of([-0.07, 0.31].into_iter());
        assert_eq!(negative.label(negative.low), "−0.1");
        assert_eq!(negative.label(negative.ticks()[1]), "0.0");
        for empty in [vec![], vec![f64::NAN], vec![0.4], vec![0.0]] {
            let scale = Scale::of(empty.into_iter());
            assert!(scale.low < scale.high && scale.ticks().len() > 1);
        }
    }

    proptest! {
        #[test]
        fn every_value_lies_on_its_axis(values in proptest::collection::vec(-1e6_f64..1e6, 1..40)) {
            let scale = Scale::of(values.iter().copied());
            for value in values {
                prop_assert!((-1e-6..=1.0 + 1e-6).contains(&scale.share(value)));
            }
            prop_assert!((3..=12).contains(&scale.ticks().len()), "{} ticks", scale.ticks().len());
        }
    }
}
