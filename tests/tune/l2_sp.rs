//! Decay to the pretrained values.

use std::collections::HashMap;

use ftsurgery::surgery::{HeadKind, HeadSpec, Rewrite, graft};
use ftsurgery::training::{
    BatchNormMode, ClassWeights, Lab, OptimizerKind, Schedule, Start, TrialSpec,
};

use crate::bed::{Bed, features};
use crate::recipe::resumed;

type Values = Vec<(String, Vec<f32>)>;

/// Training of the last block under a head of this kind, in which nothing is drawn.
fn bed(kind: HeadKind) -> Option<Bed> {
    let head = HeadSpec::new(kind, 3, 7);
    Bed::of(|model| graft(model, Some(&features()), &head).unwrap())
}

fn spec(bed: &Bed, kind: OptimizerKind) -> TrialSpec {
    let mut spec = TrialSpec {
        batch_norm: BatchNormMode::Frozen,
        class_weights: ClassWeights::None,
        early_stopping: None,
        schedule: Schedule::Constant,
        // One step an epoch.
        batch_size: 20,
        l2_sp: Some(0.7),
        ..bed.spec(kind)
    };
    spec.optimizer.momentum = 0.0;
    spec.optimizer.weight_decay = 0.3;
    spec.optimizer.learning_rate = 0.05.into();
    spec
}

/// The parameters after so many steps.
fn trained(bed: &Bed, lab: &Lab<'_>, spec: &TrialSpec, epochs: usize) -> Values {
    let spec = TrialSpec {
        epochs,
        ..spec.clone()
    };
    let features = lab.features(spec.trained(), &bed.train, &mut ()).unwrap();
    let ended = lab.run(&spec, &bed.train, &[], &features, None, &mut ());
    ended.unwrap().parameters
}

/// Of plain descent: three steps by the gradients of the same network, one by one.
#[test]
fn what_was_pretrained_decays_to_where_it_began_and_a_new_head_to_0() {
    let Some(bed) = bed(HeadKind::Linear) else {
        return;
    };
    let lab = bed.lab();
    let spec = spec(&bed, OptimizerKind::Sgd);
    let first = trained(&bed, &lab, &spec, 0);
    let is_head = |name: &String| bed.network.head_parameters.contains(name);
    assert!(first.iter().any(|p| is_head(&p.0)) && first.iter().any(|p| !is_head(&p.0)));
    let mut expected = first.clone();
    for _ in 0..3 {
        let start = Start::new(expected.clone());
        let (_, gradients) = lab.gradients(spec.trained(), &start, &bed.train).unwrap();
        for (i, (name, values)) in expected.iter_mut().enumerate() {
            for (j, p) in values.iter_mut().enumerate() {
                let decay = match is_head(name) {
                    true => 0.3 * *p,
                    false => 0.7 * (*p - first[i].1[j]),
                };
                *p -= 0.05 * (gradients[i].values[j] + decay);
            }
        }
    }
    let found = trained(&bed, &lab, &spec, 3);
    let plain = trained(
        &bed,
        &lab,
        &TrialSpec {
            l2_sp: None,
            ..spec
        },
        3,
    );
    for (i, (name, values)) in found.iter().enumerate() {
        let apart = |others: &Values| {
            let pairs = values.iter().zip(&others[i].1);
            pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
        };
        assert!(apart(&expected) < 1e-5, "{name}: {}", apart(&expected));
        assert!(apart(&plain) > 1e-4, "{name}: {}", apart(&plain));
    }
}

/// A strong pull leaves next to nothing of what would else be learned, wherever the trial begins.
#[test]
fn a_strong_pull_holds_what_was_pretrained_also_in_a_kept_head() {
    for kind in [HeadKind::Linear, HeadKind::Keep] {
        let Some(bed) = bed(kind) else { return };
        let lab = bed.lab();
        let mut pulled = spec(&bed, OptimizerKind::Adamw);
        // A step goes a rate η against the pull and the next pulls η α of it back.
        pulled.l2_sp = Some(10.0);
        let first: HashMap<String, Vec<f32>> =
            trained(&bed, &lab, &pulled, 0).into_iter().collect();
        let moved = |found: &Values, of_head: bool| {
            let own = found
                .iter()
                .filter(|p| bed.network.head_parameters.contains(&p.0) == of_head);
            let moved = own.flat_map(|(name, now)| {
                let pairs = first[name].iter().zip(now);
                pairs.map(|(a, b)| (a - b).abs()).collect::<Vec<_>>()
            });
            moved.fold(0.0, f32::max)
        };
        let free = TrialSpec {
            l2_sp: None,
            ..pulled.clone()
        };
        let free = trained(&bed, &lab, &free, 20);
        let held = trained(&bed, &lab, &pulled, 20);
        assert!(moved(&free, false) > 0.3, "{}", moved(&free, false));
        assert!(moved(&held, false) < 0.15, "{}", moved(&held, false));
        let of_head = moved(&held, true);
        assert_eq!(of_head < 0.15, kind == HeadKind::Keep, "{of_head}");
    }
}

/// To the values of the model, and not to those of the checkpoint that a trial goes on from.
#[test]
fn a_trial_that_goes_on_is_pulled_to_where_it_began() {
    let Some(bed) = Bed::new() else { return };
    for kind in [OptimizerKind::Sgd, OptimizerKind::Adamw] {
        let mut spec = TrialSpec {
            epochs: 5,
            early_stopping: None,
            l2_sp: Some(0.9),
            ..bed.spec(kind)
        };
        spec.rewrite = Rewrite::None;
        resumed(&bed, &spec);
    }
}
