use super::super::testing::*;
use super::*;
use crate::graph::{Attribute, Dim, Node};
use crate::onnx::messages::{
    AttributeProto, FunctionProto, GraphProto, NodeProto, OperatorSetIdProto, ValueInfoProto,
};
use crate::onnx::{DataType, Tensor};

pub(super) fn grafted(graph: &Graph) -> Grafted {
    Grafted {
        model: model(graph),
        manifest: Default::default(),
        head_parameters: Vec::new(),
        dropout: Vec::new(),
        output: "probabilities".to_owned(),
        task: Default::default(),
    }
}

/// The small classifier without its side branch.
pub(super) fn plain() -> Graph {
    let mut graph = classifier();
    graph.outputs.truncate(1);
    graph.prune();
    graph
}

pub(super) fn low_rank(weights: &[&str], rank: usize, alpha: usize) -> LowRank {
    LowRank {
        weights: weights.iter().map(|&w| w.to_owned()).collect(),
        rank,
        alpha,
        seed: 3,
    }
}

/// A choice of the block from the input to `to`.
fn chosen(to: &str) -> Rewrite {
    Rewrite::SpotTune(SpotTune {
        blocks: vec![GatedBlock {
            name: "first".to_owned(),
            from: "x".to_owned(),
            to: to.to_owned(),
            rank: 4,
        }],
        policy: Policy::Conv,
        reads: PolicyInput {
            value: "x".to_owned(),
            rank: 4,
            channels: 3,
            channels_last: false,
        },
        width: 2,
        start: GateStart::Half,
        seed: 3,
    })
}

/// The first output for two images, of a model whose tensors of these names have other values.
pub(super) fn output(model: &Model, values: &Values) -> Vec<f32> {
    let mut editor = Editor::new(model).unwrap();
    for (name, values) in values {
        editor.set_values(name, values).unwrap();
    }
    let x = numbers(2 * 3 * 64, 5);
    let proto = editor.finish().unwrap().proto;
    run(&proto, &[(&[2, 3, 8, 8], &x)]).remove(0)
}

/// Other values for some tensors of a model.
pub(super) fn others(model: &Model, names: &[String], seed: usize) -> Vec<(String, Vec<f32>)> {
    let graph = Graph::from_model(model).unwrap();
    let values = names.iter().zip(seed..).map(|(name, seed)| {
        let count = graph.initializers[name].dims.iter().product();
        (name.clone(), numbers(count, seed))
    });
    values.collect()
}

/// What leaves, read again and held against its manifest.
pub(super) fn emitted(rewrite: &Rewrite, grafted: &Grafted, tuned: &Values) -> Model {
    let original = &grafted.model;
    let mut editor = grafted.editor(original).unwrap();
    let Merged { rewrite, values } = rewrite.merge(grafted, tuned).unwrap();
    rewrite.emit(grafted, &mut editor).unwrap();
    let Edited { proto, manifest } = super::super::export(editor, &values, &[]).unwrap();
    let written = decode(&proto);
    super::super::holds(original, &written, &manifest).unwrap();
    written
}

#[test]
fn nodes_may_stand_in_any_order() {
    let sorted = grafted(&plain());
    let mut proto = sorted.model.proto.clone();
    proto.graph.as_mut().unwrap().node.reverse();
    let reversed = Grafted {
        model: decode(&proto),
        ..grafted(&plain())
    };
    let rewrites = [
        Rewrite::LowRank(low_rank(&["conv.weight"], 2, 2)),
        chosen("bn"),
    ];
    for rewrite in rewrites {
        let nodes = |grafted: &Grafted| {
            let rewritten = rewrite.apply(grafted).unwrap();
            let graph = Graph::from_model(&rewritten.model).unwrap();
            let mut names: Vec<_> = graph.nodes.iter().map(|n| format!("{n:?}")).collect();
            names.sort();
            names
        };
        assert_eq!(nodes(&reversed), nodes(&sorted));
    }
}

