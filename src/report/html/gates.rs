//! Which tuned filters winners take, for which images.

use maud::{Markup, html};

use crate::report::charts::{Axis, Dot, DotKind, Row, Rows};
use crate::report::tables::kept;
use crate::report::text::{none, percent};
use crate::run::{Gates, LayerGates, SampleGates, StrategyResult};

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
        title: "Which filters are taken".to_owned(),
        body: html! {
            @for (result, gates) in gated { (winner(facts, result, gates)) }
        },
    })
}

fn winner(facts: &Facts, result: &StrategyResult, gates: &Gates) -> Markup {
    let row = |layer: &LayerGates| Row {
        label: layer.layer.clone(),
        detail: format!("{} filters", layer.filters),
        slot: slot(result.name),
        dots: vec![Dot {
            kind: DotKind::Filled,
            value: layer.mean,
            note: format!(
                "{}: {} of the filters are the tuned ones",
                layer.layer,
                percent(layer.mean)
            ),
        }],
        interval: Some((
            (layer.mean - layer.spread).max(0.0),
            (layer.mean + layer.spread).min(1.0),
        )),
        value: percent(layer.mean),
    };
    let chart = Rows {
        rows: gates.layers.iter().map(row).collect(),
        axis: Axis {
            title: "share of tuned filters",
            format: share,
            bounds: (0.0, 1.0),
        },
        legend: vec![(
            Some(DotKind::Filled),
            format!(
                "mean over {}, with their standard deviation",
                facts.samples()
            ),
        )],
    };
    let classes = &facts.files.run.data.classes;
    let names: Vec<String> = classes.iter().map(|c| format!("#{c}")).collect();
    let mut columns = vec![
        "Layer", "#Filters", "#Tuned", "#Spread", "#Always", "#Never",
    ];
    columns.extend(names.iter().map(String::as_str));
    let mut table = Table::new("", &columns);
    for layer in &gates.layers {
        let of_class = layer.by_class.iter().map(|s| s.map_or_else(none, percent));
        let cells = [
            layer.layer.clone(),
            layer.filters.to_string(),
            percent(layer.mean),
            percent(layer.spread),
            layer.always.to_string(),
            layer.never.to_string(),
        ];
        table.row(cells.into_iter().chain(of_class));
    }
    let listed = |samples: &[SampleGates]| {
        let one = |s: &SampleGates| format!("{} ({})", s.name, percent(s.share));
        samples.iter().map(one).collect::<Vec<_>>().join(", ")
    };
    Figure {
        id: &format!("gates-{}", result.name),
        title: &format!("Tuned filters that {} takes", result.name),
        description: "Rows: the gated convolutions, from input to output. Dots: the share of their filters that are the \
                      tuned ones, in the mean over samples, with their standard deviation.",
        caption: html! {
            "Of all filters " (percent(gates.share())) " are the tuned ones, on " (gates.samples) " " (facts.samples())
            ". The most take " (listed(&gates.most)) "; the fewest " (listed(&gates.fewest)) "."
            @if let Some(left) = gates.left {
                " The others being the same for all of them, " (kept(gates, left)) "."
            }
        },
        table: Some(table),
    }
    .draw(&chart.draw())
}
