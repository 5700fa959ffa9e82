//! Batches: models whose results depend on which images share one, and models that are freed from the size of one.

use ftsurgery::graph::{Dim, Graph};
use ftsurgery::onnx::messages::ModelProto;
use ftsurgery::onnx::{Model, Tensor};
use ftsurgery::runtime::testing::has_runtime;
use serde_json::Value as Json;

use crate::models::*;

/// The classifier with what is made of the map of its first convolution.
fn with(made: Vec<ftsurgery::graph::Node>, last: &str) -> Graph {
    let mut graph = classifier();
    for (place, node) in made.into_iter().enumerate() {
        graph.nodes.insert(1 + place, node);
    }
    let relu = graph.nodes.iter_mut().find(|n| n.outputs == ["r1"]);
    relu.unwrap().inputs[0] = last.to_owned();
    graph
}

/// A normalisation by the batch, and attention of each image to all.
fn mixing() -> [Graph; 2] {
    let mean = node("ReduceMean", &["c1"], "mean").with("axes", vec![0i64, 2, 3]);
    let centred = with(
        vec![mean, node("Sub", &["c1", "mean"], "centred")],
        "centred",
    );
    let attention = with(
        vec![
            node("Flatten", &["c1"], "rows"),
            node("Transpose", &["rows"], "columns").with("perm", vec![1i64, 0]),
            node("MatMul", &["rows", "columns"], "products"),
            node("Mul", &["products", "small"], "scaled"),
            node("Softmax", &["scaled"], "weights").with("axis", 1),
            node("MatMul", &["weights", "rows"], "attended"),
            node("Reshape", &["attended", "map"], "back"),
        ],
        "back",
    );
    [centred, attention].map(|mut graph| {
        let map = Tensor::i64s(&[-1, 8, 8, 8]);
        graph.initializers.insert("map".to_owned(), map);
        let small = Tensor::scalar_f32(1e-3);
        graph.initializers.insert("small".to_owned(), small);
        graph
    })
}

fn probabilities(place: &Place, images: &[String]) -> (Vec<Vec<(String, f64)>>, String) {
    let said = place.run(&format!(
        "predict model.onnx --preprocess unit --top 3 --json {}",
        images.join(" ")
    ));
    let told = said.well();
    let all: Json = serde_json::from_str(&said.out()).unwrap();
    let of = |image: &Json| {
        let classes = image["classes"].as_array().unwrap().iter();
        let mut classes: Vec<(String, f64)> = classes
            .map(|c| {
                let name = c["name"].as_str().unwrap().to_owned();
                (name, c["probability"].as_f64().unwrap())
            })
            .collect();
        classes.sort_by(|a, b| a.0.cmp(&b.0));
        classes
    };
    (all.as_array().unwrap().iter().map(of).collect(), told)
}

#[test]
fn what_is_said_of_an_image_does_not_depend_on_those_beside_it() {
    if !has_runtime() {
        return;
    }
    let of = |class: &&str| Vec::from_iter((0..8).map(|i| format!("photos/{class}/{i}.png")));
    let images: Vec<Vec<String>> = CLASSES.iter().map(of).collect();
    let told = "something else of a sample beside others";
    for batch in [None, Some(4)] {
        for (index, mut graph) in mixing().into_iter().enumerate() {
            if let Some(batch) = batch {
                for value in graph.inputs.iter_mut().chain(&mut graph.outputs) {
                    value.dims.as_mut().unwrap()[0] = Dim::Known(batch);
                }
            }
            let place = Place::new(&proto(&graph));
            let (all, said) = probabilities(&place, &images.concat());
            assert!(said.contains(told), "{index} {batch:?}: {said}");
            for (place_in_list, image) in [(0, &images[0][0]), (12, &images[1][4])] {
                let (alone, _) = probabilities(&place, std::slice::from_ref(image));
                assert_close(&alone[0], &all[place_in_list]);
            }
            // The loss of `evaluate` is that of each image by itself.
            let said = place.run("evaluate model.onnx --data photos --preprocess unit --json");
            assert!(said.well().contains(told), "{}", said.text());
            let result: Json = serde_json::from_str(&said.out()).unwrap();
            let losses = all.iter().enumerate().map(|(i, c)| -c[i / 8].1.ln());
            let loss = losses.sum::<f64>() / all.len() as f64;
            let own = result["loss"].as_f64().unwrap();
            assert!((own - loss).abs() < 1e-4, "{index} {batch:?}: {own} {loss}");
        }
    }
    let place = Place::new(&proto(&classifier()));
    let said = place.run("evaluate model.onnx --data photos --preprocess unit");
    assert!(!said.well().contains(told), "{}", said.text());
}

