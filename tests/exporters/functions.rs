//! Models with functions of their own, as exporters of whole libraries write them: written out, they compute
//! what they computed.

use ftsurgery::graph::{GraphError, Node, Value, value_to_proto};
use ftsurgery::onnx::messages::{
    AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
};
use ftsurgery::onnx::{DataType, Model, Tensor, encode};
use ftsurgery::runtime::testing::runtime;
use ftsurgery::runtime::{Array, Runtime, Session, SessionOptions};
use ftsurgery::surgery::{Editor, Part, SurgeryError, What, holds};
use ndarray::ArrayD;

const FLOAT: i32 = 1;
const GRAPH: i32 = 5;

fn opset(domain: &str, version: i64) -> OperatorSetIdProto {
    OperatorSetIdProto {
        domain: Some(domain.to_owned()),
        version: Some(version),
    }
}

fn node(op: &str, inputs: &[&str], output: &str) -> NodeProto {
    Node::new(output, op, inputs, &[output]).to_proto()
}

/// A call of a function, which has no name of its own.
fn call(function: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        domain: Some("local".to_owned()),
        name: None,
        ..node(function, inputs, output)
    }
}

fn with(mut node: NodeProto, attribute: AttributeProto) -> NodeProto {
    node.attribute.push(attribute);
    node
}

fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        r#type: Some(FLOAT),
        f: Some(value),
        ..AttributeProto::default()
    }
}

fn refers(name: &str, to: &str) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        r#type: Some(FLOAT),
        ref_attr_name: Some(to.to_owned()),
        ..AttributeProto::default()
    }
}

fn graph(name: &str, graph: GraphProto) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        r#type: Some(GRAPH),
        g: Some(Box::new(graph)),
        ..AttributeProto::default()
    }
}

fn branch(nodes: Vec<NodeProto>, output: &str, weight: Option<f32>) -> GraphProto {
    let weight = weight.map(|w| Tensor::scalar_f32(w).to_proto("w"));
    GraphProto {
        name: Some("branch".to_owned()),
        node: nodes,
        initializer: weight.into_iter().collect(),
        output: vec![value_to_proto(&Value {
            name: output.to_owned(),
            dtype: DataType::Float,
            dims: None,
        })],
        ..GraphProto::default()
    }
}

fn function(name: &str, inputs: &[&str], nodes: Vec<NodeProto>, output: &str) -> FunctionProto {
    FunctionProto {
        name: Some(name.to_owned()),
        domain: Some("local".to_owned()),
        input: inputs.iter().map(|i| (*i).to_owned()).collect(),
        output: vec![output.to_owned()],
        node: nodes,
        opset_import: vec![opset("", 17), opset("local", 1)],
        ..FunctionProto::default()
    }
}

