//! Another version of ONNX's operators.
//!
//! A graph goes from version to version. Where one has changed an operator, its nodes are written in the form that it has
//! on the other side: by an adapter ([`up`], [`down`]), or, where the operator is not there, in others ([`decompose`]). All
//! other nodes stand as they are, and mean what they meant. What a form can say is in the table of forms
//! ([`schemas`]); a test there holds every change that it has against the adapters.

mod decompose;
mod down;
mod resize;
mod softmax;
mod step;
#[cfg(test)]
mod tests;
mod up;
mod writer;

use std::collections::HashSet;

use crate::graph::messages::names;
use crate::graph::schemas;
use crate::graph::{GraphError, Names, captured_names};
use crate::onnx::Model;
use crate::onnx::messages::{AttributeProto, GraphProto, NodeProto};
use crate::surgery::{Editor, Part, Place, node_key};

use super::known::{Env, Known, Reading, callee_of, is_own, put_body, take_body};
use super::types::declarations;
use super::{Runtimes, TransformError, Transformed};
use writer::{Refusal, Writer, shown};

/// The oldest version from which a model is taken.
const OLDEST: i64 = 7;
/// The oldest version to which one is brought.
pub(super) const OLDEST_WRITTEN: i64 = 9;

/// The newest version of ONNX's operators that is known.
pub fn newest_opset() -> i64 {
    schemas::newest()
}

/// The model written in version `to` of ONNX's own operators: its graph, graphs inside of nodes, and its functions, each from
/// the version that it imports. Nodes change where a version in between has changed their operator, with constants that
/// become inputs, or inputs that become attributes; operators of other domains stay. What is read by nobody any more goes.
/// The IR version stays.
///
/// # Errors
/// When a node uses what the other version does not have, which is told by name; or the type or rank of a value would have
/// to be known and is not noted, and there is no onnxruntime to infer it.
pub fn opset<'m>(
    model: &'m Model,
    to: i64,
    runtimes: &dyn Runtimes,
) -> Result<Transformed<'m>, TransformError> {
    if !(OLDEST_WRITTEN..=newest_opset()).contains(&to) {
        return Err(TransformError::Unfit(format!(
            "opset {to} is not written here; {OLDEST_WRITTEN} to {} are",
            newest_opset()
        )));
    }
    if !model.proto.training_info.is_empty() {
        return Err(TransformError::Unfit(
            "the model carries training graphs, which stay in their version".to_owned(),
        ));
    }
    let mut reading = Reading::of(model);
    let mut asked = false;
    loop {
        let mut conversion = Conversion {
            model,
            to,
            reading: &reading,
            places: Vec::new(),
            notes: Vec::new(),
        };
        match conversion.model() {
            Ok(edited) => {
                let mut editor = Editor::new(model)?;
                editor.adopt(edited, conversion.places);
                let notes = conversion.notes;
                return Ok(Transformed {
                    notes,
                    ..Transformed::new(model, editor.finish()?)
                });
            }
            Err((node, Refusal::Cannot(reason))) if node.is_empty() => {
                return Err(TransformError::Unfit(reason));
            }
            Err((node, Refusal::Cannot(reason))) => {
                return Err(GraphError::Node { node, reason }.into());
            }
            // Somebody who runs the model knows more.
            Err((_, Refusal::Unknown(value))) => {
                let unknown = unknown(model, &reading);
                if asked || !unknown.contains(&value) {
                    return Err(TransformError::NoType {
                        value,
                        source: None,
                    });
                }
                asked = true;
                for declared in declarations(model, &unknown, runtimes)? {
                    if let Some(known) = Known::declared(&declared) {
                        reading.learned.insert(declared.name().to_owned(), known);
                    }
                }
            }
        }
    }
}

/// Values of the main graph of which something is not known.
fn unknown(model: &Model, reading: &Reading<'_>) -> Vec<String> {
    let env = reading.main(model.graph());
    let made = model.graph().node.iter().flat_map(|n| &n.output);
    made.filter(|name| {
        let known = env.known(name);
        !name.is_empty() && (known.element == 0 || known.dims.is_none())
    })
    .cloned()
    .collect()
}

/// A refusal, and the node that it is of; no name where it is of the model.
type Refused = (String, Refusal);

struct Conversion<'c> {
    model: &'c Model,
    to: i64,
    reading: &'c Reading<'c>,
    /// What may differ.
    places: Vec<Place>,
    notes: Vec<String>,
}

