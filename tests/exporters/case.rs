//! A model with a batch to try it on.

use std::path::Path;

use ftsurgery::classifier::{ClassifierError, Inference, InputSpec, Judge};
use ftsurgery::data::{Dataset, Layout, OpenOptions, Preprocess};
use ftsurgery::onnx::{Model, encode};
use ftsurgery::runtime::{Device, Runtime};
use ftsurgery::surgery::{Grafted, HeadKind, HeadSpec, Rewrite, export, graft, holds};
use ftsurgery::testing::only_tuned;
use ftsurgery::training::{
    BatchNormMode, Gradient, Lab, LabOptions, Start, Trained, TrainingError, trainable_parameters,
};
use ndarray::{Array1, Array4};
use ndarray_npy::NpzWriter;
use serde_json::Value as Json;

use super::BATCH;

/// A model with a batch to try it on.
pub struct Case {
    pub model: Model,
    pub sample: Vec<usize>,
    pub input: InputSpec,
    pub dataset: Dataset,
}

impl Case {
    pub fn open(model: Model, entry: &Json, batch: Option<&Path>) -> Self {
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
        let options = OpenOptions::new(height, width, channels);
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

    pub fn parameters(&self) -> Result<Vec<String>, TrainingError> {
        trainable_parameters(&self.model, &self.sample)
    }

    pub fn grafted(&self) -> Grafted {
        graft(&self.model, None, &HeadSpec::new(HeadKind::Keep, 2, 0)).unwrap()
    }

    pub fn rows(&self) -> Vec<usize> {
        (0..self.dataset.len()).collect()
    }

    pub fn gradients(&self, runtime: &Runtime, names: &[String]) -> (f32, Vec<Gradient>) {
        self.gradients_of(runtime, names, &self.rows())
    }

    pub fn gradients_of(
        &self,
        runtime: &Runtime,
        names: &[String],
        rows: &[usize],
    ) -> (f32, Vec<Gradient>) {
        let options = LabOptions::default().threads(1).memory_budget(1 << 30);
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
            rewrite: &Rewrite::None,
        };
        lab.gradients(trained, &Start::default(), rows).unwrap()
    }

    /// The model with these values, as it would be emitted, with everything else as it was.
    pub fn emitted(&self, tuned: &[(String, Vec<f32>)]) -> Model {
        let editor = self.grafted().editor(&self.model).unwrap();
        let edited = export(editor, tuned, &[]).unwrap();
        let bytes = encode(&edited.proto).unwrap();
        let emitted = Model::decode(bytes.into(), self.model.path()).unwrap();
        let names: Vec<String> = tuned.iter().map(|(n, _)| n.clone()).collect();
        only_tuned(&self.model, &emitted, &names).unwrap();
        holds(&self.model, &emitted, &edited.manifest).unwrap();
        emitted
    }

    /// The loss of a model as onnxruntime computes it from the file.
    pub fn loss(&self, runtime: &Runtime, model: &Model) -> f64 {
        self.try_loss(runtime, model).unwrap()
    }

    pub fn try_loss(&self, runtime: &Runtime, model: &Model) -> Result<f64, ClassifierError> {
        let mut inference = Inference::new(runtime, model, Device::Cpu, 1)?;
        let rows = self.rows();
        let outputs = inference.run_dataset(&self.dataset, &rows, &self.input)?;
        let mut judge = Judge::new(outputs.scores);
        judge.take(&outputs.values, outputs.classes, self.dataset.labels());
        Ok(judge.end().score().loss)
    }

    /// How far the slope of the loss along the gradients is from a central difference on emitted
    /// models, relatively. Each parameter moves along its gradient by a share of its own norm.
    pub fn slope_error(&self, runtime: &Runtime, gradients: &[Gradient], shares: &[f64]) -> f64 {
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
    pub fn values(&self, names: &[String]) -> Vec<(String, Vec<f32>)> {
        let mut graph = ftsurgery::graph::Graph::from_model(&self.model).unwrap();
        ftsurgery::graph::normalise(&mut graph).unwrap();
        names
            .iter()
            .map(|name| (name.clone(), graph.initializers[name].to_f32().unwrap()))
            .collect()
    }
}
