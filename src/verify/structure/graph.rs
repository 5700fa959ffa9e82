//! Graphs: their names, and that every value is made once and before it is read.

use std::collections::{HashMap, HashSet};

use crate::graph::schemas::type_element;
use crate::onnx::messages::{GraphProto, NodeProto, TypeValue, ValueInfoProto};

use super::scope::Scope;
use super::{Check, Rule, types};

impl<'a> Check<'a> {
    /// A graph; `main`: that of the model. Gives the types of its outputs.
    pub(super) fn graph(
        &mut self,
        graph: &'a GraphProto,
        around: &Scope<'_>,
        main: bool,
    ) -> Vec<Option<String>> {
        if graph.name().is_empty() {
            self.fault(Rule::Name, "the graph has no name");
        }
        for (what, values) in [("input", &graph.input), ("output", &graph.output)] {
            for value in values {
                self.declaration(value, what, main);
            }
        }
        if main && graph.output.is_empty() {
            self.fault(Rule::Name, "the graph has no outputs");
        }
        let mut scope = Scope::inside(around);
        for input in &graph.input {
            let name = input.name();
            if scope.has_itself(name) {
                self.fault(Rule::Name, format!("there is more than one input `{name}`"));
            }
            scope.add(name, types::declared(input));
        }
        self.initializers(graph, &mut scope, main);
        let noted = graph.value_info.iter().chain(&graph.output);
        let declared: HashMap<&str, String> = noted
            .filter_map(|v| Some((v.name(), types::declared(v)?)))
            .collect();
        self.nodes(&graph.node, &mut scope, &declared);
        let mut kinds = Vec::with_capacity(graph.output.len());
        for output in &graph.output {
            let name = output.name();
            if !name.is_empty() && !scope.has_itself(name) {
                self.fault(Rule::Order, format!("nothing makes the output `{name}`"));
            }
            let kind = scope.kind(name).map(str::to_owned);
            kinds.push(kind.or_else(|| types::declared(output)));
        }
        kinds
    }

    fn declaration(&mut self, value: &ValueInfoProto, what: &str, main: bool) {
        let name = value.name();
        if name.is_empty() {
            return self.fault(Rule::Name, format!("an {what} of the graph has no name"));
        }
        // Those of inner graphs may leave their types to the graphs around them.
        if !main {
            return;
        }
        let kind = value.r#type.as_ref().and_then(|kind| kind.value.as_ref());
        let text = match kind {
            None => "has no type",
            Some(TypeValue::Tensor(tensor)) if tensor.shape.is_none() => "has no dimensions",
            Some(TypeValue::Tensor(tensor)) if type_element(tensor.elem_type()).is_none() => {
                "is of no element type that ONNX has"
            }
            Some(_) => return,
        };
        self.fault(Rule::Type, format!("the {what} `{name}` {text}"));
    }

    fn initializers(&mut self, graph: &'a GraphProto, scope: &mut Scope<'_>, main: bool) {
        let inputs: HashSet<&str> = graph.input.iter().map(ValueInfoProto::name).collect();
        let mut names = HashSet::new();
        let dense = graph
            .initializer
            .iter()
            .map(|t| (t.name(), types::tensor(t.data_type())));
        let sparse = graph.sparse_initializer.iter().filter_map(|s| {
            let values = s.values.as_ref()?;
            Some((values.name(), types::tensor(values.data_type())))
        });
        let all: Vec<(&str, Option<String>)> = dense.chain(sparse).collect();
        for (name, kind) in all {
            if name.is_empty() {
                self.fault(Rule::Name, "an initializer has no name");
                continue;
            }
            if !names.insert(name) {
                self.fault(
                    Rule::Name,
                    format!("there is more than one initializer `{name}`"),
                );
            }
            if main && self.model.proto.ir_version() < 4 && !inputs.contains(name) {
                let text = format!(
                    "the initializer `{name}` is no input, as files before IR version 4 have it"
                );
                self.fault(Rule::Name, text);
            }
            if let (Some(declared), Some(kind)) = (scope.kind(name), &kind)
                && inputs.contains(name)
                && declared != kind
            {
                let text =
                    format!("the initializer `{name}` is {kind}, and declared as {declared}");
                self.fault(Rule::Type, text);
            }
            scope.add(name, kind);
        }
        for tensor in &graph.initializer {
            self.tensor(tensor, &format!("the initializer `{}`", tensor.name()));
        }
        for sparse in &graph.sparse_initializer {
            let name = sparse.values.as_ref().map_or("", |values| values.name());
            self.sparse_tensor(sparse, &format!("the sparse initializer `{name}`"));
        }
    }

