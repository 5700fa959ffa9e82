use std::path::Path;

use ftsurgery::graph::{Graph, Node};
use ftsurgery::onnx::{DataType, Tensor};
use ftsurgery::runtime::testing::has_runtime;
use image::{Rgb, RgbImage};

use crate::support::*;

/// A classifier whose logits `z` go through `tail`.
fn classifier(tail: Vec<Node>) -> Graph {
    let body = vec![
        node("GlobalAveragePool", &["x"], "p"),
        node("Flatten", &["p"], "f"),
        node("Gemm", &["f", "w", "b"], "z"),
    ];
    let mut graph = graph([body, tail].concat(), &[("w", &[3, 5]), ("b", &[5])]);
    let scalar = [("half", 0.5), ("one", 1.0)];
    for (name, value) in scalar {
        let tensor = Tensor::scalar_f32(value);
        graph.initializers.insert(name.to_owned(), tensor);
    }
    graph
        .initializers
        .insert("axis".to_owned(), Tensor::i64s(&[1]));
    graph
}

/// ½ + ½ tanh(z / 2), which is the sigmoid.
fn sigmoid_by_tanh() -> Vec<Node> {
    vec![
        node("Mul", &["z", "half"], "h"),
        node("Tanh", &["h"], "t"),
        node("Add", &["t", "one"], "u"),
        node("Mul", &["u", "half"], "y"),
    ]
}

fn refused() -> Vec<(&'static str, Vec<Node>)> {
    let softmax = node("Softmax", &["z"], "q").with("axis", 1);
    let then = |last: Node| vec![softmax.clone(), last];
    vec![
        ("Sigmoid", vec![node("Sigmoid", &["z"], "y")]),
        ("HardSigmoid", vec![node("HardSigmoid", &["z"], "y")]),
        ("Softmax", then(node("Mul", &["q", "half"], "y"))),
        ("Softmax", then(node("Add", &["q", "half"], "y"))),
        ("Softmax", then(node("Div", &["q", "half"], "y"))),
        ("Softmax", then(node("Clip", &["q", "half", "one"], "y"))),
        (
            "Sigmoid",
            vec![node("Sigmoid", &["z"], "q"), node("Clip", &["q"], "y")],
        ),
        ("Mul", sigmoid_by_tanh()),
        (
            "Mean",
            vec![
                softmax.clone(),
                node("Sigmoid", &["z"], "s"),
                node("Mean", &["q", "s"], "y"),
            ],
        ),
    ]
}

#[test]
fn what_is_computed_from_probabilities_is_refused_by_node_and_output() {
    if !has_runtime() {
        return;
    }
    for (operator, tail) in refused() {
        let graph = classifier(tail);
        let (output, arrays) = gradients(&graph, &[]);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{operator}: {said}");
        assert!(
            said.contains(&format!("({operator})")) && said.contains("`y`"),
            "{said}"
        );
        assert!(said.contains("--head linear"), "{said}");
        assert!(arrays.is_empty());
        let folder = tempfile::tempdir().unwrap();
        save(&graph, &folder.path().join("model.onnx"));
        let mut command = ftsurgery();
        command
            .arg("differentiate")
            .arg(folder.path().join("model.onnx"));
        let output = command
            .arg("--out")
            .arg(folder.path().join("step.onnx"))
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{operator}");
        assert!(!folder.path().join("step.onnx").exists());
    }
}

#[test]
fn outputs_that_look_like_probabilities_are_refused_though_nothing_tells_of_them() {
    if !has_runtime() {
        return;
    }
    // Shares of squares: no softmax, but rows that sum to 1.
    let tail = vec![
        node("Mul", &["z", "z"], "s"),
        node("ReduceSum", &["s", "axis"], "t"),
        node("Div", &["s", "t"], "y"),
    ];
    let network = classifier(tail);
    let (output, _) = gradients(&network, &[]);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("`y`") && said.contains("sums to 1"), "{said}");
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model.onnx");
    save(&network, &model);
    let output = ftsurgery().arg("bench").arg(&model).output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("`y`") && said.contains("sums to 1"), "{said}");
}

