//! The analysis as a page.

use maud::{Markup, html};

use crate::analysis::{Analysis, Block, Layer};
use crate::strategy::{Reach, reach};

use super::analysis::shape;
use super::charts::{Axis, Grid, GridRow, Kind, Place, Places};
use super::html::page::{Figure, Section, Table, page};
use super::text::{none, thousands};

/// The analysis as one page that loads nothing: parameters, operations and activations along the depth, what the strategies would
/// train, and the layers. `model`: its name.
pub fn analysis_page(analysis: &Analysis, model: &str) -> String {
    let mut sections = vec![
        Section {
            id: "depth",
            title: "Along the depth".to_owned(),
            body: depth(analysis),
        },
        Section {
            id: "strategies",
            title: "What strategies would train".to_owned(),
            body: strategies(analysis),
        },
    ];
    for (id, title, table) in [
        ("blocks", "Blocks", blocks(analysis)),
        ("layers", "Layers", layers(analysis)),
    ] {
        sections.push(Section {
            id,
            title: title.to_owned(),
            body: table.draw(),
        });
    }
    page(
        &format!("{model} – ftsurgery analyze"),
        &top(analysis, model),
        &sections,
    )
}

fn top(analysis: &Analysis, model: &str) -> Markup {
    let totals = &analysis.totals;
    let known = |value: Option<u64>| {
        value.map_or_else(|| "an unknown number of".to_owned(), |v| short(v as f64))
    };
    let delimiters: Vec<String> = analysis
        .delimiters
        .iter()
        .map(ToString::to_string)
        .collect();
    html! {
        h1 { (model) }
        p class="subtitle" { "Blocks end at: " (delimiters.join(", ")) }
        div class="verdict" {
            p class="lead" {
                (thousands(analysis.blocks.len())) " blocks, " (thousands(totals.weighted_layers)) " weighted layers, "
                (thousands(totals.parameters)) " parameters."
            }
            p {
                "An image takes " (known(totals.macs)) " multiply-accumulate operations and "
                (known(totals.activation_bytes)) " bytes of activations."
            }
            @match &analysis.backbone {
                Ok(backbone) => p { "The last feature map is " (backbone.features) ", " (thousands(backbone.channels)) " channels." }
                Err(why) => p { "No backbone: " (why) }
            }
        }
        @for warning in &analysis.warnings { p class="alert" { (warning) } }
    }
}

/// A number with three digits and a letter for its thousands.
fn short(value: f64) -> String {
    let steps = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    match steps.into_iter().find(|(size, _)| value >= *size) {
        Some((size, letter)) => {
            let scaled = value / size;
            let digits = if scaled < 10.0 {
                2
            } else {
                usize::from(scaled < 100.0)
            };
            let text = format!("{scaled:.digits$}");
            let text = match text.contains('.') {
                true => text.trim_end_matches('0').trim_end_matches('.'),
                false => &text,
            };
            format!("{text} {letter}")
        }
        None => format!("{value:.0}"),
    }
}

fn of_block(analysis: &Analysis, block: usize, value: fn(&Layer) -> Option<u64>) -> Option<u64> {
    let mut layers = analysis.layers.iter().filter(|layer| layer.block == block);
    layers.try_fold(0u64, |sum, layer| sum.checked_add(value(layer)?))
}

/// A quantity of blocks: its name in the page's address, its title, what its axis says, and what it is of a layer.
type Quantity = (
    &'static str,
    &'static str,
    &'static str,
    fn(&Layer) -> Option<u64>,
);

const QUANTITIES: [Quantity; 3] = [
    (
        "parameters",
        "Parameters of each block",
        "parameters",
        |layer| Some(layer.parameters as u64),
    ),
    (
        "macs",
        "Operations of each block, for one image",
        "MACs",
        |layer| layer.macs,
    ),
    (
        "activations",
        "Activations of each block, for one image",
        "bytes",
        |layer| layer.activation_bytes,
    ),
];

fn depth(analysis: &Analysis) -> Markup {
    html! { @for quantity in &QUANTITIES { (figure(analysis, quantity)) } }
}

