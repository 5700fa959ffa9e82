//! Training trajectories against PyTorch's, through the command.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use ftsurgery::onnx::Model;
use ndarray::{ArrayD, Ix1, OwnedRepr};
use ndarray_npy::{NpzReader, NpzWriter};

use crate::support::*;

/// With BatchNormalization on the statistics of the batch.
const ON_BATCHES: &str = "mobilenet_v2_bn_train";
/// In `fixtures/reference`.
const OWN: [&str; 2] = ["convnet", "tokens"];
/// In the shared folder, if it is there.
const SHARED: [&str; 6] = [
    ON_BATCHES,
    "vgg",
    "mobilenet_v1",
    "mobilenet_v2",
    "mobilenet_v3",
    "resnet_v2",
];
const OPTIMIZERS: [(&str, &str); 3] = [
    (
        "sgd",
        "--optimizer sgd --lr 0.05 --momentum 0.9 --weight-decay 1e-4",
    ),
    ("adam", "--optimizer adam --lr 1e-3"),
    ("adamw", "--optimizer adamw --lr 1e-3 --weight-decay 1e-2"),
];
const LOOP: &str = "--head keep --strategies full --search-fraction 0 --train-fraction 1 \
                    --no-shuffle --epochs 1 --log-steps";
const TOLERANCE: f64 = 1e-3;
/// Tolerance for [`ROUNDING`] under Adam: its five steps move by some 1e-3 each.
const LOOSE: f64 = 0.05;
/// In [`ON_BATCHES`], a bias whose gradient is 0, because the BatchNormalization `f.2.a.1` takes its
/// shift away again, and the running mean that follows it. What is computed for that gradient is
/// rounding, which Adam scales up to a full step.
const ROUNDING: [&str; 2] = ["f.1.c.1.bias", "f.2.a.1.running_mean"];

type Reader = NpzReader<File>;

fn floats(reader: &mut Reader, name: &str) -> ArrayD<f32> {
    reader
        .by_name::<OwnedRepr<f32>, _>(&format!("{name}.npy"))
        .unwrap()
}

/// Writes the batches of a reference as one array of samples; returns the batch size.
fn save_samples(reader: &mut Reader, path: &Path) -> usize {
    let x = floats(reader, "x");
    let y: ArrayD<i64> = reader.by_name::<OwnedRepr<i64>, _>("y.npy").unwrap();
    let dims = x.shape().to_vec();
    let samples = dims[0] * dims[1];
    let x = x
        .into_shape_with_order((samples, dims[2], dims[3], dims[4]))
        .unwrap();
    let y = y.into_shape_with_order(samples).unwrap();
    let mut writer = NpzWriter::new(File::create(path).unwrap());
    writer.add_array("x", &x).unwrap();
    writer.add_array("y", &y).unwrap();
    writer.finish().unwrap();
    dims[1]
}

/// Names of the arrays under `prefix`, without it.
fn names(reader: &mut Reader, prefix: &str) -> Vec<String> {
    let all = reader.names().unwrap();
    let inner = |n: &String| {
        let name = n.strip_suffix(".npy").unwrap_or(n);
        name.strip_prefix(prefix).map(str::to_owned)
    };
    all.iter().filter_map(inner).collect()
}

/// A network's name, and the folder of its `model.onnx` and `reference.npz`.
type Reference = (&'static str, PathBuf);

fn own() -> Vec<Reference> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/reference");
    OWN.map(|name| (name, folder.join(name))).to_vec()
}

fn shared_ones() -> Vec<Reference> {
    let Some(folder) = shared() else {
        return Vec::new();
    };
    SHARED
        .map(|name| (name, folder.join("reference").join(name)))
        .to_vec()
}

#[test]
fn trajectories_of_the_fixtures_agree_with_pytorch() {
    trajectories_agree(own());
}

#[test]
fn trajectories_of_the_shared_networks_agree_with_pytorch() {
    trajectories_agree(shared_ones());
}

