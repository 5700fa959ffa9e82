//! Models, data and the binary for the tests of `tune`, `evaluate` and `predict`.

use std::path::Path;

use assert_cmd::Command;
use ftsurgery::choice::Choice;
use ftsurgery::data::{Augment, Resize};
use ftsurgery::graph::{Builder, Graph, Value};
use ftsurgery::onnx::{Tensor, save};
use ftsurgery::run::Settings;
pub use ftsurgery::runtime::testing::has_runtime;
use ftsurgery::strategy::StrategyName;
use ftsurgery::surgery::HeadKind;
pub use ftsurgery::testing::shared;
use ftsurgery::training::{HeadInit, Optimizer, OptimizerKind, Schedule};
use image::{Rgb, RgbImage};

/// The classes of [`save_photos`].
pub const CLASSES: [&str; 3] = ["blue", "green", "red"];

/// The binary.
pub fn ftsurgery() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ftsurgery"));
    command.args(["--quiet"]);
    command
}

/// `tune MODEL --data DATA --out OUT` with the arguments given, and the [`laborious`] recipe.
pub fn tune(model: &Path, data: &Path, out: &Path, arguments: &[&str]) -> Command {
    let mut command = ftsurgery();
    command.arg("tune").arg(model);
    command.arg("--data").arg(data).arg("--out").arg(out);
    command.args(laborious(arguments));
    command
}

/// A recipe with more to do than the default one, so that there is more to be wrong, to be stopped and to be resumed:
/// every candidate is trained, from a drawn head of several layers, in many steps.
const LABORIOUS: [&str; 14] = [
    "--strategies head,full,blocks",
    "--head paper",
    "--head-init random",
    "--search-fraction 0.1",
    "--optimizer adam",
    "--lr 1e-4",
    "--schedule constant",
    "--early-stopping off",
    "--warmup 0",
    "--batch-size 4",
    "--epochs 20",
    "--search-epochs 5",
    "--resize squash",
    "--augment none",
];

/// The same without a command line.
pub fn laborious_settings() -> Settings {
    let mut settings = Settings::default()
        .strategies(vec![
            StrategyName::HEAD,
            StrategyName::FULL,
            StrategyName::BLOCKS,
        ])
        .head(HeadKind::Paper)
        .head_init(HeadInit::Random)
        .resize(Some(Resize::SQUASH))
        .augment(Choice::Given(Augment::None))
        .schedule(Schedule::Constant)
        .early_stopping(Choice::Given(None))
        .warmup(0.0)
        .batch_size(4)
        .epochs(20)
        .search_epochs(5);
    settings.split.search_fraction = Choice::Given(0.1);
    settings.optimizer = Optimizer {
        learning_rate: Choice::Given(1e-4),
        ..Optimizer::new(OptimizerKind::Adam)
    };
    settings
}

/// Arguments of `tune` with those of [`LABORIOUS`] that they do not give themselves; of a run that goes on, or a
/// recipe or file that has settings, they stand alone.
pub fn laborious<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    let given = |start: &str| arguments.iter().any(|a| a.starts_with(start));
    let mut all = arguments.to_vec();
    if !["--resume", "--recipe", "--config"].into_iter().any(given) {
        for pair in LABORIOUS {
            let (flag, value) = pair.split_once(' ').unwrap();
            let is_said = match flag {
                "--schedule" => given("--plateau") || given("--cosine"),
                // Arrays have their size.
                "--resize" => arguments.iter().any(|a| a.ends_with(".npz")),
                _ => false,
            };
            if !arguments.contains(&flag) && !is_said {
                all.extend([flag, value]);
            }
        }
    }
    all
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

/// `evaluate --json` in `folder`: its JSON and what it says beside.
pub fn evaluate(folder: &Path, arguments: &str) -> (serde_json::Value, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ftsurgery"));
    command.current_dir(folder).args(["evaluate", "--json"]);
    let output = command.args(arguments.split(' ')).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}");
    (serde_json::from_slice(&output.stdout).unwrap(), told)
}
