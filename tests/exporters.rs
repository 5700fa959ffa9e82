//! Models as many exporters write them, from `fixtures/exporters`: which parameters are found, whether
//! their gradients are right, and whether tuned values go back where they came from.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use ftsurgery::analysis::{Analysis, AnalyzeOptions};
use ftsurgery::autodiff::Operators;
use ftsurgery::data::{Dataset, Layout, OpenOptions, Preprocess};
use ftsurgery::graph::{Graph, normalise};
use ftsurgery::onnx::{DataType, Model, encode};
use ftsurgery::runtime::testing::runtime;
use ftsurgery::runtime::{Device, Runtime};
use ftsurgery::strategy::{Candidate, Network, Strategy};
use ftsurgery::surgery::{
    Grafted, HeadKind, HeadSpec, as_stored, export, graft, untouched_is_identical,
};
use ftsurgery::training::{
    BatchNormMode, Gradient, Inference, InputSpec, Lab, LabOptions, Trained, TrainingError,
    trainable_parameters,
};
use ndarray::{Array1, Array4, ArrayD, IxDyn, OwnedRepr};
use ndarray_npy::{NpzReader, NpzWriter};
use serde_json::Value as Json;

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

/// A model with a batch to try it on.
struct Case {
    model: Model,
    sample: Vec<usize>,
    input: InputSpec,
    dataset: Dataset,
}

impl Case {
    fn open(model: Model, entry: &Json, batch: Option<&Path>) -> Self {
        let numbers = entry["sample"].as_array().unwrap().iter();
        let sample: Vec<usize> = numbers.map(|n| n.as_u64().unwrap() as usize).collect();
        let classes = entry["classes"].as_u64().unwrap() as i64;
        let layout = match sample[2] {
            3 => Layout::Nhwc,
            _ => Layout::Nchw,
        };
        let [channels, height, width] = match layout {
            Layout::Nchw => [sample[0], sample[1], sample[2]],
            Layout::Nhwc => [sample[2], sample[0], sample[1]],
        };
        let work = tempfile::tempdir().unwrap();
        let drawn = work.path().join("batch.npz");
        let x = Array4::from_shape_fn((BATCH, channels, height, width), |(n, c, h, w)| {
            ((n * 7919 + c * 104_729 + h * 1_299_709 + w * 15_485_863) as f32 * 0.37).sin()
        });
        let y: Array1<i64> = (0..BATCH as i64).map(|i| i % classes).collect();
        let mut npz = NpzWriter::new(std::fs::File::create(&drawn).unwrap());
        npz.add_array("x", &x).unwrap();
        npz.add_array("y", &y).unwrap();
        npz.finish().unwrap();
        let options = OpenOptions {
            height,
            width,
            channels,
            progress: None,
        };
        Case {
            dataset: Dataset::open(batch.unwrap_or(&drawn), &options).unwrap(),
            input: InputSpec {
                preprocess: Preprocess::UNIT,
                layout,
            },
            sample,
            model,
        }
    }

    fn parameters(&self) -> Result<Vec<String>, TrainingError> {
        trainable_parameters(&self.model, &self.sample)
    }

    fn grafted(&self) -> Grafted {
        graft(&self.model, None, &HeadSpec::new(HeadKind::Keep, 2, 0)).unwrap()
    }

    fn rows(&self) -> Vec<usize> {
        (0..self.dataset.len()).collect()
    }

    fn gradients(&self, runtime: &Runtime, names: &[String]) -> (f32, Vec<Gradient>) {
        self.gradients_of(runtime, names, &self.rows())
    }

    fn gradients_of(
        &self,
        runtime: &Runtime,
        names: &[String],
        rows: &[usize],
    ) -> (f32, Vec<Gradient>) {
        let options = LabOptions {
            device: Device::Cpu,
            threads: 1,
            memory_budget: 1 << 30,
            spill_dir: std::env::temp_dir(),
            feature_precision: Default::default(),
            augment: Default::default(),
            views: None,
            operators: Operators::Kernels,
        };
        let grafted = self.grafted();
        let lab = Lab::new(
            runtime,
            &grafted,
            &self.dataset,
            self.input.clone(),
            options,
        )
        .unwrap();
        let trained = Trained {
            parameters: names,
            batch_norm: BatchNormMode::Frozen,
        };
        lab.gradients(trained, rows).unwrap()
    }

    /// The model with these values, as it would be emitted, with everything else as it was.
    fn emitted(&self, tuned: &[(String, Vec<f32>)]) -> Model {
        let emitted = export(&self.grafted().model, tuned, &[]).unwrap();
        let bytes = encode(&emitted).unwrap();
        let emitted = Model::decode(bytes.into(), self.model.path()).unwrap();
        let names: Vec<String> = tuned.iter().map(|(n, _)| n.clone()).collect();
        untouched_is_identical(&self.model, &emitted, &names).unwrap();
        emitted
    }

    /// The loss of a model as onnxruntime computes it from the file.
    fn loss(&self, runtime: &Runtime, model: &Model) -> f64 {
        self.try_loss(runtime, model).unwrap()
    }

