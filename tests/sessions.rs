//! Sessions made at the same moment, before any other of the process: hence a file of its own.

use std::sync::Barrier;

use ftsurgery::graph::{Graph, Node, Value};
use ftsurgery::kernels::dialect::{DOMAIN, Kernel};
use ftsurgery::onnx::{DataType, encode};
use ftsurgery::runtime::testing::runtime;
use ftsurgery::runtime::{Session, SessionOptions};

const THREADS: usize = 8;

#[test]
fn the_first_sessions_with_kernels_may_be_made_side_by_side() {
    let Some(runtime) = runtime() else {
        return;
    };
    let node = Node::of_kernel("y", &Kernel::HardSwish, &["x"], &["y"]);
    let graph = Graph {
        domains: vec![(DOMAIN.to_owned(), 1)],
        nodes: vec![node],
        inputs: vec![Value::fixed("x", DataType::Float, &[4])],
        outputs: vec![Value::fixed("y", DataType::Float, &[4])],
        ..Graph::new(17)
    };
    let model = encode(&graph.to_model(usize::MAX).0).unwrap();
    let start = Barrier::new(THREADS);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let options = SessionOptions {
                    threads: 1,
                    kernels: true,
                    ..SessionOptions::default()
                };
                start.wait();
                Session::new(&runtime, &model, &[], &options).unwrap();
            });
        }
    });
}
