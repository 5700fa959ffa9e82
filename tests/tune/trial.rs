//! One trial: stopped and resumed, side by side with another, weighted, stopped early, diverged.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ftsurgery::autodiff::Operators;
use ftsurgery::data::{Augment, Dataset, FeaturePrecision, Layout, OpenOptions, Preprocess};
use ftsurgery::onnx::Model;
use ftsurgery::runtime::{Device, Runtime, locate};
use ftsurgery::surgery::{Features, Grafted, HeadKind, HeadSpec, graft};
use ftsurgery::training::{
    BatchNormMode, Checkpointing, ClassWeights, Divergence, EpochMetrics, InputSpec, Lab,
    LabOptions, Observer, Optimizer, OptimizerKind, Plateau, TrainingError, TrialOutcome,
    TrialSpec,
};

use crate::support::*;

/// A network with a head that drops out, and 30 photos.
struct Bed {
    folder: tempfile::TempDir,
    runtime: Runtime,
    network: Grafted,
    dataset: Dataset,
    train: Vec<usize>,
    validation: Vec<usize>,
}

impl Bed {
    fn new() -> Option<Self> {
        let Ok(found) = locate::locate(None) else {
            eprintln!("skipped: no onnxruntime library");
            return None;
        };
        let runtime = Runtime::load(&found.located).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        save_backbone(&at("model.onnx"));
        save_photos(&at("photos"), 10);
        let model = Model::open(&at("model.onnx")).unwrap();
        let features = Features {
            value: "pool3".into(),
            channels: 8,
            height: 2,
            width: 2,
            nhwc: false,
        };
        let head = HeadSpec {
            hidden: (16, 8),
            ..HeadSpec::new(HeadKind::Paper, 3, 7)
        };
        let network = graft(&model, Some(&features), &head).unwrap();
        assert!(!network.dropout.is_empty());
        let options = OpenOptions {
            height: 16,
            width: 16,
            channels: 3,
            progress: None,
        };
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

    fn lab(&self) -> Lab<'_> {
        let input = InputSpec {
            preprocess: Preprocess::UNIT,
            layout: Layout::Nchw,
        };
        let options = LabOptions {
            device: Device::Cpu,
            threads: 1,
            memory_budget: 1 << 24,
            spill_dir: self.folder.path().to_owned(),
            operators: Operators::Kernels,
            feature_precision: FeaturePrecision::F32,
            augment: Augment::None,
            views: None,
        };
        Lab::new(&self.runtime, &self.network, &self.dataset, input, options).unwrap()
    }

    fn spec(&self, kind: OptimizerKind) -> TrialSpec {
        let layer = ["c3.w", "c3.scale", "c3.bias"].map(str::to_owned);
        let head = self.network.head_parameters.iter().cloned();
        TrialSpec {
            trainable: layer.into_iter().chain(head).collect(),
            batch_norm: BatchNormMode::Batch,
            epochs: 9,
            batch_size: 8,
            optimizer: Optimizer {
                kind,
                learning_rate: if kind == OptimizerKind::Sgd {
                    0.1
                } else {
                    0.02
                },
                weight_decay: 0.01,
                momentum: 0.9,
            },
            plateau: Some(Plateau {
                factor: 0.5,
                patience: 0,
                minimum: 1e-6,
            }),
            early_stopping: Some(3),
            class_weights: ClassWeights::Balanced,
            seed: 3,
            shuffle: true,
            threads: 1,
        }
    }

    fn run(
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

fn checkpoint(path: PathBuf) -> Checkpointing {
    Checkpointing {
        path,
        every: Duration::MAX,
    }
}

/// Stops after a step, after an epoch, and while an epoch is scored; hears of everything.
#[derive(Default)]
struct Stop {
    after_step: Option<usize>,
    while_scoring: Option<usize>,
    after_epoch: Option<usize>,
    resumed: Vec<(usize, usize)>,
    steps: Vec<(usize, u32)>,
}

impl Observer for Stop {
    fn resumed(&mut self, step: usize, epochs: &[EpochMetrics]) -> Result<(), TrainingError> {
        self.resumed.push((step, epochs.len()));
        Ok(())
    }

    fn step(&mut self, step: usize, total: usize, loss: f32) -> Result<(), TrainingError> {
        assert_eq!(total, 27);
        self.steps.push((step, loss.to_bits()));
        match self.after_step {
            Some(last) if step >= last => Err(TrainingError::Stopped),
            _ => Ok(()),
        }
    }

    fn scored(&mut self, done: usize, total: usize) -> Result<(), TrainingError> {
        assert!((1..=total).contains(&done));
        match (self.while_scoring, self.steps.last()) {
            (Some(epoch), Some((step, _))) if *step >= epoch * 3 => Err(TrainingError::Stopped),
            _ => Ok(()),
        }
    }

    fn epoch(&mut self, metrics: &EpochMetrics) -> Result<(), TrainingError> {
        match self.after_epoch {
            Some(last) if metrics.epoch >= last => Err(TrainingError::Stopped),
            _ => Ok(()),
        }
    }
}

/// Everything of an outcome but the seconds, in bits.
fn bits(outcome: &TrialOutcome) -> impl PartialEq + std::fmt::Debug + use<> {
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
            let figures = [e.loss, score.accuracy, score.loss].map(f64::to_bits);
            (e.epoch, figures, e.learning_rate.to_bits())
        })
        .collect();
    let numbers = (outcome.best_epoch, outcome.trained_parameters);
    (parameters, epochs, numbers)
}

