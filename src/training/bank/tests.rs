use std::collections::HashSet;
use std::num::NonZeroUsize;

use super::scene::{BANK, Scene, apart, copies, network, references};
use super::*;
use crate::data::FeaturePrecision;
use crate::runtime::Buffer;
use crate::training::BatchNormMode;

/// Holds every stage against the direct prefix, and against itself computed with nothing kept.
fn check(scene: &Scene, lab: &Lab<'_>, batch_norm: BatchNormMode) {
    let samples: Vec<usize> = (0..scene.dataset.len()).rev().collect();
    let in_order = scene.bank(lab, batch_norm);
    let mut kept = 0;
    for stage in 0..in_order.stages() {
        let values = in_order.read(stage, &samples, Pass::Plain);
        let direct = in_order.direct(stage, &samples, Pass::Plain);
        let difference = apart(&values, &direct);
        let names = in_order.names(stage);
        assert!(difference < 1e-6, "{names:?}: {difference:e}");
        let alone = scene.bank(lab, batch_norm);
        assert_eq!(alone.names(stage), names);
        let values_alone = alone.read(stage, &samples, Pass::Plain);
        assert!(values == values_alone, "{names:?} depends on what is kept");
        kept += usize::from(alone.stages.stages[stage].parent.is_some());
    }
    assert!(kept > 0, "no stage follows from another");
}

#[test]
fn stages_hold_what_the_prefix_computes_whatever_is_kept() {
    let Some(scene) = Scene::new(network(), 37, 8) else {
        return;
    };
    for batch_norm in [BatchNormMode::Frozen, BatchNormMode::Batch] {
        check(&scene, &scene.lab(|_| ()), batch_norm);
    }
}

#[test]
fn a_stage_follows_the_nearest_that_determines_it() {
    let Some(scene) = Scene::new(network(), 4, 8) else {
        return;
    };
    let lab = scene.lab(|_| ());
    let bank = scene.bank(&lab, BatchNormMode::Frozen);
    let find = |values: &[&str]| {
        let wanted: HashSet<&str> = values.iter().copied().collect();
        let is = |s: &Stage| s.values.iter().map(String::as_str).collect::<HashSet<_>>() == wanted;
        bank.stages.stages.iter().position(is).unwrap_or_else(|| {
            let all: Vec<_> = bank.stages.stages.iter().map(|s| &s.values).collect();
            panic!("{values:?} is not among {all:?}")
        })
    };
    let parent = |values: &[&str]| bank.stages.stages[find(values)].parent;
    // The colours bypass every layer, and what c1 makes all up to c5.
    assert_eq!(parent(&["x", "colour"]), None);
    let first = ["first", "colour"];
    assert_eq!(parent(&first), Some(find(&["x", "colour"])));
    let second = ["second", "first", "colour"];
    assert_eq!(parent(&second), Some(find(&first)));
    let gate = ["sum", "pooled", "first", "colour"];
    assert_eq!(parent(&gate), Some(find(&second)));
    assert_eq!(parent(&["wide", "colour"]), Some(find(&gate)));
    assert_eq!(parent(&["all"]), Some(find(&["wide", "colour"])));
    let of = |name: &str| {
        let set = scene.sets.iter().position(|s| *s == [name]).unwrap();
        bank.stage_of(set).unwrap()
    };
    assert_eq!(of("c3.w"), find(&second));
    assert_eq!(of("c2.scale"), of("c2.w"));
    assert_eq!(of("fc.w"), bank.stages() - 1);
    assert_eq!(bank.stage_of(scene.sets.len() - 1), Some(of("c1.w")));
    assert_eq!(bank.stage_of(scene.sets.len()), None);
    for (at, stage) in bank.stages.stages.iter().enumerate() {
        assert!(stage.parent.is_none_or(|p| p < at));
    }
    // With the statistics of the batch, what is normalised is frozen where the norm is trained.
    let bank = scene.bank(&lab, BatchNormMode::Batch);
    let set = scene.sets.iter().position(|s| *s == ["c2.scale"]).unwrap();
    let names = bank.names(bank.stage_of(set).unwrap());
    assert!(names.contains(&"c2".to_owned()), "{names:?}");
}

#[test]
fn stages_of_real_architectures_hold_what_the_prefix_computes() {
    for (path, model) in references() {
        println!("{}", path.display());
        let Some(scene) = Scene::new(model, 18, 32) else {
            return;
        };
        check(&scene, &scene.lab(|_| ()), BatchNormMode::Frozen);
    }
}

