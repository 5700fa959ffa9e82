//! The analysis as tables of text.

use std::fmt::Write;

use crate::analysis::{Analysis, Block};
use crate::graph::Dim;
use crate::strategy::CandidateCounts;

use super::plain_line;
use super::text::{TextTable, thousands};

/// The analysis as text: layers, blocks, trainable tensors, totals and candidates. `width`: columns of the terminal,
/// within which names wrap; `None` lets lines be as long as they are.
pub fn analysis(analysis: &Analysis, width: Option<u16>) -> String {
    let number = |n: Option<u64>| n.map_or("?".to_owned(), |n| thousands(n as usize));
    let mut layers = TextTable::new(width);
    layers.header([
        "Layer",
        "Operator",
        "Output",
        "Parameters",
        "MACs",
        "Activation bytes",
        "Block",
    ]);
    for layer in &analysis.layers {
        layers.row([
            layer.name.clone(),
            layer.op_type.clone(),
            layer
                .output_shape
                .as_ref()
                .map_or("?".to_owned(), |d| shape(d)),
            thousands(layer.parameters),
            number(layer.macs),
            number(layer.activation_bytes),
            analysis.block_name(layer).to_owned(),
        ]);
    }
    layers.align_right(3..6);
    let mut blocks = TextTable::new(width);
    blocks.header(["Block", "Weighted layers", "Parameters", "Share"]);
    for block in &analysis.blocks {
        blocks.row([
            block.name.clone(),
            layer_names(analysis, block),
            thousands(block.parameters),
            format!("{:.1} %", 100.0 * block.share),
        ]);
    }
    blocks.align_right(2..4);
    let mut tensors = TextTable::new(width);
    tensors.header(["Tensor", "Elements", "Of layer", "Block"]);
    for block in &analysis.blocks {
        for (name, layer, elements) in analysis.tensors(block) {
            tensors.row([
                name.to_owned(),
                thousands(elements),
                layer.map_or("-".to_owned(), |l| l.name.clone()),
                block.name.clone(),
            ]);
        }
    }
    tensors.align_right(1..2);
    format!(
        "{}\n\n{}\n\n{}\n\n{}",
        layers.trimmed(),
        blocks.trimmed(),
        tensors.trimmed(),
        summary(analysis)
    )
}

fn summary(analysis: &Analysis) -> String {
    let number = |n: Option<u64>| n.map_or("not known".to_owned(), |n| thousands(n as usize));
    let totals = &analysis.totals;
    let delimiters: Vec<String> = analysis.delimiters.iter().map(|d| d.to_string()).collect();
    let features = match &analysis.backbone {
        Ok(b) => {
            let size = |s: Option<usize>| s.map_or("?".to_owned(), |s| s.to_string());
            format!(
                "{}, {} channels of {} x {}",
                plain_line(&b.features),
                b.channels,
                size(b.height),
                size(b.width)
            )
        }
        Err(_) => "not found".to_owned(),
    };
    let candidates: Vec<String> = CandidateCounts::of(analysis)
        .iter()
        .map(|(strategy, count)| format!("{strategy} {count}"))
        .collect();
    let rows = [
        ("Blocks end at", delimiters.join(", ")),
        ("Last feature map", features),
        ("Weighted layers", thousands(totals.weighted_layers)),
        ("Parameters", thousands(totals.parameters)),
        ("Running statistics", thousands(totals.buffers)),
        ("MACs per image", number(totals.macs)),
        ("Activation bytes", number(totals.activation_bytes)),
        ("Candidates to tune", candidates.join(", ")),
    ];
    let mut text = String::new();
    for (label, value) in rows {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{label:<20}{value}");
    }
    text
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

fn layer_names(analysis: &Analysis, block: &Block) -> String {
    analysis.layer_names(block).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::AnalyzeOptions;
    use crate::analysis::nets::{self, Net};
    use crate::graph::Graph;

    fn analyse(graph: &Graph) -> Analysis {
        Analysis::of_graph(graph, &[], &AnalyzeOptions::default()).unwrap()
    }

    #[test]
    fn the_table_aligns_numbers_and_names_the_delimiters() {
        let mut n = Net::new(["N", "3", "8", "8"]);
        let x = n.conv("conv", "x", [64, 3, 3, 3]);
        let x = n.op("gap", "GlobalAveragePool", &[&x], &[]);
        let x = n.op("flat", "Flatten", &[&x], &[]);
        let x = n.gemm("fc", &x, 64, 5);
        let text = analysis(&analyse(&n.output(&x)), None);
        let expected = "\
Layer   Operator            Output     Parameters      MACs   Activation bytes   Block
─────────────────────────────────────────────────────────────────────────────────────────────
conv    Conv                Nx64x8x8        1,792   110,592             16,384   block1
gap     GlobalAveragePool   Nx64x1x1            0         0                256   classifier
flat    Flatten             Nx64                0         0                256   classifier
fc      Gemm                Nx5               325       320                 20   classifier

Block        Weighted layers   Parameters    Share
────────────────────────────────────────────────────
block1       conv                   1,792   84.6 %
classifier   fc                       325   15.4 %

Tensor   Elements   Of layer   Block
───────────────────────────────────────────
conv.w      1,728   conv       block1
conv.b         64   conv       block1
fc.w          320   fc         classifier
fc.b            5   fc         classifier

Blocks end at       activation
Last feature map    conv, 64 channels of 8 x 8
Weighted layers     2
Parameters          2,117
Running statistics  0
MACs per image      110,912
Activation bytes    16,916
Candidates to tune  head 1, full 1, layers 1, top3 1, top5 1, blocks 1, windows 1, random3 1
";
        assert_eq!(text, expected);
    }

    #[test]
    fn the_table_keeps_to_the_width_of_the_terminal() {
        let text = analysis(&analyse(&nets::resnet_v2()), Some(70));
        let (tables, _) = text.split_once("Blocks end").unwrap();
        assert!(tables.lines().all(|l| l.chars().count() <= 70), "{tables}");
    }
}