fn trajectories_agree(references: Vec<Reference>) {
    if !has_runtime() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for (network, reference) in references {
        let model = reference.join("model.onnx");
        let mut reader = Reader::new(File::open(reference.join("reference.npz")).unwrap()).unwrap();
        let data = folder.path().join(format!("{network}.npz"));
        let batch = save_samples(&mut reader, &data).to_string();
        for (optimizer, flags) in OPTIMIZERS {
            let out = folder.path().join(format!("{network}-{optimizer}"));
            let mut arguments: Vec<&str> = LOOP.split_whitespace().collect();
            arguments.extend(flags.split(' '));
            arguments.extend(["--batch-size", &batch]);
            if network == ON_BATCHES {
                arguments.extend(["--bn", "batch"]);
            }
            tune(&model, &data, &out, &arguments).assert().success();

            let trials: Vec<_> = std::fs::read_dir(out.join("trials")).unwrap().collect();
            assert_eq!(trials.len(), 1, "one trial, no search");
            let trial = trials.into_iter().next().unwrap().unwrap().path();
            let losses: Vec<f64> = lines(&trial.join("metrics.jsonl"))
                .iter()
                .filter(|l| l.get("step").is_some())
                .map(|l| l["loss"].as_f64().unwrap())
                .collect();
            let expected = floats(&mut reader, &format!("{optimizer}/loss"));
            let expected = expected.into_dimensionality::<Ix1>().unwrap();
            assert_eq!(losses.len(), expected.len());
            for (step, (loss, &e)) in losses.iter().zip(&expected).enumerate() {
                let difference = (loss - f64::from(e)).abs() / f64::from(e).abs();
                assert!(
                    difference < TOLERANCE,
                    "{network} {optimizer} step {step}: {loss}, {e}"
                );
            }

            let tuned = Model::open(&out.join("winners/full.onnx")).unwrap();
            let initializers: HashMap<&str, Vec<f32>> = tuned
                .graph()
                .initializer
                .iter()
                .filter_map(|t| Some((t.name.as_deref()?, tuned.tensor(t).ok()?.to_f32()?)))
                .collect();
            let mut compared = names(&mut reader, "grad/");
            let mut worst = 0.0f64;
            if network == ON_BATCHES {
                let all = names(&mut reader, &format!("{optimizer}/param/"));
                let statistics = all.into_iter().filter(|n| n.contains(".running_"));
                compared.extend(statistics);
                assert!(compared.iter().any(|n| n.ends_with(".running_var")));
            }
            for name in compared {
                let expected = floats(&mut reader, &format!("{optimizer}/param/{name}"));
                let pairs = || initializers[name.as_str()].iter().zip(&expected);
                let square = |v: f32| f64::from(v).powi(2);
                let apart: f64 = pairs().map(|(a, b)| square(a - b)).sum();
                let size: f64 = pairs().map(|(_, b)| square(*b)).sum();
                let rounding = network == ON_BATCHES && ROUNDING.contains(&name.as_str());
                let tolerance = match rounding && optimizer != "sgd" {
                    true => LOOSE,
                    false => TOLERANCE,
                };
                if !rounding {
                    worst = worst.max((apart / size).sqrt());
                }
                assert!(
                    apart.sqrt() <= tolerance * size.sqrt(),
                    "{network} {optimizer} {name}: {} of {}",
                    apart.sqrt(),
                    size.sqrt()
                );
            }
            println!("{network} {optimizer}: parameters at most {worst:.1e}");
        }
    }
}

#[test]
fn full_with_the_kept_head_trains_what_pytorch_trained() {
    if !has_runtime() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for (network, reference) in own().into_iter().chain(shared_ones()) {
        let mut reader = Reader::new(File::open(reference.join("reference.npz")).unwrap()).unwrap();
        let data = folder.path().join(format!("{network}.npz"));
        save_samples(&mut reader, &data);
        let out = folder.path().join(network);
        let arguments: Vec<&str> = LOOP.split_whitespace().collect();
        tune(&reference.join("model.onnx"), &data, &out, &arguments)
            .assert()
            .success();
        let run = json(&out.join("run.json"));
        let trainable = &run["strategies"][0]["candidates"][0]["trainable"];
        let mut trained: Vec<String> = serde_json::from_value(trainable.clone()).unwrap();
        let mut expected = names(&mut reader, "grad/");
        trained.sort();
        expected.sort();
        assert_eq!(trained, expected, "{network}");
    }
}
