//! Every change of an operator has been looked at, and what is written in another version computes the same in onnxruntime.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::graph::cases::{case_graph, fixture, graph, sizes};
use crate::graph::normalise::raised::forms::{FORMS, Form as Case, form};
use crate::graph::normalise::raised::outputs_of;
use crate::graph::normalise::raised::windows::WINDOWS;
use crate::graph::schemas::{self, Occurs, Schema};
use crate::graph::{Graph, Node};
use crate::onnx::{Model, Tensor, encode};
use crate::runtime::Runtime;
use crate::runtime::testing::runtime;

use super::super::NoRuntime;
use super::*;

/// Whether a newer version takes all that the older one says, and it means the same, as far as the definitions tell.
fn widens(before: &Schema, now: &Schema) -> bool {
    let attributes = before.attributes.iter();
    let mut kept = attributes.map(|a| {
        now.attribute(a.name)
            .is_some_and(|b| b.default == a.default)
    });
    let places = [
        (&before.inputs, &now.inputs),
        (&before.outputs, &now.outputs),
    ];
    let more = places.iter().all(|(before, now)| {
        let needed = now
            .iter()
            .skip(before.len())
            .all(|p| p.occurs == Occurs::Optional);
        before.len() <= now.len() && (needed || before.is_empty())
    });
    kept.all(|kept| kept) && more && !now.deprecated
}

/// Changes that only take away what no model of the older version can have, or that mean nothing.
const SAME: &[(&str, i64, &str)] =
    &[("BatchNormalization", 14, "has an adapter for fewer outputs")];

#[test]
fn every_change_of_an_operator_has_an_adapter_or_widens_it() {
    let mut open = BTreeSet::new();
    for (name, versions) in schemas::all() {
        for pair in versions.windows(2) {
            let [before, now] = pair else { continue };
            let same = SAME.iter().any(|(n, v, _)| *n == name && *v == now.since);
            if now.since <= OLDEST || widens(before, now) || same {
                continue;
            }
            if up::adapter(name, now.since).is_none() {
                open.insert(format!("up {name} {}", now.since));
            }
            let back =
                down::adapter(name, now.since).is_some() || decompose::adapter(name).is_some();
            if now.since > OLDEST_WRITTEN && !back && !now.deprecated {
                open.insert(format!("down {name} {}", now.since));
            }
        }
    }
    assert!(open.is_empty(), "{open:#?}");
}

fn model(graph: &Graph) -> Model {
    let (proto, _) = graph.to_model(usize::MAX);
    Model::decode(encode(&proto).unwrap().into(), Path::new("n.onnx")).unwrap()
}

/// What the comparisons came to.
#[derive(Default)]
struct Compared {
    equal: usize,
    left: BTreeSet<String>,
    refused: BTreeMap<String, usize>,
}

impl Compared {
    /// Writes a graph in other versions, and compares where onnxruntime runs both.
    fn hold(&mut self, runtime: &Runtime, graph: &Graph, what: &str, versions: &[i64]) {
        let original = model(graph);
        let Ok(expected) = outputs_of(runtime, &original.proto, graph) else {
            return;
        };
        for &to in versions.iter().filter(|&&to| to != graph.opset) {
            let converted = match opset(&original, to, &NoRuntime) {
                Ok(converted) => converted,
                Err(error) => {
                    let text = error.to_string();
                    assert!(
                        text.contains("`n` (") || text.contains("type of"),
                        "{what}: {text}"
                    );
                    *self.refused.entry(text).or_default() += 1;
                    continue;
                }
            };
            let got = match outputs_of(runtime, &converted.proto, graph) {
                Ok(got) => got,
                // onnxruntime has not every operator of every version.
                Err(error) if error.contains("Could not find an implementation") => {
                    self.left.insert(format!("{} {to}", graph.nodes[0].op_type));
                    continue;
                }
                Err(error) => panic!("{what} to {to}: {error}\n{}", converted.manifest),
            };
            for (a, b) in expected.iter().zip(&got) {
                let close = |(a, b): (&f64, &f64)| {
                    (a - b).abs() <= 1e-5 * (1.0 + a.abs()) || a == b || (a.is_nan() && b.is_nan())
                };
                let same = a.len() == b.len() && a.iter().zip(b).all(close);
                assert!(same, "{what} to {to}\n{a:?}\n{b:?}");
            }
            self.equal += 1;
        }
    }
}

const VERSIONS: [i64; 7] = [9, 11, 13, 16, 18, 21, 24];

