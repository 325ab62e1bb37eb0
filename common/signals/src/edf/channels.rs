//! What becomes of each signal of a file.

use super::header::{Header, SignalHeader};
use crate::{LEAST_ECG_RATE, LEAST_PPG_RATE, StreamKind};

/// A signal, and what it is used for.
#[derive(Debug, Clone, PartialEq)]
pub struct Channel {
    /// Its label.
    pub label: String,
    /// Its place in the header.
    pub place: usize,
    /// Samples a second; none of text.
    pub rate: Option<f64>,
    /// What it is used for.
    pub role: Role,
}

/// What a signal is used for.
#[derive(Debug, Clone, PartialEq)]
pub enum Role {
    /// A channel of a stream.
    Stream {
        /// Which.
        kind: StreamKind,
        /// Which of its channels.
        axis: usize,
        /// What makes the stream's unit of the signal's.
        factor: f64,
    },
    /// Text: stages are looked for in it.
    Annotations,
    /// Nothing, and why.
    Unused(String),
}

/// Every signal of a file. Of several that would do, the first is used.
#[must_use]
pub fn channels(header: &Header) -> Vec<Channel> {
    let role = |(place, signal): (usize, &SignalHeader)| {
        let rate = header.rate(place);
        let role = role(signal, rate.unwrap_or(0.0)).unwrap_or_else(Role::Unused);
        Channel { label: signal.label.clone(), place, rate: rate.filter(|_| !signal.is_annotations()), role }
    };
    let mut found: Vec<Channel> = header.signals.iter().enumerate().map(role).collect();
    for i in 0..found.len() {
        let slot = |channel: &Channel| match channel.role {
            Role::Stream { kind, axis, .. } => Some((kind, axis)),
            _ => None,
        };
        let taken = slot(&found[i]).and_then(|own| found[..i].iter().find(|other| slot(other) == Some(own)));
        if let Some(first) = taken.map(|first| first.label.clone()) {
            found[i].role = Role::Unused(format!("{first:?} is used"));
        }
    }
    if let Some(reason) = unmatched(&found) {
        for channel in &mut found {
            if matches!(channel.role, Role::Stream { kind: StreamKind::Accel, .. }) {
                channel.role = Role::Unused(reason.clone());
            }
        }
    }
    found
}

/// Why the axes of acceleration do not make a stream.
fn unmatched(channels: &[Channel]) -> Option<String> {
    let axis = |wanted: usize| {
        let is = |channel: &&Channel| matches!(channel.role, Role::Stream { kind: StreamKind::Accel, axis, .. } if axis == wanted);
        channels.iter().find(is)
    };
    let found = [0, 1, 2].map(axis);
    if found.iter().all(Option::is_none) {
        return None;
    }
    let missing = found.iter().zip(["x", "y", "z"]).find(|(axis, _)| axis.is_none());
    if let Some((_, name)) = missing {
        return Some(format!("the axis {name} of acceleration is missing"));
    }
    let mut rates = found.iter().flatten().map(|axis| axis.rate);
    let first = rates.next();
    rates.any(|rate| Some(rate) != first).then(|| "the axes of acceleration have different rates".to_owned())
}

fn role(signal: &SignalHeader, rate: f64) -> Result<Role, String> {
    if signal.is_annotations() {
        return Ok(Role::Annotations);
    }
    let (kind, axis, factor) = measured(&signal.label, &signal.unit)?;
    if let Err(what) = &signal.scale {
        return Err(what.clone());
    }
    let least = match kind {
        StreamKind::Ecg => LEAST_ECG_RATE,
        StreamKind::Ppg => LEAST_PPG_RATE,
        _ => 0.0,
    };
    if rate < least {
        return Err(format!("{rate} Hz: beats are found from {least} Hz on"));
    }
    Ok(Role::Stream { kind, axis, factor })
}

