//! Filters that move in groups.

use ftsurgery::surgery::rewrite::{AdaFilter, FilterGate, GateStart};
use ftsurgery::surgery::{HeadKind, HeadSpec, Rewrite, graft};
use ftsurgery::training::{
    BatchNormMode, ClassWeights, Lab, OptimizerKind, Schedule, TrainingError, TrialSpec,
};

use crate::bed::{Bed, features};
use crate::recipe::{checkpoint, resumed};
use crate::scene::*;
use crate::support::*;

fn bed() -> Option<Bed> {
    let head = HeadSpec::new(HeadKind::Linear, 3, 7);
    Bed::of(|model| graft(model, Some(&features()), &head).unwrap())
}

fn spec(bed: &Bed, kind: OptimizerKind, groups: Option<usize>) -> TrialSpec {
    let layers = (1..=3).flat_map(|i| ["w", "scale", "bias"].map(|part| format!("c{i}.{part}")));
    let head = bed.network.head_parameters.iter().cloned();
    let mut spec = TrialSpec {
        trainable: layers.chain(head).collect(),
        epochs: 4,
        batch_norm: BatchNormMode::Frozen,
        class_weights: ClassWeights::None,
        early_stopping: None,
        schedule: Schedule::Constant,
        group_filters: groups,
        ..bed.spec(kind)
    };
    spec.optimizer.weight_decay = 0.1;
    spec
}

/// How each parameter moved.
fn moved(bed: &Bed, lab: &Lab<'_>, spec: &TrialSpec) -> Vec<(String, Vec<f32>)> {
    let features = lab.features(spec.trained(), &bed.train, &mut ()).unwrap();
    let trained = |epochs| {
        let spec = TrialSpec {
            epochs,
            ..spec.clone()
        };
        let ended = lab.run(&spec, &bed.train, &[], &features, None, &mut ());
        ended.unwrap().parameters
    };
    let pairs = trained(0).into_iter().zip(trained(spec.epochs));
    let moved = pairs.map(|((name, a), (_, b))| {
        let moved = a.iter().zip(&b).map(|(a, b)| b - a);
        (name, moved.collect())
    });
    moved.collect()
}

/// The filters that moved alike, each by the first of its kind.
fn kinds(moved: &[f32], filters: usize) -> Vec<usize> {
    let filters: Vec<&[f32]> = moved.chunks(moved.len() / filters).collect();
    let alike = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5);
    let first = |filter: &&[f32]| filters.iter().position(|f| alike(f, filter)).unwrap();
    filters.iter().map(first).collect()
}

fn distinct(kinds: &[usize]) -> usize {
    kinds
        .iter()
        .enumerate()
        .filter(|(at, kind)| at == *kind)
        .count()
}

#[test]
fn the_filters_of_a_group_keep_their_distances() {
    let Some(bed) = bed() else { return };
    let lab = bed.lab();
    for kind in [
        OptimizerKind::Sgd,
        OptimizerKind::Adam,
        OptimizerKind::Adamw,
    ] {
        for (count, l2_sp) in [(1, None), (3, None), (3, Some(0.5))] {
            let grouped = TrialSpec {
                l2_sp,
                ..spec(&bed, kind, Some(count))
            };
            let found = moved(&bed, &lab, &grouped);
            for (i, filters) in [(1, 6), (2, 8), (3, 8)] {
                let of = |part: &str| {
                    let name = format!("c{i}.{part}");
                    let (_, moved) = found.iter().find(|p| p.0 == name).unwrap();
                    assert!(moved.iter().any(|m| m.abs() > 1e-4), "{name} has not moved");
                    kinds(moved, filters)
                };
                let of_weight = of("w");
                // All of a layer in one, or three that are not the same for all layers.
                assert_eq!(distinct(&of_weight), count, "{kind}: {of_weight:?}");
                assert_eq!(of("scale"), of_weight, "{kind}, c{i}");
                assert_eq!(of("bias"), of_weight, "{kind}, c{i}");
            }
            // The head has none.
            let (name, head) = found
                .iter()
                .find(|p| bed.network.head_parameters.contains(&p.0))
                .unwrap();
            assert!(distinct(&kinds(head, head.len() / 3)) > 3, "{name}");
        }
        let free = moved(&bed, &lab, &spec(&bed, kind, None));
        let weight = &free.iter().find(|p| p.0 == "c2.w").unwrap().1;
        assert_eq!(distinct(&kinds(weight, 8)), 8, "{kind}");
        // As many groups as filters are none; c1 has six, c3 eight.
        let some = moved(&bed, &lab, &spec(&bed, kind, Some(6)));
        let distinct = |name: &str, filters| {
            let (_, moved) = some.iter().find(|p| p.0 == name).unwrap();
            distinct(&kinds(moved, filters))
        };
        assert_eq!((distinct("c1.w", 6), distinct("c3.w", 8)), (6, 6));
    }
}

