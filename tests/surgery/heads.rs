//! New heads, and none.

use ftsurgery::graph::{Graph, Node};
use ftsurgery::onnx::Model;
use ftsurgery::runtime::{Array, Session, SessionOptions};
use ftsurgery::surgery::HeadKind;
use ftsurgery::transform::{Check, NewHead, Numbers, Writing, remove_head, replace_head, write};

use crate::support::{fixture, given, library};

/// Two images.
fn images(dims: &[usize]) -> Array {
    let count: usize = dims.iter().product();
    let values = (0..count)
        .map(|i| ((i * 37) % 29) as f32 / 29.0 - 0.4)
        .collect();
    Array::F32(ndarray::ArrayD::from_shape_vec(dims, values).unwrap())
}

#[test]
fn a_head_of_each_kind_stands_on_the_features_that_were_there() {
    let Some(runtime) = library() else { return };
    let model = Model::open_in_place(&fixture("notes.onnx")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for kind in [HeadKind::Linear, HeadKind::Cosine, HeadKind::Paper] {
        let out = folder.path().join(format!("{kind}.onnx"));
        let head = NewHead {
            kind,
            names: Some(["a", "b", "c"].map(str::to_owned).to_vec()),
            ..NewHead::new(3)
        };
        let made = replace_head(&model, &head).unwrap();
        let writing = Writing::to(&out).check(Some(Check::Numbers));
        let written = write(&made, &writing, &given(&runtime)).unwrap();
        assert!(
            matches!(written.numbers, Numbers::Equal { values: 1, .. }),
            "{kind}"
        );
        let new = Model::open(&out).unwrap();
        assert_eq!(new.metadata("ftsurgery.classes"), Some(r#"["a","b","c"]"#));
        assert_eq!(new.metadata("labels"), Some("a,b,c: ä"));
        let options = SessionOptions::default();
        let mut session = Session::new(&runtime, new.file_bytes(), &[], &options).unwrap();
        let input = session.inputs()[0].clone();
        let sizes = [2, 3, 32, 32];
        let dims: Vec<usize> = input
            .dims
            .iter()
            .zip(sizes)
            .map(|(dim, size)| dim.unwrap_or(size))
            .collect();
        let given = images(&dims);
        let outputs = session.run(&[(&input.name, &given)]).unwrap();
        let rows = outputs[0].as_f32().unwrap();
        assert_eq!(rows.shape(), [dims[0], 3], "{kind}");
        for row in rows.outer_iter() {
            assert!((row.sum() - 1.0).abs() < 1e-5, "{kind}: {row}");
        }
    }
}

#[test]
fn the_logits_of_a_cosine_head_are_no_larger_than_its_scale() {
    let model = Model::open_in_place(&fixture("notes.onnx")).unwrap();
    let head = NewHead {
        kind: HeadKind::Cosine,
        logits: true,
        ..NewHead::new(4)
    };
    let made = replace_head(&model, &head).unwrap();
    let graph = Graph::from_model(&made.model()).unwrap();
    let last: Vec<&Node> = graph.nodes.iter().rev().take(4).collect();
    let operators: Vec<&str> = last.iter().map(|n| n.op_type.as_str()).collect();
    assert_eq!(operators[..2], ["Mul", "MatMul"]);
    assert!(last[0].outputs == ["logits"]);
    let Some(runtime) = library() else { return };
    let bytes =
        ftsurgery::onnx::encode(&ftsurgery::surgery::taken_in(&made.model()).unwrap().proto);
    let mut session =
        Session::new(&runtime, &bytes.unwrap(), &[], &SessionOptions::default()).unwrap();
    let input = session.inputs()[0].clone();
    let dims: Vec<usize> = input
        .dims
        .iter()
        .zip([2, 3, 32, 32])
        .map(|(dim, size)| dim.unwrap_or(size))
        .collect();
    let outputs = session.run(&[(&input.name, &images(&dims))]).unwrap();
    let logits = outputs[0].as_f32().unwrap();
    assert!(logits.iter().all(|v| v.abs() <= 10.0 + 1e-4), "{logits}");
    assert!(logits.iter().any(|v| v.abs() > 0.1), "{logits}");
}

#[test]
fn without_its_head_a_model_gives_what_that_read() {
    let Some(runtime) = library() else { return };
    let model = Model::open_in_place(&fixture("ir3.onnx")).unwrap();
    let made = remove_head(&model, None, &given(&runtime)).unwrap();
    let graph = made.proto.graph.as_ref().unwrap();
    assert_eq!(graph.output[0].name(), "flat");
    assert!(graph.initializer.iter().all(|t| t.name() != "dense.weight"));
}
