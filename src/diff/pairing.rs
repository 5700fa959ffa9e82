//! Which nodes and values of two graphs belong to each other.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::onnx::messages::NodeProto;

use super::operand::Operand;
use super::{sequence, words};

/// The names of values before with those that they have after, where they are known.
pub(super) type Names = HashMap<String, String>;

/// A graph, or the body of a function, as its parts are matched.
pub(super) struct Side<'a> {
    /// Its nodes but for those that make constants, in the order of the file.
    pub nodes: Vec<&'a NodeProto>,
    /// Its constants, in the order of the file.
    pub tensors: Vec<Operand<'a>>,
    /// Its inputs but for those that are constants, too.
    pub inputs: Vec<&'a str>,
    /// The place of each constant in `tensors`.
    places: HashMap<&'a str, usize>,
}

impl<'a> Side<'a> {
    pub fn new(nodes: &'a [NodeProto], tensors: Vec<Operand<'a>>, inputs: Vec<&'a str>) -> Self {
        let made: HashSet<*const NodeProto> = tensors
            .iter()
            .filter_map(|t| Some(t.node? as *const _))
            .collect();
        let mut places = HashMap::new();
        for (place, tensor) in tensors.iter().enumerate() {
            places.entry(tensor.name).or_insert(place);
        }
        let is_constant = |name: &&str| places.contains_key(name);
        Side {
            nodes: nodes
                .iter()
                .filter(|&n| !made.contains(&(n as *const _)))
                .collect(),
            inputs: inputs
                .into_iter()
                .filter(|name| !is_constant(name))
                .collect(),
            tensors,
            places,
        }
    }

    fn tensor(&self, name: &str) -> Option<usize> {
        self.places.get(name).copied()
    }
}

/// What belongs to what.
#[derive(Default)]
pub(super) struct Pairing {
    /// The place of each node's partner.
    pub nodes: Vec<Option<usize>>,
    /// The place of each constant's partner.
    pub tensors: Vec<Option<usize>>,
    /// What values are named after; those of the graphs around it, too.
    pub names: Names,
}

/// What goes before what.
#[derive(Clone, Copy, PartialEq, Eq)]
enum First {
    Names,
    Places,
}

/// Pairs two graphs by their names and, where that leaves differences, by the places of things if that leaves fewer.
pub(super) fn pair(a: &Side, b: &Side, outer: &Names) -> Pairing {
    let by_name = paired(a, b, outer, First::Names);
    let cost = cost(a, b, &by_name);
    if cost == 0 {
        return by_name;
    }
    let by_place = paired(a, b, outer, First::Places);
    match self::cost(a, b, &by_place) < cost {
        true => by_place,
        false => by_name,
    }
}

fn paired(a: &Side, b: &Side, outer: &Names, first: First) -> Pairing {
    let mut nodes = Partners::new(a.nodes.len(), b.nodes.len());
    if first == First::Names {
        by_name(a, b, &mut nodes, true);
    }
    by_history(a, b, outer, &mut nodes);
    by_order(a, b, &mut nodes, local);
    by_name(a, b, &mut nodes, false);
    by_order(a, b, &mut nodes, |_, node| operator(node));
    let mut tensors = Partners::new(a.tensors.len(), b.tensors.len());
    match first {
        First::Names => {
            tensors_by_name(a, b, &mut tensors);
            tensors_by_place(a, b, &nodes, &mut tensors);
        }
        First::Places => {
            tensors_by_place(a, b, &nodes, &mut tensors);
            tensors_by_name(a, b, &mut tensors);
        }
    }
    let names = names(a, b, outer, &nodes, &tensors);
    Pairing {
        nodes: nodes.of,
        tensors: tensors.of,
        names,
    }
}

/// Pairs of places, each in one at most.
struct Partners {
    of: Vec<Option<usize>>,
    taken: Vec<bool>,
}

impl Partners {
    fn new(before: usize, after: usize) -> Self {
        Partners {
            of: vec![None; before],
            taken: vec![false; after],
        }
    }

    fn join(&mut self, a: usize, b: usize) {
        if self.of[a].is_none() && !self.taken[b] {
            self.of[a] = Some(b);
            self.taken[b] = true;
        }
    }
}

fn key(node: &NodeProto) -> Option<&str> {
    node.output
        .iter()
        .find(|o| !o.is_empty())
        .map(String::as_str)
}

