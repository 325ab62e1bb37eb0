//! What an attack on people's privacy gets.

use serde::{Deserialize, Serialize};

use crate::{Interval, Spread};

/// One attack against one defence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Leak {
    /// What the attacker wants to know; lines of one attack have the same measures in the same order.
    pub attack: String,
    /// What the attacker looks at.
    pub against: String,
    /// People whose secret it is.
    pub people: u64,
    /// How far it gets.
    pub scores: Vec<LeakScore>,
}

/// One measure of an attack's success.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LeakScore {
    /// Its name and unit: `AUC`, `top-1`, ...
    pub measure: String,
    /// Over all seeds; `None` where it is undefined.
    pub value: Option<f64>,
    /// 95 % percentile bootstrap over people.
    pub interval: Option<Interval>,
    /// What a guess gets that has not seen what the attacker sees.
    pub chance: f64,
    /// The value of each seed, and their spread.
    pub seeds: Spread,
}

/// The lines of each attack, in the order in which attacks first come.
pub(crate) fn by_attack(leaks: &[Leak]) -> Vec<(&str, Vec<&Leak>)> {
    let mut groups: Vec<(&str, Vec<&Leak>)> = Vec::new();
    for leak in leaks {
        match groups.iter_mut().find(|(attack, _)| *attack == leak.attack) {
            Some((_, lines)) => lines.push(leak),
            None => groups.push((&leak.attack, vec![leak])),
        }
    }
    groups
}

/// `0.931 [0.900, 0.960] ± 0.010; 0.043` as text: value, interval over people, deviation over seeds, chance.
pub(crate) fn cell(score: &LeakScore) -> String {
    let value = score.value.map_or("-".to_owned(), |value| format!("{value:.3}"));
    let interval = score.interval.map_or(String::new(), |i| format!(" [{:.3}, {:.3}]", i.low, i.high));
    let deviation = score.seeds.sd.map_or(String::new(), |sd| format!(" ± {sd:.3}"));
    format!("{value}{interval}{deviation}; {:.3}", score.chance)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, well_formed};
    use crate::{Summary, html, markdown, table};

    fn leak(attack: &str, against: &str, value: Option<f64>) -> Leak {
        let interval = value.map(|value| Interval { low: value - 0.125, high: value + 0.0625, level: 0.95 });
        let seeds = Spread::of([value, value]);
        let score =
            |measure: &str| LeakScore { measure: measure.into(), value, interval, chance: 0.25, seeds };
        let scores = vec![score("AUC"), score("top-1")];
        Leak { attack: attack.into(), against: against.into(), people: 7, scores }
    }

    #[test]
    fn every_attack_is_a_table_with_its_chance_beside_each_number() {
        let leaks = vec![
            leak("membership", "plain", Some(0.75)),
            leak("linkage", "plain", Some(1.0)),
            leak("membership", "noise", None),
        ];
        let summary = Summary { leaks, ..testing::summary(3, 1) };
        let page = markdown::run(&summary);
        let lines: Vec<&str> = page.lines().filter(|line| line.contains("; 0.250")).collect();
        assert_eq!(
            lines,
            [
                "| plain | 0.750 [0.625, 0.812] ± 0.000; 0.250 | 0.750 [0.625, 0.812] ± 0.000; 0.250 | 7 |",
                "| noise | -; 0.250 | -; 0.250 | 7 |",
                "| plain | 1.000 [0.875, 1.062] ± 0.000; 0.250 | 1.000 [0.875, 1.062] ± 0.000; 0.250 | 7 |",
            ]
        );
        assert!(page.contains("| membership | AUC | top-1 | people |"), "{page}");
        assert!(table::run(&summary).contains("noise"));
        let page = html::run_page(&summary);
        well_formed(&page).unwrap();
        assert!(page.contains("What attacks get") && page.contains("0.750") && page.contains("chance 0.250"));
        assert!(!html::run_page(&testing::summary(3, 1)).contains("What attacks get"));
        assert_eq!(Summary::from_json(&summary.to_json().unwrap()).unwrap(), summary);
    }
}
