//! How far values lie apart.

use crate::classifier::{Squares, argmax};
use crate::task::Task;

/// Their [relative error](Squares::relative_error).
pub(super) fn relative(given: &[f32], wanted: &[f32]) -> f64 {
    let mut squares = Squares::default();
    squares.add(given, wanted);
    squares.relative_error()
}

/// The share of rows for which both say the same.
pub(super) fn agreement(given: &[f32], wanted: &[f32], (rows, task): (usize, Task)) -> f64 {
    let width = (wanted.len() / rows.max(1)).max(1);
    let same = |(given, wanted): &(&[f32], &[f32])| match task {
        Task::SingleLabel => argmax(given) == argmax(wanted),
        Task::MultiLabel | Task::Binary => given
            .iter()
            .zip(*wanted)
            .all(|(g, w)| (*g > 0.0) == (*w > 0.0)),
    };
    let pairs = given.chunks(width).zip(wanted.chunks(width));
    pairs.filter(same).count() as f64 / rows.max(1) as f64
}
