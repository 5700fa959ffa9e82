//! Which output is the class scores, and which value the feature.

use ftsurgery::graph::Graph;
use ftsurgery::onnx::{Model, Tensor};
use ftsurgery::runtime::testing::has_runtime;

use crate::models::*;

/// The classifier with one beside its trunk, which the file lists first.
fn with_auxiliary() -> Graph {
    let mut graph = classifier();
    graph.nodes.extend([
        node("GlobalAveragePool", &["r1"], "pa"),
        node("Flatten", &["pa"], "fa"),
        node("Gemm", &["fa", "wa", "ba"], "aux").with("transB", 1),
    ]);
    for (name, dims) in [("wa", &[3, 8][..]), ("ba", &[3])] {
        graph
            .initializers
            .insert(name.to_owned(), noise(name, dims));
    }
    let aux = ftsurgery::graph::Value::batched("aux", &[3]);
    graph.outputs.insert(0, aux);
    graph
}

#[test]
fn the_deepest_of_two_classifiers_is_tuned_and_the_other_is_kept_with_the_old_head_alone() {
    if !has_runtime() {
        return;
    }
    let place = Place::new(&proto(&with_auxiliary()));
    let said = place.tune("--head keep").well();
    assert!(
        said.contains("2 outputs: `y` is taken for the class scores, and `aux` is left alone"),
        "{said}"
    );
    let (model, before) = (
        place.winner(),
        Model::open(&place.at("model.onnx")).unwrap(),
    );
    assert_eq!(outputs(&model), ["aux", "y"]);
    assert_eq!(floats(&model, "wa"), floats(&before, "wa"));
    for name in ["wf", "w2", "w1"] {
        assert_ne!(floats(&model, name), floats(&before, name), "{name}");
    }
    std::fs::remove_dir_all(place.at("run")).unwrap();
    let said = place.tune("").well();
    assert!(
        said.contains("in place of all outputs") || said.contains("`aux` too"),
        "{said}"
    );
    let model = place.winner();
    assert_eq!(outputs(&model), ["probabilities"]);
    assert_eq!(floats(&model, "w2").len(), 8 * 8 * 9, "the trunk is whole");
    assert!(model.graph().initializer.iter().all(|t| t.name() != "wa"));
}

#[test]
fn another_output_is_taken_where_it_is_asked_for_and_the_tuned_model_knows() {
    if !has_runtime() {
        return;
    }
    let place = Place::new(&proto(&with_auxiliary()));
    place.tune("--head keep --output aux").well();
    let (model, before) = (
        place.winner(),
        Model::open(&place.at("model.onnx")).unwrap(),
    );
    assert_eq!(model.metadata("ftsurgery.output"), Some("aux"));
    assert_ne!(floats(&model, "wa"), floats(&before, "wa"));
    assert_eq!(floats(&model, "w2"), floats(&before, "w2"));
    let own = place.predicted("run/winners/full.onnx", "");
    assert_eq!(
        own,
        place.predicted("run/winners/full.onnx", "--output aux")
    );
    assert_ne!(own, place.predicted("run/winners/full.onnx", "--output y"));
    // A new head on a tuned model takes the place of what its metadata name.
    std::fs::copy(place.at("run/winners/full.onnx"), place.at("model.onnx")).unwrap();
    std::fs::remove_dir_all(place.at("run")).unwrap();
    place.tune("--strategies head").well();
    let head = Model::open(&place.at("run/winners/head.onnx")).unwrap();
    assert_eq!(head.metadata("ftsurgery.output"), Some("probabilities"));
    place.predicted("run/winners/head.onnx", "");
    place
        .tune("--output z --force")
        .refused(&["`z`", "`aux`, `y`"]);
}

