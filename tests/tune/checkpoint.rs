//! A trial's checkpoint: stopped and resumed, written by time, of another trial, damaged.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ftsurgery::data::{Augment, FeaturePrecision, Preprocess};
use ftsurgery::training::{
    Checkpointing, EpochMetrics, Lab, LabOptions, Observer, OptimizerKind, TrainingError, TrialSpec,
};

use crate::bed::{At, Bed, bits};

fn checkpoint(path: PathBuf) -> Checkpointing {
    Checkpointing {
        path,
        every: Duration::MAX,
        at_end: false,
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
            at_end: false,
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
fn a_checkpoint_of_other_input_is_refused_and_says_what_differs() {
    let Some(bed) = Bed::new() else { return };
    let to = checkpoint(bed.folder.path().join("checkpoint.safetensors"));
    let spec = bed.spec(OptimizerKind::Adam);
    let mut stop = Stop {
        after_step: Some(4),
        ..Stop::default()
    };
    bed.run(&bed.lab(), &spec, Some(&to), &mut stop)
        .unwrap_err();
    type Change = fn(&mut LabOptions);
    let changes: [(&str, Preprocess, Change); 4] = [
        (
            "augment was \"none\" and is \"flip\"",
            Preprocess::UNIT,
            |o| o.augment = Augment::Flip,
        ),
        ("views was null and is 3", Preprocess::UNIT, |o| {
            o.views = NonZeroUsize::new(3);
        }),
        (
            "feature precision was \"f32\" and is \"f16\"",
            Preprocess::UNIT,
            |o| o.feature_precision = FeaturePrecision::F16,
        ),
        ("preprocessing was", Preprocess::SIGNED, |_| {}),
    ];
    for (said, preprocess, change) in changes {
        let lab = bed.lab_with(preprocess, change);
        let error = bed.run(&lab, &spec, Some(&to), &mut ()).unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
        assert!(matches!(
            error,
            TrainingError::Checkpoint {
                is_damaged: false,
                ..
            }
        ));
    }
    bed.run(&bed.lab(), &spec, Some(&to), &mut ()).unwrap();
}

#[test]
fn a_flipped_bit_anywhere_in_a_checkpoint_is_noticed() {
    let Some(bed) = Bed::new() else { return };
    let lab = bed.lab();
    let to = checkpoint(bed.folder.path().join("checkpoint.safetensors"));
    let mut spec = bed.spec(OptimizerKind::Adam);
    (spec.epochs, spec.early_stopping) = (2, None);
    bed.run(&lab, &spec, Some(&to), &mut At(4)).unwrap_err();
    let good = std::fs::read(&to.path).unwrap();
    let tail = 8 + u64::from_le_bytes(good[..8].try_into().unwrap()) as usize;
    for place in (0..40).map(|i| tail + i * (good.len() - 1 - tail) / 39) {
        let mut bytes = good.clone();
        bytes[place] ^= 1 << (place % 8);
        std::fs::write(&to.path, bytes).unwrap();
        match bed.run(&lab, &spec, Some(&to), &mut ()) {
            Err(TrainingError::Checkpoint {
                is_damaged: true, ..
            }) => {}
            other => panic!("{place}: {other:?}"),
        }
    }
}

#[test]
fn damaged_checkpoints_are_refused_whatever_the_damage() {
    let Some(bed) = Bed::new() else { return };
    let lab = bed.lab();
    let to = checkpoint(bed.folder.path().join("checkpoint.safetensors"));
    let mut spec = bed.spec(OptimizerKind::Adam);
    spec.epochs = 2;
    spec.early_stopping = None;
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
        (r#"\"format\":3"#, r#"\"format\":2"#),
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