#[test]
fn a_budget_sends_stores_to_files_and_changes_no_value() {
    let Some(scene) = Scene::new(network(), 20, 8) else {
        return;
    };
    let samples: Vec<usize> = (0..20).collect();
    let roomy_lab = scene.lab(|_| ());
    let roomy = scene.bank(&roomy_lab, BatchNormMode::Frozen);
    // The widest stages take 15 to 30 kB of these samples.
    let mut ways = HashSet::new();
    for budget in [0, 20_000, 60_000] {
        let lab = scene.lab(|o| o.memory_budget = budget);
        let bank = scene.bank(&lab, BatchNormMode::Frozen);
        let mut held = Vec::new();
        for stage in 0..bank.stages() {
            held.push(bank.features(stage, &mut ()).unwrap());
            let values = bank.read(stage, &samples, Pass::Plain);
            let expected = roomy.read(stage, &samples, Pass::Plain);
            assert!(apart(&values, &expected) < 1e-6);
            assert!(lab.budget.used() <= budget);
            ways.insert(match held[stage].store() {
                Some(store) if store.is_spilled() => "file",
                Some(_) => "memory",
                None => "live",
            });
        }
        drop(held);
        drop(bank);
        assert_eq!(lab.budget.used(), 0, "the budget is given back");
    }
    assert_eq!(ways, HashSet::from(["file", "memory", "live"]));
}

#[test]
fn a_stage_is_recomputed_only_where_that_is_cheaper_than_reading() {
    let room = |budget| Room {
        rows: 10,
        precision: FeaturePrecision::F32,
        budget,
    };
    // 4 bytes at 500 MB/s take as long as 80 multiply-accumulates at 10 G/s.
    let lens = [300, 700];
    assert!(room(40_000).keeps(&lens, 0), "what fits is kept");
    assert!(!room(39_999).keeps(&lens, 79_999));
    assert!(room(39_999).keeps(&lens, 80_000));
    let half = Room {
        precision: FeaturePrecision::F16,
        ..room(20_000)
    };
    assert!(half.keeps(&lens, 0));
}

#[test]
fn trials_side_by_side_get_the_right_values() {
    let Some(scene) = Scene::new(network(), 20, 8) else {
        return;
    };
    let samples: Vec<usize> = (0..20).collect();
    for budget in [0, 30_000, 1 << 30] {
        let lab = scene.lab(|o| o.memory_budget = budget);
        let bank = scene.bank(&lab, BatchNormMode::Frozen);
        let alone = scene.bank(&lab, BatchNormMode::Frozen);
        let expected: Vec<_> = (0..bank.stages())
            .map(|s| alone.read(s, &samples, Pass::Plain))
            .collect();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (bank, expected, samples) = (&bank, &expected, &samples);
                scope.spawn(move || {
                    for turn in 0..bank.stages() * 3 {
                        let stage = (turn * (thread + 1) + thread) % bank.stages();
                        let values = bank.read(stage, samples, Pass::Plain);
                        assert!(values == expected[stage], "stage {stage}");
                    }
                });
            }
        });
    }
}

#[test]
fn a_stage_that_exists_is_shared_and_the_last_is_the_base_of_the_next() {
    let Some(scene) = Scene::new(network(), 6, 8) else {
        return;
    };
    let lab = scene.lab(|_| ());
    let bank = scene.bank(&lab, BatchNormMode::Frozen);
    let last = bank.stages() - 1;
    let first = bank.features(last, &mut ()).unwrap();
    assert!(Arc::ptr_eq(&first, &bank.features(last, &mut ()).unwrap()));
    let alone = lab.budget.used();
    drop(first);
    assert_eq!(lab.budget.used(), alone, "the last one is kept");
    let before = bank.features(last - 1, &mut ()).unwrap();
    let store = before.store().unwrap().bytes();
    assert_eq!(lab.budget.used(), store, "what no one has is dropped");
    assert!(bank.features(bank.stages(), &mut ()).is_err());
}

#[test]
fn an_observer_that_stops_leaves_the_bank_usable() {
    struct Stop(usize);
    impl Observer for Stop {
        fn features(&mut self, done: usize, _: usize) -> Result<(), TrainingError> {
            match done >= self.0 {
                true => Err(TrainingError::Stopped),
                false => Ok(()),
            }
        }
    }
    let Some(scene) = Scene::new(network(), 37, 8) else {
        return;
    };
    let lab = scene.lab(|_| ());
    let bank = scene.bank(&lab, BatchNormMode::Frozen);
    let last = bank.stages() - 1;
    let stopped = bank.features(last, &mut Stop(16));
    assert!(matches!(stopped, Err(TrainingError::Stopped)));
    assert_eq!(lab.budget.used(), 0);
    assert!(bank.features(last, &mut Stop(38)).is_ok());
}

