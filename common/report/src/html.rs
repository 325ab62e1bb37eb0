//! Self-contained HTML pages: no network, no script, light and dark, printable.

use crate::{ClientReport, Summary};
use maud::{DOCTYPE, Markup, html};

/// The page of a run.
#[must_use]
pub fn run_page(summary: &Summary) -> String {
    page(&summary.name, &html! { h1 { (summary.name) } }).into_string()
}

/// The page of one client.
#[must_use]
pub fn client_page(report: &ClientReport) -> String {
    page(&report.client.id, &html! { h1 { (report.client.id) } }).into_string()
}

fn page(title: &str, body: &Markup) -> Markup {
    html! { (DOCTYPE) html lang="en" { head { meta charset="utf-8"; title { (title) } } body { (body) } } }
}