    fn try_loss(&self, runtime: &Runtime, model: &Model) -> Result<f64, TrainingError> {
        let mut inference = Inference::new(runtime, model, Device::Cpu, 1)?;
        let outputs =
            inference.run_dataset(&self.dataset, &self.rows(), &self.input, &mut |_| {})?;
        let labels = self.dataset.labels().to_vec();
        Ok(outputs.predictions(labels).score().loss)
    }

    /// How far the slope of the loss along the gradients is from a central difference on emitted
    /// models, relatively. Each parameter moves along its gradient by a share of its own norm.
    fn slope_error(&self, runtime: &Runtime, gradients: &[Gradient], shares: &[f64]) -> f64 {
        let names: Vec<String> = gradients.iter().map(|g| g.name.clone()).collect();
        let values = self.values(&names);
        let norm = |v: &[f32]| v.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
        let rates: Vec<f64> = gradients
            .iter()
            .zip(&values)
            .map(|(g, (_, v))| norm(v) / norm(&g.values).max(1e-30))
            .collect();
        let slope: f64 = gradients
            .iter()
            .zip(&rates)
            .map(|(g, rate)| rate * norm(&g.values).powi(2))
            .sum();
        let at = |step: f64| {
            let moved: Vec<(String, Vec<f32>)> = values
                .iter()
                .zip(gradients)
                .zip(&rates)
                .map(|(((name, v), g), rate)| {
                    let moved = v
                        .iter()
                        .zip(&g.values)
                        .map(|(v, g)| (f64::from(*v) + step * rate * f64::from(*g)) as f32);
                    (name.clone(), moved.collect())
                })
                .collect();
            self.loss(runtime, &self.emitted(&moved))
        };
        let start = at(0.0);
        let errors = shares.iter().map(|share| {
            let step = share * start / slope;
            ((at(step) - at(-step)) / (2.0 * step) / slope - 1.0).abs()
        });
        errors.fold(f64::INFINITY, f64::min)
    }

    /// Values of parameters as the model has them.
    fn values(&self, names: &[String]) -> Vec<(String, Vec<f32>)> {
        let mut graph = ftsurgery::graph::Graph::from_model(&self.model).unwrap();
        ftsurgery::graph::normalise(&mut graph).unwrap();
        names
            .iter()
            .map(|name| (name.clone(), graph.initializers[name].to_f32().unwrap()))
            .collect()
    }
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
    assert_eq!(tried, 3);
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
        let stored = as_stored(&model, &tuned).unwrap();
        // The second and third are ties, which go to the even neighbour.
        assert_eq!(stored[0].1, [1.0, 1.0, 1.0 + 2.0 / 1024.0]);
        let emitted = export(&model, &tuned, &[]).unwrap();
        let emitted = Model::decode(encode(&emitted).unwrap().into(), model.path()).unwrap();
        untouched_is_identical(&model, &emitted, &["fc.bias".to_owned()]).unwrap();
        let graph = ftsurgery::graph::Graph::from_model(&emitted).unwrap();
        let bias = &graph.initializers["fc.bias"];
        assert_eq!(bias.dtype, DataType::Float16);
        assert_eq!(bias.to_f32().unwrap(), stored[0].1);
    }
}

/// What `full` trains of a network with its own head, and the analysis it comes from.
fn full(case: &Case) -> (Vec<String>, Analysis) {
    let options = AnalyzeOptions {
        image_size: match case.input.layout {
            Layout::Nchw => Some((case.sample[1], case.sample[2])),
            Layout::Nhwc => Some((case.sample[0], case.sample[1])),
        },
        ..AnalyzeOptions::default()
    };
    let analysis = Analysis::of(&case.model, &options).unwrap();
    let selection = ["*".to_owned()];
    let network = Network {
        selection: &selection,
        ..Network::new(&analysis, &case.grafted(), HeadKind::Keep)
    };
    let [full] = &Strategy::Full.candidates(&network).unwrap()[..] else {
        panic!("one candidate")
    };
    let [all] = &Strategy::Select.candidates(&network).unwrap()[..] else {
        panic!("one candidate")
    };
    assert_eq!(full.trainable, all.trainable);
    (full.trainable.clone(), analysis)
}