/// The classifier with its convolution and normalisation in a function of the model.
fn with_function(graph: &Graph) -> Grafted {
    let mut proto = model(graph).proto.clone();
    let own = |op: &str| OperatorSetIdProto {
        domain: Some(op.to_owned()),
        version: Some(if op.is_empty() { 17 } else { 1 }),
    };
    proto.opset_import.push(own("local"));
    let nodes = &mut proto.graph.as_mut().unwrap().node;
    let inside: Vec<NodeProto> = nodes.drain(..2).collect();
    let made = |name: &String| inside.iter().any(|n| n.output.contains(name));
    let read = inside.iter().flat_map(|n| &n.input).filter(|i| !made(i));
    let call = NodeProto {
        op_type: Some("Block".to_owned()),
        domain: Some("local".to_owned()),
        name: Some("call".to_owned()),
        input: read.cloned().collect(),
        output: vec!["bn".to_owned()],
        ..NodeProto::default()
    };
    proto.functions = vec![FunctionProto {
        name: Some("Block".to_owned()),
        domain: Some("local".to_owned()),
        input: call.input.clone(),
        output: call.output.clone(),
        node: inside,
        opset_import: vec![own("")],
        ..FunctionProto::default()
    }];
    nodes.insert(0, call);
    Grafted {
        model: decode(&proto),
        ..grafted(graph)
    }
}

#[test]
fn a_function_of_the_model_is_written_out_where_a_rewrite_reaches_inside_of_it() {
    let (plain, inside) = (grafted(&plain()), with_function(&plain()));
    for (rewrite, reaches_inside) in [
        (Rewrite::LowRank(low_rank(&["conv.weight"], 2, 3)), true),
        (chosen("bn"), false),
    ] {
        let rewritten = rewrite.apply(&inside).unwrap();
        assert_eq!(rewritten.model.proto.functions.is_empty(), reaches_inside);
        let tuned = others(&rewritten.model, &rewritten.parameters, 3);
        let expected = output(&rewrite.apply(&plain).unwrap().model, &tuned);
        let written = emitted(&rewrite, &inside, &tuned);
        let written_out = Graph::from_model(&written).unwrap();
        assert_close(&output(&model(&written_out), &[]), &expected);
    }
}

#[test]
fn a_description_is_stored_and_compared() {
    let list = [
        Rewrite::None,
        Rewrite::LowRank(low_rank(&["conv.weight"], 2, 4)),
        Rewrite::LowRank(low_rank(&["conv.weight"], 2, 5)),
        chosen("bn"),
    ];
    let distinct: std::collections::HashSet<&Rewrite> = list.iter().collect();
    assert_eq!(distinct.len(), list.len());
    for rewrite in &list {
        let text = serde_json::to_string(rewrite).unwrap();
        assert_eq!(serde_json::from_str::<Rewrite>(&text).unwrap(), *rewrite);
    }
    assert!(Rewrite::default().is_none() && !list[1].is_none());
}

#[test]
fn nothing_is_changed_by_no_rewrite() {
    let grafted = grafted(&plain());
    let rewritten = Rewrite::None.apply(&grafted).unwrap();
    assert_eq!(rewritten.model.proto, grafted.model.proto);
    assert!(rewritten.added.is_empty() && rewritten.parameters.is_empty());
    let tuned = [("fc.bias".to_owned(), vec![1.0, 2.0, 3.0])];
    let written = emitted(&Rewrite::None, &grafted, &tuned);
    assert_eq!(output(&written, &[]), output(&grafted.model, &tuned));
}

/// The classifier with its dense layer in each of its forms: the weight straight or turned, of a `Gemm` with
/// a factor of its own or of a `MatMul`.
fn dense_forms() -> Vec<Graph> {
    let base = plain();
    let at = base.nodes.iter().position(|n| n.name == "fc").unwrap();
    let mut turned = base.clone();
    turned.nodes[at] = turned.nodes[at]
        .clone()
        .with("transB", 1)
        .with("alpha", 0.5);
    let straight = base.initializers["fc.weight"].to_f32().unwrap();
    let values: Vec<f32> = (0..12).map(|i| straight[i % 4 * 3 + i / 4]).collect();
    let tensor = Tensor::f32(&[3, 4], &values);
    turned.initializers.insert("fc.weight".to_owned(), tensor);
    let mut product = base.clone();
    product.nodes[at] = Node::new("fc", "MatMul", &["flat", "fc.weight"], &["fc"]);
    vec![base, turned, product]
}

