//! The hypnogram: truth above prediction over hours since the recording's start, one lane per stage.

use super::calibration;
use super::format::{colour, percent};
use crate::{NightOptions, NightResult, Staging};
use maud::{Markup, html};

/// Height of a lane in px; the style sheet gives the lane names the same.
const LANE: usize = 22;
/// Height of the bar within its lane.
const BAR: usize = 14;

/// A night as a figure.
pub(super) fn figure(night: &NightResult, staging: &Staging, options: NightOptions) -> Markup {
    let scored = night.truth.iter().any(Option::is_some);
    let hours = night.epochs() as f64 * options.epoch_seconds / 3600.0;
    html! {
        figure {
            div.hypnogram {
                @if scored {
                    (panel("Scored by the laboratory", &night.truth, staging, options))
                }
                (panel("Predicted", &night.predicted, staging, options))
                (calibration::band(night))
                @if scored {
                    div.strip { "differs" }
                    (differences(night))
                }
                (axis(hours))
            }
        }
    }
}

fn panel(title: &str, codes: &[Option<u8>], staging: &Staging, options: NightOptions) -> Markup {
    let lanes = staging.lanes();
    let height = lanes.len() * LANE;
    let lane_of = |code: u8| lanes.iter().position(|&class| class == usize::from(code));
    let runs = runs(codes);
    let total = codes.len().max(1) as f64;
    let clock = |epoch: usize| {
        let minutes = (epoch as f64 * options.epoch_seconds / 60.0).round() as u64;
        format!("{}:{:02}", minutes / 60, minutes % 60)
    };
    let name =
        |code: Option<u8>| code.map_or("not scored".to_owned(), |code| staging.name(usize::from(code)));
    html! {
        div.title { (title) }
        div.lanes { @for &class in &lanes { span { (staging.name(class)) } } }
        svg role="img" aria-label=(format!("{title}: hypnogram, {} epochs", codes.len())) height=(height) {
            @for lane in 0..lanes.len() {
                @let y = lane * LANE + LANE / 2;
                line.grid x1="0" x2="100%" y1=(y) y2=(y) {}
            }
            @for pair in runs.windows(2) {
                @if let (Some(a), Some(b)) = (pair[0].code.and_then(lane_of), pair[1].code.and_then(lane_of)) {
                    @let x = percent(pair[1].start as f64 / total);
                    line.step x1=(x) x2=(x) y1=(a.min(b) * LANE + LANE / 2) y2=(a.max(b) * LANE + LANE / 2) {}
                }
            }
            @for run in &runs {
                @let x = percent(run.start as f64 / total);
                @let width = percent(run.length as f64 / total);
                @let what = format!("{} {}–{} h", name(run.code), clock(run.start), clock(run.start + run.length));
                @match run.code.and_then(|code| Some((code, lane_of(code)?))) {
                    Some((code, lane)) => {
                        rect class={ "run " (colour(staging, usize::from(code))) } x=(x) width=(width)
                            y=(lane * LANE + (LANE - BAR) / 2) height=(BAR) { title { (what) } }
                    }
                    None => {
                        rect.unscored x=(x) width=(width) y="0" height=(height) { title { (what) } }
                    }
                }
            }
        }
    }
}

/// Where both sides are scored and differ.
fn differences(night: &NightResult) -> Markup {
    let differs: Vec<Option<u8>> = night
        .truth
        .iter()
        .zip(&night.predicted)
        .map(|(truth, predicted)| {
            Some(u8::from(truth.is_some() && predicted.is_some() && truth != predicted))
        })
        .collect();
    let total = differs.len().max(1) as f64;
    html! {
        svg role="img" aria-label="epochs where prediction and truth differ" height="10" {
            line.grid x1="0" x2="100%" y1="5" y2="5" {}
            @for run in runs(&differs).iter().filter(|run| run.code == Some(1)) {
                rect.differs x=(percent(run.start as f64 / total)) width=(percent(run.length as f64 / total))
                    y="1" height="8" {}
            }
        }
    }
}

/// Hours, or minutes of a night too short for them.
fn axis(hours: f64) -> Markup {
    const HOURS: [usize; 7] = [1, 2, 3, 4, 6, 12, 24];
    const MINUTES: [usize; 5] = [1, 2, 5, 10, 15];
    let (length, steps, unit) =
        if hours > 2.0 { (hours, &HOURS[..], "h") } else { (60.0 * hours, &MINUTES[..], "min") };
    let fits = |step: &&usize| length / **step as f64 <= 12.0;
    let step = steps.iter().find(fits).copied().unwrap_or(24 * (1 + length as usize / 288));
    let name = format!("time since the recording’s start ({unit})");
    html! {
        svg.hours role="img" aria-label={ "axis: " (name) } height="42" {
            line.axis x1="0" x2="100%" y1="1" y2="1" {}
            @for tick in (0..=length.max(0.0) as usize).step_by(step) {
                @let x = percent(if length > 0.0 { tick as f64 / length } else { 0.0 });
                line.axis x1=(x) x2=(x) y1="1" y2="6" {}
                text.tick x=(x) y="20" text-anchor="middle" { (tick) }
            }
            text x="50%" y="38" text-anchor="middle" { (name) }
        }
    }
}

/// Equal neighbours.
struct Run {
    code: Option<u8>,
    start: usize,
    length: usize,
}

fn runs(codes: &[Option<u8>]) -> Vec<Run> {
    let mut out: Vec<Run> = Vec::new();
    for (epoch, &code) in codes.iter().enumerate() {
        match out.last_mut() {
            Some(run) if run.code == code => run.length += 1,
            _ => out.push(Run { code, start: epoch, length: 1 }),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_cover_the_night() {
        let codes = [Some(0), Some(0), None, Some(2), Some(2), Some(2)];
        let runs = runs(&codes);
        let shape: Vec<_> = runs.iter().map(|run| (run.code, run.start, run.length)).collect();
        assert_eq!(shape, [(Some(0), 0, 2), (None, 2, 1), (Some(2), 3, 3)]);
    }

    #[test]
    fn every_run_is_drawn_in_its_lane_and_place() {
        let staging = Staging::four();
        let truth = vec![Some(0), Some(0), Some(2), Some(3)];
        let night = NightResult::new(
            "n",
            truth,
            vec![Some(0), Some(1), None, Some(3)],
            &staging,
            NightOptions::default(),
        );
        let svg = figure(&night, &staging, NightOptions::default()).into_string();
        // Deep is the fourth lane, the third quarter of the night.
        assert!(
            svg.contains("<rect class=\"run k-d3\" x=\"50.00%\" width=\"25.00%\" y=\"70\" height=\"14\">"),
            "{svg}"
        );
        assert!(svg.contains("<rect class=\"unscored\" x=\"50.00%\""));
        assert!(svg.contains("<rect class=\"differs\" x=\"25.00%\" width=\"25.00%\""));
        assert_eq!(svg.matches("class=\"differs\"").count(), 1);
        assert!(svg.contains("Deep 0:01–0:02 h"));
    }
}
