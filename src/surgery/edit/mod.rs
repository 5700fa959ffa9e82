//! An editor on the messages of a model's file.
//!
//! What leaves ftsurgery is the file that came in with some things changed, and a [`Manifest`] that says
//! which. An [`Editor`] is told what to do, one operation after the other; each is checked at once, with
//! an error that names what does not fit, and leaves every message alone that it does not name. What is
//! not edited is therefore encoded as it was. [`verify::holds`](super::holds) holds the file that was
//! written against its manifest.
//!
//! | operation | what it changes |
//! | --- | --- |
//! | [`keep`](Editor::keep) | nodes, tensors, declarations and outputs that do not serve some values go |
//! | [`keep_inside`](Editor::keep_inside) | what does not serve the outputs of graphs inside of nodes, and of functions, goes from these |
//! | [`add_node`](Editor::add_node), [`add_tensor`](Editor::add_tensor) | a node, an initializer, behind all others |
//! | [`splice`](Editor::splice) | nodes come behind a value, and what read it reads another |
//! | [`sort`](Editor::sort) | nodes move behind those that make what they read |
//! | [`rework`](Editor::rework), [`open_batch`](Editor::open_batch) | nodes compute the same in another form; the batch is declared open |
//! | [`rename`](Editor::rename), [`rename_node`](Editor::rename_node) | a value in all places and graphs that name it; a node |
//! | [`set_tensor`](Editor::set_tensor), [`set_values`](Editor::set_values) | the values of an initializer or `Constant` |
//! | [`set_inputs`](Editor::set_inputs) | what the graph declares as inputs: a value that is fed is not made any more |
//! | [`set_outputs`](Editor::set_outputs) | what the graph declares as outputs |
//! | [`drop_unread_inputs`](Editor::drop_unread_inputs), [`drop_uncalled_functions`](Editor::drop_uncalled_functions) | inputs that nothing reads, functions that nothing calls, go |
//! | [`set_input_size`](Editor::set_input_size) | sizes that an input declares; noted types of inner values go |
//! | [`take_in`](Editor::take_in) | external data, everywhere in the model, moves inside |
//! | [`inline`](Editor::inline) | calls of the model's own functions become their nodes, and the functions go |
//! | [`adopt`](Editor::adopt) | what somebody has changed, wherever it is, by naming it |
//! | `change` | whatever it tells |
//! | [`set_metadata`](Editor::set_metadata), [`remove_metadata`](Editor::remove_metadata) | a metadata property of the model |

mod add;
mod adopt;
mod cut;
mod declare;
mod inline;
mod keep;
mod manifest;
mod order;
mod rename;
mod rework;
mod splice;
mod take_in;
mod tensors;
#[cfg(test)]
pub(crate) mod tests;

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};

use crate::graph::messages::{all_graphs, defined, inner_graphs, value_names};
use crate::graph::{Names, Value, value_to_proto};
use crate::onnx::messages::{GraphProto, ModelProto, NodeProto, ValueInfoProto};
use crate::onnx::{EMPTY_GRAPH, Model, set_metadata};

use super::SurgeryError;
use super::difference::{Difference, Part, What};
use super::verify::{Named, differences, unnumbered};

pub use adopt::Place;
pub(crate) use keep::{reads, serving};
pub use manifest::Manifest;
use rename::lasting;
pub(crate) use rename::rename_values;
pub use rework::Rework;
pub use take_in::taken_in;
pub(crate) use tensors::held;
pub(super) use tensors::{converted, is_constant};

/// A model under the knife.
#[derive(Debug)]
pub struct Editor<'m> {
    original: &'m Model,
    /// The original with its values and nodes renamed, with what is edited compared.
    before: Cow<'m, ModelProto>,
    proto: ModelProto,
    renames: Vec<Difference>,
    /// The parts of the main graph, and metadata, that an operation has named.
    touched: BTreeSet<(Part, String)>,
    /// Those inside of other graphs and functions.
    inside: BTreeSet<Place>,
    /// Values that the original does not have.
    added: HashSet<String>,
    /// Nodes in whose inner graphs, and other scopes in which an operation may have changed anything.
    scopes: BTreeSet<String>,
    taken_in: bool,
    inlined: bool,
}

/// What a [change](Editor::change) of a graph names.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Parts of the main graph.
    parts: BTreeSet<(Part, String)>,
    /// Nodes of the main graph in whose inner graphs something is changed.
    inside: BTreeSet<String>,
}

impl Told {
    /// A part of the main graph.
    pub fn part(&mut self, part: Part, name: &str) {
        self.parts.insert((part, name.to_owned()));
    }

    /// The inner graphs of a node of the main graph, or another scope by its name in a manifest.
    pub fn inside(&mut self, node: &str) {
        self.inside.insert(node.to_owned());
    }
}

