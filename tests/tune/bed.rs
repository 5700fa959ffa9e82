//! A small trial to run: a network, photos, and settings.

use ftsurgery::choice::Choice;
use ftsurgery::classifier::InputSpec;
use ftsurgery::data::{Dataset, Layout, OpenOptions, Preprocess};
use ftsurgery::onnx::Model;
use ftsurgery::runtime::testing::runtime;
use ftsurgery::runtime::{Device, Runtime};
use ftsurgery::surgery::{Features, Grafted, HeadKind, HeadSpec, Rewrite, graft};
use ftsurgery::training::{
    BatchNormMode, Checkpointing, ClassWeights, Lab, LabOptions, Monitor, Observer, Optimizer,
    OptimizerKind, Plateau, Schedule, TrainingError, TrialOutcome, TrialSpec,
};

use crate::support::*;

/// A network with a head that drops out, and 30 photos.
pub struct Bed {
    pub folder: tempfile::TempDir,
    pub runtime: Runtime,
    pub network: Grafted,
    pub dataset: Dataset,
    pub train: Vec<usize>,
    pub validation: Vec<usize>,
}

impl Bed {
    pub fn new() -> Option<Self> {
        let bed = Self::of(|model| {
            let head = HeadSpec {
                hidden: (16, 8),
                ..HeadSpec::new(HeadKind::Paper, 3, 7)
            };
            graft(model, Some(&features()), &head).unwrap()
        })?;
        assert!(!bed.network.dropout.is_empty());
        Some(bed)
    }

    /// With the network that `grafted` makes of the backbone.
    pub fn of(grafted: impl FnOnce(&Model) -> Grafted) -> Option<Self> {
        let runtime = runtime()?;
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        save_backbone(&at("model.onnx"));
        save_photos(&at("photos"), 10);
        let model = Model::open(&at("model.onnx")).unwrap();
        let network = grafted(&model);
        let options = OpenOptions::new(16, 16, 3);
        let dataset = Dataset::open(&at("photos"), &options).unwrap();
        // 20, in batches of 8, 8 and 4, and 10. None of the third class is trained on, so that the
        // validation loss rises soon.
        let train = (0..18).chain(0..2).collect();
        let validation = (0..30).step_by(3).collect();
        Some(Bed {
            folder,
            runtime,
            network,
            dataset,
            train,
            validation,
        })
    }

    pub fn lab(&self) -> Lab<'_> {
        self.lab_with(Preprocess::UNIT, |_| {})
    }

    pub fn lab_with(&self, preprocess: Preprocess, change: impl Fn(&mut LabOptions)) -> Lab<'_> {
        let input = InputSpec {
            preprocess,
            layout: Layout::Nchw,
        };
        let mut options = LabOptions::default()
            .device(device())
            .threads(1)
            .memory_budget(1 << 24)
            .spill_dir(self.folder.path().to_owned());
        change(&mut options);
        Lab::new(&self.runtime, &self.network, &self.dataset, input, options).unwrap()
    }

    pub fn spec(&self, kind: OptimizerKind) -> TrialSpec {
        let layer = ["c3.w", "c3.scale", "c3.bias"].map(str::to_owned);
        let head = self.network.head_parameters.iter().cloned();
        TrialSpec {
            trainable: layer.into_iter().chain(head).collect(),
            rewrite: Rewrite::None,
            batch_norm: BatchNormMode::Batch,
            epochs: 9,
            batch_size: 8,
            optimizer: Optimizer {
                kind,
                learning_rate: Choice::Given(match kind {
                    OptimizerKind::Sgd => 0.1,
                    _ => 0.02,
                }),
                weight_decay: 0.01,
                momentum: 0.9,
            },
            monitor: Monitor::Accuracy,
            schedule: Schedule::Plateau(Plateau {
                factor: 0.5,
                patience: 0,
                minimum: 1e-6,
            }),
            early_stopping: Some(3),
            class_weights: ClassWeights::Balanced,
            seed: 3,
            shuffle: true,
            threads: 1,
            ..TrialSpec::default()
        }
    }

    pub fn run(
        &self,
        lab: &Lab<'_>,
        spec: &TrialSpec,
        checkpoint: Option<&Checkpointing>,
        observer: &mut dyn Observer,
    ) -> Result<TrialOutcome, TrainingError> {
        let all: Vec<usize> = (0..30).collect();
        let features = lab.features(spec.trained(), &all, &mut ())?;
        let (train, validation) = (&self.train, &self.validation);
        lab.run(spec, train, validation, &features, checkpoint, observer)
    }
}

/// Where trials run: the processor, or what `FTSURGERY_TEST_DEVICE` names, with which `tools/gpu_check.sh` runs these tests.
pub fn device() -> Device {
    let named = std::env::var("FTSURGERY_TEST_DEVICE").ok();
    named.map_or(Device::Cpu, |device| device.parse().unwrap())
}

/// What a head stands on: the last feature map of the network.
pub fn features() -> Features {
    Features {
        value: "pool3".into(),
        channels: 8,
        height: 2,
        width: 2,
        nhwc: false,
    }
}

/// Stops after a step.
pub struct At(pub usize);

impl Observer for At {
    fn step(&mut self, step: usize, _: usize, _: f32) -> Result<(), TrainingError> {
        match step == self.0 {
            true => Err(TrainingError::Stopped),
            false => Ok(()),
        }
    }
}

/// Everything of an outcome but the seconds, in bits.
pub fn bits(outcome: &TrialOutcome) -> impl PartialEq + std::fmt::Debug + use<> {
    let parameters: Vec<(String, Vec<u32>)> = outcome
        .parameters
        .iter()
        .map(|(name, values)| (name.clone(), values.iter().map(|v| v.to_bits()).collect()))
        .collect();
    let epochs: Vec<_> = outcome
        .epochs
        .iter()
        .map(|e| {
            let score = e.validation.unwrap();
            let figures = [score.accuracy, score.loss].map(f64::to_bits);
            let loss = e.loss.map(f64::to_bits);
            (e.epoch, loss, figures, e.learning_rate.to_bits())
        })
        .collect();
    let numbers = (outcome.best_epoch, outcome.trained_parameters);
    (parameters, epochs, numbers)
}
