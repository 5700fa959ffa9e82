//! Samples that are mixed, before frozen layers, and their loss.

use std::path::Path;

use super::scene::{BANK, Scene, copies, noise};
use super::*;
use crate::classifier::softmax;
use crate::graph::{Builder, Graph, Value};
use crate::onnx::{Model, Tensor, encode};
use crate::runtime::Buffer;
use crate::surgery::Rewrite;
use crate::training::{BatchNormMode, Schedule, TrialSpec};

/// Two dense layers on images of 4 × 4, so that logits of mixed images are mixed logits.
fn linear() -> Model {
    let mut graph = Graph {
        inputs: vec![Value::batched("x", &[3, 4, 4])],
        ..Graph::new(17)
    };
    for (name, dims) in [("w1", [48, 5]), ("w2", [5, 3])] {
        let tensor = Tensor::f32(&dims, &noise(dims[0] * dims[1], 0.4));
        graph.initializers.insert(name.to_owned(), tensor);
    }
    let mut b = Builder::new(&mut graph);
    let x = b.op("flat", "Flatten", &["x"], vec![]);
    let x = b.op("hidden", "MatMul", &[&x, "w1"], vec![]);
    let x = b.op("scores", "MatMul", &[&x, "w2"], vec![]);
    graph.outputs.push(Value::batched(&x, &[3]));
    let bytes = encode(&graph.to_model(usize::MAX).0).unwrap();
    Model::decode(bytes.into(), Path::new("test.onnx")).unwrap()
}

/// Trains the second layer so little that nothing moves, in one step.
fn spec() -> TrialSpec {
    let mut spec = TrialSpec {
        trainable: vec!["w2".to_owned()],
        epochs: 1,
        batch_size: 6,
        schedule: Schedule::Constant,
        shuffle: false,
        threads: 1,
        mixup: 1.0,
        seed: 4,
        ..TrialSpec::default()
    };
    spec.optimizer.learning_rate = 1e-30.into();
    spec
}

const TRAIN: [usize; 6] = [0, 1, 2, 3, 4, 5];
const VALIDATION: [usize; 3] = [6, 7, 8];

#[test]
fn frozen_layers_are_computed_of_mixed_samples_whatever_is_kept() {
    let Some(scene) = Scene::new(linear(), 9, 4) else {
        return;
    };
    let lab = scene.lab(|_| {});
    let spec = spec();
    let mixing = spec.mixing(1, 6, lab.sample()).unwrap().unwrap();
    assert!(mixing.partners.iter().enumerate().any(|(i, &p)| i != p));
    let sets = scene.trained(BatchNormMode::Frozen);
    let bank = |mixed| {
        let options = BankOptions { mixed, ..BANK };
        FeatureBank::new(&lab, &sets, &TRAIN, &VALIDATION, options).unwrap()
    };
    let mut found = Vec::new();
    for mixed in [false, true] {
        let bank = bank(mixed);
        // That of the second layer alone.
        let stage = bank.stage_of(1).unwrap();
        assert_eq!(bank.names(stage), ["hidden"]);
        let features = bank.features(stage, &mut ()).unwrap();
        let rows = if mixed { 3 } else { 9 };
        assert_eq!(features.store().map(FeatureStore::rows), Some(rows));
        let gather = |mixing| {
            let buffers = [Buffer::zeros_f32(&[6, 5]).unwrap()];
            let pass = Pass::Train { epoch: 1 };
            features
                .gather_mixed(&lab, &TRAIN, &buffers, (pass, mixing))
                .unwrap();
            copies(&buffers).remove(0)
        };
        let (plain, mixed) = (gather(None), gather(Some(&mixing)));
        for (i, found) in mixed.iter().enumerate() {
            let other = plain[mixing.partners[i / 5] * 5 + i % 5];
            let expected = mixing.share * plain[i] + (1.0 - mixing.share) * other;
            assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        }
        found.push(mixed);
    }
    assert_eq!(found[0], found[1]);
    let note = bank(true).note().unwrap();
    assert!(note.contains("--mixup"), "{note}");
    assert_eq!(bank(false).note(), None);
}

#[test]
fn the_loss_of_mixed_samples_is_that_of_both_labels() {
    let Some(scene) = Scene::new(linear(), 9, 4) else {
        return;
    };
    let lab = scene.lab(|_| {});
    let run = |spec: &TrialSpec| {
        let all: Vec<usize> = (0..9).collect();
        let features = lab.features(spec.trained(), &all, &mut ()).unwrap();
        lab.run(spec, &TRAIN, &VALIDATION, &features, None, &mut ())
            .unwrap()
    };
    let logits = lab.logits(&Rewrite::None, &[], &TRAIN).unwrap().values;
    let labels = scene.dataset.labels();
    for smoothing in [0.0, 0.2] {
        let spec = TrialSpec {
            label_smoothing: smoothing,
            ..spec()
        };
        let mixing = spec.mixing(1, 6, lab.sample()).unwrap().unwrap();
        let (share, smoothing) = (f64::from(mixing.share), f64::from(smoothing));
        let mut expected = 0.0;
        for (i, &partner) in mixing.partners.iter().enumerate() {
            let row: Vec<f32> = (0..3)
                .map(|c| {
                    mixing.share * logits[i * 3 + c]
                        + (1.0 - mixing.share) * logits[partner * 3 + c]
                })
                .collect();
            let p = softmax(&row);
            for (sample, share) in [(i, share), (partner, 1.0 - share)] {
                let spread = p.iter().map(|p| p.ln()).sum::<f64>() * smoothing / 3.0;
                let own = (1.0 - smoothing) * p[labels[sample] as usize].ln();
                expected -= share * (own + spread) / 6.0;
            }
        }
        let mixed = run(&spec);
        let found = mixed.epochs[0].loss.unwrap();
        assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        let plain = run(&TrialSpec { mixup: 0.0, ..spec });
        assert_eq!(plain.epochs[0].validation, mixed.epochs[0].validation);
        assert!((plain.epochs[0].loss.unwrap() - found).abs() > 1e-4);
    }
}

#[test]
fn images_are_cut_at_the_input() {
    let Some(scene) = Scene::new(linear(), 9, 4) else {
        return;
    };
    let lab = scene.lab(|_| {});
    let spec = TrialSpec {
        mixup: 0.0,
        cutmix: 1.0,
        ..spec()
    };
    let sets = scene.trained(BatchNormMode::Frozen);
    let bank = FeatureBank::new(&lab, &sets, &TRAIN, &VALIDATION, BANK).unwrap();
    let features = bank.features(bank.stage_of(0).unwrap(), &mut ()).unwrap();
    let mut changed = 0;
    for step in 1..5 {
        let mixing = spec.mixing(step, 6, lab.sample()).unwrap().unwrap();
        let gather = |mixing| {
            // Behind the first node, which changes no number.
            let buffers = [Buffer::zeros_f32(&[6, 48]).unwrap()];
            let pass = Pass::Train { epoch: 1 };
            features
                .gather_mixed(&lab, &TRAIN, &buffers, (pass, mixing))
                .unwrap();
            copies(&buffers).remove(0)
        };
        let (plain, cut) = (gather(None), gather(Some(&mixing)));
        let mut expected = plain.clone();
        mixing.apply(&mut expected);
        assert_eq!(cut, expected);
        changed += usize::from(cut != plain);
    }
    assert!(changed > 0);
}