/// What an [`Editor`] made.
#[derive(Debug)]
pub struct Edited {
    /// The new model.
    pub proto: ModelProto,
    /// All that is not as it was.
    pub manifest: Manifest,
}

impl<'m> Editor<'m> {
    /// An editor that has not changed anything of `original` yet.
    ///
    /// # Errors
    /// When the file has fields beyond the schema, which writing would lose.
    pub fn new(original: &'m Model) -> Result<Self, SurgeryError> {
        Editor::on(original, original.proto.clone())
    }

    /// An editor of `proto`, which is made of `original`.
    fn on(original: &'m Model, proto: ModelProto) -> Result<Self, SurgeryError> {
        original.ensure_fully_known()?;
        Ok(Editor {
            original,
            before: Cow::Borrowed(&original.proto),
            proto,
            renames: Vec::new(),
            touched: BTreeSet::new(),
            inside: BTreeSet::new(),
            added: HashSet::new(),
            scopes: BTreeSet::new(),
            taken_in: false,
            inlined: false,
        })
    }

    /// An editor that goes on with what another has made of `original`: the manifest in the end is
    /// that of both together.
    ///
    /// # Errors
    /// As [`Editor::new`], and when `manifest` renames what `original` does not have.
    pub fn resume(
        original: &'m Model,
        edited: &Model,
        manifest: &Manifest,
    ) -> Result<Self, SurgeryError> {
        let mut editor = Editor::on(original, edited.proto.clone())?;
        let (before, missing) = manifest.with_renames(original);
        if !missing.is_empty() {
            return Err(SurgeryError::NotAsClaimed {
                unexplained: Vec::new(),
                missing,
            });
        }
        if let Some(before) = before {
            editor.before = Cow::Owned(before.proto);
        }
        editor.renames.extend(manifest.renames().cloned());
        for Difference {
            part,
            name,
            what,
            scope,
        } in manifest.others()
        {
            if scope.is_empty() {
                editor.touched.insert((*part, name.clone()));
            }
            match (part, what) {
                (Part::Tensor, What::Added { .. }) => drop(editor.added.insert(name.clone())),
                (Part::Node, What::Added { .. }) => {
                    let graph = editor.proto.graph.iter();
                    let mut nodes = graph.flat_map(|g| &g.node);
                    let node = nodes.find(|node| node_key(node) == *name);
                    editor
                        .added
                        .extend(node.into_iter().flat_map(|n| n.output.clone()));
                }
                (_, What::TakenIn) => editor.taken_in = true,
                (Part::Function, What::Removed) => editor.inlined = true,
                _ => {}
            }
        }
        Ok(editor)
    }

    /// The main graph as it stands.
    pub fn graph(&self) -> &GraphProto {
        self.proto.graph.as_ref().unwrap_or(&EMPTY_GRAPH)
    }

    /// The messages as they stand.
    pub fn proto(&self) -> &ModelProto {
        &self.proto
    }

    /// Whether a node of the main graph, or a graph inside of one, reads a value, or it is an output.
    pub fn reads(&self, value: &str) -> bool {
        let graph = self.graph();
        let mut read = graph.node.iter().flat_map(keep::reads);
        read.any(|name| name == value) || graph.output.iter().any(|o| o.name() == value)
    }

    fn graph_mut(&mut self) -> &mut GraphProto {
        self.proto.graph.get_or_insert_default()
    }

    fn touch(&mut self, part: Part, name: impl Into<String>) {
        self.touched.insert((part, name.into()));
    }

    /// All names that something new could clash with: of values and nodes, those of inner graphs, too.
    pub(crate) fn names(&self) -> Names {
        crate::graph::messages::names(self.graph())
    }

    /// As [`Editor::declare_outputs`].
    ///
    /// # Errors
    /// As [`Editor::declare_outputs`].
    pub fn set_outputs(&mut self, outputs: &[Value]) -> Result<(), SurgeryError> {
        let outputs: Vec<ValueInfoProto> = outputs.iter().map(value_to_proto).collect();
        self.declare_outputs(&outputs)
    }

    /// Hands the model over to a change that tells all parts of the main graph which it makes, takes away, moves or makes
    /// otherwise.
    pub(crate) fn change<R>(&mut self, change: impl FnOnce(&mut ModelProto, &mut Told) -> R) -> R {
        let mut told = Told::default();
        let made = change(&mut self.proto, &mut told);
        self.touched.extend(told.parts);
        self.scopes.extend(told.inside);
        made
    }

    /// Sets a metadata property of the model.
    pub fn set_metadata(&mut self, key: &str, value: &str) {
        self.touch(Part::Metadata, key);
        set_metadata(&mut self.proto, key, value);
    }

