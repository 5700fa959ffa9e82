//! Old opsets, nodes out of order, names, batch sizes: what is made right in memory, and what the file keeps.

use ftsurgery::graph::{Dim, Graph};
use ftsurgery::onnx::messages::ModelProto;
use ftsurgery::onnx::{DataType, Model, Tensor};
use ftsurgery::runtime::testing::has_runtime;

use crate::models::*;

fn at_opset(graph: &Graph, opset: i64) -> ModelProto {
    let mut proto = proto(graph);
    proto.opset_import[0].version = Some(opset);
    proto.ir_version = Some(3);
    // Before IR 4 initializers are inputs, too.
    let inner = proto.graph.as_mut().unwrap();
    for (name, tensor) in &graph.initializers {
        let value = ftsurgery::graph::Value::fixed(name, tensor.dtype, &tensor.dims);
        inner.input.push(ftsurgery::graph::value_to_proto(&value));
    }
    proto
}

/// The classifier with a normalisation, a dropout and a resize as they were written once.
fn old() -> Graph {
    let mut graph = classifier();
    let norm = node("BatchNormalization", &["c2", "s", "b", "m", "v"], "n2").with("spatial", 1);
    graph.nodes.insert(3, norm);
    graph.nodes[4].inputs[0] = "n2".to_owned();
    let larger = node("Upsample", &["r2"], "u").with("mode", "nearest").with(
        "scales",
        ftsurgery::graph::Attribute::Floats(vec![1.0, 1.0, 2.0, 2.0]),
    );
    graph.nodes.insert(5, larger);
    graph.nodes[6].inputs[0] = "u".to_owned();
    graph
        .nodes
        .insert(8, node("Dropout", &["f"], "d").with("ratio", 0.5f32));
    graph.nodes[9].inputs[0] = "d".to_owned();
    for name in ["s", "b", "m"] {
        graph
            .initializers
            .insert(name.to_owned(), noise(name, &[8]));
    }
    graph
        .initializers
        .insert("v".to_owned(), Tensor::f32(&[8], &[0.5; 8]));
    graph
}

#[test]
fn opsets_7_and_8_are_trained_and_stay() {
    if !has_runtime() {
        return;
    }
    for opset in [7, 8] {
        for head in ["keep", "linear", "paper --head-init random"] {
            let place = Place::new(&at_opset(&old(), opset));
            place.run("analyze model.onnx").well();
            place.tune(&format!("--head {head}")).well();
            let (model, before) = (
                place.winner(),
                Model::open(&place.at("model.onnx")).unwrap(),
            );
            assert_eq!(model.opset(), opset);
            assert_ne!(floats(&model, "w1"), floats(&before, "w1"));
            assert_ne!(floats(&model, "s"), floats(&before, "s"));
        }
    }
}

#[test]
fn what_onnxruntime_runs_of_opset_6_is_trained_with_its_own_head() {
    if !has_runtime() {
        return;
    }
    let mut nodes = trunk();
    nodes.extend([
        node("Conv", &["r2", "w3", "b3"], "c3"),
        node("GlobalAveragePool", &["c3"], "p"),
        node("Flatten", &["p"], "y"),
    ]);
    let third: [(&str, &[usize]); 2] = [("w3", &[3, 8, 1, 1]), ("b3", &[3])];
    let graph = graph(nodes, &[&TRUNK[..], &third].concat(), &[("y", &[3])]);
    let place = Place::new(&at_opset(&graph, 6));
    place.tune("--head keep").well();
    assert_eq!(place.winner().opset(), 6);
    place.tune("--force").refused(&["opset 6", "opset 7"]);
    // onnxruntime has no dense layer of that opset.
    let place = Place::new(&at_opset(&classifier(), 6));
    place.tune("--head keep").refused(&["Gemm"]);
    let place = Place::new(&at_opset(&classifier(), 4));
    place.tune("").refused(&["opset 4", "needs opset 7"]);
}

#[test]
fn nodes_out_of_order_come_out_in_order() {
    if !has_runtime() {
        return;
    }
    let mut graph = classifier();
    graph.nodes.reverse();
    for head in ["keep", "linear"] {
        let place = Place::new(&proto(&graph));
        place.tune(&format!("--head {head}")).well();
        let model = place.winner();
        let mut made: Vec<&str> = model.graph().initializer.iter().map(|t| t.name()).collect();
        made.push("x");
        for node in &model.graph().node {
            let early = node.input.iter().find(|i| !made.contains(&i.as_str()));
            assert_eq!(early, None, "{head}");
            made.extend(node.output.iter().map(String::as_str));
        }
    }
}

#[test]
fn repeated_and_empty_names_of_nodes_are_in_nobodys_way() {
    if !has_runtime() {
        return;
    }
    for name in ["same", "", "/a/b c/Ünï [x*?] $a {}"] {
        let mut proto = proto(&classifier());
        for node in &mut proto.graph.as_mut().unwrap().node {
            node.name = Some(name.to_owned());
        }
        for arguments in [
            "--head keep",
            "",
            "--strategies layers,blocks --search-fraction 0.2",
        ] {
            let place = Place::new(&proto);
            place.tune(arguments).well();
        }
    }
}

/// The classifier made for one image; with `reshapes`, by reshapes that say so, too.
fn for_one(reshapes: bool) -> ModelProto {
    let mut graph = classifier();
    if reshapes {
        graph.nodes[5] = node("Reshape", &["p", "shape"], "f");
        graph
            .initializers
            .insert("shape".to_owned(), Tensor::i64s(&[1, 8]));
    }
    for value in graph.inputs.iter_mut().chain(&mut graph.outputs) {
        value.dims.as_mut().unwrap()[0] = Dim::Known(1);
    }
    proto(&graph)
}

