//! PyTorch's trajectories: `fixtures/reference`, which `tools/make_reference.py` writes.

use ftsurgery::runtime::testing::runtime;
use ftsurgery::runtime::{Array, Runtime};

use crate::scene::{Arrays, Made, apart, fixture};

const TOLERANCE: f64 = 1e-5;
/// For a fixed batch, and for any.
const BATCHES: [&str; 2] = ["--batch-size 4", "--batch-size free"];

/// Trains with `flags` on batches of images and labels, and holds losses and the state against `expected` under `name`.
fn agrees(
    runtime: &Runtime,
    (network, flags, rate): (&str, &str, f32),
    labels: &[Array],
    (expected, name): (&Arrays, &str),
) {
    let images = Arrays(fixture(network).join("reference.npz")).batches::<f32>("x");
    let losses = expected.get::<f32>(&format!("{name}/loss"));
    for batch in BATCHES {
        let what = format!("{network} {name} {batch}");
        let model = fixture(network).join("model.onnx");
        let mut made = Made::of(runtime, &model, &format!("{flags} {batch}"));
        let steps = images.iter().zip(labels).zip(&losses);
        for ((x, y), &expected) in steps {
            let inputs = [("image", Array::F32(x.clone())), ("labels", y.clone())];
            let loss = made.step(&inputs, rate);
            let off = f64::from((loss - expected).abs() / expected);
            assert!(off < TOLERANCE, "{what}: loss {loss}, {expected}");
        }
        let mut compared = 0;
        for kind in ["param", "running", "average"] {
            for of in expected.names(&format!("{name}/{kind}/")) {
                let wanted = expected.get::<f32>(&format!("{name}/{kind}/{of}"));
                let found = made.floats(&format!("{kind}/{of}"));
                let wanted: Vec<f32> = wanted.iter().copied().collect();
                let off = apart(&found, &wanted);
                assert!(off < TOLERANCE, "{what}: {kind}/{of} is {off:.1e} off");
                compared += 1;
            }
        }
        assert!(compared > 10, "{what}: {compared}");
        assert_eq!(made.state["step"].as_i64().unwrap()[[]], 5);
    }
}

#[test]
fn optimizers_are_those_of_pytorch() {
    let Some(runtime) = runtime() else { return };
    for network in ["convnet", "tokens"] {
        let expected = Arrays(fixture(network).join("reference.npz"));
        let labels = expected.batches::<i64>("y");
        let labels: Vec<Array> = labels.into_iter().map(Array::I64).collect();
        for (name, flags, rate) in [
            ("sgd", "--optimizer sgd --weight-decay 1e-4", 0.05),
            ("adam", "--optimizer adam", 1e-3),
            ("adamw", "--optimizer adamw", 1e-3),
        ] {
            agrees(&runtime, (network, flags, rate), &labels, (&expected, name));
        }
    }
}

/// As `WEIGHTS` and `SMOOTHING` of the tool.
const TARGETS: &str = "--label-smoothing 0.1 --class-weights 0.5,1,2,1.5,0.25";

#[test]
fn statistics_clipping_averages_and_losses_are_those_of_pytorch() {
    let Some(runtime) = runtime() else { return };
    let folder = fixture("convnet");
    let recipes = Arrays(folder.join("recipes.npz"));
    let floats = |name: &str| -> Vec<Array> {
        let all = recipes.batches::<f32>(name).into_iter();
        all.map(Array::F32).collect()
    };
    let labels = Arrays(folder.join("reference.npz")).batches::<i64>("y");
    let labels: Vec<Array> = labels.into_iter().map(Array::I64).collect();
    let batch = format!("--optimizer adamw --bn batch --clip 0.5 --ema 0.9 {TARGETS}");
    let bce = format!("--optimizer adam --weight-decay 1e-2 --loss bce {TARGETS}");
    let mse = "--optimizer sgd --momentum 0 --loss mse";
    for (name, flags, rate, labels) in [
        ("batch", batch.as_str(), 1e-3, labels),
        ("mse", mse, 0.05, floats("targets")),
        ("bce", &bce, 1e-3, floats("classes")),
    ] {
        agrees(
            &runtime,
            ("convnet", flags, rate),
            &labels,
            (&recipes, name),
        );
    }
}
