//! Models that do not say how they want their pixels, but let it be found, and models that scale bytes themselves.

use std::path::Path;

use ftsurgery::classifier::ModelCard;
use ftsurgery::data::{Layout, Preprocess};
use ftsurgery::graph::{Dim, Graph, Node, Value};
use ftsurgery::onnx::{DataType, Model, Tensor};
use ftsurgery::runtime::testing::has_runtime;
use ftsurgery::testing::shared;
use image::{Rgb, RgbImage, Rgba, RgbaImage};
use serde_json::Value as Json;

use crate::models::*;

const SIDE: u32 = 16;
const PHOTOS: u32 = 36;

/// The pixel of a photo of warm colours.
fn pixel(photo: u32, x: u32, y: u32) -> [u8; 3] {
    let mut state = (photo * 4096 + y * 64 + x).wrapping_mul(2_654_435_761) ^ 0x9e37;
    let mut next = |most: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) % most
    };
    let light = (photo * 37) % 60;
    [
        120 + next(76) + light,
        70 + next(60) + light,
        20 + next(50) + light,
    ]
    .map(|v| v as u8)
}

/// All pixels of a photo.
fn pixels(photo: u32) -> Vec<u8> {
    let places = (0..SIDE * SIDE).map(|i| (i % SIDE, i / SIDE));
    places.flat_map(|(x, y)| pixel(photo, x, y)).collect()
}

/// A network of a pointwise convolution, the normalisation of its outputs for photos that are scaled by `preprocess`,
/// and a classifier.
fn network(preprocess: &Preprocess) -> Graph {
    let weight = noise("stem", &[8, 3, 1, 1]);
    let stem = weight.to_f32().unwrap();
    let (mut sum, mut squares, mut count) = ([0f64; 8], [0f64; 8], 0f64);
    let len = (SIDE * SIDE * 3) as usize;
    let mut values = vec![0.0; len];
    // Other photos than those that are looked at.
    for photo in 100..130 {
        let write = preprocess.write(&pixels(photo), 3, Layout::Nhwc, &mut values);
        write.unwrap();
        for rgb in values.chunks_exact(3) {
            for (c, weights) in stem.chunks_exact(3).enumerate() {
                let y: f64 = (0..3).map(|i| f64::from(weights[i] * rgb[i])).sum();
                sum[c] += y;
                squares[c] += y * y;
            }
            count += 1.0;
        }
    }
    let mean = sum.map(|s| s / count);
    let var: [f64; 8] = std::array::from_fn(|c| squares[c] / count - mean[c] * mean[c]);
    let floats = |values: [f64; 8]| Tensor::f32(&[8], &values.map(|v| v as f32));
    normalised(weight, floats(mean), floats(var))
}

fn normalised(stem: Tensor, mean: Tensor, var: Tensor) -> Graph {
    let nodes = vec![
        node("Conv", &["x", "stem"], "s").with("kernel_shape", vec![1, 1]),
        node(
            "BatchNormalization",
            &["s", "scale", "shift", "mean", "var"],
            "n",
        ),
        node("Relu", &["n"], "r"),
        node("GlobalAveragePool", &["r"], "p"),
        node("Flatten", &["p"], "f"),
        node("Gemm", &["f", "wf", "bf"], "y").with("transB", 1),
    ];
    let weights: [(&str, &[usize]); 2] = [("wf", &[3, 8]), ("bf", &[3])];
    let mut graph = graph(nodes, &weights, &[("y", &[3])]);
    for (name, tensor) in [
        ("stem", stem),
        ("scale", Tensor::f32(&[8], &[1.0; 8])),
        ("shift", Tensor::f32(&[8], &[0.1; 8])),
        ("mean", mean),
        ("var", var),
    ] {
        graph.initializers.insert(name.to_owned(), tensor);
    }
    graph
}

