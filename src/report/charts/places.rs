//! Values of places in a row: layers, blocks or windows from input to output.

use maud::{Markup, html};

use super::marks::{FONT, mark};
use super::{Axis, Drawing, Scale, WIDTH, ellipsised, label, line, number, text_width};

/// A chart of one value per place.
#[derive(Clone, Debug)]
pub struct Places<'a> {
    /// The places, in order.
    pub places: Vec<Place>,
    /// Groups of neighbouring places, marked behind them.
    pub bands: Vec<Band>,
    /// How values are drawn.
    pub kind: Kind,
    /// The axis of the values.
    pub axis: Axis<'a>,
    /// What the places are.
    pub title: &'a str,
    /// Values to compare with, as lines across.
    pub references: Vec<Reference>,
    /// Colour of the values, below [`SLOTS`](super::SLOTS).
    pub slot: usize,
}

/// A place.
#[derive(Clone, Debug)]
pub struct Place {
    /// What stands at the axis.
    pub label: String,
    /// Its value; `None` leaves a gap.
    pub value: Option<f64>,
    /// Its whole name and value.
    pub note: String,
    /// Whether it is the best.
    pub best: bool,
}

/// A group of neighbouring places.
#[derive(Clone, Debug)]
pub struct Band {
    /// Its name.
    pub name: String,
    /// The places in it.
    pub places: std::ops::Range<usize>,
}

/// How the values of places are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// As bars from 0.
    Bars,
    /// As bars on a logarithmic scale.
    LogarithmicBars,
    /// As dots, joined by a line, on a scale that need not begin at 0.
    Dots,
}

/// A value to compare with.
#[derive(Clone, Debug)]
pub struct Reference {
    /// What it is.
    pub name: String,
    /// The value.
    pub value: f64,
    /// Colour, below [`SLOTS`](super::SLOTS).
    pub slot: usize,
}

const LEFT: f64 = 70.0;
const PLOT: f64 = 220.0;
const LINE: f64 = 14.0;
/// Widest label below the axis.
const LABEL: f64 = 110.0;
/// Widest label of a reference.
const REFERENCE: f64 = 150.0;

impl Places<'_> {
    /// Draws the chart.
    pub fn draw(&self) -> Drawing {
        let top = if self.bands.is_empty() { 12.0 } else { 26.0 };
        let bottom = top + PLOT;
        let widest = self.references.iter().map(|r| text_width(&r.name, FONT));
        let right = WIDTH - widest.fold(0.0, f64::max).min(REFERENCE) - 20.0;
        let step = (right - LEFT) / self.places.len().max(1) as f64;
        let center = |place: usize| LEFT + (place as f64 + 0.5) * step;
        let scale = self.scale((bottom, top));
        let labels = Labels::of(&self.places, step);
        let height = bottom + labels.height + 26.0;
        let body = html! {
            @for (i, band) in self.bands.iter().enumerate() {
                (self.band(band, i, step, (top, bottom)))
            }
            @for &tick in &scale.ticks {
                (line("grid", (LEFT, scale.at(tick)), (right, scale.at(tick))))
                (label("tick", "end", (LEFT - 8.0, scale.at(tick) + 4.0), &(self.axis.format)(tick, scale.step)))
            }
            (line("axis", (LEFT, bottom), (right, bottom)))
            g transform={ "translate(14 " (number((top + bottom) / 2.0)) ") rotate(-90)" } {
                (label("axis-title", "middle", (0.0, 0.0), self.axis.title))
            }
            (label("axis-title", "middle", ((LEFT + right) / 2.0, height - 6.0), self.title))
            (self.reference_lines(&scale, right))
            @if self.kind == Kind::Dots { (self.path(&scale, center)) }
            @for (i, place) in self.places.iter().enumerate() {
                @if let Some(value) = place.value {
                    (self.mark(place, (center(i), scale.at(value)), step, bottom))
                }
            }
            @for (i, place) in self.places.iter().enumerate().filter(|(i, _)| labels.shows(*i)) {
                (labels.draw(&place.label, (center(i), bottom)))
            }
        };
        Drawing {
            width: WIDTH,
            height,
            body,
        }
    }

    fn scale(&self, pixels: (f64, f64)) -> Scale {
        let values = self.places.iter().filter_map(|p| p.value);
        match self.kind {
            Kind::LogarithmicBars => Scale::logarithmic(values, pixels),
            Kind::Bars => Scale::linear(values.chain([0.0]), (0.0, self.axis.bounds.1), pixels, 5),
            Kind::Dots => {
                let references = self.references.iter().map(|r| r.value);
                Scale::linear(values.chain(references), self.axis.bounds, pixels, 5)
            }
        }
    }

    fn band(&self, band: &Band, index: usize, step: f64, (top, bottom): (f64, f64)) -> Markup {
        let left = LEFT + band.places.start as f64 * step;
        let width = band.places.len() as f64 * step;
        let name = ellipsised(&band.name, FONT, width - 4.0);
        html! {
            @if index.is_multiple_of(2) {
                rect class="band" x=(number(left)) y=(number(top)) width=(number(width))
                    height=(number(bottom - top)) {}
            }
            // A name of which too little is left says nothing.
            @if name == band.name || width > 48.0 {
                g {
                    title { (band.name) }
                    (label("band-name", "middle", (left + width / 2.0, top - 8.0), &name))
                }
            }
        }
    }

    fn mark(&self, place: &Place, (x, y): (f64, f64), step: f64, bottom: f64) -> Markup {
        let class = if place.best { "mark best" } else { "mark" };
        if self.kind == Kind::Dots {
            let size = (step * 0.3).clamp(2.5, 5.0);
            let size = if place.best { size + 1.5 } else { size };
            return mark(self.slot, class, (x, y), size, &place.note);
        }
        let width = (step * 0.8).min(56.0);
        html! {
            rect class={ (class) " bar series-" (self.slot) } x=(number(x - width / 2.0))
                y=(number(y.min(bottom - 1.0))) width=(number(width))
                height=(number((bottom - y).max(1.0))) { title { (place.note) } }
        }
    }

    /// A line through the values, broken where one is missing.
    fn path(&self, scale: &Scale, center: impl Fn(usize) -> f64) -> Markup {
        let mut d = String::new();
        let mut pen_down = false;
        for (i, place) in self.places.iter().enumerate() {
            if let Some(value) = place.value {
                let command = if pen_down { 'L' } else { 'M' };
                d.push_str(&format!(
                    "{command}{} {}",
                    number(center(i)),
                    number(scale.at(value))
                ));
            }
            pen_down = place.value.is_some();
        }
        html! { path class={ "path series-" (self.slot) } d=(d) {} }
    }

    fn reference_lines(&self, scale: &Scale, right: f64) -> Markup {
        let mut order: Vec<&Reference> = self.references.iter().collect();
        order.sort_by(|a, b| b.value.total_cmp(&a.value));
        let mut free = f64::NEG_INFINITY;
        let mut drawn = Vec::new();
        for reference in order {
            let y = scale.at(reference.value);
            let text_y = y.max(free);
            free = text_y + LINE + 2.0;
            let name = ellipsised(&reference.name, FONT, REFERENCE);
            drawn.push(html! {
                g class={ "series-" (reference.slot) } {
                    title { (reference.name) }
                    (line("reference-line", (LEFT, y), (right, y)))
                    (line("leader", (right, y), (right + 8.0, text_y)))
                    (label("reference", "start", (right + 11.0, text_y + 4.0), &name))
                }
            });
        }
        html! { @for reference in drawn { (reference) } }
    }
}

