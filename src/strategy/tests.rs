use std::collections::HashSet;
use std::path::Path;

use super::*;
use crate::analysis::nets::{self, Net};
use crate::analysis::{Analysis, AnalyzeOptions};
use crate::graph::Graph;
use crate::onnx::{Model, encode};
use crate::surgery::rewrite::{AdaFilter, LowRank, SpotTune};
use crate::testing::guide::Page;

pub(super) fn analyse(graph: &Graph) -> Analysis {
    Analysis::of_graph(graph, &[], &AnalyzeOptions::default()).unwrap()
}

/// `conv1` and `conv2` in `block1`, `conv3` and `conv4` in a block each, each with weight `.w` and bias `.b`.
pub(super) fn vgg() -> Analysis {
    analyse(&nets::vgg())
}

/// With a head of one parameter, `head`, and what can be updated of [`vgg`].
pub(super) fn network(analysis: &Analysis) -> Network<'_> {
    network_of(analysis, &nets::vgg())
}

/// As [`network`], of a graph that `analysis` is of.
pub(super) fn network_of<'a>(analysis: &'a Analysis, graph: &Graph) -> Network<'a> {
    let bytes = encode(&graph.to_model(usize::MAX).0).unwrap();
    let model = Model::decode(bytes.into(), Path::new("network.onnx")).unwrap();
    Network {
        analysis,
        head: vec!["head".to_owned()],
        seed: 0,
        selection: &[],
        promising: Vec::new(),
        freeze: None,
        updatable: LowRank::updatable(&model).unwrap(),
        gateable: AdaFilter::gateable(&model).unwrap(),
        lora_alpha: None,
        adafilter: Default::default(),
        blocks: SpotTune::gateable(&model, &network::block_nodes(analysis)).unwrap(),
        spottune: Default::default(),
    }
}

pub(super) fn ids(candidates: &[Candidate]) -> Vec<&str> {
    candidates.iter().map(|c| c.id.as_str()).collect()
}

#[test]
fn strategies_are_known_by_name_and_no_others() {
    for name in StrategyName::all().into_iter().chain(names()).chain([
        StrategyName::SELECT,
        StrategyName::top(4),
        StrategyName::windows(5),
        StrategyName::random(1),
        StrategyName::last(2),
        StrategyName::last_share(25),
        StrategyName::lora(8),
        StrategyName::lora_blocks(2),
    ]) {
        assert_eq!(name.to_string().parse(), Ok(name));
        let json = serde_json::to_value(name).unwrap();
        assert_eq!(json, name.to_string());
        assert_eq!(serde_json::from_value::<StrategyName>(json).unwrap(), name);
    }
    assert_eq!("windows3".parse(), Ok(StrategyName::windows(3)));
    assert_eq!("top".parse(), Ok(StrategyName::top(3)));
    assert_eq!("last".parse(), Ok(StrategyName::last(3)));
    assert_eq!("lora".parse(), Ok(StrategyName::lora(4)));
    assert_eq!("lora-blocks".parse(), Ok(StrategyName::lora_blocks(4)));
    for wrong in ["best", "top0", "head3", "top-1", "", "3", "full1", "all"] {
        assert!(wrong.parse::<StrategyName>().is_err(), "{wrong}");
    }
    let error = "best".parse::<StrategyName>().unwrap_err();
    assert_eq!(
        error.to_string(),
        "unknown strategy `best`; the strategies are `head`, `full`, `layers`, `top3`, `blocks`, `windows`, \
         `random3`, `select`, `auto`, `last3`, `last40%`, `lora4`, `lora-blocks4`, `adafilter`, `spottune`, `bias`, `norm` and \
         `all`; another number, 1 or more, may stand behind `top`, `windows`, `random`, `last`, `last%`, `lora`, `lora-blocks`"
    );
    assert!(error.is_bad_input());
}

#[test]
fn all_are_the_strategies_of_the_paper() {
    let names: Vec<String> = StrategyName::all().iter().map(|n| n.to_string()).collect();
    assert_eq!(
        names,
        [
            "head", "full", "layers", "top3", "top5", "blocks", "windows", "random3"
        ]
    );
}

