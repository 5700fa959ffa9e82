//! What the tests of the bank run on: networks, photographs, a lab.

use std::path::{Path, PathBuf};

use image::{Rgb, RgbImage};

use super::*;
use crate::autodiff::Operators;
use crate::classifier::InputSpec;
use crate::data::{Dataset, FeaturePrecision, Layout, OpenOptions, Preprocess};
use crate::graph::{Builder, Graph, Value, weights};
use crate::onnx::{Model, Tensor, encode};
use crate::runtime::testing::runtime;
use crate::runtime::{Buffer, Device, Runtime};
use crate::surgery::{Grafted, Rewrite};
use crate::training::{BatchNormMode, LabOptions};

/// Numbers that look random and are always the same.
pub fn noise(count: usize, scale: f32) -> Vec<f32> {
    let mut state = 12345u32 + count as u32;
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((state >> 8) as f32 / (1u32 << 23) as f32 - 1.0) * scale
        })
        .collect()
}

/// Convolutions c1 to c5 on images of 8 × 8, with a residual connection around c2 and c3, a gate c4
/// on the sum, a skip from c1 to c5, another from the pixels to the classifier, and batch
/// normalisation behind c1 to c3.
pub fn network() -> Model {
    let mut graph = Graph {
        inputs: vec![Value::batched("x", &[3, 8, 8])],
        ..Graph::new(17)
    };
    for (name, dims) in [
        ("c1", [4usize, 3, 3, 3]),
        ("c2", [4, 4, 3, 3]),
        ("c3", [4, 4, 1, 1]),
        ("c4", [4, 4, 1, 1]),
        ("c5", [5, 8, 3, 3]),
    ] {
        let tensor = Tensor::f32(&dims, &noise(dims.iter().product(), 0.5));
        graph.initializers.insert(format!("{name}.w"), tensor);
        if name < "c4" {
            for (part, value) in [("scale", 0.9), ("bias", 0.1), ("mean", 0.2), ("var", 1.1)] {
                let tensor = Tensor::f32(&[4], &[value; 4]);
                graph.initializers.insert(format!("{name}.{part}"), tensor);
            }
        }
    }
    let tensor = Tensor::f32(&[8, 3], &noise(24, 0.5));
    graph.initializers.insert("fc.w".to_owned(), tensor);
    let mut b = Builder::new(&mut graph);
    let same = || vec![("pads", vec![1i64; 4].into())];
    let block = |b: &mut Builder, name: &str, x: &str, pads| {
        let [w, scale, bias, mean, var] =
            ["w", "scale", "bias", "mean", "var"].map(|part| format!("{name}.{part}"));
        let x = b.op(name, "Conv", &[x, &w], pads);
        let norm = [x.as_str(), &scale, &bias, &mean, &var];
        b.op(&format!("{name}/norm"), "BatchNormalization", &norm, vec![])
    };
    let x = block(&mut b, "c1", "x", same());
    let first = b.op("first", "Relu", &[&x], vec![]);
    let x = block(&mut b, "c2", &first, same());
    let x = b.op("second", "Relu", &[&x], vec![]);
    let x = block(&mut b, "c3", &x, vec![]);
    let sum = b.op("sum", "Add", &[&x, &first], vec![]);
    let x = b.op("pooled", "GlobalAveragePool", &[&sum], vec![]);
    let x = b.op("c4", "Conv", &[&x, "c4.w"], vec![]);
    let x = b.op("gate", "Sigmoid", &[&x], vec![]);
    let x = b.op("gated", "Mul", &[&sum, &x], vec![]);
    let x = b.op("wide", "Concat", &[&x, &first], vec![("axis", 1.into())]);
    let x = b.op("c5", "Conv", &[&x, "c5.w"], same());
    let x = b.op("third", "Relu", &[&x], vec![]);
    let x = b.op("mean", "GlobalAveragePool", &[&x], vec![]);
    let x = b.op("flat", "Flatten", &[&x], vec![]);
    let pixels = b.op("pixels", "GlobalAveragePool", &["x"], vec![]);
    let pixels = b.op("colour", "Flatten", &[&pixels], vec![]);
    let x = b.op("all", "Concat", &[&x, &pixels], vec![("axis", 1.into())]);
    let x = b.op("scores", "MatMul", &[&x, "fc.w"], vec![]);
    graph.outputs.push(Value::batched(&x, &[3]));
    let bytes = encode(&graph.to_model(usize::MAX).0).unwrap();
    Model::decode(bytes.into(), Path::new("test.onnx")).unwrap()
}

/// `count` images of `side` pixels in three classes.
pub fn photos(count: usize, side: usize) -> Dataset {
    let folder = tempfile::tempdir().unwrap();
    let pixels = noise(count * side * side * 3, 127.0);
    for i in 0..count {
        let class = folder.path().join((i % 3).to_string());
        std::fs::create_dir_all(&class).unwrap();
        let mut picture = RgbImage::new(side as u32, side as u32);
        for (at, pixel) in picture.pixels_mut().enumerate() {
            let at = (i * side * side + at) * 3;
            *pixel = Rgb([0, 1, 2].map(|c| (pixels[at + c] + 128.0) as u8));
        }
        picture.save(class.join(format!("{i:03}.png"))).unwrap();
    }
    let options = OpenOptions {
        augment: Augment::Standard.into(),
        ..OpenOptions::new(side, side, 3)
    };
    Dataset::open(folder.path(), &options).unwrap()
}