#[test]
fn what_mixes_the_images_of_a_batch_is_refused_before_training() {
    if !has_runtime() {
        return;
    }
    for (graph, node) in mixing()
        .into_iter()
        .zip(["`mean` (ReduceMean)", "`products` (MatMul)"])
    {
        let place = Place::new(&proto(&graph));
        for head in ["linear", "keep"] {
            let said = place.tune(&format!("--head {head}"));
            said.refused(&[node, "for inference"]);
        }
    }
}

#[test]
fn a_graph_that_was_written_down_for_one_image_is_run_on_each_by_itself() {
    if !has_runtime() {
        return;
    }
    // Any number of images, of which a reshape makes one row.
    let mut graph = classifier();
    let flatten = graph.nodes.iter_mut().find(|n| n.name == "f").unwrap();
    *flatten = node("Reshape", &["p", "row"], "f");
    let row = ftsurgery::onnx::Tensor::i64s(&[1, 8]);
    graph.initializers.insert("row".to_owned(), row);
    let place = Place::new(&proto(&graph));
    let all = [
        "photos/red/0.png",
        "photos/blue/1.png",
        "photos/green/2.png",
    ];
    let all = all.map(str::to_owned);
    let (together, said) = probabilities(&place, &all);
    assert!(said.contains("run one at a time"), "{said}");
    let plain = Place::new(&proto(&classifier()));
    let (expected, _) = probabilities(&plain, &all);
    for (one, other) in together.iter().zip(&expected) {
        assert_close(one, other);
    }
    place
        .run("evaluate model.onnx --data photos --preprocess unit")
        .well();
    // Images that fail alone, too, fail.
    let row = ftsurgery::onnx::Tensor::i64s(&[1, 9]);
    graph.initializers.insert("row".to_owned(), row);
    let place = Place::new(&proto(&graph));
    place
        .run("evaluate model.onnx --data photos --preprocess unit")
        .refused(&["Reshape"]);
}

/// The classifier for one image, with a token joined to its map as a vision transformer has it, of an opset.
fn with_token(opset: i64) -> ModelProto {
    let mut nodes = trunk();
    nodes.extend([
        node("Reshape", &["r2", "rows"], "words"),
        node("Transpose", &["words"], "turned").with("perm", vec![0i64, 2, 1]),
        node("Concat", &["token", "turned"], "joined").with("axis", 1),
        node("MatMul", &["joined", "mix"], "mixed"),
        node("Gather", &["mixed", "first"], "f").with("axis", 1),
        node("Gemm", &["f", "wf", "bf"], "y").with("transB", 1),
    ]);
    let more: [(&str, &[usize]); 4] = [
        ("wf", &[3, 8]),
        ("bf", &[3]),
        ("token", &[1, 1, 8]),
        ("mix", &[8, 8]),
    ];
    let mut graph = graph(nodes, &[&TRUNK[..], &more].concat(), &[("y", &[3])]);
    let first = Tensor {
        dims: vec![],
        ..Tensor::i64s(&[0])
    };
    graph.initializers.insert("first".to_owned(), first);
    let rows = Tensor::i64s(&[1, 8, 16]);
    graph.initializers.insert("rows".to_owned(), rows);
    for value in graph.inputs.iter_mut().chain(&mut graph.outputs) {
        value.dims.as_mut().unwrap()[0] = Dim::Known(1);
    }
    let mut proto = proto(&graph);
    proto.opset_import[0].version = Some(opset);
    proto
}

fn takes_any(model: &Model) -> bool {
    let graph = Graph::from_model(model).unwrap();
    let mut values = graph.inputs.iter().chain(&graph.outputs);
    values.all(|value| matches!(value.dims.as_ref().unwrap()[0], Dim::Symbolic(_)))
}

