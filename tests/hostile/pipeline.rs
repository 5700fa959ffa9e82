//! All that happens to a model between its file and onnxruntime.

use std::collections::HashMap;
use std::path::Path;

use bytes::Bytes;
use ftsurgery::analysis::{Analysis, AnalyzeOptions, Report, image_input};
use ftsurgery::autodiff::Operators;
use ftsurgery::batch::free_batch;
use ftsurgery::diff::diff;
use ftsurgery::graph::{Dim, Graph, infer_shapes, normalise, refuse_untrainable};
use ftsurgery::layout::Layout;
use ftsurgery::onnx::{DataType, Model, Placement, encode, lay_out};
use ftsurgery::report;
use ftsurgery::surgery::{
    Editor, Features, Grafted, HeadKind, HeadSpec, SurgeryError, export, graft, holds,
    holds_but_for_places,
};
use ftsurgery::training::program::{
    Prepared, boundary, evaluation_program, prefix_graph, step_program,
};
use ftsurgery::training::trainable_parameters;
use ftsurgery::transform::{
    Folding, Merging, NoRuntime, Parts, Precision, Renames, TransformError, Transformed, extract,
    fix_batch, fold, free_batch as free_size, list, merge, opset, place, precision, prune, rename,
};
use ftsurgery::verify::structure;

/// Where a model may end; the last is that nothing was wrong.
pub const STAGES: [&str; 8] = [
    "decoding",
    "the indexed graph",
    "the analysis",
    "the normal form",
    "its shapes",
    "the head",
    "the programs",
    "nothing: it passed",
];

/// Samples per step.
const BATCH: usize = 2;

/// Takes a model as far as it gets and returns the stage that refused it. After an error, the later
/// rooms are tried all the same wherever their input exists.
pub fn pass(bytes: Bytes) -> usize {
    let path = Path::new("hostile.onnx");
    let Ok(model) = Model::decode(bytes, path) else {
        return 0;
    };
    let _ = model.ensure_fully_known();
    if let Ok(editor) = Editor::new(&model)
        && let Ok(edited) = sound(export(editor, &[], &[("seed", "1".to_owned())]))
    {
        let _ = encode(&edited.proto);
    }
    if let Ok(mut editor) = Editor::new(&model)
        && editor.inline().is_ok()
    {
        let _ = sound(editor.finish());
    }
    operations(&model);
    let Ok(graph) = Graph::from_model(&model) else {
        return 1;
    };
    let sample = sample(&graph);
    let analysis = analyse(&model);
    let shapes = normal(&graph, &sample);
    let heads = heads(&model, analysis.as_ref(), &sample);
    match (analysis, shapes, heads) {
        (None, ..) => 2,
        (_, 3, _) => 3,
        (_, 4, _) => 4,
        (_, _, stage) => stage,
    }
}

fn analyse(model: &Model) -> Option<Analysis> {
    let options = AnalyzeOptions {
        image_size: Some((8, 8)),
        ..AnalyzeOptions::default()
    };
    let analysis = Analysis::of(model, &options).ok()?;
    let _ = (
        report::analysis(&analysis, Some(100)),
        report::dot(&analysis),
    );
    serde_json::to_string(&Report::new(&analysis)).unwrap();
    Some(analysis)
}

fn normal(graph: &Graph, sample: &[usize]) -> usize {
    let _ = refuse_untrainable(graph);
    let mut graph = graph.clone();
    if normalise(&mut graph).is_err() {
        return 3;
    }
    let mut freed = graph.clone();
    let _ = free_batch(&mut freed);
    let dims = |batch: usize| [&[batch], sample].concat();
    let inputs = |batch| -> HashMap<String, Vec<usize>> {
        let names = graph.inputs.iter().map(|i| i.name.clone());
        names.map(|n| (n, dims(batch))).collect()
    };
    let _ = infer_shapes(&freed, &inputs(BATCH));
    match infer_shapes(&graph, &inputs(1)) {
        Ok(_) => 7,
        Err(_) => 4,
    }
}

fn heads(model: &Model, analysis: Option<&Analysis>, sample: &[usize]) -> usize {
    let features = analysis.and_then(|a| a.backbone().ok()).and_then(|b| {
        Some(Features {
            value: b.features.clone(),
            channels: b.channels,
            height: b.height?,
            width: b.width?,
            nhwc: b.layout == Layout::Nhwc,
        })
    });
    let mut stage = 7;
    for kind in [HeadKind::Linear, HeadKind::Paper, HeadKind::Keep] {
        let spec = HeadSpec {
            hidden: (8, 4),
            ..HeadSpec::new(kind, 3, 1)
        };
        stage = stage.min(match sound(graft(model, features.as_ref(), &spec)) {
            Ok(grafted) => trial(model, &grafted, sample),
            Err(_) => 5,
        });
    }
    stage
}

/// That no editor changed what it was not to change, which would be a defect of its own.
fn sound<T>(made: Result<T, SurgeryError>) -> Result<T, SurgeryError> {
    if let Err(error @ SurgeryError::NotAsClaimed { .. }) = &made {
        panic!("{error}");
    }
    made
}