#[test]
fn an_embedding_beside_the_logits_is_left_alone() {
    if !has_runtime() {
        return;
    }
    let mut graph = classifier();
    graph
        .outputs
        .insert(0, ftsurgery::graph::Value::batched("f", &[8]));
    let place = Place::new(&proto(&graph));
    let alone = Place::new(&proto(&classifier()));
    assert_close(
        &place.predicted("model.onnx", ""),
        &alone.predicted("model.onnx", ""),
    );
    place.tune("--head keep").well();
    assert_eq!(outputs(&place.winner()), ["f", "y"]);
}

#[test]
fn of_the_largest_scores_these_themselves_are_taken() {
    if !has_runtime() {
        return;
    }
    let mut graph = classifier();
    graph
        .nodes
        .push(node("Softmax", &["y"], "p3").with("axis", 1));
    let mut top = node("TopK", &["p3", "k"], "values");
    top.outputs.push("indices".to_owned());
    graph.nodes.push(top);
    graph
        .initializers
        .insert("k".to_owned(), ftsurgery::onnx::Tensor::i64s(&[2]));
    let value = |name: &str, dims: &[usize]| ftsurgery::graph::Value::batched(name, dims);
    graph.outputs = vec![value("values", &[2]), value("indices", &[2])];
    graph.outputs[1].dtype = ftsurgery::onnx::DataType::Int64;
    let place = Place::new(&proto(&graph));
    let alone = Place::new(&proto(&classifier()));
    assert_close(
        &place.predicted("model.onnx", ""),
        &alone.predicted("model.onnx", ""),
    );
    let said = place.tune("--head keep").well();
    assert!(
        said.contains("`p3`, a value inside of it, is taken"),
        "{said}"
    );
    assert_eq!(outputs(&place.winner()), ["values", "indices"]);
    assert_eq!(place.predicted("run/winners/full.onnx", "").len(), 3);

    // A label alone.
    let mut graph = classifier();
    graph.nodes.push(
        node("ArgMax", &["y"], "label")
            .with("axis", 1)
            .with("keepdims", 0),
    );
    graph.outputs = vec![ftsurgery::graph::Value {
        name: "label".to_owned(),
        dtype: ftsurgery::onnx::DataType::Int64,
        dims: Some(vec![ftsurgery::graph::Dim::Symbolic("N".to_owned())]),
    }];
    let place = Place::new(&proto(&graph));
    assert_close(
        &place.predicted("model.onnx", ""),
        &alone.predicted("model.onnx", ""),
    );
    place.tune("").well();
}

#[test]
fn an_output_that_is_no_tensor_is_nobodys_class_scores() {
    if !has_runtime() {
        return;
    }
    let mut graph = classifier();
    graph
        .nodes
        .push(node("Softmax", &["y"], "sm").with("axis", 1));
    let mut map = node("ZipMap", &["sm"], "table").with("classlabels_int64s", vec![0, 1, 2]);
    map.domain = "ai.onnx.ml".to_owned();
    graph.nodes.push(map);
    graph.outputs[0].name = "sm".to_owned();
    let alone = Place::new(&proto(&classifier()));
    let of = |all: bool| {
        let mut proto = proto(&graph);
        import(&mut proto, "ai.onnx.ml", 1);
        let outputs = &mut proto.graph.as_mut().unwrap().output;
        outputs.push(sequence("table"));
        if !all {
            outputs.remove(0);
        }
        Place::new(&proto)
    };
    for all in [true, false] {
        let place = of(all);
        place.run("analyze model.onnx").well();
        assert_close(
            &place.predicted("model.onnx", ""),
            &alone.predicted("model.onnx", ""),
        );
        place.tune("").well();
        assert_eq!(outputs(&place.winner()), ["probabilities"]);
        assert!(!operators(&place.winner()).contains(&"ZipMap"));
        std::fs::remove_dir_all(place.at("run")).unwrap();
        place.tune("--head keep").well();
        assert!(operators(&place.winner()).contains(&"ZipMap"));
    }
}