/// Nodes that define a value of the same name; `any`: with whatever operator.
fn by_name(a: &Side, b: &Side, nodes: &mut Partners, any: bool) {
    let mut places: HashMap<&str, usize> = HashMap::new();
    for (j, node) in b.nodes.iter().enumerate() {
        if let Some(key) = key(node) {
            places.entry(key).or_insert(j);
        }
    }
    for (i, node) in a.nodes.iter().enumerate() {
        if let Some(&j) = key(node).and_then(|key| places.get(key))
            && (any || operator(node) == operator(b.nodes[j]))
        {
            nodes.join(i, j);
        }
    }
}

fn hashed(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

fn operator(node: &NodeProto) -> u64 {
    let domain = node.domain();
    let domain = if domain == "ai.onnx" { "" } else { domain };
    hashed((domain, node.op_type(), node.overload()))
}

/// Operator, attributes, and types and dimensions of the constants that it reads.
fn local(side: &Side, node: &NodeProto) -> u64 {
    let mut attributes: Vec<(&str, String)> = node
        .attribute
        .iter()
        .map(|a| (a.name(), words::attribute(a)))
        .collect();
    attributes.sort();
    let inputs = node.input.iter().map(|name| match side.tensor(name) {
        Some(place) => side.tensors[place].content.declared(),
        None => name.is_empty().to_string(),
    });
    let inputs: Vec<String> = inputs.collect();
    hashed((operator(node), attributes, inputs, node.output.len()))
}

/// Nodes to which the same operations have led from the inputs; where several are alike, in their order.
fn by_history(a: &Side, b: &Side, outer: &Names, nodes: &mut Partners) {
    let (x, y) = (histories(a, b, outer, true), histories(b, a, outer, false));
    let mut places: HashMap<u64, Vec<usize>> = HashMap::new();
    for (j, history) in y.iter().enumerate().rev() {
        if !nodes.taken[j] {
            places.entry(*history).or_default().push(j);
        }
    }
    for (i, history) in x.iter().enumerate() {
        if nodes.of[i].is_none()
            && let Some(j) = places.get_mut(history).and_then(Vec::pop)
        {
            nodes.join(i, j);
        }
    }
}

/// Of each node a number that stands for it and all that it depends on. A constant that is in both graphs stands for its
/// name.
fn histories(side: &Side, other: &Side, outer: &Names, before: bool) -> Vec<u64> {
    let mut values: HashMap<&str, u64> = HashMap::new();
    for (place, name) in side.inputs.iter().enumerate() {
        values.insert(name, hashed(("input", place)));
    }
    for (name, &place) in &side.places {
        let declared = side.tensors[place].content.declared();
        let shared = other.tensor(name).map(|_| name);
        values.insert(name, hashed(("tensor", shared, declared)));
    }
    let around = |name: &str| match before {
        true => outer.get(name).cloned().unwrap_or_else(|| name.to_owned()),
        false => name.to_owned(),
    };
    let of = |node: &&'_ NodeProto, values: &HashMap<&str, u64>| {
        let inputs = node
            .input
            .iter()
            .map(|name| match values.get(name.as_str()) {
                Some(&history) => history,
                None => hashed(around(name)),
            });
        let inputs: Vec<u64> = inputs.collect();
        hashed((local(side, node), inputs))
    };
    let mut histories = Vec::with_capacity(side.nodes.len());
    for node in &side.nodes {
        let history = of(node, &values);
        for (place, name) in node.output.iter().enumerate() {
            values.insert(name, hashed((history, place)));
        }
        histories.push(history);
    }
    histories
}

/// Nodes with the same sign, in the order of both graphs, between pairs that stand in this order already.
fn by_order(a: &Side, b: &Side, nodes: &mut Partners, sign: impl Fn(&Side, &NodeProto) -> u64) {
    let pairs: Vec<(usize, usize)> = nodes
        .of
        .iter()
        .enumerate()
        .filter_map(|(i, j)| Some((i, (*j)?)))
        .collect();
    let seconds: Vec<usize> = pairs.iter().map(|&(_, j)| j).collect();
    let kept = sequence::increasing(&seconds);
    let ends = kept.into_iter().map(|place| pairs[place]);
    let (mut from_a, mut from_b) = (0, 0);
    for (to_a, to_b) in ends.chain([(a.nodes.len(), b.nodes.len())]) {
        let free_a: Vec<usize> = (from_a..to_a).filter(|&i| nodes.of[i].is_none()).collect();
        let free_b: Vec<usize> = (from_b..to_b).filter(|&j| !nodes.taken[j]).collect();
        if !free_a.is_empty() && !free_b.is_empty() {
            let x: Vec<u64> = free_a.iter().map(|&i| sign(a, a.nodes[i])).collect();
            let y: Vec<u64> = free_b.iter().map(|&j| sign(b, b.nodes[j])).collect();
            for (i, j) in sequence::common(&x, &y) {
                nodes.join(free_a[i], free_b[j]);
            }
        }
        (from_a, from_b) = (to_a + 1, to_b + 1);
    }
}