#[test]
fn a_trial_stopped_at_any_step_and_resumed_ends_with_the_same_bits() {
    let Some(bed) = Bed::new() else { return };
    let lab = bed.lab();
    let path = bed.folder.path().join("checkpoint.safetensors");
    let to = checkpoint(path.clone());
    let mut stopped_early = 0;
    let mut rates_fell = 0;
    for kind in [
        OptimizerKind::Adam,
        OptimizerKind::Adamw,
        OptimizerKind::Sgd,
    ] {
        let spec = bed.spec(kind);
        let mut whole = Stop::default();
        let unbroken = bed.run(&lab, &spec, None, &mut whole).unwrap();
        let steps = whole.steps.len();
        assert!(whole.resumed.is_empty());
        assert_eq!(steps, unbroken.epochs.len() * 3);
        stopped_early += usize::from(unbroken.epochs.len() < spec.epochs);
        rates_fell += usize::from(unbroken.epochs.iter().any(|e| e.learning_rate < 0.01));
        let resume = |stop: &mut Stop| {
            let result = bed.run(&lab, &spec, Some(&to), stop);
            assert!(matches!(result, Err(TrainingError::Stopped)));
            let mut rest = Stop::default();
            let outcome = bed.run(&lab, &spec, Some(&to), &mut rest).unwrap();
            std::fs::remove_file(&path).unwrap();
            assert_eq!(bits(&outcome), bits(&unbroken), "{kind:?}");
            assert_eq!([stop.steps.clone(), rest.steps].concat(), whole.steps);
            rest.resumed
        };
        for step in 1..=steps {
            let mut stop = Stop {
                after_step: Some(step),
                ..Stop::default()
            };
            // An epoch whose last step is done is scored only after the resumption.
            assert_eq!(resume(&mut stop), [(step, (step - 1) / 3)]);
        }
        for epoch in 1..=unbroken.epochs.len() {
            let mut stop = Stop {
                after_epoch: Some(epoch),
                ..Stop::default()
            };
            assert_eq!(resume(&mut stop), [(epoch * 3, epoch)]);
            let mut stop = Stop {
                while_scoring: Some(epoch),
                ..Stop::default()
            };
            assert_eq!(resume(&mut stop), [(epoch * 3, epoch - 1)]);
        }
        // One step a session.
        let mut heard = Vec::new();
        let outcome = loop {
            let mut stop = Stop {
                after_step: Some(0),
                ..Stop::default()
            };
            let result = bed.run(&lab, &spec, Some(&to), &mut stop);
            heard.extend(stop.steps);
            match result {
                Err(TrainingError::Stopped) => {}
                result => break result.unwrap(),
            }
        };
        std::fs::remove_file(&path).unwrap();
        assert_eq!(bits(&outcome), bits(&unbroken), "{kind:?}");
        assert_eq!(heard, whole.steps);
        let seconds = outcome.epochs.iter().map(|e| e.seconds);
        assert!(seconds.is_sorted(), "they add up over sessions");
    }
    assert!(stopped_early > 0 && rates_fell > 0, "else nothing is shown");
}

