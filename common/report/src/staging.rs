//! What the class codes of a hypnogram mean: names, and which of them are wake and REM.

use serde::{Deserialize, Serialize};

/// A hypnogram: one class code per epoch, `None` (`null` in JSON) where the epoch is not scored.
pub type Hypnogram = Vec<Option<u8>>;

/// The classes of a task, by index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Staging {
    /// Names by class code, as shown in reports.
    pub classes: Vec<String>,
    /// The code of wake; every other code is sleep.
    pub wake: u8,
    /// The code of REM sleep, where the task tells it apart.
    pub rem: Option<u8>,
}

impl Staging {
    /// Classes with wake first and REM, if `rem`, last: the order of every task of this project.
    #[must_use]
    pub fn new(names: &[&str], rem: bool) -> Self {
        let last = u8::try_from(names.len().saturating_sub(1)).unwrap_or(u8::MAX);
        Self {
            classes: names.iter().map(|&name| name.to_owned()).collect(),
            wake: 0,
            rem: rem.then_some(last),
        }
    }

    /// Wake, Sleep.
    #[must_use]
    pub fn sleep_wake() -> Self {
        Self::new(&["Wake", "Sleep"], false)
    }

    /// Wake, NREM, REM.
    #[must_use]
    pub fn three() -> Self {
        Self::new(&["Wake", "NREM", "REM"], true)
    }

    /// Wake, Core (N1 + N2), Deep (N3), REM.
    #[must_use]
    pub fn four() -> Self {
        Self::new(&["Wake", "Core", "Deep", "REM"], true)
    }

    /// Wake, N1, N2, N3, REM.
    #[must_use]
    pub fn five() -> Self {
        Self::new(&["Wake", "N1", "N2", "N3", "REM"], true)
    }

    /// Number of classes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.classes.len()
    }

    /// Whether there is no class.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }

    /// The name of a class; `class 7` for a code that has none.
    #[must_use]
    pub fn name(&self, class: usize) -> String {
        self.classes.get(class).cloned().unwrap_or_else(|| format!("class {class}"))
    }

    /// Class codes from the top of a hypnogram to its bottom: wake, REM, then sleep from light to deep.
    #[must_use]
    pub fn lanes(&self) -> Vec<usize> {
        let wake = usize::from(self.wake);
        let rem = self.rem.map(usize::from);
        let mut lanes: Vec<usize> = Some(wake).into_iter().chain(rem).filter(|&c| c < self.len()).collect();
        lanes.extend((0..self.len()).filter(|&class| class != wake && Some(class) != rem));
        lanes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hypnograms_show_wake_on_top_then_rem_then_depth() {
        assert_eq!(Staging::four().lanes(), vec![0, 3, 1, 2]);
        assert_eq!(Staging::five().lanes(), vec![0, 4, 1, 2, 3]);
        assert_eq!(Staging::sleep_wake().lanes(), vec![0, 1]);
        let odd = Staging { classes: vec!["Sleep".into(), "Wake".into()], wake: 1, rem: Some(9) };
        assert_eq!(odd.lanes(), vec![1, 0]);
        assert_eq!(odd.name(5), "class 5");
    }
}
