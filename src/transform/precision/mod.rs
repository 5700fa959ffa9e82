//! Floats of another width.
//!
//! A graph is walked once, from its inputs to its outputs. What [`decide`] says of a node follows from the types of the
//! original alone; the walk knows what each value has become, and puts a `Cast` where a node is to read another type than
//! a value has: one for each value and type, directly behind the node that makes it. Tensors become what all of their
//! readers want.

mod calls;
mod decide;
mod range;
mod tensors;
#[cfg(test)]
mod tests;
mod walk;
mod written;

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};

use crate::graph::GraphError;
use crate::graph::messages::names;
use crate::onnx::messages::{FunctionProto, NodeProto};
use crate::onnx::{DataType, Model, element_name};
use crate::strategy::pattern::matches;
use crate::surgery::{Editor, Part, Place, node_key};

use super::known::{Callee, Known, Reading};
use super::types::declarations;
use super::{Runtimes, TransformError, Transformed};
use walk::Walk;

/// Which floats become which, and what stays.
#[derive(Clone, Debug)]
pub struct Precision {
    /// The type: float16 or bfloat16, which float32 becomes; or float32, which both of these become.
    pub to: DataType,
    /// Whether the model's inputs and outputs change, too.
    pub io: bool,
    /// Patterns of names of nodes, values and tensors that stay as they are.
    pub keep: Vec<String>,
}

/// How far an output may be off, as a part of the largest number of its tensor: some hundred roundings to 11 digits, or to 8.
fn within(to: DataType) -> f64 {
    match to {
        DataType::Bfloat16 => 2e-1,
        _ => 5e-2,
    }
}

/// What is asked for, of a model.
struct Plan<'p> {
    model: &'p Model,
    reading: &'p Reading<'p>,
    to: i32,
    dtype: DataType,
    keep: &'p [String],
    /// Patterns that have matched.
    used: RefCell<BTreeSet<String>>,
}

impl Plan<'_> {
    /// Whether elements of a type become others.
    fn turns(&self, element: i32) -> bool {
        let from: &[DataType] = match self.dtype {
            DataType::Float => &[DataType::Float16, DataType::Bfloat16],
            _ => &[DataType::Float],
        };
        from.iter().any(|&from| from as i32 == element)
    }

    /// Whether a name is of what stays.
    fn keeps_name(&self, name: &str) -> bool {
        let mut any = false;
        for pattern in self.keep.iter().filter(|pattern| matches(pattern, name)) {
            self.used.borrow_mut().insert(pattern.clone());
            any = true;
        }
        any
    }

    fn keeps(&self, node: &NodeProto) -> bool {
        let mut names = node.name.iter().chain(&node.output);
        !self.keep.is_empty() && names.any(|name| !name.is_empty() && self.keeps_name(name))
    }

    /// Whether a node calls a function of the model.
    fn calls(&self, node: &NodeProto) -> bool {
        self.reading.function(node).is_some()
    }
}

/// A function as some calls need it.
struct Variant {
    callee: Callee,
    /// The types of the calls' inputs, and what they give attributes that are types.
    given: Vec<i64>,
    name: String,
    function: FunctionProto,
    /// The types of its outputs.
    outputs: Vec<i32>,
}

