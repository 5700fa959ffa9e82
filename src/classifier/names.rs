//! Names of a model's classes: in the metadata that other tools write, and in sentences.

use crate::data::ClassNames;
use crate::onnx::Model;
use crate::onnx::messages::{DimensionValue, TypeValue};

/// Metadata keys under which other tools keep the names of the classes.
const KEYS: [&str; 6] = [
    "names",
    "classes",
    "class_names",
    "labels",
    "id2label",
    "label2id",
];

/// The names of the classes that another tool has written into the metadata; `None` where there are none, or not as many as the model's first output has scores.
pub(crate) fn names_elsewhere(model: &Model) -> Option<ClassNames> {
    let scores = scores(model);
    let mut all = KEYS.into_iter().filter_map(|key| {
        let names = ClassNames::read(model.metadata(key)?)?;
        let fits = scores.is_none_or(|scores| scores == names.names.len());
        (fits && names.names.len() > 1).then_some(names)
    });
    all.next()
}

/// How many scores the model's first output declares for a sample.
fn scores(model: &Model) -> Option<usize> {
    let output = model.graph().output.first()?;
    let TypeValue::Tensor(tensor) = output.r#type.as_ref()?.value.as_ref()? else {
        return None;
    };
    match tensor.shape.as_ref()?.dim.get(1)?.value.as_ref()? {
        DimensionValue::DimValue(scores) => usize::try_from(*scores).ok(),
        DimensionValue::DimParam(_) => None,
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
