//! Models, data and the binary for the tests of `tune`, `evaluate` and `predict`.

use std::path::Path;

use assert_cmd::Command;
use ftsurgery::graph::{Builder, Graph, Value};
use ftsurgery::onnx::{Tensor, save};
pub use ftsurgery::runtime::testing::has_runtime;
pub use ftsurgery::testing::shared;
use image::{Rgb, RgbImage};

/// The classes of [`save_photos`].
pub const CLASSES: [&str; 3] = ["blue", "green", "red"];

/// The binary.
pub fn ftsurgery() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ftsurgery"));
    command.args(["--quiet"]);
    command
}

/// `tune MODEL --data DATA --out OUT` with quick settings and the arguments given.
pub fn tune(model: &Path, data: &Path, out: &Path, arguments: &[&str]) -> Command {
    let mut command = ftsurgery();
    command.arg("tune").arg(model);
    command.arg("--data").arg(data).arg("--out").arg(out);
    command.args(arguments);
    command
}

/// Settings with which three colours are told apart in a second.
pub const QUICK: &str =
    "--preprocess signed --search-fraction 0.4 --train-fraction 0.4 --epochs 3 --search-epochs 1";

/// Numbers that look random and are always the same.
pub fn noise(count: usize, scale: f32) -> Vec<f32> {
    let mut state = 12345u32;
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((state >> 8) as f32 / (1u32 << 23) as f32 - 1.0) * scale
        })
        .collect()
}

/// A network of three convolutions with batch normalisation (`c1.w`, `c1.scale`, …), each with ReLU
/// and pooling, and the classifier `fc.w`, `fc.b` of five classes. Its images are 16 × 16.
pub fn save_backbone(path: &Path) {
    let mut graph = Graph {
        inputs: vec![Value::batched("image", &[3, 16, 16])],
        ..Graph::new(17)
    };
    let widths = [3, 6, 8, 8];
    let mut add = |name: String, dims: &[usize], values: Vec<f32>| {
        graph.initializers.insert(name, Tensor::f32(dims, &values));
    };
    for (i, pair) in widths.windows(2).enumerate() {
        let (from, to) = (pair[0], pair[1]);
        let weights = noise(to * from * 9, 0.4);
        add(format!("c{}.w", i + 1), &[to, from, 3, 3], weights);
        for (part, value) in [("scale", 1.0), ("bias", 0.1), ("mean", 0.0), ("var", 1.0)] {
            add(format!("c{}.{part}", i + 1), &[to], vec![value; to]);
        }
    }
    add("fc.w".to_owned(), &[8, 5], noise(40, 0.3));
    add("fc.b".to_owned(), &[5], vec![0.0; 5]);
    let mut b = Builder::new(&mut graph);
    let mut x = "image".to_owned();
    for i in 1..=3 {
        let [w, scale, bias, mean, var] =
            ["w", "scale", "bias", "mean", "var"].map(|part| format!("c{i}.{part}"));
        let pads = vec![("pads", vec![1i64; 4].into())];
        x = b.op(&format!("conv{i}"), "Conv", &[&x, &w], pads);
        let norm = [x.as_str(), &scale, &bias, &mean, &var];
        x = b.op(&format!("norm{i}"), "BatchNormalization", &norm, vec![]);
        x = b.op(&format!("relu{i}"), "Relu", &[&x], vec![]);
        let pool = vec![
            ("kernel_shape", vec![2i64, 2].into()),
            ("strides", vec![2i64, 2].into()),
        ];
        x = b.op(&format!("pool{i}"), "MaxPool", &[&x], pool);
    }
    let x = b.op("gap", "GlobalAveragePool", &[&x], vec![]);
    let x = b.op("flat", "Flatten", &[&x], vec![]);
    let x = b.op("scores", "Gemm", &[&x, "fc.w", "fc.b"], vec![]);
    graph.outputs.push(Value::batched(&x, &[5]));
    save(&graph.to_model(usize::MAX).0, path).unwrap();
}

/// A folder with `each` images of each of the [`CLASSES`].
pub fn save_photos(folder: &Path, each: usize) {
    for (class, name) in CLASSES.iter().enumerate() {
        std::fs::create_dir_all(folder.join(name)).unwrap();
        for i in 0..each {
            let mut picture = RgbImage::new(20, 18);
            for (x, y, pixel) in picture.enumerate_pixels_mut() {
                let grain = ((x * 7 + y * 13 + i as u32 * 31) % 60) as u8;
                let mut rgb = [grain, grain, grain];
                rgb[2 - class] = 180 + grain;
                *pixel = Rgb(rgb);
            }
            picture
                .save(folder.join(name).join(format!("{i:02}.png")))
                .unwrap();
        }
    }
}

/// The JSON in a file.
pub fn json(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The JSON lines in a file.
pub fn lines(path: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect()
}
