//! Damaged models on onnxruntime: what passes our own checks runs, or is refused.

use std::path::Path;

use ftsurgery::autodiff::Operators;
use ftsurgery::classifier::InputSpec;
use ftsurgery::data::{Dataset, Layout, OpenOptions, Preprocess};
use ftsurgery::onnx::messages::ModelProto;
use ftsurgery::onnx::{Model, encode};
use ftsurgery::runtime::{Array, Runtime, Session, SessionOptions, testing::runtime};
use ftsurgery::surgery::{HeadKind, HeadSpec, Rewrite, graft};
use ftsurgery::training::{BatchNormMode, Lab, LabOptions, Start, Trained, trainable_parameters};

use crate::cases::batch;
use crate::guard::{Outcome, guarded, guarded_within};
use crate::{models, mutate};

fn dataset(folder: &Path) -> Dataset {
    let options = OpenOptions::new(8, 8, 3);
    Dataset::open(batch(folder).as_ref(), &options).unwrap()
}

/// Loss and all gradients of two samples; `None` where the model is refused. With `batch_norm`, those
/// of the batch's statistics are asked for, too.
fn attempt(
    runtime: &Runtime,
    dataset: &Dataset,
    bytes: Vec<u8>,
    operators: Operators,
) -> Option<(f32, Vec<f32>)> {
    let model = Model::decode(bytes.into(), "hostile.onnx".as_ref()).ok()?;
    let names = trainable_parameters(&model, &[3, 8, 8]).ok()?;
    let network = graft(&model, None, &HeadSpec::new(HeadKind::Keep, 3, 0)).ok()?;
    let input = InputSpec {
        preprocess: Preprocess::UNIT,
        layout: Layout::Nchw,
    };
    let options = LabOptions::default()
        .threads(1)
        .memory_budget(1 << 20)
        .operators(operators);
    let lab = Lab::new(runtime, &network, dataset, input, options).ok()?;
    let trained = |batch_norm| Trained {
        parameters: &names,
        batch_norm,
        rewrite: &Rewrite::None,
    };
    // It may fail, but not panic.
    let _ = lab.gradients(trained(BatchNormMode::Batch), &Start::default(), &[0, 1]);
    let (loss, gradients) = lab
        .gradients(trained(BatchNormMode::Frozen), &Start::default(), &[0, 1])
        .ok()?;
    let values = gradients.iter().flat_map(|g| g.values.iter().copied());
    Some((loss, values.collect()))
}

#[test]
fn damaged_models_on_onnxruntime_run_or_are_refused() {
    let Some(runtime) = runtime() else { return };
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let kinds = [mutate::mutate_message, mutate::mutate_numbers];
    for (kind, mutated) in kinds.into_iter().enumerate() {
        let mut ran = 0;
        let mut failures = Vec::new();
        for seed in [models::plain(), models::residual()] {
            for number in 0..60 {
                let Some(bytes) = mutated(&seed, number) else {
                    continue;
                };
                let label = format!("kind {kind} #{number}");
                let run = || attempt(&runtime, &dataset, bytes.clone(), Operators::Kernels);
                match guarded(&label, run) {
                    Outcome::Done(loss) => ran += usize::from(loss.is_some()),
                    Outcome::Failed(why) => failures.push(format!("{label}: {why}")),
                }
            }
        }
        assert!(failures.is_empty(), "{failures:?}");
        assert!(ran > 0);
    }
}

/// Windows far beyond the map, by attributes alone: each number is a dilation and the pads of a
/// convolution, or the pads of a pool and half of its kernel.
#[test]
fn windows_beyond_the_map_cost_no_memory() {
    const FEW: isize = 16 << 20;
    let Some(runtime) = runtime() else { return };
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    type Make = fn(i64) -> ModelProto;
    let made: [(&str, Make); 3] = [
        ("Conv", models::dilated),
        ("depthwise Conv", models::dilated_depthwise),
        ("MaxPool", models::padded_pool),
    ];
    for (kind, make) in made {
        for size in [3, 20, 300, 1000, 1 << 20, 1 << 27] {
            let label = format!("{kind} of {size}");
            let bytes = encode(&make(size)).unwrap();
            let run = |operators| {
                let work = || attempt(&runtime, &dataset, bytes.clone(), operators);
                match guarded_within(&label, FEW, work) {
                    Outcome::Done(result) => result,
                    Outcome::Failed(why) => panic!("{label}: {why}"),
                }
            };
            let results = [run(Operators::Kernels), run(Operators::Standard)];
            let [Some(own), Some(standard)] = &results else {
                // onnxruntime, which walks all of a pool's window, is not asked for more than it can.
                assert_eq!(results, [None, None], "{label}");
                assert!(size > 1000, "{label} does not run");
                continue;
            };
            assert!((own.0 - standard.0).abs() < 1e-5, "{label}");
            for (a, b) in own.1.iter().zip(&standard.1) {
                assert!((a - b).abs() < 1e-4, "{label}: {a} {b}");
            }
        }
    }
}

/// A byte of 2 is no `bool` of Rust's.
#[test]
fn truth_values_may_be_any_bytes() {
    let Some(runtime) = runtime() else { return };
    let bytes = encode(&models::truths(&[0, 1, 2, 255])).unwrap();
    let mut session = Session::new(&runtime, &bytes, &[], &SessionOptions::default()).unwrap();
    let image: Array = ndarray::Array4::<f32>::zeros((1, 3, 8, 8)).into();
    let outputs = session.run(&[("image", &image)]).unwrap();
    let truths: Array = ndarray::arr1(&[false, true, true, true]).into();
    assert_eq!(outputs, [truths]);
}
