//! The confusion matrix as SVG: counts and the share of each true stage, deeper in colour where the share is larger.

use super::format::whole;
use crate::{Confusion, Staging};
use maud::{Markup, html};

const LEFT: usize = 88;
const TOP: usize = 52;
const WIDTH: usize = 92;
const HEIGHT: usize = 54;

/// The matrix as a figure; rows are the truth.
pub(super) fn figure(confusion: &Confusion, staging: &Staging) -> Markup {
    let classes = confusion.classes();
    let (width, height) = (LEFT + classes * WIDTH + 2, TOP + classes * HEIGHT + 4);
    let label = |class: usize| -> String {
        let name = staging.name(class);
        // Longer names would run into each other; the table beside spells them out.
        if name.chars().count() > 11 { name.chars().take(10).chain(['…']).collect() } else { name }
    };
    html! {
        figure.matrix {
            svg role="img" aria-label="confusion matrix, rows truth, columns prediction"
                viewBox={ "0 0 " (width) " " (height) } {
                text x=(LEFT + classes * WIDTH / 2) y="16" text-anchor="middle" { "predicted" }
                text x=(LEFT - 12) y="40" text-anchor="end" { "true" }
                @for class in 0..classes {
                    text.head x=(LEFT + class * WIDTH + WIDTH / 2) y="40" text-anchor="middle" { (label(class)) }
                    text.head x=(LEFT - 12) y=(TOP + class * HEIGHT + HEIGHT / 2 + 5) text-anchor="end" { (label(class)) }
                }
                @for truth in 0..classes {
                    @for predicted in 0..classes { (cell(confusion, truth, predicted)) }
                }
            }
            figcaption {
                "Rows are the true stage, columns the predicted one: epochs, and their share of the row."
            }
        }
    }
}

fn cell(confusion: &Confusion, truth: usize, predicted: usize) -> Markup {
    let share = confusion.share(truth, predicted);
    let (x, y) = (LEFT + predicted * WIDTH, TOP + truth * HEIGHT);
    // Never so deep that the ink upon it cannot be read.
    let opacity = format!("{:.3}", 0.6 * share.unwrap_or(0.0));
    html! {
        g {
            rect.cell x=(x) y=(y) width=(WIDTH - 3) height=(HEIGHT - 3) rx="4" fill-opacity=(opacity) {}
            text.count x=(x + WIDTH / 2 - 1) y=(y + 23) text-anchor="middle" {
                (whole(confusion.count(truth, predicted)))
            }
            text.share x=(x + WIDTH / 2 - 1) y=(y + 40) text-anchor="middle" {
                @match share { Some(share) => { (format!("{:.0} %", 100.0 * share)) }, None => { "–" } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_show_counts_and_row_shares() {
        let matrix = Confusion::try_from(vec![vec![1500, 500], vec![0, 0]]).unwrap();
        let svg = figure(&matrix, &Staging::sleep_wake()).into_string();
        assert!(svg.contains(">1\u{202f}500<") && svg.contains(">75 %<") && svg.contains(">25 %<"), "{svg}");
        assert_eq!(svg.matches(">–<").count(), 2);
    }
}
