//! Links into other folders, and metadata that other tools wrote.

use ftsurgery::onnx::{encode, set_external, set_metadata};
use ftsurgery::runtime::testing::has_runtime;

use crate::models::*;

#[cfg(unix)]
#[test]
fn a_model_in_hugging_faces_cache_is_read_with_its_data() {
    use std::os::unix::fs::symlink;
    if !has_runtime() {
        return;
    }
    let whole = proto(&classifier());
    let alone = Place::new(&whole);
    let mut proto = whole.clone();
    let weights = &mut proto.graph.as_mut().unwrap().initializer;
    let weight = weights.iter_mut().find(|t| t.name() == "w2").unwrap();
    let data = weight.raw_data.take().unwrap();
    set_external(weight, "model.onnx_data", 0, data.len());
    let bytes = encode(&proto).unwrap();
    // Data linked beside the model, or beside what it is a link to, by the name that the model says.
    for (at, link) in [("blobs/bbb", true), ("blobs/model.onnx_data", false)] {
        let place = Place::new(&whole);
        for folder in ["cache/blobs", "cache/snapshots/abc"] {
            std::fs::create_dir_all(place.at(folder)).unwrap();
        }
        std::fs::write(place.at("cache/blobs/aaa"), &bytes).unwrap();
        std::fs::write(place.at("cache").join(at), &data).unwrap();
        symlink(
            "../../blobs/aaa",
            place.at("cache/snapshots/abc/model.onnx"),
        )
        .unwrap();
        if link {
            symlink(
                "../../blobs/bbb",
                place.at("cache/snapshots/abc/model.onnx_data"),
            )
            .unwrap();
        }
        let model = "cache/snapshots/abc/model.onnx";
        assert_close(
            &place.predicted(model, ""),
            &alone.predicted("model.onnx", ""),
        );
        std::fs::remove_file(place.at("model.onnx")).unwrap();
        symlink(place.at(model), place.at("model.onnx")).unwrap();
        // A link to a link leads to the same.
        place.tune("").well();
        assert_eq!(floats(&place.winner(), "w2").len(), 8 * 8 * 9);
    }
    // Data elsewhere are still refused.
    let place = Place::new(&whole);
    std::fs::create_dir(place.at("inside")).unwrap();
    std::fs::write(place.at("inside/model.onnx"), &bytes).unwrap();
    std::fs::write(place.at("secret"), &data).unwrap();
    symlink("../secret", place.at("inside/model.onnx_data")).unwrap();
    let said = place.run("predict inside/model.onnx photos/red/0.png");
    said.refused(&["model.onnx_data"]);
}

#[test]
fn class_names_of_another_tool_are_those_of_the_new_head() {
    if !has_runtime() {
        return;
    }
    let mut proto = proto(&classifier());
    set_metadata(&mut proto, "names", "{0: 'cat', 1: 'dog', 2: 'owl'}");
    set_metadata(&mut proto, "task", "classify");
    let place = Place::new(&proto);
    let said = place.tune("").well();
    assert!(said.contains("`names`"), "{said}");
    let model = place.winner();
    assert_eq!(
        model.metadata("names"),
        Some("{0: 'blue', 1: 'green', 2: 'red'}")
    );
    assert_eq!(model.metadata("task"), Some("classify"));
}

#[test]
fn class_names_are_those_of_the_class_scores_wherever_these_stand_and_however_they_are_listed() {
    if !has_runtime() {
        return;
    }
    let mut graph = classifier();
    // An embedding that the file lists first.
    let embedding = ftsurgery::graph::Value::batched("f", &[8]);
    graph.outputs.insert(0, embedding);
    for (key, text) in [
        ("names", "{0: 'red', 1: 'blue', 2: 'green'}"),
        ("classes", "red\nblue\ngreen\n"),
        ("labels", "red, blue, green"),
        ("label_names", r#"["red", "blue", "green"]"#),
    ] {
        let mut model = proto(&graph);
        set_metadata(&mut model, key, text);
        let place = Place::new(&model);
        let names = place.predicted("model.onnx", "");
        let names: Vec<&str> = names.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["blue", "green", "red"], "{key}");
        // A kept head has its own order, and nothing is told anew.
        place.tune("--head keep").well();
        let tuned = place.winner();
        assert_eq!(tuned.metadata(key), Some(text));
        assert_eq!(
            tuned.metadata("ftsurgery.classes"),
            Some(r#"["red","blue","green"]"#)
        );
    }
    // One that a layer of its own leads to may be taken for them, which the names speak against.
    let mut deep = graph.clone();
    deep.nodes.push(node("MatMul", &["f", "we"], "e"));
    deep.initializers
        .insert("we".to_owned(), noise("we", &[8, 16]));
    deep.outputs[0] = ftsurgery::graph::Value::batched("e", &[16]);
    let mut model = proto(&deep);
    set_metadata(&mut model, "names", "{0: 'red', 1: 'blue', 2: 'green'}");
    let place = Place::new(&model);
    let image = "model.onnx photos/red/0.png --preprocess unit";
    let said = place.run(&format!("predict {image}")).well();
    assert!(
        said.contains("`e` is taken") && said.contains("(`y` has as many scores as classes"),
        "{said}"
    );
    let said = place.run(&format!("predict --output y {image}"));
    assert!(said.out().contains("blue") && !said.well().contains("as many"));
    // As many as something else are none of the class scores.
    let mut model = proto(&graph);
    set_metadata(&mut model, "labels", "made, by, me, alone");
    let names = Place::new(&model).predicted("model.onnx", "");
    assert_eq!(names[0].0, "0");
}