impl Conversion<'_> {
    fn model(&mut self) -> Result<crate::onnx::messages::ModelProto, Refused> {
        let mut proto = self.model.proto.clone();
        let mut imports = proto.opset_import.iter_mut();
        let own = imports.find(|o| is_own(o.domain.as_deref()));
        let from = self.model.opset();
        match own {
            Some(import) => import.version = Some(self.to),
            None => {
                let reason = "the model imports none of ONNX's own operators".to_owned();
                return Err((String::new(), Refusal::Cannot(reason)));
            }
        }
        self.places
            .push((Vec::new(), Part::OperatorSet, "ai.onnx".to_owned()));
        let env = self.reading.main(self.model.graph());
        if let Some(graph) = &mut proto.graph {
            let mut names = names(graph);
            self.graph(graph, &env, &mut names, &[], from)?;
        }
        for function in &mut proto.functions {
            let callee = callee_of(function);
            let key = match callee.2.as_str() {
                "" => format!("{}:{}", callee.0, callee.1),
                overload => format!("{}:{}:{overload}", callee.0, callee.1),
            };
            let mut imports = function.opset_import.iter_mut();
            let Some(import) = imports.find(|o| is_own(o.domain.as_deref())) else {
                continue;
            };
            let from = import.version.unwrap_or(1);
            import.version = Some(self.to);
            self.places.push((Vec::new(), Part::Function, key.clone()));
            let mut body = take_body(function);
            let env = self.reading.body(&callee).unwrap_or_default();
            let scope = [format!("function `{key}`")];
            let mut names = names(&body);
            let converted = self.graph(&mut body, &env, &mut names, &scope, from);
            put_body(function, body);
            converted?;
        }
        Ok(proto)
    }

    /// Brings a graph, and those inside of its nodes, to the other version.
    fn graph(
        &mut self,
        graph: &mut GraphProto,
        env: &Env,
        names: &mut Names,
        scope: &[String],
        from: i64,
    ) -> Result<(), Refused> {
        if from < OLDEST {
            let what = scope.first().map_or("the model", String::as_str);
            let reason = format!("{what} is of opset {from}; {OLDEST} is the oldest that is read");
            return Err((String::new(), Refusal::Cannot(reason)));
        }
        if from > newest_opset() {
            let what = scope.first().map_or("the model", String::as_str);
            let newest = newest_opset();
            let reason = format!("{what} is of opset {from}; {newest} is the newest that is known");
            return Err((String::new(), Refusal::Cannot(reason)));
        }
        for node in &mut graph.node {
            let key = node_key(node);
            for attribute in &mut node.attribute {
                let name = attribute.name().to_owned();
                for (at, inner) in AttributeProto::subgraphs_mut(attribute).enumerate() {
                    let mut inside = scope.to_vec();
                    inside.push(match at {
                        0 => format!("`{name}` of node `{key}`"),
                        at => format!("`{name}` {at} of node `{key}`"),
                    });
                    let known = self
                        .reading
                        .graph(inner, from, env, &[], &Default::default());
                    self.graph(inner, &known, names, &inside, from)?;
                }
            }
        }
        let mut env = env.clone();
        let mut writer = Writer::new(self.model, &mut env, names, &mut self.notes);
        let touched = step::all(&mut graph.node, &mut writer, from, self.to)?;
        let Writer {
            constants, let_go, ..
        } = writer;
        let mut places: Vec<(Part, String)> = Vec::new();
        places.extend(touched.into_iter().map(|key| (Part::Node, key)));
        let read = read(graph, &constants);
        // Those that a later version has taken back are read by nobody.
        let constants = constants
            .into_iter()
            .filter(|n| n.output.iter().any(|o| read.contains(o)));
        let constants: Vec<NodeProto> = constants.collect();
        places.extend(constants.iter().map(|node| (Part::Node, node_key(node))));
        graph.node.splice(0..0, constants);
        drop_unread(graph, &let_go, &read, &mut places);
        self.places.extend(
            places
                .into_iter()
                .map(|(part, name)| (scope.to_vec(), part, name)),
        );
        Ok(())
    }
}

/// All that something in a graph reads, or that it gives.
fn read(graph: &GraphProto, constants: &[NodeProto]) -> HashSet<String> {
    let mut read: Vec<&str> = graph.output.iter().map(|o| o.name()).collect();
    for node in graph.node.iter().chain(constants) {
        read.extend(node.input.iter().map(String::as_str));
        let inner = node.attribute.iter().flat_map(AttributeProto::subgraphs);
        inner.for_each(|inner| captured_names(inner, &mut read, 0));
    }
    for annotation in &graph.quantization_annotation {
        let tensors = annotation.quant_parameter_tensor_names.iter();
        read.extend(tensors.filter_map(|t| t.value.as_deref()));
    }
    read.into_iter().map(str::to_owned).collect()
}

/// Takes constants away that some nodes have read, and no other does.
fn drop_unread(
    graph: &mut GraphProto,
    let_go: &[String],
    read: &HashSet<String>,
    places: &mut Vec<(Part, String)>,
) {
    let gone: HashSet<&String> = let_go.iter().filter(|name| !read.contains(*name)).collect();
    if gone.is_empty() {
        return;
    }
    let goes = |name: &str| gone.iter().any(|gone| *gone == name);
    graph.node.retain(|node| {
        let constant = node.op_type.as_deref() == Some("Constant");
        let goes = constant && node.output.iter().any(|o| goes(o));
        if goes {
            places.push((Part::Node, node_key(node)));
        }
        !goes
    });
    let listed: HashSet<String> = graph.input.iter().map(|v| v.name().to_owned()).collect();
    graph.initializer.retain(|tensor| {
        let goes = goes(tensor.name()) && !listed.contains(tensor.name());
        if goes {
            places.push((Part::Tensor, tensor.name().to_owned()));
        }
        !goes
    });
    graph.value_info.retain(|value| {
        let goes = goes(value.name());
        if goes {
            places.push((Part::ValueInfo, value.name().to_owned()));
        }
        !goes
    });
}
