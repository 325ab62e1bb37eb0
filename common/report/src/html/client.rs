//! The page of one client.

use super::format::{about_kappa, duration, score, short, whole};
use super::run::tile;
use super::{calibration, cohort, hypnogram, matrix, tables};
use crate::{ClientReport, Extent, NightOptions, NightResult, Onset};
use maud::{Markup, html};

pub(super) fn body(report: &ClientReport) -> Markup {
    let client = &report.client;
    let scored = client.metrics.n > 0;
    html! {
        p.eyebrow { "Somnus · " (report.federation) }
        h1 { (client.id) }
        p.lead {
            @match client.nights.len() { 1 => "One night", nights => { (nights) " nights" } }
            ", staged as " (report.staging.classes.join(", ")) "."
        }
        div.tiles {
            @if scored {
                (tile("Kappa", &short(client.metrics.kappa), "agreement beyond chance"))
                (tile("Macro-F1", &short(client.metrics.macro_f1), "mean over stages"))
                (tile("Accuracy", &short(client.metrics.accuracy), &format!("{} epochs", whole(client.metrics.n))))
            }
            @if let Some(sleep) = mean_sleep(&client.nights) {
                (tile("Sleep", &duration(sleep), if client.nights.len() > 1 { "predicted, mean of nights" } else { "predicted" }))
            }
        }
        @if scored {
            p.about { (about_kappa(&report.staging)) }
        } @else {
            p.about { "Nobody has scored these nights, so the page shows what the model predicts and no agreement." }
        }
        @if !client.notes.is_empty() {
            h2 { "Signal and coverage" }
            ul.notes { @for note in &client.notes { li { (note) } } }
        }
        @for night in &client.nights { (one_night(report, night)) }
        @if !report.discrepancies.is_empty() {
            h2 { "Over all nights" }
            p.about { "Predicted minus true over this person’s nights; limits of agreement are bias ± 1.96 SD." }
            (tables::discrepancies(&report.discrepancies))
        }
        @if scored {
            h2 { "Stages" }
            (matrix::figure(&client.confusion, &report.staging))
            (tables::per_stage(&client.metrics, &report.staging))
            p.about {
                "Balanced accuracy " (score(client.metrics.balanced_accuracy)) ", Matthews correlation "
                (score(client.metrics.mcc)) ". A dash is a score with nothing to divide by."
            }
        }
        @if let Some(found) = &report.calibration { (calibration::section(found)) }
        @if !report.standing.is_empty() { (cohort::standing(&report.standing)) }
        h2 { "About this report" }
        dl {
            dt { "federation" } dd { (report.federation) }
            dt { "role" } dd { (client.role) }
            dt { "model" } dd { (report.model.name) ", release " (report.model.version) }
            @if let Some(digest) = &report.model.digest { dt { "digest" } dd { (digest) } }
            dt { "task" } dd { (report.task) }
            dt { "macro-F1" } dd { "mean over the classes present in truth or prediction" }
            dt { "sleep onset" } dd { (onset_rule(report.options)) }
        }
        footer { "Somnus. A research prototype, not a medical device. The same numbers are in JSON and CSV beside this page." }
    }
}

fn one_night(report: &ClientReport, night: &NightResult) -> Markup {
    let statistics = &night.predicted_statistics;
    html! {
        h2 { (night.id) }
        p.about {
            @match statistics.extent {
                Extent::WholeNight => { (duration(statistics.tib)) " from the first scored epoch to the last" }
                Extent::Part => {
                    "A part of the night is judged: " (duration(statistics.tib)) ". The night began before it, so there "
                    "is no sleep onset latency or REM latency to read"
                }
            }
            @if statistics.unscored > 0.0 { "; " (duration(statistics.unscored)) " of it not scored" }
            "."
        }
        (hypnogram::figure(night, &report.staging, report.options))
        (tables::night(night.truth_statistics.as_ref(), statistics, &report.staging))
        @if !night.notes.is_empty() { ul.notes { @for note in &night.notes { li { (note) } } } }
    }
}

/// Mean predicted sleep in minutes.
fn mean_sleep(nights: &[NightResult]) -> Option<f64> {
    crate::stats::mean(&nights.iter().map(|night| night.predicted_statistics.tst).collect::<Vec<_>>())
}

/// The onset rule in words.
pub(super) fn onset_rule(options: NightOptions) -> String {
    let rule = match options.onset {
        Onset::FirstEpoch => "first epoch of any sleep stage".to_owned(),
        Onset::Consecutive(run) => format!("first of {run} sleep epochs in a row"),
    };
    format!("{rule}; the clock starts with the first scored epoch; epochs of {} s", options.epoch_seconds)
}
