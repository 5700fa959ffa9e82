//! The pages of `analyze` and `diff` in headless Chromium.

use std::path::Path;

use ftsurgery::analysis::{Analysis, AnalyzeOptions};
use ftsurgery::diff::diff;
use ftsurgery::onnx::messages::NodeProto;
use ftsurgery::onnx::{Model, Tensor};
use ftsurgery::report;

use super::browser::check_file;

fn model() -> Model {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("onnx-models/fashion_mobilenet.onnx");
    Model::open(&path).unwrap()
}

/// The model with some weights scaled, a node more, one less and one otherwise, and long and hostile names.
fn other(model: &Model) -> Model {
    let mut proto = model.proto.clone();
    let graph = proto.graph.as_mut().unwrap();
    for (place, tensor) in graph.initializer.iter_mut().enumerate().skip(4) {
        let name = tensor.name().to_owned();
        let held = Tensor::from_proto(tensor).unwrap();
        if let Some(values) = held.to_f32() {
            let values: Vec<f32> = values
                .iter()
                .map(|v| v * (1.0 + 0.1 / place as f32))
                .collect();
            *tensor = Tensor::f32(&held.dims, &values).to_proto(&name);
        }
    }
    let relu = graph
        .node
        .iter()
        .position(|n| matches!(n.op_type(), "Relu" | "Clip"))
        .unwrap();
    graph.node[relu].op_type = Some("HardSwish".to_owned());
    graph.node[relu].input.truncate(1);
    let last = graph.node.last_mut().unwrap();
    last.name = Some(format!(
        "<script>document.title = 'harm'</script>{}",
        "long".repeat(40)
    ));
    let made = std::mem::replace(&mut last.output[0], "before".to_owned());
    graph.node.push(NodeProto {
        op_type: Some("Identity".to_owned()),
        input: vec!["before".to_owned()],
        output: vec![made],
        ..NodeProto::default()
    });
    model.with_proto(proto)
}

#[test]
fn every_figure_of_the_page_of_analyze_is_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let analysis = Analysis::of(&model(), &AnalyzeOptions::default()).unwrap();
    let file = folder.path().join("analyze.html");
    std::fs::write(
        &file,
        report::analysis_page(&analysis, "fashion_mobilenet.onnx"),
    )
    .unwrap();
    check_file(&file, 4);
}

#[test]
fn every_figure_of_the_page_of_diff_is_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let before = model();
    let after = other(&before);
    let found = diff(&before, &after).unwrap();
    let analyses = [&before, &after].map(|m| Analysis::of(m, &AnalyzeOptions::default()).unwrap());
    let known = analyses.each_ref().map(Ok);
    let names = [
        "a/fashion_mobilenet.onnx",
        "b/a-name-that-goes-on-and-on-and-on-for-longer-than-there-is-room-for.onnx",
    ];
    let page = report::diff_page(&found, names, [&before, &after], known);
    assert!(!page.contains("<script"));
    let file = folder.path().join("diff.html");
    std::fs::write(&file, page).unwrap();
    check_file(&file, 1);
}