#[test]
fn an_output_that_may_be_nothing_is_left_alone() {
    if !has_runtime() {
        return;
    }
    // As PyTorch writes a scripted module whose auxiliary scores are `None`.
    let place = Place::new(&with_nothing(&proto(&classifier())));
    let alone = Place::new(&proto(&classifier()));
    place.run("analyze model.onnx").well();
    assert_close(
        &place.predicted("model.onnx", ""),
        &alone.predicted("model.onnx", ""),
    );
    place.tune("").well();
    assert_eq!(outputs(&place.winner()), ["probabilities"]);
    std::fs::remove_dir_all(place.at("run")).unwrap();
    place.tune("--head keep").well();
    assert_eq!(outputs(&place.winner()), ["y", "nothing"]);
    place.predicted("run/winners/full.onnx", "");
}

#[test]
fn a_transformer_without_a_classifier_gets_a_head_on_the_token_that_it_gives() {
    if !has_runtime() {
        return;
    }
    let mut nodes = trunk();
    nodes.extend([
        node("Reshape", &["r2", "shape"], "flat"),
        node("Transpose", &["flat"], "tokens").with("perm", vec![0, 2, 1]),
        node("MatMul", &["tokens", "wt"], "m"),
        node("Gather", &["m", "first"], "token").with("axis", 1),
    ]);
    let weights = [&TRUNK[..], &[("wt", &[8, 16])]].concat();
    let mut graph = graph(nodes, &weights, &[("token", &[16])]);
    for (name, tensor) in [
        ("shape", Tensor::i64s(&[0, 8, 16])),
        ("first", Tensor::scalar_i64(0)),
    ] {
        graph.initializers.insert(name.to_owned(), tensor);
    }
    let place = Place::new(&proto(&graph));
    let said = place.tune("--head linear").well();
    assert!(
        said.contains("`token`") && said.contains("all layers stay"),
        "{said}"
    );
    let (model, before) = (
        place.winner(),
        Model::open(&place.at("model.onnx")).unwrap(),
    );
    assert_ne!(floats(&model, "wt"), floats(&before, "wt"));
    assert_eq!(outputs(&model), ["probabilities"]);
    // Its own output is no classifier's.
    let said = place.run("evaluate model.onnx --data photos --preprocess unit");
    assert!(
        said.text().contains("without a classifier"),
        "{}",
        said.text()
    );
}

#[test]
fn a_network_without_a_classifier_keeps_all_its_layers() {
    if !has_runtime() {
        return;
    }
    let mut vector = trunk();
    vector.extend([
        node("GlobalAveragePool", &["r2"], "p"),
        node("Flatten", &["p"], "f"),
    ]);
    let mut narrow = trunk();
    narrow.extend([
        node("Conv", &["r2", "w3"], "c3"),
        node("Relu", &["c3"], "r3"),
        node("ReduceMean", &["r3"], "f")
            .with("axes", vec![2, 3])
            .with("keepdims", 0),
    ]);
    let third: (&str, &[usize]) = ("w3", &[16, 8, 1, 1]);
    let weights = [&TRUNK[..], &[third]].concat();
    for (graph, last, feature, doubt) in [
        (
            graph(vector, &TRUNK, &[("f", &[8])]),
            "w2",
            "`r2` (8 channels of 4 × 4)",
            false,
        ),
        (
            graph(trunk(), &TRUNK, &[("r2", &[8, 4, 4])]),
            "w2",
            "`r2` (8 channels of 4 × 4)",
            false,
        ),
        (
            graph(narrow, &weights, &[("f", &[16])]),
            "w3",
            "`r3` (16 channels of 4 × 4)",
            true,
        ),
    ] {
        for head in ["linear", "paper --head-init random"] {
            let place = Place::new(&proto(&graph));
            let said = place.tune(&format!("--head {head}")).well();
            assert!(
                said.contains(feature) && said.contains("all layers stay"),
                "{said}"
            );
            assert_eq!(said.contains("--features"), doubt, "{said}");
            let (model, before) = (
                place.winner(),
                Model::open(&place.at("model.onnx")).unwrap(),
            );
            assert_ne!(floats(&model, last), floats(&before, last));
            assert_eq!(outputs(&model), ["probabilities"]);
        }
    }
}