#[test]
fn every_form_of_a_softmax_is_trained_at_its_logits() {
    if !has_runtime() {
        return;
    }
    let (_, expected) = gradients(&classifier(vec![node("Identity", &["z"], "y")]), &[]);
    let sum = |e: &str| node("ReduceSum", &[e, "axis"], "s").with("keepdims", 1);
    let shifted = vec![
        node("ReduceMax", &["z"], "m").with("axes", vec![1i64]),
        node("Sub", &["z", "m"], "d"),
        node("Exp", &["d"], "e"),
        sum("e"),
        node("Div", &["e", "s"], "y"),
    ];
    let plain = vec![
        node("Exp", &["z"], "e"),
        sum("e"),
        node("Div", &["e", "s"], "y"),
    ];
    let softmax = node("Softmax", &["z"], "q").with("axis", 1);
    for tail in [
        vec![node("Softmax", &["z"], "y").with("axis", 1)],
        vec![node("LogSoftmax", &["z"], "y").with("axis", 1)],
        vec![softmax.clone(), node("Log", &["q"], "y")],
        vec![softmax.clone(), node("Clip", &["q"], "y")],
        vec![
            softmax,
            node("Cast", &["q"], "y").with("to", DataType::Float as i64),
        ],
        plain,
        shifted,
    ] {
        let (output, got) = gradients(&classifier(tail.clone()), &[]);
        assert!(output.status.success(), "{tail:?}: {}", stderr(&output));
        for (name, wanted) in &expected {
            let pairs = got[name].iter().zip(wanted);
            let off = pairs.map(|(g, w)| (g - w).abs()).fold(0.0, f32::max);
            assert!(off < 1e-6, "{tail:?}: {name} is off by {off}");
        }
    }
}

