//! Curves over epochs.

use maud::{Markup, html};

use super::marks::{Entry, legend, mark};
use super::{Axis, Drawing, Scale, WIDTH, label, line, number};

/// A chart of curves.
#[derive(Clone, Debug)]
pub struct Lines<'a> {
    /// The curves.
    pub series: Vec<Series>,
    /// What runs from left to right, in whole numbers.
    pub title: &'a str,
    /// The axis of the values.
    pub axis: Axis<'a>,
}

/// A curve.
#[derive(Clone, Debug)]
pub struct Series {
    /// Its name.
    pub name: String,
    /// Colour, shape and dashes, below [`SLOTS`](super::SLOTS).
    pub slot: usize,
    /// Place and value of each point; values that are not finite leave a gap.
    pub points: Vec<(usize, f64)>,
    /// The place of the point that counts.
    pub best: Option<usize>,
}

const LEFT: f64 = 70.0;
const RIGHT: f64 = WIDTH - 20.0;
const PLOT: f64 = 260.0;

impl Lines<'_> {
    /// Draws the chart.
    pub fn draw(&self) -> Drawing {
        let (legend, legend_height) = self.draw_legend();
        let top = legend_height + 8.0;
        let bottom = top + PLOT;
        let points = || self.series.iter().flat_map(|s| &s.points);
        let first = points().map(|p| p.0).min().unwrap_or(1);
        let last = points().map(|p| p.0).max().unwrap_or(1);
        let x = |place: usize| match last - first {
            0 => (LEFT + RIGHT) / 2.0,
            n => LEFT + 12.0 + (place - first) as f64 / n as f64 * (RIGHT - LEFT - 24.0),
        };
        let scale = Scale::linear(points().map(|p| p.1), self.axis.bounds, (bottom, top), 5);
        let every = (last - first).div_ceil(20).max(1);
        let body = html! {
            (legend)
            @for &tick in &scale.ticks {
                (line("grid", (LEFT, scale.at(tick)), (RIGHT, scale.at(tick))))
                (label("tick", "end", (LEFT - 8.0, scale.at(tick) + 4.0), &(self.axis.format)(tick, scale.step)))
            }
            (line("axis", (LEFT, bottom), (RIGHT, bottom)))
            @for place in (first..=last).filter(|p| every == 1 || p.is_multiple_of(every)) {
                (label("tick", "middle", (x(place), bottom + 18.0), &place.to_string()))
            }
            g transform={ "translate(14 " (number((top + bottom) / 2.0)) ") rotate(-90)" } {
                (label("axis-title", "middle", (0.0, 0.0), self.axis.title))
            }
            (label("axis-title", "middle", ((LEFT + RIGHT) / 2.0, bottom + 40.0), self.title))
            @for series in &self.series { (self.curve(series, &scale, &x)) }
        };
        Drawing {
            width: WIDTH,
            height: bottom + 48.0,
            body,
        }
    }

    fn curve(&self, series: &Series, scale: &Scale, x: &dyn Fn(usize) -> f64) -> Markup {
        let mut d = String::new();
        let mut pen_down = false;
        for &(place, value) in &series.points {
            if value.is_finite() {
                let command = if pen_down { 'L' } else { 'M' };
                d.push_str(&format!(
                    "{command}{} {}",
                    number(x(place)),
                    number(scale.at(value))
                ));
            }
            pen_down = value.is_finite();
        }
        let crowded = series.points.len() > 40;
        html! {
            path class={ "curve series-" (series.slot) } d=(d) {}
            @for &(place, value) in series.points.iter().filter(|p| p.1.is_finite()) {
                @let best = series.best == Some(place);
                (mark(
                    series.slot,
                    if best { "mark best" } else { "mark" },
                    (x(place), scale.at(value)),
                    if best { 6.0 } else if crowded { 1.5 } else { 3.0 },
                    &format!("{}, {} {place}: {}", series.name, self.title, (self.axis.format)(value, 0.0001)),
                ))
            }
        }
    }

    fn draw_legend(&self) -> (Markup, f64) {
        let entries: Vec<Entry<'_>> = self
            .series
            .iter()
            .map(|series| {
                let slot = series.slot;
                Entry {
                    sample: Box::new(move |(x, y)| {
                        html! {
                            g class={ "series-" (slot) } {
                                (line("curve", (x - 11.0, y), (x + 11.0, y)))
                            }
                            (mark(slot, "mark", (x, y), 4.0, ""))
                        }
                    }),
                    text: series.name.clone(),
                }
            })
            .collect();
        legend(&entries, LEFT, RIGHT - LEFT)
    }
}