#[test]
fn nodes_of_all_operators_compute_in_other_versions_what_they_computed() {
    let Some(runtime) = runtime() else { return };
    let cases = fixture("cases.json");
    let mut compared = Compared::default();
    for case in cases.as_array().unwrap() {
        if !sizes(&case["outputs"][0][1]).contains(&0) {
            let graph = case_graph(case);
            compared.hold(&runtime, &graph, &case.to_string(), &[13, 21, 24]);
        }
    }
    println!("{} equal; {:#?}", compared.equal, compared.refused);
    assert!(compared.equal > 1000, "{}", compared.equal);
    assert!(compared.left.len() < 12, "{:#?}", compared.left);
}

#[test]
fn forms_that_have_changed_compute_in_other_versions_what_they_computed() {
    let Some(runtime) = runtime() else { return };
    let mut compared = Compared::default();
    for entry in FORMS.iter().chain(WINDOWS) {
        let entry: &Case = entry;
        let [first, last] = entry.0;
        for version in BTreeSet::from([first, (first + last) / 2, last]) {
            let graph = form(version, entry);
            compared.hold(
                &runtime,
                &graph,
                &format!("opset {version}: {entry:?}"),
                &VERSIONS,
            );
        }
    }
    println!("{} equal; {:#?}", compared.equal, compared.refused);
    assert!(compared.equal > 500, "{}", compared.equal);
}

/// Nodes of one version that older ones lack.
fn newer() -> Vec<(i64, Vec<usize>, Node)> {
    let node = |op: &str, inputs: &[&str]| Node::new("n", op, inputs, &["y"]);
    let map = || vec![2, 6, 3, 4];
    vec![
        (24, map(), node("Gelu", &["x"])),
        (20, map(), node("Gelu", &["x"]).with("approximate", "tanh")),
        (
            17,
            map(),
            node("LayerNormalization", &["x", "four", "four"]),
        ),
        (
            17,
            map(),
            node("LayerNormalization", &["x", "rest"])
                .with("axis", 2)
                .with("epsilon", 0.1f32),
        ),
        (14, map(), node("HardSwish", &["x"])),
        (18, map(), node("Mish", &["x"])),
        (12, map(), node("Celu", &["x"]).with("alpha", 0.7f32)),
        (24, map(), node("Swish", &["x"]).with("alpha", 0.5f32)),
        (23, map(), node("RMSNormalization", &["x", "four"])),
        (
            21,
            map(),
            node("GroupNormalization", &["x", "six", "six"]).with("num_groups", 3),
        ),
        (
            18,
            map(),
            node("GroupNormalization", &["x", "three", "three"]).with("num_groups", 3),
        ),
        (15, map(), node("CastLike", &["x", "k"])),
        (16, map(), node("GreaterOrEqual", &["x", "four"])),
        (16, map(), node("LessOrEqual", &["x", "four"])),
        (
            15,
            map(),
            node("Shape", &["x"]).with("start", 1).with("end", -1),
        ),
        (21, map(), node("Shape", &["x"]).with("start", -2)),
        (18, map(), node("Pad", &["x", "pads", "", "axes"])),
        (
            19,
            map(),
            node("Pad", &["x", "pads", "", "axes"]).with("mode", "wrap"),
        ),
        (
            18,
            map(),
            node("ReduceL1", &["x"]).with("noop_with_empty_axes", 1),
        ),
        (
            13,
            map(),
            node("ReduceSum", &["x", "axes"]).with("keepdims", 0),
        ),
        (18, map(), node("ReduceMax", &["x", "axes"])),
        (13, map(), node("Softmax", &["x"]).with("axis", 1)),
        (13, map(), node("LogSoftmax", &["x"]).with("axis", -2)),
        (13, map(), node("Hardmax", &["x"])),
        (13, map(), node("Pow", &["x", "k"])),
        (
            14,
            map(),
            node("Reshape", &["x", "flat"]).with("allowzero", 1),
        ),
        (13, map(), node("Clip", &["x", "", "half"])),
        (13, map(), node("Dropout", &["x", "half"])),
        (13, vec![2, 6], node("Gemm", &["x", "weight"])),
        (
            13,
            map(),
            node("Resize", &["x", "", "scales"])
                .with("coordinate_transformation_mode", "asymmetric")
                .with("nearest_mode", "floor"),
        ),
        (
            19,
            map(),
            node("Resize", &["x", "", "scales"]).with("mode", "linear"),
        ),
        (13, map(), node("Unsqueeze", &["x", "axes"])),
        (
            13,
            map(),
            node("Slice", &["x", "from", "to", "axes", "ones"]),
        ),
        (13, map(), node("Gather", &["x", "k0"]).with("axis", -1)),
        (20, vec![2, 6, 4, 2], node("DFT", &["x", "", "first"])),
        (17, vec![2, 6, 4, 2], node("DFT", &["x"]).with("axis", 1)),
    ]
}

