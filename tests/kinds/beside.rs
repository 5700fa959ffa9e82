//! Files that other tools leave beside a model, and the image size that Ultralytics writes into it.

use ftsurgery::classifier::ModelCard;
use ftsurgery::data::Preprocess;
use ftsurgery::graph::{Dim, Graph, Node};
use ftsurgery::onnx::messages::ModelProto;
use ftsurgery::onnx::{Model, Tensor, encode, set_metadata};
use ftsurgery::runtime::testing::has_runtime;
use serde_json::Value as Json;

use crate::models::*;

const PROCESSOR: &str = r#"{"image_processor_type": "ViTImageProcessor", "do_resize": true, "do_center_crop": true,
    "size": {"shortest_edge": 20}, "crop_size": {"height": 16, "width": 16}, "resample": 3, "do_rescale": true,
    "rescale_factor": 0.00392156862745098, "do_normalize": true, "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5]}"#;
const CONFIG: &str =
    r#"{"model_type": "vit", "id2label": {"0": "red", "1": "blue", "2": "green"}}"#;

/// The classifier with any height and width.
fn open_sized() -> Graph {
    let mut graph = classifier();
    let any = |name: &str| Dim::Symbolic(name.to_owned());
    graph.inputs[0].dims = Some(vec![any("N"), Dim::Known(3), any("height"), any("width")]);
    graph
}

/// A place with a model, and files as they are called.
fn place(model: &ModelProto, at: &str, files: &[(&str, &str)]) -> Place {
    let place = Place::new(model);
    for folder in ["hub/onnx", "hub"] {
        std::fs::create_dir_all(place.at(folder)).unwrap();
    }
    std::fs::write(place.at(at), encode(model).unwrap()).unwrap();
    for (name, text) in files {
        std::fs::write(place.at(name), text).unwrap();
    }
    place
}

fn evaluated(place: &Place, model: &str, arguments: &str) -> (Json, String) {
    let said = place.run(&format!(
        "evaluate {model} --data photos --json {arguments}"
    ));
    let told = said.well();
    (serde_json::from_str(&said.out()).unwrap(), told)
}

/// The preprocessing that a result names, and who said it.
fn taken(result: &Json) -> (String, &str) {
    let preprocess: Preprocess = serde_json::from_value(result["preprocess"].clone()).unwrap();
    let resize = preprocess.resize;
    (
        format!("{preprocess} {resize}"),
        result["preprocess_from"].as_str().unwrap(),
    )
}

fn names(result: &Json) -> Vec<&str> {
    let classes = result["classes"].as_array().unwrap().iter();
    classes.map(|c| c["name"].as_str().unwrap()).collect()
}

#[test]
fn files_of_hugging_face_beside_a_model_or_one_folder_up_say_pixels_size_and_classes() {
    if !has_runtime() {
        return;
    }
    let model = proto(&open_sized());
    for at in ["hub/model.onnx", "hub/onnx/model.onnx"] {
        let files = [
            ("hub/preprocessor_config.json", PROCESSOR),
            ("hub/config.json", CONFIG),
        ];
        let place = place(&model, at, &files);
        let (result, told) = evaluated(&place, at, "");
        assert_eq!(
            taken(&result),
            ("signed crop:0.8".to_owned(), "beside"),
            "{told}"
        );
        assert_eq!(names(&result), ["red", "blue", "green"]);
        for word in [
            "16 × 16",
            "(of hub/preprocessor_config.json)",
            "named by hub/config.json",
            "`bicubic`",
        ] {
            assert!(told.contains(word), "{word}: {told}");
        }
        // A flag goes first, which is told.
        let (result, told) = evaluated(&place, at, "--preprocess unit --resize squash");
        assert_eq!(taken(&result), ("unit squash".to_owned(), "flag"));
        assert!(
            told.contains("names the preprocessing signed, but unit is asked for"),
            "{told}"
        );
        assert!(told.contains("crop:0.8, but squash is asked for"), "{told}");
        // What is predicted is what is evaluated.
        let said = place.run(&format!(
            "predict {at} photos/red/0.png photos/blue/0.png --top 1"
        ));
        let told = said.well();
        assert!(told.contains("preprocessing signed (of hub/pre"), "{told}");
    }
}

#[test]
fn a_tuned_model_says_itself_what_the_files_beside_the_first_did() {
    if !has_runtime() {
        return;
    }
    let files = [
        ("preprocessor_config.json", PROCESSOR),
        ("config.json", CONFIG),
    ];
    let place = place(&proto(&open_sized()), "model.onnx", &files);
    let arguments = "tune model.onnx --data photos --out run --strategies head,full --epochs 2 --batch-size 8 \
                     --search-fraction 0 --lr 0.01 --head keep";
    let told = place.run(arguments).well();
    assert!(told.contains("named by config.json"), "{told}");
    let run: Json =
        serde_json::from_slice(&std::fs::read(place.at("run/run.json")).unwrap()).unwrap();
    assert_eq!(run["configuration"]["preprocess_from"], "beside");
    let card = ModelCard::read(&place.winner()).unwrap();
    assert_eq!(card.classes.unwrap(), ["red", "blue", "green"]);
    assert_eq!(card.image_size, Some((16, 16)));
    for file in ["preprocessor_config.json", "config.json"] {
        std::fs::remove_file(place.at(file)).unwrap();
    }
    let (result, told) = evaluated(&place, "run/winners/full.onnx", "");
    assert_eq!(
        taken(&result),
        ("signed crop:0.8".to_owned(), "metadata"),
        "{told}"
    );
}

