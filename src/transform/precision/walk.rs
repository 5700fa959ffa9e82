//! The walk over the graphs of a model.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::graph::Names;
use crate::graph::messages::inner_graphs;
use crate::graph::operators::named as row;
use crate::onnx::element_name;
use crate::onnx::messages::{
    AttributeProto, GraphProto, NodeProto, TypeProto, TypeValue, ValueInfoProto,
};
use crate::surgery::{Part, Place, node_key};

use super::super::TransformError;
use super::super::known::{Attributes, Env, callee_of, is_standard, set};
use super::decide::{self, Decision, Made, Marks, Want};
use super::written::{Written, cast, cast_node};
use super::{Plan, Taken, Variant, unknown};

/// What is so where a node stands.
#[derive(Clone, Debug, Default)]
pub(super) struct Scope {
    /// The types that values have now.
    pub types: HashMap<String, i32>,
    /// What is read in place of a value that is gone.
    instead: HashMap<String, String>,
    /// Casts of a value to a type.
    pub casts: HashMap<(String, i32), String>,
    pub marks: Marks,
}

impl Scope {
    fn resolved(&self, name: &str) -> String {
        self.instead
            .get(name)
            .map_or(name, String::as_str)
            .to_owned()
    }
}

/// What changes at the ends of a graph.
#[derive(Clone, Copy)]
pub(super) struct Ends {
    pub inputs: bool,
    pub outputs: bool,
}

/// Where a graph is, and what is known there.
pub(super) struct Site<'s> {
    pub scope: &'s [String],
    pub opset: i64,
    pub env: &'s Env,
    pub call: &'s Attributes,
}

/// What a walk comes to.
pub(super) type Walked<T> = Result<T, TransformError>;

pub(super) struct Walk<'w> {
    pub(super) plan: &'w Plan<'w>,
    pub places: Vec<Place>,
    pub notes: Vec<String>,
    pub variants: Vec<Variant>,
    pub(super) taken: Taken,
    pub(super) told: BTreeSet<String>,
}

impl<'w> Walk<'w> {
    pub fn new(plan: &'w Plan<'w>) -> Self {
        let mut taken = Taken::new();
        for function in &plan.model.proto.functions {
            let (domain, name, _) = callee_of(function);
            taken.entry(domain).or_default().insert(name);
        }
        Walk {
            plan,
            places: Vec::new(),
            notes: Vec::new(),
            variants: Vec::new(),
            taken,
            told: BTreeSet::new(),
        }
    }

    pub fn main(
        &mut self,
        graph: &mut GraphProto,
        env: &Env,
        opset: i64,
        io: bool,
        names: &mut Names,
    ) -> Walked<()> {
        let site = Site {
            scope: &[],
            opset,
            env,
            call: &Attributes::new(),
        };
        let ends = Ends {
            inputs: io,
            outputs: io,
        };
        self.graph(graph, &site, &Scope::default(), ends, names)
            .map(|_| ())
    }

