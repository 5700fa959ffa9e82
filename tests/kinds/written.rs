//! What is written out in memory: functions that a model carries, branches of which one is known.

use ftsurgery::graph::{Attribute, Graph};
use ftsurgery::onnx::messages::{
    AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    ValueInfoProto,
};
use ftsurgery::onnx::{DataType, Model, Tensor};
use ftsurgery::runtime::testing::has_runtime;

use crate::models::*;

/// The classifier, whose second convolution and ReLU are a function; with `inside`, its weight, too.
fn with_function(inside: bool) -> ModelProto {
    let mut graph = classifier();
    let mut body: Vec<NodeProto> = graph.nodes[2..4].iter().map(|n| n.to_proto()).collect();
    body[0].input = ["x", "w", "b"].map(str::to_owned).to_vec();
    if inside {
        let weight = graph.initializers.shift_remove("w2").unwrap();
        let constant = node("Constant", &[], "w").with("value", weight);
        body.insert(0, constant.to_proto());
    }
    let mut call = node("Block", &["r1", "w2", "b2"], "r2");
    call.domain = "local".to_owned();
    let mut inputs = ["x", "w", "b"].map(str::to_owned).to_vec();
    if inside {
        call.inputs.remove(1);
        inputs.remove(1);
    }
    graph.nodes.splice(2..4, [call]);
    let mut proto = proto(&graph);
    import(&mut proto, "local", 1);
    proto.functions.push(FunctionProto {
        name: Some("Block".to_owned()),
        domain: Some("local".to_owned()),
        input: inputs,
        output: vec!["r2".to_owned()],
        node: body,
        opset_import: vec![OperatorSetIdProto {
            domain: Some(String::new()),
            version: Some(17),
        }],
        ..FunctionProto::default()
    });
    proto
}

#[test]
fn functions_are_trained_through_and_stay_where_they_are_untouched() {
    if !has_runtime() {
        return;
    }
    let place = Place::new(&with_function(false));
    let alone = Place::new(&proto(&classifier()));
    assert_close(
        &place.predicted("model.onnx", ""),
        &alone.predicted("model.onnx", ""),
    );
    let table = place.run("analyze model.onnx");
    table.well();
    assert!(table.out().contains("w2"), "{}", table.out());
    let told = place.tune("").well();
    assert!(!told.contains("written out"), "{told}");
    alone.tune("").well();
    let (model, plain) = (place.winner(), alone.winner());
    assert!(operators(&model).contains(&"Block") && model.proto.functions.len() == 1);
    assert_eq!(
        floats(&model, "w2"),
        floats(&plain, "w2"),
        "trained the same"
    );
}

#[test]
fn a_weight_inside_of_a_function_is_written_out_with_it() {
    if !has_runtime() {
        return;
    }
    let place = Place::new(&with_function(true));
    let told = place.tune("").well();
    let lines: Vec<&str> = told.lines().filter(|l| l.contains("written out")).collect();
    assert_eq!(
        lines,
        [
            "winners/full.onnx has the functions that the model carries written out: what was tuned, or what the new \
             head stands on, is inside of them"
        ]
    );
    let model = place.winner();
    assert_eq!(model.proto.functions, []);
    assert!(!operators(&model).contains(&"Block"));
    // The head alone leaves the function as it was.
    let head = Model::open(&place.at("run/winners/head.onnx")).unwrap();
    assert!(operators(&head).contains(&"Block"));
}

fn branch(name: &str, nodes: &[ftsurgery::graph::Node], output: &str) -> Attribute {
    let graph = GraphProto {
        name: Some(name.to_owned()),
        node: nodes.iter().map(|n| n.to_proto()).collect(),
        output: vec![ValueInfoProto {
            name: Some(output.to_owned()),
            ..ValueInfoProto::default()
        }],
        ..GraphProto::default()
    };
    Attribute::Other(Box::new(AttributeProto {
        name: Some(name.to_owned()),
        r#type: Some(5),
        g: Some(Box::new(graph)),
        ..AttributeProto::default()
    }))
}