#[test]
fn half_floats_are_rounded_on_the_way_whatever_is_kept() {
    let Some(scene) = Scene::new(network(), 20, 8) else {
        return;
    };
    let lab = scene.lab(|o| o.feature_precision = FeaturePrecision::F16);
    let samples: Vec<usize> = (0..20).collect();
    let bank = scene.bank(&lab, BatchNormMode::Frozen);
    let mut rounded = 0;
    for stage in 0..bank.stages() {
        let values = bank.read(stage, &samples, Pass::Plain);
        let alone = scene.bank(&lab, BatchNormMode::Frozen);
        assert!(values == alone.read(stage, &samples, Pass::Plain));
        let mut again = values.clone();
        again
            .iter_mut()
            .for_each(|v| FeaturePrecision::F16.round(v));
        assert!(values == again, "what is kept has 16 bits");
        let direct = bank.direct(stage, &samples, Pass::Plain);
        let difference = apart(&values, &direct);
        assert!(difference < 2e-3, "{difference:e}");
        rounded += usize::from(difference > 1e-5);
    }
    assert!(rounded > 2);
}

#[test]
fn each_epoch_augments_training_samples_anew_and_no_others() {
    let Some(scene) = Scene::new(network(), 12, 8) else {
        return;
    };
    let lab = scene.lab(|o| o.augment = Augment::Standard);
    let plain_lab = scene.lab(|_| ());
    let bank = scene.bank(&lab, BatchNormMode::Frozen);
    let plain = scene.bank(&plain_lab, BatchNormMode::Frozen);
    let (train, validation): (Vec<usize>, Vec<usize>) = (0..12).partition(|&i| i < 8);
    for stage in 0..bank.stages() {
        let epoch = |epoch| bank.read(stage, &train, Pass::Train { epoch });
        let first = epoch(1);
        assert!(first == epoch(1));
        assert!(first != epoch(2) && first != epoch(3));
        assert!(
            apart(
                &first,
                &bank.direct(stage, &train, Pass::Train { epoch: 1 })
            ) < 1e-6
        );
        assert!(first != plain.read(stage, &train, Pass::Plain));
        let watched = bank.read(stage, &validation, Pass::Plain);
        let expected = plain.read(stage, &validation, Pass::Plain);
        assert!(apart(&watched, &expected) < 1e-6);
        let store = bank.features(stage, &mut ()).unwrap();
        assert_eq!(store.store().map(FeatureStore::rows), Some(4));
    }
    let note = bank.note().unwrap();
    assert!(note.contains("--augment standard") && note.contains("--views"));
    assert_eq!(plain.note(), None);
    let other = FeatureBank::new(
        &lab,
        &scene.trained(BatchNormMode::Frozen),
        &train,
        &validation,
        BankOptions { seed: 8, ..BANK },
    )
    .unwrap();
    let epoch = Pass::Train { epoch: 1 };
    assert!(other.read(0, &train, epoch) != bank.read(0, &train, epoch));
}

#[test]
fn views_are_kept_and_taken_in_turn() {
    let Some(scene) = Scene::new(network(), 12, 8) else {
        return;
    };
    let lab = scene.lab(|o| {
        o.augment = Augment::Flip;
        o.views = NonZeroUsize::new(3);
    });
    let bank = scene.bank(&lab, BatchNormMode::Frozen);
    assert_eq!(bank.note(), None);
    let train: Vec<usize> = (0..8).collect();
    for stage in 0..bank.stages() {
        let epoch = |epoch| bank.read(stage, &train, Pass::Train { epoch });
        let views = [epoch(1), epoch(2), epoch(3)];
        assert!(views[0] != views[1] && views[1] != views[2] && views[0] != views[2]);
        for (at, view) in views.iter().enumerate() {
            assert!(*view == epoch(at + 4) && *view == epoch(at + 7));
        }
        let features = bank.features(stage, &mut ()).unwrap();
        assert_eq!(features.store().map(FeatureStore::rows), Some(3 * 8 + 4));
    }
}

#[test]
fn where_the_boundary_is_the_input_its_pixels_are_augmented() {
    let Some(scene) = Scene::new(network(), 6, 8) else {
        return;
    };
    let lab = scene.lab(|o| o.augment = Augment::Flip);
    let versions = Versions {
        augmenter: Augmenter {
            augment: Augment::Flip,
            seed: 3,
        },
        ..Versions::default()
    };
    let features = Features::input(versions);
    let gather = |pass| {
        let buffer = Buffer::zeros_f32(&[6, 3, 8, 8]).unwrap();
        let buffers = [buffer];
        features
            .gather(&lab, &[0, 1, 2, 3, 4, 5], &buffers, pass)
            .unwrap();
        copies(&buffers).remove(0)
    };
    let plain = gather(Pass::Plain);
    let epoch = gather(Pass::Train { epoch: 1 });
    let mirrored: Vec<f32> = plain
        .chunks_exact(8)
        .flat_map(|row| row.iter().rev().copied())
        .collect();
    let mut flips = 0;
    for ((a, b), c) in epoch
        .chunks(192)
        .zip(plain.chunks(192))
        .zip(mirrored.chunks(192))
    {
        assert!(a == b || a == c);
        flips += usize::from(a == c);
    }
    assert!((1..6).contains(&flips), "{flips}");
}