#[test]
fn full_trains_exactly_the_tensors_that_the_loss_depends_on() {
    // Besides single numbers, what the loss depends on and no training may change.
    let constants = [
        "pixel_",
        "mask",
        "bn.mean",
        "bn.var",
        "norm1.running",
        "norm2.running",
    ];
    let runtime = runtime();
    for (name, entry) in trainable() {
        let case = Case::open(open(&name), &entry, None);
        let (trained, analysis) = full(&case);
        let set: BTreeSet<&str> = trained.iter().map(String::as_str).collect();
        let expected = entry["parameters"].as_array().unwrap().iter();
        let expected: BTreeSet<&str> = expected.map(|p| p.as_str().unwrap()).collect();
        assert_eq!(set, expected, "{name}");
        let by_gradients = case.parameters().unwrap();
        let by_gradients: BTreeSet<&str> = by_gradients.iter().map(String::as_str).collect();
        assert_eq!(set, by_gradients, "{name}: --train and --wrt mean the same");

        let mut graph = Graph::from_model(&case.model).unwrap();
        normalise(&mut graph).unwrap();
        let counted: usize = trained.iter().map(|n| graph.initializers[n].len()).sum();
        assert_eq!(analysis.totals.parameters, counted, "{name}");
        let Some(runtime) = &runtime else { continue };
        let before = case.loss(runtime, &case.model);
        let original = Graph::from_model(&case.model).unwrap();
        let nodes = original.nodes.iter().filter(|n| n.is("Constant"));
        let stored: Vec<String> = original
            .initializers
            .keys()
            .cloned()
            .chain(nodes.map(|n| n.outputs[0].clone()))
            .filter(|n| graph.initializers[n].dtype.is_float())
            .collect();
        for tensor in stored {
            let changed: Vec<f32> = graph.initializers[&tensor].to_f32().unwrap();
            let single = changed.len() == 1;
            let changed = changed.iter().enumerate();
            let changed = changed
                .map(|(i, v)| v + 0.3 + 0.05 * (i % 7) as f32)
                .collect();
            let tuned = [(tensor.clone(), changed)];
            // Some settings allow no other value.
            let changed = case.try_loss(runtime, &case.emitted(&tuned));
            let matters = changed.is_ok_and(|loss| (loss - before).abs() > 1e-9);
            let constant = constants.iter().any(|c| tensor.contains(c));
            if set.contains(tensor.as_str()) {
                assert!(matters, "{name}: `{tensor}` is trained in vain");
            } else if matters {
                assert!(single || constant, "{name}: `{tensor}` is left out");
            }
        }
    }
}

#[test]
fn layers_own_the_biases_and_scales_beside_them_and_blocks_the_rest() {
    let owned = |name: &str, layer: &str| {
        let (_, entry) = trainable().find(|(n, _)| n == name).unwrap();
        let (_, analysis) = full(&Case::open(open(name), &entry, None));
        let blocks = analysis.blocks.iter();
        let tensors = blocks.flat_map(|b| analysis.tensors(b));
        let names = tensors.filter(|(_, l, _)| l.map_or("", |l| &l.name) == layer);
        names.map(|(n, ..)| n.to_owned()).collect::<Vec<String>>()
    };
    let node = |name: &str, weight: &str| {
        let graph = Graph::from_model(&open(name)).unwrap();
        let mut nodes = graph.nodes.iter();
        let reader = nodes.find(|n| n.inputs.iter().any(|i| i == weight));
        reader.unwrap().name.clone()
    };
    let of = |name: &str, weight: &str| owned(name, &node(name, weight));
    let vit = "vision_transformer";
    assert_eq!(owned(vit, ""), ["token", "places", "relative"]);
    assert_eq!(
        of(vit, "qkv.weight"),
        ["norm1.weight", "norm1.bias", "qkv.weight", "qkv.bias"]
    );
    assert_eq!(
        of(vit, "join.weight"),
        ["join.weight", "join.bias", "scale1"]
    );
    assert_eq!(
        of(vit, "down.weight"),
        [
            "down.weight",
            "down.bias",
            "scale2",
            "norm.weight",
            "norm.bias"
        ]
    );
    let next = "convnext";
    assert_eq!(owned(next, ""), ["block.gain"]);
    assert_eq!(
        of(next, "depth.weight"),
        ["depth.weight", "depth.bias", "norm.weight", "norm.bias"]
    );
    assert_eq!(
        of(next, "down.weight"),
        ["down.weight", "down.bias", "gamma"]
    );
    assert_eq!(owned("torch_newer_token", ""), ["token", "places"]);
}

#[test]
fn what_no_layer_owns_trains_wherever_all_layers_of_its_block_do() {
    let (_, entry) = trainable()
        .find(|(n, _)| n == "vision_transformer")
        .unwrap();
    let case = Case::open(open("vision_transformer"), &entry, None);
    let (_, analysis) = full(&case);
    let network = Network::new(&analysis, &case.grafted(), HeadKind::Keep);
    let with_token = |strategy: Strategy| {
        let candidates = strategy.candidates(&network).unwrap();
        let trains = |c: &&Candidate| {
            let all = ["token", "places", "relative"];
            let count = all
                .iter()
                .filter(|n| c.trainable.iter().any(|t| t == *n))
                .count();
            assert!(count == 0 || count == 3, "{c:?}");
            count == 3
        };
        let some = candidates.iter().filter(trains);
        some.map(|c| c.label.clone()).collect::<Vec<_>>()
    };
    // Patches, q k v, join and up are the first block; down is the second.
    assert_eq!(with_token(Strategy::Blocks), ["block1"]);
    assert_eq!(with_token(Strategy::Layers), [""; 0]);
    assert_eq!(with_token(Strategy::Windows(4)), ["layers 1 to 4"]);
    assert_eq!(with_token(Strategy::Head), [""; 0]);
}
