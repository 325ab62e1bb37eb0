//! What an operator should look at before it becomes a problem.

use serde::{Deserialize, Serialize};

use crate::admin::Status;
use crate::clock::Seconds;

/// A hub renews its certificate when a third of its life is left; one with less than this has not managed to, seconds.
const CERTIFICATE: Seconds = 14 * 24 * 3600;
/// Rounds in a row that came to nothing.
const ABORTED: usize = 3;
/// The part of the privacy budget that may be spent without a word.
const SPENT: f64 = 0.8;

/// Something to look at.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Alarm {
    /// Which kind: `stalled`, `certificate`, `privacy`, `stopped`.
    pub kind: String,
    /// In words, with what to do.
    pub text: String,
}

/// What a status gives reason to look at; `now` is the time in seconds since 1970 UTC.
pub fn alarms(status: &Status, now: Seconds) -> Vec<Alarm> {
    let mut alarms = Vec::new();
    let mut add = |kind: &str, text: String| alarms.push(Alarm { kind: kind.into(), text });
    let Some(running) = &status.running else {
        add("stopped", "no server is running: start `somnus-server serve`".into());
        return alarms;
    };
    let came_to_nothing = status.rounds.iter().rev().take_while(|round| round.outcome.starts_with("aborted"));
    let lost = came_to_nothing.count();
    if lost >= ABORTED && !running.finished {
        let why = status.rounds.last().map_or("", |round| round.outcome.as_str());
        add(
            "stalled",
            format!("the last {lost} rounds came to nothing ({why}): look at the hubs that dropped out"),
        );
    }
    for client in status.clients.iter().filter(|client| !client.revoked) {
        let left = client.certificate_expires.saturating_sub(now);
        if left == 0 {
            let text = format!("the certificate of {} has ended: invite it again, or revoke it", client.name);
            add("certificate", text);
        } else if left < CERTIFICATE {
            let days = left / (24 * 3600);
            let text = format!(
                "the certificate of {} ends in {days} days, and it has not renewed it: is it on?",
                client.name
            );
            add("certificate", text);
        }
    }
    if let (Some(budget), Some(spent)) =
        (status.budget, status.rounds.iter().rev().find_map(|round| round.epsilon))
        && spent >= SPENT * budget
    {
        let part = 100.0 * spent / budget;
        add(
            "privacy",
            format!("{part:.0} % of the privacy budget is spent: the federation ends when all of it is"),
        );
    }
    alarms
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::tests::status;

    fn kinds(status: &Status) -> Vec<String> {
        alarms(status, 1_000_000).into_iter().map(|alarm| alarm.kind).collect()
    }

    #[test]
    fn a_healthy_federation_gives_no_alarm_and_each_fault_gives_its_own() {
        let healthy = status();
        assert_eq!(kinds(&healthy), Vec::<String>::new());
        let mut stopped = healthy.clone();
        stopped.running = None;
        assert_eq!(kinds(&stopped), ["stopped"]);
        let mut late = healthy.clone();
        late.clients[0].certificate_expires = 1_000_000 + 3 * 24 * 3600;
        assert_eq!(kinds(&late), ["certificate"]);
        late.clients[0].revoked = true;
        assert_eq!(kinds(&late), Vec::<String>::new());
        let mut stalled = healthy.clone();
        for round in &mut stalled.rounds {
            round.outcome = "aborted: 2 of 3 clients trained in time".into();
        }
        assert_eq!(kinds(&stalled), ["stalled"]);
        stalled.rounds[2].outcome = "release 3".into();
        assert_eq!(kinds(&stalled), Vec::<String>::new());
        let mut spent = healthy;
        (spent.budget, spent.rounds[2].epsilon) = (Some(4.0), Some(3.3));
        assert_eq!(kinds(&spent), ["privacy"]);
    }
}
