//! Bland-Altman plots: how far each person's night statistics are off, against their size.

use super::format::signed;
use super::scale::{Scale, frame};
use super::tables::spell;
use crate::agreement::person_mean;
use crate::{Discrepancy, NightStatistics, Staging, Summary};
use maud::{Markup, html};

/// A plot for each measure that is a time or the efficiency; shares of sleep say the same once more.
pub(super) fn plots(summary: &Summary) -> Markup {
    let people: Vec<(&str, Vec<(NightStatistics, NightStatistics)>)> =
        summary.clients.iter().map(|client| (client.id.as_str(), client.paired_nights())).collect();
    let shown =
        |one: &&Discrepancy| (one.unit == "min" || one.measure == "SE") && !one.measure.contains("% of");
    html! {
        div.pair {
            @for one in summary.discrepancies.iter().filter(shown) { (plot(one, &points(one, &people, &summary.staging))) }
        }
    }
}

/// A person's name, reference and difference.
type Point<'a> = (&'a str, f64, f64);

fn points<'a>(
    of: &Discrepancy,
    people: &[(&'a str, Vec<(NightStatistics, NightStatistics)>)],
    staging: &Staging,
) -> Vec<Point<'a>> {
    let mean = |(name, nights): &(&'a str, Vec<(NightStatistics, NightStatistics)>)| {
        let template = &nights.first()?.0;
        let index = template.measures(staging).iter().position(|(name, ..)| *name == of.measure)?;
        let (reference, device) = person_mean(nights, staging, index)?;
        Some((*name, reference, device - reference))
    };
    people.iter().filter_map(mean).filter(|(_, size, off)| size.is_finite() && off.is_finite()).collect()
}

fn plot(of: &Discrepancy, points: &[Point<'_>]) -> Markup {
    let across = Scale::of(points.iter().map(|point| point.1));
    let ends = [across.low, across.high].map(|size| of.limits_at(size));
    let limits = ends.iter().flat_map(|&(low, bias, high)| [low, bias, high]);
    let up = Scale::of(points.iter().map(|point| point.2).chain(limits).chain([0.0]));
    let line = |class: &str, at: &dyn Fn((f64, f64, f64)) -> f64| {
        html! { line class=(class) x1="0" x2="100%" y1=(up.up(at(ends[0]))) y2=(up.up(at(ends[1]))) {} }
    };
    let marks = html! {
        line.axis x1="0" x2="100%" y1=(up.up(0.0)) y2=(up.up(0.0)) {}
        (line("limit", &|ends| ends.0))
        (line("bias", &|ends| ends.1))
        (line("limit", &|ends| ends.2))
        @for (name, size, off) in points {
            circle.mark cx=(across.at(*size)) cy=(up.up(*off)) r="3" {
                title { (name) ": " (signed(Some(*off))) " " (of.unit) }
            }
        }
    };
    let vertical = format!("predicted − true ({})", of.unit);
    let horizontal = format!("true {} ({})", of.measure, of.unit);
    html! {
        figure {
            h3 { (spell(&of.measure)) }
            (frame(&format!("difference of {} over its size", of.measure), (&up, &vertical), (&across, &horizontal), &marks))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn every_person_is_a_dot_in_the_plot_of_every_time() {
        let summary = testing::summary(7, 1);
        let page = plots(&summary).into_string();
        // TST, SE, SOL, WASO, REM latency and three stages.
        assert_eq!(page.matches("<figure>").count(), 8);
        assert_eq!(page.matches("<circle").count(), 8 * 7);
        assert!(page.contains(">true TST (min)</text>") && page.contains(">predicted − true (%)</div>"));
    }
}
