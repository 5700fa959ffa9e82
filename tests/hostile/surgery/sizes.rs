//! What asks for more than there is, takes no end, or is there many times.

use ftsurgery::onnx::Tensor;
use ftsurgery::onnx::messages::NodeProto;
use ftsurgery::runtime::testing::runtime;

use super::{all, floats, int, ints, node, run, small};
use crate::files::graph;
use crate::models;

/// What is computed of constants, or takes no end, or more than there is, when somebody does it.
#[test]
fn what_asks_for_more_than_there_is_is_left_or_refused() {
    if runtime().is_none() {
        return;
    }
    let huge = i64::MAX;
    let added = |operator: NodeProto| {
        let made = operator.output[0].clone();
        vec![
            operator,
            node("ReduceSum", &[&made], &["sum"]),
            node("Add", &["m", "sum"], &["y"]),
        ]
    };
    let fill = ints("fill", &[1 << 20, 1 << 20]);
    let one = || Tensor::f32(&[1], &[1.0]).to_proto("one");
    let mut groups = node("GroupNormalization", &["m", "one", "one"], &["y"]);
    groups.attribute = vec![int("num_groups", 1 << 40)];
    let mut split = node("Split", &["m"], &["y"]);
    split.attribute = vec![int("axis", 1), int("num_outputs", 1 << 40)];
    let mut softmax = node("Softmax", &["m"], &["y"]);
    softmax.attribute = vec![int("axis", i64::MIN)];
    let untried = [
        ("doubled", models::doubled(40)),
        ("grown", models::grown(1 << 37)),
        ("a window", models::padded_pool(1 << 27)),
        ("an equation", models::summed("?abcd")),
    ];
    for (name, proto) in &untried {
        let told = run(proto, &["verify MODEL --time-limit 20"]);
        assert!(
            told[0].1.contains("not given the model"),
            "{name}: {}",
            told[0].1
        );
    }
    all(untried.into());
    all(vec![
        ("dilated", models::dilated(1 << 27)),
        (
            "a constant of a terabyte",
            small(
                17,
                added(node("ConstantOfShape", &["fill"], &["all"])),
                vec![fill.clone()],
            ),
        ),
        (
            "expanded",
            small(
                17,
                added(node("Expand", &["one", "fill"], &["all"])),
                vec![fill, one()],
            ),
        ),
        (
            "a range",
            small(
                17,
                added(node("Range", &["zero", "end", "step"], &["all"])),
                vec![
                    Tensor::scalar_i64(0).to_proto("zero"),
                    Tensor::scalar_i64(huge).to_proto("end"),
                    Tensor::scalar_i64(1).to_proto("step"),
                ],
            ),
        ),
        (
            "tiled",
            small(
                17,
                added(node("Tile", &["one", "times"], &["all"])),
                vec![one(), ints("times", &[1 << 40])],
            ),
        ),
        ("groups", small(18, vec![groups], vec![one()])),
        ("splits", small(18, vec![split], vec![])),
        ("an axis", small(11, vec![softmax], vec![])),
        ("an input of a terabyte", {
            let mut proto = small(17, vec![node("Neg", &["m"], &["y"])], vec![]);
            graph(&mut proto).input = vec![floats("x", &[1 << 38])];
            graph(&mut proto).output = vec![floats("y", &[1 << 38])];
            proto
        }),
    ]);
}

/// Commands that go through all nodes, each in another way.
const WALKING: [&str; 8] = [
    "prune MODEL --out OUT",
    "fold MODEL --out OUT",
    "rename MODEL --prefix p/ --out OUT",
    "opset MODEL --to 22 --out OUT",
    "precision MODEL --to f16 --out OUT",
    "merge MODEL MODEL --join --out OUT",
    "diff MODEL MODEL",
    "verify MODEL --structure",
];

#[test]
fn what_is_many_times_there_takes_no_more_than_many_times_as_long() {
    if runtime().is_none() {
        return;
    }
    const MANY: usize = 4000;
    let chain = |operator: &str, at: usize| {
        let from = if at == 0 {
            "m".to_owned()
        } else {
            format!("v{}", at - 1)
        };
        let to = if at + 1 == MANY {
            "y".to_owned()
        } else {
            format!("v{at}")
        };
        node(operator, &[&from], &[&to])
    };
    let of = |operator: &'static str| (0..MANY).map(move |at| chain(operator, at)).collect();
    let weights = |make: &dyn Fn(usize) -> NodeProto| {
        let mut nodes: Vec<NodeProto> = (0..MANY).map(make).collect();
        for at in 0..MANY {
            let mut sum = chain("Add", at);
            sum.input.push(format!("c{at}"));
            nodes.push(sum);
        }
        let tensors =
            (0..MANY).map(|at| Tensor::f32(&[1], &[at as f32]).to_proto(&format!("w{at}")));
        small(17, nodes, tensors.chain([ints("wide", &[40, 4])]).collect())
    };
    let name = |kind: &str, at: usize| format!("{kind}{at}");
    let cases = vec![
        ("identities", small(17, of("Identity"), vec![])),
        ("activations", small(17, of("Relu"), vec![])),
        ("normalised", small(11, of("Softmax"), vec![])),
        (
            "constants",
            weights(&|at| node("Neg", &[&name("w", at)], &[&name("c", at)])),
        ),
        (
            "constants that do not pay",
            weights(&|at| node("Expand", &[&name("w", at), "wide"], &[&name("c", at)])),
        ),
        (
            "sizes",
            weights(&|at| node("Shape", &["m"], &[&name("c", at)])),
        ),
    ];
    for (name, proto) in cases {
        eprintln!("{name}");
        run(&proto, &WALKING);
    }
}

/// A run that has a loop is given up after 20 seconds, and the rest of the check is not tried at other sizes.
#[test]
fn a_loop_that_never_ends_is_given_up() {
    if runtime().is_none() {
        return;
    }
    let told = run(&models::endless(), &["rename MODEL --prefix p/ --out OUT"]);
    assert_eq!(told[0].0, 0, "{}", told[0].1);
    assert!(
        told[0].1.contains("not ended after 20 seconds"),
        "{}",
        told[0].1
    );
}
