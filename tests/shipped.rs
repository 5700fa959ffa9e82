//! Tuned models where they are used: onnxruntime as a library and in Python, of two versions, tract, OpenVINO, onnxruntime-node.
//! Alone and five at a time, photos get the same class everywhere, and the same logits to a thousandth.

use std::path::{Path, PathBuf};
use std::process::Command;

use ftsurgery::classifier::Inference;
use ftsurgery::onnx::Model;
use ftsurgery::runtime::Device;
use ftsurgery::runtime::testing::runtime;
use ftsurgery::testing::{python, shared, skip};
use image::imageops::FilterType;
use tract_onnx::prelude::*;

/// Of a sample, as the model takes it.
const SAMPLE: [usize; 3] = [3, 32, 32];
const PHOTOS: usize = 100;
const BATCHES: [usize; 2] = [1, 5];
const TOLERANCE: f32 = 1e-3;
const STRATEGIES: [&str; 5] = ["head", "last1", "lora1", "adafilter", "spottune"];

/// Runs models on the samples of a file, in batches: a line of JSON for each model, with the logits by size of the batch.
const PYTHON: &str = "
import json, sys
import numpy as np
kind, samples, *models = sys.argv[1:]
samples = np.fromfile(samples, np.float32).reshape(-1, 3, 32, 32)
def runner(path):
    if kind == 'openvino':
        import openvino
        model = openvino.compile_model(path, 'CPU', {'INFERENCE_PRECISION_HINT': 'f32'})
        return lambda batch: model(batch)[0]
    import onnxruntime
    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    name = session.get_inputs()[0].name
    return lambda batch: session.run(None, {name: batch})[0]
for path in models:
    run = runner(path)
    parts = {n: [run(samples[i:i + n]).ravel().tolist() for i in range(0, len(samples), n)] for n in (1, 5)}
    print(json.dumps([sum(parts[n], []) for n in (1, 5)]))
";
const NODE: &str = "
const fs = require('fs'), ort = require('onnxruntime-node');
const [samples, ...models] = process.argv.slice(1);
const bytes = fs.readFileSync(samples);
const all = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
const size = 3 * 32 * 32, count = all.length / size;
(async () => {
  for (const path of models) {
    const session = await ort.InferenceSession.create(path, { logSeverityLevel: 3 });
    const told = [];
    for (const n of [1, 5]) {
      const logits = [];
      for (let i = 0; i < count; i += n) {
        const batch = new ort.Tensor('float32', all.slice(i * size, (i + n) * size), [n, 3, 32, 32]);
        const given = await session.run({ [session.inputNames[0]]: batch });
        logits.push(...given[session.outputNames[0]].data);
      }
      told.push(logits);
    }
    console.log(JSON.stringify(told));
  }
})();
";

/// A hundred pictures of several classes: flowers where they are at hand, else the project's digits.
fn photos() -> Vec<PathBuf> {
    let flowers = shared().map(|root| root.join("data/tf_flowers"));
    let digits = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/digits");
    let root = flowers.filter(|folder| folder.is_dir()).unwrap_or(digits);
    let files = walkdir::WalkDir::new(root).sort_by_file_name().into_iter();
    let files = files.map(|entry| entry.unwrap().into_path());
    let is_picture = |path: &PathBuf| {
        path.extension()
            .is_some_and(|e| matches!(e.to_str(), Some("png" | "jpg" | "jpeg")))
    };
    let all: Vec<PathBuf> = files.filter(is_picture).collect();
    let step = all.len() / PHOTOS;
    all.into_iter().step_by(step).take(PHOTOS).collect()
}

/// What a model gets of them.
fn pixels(photos: &[PathBuf]) -> Vec<f32> {
    let [channels, height, width] = SAMPLE;
    let mut pixels = Vec::with_capacity(photos.len() * channels * height * width);
    for photo in photos {
        let picture = image::open(photo).unwrap().to_rgb8();
        let picture = image::imageops::resize(&picture, 32, 32, FilterType::Triangle);
        for channel in 0..channels {
            pixels.extend(picture.pixels().map(|p| f32::from(p[channel]) / 255.0));
        }
    }
    pixels
}

/// Tunes the project's backbone by each strategy on ten digits of each class; the files.
fn tuned(folder: &Path) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for class in std::fs::read_dir(root.join("fixtures/digits")).unwrap() {
        let class = class.unwrap();
        let own = folder.join("data").join(class.file_name());
        std::fs::create_dir_all(&own).unwrap();
        for file in std::fs::read_dir(class.path()).unwrap().take(10) {
            let file = file.unwrap();
            std::fs::copy(file.path(), own.join(file.file_name())).unwrap();
        }
    }
    let flags = "--epochs 2 --search-epochs 1 --search-fraction 0.2 --lr 1e-3 --threads 1 --augment none \
                 --operators standard --adafilter-start half";
    let output = Command::new(env!("CARGO_BIN_EXE_ftsurgery"))
        .arg("tune")
        .arg(root.join("onnx-models/fashion_mobilenet.onnx"))
        .arg("--data")
        .arg(folder.join("data"))
        .arg("--out")
        .arg(folder.join("run"))
        .args(["--strategies", &STRATEGIES.join(",")])
        .args(flags.split_whitespace())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let winner = |name: &&str| folder.join(format!("run/winners/{name}.onnx"));
    STRATEGIES.iter().map(winner).collect()
}

/// The logits of all photos, by size of the batch.
type Logits = [Vec<f32>; 2];

