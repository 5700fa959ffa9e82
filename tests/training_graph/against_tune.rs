//! The loop of `tune` on the host.

use std::path::Path;

use ftsurgery::onnx::Model;
use ftsurgery::runtime::Array;
use ftsurgery::runtime::testing::runtime;
use ftsurgery::training::ClassWeights;
use ndarray::{ArrayD, IxDyn};

use crate::scene::{Arrays, Made, apart, fixture, ftsurgery, save_samples};

/// Passes over the five batches.
const EPOCHS: usize = 20;
/// What a hundred steps may make of the rounding of one.
const TOLERANCE: f64 = 2e-5;

/// The batches of a network of the fixtures, one behind the other.
fn save_batches(path: &Path, x: &[ArrayD<f32>], y: &[ArrayD<i64>]) {
    fn joined<T: Copy>(all: &[ArrayD<T>]) -> ArrayD<T> {
        let mut dims = all[0].shape().to_vec();
        dims[0] *= all.len();
        let values = all.iter().flat_map(|batch| batch.iter().copied()).collect();
        ArrayD::from_shape_vec(IxDyn(&dims), values).unwrap()
    }
    save_samples(path, &joined(x), &joined(y));
}

#[test]
fn a_hundred_steps_are_those_of_tune() {
    let Some(runtime) = runtime() else { return };
    let model = fixture("convnet").join("model.onnx");
    let arrays = Arrays(fixture("convnet").join("reference.npz"));
    let (x, y) = (arrays.batches::<f32>("x"), arrays.batches::<i64>("y"));
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("samples.npz");
    save_batches(&data, &x, &y);
    let labels = y.iter().flat_map(|batch| batch.iter().copied());
    let weights = ClassWeights::Balanced.of(labels, 5).unwrap();
    let weights: Vec<String> = weights.iter().map(f32::to_string).collect();
    let weights = weights.join(",");
    for (at, (flags, of_tune, of_graph)) in [
        (
            "--optimizer sgd --weight-decay 1e-4",
            "--lr 0.02",
            String::new(),
        ),
        ("--optimizer sgd --momentum 0", "--lr 0.05", String::new()),
        (
            "--optimizer adam --weight-decay 1e-3",
            "--lr 1e-3",
            String::new(),
        ),
        ("--optimizer adamw", "--lr 1e-3", String::new()),
        (
            "--optimizer adamw --bn batch --ema 0.95 --label-smoothing 0.1",
            "--lr 1e-3 --clip-norm 0.5 --class-weights balanced",
            format!("--clip 0.5 --class-weights {weights}"),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let run = folder.path().join(at.to_string());
        let flags_of_loop = "--head keep --strategies full --search-fraction 0 --train-fraction 1 --no-shuffle \
             --log-steps --schedule constant --warmup 0 --early-stopping off --augment none --batch-size 4 \
             --operators standard";
        ftsurgery(&["tune"])
            .arg(&model)
            .args(flags_of_loop.split_whitespace())
            .args(["--epochs", &EPOCHS.to_string()])
            .args(flags.split(' ').chain(of_tune.split(' ')))
            .arg("--data")
            .arg(&data)
            .arg("--out")
            .arg(&run)
            .assert()
            .success();
        let losses = losses(&run);
        assert_eq!(losses.len(), EPOCHS * x.len());
        let rate: f32 = of_tune.split(' ').nth(1).unwrap().parse().unwrap();
        let tuned = Model::open(&run.join("winners/full.onnx")).unwrap();

        for batch in ["4", "free"] {
            let all = format!("{flags} {of_graph} --batch-size {batch}");
            let mut made = Made::of(&runtime, &model, &all);
            let batches = || x.iter().zip(&y);
            let steps = (0..EPOCHS).flat_map(|_| batches());
            for (step, ((x, y), expected)) in steps.zip(&losses).enumerate() {
                let inputs = [
                    ("image", Array::F32(x.clone())),
                    ("labels", Array::I64(y.clone())),
                ];
                let loss = f64::from(made.step(&inputs, rate));
                let off = (loss - expected).abs() / expected;
                assert!(off < TOLERANCE, "{all}: step {step}: {loss}, {expected}");
            }
            let has_average = flags.contains("--ema");
            let mut worst = 0.0f64;
            let mut compared = 0;
            for tensor in &tuned.graph().initializer {
                let name = tensor.name();
                let kinds: &[&str] = match has_average {
                    true => &["average"],
                    false => &["param", "running"],
                };
                let keys = kinds.iter().map(|kind| format!("{kind}/{name}"));
                for key in keys.filter(|key| made.state.contains_key(key)) {
                    let expected = tuned.tensor(tensor).unwrap().to_f32().unwrap();
                    let off = apart(&made.floats(&key), &expected);
                    assert!(off < TOLERANCE, "{all}: {key} is {off:.1e} off");
                    worst = worst.max(off);
                    compared += 1;
                }
            }
            let statistics = if flags.contains("--bn") { 4 } else { 0 };
            assert_eq!(compared, 14 + statistics, "{all}");
            println!("{all}: at most {worst:.1e} off");
        }
    }
}

/// The loss of each step of a run's one trial.
fn losses(run: &Path) -> Vec<f64> {
    let trials: Vec<_> = std::fs::read_dir(run.join("trials")).unwrap().collect();
    assert_eq!(trials.len(), 1, "one trial, no search");
    let trial = trials[0].as_ref().unwrap().path();
    let text = std::fs::read_to_string(trial.join("metrics.jsonl")).unwrap();
    let lines = text.lines().map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        line
    });
    let of_steps = lines.filter(|line| line.get("step").is_some());
    of_steps
        .map(|line| line["loss"].as_f64().unwrap())
        .collect()
}
