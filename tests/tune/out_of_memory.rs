//! A machine whose memory is taken away in the middle of a search.
#![cfg(target_os = "linux")]

use std::path::Path;
use std::process::{Child, Command};

use ftsurgery::graph::{Builder, Graph, Value};
use ftsurgery::onnx::{Tensor, save};

use crate::scene::*;
use crate::support::*;

/// Of a step the larger maps take more than 32 MiB each: no allocator keeps so much for the next one.
const SETTINGS: &str = "--preprocess signed --search-fraction 0.4 --train-fraction 0.4 --epochs 1 \
                        --search-epochs 1 --batch-size 12 --strategies layers,head --head linear \
                        --threads 1";

/// Two convolutions on large maps.
fn save_wide(path: &Path) {
    let mut graph = Graph {
        inputs: vec![Value::batched("image", &[3, 256, 256])],
        ..Graph::new(17)
    };
    let mut add = |name: &str, dims: &[usize], scale: f32| {
        let values = noise(dims.iter().product(), scale);
        let tensor = Tensor::f32(dims, &values);
        graph.initializers.insert(name.to_owned(), tensor);
    };
    add("c1.w", &[16, 3, 3, 3], 0.4);
    add("c2.w", &[16, 16, 3, 3], 0.2);
    add("fc.w", &[16, 5], 0.3);
    let mut b = Builder::new(&mut graph);
    let mut x = "image".to_owned();
    for i in 1..=2 {
        let pads = vec![("pads", vec![1i64; 4].into())];
        let weight = format!("c{i}.w");
        x = b.op(&format!("conv{i}"), "Conv", &[&x, &weight], pads);
        x = b.op(&format!("relu{i}"), "Relu", &[&x], vec![]);
    }
    let x = b.op("gap", "GlobalAveragePool", &[&x], vec![]);
    let x = b.op("flat", "Flatten", &[&x], vec![]);
    let x = b.op("scores", "MatMul", &[&x, "fc.w"], vec![]);
    graph.outputs.push(Value::batched(&x, &[5]));
    save(&graph.to_model(usize::MAX).0, path).unwrap();
}

/// Leaves the process 1 MiB above what it has now; `None` where that is not allowed.
fn limit(child: &Child) -> Option<()> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let size = status.lines().find_map(|l| l.strip_prefix("VmSize:"))?;
    let kib: u64 = size.split_whitespace().next()?.parse().ok()?;
    let most = format!("--as={}", (kib + 1024) * 1024);
    let mut command = Command::new("prlimit");
    command.args(["--pid", &child.id().to_string(), &most]);
    command.status().ok()?.success().then_some(())
}

#[test]
fn a_search_that_runs_out_of_memory_ends_and_goes_on_with_every_candidate() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::new();
    save_wide(&scene.at("model.onnx"));
    scene.whole(SETTINGS);
    let child = scene.start("run", SETTINGS);
    wait("trial", || scene.at("run/trials.jsonl").is_file());
    let limited = limit(&child);
    let (code, text) = said(child);
    if limited.is_none() {
        ftsurgery::testing::skip("prlimit", "the memory of a process cannot be limited here");
        return;
    }
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("memory"), "{text}");
    let ended = trials(&scene.at("run"));
    assert!(ended.len() < trials(&scene.at("whole")).len(), "{ended:?}");
    assert!(ended.values().all(|t| t["error"].is_null()), "{ended:?}");
    assert!(!scene.at("run/winners/layers.onnx").exists());
    succeeds(scene.resume("run", &[]));
    assert_same_outcome(&scene.at("whole"), &scene.at("run"));
}
