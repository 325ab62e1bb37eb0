//! The same numbers as CSV (RFC 4180, a header line, one record a line, an empty cell for an undefined number).

use crate::{Calibration, ClientResult, Fairness, RoundResult, Row, Staging, Summary};

/// `rows.csv`: one line per row of the comparison table.
#[must_use]
pub fn rows(rows: &[Row]) -> String {
    let mut csv = Csv::new(&[
        "name",
        "n",
        "accuracy",
        "accuracy_low",
        "accuracy_high",
        "kappa",
        "kappa_low",
        "kappa_high",
        "macro_f1",
        "macro_f1_low",
        "macro_f1_high",
        "subjects",
        "subject_accuracy_mean",
        "subject_accuracy_sd",
        "subject_kappa_mean",
        "subject_kappa_sd",
        "subject_macro_f1_mean",
        "subject_macro_f1_sd",
        "seeds",
        "seed_kappa_mean",
        "seed_kappa_sd",
        "note",
    ]);
    for row in rows {
        let (pooled, people, interval) = (&row.pooled, &row.per_subject, &row.interval);
        csv.text(&row.name).whole(pooled.n);
        for (value, interval) in [
            (pooled.accuracy, interval.accuracy),
            (pooled.kappa, interval.kappa),
            (pooled.macro_f1, interval.macro_f1),
        ] {
            csv.number(value).number(interval.map(|i| i.low)).number(interval.map(|i| i.high));
        }
        csv.whole(row.subjects.len() as u64);
        for spread in [people.accuracy, people.kappa, people.macro_f1] {
            csv.number(spread.mean).number(spread.sd);
        }
        csv.whole(row.seeds.kappa.len() as u64).number(row.seeds.spread.mean).number(row.seeds.spread.sd);
        csv.text(row.note.as_deref().unwrap_or("")).end();
    }
    csv.out
}

/// `subjects.csv`: one line per row and person, counts of all seeds together.
#[must_use]
pub fn subjects(rows: &[Row]) -> String {
    let mut csv = Csv::new(&["name", "subject", "n", "accuracy", "kappa", "macro_f1"]);
    for row in rows {
        for (subject, counts) in &row.subjects {
            csv.text(&row.name).text(subject).whole(counts.total());
            csv.number(counts.accuracy()).number(counts.kappa()).number(counts.macro_f1()).end();
        }
    }
    csv.out
}

/// `clients.csv`: one line per client with its scores and, for each measure, the truth's and the prediction's mean
/// over its scored nights.
#[must_use]
pub fn clients(summary: &Summary) -> String {
    let blank = crate::NightStatistics::of(&[], &summary.staging, summary.options);
    let measures = blank.measures(&summary.staging);
    let mut header: Vec<String> =
        ["id", "role", "nights", "n", "accuracy", "kappa", "macro_f1", "balanced_accuracy", "mcc"]
            .map(str::to_owned)
            .to_vec();
    for class in &summary.staging.classes {
        header.push(format!("{class}_recall"));
        header.push(format!("{class}_f1"));
    }
    for (name, unit, _) in &measures {
        header.push(format!("{name}_true_{unit}"));
        header.push(format!("{name}_predicted_{unit}"));
    }
    header.push("notes".to_owned());
    let mut csv = Csv::new(&header);
    for client in &summary.clients {
        let m = &client.metrics;
        csv.text(&client.id).text(&client.role).whole(client.nights.len() as u64).whole(m.n);
        for score in [m.accuracy, m.kappa, m.macro_f1, m.balanced_accuracy, m.mcc] {
            csv.number(score);
        }
        for class in 0..summary.staging.len() {
            let class = m.per_class.get(class);
            csv.number(class.and_then(|c| c.recall)).number(class.and_then(|c| c.f1));
        }
        let nights = client.paired_nights();
        for index in 0..measures.len() {
            let mean = |truth: bool| {
                let values = nights.iter().map(|(t, p)| {
                    let side = if truth { t } else { p };
                    side.measures(&summary.staging)[index].2
                });
                crate::Spread::of(values).mean
            };
            csv.number(mean(true)).number(mean(false));
        }
        csv.text(&client.notes.join("; ")).end();
    }
    csv.out
}

/// `rounds.csv`: one line per round.
#[must_use]
pub fn rounds(rounds: &[RoundResult]) -> String {
    let mut csv = Csv::new(&[
        "round",
        "version",
        "cohort",
        "reported",
        "examples",
        "mean_loss",
        "accuracy",
        "kappa",
        "macro_f1",
        "seconds",
        "bytes_up",
        "bytes_down",
        "epsilon",
        "aborted",
    ]);
    for round in rounds {
        let score = round.evaluation.as_ref();
        csv.whole(round.round).whole(round.version).whole(round.cohort.into()).whole(round.reported.into());
        csv.whole(round.examples).number(round.mean_loss);
        csv.number(score.and_then(|m| m.accuracy)).number(score.and_then(|m| m.kappa));
        csv.number(score.and_then(|m| m.macro_f1)).number(Some(round.seconds));
        csv.whole(round.bytes_up)
            .whole(round.bytes_down)
            .number(round.epsilon)
            .text(round.aborted.as_deref().unwrap_or(""))
            .end();
    }
    csv.out
}