#[test]
fn the_tuned_copies_of_filters_are_in_their_groups() {
    let Some(bed) = bed() else { return };
    let lab = bed.lab();
    let copy = "ftsurgery/adafilter/c2.w/weight";
    let plain = spec(&bed, OptimizerKind::Adamw, Some(3));
    let mut trainable = vec![copy.to_owned()];
    trainable.extend(bed.network.head_parameters.iter().cloned());
    let gated = TrialSpec {
        trainable,
        rewrite: Rewrite::AdaFilter(AdaFilter {
            weights: vec!["c2.w".to_owned()],
            gate: FilterGate::Ones,
            start: GateStart::Tuned,
            width: 2,
            share: None,
            seed: 1,
            dependent: None,
        }),
        ..plain.clone()
    };
    let of = |spec: &TrialSpec, name: &str| {
        let found = moved(&bed, &lab, spec);
        let (_, moved) = found.iter().find(|p| p.0 == name).unwrap();
        kinds(moved, 8)
    };
    let own = of(&plain, "c2.w");
    assert_eq!(distinct(&own), 3);
    assert_eq!(of(&gated, copy), own);
}

#[test]
fn a_trial_of_groups_goes_on_to_the_same_bits() {
    let Some(bed) = Bed::new() else { return };
    for kind in [OptimizerKind::Sgd, OptimizerKind::Adamw] {
        let spec = TrialSpec {
            epochs: 4,
            early_stopping: None,
            group_filters: Some(3),
            ..bed.spec(kind)
        };
        resumed(&bed, &spec);
    }
}

#[test]
fn a_checkpoint_of_other_groups_is_of_another_trial() {
    let Some(bed) = bed() else { return };
    let (lab, to) = (bed.lab(), checkpoint(&bed));
    let first = spec(&bed, OptimizerKind::Adamw, Some(3));
    bed.run(&lab, &first, Some(&to), &mut ()).unwrap();
    for (other, said) in [
        (Some(2), "group_filters was 3 and is 2"),
        (None, "group_filters was 3 and is null"),
    ] {
        let other = TrialSpec {
            group_filters: other,
            ..first.clone()
        };
        let error = bed.run(&lab, &other, Some(&to), &mut ()).unwrap_err();
        assert!(matches!(error, TrainingError::Checkpoint { .. }), "{error}");
        assert!(error.to_string().contains(said), "{error}");
    }
}

#[test]
fn a_run_of_groups_is_the_same_killed_and_in_other_processes() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    let settings = "--preprocess signed --search-fraction 0.4 --train-fraction 0.4 --epochs 12 --search-epochs 2 \
                    --strategies full,blocks --lr 1e-2 --group-filters 3 --l2-sp 0.2 --checkpoint-every 0";
    let whole = scene.whole(settings);
    let mut child = scene.start("killed", settings);
    std::thread::sleep(whole.mul_f64(0.6));
    child.kill().unwrap();
    child.wait().unwrap();
    succeeds(match scene.at("killed/run.json").is_file() {
        true => scene.resume("killed", &[]),
        false => scene.start("killed", settings),
    });
    assert_same_outcome(&scene.at("whole"), &scene.at("killed"));
    let lines = crate::elsewhere::plan(&scene, "elsewhere", settings);
    crate::elsewhere::to_the_end(&scene, "elsewhere", lines);
    crate::elsewhere::assert_same_results(&scene.at("whole"), &scene.at("elsewhere"));
    // Without groups it is another run.
    let (code, text) = said(scene.resume("whole", &["--group-filters", "4"]));
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("--group-filters"), "{text}");
}
