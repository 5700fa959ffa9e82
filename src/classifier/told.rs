//! What is told of a model's input, and of its outputs.

use crate::data::Resize;
use crate::graph::Graph;
use crate::onnx::Model;

use super::headless::headless;
use super::names::named_other;
use super::{ModelInput, Origin};

impl ModelInput {
    /// How `images` (or arrays) become its input, for people: `images of 224 × 224 pixels (crop:0.875),
    /// preprocessing signed (of its metadata)`.
    pub fn described(&self, images: bool) -> String {
        if !images {
            let Self {
                channels,
                height,
                width,
                ..
            } = self;
            return format!("arrays of {channels} × {height} × {width}, used as they are");
        }
        let file = self
            .beside
            .as_ref()
            .map(|file| format!("of {}", file.display()));
        let origin = match (self.origin, file.as_deref()) {
            (Origin::Flag, _) => "asked for",
            (Origin::Metadata, _) => "of its metadata",
            (Origin::Beside, Some(file)) => file,
            (Origin::Beside, None) => "of a file beside it",
            (Origin::Graph, _) => "as the model itself says",
            (Origin::Found, _) => "found",
            (Origin::Guess, _) => "a guess",
        };
        let preprocess = &self.spec.preprocess;
        let of_file = file
            .as_deref()
            .filter(|_| self.resized_beside && self.origin != Origin::Beside);
        let resize = match (preprocess.resize, of_file) {
            (rule, Some(file)) => format!(" ({rule} {file})"),
            (Resize::SQUASH, None) => String::new(),
            (rule, None) => format!(" ({rule})"),
        };
        format!(
            "images of {} × {} pixels{resize}, preprocessing {preprocess} ({origin})",
            self.height, self.width
        )
    }

    /// What the user should know before `images` (or arrays) are made the input of `model` in this way:
    /// that it has outputs besides its class scores, that the preprocessing is a guess or does nothing, or
    /// that metadata are overruled.
    pub fn warnings(&self, model: &Model, graph: &Graph, images: bool) -> Vec<String> {
        let mut warnings = Vec::from_iter(outputs_told(model, graph));
        warnings.extend(headless(model, graph, (self.height, self.width)));
        if model.renamed_nodes() > 0 {
            warnings.push(format!(
                "{} nodes of the model have the name of another, which onnxruntime refuses: they are given names \
                 of their own",
                model.renamed_nodes()
            ));
        }
        if !images {
            let idle = "the data are arrays, which are used as they are: the preprocessing asked for does \
                        nothing";
            let asked = self.origin == Origin::Flag || self.resize_asked;
            warnings.extend(asked.then(|| idle.to_owned()));
            return warnings;
        }
        warnings.extend(self.overruled.iter().cloned());
        warnings.extend(self.beside_notes.iter().cloned());
        if self.origin == Origin::Guess {
            warnings.push(self.guessed(model, graph));
        }
        warnings
    }
}

/// The outputs that a model declares besides its class scores.
pub(crate) fn other_outputs<'m>(model: &'m Model, graph: &Graph) -> Vec<&'m str> {
    let scores = graph.outputs.first().map(|o| o.name.as_str());
    let declared = model.graph().output.iter();
    let names = declared.filter_map(|o| o.name.as_deref());
    names.filter(|name| Some(*name) != scores).collect()
}

/// Names of values for people.
pub(crate) fn quoted(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

/// That a model has other outputs than its class scores.
fn outputs_told(model: &Model, graph: &Graph) -> Option<String> {
    let taken = &graph.outputs.first()?.name;
    let others = other_outputs(model, graph);
    if others.is_empty() {
        return None;
    }
    let left = match others.as_slice() {
        [_] => "is left alone",
        _ => "are left alone",
    };
    let count = model.graph().output.len();
    let outputs = match count {
        1 => "1 output".to_owned(),
        _ => format!("{count} outputs"),
    };
    let inside = match others.len() == count {
        true => ", a value inside of it,",
        false => "",
    };
    let doubt = named_other(model, graph).map(|other| {
        format!(" (`{other}` has as many scores as classes are named in the metadata)")
    });
    Some(format!(
        "the model has {outputs}: `{taken}`{inside} is taken for the class scores, and {} {left}; --output \
         takes another{}",
        quoted(&others),
        doubt.unwrap_or_default()
    ))
}
