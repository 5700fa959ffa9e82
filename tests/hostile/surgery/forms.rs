//! Graphs that are none, functions without end, data from elsewhere, and text that a terminal would obey.

use ftsurgery::onnx::messages::{
    AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, StringStringEntryProto,
};

use super::{COMMANDS, all, body, floats, int, node, run, small};
use crate::files::graph;
use crate::models;

#[test]
fn graphs_that_are_none_are_refused_or_left_as_they_are() {
    let changed = |change: &dyn Fn(&mut GraphProto)| {
        let mut proto = models::plain();
        change(graph(&mut proto));
        proto
    };
    let attribute_of_nothing = |name: &str| AttributeProto {
        name: Some(name.to_owned()),
        ..AttributeProto::default()
    };
    let mut bare_if = node("If", &["m"], &["y"]);
    bare_if.attribute = vec![attribute_of_nothing("then_branch")];
    let mut bare_constant = node("Constant", &[], &["c"]);
    bare_constant.attribute = vec![attribute_of_nothing("value")];
    let itself = GraphProto {
        node: vec![node("Identity", &["o"], &["o"])],
        output: vec![floats("o", &[4])],
        ..GraphProto::default()
    };
    let mut looped = node("Loop", &["m", "y", "y"], &["y"]);
    looped.attribute = vec![body(itself.clone(), "body")];
    let mut scan = node("Scan", &["m"], &["y"]);
    scan.attribute = vec![body(itself, "body"), int("num_scan_inputs", i64::MAX)];
    // Without names: each would be made of that around it.
    let mut nested = node("Identity", &["m"], &["y"]);
    for _ in 0..28 {
        let inner = GraphProto {
            name: Some("branch".to_owned()),
            node: vec![nested],
            output: vec![floats("y", &[1, 4])],
            ..GraphProto::default()
        };
        nested = node("If", &["yes"], &["y"]);
        nested.name = None;
        nested.attribute = vec![
            body(inner, "then_branch"),
            body(GraphProto::default(), "else_branch"),
        ];
    }
    let yes = ftsurgery::onnx::Tensor {
        dtype: ftsurgery::onnx::DataType::Bool,
        dims: vec![],
        data: vec![1].into(),
    };
    let copies = vec![
        node("Identity", &["a"], &["b"]),
        node("Identity", &["b"], &["a"]),
        node("Identity", &["c"], &["c"]),
        node("Identity", &["m"], &["y"]),
        node("Identity", &["y"], &["y"]),
        node("Identity", &["m"], &["y"]),
    ];
    all(vec![
        ("a cycle", changed(&|g| g.node[0].input[0] = "relu2".into())),
        (
            "nowhere",
            changed(&|g| g.node[4].input[0] = "nowhere".into()),
        ),
        ("twice", changed(&|g| g.node[4].output[0] = "conv1".into())),
        ("no output", changed(&|g| g.output.clear())),
        ("no input", changed(&|g| g.input.clear())),
        (
            "large dims",
            changed(&|g| g.initializer[0].dims = vec![1 << 40, 1 << 40, 0]),
        ),
        (
            "negative dims",
            changed(&|g| g.initializer[0].dims[0] = i64::MIN),
        ),
        (
            "a type",
            changed(&|g| g.initializer[0].data_type = Some(99)),
        ),
        (
            "no names",
            changed(&|g| g.node.iter_mut().for_each(|n| n.output.clear())),
        ),
        ("empty", ModelProto::default()),
        ("a bare If", small(17, vec![bare_if], vec![])),
        (
            "a bare Constant",
            small(
                17,
                vec![bare_constant, node("Add", &["m", "c"], &["y"])],
                vec![],
            ),
        ),
        ("a loop of itself", small(17, vec![looped], vec![])),
        ("a scan", small(17, vec![scan], vec![])),
        ("copies of themselves", small(17, copies, vec![])),
        ("nested", small(17, vec![nested], vec![yes.to_proto("yes")])),
        (
            "opset",
            small(i64::MAX, vec![node("Relu", &["m"], &["y"])], vec![]),
        ),
        ("no opset", {
            let mut proto = models::plain();
            proto.opset_import.clear();
            proto
        }),
    ]);
}

