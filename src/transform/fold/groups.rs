//! Which nodes of constants are computed: those whose values take no more room than they do with what only they read.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use prost::Message;

use crate::onnx::DataType;
use crate::onnx::messages::{GraphProto, TensorProto};
use crate::surgery::reads;

/// Types and dimensions of values.
pub(super) type Values = HashMap<String, (DataType, Vec<usize>)>;

/// Types whose values can be taken out of onnxruntime.
const TAKEN: [DataType; 7] = [
    DataType::Float,
    DataType::Double,
    DataType::Float16,
    DataType::Int64,
    DataType::Int32,
    DataType::Uint8,
    DataType::Bool,
];

/// Rounds of refusals after which what is still too large is refused together.
const MOST_ROUNDS: usize = 50;

/// Nodes of a graph that read constants alone.
pub(super) struct Candidates {
    /// By node.
    inputs: Vec<Vec<String>>,
    outputs: Vec<Vec<String>>,
    /// Bytes of its message.
    sizes: Vec<u64>,
    /// Whether it may be computed at all.
    allowed: Vec<bool>,
    /// Whether it is one.
    constant: Vec<bool>,
    /// By value, the nodes that read it, those with graphs inside included.
    readers: HashMap<String, Vec<usize>>,
    maker: HashMap<String, usize>,
    /// Outputs.
    given: HashSet<String>,
    /// Constants that nodes read.
    is_leaf: HashSet<String>,
    refused: BTreeSet<usize>,
}

/// The values that are wanted, each with the node that makes it; whom each node serves; whom each tensor.
type Serving<'a> = (
    Vec<(&'a String, usize)>,
    Vec<Serves>,
    HashMap<&'a String, Serves>,
);

/// Which of the wanted values something serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Serves {
    None,
    One(usize),
    Many,
}

impl Serves {
    fn and(self, other: Serves) -> Serves {
        match (self, other) {
            (Serves::None, other) | (other, Serves::None) => other,
            (a, b) if a == b => a,
            _ => Serves::Many,
        }
    }
}

impl Candidates {
    pub fn new(graph: &GraphProto, is_leaf: &dyn Fn(&str) -> bool, allowed: Vec<bool>) -> Self {
        let mut readers: HashMap<String, Vec<usize>> = HashMap::new();
        let mut maker = HashMap::new();
        let mut leaves = HashSet::new();
        for (at, node) in graph.node.iter().enumerate() {
            for name in reads(node) {
                let all = readers.entry(name.to_owned()).or_default();
                if all.last() != Some(&at) {
                    all.push(at);
                }
                if is_leaf(name) {
                    leaves.insert(name.to_owned());
                }
            }
            for output in node.output.iter().filter(|o| !o.is_empty()) {
                maker.insert(output.clone(), at);
            }
        }
        let given = graph.output.iter().map(|o| o.name().to_owned()).collect();
        let present = |names: &[String]| names.iter().filter(|n| !n.is_empty()).cloned().collect();
        let nodes = graph.node.iter();
        Candidates {
            inputs: nodes.clone().map(|n| present(&n.input)).collect(),
            outputs: nodes.clone().map(|n| present(&n.output)).collect(),
            sizes: nodes.map(|n| n.encoded_len() as u64 + 3).collect(),
            constant: vec![false; allowed.len()],
            allowed,
            readers,
            maker,
            given,
            is_leaf: leaves,
            refused: BTreeSet::new(),
        }
    }