/// The model with its float32 values in float16 or bfloat16, or these in float32: initializers, constants, declared types, the
/// graphs inside of nodes, and functions, of which one that is called in several ways gets a copy for each. A `Cast` stands
/// where both types meet. Inputs and outputs keep their types, unless [`Precision::io`] says otherwise.
///
/// These stay as they are, with what reads them: tensors that the type has not ([`Transformed::notes`] names them); inputs whose
/// type an operator fixes; operators that have not the type in the model's opset; operators of other domains; what is
/// computed of sizes; and what [`Precision::keep`] matches.
///
/// # Errors
/// When a pattern matches nothing, a type is none of the three, or the type of a value is not known.
pub fn precision<'m>(
    model: &'m Model,
    options: &Precision,
    runtimes: &dyn Runtimes,
) -> Result<Transformed<'m>, TransformError> {
    let types = [DataType::Float, DataType::Float16, DataType::Bfloat16];
    if !types.contains(&options.to) {
        let to = element_name(options.to as i32);
        return Err(TransformError::Unfit(format!(
            "{to} is no type that floats are brought to"
        )));
    }
    if !model.proto.training_info.is_empty() {
        return Err(TransformError::Unfit(
            "the model carries training graphs, which stay in their types".to_owned(),
        ));
    }
    let mut editor = Editor::new(model)?;
    editor.sort();
    let mut proto = editor.proto().clone();
    let mut reading = Reading::of(model);
    let open: Vec<String> = {
        let env = reading.main(model.graph());
        let made = model.graph().node.iter().flat_map(|n| &n.output);
        made.filter(|name| !name.is_empty() && env.known(name).element == 0)
            .cloned()
            .collect()
    };
    if !open.is_empty() {
        for declared in declarations(model, &open, runtimes)? {
            if let Some(known) = Known::declared(&declared) {
                reading.learned.insert(declared.name().to_owned(), known);
            }
        }
    }
    let plan = Plan {
        model,
        reading: &reading,
        to: options.to as i32,
        dtype: options.to,
        keep: &options.keep,
        used: RefCell::default(),
    };
    let env = reading.main(model.graph());
    let mut all_names = proto.graph.as_ref().map(names).unwrap_or_default();
    let mut walk = Walk::new(&plan);
    if let Some(graph) = &mut proto.graph {
        walk.main(graph, &env, model.opset(), options.io, &mut all_names)?;
    }
    let Walk {
        mut places,
        notes,
        variants,
        ..
    } = walk;
    put_functions(&mut proto.functions, variants, &mut places);
    let used = plan.used.borrow();
    if let Some(pattern) = options.keep.iter().find(|pattern| !used.contains(*pattern)) {
        return Err(TransformError::NoMatch {
            pattern: pattern.clone(),
            kinds: "node, value or tensor".to_owned(),
        });
    }
    drop(used);
    editor.adopt(proto, places);
    if !options.keep.is_empty() {
        editor.drop_uncalled_functions();
    }
    let mut transformed = Transformed {
        notes,
        ..Transformed::new(model, editor.finish()?)
    };
    transformed.promise.within = Some(within(options.to));
    transformed.promise.other_types = options.io;
    transformed.promise.elsewhere = options.to == DataType::Bfloat16;
    Ok(transformed)
}

/// Puts functions as they are called in the place of the model's, and copies behind them.
fn put_functions(
    functions: &mut Vec<FunctionProto>,
    variants: Vec<Variant>,
    places: &mut Vec<Place>,
) {
    for variant in variants {
        let key = key_of(&variant.function);
        places.push((Vec::new(), Part::Function, key));
        let same = |f: &&mut FunctionProto| super::known::callee_of(f) == variant.callee;
        let own = variant.name == variant.callee.1;
        match functions.iter_mut().find(same).filter(|_| own) {
            Some(function) => *function = variant.function,
            None => functions.push(variant.function),
        }
    }
}

/// By what a function goes in a manifest.
fn key_of(function: &FunctionProto) -> String {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let name = format!("{}:{}", text(&function.domain), text(&function.name));
    match text(&function.overload).as_str() {
        "" => name,
        overload => format!("{name}:{overload}"),
    }
}

/// Somebody would have to know the type of a value.
fn unknown(value: &str) -> TransformError {
    TransformError::NoType {
        value: value.to_owned(),
        source: None,
    }
}

/// An error of a node.
fn at_fault(node: &NodeProto, reason: &str) -> TransformError {
    GraphError::Node {
        node: format!("`{}`", node_key(node)),
        reason: reason.to_owned(),
    }
    .into()
}

/// Names of a model's functions by domain, to find free ones.
type Taken = HashMap<String, BTreeSet<String>>;
