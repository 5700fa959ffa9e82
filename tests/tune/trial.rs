//! One trial: side by side with another, weighted, stopped early, diverged.

use ftsurgery::choice::Choice;
use ftsurgery::onnx::Model;
use ftsurgery::surgery::{HeadKind, HeadSpec, Rewrite, graft};
use ftsurgery::training::{
    BatchNormMode, ClassWeights, Divergence, EpochMetrics, Monitor, Observer, OptimizerKind,
    Plateau, Schedule, TrainingError, TrialSpec,
};

use crate::bed::{Bed, bits};

#[test]
fn trials_side_by_side_end_with_the_bits_of_trials_in_turn() {
    fn shared<T: Sync>(_: &T) {}
    let Some(bed) = Bed::new() else { return };
    let lab = bed.lab();
    shared(&lab);
    let mut specs = [OptimizerKind::Adam, OptimizerKind::Sgd].map(|kind| bed.spec(kind));
    for spec in &mut specs {
        spec.early_stopping = None;
    }
    let all: Vec<usize> = (0..30).collect();
    // The two share their features.
    let features = lab.features(specs[0].trained(), &all, &mut ()).unwrap();
    let run = |spec: &TrialSpec| {
        let (train, validation) = (&bed.train, &bed.validation);
        lab.run(spec, train, validation, &features, None, &mut ())
            .unwrap()
    };
    let in_turn = [run(&specs[0]), run(&specs[1])];
    assert_ne!(bits(&in_turn[0]), bits(&in_turn[1]));
    for _ in 0..3 {
        let [first, second] = std::thread::scope(|scope| {
            let threads = [0, 1].map(|i| {
                let (run, spec) = (&run, &specs[i]);
                scope.spawn(move || run(spec))
            });
            threads.map(|thread| thread.join().unwrap())
        });
        assert_eq!(bits(&first), bits(&in_turn[0]));
        assert_eq!(bits(&second), bits(&in_turn[1]));
    }
}

#[test]
fn early_stopping_ends_after_that_many_epochs_without_a_better_score() {
    let Some(bed) = Bed::new() else { return };
    let lab = bed.lab();
    let mut spec = bed.spec(OptimizerKind::Sgd);
    spec.early_stopping = None;
    spec.epochs = 12;
    let all = bed.run(&lab, &spec, None, &mut ()).unwrap();
    assert_eq!(all.epochs.len(), 12);
    let mut ended_early = 0;
    for patience in 1..6 {
        spec.early_stopping = Some(patience);
        let outcome = bed.run(&lab, &spec, None, &mut ()).unwrap();
        let mut best = 0;
        let mut expected = 12;
        for (i, epoch) in all.epochs.iter().enumerate() {
            let (old, new) = (
                all.epochs[best].validation.unwrap(),
                epoch.validation.unwrap(),
            );
            if (new.accuracy, -new.loss) > (old.accuracy, -old.loss) {
                best = i;
            }
            if i - best >= patience {
                expected = i + 1;
                break;
            }
        }
        ended_early += usize::from(expected < 12);
        assert_eq!(outcome.epochs.len(), expected, "patience {patience}");
        assert_eq!(outcome.best_epoch, best + 1);
        let seconds = |e: &EpochMetrics| EpochMetrics { seconds: 0.0, ..*e };
        assert!(
            outcome
                .epochs
                .iter()
                .map(seconds)
                .eq(all.epochs[..expected].iter().map(seconds))
        );
    }
    assert!(ended_early > 0, "else nothing is shown");
}