#[test]
fn a_token_that_is_joined_to_one_image_is_repeated_in_tuned_models_of_opset_8_and_newer() {
    if !has_runtime() {
        return;
    }
    for (opset, is_freed) in [(7, false), (8, true), (11, true), (13, true), (15, true)] {
        let place = Place::new(&with_token(opset));
        let told = place.tune("").well();
        assert_eq!(
            told.contains("take batches of any size"),
            is_freed,
            "{opset}: {told}"
        );
        assert_eq!(told.contains("`Expand`"), !is_freed, "{opset}: {told}");
        assert_eq!(takes_any(&place.winner()), is_freed);
        assert_eq!(place.winner().opset(), opset);
        let said = place.run("evaluate run/winners/full.onnx --data photos");
        assert!(!said.well().contains("beside others"), "{}", said.text());
    }
}

#[test]
fn gates_are_freed_from_the_batch_with_the_network_that_they_are_in() {
    if !has_runtime() {
        return;
    }
    let mut graph = classifier();
    for value in graph.inputs.iter_mut().chain(&mut graph.outputs) {
        value.dims.as_mut().unwrap()[0] = Dim::Known(1);
    }
    let place = Place::new(&proto(&graph));
    let strategies = "--strategies head,adafilter --adafilter-layers all";
    let told = place.tune(strategies).well();
    assert!(!told.contains("stays made for"), "{told}");
    let model = Model::open(&place.at("run/winners/adafilter.onnx")).unwrap();
    assert!(takes_any(&model));
    let said = place.run("evaluate run/winners/adafilter.onnx --data photos");
    assert!(!said.well().contains("beside others"), "{}", said.text());
    place
        .tune(&format!("{strategies} --keep-batch --force"))
        .well();
    assert!(!takes_any(
        &Model::open(&place.at("run/winners/adafilter.onnx")).unwrap()
    ));
}

#[test]
fn of_two_classifiers_side_by_side_a_new_head_takes_the_place_of_both() {
    if !has_runtime() {
        return;
    }
    let mut nodes = trunk();
    let token =
        |index: &str, vector: &str| node("Gather", &["turned", index], vector).with("axis", 1);
    nodes.extend([
        node("Reshape", &["r2", "rows"], "words"),
        node("Transpose", &["words"], "turned").with("perm", vec![0i64, 2, 1]),
        token("zero", "first"),
        token("one", "second"),
        node("Gemm", &["first", "w3", "b3"], "s1").with("transB", 1),
        node("Gemm", &["second", "w4", "b4"], "s2").with("transB", 1),
        node("Add", &["s1", "s2"], "sum"),
        node("Div", &["sum", "two"], "y"),
    ]);
    let more: [(&str, &[usize]); 4] =
        [("w3", &[3, 8]), ("b3", &[3]), ("w4", &[3, 8]), ("b4", &[3])];
    let mut graph = graph(nodes, &[&TRUNK[..], &more].concat(), &[("y", &[3])]);
    for (name, value) in [("zero", 0), ("one", 1)] {
        let number = Tensor {
            dims: vec![],
            ..Tensor::i64s(&[value])
        };
        graph.initializers.insert(name.to_owned(), number);
    }
    let rows = Tensor::i64s(&[0, 8, 16]);
    graph.initializers.insert("rows".to_owned(), rows);
    graph
        .initializers
        .insert("two".to_owned(), Tensor::scalar_f32(2.0));
    let place = Place::new(&proto(&graph));
    for (arguments, features) in [("", "`first`"), ("--features second --force", "`second`")] {
        let told = place.tune(arguments).well();
        assert!(
            told.contains(&format!("head linear on {features}")),
            "{told}"
        );
        let model = place.winner();
        assert_eq!(
            operators(&model).iter().filter(|op| **op == "Gemm").count(),
            1
        );
        place
            .run("evaluate run/winners/full.onnx --data photos")
            .well();
    }
    let told = place.tune("--force").well();
    assert!(
        told.contains("side by side") && told.contains("--features 'second'"),
        "{told}"
    );
    place.tune("--head keep --force").well();
    assert!(!floats(&place.winner(), "w4").is_empty());
}
