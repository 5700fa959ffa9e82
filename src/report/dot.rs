//! The network as a Graphviz graph, with a cluster for each block.

use std::fmt::Write;

use crate::analysis::{Analysis, Layer};

use super::analysis::shape;
use super::plain_line;
use super::text::thousands;

/// The analysis in the DOT language.
pub fn dot(analysis: &Analysis) -> String {
    let mut text = String::from(
        "digraph model {\n  rankdir=TB;\n  node [shape=box, style=rounded, fontname=\"sans-serif\", \
         fontsize=10];\n  graph [fontname=\"sans-serif\", fontsize=12, color=gray];\n",
    );
    for (b, block) in analysis.blocks.iter().enumerate() {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  subgraph cluster_{b} {{");
        let mut label = format!(
            "{}: {} parameters, {:.1} %",
            plain_line(&block.name),
            thousands(block.parameters),
            100.0 * block.share
        );
        if !block.tensors.is_empty() {
            let tensors = block.tensors.join(", ");
            let _ = write!(label, "\nof no layer: {}", plain_line(&tensors));
        }
        let _ = writeln!(text, "    label={};", quoted(&label));
        for (i, layer) in analysis.layers.iter().enumerate() {
            if layer.block == b {
                let _ = writeln!(text, "    n{i} [{}];", attributes(analysis, layer));
            }
        }
        text.push_str("  }\n");
    }
    for (i, layer) in analysis.layers.iter().enumerate() {
        for input in &layer.inputs {
            let _ = writeln!(text, "  n{input} -> n{i};");
        }
    }
    text.push_str("}\n");
    text
}

fn attributes(analysis: &Analysis, layer: &Layer) -> String {
    let mut lines = vec![layer.name.clone(), layer.op_type.clone()];
    if let Some(dims) = &layer.output_shape {
        lines.push(shape(dims));
    }
    if layer.parameters > 0 {
        lines.push(format!("{} parameters", thousands(layer.parameters)));
    }
    let operator = layer.weighted.filter(|_| analysis.is_operator(layer));
    if let Some(owner) = operator.and_then(|w| analysis.weighted.get(w)) {
        lines.extend(owner.parameters.iter().cloned());
    }
    let lines: Vec<_> = lines.iter().map(|line| plain_line(line)).collect();
    let label = quoted(&lines.join("\n"));
    match operator.is_some() {
        true => format!("label={label}, style=\"rounded,filled\", fillcolor=lightblue"),
        false => format!("label={label}"),
    }
}

fn quoted(text: &str) -> String {
    let escaped = text
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n");
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::{AnalyzeOptions, nets};

    #[test]
    fn the_dot_output_has_a_cluster_for_each_block_and_every_edge() {
        let a = Analysis::of_graph(&nets::resnet_v2(), &[], &AnalyzeOptions::default()).unwrap();
        let text = dot(&a);
        assert_eq!(text.matches("subgraph cluster_").count(), a.blocks.len());
        let edges: usize = a.layers.iter().map(|l| l.inputs.len()).sum();
        assert_eq!(text.matches(" -> ").count(), edges);
        assert_eq!(text.matches('{').count(), text.matches('}').count());
    }
}