#[test]
fn an_update_of_low_rank_begins_at_nothing_and_is_merged_into_its_weights() {
    for graph in dense_forms() {
        let grafted = grafted(&graph);
        for (weights, rank, alpha) in [
            (&["conv.weight", "fc.weight"][..], 2, 3),
            (&["fc.weight"], 3, 1),
            (&["conv.weight"], 1, 8),
        ] {
            let rewrite = Rewrite::LowRank(low_rank(weights, rank, alpha));
            let rewritten = rewrite.apply(&grafted).unwrap();
            assert_eq!(rewritten.parameters.len(), 2 * weights.len());
            let before = output(&grafted.model, &[]);
            assert_eq!(output(&rewritten.model, &[]), before);
            let mut tuned = others(&rewritten.model, &rewritten.parameters, 1);
            tuned.extend(others(&rewritten.model, &["fc.bias".to_owned()], 9));
            let trained = output(&rewritten.model, &tuned);
            assert_ne!(trained, before);
            let written = emitted(&rewrite, &grafted, &tuned);
            assert_close(&output(&written, &[]), &trained);
            let nodes = |m: &Model| m.graph().node.clone();
            assert_eq!(nodes(&written), nodes(&grafted.model));
            let left: Vec<&str> = written
                .graph()
                .initializer
                .iter()
                .map(|t| t.name())
                .collect();
            assert_eq!(left.len(), graph.initializers.len(), "{left:?}");
        }
    }
}

#[test]
fn a_part_of_an_update_that_is_not_trained_is_as_it_was() {
    let grafted = grafted(&plain());
    let low_rank = low_rank(&["fc.weight"], 2, 2);
    let rewrite = Rewrite::LowRank(low_rank.clone());
    let rewritten = rewrite.apply(&grafted).unwrap();
    let [a, b] = LowRank::parameters_of("fc.weight");
    assert_eq!(
        [&a, &b].map(|of| Rewrite::stands_for(of)),
        [Some("fc.weight"); 2]
    );
    assert_eq!(Rewrite::stands_for("fc.weight"), None);
    for part in [&a, &b] {
        // The weight itself may be trained as well.
        let names = [part.clone(), "fc.weight".to_owned()];
        let tuned = others(&rewritten.model, &names, 4);
        let written = emitted(&rewrite, &grafted, &tuned);
        assert_close(&output(&written, &[]), &output(&rewritten.model, &tuned));
    }
    let short = [(b, vec![1.0])];
    let graph = Graph::from_model(&grafted.model).unwrap();
    let error = low_rank.merged(&graph, &short).unwrap_err();
    assert!(matches!(error, SurgeryError::Length { given: 1, .. }));
}

#[test]
fn first_values_depend_on_seed_and_weight_alone() {
    let first = |low_rank: LowRank, weight: &str| {
        let rewritten = Rewrite::LowRank(low_rank)
            .apply(&grafted(&plain()))
            .unwrap();
        let graph = Graph::from_model(&rewritten.model).unwrap();
        let [a, b] = LowRank::parameters_of(weight).map(|name| graph.initializers[&name].clone());
        assert!(b.to_f32().unwrap().iter().all(|&v| v == 0.0));
        a.to_f32().unwrap()
    };
    let alone = first(low_rank(&["fc.weight"], 2, 1), "fc.weight");
    assert_eq!(
        first(low_rank(&["conv.weight", "fc.weight"], 2, 4), "fc.weight"),
        alone
    );
    let other = LowRank {
        seed: 4,
        ..low_rank(&["fc.weight"], 2, 1)
    };
    assert_ne!(first(other, "fc.weight"), alone);
    let values = low_rank::gaussian(400, 50, 3, "w");
    let variance = values.iter().map(|v| v * v).sum::<f32>() / values.len() as f32;
    assert!((variance * 400.0 - 1.0).abs() < 0.05, "{variance}");
}