/// A place with photos of warm colours.
fn warm(graph: &Graph) -> Place {
    let place = Place::new(&proto(graph));
    for photo in 0..PHOTOS {
        let class = CLASSES[photo as usize % CLASSES.len()];
        let picture = RgbImage::from_fn(SIDE, SIDE, |x, y| Rgb(pixel(photo, x, y)));
        let file = place.at(&format!("photos/{class}/{}.png", photo / 3));
        picture.save(file).unwrap();
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

fn taken(json: &Json) -> String {
    let preprocess: Preprocess = serde_json::from_value(json.clone()).unwrap();
    preprocess.to_string()
}

#[test]
fn each_preset_in_each_order_of_colours_is_found_by_the_statistics_of_a_normalisation() {
    if !has_runtime() {
        return;
    }
    for name in Preprocess::PRESETS {
        let preset: Preprocess = name.parse().unwrap();
        for preprocess in [preset.clone(), preset.swapped()] {
            let place = warm(&network(&preprocess));
            let (result, told) = evaluated(&place, "model.onnx", "");
            assert_eq!(
                taken(&result["preprocess"]),
                preprocess.to_string(),
                "{told}"
            );
            assert_eq!(result["preprocess_from"], "found", "{told}");
            let scores = &result["preprocess_scores"];
            assert_eq!(scores["images"], 32);
            assert_eq!(scores["candidates"].as_array().unwrap().len(), 10);
            assert!(
                told.contains("distance") && told.contains("confidence"),
                "{told}"
            );
            // What is asked for is not looked for.
            let (asked, told) = evaluated(&place, "model.onnx", "--preprocess unit");
            assert_eq!(asked["preprocess_scores"], Json::Null, "{told}");
        }
    }
}

#[test]
fn what_is_found_is_recorded_and_looked_for_once() {
    if !has_runtime() {
        return;
    }
    let place = warm(&network(&Preprocess::SIGNED.swapped()));
    let arguments = "model.onnx --data photos --preprocess auto --out run --strategies head,full --epochs 1 \
                     --search-fraction 0 --lr 0.01";
    let told = place.run(&format!("plan {arguments}")).well();
    assert!(told.contains("preprocessing signed-bgr (found)"), "{told}");
    let record = || {
        let text = std::fs::read(place.at("run/run.json")).unwrap();
        let run: Json = serde_json::from_slice(&text).unwrap();
        run["configuration"].clone()
    };
    let begun = record();
    assert_eq!(taken(&begun["preprocess"]), "signed-bgr");
    assert_eq!(begun["preprocess_from"], "found");
    assert_eq!(begun["preprocess_scores"]["found"], "signed-bgr");
    // Whoever goes on looks no more.
    let told = place.run("trial run head-train").well();
    assert!(!told.contains("nothing says how"), "{told}");
    let told = place.run("tune --resume run --preprocess auto").well();
    assert!(!told.contains("nothing says how"), "{told}");
    assert_eq!(record(), begun);
    let config = std::fs::read_to_string(place.at("run/config.toml")).unwrap();
    assert!(config.contains("preprocess = \"signed-bgr\""), "{config}");

    let card = ModelCard::read(&place.winner()).unwrap();
    assert_eq!(card.preprocess.unwrap().to_string(), "signed-bgr");
    let (result, told) = evaluated(&place, "run/winners/full.onnx", "");
    assert_eq!(result["preprocess_from"], "metadata", "{told}");
    assert_eq!(result["preprocess_scores"], Json::Null);
}

/// Random weights, and statistics of the size of those of `imagenet` pixels.
fn made_up() -> Graph {
    let found = network(&Preprocess::IMAGENET);
    let mut graph = found.clone();
    for name in ["mean", "var"] {
        let mut values = found.initializers[name].to_f32().unwrap();
        values.rotate_left(3);
        let tensor = Tensor::f32(&[8], &values);
        graph.initializers.insert(name.to_owned(), tensor);
    }
    graph
}

#[test]
fn nothing_is_found_where_there_is_nothing_to_tell_by() {
    if !has_runtime() {
        return;
    }
    let of = |mean: f32, var: f32| {
        let stem = noise("stem", &[8, 3, 1, 1]);
        let [mean, var] = [mean, var].map(|v| Tensor::f32(&[8], &[v; 8]));
        normalised(stem, mean, var)
    };
    for (graph, why) in [
        (classifier(), "no normalisation layer"),
        // Made up: near to what is seen, but no channel's own.
        (made_up(), "store"),
        // As a normalisation begins.
        (of(0.0, 1.0), "no normalisation layer"),
        // Of something else.
        (of(1e4, 1e-3), "fit none of the presets"),
    ] {
        let place = warm(&graph);
        let (result, told) = evaluated(&place, "model.onnx", "");
        assert!(
            told.contains("cannot tell") && told.contains(why),
            "{why}: {told}"
        );
        assert_eq!(result["preprocess_from"], "guess");
        assert_eq!(taken(&result["preprocess"]), "imagenet");
        // The classifier's confidence is shown, and decides nothing.
        let candidates = result["preprocess_scores"]["candidates"]
            .as_array()
            .unwrap();
        let of_raw = candidates
            .iter()
            .find(|c| c["preprocess"] == "raw")
            .unwrap();
        assert!(of_raw["confidence"].as_f64().unwrap() > 0.3, "{of_raw}");
    }
    let place = warm(&classifier());
    place
        .run("plan model.onnx --data photos --out run --strategies full --epochs 1 --search-fraction 0 --lr 0.01")
        .well();
    let told = place.run("tune --resume run").well();
    assert!(
        told.contains("(a guess)") && !told.contains("confidence"),
        "{told}"
    );

    let place = warm(&network(&Preprocess::UNIT));
    // Few images tell where one way fits by far better than others.
    let told = place.run("predict model.onnx photos/red/0.png").well();
    assert!(told.contains("preprocessing unit (found)"), "{told}");
    RgbImage::from_pixel(SIDE, SIDE, Rgb([10, 20, 200]))
        .save(place.at("cold.png"))
        .unwrap();
    let told = place.run("predict model.onnx cold.png").well();
    for words in [
        "1 image cannot tell, because they are fewer than 8",
        "imagenet is taken",
        "--preprocess (unit, signed, imagenet, caffe, raw), or give 8 images or more",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
    let all: Vec<String> = (0..8).map(|i| format!("photos/red/{i}.png")).collect();
    let told = place
        .run(&format!("predict model.onnx {}", all.join(" ")))
        .well();
    assert!(told.contains("preprocessing unit (found)"), "{told}");
}

/// The classifier, for pixels as `dtype` in channels last, of any height and width, that it scales itself.
fn of_bytes(dtype: DataType) -> Graph {
    let mut graph = classifier();
    let any = |name: &str| Dim::Symbolic(name.to_owned());
    graph.inputs = vec![Value {
        name: "bytes".to_owned(),
        dtype,
        dims: Some(vec![any("N"), any("H"), any("W"), Dim::Known(3)]),
    }];
    let mut nodes = vec![
        node("Cast", &["bytes"], "floats").with("to", 1),
        node("Mul", &["floats", "factor"], "scaled"),
        node("Transpose", &["scaled"], "x").with("perm", vec![0i64, 3, 1, 2]),
    ];
    nodes.extend(std::mem::take(&mut graph.nodes));
    graph.nodes = nodes;
    let factor = Tensor::scalar_f32(1.0 / 255.0);
    graph.initializers.insert("factor".to_owned(), factor);
    graph
}

#[test]
fn bytes_in_channels_last_of_any_size_are_trained_and_the_tuned_model_takes_them_too() {
    if !has_runtime() {
        return;
    }
    for dtype in [DataType::Uint8, DataType::Float, DataType::Int32] {
        let place = Place::new(&proto(&of_bytes(dtype)));
        let declared = place.run("analyze model.onnx").well();
        place
            .run("evaluate model.onnx --data photos")
            .refused(&["--image-size"]);
        let told = place
            .run(
                "tune model.onnx --data photos --image-size 16x16 --out run --strategies head,full --epochs 6 \
                 --batch-size 8 --search-fraction 0 --lr 0.01",
            )
            .well();
        assert!(
            told.contains("preprocessing raw (as the model itself says)"),
            "{declared}{told}"
        );
        let (before, after) = (
            Model::open(&place.at("model.onnx")).unwrap(),
            place.winner(),
        );
        assert_eq!(before.graph().input, after.graph().input, "{dtype:?}");
        let (result, told) = evaluated(&place, "run/winners/full.onnx", "");
        assert!(
            result["accuracy"].as_f64().unwrap() > 0.9,
            "{dtype:?}: {result} {told}"
        );
        // The classes are found by `predict`, too, in a photo of any other size.
        RgbImage::from_pixel(40, 30, Rgb([200, 20, 20]))
            .save(place.at("red.png"))
            .unwrap();
        let said = place.run("predict run/winners/full.onnx red.png --top 1");
        said.well();
        assert!(said.out().contains("red\n"), "{}", said.out());
    }
    let place = Place::new(&proto(&of_bytes(DataType::Uint8)));
    place
        .run("evaluate model.onnx --data photos --image-size 16 --preprocess signed")
        .refused(&["`bytes`", "Uint8", "`raw`, not signed"]);
}

#[test]
fn a_network_that_computes_with_bytes_themselves_is_refused_by_the_node() {
    if !has_runtime() {
        return;
    }
    let mut graph = of_bytes(DataType::Int32);
    let first = Node::new("doubled", "Add", &["bytes", "bytes"], &["twice"]);
    graph.nodes[0].inputs[0] = "twice".to_owned();
    graph.nodes.insert(0, first);
    let place = Place::new(&proto(&graph));
    place
        .run("tune model.onnx --data photos --image-size 16 --out run --strategies full")
        .refused(&["doubled", "whole numbers"]);
}

#[test]
fn models_that_were_handed_over_want_the_pixels_that_are_found() {
    if !has_runtime() {
        return;
    }
    let Some(shared) = shared() else { return };
    let place = Place::new(&proto(&classifier()));
    let mut photos = Vec::new();
    for class in std::fs::read_dir(shared.join("data/tf_flowers")).unwrap() {
        let files = std::fs::read_dir(class.unwrap().path()).unwrap();
        let mut files: Vec<_> = files.map(|f| f.unwrap().path()).collect();
        files.sort();
        photos.extend(files.into_iter().step_by(50).take(7));
    }
    let photos: Vec<String> = photos.iter().map(|p| p.to_string_lossy().into()).collect();
    for (model, wanted) in [
        ("mobilenet_v1", "signed (found)"),
        ("mobilenet_v2", "signed (found)"),
        ("efficientnet_lite0", "signed (found)"),
        ("mobilenet_v3_small", "raw (as the model itself says)"),
    ] {
        let path = shared.join(format!("models/{model}.onnx"));
        let said = place.run(&format!("predict {} {}", path.display(), photos.join(" ")));
        let told = said.well();
        assert!(
            told.contains(&format!("preprocessing {wanted}")),
            "{model}: {told}"
        );
    }
    for model in ["uint8nhwc", "keras_rescale"] {
        let path = shared.join(format!("cases/models/{model}.onnx"));
        std::fs::copy(path, place.at("copy.onnx")).unwrap();
        let told = place
            .run(
                "tune copy.onnx --data photos --out run --force --strategies head,full --epochs 1 --search-fraction 0 \
                 --lr 0.01",
            )
            .well();
        assert!(
            told.contains("preprocessing raw (as the model itself says)"),
            "{model}: {told}"
        );
        let (before, after) = (Model::open(&place.at("copy.onnx")).unwrap(), place.winner());
        assert_eq!(before.graph().input, after.graph().input, "{model}");
        evaluated(&place, "run/winners/full.onnx", "");
    }
}

#[test]
fn models_of_one_and_of_four_channels_are_trained_evaluated_and_predicted_with() {
    if !has_runtime() {
        return;
    }
    for channels in [1, 4] {
        let mut graph = classifier();
        graph.inputs = vec![Value::batched("x", &[channels, 16, 16])];
        let weight = noise("w1", &[8, channels, 3, 3]);
        graph.initializers.insert("w1".to_owned(), weight);
        let place = Place::new(&proto(&graph));
        if channels == 4 {
            // What tells the classes is what is seen of each picture.
            for (class, name) in CLASSES.iter().enumerate() {
                for i in 0..8 {
                    let alpha = 30 + 100 * class as u8 + i;
                    let picture = RgbaImage::from_pixel(16, 16, Rgba([90, 90, 90, alpha]));
                    picture
                        .save(place.at(&format!("photos/{name}/{i}.png")))
                        .unwrap();
                }
            }
        }
        place
            .run(
                "tune model.onnx --data photos --preprocess signed --out run --strategies head,full --epochs 12 \
                 --batch-size 8 --search-fraction 0 --lr 0.01 --augment standard",
            )
            .well();
        let (result, told) = evaluated(&place, "run/winners/full.onnx", "");
        assert!(
            result["accuracy"].as_f64().unwrap() > 0.8,
            "{channels}: {result} {told}"
        );
        place
            .run("predict run/winners/full.onnx photos/red/0.png photos/blue/0.png")
            .well();
        // Without a word on the preprocessing it is tried as that of colours.
        evaluated(&place, "model.onnx", "");
    }
}

#[test]
fn a_network_says_what_it_wants_on_other_pictures_than_those_of_its_training_or_that_it_cannot_tell()
 {
    if !has_runtime() {
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let clothes = Model::open(&root.join("onnx-models/fashion_mobilenet.onnx")).unwrap();
    let mut silent = clothes.proto.clone();
    silent.metadata_props.clear();
    let place = Place::new(&silent);
    let digits = root.join("fixtures/digits");
    let said = place.run(&format!(
        "evaluate model.onnx --data {} --json",
        digits.display()
    ));
    let told = said.well();
    let result: Json = serde_json::from_str(&said.out()).unwrap();
    // What its metadata said.
    assert_eq!(taken(&result["preprocess"]), "unit", "{told}");
    assert_eq!(result["preprocess_from"], "found");
}
