//! What a round's updates come to.

use super::job::GroupSum;
use crate::encoding::Evaluated;
use crate::privacy::clipped::ClippedSum;
use crate::privacy::veil::Veil;
use crate::robust::groups::{self, GroupMean};
use crate::robust::{Combined, Gather, Gathered, RobustRule};

/// All that a round knows of its updates at its end.
pub(super) enum Total {
    /// Updates of a plain round, or their sum.
    Plain(Gather),
    /// The sum of clipped updates, and what hides people in it.
    Clipped(ClippedSum, Veil),
    /// What was in the sums of a masked one, one for each group.
    Opened(Opened),
}

/// The sums of a masked round, and how one update is made of them.
pub(super) struct Opened {
    pub(super) groups: Vec<GroupSum>,
    pub(super) rule: Box<dyn RobustRule>,
}

impl Opened {
    fn counted(&self, count: impl Fn(&GroupSum) -> u64) -> u64 {
        self.groups.iter().map(count).sum()
    }

    fn weight(&self) -> u64 {
        self.counted(|group| group.decoded.weight)
    }

    fn updates(&self) -> u32 {
        self.groups.iter().map(|group| group.decoded.updates).sum()
    }

    /// The mean of the groups' means by weight, whatever the rule makes of their updates.
    fn loss(&self) -> f32 {
        let of = |group: &GroupSum| f64::from(group.decoded.loss) * group.decoded.weight as f64;
        let total = self.weight() as f64;
        if total > 0.0 { (self.groups.iter().map(of).sum::<f64>() / total) as f32 } else { 0.0 }
    }

    fn evaluated(&self) -> Option<Evaluated> {
        let mut groups = self.groups.iter().map(|group| group.decoded.evaluation.clone());
        let first = groups.next()??;
        groups.try_fold(first, |mut all, group| {
            let group = group?;
            all.clients += group.clients;
            all.confusion.iter_mut().zip(group.confusion).for_each(|(all, count)| *all += count);
            Some(all)
        })
    }

    fn combine(self) -> Gathered {
        let (updates, weight) = (self.updates(), self.weight());
        let mean = |GroupSum { members, decoded }| GroupMean {
            members,
            weight: u32::try_from(decoded.weight).unwrap_or(u32::MAX),
            mean: decoded.mean,
        };
        let means: Vec<GroupMean> = self.groups.into_iter().map(mean).collect();
        let Combined { update: mean, verdicts } = groups::combine(&*self.rule, means);
        Gathered { mean, updates, weight, verdicts }
    }
}

impl Total {
    /// Scored epochs behind it, or clients if they do not say.
    pub(super) fn examples(&self) -> u64 {
        match self {
            Self::Plain(gather) => gather.examples(),
            Self::Clipped(sum, _) => u64::from(sum.updates()),
            Self::Opened(opened) => opened.counted(|group| group.decoded.examples),
        }
    }

    /// Weighted mean of the training losses; 0 if nobody says.
    pub(super) fn loss(&self) -> f32 {
        match self {
            Self::Plain(gather) => gather.mean_loss(),
            Self::Clipped(..) => 0.0,
            Self::Opened(opened) => opened.loss(),
        }
    }

    /// Updates within the clip norm and beyond it, where that is counted.
    pub(super) fn clipped(&self) -> Option<(u32, u32)> {
        match self {
            Self::Plain(_) => None,
            Self::Clipped(sum, _) => Some((sum.short(), sum.updates() - sum.short())),
            Self::Opened(opened) => {
                let long = opened.groups.iter().map(|group| group.decoded.clipped).sum();
                Some((opened.updates().saturating_sub(long), long))
            }
        }
    }

    /// What clients counted of the release that they started from, all groups together, if they were asked to.
    pub(super) fn evaluated(&self) -> Option<Evaluated> {
        match self {
            Self::Plain(_) | Self::Clipped(..) => None,
            Self::Opened(opened) => opened.evaluated(),
        }
    }

    /// One update of all; a sum that was here is gone.
    pub(super) fn combine(self) -> Gathered {
        match self {
            Self::Plain(gather) => gather.finish(),
            Self::Clipped(sum, veil) => {
                let (updates, verdicts) = (sum.updates(), Vec::new());
                Gathered { mean: sum.veiled(&veil), updates, weight: u64::from(updates), verdicts }
            }
            Self::Opened(opened) => opened.combine(),
        }
    }
}
