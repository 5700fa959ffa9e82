//! Damaged models on onnxruntime: what passes our own checks runs, or is refused.

use ftsurgery::autodiff::Operators;
use ftsurgery::data::{Dataset, Layout, OpenOptions, Preprocess};
use ftsurgery::onnx::Model;
use ftsurgery::runtime::{Device, testing::runtime};
use ftsurgery::surgery::{HeadKind, HeadSpec, graft};
use ftsurgery::training::{
    BatchNormMode, InputSpec, Lab, LabOptions, Trained, trainable_parameters,
};

use crate::cases::batch;
use crate::guard::{Outcome, guarded};
use crate::{models, mutate};

#[test]
fn damaged_models_on_onnxruntime_run_or_are_refused() {
    let Some(runtime) = runtime() else { return };
    let folder = tempfile::tempdir().unwrap();
    let options = OpenOptions {
        height: 8,
        width: 8,
        channels: 3,
        progress: None,
    };
    let dataset = Dataset::open(batch(folder.path()).as_ref(), &options).unwrap();
    let attempt = |bytes: Vec<u8>| -> Option<f32> {
        let model = Model::decode(bytes.into(), "hostile.onnx".as_ref()).ok()?;
        let names = trainable_parameters(&model, &[3, 8, 8]).ok()?;
        let network = graft(&model, None, &HeadSpec::new(HeadKind::Keep, 3, 0)).ok()?;
        let input = InputSpec {
            preprocess: Preprocess::UNIT,
            layout: Layout::Nchw,
        };
        let options = LabOptions {
            device: Device::Cpu,
            threads: 1,
            memory_budget: 1 << 20,
            spill_dir: folder.path().to_owned(),
            feature_precision: Default::default(),
            augment: Default::default(),
            views: None,
            operators: Operators::Kernels,
        };
        let lab = Lab::new(&runtime, &network, &dataset, input, options).ok()?;
        let trained = |batch_norm| Trained {
            parameters: &names,
            batch_norm,
        };
        // It may fail, but not panic.
        let _ = lab.gradients(trained(BatchNormMode::Batch), &[0, 1]);
        let frozen = lab.gradients(trained(BatchNormMode::Frozen), &[0, 1]);
        Some(frozen.ok()?.0)
    };
    let mut ran = 0;
    let mut failures = Vec::new();
    for seed in [models::plain(), models::residual()] {
        for number in 0..60 {
            let Some(bytes) = mutate::mutate_message(&seed, number) else {
                continue;
            };
            match guarded(&format!("#{number}"), || attempt(bytes.clone())) {
                Outcome::Done(loss) => ran += usize::from(loss.is_some()),
                Outcome::Failed(why) => failures.push(format!("#{number}: {why}")),
            }
        }
    }
    assert!(failures.is_empty(), "{failures:?}");
    assert!(ran > 0);
}
