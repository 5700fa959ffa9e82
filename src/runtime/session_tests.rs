use ndarray::{arr0, arr1, arr2};

use super::*;
use crate::runtime::testing::runtime;
use crate::runtime::{Buffer, dtype};

const AFFINE: &[u8] = include_bytes!("../../fixtures/runtime/affine.onnx");
const EXTERNAL: &[u8] = include_bytes!("../../fixtures/runtime/external.onnx");
const PRODUCT: &[u8] = include_bytes!("../../fixtures/runtime/product.onnx");
const CASTS: &[u8] = include_bytes!("../../fixtures/runtime/casts.onnx");

fn options(label: &str, threads: usize) -> SessionOptions {
    SessionOptions {
        label: label.to_owned(),
        threads,
        ..SessionOptions::default()
    }
}

fn session(runtime: &Runtime, model: &[u8]) -> Session {
    Session::new(runtime, model, &[], &options("test", 1)).unwrap()
}

fn floats(values: &[f32]) -> Array {
    arr1(values).into()
}

#[test]
fn ports_tell_name_type_and_dimensions() {
    let Some(runtime) = runtime() else { return };
    let session = session(&runtime, AFFINE);
    let port = |name: &str, dims: &[Option<usize>]| Port {
        name: name.to_owned(),
        dtype: dtype::FLOAT,
        dims: dims.to_vec(),
        symbols: dims
            .iter()
            .map(|dim| dim.map_or("batch".to_owned(), |_| String::new()))
            .collect(),
    };
    let inputs = [
        port("x", &[None, Some(2)]),
        port("w", &[Some(2), Some(3)]),
        port("b", &[Some(3)]),
    ];
    assert_eq!(session.inputs(), inputs);
    assert_eq!(
        session.outputs(),
        [port("y", &[None, Some(3)]), port("total", &[])]
    );
}

#[test]
fn an_unbound_run_returns_all_outputs_in_order() {
    let Some(runtime) = runtime() else { return };
    let mut session = session(&runtime, AFFINE);
    let x = arr2(&[[1.0_f32, 2.0]]).into();
    // Column-major memory must not change the meaning.
    let w = arr2(&[[1.0_f32, 4.0], [2.0, 5.0], [3.0, 6.0]])
        .reversed_axes()
        .into();
    let outputs = session
        .run(&[("b", &floats(&[0.5; 3])), ("x", &x), ("w", &w)])
        .unwrap();
    assert_eq!(
        outputs,
        [arr2(&[[9.5_f32, 12.5, 15.5]]).into(), arr0(37.5_f32).into()]
    );
}

#[test]
fn runs_give_every_element_type_back() {
    let Some(runtime) = runtime() else { return };
    let outputs = session(&runtime, CASTS)
        .run(&[("x", &floats(&[0.0, 3.0]))])
        .unwrap();
    let half = half::f16::from_f32;
    let expected: [Array; 6] = [
        arr1(&[0.0_f64, 3.0]).into(),
        arr1(&[half(0.0), half(3.0)]).into(),
        arr1(&[0_i64, 3]).into(),
        arr1(&[0_i32, 3]).into(),
        arr1(&[0_u8, 3]).into(),
        arr1(&[false, true]).into(),
    ];
    assert_eq!(outputs, expected);
    let numbers: Vec<_> = outputs.iter().map(Array::dtype).collect();
    assert_eq!(numbers, [11, 10, 7, 6, 2, 9]);
}

#[test]
fn wrong_inputs_are_named() {
    let Some(runtime) = runtime() else { return };
    let mut session = session(&runtime, PRODUCT);
    let a = floats(&[1.0]);
    let unknown = session
        .run(&[("a", &a), ("c", &a)])
        .unwrap_err()
        .to_string();
    assert!(
        unknown.contains("`c`") && unknown.contains("a, b"),
        "{unknown}"
    );
    let missing = session.run(&[("a", &a)]).unwrap_err().to_string();
    assert!(
        missing.starts_with("test: ") && missing.contains('b'),
        "{missing}"
    );
    let mistyped = session
        .run(&[("a", &a), ("b", &arr1(&[1_i64]).into())])
        .unwrap_err();
    assert!(
        mistyped
            .to_string()
            .contains("`b`: takes elements of type f32, not i64"),
        "{mistyped}"
    );
}

