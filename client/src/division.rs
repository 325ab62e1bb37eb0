//! Which epochs of a person's nights train and which judge: never the same, and never one that has trained judges.

use std::ops::Range;
use std::sync::Arc;

use somnus_protocol::message::Role;
use somnus_signals::{Night, split};

use crate::config::DataConfig;
use crate::trained::NightKey;

/// A night, and how many epochs from its beginning have trained in earlier rounds.
#[derive(Clone)]
pub struct Known {
    /// The night.
    pub night: Arc<Night>,
    /// By which it is remembered.
    pub key: NightKey,
    /// At most as many as it has.
    pub trained: usize,
}

/// Epochs of a night.
#[derive(Clone)]
pub struct Part {
    /// The night.
    pub night: Arc<Night>,
    /// By which it is remembered.
    pub key: NightKey,
    /// Those that train from 0; those that judge may be none: then the night is staged and nothing of it counts.
    pub epochs: Range<usize>,
}

/// What trains, what is staged and judges, and what the person should know of it.
#[derive(Default)]
pub struct Division {
    /// In the order of nights.
    pub train: Vec<Part>,
    /// Those without labels too, which judge nothing.
    pub judged: Vec<Part>,
    /// Sentences.
    pub notes: Vec<String>,
}

impl Known {
    fn part(&self, epochs: Range<usize>) -> Part {
        Part { night: Arc::clone(&self.night), key: self.key, epochs }
    }

    fn whole(&self) -> Part {
        self.part(0..self.night.epochs)
    }

    /// What may judge: all of a night that is new, and of another what is far enough from what has trained.
    fn rest(&self, gap: usize) -> Range<usize> {
        let gap = if self.trained == 0 { 0 } else { gap };
        self.trained.saturating_add(gap).min(self.night.epochs)..self.night.epochs
    }

    fn has_labels_in(&self, epochs: Range<usize>) -> bool {
        self.night.stages[epochs].iter().any(Option::is_some)
    }

    fn can_judge(&self, gap: usize) -> bool {
        self.has_labels_in(self.rest(gap))
    }
}

/// Divides nights that are in the order of [`somnus_signals::night_order`].
///
/// # Errors
/// Why there is nothing for a hub to train on that is to.
pub fn divide(nights: Vec<Known>, config: &DataConfig, role: Role) -> Result<Division, &'static str> {
    if role == Role::Evaluates {
        return Ok(judge_everything(&nights, config.gap_epochs));
    }
    let (labelled, unlabelled): (Vec<_>, Vec<_>) =
        nights.into_iter().partition(|known| known.night.is_labelled());
    let mut division = match labelled.as_slice() {
        [] => return Err("no night has labels"),
        [only] => cut(only, config)?,
        several => judge_one(several, config.gap_epochs),
    };
    if !unlabelled.is_empty() {
        let names: Vec<&str> = unlabelled.iter().map(|known| known.night.name.as_str()).collect();
        division
            .notes
            .push(format!("without labels, staged but neither trained nor judged on: {}", names.join(", ")));
    }
    division.judged.extend(unlabelled.iter().map(Known::whole));
    Ok(division)
}

/// Nobody trains here any more; what did while this hub had another role still does not judge.
fn judge_everything(nights: &[Known], gap: usize) -> Division {
    let judged = nights.iter().map(|known| known.part(known.rest(gap))).collect();
    let before = nights.iter().filter(|known| known.trained > 0);
    let note = |known: &Known| match known.can_judge(gap) {
        true => format!("{} has trained, and is judged on {}", known.night.name, told(&known.rest(gap))),
        false => format!("{} has trained, and is staged without being judged", known.night.name),
    };
    Division { train: Vec::new(), judged, notes: before.map(note).collect() }
}

/// The beginning of an only night trains, its end judges.
fn cut(only: &Known, config: &DataConfig) -> Result<Division, &'static str> {
    let (first, _) = split::chronological(only.night.epochs, config.train_fraction, config.gap_epochs);
    let first = 0..first.end.max(only.trained);
    if !only.has_labels_in(first.clone()) {
        return Err("the only night with labels has none in the part that trains");
    }
    let after = Known { trained: first.end, ..only.clone() };
    let rest = after.rest(config.gap_epochs);
    let name = &only.night.name;
    let note = if !after.can_judge(config.gap_epochs) {
        format!("nothing is judged: {name} is the only night with labels, and after what trains it has none")
    } else {
        format!(
            "a single night with labels, {name}: trained on {}, judged on {} to {}; the labels of \
             the judged part are never seen, the features use the whole night's heart-rate level",
            told(&first),
            rest.start + 1,
            rest.end
        )
    };
    Ok(Division { train: vec![only.part(first)], judged: vec![only.part(rest)], notes: vec![note] })
}

/// The last night that can judge does, and the others train; what has trained goes on to.
fn judge_one(nights: &[Known], gap: usize) -> Division {
    let count = nights.len();
    let Some(at) = nights.iter().rposition(|known| known.can_judge(gap)) else {
        let judged = nights.last().map(|last| last.part(last.night.epochs..last.night.epochs));
        let note = format!(
            "nothing is judged until another night comes: all {count} nights with labels have trained"
        );
        return Division {
            train: nights.iter().map(Known::whole).collect(),
            judged: judged.into_iter().collect(),
            notes: vec![note],
        };
    };
    let judge = &nights[at];
    let train = nights.iter().enumerate().filter_map(|(n, known)| {
        let epochs = 0..if n == at { known.trained } else { known.night.epochs };
        known.has_labels_in(epochs.clone()).then(|| known.part(epochs))
    });
    let (name, rest) = (&judge.night.name, judge.rest(gap));
    let which = match (judge.trained, at + 1 == count) {
        (0, true) => format!("{name}, the last of {count} nights with labels"),
        (0, false) => format!("{name}, the last of {count} nights with labels that has not trained"),
        _ => format!(
            "{} of {name}, the last of {count} nights with labels of which something has not trained",
            told(&rest)
        ),
    };
    let note = format!("judged on {which}, trained on the others");
    Division { train: train.collect(), judged: vec![judge.part(rest)], notes: vec![note] }
}

/// Epochs as people count them.
fn told(epochs: &Range<usize>) -> String {
    format!("epochs {} to {}", epochs.start + 1, epochs.end)
}