/// y of x [2, 3]: calls with and without attributes and optional inputs, calls inside of functions and of
/// graphs inside of nodes, functions with graphs inside, and one name everywhere.
fn proto() -> ModelProto {
    let constant = Node::new("", "Constant", &[], &["k"]).to_proto();
    let scale = FunctionProto {
        attribute_proto: vec![float("factor", 2.0)],
        ..function(
            "Scale",
            &["a"],
            vec![
                with(constant, refers("value_float", "factor")),
                node("Mul", &["a", "k"], "m"),
            ],
            "m",
        )
    };
    let bound = FunctionProto {
        attribute: vec!["alpha".to_owned()],
        ..function(
            "Bound",
            &["a", "low", "high"],
            vec![
                // An attribute that no call gives: the operator's own default.
                with(node("LeakyRelu", &["a"], "m"), refers("alpha", "alpha")),
                node("Clip", &["m", "low", "high"], "b"),
            ],
            "b",
        )
    };
    let twice = function(
        "Twice",
        &["a"],
        vec![
            with(call("Scale", &["a"], "m"), float("factor", 3.0)),
            call("Scale", &["m"], "k"),
            node("Sum", &["a", "m", "k"], "t"),
        ],
        "t",
    );
    let choose = function(
        "Choose",
        &["a", "truth"],
        vec![
            node("Neg", &["a"], "m"),
            with(
                with(
                    node("If", &["truth"], "c"),
                    graph(
                        "then_branch",
                        branch(vec![node("Add", &["m", "w"], "s")], "s", Some(0.25)),
                    ),
                ),
                graph(
                    "else_branch",
                    branch(vec![call("Scale", &["a"], "s")], "s", None),
                ),
            ),
        ],
        "c",
    );
    let last = with(
        with(
            node("If", &["truth"], "y"),
            graph(
                "then_branch",
                branch(vec![call("Twice", &["c"], "z")], "z", None),
            ),
        ),
        graph(
            "else_branch",
            branch(vec![node("Identity", &["c"], "z")], "z", None),
        ),
    );
    let truth = Tensor {
        dtype: DataType::Bool,
        dims: vec![],
        data: vec![1u8].into(),
    };
    ModelProto {
        ir_version: Some(9),
        opset_import: vec![opset("", 17), opset("local", 1)],
        functions: vec![scale, bound, twice, choose],
        graph: Some(GraphProto {
            name: Some("main".to_owned()),
            node: vec![
                call("Scale", &["x"], "m"),
                call("Twice", &["m"], "k"),
                call("Bound", &["k", "low"], "b"),
                call("Choose", &["b", "truth"], "c"),
                last,
            ],
            initializer: vec![
                truth.to_proto("truth"),
                Tensor::scalar_f32(-1.5).to_proto("low"),
            ],
            input: vec![value_to_proto(&Value::fixed("x", DataType::Float, &[2, 3]))],
            output: vec![value_to_proto(&Value::fixed("y", DataType::Float, &[2, 3]))],
            ..GraphProto::default()
        }),
        ..ModelProto::default()
    }
}

fn read(proto: &ModelProto) -> Model {
    let bytes = encode(proto).unwrap();
    Model::decode(bytes.into(), "functions.onnx".as_ref()).unwrap()
}

fn y(runtime: &Runtime, model: &Model) -> Vec<f32> {
    let bytes = encode(&model.proto).unwrap();
    let mut session = Session::new(runtime, &bytes, &[], &SessionOptions::default()).unwrap();
    let x = vec![-2.0, -0.3, 0.0, 0.1, 0.7, 5.0];
    let x = Array::F32(ArrayD::from_shape_vec(vec![2, 3], x).unwrap());
    let outputs = session.run(&[("x", &x)]).unwrap();
    outputs[0].as_f32().unwrap().iter().copied().collect()
}

fn refused(proto: &ModelProto) -> String {
    let model = read(proto);
    let error = Editor::new(&model).unwrap().inline().unwrap_err();
    assert!(
        matches!(error, SurgeryError::Graph(GraphError::Function { .. })) && error.is_bad_input()
    );
    error.to_string()
}

#[test]
fn functions_that_are_written_out_compute_what_they_computed() {
    let original = read(&proto());
    let mut editor = Editor::new(&original).unwrap();
    editor.inline().unwrap();
    // An edit behind it sees the nodes that came.
    editor.set_metadata("inlined", "yes");
    let edited = editor.finish().unwrap();
    let written = read(&edited.proto);
    holds(&original, &written, &edited.manifest).unwrap();

    assert_eq!(written.proto.functions, []);
    let mut graphs = vec![written.graph()];
    let mut nodes = Vec::new();
    while let Some(graph) = graphs.pop() {
        for node in &graph.node {
            graphs.extend(node.attribute.iter().flat_map(AttributeProto::subgraphs));
            nodes.push(node);
        }
    }
    assert!(nodes.iter().all(|n| n.domain().is_empty()));
    let made: Vec<&String> = nodes.iter().flat_map(|n| &n.output).collect();
    let twice = made
        .iter()
        .find(|a| made.iter().filter(|b| b == a).count() > 1);
    // Both branches of the model's own `If` make a `z`, which nobody asked to change.
    assert!(twice.is_none_or(|name| *name == "z"), "{twice:?}");
    let of = |part: Part| {
        edited
            .manifest
            .changes
            .iter()
            .filter(move |c| c.part == part)
    };
    assert!(of(Part::Function).all(|c| c.what == What::Removed) && of(Part::Function).count() == 4);
    for part in [Part::Tensor, Part::Input, Part::Output, Part::Header] {
        assert_eq!(of(part).count(), 0, "{part}");
    }

    let Some(runtime) = runtime() else {
        return;
    };
    let [before, after] = [&original, &written].map(|model| y(&runtime, model));
    assert_eq!(before, after);
    assert!(before.iter().any(|v| *v != before[0]));
}