fn newer_graph((version, dims, node): (i64, Vec<usize>, Node)) -> Graph {
    let mut graph = graph(version, &dims, vec![node]);
    let floats = |dims: &[usize], values: &[f32]| Tensor::f32(dims, values);
    let ramp: Vec<f32> = (0..12).map(|i| i as f32 / 5.0 - 1.0).collect();
    for (name, tensor) in [
        ("four", floats(&[4], &[0.5, 2.0, 1.0, 3.0])),
        ("three", floats(&[3], &[0.5, 2.0, 1.0])),
        ("six", floats(&[6], &[0.5, 2.0, 1.0, 3.0, 4.0, -1.0])),
        ("rest", floats(&[3, 4], &ramp)),
        ("weight", floats(&[6, 2], &ramp)),
        ("half", Tensor::scalar_f32(0.5)),
        ("scales", floats(&[4], &[1.0, 1.0, 2.0, 3.0])),
        ("k", Tensor::scalar_i64(2)),
        ("k0", Tensor::i64s(&[2, 0])),
        ("first", Tensor::scalar_i64(1)),
        ("pads", Tensor::i64s(&[1, 2, 0, 1])),
        ("axes", Tensor::i64s(&[-2, -1])),
        ("from", Tensor::i64s(&[0, 1])),
        ("to", Tensor::i64s(&[2, 3])),
        ("ones", Tensor::i64s(&[1, 1])),
        ("flat", Tensor::i64s(&[2, -1])),
    ] {
        if graph.nodes[0].inputs.iter().any(|i| i == name) {
            graph.initializers.insert(name.to_owned(), tensor);
        }
    }
    graph
}

#[test]
fn what_an_older_version_lacks_is_written_in_what_it_has() {
    let Some(runtime) = runtime() else { return };
    let mut compared = Compared::default();
    for case in newer() {
        let what = format!("{case:?}");
        compared.hold(
            &runtime,
            &newer_graph(case),
            &what,
            &[9, 10, 12, 13, 15, 17, 19, 22],
        );
    }
    println!("{} equal; {:#?}", compared.equal, compared.refused);
    assert!(compared.equal > 170, "{}", compared.equal);
}

#[test]
fn what_has_no_older_form_is_refused_by_name() {
    for (case, to, why) in [
        (
            (18, vec![2, 3], Node::new("n", "BitwiseNot", &["x"], &["y"])),
            17,
            "it is new there",
        ),
        (
            (
                19,
                vec![2, 6, 3, 4],
                Node::new("n", "Pad", &["x", "pads", "", "axes"], &["y"]).with("mode", "wrap"),
            ),
            18,
            "its mode is `wrap`",
        ),
        (
            (
                18,
                vec![2, 6, 3, 4],
                Node::new("n", "ScatterND", &["x", "k", "x"], &["y"]).with("reduction", "max"),
            ),
            17,
            "its reduction is `max`",
        ),
        (
            (
                14,
                vec![2, 6, 3],
                Node::new("n", "GRU", &["x", "x", "x"], &["y"]).with("layout", 1),
            ),
            13,
            "its attribute `layout` is new",
        ),
        (
            (15, vec![2, 3], Node::new("n", "NoSuch", &["x"], &["y"])),
            21,
            "no such operator",
        ),
    ] {
        let error = opset(&model(&newer_graph(case)), to, &NoRuntime).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("`n` (") && text.contains(why), "{text}");
        assert!(error.is_bad_input());
    }
}

#[test]
fn constants_that_nobody_reads_any_more_go_and_shared_ones_stay() {
    let reduced = |name: &str, axes: &str| {
        Node::new(name, "ReduceMean", &["x", axes], &[&format!("{name}/y")])
    };
    let mut nodes = vec![reduced("n", "axes"), reduced("m", "from")];
    nodes.push(Node::new("shape", "Reshape", &["x", "from"], &["s"]));
    let mut graph = graph(18, &[2, 2], nodes);
    graph
        .initializers
        .insert("axes".to_owned(), Tensor::i64s(&[1]));
    graph
        .initializers
        .insert("from".to_owned(), Tensor::i64s(&[0, 1]));
    let original = model(&graph);
    let older = opset(&original, 17, &NoRuntime).unwrap();
    let graph = older.proto.graph.as_ref().unwrap();
    let names: Vec<&str> = graph.initializer.iter().map(|t| t.name()).collect();
    assert_eq!(names, ["from"]);
    let newer = older.model();
    let back = opset(&newer, 18, &NoRuntime).unwrap();
    let graph = back.proto.graph.as_ref().unwrap();
    assert_eq!(
        graph
            .node
            .iter()
            .filter(|n| n.op_type() == "Constant")
            .count(),
        2
    );
}