#[test]
fn functions_that_double_or_call_themselves_are_refused() {
    let call = |op: &str, from: &str, to: &str| NodeProto {
        domain: Some("laughs".to_owned()),
        ..node(op, &[from], &[to])
    };
    let function = |name: &str, node: Vec<NodeProto>| FunctionProto {
        name: Some(name.to_owned()),
        domain: Some("laughs".to_owned()),
        input: vec!["x".to_owned()],
        output: vec!["y".to_owned()],
        node,
        ..FunctionProto::default()
    };
    let mut doubling = small(17, vec![call("F0", "m", "y")], vec![]);
    doubling.functions = (0..40)
        .map(|i| {
            let next = format!("F{}", i + 1);
            function(
                &format!("F{i}"),
                vec![call(&next, "x", "h"), call(&next, "h", "y")],
            )
        })
        .collect();
    let mut circle = small(17, vec![call("A", "m", "y")], vec![]);
    circle.functions = vec![
        function("A", vec![call("B", "x", "y")]),
        function("B", vec![call("A", "x", "y")]),
    ];
    all(vec![("doubling", doubling), ("a circle", circle)]);
}

/// Commands that read, or hand on, all data of a model.
const READING: [&str; 7] = [
    "rename MODEL --prefix p/ --out OUT",
    "opset MODEL --to 22 --out OUT",
    "externalize MODEL --least 1 --out OUT",
    "internalize MODEL --out OUT",
    "merge OTHER MODEL --join --out OUT",
    "diff OTHER MODEL",
    "verify MODEL --structure",
];

#[test]
fn data_beside_a_model_are_read_from_its_folder_alone() {
    let entry = |key: &str, value: &str| StringStringEntryProto {
        key: Some(key.to_owned()),
        value: Some(value.to_owned()),
    };
    for location in [
        "../../etc/passwd",
        "/etc/passwd",
        "absent.bin",
        "model.onnx",
    ] {
        let mut proto = models::plain();
        let weight = &mut graph(&mut proto).initializer[0];
        weight.raw_data = None;
        weight.data_location = Some(1);
        weight.external_data = vec![entry("location", location), entry("offset", "17")];
        for (command, (code, said)) in READING.iter().zip(run(&proto, &READING)) {
            assert_ne!(code, 0, "{location}: {command}: {said}");
            let told = said.contains("conv1.w") || said.contains(location);
            assert!(told, "{location}: {command}: {said}");
        }
    }
}

#[test]
fn nothing_that_a_terminal_obeys_leaves_them() {
    let hostile = "\u{1b}[31mred\u{1b}]0;t\u{7}\u{9b}2J\u{202e}\nerror: fake\r";
    let mut proto = models::plain();
    for node in &mut graph(&mut proto).node {
        node.name = Some(format!("{hostile}{}", node.name()));
        for name in node.input.iter_mut().chain(&mut node.output) {
            if name != "image" && name != "softmax" {
                *name = format!("{hostile}{name}");
            }
        }
    }
    for tensor in &mut graph(&mut proto).initializer {
        tensor.name = Some(format!("{hostile}{}", tensor.name()));
        tensor.doc_string = Some(hostile.to_owned());
    }
    graph(&mut proto).name = Some(hostile.to_owned());
    let mut commands: Vec<String> = COMMANDS.iter().map(|c| (*c).to_owned()).collect();
    commands.extend(
        [
            "rename MODEL --prefix p/ --dry-run --verbose",
            "verify MODEL --structure --json",
        ]
        .map(str::to_owned),
    );
    let commands: Vec<&str> = commands.iter().map(String::as_str).collect();
    for (command, (_, said)) in commands.iter().zip(run(&proto, &commands)) {
        let odd = |c: char| c.is_control() && c != '\n' || matches!(c, '\u{202e}' | '\u{9b}');
        assert!(!said.contains(odd), "{command}: {said:?}");
        assert!(!said.contains("\nerror: fake"), "{command}: {said}");
    }
}