#[test]
fn an_input_that_is_an_output_is_copied() {
    let mut proto = proto();
    let mut same = function("Same", &["a"], vec![node("Neg", &["a"], "n")], "n");
    same.output.push("a".to_owned());
    proto.functions.push(same);
    let graph = proto.graph.as_mut().unwrap();
    let mut both = call("Same", &["x"], "");
    both.output = vec!["negative".to_owned(), "x_again".to_owned()];
    graph.node.insert(0, both);
    let original = read(&proto);
    let mut editor = Editor::new(&original).unwrap();
    editor.inline().unwrap();
    let first = &editor.graph().node[..2];
    assert_eq!(first[0].op_type(), "Neg");
    assert_eq!(first[0].output, ["negative"]);
    assert_eq!(first[1].op_type(), "Identity");
    assert_eq!(
        (&first[1].input[0], &first[1].output[0]),
        (&"x".to_owned(), &"x_again".to_owned())
    );
}

#[test]
fn functions_that_do_not_fit_their_calls_are_refused() {
    let mut older = proto();
    older.functions[0].opset_import = vec![opset("ai.onnx", 13)];
    assert!(refused(&older).contains("`local:Scale`"));
    assert!(refused(&older).contains("version 13 of `ai.onnx`, the model for 17"));

    let mut unknown = proto();
    unknown.functions[0].node[1].input[0] = "x".to_owned();
    assert!(refused(&unknown).contains("it reads `x`, which it has not"));

    let mut many = proto();
    let call = &mut many.graph.as_mut().unwrap().node[0];
    call.input.push("low".to_owned());
    assert!(refused(&many).contains("more inputs or outputs"));

    let mut nothing = proto();
    nothing.functions[0].output = vec!["nothing".to_owned()];
    assert!(refused(&nothing).contains("nothing makes its output `nothing`"));

    let mut training = proto();
    training.training_info.push(Default::default());
    assert!(refused(&training).contains("training graphs"));
}

#[test]
fn operator_sets_that_only_functions_have_are_imported() {
    let mut proto = proto();
    let scale = &mut proto.functions[0];
    scale.opset_import.push(opset("ai.onnx.ml", 3));
    // Of an operator set that no node uses nothing is asked.
    scale.opset_import.push(opset("unused", 1));
    let mut binarizer = node("Binarizer", &["a"], "of_ml");
    binarizer.domain = Some("ai.onnx.ml".to_owned());
    scale.node.push(with(binarizer, float("threshold", 0.5)));
    let original = read(&proto);
    let mut editor = Editor::new(&original).unwrap();
    editor.inline().unwrap();
    let edited = editor.finish().unwrap();
    holds(&original, &read(&edited.proto), &edited.manifest).unwrap();
    let domains: Vec<&str> = edited
        .proto
        .opset_import
        .iter()
        .map(|o| o.domain())
        .collect();
    assert_eq!(domains, ["", "local", "ai.onnx.ml"]);
}

#[test]
fn a_number_tells_values_apart_whose_names_are_taken() {
    let mut proto = proto();
    let graph = proto.graph.as_mut().unwrap();
    graph.node.push(node("Neg", &["x"], "m/k"));
    let original = read(&proto);
    let mut editor = Editor::new(&original).unwrap();
    editor.inline().unwrap();
    let constant = &editor.graph().node[0];
    assert_eq!(
        (constant.op_type(), constant.output[0].as_str()),
        ("Constant", "m/k_2")
    );
    assert_eq!(constant.attribute[0].f, Some(2.0));
}