/// What the commands of surgery make of a model before they write it.
fn operations(model: &Model) {
    let outputs = model.graph().node.iter().flat_map(|n| &n.output);
    let made: Vec<String> = outputs.cloned().collect();
    let value = &made[made.len() / 2..][..made.len().min(1)];
    let renames = Renames {
        prefix: Some("new/".to_owned()),
        ..Renames::default()
    };
    let halves = Precision {
        to: DataType::Float16,
        io: false,
        keep: Vec::new(),
    };
    let folding = Folding {
        batch_norm: true,
        inline: true,
        ..Folding::default()
    };
    let all = [
        prune(model),
        fold(model, &folding, &NoRuntime),
        rename(model, &renames),
        extract(model, &[], value, &NoRuntime),
        extract(model, value, &[], &NoRuntime),
        free_size(model),
        fix_batch(model, BATCH),
        place(model, Placement::Inside),
        place(model, Placement::Beside { least: 1 }),
        opset(model, 21, &NoRuntime),
        opset(model, 13, &NoRuntime),
        precision(model, &halves, &NoRuntime),
    ];
    for made in all {
        match made {
            Err(TransformError::Surgery(error)) => drop(sound::<()>(Err(error))),
            Err(_) => {}
            Ok(made) => as_told(model, &made),
        }
    }
    let _ = list(model, &[], true);
    let twice = [0, 1].map(|_| model.with_proto(model.proto.clone()));
    if let Ok(parts) = Parts::new(twice.into()) {
        for join in [false, true] {
            let merging = Merging {
                join,
                ..Merging::default()
            };
            if let Err(TransformError::Surgery(error)) = merge(&parts, &merging, &NoRuntime) {
                drop(sound::<()>(Err(error)));
            }
        }
    }
    let _ = structure(model);
    if let Ok(found) = diff(model, model) {
        assert!(found.is_empty(), "a model differs from itself: {found:?}");
    }
}

/// What was made can be laid out and compared, and what is written of it is what the manifest says.
fn as_told(model: &Model, made: &Transformed<'_>) {
    if let Ok(laid) = lay_out(&made.model(), made.placement, "data") {
        let _ = (laid.file_bytes(), laid.data_bytes());
    }
    let _ = diff(model, &made.model());
    if let Ok(bytes) = encode(&made.proto)
        && let Ok(read) = Model::decode(bytes.into(), Path::new("made.onnx"))
    {
        let _ = sound(holds_but_for_places(model, &read, &made.manifest));
    }
}

/// What one trial makes before it asks for onnxruntime.
fn trial(original: &Model, grafted: &Grafted, sample: &[usize]) -> usize {
    let tuned = tuned(grafted);
    let editor = grafted.editor(original).unwrap();
    if let Ok(edited) = sound(export(editor, &tuned, &[])) {
        let bytes = encode(&edited.proto).unwrap();
        let emitted = Model::decode(bytes.into(), Path::new("emitted.onnx")).unwrap();
        holds(original, &emitted, &edited.manifest).unwrap();
    }
    let _ = trainable_parameters(&grafted.model, sample);
    match programs(grafted, sample) {
        Some(()) => 7,
        None => 6,
    }
}

/// New values for the head, as far as it lies in initializers.
fn tuned(grafted: &Grafted) -> Vec<(String, Vec<f32>)> {
    let tensors = grafted.model.graph().initializer.iter();
    tensors
        .filter_map(|t| {
            let name = t.name.clone()?;
            let wanted = grafted.head_parameters.contains(&name);
            let tensor = grafted.model.tensor(t).ok().filter(|_| wanted)?;
            Some((name, vec![0.5; tensor.len()]))
        })
        .collect()
}

fn programs(grafted: &Grafted, sample: &[usize]) -> Option<()> {
    let names = trainable_parameters(&grafted.model, sample).ok()?;
    let prepared = Prepared::new(&grafted.model, BATCH, sample).ok()?;
    let mut done = Some(());
    let head = grafted.head_parameters.as_slice();
    for (trainable, operators) in [
        (names.as_slice(), Operators::Standard),
        (&names, Operators::Kernels),
        (head, Operators::Kernels),
    ] {
        let dropout = &grafted.dropout;
        let step = step_program(&prepared, trainable, dropout, operators).ok();
        let evaluation = evaluation_program(&prepared, trainable, operators).ok();
        let mut folded = prepared.clone();
        let prefix = folded.fold().ok().and_then(|()| {
            let ports = boundary(&folded, trainable).ok()?;
            prefix_graph(&folded, &ports).ok()
        });
        for program in step.iter().chain(&evaluation) {
            encode(&program.graph.to_model(1 << 12).0).unwrap();
        }
        done = done.and(step).and(evaluation).and(prefix).map(|_| ());
    }
    done
}

/// The dimensions of a sample: those declared, 8 where they are open, 3×8×8 where there are none.
pub fn sample(graph: &Graph) -> Vec<usize> {
    let dims = image_input(graph).map(|i| i.dims).unwrap_or_default();
    let declared: Vec<usize> = dims
        .iter()
        .skip(1)
        .map(|d| match d {
            Dim::Known(d) => *d,
            Dim::Symbolic(_) => 8,
        })
        .collect();
    if declared.len() == 3 {
        declared
    } else {
        vec![3, 8, 8]
    }
}