pub fn grafted(model: Model) -> Grafted {
    let output = Graph::from_model(&model).unwrap().outputs[0].name.clone();
    Grafted {
        model,
        manifest: Default::default(),
        head_parameters: Vec::new(),
        dropout: Vec::new(),
        output,
        task: Default::default(),
    }
}

pub fn options(folder: &Path) -> LabOptions {
    LabOptions {
        tf32: false,
        device: Device::Cpu,
        threads: 2,
        memory_budget: 1 << 30,
        spill_dir: folder.to_owned(),
        feature_precision: FeaturePrecision::F32,
        augment: Augment::None,
        views: None,
        operators: Operators::Standard,
    }
}

/// What a test runs on; the parts live as long as it.
pub struct Scene {
    runtime: Runtime,
    network: Grafted,
    pub dataset: Dataset,
    folder: tempfile::TempDir,
    pub sets: Vec<Vec<String>>,
}

pub const BANK: BankOptions = BankOptions {
    seed: 7,
    threads: 1,
    mixed: false,
};

impl Scene {
    /// The network of this module, or another for images of `side` pixels. Each weight is a set of
    /// its own, and all are one; `None` where there is no runtime.
    pub fn new(model: Model, count: usize, side: usize) -> Option<Self> {
        let runtime = runtime()?;
        let graph = Graph::from_model(&model).unwrap();
        let names: Vec<String> = weights(&graph)
            .into_iter()
            .map(|w| w.name.to_owned())
            .collect();
        let mut sets: Vec<Vec<String>> = names.iter().map(|n| vec![n.clone()]).collect();
        sets.push(names);
        Some(Scene {
            runtime,
            network: grafted(model),
            dataset: photos(count, side),
            folder: tempfile::tempdir().unwrap(),
            sets,
        })
    }

    pub fn lab(&self, change: impl FnOnce(&mut LabOptions)) -> Lab<'_> {
        let input = InputSpec {
            preprocess: Preprocess::SIGNED,
            layout: Layout::Nchw,
        };
        let mut options = options(self.folder.path());
        change(&mut options);
        Lab::new(&self.runtime, &self.network, &self.dataset, input, options).unwrap()
    }

    pub fn trained(&self, batch_norm: BatchNormMode) -> Vec<Trained<'_>> {
        let set = |parameters| Trained {
            parameters,
            batch_norm,
            rewrite: &Rewrite::None,
        };
        self.sets.iter().map(|s| set(s.as_slice())).collect()
    }

    pub fn bank<'l>(&self, lab: &'l Lab<'l>, batch_norm: BatchNormMode) -> FeatureBank<'l> {
        let all: Vec<usize> = (0..self.dataset.len()).collect();
        let (train, validation) = all.split_at(all.len() * 2 / 3);
        FeatureBank::new(lab, &self.trained(batch_norm), train, validation, BANK).unwrap()
    }
}

impl FeatureBank<'_> {
    pub(super) fn names(&self, stage: usize) -> &[String] {
        &self.stages.stages[stage].values
    }

    fn zeros(&self, stage: usize, count: usize) -> Vec<Buffer> {
        let prepared = self.lab.prepare(&Rewrite::None, count).unwrap();
        let zeros = |n: &String| Buffer::zeros_f32(prepared.shapes.dims(n).unwrap()).unwrap();
        self.names(stage).iter().map(zeros).collect()
    }

    /// The values of a stage for some samples, one after the other.
    pub(super) fn read(&self, stage: usize, samples: &[usize], pass: Pass) -> Vec<Vec<f32>> {
        let features = self.features(stage, &mut ()).unwrap();
        let buffers = self.zeros(stage, samples.len());
        features.gather(self.lab, samples, &buffers, pass).unwrap();
        copies(&buffers)
    }

    /// The same computed from the model's input at once.
    pub(super) fn direct(&self, stage: usize, samples: &[usize], pass: Pass) -> Vec<Vec<f32>> {
        let buffers = self.zeros(stage, samples.len());
        let views = self.versions.views(samples, pass);
        Live::new(self.names(stage).to_vec(), 1)
            .compute(self.lab, &views, (&self.versions.augmenter, None), &buffers)
            .unwrap();
        copies(&buffers)
    }
}

pub fn copies(buffers: &[Buffer]) -> Vec<Vec<f32>> {
    buffers
        .iter()
        .map(|b| b.as_f32().unwrap().to_vec())
        .collect()
}

/// Norm of the difference over norm of the second, at most over all values.
pub fn apart(a: &[Vec<f32>], b: &[Vec<f32>]) -> f64 {
    assert_eq!(a.len(), b.len());
    let norm = |v: &mut dyn Iterator<Item = f64>| v.map(|v| v * v).sum::<f64>().sqrt();
    a.iter()
        .zip(b)
        .map(|(a, b)| {
            assert_eq!(a.len(), b.len());
            let apart = norm(&mut a.iter().zip(b).map(|(a, b)| f64::from(a - b)));
            apart / norm(&mut b.iter().map(|&b| f64::from(b))).max(1e-30)
        })
        .fold(0.0, f64::max)
}

/// The shared reference networks; none where they are not.
pub fn references() -> Vec<(PathBuf, Model)> {
    let folder = std::env::var_os("FTSURGERY_SHARED").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"),
        PathBuf::from,
    );
    ["mobilenet_v2", "resnet_v2", "vgg", "mobilenet_v3"]
        .iter()
        .map(|name| folder.join("reference").join(name).join("model.onnx"))
        .filter_map(|path| Some((path.clone(), Model::open(&path).ok()?)))
        .collect()
}
