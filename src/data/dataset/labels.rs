//! Which classes samples are of.

use crate::task::Task;

use super::super::LabelSets;
use super::Dataset;

impl Dataset {
    /// The label of each sample, each within `0..classes().len()`. Of samples that [may have
    /// several](Dataset::sets), that which the fewest samples have, by which they are shared out and spread; −1 of one
    /// that has none.
    pub fn labels(&self) -> &[i64] {
        &self.labels
    }

    /// The labels of each sample, where samples may have several; `None` where each has one.
    pub fn sets(&self) -> Option<&LabelSets> {
        self.sets.as_ref()
    }

    /// What a classifier of these samples tells by itself: which one class, or which of all.
    pub fn task(&self) -> Task {
        match self.sets {
            None => Task::SingleLabel,
            Some(_) => Task::MultiLabel,
        }
    }

    /// The classes of a sample, be it one, none or several; none of one that there is not.
    pub fn classes_of(&self, sample: usize) -> impl Iterator<Item = usize> + '_ {
        let one = match self.sets {
            None => self.labels.get(sample).copied(),
            Some(_) => None,
        };
        let several = self.sets.as_ref().map_or(&[][..], |sets| sets.get(sample));
        let one = one.and_then(|label| usize::try_from(label).ok());
        one.into_iter()
            .chain(several.iter().map(|&class| class as usize))
    }
}
