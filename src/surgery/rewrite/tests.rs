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
pub(super) fn chosen(to: &str) -> Rewrite {
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
pub(super) fn as_float16(mut graph: Graph) -> Graph {
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
