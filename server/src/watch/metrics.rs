//! A status as Prometheus reads it (text exposition format 0.0.4).

use std::fmt::Write as _;

use super::alarm::Alarm;
use crate::admin::Status;

/// One sample: labels without braces, and a value.
type Sample = (String, f64);

/// The whole page. Names are `somnus_*`; no label names a person beyond the name that the operator gave the hub.
pub(super) fn exposition(status: &Status, alarms: &[Alarm]) -> String {
    let mut out = String::new();
    let mut gauge = |name: &str, help: &str, samples: Vec<Sample>| {
        if samples.is_empty() {
            return;
        }
        let _ = writeln!(out, "# HELP somnus_{name} {help}\n# TYPE somnus_{name} gauge");
        for (labels, value) in samples {
            let labels = if labels.is_empty() { labels } else { format!("{{{labels}}}") };
            let _ = writeln!(out, "somnus_{name}{labels} {value}");
        }
    };
    let one = |value: f64| vec![(String::new(), value)];
    let flag = |is: bool| f64::from(u8::from(is));

    gauge("up", "Whether the server serves.", one(flag(status.running.is_some())));
    gauge("release", "Version of the newest release.", one(status.release.map_or(0.0, |v| v.0 as f64)));
    if let Some(running) = &status.running {
        gauge("round", "Number of the open round, or of the last one.", one(running.round.0 as f64));
        gauge("finished", "Whether all releases are made.", one(flag(running.finished)));
        gauge("connected_clients", "Clients that are connected.", one(running.connected.len() as f64));
        let phase = format!("phase=\"{}\"", escaped(&running.phase));
        gauge("phase", "Phase of the open round.", vec![(phase, 1.0)]);
    }
    let enrolled: Vec<_> = status.clients.iter().filter(|client| !client.revoked).collect();
    gauge("enrolled_clients", "Clients that are enrolled and not revoked.", one(enrolled.len() as f64));
    let named = |name: &dyn std::fmt::Display| format!("client=\"{}\"", escaped(&name.to_string()));
    let connected = enrolled.iter().map(|client| (named(&client.name), flag(client.connected)));
    gauge("client_connected", "Whether a client is connected.", connected.collect());
    let ends = enrolled.iter().map(|client| (named(&client.name), client.certificate_expires as f64));
    gauge("client_certificate_end_seconds", "When a client's certificate ends, unix time.", ends.collect());
    if let Some(last) = status.rounds.last() {
        gauge("last_round_seconds", "How long the last round took.", one(last.millis as f64 / 1000.0));
        gauge("last_round_selected", "Clients selected for the last round.", one(last.selected as f64));
        gauge("last_round_counted", "Updates in the sum of the last round.", one(last.counted as f64));
        gauge(
            "last_round_loss",
            "Weighted mean of the training losses of the last round.",
            one(f64::from(last.loss)),
        );
    }
    if let Some(spent) = status.rounds.iter().rev().find_map(|round| round.epsilon) {
        gauge("privacy_epsilon", "Epsilon that all rounds have spent.", one(spent));
    }
    if let Some(budget) = status.budget {
        gauge("privacy_epsilon_budget", "Epsilon that the federation may spend.", one(budget));
    }
    gauge("alarms", "Things that an operator should look at.", one(alarms.len() as f64));
    out
}

/// A label's value: backslash, quote and line break are escaped.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::tests::status;

    #[test]
    fn every_line_is_a_comment_or_a_sample_and_every_metric_is_described_once() {
        let mut status = status();
        status.running.as_mut().unwrap().phase = "a \"phase\"\\".into();
        (status.budget, status.rounds[0].epsilon) = (Some(4.0), Some(0.5));
        let text = exposition(&status, &[]);
        let mut described = Vec::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                described.push(rest.split(' ').next().unwrap().to_owned());
            } else if !line.starts_with("# TYPE ") {
                let (name, value) = line.rsplit_once(' ').unwrap();
                assert_eq!(name.split('{').next(), described.last().map(String::as_str), "{line}");
                assert!(value.parse::<f64>().is_ok(), "{line}");
            }
        }
        let mut unique = described.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), described.len());
        for line in [
            "somnus_release 3",
            "somnus_connected_clients 1",
            "somnus_client_connected{client=\"ann\"} 1",
            "somnus_phase{phase=\"a \\\"phase\\\"\\\\\"} 1",
            "somnus_privacy_epsilon 0.5",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
    }
}
