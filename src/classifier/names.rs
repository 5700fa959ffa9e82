//! Names of a model's classes: in the metadata that other tools write, and in sentences.

use crate::data::ClassNames;
use crate::graph::{Dim, Graph, Value};
use crate::onnx::Model;

/// Metadata keys under which other tools keep the names of the classes.
const KEYS: [&str; 7] = [
    "names",
    "classes",
    "class_names",
    "labels",
    "label_names",
    "id2label",
    "label2id",
];

/// The key under which Ultralytics keeps the image size.
pub(super) const IMGSZ: &str = "imgsz";

/// The names of the classes that another tool has written into the metadata; `None` where there are none, or not as
/// many as the model has class scores. Names between line ends or commas have to be as many to be any.
pub(crate) fn names_elsewhere(model: &Model) -> Option<Vec<String>> {
    let mut entries = KEYS.iter().filter_map(|key| model.metadata(key)).peekable();
    entries.peek()?;
    let scores = scores(model);
    entries.find_map(|text| {
        let names = match ClassNames::read(text) {
            Some(names) => names.names,
            None => ClassNames::plain(text).filter(|names| scores == Some(names.len()))?,
        };
        let fits = scores.is_none_or(|scores| scores == names.len());
        (fits && names.len() > 1).then_some(names)
    })
}

/// How many scores the model's class scores declare for a sample.
pub(super) fn scores(model: &Model) -> Option<usize> {
    width(Graph::from_model(model).ok()?.outputs.first()?)
}

fn width(output: &Value) -> Option<usize> {
    match output.dims.as_deref()?.get(1)? {
        Dim::Known(scores) => Some(*scores),
        Dim::Symbolic(_) => None,
    }
}

/// Another output than the class scores of a model, that has as many scores as classes are named in its metadata by another
/// tool, where the class scores have not.
pub(super) fn named_other<'g>(model: &Model, graph: &'g Graph) -> Option<&'g str> {
    let read = |key: &&str| ClassNames::read(model.metadata(key)?);
    let named = KEYS.iter().find_map(read)?.names.len();
    let (scores, others) = graph.outputs.split_first()?;
    let fits = |output: &&Value| width(output) == Some(named);
    let other = others.iter().find(fits).filter(|_| !fits(&scores))?;
    Some(&other.name)
}

/// Height and width of the images that a model of Ultralytics was exported for, as its metadata have them: `[224, 224]`, or
/// one number for both.
pub(super) fn size_elsewhere(model: &Model) -> Option<(usize, usize)> {
    let text = model.metadata(IMGSZ)?.trim();
    let inner = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
    let sides = inner.unwrap_or(text).split(',');
    let sides = sides.map(|side| side.trim().parse().ok().filter(|&n: &usize| n > 0));
    match sides.collect::<Option<Vec<_>>>()?.as_slice() {
        [side] => Some((*side, *side)),
        [height, width] => Some((*height, *width)),
        _ => None,
    }
}

/// That a model's outputs are taken for the data's classes by their place alone.
pub fn by_place(classes: &[String]) -> String {
    format!(
        "the model does not name its classes: its outputs are taken for the data's, in this order: {}",
        listed(classes)
    )
}

/// Names in a sentence: of many, the first.
pub fn listed(names: &[String]) -> String {
    const SHOWN: usize = 100;
    let first = names[..names.len().min(SHOWN)].join(", ");
    match names.len() - names.len().min(SHOWN) {
        0 => first,
        more => format!("{first} and {more} others"),
    }
}
