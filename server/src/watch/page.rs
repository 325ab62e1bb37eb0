//! The page that a browser shows of a status; it reads itself again, and needs no script.

use maud::{DOCTYPE, Markup, html};

use super::alarm::Alarm;
use crate::admin::{RoundLine, Status};
use crate::clock::Seconds;

/// Seconds after which the page is read again.
const REFRESH: u32 = 5;

const STYLE: &str = "
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --good: #0b7285; --bad: #c2410c }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.4rem; margin-bottom: 0 } h2 { font-size: 1.05rem; margin-top: 2rem }
dl { display: flex; flex-wrap: wrap; gap: .5rem 2rem } dt { opacity: .7 } dd { margin: 0; font-size: 1.2rem }
.wide { overflow-x: auto } table { border-collapse: collapse; width: 100% }
th, td { text-align: left; padding: .25rem .75rem .25rem 0; border-bottom: 1px solid var(--line); white-space: nowrap }
td.n, th.n { text-align: right } .away { opacity: .6 } .good { color: var(--good) } .bad { color: var(--bad) }
.alarm { border-left: .3rem solid var(--bad); background: var(--soft); padding: .5rem 1rem; margin: .5rem 0 }
@media print { body { margin: 0 } }";

/// The page.
pub(super) fn page(status: &Status, alarms: &[Alarm], now: Seconds) -> String {
    let title = format!("{} - Somnus", status.federation);
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="refresh" content=(REFRESH);
                title { (title) }
                style { (maud::PreEscaped(STYLE)) }
            }
            body {
                h1 { (status.federation) }
                @for alarm in alarms { p.alarm role="alert" { (alarm.text) } }
                (now_of(status))
                (rounds(&status.rounds))
                (clients(status, now))
                p.away { "The same as " a href="status.json" { "JSON" } ", for " a href="metrics" { "Prometheus" } "." }
            }
        }
    }
    .into_string()
}

fn now_of(status: &Status) -> Markup {
    let fact = |name: &str, value: String| html! { div { dt { (name) } dd { (value) } } };
    html! {
        dl {
            @match &status.running {
                Some(running) => {
                    (fact("phase", if running.finished { "finished".into() } else { running.phase.clone() }))
                    (fact("round", running.round.to_string()))
                    (fact("release", running.version.to_string()))
                    (fact("connected", format!("{} of {}", running.connected.len(), enrolled(status))))
                }
                None => (fact("server", "not running".into())),
            }
            @if let Some(epsilon) = status.rounds.iter().rev().find_map(|round| round.epsilon) {
                (fact("privacy spent", match status.budget {
                    Some(budget) => format!("epsilon {epsilon:.2} of {budget}"),
                    None => format!("epsilon {epsilon:.2}"),
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
        @if rounds.is_empty() { p.away { "None has ended yet." } }
        @else {
            div.wide { table {
                thead { tr {
                    th { "round" } th { "outcome" } th.n { "selected" } th.n { "counted" } th.n { "seconds" } th.n { "loss" } th { "evaluated" }
                } }
                tbody {
                    @for round in rounds.iter().rev() {
                        tr {
                            td { (round.round) }
                            td.bad[round.outcome.starts_with("aborted")] { (round.outcome) }
                            td.n { (round.selected) }
                            td.n { (round.counted) }
                            td.n { (format!("{:.1}", round.millis as f64 / 1000.0)) }
                            td.n { (format!("{:.3}", round.loss)) }
                            td { @if let Some(score) = &round.evaluated { (score) } }
                        }
                    }
                }
            } }
        }
    }
}

fn clients(status: &Status, now: Seconds) -> Markup {
    html! {
        h2 { "Clients" }
        @if status.clients.is_empty() { p.away { "None is enrolled: " code { "somnus-server invite NAME" } } }
        @else {
            div.wide { table {
                thead { tr { th { "name" } th { "state" } th.n { "certificate, days" } } }
                tbody {
                    @for client in &status.clients {
                        tr {
                            td { (client.name) }
                            @match (client.revoked, client.connected) {
                                (true, _) => td.bad { "revoked" },
                                (false, true) => td.good { "connected" },
                                (false, false) => td.away { "away" },
                            }
                            td.n { (client.certificate_expires.saturating_sub(now) / 86_400) }
                        }
                    }
                }
            } }
        }
    }
}

#[cfg(test)]
mod tests {
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
}
