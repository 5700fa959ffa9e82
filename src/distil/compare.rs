//! How far values lie apart.

use crate::task::Task;

/// The root of the sum of squared differences over that of the squares of what is wanted; where nothing but 0 is wanted the
/// root of the first sum.
pub(super) fn relative(given: &[f32], wanted: &[f32]) -> f64 {
    let square = |value: f64| value * value;
    let pairs = given.iter().zip(wanted);
    let difference: f64 = pairs
        .map(|(g, w)| square(f64::from(*g) - f64::from(*w)))
        .sum();
    let size: f64 = wanted.iter().map(|w| square(f64::from(*w))).sum();
    match size {
        0.0 => difference.sqrt(),
        size => (difference / size).sqrt(),
    }
}

/// The share of rows for which both say the same.
pub(super) fn agreement(given: &[f32], wanted: &[f32], (rows, task): (usize, Task)) -> f64 {
    let width = (wanted.len() / rows.max(1)).max(1);
    let top = |row: &[f32]| {
        let better = |best: usize, at: usize| if row[at] > row[best] { at } else { best };
        (0..row.len()).reduce(better)
    };
    let same = |(given, wanted): &(&[f32], &[f32])| match task {
        Task::SingleLabel => top(given) == top(wanted),
        Task::MultiLabel | Task::Binary => given
            .iter()
            .zip(*wanted)
            .all(|(g, w)| (*g > 0.0) == (*w > 0.0)),
    };
    let pairs = given.chunks(width).zip(wanted.chunks(width));
    pairs.filter(same).count() as f64 / rows.max(1) as f64
}
