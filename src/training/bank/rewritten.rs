//! Trials of rewritten networks in a bank.

use super::scene::{BANK, Scene, apart, network};
use super::*;
use crate::surgery::Rewrite;
use crate::surgery::rewrite::{GateStart, GatedBlock, LowRank, Policy, PolicyInput, SpotTune};
use crate::training::BatchNormMode;

/// Counts the stages that are computed.
#[derive(Default)]
struct Count(usize);

impl Observer for Count {
    fn features(&mut self, done: usize, _: usize) -> Result<(), TrainingError> {
        self.0 += usize::from(done == 0);
        Ok(())
    }
}

#[test]
fn trials_of_several_rewrites_share_the_stages_and_get_the_values_they_have_alone() {
    let Some(scene) = Scene::new(network(), 20, 8) else {
        return;
    };
    let lab = scene.lab(|_| ());
    let own = |names: &[&str]| -> Vec<String> { names.iter().map(|&n| n.to_owned()).collect() };
    let low_rank = Rewrite::LowRank(LowRank {
        weights: own(&["c3.w"]),
        rank: 2,
        alpha: 2,
        seed: 1,
    });
    let [gated, of_pixels] =
        [(Policy::Features, "wide", 8), (Policy::Conv, "x", 3)].map(|(policy, value, channels)| {
            Rewrite::SpotTune(SpotTune {
                blocks: vec![GatedBlock {
                    name: "last".to_owned(),
                    from: "wide".to_owned(),
                    to: "c5".to_owned(),
                    rank: 4,
                }],
                policy,
                reads: PolicyInput {
                    value: value.to_owned(),
                    rank: 4,
                    channels,
                    channels_last: false,
                },
                width: 2,
                start: GateStart::Half,
                seed: 1,
            })
        });
    let update = LowRank::parameters_of("c3.w").to_vec();
    let gate = own(&["ftsurgery/spottune/policy/tuned/bias"]);
    let sets = [
        (&Rewrite::None, own(&["c3.w"])),
        // The same boundary, in other networks.
        (&low_rank, own(&["c3.w"])),
        (&gated, own(&["c3.w"])),
        // What the layer makes is frozen beside what it reads.
        (&low_rank, update),
        (&gated, gate.clone()),
        // Before what is trained here, a layer is rewritten.
        (&gated, own(&["fc.w"])),
        (&Rewrite::None, own(&["fc.w"])),
        // A policy that looks at the pixels has them beside what is frozen.
        (&of_pixels, gate),
    ];
    let trained = sets.iter().map(|(rewrite, parameters)| Trained {
        parameters,
        batch_norm: BatchNormMode::Frozen,
        rewrite,
    });
    let trained: Vec<Trained<'_>> = trained.collect();
    let all: Vec<usize> = (0..scene.dataset.len()).collect();
    let bank = |sets: &[Trained<'_>]| FeatureBank::new(&lab, sets, &all, &[], BANK).unwrap();
    let shared = bank(&trained);
    let names = |set: usize| shared.names(shared.stage_of(set).unwrap()).to_vec();
    let plain = own(&["second", "first", "colour"]);
    assert_eq!(
        [names(0), names(1), names(2)],
        [plain.clone(), plain.clone(), plain]
    );
    assert_eq!(names(3), own(&["second", "c3", "first", "colour"]));
    assert_eq!(names(4), own(&["wide", "c5", "colour"]));
    assert_eq!(names(5), names(4), "and not what the gate makes of it");
    assert_eq!(names(6), own(&["all"]));
    assert_eq!(names(7), own(&["x", "wide", "c5", "colour"]));
    assert_eq!(shared.stages(), 5);
    let mut count = Count::default();
    let mut held = Vec::new();
    for set in 0..trained.len() {
        held.push(
            shared
                .features(shared.stage_of(set).unwrap(), &mut count)
                .unwrap(),
        );
    }
    assert_eq!(count.0, 5, "each stage is computed once");
    let read = |bank: &FeatureBank<'_>, set: usize| {
        bank.read(bank.stage_of(set).unwrap(), &all, Pass::Plain)
    };
    for (set, trained) in trained.iter().enumerate() {
        let stage = shared.stage_of(set).unwrap();
        let direct = shared.direct(stage, &all, Pass::Plain);
        assert!(
            apart(&read(&shared, set), &direct) < 1e-6,
            "{:?}",
            names(set)
        );
        let alone = read(&bank(&[*trained]), 0);
        assert!(
            apart(&read(&shared, set), &alone) < 1e-6,
            "{:?}",
            names(set)
        );
    }
    // An unchanged and a rewritten candidate that begin at the same values have them to the bit as when alone.
    let pair = bank(&trained[..2]);
    assert_eq!(pair.stages(), 1);
    for set in 0..2 {
        let alone = bank(&trained[set..=set]);
        assert!(read(&pair, set) == read(&alone, 0));
    }
}
