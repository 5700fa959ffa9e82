//! The walk over the graphs of a model.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::graph::operators::named as row;
use crate::graph::schemas::element_name;
use crate::graph::{Names, captured_names};
use crate::onnx::Tensor;
use crate::onnx::messages::{
    AttributeProto, FunctionProto, GraphProto, NodeProto, TensorProto, TypeProto, TypeValue,
    ValueInfoProto,
};
use crate::surgery::{Part, Place, node_key};

use super::super::TransformError;
use super::super::known::{
    Attributes, Env, Known, TYPE_ATTRIBUTES, bound, callee_of, held, is_own, is_standard, named,
    put_body, set, take_body,
};
use super::decide::{self, Decision, Made, Marks, Want};
use super::{Plan, Taken, Variant, at_fault, key_of, range, unknown};

/// What is so where a node stands.
#[derive(Clone, Debug, Default)]
struct Scope {
    /// The types that values have now.
    types: HashMap<String, i32>,
    /// What is read in place of a value that is gone.
    instead: HashMap<String, String>,
    /// Casts of a value to a type.
    casts: HashMap<(String, i32), String>,
    marks: Marks,
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
struct Ends {
    inputs: bool,
    outputs: bool,
}

/// Where a graph is, and what is known there.
struct Site<'s> {
    scope: &'s [String],
    opset: i64,
    env: &'s Env,
    call: &'s Attributes,
}

type Walked<T> = Result<T, TransformError>;