#[test]
fn a_model_made_for_one_image_is_tuned_to_one_for_any_number() {
    if !has_runtime() {
        return;
    }
    for reshapes in [false, true] {
        for head in ["keep", "linear"] {
            let place = Place::new(&for_one(reshapes));
            let said = place.tune(&format!("--head {head}")).well();
            assert!(said.contains("take batches of any size"), "{said}");
            let model = place.winner();
            let graph = Graph::from_model(&model).unwrap();
            for value in graph.inputs.iter().chain(&graph.outputs) {
                let first = value.dims.as_ref().unwrap()[0].clone();
                assert!(matches!(first, Dim::Symbolic(_)), "{}", value.name);
            }
            place
                .run("evaluate run/winners/full.onnx --data photos --json")
                .well();
            std::fs::remove_dir_all(place.at("run")).unwrap();
            let said = place.tune(&format!("--head {head} --keep-batch")).well();
            assert!(!said.contains("any size"), "{said}");
            let graph = Graph::from_model(&place.winner()).unwrap();
            assert_eq!(graph.inputs[0].dims.as_ref().unwrap()[0], Dim::Known(1));
        }
    }
}

/// The classifier with a BatchNormalization and a Dropout of its data, as they were while it was trained or as they
/// infer.
fn with_norm(training: bool) -> ModelProto {
    let mut graph = classifier();
    let norm = node("BatchNormalization", &["c1", "s", "b1", "b2", "v"], "n1");
    let mut norm = norm.with("training_mode", i64::from(training));
    let mut drop = node("Dropout", &["f", "rate"], "d");
    if training {
        norm.outputs.extend(["m".to_owned(), "u".to_owned()]);
        drop.inputs.push("train".to_owned());
    }
    graph.nodes[1].inputs[0] = "n1".to_owned();
    graph.nodes[6].inputs[0] = "d".to_owned();
    graph.nodes.insert(6, drop);
    graph.nodes.insert(1, norm);
    for (name, tensor) in [
        ("s", Tensor::f32(&[8], &[0.9; 8])),
        ("v", Tensor::f32(&[8], &[1.7; 8])),
        ("rate", Tensor::f32(&[], &[0.5])),
        (
            "train",
            Tensor {
                dtype: DataType::Bool,
                dims: vec![],
                data: vec![1].into(),
            },
        ),
    ] {
        graph.initializers.insert(name.to_owned(), tensor);
    }
    proto(&graph)
}

#[test]
fn a_model_in_training_mode_is_refused_with_the_way_out_and_infers_with_it() {
    if !has_runtime() {
        return;
    }
    let place = Place::new(&with_norm(true));
    for head in ["keep", "linear"] {
        place
            .tune(&format!("--head {head}"))
            .refused(&["in training mode", "--inference-mode"]);
    }
    let alone = Place::new(&with_norm(false));
    for head in ["keep", "linear"] {
        let arguments = format!("--head {head} --inference-mode");
        place.tune(&arguments).well();
        alone.tune(&format!("--head {head}")).well();
        assert_eq!(
            floats(&place.winner(), "w1"),
            floats(&alone.winner(), "w1"),
            "{head}"
        );
        for kept in [&place, &alone] {
            std::fs::remove_dir_all(kept.at("run")).unwrap();
        }
    }
    let said = alone.tune("--inference-mode").well();
    assert!(said.contains("--inference-mode does nothing"), "{said}");
}

#[test]
fn inputs_that_nothing_reads_are_kept_and_count_for_none() {
    if !has_runtime() {
        return;
    }
    // As Keras writes the constants of a normalisation that it has folded.
    let mut model = proto(&classifier());
    let idle = ftsurgery::graph::Value::fixed("idle", DataType::Float, &[1, 1, 1, 3]);
    let inputs = &mut model.graph.as_mut().unwrap().input;
    inputs.insert(0, ftsurgery::graph::value_to_proto(&idle));
    let (place, alone) = (Place::new(&model), Place::new(&proto(&classifier())));
    place.run("analyze model.onnx").well();
    assert_close(
        &place.predicted("model.onnx", ""),
        &alone.predicted("model.onnx", ""),
    );
    for head in ["keep", "linear"] {
        place.tune(&format!("--head {head} --force")).well();
        let winner = place.winner();
        let names: Vec<&str> = winner.graph().input.iter().map(|i| i.name()).collect();
        assert_eq!(names, ["idle", "x"], "{head}");
        place.predicted("run/winners/full.onnx", "");
    }
}

#[test]
fn a_normalisation_by_the_batch_that_is_written_out_is_refused_before_training() {
    if !has_runtime() {
        return;
    }
    // As Keras may write it: the mean over the images and places.
    let mut graph = classifier();
    let mean = node("ReduceMean", &["c1"], "mean").with("axes", vec![0i64, 2, 3]);
    graph.nodes.insert(1, mean);
    graph
        .nodes
        .insert(2, node("Sub", &["c1", "mean"], "centred"));
    graph.nodes[3].inputs[0] = "centred".to_owned();
    let place = Place::new(&proto(&graph));
    for head in ["linear", "keep"] {
        place
            .tune(&format!("--head {head}"))
            .refused(&["`mean` (ReduceMean)", "for inference"]);
    }
}
