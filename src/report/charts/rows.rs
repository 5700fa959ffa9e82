//! One row per thing, with dots along a common axis.

use maud::{Markup, html};

use super::marks::{Entry, FONT, circle, legend, mark};
use super::{Axis, Drawing, Scale, WIDTH, ellipsised, label, line, number, text_width};

/// A chart of dots in rows.
#[derive(Clone, Debug)]
pub struct Rows<'a> {
    /// The rows, from top to bottom.
    pub rows: Vec<Row>,
    /// The axis of the values.
    pub axis: Axis<'a>,
    /// What the kinds of dots mean, and what the interval is.
    pub legend: Vec<(Option<DotKind>, String)>,
}

/// A row.
#[derive(Clone, Debug)]
pub struct Row {
    /// What it is of.
    pub label: String,
    /// Said below the label.
    pub detail: String,
    /// Colour and shape, below [`SLOTS`](super::SLOTS).
    pub slot: usize,
    /// Its dots.
    pub dots: Vec<Dot>,
    /// A range around one of them.
    pub interval: Option<(f64, f64)>,
    /// Its value as text, at the right.
    pub value: String,
}

/// A dot.
#[derive(Clone, Debug)]
pub struct Dot {
    /// How it is drawn.
    pub kind: DotKind,
    /// Its value.
    pub value: f64,
    /// What it is.
    pub note: String,
}

/// How a dot is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DotKind {
    /// The figure that counts.
    Filled,
    /// A second figure.
    Hollow,
    /// One of several that make up a figure.
    Small,
}

impl DotKind {
    fn class(self) -> &'static str {
        match self {
            DotKind::Filled => "mark",
            DotKind::Hollow => "mark hollow",
            DotKind::Small => "mark small",
        }
    }

    fn size(self) -> f64 {
        match self {
            DotKind::Filled | DotKind::Hollow => 5.5,
            DotKind::Small => 3.5,
        }
    }
}

const ROW: f64 = 38.0;
/// How much wider bold text is.
const BOLD: f64 = 1.08;
/// Widest label of a row.
const LABEL: f64 = 170.0;

impl Rows<'_> {
    /// Draws the chart.
    pub fn draw(&self) -> Drawing {
        let widest = |texts: &dyn Fn(&Row) -> f64| self.rows.iter().map(texts).fold(0.0, f64::max);
        let names = widest(&|r| text_width(&r.label, FONT + 1.0).max(text_width(&r.detail, FONT)));
        let left = names.min(LABEL) + 24.0;
        let right = WIDTH - widest(&|r| BOLD * text_width(&r.value, FONT)) - 24.0;
        let (legend, legend_height) = self.draw_legend(left);
        let top = legend_height + 8.0;
        let bottom = top + ROW * self.rows.len() as f64;
        let dots = self.rows.iter().flat_map(|r| &r.dots).map(|d| d.value);
        let intervals = self.rows.iter().filter_map(|r| r.interval);
        let values = dots.chain(intervals.flat_map(|(low, high)| [low, high]));
        let scale = Scale::linear(values, self.axis.bounds, (left, right), 7);
        let body = html! {
            (legend)
            @for &tick in &scale.ticks {
                (line("grid", (scale.at(tick), top), (scale.at(tick), bottom)))
                (label("tick", "middle", (scale.at(tick), bottom + 18.0), &(self.axis.format)(tick, scale.step)))
            }
            (label("axis-title", "middle", ((left + right) / 2.0, bottom + 40.0), self.axis.title))
            @for (i, row) in self.rows.iter().enumerate() {
                (draw_row(row, &scale, top + (i as f64 + 0.5) * ROW, left, right))
            }
            (line("axis", (left, bottom), (right, bottom)))
        };
        Drawing {
            width: WIDTH,
            height: bottom + 48.0,
            body,
        }
    }

    fn draw_legend(&self, left: f64) -> (Markup, f64) {
        let entries: Vec<Entry<'_>> = self
            .legend
            .iter()
            .map(|(kind, text)| {
                let (kind, text) = (*kind, text.as_str());
                Entry {
                    sample: Box::new(move |(x, y)| match kind {
                        Some(kind) => circle(
                            &format!("{} series-0", kind.class()),
                            (x, y),
                            kind.size(),
                            text,
                        ),
                        None => html! {
                            g class="series-0" { (line("interval", (x - 9.0, y), (x + 9.0, y))) }
                        },
                    }),
                    text: text.to_owned(),
                }
            })
            .collect();
        legend(&entries, left, WIDTH - left)
    }
}

fn draw_row(row: &Row, scale: &Scale, y: f64, left: f64, right: f64) -> Markup {
    let (name_y, detail_y) = match row.detail.is_empty() {
        true => (y + 4.0, y),
        false => (y - 3.0, y + 12.0),
    };
    html! {
        (line("grid", (left, y), (right, y)))
        g {
            title { (row.label) " " (row.detail) }
            (label("value", "end", (left - 14.0, name_y), &ellipsised(&row.label, FONT + 1.0, LABEL)))
            @if !row.detail.is_empty() {
                (label("tick", "end", (left - 14.0, detail_y), &ellipsised(&row.detail, FONT, LABEL)))
            }
        }
        @if let Some((low, high)) = row.interval {
            g class={ "series-" (row.slot) } {
                (line("interval", (scale.at(low), y), (scale.at(high), y)))
            }
        }
        @for dot in &row.dots {
            (mark(row.slot, dot.kind.class(), (scale.at(dot.value), y), dot.kind.size(), &dot.note))
        }
        text class="value" x=(number(right + 16.0)) y=(number(y + 4.0)) { (row.value) }
    }
}
