//! Tables that both kinds of page show.

use super::format::{DASH, colour, one, score, signed, whole};
use crate::{Discrepancy, Estimate, Metrics, NightStatistics, Staging};
use maud::{Markup, html};

/// Precision, recall, F1, specificity and kappa of each stage.
pub(super) fn per_stage(metrics: &Metrics, staging: &Staging) -> Markup {
    html! {
        div.wide {
            table {
                thead { tr {
                    th { "Stage" }
                    @for head in ["epochs", "precision", "recall", "F1"] { th.num { (head) } }
                    th class="num spare" { "specificity" }
                    th.num { "kappa" }
                } }
                tbody {
                    @for (class, own) in metrics.per_class.iter().enumerate() {
                        tr {
                            td.stage { span class={ "swatch " (colour(staging, class)) } {} (staging.name(class)) }
                            td.num { (whole(own.support)) }
                            @for value in [own.precision, own.recall, own.f1] { td.num { (score(value)) } }
                            td class="num spare" { (score(own.specificity)) }
                            td.num { (score(own.kappa)) }
                        }
                    }
                }
            }
        }
    }
}

/// Night statistics: truth, prediction and their difference.
pub(super) fn night(
    truth: Option<&NightStatistics>,
    predicted: &NightStatistics,
    staging: &Staging,
) -> Markup {
    let own = predicted.measures(staging);
    let reference = truth.map(|night| night.measures(staging));
    html! {
        table {
            thead { tr {
                th { "Measure" }
                @if reference.is_some() { th.num { "true" } }
                th.num { "predicted" }
                @if reference.is_some() { th.num { "difference" } }
            } }
            tbody {
                @for (index, (name, unit, value)) in own.iter().enumerate() {
                    tr {
                        td { (spell(name)) " " small { (unit) } }
                        @if let Some(reference) = &reference {
                            @let truth = reference.get(index).and_then(|entry| entry.2);
                            td.num { (one(truth)) }
                            td.num { (one(*value)) }
                            td.num { (signed(value.zip(truth).map(|(p, t)| p - t))) }
                        } @else {
                            td.num { (one(*value)) }
                        }
                    }
                }
            }
        }
    }
}

/// Bias and limits of agreement of each measure.
pub(super) fn discrepancies(rows: &[Discrepancy]) -> Markup {
    html! {
        div.wide {
            table {
                thead { tr {
                    th { "Measure" }
                    th class="num spare" { "true" } th class="num spare" { "predicted" }
                    th.num { "bias [95 % CI]" } th.num { "limits of agreement" } th.spare { "depends on size" }
                } }
                tbody {
                    @for row in rows {
                        tr {
                            td { (spell(&row.measure)) " " small { (row.unit) } }
                            td class="num spare" { (mean_sd(row.reference.mean, row.reference.sd)) }
                            td class="num spare" { (mean_sd(row.device.mean, row.device.sd)) }
                            td.num { (signed(Some(row.bias.value))) " " small { (bounds(&row.bias)) } }
                            td.num { (signed(Some(row.lower.value))) " to " (signed(Some(row.upper.value))) }
                            td.spare { (dependence(row)) }
                        }
                    }
                }
            }
        }
    }
}

fn dependence(row: &Discrepancy) -> &'static str {
    let bias = row.proportional_bias.is_some_and(|trend| trend.significant);
    let spread = row.heteroscedasticity.is_some_and(|trend| trend.significant);
    match (bias, spread) {
        (true, true) => "bias, spread",
        (true, false) => "bias",
        (false, true) => "spread",
        (false, false) => DASH,
    }
}

fn mean_sd(mean: Option<f64>, sd: Option<f64>) -> Markup {
    html! { (one(mean)) @if let Some(sd) = sd { " " small { "± " (format!("{sd:.1}")) } } }
}

fn bounds(estimate: &Estimate) -> String {
    format!("[{}, {}]", signed(Some(estimate.low)), signed(Some(estimate.high)))
}

/// Abbreviations in full, once the reader's eye needs them.
pub(super) fn spell(name: &str) -> String {
    let full = match name {
        "TST" => "Total sleep time",
        "SE" => "Sleep efficiency",
        "SOL" => "Sleep onset latency",
        "WASO" => "Wake after sleep onset",
        other => return other.to_owned(),
    };
    format!("{full} ({name})")
}
