//! The analysis as tables of text.

use std::fmt::Write;

use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, presets};

use crate::graph::Dim;

use super::Analysis;

const RULE: LineStyle = LineStyle::none().fill('─').junction('─');

/// The analysis as text: layers, blocks, totals and candidates. `width`: columns of the terminal,
/// within which names wrap; `None` lets lines be as long as they are.
pub fn table(analysis: &Analysis, width: Option<u16>) -> String {
    let number = |n: Option<u64>| n.map_or("?".to_owned(), thousands);
    let mut layers = new_table(width);
    layers.set_header([
        "Layer",
        "Operator",
        "Output",
        "Parameters",
        "MACs",
        "Activation bytes",
        "Block",
    ]);
    for layer in &analysis.layers {
        layers.add_row([
            layer.name.clone(),
            layer.op_type.clone(),
            layer
                .output_shape
                .as_ref()
                .map_or("?".to_owned(), |d| shape(d)),
            thousands(layer.parameters as u64),
            number(layer.macs),
            number(layer.activation_bytes),
            analysis.block_name(layer).to_owned(),
        ]);
    }
    align(&mut layers, 3..6);
    let mut blocks = new_table(width);
    blocks.set_header(["Block", "Weighted layers", "Parameters", "Share"]);
    for block in &analysis.blocks {
        blocks.add_row([
            block.name.clone(),
            analysis.layer_names(block).join(", "),
            thousands(block.parameters as u64),
            format!("{:.1} %", 100.0 * block.share),
        ]);
    }
    align(&mut blocks, 2..4);
    format!(
        "{}\n\n{}\n\n{}",
        trimmed(&layers),
        trimmed(&blocks),
        summary(analysis)
    )
}

fn summary(analysis: &Analysis) -> String {
    let number = |n: Option<u64>| n.map_or("not known".to_owned(), thousands);
    let totals = &analysis.totals;
    let delimiters: Vec<String> = analysis.delimiters.iter().map(|d| d.to_string()).collect();
    let features = match &analysis.backbone {
        Ok(b) => {
            let size = |s: Option<usize>| s.map_or("?".to_owned(), |s| s.to_string());
            format!(
                "{}, {} channels of {} x {}",
                b.features,
                b.channels,
                size(b.height),
                size(b.width)
            )
        }
        Err(_) => "not found".to_owned(),
    };
    let c = &analysis.candidates;
    let rows = [
        ("Blocks end at", delimiters.join(", ")),
        ("Last feature map", features),
        ("Weighted layers", thousands(totals.weighted_layers as u64)),
        ("Parameters", thousands(totals.parameters as u64)),
        ("Running statistics", thousands(totals.buffers as u64)),
        ("MACs per image", number(totals.macs)),
        ("Activation bytes", number(totals.activation_bytes)),
        (
            "Candidates to tune",
            format!(
                "head {}, full {}, layers {}, top3 {}, top5 {}, blocks {}, windows {}, random3 {}",
                c.head, c.full, c.layers, c.top3, c.top5, c.blocks, c.windows, c.random3
            ),
        ),
    ];
    let mut text = String::new();
    for (label, value) in rows {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{label:<20}{value}");
    }
    text
}

fn new_table(width: Option<u16>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING.header_separator(RULE));
    match width {
        Some(width) => table
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(width),
        None => table.set_content_arrangement(ContentArrangement::Disabled),
    };
    table
}

/// The table without the left padding and trailing blanks.
fn trimmed(table: &Table) -> String {
    let text = table.to_string();
    let lines = text
        .lines()
        .map(|l| l.strip_prefix(' ').unwrap_or(l).trim_end());
    lines.collect::<Vec<_>>().join("\n")
}

fn align(table: &mut Table, columns: std::ops::Range<usize>) {
    for i in columns {
        if let Some(column) = table.column_mut(i) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

/// Dimensions joined by `x`.
pub(super) fn shape(dims: &[Dim]) -> String {
    let dims: Vec<String> = dims
        .iter()
        .map(|d| match d {
            Dim::Known(size) => size.to_string(),
            Dim::Symbolic(name) => name.clone(),
        })
        .collect();
    dims.join("x")
}

/// A number with commas between its thousands.
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
