//! Edits drawn at random on many models: the manifest holds, and nothing but it does.

use prost::Message;
use rand::{Rng, RngExt};

use super::super::super::testing::*;
use super::super::super::{Edited, Editor, Manifest, holds};
use super::rich::{old, rich};
use crate::graph::{Node, Value};
use crate::onnx::{DataType, Model, Tensor, encode};
use crate::random::{Purpose, stream};

/// One operation, drawn; what is refused is no matter here.
fn edit(editor: &mut Editor<'_>, random: &mut impl Rng) {
    let graph = editor.graph();
    let pick = |random: &mut dyn Rng, names: Vec<String>| match names.len() {
        0 => String::new(),
        n => names[random.next_u32() as usize % n].clone(),
    };
    let made = graph.node.iter().flat_map(|n| n.output.clone()).collect();
    let tensors = graph.initializer.iter().filter_map(|t| t.name.clone());
    let inputs = graph.input.iter().filter_map(|v| v.name.clone());
    let all = inputs.chain(tensors.clone()).collect();
    let node_names = graph.node.iter().filter_map(|n| n.name.clone()).collect();
    let value = pick(random, made);
    let tensor = pick(random, tensors.collect());
    let other = pick(random, all);
    let node = pick(random, node_names);
    let new = format!("new {}", random.next_u32());
    let values = [1.5, -0.25, random.next_u32() as f32];
    let _ = match random.next_u32() % 10 {
        0 => editor.keep(&[&value]),
        1 => editor.rename(&value, &new),
        2 => editor.rename(&other, &new),
        3 => editor.rename_node(&node, &new),
        4 => editor.add_tensor(&new, &Tensor::f32(&[3], &values)),
        5 => editor.add_node(Node::new(&new, "Relu", &[&value], &[&new]).to_proto()),
        6 => editor.set_outputs(&[Value::fixed(&value, DataType::Float, &[1])]),
        7 => editor.take_in(),
        8 => {
            editor.set_metadata(["a", "b", "author"][random.next_u32() as usize % 3], &new);
            Ok(())
        }
        _ => {
            let len = editor
                .graph()
                .initializer
                .iter()
                .find(|t| t.name() == tensor);
            let len = len.map_or(0, |t| t.dims.iter().product::<i64>() as usize);
            editor.set_values(&tensor, &vec![values[2]; len])
        }
    };
}

fn decoded(bytes: Vec<u8>, original: &Model) -> Option<Model> {
    Model::decode(bytes.into(), original.path()).ok()
}

/// Edits `original` and looks at what holds; how many bytes changed behind the editor's back were noticed.
fn holds_alone(original: &Model, seed: u64) -> usize {
    let random = &mut stream(Purpose::Head, seed, &[original.file_bytes()]);
    let mut editor = Editor::new(original).unwrap();
    for _ in 0..random.random_range(1..8) {
        edit(&mut editor, random);
    }
    let Edited {
        mut proto,
        mut manifest,
    } = editor.finish().unwrap();
    if random.next_u32().is_multiple_of(2) {
        let half = original.with_proto(proto);
        let mut editor = Editor::resume(original, &half, &manifest).unwrap();
        edit(&mut editor, random);
        Edited { proto, manifest } = editor.finish().unwrap();
    }
    let bytes = encode(&proto).unwrap();
    let Some(edited) = decoded(bytes.clone(), original) else {
        return 0;
    };
    holds(original, &edited, &manifest).unwrap();

    for i in 0..manifest.changes.len() {
        let mut changes = manifest.changes.clone();
        let dropped = changes.remove(i);
        let less = Manifest { changes };
        assert!(
            holds(original, &edited, &less).is_err(),
            "without: {dropped}"
        );
    }
    let mut noticed = 0;
    for _ in 0..20 {
        let mut changed = bytes.clone();
        let at = random.random_range(0..changed.len());
        changed[at] ^= 1 << random.random_range(0..8);
        let Some(other) = decoded(changed, original) else {
            continue;
        };
        // A bit may lie in what no field keeps.
        if other.proto.encode_to_vec() != bytes {
            assert!(
                holds(original, &other, &manifest).is_err(),
                "seed {seed}, byte {at}"
            );
            noticed += 1;
        }
    }
    noticed
}

#[test]
fn a_manifest_holds_for_the_edited_file_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let mut models = vec![rich(folder.path()), old(), model(&classifier())];
    let fixtures = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/exporters");
    for entry in std::fs::read_dir(fixtures).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "onnx") {
            models.push(Model::open(&path).unwrap());
        }
    }
    assert!(models.len() > 20);
    let mut noticed = 0;
    for (i, model) in models.iter().enumerate() {
        let seeds = if i < 3 { 60 } else { 4 };
        noticed += (0..seeds)
            .map(|seed| holds_alone(model, seed))
            .sum::<usize>();
    }
    assert!(noticed > 500, "{noticed}");
}

#[test]
fn onnx_itself_finds_nothing_wrong_with_what_was_edited() {
    let Some(python) = crate::testing::python(&["onnx"]) else {
        return crate::testing::skip("python", "with onnx");
    };
    let folder = tempfile::tempdir().unwrap();
    let originals = [rich(folder.path()), old(), model(&classifier())];
    let mut paths = Vec::new();
    for (i, original) in originals.iter().enumerate() {
        let mut editor = Editor::new(original).unwrap();
        editor.keep(&["flat"]).unwrap();
        editor.rename("map", "features").unwrap();
        editor.rename("x", "image").unwrap();
        editor.take_in().unwrap();
        editor.set_values("bn.scale", &[1.0; 4]).unwrap();
        editor.add_tensor("scale", &weight(&[4], 1)).unwrap();
        let scaled = Node::new("scaled", "Mul", &["flat", "scale"], &["scaled"]);
        editor.add_node(scaled.to_proto()).unwrap();
        editor.set_outputs(&[value("scaled", &[0, 4])]).unwrap();
        let path = folder.path().join(format!("{i}.onnx"));
        crate::onnx::save(&editor.finish().unwrap().proto, &path).unwrap();
        paths.push(path);
    }
    let script =
        "import sys, onnx\nfor p in sys.argv[1:]: onnx.checker.check_model(p, full_check=True)";
    let ran = std::process::Command::new(python)
        .arg("-c")
        .arg(script)
        .args(&paths)
        .output();
    let ran = ran.unwrap();
    assert!(
        ran.status.success(),
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
}
