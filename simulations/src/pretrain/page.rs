//! The record for people: one HTML file that asks the network for nothing.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::record::{Curve, Record, training};

/// Of a plot, in its own units.
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 160.0;

const STYLE: &str = "
:root { color-scheme: light dark; --paper: #fcfbf9; --ink: #1c2330; --faint: #6b7484; --rule: #c9c9c6; --accent: #1f5c99; }
@media (prefers-color-scheme: dark) { :root { --paper: #11151c; --ink: #e3e6ec; --faint: #8d96a5; --rule: #3b4452; --accent: #6aaee8; } }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; font-variant-numeric: tabular-nums; }
main { max-width: 46rem; margin: 0 auto; padding: 3rem 1.5rem; }
h1, h2 { line-height: 1.2; overflow-wrap: anywhere; }
h2 { margin: 2.5rem 0 .3rem; font-size: 1.2rem; }
p, figcaption { color: var(--faint); margin: .2rem 0 .8rem; overflow-wrap: anywhere; }
figure { margin: 1rem 0; }
svg { display: block; width: 100%; overflow: visible; font-size: 12px; }
svg text { fill: var(--faint); }
polyline { fill: none; stroke: var(--accent); stroke-width: 2; stroke-linejoin: round; }
line { stroke: var(--rule); }
table { border-collapse: collapse; width: 100%; }
td, th { text-align: left; padding: .35rem 1rem .35rem 0; border-bottom: 1px solid var(--rule); vertical-align: baseline; }
";

/// The page of a pretraining.
pub(super) fn page(record: &Record) -> String {
    let seconds: f64 = record.stages.iter().map(|stage| stage.seconds).sum();
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (record.config.name) " · Somnus pretraining" }
                // A constant of this crate: nothing of the record enters it.
                style { (PreEscaped(STYLE)) }
            }
            body { main {
                h1 { (record.config.name) }
                p {
                    (record.weights) " weights, " (record.model_bytes) " bytes, seed " (record.config.seed) ", "
                    (format!("{seconds:.0} s")) ". " (training(&record.stages)) "."
                }
                @for (i, stage) in record.stages.iter().enumerate() {
                    h2 { (i + 1) " · " (stage.kind) }
                    p { (stage.steps) " steps in " (format!("{:.0} s", stage.seconds)) }
                    @if let Some(teacher) = &stage.teacher { p { "taught by " (teacher.name) ", SHA-256 " (teacher.sha256) } }
                    @for curve in &stage.curves { (figure(curve)) }
                }
                h2 { "Data" }
                table { @for (name, licence) in &record.data { tr { th { (name) } td { (licence) } } } }
                h2 { "Files" }
                table {
                    tr { th { "configuration" } td { (record.config_sha256) } }
                    tr { th { "foundation.safetensors" } td { (record.model_sha256) } }
                }
            } }
        }
    };
    markup.into_string()
}

fn figure(curve: &Curve) -> Markup {
    let losses = || curve.points.iter().map(|(_, loss)| f64::from(*loss));
    let (low, high) = losses().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)));
    let Some(((first, start), (last, end))) = curve.points.first().zip(curve.points.last()) else {
        return html! {};
    };
    let steps = f64::from((last - first).max(1));
    let at = |(step, loss): &(u32, f32)| {
        let x = WIDTH * f64::from(step - first) / steps;
        let y = HEIGHT * (1.0 - (f64::from(*loss) - low) / (high - low).max(f64::MIN_POSITIVE));
        format!("{x:.1},{y:.1}")
    };
    let points: Vec<String> = curve.points.iter().map(at).collect();
    html! {
        figure {
            svg role="img" viewBox=(format!("-56 -12 {} {}", WIDTH + 64.0, HEIGHT + 40.0))
                aria-label=(format!("{} from {start:.4} to {end:.4}", curve.loss)) {
                line x1="0" x2=(WIDTH) y1=(HEIGHT) y2=(HEIGHT) {}
                text x="-8" y="4" text-anchor="end" { (format!("{high:.3}")) }
                text x="-8" y=(HEIGHT) text-anchor="end" { (format!("{low:.3}")) }
                text x="0" y=(HEIGHT + 18.0) { "step " (first) }
                text x=(WIDTH) y=(HEIGHT + 18.0) text-anchor="end" { (last) }
                polyline points=(points.join(" ")) {}
            }
            figcaption { (curve.loss) ": " (format!("{start:.4}")) " at first, " (format!("{end:.4}")) " at last" }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::config::Loaded;
    use super::super::record::StageRecord;
    use super::*;

    #[test]
    fn the_page_shows_every_curve_escapes_names_and_stands_alone() {
        let text = "name = '<b>'\n[[stage]]\nkind = 'masked-nights'\ncrisdb = true\n";
        let mut stage = StageRecord { kind: "masked-nights".into(), steps: 30, ..Default::default() };
        for (loss, step, mean) in [("a", 10, 2.0), ("a", 20, 1.5), ("b", 30, 7.25)] {
            stage.push(loss, step, mean);
        }
        assert_eq!(stage.curves.len(), 2);
        assert_eq!(stage.summary(), "masked-nights: 30 steps, a 1.5000, b 7.2500");
        let record = Record {
            config: Loaded::from_text(text).unwrap().config,
            config_sha256: "c0ffee".into(),
            model_sha256: "f00d".into(),
            model_bytes: 10,
            weights: 2,
            data: [("crisdb".into(), "ODC-By".into())].into(),
            stages: vec![stage],
        };
        let page = page(&record);
        for shown in ["&lt;b&gt;", "0.0,0.0 640.0,160.0", "7.2500 at last", "c0ffee", "f00d", "ODC-By"] {
            assert!(page.contains(shown), "{shown} is not in\n{page}");
        }
        assert!(!page.contains("<b>") && !page.contains("http") && !page.contains("NaN"));
    }
}
