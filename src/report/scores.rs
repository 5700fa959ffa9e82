//! What gradients say of where to train, for people.

use maud::html;

use crate::run::{Scores, UnitScores};

use super::charts::{Axis, Kind, Place, Places};
use super::html::page::{Figure, Section, Table, page};
use super::text::{TextTable, none, thousands};

/// A score: its name, its heading on a page, and its value.
type Score = (&'static str, &'static str, fn(&UnitScores) -> Option<f64>);

const SCORES: [Score; 5] = [
    ("rgn", "Relative gradient norm", |u| {
        Some(u.relative_gradient)
    }),
    ("snr", "Signal-to-noise ratio of the gradient", |u| {
        Some(u.signal_to_noise)
    }),
    ("fisher", "Fisher information per value", |u| Some(u.fisher)),
    ("fisher/cost", "Fisher information per cost", |u| {
        u.fisher_per_cost
    }),
    ("gain", "Predicted fall of the loss", |u| Some(u.gain)),
];

/// Cells of a bar.
const BAR: usize = 8;

/// Blocks, then layers, a line each with all scores and a bar for each score's share of the largest. `fit`: whether to
/// fit the width of the terminal.
pub fn scores(scores: &Scores, fit: bool) -> String {
    let table = |what: &str, units: &[UnitScores]| {
        let mut table = TextTable::fitted(fit);
        let names = SCORES.iter().flat_map(|(name, ..)| [*name, ""]);
        table.header([what, "parameters"].into_iter().chain(names));
        let most = SCORES.map(|(.., of)| units.iter().filter_map(of).fold(0.0, f64::max));
        for unit in units {
            let mut cells = vec![unit.name.clone(), thousands(unit.parameters)];
            for ((.., of), most) in SCORES.iter().zip(most) {
                let value = of(unit);
                cells.push(value.map_or_else(none, number));
                cells.push(bar(value.unwrap_or(0.0), most));
            }
            table.row(cells);
        }
        table.align_right(1..2);
        table.to_string()
    };
    format!(
        "{}\n\n{}\n\nfrom the gradients of {} samples",
        table("block", &scores.blocks),
        table("layer", &scores.layers),
        thousands(scores.samples)
    )
}

/// Three significant digits.
fn number(value: f64) -> String {
    format!("{value:.2e}")
}

fn bar(value: f64, most: f64) -> String {
    let cells = match most > 0.0 && value.is_finite() {
        true => (value / most * BAR as f64).round() as usize,
        false => 0,
    };
    "█".repeat(cells.min(BAR))
}

/// The same as a page of charts; `model` is its name.
pub fn scores_page(scores: &Scores, model: &str) -> String {
    let section = |id, title: &str, units: &[UnitScores]| Section {
        id,
        title: title.to_owned(),
        body: html! { @for score in &SCORES { (figure(id, score, units)) } },
    };
    let top = html! {
        h1 { "Where to train " (model) }
        p {
            "From the gradients of " (thousands(scores.samples)) " samples, one by one, at the head as it stands \
             before training. What a score is worth for choosing is another question: see the documentation."
        }
    };
    let sections = [
        section("blocks", "Blocks", &scores.blocks),
        section("layers", "Layers", &scores.layers),
    ];
    page(&format!("Where to train {model}"), &top, &sections)
}

/// The relative gradient norm of blocks.
pub(super) fn relative_gradients(blocks: &[UnitScores]) -> maud::Markup {
    figure("promising", &SCORES[0], blocks)
}

fn figure(section: &str, (name, title, of): &Score, units: &[UnitScores]) -> maud::Markup {
    let best = units
        .iter()
        .filter_map(of)
        .fold(f64::NEG_INFINITY, f64::max);
    let place = |unit: &UnitScores| Place {
        label: unit.name.clone(),
        value: of(unit),
        note: format!("{}: {}", unit.name, of(unit).map_or_else(none, number)),
        best: of(unit) == Some(best),
    };
    let chart = Places {
        places: units.iter().map(place).collect(),
        bands: Vec::new(),
        kind: Kind::Bars,
        axis: Axis {
            title: name,
            format: |value, _| format!("{value:.0e}"),
            bounds: (0.0, f64::MAX),
        },
        title: "from input to output",
        references: Vec::new(),
        slot: 5,
    };
    let mut table = Table::new("", &["Name", "#Parameters", "#Score"]);
    for unit in units {
        table.row([
            unit.name.clone(),
            thousands(unit.parameters),
            of(unit).map_or_else(none, number),
        ]);
    }
    let id = format!("{section}-{}", name.replace('/', "-"));
    Figure {
        id: &id,
        title,
        description: &format!("Bars: {title} of {} places.", units.len()),
        caption: html! {},
        table: Some(table),
    }
    .draw(&chart.draw())
}
