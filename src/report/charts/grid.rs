//! Marks in rows over places that stand in a row: which of them each row has to do with.

use maud::{Markup, html};

use super::marks::{Entry, FONT, legend};
use super::{Drawing, WIDTH, ellipsised, label, line, number, text_width};

/// A chart of marks in rows and columns.
#[derive(Clone, Debug)]
pub struct Grid<'a> {
    /// What stands above the columns, of which only some may be shown.
    pub columns: Vec<String>,
    /// What the columns are.
    pub title: &'a str,
    /// The rows, from top to bottom.
    pub rows: Vec<GridRow>,
    /// What whole marks and parts mean.
    pub legend: [&'a str; 2],
}

/// A row.
#[derive(Clone, Debug)]
pub struct GridRow {
    /// What it is of.
    pub label: String,
    /// Of each column the share of the mark that is filled, 0 to 1, and what it means; `None` leaves it out.
    pub marks: Vec<Option<(f64, String)>>,
    /// What is said at its end.
    pub value: String,
}

const ROW: f64 = 26.0;
/// Widest label of a row.
const LABEL: f64 = 120.0;

impl Grid<'_> {
    /// Draws the chart.
    pub fn draw(&self) -> Drawing {
        let widest =
            |texts: &dyn Fn(&GridRow) -> f64| self.rows.iter().map(texts).fold(0.0, f64::max);
        let left = widest(&|row| text_width(&row.label, FONT)).min(LABEL) + 18.0;
        let right = WIDTH - widest(&|row| text_width(&row.value, FONT)) - 16.0;
        let step = (right - left) / self.columns.len().max(1) as f64;
        let size = (step - 2.0).clamp(2.0, 14.0);
        let (legend, legend_height) = self.legend();
        let top = legend_height + 40.0;
        let bottom = top + ROW * self.rows.len() as f64;
        let center = |column: usize| left + (column as f64 + 0.5) * step;
        let widest = self
            .columns
            .iter()
            .map(|c| text_width(c, FONT))
            .fold(0.0, f64::max);
        let every = ((widest + 8.0) / step).ceil().max(1.0) as usize;
        let body = html! {
            (legend)
            (label("axis-title", "middle", ((left + right) / 2.0, top - 26.0), self.title))
            @for (i, column) in self.columns.iter().enumerate() {
                @if i % every == 0 { (label("tick", "middle", (center(i), top - 8.0), column)) }
            }
            @for (r, row) in self.rows.iter().enumerate() {
                @let y = top + (r as f64 + 0.5) * ROW;
                (line("grid", (left, y), (right, y)))
                (label("value", "end", (left - 12.0, y + 4.0), &ellipsised(&row.label, FONT, LABEL)))
                @for (i, mark) in row.marks.iter().enumerate() {
                    @if let Some((share, note)) = mark { (part((center(i), y), size, *share, note)) }
                }
                (label("tick", "start", (right + 10.0, y + 4.0), &row.value))
            }
        };
        Drawing {
            width: WIDTH,
            height: bottom + 6.0,
            body,
        }
    }

    fn legend(&self) -> (Markup, f64) {
        let entries = self
            .legend
            .iter()
            .zip([1.0, 0.4])
            .map(|(text, share)| Entry {
                sample: Box::new(move |at| part(at, 12.0, share, text)),
                text: (*text).to_owned(),
            });
        legend(&entries.collect::<Vec<_>>(), 0.0, WIDTH)
    }
}

/// A square that is filled from below.
fn part((x, y): (f64, f64), size: f64, share: f64, note: &str) -> Markup {
    let (left, top) = (x - size / 2.0, y - size / 2.0);
    // Of many candidates, one must be seen.
    let height = size * share.clamp(0.2, 1.0);
    html! {
        g class="series-5" {
            title { (note) }
            rect class="cell-frame" x=(number(left)) y=(number(top)) width=(number(size)) height=(number(size)) {}
            rect class="mark bar" x=(number(left)) y=(number(top + size - height)) width=(number(size))
                height=(number(height)) {}
        }
    }
}
