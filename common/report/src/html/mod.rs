//! Self-contained HTML pages: one file each, no network, no script, light and dark, printable.
//!
//! Everything that is not a number goes through maud's escaping. Plots are SVG laid out in percent of their width, so
//! that their text keeps its size from a phone to paper. Stage colours (orange, purple, light to dark blue) differ in
//! lightness as well as in hue and stay apart for colour-blind readers (`palette` measures it); no meaning rests on colour alone.

mod bland;
mod calibration;
mod client;
mod cohort;
mod format;
mod grids;
mod hypnogram;
mod identification;
mod leaks;
#[cfg(test)]
mod looks;
mod matrix;
#[cfg(test)]
mod palette;
mod plots;
mod run;
mod scale;
mod tables;

use crate::{ClientReport, RoundResult, Summary};
use maud::{DOCTYPE, Markup, PreEscaped, html};

const STYLE: &str = include_str!("style.css");

/// The page of a run: `report.html`. Links to `clients/<client>.html` beside it.
#[must_use]
pub fn run_page(summary: &Summary) -> String {
    page(&format!("{} · Somnus run", summary.name), &html! {}, &run::body(summary))
}

/// The page of one client.
#[must_use]
pub fn client_page(report: &ClientReport) -> String {
    page(&format!("{} · Somnus", report.client.id), &html! {}, &client::body(report))
}

/// Curves over rounds: training loss, evaluation, drop-outs and privacy spent, those that there is something to show of.
#[must_use]
pub fn round_curves(rounds: &[RoundResult]) -> Markup {
    plots::rounds(rounds)
}

