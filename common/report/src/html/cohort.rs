//! One person among the cohort, and how evenly models serve it.

use super::format::{score, whole};
use super::scale::Scale;
use crate::{ByCoverage, Fairness, Quartiles, Standing};
use maud::{Markup, html};

/// Height of a row in px.
const ROW: usize = 30;

/// The page of one person: its kappa in each row, before everybody's.
pub(super) fn standing(rows: &[Standing]) -> Markup {
    let ends = rows.iter().flat_map(|one| [one.cohort.min, one.cohort.max]);
    let scale = Scale::of(ends.chain(rows.iter().filter_map(|one| one.kappa)));
    let people = rows.iter().map(|one| one.cohort.n).max().unwrap_or(0);
    html! {
        h2 { "Among the others" }
        p.about { "This person’s kappa beside that of all " (whole(people)) " people, for each way of making a model." }
        figure {
            div.forest {
                @for one in rows {
                    div.row {
                        div.name { (one.row) }
                        svg role="img" height=(ROW) aria-label=(format!("{}: kappa {}", one.row, score(one.kappa))) {
                            (scale.grid(ROW))
                            (spread(&scale, &one.cohort))
                            @if let Some(kappa) = one.kappa { circle.point cx=(scale.at(kappa)) cy="15" r="6.5" {} }
                        }
                        div.value { (score(one.kappa)) }
                    }
                }
                (scale.axis("kappa"))
            }
            figcaption { "Dot: this person. Line: everybody, from the lowest to the highest; bar: the middle half; notch: the median." }
        }
    }
}

/// The page of a study: the spread of people under each row, and where it ends.
pub(super) fn fairness(rows: &[Fairness], coverage: &[ByCoverage]) -> Markup {
    html! {
        h2 { "Fairness" }
        p.about {
            "A mean hides whom a model fails. The worst and best tenth are means of the people that a row serves worst and best; "
            "the gap lies between them."
        }
        div.wide {
            table {
                thead { tr {
                    th { "kappa per person" } th.num { "worst tenth" } th.num { "median" } th.num { "best tenth" } th.num { "gap" }
                    th.num { "people" }
                } }
                tbody {
                    @for one in rows {
                        tr {
                            td.name { (one.row) }
                            td.num { (score(Some(one.worst_decile))) }
                            td.num { (score(Some(one.people.median))) }
                            td.num { (score(Some(one.best_decile))) }
                            td.num { (score(Some(one.best_decile - one.worst_decile))) }
                            td.num { (whole(one.people.n)) }
                        }
                    }
                }
            }
        }
        @if !coverage.is_empty() {
            h3 { "By what was there of the signals" }
            div.wide {
                table {
                    thead { tr { th { "stream" } th { "in the epochs" } th.num { "kappa per person" } th.num { "people" } } }
                    tbody {
                        @for one in coverage {
                            tr {
                                td.name { (one.stream) }
                                td { (share(one)) }
                                td.num { (super::format::spread(&one.kappa)) }
                                td.num { (whole(one.kappa.n)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn share(one: &ByCoverage) -> String {
    let percent = |share: f64| format!("{:.0}", 100.0 * share);
    match (one.from, one.to) {
        (0.0, to) => format!("below {} %", percent(to)),
        (from, 1.0) => format!("{} % and more", percent(from)),
        (from, to) => format!("{} to {} %", percent(from), percent(to)),
    }
}

/// Everybody, the middle half and the median.
fn spread(scale: &Scale, cohort: &Quartiles) -> Markup {
    let width = |low: f64, high: f64| super::format::percent(scale.share(high) - scale.share(low));
    html! {
        line.range x1=(scale.at(cohort.min)) x2=(scale.at(cohort.max)) y1="15" y2="15" {}
        rect.middle x=(scale.at(cohort.q1)) width=(width(cohort.q1, cohort.q3)) y="9" height="12" rx="2" {}
        line.median x1=(scale.at(cohort.median)) x2=(scale.at(cohort.median)) y1="7" y2="23" {}
    }
}