fn onnxruntime(model: &Path, pixels: &[f32]) -> Option<Logits> {
    let runtime = runtime()?;
    let model = Model::open(model).unwrap();
    let mut inference = Inference::new(&runtime, &model, Device::Cpu, 1).unwrap();
    let size: usize = SAMPLE.iter().product();
    Some(BATCHES.map(|batch| {
        let parts = pixels.chunks(batch * size).flat_map(|part| {
            let mut fill = |range: std::ops::Range<usize>, values: &mut [f32]| {
                values.copy_from_slice(&part[range.start * size..range.end * size]);
                Ok(())
            };
            inference.run(&SAMPLE, batch, &mut fill).unwrap().values
        });
        parts.collect()
    }))
}

fn tract(model: &Path, pixels: &[f32]) -> Logits {
    let size: usize = SAMPLE.iter().product();
    BATCHES.map(|batch| {
        let dims = [&[batch][..], &SAMPLE].concat();
        let model = tract_onnx::onnx()
            .model_for_path(model)
            .and_then(|m| m.with_input_fact(0, f32::fact(&dims).into()))
            .and_then(|m| m.into_optimized())
            .and_then(|m| m.into_runnable())
            .unwrap();
        let parts = pixels.chunks(batch * size).flat_map(|part| {
            let input = Tensor::from_shape(&dims, part).unwrap();
            let outputs = model.run(tvec!(input.into())).unwrap();
            let logits = outputs[0].to_array_view::<f32>().unwrap();
            Vec::from_iter(logits.iter().copied())
        });
        parts.collect()
    })
}

/// What a program prints of the models, a line each.
fn told(program: &Path, words: &[&str], models: &[PathBuf]) -> Vec<Logits> {
    let mut command = Command::new(program);
    let output = command.args(words).args(models).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", program.display());
    let lines = String::from_utf8(output.stdout).unwrap();
    let lines = lines.lines().filter(|line| line.starts_with("[["));
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn top(row: &[f32]) -> usize {
    let best = row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
    best.map_or(0, |(place, _)| place)
}

#[test]
fn tuned_models_give_the_same_classes_and_logits_in_every_runtime_alone_and_by_fives() {
    if runtime().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let models = tuned(folder.path());
    let photos = photos();
    assert_eq!(photos.len(), PHOTOS);
    let pixels = pixels(&photos);
    let samples = folder.path().join("samples.f32");
    let bytes: Vec<u8> = pixels.iter().flat_map(|v| v.to_le_bytes()).collect();
    std::fs::write(&samples, bytes).unwrap();
    let samples = samples.to_str().unwrap();

    let mut others: Vec<(&str, Vec<Logits>)> = Vec::new();
    others.push(("tract", models.iter().map(|m| tract(m, &pixels)).collect()));
    for (need, module) in [("python", "onnxruntime"), ("openvino", "openvino")] {
        match python(&[module, "numpy"]) {
            None => skip(
                need,
                format!("a Python that imports {module} (FTSURGERY_PYTHON)"),
            ),
            Some(program) => {
                others.push((
                    module,
                    told(&program, &["-c", PYTHON, module, samples], &models),
                ));
            }
        }
    }
    // The last packages of an older version that are at hand are those with the training API.
    match std::env::var_os("FTSURGERY_ORT_TRAINING_PYTHON").map(PathBuf::from) {
        Some(program) if imports_onnxruntime(&program) => {
            let words = ["-c", PYTHON, "onnxruntime", samples];
            others.push(("onnxruntime 1.19", told(&program, &words, &models)));
        }
        _ => skip(
            "ort-training",
            "a Python with onnxruntime-training-cpu 1.19.2 (FTSURGERY_ORT_TRAINING_PYTHON)",
        ),
    }
    match has_node() {
        true => {
            let words = ["-e", NODE, "--", samples];
            others.push(("onnxruntime-node", told(Path::new("node"), &words, &models)));
        }
        false => skip("node", "node with onnxruntime-node (NODE_PATH)"),
    }

    for (at, strategy) in STRATEGIES.iter().enumerate() {
        let ours = onnxruntime(&models[at], &pixels).unwrap();
        let classes = ours[0].len() / PHOTOS;
        assert_eq!(classes, 10);
        let same = |theirs: &[f32], what: &str| {
            assert_eq!(theirs.len(), PHOTOS * classes, "{strategy}: {what}");
            let rows = theirs.chunks(classes).zip(ours[0].chunks(classes));
            for (photo, (theirs, ours)) in rows.enumerate() {
                let largest = ours.iter().fold(1.0f32, |most, v| most.max(v.abs()));
                let apart = theirs.iter().zip(ours).map(|(a, b)| (a - b).abs());
                let apart = apart.fold(0.0, f32::max) / largest;
                assert!(
                    apart <= TOLERANCE,
                    "{strategy}: {what}: photo {photo}: {apart}"
                );
                assert_eq!(top(theirs), top(ours), "{strategy}: {what}: photo {photo}");
            }
        };
        same(&ours[1], "onnxruntime, by fives");
        for (name, told) in &others {
            assert_eq!(told.len(), models.len(), "{name}");
            for (logits, how) in told[at].iter().zip(["alone", "by fives"]) {
                same(logits, &format!("{name}, {how}"));
            }
        }
    }
}

fn imports_onnxruntime(python: &Path) -> bool {
    let ran = Command::new(python)
        .args(["-c", "import numpy, onnxruntime"])
        .output();
    ran.is_ok_and(|ran| ran.status.success())
}

fn has_node() -> bool {
    let ran = Command::new("node")
        .args(["-e", "require('onnxruntime-node')"])
        .output();
    ran.is_ok_and(|ran| ran.status.success())
}
