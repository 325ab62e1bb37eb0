//! What attacks on people's privacy get, with and without defences.

use maud::{Markup, html};

use super::format::{interval, score, whole};
use crate::leak::by_attack;
use crate::{LeakScore, Summary};

pub(super) fn section(summary: &Summary) -> Markup {
    html! {
        h2 { "What attacks get" }
        p.about {
            "Success of each attack, with what a guess gets beside it. Intervals are over people, ± is over seeds. These attackers "
            "are simple: what they do not find, a stronger one might."
        }
        @for (attack, lines) in by_attack(&summary.leaks) {
            h3 { (attack) }
            div.wide {
                table {
                    thead { tr {
                        th { "against" }
                        @for one in &lines[0].scores { th.num { (one.measure) } }
                        th.num { "people" }
                    } }
                    tbody {
                        @for line in lines {
                            tr {
                                td.name { (line.against) }
                                @for one in &line.scores { td.num { (cell(one)) } }
                                td.num { (whole(line.people)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn cell(one: &LeakScore) -> Markup {
    html! {
        (score(one.value)) " "
        small {
            (interval(one.interval))
            @if let Some(sd) = one.seeds.sd { " ± " (score(Some(sd))) }
            " chance " (score(Some(one.chance)))
        }
    }
}