#[test]
fn one_window_that_hangs_over_the_whole_map_pools_it() {
    if !has_runtime() {
        return;
    }
    // As EfficientNet of transformers has it, with a kernel of as many pixels as the map has channels.
    let mut graph = classifier();
    graph.nodes[4] = node("AveragePool", &["r2"], "p")
        .with("kernel_shape", vec![16i64, 16])
        .with("strides", vec![16i64, 16])
        .with("count_include_pad", 1)
        .with("ceil_mode", 1);
    let (place, alone) = (
        Place::new(&proto(&graph)),
        Place::new(&proto(&classifier())),
    );
    assert_close(
        &place.predicted("model.onnx", ""),
        &alone.predicted("model.onnx", ""),
    );
    for head in ["keep", "linear"] {
        let said = place.tune(&format!("--head {head} --force")).well();
        assert!(
            head == "keep" || said.contains("`r2` (8 channels of 4 × 4)"),
            "{said}"
        );
        place.predicted("run/winners/full.onnx", "");
    }
}

#[test]
fn a_convolution_that_gives_class_scores_gives_way_to_a_new_head() {
    if !has_runtime() {
        return;
    }
    // As SqueezeNet has it: of 5 classes, which is no width, or with a softmax behind.
    for (classes, soft) in [(5usize, false), (16, true)] {
        let mut nodes = trunk();
        nodes.extend([
            node("Conv", &["r2", "w3"], "c3"),
            node("Relu", &["c3"], "r3"),
            node("GlobalAveragePool", &["r3"], "p"),
            node("Flatten", &["p"], "f"),
        ]);
        let mut output = "f";
        if soft {
            nodes.push(node("Softmax", &["f"], "s").with("axis", 1));
            output = "s";
        }
        let third = ("w3", &[classes, 8, 1, 1][..]);
        let graph = graph(
            nodes,
            &[&TRUNK[..], &[third]].concat(),
            &[(output, &[classes])],
        );
        let place = Place::new(&proto(&graph));
        let said = place.tune("").well();
        assert!(
            said.contains("`r2` (8 channels of 4 × 4) in place of c3"),
            "{said}"
        );
    }
}

#[test]
fn a_new_head_gives_logits_where_these_are_asked_for() {
    if !has_runtime() {
        return;
    }
    let place = Place::new(&proto(&classifier()));
    for task in ["single-label", "multi-label"] {
        let tuned = |more: &str| {
            let flags = format!("--strategies head --task {task} --force {more}");
            let said = place.tune(&flags).well();
            let model = Model::open(&place.at("run/winners/head.onnx")).unwrap();
            (said, model, place.predicted("run/winners/head.onnx", ""))
        };
        let (said, model, plain) = tuned("");
        assert!(said.contains("output `probabilities` for `y`"), "{said}");
        assert_eq!(outputs(&model), ["probabilities"]);
        let (said, model, logits) = tuned("--logits --keep-adapter");
        assert!(said.contains("output `logits` for `y`"), "{said}");
        assert_eq!(outputs(&model), ["logits"]);
        assert_eq!(operators(&model).last(), Some(&"Gemm"));
        // What is said of an image is the same.
        assert_close(&logits, &plain);
        place
            .run("evaluate run/winners/head.onnx --data photos")
            .well();
        place
            .run("apply run/winners/head.safetensors model.onnx --out again.onnx --force")
            .well();
        assert_eq!(
            std::fs::read(place.at("again.onnx")).unwrap(),
            std::fs::read(place.at("run/winners/head.onnx")).unwrap()
        );
    }
    place
        .tune("--head keep --logits --force")
        .refused(&["--logits does nothing here"]);
}