/// How labels stand below the axis.
struct Labels {
    turned: bool,
    /// Only every so manieth is shown.
    every: usize,
    height: f64,
}

impl Labels {
    fn of(places: &[Place], step: f64) -> Self {
        let widest = places
            .iter()
            .map(|p| text_width(&p.label, FONT))
            .fold(0.0, f64::max)
            .min(LABEL);
        let turned_every = ((LINE + 4.0) / step).ceil().max(1.0) as usize;
        let numbers = |p: &Place| !p.label.contains(char::is_alphabetic);
        // Numbers, and names that only count, lose nothing when some are left out.
        let thin = places.iter().all(numbers) || turned_every > 1 && only_count(places);
        if widest + 8.0 <= step || thin {
            let every = ((widest + 8.0) / step).ceil().max(1.0) as usize;
            return Labels {
                turned: false,
                every: round_up(every),
                height: 22.0,
            };
        }
        Labels {
            turned: true,
            every: turned_every,
            height: 16.0 + widest * 0.75,
        }
    }

    fn shows(&self, place: usize) -> bool {
        // Places count from 1: of every fifth, 1, 5, 10 and 15 are shown. Closer than that, the first
        // two would touch.
        match self.every {
            every @ 0..5 => place.is_multiple_of(every),
            every => place == 0 || (place + 1).is_multiple_of(every),
        }
    }

    fn draw(&self, text: &str, (x, bottom): (f64, f64)) -> Markup {
        let short = ellipsised(text, FONT, LABEL);
        html! {
            g {
                title { (text) }
                @if self.turned {
                    g transform={ "translate(" (number(x + 4.0)) " " (number(bottom + 14.0)) ") rotate(-45)" } {
                        (label("tick", "end", (0.0, 0.0), &short))
                    }
                } @else {
                    (label("tick", "middle", (x, bottom + 16.0), &short))
                }
            }
        }
    }
}

/// Whether labels differ in their numbers alone.
fn only_count(places: &[Place]) -> bool {
    let word = |p: &Place| p.label.replace(|c: char| c.is_ascii_digit(), "");
    let first = places.first().map(word);
    places.iter().all(|p| Some(word(p)) == first)
}

/// The next of 1, 2, 5, 10, 20, … that is not below `n`.
fn round_up(n: usize) -> usize {
    let mut power = 1;
    loop {
        for factor in [1, 2, 5] {
            if factor * power >= n {
                return factor * power;
            }
        }
        power *= 10;
    }
}