/// The probabilities that `predict` prints, by class.
fn predicted(graph: &Graph) -> Vec<f64> {
    let output = predict(graph, &["--quiet", "--json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut found = vec![0.0; CLASSES];
    for class in json[0]["classes"].as_array().unwrap() {
        let place: usize = class["name"].as_str().unwrap().parse().unwrap();
        found[place] = class["probability"].as_f64().unwrap();
    }
    found
}

#[test]
fn predictions_are_the_probabilities_that_the_model_gives() {
    if !has_runtime() {
        return;
    }
    let logits = classifier(vec![node("Identity", &["z"], "y")]);
    let softmax = predicted(&logits);
    assert!((softmax.iter().sum::<f64>() - 1.0).abs() < 1e-6);
    let plain = vec![
        node("Exp", &["z"], "e"),
        node("ReduceSum", &["e", "axis"], "s"),
        node("Div", &["e", "s"], "y"),
    ];
    for tail in [
        vec![node("Softmax", &["z"], "y").with("axis", 1)],
        vec![node("LogSoftmax", &["z"], "y").with("axis", 1)],
        plain,
    ] {
        let got = predicted(&classifier(tail));
        let off = got.iter().zip(&softmax).map(|(g, w)| (g - w).abs());
        assert!(off.fold(0.0, f64::max) < 1e-6, "{got:?}");
    }
    // One by itself of each class: sigmoid(z) / (1 − sigmoid(z)) is e^z.
    let sigmoid = predicted(&classifier(vec![node("Sigmoid", &["z"], "y")]));
    let odds: Vec<f64> = sigmoid.iter().map(|p| p / (1.0 - p)).collect();
    let sum: f64 = odds.iter().sum();
    let off = odds.iter().zip(&softmax).map(|(o, w)| (o / sum - w).abs());
    assert!(off.fold(0.0, f64::max) < 1e-5, "{sigmoid:?}");
    let by_tanh = predicted(&classifier(sigmoid_by_tanh()));
    let off = by_tanh.iter().zip(&sigmoid).map(|(g, w)| (g - w).abs());
    assert!(off.fold(0.0, f64::max) < 1e-6, "{by_tanh:?}");
    // Nothing tells what these are but they themselves.
    let squares = vec![
        node("Mul", &["z", "z"], "s"),
        node("ReduceSum", &["s", "axis"], "t"),
        node("Div", &["s", "t"], "y"),
    ];
    let shares = predicted(&classifier(squares));
    assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-6);
    assert!(
        shares.iter().copied().fold(0.0, f64::max) > 0.35,
        "{shares:?}"
    );
}

/// Pictures in so many shades, 10 of each.
fn save_shades(folder: &Path, classes: usize) {
    for class in 0..classes as u8 {
        let of = folder.join(class.to_string());
        std::fs::create_dir_all(&of).unwrap();
        for i in 0..10u8 {
            let shade = 50 * class + i;
            let image =
                RgbImage::from_fn(8, 8, |x, y| Rgb([shade, shade ^ x as u8, shade + y as u8]));
            image.save(of.join(format!("{i}.png"))).unwrap();
        }
    }
}

#[test]
fn a_kept_head_that_ends_in_a_softmax_of_any_kind_gives_models_that_pass_their_check() {
    if !has_runtime() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    save_shades(&at("3"), 3);
    save_shades(&at("5"), CLASSES);
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/exporters");
    let mut models: Vec<_> = std::fs::read_dir(&fixtures)
        .unwrap()
        .map(|f| f.unwrap().path())
        .filter(|p| p.to_string_lossy().ends_with("_shuffle.onnx"))
        .collect();
    assert_eq!(models.len(), 3);
    let body = |tail: Vec<Node>| {
        let mut nodes = vec![
            node("Conv", &["x", "c"], "a"),
            node("Relu", &["a"], "r"),
            node("GlobalAveragePool", &["r"], "p"),
            node("Flatten", &["p"], "f"),
            node("Gemm", &["f", "w", "b"], "z"),
        ];
        nodes.extend(tail);
        let mut graph = graph(nodes, &[("c", &[4, 3, 3, 3]), ("w", &[4, 5]), ("b", &[5])]);
        graph
            .initializers
            .insert("axis".to_owned(), Tensor::i64s(&[1]));
        graph
    };
    let softmax = || node("Softmax", &["z"], "q").with("axis", 1);
    for (name, tail) in [
        (
            "softmax",
            vec![node("Softmax", &["z"], "y").with("axis", 1)],
        ),
        ("log", vec![softmax(), node("Log", &["q"], "y")]),
        ("clip", vec![softmax(), node("Clip", &["q"], "y")]),
        (
            "written_out",
            vec![
                node("Exp", &["z"], "e"),
                node("ReduceSum", &["e", "axis"], "s"),
                node("Div", &["e", "s"], "y"),
            ],
        ),
    ] {
        save(&body(tail), &at(&format!("{name}.onnx")));
        models.push(at(&format!("{name}.onnx")));
    }
    // Dropout of a frozen value, and of a trained one.
    let dense = vec![
        node("Conv", &["x", "c"], "a"),
        node("Relu", &["a"], "r"),
        node("GlobalAveragePool", &["r"], "p"),
        node("Flatten", &["p"], "f"),
        node("Dropout", &["f"], "fd"),
        node("Gemm", &["fd", "v"], "h"),
        node("Relu", &["h"], "hr"),
        node("Dropout", &["hr"], "hd"),
        node("Gemm", &["hd", "w", "b"], "z"),
        node("Softmax", &["z"], "y").with("axis", 1),
    ];
    let weights: [(&str, &[usize]); 4] = [
        ("c", &[4, 3, 3, 3]),
        ("v", &[4, 6]),
        ("w", &[6, 5]),
        ("b", &[5]),
    ];
    save(&graph(dense, &weights), &at("dropout.onnx"));
    models.push(at("dropout.onnx"));
    for model in models {
        let run = at("run");
        let classes = if model.starts_with(&fixtures) {
            "3"
        } else {
            "5"
        };
        let _ = std::fs::remove_dir_all(&run);
        let mut command = ftsurgery();
        command
            .args(["--quiet", "tune"])
            .arg(&model)
            .arg("--data")
            .arg(at(classes));
        command.arg("--out").arg(&run).args([
            "--preprocess",
            "unit",
            "--head",
            "keep",
            "--strategies",
            "head,full,blocks",
            "--search-fraction",
            "0.4",
            "--train-fraction",
            "0.5",
            "--epochs",
            "1",
            "--search-epochs",
            "1",
            "--batch-size",
            "4",
            "--threads",
            "1",
        ]);
        let output = command.output().unwrap();
        assert!(
            output.status.success(),
            "{}: {}",
            model.display(),
            stderr(&output)
        );
        for strategy in ["head", "full", "blocks"] {
            assert!(
                run.join(format!("winners/{strategy}.onnx")).is_file(),
                "{}",
                model.display()
            );
        }
    }
}