#[test]
fn the_monitored_figure_then_the_loss_decides_best_epoch_rate_and_early_stop() {
    let Some(bed) = Bed::new() else { return };
    let lab = bed.lab();
    let mut spec = bed.spec(OptimizerKind::Sgd);
    spec.optimizer.learning_rate = 0.02.into();
    spec.epochs = 12;
    let (mut kept, mut bests) = (0, Vec::new());
    for name in Monitor::NAMES {
        spec.monitor = name.parse().unwrap();
        let figure = |e: &EpochMetrics| {
            let score = e.validation.unwrap();
            match spec.monitor {
                Monitor::Accuracy => (score.accuracy, -score.loss),
                Monitor::BalancedAccuracy => (score.balanced_accuracy, -score.loss),
                Monitor::MacroF1 => (score.macro_f1, -score.loss),
                // There is none, so that the loss decides.
                Monitor::AveragePrecision => (0.0, -score.loss),
                Monitor::Loss => (-score.loss, score.accuracy),
                Monitor::CalibratedLoss => (-score.calibrated_loss, score.accuracy),
            }
        };
        (spec.schedule, spec.early_stopping) = (Schedule::Constant, None);
        let free = bed.run(&lab, &spec, None, &mut ()).unwrap();
        let mut best = 0;
        for (i, epoch) in free.epochs.iter().enumerate() {
            if figure(epoch) > figure(&free.epochs[best]) {
                best = i;
            }
        }
        assert_eq!(free.best_epoch, best + 1, "{name}");
        bests.push(free.best_epoch);

        spec.early_stopping = Some(4);
        spec.schedule = Schedule::Plateau(Plateau {
            factor: 0.5,
            patience: 1,
            minimum: 0.0,
        });
        let outcome = bed.run(&lab, &spec, None, &mut ()).unwrap();
        let (mut best, mut waited) = (0, 0);
        let mut rate = spec.optimizer.learning_rate.given().unwrap();
        for (i, epoch) in outcome.epochs.iter().enumerate() {
            assert_eq!(epoch.learning_rate, rate, "{name}, epoch {}", i + 1);
            if i == 0 || figure(epoch) > figure(&outcome.epochs[best]) {
                let accuracy = |e: usize| outcome.epochs[e].validation.unwrap().accuracy;
                kept += usize::from(i > 0 && accuracy(i) == accuracy(best));
                (best, waited) = (i, 0);
            } else {
                waited += 1;
            }
            // As in PyTorch, one epoch more than `patience`.
            if waited > 1 {
                (waited, rate) = (0, rate * 0.5);
            }
            let stops = i - best >= 4 || i + 1 == spec.epochs;
            assert_eq!(
                stops,
                i + 1 == outcome.epochs.len(),
                "{name}, epoch {}",
                i + 1
            );
        }
        assert_eq!(outcome.best_epoch, best + 1, "{name}");
    }
    assert!(kept > 0, "no loss fell while the accuracy stayed");
    bests.dedup();
    assert!(
        bests.len() > 1,
        "all figures chose the same epoch: {bests:?}"
    );
}

#[test]
fn balanced_weights_scale_the_loss_of_each_class_and_leave_validation_alone() {
    let Some(bed) = Bed::new() else { return };
    let mut spec = bed.spec(OptimizerKind::Sgd);
    // Without dropout and with stored statistics, one step on one batch, and a rate so small that
    // nothing moves: the loss is that of the logits.
    (spec.epochs, spec.batch_size) = (1, 100);
    spec.schedule = Schedule::Constant;
    spec.optimizer.learning_rate = 1e-30.into();
    spec.batch_norm = BatchNormMode::Frozen;
    let mut network = graft(
        &Model::open(&bed.folder.path().join("model.onnx")).unwrap(),
        None,
        &HeadSpec::new(HeadKind::Keep, 3, 0),
    )
    .unwrap();
    network.dropout.clear();
    let bed = Bed { network, ..bed };
    let lab = bed.lab();
    spec.trainable = vec!["fc.w".into(), "fc.b".into()];
    // Classes 0, 1 and 2 in shares of 4, 3 and 1.
    let train = [0, 1, 2, 3, 10, 11, 12, 20];
    let labels = train.map(|i| bed.dataset.labels()[i]);
    assert_eq!(labels, [0, 0, 0, 0, 1, 1, 1, 2]);
    let features = lab
        .features(spec.trained(), &(0..30).collect::<Vec<_>>(), &mut ())
        .unwrap();
    let still = lab.run(&spec, &train, &[], &features, None, &mut ());
    let logits = lab
        .logits(&Rewrite::None, &still.unwrap().parameters, &train)
        .unwrap();
    let loss = |weights: [f64; 3]| {
        let rows = logits.values.chunks(logits.classes).zip(labels);
        let losses = rows.map(|(row, label)| {
            let p = ftsurgery::classifier::softmax(row)[label as usize];
            -p.ln() * weights[label as usize]
        });
        losses.sum::<f64>() / 8.0
    };
    let mut validations = Vec::new();
    for (kind, weights) in [
        (ClassWeights::None, [1.0; 3]),
        (ClassWeights::Balanced, [8.0 / 12.0, 8.0 / 9.0, 8.0 / 3.0]),
    ] {
        spec.class_weights = kind;
        let outcome = lab
            .run(&spec, &train, &bed.validation, &features, None, &mut ())
            .unwrap();
        let (found, expected) = (outcome.epochs[0].loss.unwrap(), loss(weights));
        assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        validations.push(outcome.validation().unwrap().loss.to_bits());
    }
    assert!((loss([1.0; 3]) - loss([8.0 / 12.0, 8.0 / 9.0, 8.0 / 3.0])).abs() > 1e-3);
    assert_eq!(validations[0], validations[1]);
}

