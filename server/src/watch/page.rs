//! The page that a browser shows of a status; it reads itself again, and needs no script.

use maud::{Markup, html};
use somnus_report::{Metrics, RoundResult, html as style};

use super::alarm::Alarm;
use crate::admin::{ClientLine, RoundLine, Status};
use crate::clock::Seconds;
use crate::score::ScoreLine;

/// Seconds after which the page is read again.
const REFRESH: u32 = 5;

/// The page.
pub(super) fn page(status: &Status, alarms: &[Alarm], now: Seconds) -> String {
    let head = html! { meta http-equiv="refresh" content=(REFRESH); };
    let body = html! {
        p.eyebrow { "Somnus · live" }
        h1 { (status.federation) }
        (now_of(status))
        @for alarm in alarms { p.alarm role="alert" { b { (alarm.kind) } (alarm.text) } }
        (rounds(&status.rounds))
        (clients(status, now))
        footer {
            "Read again every " (REFRESH) " s. The same as " a href="status.json" { "JSON" } ", for "
            a href="metrics" { "Prometheus" } ", and in one word as " a href="health" { "health" } "."
        }
    };
    style::page(&format!("{} · Somnus", status.federation), &head, &body)
}

fn now_of(status: &Status) -> Markup {
    let tile = |what: &str, value: &str, about: &str| {
        html! { div.tile { span.what { (what) } b { (value) } span { (about) } } }
    };
    let spent = status.rounds.iter().rev().find_map(|round| round.epsilon);
    html! {
        div.tiles {
            @match &status.running {
                Some(running) => {
                    (tile("Phase", if running.finished { "finished" } else { &running.phase }, "of the round"))
                    (tile("Round", &running.round.to_string(), "open, or the last"))
                    (tile("Release", &running.version.to_string(), "newest"))
                    (tile("Clients", &format!("{} of {}", running.connected.len(), enrolled(status)), "connected"))
                }
                None => (tile("Server", "stopped", "nothing is collected")),
            }
            @if let Some(epsilon) = spent {
                (tile("Privacy", &format!("ε {epsilon:.2}"), &match status.budget {
                    Some(budget) => format!("spent of {budget}"),
                    None => "spent".into(),
                }))
            }
        }
    }
}

fn enrolled(status: &Status) -> usize {
    status.clients.iter().filter(|client| !client.revoked).count()
}

fn rounds(rounds: &[RoundLine]) -> Markup {
    html! {
        h2 { "Rounds" }
        @if rounds.is_empty() { p.about { "None has ended yet." } }
        @else {
            (style::round_curves(&rounds.iter().map(as_result).collect::<Vec<_>>()))
            div.wide { table {
                thead { tr {
                    th.num { "round" } th { "outcome" } th.num { "counted" } th.num { "time (s)" } th.num { "loss" }
                    th.num { "kappa" } th.num { "accuracy" } th.num { "evaluated by" }
                } }
                tbody { @for line in rounds.iter().rev() { (round(line)) } }
            } }
        }
    }
}

fn round(line: &RoundLine) -> Markup {
    html! {
        tr {
            td.num { (line.round) }
            td.remark.bad[line.outcome.starts_with("aborted")] { (line.outcome) }
            td.num { (line.counted) " of " (line.selected) }
            td.num { (format!("{:.1}", line.millis as f64 / 1000.0)) }
            td.num { (three(Some(f64::from(line.loss)))) }
            @match &line.evaluated {
                Some(score) => {
                    td.num { (three(score.kappa)) }
                    td.num { (three(score.accuracy)) }
                    td.num { (score.clients) " of release " (score.version) }
                }
                None => { td.num {} td.num {} td.num {} }
            }
        }
    }
}

fn three(value: Option<f64>) -> String {
    value
        .filter(|value| value.is_finite())
        .map_or("–".into(), |value| format!("{value:.3}").replace('-', "−"))
}

/// What the curves of a report are drawn from.
fn as_result(line: &RoundLine) -> RoundResult {
    let scored =
        |score: &ScoreLine| Metrics { kappa: score.kappa, accuracy: score.accuracy, ..Metrics::default() };
    let loss = f64::from(line.loss);
    // A closing round does nothing but count.
    let trained = line.counted > 0 && loss.is_finite() && !line.outcome.starts_with("evaluated");
    RoundResult {
        round: line.round.0,
        cohort: u32::try_from(line.selected).unwrap_or(u32::MAX),
        reported: u32::try_from(line.counted).unwrap_or(u32::MAX),
        mean_loss: trained.then_some(loss),
        evaluation: line.evaluated.as_ref().map(scored),
        epsilon: line.epsilon,
        ..RoundResult::default()
    }
}

