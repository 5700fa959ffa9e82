//! Values that lie between 0 and 1 whatever the weights and the data are.

use std::collections::HashMap;

use crate::graph::Node;
use crate::graph::operators::Elements;

use super::Look;

/// How far nodes are followed from the output.
const DEPTH: usize = 64;

/// Whether all elements of `value` lie between 0 and 1 by the nodes that make them, as those of a sigmoid
/// that is written out (½ + ½ tanh x, e^−softplus(−x)), of a mean of softmaxes, or of a `Clip` to 0 and 1.
pub(super) fn is_between_0_and_1(look: &Look<'_>, value: &str) -> bool {
    let mut search = Search {
        look,
        found: HashMap::new(),
    };
    let range = search.range(value, 0);
    range.low >= 0.0 && range.high <= 1.0
}

/// The least and the largest that an element may be.
#[derive(Clone, Copy, Debug)]
struct Range {
    low: f64,
    high: f64,
}

const ANY: Range = Range {
    low: f64::NEG_INFINITY,
    high: f64::INFINITY,
};
const UNIT: Range = Range {
    low: 0.0,
    high: 1.0,
};

impl Range {
    fn new(low: f64, high: f64) -> Self {
        // ∞ − ∞ and 0 · ∞ say nothing.
        if low.is_nan() || high.is_nan() {
            return ANY;
        }
        Range { low, high }
    }

    /// Through a function that never falls.
    fn rising(self, f: impl Fn(f64) -> f64) -> Self {
        Range::new(f(self.low), f(self.high))
    }

    fn plus(self, other: Range) -> Self {
        Range::new(self.low + other.low, self.high + other.high)
    }

    fn negated(self) -> Self {
        Range::new(-self.high, -self.low)
    }

    fn times(self, other: Range) -> Self {
        let ends = [
            self.low * other.low,
            self.low * other.high,
            self.high * other.low,
            self.high * other.high,
        ];
        if ends.iter().any(|e| e.is_nan()) {
            return ANY;
        }
        let low = ends.iter().copied().fold(f64::INFINITY, f64::min);
        Range::new(low, ends.iter().copied().fold(f64::NEG_INFINITY, f64::max))
    }

    fn inverse(self) -> Self {
        match self.low > 0.0 {
            true => Range::new(1.0 / self.high, 1.0 / self.low),
            false => ANY,
        }
    }

    fn power(self, exponent: f64) -> Self {
        if exponent == -1.0 {
            self.inverse()
        } else if exponent > 0.0 && self.low >= 0.0 {
            self.rising(|v| v.powf(exponent))
        } else if exponent == 2.0 {
            let top = self.low.abs().max(self.high.abs());
            Range::new(0.0, top * top)
        } else {
            ANY
        }
    }

    fn with(self, other: Range) -> Self {
        Range::new(self.low.min(other.low), self.high.max(other.high))
    }
}

struct Search<'a, 'g> {
    look: &'a Look<'g>,
    found: HashMap<&'g str, Range>,
}

impl<'g> Search<'_, 'g> {
    fn range(&mut self, value: &str, depth: usize) -> Range {
        if let Some(range) = self.found.get(value) {
            return *range;
        }
        if self.look.constant(value).is_some() {
            // What is no single number may be trained.
            let number = self.look.number(value).map(f64::from);
            return number.map_or(ANY, |v| Range::new(v, v));
        }
        let Some(node) = self.look.producer(value).filter(|_| depth < DEPTH) else {
            return ANY;
        };
        let range = self.of_node(node, depth + 1);
        for output in node.present_outputs() {
            self.found.insert(output, range);
        }
        range
    }

    fn of_node(&mut self, node: &'g Node, depth: usize) -> Range {
        let Some(operator) = node.operator() else {
            return ANY;
        };
        let look = self.look;
        let mut input = |index: usize| node.input(index).map(|value| self.range(value, depth));
        let first = |range: Option<Range>| range.unwrap_or(ANY);
        let known = operator.range.map(|[low, high]| Range::new(low, high));
        if operator.elements != Elements::Computed {
            return first(input(0));
        }
        match operator.name {
            "LpNormalization" if first(input(0)).low >= 0.0 => UNIT,
            "ReduceMax" | "ReduceMin" | "ReduceMean" => first(input(0)),
            "GlobalAveragePool" | "GlobalMaxPool" => first(input(0)),
            "Relu" => first(input(0)).rising(|v| v.max(0.0)),
            "Exp" => first(input(0)).rising(f64::exp),
            "Softplus" => first(input(0)).rising(|v| if v > 30.0 { v } else { v.exp().ln_1p() }),
            "Sqrt" => first(input(0)).rising(|v| v.max(0.0).sqrt()),
            "Neg" => first(input(0)).negated(),
            "Abs" => first(input(0)).power(2.0).rising(f64::sqrt),
            "Reciprocal" => first(input(0)).inverse(),
            "Clip" => {
                let data = first(input(0));
                let bound = |place: Option<Range>, name: &str, open: f32| {
                    let attribute = node.float(name, open).unwrap_or(open);
                    place.unwrap_or(Range::new(attribute.into(), attribute.into()))
                };
                let low = bound(input(1), "min", f32::NEG_INFINITY);
                let high = bound(input(2), "max", f32::INFINITY);
                Range::new(
                    data.low.max(low.low).min(high.low),
                    data.high.max(low.high).min(high.high),
                )
            }
            "Sub" => first(input(0)).plus(first(input(1)).negated()),
            "Mul" => first(input(0)).times(first(input(1))),
            "Div" => first(input(0)).times(first(input(1)).inverse()),
            "Pow" => match node.input(1).and_then(|value| look.number(value)) {
                Some(exponent) => first(input(0)).power(exponent.into()),
                None => ANY,
            },
            "Where" => first(input(1)).with(first(input(2))),
            "Add" | "Sum" | "Mean" | "Concat" | "Max" | "Min" => {
                let all: Vec<Range> = (0..node.inputs.len()).filter_map(input).collect();
                let count = all.len() as f64;
                let joined = all.into_iter().reduce(|a, b| match operator.name {
                    "Concat" => a.with(b),
                    "Max" => Range::new(a.low.max(b.low), a.high.max(b.high)),
                    "Min" => Range::new(a.low.min(b.low), a.high.min(b.high)),
                    _ => a.plus(b),
                });
                let joined = first(joined);
                match operator.name {
                    "Mean" => joined.rising(|v| v / count),
                    _ => joined,
                }
            }
            _ => known.unwrap_or(ANY),
        }
    }
}
