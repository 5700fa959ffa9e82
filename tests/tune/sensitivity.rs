//! What the gradients of single samples say of tensors.

use ftsurgery::surgery::Rewrite;
use ftsurgery::training::{BatchNormMode, Observer, Start, Trained, TrainingError};

use crate::bed::Bed;

struct Stops(usize);

impl Observer for Stops {
    fn scored(&mut self, done: usize, _: usize) -> Result<(), TrainingError> {
        match done == self.0 {
            true => Err(TrainingError::Stopped),
            false => Ok(()),
        }
    }
}

/// A kernel, a scale and a dense weight, whose gradient comes in factors.
#[test]
fn figures_are_those_of_the_gradients_of_each_sample() {
    let Some(bed) = Bed::new() else { return };
    let lab = bed.lab();
    let names = ["c2.w", "c3.scale", "ftsurgery/head/dense_1/weight"].map(str::to_owned);
    let trained = Trained {
        parameters: &names,
        batch_norm: BatchNormMode::Frozen,
        rewrite: &Rewrite::None,
    };
    let samples = [0, 4, 11, 17, 23];
    let found = lab
        .sensitivity(trained, &Start::default(), &samples, &mut ())
        .unwrap();
    let of_each: Vec<_> = samples
        .iter()
        .map(|&sample| {
            lab.gradients(trained, &Start::default(), &[sample])
                .unwrap()
                .1
        })
        .collect();
    let n = samples.len() as f64;
    for (place, found) in found.iter().enumerate() {
        assert_eq!(found.name, names[place]);
        let gradients: Vec<&Vec<f32>> = of_each.iter().map(|g| &g[place].values).collect();
        assert_eq!(found.elements, gradients[0].len());
        let (mut gradient, mut fisher, mut signal, mut curvature) = (0.0, 0.0, 0.0, 0.0);
        for i in 0..found.elements {
            let values: Vec<f64> = gradients.iter().map(|g| f64::from(g[i])).collect();
            let mean = values.iter().sum::<f64>() / n;
            let second = values.iter().map(|g| g * g).sum::<f64>() / n;
            let variance = values.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / n;
            gradient += mean * mean;
            fisher += second;
            curvature += mean * mean * second;
            if variance > 1e-6 * second {
                signal += mean * mean / variance;
            }
        }
        for (what, expected, is) in [
            ("gradient", gradient, found.gradient),
            ("fisher", fisher, found.fisher),
            ("signal", signal, found.signal),
            ("curvature", curvature, found.curvature),
        ] {
            assert!(
                (is - expected).abs() < 1e-3 * expected,
                "{what} of {}: {is}, {expected}",
                found.name
            );
            assert!(expected > 0.0, "{what}");
        }
        // The mean gradient is that of the batch.
        let (_, batch) = lab.gradients(trained, &Start::default(), &samples).unwrap();
        let norm: f64 = batch[place]
            .values
            .iter()
            .map(|&g| f64::from(g).powi(2))
            .sum();
        assert!((found.gradient - norm).abs() < 1e-3 * norm);
    }
    let model = &bed.network.model;
    let scale = model
        .graph()
        .initializer
        .iter()
        .find(|t| t.name() == "c3.scale");
    assert!(scale.is_some());
    assert!((found[1].weight - 8.0).abs() < 1e-6, "eight ones");
}

#[test]
fn nothing_can_be_said_without_samples_and_a_stop_is_heard() {
    let Some(bed) = Bed::new() else { return };
    let lab = bed.lab();
    let names = ["c3.w".to_owned()];
    let trained = Trained {
        parameters: &names,
        batch_norm: BatchNormMode::Frozen,
        rewrite: &Rewrite::None,
    };
    let none = lab.sensitivity(trained, &Start::default(), &[], &mut ());
    assert!(matches!(none, Err(TrainingError::NoSamples)));
    let stopped = lab.sensitivity(trained, &Start::default(), &[1, 2, 3], &mut Stops(2));
    assert!(matches!(stopped, Err(TrainingError::Stopped)));
}
