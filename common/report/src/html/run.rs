//! The page of a run.

use super::format::{about_kappa, bytes, interval, p_value, score, seconds, short, spread, whole};
use super::{bland, calibration, cohort, grids, hypnogram, identification, leaks, matrix, plots, tables};
use crate::{ClientResult, Metrics, Row, Summary, output::file_stems};
use maud::{Markup, html};

pub(super) fn body(summary: &Summary) -> Markup {
    let stems = file_stems(summary.clients.iter().map(|client| client.id.as_str()));
    let clients: Vec<(&ClientResult, &str)> =
        summary.clients.iter().zip(stems.iter().map(String::as_str)).collect();
    html! {
        (header(summary))
        @if !summary.notes.is_empty() {
            ul.notes { @for note in &summary.notes { li { (note) } } }
        }
        (grids::section(&summary.grids))
        @if summary.shows_rows() { (rows(summary)) } @else if !summary.rows.is_empty() {
            p.about { (rows_beside(summary)) }
        }
        @if !summary.identification.is_empty() { (identification::section(summary)) }
        @if !summary.leaks.is_empty() { (leaks::section(summary)) }
        @if let Some((client, stem)) = typical(&clients) { (typical_night(summary, client, stem)) }
        @if let Some(row) = headline(summary) { (stages(summary, row)) }
        @if !clients.is_empty() { (people(&clients)) }
        @if !summary.discrepancies.is_empty() {
            h2 { "Night statistics" }
            p.about {
                "Predicted minus true, each person’s nights averaged first. Limits of agreement are bias ± 1.96 SD: "
                "the range that holds about 95 % of people."
                span.spare { " The last column names what grows or shrinks with the size of the measurement." }
            }
            (tables::discrepancies(&summary.discrepancies))
            (bland::plots(summary))
            p.about { "Each dot is a person. Solid: the bias; dashed: the limits of agreement, tilted where they depend on size." }
        }
        @if let Some(found) = &summary.calibration { (calibration::section(found)) }
        @if !summary.fairness.is_empty() && summary.shows_rows() {
            (cohort::fairness(&summary.fairness, &summary.coverage))
        }
        @if !summary.rounds.is_empty() { (rounds(summary)) }
        @if !summary.clients.is_empty() || !summary.excluded.is_empty() { (excluded(summary)) }
        (settings(summary))
        footer { "Somnus. Every number on this page is in summary.json; tables are also in CSV beside it." }
    }
}

fn header(summary: &Summary) -> Markup {
    let headline = headline(summary);
    html! {
        p.eyebrow { "Somnus · report of a run" }
        h1 { (summary.name) }
        p.lead {
            @if summary.staging.classes.is_empty() { (summary.task) "." } @else {
                "Sleep staging in " (summary.staging.len()) " classes: " (summary.staging.classes.join(", ")) "."
            }
        }
        div.tiles {
            @if let Some(row) = headline {
                (tile("Kappa", &short(row.pooled.kappa), &about_headline(row)))
                (tile("Macro-F1", &short(row.pooled.macro_f1), "mean over stages"))
                (tile("Accuracy", &short(row.pooled.accuracy), &format!("{} epochs", whole(row.pooled.n))))
                @if !row.subjects.is_empty() {
                    (tile("People", &whole(row.subjects.len() as u64), "evaluated"))
                }
            }
            @if !summary.rounds.is_empty() {
                (tile("Rounds", &whole(summary.rounds.len() as u64), "of the federation"))
            }
            (tile("Time", &seconds(summary.seconds), &about_time(summary)))
        }
        @if !summary.staging.classes.is_empty() { p.about { (about_kappa(&summary.staging)) } }
    }
}

/// What ran in that time; a server that is asked later has no peak to tell.
fn about_time(summary: &Summary) -> String {
    if summary.peak_rss_mib > 0.0 {
        format!("peak memory {:.0} MiB", summary.peak_rss_mib)
    } else {
        "in rounds".into()
    }
}