    /// Finds them, in the order of the file.
    pub fn settle(&mut self) {
        let mut made: HashSet<&str> = HashSet::new();
        for at in 0..self.allowed.len() {
            let is_known =
                |name: &String| self.is_leaf.contains(name) || made.contains(name.as_str());
            self.constant[at] = self.allowed[at]
                && !self.refused.contains(&at)
                && self.inputs[at].iter().all(is_known);
            if self.constant[at] {
                made.extend(self.outputs[at].iter().map(String::as_str));
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        !self.constant.contains(&true)
    }

    /// Their places.
    pub fn nodes(&self) -> Vec<usize> {
        (0..self.constant.len())
            .filter(|&at| self.constant[at])
            .collect()
    }

    pub fn refused(&self) -> &BTreeSet<usize> {
        &self.refused
    }

    pub fn refuse(&mut self, nodes: &[usize]) {
        self.refused.extend(nodes);
        self.settle();
    }

    /// Those of some nodes' values that others read, or that are outputs.
    pub fn wanted(&self, nodes: &[usize]) -> Vec<String> {
        let outputs = nodes.iter().flat_map(|&at| &self.outputs[at]);
        outputs.filter(|o| self.is_wanted(o)).cloned().collect()
    }

    fn is_wanted(&self, value: &str) -> bool {
        let readers = self.readers.get(value).into_iter().flatten();
        self.given.contains(value) || readers.into_iter().any(|&at| !self.constant[at])
    }

    /// Bytes of the constants of the graph that nodes read, and of all that they make.
    pub fn bytes(
        &self,
        nodes: &[usize],
        types: &Values,
        weight: &dyn Fn(&str) -> Option<u64>,
    ) -> u64 {
        let read = nodes.iter().flat_map(|&at| &self.inputs[at]);
        let made = nodes.iter().flat_map(|&at| &self.outputs[at]);
        let read = read.filter_map(|name| weight(name));
        let made = made.filter_map(|name| {
            let (dtype, dims) = types.get(name)?;
            data_bytes(*dtype, dims)
        });
        read.chain(made).fold(0, u64::saturating_add)
    }

    /// The nodes in parts that read nothing of one another.
    pub fn parts(&self) -> Vec<Vec<usize>> {
        let mut union = Union::new(self.constant.len());
        for at in self.nodes() {
            for input in &self.inputs[at] {
                if let Some(&maker) = self.maker.get(input).filter(|&&m| self.constant[m]) {
                    union.join(at, maker);
                }
            }
        }
        let mut parts: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for at in self.nodes() {
            parts.entry(union.root(at)).or_default().push(at);
        }
        parts.into_values().collect()
    }

    /// Refuses nodes of which a value is of an unknown size, too large, or of a type that cannot be taken.
    pub fn refuse_unknown(&mut self, types: &Values, most: u64) {
        let is_bad = |this: &Self, output: &String| match types.get(output) {
            None => true,
            Some((dtype, dims)) => {
                let bytes = data_bytes(*dtype, dims);
                bytes.is_none_or(|bytes| bytes > most)
                    || this.is_wanted(output) && !TAKEN.contains(dtype)
            }
        };
        loop {
            let mut any = false;
            // From the last on, as what only a refused node reads is wanted then.
            for at in self.nodes().into_iter().rev() {
                if self.outputs[at].iter().any(|output| is_bad(self, output)) {
                    self.refused.insert(at);
                    self.constant[at] = false;
                    any = true;
                }
            }
            if !any {
                return;
            }
            self.settle();
        }
    }

    /// Refuses nodes whose values would make the file larger; `weight` gives the bytes of a tensor of the graph itself.
    pub fn refuse_larger(&mut self, types: &Values, weight: &dyn Fn(&str) -> Option<u64>) {
        for round in 0.. {
            let over = self.over(types, weight, round >= MOST_ROUNDS);
            if over.is_empty() {
                return;
            }
            self.refuse(&over);
        }
    }

    /// The values that are wanted, and whom nodes and tensors serve.
    fn serving(&self) -> Serving<'_> {
        let mut wanted: Vec<(&String, usize)> = Vec::new();
        let mut of_value: HashMap<&String, usize> = HashMap::new();
        for at in self.nodes() {
            for output in self.outputs[at].iter().filter(|o| self.is_wanted(o)) {
                of_value.insert(output, wanted.len());
                wanted.push((output, at));
            }
        }
        let mut nodes = vec![Serves::None; self.constant.len()];
        for at in self.nodes().into_iter().rev() {
            let mut serves = Serves::None;
            for output in &self.outputs[at] {
                if let Some(&value) = of_value.get(output) {
                    serves = serves.and(Serves::One(value));
                }
                for &reader in self.readers.get(output).into_iter().flatten() {
                    if self.constant[reader] {
                        serves = serves.and(nodes[reader]);
                    }
                }
            }
            nodes[at] = serves;
        }
        let mut leaves = HashMap::new();
        for leaf in &self.is_leaf {
            let readers = &self.readers[leaf];
            if self.given.contains(leaf) || readers.iter().any(|&at| !self.constant[at]) {
                continue;
            }
            let serves = readers.iter().map(|&at| nodes[at]);
            leaves.insert(leaf, serves.fold(Serves::None, Serves::and));
        }
        (wanted, nodes, leaves)
    }

    /// Nodes by which groups of nodes take too much room: of each group those of the values that take the most, until the rest
    /// would not; or all of it.
    fn over(&self, types: &Values, weight: &dyn Fn(&str) -> Option<u64>, all: bool) -> Vec<usize> {
        let (wanted, nodes, leaves) = self.serving();
        let mut union = Union::new(self.constant.len());
        for at in self.nodes() {
            for output in &self.outputs[at] {
                for &reader in self.readers.get(output).into_iter().flatten() {
                    if self.constant[reader] {
                        union.join(at, reader);
                    }
                }
            }
        }
        for leaf in leaves.keys() {
            for pair in self.readers[*leaf].windows(2) {
                union.join(pair[0], pair[1]);
            }
        }
        let mut freed: HashMap<usize, i128> = HashMap::new();
        let mut alone = vec![0i128; wanted.len()];
        let mut free = |group: usize, serves: Serves, bytes: u64| {
            *freed.entry(group).or_default() += i128::from(bytes);
            if let Serves::One(value) = serves {
                alone[value] += i128::from(bytes);
            }
        };
        for at in self.nodes() {
            if nodes[at] != Serves::None {
                free(union.root(at), nodes[at], self.sizes[at]);
            }
        }
        for (leaf, serves) in &leaves {
            if let (Some(bytes), Some(&reader)) = (weight(leaf), self.readers[*leaf].first())
                && *serves != Serves::None
            {
                free(union.root(reader), *serves, bytes);
            }
        }
        // By group, of each value the bytes beyond what it frees alone, and the node.
        let mut groups: BTreeMap<usize, Vec<(i128, usize)>> = BTreeMap::new();
        let mut room_of: HashMap<usize, i128> = HashMap::new();
        for (place, (value, at)) in wanted.iter().enumerate() {
            let bytes = types
                .get(*value)
                .map_or(i128::from(u64::MAX), |t| room(value, t));
            let group = union.root(*at);
            *room_of.entry(group).or_default() += bytes;
            groups
                .entry(group)
                .or_default()
                .push((bytes - alone[place], *at));
        }
        let mut over = Vec::new();
        for (group, mut values) in groups {
            let mut excess = room_of[&group] - freed.get(&group).copied().unwrap_or(0);
            if all && excess > 0 {
                let own = self.nodes().into_iter();
                over.extend(own.filter(|&at| union.root(at) == group));
                continue;
            }
            values.sort_by_key(|&(more, at)| (std::cmp::Reverse(more), at));
            for (more, at) in values {
                if excess <= 0 {
                    break;
                }
                over.push(at);
                excess -= more.max(1);
            }
        }
        over
    }

    /// Values that take the name of a weight: of all that the nodes read for them it is the one of as many elements, and
    /// serves nothing else. `elements` gives those of a weight.
    pub fn heirs(
        &self,
        types: &Values,
        elements: &dyn Fn(&str) -> Option<usize>,
    ) -> HashMap<String, String> {
        let (wanted, _, leaves) = self.serving();
        let mut found: HashMap<usize, Vec<&String>> = HashMap::new();
        for (leaf, serves) in leaves {
            let Serves::One(value) = serves else { continue };
            let (name, _) = wanted[value];
            let count = types
                .get(name)
                .map(|(_, dims)| dims.iter().product::<usize>());
            if elements(leaf).is_some_and(|own| Some(own) == count) {
                found.entry(value).or_default().push(leaf);
            }
        }
        let heirs = found
            .into_iter()
            .filter_map(|(value, leaves)| match leaves[..] {
                [weight] => Some((wanted[value].0.clone(), weight.clone())),
                _ => None,
            });
        heirs.collect()
    }
}

fn data_bytes(dtype: DataType, dims: &[usize]) -> Option<u64> {
    let count = crate::onnx::element_count(dims)?;
    Some(count.checked_mul(dtype.size())? as u64)
}

/// Bytes of an initializer.
fn room(name: &str, (dtype, dims): &(DataType, Vec<usize>)) -> i128 {
    let message = TensorProto {
        name: Some(name.to_owned()),
        dims: dims.iter().map(|&d| d as i64).collect(),
        data_type: Some(*dtype as i32),
        ..TensorProto::default()
    };
    let data: i128 = data_bytes(*dtype, dims).unwrap_or(u64::MAX).into();
    message.encoded_len() as i128 + data + 6
}

struct Union(Vec<usize>);

impl Union {
    fn new(count: usize) -> Self {
        Union((0..count).collect())
    }

    fn root(&mut self, mut at: usize) -> usize {
        while self.0[at] != at {
            self.0[at] = self.0[self.0[at]];
            at = self.0[at];
        }
        at
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        self.0[a.max(b)] = a.min(b);
    }
}
