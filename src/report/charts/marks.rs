//! Marks of series: a colour and a shape each, so that they can be told apart without colours.

use maud::{Markup, html};

use super::{label, number, text::text_width};

/// Font size of labels in pixels.
pub const FONT: f64 = 12.0;

/// The mark of series `slot` around a point; `class` is added to the series' own.
pub fn mark(slot: usize, class: &str, (x, y): (f64, f64), size: f64, title: &str) -> Markup {
    let p = |dx: f64, dy: f64| format!("{} {}", number(x + dx * size), number(y + dy * size));
    let path = |points: &[(f64, f64)]| {
        let points: Vec<String> = points.iter().map(|&(dx, dy)| p(dx, dy)).collect();
        format!("M{}Z", points.join("L"))
    };
    let d = match slot % 6 {
        0 => path(&[(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)]),
        1 => path(&[(0.0, -1.25), (1.25, 0.0), (0.0, 1.25), (-1.25, 0.0)]),
        2 => path(&[(0.0, -1.2), (1.15, 0.8), (-1.15, 0.8)]),
        3 => path(&[(0.0, 1.2), (1.15, -0.8), (-1.15, -0.8)]),
        4 => path(&[
            (-1.1, -0.7),
            (0.0, -1.2),
            (1.1, -0.7),
            (0.8, 0.9),
            (-0.8, 0.9),
        ]),
        _ => return circle(&format!("{class} series-{slot}"), (x, y), size, title),
    };
    html! { path class={ (class) " series-" (slot) } d=(d) { title { (title) } } }
}

/// A mark that is a circle.
pub fn circle(class: &str, (x, y): (f64, f64), size: f64, title: &str) -> Markup {
    html! {
        circle class=(class) cx=(number(x)) cy=(number(y)) r=(number(size)) { title { (title) } }
    }
}

/// An entry of a legend: what is drawn around a point, and what it means.
pub struct Entry<'a> {
    /// Draws the sample around a point.
    pub sample: Box<dyn Fn((f64, f64)) -> Markup + 'a>,
    /// What it means.
    pub text: String,
}

/// A legend that starts at `left` and wraps within `width`, and its height.
pub fn legend(entries: &[Entry<'_>], left: f64, width: f64) -> (Markup, f64) {
    const LINE: f64 = 20.0;
    let (mut x, mut y) = (left, 10.0);
    let mut drawn = Vec::with_capacity(entries.len());
    for entry in entries {
        let room = 26.0 + text_width(&entry.text, FONT) + 16.0;
        if x > left && x + room > left + width {
            (x, y) = (left, y + LINE);
        }
        drawn.push(html! {
            ((entry.sample)((x + 10.0, y)))
            (label("legend", "start", (x + 26.0, y + 4.0), &entry.text))
        });
        x += room;
    }
    let height = if entries.is_empty() { 0.0 } else { y + LINE };
    (html! { @for entry in drawn { (entry) } }, height)
}