#[test]
fn checkpoints_are_written_by_time_after_steps_and_after_epochs_that_are_not_the_last() {
    let Some(bed) = Bed::new() else { return };
    let lab = bed.lab();
    /// Whether there was a checkpoint when a step and when an epoch had ended, and how many times one
    /// was to be written.
    struct Written<'a> {
        path: &'a Path,
        steps: Vec<bool>,
        epochs: Vec<bool>,
        saved: usize,
    }
    impl Observer for Written<'_> {
        fn step(&mut self, _: usize, _: usize, _: f32) -> Result<(), TrainingError> {
            self.steps.push(self.path.exists());
            Ok(())
        }
        fn saving(&mut self) -> Result<(), TrainingError> {
            self.saved += 1;
            Ok(())
        }
        fn epoch(&mut self, _: &EpochMetrics) -> Result<(), TrainingError> {
            self.epochs.push(self.path.exists());
            let _ = std::fs::remove_file(self.path);
            Ok(())
        }
    }
    let path = bed.folder.path().join("checkpoint.safetensors");
    for (every, written) in [(Duration::ZERO, true), (Duration::MAX, false)] {
        let mut spec = bed.spec(OptimizerKind::Adam);
        (spec.epochs, spec.early_stopping) = (3, None);
        let to = Checkpointing {
            path: path.clone(),
            every,
        };
        let mut observer = Written {
            path: &path,
            steps: Vec::new(),
            epochs: Vec::new(),
            saved: 0,
        };
        bed.run(&lab, &spec, Some(&to), &mut observer).unwrap();
        let mut steps = [written; 9];
        steps[0] = false;
        assert_eq!(observer.steps, steps);
        assert_eq!(observer.epochs, [written; 3]);
        assert_eq!(observer.saved, if written { 9 + 2 } else { 0 });
        assert!(!path.exists());
        assert!(!path.with_extension("safetensors.partial").exists());
    }
}

#[test]
fn a_checkpoint_of_another_trial_is_refused_and_says_what_differs() {
    let Some(bed) = Bed::new() else { return };
    let lab = bed.lab();
    let to = checkpoint(bed.folder.path().join("checkpoint.safetensors"));
    let spec = bed.spec(OptimizerKind::Adam);
    let mut stop = Stop {
        after_step: Some(4),
        ..Stop::default()
    };
    bed.run(&lab, &spec, Some(&to), &mut stop).unwrap_err();
    let bytes = std::fs::read(&to.path).unwrap();
    type Change = fn(&mut TrialSpec);
    let changes: [(&str, Change); 6] = [
        ("batch_size was 8 and is 4", |s| s.batch_size = 4),
        ("seed was 3 and is 4", |s| s.seed = 4),
        ("early_stopping was 3 and is null", |s| {
            s.early_stopping = None;
        }),
        ("\"adam\"", |s| s.optimizer.kind = OptimizerKind::Sgd),
        ("trainable has changed", |s| drop(s.trainable.remove(0))),
        ("threads was 1 and is 2", |s| s.threads = 2),
    ];
    let refused = |lab: &Lab<'_>, spec: &TrialSpec, train: &[usize], said: &str| {
        let all: Vec<usize> = (0..30).collect();
        let features = lab.features(spec.trained(), &all, &mut ()).unwrap();
        let validation = &bed.validation;
        let result = lab.run(spec, train, validation, &features, Some(&to), &mut ());
        let error = result.unwrap_err();
        assert!(matches!(error, TrainingError::Checkpoint { .. }));
        assert!(error.is_bad_input());
        assert!(error.to_string().contains(said), "{error}");
    };
    for (said, change) in changes {
        let mut spec = bed.spec(OptimizerKind::Adam);
        change(&mut spec);
        refused(&lab, &spec, &bed.train, said);
    }
    refused(&lab, &spec, &bed.train[1..], "the training samples");
    assert_eq!(std::fs::read(&to.path).unwrap(), bytes, "it stays");
    bed.run(&lab, &spec, Some(&to), &mut ()).unwrap();
}

