//! Two networks side by side, a row for each block and a mark for each of its layers.

use maud::{Markup, html};

use super::marks::{Entry, FONT, legend, mark};
use super::{Drawing, WIDTH, ellipsised, label, line, number};

/// A chart of two networks whose blocks belong to each other.
#[derive(Clone, Debug)]
pub struct Networks {
    /// What the two are called.
    pub titles: [String; 2],
    /// Pairs of blocks, from input to output.
    pub rows: Vec<Pair>,
}

/// Two blocks that belong to each other, or one alone.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The block of each network.
    pub strips: [Option<Strip>; 2],
    /// What share of it is marked, 0 to 1.
    pub share: f64,
    /// What is said of it.
    pub note: String,
}

/// A block.
#[derive(Clone, Debug, Default)]
pub struct Strip {
    /// Its name.
    pub label: String,
    /// Its layers.
    pub cells: Vec<Cell>,
}

/// A layer.
#[derive(Clone, Debug)]
pub struct Cell {
    /// What is to be seen of it.
    pub state: State,
    /// What it is, and what it came to.
    pub note: String,
}

/// What a layer is in comparison with its partner.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum State {
    /// The same.
    Same,
    /// With other weights, by so much of their norm.
    Tuned(f64),
    /// Another operator, other attributes or inputs.
    Changed,
    /// Without a partner, after.
    New,
    /// Without a partner, before.
    Gone,
}

impl State {
    /// Series, class and size of its mark.
    fn look(self) -> (usize, &'static str, f64) {
        match self {
            State::Same => (0, "mark hollow", 2.6),
            // From a thousandth of the norm to all of it.
            State::Tuned(share) => {
                let decades = (share.max(1e-9).log10() + 3.0).clamp(0.0, 3.0);
                (5, "mark", 3.6 + 0.8 * decades)
            }
            State::Changed => (1, "mark", 5.0),
            State::New => (2, "mark", 5.0),
            State::Gone => (3, "mark", 5.0),
        }
    }
}

const LABEL: f64 = 84.0;
const STEP: f64 = 15.0;
const LINE: f64 = 16.0;
const MIDDLE: f64 = 250.0;
const BAR: f64 = 60.0;
const GAP: f64 = 4.0;
/// The part of the room that text may take by its measure, which is of a lighter font than that of titles.
const BOLD: f64 = 0.8;

impl Networks {
    /// Draws the chart.
    pub fn draw(&self) -> Drawing {
        let side = (WIDTH - MIDDLE) / 2.0;
        let per_line = (((side - LABEL - 12.0) / STEP) as usize).max(1);
        let lefts = [0.0, side + MIDDLE];
        let (legend, legend_height) = self.legend();
        let mut y = legend_height + 34.0;
        let mut rows = Vec::with_capacity(self.rows.len());
        for row in &self.rows {
            let lines = |strip: &Option<Strip>| {
                let cells = strip.as_ref().map_or(0, |strip| strip.cells.len());
                cells.div_ceil(per_line).max(1)
            };
            let lines = row.strips.iter().map(lines).max().unwrap_or(1);
            let height = LINE * lines as f64 + 4.0;
            rows.push(html! {
                @for (strip, left) in row.strips.iter().zip(lefts) {
                    @if let Some(strip) = strip { (draw_strip(strip, (left, y), (side, height), per_line)) }
                }
                (draw_middle(row, (side, y), height))
            });
            y += height + GAP;
        }
        let body = html! {
            (legend)
            @for (title, left) in self.titles.iter().zip(lefts) {
                (label("value", "start", (left, legend_height + 20.0), &ellipsised(title, FONT, side * BOLD)))
            }
            @for row in rows { (row) }
        };
        Drawing {
            width: WIDTH,
            height: y,
            body,
        }
    }

    fn legend(&self) -> (Markup, f64) {
        let cells = || self.rows.iter().flat_map(|row| row.strips.iter().flatten());
        let cells: Vec<State> = cells()
            .flat_map(|s| &s.cells)
            .map(|cell| cell.state)
            .collect();
        let kinds = [
            (State::Same, "the same"),
            (State::Tuned(1.0), "other weights, the larger the more"),
            (State::Changed, "another operator, attribute or input"),
            (State::New, "new"),
            (State::Gone, "gone"),
        ];
        let kind = |state: State| std::mem::discriminant(&state);
        let entries: Vec<Entry<'_>> = kinds
            .into_iter()
            .filter(|(state, _)| cells.iter().any(|cell| kind(*cell) == kind(*state)))
            .map(|(state, text)| Entry {
                sample: Box::new(move |at| {
                    let (slot, class, size) = state.look();
                    mark(slot, class, at, size, text)
                }),
                text: text.to_owned(),
            })
            .collect();
        legend(&entries, 0.0, WIDTH)
    }
}

fn draw_strip(
    strip: &Strip,
    (left, top): (f64, f64),
    (width, height): (f64, f64),
    per_line: usize,
) -> Markup {
    let middle = top + height / 2.0;
    html! {
        rect class="block" x=(number(left + 0.5)) y=(number(top)) width=(number(width - 1.0)) height=(number(height)) rx="4" {}
        g {
            title { (strip.label) }
            (label("tick", "start", (left + 8.0, middle + 4.0), &ellipsised(&strip.label, FONT, LABEL - 12.0)))
        }
        @for (i, cell) in strip.cells.iter().enumerate() {
            @let x = left + LABEL + (i % per_line) as f64 * STEP + 8.0;
            @let y = top + 2.0 + LINE * ((i / per_line) as f64 + 0.5);
            @let (slot, class, size) = cell.state.look();
            (mark(slot, class, (x, y), size, &cell.note))
        }
    }
}

/// What is said between two blocks, over a bar of the share.
fn draw_middle(row: &Pair, (left, top): (f64, f64), height: f64) -> Markup {
    let middle = top + height / 2.0;
    let [from, to] = [left + 6.0, left + MIDDLE - 6.0];
    let joined = row.strips.iter().all(Option::is_some);
    let share = row.share.clamp(0.0, 1.0);
    let class = if share > 0.0 { "tick strong" } else { "tick" };
    let bar = from + 8.0;
    html! {
        @if joined && share == 0.0 && row.note.is_empty() { (line("grid", (from, middle), (to, middle))) }
        @else {
            @if share > 0.0 {
                rect class="cell-frame" x=(number(bar)) y=(number(middle - 5.0)) width=(number(BAR)) height="10" {}
                rect class="cell" x=(number(bar)) y=(number(middle - 5.0)) width=(number((BAR * share).max(1.0))) height="10" {}
            }
            @let start = if share > 0.0 { bar + BAR + 8.0 } else { bar };
            g {
                title { (row.note) }
                (label(class, "start", (start, middle + 4.0), &ellipsised(&row.note, FONT, to - start)))
            }
        }
    }
}
