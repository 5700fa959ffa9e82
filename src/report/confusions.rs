//! What the counts of true and predicted classes say: `[true class, predicted class, samples]` of the
//! pairs that occur.

use std::collections::HashMap;

/// Samples of one class that were taken for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confused {
    /// The class they are of.
    pub label: usize,
    /// The class they were taken for.
    pub predicted: usize,
    /// How many they are.
    pub samples: usize,
    /// Of so many of their class.
    pub of: usize,
}

/// Samples of each true class that has any.
pub fn totals(counts: &[[usize; 3]]) -> HashMap<usize, usize> {
    let mut totals = HashMap::new();
    for &[label, _, samples] in counts {
        *totals.entry(label).or_insert(0) += samples;
    }
    totals
}

/// The counts of few classes as a matrix: by true class, then by predicted class.
pub fn rows(counts: &[[usize; 3]], classes: usize) -> Vec<Vec<usize>> {
    let mut rows = vec![vec![0; classes]; classes];
    for &[label, predicted, samples] in counts {
        if let Some(count) = rows.get_mut(label).and_then(|row| row.get_mut(predicted)) {
            *count += samples;
        }
    }
    rows
}

/// Samples that are right.
pub fn right(counts: &[[usize; 3]]) -> usize {
    let right = counts
        .iter()
        .filter(|[label, predicted, _]| label == predicted);
    right.map(|&[_, _, samples]| samples).sum()
}

/// The commonest confusions, `limit` of them at most; of equally common ones the first classes'.
pub fn commonest(counts: &[[usize; 3]], limit: usize) -> Vec<Confused> {
    let totals = totals(counts);
    let mut wrong: Vec<Confused> = counts
        .iter()
        .filter(|[label, predicted, _]| label != predicted)
        .map(|&[label, predicted, samples]| Confused {
            label,
            predicted,
            samples,
            of: totals.get(&label).copied().unwrap_or_default(),
        })
        .collect();
    wrong.sort_by_key(|c| (std::cmp::Reverse(c.samples), c.label, c.predicted));
    wrong.truncate(limit);
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commonest_come_first_and_those_of_the_diagonal_not_at_all() {
        let counts = [[0, 0, 9], [0, 2, 2], [1, 0, 3], [2, 0, 2], [2, 2, 1]];
        assert_eq!(totals(&counts), HashMap::from([(0, 11), (1, 3), (2, 3)]));
        assert_eq!(right(&counts), 10);
        assert_eq!(rows(&counts, 3), [[9, 0, 2], [3, 0, 0], [2, 0, 1]]);
        let common: Vec<[usize; 4]> = commonest(&counts, 2)
            .iter()
            .map(|c| [c.label, c.predicted, c.samples, c.of])
            .collect();
        assert_eq!(common, [[1, 0, 3, 3], [0, 2, 2, 11]]);
    }
}