#[test]
fn files_that_are_broken_or_of_others_are_told_and_in_nobodys_way() {
    if !has_runtime() {
        return;
    }
    let model = proto(&classifier());
    for (name, text, word) in [
        ("preprocessor_config.json", "{\"size\": ", "it is no JSON"),
        (
            "preprocessor_config.json",
            "{\"image_mean\": 3, \"image_std\": \"x\"}",
            "`image_std`",
        ),
        ("config.json", "// mine\n", "it is no JSON"),
    ] {
        let place = place(&model, "model.onnx", &[(name, text)]);
        let (result, told) = evaluated(&place, "model.onnx", "");
        assert!(told.contains(name) && told.contains(word), "{told}");
        assert_eq!(taken(&result).1, "guess");
    }
    // Of another model, by the number of its classes, and of another program.
    for text in [
        r#"{"id2label": {"0": "a", "1": "b"}}"#,
        r#"["id2label"]"#,
        "3",
    ] {
        let place = place(&model, "model.onnx", &[("config.json", text)]);
        let (result, told) = evaluated(&place, "model.onnx", "");
        assert!(!told.contains("config.json"), "{told}");
        assert_eq!(names(&result), CLASSES);
    }
    // Of other images than the model's.
    let file = PROCESSOR.replace("16", "12");
    let place = place(&model, "model.onnx", &[("preprocessor_config.json", &file)]);
    let (_, told) = evaluated(&place, "model.onnx", "");
    assert!(
        told.contains("of images of 12 × 12 pixels, and the model gets 16 × 16"),
        "{told}"
    );
}

#[test]
fn what_the_model_says_itself_goes_before_what_lies_beside_it() {
    if !has_runtime() {
        return;
    }
    let files = [
        ("preprocessor_config.json", PROCESSOR),
        ("config.json", CONFIG),
    ];
    // Its metadata.
    let mut noted = proto(&classifier());
    let unit = serde_json::to_string(&Preprocess::UNIT).unwrap();
    set_metadata(&mut noted, "ftsurgery.preprocess", &unit);
    set_metadata(&mut noted, "names", "['green', 'red', 'blue']");
    let (result, told) = evaluated(&place(&noted, "model.onnx", &files), "model.onnx", "");
    assert_eq!(
        taken(&result),
        ("unit squash".to_owned(), "metadata"),
        "{told}"
    );
    assert_eq!(names(&result), ["green", "red", "blue"]);
    assert!(!told.contains("config.json"), "{told}");
    // Its first steps, which scale bytes.
    let mut graph = classifier();
    graph.inputs[0].name = "bytes".to_owned();
    let scaled = Node::new("scaled", "Mul", &["bytes", "factor"], &["x"]);
    graph.nodes.insert(0, scaled);
    let factor = Tensor::scalar_f32(1.0 / 255.0);
    graph.initializers.insert("factor".to_owned(), factor);
    let place = place(&proto(&graph), "model.onnx", &files);
    let (result, told) = evaluated(&place, "model.onnx", "");
    assert_eq!(
        taken(&result),
        ("raw crop:0.8".to_owned(), "graph"),
        "{told}"
    );
    assert!(
        told.contains("names the preprocessing signed, but raw is taken"),
        "{told}"
    );
    let said = place.run("predict model.onnx photos/red/0.png").well();
    assert!(
        said.contains("preprocessing raw (as the model itself says)"),
        "{said}"
    );
}

#[test]
fn the_image_size_of_ultralytics_is_taken_where_the_graph_leaves_it_open_and_kept_true() {
    if !has_runtime() {
        return;
    }
    for (text, tuned) in [("[16, 16]", "[32, 32]"), ("16", "32")] {
        let mut model = proto(&open_sized());
        for (key, value) in [
            ("imgsz", text),
            ("batch", "1"),
            ("names", "{0: 'a', 1: 'b', 2: 'c'}"),
        ] {
            set_metadata(&mut model, key, value);
        }
        let place = place(&model, "model.onnx", &[]);
        let told = place.run("predict model.onnx photos/red/0.png").well();
        assert!(told.contains("images of 16 × 16 pixels"), "{told}");
        place.tune("").well();
        assert_eq!(place.winner().metadata("imgsz"), Some(text));
        let told = place.tune("--image-size 32 --force").well();
        assert!(
            told.contains("name images of 16 × 16 pixels, but 32 × 32"),
            "{told}"
        );
        assert!(told.contains("`imgsz`"), "{told}");
        let winner: Model = place.winner();
        assert_eq!(winner.metadata("imgsz"), Some(tuned));
        assert_eq!(winner.metadata("batch"), Some("1"));
        assert_eq!(
            winner.metadata("names"),
            Some("{0: 'blue', 1: 'green', 2: 'red'}")
        );
    }
}