/// `fairness.csv`: one line per row of the comparison table, kappa of its people.
#[must_use]
pub fn fairness(rows: &[Fairness]) -> String {
    let header = ["name", "people", "worst_decile", "min", "q1", "median", "q3", "max", "best_decile"];
    let mut csv = Csv::new(&header);
    for one in rows {
        let people = &one.people;
        csv.text(&one.row).whole(people.n);
        for value in
            [one.worst_decile, people.min, people.q1, people.median, people.q3, people.max, one.best_decile]
        {
            csv.number(Some(value));
        }
        csv.end();
    }
    csv.out
}

/// `calibration.csv`: one line per bin of confidence.
#[must_use]
pub fn calibration(found: Option<&Calibration>) -> String {
    let mut csv = Csv::new(&["low", "high", "n", "confidence", "accuracy"]);
    for bin in found.into_iter().flat_map(|found| &found.bins) {
        csv.number(Some(bin.low)).number(Some(bin.high)).whole(bin.n);
        csv.number(Some(bin.confidence)).number(Some(bin.accuracy)).end();
    }
    csv.out
}

/// One client's epochs in the layout of Menghini et al. (2021): `subject,epoch,reference,device`, epochs from 1, an
/// empty cell where a side is not scored. With more than one night the subject is `id/night`.
#[must_use]
pub fn epochs(client: &ClientResult) -> String {
    let mut csv = Csv::new(&["subject", "epoch", "reference", "device"]);
    for night in &client.nights {
        let subject = match client.nights.len() {
            1 => client.id.clone(),
            _ => format!("{}/{}", client.id, night.id),
        };
        for epoch in 0..night.epochs() {
            let cell = |codes: &[Option<u8>]| codes.get(epoch).copied().flatten().map(f64::from);
            csv.text(&subject).whole(epoch as u64 + 1);
            csv.number(cell(&night.truth)).number(cell(&night.predicted)).end();
        }
    }
    csv.out
}

/// A confusion matrix: truth in rows, prediction in columns, class names as headings.
#[must_use]
pub fn confusion(matrix: &crate::Confusion, staging: &Staging) -> String {
    let mut header = vec!["truth".to_owned()];
    header.extend((0..matrix.classes()).map(|class| staging.name(class)));
    let mut csv = Csv::new(&header);
    for truth in 0..matrix.classes() {
        csv.text(&staging.name(truth));
        for predicted in 0..matrix.classes() {
            csv.whole(matrix.count(truth, predicted));
        }
        csv.end();
    }
    csv.out
}

/// Cells one by one; commas are put between them.
struct Csv {
    out: String,
    begun: bool,
}

impl Csv {
    fn new<S: AsRef<str>>(header: &[S]) -> Self {
        let mut csv = Self { out: String::new(), begun: false };
        for name in header {
            csv.text(name.as_ref());
        }
        csv.end();
        csv
    }

    fn raw(&mut self, cell: &str) -> &mut Self {
        if self.begun {
            self.out.push(',');
        }
        self.out.push_str(cell);
        self.begun = true;
        self
    }

    fn text(&mut self, cell: &str) -> &mut Self {
        if cell.contains([',', '"', '\n', '\r']) {
            let quoted = format!("\"{}\"", cell.replace('"', "\"\""));
            self.raw(&quoted)
        } else {
            self.raw(cell)
        }
    }

    fn whole(&mut self, cell: u64) -> &mut Self {
        let cell = cell.to_string();
        self.raw(&cell)
    }

    /// The shortest text that reads back as the same number.
    fn number(&mut self, cell: Option<f64>) -> &mut Self {
        let cell = cell.filter(|value| value.is_finite()).map(|value| value.to_string()).unwrap_or_default();
        self.raw(&cell)
    }

    fn end(&mut self) {
        self.out.push('\n');
        self.begun = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{NightOptions, NightResult, testing};

    #[test]
    fn every_line_has_as_many_cells_as_its_header() {
        let summary = testing::summary(3, 2);
        for text in [
            rows(&summary.rows),
            subjects(&summary.rows),
            clients(&summary),
            rounds(&summary.rounds),
            fairness(&summary.fairness),
            calibration(summary.calibration.as_ref()),
            epochs(&summary.clients[0]),
            confusion(&summary.rows[0].confusion, &summary.staging),
        ] {
            let mut lines = text.lines();
            let cells = lines.next().unwrap().split(',').count();
            let mut records = 0;
            for line in lines {
                assert_eq!(line.split(',').count(), cells, "{line}");
                records += 1;
            }
            assert!(records > 0);
        }
    }

    #[test]
    fn epochs_are_in_menghini_s_layout() {
        let staging = Staging::four();
        let night = NightResult::new(
            "n",
            vec![Some(0), None],
            vec![Some(1), Some(3)],
            &staging,
            NightOptions::default(),
        );
        let client = ClientResult::from_nights("a,\"b\"", "x", vec![night], &staging).unwrap();
        assert_eq!(
            epochs(&client),
            "subject,epoch,reference,device\n\"a,\"\"b\"\"\",1,0,1\n\"a,\"\"b\"\"\",2,,3\n"
        );
    }

    #[test]
    fn numbers_read_back_exactly() {
        let summary = testing::summary(3, 1);
        let text = rows(&summary.rows);
        let cell = text.lines().nth(4).unwrap().split(',').nth(5).unwrap();
        assert_eq!(cell.parse::<f64>().ok(), summary.rows[3].pooled.kappa);
    }
}