/// Stream, channel and factor, by the label's words and the unit.
fn measured(label: &str, unit: &str) -> Result<(StreamKind, usize, f64), String> {
    let label = label.to_ascii_uppercase();
    let words: Vec<&str> =
        label.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let joined = words.concat();
    let begins = |names: &[&str]| words.iter().any(|word| names.iter().any(|name| word.starts_with(name)));
    let heart = begins(&["ECG", "EKG"]);
    let rate = matches!(&joined[..], "HR" | "PR" | "PULSE" | "PULSERATE" | "HRATE")
        || joined.starts_with("HEARTRATE")
        || words.contains(&"HR");
    let unknown = |what: &str, expected: &str| format!("{what} in {unit:?}: {expected} expected");
    if rate || (heart && per_minute(unit)) {
        return match per_minute(unit) {
            true => Ok((StreamKind::Hr, 0, 1.0)),
            false => Err(unknown("heart rate", "bpm")),
        };
    }
    if heart {
        let factor = volts(unit).ok_or_else(|| unknown("an ECG", "mV, uV or V"))?;
        return Ok((StreamKind::Ecg, 0, factor));
    }
    if begins(&["PLETH", "PPG", "BVP"]) {
        return Ok((StreamKind::Ppg, 0, 1.0));
    }
    if begins(&["ACC"]) || joined.ends_with("ACC") {
        let axis =
            axis(&words, &joined).ok_or("acceleration of no axis that is known: x, y or z expected")?;
        let factor = gravities(unit).ok_or_else(|| unknown("acceleration", "g, mg or m/s2"))?;
        return Ok((StreamKind::Accel, axis, factor));
    }
    Err("only ECG, pulse wave, heart rate and acceleration are used".into())
}

fn per_minute(unit: &str) -> bool {
    let unit: String = unit.to_ascii_lowercase().split_whitespace().collect();
    matches!(&unit[..], "bpm" | "1/min" | "/min" | "min-1" | "min^-1" | "beats/min" | "b/min")
}

/// Millivolts. The micro sign, which is not ASCII, arrives as question marks.
fn volts(unit: &str) -> Option<f64> {
    match unit {
        "mV" | "mv" | "MV" => Some(1.0),
        "uV" | "uv" | "UV" | "?V" | "??V" => Some(1e-3),
        "V" | "v" => Some(1e3),
        "nV" => Some(1e-6),
        _ => None,
    }
}

fn gravities(unit: &str) -> Option<f64> {
    let unit: String = unit.to_ascii_lowercase().chars().filter(|c| !matches!(c, '^' | '*' | ' ')).collect();
    match &unit[..] {
        "g" => Some(1.0),
        "mg" => Some(1e-3),
        "m/s2" | "m/s?" | "m/s??" | "m/s/s" | "ms-2" => Some(1.0 / 9.806_65),
        _ => None,
    }
}

/// `ACC X`, `AccelY`, `X-Acc`.
fn axis(words: &[&str], joined: &str) -> Option<usize> {
    let names = ["X", "Y", "Z"];
    let alone = |name: &&str| words.contains(name);
    let mut rest = joined;
    for name in ["ACCELEROMETER", "ACCELERATION", "ACCEL", "ACC"] {
        rest = rest.strip_prefix(name).unwrap_or(rest);
        rest = rest.strip_suffix(name).unwrap_or(rest);
    }
    names.iter().position(|name| *name == rest).or_else(|| names.iter().position(alone))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_units_say_what_is_measured() {
        use StreamKind::{Accel, Ecg, Hr, Ppg};
        for (label, unit, expected) in [
            ("ECG II", "mV", (Ecg, 0, 1.0)),
            ("EKG1-EKG2", "uV", (Ecg, 0, 1e-3)),
            ("ECG", "?V", (Ecg, 0, 1e-3)),
            ("ECG HR", "bpm", (Hr, 0, 1.0)),
            ("H.R.", "BPM", (Hr, 0, 1.0)),
            ("Heart rate", "1/min", (Hr, 0, 1.0)),
            ("Pulse", "bpm", (Hr, 0, 1.0)),
            ("Pleth", "", (Ppg, 0, 1.0)),
            ("ACC X", "g", (Accel, 0, 1.0)),
            ("Accel-Y", "mg", (Accel, 1, 1e-3)),
            ("accz", "m/s^2", (Accel, 2, 1.0 / 9.806_65)),
            ("X-Acc", "g", (Accel, 0, 1.0)),
            ("Wrist ACC Z", "g", (Accel, 2, 1.0)),
        ] {
            assert_eq!(measured(label, unit), Ok(expected), "{label} {unit}");
        }
    }

    #[test]
    fn what_is_not_used_has_a_reason() {
        let reason = |label: &str, unit: &str| measured(label, unit).unwrap_err();
        let other = "only ECG, pulse wave, heart rate and acceleration are used";
        for label in
            ["EEG Fpz-Cz", "EOG horizontal", "Resp oro-nasal", "EMG submental", "Temp rectal", "SaO2", ""]
        {
            assert_eq!(reason(label, "uV"), other, "{label}");
        }
        assert_eq!(reason("ECG", "degC"), "an ECG in \"degC\": mV, uV or V expected");
        assert_eq!(reason("HR", ""), "heart rate in \"\": bpm expected");
        assert_eq!(reason("ACC X", "V"), "acceleration in \"V\": g, mg or m/s2 expected");
        assert!(reason("ACC", "g").contains("x, y or z"));
    }
}
