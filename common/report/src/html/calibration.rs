//! Confidence: under the hypnogram of one night, and against accuracy over all of them.

use super::format::{score, whole};
use super::scale::{Scale, frame};
use crate::{Calibration, NightResult};
use maud::{Markup, html};

/// Height of the band in px.
const BAND: usize = 34;
/// Most steps that a band is drawn with: more than a screen shows of a night.
const STEPS: usize = 240;

/// The title, axis and band of a night's confidence, for the grid of its hypnogram; nothing where none is known.
pub(super) fn band(night: &NightResult) -> Markup {
    const NAME: &str = "confidence of the prediction (%)";
    if night.confidence.iter().all(Option::is_none) {
        return html! {};
    }
    let last = night.confidence.len();
    html! {
        div.title { (NAME) }
        svg.scale role="img" aria-label={ "axis: " (NAME) } height=(BAND) {
            text.tick x="100%" y="9" text-anchor="end" { "100" }
            text.tick x="100%" y=(BAND) text-anchor="end" { "0" }
        }
        svg role="img" aria-label="confidence of the predicted stages" height=(BAND)
            viewBox={ "0 0 " (last) " 100" } preserveAspectRatio="none" {
            line.grid x1="0" x2=(last) y1="0" y2="0" vector-effect="non-scaling-stroke" {}
            line.grid x1="0" x2=(last) y1="50" y2="50" vector-effect="non-scaling-stroke" {}
            line.axis x1="0" x2=(last) y1="100" y2="100" vector-effect="non-scaling-stroke" {}
            path.band d=(area(&night.confidence)) {}
        }
    }
}

/// The path of a night's confidence, in epochs to the right and percent from the top; gaps where it is not known.
fn area(confidence: &[Option<f32>]) -> String {
    let size = confidence.len().div_ceil(STEPS).max(1);
    let mut path = String::new();
    for (index, part) in confidence.chunks(size).enumerate() {
        let known: Vec<f64> = part.iter().flatten().map(|&c| f64::from(c)).collect();
        let Some(mean) = crate::stats::mean(&known) else { continue };
        let start = index * size;
        path.push_str(&format!("M{start} 100V{:.1}h{}V100z", 100.0 * (1.0 - mean), part.len()));
    }
    path
}

/// Accuracy over confidence, with the line on which a model would be as often right as it says.
pub(super) fn section(found: &Calibration) -> Markup {
    let scale = Scale::of([0.0, 100.0].into_iter());
    let most = found.bins.iter().map(|bin| bin.n).max().unwrap_or(1) as f64;
    let marks = html! {
        line.limit x1=(scale.at(0.0)) y1=(scale.up(0.0)) x2=(scale.at(100.0)) y2=(scale.up(100.0)) {}
        @for pair in found.bins.windows(2) {
            line class="curve first" x1=(scale.at(100.0 * pair[0].confidence)) y1=(scale.up(100.0 * pair[0].accuracy))
                x2=(scale.at(100.0 * pair[1].confidence)) y2=(scale.up(100.0 * pair[1].accuracy)) {}
        }
        @for bin in &found.bins {
            circle.mark cx=(scale.at(100.0 * bin.confidence)) cy=(scale.up(100.0 * bin.accuracy))
                r=(format!("{:.1}", 2.5 + 3.5 * (bin.n as f64 / most).sqrt())) {
                title { (whole(bin.n)) " epochs: " (format!("{:.0} % sure, {:.0} % right", 100.0 * bin.confidence, 100.0 * bin.accuracy)) }
            }
        }
    };
    html! {
        h2 { "Calibration" }
        p.about {
            "Is the model as often right as it says? Expected calibration error " (score(Some(found.ece)))
            " over " (whole(found.n)) " epochs; 0 is perfect. Below the dashed line it is too sure, above it not sure enough. "
            "Larger dots stand for more epochs."
        }
        figure.half {
            (frame("accuracy over confidence", (&scale, "accuracy (%)"), (&scale, "confidence (%)"), &marks))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_band_covers_the_night_in_few_steps() {
        let known: Vec<Option<f32>> = (0..1000).map(|epoch| (epoch != 3).then_some(0.5)).collect();
        let path = area(&known);
        assert_eq!(path.matches('M').count(), 200);
        assert!(
            path.starts_with("M0 100V50.0h5V100zM5 ") && path.ends_with("M995 100V50.0h5V100z"),
            "{path}"
        );
        assert_eq!(area(&[None, Some(1.0)]), "M1 100V0.0h1V100z");
    }
}