#[test]
fn a_broken_model_is_an_error_with_the_label() {
    let Some(runtime) = runtime() else { return };
    let error = Session::new(&runtime, b"no model", &[], &options("step of t7", 1)).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("step of t7: onnxruntime failed to load"),
        "{error}"
    );
}

#[test]
fn not_a_number_is_no_error() {
    let Some(runtime) = runtime() else { return };
    let outputs = session(&runtime, PRODUCT)
        .run(&[("a", &floats(&[f32::INFINITY])), ("b", &floats(&[0.0]))])
        .unwrap();
    assert!(outputs[0].as_f32().unwrap()[0].is_nan());
}

#[test]
fn sessions_share_an_external_initializer() {
    let Some(runtime) = runtime() else { return };
    let values = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
    let tensor = SharedTensor::from_f32("w", &[2, 3], &values).unwrap();
    let externals = [("w".to_owned(), tensor)];
    for optimize in [true, false] {
        let options = SessionOptions {
            optimize,
            ..options("shared", 1)
        };
        let mut first = Session::new(&runtime, EXTERNAL, &externals, &options).unwrap();
        let mut second = Session::new(&runtime, EXTERNAL, &externals, &options).unwrap();
        let x = arr2(&[[1.0_f32, 1.0]]).into();
        let expected = [Array::from(arr2(&[[5.0_f32, 7.0, 9.0]]))];
        assert_eq!(first.run(&[("x", &x)]).unwrap(), expected);
        drop(first);
        assert_eq!(second.run(&[("x", &x)]).unwrap(), expected);
    }
}

#[test]
fn sessions_share_packed_weights() {
    let Some(runtime) = runtime() else { return };
    let tensor = SharedTensor::from_f32("w", &[2, 3], &[1.0; 6]).unwrap();
    let externals = [("w".to_owned(), tensor)];
    let packing = Some(Packing::new(&runtime));
    let options = SessionOptions {
        packing,
        ..options("packed", 1)
    };
    let mut sessions: Vec<_> = (0..3)
        .map(|_| Session::new(&runtime, EXTERNAL, &externals, &options).unwrap())
        .collect();
    drop(options);
    let x = arr2(&[[1.0_f32, 2.0]]).into();
    sessions.remove(0);
    for session in &mut sessions {
        assert_eq!(
            session.run(&[("x", &x)]).unwrap(),
            [arr2(&[[3.0_f32; 3]]).into()]
        );
    }
}

