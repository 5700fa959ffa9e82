//! Charts as SVG for a page whose style sheet is [`STYLE`]: places in a row ([`Places`]), one row
//! per thing ([`Rows`]), curves ([`Lines`]), counts by two classes ([`Matrix`]), marks in rows and columns ([`Grid`]) and two networks side by
//! side ([`Networks`]).
//!
//! Colours, fonts and dashes are the style sheet's, so that one drawing serves light and dark
//! screens and paper. Every mark that stands for data has the class `mark` and a `<title>`.

mod grid;
mod lines;
mod marks;
mod matrix;
mod networks;
mod places;
mod rows;
mod scale;
mod text;

use maud::{Markup, html};

pub use grid::{Grid, GridRow};
pub use lines::{Lines, Series};
pub use matrix::Matrix;
pub use networks::{Cell, Networks, Pair, State, Strip};
pub use places::{Band, Kind, Place, Places, Reference};
pub use rows::{Dot, DotKind, Row, Rows};
pub use scale::{Axis, Scale};
pub use text::{ellipsised, text_width};

/// The style of charts.
pub const STYLE: &str = include_str!("style.css");

/// Colours of series that the style sheet has: a series' `slot` is below this.
pub const SLOTS: usize = 9;

/// Width of a chart in pixels.
pub const WIDTH: f64 = 900.0;

/// A drawing, ready for a figure.
#[derive(Clone, Debug)]
pub struct Drawing {
    width: f64,
    height: f64,
    body: Markup,
}

impl Drawing {
    /// The drawing as an `svg` element. `id` is unique on the page; `title` and `description` are
    /// for those who cannot see it.
    pub fn svg(&self, id: &str, title: &str, description: &str) -> Markup {
        let size = format!("0 0 {} {}", number(self.width), number(self.height));
        html! {
            svg class=[(self.width < WIDTH).then_some("small")] viewBox=(size) width=(number(self.width)) height=(number(self.height)) role="img"
                aria-labelledby={ (id) "-title " (id) "-desc" } {
                // Not `title`, which would lie over the tooltips of the marks.
                desc id={ (id) "-title" } { (title) }
                desc id={ (id) "-desc" } { (description) }
                (self.body)
            }
        }
    }
}

/// A length in pixels with at most two decimals.
fn number(value: f64) -> String {
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    match text {
        "-0" | "" => "0".to_owned(),
        text => text.to_owned(),
    }
}

/// A straight line.
fn line(class: &str, from: (f64, f64), to: (f64, f64)) -> Markup {
    html! {
        line class=(class) x1=(number(from.0)) y1=(number(from.1)) x2=(number(to.0))
            y2=(number(to.1)) {}
    }
}

/// Text whose `anchor` is `start`, `middle` or `end`.
fn label(class: &str, anchor: &str, (x, y): (f64, f64), text: &str) -> Markup {
    html! {
        text class=(class) text-anchor=(anchor) x=(number(x)) y=(number(y)) { (text) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_short() {
        for (value, text) in [(1.0, "1"), (0.126, "0.13"), (-0.001, "0"), (10.5, "10.5")] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn the_style_has_every_slot_in_every_scheme() {
        for slot in 0..SLOTS {
            assert_eq!(
                STYLE.matches(&format!("--series-{slot}:")).count(),
                2,
                "{slot}"
            );
            assert!(STYLE.contains(&format!(".series-{slot} ")), "{slot}");
        }
    }
}