    /// Takes a metadata property from the model, where it has it.
    pub fn remove_metadata(&mut self, key: &str) {
        self.touch(Part::Metadata, key);
        let properties = &mut self.proto.metadata_props;
        properties.retain(|p| p.key.as_deref() != Some(key));
    }

    /// The new model, and the manifest of all that is not as it was: an operation that left a part as
    /// it was is in no manifest.
    ///
    /// # Errors
    /// [`SurgeryError::NotAsClaimed`] where something differs that no operation has named, which would
    /// be a defect of this module; and when external data cannot be read.
    pub fn finish(mut self) -> Result<Edited, SurgeryError> {
        // What was renamed and then removed goes by its old name again.
        let mut named: HashMap<String, Vec<Part>> = HashMap::new();
        for (part, name) in &self.touched {
            named.entry(name.clone()).or_default().push(*part);
        }
        for rename in self.renames.iter().rev() {
            if let What::Renamed { to } = &rename.what
                && let Some(parts) = named.get(to).cloned()
            {
                let old = parts.iter().map(|part| (*part, rename.name.clone()));
                self.touched.extend(old);
                named.entry(rename.name.clone()).or_default().extend(parts);
            }
        }
        let renames = Manifest {
            changes: lasting(self.renames.clone(), self.graph()),
        };
        let edited = self.original.with_proto(self.proto);
        let found = match renames.with_renames(self.original) {
            (None, _) => differences(self.original, &edited)?,
            (Some(before), _) => differences(&before, &edited)?,
        };
        let told = |d: &&Difference| match d.what {
            What::TakenIn if self.taken_in => true,
            // In graphs inside of nodes calls become nodes, too.
            _ if self.inlined && !d.scope.is_empty() && d.part == Part::Node => true,
            _ => {
                // An operation names all parts of a name.
                let names = [d.name.as_str(), unnumbered(&d.name)];
                let touched = |name: &str| self.touched.contains(&(d.part, name.to_owned()));
                let inside = |name: &str| {
                    let first = d.scope.iter().map(|step| of_first(step)).collect();
                    let mut scopes = [d.scope.clone(), first].into_iter();
                    scopes.any(|scope| self.inside.contains(&(scope, d.part, name.to_owned())))
                };
                match d.scope.first() {
                    None => names.into_iter().any(touched),
                    Some(outer) => {
                        let node = outer.split_once(" of node `").map(|(_, node)| node);
                        let node = node.and_then(|node| node.strip_suffix('`'));
                        let scope = node.unwrap_or(outer);
                        let mut scopes = [outer, scope, unnumbered(scope)].into_iter();
                        scopes.any(|scope| self.scopes.contains(scope))
                            || names.into_iter().any(inside)
                    }
                }
            }
        };
        let strays: Vec<Difference> = found.iter().filter(|d| !told(d)).cloned().collect();
        if !strays.is_empty() {
            return Err(SurgeryError::NotAsClaimed {
                unexplained: strays,
                missing: Vec::new(),
            });
        }
        let changes = renames.changes.into_iter().chain(found).collect();
        Ok(Edited {
            proto: edited.proto,
            manifest: Manifest { changes },
        })
    }

    /// Whether the main graph has a value, as an input, an initializer or of a node.
    pub(in crate::surgery) fn makes(&self, value: &str) -> bool {
        self.defined().contains(value)
    }

    /// Whether it has all of these.
    pub(in crate::surgery) fn makes_all<'v>(
        &self,
        mut values: impl Iterator<Item = &'v str>,
    ) -> bool {
        let defined = self.defined();
        values.all(|value| defined.contains(value))
    }

    /// The values that the main graph has: inputs, initializers, what nodes make.
    fn defined(&self) -> HashSet<&str> {
        defined(self.graph())
    }
}

/// A step on the way to a graph inside of a node, without the number of a node of which there are several.
fn of_first(step: &str) -> String {
    match step.split_once(" of node `") {
        Some((graph, node)) => {
            let node = node.strip_suffix('`').unwrap_or(node);
            format!("{graph} of node `{}`", unnumbered(node))
        }
        None => step.to_owned(),
    }
}

/// Checks a name that something is to get.
fn ensure_free(name: &str, taken: &HashSet<String>) -> Result<(), SurgeryError> {
    if name.is_empty() || name.contains('\0') {
        return Err(SurgeryError::NoName {
            name: name.escape_debug().to_string(),
        });
    }
    match taken.contains(name) {
        false => Ok(()),
        true => Err(SurgeryError::Taken {
            name: name.to_owned(),
        }),
    }
}

/// The name by which a node goes in a manifest and in messages.
pub(crate) fn node_key(node: &NodeProto) -> String {
    node.key()
}
