//! Other names.

use std::collections::{HashMap, HashSet};
use std::str::FromStr;

use regex::Regex;

use crate::onnx::Model;
use crate::surgery::Editor;

use super::{TransformError, Transformed};

/// What has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The inputs of the graph.
    Inputs,
    /// Its outputs.
    Outputs,
    /// Its initializers.
    Tensors,
    /// What its nodes make, but for its outputs.
    Values,
    /// Its nodes.
    Nodes,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 5] = [
        Kind::Inputs,
        Kind::Outputs,
        Kind::Tensors,
        Kind::Values,
        Kind::Nodes,
    ];

    fn name(self) -> &'static str {
        match self {
            Kind::Inputs => "inputs",
            Kind::Outputs => "outputs",
            Kind::Tensors => "tensors",
            Kind::Values => "values",
            Kind::Nodes => "nodes",
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Kind {
    type Err = TransformError;

    fn from_str(text: &str) -> Result<Self, TransformError> {
        let mut all = Kind::ALL.into_iter();
        all.find(|kind| kind.name() == text).ok_or_else(|| {
            TransformError::Unfit(format!(
                "`{text}` is none of {}",
                Kind::ALL.map(Kind::name).join(", ")
            ))
        })
    }
}

/// Which names change, and how: those that are given, and of the others those of some kinds.
#[derive(Clone, Debug, Default)]
pub struct Renames {
    /// Old and new names of values and tensors.
    pub values: Vec<(String, String)>,
    /// Old and new names of nodes.
    pub nodes: Vec<(String, String)>,
    /// A regular expression, and what takes the place of all that it matches in a name (`$1` for a group).
    pub pattern: Option<(String, String)>,
    /// What comes before each name.
    pub prefix: Option<String>,
    /// The kinds of things whose names `pattern` and `prefix` are for; none stands for all.
    pub kinds: Vec<Kind>,
}

/// Gives values, tensors and nodes of the graph other names, wherever these are named: at nodes, in graphs inside of nodes
/// that read a value of the graph around them, in declarations, noted types and annotations. What graphs inside of nodes make
/// themselves, and bodies of functions, keep their names. [`Promise`](super::Promise) and manifest are by both names.
///
/// # Errors
/// When nothing has an old name, a new one is taken, or a pattern is no regular expression or matches nothing.
pub fn rename<'m>(model: &'m Model, renames: &Renames) -> Result<Transformed<'m>, TransformError> {
    let mut editor = Editor::new(model)?;
    let pattern = match &renames.pattern {
        None => None,
        Some((pattern, with)) => {
            let regex = Regex::new(pattern).map_err(|source| TransformError::Pattern {
                pattern: pattern.clone(),
                source: Box::new(source),
            })?;
            Some((regex, with))
        }
    };
    let changed = |name: &str| -> String {
        let name = match &pattern {
            Some((regex, with)) => regex.replace_all(name, with.as_str()),
            None => name.into(),
        };
        format!("{}{name}", renames.prefix.as_deref().unwrap_or_default())
    };
    let kinds = match renames.kinds.as_slice() {
        [] => &Kind::ALL[..],
        kinds => kinds,
    };
    let by_rule = pattern.is_some() || renames.prefix.is_some();
    let mut values = renames.values.clone();
    let mut nodes = renames.nodes.clone();
    for kind in kinds.iter().filter(|_| by_rule) {
        let list = match kind {
            Kind::Nodes => &mut nodes,
            _ => &mut values,
        };
        let told: HashSet<String> = list.iter().map(|(old, _)| old.clone()).collect();
        for name in named(model, *kind) {
            let new = changed(name);
            if new != name && !told.contains(name) {
                list.push((name.to_owned(), new));
            }
        }
    }
    if values.is_empty() && nodes.is_empty() {
        let pattern = renames.pattern.as_ref().map_or("", |(pattern, _)| pattern);
        return Err(TransformError::NoMatch {
            pattern: pattern.to_owned(),
            kinds: Vec::from_iter(kinds.iter().map(|k| k.name())).join(", "),
        });
    }
    editor.rename_all(&values)?;
    editor.rename_nodes(&nodes)?;
    let mut transformed = Transformed::new(model, editor.finish()?);
    let new: HashMap<&str, &str> = values
        .iter()
        .map(|(a, b)| (a.as_str(), b.as_str()))
        .collect();
    let promise = &mut transformed.promise;
    for (now, was) in promise.fed.iter_mut().chain(&mut promise.equal) {
        if let Some(name) = new.get(was.as_str()) {
            (*name).clone_into(now);
        }
    }
    Ok(transformed)
}

/// The names of one kind, each once.
fn named(model: &Model, kind: Kind) -> Vec<&str> {
    let graph = model.graph();
    let stored: HashSet<&str> = graph.initializer.iter().map(|t| t.name()).collect();
    let given: HashSet<&str> = graph.output.iter().map(|o| o.name()).collect();
    let inputs = || {
        graph
            .input
            .iter()
            .map(|v| v.name())
            .filter(|name| !stored.contains(name))
    };
    let names: Vec<&str> = match kind {
        Kind::Inputs => inputs().collect(),
        Kind::Outputs => {
            let is_input: HashSet<&str> = inputs().collect();
            let outputs = graph.output.iter().map(|o| o.name());
            outputs
                .filter(|o| !is_input.contains(o) && !stored.contains(o))
                .collect()
        }
        Kind::Tensors => {
            let sparse = graph.sparse_initializer.iter();
            let sparse = sparse.filter_map(|s| Some(s.values.as_ref()?.name()));
            graph
                .initializer
                .iter()
                .map(|t| t.name())
                .chain(sparse)
                .collect()
        }
        Kind::Values => {
            let made = graph
                .node
                .iter()
                .flat_map(|n| &n.output)
                .map(String::as_str);
            made.filter(|name| !given.contains(name)).collect()
        }
        Kind::Nodes => graph.node.iter().map(|n| n.name()).collect(),
    };
    let mut seen = HashSet::new();
    names
        .into_iter()
        .filter(|n| !n.is_empty() && seen.insert(*n))
        .collect()
}
