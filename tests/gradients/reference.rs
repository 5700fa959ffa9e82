//! Gradients of PyTorch.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use ftsurgery::runtime::testing::has_runtime;
use ftsurgery::testing;
use ndarray::{ArrayD, Axis};

use super::{gradient_names, gradients, open, read, save_batch};

/// Largest difference to a reference, relative to its norm.
const TOLERANCE: f64 = 1e-4;
/// In `mobilenet_v2_bn_train`, the gradient of a bias of which the BatchNormalization behind it takes
/// the shift away again: 0 but for rounding, which is compared with this norm instead of its own.
const ZERO: (&str, f64) = ("grad/f.1.c.1.bias", 1e-2);

/// The folder of PyTorch's reference values for a network: a fixture, or in the shared folder, if that
/// is there.
fn reference(network: &str) -> Option<PathBuf> {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/reference");
    if fixture.join(network).is_dir() {
        return Some(fixture.join(network));
    }
    Some(testing::shared()?.join("reference").join(network))
}

/// Saves the first batch of a reference at `path`.
fn first_batch(folder: &Path, path: &Path) {
    let mut npz = open(&folder.join("reference.npz"));
    let x: ArrayD<f32> = read(&mut npz, "x");
    let y: ArrayD<i64> = read(&mut npz, "y");
    let labels: Vec<i64> = y.index_axis(Axis(0), 0).iter().copied().collect();
    save_batch(path, &x.index_axis(Axis(0), 0).to_owned(), &labels);
}

/// Norm of the difference over the norm of `expected`.
fn distance(got: &ArrayD<f32>, expected: &ArrayD<f32>) -> f64 {
    let (difference, norm) = norms(got, expected);
    difference / norm
}

/// The same for the array `name`, of which [`ZERO`] may say something.
fn distance_of(name: &str, got: &ArrayD<f32>, expected: &ArrayD<f32>) -> f64 {
    let (difference, norm) = norms(got, expected);
    let (zero, least) = ZERO;
    difference
        / if name == zero && norm < 1e-6 {
            least
        } else {
            norm
        }
}

/// Norms of the difference and of `expected`.
fn norms(got: &ArrayD<f32>, expected: &ArrayD<f32>) -> (f64, f64) {
    assert_eq!(got.shape(), expected.shape());
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let difference = norm(
        &mut got
            .iter()
            .zip(expected)
            .map(|(g, e)| f64::from(*g) - f64::from(*e)),
    );
    let size = norm(&mut expected.iter().map(|&e| f64::from(e)));
    (difference, size)
}

fn agrees_with_reference(network: &str, arguments: &[&str]) {
    for operators in ["kernels", "standard"] {
        agrees_with(network, &[arguments, &["--operators", operators]].concat());
    }
}

fn agrees_with(network: &str, arguments: &[&str]) {
    let Some(folder) = reference(network).filter(|_| has_runtime()) else {
        return;
    };
    let work = tempfile::tempdir().unwrap();
    let (batch, out) = (work.path().join("batch.npz"), work.path().join("out.npz"));
    first_batch(&folder, &batch);
    gradients(&folder.join("model.onnx"), &batch, &out)
        .args(arguments)
        .assert()
        .success();
    let (mut got, mut expected) = (open(&out), open(&folder.join("reference.npz")));
    let names = gradient_names(&mut expected);
    assert!(!names.is_empty());
    assert_eq!(gradient_names(&mut got), names);
    let loss = read::<f32>(&mut got, "loss");
    let expected_loss = read::<f32>(&mut expected, "loss0");
    assert!(distance(&loss, &expected_loss) <= TOLERANCE);
    let mut worst = (0.0, String::new());
    for name in names {
        let far = distance_of(&name, &read(&mut got, &name), &read(&mut expected, &name));
        assert!(
            far <= TOLERANCE,
            "{network} {arguments:?}: {name} is off by {far}"
        );
        if far > worst.0 {
            worst = (far, name);
        }
    }
    println!(
        "{network} {arguments:?}: at most {:.1e}, at {}",
        worst.0, worst.1
    );
}

#[test]
fn the_fixtures_have_the_gradients_of_pytorch() {
    agrees_with_reference("convnet", &[]);
    agrees_with_reference("tokens", &[]);
}

#[test]
fn vgg_has_the_gradients_of_pytorch() {
    agrees_with_reference("vgg", &[]);
}

#[test]
fn mobilenet_v1_has_the_gradients_of_pytorch() {
    agrees_with_reference("mobilenet_v1", &[]);
}

#[test]
fn mobilenet_v2_has_the_gradients_of_pytorch() {
    agrees_with_reference("mobilenet_v2", &[]);
}

#[test]
fn mobilenet_v3_has_the_gradients_of_pytorch() {
    agrees_with_reference("mobilenet_v3", &[]);
}

#[test]
fn resnet_v2_has_the_gradients_of_pytorch() {
    agrees_with_reference("resnet_v2", &[]);
}

#[test]
fn odd_convolutions_have_the_gradients_of_pytorch() {
    agrees_with_reference("conv_zoo", &[]);
}

#[test]
fn batch_statistics_have_the_gradients_of_pytorch() {
    agrees_with_reference("mobilenet_v2_bn_train", &["--bn", "batch"]);
}

#[test]
fn batch_statistics_behind_a_frozen_convolution_have_the_gradients_of_pytorch() {
    let network = "mobilenet_v2_bn_train";
    let Some(folder) = reference(network).filter(|_| has_runtime()) else {
        return;
    };
    let work = tempfile::tempdir().unwrap();
    let (batch, out) = (work.path().join("batch.npz"), work.path().join("out.npz"));
    first_batch(&folder, &batch);
    let norms = ["--wrt", "f.0.1.*", "--wrt", "f.?.?.1.*", "--bn", "batch"];
    gradients(&folder.join("model.onnx"), &batch, &out)
        .args(norms)
        .assert()
        .success();
    let (mut got, mut expected) = (open(&out), open(&folder.join("reference.npz")));
    let names = gradient_names(&mut got);
    assert_eq!(names.len(), 20);
    for name in names {
        let far = distance_of(&name, &read(&mut got, &name), &read(&mut expected, &name));
        assert!(far <= TOLERANCE, "{name} is off by {far}");
    }
}

#[test]
fn patterns_choose_initializers_and_leave_their_gradients_the_same() {
    let Some(folder) = reference("resnet_v2").filter(|_| has_runtime()) else {
        return;
    };
    let work = tempfile::tempdir().unwrap();
    let (batch, out) = (work.path().join("batch.npz"), work.path().join("out.npz"));
    first_batch(&folder, &batch);
    gradients(&folder.join("model.onnx"), &batch, &out)
        .args(["--wrt", "b.1.n?.weight", "--wrt", "*.bias"])
        .assert()
        .success();
    let (mut got, mut expected) = (open(&out), open(&folder.join("reference.npz")));
    let chosen: BTreeSet<String> = gradient_names(&mut expected)
        .into_iter()
        .filter(|n| n.ends_with(".bias") || n.starts_with("grad/b.1.n") && n.ends_with(".weight"))
        .collect();
    assert!(chosen.contains("grad/b.1.n1.weight"));
    assert_eq!(gradient_names(&mut got), chosen);
    for name in chosen {
        let far = distance(&read(&mut got, &name), &read(&mut expected, &name));
        assert!(far <= TOLERANCE, "{name} is off by {far}");
    }
}