fn clients(status: &Status, now: Seconds) -> Markup {
    html! {
        h2 { "Clients" }
        @if status.clients.is_empty() { p.about { "None is enrolled: " code { "somnus-server invite NAME" } } }
        @else {
            div.wide { table {
                thead { tr { th { "name" } th { "state" } th.num { "certificate (days)" } } }
                tbody { @for line in &status.clients { (client(line, now)) } }
            } }
        }
    }
}

fn client(line: &ClientLine, now: Seconds) -> Markup {
    html! {
        tr {
            td.name { (line.name) }
            @match (line.revoked, line.connected) {
                (true, _) => td.bad { "revoked" },
                (false, true) => td.good { "connected" },
                (false, false) => td.faint { "away" },
            }
            td.num { (line.certificate_expires.saturating_sub(now) / 86_400) }
        }
    }
}

#[cfg(test)]
mod tests {
    use somnus_browser::{Browser, look};
    use somnus_protocol::ids::{Round, Version};

    use super::*;
    use crate::watch::tests::status;

    #[test]
    fn the_page_says_what_the_status_says_and_escapes_it() {
        let mut status = status();
        status.federation = "<script>alert(1)</script>".into();
        let alarms = [Alarm { kind: "stalled".into(), text: "look & see".into() }];
        let page = page(&status, &alarms, 1_000_000);
        assert!(!page.contains("<script>") && page.contains("&lt;script&gt;"), "{page}");
        for text in ["look &amp; see", "collecting", "ann", "connected", "release 3", "1 of 2"] {
            assert!(page.contains(text), "{text} is not in\n{page}");
        }
    }

    /// Pictures are left in `target/pages`.
    #[test]
    fn the_live_page_is_legible_on_screens_and_paper() {
        let Some(mut browser) = Browser::launch("the_live_page_is_legible_on_screens_and_paper") else {
            return;
        };
        for (name, status, alarms) in [
            ("live", busy(), Vec::new()),
            ("live-hard", hard(), trouble()),
            ("live-empty", empty(), Vec::new()),
        ] {
            // In a test there is nothing to read again, and a page that goes while it is measured cannot be.
            let page =
                page(&status, &alarms, 1_000_000).replace("http-equiv=\"refresh\"", "name=\"refresh\"");
            let look = look(&mut browser, name, &page);
            assert!(look.texts > 30, "{name}: only {} texts were measured", look.texts);
            assert!(look.faults.is_empty(), "{name}:\n{}", look.faults.join("\n"));
        }
    }

    /// Thirty hubs in their twentieth round.
    fn busy() -> Status {
        let mut status = status();
        let (client, round) = (status.clients[0].clone(), status.rounds[0].clone());
        status.clients = (1..=30)
            .map(|n| ClientLine {
                name: format!("bedroom-{n:02}").parse().unwrap(),
                connected: n % 5 != 0,
                revoked: n == 30,
                ..client.clone()
            })
            .collect();
        status.rounds = (1..=20)
            .map(|n| RoundLine {
                round: Round(n),
                outcome: if n == 7 {
                    "aborted: 2 of 3 clients trained in time".into()
                } else {
                    format!("release {n}")
                },
                evaluated: (n % 4 == 0).then(|| score(n)),
                loss: 1.4 / n as f32,
                epsilon: Some(0.1 * n as f64),
                counted: if n % 6 == 0 { 2 } else { 3 },
                ..round.clone()
            })
            .collect();
        status.budget = Some(4.0);
        status
    }

    fn score(release: u64) -> ScoreLine {
        let (accuracy, kappa) = (Some(0.71), Some(0.52));
        ScoreLine { version: Version(release), clients: 24, epochs: 22_000, accuracy, kappa }
    }

    /// Names as long as they may be, and numbers that are none.
    fn hard() -> Status {
        let mut status = busy();
        status.federation = "multicentre-".repeat(8);
        let longest = (1..200).rev().find_map(|n| "h".repeat(n).parse().ok()).unwrap();
        status.clients[0].name = longest;
        for round in &mut status.rounds {
            round.loss = f32::NAN;
            round.millis = 3 * 86_400_000;
            round.outcome = format!("aborted: {}", "unbreakable".repeat(9));
        }
        status
    }

    fn trouble() -> Vec<Alarm> {
        let text = format!("the certificate of {} has ended: invite it again, or revoke it", "h".repeat(64));
        ["stalled", "certificate"].map(|kind| Alarm { kind: kind.into(), text: text.clone() }).into()
    }

    fn empty() -> Status {
        let mut status = status();
        (status.running, status.clients, status.rounds) = (None, Vec::new(), Vec::new());
        status
    }
}
