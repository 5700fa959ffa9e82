//! Epoch 0: what stands before the first step is scored, and may be the best.

use std::time::Duration;

use ftsurgery::graph::Graph;
use ftsurgery::surgery::Rewrite;
use ftsurgery::training::{
    BatchNormMode, Checkpointing, EpochMetrics, Observer, OptimizerKind, TrainingError, TrialSpec,
};

use crate::bed::{Bed, bits};

fn spec(bed: &Bed) -> TrialSpec {
    TrialSpec {
        score_start: true,
        ..bed.spec(OptimizerKind::Sgd)
    }
}

#[test]
fn epoch_0_is_what_the_model_is_worth_as_it_stands_and_changes_nothing_else() {
    let Some(bed) = Bed::new() else { return };
    let lab = bed.lab();
    let scored = bed.run(&lab, &spec(&bed), None, &mut ()).unwrap();
    let without = TrialSpec {
        score_start: false,
        ..spec(&bed)
    };
    let without = bed.run(&lab, &without, None, &mut ()).unwrap();
    let start = scored.epochs[0];
    assert_eq!((start.epoch, start.loss), (0, None));
    let expected = lab.predict(&[], &bed.validation).unwrap().score();
    let found = start.validation.unwrap();
    assert_eq!(found.accuracy, expected.accuracy);
    assert!((found.loss - expected.loss).abs() < 1e-5, "{found:?}");
    // It is not the best here, so that the rest is as without it.
    let mut rest = scored.clone();
    rest.epochs.remove(0);
    assert!(rest.best_epoch > 0);
    assert_eq!(bits(&rest), bits(&without));
    assert_eq!(scored.trained_epochs(), without.epochs.len());
}

#[test]
fn where_no_epoch_is_better_the_start_is_what_comes_out_and_patience_counts_from_it() {
    let Some(bed) = Bed::new() else { return };
    let lab = bed.lab();
    let mut spec = spec(&bed);
    // So small a rate that nothing moves: of equals the earlier is the best.
    spec.batch_norm = BatchNormMode::Frozen;
    spec.optimizer.learning_rate = 1e-30.into();
    let untouched = TrialSpec {
        epochs: 0,
        ..spec.clone()
    };
    let untouched = bed.run(&lab, &untouched, None, &mut ()).unwrap();
    for patience in [1, 3] {
        spec.early_stopping = Some(patience);
        let outcome = bed.run(&lab, &spec, None, &mut ()).unwrap();
        assert_eq!(outcome.best_epoch, 0);
        assert_eq!(outcome.trained_epochs(), patience);
        assert_eq!(outcome.parameters, untouched.parameters);
        assert_eq!(outcome.validation(), outcome.epochs[0].validation);
    }
}

#[test]
fn a_trial_of_no_epochs_trains_nothing_and_is_scored_where_that_is_asked_for() {
    let Some(bed) = Bed::new() else { return };
    let lab = bed.lab();
    let mut spec = spec(&bed);
    spec.epochs = 0;
    let scored = bed.run(&lab, &spec, None, &mut ()).unwrap();
    assert_eq!((scored.best_epoch, scored.epochs.len()), (0, 1));
    let graph = Graph::from_model(&bed.network.model).unwrap();
    for (name, values) in &scored.parameters {
        let before = graph.initializers[name].to_f32().unwrap();
        assert!(*values == before, "{name} was changed");
    }
    let stored = lab.predict(&[], &bed.validation).unwrap().score();
    let found = scored.validation().unwrap();
    assert_eq!(found.accuracy, stored.accuracy);
    assert!((found.loss - stored.loss).abs() < 1e-5);
    // Without samples to score, or without being asked.
    let features = lab.features(spec.trained(), &bed.train, &mut ()).unwrap();
    let unseen = lab
        .run(&spec, &bed.train, &[], &features, None, &mut ())
        .unwrap();
    spec.score_start = false;
    let unasked = bed.run(&lab, &spec, None, &mut ()).unwrap();
    for outcome in [unseen, unasked] {
        assert_eq!((outcome.best_epoch, outcome.epochs.len()), (0, 0));
        assert_eq!(outcome.validation(), None);
        assert_eq!(outcome.parameters, scored.parameters);
    }
    let spec = TrialSpec {
        rewrite: Rewrite::None,
        trainable: Vec::new(),
        score_start: true,
        ..spec
    };
    let nothing = bed.run(&lab, &spec, None, &mut ()).unwrap();
    assert!(nothing.parameters.is_empty());
    assert!(nothing.validation().is_some());
}

/// Stops while epoch 0 is scored, or behind it, or after a step.
#[derive(Default)]
struct Stop {
    while_scoring: bool,
    after_epoch_0: bool,
    after_step: Option<usize>,
    resumed: Vec<(usize, usize)>,
    epochs: Vec<usize>,
}

impl Observer for Stop {
    fn resumed(&mut self, step: usize, epochs: &[EpochMetrics]) -> Result<(), TrainingError> {
        self.resumed.push((step, epochs.len()));
        Ok(())
    }

    fn step(&mut self, step: usize, _: usize, _: f32) -> Result<(), TrainingError> {
        match self.after_step == Some(step) {
            true => Err(TrainingError::Stopped),
            false => Ok(()),
        }
    }

    fn scored(&mut self, _: usize, _: usize) -> Result<(), TrainingError> {
        match self.while_scoring {
            true => Err(TrainingError::Stopped),
            false => Ok(()),
        }
    }

    fn epoch(&mut self, metrics: &EpochMetrics) -> Result<(), TrainingError> {
        self.epochs.push(metrics.epoch);
        match self.after_epoch_0 {
            true => Err(TrainingError::Stopped),
            false => Ok(()),
        }
    }
}

#[test]
fn a_trial_stopped_around_epoch_0_ends_with_the_same_bits() {
    let Some(bed) = Bed::new() else { return };
    let lab = bed.lab();
    let to = Checkpointing {
        path: bed.folder.path().join("checkpoint.safetensors"),
        every: Duration::MAX,
        at_end: false,
    };
    for (kind, rate) in [(OptimizerKind::Adam, 0.02), (OptimizerKind::Sgd, 1e-30)] {
        let mut spec = TrialSpec {
            score_start: true,
            ..bed.spec(kind)
        };
        spec.optimizer.learning_rate = rate.into();
        let unbroken = bed.run(&lab, &spec, None, &mut ()).unwrap();
        let stops = [
            (true, false, None, (0, 0)),
            (false, true, None, (0, 1)),
            (false, false, Some(1), (1, 1)),
            (false, false, Some(4), (4, 2)),
        ];
        for (while_scoring, after_epoch_0, after_step, resumed) in stops {
            let mut stop = Stop {
                while_scoring,
                after_epoch_0,
                after_step,
                ..Stop::default()
            };
            let result = bed.run(&lab, &spec, Some(&to), &mut stop);
            assert!(matches!(result, Err(TrainingError::Stopped)));
            let mut rest = Stop::default();
            let outcome = bed.run(&lab, &spec, Some(&to), &mut rest).unwrap();
            std::fs::remove_file(&to.path).unwrap();
            assert_eq!(bits(&outcome), bits(&unbroken), "{kind:?} {resumed:?}");
            assert_eq!(rest.resumed, [resumed]);
            assert_eq!(
                [stop.epochs, rest.epochs].concat(),
                (0..=unbroken.trained_epochs()).collect::<Vec<_>>(),
                "epoch 0 is heard of once"
            );
        }
    }
}
