//! Linear axes with round ends, and the frame of two of them around a plot.

use super::format::percent;
use maud::{Markup, html};

/// Height of a framed plot in px.
pub(super) const HEIGHT: f64 = 180.0;

/// A plot between its axes; `marks` are laid out with [`Scale::at`] across and [`Scale::up`].
pub(super) fn frame(
    what: &str,
    (up, vertical): (&Scale, &str),
    (across, horizontal): (&Scale, &str),
    marks: &Markup,
) -> Markup {
    html! {
        div.plot {
            div.over { (vertical) }
            svg role="img" aria-label={ "axis: " (vertical) } height=(HEIGHT) {
                @for tick in up.ticks() {
                    text.tick x="88%" y=(up.up(tick)) dy="4" text-anchor="end" { (up.label(tick)) }
                }
            }
            svg role="img" aria-label=(what) height=(HEIGHT) {
                @for tick in up.ticks() {
                    line.grid x1="0" x2="100%" y1=(up.up(tick)) y2=(up.up(tick)) {}
                }
                (marks)
            }
            (across.axis(horizontal))
        }
    }
}

/// A linear axis with round ends.
pub(super) struct Scale {
    pub(super) low: f64,
    pub(super) high: f64,
    step: f64,
}

impl Scale {
    /// Covers the finite values and, when they are positive, reaches down to zero unless that wastes half of it.
    pub(super) fn of(values: impl Iterator<Item = f64>) -> Self {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(|value| value.is_finite()) {
            low = low.min(value);
            high = high.max(value);
        }
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        if low > 0.0 && low < 0.6 * high {
            low = 0.0;
        }
        if high - low < 1e-9 * high.abs().max(1.0) {
            let share = (0.0..=1.0).contains(&low);
            (low, high) = if share { (0.0, 1.0) } else { (low - 0.5, high + 0.5) };
        }
        let rough = (high - low) / 5.0;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|m| m * power).into_iter().find(|&s| s >= rough * 0.999);
        let step = step.unwrap_or(rough);
        Self { low: (low / step + 1e-9).floor() * step, high: (high / step - 1e-9).ceil() * step, step }
    }

    /// From the first to the last of some whole numbers; ticks on whole numbers within.
    pub(super) fn whole(values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = values
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        if low > high {
            return Self { low: 0.0, high: 1.0, step: 1.0 };
        }
        let high = high.max(low + 1.0);
        let step = (Self::of([0.0, high - low].into_iter()).step).max(1.0);
        Self { low, high, step }
    }

    /// Place of a value on the axis, 0 to 1.
    pub(super) fn share(&self, value: f64) -> f64 {
        (value - self.low) / (self.high - self.low)
    }

    /// The same from the left, as an SVG length.
    pub(super) fn at(&self, value: f64) -> String {
        percent(self.share(value))
    }

    /// The same from the top of a [`frame`], in px.
    pub(super) fn up(&self, value: f64) -> String {
        format!("{:.1}", HEIGHT - HEIGHT * self.share(value))
    }

    pub(super) fn ticks(&self) -> Vec<f64> {
        let first = (self.low / self.step - 1e-9).ceil() * self.step;
        let count = ((self.high - first) / self.step + 1e-9).floor() as usize;
        (0..=count.min(20)).map(|i| first + i as f64 * self.step).collect()
    }

    fn label(&self, tick: f64) -> String {
        let digits = (-self.step.log10().floor()).clamp(0.0, 6.0) as usize;
        // Adding zero turns −0 into 0.
        let tick = (tick / self.step).round() * self.step + 0.0;
        let text = match tick.abs() {
            size if size >= 1e6 => format!("{tick:e}"),
            size if size >= 1e4 => format!("{}k", tick / 1e3),
            _ => format!("{tick:.digits$}"),
        };
        text.replace('-', "−")
    }

    pub(super) fn grid(&self, height: usize) -> Markup {
        html! {
            @for tick in self.ticks() {
                line.grid x1=(self.at(tick)) x2=(self.at(tick)) y1="0" y2=(height) {}
            }
        }
    }

    pub(super) fn axis(&self, name: &str) -> Markup {
        html! {
            div.axis-row {
                svg role="img" aria-label=(format!("axis: {name}")) height="40" {
                    line.axis x1="0" x2="100%" y1="1" y2="1" {}
                    @for tick in self.ticks() {
                        line.axis x1=(self.at(tick)) x2=(self.at(tick)) y1="1" y2="6" {}
                        text.tick x=(self.at(tick)) y="19" text-anchor="middle" { (self.label(tick)) }
                    }
                    text x="50%" y="36" text-anchor="middle" { (name) }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn axes_end_on_round_numbers() {
        let scale = Scale::of([0.13, 0.52].into_iter());
        assert_eq!((scale.low, scale.label(scale.high)), (0.0, "0.6".to_owned()));
        let negative = Scale::of([-0.07, 0.31].into_iter());
        assert_eq!(negative.label(negative.low), "−0.1");
        assert_eq!(negative.label(negative.ticks()[1]), "0.0");
        for empty in [vec![], vec![f64::NAN], vec![0.4], vec![0.0]] {
            let scale = Scale::of(empty.into_iter());
            assert!(scale.low < scale.high && scale.ticks().len() > 1);
        }
    }

    proptest! {
        #[test]
        fn every_value_lies_on_its_axis(values in proptest::collection::vec(-1e6_f64..1e6, 1..40)) {
            let scale = Scale::of(values.iter().copied());
            for value in values {
                prop_assert!((-1e-6..=1.0 + 1e-6).contains(&scale.share(value)));
            }
            prop_assert!((3..=12).contains(&scale.ticks().len()), "{} ticks", scale.ticks().len());
        }
    }
}
