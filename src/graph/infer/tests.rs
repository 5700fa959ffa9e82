use std::collections::{HashMap, HashSet};

use crate::graph::cases::{case_graph, fixture, sizes};
use crate::graph::{Attribute, Dim, Graph, Node, Value, normalise, operators};
use crate::onnx::{DataType, Model, Tensor};

use super::*;

/// A graph of opset 21 whose float inputs and int constants are given by name.
fn graph(inputs: &[(&str, &[usize])], constants: &[(&str, &[i64])], nodes: Vec<Node>) -> Graph {
    let last = nodes.last().unwrap().outputs[0].clone();
    Graph {
        opset: 21,
        domains: vec![],
        nodes,
        inputs: inputs
            .iter()
            .map(|(name, dims)| Value::fixed(name, DataType::Float, dims))
            .collect(),
        outputs: vec![Value {
            name: last,
            dtype: DataType::Float,
            dims: None,
        }],
        initializers: constants
            .iter()
            .map(|(name, values)| ((*name).to_owned(), Tensor::i64s(values)))
            .collect(),
    }
}

/// Dimensions of the only output, or the error's text.
fn output(graph: &Graph) -> Result<Vec<usize>, String> {
    let shapes = infer_shapes(graph, &HashMap::new()).map_err(|e| e.to_string())?;
    Ok(shapes.dims(&graph.outputs[0].name).unwrap().to_vec())
}