#[test]
fn dropout_follows_a_value_to_what_is_read_in_its_place() {
    let mut graph = plain();
    let relu = Node::new("relu", "Relu", &["fc"], &["relu"]);
    let at = graph
        .nodes
        .iter()
        .position(|n| n.name == "probabilities")
        .unwrap();
    graph.nodes[at].inputs[0] = "relu".to_owned();
    graph.nodes.insert(at, relu);
    let dropout = |value: &str| Dropout {
        value: value.to_owned(),
        ratio: 0.5,
        width: 3,
    };
    let grafted = Grafted {
        dropout: vec![dropout("fc"), dropout("relu")],
        ..grafted(&graph)
    };
    let rewritten = Rewrite::LowRank(low_rank(&["fc.weight"], 1, 1))
        .apply(&grafted)
        .unwrap();
    let sum = "ftsurgery/low_rank/fc.weight/sum";
    assert_eq!(rewritten.dropout, [dropout(sum), dropout("relu")]);
}

/// A graph in float16.
fn as_float16(mut graph: Graph) -> Graph {
    for tensor in graph.initializers.values_mut() {
        let like = Tensor {
            dtype: DataType::Float16,
            dims: tensor.dims.clone(),
            data: vec![0; tensor.dims.iter().product::<usize>() * 2].into(),
        };
        *tensor = like.with_f32_values(&tensor.to_f32().unwrap()).unwrap();
    }
    for value in graph.inputs.iter_mut().chain(&mut graph.outputs) {
        value.dtype = DataType::Float16;
    }
    graph
}

#[test]
fn what_is_added_to_a_model_in_float16_is_float16() {
    let grafted = grafted(&as_float16(plain()));
    for rewrite in [
        Rewrite::LowRank(low_rank(&["conv.weight", "fc.weight"], 2, 3)),
        chosen("bn"),
    ] {
        let rewritten = rewrite.apply(&grafted).unwrap();
        let graph = Graph::from_model(&rewritten.model).unwrap();
        let of = |name: &String| graph.initializers.get(name).map(|t| t.dtype);
        let types = rewritten.added.iter().filter_map(of);
        let types: Vec<DataType> = types.filter(|t| *t != DataType::Int64).collect();
        assert!(types.len() > 4 && types.iter().all(|&t| t == DataType::Float16));
        let casts = graph.nodes.iter().filter(|n| n.is("Cast"));
        for cast in casts {
            assert_eq!(cast.int("to", 0).unwrap(), DataType::Float16 as i64);
        }
    }
}

#[test]
fn what_is_merged_is_what_the_file_holds_in_float16_as_well() {
    let rounded = |values: &[f32]| -> Vec<f32> {
        let halves = values.iter().map(|&v| half::f16::from_f32(v).to_f32());
        halves.collect()
    };
    for graph in [plain(), as_float16(plain())] {
        let is_half = graph.initializers["fc.weight"].dtype == DataType::Float16;
        let grafted = grafted(&graph);
        for (rewrite, left) in [
            (Rewrite::None, Rewrite::None),
            (
                Rewrite::LowRank(low_rank(&["conv.weight", "fc.weight"], 2, 3)),
                Rewrite::None,
            ),
            (chosen("bn"), chosen("bn")),
        ] {
            let rewritten = rewrite.apply(&grafted).unwrap();
            let names = [rewritten.parameters.clone(), vec!["fc.bias".to_owned()]].concat();
            let tuned = others(&rewritten.model, &names, 3);
            let merged = rewrite.merge(&grafted, &tuned).unwrap();
            assert_eq!(merged.rewrite, left);
            let written = Graph::from_model(&emitted(&rewrite, &grafted, &tuned)).unwrap();
            for (name, values) in &merged.values {
                assert_eq!(
                    written.initializers[name].to_f32().unwrap(),
                    *values,
                    "{name}"
                );
                if is_half {
                    assert_eq!(rounded(values), *values, "{name}");
                }
            }
            if left.is_none() {
                let names: Vec<&str> = merged.values.iter().map(|(n, _)| n.as_str()).collect();
                let own = ["conv.weight", "fc.weight", "fc.bias"];
                assert_eq!(names, own[3 - names.len()..]);
            }
        }
    }
}