    /// Changes a graph; gives the types of its outputs.
    pub(super) fn graph(
        &mut self,
        graph: &mut GraphProto,
        site: &Site<'_>,
        outer: &Scope,
        ends: Ends,
        names: &mut Names,
    ) -> Walked<Vec<i32>> {
        let plan = self.plan;
        let mut scope = outer.clone();
        let stored: HashSet<String> = graph
            .initializer
            .iter()
            .map(|t| t.name().to_owned())
            .collect();
        for input in &mut graph.input {
            if stored.contains(input.name()) {
                continue;
            }
            let was = site.env.known(input.name()).element;
            let now = if ends.inputs && plan.turns(was) {
                plan.to
            } else {
                was
            };
            scope.types.insert(input.name().to_owned(), now);
            self.declare(input, now, Part::Input, site);
        }
        self.tensors(graph, site, &mut scope)?;
        for input in graph
            .input
            .iter_mut()
            .filter(|input| stored.contains(input.name()))
        {
            let now = scope.types.get(input.name()).copied().unwrap_or(0);
            self.declare(input, now, Part::Input, site);
        }
        let mut written = Written::default();
        let given: HashSet<String> = graph.output.iter().map(|o| o.name().to_owned()).collect();
        for node in std::mem::take(&mut graph.node) {
            self.node(node, site, &mut scope, &given, &mut written, names)?;
        }
        written.rename_returned();
        let mut made = Vec::new();
        for output in &mut graph.output {
            let name = output.name().to_owned();
            let was = site.env.known(&name).element;
            let wanted = if ends.outputs && plan.turns(was) {
                plan.to
            } else {
                was
            };
            let now = scope.types.get(&name).copied().unwrap_or(was);
            if now != wanted && wanted != 0 {
                let fresh = names.fresh(&format!("{name}/{}", element_name(now)));
                if written.makers.contains_key(&name) {
                    written.rename(&name, &fresh);
                    let cast = cast_node(&fresh, &name, wanted);
                    written.behind(&fresh, cast);
                } else {
                    // It comes from outside.
                    let cast = cast_node(&name, &fresh, wanted);
                    written.head.push(cast);
                    output.name = Some(fresh.clone());
                    self.place(site, Part::Output, &name);
                    self.place(site, Part::Output, &fresh);
                }
                scope.types.insert(fresh, now);
            }
            self.declare(output, wanted, Part::Output, site);
            made.push(wanted);
        }
        let instead = scope.instead;
        graph.value_info.retain(|value| {
            let goes = instead.contains_key(value.name());
            if goes {
                self.places.push((
                    site.scope.to_vec(),
                    Part::ValueInfo,
                    value.name().to_owned(),
                ));
            }
            !goes
        });
        for value in &mut graph.value_info {
            let renamed = written.renamed.get(value.name()).cloned();
            let name = value.name().to_owned();
            if let Some(&now) = scope.types.get(&name) {
                // A renamed value keeps its note, under the name that has its old type.
                if renamed.is_none() {
                    self.declare(value, now, Part::ValueInfo, site);
                }
            }
        }
        graph.node = written.nodes();
        for key in &written.touched {
            self.place(site, Part::Node, key);
        }
        Ok(made)
    }

    fn place(&mut self, site: &Site<'_>, part: Part, name: &str) {
        self.places
            .push((site.scope.to_vec(), part, name.to_owned()));
    }

