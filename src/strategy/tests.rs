use super::*;
use crate::analysis::AnalyzeOptions;
use crate::analysis::nets::{self, Net};
use crate::graph::Graph;

fn analyse(graph: &Graph) -> Analysis {
    Analysis::of_graph(graph, &[], &AnalyzeOptions::default()).unwrap()
}

#[test]
fn strategies_are_known_by_name_and_no_others() {
    for strategy in Strategy::ALL.into_iter().chain([
        Strategy::Select,
        Strategy::Top(4),
        Strategy::Windows(5),
        Strategy::Random(1),
    ]) {
        assert_eq!(strategy.to_string().parse(), Ok(strategy));
    }
    assert_eq!("windows3".parse(), Ok(Strategy::Windows(3)));
    assert_eq!("top".parse(), Ok(Strategy::Top(3)));
    for wrong in ["best", "top0", "head3", "top-1", "", "3", "full1"] {
        assert!(wrong.parse::<Strategy>().is_err(), "{wrong}");
    }
    let error = "best".parse::<Strategy>().unwrap_err();
    assert_eq!(
        error.to_string(),
        "unknown strategy `best`; the strategies are `head`, `full`, `layers`, `top3`, `top5`, \
         `blocks`, `windows`, `random3`, `select` and `all`, with any number in place of 3 and 5"
    );
    assert!(error.is_bad_input());
}

#[test]
fn candidates_are_counted_as_strategies_give_them() {
    let c = CandidateCounts::of(&analyse(&nets::vgg()));
    assert_eq!((c.head, c.full, c.layers, c.top5), (1, 1, 4, 1));
    assert_eq!((c.blocks, c.windows, c.random3), (3, 2, 1));
    // Fewer layers than a window has are one window.
    let mut n = Net::new(["N", "3", "8", "8"]);
    let mut x = n.conv("first", "x", [4, 3, 3, 3]);
    x = n.conv("second", &x, [4, 4, 3, 3]);
    x = n.op("gap", "GlobalAveragePool", &[&x], &[]);
    x = n.op("flat", "Flatten", &[&x], &[]);
    x = n.gemm("fc", &x, 4, 5);
    let two = CandidateCounts::of(&analyse(&n.output(&x)));
    assert_eq!((two.layers, two.windows), (2, 1));
    // Without layers there is nothing to choose from.
    let mut n = Net::new(["N", "3", "8", "8"]);
    let x = n.op("flat", "Flatten", &["x"], &[]);
    let x = n.gemm("fc", &x, 192, 5);
    let none = CandidateCounts::of(&analyse(&n.output(&x)));
    assert_eq!(
        (none.head, none.layers, none.windows, none.top3),
        (1, 0, 0, 0)
    );
}