#[test]
fn the_weights_that_can_have_an_update_are_known_with_their_highest_rank() {
    let updatable = |graph: &Graph| -> Vec<(String, usize)> {
        let found = LowRank::updatable(&model(graph)).unwrap();
        found
            .into_iter()
            .map(|u| (u.weight, u.highest_rank))
            .collect()
    };
    let of = |name: &str, rank: usize| (name.to_owned(), rank);
    assert_eq!(
        updatable(&plain()),
        [of("conv.weight", 4), of("fc.weight", 3)]
    );
    for (weight, rank) in updatable(&plain()) {
        let apply =
            |rank| Rewrite::LowRank(low_rank(&[&weight], rank, 1)).apply(&grafted(&plain()));
        assert!(apply(rank).is_ok() && apply(rank + 1).is_err());
    }
    // The side branch is the model's output.
    assert_eq!(
        updatable(&classifier()),
        [of("conv.weight", 4), of("fc.weight", 3)]
    );
    let mut grouped = plain();
    let conv = grouped.nodes.iter_mut().find(|n| n.name == "conv").unwrap();
    *conv = conv.clone().with("group", 2);
    assert_eq!(updatable(&grouped), [of("fc.weight", 3)]);
    let mut inside = plain();
    inside.nodes.push(reading_inside("fc.weight"));
    assert_eq!(updatable(&inside), [of("conv.weight", 4)]);
}

/// A node with a graph inside of it that reads `value`.
pub(super) fn reading_inside(value: &str) -> Node {
    let read = Node::new("read", "Identity", &[value], &["read"]).to_proto();
    let branch = GraphProto {
        node: vec![read],
        output: vec![ValueInfoProto {
            name: Some("read".to_owned()),
            ..ValueInfoProto::default()
        }],
        ..GraphProto::default()
    };
    let attribute = AttributeProto {
        name: Some("then_branch".to_owned()),
        r#type: Some(5),
        g: Some(Box::new(branch)),
        ..AttributeProto::default()
    };
    let mut node = Node::new("choice", "If", &["flat"], &["chosen"]);
    let of = Attribute::Other(Box::new(attribute));
    node.attributes.insert("then_branch".to_owned(), of);
    node
}

#[test]
fn what_does_not_fit_the_model_is_refused_by_the_weight() {
    let refused = |graph: &Graph, rewrite: Rewrite| {
        let error = rewrite.apply(&grafted(graph)).unwrap_err();
        assert!(error.is_bad_input());
        error.to_string()
    };
    let low = |weight: &str, rank| Rewrite::LowRank(low_rank(&[weight], rank, 1));
    let graph = classifier();
    for (rewrite, why) in [
        (
            low("nothing", 1),
            "`nothing`: the model has no float tensor",
        ),
        (
            low("bn.scale", 1),
            "not read it as the weight of Conv, Gemm, MatMul",
        ),
        (chosen("x"), "no block with weights leads from `x` there"),
        (low("fc.bias", 1), "not read it as the weight"),
        (low("side.weight", 1), "makes the model's output"),
        (low("fc.weight", 0), "the rank is 1 to 3"),
        (low("fc.weight", 4), "the rank is 1 to 3"),
        (
            Rewrite::LowRank(low_rank(&["fc.weight"; 2], 1, 1)),
            "is taken",
        ),
    ] {
        let text = refused(&graph, rewrite);
        assert!(text.contains(why), "{text}");
    }
    let mut grouped = plain();
    let conv = grouped.nodes.iter_mut().find(|n| n.name == "conv").unwrap();
    *conv = conv.clone().with("group", 2);
    assert!(refused(&grouped, low("conv.weight", 1)).contains("groups"));
    let mut inside = plain();
    inside.nodes.push(reading_inside("fc.weight"));
    assert!(refused(&inside, low("fc.weight", 1)).contains("a graph inside of a node reads it"));
    let mut shared = plain();
    shared.nodes.push(Node::new(
        "again",
        "MatMul",
        &["flat", "fc.weight"],
        &["again"],
    ));
    let mut output = value("again", &[0, 3]);
    output.dims = Some(vec![Dim::Symbolic("batch".to_owned()), Dim::Known(3)]);
    shared.outputs.push(output);
    assert!(refused(&shared, low("fc.weight", 1)).contains("not exactly one node"));
}
