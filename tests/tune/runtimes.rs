//! What leaves in runtimes other than the one that trained it.

use std::path::Path;

use ftsurgery::classifier::Inference;
use ftsurgery::onnx::Model;
use ftsurgery::runtime::{Device, Runtime, locate};
use ftsurgery::testing::{python, skip};
use tract_onnx::prelude::*;

use crate::scene::*;
use crate::support::*;

/// Of a sample, as the model of a [`Scene`] reads it.
const SAMPLE: [usize; 3] = [3, 16, 16];
const SAMPLES: usize = 8;
const TOLERANCE: f32 = 1e-4;

/// Runs a batch with OpenVINO, and each sample alone: bytes of float32 in, rows of scores out.
const OPENVINO: &str = "
import json, sys
import numpy as np, openvino
samples = np.fromfile(sys.argv[2], np.float32).reshape(-1, *map(int, sys.argv[3:]))
model = openvino.compile_model(sys.argv[1], 'CPU', {'INFERENCE_PRECISION_HINT': 'f32'})
scores = lambda batch: model(batch)[0].tolist()
print(json.dumps([scores(samples), [scores(samples[i:i + 1])[0] for i in range(len(samples))]]))
";

/// Of so many samples, numbers between -1 and 1 that differ from one to the next.
fn samples(count: usize) -> Vec<f32> {
    let size: usize = SAMPLE.iter().product();
    let number = |i: usize| (i as f32 * (0.37 + 0.11 * (i / size) as f32)).sin();
    (0..count * size).map(number).collect()
}

/// The scores of samples in onnxruntime.
fn expected(model: &Model, samples: &[f32]) -> Vec<f32> {
    let size: usize = SAMPLE.iter().product();
    let runtime = Runtime::load(&locate::locate(None).unwrap().located).unwrap();
    let mut inference = Inference::new(&runtime, model, Device::Cpu, 1).unwrap();
    let mut fill = |range: std::ops::Range<usize>, values: &mut [f32]| {
        values.copy_from_slice(&samples[range.start * size..range.end * size]);
        Ok(())
    };
    let outputs = inference.run(&SAMPLE, samples.len() / size, &mut fill);
    outputs.unwrap().values
}

fn assert_close(theirs: &[f32], ours: &[f32], what: &str) {
    assert_eq!(theirs.len(), ours.len(), "{what}");
    for (a, b) in theirs.iter().zip(ours) {
        assert!((a - b).abs() < TOLERANCE, "{what}: {theirs:?} {ours:?}");
    }
}

fn tract(model: &Path, samples: &[f32], count: usize) -> Vec<f32> {
    let dims = [&[count][..], &SAMPLE].concat();
    let input = Tensor::from_shape(&dims, samples).unwrap();
    let outputs = tract_onnx::onnx()
        .model_for_path(model)
        .and_then(|m| m.with_input_fact(0, f32::fact(&dims).into()))
        .and_then(|m| m.into_optimized())
        .and_then(|m| m.into_runnable())
        .and_then(|m| m.run(tvec!(input.into())))
        .unwrap();
    let scores = outputs[0].to_array_view::<f32>().unwrap();
    scores.iter().copied().collect()
}

/// Runs a model of a [`Scene`] in onnxruntime and in tract.
pub fn assert_tract_agrees(model: &Model) {
    let samples = samples(1);
    let ours = expected(model, &samples);
    assert_close(&tract(model.path(), &samples, 1), &ours, "tract");
}

#[test]
fn what_depends_on_the_image_does_so_in_every_runtime_and_batch() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::of(20);
    scene.whole(
        "--preprocess signed --search-fraction 0 --train-fraction 0.5 --validation-fraction 0.2 --epochs 3 --head linear \
         --lr 1e-2 --threads 1 --strategies adafilter,spottune --adafilter-layers all --adafilter-start half",
    );
    let pixels = samples(SAMPLES);
    let size = pixels.len() / SAMPLES;
    let given = scene.at("samples.f32");
    let bytes: Vec<u8> = pixels.iter().flat_map(|v| v.to_le_bytes()).collect();
    std::fs::write(&given, bytes).unwrap();
    let openvino = python(&["openvino", "numpy"]);
    if openvino.is_none() {
        skip("openvino", "a Python that imports it (FTSURGERY_PYTHON)");
    }
    for strategy in ["adafilter", "spottune"] {
        let model = Model::open(&scene.at(&format!("whole/winners/{strategy}.onnx"))).unwrap();
        let ours = expected(&model, &pixels);
        let together = tract(model.path(), &pixels, SAMPLES);
        assert_close(&together, &ours, &format!("{strategy}: tract"));
        for (sample, ours) in pixels.chunks(size).zip(ours.chunks(CLASSES.len())) {
            let alone = tract(model.path(), sample, 1);
            assert_close(&alone, ours, &format!("{strategy}: tract, alone"));
        }
        let Some(python) = &openvino else {
            continue;
        };
        let mut command = std::process::Command::new(python);
        command.args(["-c", OPENVINO]).arg(model.path()).arg(&given);
        let output = command
            .args(SAMPLE.map(|d| d.to_string()))
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let rows: [Vec<Vec<f32>>; 2] = serde_json::from_slice(&output.stdout).unwrap();
        for (rows, how) in rows.iter().zip(["together", "alone"]) {
            let what = format!("{strategy}: OpenVINO, {how}");
            assert_close(&rows.concat(), &ours, &what);
        }
    }
}
