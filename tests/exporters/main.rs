//! Models as many exporters write them, from `fixtures/exporters`: which parameters are found, whether
//! their gradients are right, and whether tuned values go back where they came from.

mod case;
mod full;
mod functions;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use ftsurgery::onnx::{DataType, Model, encode};
use ftsurgery::runtime::testing::runtime;
use ftsurgery::surgery::{Editor, as_stored, export};
use ftsurgery::testing::only_tuned;
use ndarray::{ArrayD, IxDyn, OwnedRepr};
use ndarray_npy::NpzReader;
use serde_json::Value as Json;

use case::Case;

const BATCH: usize = 4;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/exporters")
}

/// Name, and what is expected of it.
fn index() -> Vec<(String, Json)> {
    let text = std::fs::read(folder().join("index.json")).unwrap();
    let index: Json = serde_json::from_slice(&text).unwrap();
    let entries = index.as_object().unwrap().clone();
    entries.into_iter().collect()
}

fn open(name: &str) -> Model {
    Model::open(&folder().join(format!("{name}.onnx"))).unwrap()
}

fn is_half(model: &Model) -> bool {
    let half = Some(DataType::Float16 as i32);
    model
        .graph()
        .initializer
        .iter()
        .any(|t| t.data_type == half)
}

/// The fixtures that can be trained.
fn trainable() -> impl Iterator<Item = (String, Json)> {
    index().into_iter().filter(|(_, e)| e["refused"].is_null())
}

#[test]
fn every_parameter_is_found_wherever_the_exporter_put_it() {
    let mut tried = 0;
    for (name, entry) in trainable() {
        let found = Case::open(open(&name), &entry, None).parameters().unwrap();
        let expected = entry["parameters"].as_array().unwrap().iter();
        let expected: BTreeSet<&str> = expected.map(|p| p.as_str().unwrap()).collect();
        assert_eq!(found.len(), expected.len(), "{name}: {found:?}");
        assert!(
            found.iter().all(|p| expected.contains(p.as_str())),
            "{name}: {found:?}"
        );
        tried += 1;
    }
    assert!(tried >= 20, "{tried}");
}

#[test]
fn gradients_are_the_slope_of_the_loss_of_the_emitted_model() {
    let Some(runtime) = runtime() else { return };
    for (name, entry) in trainable() {
        let case = Case::open(open(&name), &entry, None);
        let names = case.parameters().unwrap();
        let (loss, gradients) = case.gradients(&runtime, &names);
        assert_eq!(gradients.len(), names.len());
        // Float16 holds 11 bits: only steps that are large against them can be measured.
        let (shares, tolerance): (&[f64], f64) = match is_half(&case.model) {
            true => (&[0.1, 0.05], 5e-2),
            false => (&[1e-2, 3e-3, 1e-3, 3e-4], 3e-3),
        };
        let own = case.loss(&runtime, &case.model);
        assert!(
            (f64::from(loss) - own).abs() <= tolerance * own,
            "{name}: {loss} or {own}"
        );
        let error = case.slope_error(&runtime, &gradients, shares);
        eprintln!(
            "{name}: {} gradients, slope off by {error:.1e}",
            names.len()
        );
        assert!(error <= tolerance, "{name}: the slope is off by {error}");
    }
}

#[test]
fn exports_for_one_image_give_a_batch_the_mean_of_what_each_image_gives() {
    let Some(runtime) = runtime() else { return };
    for name in ["fixed_batch", "torch_older_one_image_token"] {
        let (_, entry) = trainable().find(|(n, _)| n == name).unwrap();
        let case = Case::open(open(name), &entry, None);
        let names = case.parameters().unwrap();
        let (loss, together) = case.gradients(&runtime, &names);
        let rows = case.rows();
        let apart: Vec<_> = rows
            .iter()
            .map(|&row| case.gradients_of(&runtime, &names, &[row]))
            .collect();
        let mean =
            |values: Vec<f32>| values.into_iter().map(f64::from).sum::<f64>() / rows.len() as f64;
        let single = mean(apart.iter().map(|(loss, _)| *loss).collect());
        assert!((f64::from(loss) - single).abs() <= 1e-5 * single, "{name}");
        for (index, gradient) in together.iter().enumerate() {
            let largest = gradient.values.iter().fold(0f32, |top, v| top.max(v.abs()));
            for (at, value) in gradient.values.iter().enumerate() {
                let single = mean(apart.iter().map(|(_, g)| g[index].values[at]).collect());
                let off = (f64::from(*value) - single).abs();
                assert!(
                    off <= 1e-4 * f64::from(largest) + 1e-7,
                    "{name}: {}",
                    gradient.name
                );
            }
        }
    }
}

