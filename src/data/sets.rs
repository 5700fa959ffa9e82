//! The labels of samples that may have several each, or none.

/// For each sample the classes that it is of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSets {
    /// Where the classes of each sample end.
    ends: Vec<usize>,
    /// Rising for each sample.
    classes: Vec<u32>,
}

impl LabelSets {
    /// Of samples with these classes, in any order; those that are named twice count once.
    pub fn of<S: AsRef<[usize]>>(samples: impl IntoIterator<Item = S>) -> Self {
        let mut sets = LabelSets::default();
        for sample in samples {
            let mut classes: Vec<u32> = sample
                .as_ref()
                .iter()
                .filter_map(|&class| u32::try_from(class).ok())
                .collect();
            classes.sort_unstable();
            classes.dedup();
            sets.classes.extend(classes);
            sets.ends.push(sets.classes.len());
        }
        sets
    }

    /// The number of samples.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are no samples.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The classes of a sample, rising; none of one that there is not.
    pub fn get(&self, sample: usize) -> &[u32] {
        let Some(&end) = self.ends.get(sample) else {
            return &[];
        };
        let before = sample.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.classes[before..end]
    }

    /// How many samples are of each of `classes` classes.
    pub fn counts(&self, classes: usize) -> Vec<usize> {
        let mut counts = vec![0; classes];
        for &class in &self.classes {
            if let Some(count) = counts.get_mut(class as usize) {
                *count += 1;
            }
        }
        counts
    }

    /// Of each sample the one of its classes that the fewest samples are of; −1 of a sample that is of none.
    pub fn rarest(&self, classes: usize) -> Vec<i64> {
        let counts = self.counts(classes);
        let of = |sample: usize| {
            let own = self.get(sample).iter();
            let rarest = own.min_by_key(|&&class| counts.get(class as usize));
            rarest.map_or(-1, |&class| i64::from(class))
        };
        (0..self.len()).map(of).collect()
    }

    /// Writes 1 at the classes of a sample into `row`, and 0 elsewhere.
    pub fn write(&self, sample: usize, row: &mut [f32]) {
        row.fill(0.0);
        for &class in self.get(sample) {
            if let Some(value) = row.get_mut(class as usize) {
                *value = 1.0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sample_has_its_classes_once_and_in_order() {
        let sets = LabelSets::of([vec![2, 0, 2], vec![], vec![1, 2]]);
        assert_eq!(sets.len(), 3);
        assert_eq!(sets.get(0), [0, 2]);
        assert!(sets.get(1).is_empty() && sets.get(3).is_empty());
        assert_eq!(sets.counts(4), [1, 1, 2, 0]);
        assert_eq!(sets.rarest(4), [0, -1, 1]);
        let mut row = [9.0; 3];
        sets.write(0, &mut row);
        assert_eq!(row, [1.0, 0.0, 1.0]);
    }
}
