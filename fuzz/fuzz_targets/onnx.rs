//! A model file, as far as it goes without onnxruntime: read, analysed, brought to normal form, its
//! batch freed, differentiated.
#![no_main]

use std::collections::HashMap;
use std::path::Path;

use ftsurgery::analysis::{Analysis, AnalyzeOptions, Report};
use ftsurgery::autodiff::Operators;
use ftsurgery::batch::free_batch;
use ftsurgery::graph::{Dim, Graph, infer_shapes, normalise, refuse_untrainable};
use ftsurgery::onnx::Model;
use ftsurgery::report;
use ftsurgery::training::program::{Prepared, step_program};
use ftsurgery::training::trainable_parameters;
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: ftsurgery_fuzz::only_escaping_panics(), |data: &[u8]| {
    let Ok(model) = Model::decode(data.to_vec().into(), Path::new("fuzz.onnx")) else {
        return;
    };
    let _ = model.ensure_fully_known();
    let options = AnalyzeOptions {
        image_size: Some((8, 8)),
        ..AnalyzeOptions::default()
    };
    if let Ok(analysis) = Analysis::of(&model, &options) {
        let _ = (report::analysis(&analysis, Some(100)), report::dot(&analysis));
        let _ = Report::new(&analysis);
    }
    let Ok(graph) = Graph::from_model(&model) else {
        return;
    };
    let _ = refuse_untrainable(&graph);
    let declared = graph.inputs.first().and_then(|i| i.dims.clone()).unwrap_or_default();
    let sample: Vec<usize> = declared
        .iter()
        .skip(1)
        .map(|dim| match dim {
            // Sizes that take no time are looked at; others are for the reader alone.
            Dim::Known(size) => (*size).min(16),
            Dim::Symbolic(_) => 8,
        })
        .collect();
    let mut normal = graph.clone();
    if normalise(&mut normal).is_ok() {
        let dims = |batch: usize| [&[batch], sample.as_slice()].concat();
        let inputs = normal.inputs.iter().map(|i| (i.name.clone(), dims(2)));
        let inputs: HashMap<_, _> = inputs.collect();
        let _ = infer_shapes(&normal, &inputs);
        let _ = free_batch(&mut normal);
        let _ = infer_shapes(&normal, &inputs);
    }
    let (Ok(names), Ok(prepared)) = (
        trainable_parameters(&model, &sample),
        Prepared::new(&model, 2, &sample),
    ) else {
        return;
    };
    for operators in [Operators::Standard, Operators::Kernels] {
        let _ = step_program(&prepared, &names, &[], operators);
    }
});
