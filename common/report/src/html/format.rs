//! Numbers as text, and coordinates as percent.

use crate::{Interval, Spread, Staging};

/// Shown for a number that is undefined.
pub(super) const DASH: &str = "–";

/// A score with three digits; a true minus sign.
pub(super) fn score(value: Option<f64>) -> String {
    value.map_or(DASH.to_owned(), |value| minus(&format!("{value:.3}")))
}

/// A score with two digits, for large figures.
pub(super) fn short(value: Option<f64>) -> String {
    value.map_or(DASH.to_owned(), |value| minus(&format!("{value:.2}")))
}

/// A number of minutes or percent with one digit.
pub(super) fn one(value: Option<f64>) -> String {
    value.map_or(DASH.to_owned(), |value| minus(&format!("{value:.1}")))
}

/// A difference with its sign.
pub(super) fn signed(value: Option<f64>) -> String {
    value.map_or(DASH.to_owned(), |value| {
        // Rounded first, so that −0.04 is not printed as −0.0.
        let rounded = (value * 10.0).round() / 10.0;
        if rounded == 0.0 { "0.0".to_owned() } else { minus(&format!("{rounded:+.1}")) }
    })
}

/// A whole number with thin spaces between thousands.
pub(super) fn whole(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

/// `[0.41, 0.52]`; empty without an interval.
pub(super) fn interval(interval: Option<Interval>) -> String {
    interval.map_or(String::new(), |i| format!("[{}, {}]", score(Some(i.low)), score(Some(i.high))))
}

/// `0.449 ± 0.146`.
pub(super) fn spread(spread: &Spread) -> String {
    match (spread.mean, spread.sd) {
        (mean, Some(sd)) => format!("{} ± {sd:.3}", score(mean)),
        (mean, None) => score(mean),
    }
}

/// Minutes as `7 h 32 min`.
pub(super) fn duration(minutes: f64) -> String {
    let minutes = minutes.round().max(0.0) as u64;
    if minutes < 60 {
        format!("{minutes} min")
    } else {
        format!("{} h {:02} min", minutes / 60, minutes % 60)
    }
}

/// Seconds in one unit: `4.2 s`, `93 s`, `14 min`, `2.1 h`.
pub(super) fn seconds(seconds: f64) -> String {
    match seconds {
        s if s < 10.0 => format!("{s:.1} s"),
        s if s < 300.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

/// Bytes as `4.9 MB`.
pub(super) fn bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if value < 1000.0 {
            return if unit == "B" { format!("{value} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1000.0;
    }
    format!("{value:.1} TB")
}

/// A p value: `0.031`, `< 0.001`.
pub(super) fn p_value(p: f64) -> String {
    if p < 0.001 { "< 0.001".to_owned() } else { format!("{p:.3}") }
}

/// A share of the width as an SVG length.
pub(super) fn percent(share: f64) -> String {
    format!("{:.2}%", 100.0 * share)
}

/// What kappa is. The experts' figure holds for the five stages of the AASM, so only pages of that task set a score beside it.
pub(super) fn about_kappa(staging: &Staging) -> String {
    let experts = "two human experts scoring the same night in the five AASM stages (Wake, N1, N2, N3, REM) reach about 0.76";
    let kappa = "Kappa is agreement beyond chance: 0 is chance, 1 is perfect.";
    if staging.classes == Staging::five().classes {
        format!("{kappa} For comparison, {experts}.")
    } else {
        format!("{kappa} Other divisions into stages are not comparable: {experts}.")
    }
}

/// The style class that gives a class its colour.
pub(super) fn colour(staging: &Staging, class: usize) -> &'static str {
    if class == usize::from(staging.wake) {
        return "k-wake";
    }
    if staging.rem.map(usize::from) == Some(class) {
        return "k-rem";
    }
    // Light to deep over however many other sleep classes there are; one alone takes the middle.
    let depths: Vec<usize> = staging.lanes().into_iter().filter(|&c| colour_is_depth(staging, c)).collect();
    let place = depths.iter().position(|&c| c == class).unwrap_or(0);
    match (depths.len(), place) {
        (0 | 1, _) => "k-d2",
        (_, 0) => "k-d1",
        (count, place) if place + 1 == count => "k-d3",
        _ => "k-d2",
    }
}

fn colour_is_depth(staging: &Staging, class: usize) -> bool {
    class != usize::from(staging.wake) && staging.rem.map(usize::from) != Some(class)
}

fn minus(text: &str) -> String {
    text.replace('-', "−")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_people_write_them() {
        assert_eq!(score(Some(-0.0421)), "−0.042");
        assert_eq!(score(None), DASH);
        assert_eq!(signed(Some(-0.04)), "0.0");
        assert_eq!(signed(Some(3.25)), "+3.3");
        assert_eq!(whole(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(duration(452.4), "7 h 32 min");
        assert_eq!((seconds(93.4), seconds(7431.0)), ("93 s".into(), "2.1 h".into()));
        assert_eq!((bytes(999), bytes(4_944_000)), ("999 B".into(), "4.9 MB".into()));
        assert_eq!(percent(1.0 / 3.0), "33.33%");
    }

    #[test]
    fn the_experts_figure_is_named_as_that_of_five_stages() {
        assert!(about_kappa(&Staging::five()).contains("For comparison, two human experts"));
        for staging in [Staging::sleep_wake(), Staging::three(), Staging::four()] {
            let text = about_kappa(&staging);
            assert!(text.contains("not comparable") && text.contains("five AASM stages"), "{text}");
        }
    }

    #[test]
    fn depth_goes_from_light_to_dark() {
        let five = Staging::five();
        let colours: Vec<&str> = (0..5).map(|class| colour(&five, class)).collect();
        assert_eq!(colours, ["k-wake", "k-d1", "k-d2", "k-d3", "k-rem"]);
        assert_eq!(colour(&Staging::four(), 2), "k-d3");
        assert_eq!(colour(&Staging::sleep_wake(), 1), "k-d2");
    }
}