/// The classifier with an `If` in place of the flattening, whose condition is that dimension `axis` of the mean
/// is 1, or an input of which nothing is known.
fn with_branch(axis: i64) -> Graph {
    let mut graph = classifier();
    let truth = node("If", &["c"], "f")
        .with(
            "then_branch",
            branch("then_branch", &[node("Squeeze", &["p", "axes"], "t")], "t"),
        )
        .with(
            "else_branch",
            branch("else_branch", &[node("Flatten", &["p"], "t")], "t"),
        );
    let behind = [
        node("Shape", &["p"], "s"),
        node("Gather", &["s", "axis"], "d"),
        node("Equal", &["d", "one"], "c"),
        truth,
    ];
    graph.nodes.splice(5..6, behind);
    graph
        .initializers
        .insert("axes".to_owned(), Tensor::i64s(&[2, 3]));
    graph
        .initializers
        .insert("axis".to_owned(), Tensor::scalar_i64(axis));
    graph
        .initializers
        .insert("one".to_owned(), Tensor::scalar_i64(1));
    graph
}

#[test]
fn a_branch_whose_condition_follows_from_shapes_is_taken() {
    if !has_runtime() {
        return;
    }
    let alone = Place::new(&proto(&classifier()));
    alone.tune("--head keep").well();
    for axis in [2, 1] {
        let place = Place::new(&proto(&with_branch(axis)));
        assert_close(
            &place.predicted("model.onnx", ""),
            &alone.predicted("model.onnx", ""),
        );
        place.run("analyze model.onnx").well();
        place.tune("--head keep").well();
        let model = place.winner();
        assert!(operators(&model).contains(&"If"), "the file keeps it");
        assert_eq!(floats(&model, "w2"), floats(&alone.winner(), "w2"));
        std::fs::remove_dir_all(place.at("run")).unwrap();
        place.tune("").well();
        assert_eq!(outputs(&place.winner()), ["probabilities"]);
    }
}

#[test]
fn a_branch_that_the_batch_or_the_data_decide_is_refused_by_name() {
    if !has_runtime() {
        return;
    }
    let place = Place::new(&proto(&with_branch(0)));
    place
        .tune("--head keep")
        .refused(&["`f` (If)", "condition"]);
    let mut graph = classifier();
    graph
        .nodes
        .insert(4, node("ReduceMax", &["r2"], "most").with("keepdims", 0));
    graph
        .nodes
        .insert(5, node("Greater", &["most", "half"], "c"));
    let truth = node("If", &["c"], "r3")
        .with(
            "then_branch",
            branch("then_branch", &[node("Relu", &["r2"], "t")], "t"),
        )
        .with(
            "else_branch",
            branch("else_branch", &[node("Neg", &["r2"], "t")], "t"),
        );
    graph.nodes.insert(6, truth);
    graph.nodes[7].inputs[0] = "r3".to_owned();
    graph
        .initializers
        .insert("half".to_owned(), Tensor::scalar_f32(0.5));
    let place = Place::new(&proto(&graph));
    place
        .tune("--head keep")
        .refused(&["`r3` (If)", "condition"]);
    // Behind the class scores it is in nobody's way.
    let mut graph = classifier();
    graph.nodes.extend([
        node("ReduceMax", &["y"], "most").with("keepdims", 0),
        node("Greater", &["most", "half"], "c"),
        node("If", &["c"], "z")
            .with(
                "then_branch",
                branch("then_branch", &[node("Relu", &["y"], "t")], "t"),
            )
            .with(
                "else_branch",
                branch("else_branch", &[node("Neg", &["y"], "t")], "t"),
            ),
    ]);
    graph
        .initializers
        .insert("half".to_owned(), Tensor::scalar_f32(0.5));
    graph.outputs.push(ftsurgery::graph::Value {
        name: "z".to_owned(),
        dtype: DataType::Float,
        dims: None,
    });
    let place = Place::new(&proto(&graph));
    place.tune("--head keep").well();
    assert_eq!(outputs(&place.winner()), ["y", "z"]);
    // Nor does it hide from a new head what that stands on.
    let said = place.tune("--force").well();
    assert!(said.contains("on `r2` (8 channels of 4 × 4)"), "{said}");
    assert_eq!(outputs(&place.winner()), ["probabilities"]);
}