pub(super) struct Walk<'w> {
    plan: &'w Plan<'w>,
    pub places: Vec<Place>,
    pub notes: Vec<String>,
    pub variants: Vec<Variant>,
    taken: Taken,
    told: BTreeSet<String>,
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
    fn graph(
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

    /// Decides on the tensors of a graph, and changes its initializers.
    fn tensors(
        &mut self,
        graph: &mut GraphProto,
        site: &Site<'_>,
        scope: &mut Scope,
    ) -> Walked<()> {
        let plan = self.plan;
        let sparse = graph
            .sparse_initializer
            .iter()
            .filter_map(|s| s.values.as_ref());
        let constants = graph
            .node
            .iter()
            .filter(|n| n.op_type.as_deref() == Some("Constant"));
        let constants = constants
            .filter(|n| is_standard(n))
            .filter_map(|node| Some((node.output.first()?.clone(), held(node)?)));
        let own = graph.initializer.iter().chain(sparse);
        let own = own
            .map(|t| (t.name().to_owned(), t.clone()))
            .chain(constants);
        let own: HashMap<String, TensorProto> = own
            .filter(|(_, tensor)| plan.turns(tensor.data_type.unwrap_or(0)))
            .collect();
        scope
            .marks
            .stuck
            .extend(own.keys().filter(|name| plan.keeps_name(name)).cloned());
        for node in &graph.node {
            decide::mark_sizes(node, site.env, &mut scope.marks);
        }
        let mut seen = HashSet::new();
        let wants = loop {
            let mut wants = Wants::default();
            self.wants(graph, site, &scope.marks, &mut wants);
            let mut stuck = Vec::new();
            for (name, tensor) in &own {
                if !wants.turn(name) || !seen.insert(name.clone()) {
                    continue;
                }
                if let Some(why) = range::unfit(plan.model, tensor, plan.dtype)? {
                    stuck.push((name.clone(), why));
                }
            }
            if stuck.is_empty() {
                break wants;
            }
            stuck.sort();
            for (name, why) in stuck {
                let note = format!(
                    "`{name}` stays {}, with what reads it: {why}",
                    element_name(1)
                );
                if self.told.insert(note.clone()) {
                    self.notes.push(note);
                }
                scope.marks.stuck.insert(name);
            }
        };
        let given: HashSet<String> = graph.output.iter().map(|o| o.name().to_owned()).collect();
        let turn = |name: &str| own.contains_key(name) && wants.turn(name) && !given.contains(name);
        let sparse = graph
            .sparse_initializer
            .iter_mut()
            .filter_map(|s| s.values.as_mut());
        let all = graph.initializer.iter_mut().map(|t| (Part::Tensor, t));
        for (part, tensor) in all.chain(sparse.map(|t| (Part::SparseTensor, t))) {
            let name = tensor.name().to_owned();
            let mut element = tensor.data_type.unwrap_or(0);
            if turn(&name) {
                *tensor = plan.model.cast(tensor, plan.dtype)?;
                element = plan.to;
                self.places.push((site.scope.to_vec(), part, name.clone()));
            }
            scope.types.insert(name, element);
        }
        scope
            .marks
            .fixed
            .extend(own.keys().filter(|name| !turn(name)).cloned());
        Ok(())
    }

    /// What nodes of a graph, and of those inside, want of the values that they read.
    fn wants(&self, graph: &GraphProto, site: &Site<'_>, marks: &Marks, wants: &mut Wants) {
        let plan = self.plan;
        let mut marks = marks.clone();
        for node in &graph.node {
            decide::mark_sizes(node, site.env, &mut marks);
            let decision = decide::on(node, site.env, site.opset, &marks, plan);
            for (input, want) in node.input.iter().zip(&decision.inputs) {
                if let Want::Element(element) = want {
                    wants.0.entry(input.clone()).or_default()[usize::from(*element == plan.to)] =
                        true;
                }
            }
            for inner in node.attribute.iter().flat_map(AttributeProto::subgraphs) {
                let env = plan
                    .reading
                    .graph(inner, site.opset, site.env, &[], site.call);
                let inside = Site { env: &env, ..*site };
                let marks = Marks {
                    kept: !decision.inside,
                    ..marks.clone()
                };
                self.wants(inner, &inside, &marks, wants);
            }
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

    /// Gives a node that holds a tensor one of the other type.
    fn fill(&mut self, node: &mut NodeProto) -> Walked<()> {
        let plan = self.plan;
        let tensor = match node.op_type.as_deref() {
            Some("Constant") => held(node),
            _ => named(node, "value").and_then(|a| a.t.clone()),
        };
        let tensor = match tensor {
            Some(tensor) => plan.model.cast(&tensor, plan.dtype)?,
            // 0 is what is filled in without one.
            None => Tensor {
                dtype: plan.dtype,
                dims: vec![1],
                data: vec![0; plan.dtype.size()].into(),
            }
            .to_proto(""),
        };
        node.attribute.retain(|a| !a.name().starts_with("value_"));
        let attribute = AttributeProto {
            name: Some("value".to_owned()),
            r#type: Some(4),
            t: Some(tensor),
            ..AttributeProto::default()
        };
        match node.attribute.iter_mut().find(|a| a.name() == "value") {
            Some(old) => old.t = attribute.t,
            None => node.attribute.push(attribute),
        }
        Ok(())
    }

    /// Makes a node call its function as it is for the types of this call; gives the types of what it makes.
    fn call(
        &mut self,
        node: &mut NodeProto,
        site: &Site<'_>,
        before: &NodeProto,
    ) -> Walked<Vec<i32>> {
        let plan = self.plan;
        let Some(function) = plan.reading.function(before) else {
            return Err(at_fault(before, "it calls no function"));
        };
        let known: Vec<Known> = before.input.iter().map(|i| site.env.known(i)).collect();
        let attributes = bound(function, before, site.call);
        // What says a type in the body is an attribute of the call.
        let referred = function.node.iter().flat_map(|n| &n.attribute);
        let referred = referred.filter(|a| TYPE_ATTRIBUTES.contains(&a.name()));
        let types = referred.filter_map(|a| attributes.get(a.ref_attr_name.as_deref()?)?.i);
        let elements = known.iter().map(|k| i64::from(k.element));
        let given: Vec<i64> = elements.chain(types).collect();
        let callee = callee_of(function);
        let found = self
            .variants
            .iter()
            .find(|v| v.callee == callee && v.given == given);
        if let Some(variant) = found {
            node.op_type = Some(variant.name.clone());
            return Ok(variant.outputs.clone());
        }
        // The first takes the place of the function, unless some calls need that as it is.
        let first = !self.variants.iter().any(|v| v.callee == callee) && plan.keep.is_empty();
        let mut name = callee.1.clone();
        if !first {
            let taken = self.taken.entry(callee.0.clone()).or_default();
            let hint = format!("{name}_{}", element_name(plan.to));
            name.clone_from(&hint);
            let mut count = 1;
            while !taken.insert(name.clone()) {
                count += 1;
                name = format!("{hint}_{count}");
            }
        }
        let (function, outputs) = self.specialised(function, &name, &known, &attributes)?;
        node.op_type = Some(name.clone());
        self.variants.push(Variant {
            callee,
            given,
            name,
            function,
            outputs: outputs.clone(),
        });
        Ok(outputs)
    }

    /// A function for inputs of these types.
    fn specialised(
        &mut self,
        function: &FunctionProto,
        name: &str,
        given: &[Known],
        attributes: &Attributes,
    ) -> Walked<(FunctionProto, Vec<i32>)> {
        let mut function = function.clone();
        function.name = Some(name.to_owned());
        let mut body = take_body(&mut function);
        let own = function
            .opset_import
            .iter()
            .find(|o| is_own(o.domain.as_deref()));
        let opset = own
            .and_then(|o| o.version)
            .unwrap_or(self.plan.model.opset());
        let env = self
            .plan
            .reading
            .graph(&body, opset, &Env::default(), given, attributes);
        let way = [format!("function `{}`", key_of(&function))];
        let site = Site {
            scope: &way,
            opset,
            env: &env,
            call: attributes,
        };
        let ends = Ends {
            inputs: true,
            outputs: true,
        };
        let mut names = crate::graph::messages::names(&body);
        let outputs = self.graph(&mut body, &site, &Scope::default(), ends, &mut names)?;
        put_body(&mut function, body);
        Ok((function, outputs))
    }
}

/// What readers want of values: whether some want them as they are, and some of the other type.
#[derive(Default)]
struct Wants(HashMap<String, [bool; 2]>);

impl Wants {
    fn turn(&self, name: &str) -> bool {
        self.0.get(name) == Some(&[false, true])
    }
}

/// The nodes of a graph as they are written.
#[derive(Default)]
struct Written {
    list: Vec<NodeProto>,
    head: Vec<NodeProto>,
    /// Casts, by the node that they come behind.
    casts: HashMap<usize, Vec<NodeProto>>,
    makers: HashMap<String, usize>,
    /// Values that are to have the names of outputs.
    returned: Vec<(String, String)>,
    renamed: HashMap<String, String>,
    touched: BTreeSet<String>,
}

impl Written {
    fn push(&mut self, node: NodeProto) {
        for output in node.output.iter().filter(|o| !o.is_empty()) {
            self.makers.insert(output.clone(), self.list.len());
        }
        self.list.push(node);
    }

    /// Puts a node behind the one that makes a value, or before all.
    fn behind(&mut self, value: &str, node: NodeProto) {
        self.touched.insert(node_key(&node));
        match self.makers.get(value) {
            Some(&at) => self.casts.entry(at).or_default().push(node),
            None => self.head.push(node),
        }
    }

    fn rename_returned(&mut self) {
        for (from, to) in std::mem::take(&mut self.returned) {
            self.rename(&from, &to);
        }
    }

    /// Gives a value that a node makes another name, wherever it is read.
    fn rename(&mut self, from: &str, to: &str) {
        let nodes = self
            .list
            .iter_mut()
            .chain(self.casts.values_mut().flatten());
        for node in nodes.chain(&mut self.head) {
            let before = node_key(node);
            if rename_in(node, from, to) {
                self.touched.extend([before, node_key(node)]);
            }
        }
        if let Some(at) = self.makers.remove(from) {
            self.makers.insert(to.to_owned(), at);
        }
        self.renamed.insert(from.to_owned(), to.to_owned());
    }

    fn nodes(&mut self) -> Vec<NodeProto> {
        let mut nodes = std::mem::take(&mut self.head);
        self.touched.extend(nodes.iter().map(node_key));
        for (at, node) in std::mem::take(&mut self.list).into_iter().enumerate() {
            nodes.push(node);
            nodes.extend(self.casts.remove(&at).unwrap_or_default());
        }
        nodes
    }
}

/// Renames a value at a node, and in the graphs inside that read it; whether it is there.
fn rename_in(node: &mut NodeProto, from: &str, to: &str) -> bool {
    let mut found = false;
    for name in node
        .input
        .iter_mut()
        .chain(&mut node.output)
        .filter(|name| *name == from)
    {
        to.clone_into(name);
        found = true;
    }
    for inner in node
        .attribute
        .iter_mut()
        .flat_map(AttributeProto::subgraphs_mut)
    {
        let mut read = Vec::new();
        captured_names(inner, &mut read, 0);
        if !read.contains(&from) {
            continue;
        }
        found = true;
        for output in inner
            .output
            .iter_mut()
            .filter(|o| o.name.as_deref() == Some(from))
        {
            output.name = Some(to.to_owned());
        }
        for node in &mut inner.node {
            rename_in(node, from, to);
        }
    }
    found
}

/// The value of a type, cast where a node wants it.
fn cast(
    value: &str,
    to: i32,
    scope: &mut Scope,
    written: &mut Written,
    names: &mut Names,
) -> String {
    if let Some(cast) = scope.casts.get(&(value.to_owned(), to)) {
        return cast.clone();
    }
    let name = names.fresh(&format!("{value}/{}", element_name(to)));
    written.behind(value, cast_node(value, &name, to));
    scope.types.insert(name.clone(), to);
    scope.casts.insert((value.to_owned(), to), name.clone());
    name
}

fn cast_node(value: &str, name: &str, to: i32) -> NodeProto {
    let mut node = NodeProto {
        name: Some(format!("{name}/cast")),
        op_type: Some("Cast".to_owned()),
        input: vec![value.to_owned()],
        output: vec![name.to_owned()],
        ..NodeProto::default()
    };
    set(&mut node, "to", i64::from(to));
    node
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