#[test]
fn no_two_strategies_have_the_same_word_flag_or_candidate() {
    let words: HashSet<&str> = STRATEGIES.iter().map(|s| s.word()).collect();
    assert_eq!(words.len(), STRATEGIES.len());
    let flags: Vec<&str> = STRATEGIES
        .iter()
        .filter_map(|s| Some(s.number()?.flag))
        .collect();
    assert_eq!(flags.iter().collect::<HashSet<_>>().len(), flags.len());
    let analysis = vgg();
    let selection = ["conv2".to_owned()];
    let network = Network {
        selection: &selection,
        ..network(&analysis)
    };
    let mut tried = HashSet::new();
    for name in names() {
        let word = name.rule().word();
        let stem = word.trim_end_matches('%');
        assert!(
            !stem.is_empty() && stem.chars().all(|c| c.is_ascii_lowercase() || c == '-'),
            "{word}"
        );
        if name == StrategyName::NORM {
            // The network has no normalisation.
            assert!(name.candidates(&network).is_err());
            continue;
        }
        let candidates = name.candidates(&network).unwrap();
        assert!(name.rule().searches().is_some() || candidates.len() == 1);
        if name.rule().is_composed() {
            // What it searches may be another's; what it makes of that goes by its own name.
            let winner = name.winner(&network, &candidates, &[0]);
            assert_eq!(winner.id, name.to_string());
            assert!(tried.insert(winner.id));
            continue;
        }
        for candidate in candidates {
            assert!(candidate.id.starts_with(stem), "{candidate:?}");
            assert_eq!(candidate.trainable.last().unwrap(), "head");
            assert!(tried.insert(candidate.id), "{name}");
        }
    }
}

#[test]
fn the_guide_has_a_row_for_every_strategy() {
    let page = Page::read("docs/strategies.md").text;
    for name in names() {
        let row = format!("| `{name}`");
        assert!(page.lines().any(|l| l.starts_with(&row)), "{row}");
    }
}

#[test]
fn the_guide_to_a_new_strategy_shows_the_code_as_it_is() {
    let guide = Page::read("docs/adding-a-strategy.md").text;
    let (code, tests) = include_str!("last.rs")
        .split_once("#[cfg(test)]\n")
        .unwrap();
    assert!(guide.contains(code.trim()), "the strategy");
    assert!(guide.contains(tests.trim()), "its tests");
}

#[test]
fn candidates_are_counted_as_strategies_give_them() {
    let counts = |analysis: &Analysis| serde_json::to_value(CandidateCounts::of(analysis)).unwrap();
    assert_eq!(
        counts(&vgg()),
        serde_json::json!({
            "head": 1, "full": 1, "layers": 4, "top3": 1, "top5": 1, "blocks": 3, "windows": 2, "random3": 1,
        })
    );
    let mut wide = vgg();
    wide.window = 4;
    assert_eq!(counts(&wide)["windows"], 1);
    // Fewer layers than a window has are one window.
    let mut n = Net::new(["N", "3", "8", "8"]);
    let mut x = n.conv("first", "x", [4, 3, 3, 3]);
    x = n.conv("second", &x, [4, 4, 3, 3]);
    x = n.op("gap", "GlobalAveragePool", &[&x], &[]);
    x = n.op("flat", "Flatten", &[&x], &[]);
    x = n.gemm("fc", &x, 4, 5);
    let two = counts(&analyse(&n.output(&x)));
    assert_eq!((&two["layers"], &two["windows"]), (&2.into(), &1.into()));
    // Without layers there is nothing to choose from.
    let mut n = Net::new(["N", "3", "8", "8"]);
    let x = n.op("flat", "Flatten", &["x"], &[]);
    let x = n.gemm("fc", &x, 192, 5);
    let analysis = analyse(&n.output(&x));
    let none = counts(&analysis);
    assert_eq!(none["head"], 1);
    for name in ["layers", "windows", "top3", "random3"] {
        assert_eq!(none[name], 0, "{name}");
    }
    let last = StrategyName::last(3);
    assert_eq!(
        last.candidates(&network(&analysis)),
        Err(StrategyError::NoCandidates(last))
    );
}
