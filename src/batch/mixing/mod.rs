//! What keeps samples apart is freed and gives each its own values; what would mix them is refused.

mod apart;
mod mixed;

use super::free_batch;
use super::values::{Rows, freed, set};
use crate::graph::Graph;
use crate::graph::operators::{self, Mixing};
use crate::onnx::Tensor;

use apart::APART;
use mixed::MIXING;

#[derive(Clone, Copy, Debug)]
enum Attr {
    I(i64),
    L(&'static [i64]),
    S(&'static str),
}
use Attr::{I, L, S};

/// A node: name, operator, inputs, attributes.
type Line = (
    &'static str,
    &'static str,
    &'static str,
    &'static [(&'static str, Attr)],
);

/// Nodes on the rows `r`, of which the last gives what is put out.
fn graph(lines: &[Line]) -> Graph {
    let mut net = Rows::new();
    for (name, values) in [
        ("axis0", &[0][..]),
        ("axis1", &[1]),
        ("axis2", &[2]),
        ("axes01", &[0, 1]),
        ("one", &[1]),
        ("two", &[2]),
        ("three", &[3]),
        ("minus", &[-1]),
        ("end", &[i64::MAX]),
        ("least", &[i64::MIN]),
        ("backwards", &[5, 4, 3, 2, 1, 0]),
        ("moved_down", &[1, 0, -1, 0]),
        ("widened", &[0, 1, 0, 1]),
        ("per_sample", &[1, 6, 4]),
        ("heads", &[1, 6, 2, 2]),
        ("joined_heads", &[2, 6, 2]),
        ("each_head", &[1, 2, 6, 2]),
        ("back", &[1, 6, 4]),
        ("four", &[4]),
        ("twice_down", &[2, 1]),
        ("twice_across", &[1, 2]),
        ("pairs", &[3, 2]),
        ("one_row", &[3]),
        ("shorter", &[5, 4]),
        ("halved", &[1, 3, 4]),
        ("longer", &[1, 9, 4]),
        ("wider", &[6, 7]),
        ("two_lengths", &[1, 6]),
        ("rows", &[6, 4]),
        ("two_rows", &[1, 2, 6]),
        ("heads_of_rows", &[2, 1, 4, 6]),
    ] {
        net.ints(name, values);
    }
    let places: Vec<i64> = (0..24).map(|i| i % 4).collect();
    for (name, dims, values) in [
        (
            "strided",
            &[1, 3, 4][..],
            &[0, 5, 10, 15, 20, -1, 2, 3, 3, 7, 11, 23][..],
        ),
        ("table_of_rows", &[2, 2], &[5, 1, 1, -6]),
        ("three_rows", &[3, 1], &[4, 0, 5]),
        ("number0", &[][..], &[0][..]),
        ("number1", &[], &[1]),
        ("places", &[6, 4], &places),
    ] {
        let dims = dims.to_vec();
        net.tensor(
            name,
            Tensor {
                dims,
                ..Tensor::i64s(values)
            },
        );
    }
    net.tensor("w443", Tensor::f32(&[4, 4, 3], &[0.3; 48]));
    net.tensor("w441", Tensor::f32(&[4, 4, 1], &[0.3; 16]));
    net.tensor("down", Tensor::f32(&[2], &[2.0, 1.0]));
    net.tensor("almost", Tensor::f32(&[2], &[1.1, 1.0]));
    net.tensor("across", Tensor::f32(&[2], &[1.0, 2.0]));
    net.tensor("token", Tensor::f32(&[1, 1, 4], &[0.1, 0.2, 0.3, 0.4]));
    net.tensor("off_on", Tensor::f32(&[2], &[-1.0, 2.0]));
    net.op("columns", "Transpose", "r");
    // [1, 4, 6]: the channels of all pixels; the batch is in the last axis.
    net.op("signal", "Unsqueeze", "columns axis0");
    // [1, 6, 4]: the batch in front.
    net.op("own", "Reshape", "r per_sample");
    set(
        net.op("own_columns", "Transpose", "own"),
        "perm",
        vec![0, 2, 1],
    );
    for &(name, op, inputs, attributes) in lines {
        let node = net.op(name, op, inputs);
        for &(name, value) in attributes {
            match value {
                I(v) => set(node, name, v),
                L(v) => set(node, name, v.to_vec()),
                S(v) => set(node, name, v),
            }
        }
    }
    let last = lines.last().unwrap().0;
    net.done(last.split(',').next().unwrap())
}

/// The first line of a graph that takes what [`graph`] does not have.
fn complete(lines: &[Line]) -> Vec<Line> {
    let reads = |name: &str| {
        lines
            .iter()
            .any(|(_, _, inputs, _)| inputs.split_whitespace().any(|i| i == name))
    };
    let mut all: Vec<Line> = Vec::new();
    if reads("x_turned") {
        all.push(("x_turned", "Transpose", "x", &[("perm", L(&[1, 0, 2, 3]))]));
    }
    if reads("by_rows") {
        all.push(("by_rows", "Unsqueeze", "r axis2", &[]));
    }
    all.extend(lines);
    all
}

#[test]
fn what_would_mix_samples_is_refused_by_its_node() {
    for lines in MIXING {
        let mut g = graph(&complete(lines));
        let before = g.clone();
        let node = lines.iter().find(|line| line.0 == "mix").unwrap();
        let error = free_batch(&mut g).expect_err(node.1).to_string();
        assert!(error.contains(&format!("`mix` ({})", node.1)), "{error}");
        assert_eq!(g, before);
    }
}

#[test]
fn what_keeps_samples_apart_gives_each_its_own_values_once_freed() {
    for lines in APART {
        eprintln!("{lines:?}");
        freed(&graph(&complete(lines)));
    }
}

#[test]
fn every_operator_whose_shapes_are_known_is_told_or_left_out_on_purpose() {
    let left_out = ["Range", "ScatterND", "Shape", "Size"];
    for row in operators::all().filter(|row| row.knows_shapes()) {
        let told = row.mixing != Mixing::Unknown;
        assert_ne!(told, left_out.contains(&row.name), "{}", row.name);
    }
}