#[test]
fn damaged_checkpoints_are_refused_whatever_the_damage() {
    let Some(bed) = Bed::new() else { return };
    let lab = bed.lab();
    let to = checkpoint(bed.folder.path().join("checkpoint.safetensors"));
    let mut spec = bed.spec(OptimizerKind::Adam);
    spec.epochs = 2;
    spec.early_stopping = None;
    struct At(usize);
    impl Observer for At {
        fn step(&mut self, step: usize, _: usize, _: f32) -> Result<(), TrainingError> {
            match step == self.0 {
                true => Err(TrainingError::Stopped),
                false => Ok(()),
            }
        }
    }
    bed.run(&lab, &spec, Some(&to), &mut At(4)).unwrap_err();
    let good = std::fs::read(&to.path).unwrap();
    let refuses = |bytes: &[u8], what: &str| {
        std::fs::write(&to.path, bytes).unwrap();
        match bed.run(&lab, &spec, Some(&to), &mut ()) {
            Err(TrainingError::Checkpoint { .. }) => {}
            other => panic!("{what}: {other:?}"),
        }
    };
    for length in [0, 1, 7, 8, 9, 100, good.len() / 2, good.len() - 1] {
        refuses(&good[..length], &format!("cut to {length}"));
    }
    refuses(&[good.as_slice(), &[0]].concat(), "longer");
    refuses(b"not a checkpoint at all", "foreign");
    let header = u64::from_le_bytes(good[..8].try_into().unwrap()) as usize;
    let text = std::str::from_utf8(&good[8..8 + header]).unwrap();
    let with_header = |text: &str, tail: &[u8]| {
        let length = (text.len() as u64).to_le_bytes();
        [&length, text.as_bytes(), tail].concat()
    };
    let tail = &good[8 + header..];
    for (from, with) in [
        (r#"\"format\":1"#, r#"\"format\":2"#),
        (r#"\"step\":4"#, r#"\"step\":5"#),
        (r#"\"done\":1"#, r#"\"done\":18446744073709551615"#),
        (r#"\"epoch\":2"#, r#"\"epoch\":0"#),
        (r#"\"best_epoch\":1"#, r#"\"best_epoch\":9"#),
        (r#"\"progress\""#, r#"\"other\""#),
        ("ftsurgery.checkpoint", "somebody's"),
        ("first/c3.w", "first/c4.w"),
        ("best/c3.mean", "best/c4.mean"),
        (
            r#""dtype":"F32","shape":[8]"#,
            r#""dtype":"I32","shape":[8]"#,
        ),
        (r#""shape":[8]"#, r#""shape":[2,4]"#),
        (r#""shape":[8]"#, r#""shape":[18446744073709551615,8]"#),
        ("__metadata__", "__other__"),
    ] {
        assert!(text.contains(from), "{from} in {text}");
        refuses(&with_header(&text.replace(from, with), tail), with);
    }
    let empty = r#"{"t":{"dtype":"U8","shape":[18446744073709551600],"data_offsets":[0,18446744073709551600]}}"#;
    refuses(&with_header(empty, &[]), "sizes that wrap around");
    refuses(&u64::MAX.to_le_bytes(), "a header longer than memory");
    let folder = bed.folder.path().join("folder");
    std::fs::create_dir(&folder).unwrap();
    let result = bed.run(&lab, &spec, Some(&checkpoint(folder)), &mut ());
    assert!(matches!(result, Err(TrainingError::Checkpoint { .. })));
    // The file itself was good.
    std::fs::write(&to.path, &good).unwrap();
    bed.run(&lab, &spec, Some(&to), &mut ()).unwrap();
}

#[test]
fn a_checkpoint_that_cannot_be_written_is_an_error_and_not_a_stop() {
    let Some(bed) = Bed::new() else { return };
    let to = checkpoint(bed.folder.path().join("nowhere/checkpoint.safetensors"));
    let mut stop = Stop {
        after_step: Some(2),
        ..Stop::default()
    };
    let spec = bed.spec(OptimizerKind::Adam);
    let error = bed.run(&bed.lab(), &spec, Some(&to), &mut stop);
    assert!(matches!(
        error,
        Err(TrainingError::Data(
            ftsurgery::data::DataError::Write { .. }
        ))
    ));
}

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
fn balanced_weights_scale_the_loss_of_each_class_and_leave_validation_alone() {
    let Some(bed) = Bed::new() else { return };
    let mut spec = bed.spec(OptimizerKind::Sgd);
    // Without dropout and with stored statistics, one step on one batch, and a rate so small that
    // nothing moves: the loss is that of the logits.
    (spec.epochs, spec.batch_size, spec.plateau) = (1, 100, None);
    spec.optimizer.learning_rate = 1e-30;
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
    let logits = lab.predict(&still.unwrap().parameters, &train).unwrap();
    let loss = |weights: [f64; 3]| {
        let rows = logits.logits.chunks(logits.classes).zip(labels);
        let losses = rows.map(|(row, label)| {
            let p = ftsurgery::training::softmax(row)[label as usize];
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
        let (found, expected) = (outcome.epochs[0].loss, loss(weights));
        assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        validations.push(outcome.validation().unwrap().loss.to_bits());
    }
    assert!((loss([1.0; 3]) - loss([8.0 / 12.0, 8.0 / 9.0, 8.0 / 3.0])).abs() > 1e-3);
    assert_eq!(validations[0], validations[1]);
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
            (spec.batch_size, spec.optimizer.learning_rate) = (batch, rate);
            (spec.early_stopping, spec.plateau) = (None, None);
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
