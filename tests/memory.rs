//! What stays in this process's memory. One test after the other, in a process of their own: what other
//! tests take meanwhile would count, too.
#![cfg(all(target_os = "linux", target_env = "gnu"))]

use std::sync::Mutex;

use ftsurgery::data::{FeaturePrecision, FeatureStore, MemoryBudget};
use ftsurgery::graph::{Graph, Node, Value};
use ftsurgery::onnx::{Tensor, encode};
use ftsurgery::runtime::testing::runtime;
use ftsurgery::runtime::{Session, SessionOptions, SharedTensor};

static ALONE: Mutex<()> = Mutex::new(());

/// The sum of these lines of the process's status, in bytes.
fn resident(keys: &[&str]) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let of = |key: &&str| -> u64 {
        let line = status.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    keys.iter().map(of).sum::<u64>() * 1024
}

#[test]
fn sessions_do_not_duplicate_an_external_initializer() {
    let _alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
    let Some(runtime) = runtime() else { return };
    let model = include_bytes!("../fixtures/runtime/large.onnx");
    let length = 1 << 22;
    let tensor = SharedTensor::from_f32("w", &[length], &vec![0.5; length]).unwrap();
    let externals = [("w".to_owned(), tensor.clone())];
    let options = SessionOptions {
        threads: 1,
        ..SessionOptions::default()
    };
    let before = resident(&["VmRSS:"]);
    let sessions: Vec<_> = (0..8)
        .map(|_| Session::new(&runtime, model, &externals, &options).unwrap())
        .collect();
    let growth = resident(&["VmRSS:"]).saturating_sub(before);
    // Eight copies would be twice as much.
    assert!(
        growth < 4 * tensor.byte_len() as u64,
        "{growth} bytes for {} sessions",
        sessions.len()
    );
}

#[test]
fn a_large_model_is_not_packed_a_second_time() {
    let _alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
    let Some(runtime) = runtime() else { return };
    let side = 4096;
    let mut graph = Graph {
        nodes: vec![Node::new("y", "MatMul", &["x", "w"], &["y"])],
        inputs: vec![Value::batched("x", &[side])],
        outputs: vec![Value::batched("y", &[side])],
        ..Graph::new(17)
    };
    let weight = Tensor::f32(&[side, side], &vec![0.5; side * side]);
    graph.initializers.insert("w".to_owned(), weight.clone());
    let model = encode(&graph.to_model(1).0).unwrap();
    let tensor = SharedTensor::new("w", weight.dtype as i32, &weight.dims, weight.data).unwrap();
    let bytes = tensor.byte_len();
    let externals = [("w".to_owned(), tensor)];
    for (most_packed, copies) in [(bytes, 1), (bytes - 1, 0)] {
        let options = SessionOptions {
            threads: 1,
            most_packed,
            ..SessionOptions::default()
        };
        let before = resident(&["RssAnon:"]);
        let session = Session::new(&runtime, &model, &externals, &options).unwrap();
        let growth = resident(&["RssAnon:"]).saturating_sub(before) as f64 / bytes as f64;
        let copies = f64::from(copies);
        assert!(
            (growth - copies).abs() < 0.5,
            "{growth} copies instead of {copies}"
        );
        drop(session);
    }
}

#[test]
fn a_spilled_store_is_not_resident() {
    let _alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
    let files = ["RssFile:", "RssShmem:"];
    let folder = tempfile::tempdir().unwrap();
    let (rows, len) = (64, 1 << 18);
    let (precision, budget) = (FeaturePrecision::F32, MemoryBudget::new(0));
    let mut store = FeatureStore::new(rows, &[len], precision, &budget, folder.path()).unwrap();
    let mut row = vec![0.0; len];
    let before = resident(&files);
    // 64 MiB are written and read.
    for at in 0..rows {
        row.fill(at as f32);
        store.write(0, at, &row).unwrap();
    }
    for at in 0..rows {
        store.gather(0, &[at], &mut row).unwrap();
        assert!(row.iter().all(|&v| v == at as f32));
    }
    let grown = resident(&files).saturating_sub(before);
    assert!(grown < 32 << 20, "{grown} bytes more are resident");
}
