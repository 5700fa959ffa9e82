//! Which tuned filters or blocks winners take, for which images.

use maud::{Markup, html};

use crate::report::charts::{Axis, Dot, DotKind, Row, Rows};
use crate::report::tables::kept;
use crate::report::text::{none, percent};
use crate::run::{Gated, Gates, LayerGates, SampleGates, StrategyResult};

use super::facts::{Facts, share, slot};
use super::page::{Figure, Section, Table};

pub fn section(facts: &Facts) -> Option<Section> {
    let gated = facts.winners().filter_map(|r| Some((r, r.gates.as_ref()?)));
    let gated: Vec<(&StrategyResult, &Gates)> = gated.collect();
    if gated.is_empty() {
        return None;
    }
    Some(Section {
        id: "gates",
        title: "What is taken for which image".to_owned(),
        body: html! {
            @for (result, gates) in gated { (winner(facts, result, gates)) }
        },
    })
}

fn winner(facts: &Facts, result: &StrategyResult, gates: &Gates) -> Markup {
    let is_filters = gates.of == Gated::Filters;
    let all = if is_filters { "filters" } else { "blocks" };
    let row = |layer: &LayerGates| Row {
        label: layer.layer.clone(),
        detail: match gates.of {
            Gated::Filters => format!("{} filters", layer.gates),
            Gated::Blocks => String::new(),
        },
        slot: slot(result.name),
        dots: vec![Dot {
            kind: DotKind::Filled,
            value: layer.mean,
            note: match gates.of {
                Gated::Filters => format!(
                    "{}: {} of the filters are the tuned ones",
                    layer.layer,
                    percent(layer.mean)
                ),
                Gated::Blocks => format!(
                    "{}: the tuned one for {} of {}",
                    layer.layer,
                    percent(layer.mean),
                    facts.samples()
                ),
            },
        }],
        interval: is_filters.then(|| {
            let (low, high) = (layer.mean - layer.spread, layer.mean + layer.spread);
            (low.max(0.0), high.min(1.0))
        }),
        value: percent(layer.mean),
    };
    let of = facts.samples();
    let (axis, legend, rows, dots) = match gates.of {
        Gated::Filters => (
            "share of tuned filters",
            format!("mean over {of}, with their standard deviation"),
            "convolutions",
            "the share of their filters that are the tuned ones, in the mean over samples, with their standard deviation",
        ),
        Gated::Blocks => (
            "share of samples that take the tuned block",
            format!("share of {of}"),
            "blocks",
            "the share of samples that take the tuned one",
        ),
    };
    let chart = Rows {
        rows: gates.layers.iter().map(row).collect(),
        axis: Axis {
            title: axis,
            format: share,
            bounds: (0.0, 1.0),
        },
        legend: vec![(Some(DotKind::Filled), legend)],
    };
    let classes = &facts.files.run.data.classes;
    let names: Vec<String> = classes.iter().map(|c| format!("#{c}")).collect();
    let mut columns = match gates.of {
        Gated::Filters => vec![
            "Layer", "#Filters", "#Tuned", "#Spread", "#Always", "#Never",
        ],
        Gated::Blocks => vec!["Block", "#Tuned"],
    };
    columns.extend(names.iter().map(String::as_str));
    let mut table = Table::new("", &columns);
    for layer in &gates.layers {
        let of_class = layer.by_class.iter().map(|s| s.map_or_else(none, percent));
        let cells = match gates.of {
            Gated::Filters => vec![
                layer.layer.clone(),
                layer.gates.to_string(),
                percent(layer.mean),
                percent(layer.spread),
                layer.always.to_string(),
                layer.never.to_string(),
            ],
            Gated::Blocks => vec![layer.layer.clone(), percent(layer.mean)],
        };
        table.row(cells.into_iter().chain(of_class));
    }
    let listed = |samples: &[SampleGates]| {
        let one = |s: &SampleGates| format!("{} ({})", s.name, percent(s.share));
        samples.iter().map(one).collect::<Vec<_>>().join(", ")
    };
    Figure {
        id: &format!("gates-{}", result.name),
        title: &format!("Tuned {all} that {} takes", result.name),
        description: &format!("Rows: the gated {rows}, from input to output. Dots: {dots}."),
        caption: html! {
            "Of all " (all) " " (percent(gates.share())) " are the tuned ones, on " (gates.samples) " " (of)
            @if gates.differ() {
                ". The most take " (listed(&gates.most)) "; the fewest " (listed(&gates.fewest)) "."
            } @else {
                ", the same share for each."
            }
            @if let Some(left) = gates.left {
                " The others being the same for all of them, " (kept(gates, left)) "."
            }
        },
        table: Some(table),
    }
    .draw(&chart.draw())
}