fn figure(analysis: &Analysis, (id, title, axis, value): &Quantity) -> Markup {
    let values: Vec<Option<u64>> = (0..analysis.blocks.len())
        .map(|block| of_block(analysis, block, *value))
        .collect();
    let most = values.iter().flatten().max().copied();
    let places = analysis
        .blocks
        .iter()
        .zip(&values)
        .map(|(block, value)| Place {
            label: block.name.clone(),
            value: value.map(|v| v as f64),
            note: match value {
                Some(v) => format!("{}: {} {axis}", block.name, thousands(*v as usize)),
                None => format!("{}: not known", block.name),
            },
            best: false,
        });
    let chart = Places {
        places: places.collect(),
        bands: Vec::new(),
        kind: Kind::Bars,
        axis: Axis {
            title: axis,
            format: |value, _| short(value),
            bounds: (0.0, f64::MAX),
        },
        title: "blocks, from input to output",
        references: Vec::new(),
        slot: 5,
    };
    let known = values.iter().flatten();
    let caption = match most {
        Some(most) => format!(
            "{} in all, {} at most in one block.",
            short(known.sum::<u64>() as f64),
            short(most as f64)
        ),
        None => "Not known: for an open image size, give --image-size.".to_owned(),
    };
    Figure {
        id,
        title,
        description: &format!(
            "Bars: {axis} of {} blocks, from input to output.",
            analysis.blocks.len()
        ),
        caption: html! { (caption) },
        table: None,
    }
    .draw(&chart.draw())
}

fn strategies(analysis: &Analysis) -> Markup {
    let backbone: Vec<&Block> = analysis
        .blocks
        .iter()
        .filter(|block| !block.is_classifier)
        .collect();
    let reaches = reach(analysis);
    if backbone.is_empty() || reaches.is_empty() {
        return html! { p { "There is nothing to choose from." } };
    }
    let row = |reach: &Reach| GridRow {
        label: reach.name.to_string(),
        marks: reach
            .blocks
            .iter()
            .zip(&backbone)
            .map(|(&count, block)| {
                let share = count as f64 / reach.candidates as f64;
                let note = match reach.candidates {
                    1 => format!("{} trains {}", reach.name, block.name),
                    all => format!(
                        "{}: {count} of {all} candidates train {}",
                        reach.name, block.name
                    ),
                };
                (count > 0).then_some((share, note))
            })
            .collect(),
        value: elements(reach),
    };
    let chart = Grid {
        columns: backbone
            .iter()
            .map(|block| block.name.trim_start_matches("block").to_owned())
            .collect(),
        title: "blocks, from input to output",
        rows: reaches.iter().map(row).collect(),
        legend: [
            "trained",
            "trained by this share of the candidates, of which the best is taken",
        ],
    };
    let mut table = Table::new(
        "",
        &[
            "Strategy",
            "What it trains",
            "#Candidates",
            "#Parameters of the backbone",
        ],
    );
    for reach in &reaches {
        table.row([
            reach.name.to_string(),
            reach.name.rule().trains(reach.name.number().unwrap_or(0)),
            thousands(reach.candidates),
            elements(reach),
        ]);
    }
    Figure {
        id: "reach",
        title: "Which blocks each strategy trains",
        description: "A row for each strategy, a column for each block before the classifier.",
        caption: html! {
            "Every strategy trains a new head, which takes the classifier's place. At the right: parameters of the backbone that \
             a candidate trains."
        },
        table: Some(table),
    }
    .draw(&chart.draw())
}

fn elements(reach: &Reach) -> String {
    match reach.elements {
        (0, 0) => "head alone".to_owned(),
        (least, most) if least == most => short(most as f64),
        (least, most) => format!("{} to {}", short(least as f64), short(most as f64)),
    }
}

fn blocks(analysis: &Analysis) -> Table {
    let columns = [
        "Block",
        "Weighted layers",
        "#Parameters",
        "#Share",
        "#MACs",
        "#Activation bytes",
    ];
    let mut table = Table::new("", &columns);
    let number = |value: Option<u64>| value.map_or_else(none, |v| thousands(v as usize));
    for (place, block) in analysis.blocks.iter().enumerate() {
        table.row([
            block.name.clone(),
            analysis.layer_names(block).join(", "),
            thousands(block.parameters),
            format!("{:.1} %", 100.0 * block.share),
            number(of_block(analysis, place, |layer| layer.macs)),
            number(of_block(analysis, place, |layer| layer.activation_bytes)),
        ]);
    }
    table
}

fn layers(analysis: &Analysis) -> Table {
    let columns = [
        "Layer",
        "Operator",
        "Output",
        "#Parameters",
        "#MACs",
        "#Activation bytes",
        "Block",
    ];
    let mut table = Table::new("", &columns);
    let number = |value: Option<u64>| value.map_or_else(none, |v| thousands(v as usize));
    for layer in &analysis.layers {
        table.row([
            layer.name.clone(),
            layer.op_type.clone(),
            layer.output_shape.as_deref().map_or_else(none, shape),
            thousands(layer.parameters),
            number(layer.macs),
            number(layer.activation_bytes),
            analysis.block_name(layer).to_owned(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (value, text) in [
            (0.0, "0"),
            (999.0, "999"),
            (1234.0, "1.23 k"),
            (12_000.0, "12 k"),
            (3.5e6, "3.5 M"),
            (3e11, "300 G"),
        ] {
            assert_eq!(short(value), text);
        }
    }
}
