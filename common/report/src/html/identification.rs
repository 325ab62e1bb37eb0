//! Who sleeps: what a probe knows of it, beside what staging costs.

use maud::{Markup, html};

use super::format::{interval, score, spread};
use crate::{Identification, Summary};

pub(super) fn section(summary: &Summary) -> Markup {
    let found = &summary.identification;
    let rows = distinct(found.iter().map(|one| one.row.as_str()));
    let groups = distinct(found.iter().map(|one| one.who.as_str()));
    let of = |row: &str, who: &str| found.iter().find(|one| one.row == row && one.who == who);
    let kappa =
        |name: &str| summary.rows.iter().find(|row| row.name == name).and_then(|row| row.pooled.kappa);
    let cost = |name: &str| summary.comparisons.iter().find(|compared| compared.row == name);
    html! {
        h2 { "Who sleeps" }
        p.about {
            "Share of epochs whose sleeper a probe names that was trained for nothing else, over folds and seeds; what it "
            "cannot tell apart, a stronger one might. The cost is the difference in kappa to the same training without "
            "hiding."
        }
        div.wide {
            table {
                thead { tr {
                    th { "" }
                    @for who in &groups { th.num { (who) } }
                    @if !summary.rows.is_empty() { th.num { "kappa" } th.num { "cost [95 % CI]" } }
                } }
                tbody {
                    @for name in &rows {
                        tr {
                            td.name { (name) }
                            @for who in &groups { td.num { @if let Some(one) = of(name, who) { (cell(one)) } } }
                            @if !summary.rows.is_empty() {
                                td.num { (score(kappa(name))) }
                                td.num {
                                    @if let Some(cost) = cost(name) {
                                        (score(cost.kappa_difference)) " " small { (interval(cost.interval)) }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn cell(one: &Identification) -> Markup {
    html! { (spread(&one.epoch)) " " small { "chance " (score(Some(one.chance))) } }
}

/// In the order of their first appearance.
fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut out = Vec::new();
    for name in names {
        if !out.contains(&name) {
            out.push(name);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, well_formed};
    use crate::{Comparison, Spread};

    #[test]
    fn each_row_has_its_accuracies_chance_kappa_and_cost() {
        let mut summary = testing::summary(5, 1);
        let found = |row: &str, who: &str, chance: f64, epoch: f64| Identification {
            row: row.into(),
            who: who.into(),
            chance,
            epoch: Spread::of([Some(epoch), Some(epoch)]),
            night: Spread::of([Some(1.0)]),
        };
        let names: Vec<String> = summary.rows.iter().map(|row| row.name.clone()).collect();
        summary.identification = vec![
            found("inputs", "trained", 0.125, 0.75),
            found("inputs", "held-out", 0.25, 0.875),
            found(&names[1], "trained", 0.125, 0.5),
            found(&names[1], "held-out", 0.25, 0.625),
        ];
        summary.comparisons = vec![Comparison::between(&summary.rows[1], &summary.rows[0], 1).unwrap()];
        let page = section(&summary).into_string();
        well_formed(&page).unwrap();
        assert!(page.contains("<th class=\"num\">trained</th><th class=\"num\">held-out</th>"));
        let line = |name: &str| page.split("<tr>").find(|line| line.contains(&format!(">{name}<"))).unwrap();
        let inputs = line("inputs");
        assert!(inputs.contains("0.750 ± 0.000 <small>chance 0.125") && inputs.contains("0.875 ± 0.000"));
        assert!(inputs.ends_with("<td class=\"num\">–</td><td class=\"num\"></td></tr>"), "{inputs}");
        let (row, cost) = (&summary.rows[1], summary.comparisons[0].kappa_difference);
        let trained = line(&names[1]);
        for part in ["0.500 ± 0.000", "0.625 ± 0.000", &score(row.pooled.kappa), &score(cost)] {
            assert!(trained.contains(part), "{part} in {trained}");
        }
        assert!(super::super::run_page(&summary).contains("Who sleeps"));
        assert!(!super::super::run_page(&testing::summary(5, 1)).contains("Who sleeps"));
    }
}
