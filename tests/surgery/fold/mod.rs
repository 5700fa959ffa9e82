//! What is known before a model runs, and what is left.

mod constants;
mod norms;
mod places;
mod whole;

use std::path::Path;

use ftsurgery::onnx::Model;
use ftsurgery::onnx::messages::{GraphProto, ModelProto};
use ftsurgery::runtime::Runtime;
use ftsurgery::transform::{Check, Folding, Numbers, Writing, fold, write};

use crate::models::opened;
use crate::support::given;

/// The model that is written, with its numbers, and what was said.
pub fn folded(runtime: &Runtime, proto: &ModelProto, folding: &Folding) -> (Model, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let model = opened(folder.path(), "model.onnx", proto);
    let made = fold(&model, folding, &given(runtime)).unwrap();
    let out = folder.path().join("out.onnx");
    let writing = Writing::to(&out).check(Some(Check::Numbers));
    let written = write(&made, &writing, &given(runtime)).unwrap();
    assert!(matches!(
        written.numbers,
        Numbers::Equal { values: 1.., .. }
    ));
    let bytes = |path: &Path| std::fs::metadata(path).unwrap().len();
    assert!(written.bytes <= bytes(&folder.path().join("model.onnx")));
    (Model::open(&out).unwrap(), made.notes.clone())
}

pub fn plainly(runtime: &Runtime, proto: &ModelProto) -> GraphProto {
    let (model, _) = folded(runtime, proto, &Folding::default());
    model.graph().clone()
}