#[test]
fn gradients_of_pytorchs_exports_are_pytorchs_own() {
    let Some(runtime) = runtime() else { return };
    let mut compared = 0;
    for (name, entry) in trainable() {
        let reference = folder().join(format!("{name}.npz"));
        if !reference.exists() {
            continue;
        }
        let case = Case::open(open(&name), &entry, Some(&reference));
        let names = case.parameters().unwrap();
        let (_, gradients) = case.gradients(&runtime, &names);
        let mut npz = NpzReader::new(std::fs::File::open(&reference).unwrap()).unwrap();
        let wanted = npz.names().unwrap();
        let wanted = wanted.iter().filter_map(|n| n.strip_prefix("grad/"));
        for parameter in wanted.map(|n| n.trim_end_matches(".npy")) {
            let expected: ArrayD<f32> = npz
                .by_name::<OwnedRepr<f32>, IxDyn>(&format!("grad/{parameter}"))
                .unwrap();
            let got = gradients.iter().find(|g| g.name == parameter).unwrap();
            assert_eq!(got.dims, expected.shape(), "{name}: {parameter}");
            let square = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>();
            let pairs = got.values.iter().zip(&expected);
            let off = square(&mut pairs.map(|(g, e)| f64::from(*g) - f64::from(*e)));
            let size = square(&mut expected.iter().map(|&e| f64::from(e)));
            let off = (off / size).sqrt();
            assert!(off <= 1e-5, "{name}: {parameter} is off by {off}");
            compared += 1;
        }
    }
    assert!(compared >= 90, "{compared}");
}

#[test]
fn what_cannot_be_trained_is_refused_by_the_name_of_its_node() {
    let mut tried = 0;
    for (name, entry) in index() {
        let Some(word) = entry["refused"].as_str() else {
            continue;
        };
        let error = Case::open(open(&name), &entry, None)
            .parameters()
            .unwrap_err();
        assert!(error.is_bad_input());
        assert!(error.to_string().contains(word), "{name}: {error}");
        tried += 1;
    }
    assert_eq!(tried, 2);
}

#[test]
fn every_ir_version_gives_the_same_gradients_and_is_kept() {
    let Some(runtime) = runtime() else { return };
    let (_, entry) = trainable()
        .find(|(n, _)| n == "initializers_as_inputs")
        .unwrap();
    let mut expected = None;
    for version in 3..=10 {
        let model = open("initializers_as_inputs");
        let mut proto = model.proto.clone();
        proto.ir_version = Some(version);
        let model = Model::decode(encode(&proto).unwrap().into(), model.path()).unwrap();
        let case = Case::open(model, &entry, None);
        let names = case.parameters().unwrap();
        let (_, gradients) = case.gradients(&runtime, &names);
        assert_eq!(*expected.get_or_insert(gradients.clone()), gradients);
        let emitted = case.emitted(&case.values(&names));
        assert_eq!(emitted.proto.ir_version, Some(version));
        assert!(case.loss(&runtime, &emitted).is_finite());
    }
}

#[test]
fn float16_weights_are_trained_in_float32_and_stored_rounded_to_the_nearest() {
    for name in ["half", "half_inside"] {
        let model = open(name);
        let values = vec![1.0 + 0.4 / 1024.0, 1.0 + 0.5 / 1024.0, 1.0 + 1.5 / 1024.0];
        let tuned = [("fc.bias".to_owned(), values)];
        let stored = as_stored(&model, tuned.to_vec()).unwrap();
        // The second and third are ties, which go to the even neighbour.
        assert_eq!(stored[0].1, [1.0, 1.0, 1.0 + 2.0 / 1024.0]);
        let editor = Editor::new(&model).unwrap();
        let emitted = export(editor, &tuned, &[]).unwrap().proto;
        let emitted = Model::decode(encode(&emitted).unwrap().into(), model.path()).unwrap();
        only_tuned(&model, &emitted, &["fc.bias".to_owned()]).unwrap();
        let graph = ftsurgery::graph::Graph::from_model(&emitted).unwrap();
        let bias = &graph.initializers["fc.bias"];
        assert_eq!(bias.dtype, DataType::Float16);
        assert_eq!(bias.to_f32().unwrap(), stored[0].1);
    }
}