/// What the large kappa is of, and how far it depends on the seed where there are several.
fn about_headline(row: &Row) -> String {
    let spread =
        row.seeds.spread.sd.map_or(String::new(), |sd| {
            format!("; sd {} over {} seeds", score(Some(sd)), row.seeds.kappa.len())
        });
    format!("{}, all epochs{spread}", row.name)
}

pub(super) fn tile(what: &str, value: &str, about: &str) -> Markup {
    html! { div.tile { span.what { (what) } b { (value) } span { (about) } } }
}

/// The row the page is about: the federated one if there is one, else the last.
fn headline(summary: &Summary) -> Option<&Row> {
    summary.rows.iter().find(|row| row.name == "federated").or(summary.rows.last())
}

fn same_people(rows: &[Row]) -> bool {
    rows.windows(2).all(|pair| pair[0].subjects.keys().eq(pair[1].subjects.keys()))
}

/// Where the rows are that the page does not show.
fn rows_beside(summary: &Summary) -> String {
    format!("{} rows with intervals and comparisons are in rows.csv and summary.json.", summary.rows.len())
}

fn rows(summary: &Summary) -> Markup {
    let seeds = summary.seeds.len();
    html! {
        h2 { "Comparison" }
        p.about {
            @if same_people(&summary.rows) { "Every row on the same people" } @else { "Rows on different people: compare with care" }
            @if seeds > 1 { ", " (seeds) " seeds" }
            "."
        }
        (plots::forest(&summary.rows))
        div.wide {
            table {
                thead { tr {
                    th { "" } th.num { "kappa [95 % CI]" } th.num { "macro-F1" span.spare { " [95 % CI]" } } th.num { "accuracy" }
                    th.num { "kappa per person" }
                    @if seeds > 1 { th.num { "sd over seeds" } }
                    th.num { "epochs" }
                } }
                tbody {
                    @for row in &summary.rows {
                        tr class=(if headline(summary).is_some_and(|h| h.name == row.name) { "head" } else { "plain" }) {
                            td.name { (row.name) @if let Some(note) = &row.note { span.note { (note) } } }
                            td.num { (score(row.pooled.kappa)) " " small { (interval(row.interval.kappa)) } }
                            td.num { (score(row.pooled.macro_f1)) " " small.spare { (interval(row.interval.macro_f1)) } }
                            td.num { (score(row.pooled.accuracy)) }
                            td.num { (spread(&row.per_subject.kappa)) }
                            @if seeds > 1 { td.num { (score(row.seeds.spread.sd)) } }
                            td.num { (whole(row.pooled.n)) }
                        }
                    }
                }
            }
        }
        @if !summary.comparisons.is_empty() {
            h3 { "Differences, paired over people" }
            div.wide {
                table {
                    thead { tr {
                        th { "" } th.num { "kappa [95 % CI]" } th.num { "Wilcoxon p" } th.num { "people" }
                    } }
                    tbody {
                        @for c in &summary.comparisons {
                            tr {
                                td.name { (c.row) " − " (c.baseline) }
                                td.num { (score(c.kappa_difference)) " " small { (interval(c.interval)) } }
                                td.num { (c.wilcoxon.map_or("–".to_owned(), |test| p_value(test.p))) }
                                td.num { (whole(c.subjects)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The client of median kappa, among those with a night to show.
fn typical<'a>(clients: &[(&'a ClientResult, &'a str)]) -> Option<(&'a ClientResult, &'a str)> {
    let mut scored: Vec<_> = clients
        .iter()
        .filter(|(client, _)| client.metrics.kappa.is_some() && !client.nights.is_empty())
        .collect();
    scored.sort_by(|a, b| {
        a.0.metrics.kappa.partial_cmp(&b.0.metrics.kappa).unwrap_or(std::cmp::Ordering::Equal)
    });
    scored.get(scored.len() / 2).map(|&&entry| entry)
}

fn typical_night(summary: &Summary, client: &ClientResult, stem: &str) -> Markup {
    html! {
        h2 { "A typical night" }
        p.about {
            a href={ "clients/" (stem) ".html" } { (client.id) }
            ", the person of median kappa (" (score(client.metrics.kappa)) ")."
        }
        (hypnogram::figure(&client.nights[0], &summary.staging, summary.options))
    }
}

fn stages(summary: &Summary, row: &Row) -> Markup {
    html! {
        h2 { "Stages" }
        p.about {
            "All epochs of all people, row " i { (row.name) }
            @if row.seeds.kappa.len() > 1 { ", summed over " (row.seeds.kappa.len()) " seeds" }
            "."
        }
        (matrix::figure(&row.confusion, &summary.staging))
        (tables::per_stage(&Metrics::of(&row.confusion), &summary.staging))
    }
}

fn people(clients: &[(&ClientResult, &str)]) -> Markup {
    // Who has no kappa comes last.
    let mut clients = clients.to_vec();
    let kappa = |client: &ClientResult| client.metrics.kappa.unwrap_or(f64::NEG_INFINITY);
    clients.sort_by(|a, b| kappa(b.0).total_cmp(&kappa(a.0)).then_with(|| a.0.id.cmp(&b.0.id)));
    html! {
        h2 { "People" }
        p.about { "Each client is one person; best kappa first." }
        (plots::clients(&clients))
        div.wide {
            table {
                thead { tr {
                    th { "client" } th.spare { "role" } th.num { "kappa" } th.num { "macro-F1" } th.num { "accuracy" }
                    th.num { "epochs" } th.spare { "notes" }
                } }
                tbody {
                    @for (client, stem) in &clients {
                        tr {
                            td.name { a href={ "clients/" (stem) ".html" } { (client.id) } }
                            td class="role spare" { (client.role) }
                            td.num { (score(client.metrics.kappa)) }
                            td.num { (score(client.metrics.macro_f1)) }
                            td.num { (score(client.metrics.accuracy)) }
                            td.num { (whole(client.metrics.n)) }
                            td class="remark spare" { small { (client.notes.join("; ")) } }
                        }
                    }
                }
            }
        }
    }
}

fn rounds(summary: &Summary) -> Markup {
    let rounds = &summary.rounds;
    let up: u64 = rounds.iter().fold(0, |sum, round| sum.saturating_add(round.bytes_up));
    let down: u64 = rounds.iter().fold(0, |sum, round| sum.saturating_add(round.bytes_down));
    let aborted: Vec<_> = rounds.iter().filter_map(|r| Some((r.round, r.aborted.as_ref()?))).collect();
    html! {
        h2 { "Rounds" }
        p.about {
            (whole(rounds.len() as u64)) " rounds, " (bytes(up)) " from clients to the server and "
            (bytes(down)) " back."
        }
        (plots::rounds(rounds))
        @if !aborted.is_empty() {
            h3 { "Rounds that published nothing" }
            table {
                thead { tr { th { "round" } th { "reason" } } }
                tbody { @for (round, reason) in aborted { tr { td { (round) } td { (reason) } } } }
            }
        }
    }
}

fn excluded(summary: &Summary) -> Markup {
    html! {
        h2 { "Left out" }
        @if summary.excluded.is_empty() {
            p.about { "Nobody: every recording met the rules." }
        } @else {
            table {
                thead { tr { th { "recording" } th { "reason" } } }
                tbody {
                    @for entry in &summary.excluded { tr { td.name { (entry.id) } td { (entry.reason) } } }
                }
            }
        }
    }
}

fn settings(summary: &Summary) -> Markup {
    let seeds: Vec<String> = summary.seeds.iter().map(u64::to_string).collect();
    let config = serde_json::to_string_pretty(&summary.config).unwrap_or_default();
    html! {
        h2 { "Settings" }
        dl {
            dt { "task" } dd { (summary.task) }
            dt { "seeds" } dd { (if seeds.is_empty() { "–".to_owned() } else { seeds.join(", ") }) }
            dt { "macro-F1" } dd { "mean over the classes present in truth or prediction" }
            dt { "intervals" } dd { "95 % percentile bootstrap over people, never over epochs" }
            dt { "sleep onset" } dd { (super::client::onset_rule(summary.options)) }
            dt { "schema" } dd { (summary.schema) }
        }
        @if !summary.config.is_null() { pre { (config) } }
    }
}
