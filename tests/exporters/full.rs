//! What `full` trains, and whose it is.

use std::collections::BTreeSet;

use ftsurgery::analysis::{Analysis, AnalyzeOptions};
use ftsurgery::data::Layout;
use ftsurgery::graph::{Graph, normalise};
use ftsurgery::runtime::testing::runtime;
use ftsurgery::strategy::{Candidate, Network, StrategyName};
use ftsurgery::surgery::HeadKind;

use super::case::Case;
use super::{open, trainable};

/// What `full` trains of a network with its own head, and the analysis it comes from.
fn full(case: &Case) -> (Vec<String>, Analysis) {
    let options = AnalyzeOptions {
        image_size: match case.input.layout {
            Layout::Nchw => Some((case.sample[1], case.sample[2])),
            Layout::Nhwc => Some((case.sample[0], case.sample[1])),
        },
        ..AnalyzeOptions::default()
    };
    let analysis = Analysis::of(&case.model, &options).unwrap();
    let selection = ["*".to_owned()];
    let network = Network {
        selection: &selection,
        ..Network::new(&analysis, &case.grafted(), HeadKind::Keep).unwrap()
    };
    let [full] = &StrategyName::FULL.candidates(&network).unwrap()[..] else {
        panic!("one candidate")
    };
    let [all] = &StrategyName::SELECT.candidates(&network).unwrap()[..] else {
        panic!("one candidate")
    };
    assert_eq!(full.trainable, all.trainable);
    (full.trainable.clone(), analysis)
}

#[test]
fn full_trains_exactly_the_tensors_that_the_loss_depends_on() {
    // Besides single numbers, what the loss depends on and no training may change; the last are the ones and
    // zeros in place of a scale and shift that standardised filters have not.
    let constants = [
        "pixel_",
        "mask",
        "bn.mean",
        "bn.var",
        "norm1.running",
        "norm2.running",
        "/first/Constant_",
    ];
    let runtime = runtime();
    for (name, entry) in trainable() {
        let case = Case::open(open(&name), &entry, None);
        let (trained, analysis) = full(&case);
        let set: BTreeSet<&str> = trained.iter().map(String::as_str).collect();
        let expected = entry["parameters"].as_array().unwrap().iter();
        let expected: BTreeSet<&str> = expected.map(|p| p.as_str().unwrap()).collect();
        assert_eq!(set, expected, "{name}");
        let by_gradients = case.parameters().unwrap();
        let by_gradients: BTreeSet<&str> = by_gradients.iter().map(String::as_str).collect();
        assert_eq!(set, by_gradients, "{name}: --train and --wrt mean the same");

        let mut graph = Graph::from_model(&case.model).unwrap();
        normalise(&mut graph).unwrap();
        let counted: usize = trained.iter().map(|n| graph.initializers[n].len()).sum();
        assert_eq!(analysis.totals.parameters, counted, "{name}");
        let Some(runtime) = &runtime else { continue };
        let before = case.loss(runtime, &case.model);
        let original = Graph::from_model(&case.model).unwrap();
        let nodes = original.nodes.iter().filter(|n| n.is("Constant"));
        let stored: Vec<String> = original
            .initializers
            .keys()
            .cloned()
            .chain(nodes.map(|n| n.outputs[0].clone()))
            .filter(|n| graph.initializers[n].dtype.is_float())
            .collect();
        for tensor in stored {
            let changed: Vec<f32> = graph.initializers[&tensor].to_f32().unwrap();
            let single = changed.len() == 1;
            let changed = changed.iter().enumerate();
            let changed = changed
                .map(|(i, v)| v + 0.3 + 0.05 * (i % 7) as f32)
                .collect();
            let tuned = [(tensor.clone(), changed)];
            // Some settings allow no other value.
            let changed = case.try_loss(runtime, &case.emitted(&tuned));
            let matters = changed.is_ok_and(|loss| (loss - before).abs() > 1e-9);
            let constant = constants.iter().any(|c| tensor.contains(c));
            if set.contains(tensor.as_str()) {
                assert!(matters, "{name}: `{tensor}` is trained in vain");
            } else if matters {
                assert!(single || constant, "{name}: `{tensor}` is left out");
            }
        }
    }
}

#[test]
fn layers_own_the_biases_and_scales_beside_them_and_blocks_the_rest() {
    let owned = |name: &str, layer: &str| {
        let (_, entry) = trainable().find(|(n, _)| n == name).unwrap();
        let (_, analysis) = full(&Case::open(open(name), &entry, None));
        let blocks = analysis.blocks.iter();
        let tensors = blocks.flat_map(|b| analysis.tensors(b));
        let names = tensors.filter(|(_, l, _)| l.map_or("", |l| &l.name) == layer);
        names.map(|(n, ..)| n.to_owned()).collect::<Vec<String>>()
    };
    let node = |name: &str, weight: &str| {
        let graph = Graph::from_model(&open(name)).unwrap();
        let mut nodes = graph.nodes.iter();
        let reader = nodes.find(|n| n.inputs.iter().any(|i| i == weight));
        reader.unwrap().name.clone()
    };
    let of = |name: &str, weight: &str| owned(name, &node(name, weight));
    let vit = "vision_transformer";
    assert_eq!(owned(vit, ""), ["token", "places", "relative"]);
    assert_eq!(
        of(vit, "qkv.weight"),
        ["norm1.weight", "norm1.bias", "qkv.weight", "qkv.bias"]
    );
    assert_eq!(
        of(vit, "join.weight"),
        ["join.weight", "join.bias", "scale1"]
    );
    assert_eq!(
        of(vit, "down.weight"),
        [
            "down.weight",
            "down.bias",
            "scale2",
            "norm.weight",
            "norm.bias"
        ]
    );
    let next = "convnext";
    assert_eq!(owned(next, ""), ["block.gain"]);
    assert_eq!(
        of(next, "depth.weight"),
        ["depth.weight", "depth.bias", "norm.weight", "norm.bias"]
    );
    assert_eq!(
        of(next, "down.weight"),
        ["down.weight", "down.bias", "gamma"]
    );
    assert_eq!(owned("torch_newer_token", ""), ["token", "places"]);
}

#[test]
fn what_no_layer_owns_trains_wherever_all_layers_of_its_block_do() {
    let (_, entry) = trainable()
        .find(|(n, _)| n == "vision_transformer")
        .unwrap();
    let case = Case::open(open("vision_transformer"), &entry, None);
    let (_, analysis) = full(&case);
    let network = Network::new(&analysis, &case.grafted(), HeadKind::Keep).unwrap();
    let with_token = |strategy: StrategyName| {
        let candidates = strategy.candidates(&network).unwrap();
        let trains = |c: &&Candidate| {
            let all = ["token", "places", "relative"];
            let count = all
                .iter()
                .filter(|n| c.trainable.iter().any(|t| t == *n))
                .count();
            assert!(count == 0 || count == 3, "{c:?}");
            count == 3
        };
        let some = candidates.iter().filter(trains);
        some.map(|c| c.label.clone()).collect::<Vec<_>>()
    };
    // Patches, q k v, join and up are the first block; down is the second.
    assert_eq!(with_token(StrategyName::BLOCKS), ["block1"]);
    assert_eq!(with_token(StrategyName::LAYERS), [""; 0]);
    assert_eq!(with_token(StrategyName::windows(4)), ["layers 1 to 4"]);
    assert_eq!(with_token(StrategyName::HEAD), [""; 0]);
}