    /// Makes a declaration say a type, where it says one.
    fn declare(&mut self, value: &mut ValueInfoProto, element: i32, part: Part, site: &Site<'_>) {
        let Some(declared) = value.r#type.as_mut().and_then(element_of) else {
            return;
        };
        let turned = self.plan.turns(*declared) || *declared == self.plan.to;
        if element != 0 && turned && *declared != element {
            *declared = element;
            let name = value.name().to_owned();
            self.place(site, part, &name);
        }
    }

    fn node(
        &mut self,
        mut node: NodeProto,
        site: &Site<'_>,
        scope: &mut Scope,
        given: &HashSet<String>,
        written: &mut Written,
        names: &mut Names,
    ) -> Walked<()> {
        let plan = self.plan;
        let before = node.clone();
        let decision = decide::on(&node, site.env, site.opset, &scope.marks, plan);
        let mut reads = Vec::new();
        for (input, want) in node.input.iter_mut().zip(&decision.inputs) {
            *input = scope.resolved(input);
            let is = scope.types.get(input.as_str()).copied().unwrap_or(0);
            if let Want::Element(wanted) = *want
                && is != wanted
                && !input.is_empty()
            {
                if is == 0 {
                    return Err(unknown(input));
                }
                *input = cast(input, wanted, scope, written, names);
            }
            reads.push(scope.types.get(input.as_str()).copied().unwrap_or(0));
        }
        let key = node_key(&before);
        self.inside(&mut node, &key, &decision, site, scope, names)?;
        let mut made: Vec<i32> = decision
            .outputs
            .iter()
            .map(|made| match made {
                Made::Element(element) => *element,
                Made::As(input) => reads.get(*input).copied().unwrap_or(0),
            })
            .collect();
        if let Some(name) = decision.typed {
            set(&mut node, name, i64::from(plan.to));
        }
        if decision.filled {
            self.fill(&mut node)?;
        }
        if decision.inside && plan.calls(&node) {
            made = self.call(&mut node, site, &before)?;
        }
        for (output, element) in node.output.iter().zip(&made) {
            scope.types.insert(output.clone(), *element);
        }
        if returns(&node, &before, site.env, scope, &made) {
            let (from, to) = (node.input[0].clone(), node.output[0].clone());
            let taken = given.contains(&from) || !written.makers.contains_key(&from);
            if !given.contains(&to) {
                scope.instead.insert(to, from);
                written.touched.insert(key);
                return Ok(());
            }
            if !taken && !written.returned.iter().any(|(other, _)| *other == from) {
                // What makes the value makes the output.
                scope.instead.insert(from.clone(), to.clone());
                if let Some(&at) = written.makers.get(&from) {
                    written.makers.insert(to.clone(), at);
                }
                written.returned.push((from, to));
                written.touched.insert(key);
                return Ok(());
            }
        }
        if node != before {
            written.touched.insert(key);
        }
        written.push(node);
        Ok(())
    }

    /// Changes graphs inside of a node.
    fn inside(
        &mut self,
        node: &mut NodeProto,
        key: &str,
        decision: &Decision,
        site: &Site<'_>,
        scope: &Scope,
        names: &mut Names,
    ) -> Walked<()> {
        if inner_graphs(node).next().is_none() {
            return Ok(());
        }
        let mut inner_scope = scope.clone();
        inner_scope.marks.kept = !decision.inside;
        let ends = Ends {
            inputs: decision.inside,
            outputs: decision.inside,
        };
        for attribute in &mut node.attribute {
            let name = attribute.name().to_owned();
            for (at, inner) in AttributeProto::subgraphs_mut(attribute).enumerate() {
                let mut way = site.scope.to_vec();
                way.push(match at {
                    0 => format!("`{name}` of node `{key}`"),
                    at => format!("`{name}` {at} of node `{key}`"),
                });
                let env = self
                    .plan
                    .reading
                    .graph(inner, site.opset, site.env, &[], site.call);
                let inside = Site {
                    scope: &way,
                    env: &env,
                    ..*site
                };
                self.graph(inner, &inside, &inner_scope, ends, names)?;
            }
        }
        Ok(())
    }
}

/// Whether a node is a `Cast` that does nothing any more.
fn returns(node: &NodeProto, before: &NodeProto, env: &Env, scope: &Scope, made: &[i32]) -> bool {
    let converts = row(node.op_type.as_deref().unwrap_or_default())
        .is_some_and(|o| o.name == "Cast" && is_standard(node));
    let (Some(input), Some(output)) = (before.input.first(), before.output.first()) else {
        return false;
    };
    let was = env.known(input).element != env.known(output).element;
    let now = node.input.first().and_then(|i| scope.types.get(i));
    converts && was && now == made.first() && now.is_some_and(|&e| e != 0)
}

/// The element type in a declaration.
fn element_of(r#type: &mut TypeProto) -> Option<&mut i32> {
    match r#type.value.as_mut()? {
        TypeValue::Tensor(tensor) => tensor.elem_type.as_mut(),
        TypeValue::SparseTensor(tensor) => tensor.elem_type.as_mut(),
        TypeValue::Sequence(sequence) => element_of(sequence.elem_type.as_mut()?),
        TypeValue::Optional(optional) => element_of(optional.elem_type.as_mut()?),
        _ => None,
    }
}