#[test]
fn single_nodes_of_all_opsets_get_the_shapes_that_onnxruntime_gives() {
    let cases = fixture("cases.json");
    let mut wrong = Vec::new();
    for case in cases.as_array().unwrap() {
        let mut graph = case_graph(case);
        let shapes = normalise(&mut graph).and_then(|()| infer_shapes(&graph, &HashMap::new()));
        let shapes = match shapes {
            Ok(shapes) => shapes,
            Err(e) => {
                wrong.push(format!("{case}\n    {e}"));
                continue;
            }
        };
        for (i, expected) in case["outputs"].as_array().unwrap().iter().enumerate() {
            let info = shapes.info(&format!("o{i}")).unwrap();
            if info.dtype as i64 != expected[0].as_i64().unwrap()
                || info.dims != sizes(&expected[1])
            {
                wrong.push(format!("{case}\n    output {i}: {info:?}"));
            }
        }
        if let Some(known) = case["known"].as_array() {
            let value = shapes
                .constant("o0")
                .unwrap_or_else(|| panic!("{case}: not known"));
            let value: Vec<f64> = match value.to_f32() {
                Some(v) => v.into_iter().map(f64::from).collect(),
                None => value.to_i64().unwrap().iter().map(|&v| v as f64).collect(),
            };
            let known: Vec<f64> = known
                .iter()
                .map(|v| v.as_f64().unwrap_or_else(|| f64::from(u8::from(v == true))))
                .collect();
            assert_eq!(value, known, "{case}");
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        cases.as_array().unwrap().len(),
        wrong.join("\n")
    );
}

#[test]
fn every_operator_whose_shapes_are_known_has_a_case() {
    let cases = fixture("cases.json");
    let of = |case: &serde_json::Value| case["op"].as_str().unwrap().to_owned();
    let held: HashSet<String> = cases.as_array().unwrap().iter().map(of).collect();
    let known = operators::all().filter(|row| row.knows_shapes());
    let without: Vec<&str> = known
        .map(|row| row.name)
        .filter(|name| !held.contains(*name))
        .collect();
    assert!(
        without.is_empty(),
        "give tools/make_shape_fixtures.py a case of {without:?}"
    );
}

#[test]
fn every_value_of_the_shared_models_has_the_shape_that_onnxruntime_gives() {
    let Some(folder) = crate::testing::shared() else {
        return;
    };
    for (path, expected) in fixture("models.json").as_object().unwrap() {
        let model = Model::open(&folder.join(path)).unwrap();
        let mut graph = Graph::from_model(&model).unwrap();
        normalise(&mut graph).unwrap();
        let inputs = expected["inputs"].as_object().unwrap();
        let inputs = inputs.iter().map(|(k, v)| (k.clone(), sizes(v))).collect();
        let shapes = infer_shapes(&graph, &inputs).unwrap();
        for (name, value) in expected["values"].as_object().unwrap() {
            let Ok(info) = shapes.info(name) else {
                let node = model
                    .graph()
                    .node
                    .iter()
                    .find(|n| n.output.contains(name))
                    .unwrap();
                assert_eq!(node.op_type(), "Identity", "{path}: {name} has no shape");
                continue;
            };
            assert_eq!(info.dims, sizes(&value[1]), "{path}: {name}");
            assert_eq!(
                info.dtype as i64,
                value[0].as_i64().unwrap(),
                "{path}: {name}"
            );
        }
        fold_constants(&mut graph, &shapes);
        graph.sort().unwrap();
        let left = |op: &str| graph.nodes.iter().any(|n| n.is(op));
        assert!(
            !["Shape", "ConstantOfShape", "Cast", "Slice", "Concat"]
                .iter()
                .any(|op| left(op)),
            "{path}: shape arithmetic is left over"
        );
        let again = infer_shapes(&graph, &inputs).unwrap();
        for output in &graph.outputs {
            assert_eq!(
                again.info(&output.name).unwrap(),
                shapes.info(&output.name).unwrap()
            );
        }
    }
}

fn pool(attributes: &[(&str, Attribute)], length: usize) -> Result<Vec<usize>, String> {
    let mut node = Node::new("p", "MaxPool", &["x"], &["y"]).with("kernel_shape", vec![3]);
    for (name, value) in attributes {
        node.attributes.insert((*name).to_owned(), value.clone());
    }
    output(&graph(&[("x", &[1, 2, length])], &[], vec![node]))
}

#[test]
fn a_partial_window_counts_only_where_it_starts_before_the_padding_behind() {
    let ceil = ("ceil_mode", 1.into());
    let stride = ("strides", vec![2].into());
    assert_eq!(pool(std::slice::from_ref(&stride), 6).unwrap()[2], 2);
    assert_eq!(pool(&[ceil.clone(), stride], 6).unwrap()[2], 3);
    let stride = ("strides", vec![3].into());
    let pads = ("pads", vec![1, 1].into());
    assert_eq!(pool(&[ceil, stride, pads], 6).unwrap()[2], 3);
}

#[test]
fn same_padding_rounds_up_even_and_odd_lengths() {
    let same = ("auto_pad", "SAME_UPPER".into());
    let stride = ("strides", vec![2].into());
    for (length, expected) in [(6, 3), (7, 4), (1, 1)] {
        let dims = pool(&[same.clone(), stride.clone()], length).unwrap();
        assert_eq!(dims[2], expected);
    }
}

#[test]
fn hostile_windows_are_errors_that_name_the_node() {
    let bad: [(&str, Attribute); 8] = [
        ("strides", vec![0].into()),
        ("strides", vec![1, 1].into()),
        ("pads", vec![-1, 0].into()),
        ("pads", vec![1].into()),
        ("dilations", vec![i64::MAX].into()),
        ("kernel_shape", vec![0].into()),
        ("kernel_shape", vec![1 << 23].into()),
        ("auto_pad", "SAME_ISH".into()),
    ];
    for (name, value) in bad {
        let error = pool(&[(name, value)], 5).unwrap_err();
        assert!(error.contains("`p` (MaxPool)"), "{error}");
    }
    let huge = ("pads", vec![i64::MAX, i64::MAX].into());
    assert!(pool(&[huge], 5).is_err());
}

fn reshape(from: &[usize], to: &[i64]) -> Result<Vec<usize>, String> {
    let node = Node::new("r", "Reshape", &["x", "t"], &["y"]);
    output(&graph(&[("x", from)], &[("t", to)], vec![node]))
}

#[test]
fn reshape_copies_zeros_and_fills_one_open_dimension() {
    assert_eq!(reshape(&[2, 3, 4], &[0, -1]).unwrap(), [2, 12]);
    assert_eq!(reshape(&[2, 3, 4], &[4, 0, -1]).unwrap(), [4, 3, 2]);
    for bad in [
        &[-1, -1][..],
        &[5, -1],
        &[0, 0, 0, 0],
        &[-2, 12],
        &[23],
        &[i64::MAX, i64::MAX],
    ] {
        assert!(reshape(&[2, 3, 4], bad).is_err(), "{bad:?}");
    }
}

#[test]
fn negative_steps_slice_backwards_and_clamp() {
    for (start, end, step, expected) in [
        (-1, i64::MIN, -1, 5),
        (9, -9, -2, 3),
        (3, 1, -1, 2),
        (1, 3, -1, 0),
        (1, i64::MAX, -1, 2),
        (-9, 9, 2, 3),
        (2, i64::MAX, i64::MAX, 1),
        (i64::MAX, i64::MIN, i64::MIN, 1),
    ] {
        let node = Node::new("s", "Slice", &["x", "a", "b", "c", "d"], &["y"]);
        let constants: [(&str, &[i64]); 4] =
            [("a", &[start]), ("b", &[end]), ("c", &[0]), ("d", &[step])];
        let dims = output(&graph(&[("x", &[5])], &constants, vec![node])).unwrap();
        assert_eq!(dims, [expected], "{start}..{end} by {step}");
    }
}

#[test]
fn shape_arithmetic_is_followed_and_folds_away() {
    let nodes = vec![
        Node::new("shape", "Shape", &["x"], &["s"]),
        Node::new("batch", "Gather", &["s", "zero"], &["n"]),
        Node::new("target", "Concat", &["n", "open"], &["t"]).with("axis", 0),
        Node::new("flat", "Reshape", &["x", "t"], &["y"]),
    ];
    let mut graph = graph(
        &[("x", &[4, 3, 5])],
        &[("zero", &[0]), ("open", &[-1])],
        nodes,
    );
    let shapes = infer_shapes(&graph, &HashMap::new()).unwrap();
    assert_eq!(shapes.dims("y").unwrap(), [4, 15]);
    assert_eq!(shapes.constant("t").unwrap().to_i64().unwrap(), [4, -1]);
    fold_constants(&mut graph, &shapes);
    assert_eq!(graph.nodes.len(), 1);
    assert_eq!(graph.initializers.keys().collect::<Vec<_>>(), ["t"]);
}

#[test]
fn pads_that_an_exporter_wrote_out_in_floats_are_known() {
    // SAME padding for a kernel of 3 with stride 2 on 65 pixels: max((⌈65 / 2⌉ − 1) · 2 + 3 − 65, 0).
    let node = |op: &str, inputs: &[&str], output: &str| Node::new(output, op, inputs, &[output]);
    let nodes = vec![
        node("Ceil", &["steps"], "count"),
        node("Sub", &["count", "one"], "a"),
        node("Mul", &["a", "two"], "b"),
        node("Sub", &["b", "rest"], "c"),
        node("Clip", &["c", "zero"], "all"),
        node("Div", &["all", "two"], "half"),
        node("Cast", &["half"], "before").with("to", DataType::Int64 as i64),
        node("Unsqueeze", &["before", "axis"], "pads"),
        node("Concat", &["pads", "pads"], "both").with("axis", 0i64),
        node("Pad", &["x", "both"], "y"),
    ];
    let mut graph = graph(&[("x", &[65])], &[("axis", &[0])], nodes);
    let floats = [
        ("steps", 32.5),
        ("one", 1.0),
        ("two", 2.0),
        ("rest", 62.0),
        ("zero", 0.0),
    ];
    for (name, value) in floats {
        let tensor = Tensor::scalar_f32(value);
        graph.initializers.insert(name.to_owned(), tensor);
    }
    let shapes = infer_shapes(&graph, &HashMap::new()).unwrap();
    assert_eq!(shapes.dims("y").unwrap(), [67]);
    assert_eq!(shapes.constant("both").unwrap().to_i64().unwrap(), [1, 1]);
}

/// The value of a node's output, by its floats or integers, of inputs by their floats.
fn computed(op: &str, fmod: bool, inputs: &[&[f32]], to: DataType) -> Option<Vec<f64>> {
    let names: Vec<String> = (0..inputs.len()).map(|i| format!("x{i}")).collect();
    let read: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut node = Node::new("n", op, &read, &["y"]);
    if fmod {
        node = node.with("fmod", 1i64);
    }
    let nodes = vec![
        node,
        Node::new("c", "Cast", &["y"], &["z"]).with("to", to as i64),
    ];
    let mut graph = graph(&[], &[], nodes);
    for (name, values) in names.iter().zip(inputs) {
        let tensor = Tensor::f32(&[values.len()], values);
        graph.initializers.insert(name.clone(), tensor);
    }
    let shapes = infer_shapes(&graph, &HashMap::new()).unwrap();
    let value = shapes.constant("z")?;
    match to {
        DataType::Float => Some(value.to_f32()?.into_iter().map(f64::from).collect()),
        _ => Some(value.to_i64()?.into_iter().map(|v| v as f64).collect()),
    }
}

#[test]
fn sizes_that_an_exporter_computes_in_floats_are_known() {
    // The side of a square of 1369 patches, as position embeddings are resized by.
    assert_eq!(
        computed("Pow", false, &[&[1369.0], &[0.5]], DataType::Int64),
        Some(vec![37.0])
    );
    let halves: &[f32] = &[0.5, 1.5, 2.5, -0.5];
    assert_eq!(
        computed("Round", false, &[halves], DataType::Float),
        Some(vec![0.0, 2.0, 2.0, -0.0])
    );
    assert_eq!(
        computed("Reciprocal", false, &[&[16.0]], DataType::Float),
        Some(vec![0.0625])
    );
    let pair: [&[f32]; 2] = [&[7.5, -7.5, 2.0], &[2.0, 2.0, 2.0]];
    assert_eq!(
        computed("Mod", true, &pair, DataType::Float),
        Some(vec![1.5, -1.5, 0.0])
    );
    for (op, holds) in [
        ("Equal", [0.0, 0.0, 1.0]),
        ("Less", [0.0, 1.0, 0.0]),
        ("LessOrEqual", [0.0, 1.0, 1.0]),
        ("Greater", [1.0, 0.0, 0.0]),
        ("GreaterOrEqual", [1.0, 0.0, 1.0]),
    ] {
        assert_eq!(
            computed(op, false, &pair, DataType::Int64),
            Some(holds.to_vec()),
            "{op}"
        );
    }
}

#[test]
fn integer_powers_that_fit_and_choices_of_floats_are_known() {
    let mut g = graph(
        &[],
        &[("a", &[2, -3]), ("b", &[10, 3])],
        vec![Node::new("p", "Pow", &["a", "b"], &["y"])],
    );
    let shapes = infer_shapes(&g, &HashMap::new()).unwrap();
    assert_eq!(shapes.constant("y").unwrap().to_i64().unwrap(), [1024, -27]);
    g.initializers
        .insert("b".to_owned(), Tensor::i64s(&[64, 3]));
    let shapes = infer_shapes(&g, &HashMap::new()).unwrap();
    assert!(shapes.constant("y").is_none());

    let nodes = vec![
        Node::new("m", "Less", &["a", "b"], &["m"]),
        Node::new("w", "Where", &["m", "x", "z"], &["y"]),
    ];
    let mut g = graph(&[], &[("a", &[1, 5]), ("b", &[3, 3])], nodes);
    for (name, value) in [("x", [0.5, 1.5]), ("z", [8.0, 9.0])] {
        g.initializers
            .insert(name.to_owned(), Tensor::f32(&[2], &value));
    }
    let shapes = infer_shapes(&g, &HashMap::new()).unwrap();
    assert_eq!(shapes.constant("y").unwrap().to_f32().unwrap(), [0.5, 9.0]);
}

#[test]
fn remainders_take_the_sign_of_the_divisor_or_with_fmod_of_the_dividend() {
    let constants: [(&str, &[i64]); 2] =
        [("a", &[7, -7, 7, -7, i64::MIN]), ("b", &[4, 4, -4, -4, -1])];
    for (fmod, expected) in [(0, [3, 1, -1, -3]), (1, [3, -3, 3, -3])] {
        let node = Node::new("m", "Mod", &["a", "b"], &["y"]).with("fmod", fmod);
        let mut g = graph(&[], &constants, vec![node]);
        // The smallest integer's remainder cannot be told in Rust's arithmetic, and is not followed.
        let shapes = infer_shapes(&g, &HashMap::new()).unwrap();
        assert!(shapes.constant("y").is_none());
        for name in ["a", "b"] {
            let values = g.initializers[name].to_i64().unwrap();
            g.initializers
                .insert(name.to_owned(), Tensor::i64s(&values[..4]));
        }
        let shapes = infer_shapes(&g, &HashMap::new()).unwrap();
        assert_eq!(shapes.constant("y").unwrap().to_i64().unwrap(), expected);
    }
}

#[test]
fn float_weights_are_never_folded() {
    let nodes = vec![
        Node::new("r", "Reshape", &["w", "t"], &["r"]),
        Node::new("g", "Gather", &["r", "i"], &["g"]),
        Node::new("d", "Add", &["g", "w"], &["d"]),
        Node::new("m", "Mul", &["x", "d"], &["y"]),
    ];
    let constants: [(&str, &[i64]); 2] = [("t", &[-1]), ("i", &[0, 1])];
    let mut graph = graph(&[("x", &[2])], &constants, nodes);
    graph
        .initializers
        .insert("w".to_owned(), Tensor::f32(&[2], &[1.0, 2.0]));
    let shapes = infer_shapes(&graph, &HashMap::new()).unwrap();
    fold_constants(&mut graph, &shapes);
    assert_eq!(graph.nodes.len(), 4);
}

#[test]
fn unknown_operators_and_missing_dimensions_are_named() {
    let graph_of = |op| {
        graph(
            &[("x", &[2])],
            &[],
            vec![Node::new("n", op, &["x"], &["y"])],
        )
    };
    let error = output(&graph_of("Frobnicate")).unwrap_err();
    assert!(error.contains("`n` (Frobnicate)"), "{error}");
    let mut open = graph_of("Relu");
    open.inputs[0].dims = Some(vec![Dim::Symbolic("N".to_owned())]);
    let error = output(&open).unwrap_err();
    assert!(error.contains("`x`"), "{error}");
    open.opset = 13;
    assert!(output(&open).unwrap_err().contains("normalise"));
}