#[test]
fn what_the_best_epoch_made_of_the_validation_samples_comes_out_with_it() {
    let Some(bed) = Bed::new() else { return };
    let lab = bed.lab();
    let mut spec = bed.spec(OptimizerKind::Adam);
    (spec.epochs, spec.optimizer.learning_rate) = (4, Choice::Given(0.05));
    let all = [bed.train.as_slice(), &bed.validation].concat();
    let features = lab.features(spec.trained(), &all, &mut ()).unwrap();
    for score_start in [false, true] {
        spec.score_start = score_start;
        let outcome = bed.run(&lab, &spec, None, &mut ()).unwrap();
        let of = (bed.validation.as_slice(), &*features);
        let again = lab
            .predict_trained(&spec, &outcome.parameters, of, &mut ())
            .unwrap();
        assert_eq!(
            outcome.validated.as_ref().unwrap().score(),
            outcome.validation().unwrap()
        );
        assert_eq!(
            outcome.validated,
            Some(again),
            "epoch {}",
            outcome.best_epoch
        );
    }
}

#[test]
fn a_trial_that_explodes_has_diverged_and_has_no_outcome() {
    let Some(bed) = Bed::new() else { return };
    let lab = bed.lab();
    let mut late = false;
    for (kind, rate) in [
        (OptimizerKind::Sgd, 1e30),
        (OptimizerKind::Sgd, 1e12),
        (OptimizerKind::Adam, 1e38),
        (OptimizerKind::Adam, 1e20),
    ] {
        // A batch of all samples: the first sight of what the step did is the validation.
        for batch in [8, 20] {
            let mut spec = bed.spec(kind);
            (spec.batch_size, spec.optimizer.learning_rate) = (batch, rate.into());
            (spec.early_stopping, spec.schedule) = (None, Schedule::Constant);
            match bed.run(&lab, &spec, None, &mut ()) {
                Err(TrainingError::Diverged { what, .. }) => {
                    late |= !matches!(what, Divergence::Loss(_));
                }
                other => panic!("{kind:?} {rate} {batch}: {other:?}"),
            }
        }
    }
    assert!(late, "none was noticed at the end of an epoch");
}

#[test]
fn predicting_many_samples_can_be_stopped_after_any_batch() {
    struct First(usize);
    impl Observer for First {
        fn scored(&mut self, done: usize, _: usize) -> Result<(), TrainingError> {
            self.0 = done;
            Err(TrainingError::Stopped)
        }
    }
    let Some(bed) = Bed::new() else { return };
    let lab = bed.lab();
    let all: Vec<usize> = (0..30).collect();
    let mut first = First(0);
    let stopped = lab.predict_watched(&Rewrite::None, &[], &all, &mut first);
    assert!(matches!(stopped, Err(TrainingError::Stopped)));
    assert!((1..30).contains(&first.0), "{}", first.0);
    assert_eq!(lab.predict(&[], &all).unwrap().samples.len(), 30);
}
