//! Several models as one.

mod around;
mod graphs;
mod whole;

use std::path::Path;

use ftsurgery::onnx::messages::{GraphProto, ModelProto, ValueInfoProto};
use ftsurgery::onnx::{Model, Tensor};
use ftsurgery::runtime::Runtime;
use ftsurgery::transform::{Check, Merging, Numbers, Parts, Writing, merge, write};

use crate::models::*;
use crate::support::given;

/// The model that is written, with its numbers, and what was said.
pub fn merged(
    runtime: &Runtime,
    protos: &[&ModelProto],
    merging: &Merging,
) -> (Model, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let models = protos.iter().enumerate();
    let models = models.map(|(at, p)| opened(folder.path(), &format!("{at}.onnx"), p));
    of_models(runtime, models.collect(), merging, folder.path())
}

pub fn of_models(
    runtime: &Runtime,
    models: Vec<Model>,
    merging: &Merging,
    folder: &Path,
) -> (Model, Vec<String>) {
    let parts = Parts::new(models).unwrap();
    let made = merge(&parts, merging, &given(runtime)).unwrap();
    let out = folder.join("out.onnx");
    let writing = Writing::to(&out)
        .overwrite(true)
        .check(Some(Check::Numbers));
    let written = write(&made, &writing, &given(runtime)).unwrap();
    assert!(matches!(
        written.numbers,
        Numbers::Equal { values: 1.., .. }
    ));
    (Model::open(&out).unwrap(), made.notes.clone())
}

/// `y = x · w + b`, by the names given.
pub fn dense(x: &str, y: &str, weight: &Tensor) -> GraphProto {
    let nodes = [
        node("MatMul", &[x, "w"], &["h"]),
        node("Add", &["h", "b"], &[y]),
    ];
    let values = [("w", weight.clone()), ("b", numbers(&[4]))];
    graph(
        &nodes,
        &values,
        &[floats(x, &[0, 4])],
        &[floats(y, &[0, 4])],
    )
}

pub fn names(values: &[ValueInfoProto]) -> Vec<&str> {
    values.iter().map(|v| v.name()).collect()
}
