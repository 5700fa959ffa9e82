//! Counts by true and predicted class.

use maud::{Markup, html};

use crate::report::confusions::totals;

use super::marks::FONT;
use super::{Drawing, ellipsised, label, number, text_width};

/// A confusion matrix.
#[derive(Clone, Debug)]
pub struct Matrix<'a> {
    /// Names of the classes.
    pub classes: &'a [String],
    /// `[true class (row), predicted class (column), samples]` of the pairs that occur.
    pub counts: &'a [[usize; 3]],
}

/// Widest name of a class.
const LABEL: f64 = 120.0;
/// Side of the whole matrix, where cells need not be larger or smaller than they may.
const SIDE: f64 = 420.0;

impl Matrix<'_> {
    /// Draws the matrix. The darker a cell, the larger its share of its row; counts stand in cells
    /// that have room. Cells of pairs that do not occur are empty.
    pub fn draw(&self) -> Drawing {
        let n = self.classes.len().max(1);
        let cell = (SIDE / n as f64).clamp(6.5, 44.0);
        let widest = self.classes.iter().map(|c| text_width(c, FONT));
        let gutter = widest.fold(20.0, f64::max).min(LABEL) + 12.0;
        let (left, top) = (gutter + 18.0, gutter + 18.0);
        let side = cell * n as f64;
        let every = (13.0 / cell).ceil().max(1.0) as usize;
        let shown = |i: &usize| i.is_multiple_of(every);
        let totals = totals(self.counts);
        let body = html! {
            rect class="cell-frame" x=(number(left)) y=(number(top)) width=(number(side))
                height=(number(side)) {}
            @for &[i, j, count] in self.counts {
                @let total = totals.get(&i).copied().unwrap_or_default();
                (self.cell((i, j), (count, total), (left + j as f64 * cell, top + i as f64 * cell), cell))
            }
            @for (i, class) in self.classes.iter().enumerate().filter(|(i, _)| shown(i)) {
                @let middle = (i as f64 + 0.5) * cell;
                @let short = ellipsised(class, FONT, LABEL);
                g {
                    title { (class) }
                    (label("tick", "end", (left - 6.0, top + middle + 4.0), &short))
                }
                g transform={ "translate(" (number(left + middle + 4.0)) " " (number(top - 6.0)) ") rotate(-90)" } {
                    title { (class) }
                    (label("tick", "start", (0.0, 0.0), &short))
                }
            }
            (label("axis-title", "middle", (left + side / 2.0, 12.0), "predicted"))
            g transform={ "translate(12 " (number(top + side / 2.0)) ") rotate(-90)" } {
                (label("axis-title", "middle", (0.0, 0.0), "true"))
            }
        };
        Drawing {
            width: left + side.max(60.0) + 8.0,
            height: top + side + 8.0,
            body,
        }
    }

    fn cell(
        &self,
        (i, j): (usize, usize),
        (count, total): (usize, usize),
        (x, y): (f64, f64),
        cell: f64,
    ) -> Markup {
        let share = count as f64 / total.max(1) as f64;
        let name = |k: usize| self.classes.get(k).map_or("?", String::as_str);
        let note = format!(
            "{} taken for {}: {count} of {total}",
            name(i),
            if i == j { "what it is" } else { name(j) }
        );
        let class = if i == j {
            "cell mark bar"
        } else {
            "cell wrong mark bar"
        };
        let count_class = if share > 0.6 { "count on-ink" } else { "count" };
        html! {
            rect class=(class) x=(number(x)) y=(number(y)) width=(number(cell)) height=(number(cell))
                fill-opacity=(number(0.12 + 0.88 * share)) { title { (note) } }
            @if cell >= 8.0 + 6.6 * count.to_string().len() as f64 {
                (label(count_class, "middle", (x + cell / 2.0, y + cell / 2.0 + 4.0), &count.to_string()))
            }
        }
    }
}