#[test]
fn sessions_with_packed_weights_and_without_give_the_same() {
    let Some(runtime) = runtime() else { return };
    let tensor = SharedTensor::from_f32("w", &[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
    let externals = [("w".to_owned(), tensor)];
    for most_packed in [0, 23, 24] {
        let options = SessionOptions {
            most_packed,
            ..options("packed", 1)
        };
        let mut session = Session::new(&runtime, EXTERNAL, &externals, &options).unwrap();
        let x = arr2(&[[1.0_f32, 1.0]]).into();
        let expected = [Array::from(arr2(&[[5.0_f32, 7.0, 9.0]]))];
        assert_eq!(session.run(&[("x", &x)]).unwrap(), expected);
    }
}

#[test]
fn a_missing_or_misshapen_external_initializer_is_an_error() {
    let Some(runtime) = runtime() else { return };
    assert!(Session::new(&runtime, EXTERNAL, &[], &options("test", 1)).is_err());
    let tensor = SharedTensor::from_f32("w", &[3, 2], &[0.0; 6]).unwrap();
    let externals = [("w".to_owned(), tensor)];
    assert!(Session::new(&runtime, EXTERNAL, &externals, &options("test", 1)).is_err());
}

#[test]
fn a_bound_run_sees_changed_buffers_and_keeps_output_addresses() {
    let Some(runtime) = runtime() else { return };
    let mut session = session(&runtime, AFFINE);
    let x = Buffer::from_f32(&[1, 2], &[1.0, 2.0]).unwrap();
    let w = Buffer::from_f32(&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
    let b = Buffer::zeros_f32(&[3]).unwrap();
    let (y, total) = (
        Buffer::zeros_f32(&[1, 3]).unwrap(),
        Buffer::zeros_f32(&[]).unwrap(),
    );
    let mut binding = session
        .bind(
            &[("x", &x), ("w", &w), ("b", &b)],
            &[("y", &y), ("total", &total)],
        )
        .unwrap();
    let address = y.as_f32().unwrap().as_ptr();

    session.run_bound(&mut binding).unwrap();
    assert_eq!(*y.as_f32().unwrap(), [9.0, 12.0, 15.0]);
    assert_eq!(*total.as_f32().unwrap(), [36.0]);

    w.as_f32_mut().unwrap()[0] = 11.0;
    b.as_f32_mut().unwrap().fill(1.0);
    session.run_bound(&mut binding).unwrap();
    assert_eq!(*y.as_f32().unwrap(), [20.0, 13.0, 16.0]);
    assert_eq!(*total.as_f32().unwrap(), [49.0]);
    assert_eq!(y.as_f32().unwrap().as_ptr(), address);
}

/// Where nothing is recorded it is what it is elsewhere: inputs are taken over when they have changed, outputs behind every
/// run, and the session knows buffers of its own that stay where they are.
#[test]
fn a_session_that_replays_reads_and_writes_the_same_buffers() {
    let Some(runtime) = runtime() else { return };
    let options = SessionOptions {
        replay: true,
        ..options("test", 1)
    };
    let mut session = Session::new(&runtime, PRODUCT, &[], &options).unwrap();
    let buffers = [[2.0; 2], [3.0; 2], [0.0; 2]].map(|v| Buffer::from_f32(&[2], &v).unwrap());
    let [a, b, p] = &buffers;
    // There and back, each with a recording of its own.
    let mut there = session.bind(&[("a", a), ("b", b)], &[("p", p)]).unwrap();
    let mut back = session.bind(&[("a", p), ("b", b)], &[("p", a)]).unwrap();
    for expected in [[6.0, 18.0], [54.0, 162.0]] {
        session.run_bound(&mut there).unwrap();
        assert_eq!(*p.as_f32().unwrap(), [expected[0]; 2]);
        session.run_bound(&mut back).unwrap();
        assert_eq!(*a.as_f32().unwrap(), [expected[1]; 2]);
    }
    b.write_f32(&[0.5; 2]).unwrap();
    session.run_bound(&mut there).unwrap();
    assert_eq!(p.to_f32().unwrap(), [81.0; 2]);
    let own = session.buffer_f32(&[2, 3]).unwrap();
    assert_eq!(own.to_f32().unwrap(), [0.0; 6]);
}

#[test]
fn two_sessions_share_a_buffer_one_writing_what_the_other_reads() {
    let Some(runtime) = runtime() else { return };
    let mut writer = session(&runtime, PRODUCT);
    let mut reader = session(&runtime, PRODUCT);
    let two = Buffer::from_f32(&[2], &[2.0; 2]).unwrap();
    let between = Buffer::zeros_f32(&[2]).unwrap();
    let result = Buffer::zeros_f32(&[2]).unwrap();
    let mut write = writer
        .bind(&[("a", &two), ("b", &two)], &[("p", &between)])
        .unwrap();
    let mut read = reader
        .bind(&[("a", &between), ("b", &two)], &[("p", &result)])
        .unwrap();
    for factor in [2.0, 3.0] {
        two.as_f32_mut().unwrap().fill(factor);
        writer.run_bound(&mut write).unwrap();
        reader.run_bound(&mut read).unwrap();
        assert_eq!(*result.as_f32().unwrap(), [factor * factor * factor; 2]);
    }
}

#[test]
fn a_run_refuses_buffers_that_are_borrowed() {
    let Some(runtime) = runtime() else { return };
    let mut session = session(&runtime, PRODUCT);
    let (a, p) = (
        Buffer::zeros_f32(&[1]).unwrap(),
        Buffer::zeros_f32(&[1]).unwrap(),
    );
    let mut binding = session.bind(&[("a", &a), ("b", &a)], &[("p", &p)]).unwrap();
    let reading = p.as_f32().unwrap();
    let error = session.run_bound(&mut binding).unwrap_err();
    assert!(
        matches!(&error, RuntimeError::BufferInUse(name) if name.contains("`p`")),
        "{error}"
    );
    drop(reading);
    let _reading_an_input = a.as_f32().unwrap();
    session.run_bound(&mut binding).unwrap();
}

#[test]
fn binding_refuses_what_cannot_work() {
    let Some(runtime) = runtime() else { return };
    let session = session(&runtime, AFFINE);
    let x = Buffer::zeros_f32(&[1, 2]).unwrap();
    let w = Buffer::zeros_f32(&[2, 3]).unwrap();
    let b = Buffer::zeros_f32(&[3]).unwrap();
    let integers = Buffer::zeros_i64(&[3]).unwrap();
    let y = Buffer::zeros_f32(&[1, 3]).unwrap();
    let refused = |inputs: &[(&str, &Buffer)], outputs: &[(&str, &Buffer)], expected: &str| {
        let error = session.bind(inputs, outputs).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    let good = [("x", &x), ("w", &w), ("b", &b)];
    refused(&good[..2], &[("y", &y)], "`b`: no buffer");
    refused(&good, &[("z", &y)], "`z`: the model knows only y, total");
    refused(
        &[("x", &x), ("w", &w), ("b", &integers)],
        &[],
        "`b`: takes elements of type f32",
    );
    refused(
        &[("x", &x), ("w", &y), ("b", &b)],
        &[],
        "`w`: takes dimensions [2, 3], not [1, 3]",
    );
    refused(
        &good,
        &[("y", &x)],
        "`y`: takes dimensions [?, 3], not [1, 2]",
    );
    refused(&good, &[("y", &w)], "`y`: its buffer is bound to `w` too");
    refused(&good, &[("y", &y), ("y", &y)], "bound to `y` too");
}

#[test]
fn a_binding_serves_its_own_session_only() {
    let Some(runtime) = runtime() else { return };
    let mut session = session(&runtime, PRODUCT);
    let other = self::session(&runtime, PRODUCT);
    let (a, p) = (
        Buffer::zeros_f32(&[1]).unwrap(),
        Buffer::zeros_f32(&[1]).unwrap(),
    );
    let mut binding = other.bind(&[("a", &a), ("b", &a)], &[("p", &p)]).unwrap();
    assert!(session.run_bound(&mut binding).is_err());
}

#[test]
fn an_output_buffer_of_the_wrong_batch_is_an_error() {
    let Some(runtime) = runtime() else { return };
    let mut session = session(&runtime, PRODUCT);
    let (a, p) = (
        Buffer::zeros_f32(&[4]).unwrap(),
        Buffer::zeros_f32(&[3]).unwrap(),
    );
    let mut binding = session.bind(&[("a", &a), ("b", &a)], &[("p", &p)]).unwrap();
    assert!(session.run_bound(&mut binding).is_err());
}

#[test]
fn denormals_flush_to_zero_in_every_thread() {
    let Some(runtime) = runtime() else { return };
    for threads in [1, 2] {
        let runtime = runtime.clone();
        let make =
            move || Session::new(&runtime, PRODUCT, &[], &options("denormal", threads)).unwrap();
        // onnxruntime sets the flag of the thread that makes the first session of a process, and
        // a thread inherits it from its parent: this thread must not be that one.
        std::thread::scope(|scope| scope.spawn(|| drop(make())).join().unwrap());
        // Large enough that worker threads take part.
        let tiny = floats(&[1e-30; 200_000]);
        let small = floats(&[1e-10; 200_000]);
        let run = std::thread::spawn(move || {
            let outputs = make().run(&[("a", &tiny), ("b", &small)]).unwrap();
            outputs[0]
                .as_f32()
                .unwrap()
                .iter()
                .filter(|value| **value != 0.0)
                .count()
        });
        assert_eq!(run.join().unwrap(), 0, "with {threads} threads");
    }
}

#[test]
fn the_profile_is_a_file() {
    let Some(runtime) = runtime() else { return };
    let folder = tempfile::tempdir().unwrap();
    let options = SessionOptions {
        profile: Some(folder.path().join("step")),
        ..options("profiled", 1)
    };
    let mut session = Session::new(&runtime, PRODUCT, &[], &options).unwrap();
    session
        .run(&[("a", &floats(&[1.0])), ("b", &floats(&[1.0]))])
        .unwrap();
    let path = session.end_profile().unwrap().unwrap();
    assert!(std::fs::read_to_string(path).unwrap().contains("\"product"));
    assert_eq!(session.end_profile().unwrap(), None);
}

#[test]
fn a_run_beyond_its_limit_is_ended() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let stop = AtomicBool::new(false);
    let work = || {
        while !stop.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
        7
    };
    let limit = Duration::from_millis(20);
    assert_eq!(
        within(limit, work, || stop.store(true, Ordering::Relaxed)),
        (7, true)
    );
    assert_eq!(
        within(Duration::from_secs(600), || 8, || unreachable!()),
        (8, false)
    );
}