    /// Nodes in their order. `declared`: what is noted of the types of values.
    pub(super) fn nodes(
        &mut self,
        nodes: &'a [NodeProto],
        scope: &mut Scope<'_>,
        declared: &HashMap<&str, String>,
    ) {
        let mut later: Option<Later<'_>> = None;
        for node in nodes {
            self.found.nodes += 1;
            let what = name(node);
            for input in node.input.iter().filter(|input| !input.is_empty()) {
                if !scope.has(input) {
                    let later = later.get_or_insert_with(|| Later::of(nodes));
                    self.fault(
                        Rule::Order,
                        format!("{what} reads `{input}`, {}", later.why(node, input)),
                    );
                }
            }
            let kinds = self.node(node, &what, scope);
            for (output, kind) in node.output.iter().zip(kinds) {
                if output.is_empty() {
                    continue;
                }
                if scope.has(output) {
                    self.fault(
                        Rule::Name,
                        format!("{what} makes `{output}`, which is there already"),
                    );
                }
                let noted = declared.get(output.as_str());
                if let (Some(kind), Some(noted)) = (&kind, noted)
                    && kind != noted
                {
                    let text = format!(
                        "{what} makes `{output}` of type {kind}, and it is declared as {noted}"
                    );
                    self.fault(Rule::Type, text);
                }
                scope.add(output, kind.or_else(|| noted.cloned()));
            }
        }
    }
}

/// What a node is called in a sentence.
fn name(node: &NodeProto) -> String {
    let output = node.output.iter().find(|output| !output.is_empty());
    let name = match node.name() {
        "" => output.map_or("", String::as_str),
        name => name,
    };
    format!("node `{name}` ({})", node.op_type())
}

/// Why values are not there when they are read.
struct Later<'n> {
    made: HashSet<&'n str>,
    /// What nodes of a circle make, and nodes behind one.
    stuck: HashSet<&'n str>,
}

impl<'n> Later<'n> {
    fn of(nodes: &'n [NodeProto]) -> Self {
        let outputs = |node: &'n NodeProto| node.output.iter().map(String::as_str);
        let made: HashSet<&str> = nodes
            .iter()
            .flat_map(outputs)
            .filter(|o| !o.is_empty())
            .collect();
        // How many inputs of each node wait for other nodes, and who waits for what.
        let mut waits = vec![0usize; nodes.len()];
        let mut readers: HashMap<&str, Vec<usize>> = HashMap::new();
        for (place, node) in nodes.iter().enumerate() {
            for input in node
                .input
                .iter()
                .filter(|input| made.contains(input.as_str()))
            {
                waits[place] += 1;
                readers.entry(input).or_default().push(place);
            }
        }
        let mut ready: Vec<usize> = (0..nodes.len())
            .filter(|&place| waits[place] == 0)
            .collect();
        let mut stuck = made.clone();
        while let Some(place) = ready.pop() {
            for output in outputs(&nodes[place]) {
                if stuck.remove(output) {
                    for &reader in readers.get(output).into_iter().flatten() {
                        waits[reader] -= 1;
                        if waits[reader] == 0 {
                            ready.push(reader);
                        }
                    }
                }
            }
        }
        Later { made, stuck }
    }

    fn why(&self, node: &NodeProto, input: &str) -> &'static str {
        let itself = node.output.iter().any(|output| output == input);
        match (self.made.contains(input), self.stuck.contains(input)) {
            _ if itself => "which it makes itself",
            (false, _) => "which is nowhere",
            (true, false) => "which a node behind it makes: the nodes are out of order",
            (true, true) => "which follows from what it makes: the nodes form a circle",
        }
    }
}