fn tensors_by_name(a: &Side, b: &Side, tensors: &mut Partners) {
    let mut places: HashMap<&str, VecDeque<usize>> = HashMap::new();
    for (j, tensor) in b.tensors.iter().enumerate() {
        places.entry(tensor.name).or_default().push_back(j);
    }
    for (i, tensor) in a.tensors.iter().enumerate() {
        if tensors.of[i].is_some() {
            continue;
        }
        // The second of a name belongs to the second.
        let of_name = places.get_mut(tensor.name).into_iter();
        for j in of_name.flat_map(|places| std::iter::from_fn(|| places.pop_front())) {
            if !tensors.taken[j] {
                tensors.join(i, j);
                break;
            }
        }
    }
}

/// Constants that partners read at the same place.
fn tensors_by_place(a: &Side, b: &Side, nodes: &Partners, tensors: &mut Partners) {
    for (i, j) in nodes.of.iter().enumerate() {
        let Some(j) = *j else { continue };
        for (x, y) in a.nodes[i].input.iter().zip(&b.nodes[j].input) {
            if let (Some(x), Some(y)) = (a.tensor(x), b.tensor(y)) {
                tensors.join(x, y);
            }
        }
    }
}

fn names(a: &Side, b: &Side, outer: &Names, nodes: &Partners, tensors: &Partners) -> Names {
    let mut names = outer.clone();
    // Names of the graph around it that this one has for itself mean its own.
    let own = a.nodes.iter().flat_map(|n| &n.output).map(String::as_str);
    for name in own
        .chain(a.tensors.iter().map(|t| t.name))
        .chain(a.inputs.iter().copied())
    {
        names.remove(name);
    }
    let mut add = |x: &str, y: &str| {
        if !x.is_empty() && !y.is_empty() {
            names.entry(x.to_owned()).or_insert_with(|| y.to_owned());
        }
    };
    let stays: HashSet<&str> = b.inputs.iter().copied().collect();
    let was: HashSet<&str> = a.inputs.iter().copied().collect();
    for (place, name) in a.inputs.iter().enumerate() {
        match (stays.contains(name), b.inputs.get(place)) {
            (true, _) => add(name, name),
            (false, Some(other)) if !was.contains(other) => add(name, other),
            _ => {}
        }
    }
    for (i, j) in nodes.of.iter().enumerate() {
        if let Some(j) = *j {
            let outputs = a.nodes[i].output.iter().zip(&b.nodes[j].output);
            outputs.for_each(|(x, y)| add(x, y));
        }
    }
    for (i, j) in tensors.of.iter().enumerate() {
        if let Some(j) = *j {
            add(a.tensors[i].name, b.tensors[j].name);
        }
    }
    names
}

/// How much is different between partners and without one, but for names.
fn cost(a: &Side, b: &Side, pairing: &Pairing) -> usize {
    let paired = pairing.nodes.iter().flatten().count();
    let mut cost = a.nodes.len() + b.nodes.len() - 2 * paired;
    let held = pairing.tensors.iter().flatten().count();
    cost += a.tensors.len() + b.tensors.len() - 2 * held;
    for (i, j) in pairing.nodes.iter().enumerate() {
        let Some(j) = *j else { continue };
        let (x, y) = (a.nodes[i], b.nodes[j]);
        cost += match operator(x) == operator(y) {
            true => usize::from(local(a, x) != local(b, y)),
            // As much as if they were no partners.
            false => 2,
        };
        cost += rewired(x, y, &pairing.names).count() + x.input.len().abs_diff(y.input.len());
    }
    cost
}

/// The inputs that partners read from values that do not belong to each other.
pub(super) fn rewired<'n>(
    before: &'n NodeProto,
    after: &'n NodeProto,
    names: &'n Names,
) -> impl Iterator<Item = (usize, &'n str, &'n str)> {
    let pairs = before.input.iter().zip(&after.input).enumerate();
    pairs.filter_map(|(place, (x, y))| {
        let expected = names.get(x).unwrap_or(x);
        (expected != y).then_some((place, x.as_str(), y.as_str()))
    })
}