/// A page of ours: `body` in the one style, and what else its `head` holds. The server's live page is one as well.
#[must_use]
pub fn page(title: &str, head: &Markup, body: &Markup) -> String {
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                (head)
                title { (title) }
                // The sheet is a constant of this crate: nothing of a report's content enters it.
                style { (PreEscaped(STYLE)) }
            }
            body { main { (body) } }
        }
    };
    markup.into_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, well_formed};
    use crate::{ClientResult, Excluded, NightOptions, NightResult, Staging};

    #[test]
    fn pages_are_well_formed_and_whole() {
        let summary = testing::summary(6, 2);
        let run = run_page(&summary);
        well_formed(&run).unwrap();
        for row in &summary.rows {
            assert!(run.contains(&row.name), "row {}", row.name);
        }
        for client in &summary.clients {
            assert!(run.contains(&format!("clients/{}.html", client.id)), "link to {}", client.id);
            let page = client_page(&ClientReport::of_run(&summary, client));
            well_formed(&page).unwrap();
            assert!(page.contains(&client.id) && page.contains("time since the recording’s start (h)"));
        }
        assert!(run.contains("7749105") && run.contains("the rule asks for 50 %"));
        assert!(run.contains("2 of 4 needed clients reported"));
    }

    #[test]
    fn several_seeds_show_their_spread() {
        let several = run_page(&testing::summary(3, 2));
        assert!(
            several.contains(" over 2 seeds</span>")
                && several.contains("<th class=\"num\">sd over seeds</th>")
        );
        let one = run_page(&testing::summary(3, 1));
        assert!(!one.contains("seeds</span>") && !one.contains("sd over seeds"));
    }

    #[test]
    fn people_are_listed_best_first() {
        let mut summary = testing::summary(5, 1);
        summary.clients[1].metrics.kappa = None;
        let page = run_page(&summary);
        // Behind the plot's links come the table's.
        let table = &page[page.find("<th>client</th>").unwrap()..];
        let mut ids: Vec<(usize, &str, Option<f64>)> = summary
            .clients
            .iter()
            .map(|c| (table.find(&format!(">{}<", c.id)).unwrap(), c.id.as_str(), c.metrics.kappa))
            .collect();
        ids.sort_unstable_by_key(|(at, ..)| *at);
        assert_eq!(ids[4].1, summary.clients[1].id);
        assert!(ids[..4].windows(2).all(|pair| pair[0].2 >= pair[1].2), "{ids:?}");
    }

    #[test]
    fn a_part_of_a_night_is_called_one() {
        let mut summary = testing::summary(1, 1);
        let client = &mut summary.clients[0];
        let night = client.nights[0].clone();
        let judged = 650..night.epochs();
        let part =
            NightResult::part("n", night.truth, night.predicted, judged, &summary.staging, summary.options);
        client.nights[0] = part;
        let page = client_page(&ClientReport::of_run(&summary, &summary.clients[0]));
        assert!(page.contains("A part of the night is judged"));
        let latency = page.split_once("(SOL)").unwrap().1;
        assert_eq!(latency[..latency.find("</tr>").unwrap()].matches('–').count(), 3);
        well_formed(&page).unwrap();
    }

    #[test]
    fn pages_ask_the_network_for_nothing() {
        let summary = testing::summary(3, 1);
        let pages = [run_page(&summary), client_page(&ClientReport::of_run(&summary, &summary.clients[0]))];
        for page in pages {
            for reach in ["http:", "https:", "//", "src=", "@import", "url(", "<script", "<link", "<iframe"] {
                assert!(!page.contains(reach), "{reach} in a page");
            }
        }
    }

    #[test]
    fn hostile_names_are_escaped() {
        let evil = "<script>alert(1)</script>\"' onload=x &amp; <u>";
        let staging = Staging { classes: vec![evil.into(), evil.into()], wake: 0, rem: None };
        let night = NightResult::new(
            evil,
            vec![Some(0), Some(1), None],
            vec![Some(1), Some(1), Some(0)],
            &staging,
            NightOptions::default(),
        );
        let client = ClientResult::from_nights(evil, evil, vec![night], &staging).unwrap();
        let mut summary = Summary::new(evil, evil, staging);
        let people = [(evil.to_owned(), client.confusion.clone())].into_iter().collect();
        summary.rows.push(crate::Row::from_subjects(evil, &people, 1).unwrap().with_note(evil));
        summary.clients.push(client.with_notes(vec![evil.into()]));
        summary.excluded.push(Excluded { id: evil.into(), reason: evil.into() });
        summary.notes.push(evil.into());
        summary.config = serde_json::json!({ evil: [evil] });
        summary.rounds.push(RoundResult { aborted: Some(evil.into()), ..Default::default() });
        for page in [run_page(&summary), client_page(&ClientReport::of_run(&summary, &summary.clients[0]))] {
            assert!(!page.contains("<script") && !page.contains("<u>"), "unescaped");
            assert!(page.contains("&lt;script&gt;"));
            well_formed(&page).unwrap();
        }
    }

    #[test]
    fn empty_runs_and_people_still_have_a_page() {
        for staging in [Staging::sleep_wake(), Staging::three(), Staging::five()] {
            let mut summary = Summary::new("empty", "x", staging.clone());
            well_formed(&run_page(&summary)).unwrap();
            let nobody = ClientResult::from_nights("a", "hub", Vec::new(), &staging).unwrap();
            well_formed(&client_page(&ClientReport::of_run(&summary, &nobody))).unwrap();
            let blank =
                NightResult::new("n", vec![None; 5], vec![None; 5], &staging, NightOptions::default());
            let blank = ClientResult::from_nights("b", "hub", vec![blank], &staging).unwrap();
            well_formed(&client_page(&ClientReport::of_run(&summary, &blank))).unwrap();
            summary.clients = vec![nobody, blank];
            let page = run_page(&summary);
            well_formed(&page).unwrap();
            assert!(!page.contains("NaN") && !page.contains("inf%"), "an undefined number reached a plot");
        }
    }

    #[test]
    fn thirty_clients_weigh_under_a_megabyte() {
        let summary = testing::summary(30, 1);
        let page = run_page(&summary);
        assert!(page.len() < 1_000_000, "{} bytes", page.len());
        let client = client_page(&ClientReport::of_run(&summary, &summary.clients[0]));
        assert!(client.len() < 200_000, "{} bytes", client.len());
    }

    #[test]
    fn the_check_for_well_formedness_can_fail() {
        for broken in
            ["<p><b></p></b>", "<p>", "</p>", "<p a=b></p>", "<p>a < b</p>", "<p a=\"1\" a=\"2\"></p>"]
        {
            assert!(well_formed(broken).is_err(), "{broken} passed");
        }
        assert!(well_formed("<!DOCTYPE html><p id=\"a\">x<br>y</p><p id=\"b\"></p>").is_ok());
        assert!(well_formed("<p id=\"a\"></p><p id=\"a\"></p>").is_err());
    }
}
