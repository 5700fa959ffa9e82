//! States of training graphs that are damaged.

use std::io::{Cursor, Write};
use std::path::Path;

use ftsurgery::adapter::backbone_sha256;
use ftsurgery::hex;
use ftsurgery::onnx::{DataType, Model, Tensor, encode};
use ftsurgery::training_graph::{Role, State};
use ndarray_npy::WriteNpyExt;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::guard::{Outcome, guarded_within};
use crate::models;
use crate::mutate::mutate_bytes;

/// What a small file may take in memory.
const FEW: isize = 64 << 20;

fn backbone() -> Model {
    let bytes = encode(&models::plain()).unwrap();
    Model::decode(bytes.into(), Path::new("plain.onnx")).unwrap()
}

/// A state of the [`backbone`].
fn state() -> State {
    let hash = hex::decode(&backbone_sha256(&backbone()).unwrap()).unwrap();
    let mut state = State::default();
    state.put(Role::Step, Tensor::scalar_i64(7));
    let hash = Tensor {
        dtype: DataType::Uint8,
        dims: vec![hash.len()],
        data: hash.into(),
    };
    state.put(Role::Backbone, hash);
    let graph = ftsurgery::graph::Graph::from_model(&backbone()).unwrap();
    let weight = &graph.initializers["conv2.w"];
    let values = vec![0.5; weight.len()];
    let tensor = Tensor::f32(&weight.dims, &values);
    state.put(Role::FirstMoment("conv2.w".to_owned()), tensor.clone());
    state.put(Role::Parameter("conv2.w".to_owned()), tensor);
    state
}

fn applied(label: &str, bytes: &[u8], file: &Path) -> Result<(), String> {
    let backbone = backbone();
    let outcome = guarded_within(label, FEW, || {
        State::decode(bytes.to_vec(), file)?
            .apply(&backbone)?
            .check()
    });
    match outcome {
        Outcome::Done(Ok(())) => Ok(()),
        Outcome::Done(Err(error)) => {
            assert!(error.is_bad_input(), "{label}: {error}");
            Err(error.to_string())
        }
        Outcome::Failed(why) => panic!("{label}: {why}"),
    }
}

#[test]
fn damaged_states_end_in_errors_or_in_other_values() {
    let folder = tempfile::tempdir().unwrap();
    let times = std::env::var("FTSURGERY_HOSTILE_CASES").map_or(1, |n| n.parse().unwrap());
    for name in ["a.safetensors", "a.npz"] {
        let file = folder.path().join(name);
        state().write(&file).unwrap();
        let bytes = std::fs::read(&file).unwrap();
        applied(name, &bytes, &file).unwrap();
        let mut refused = 0;
        for number in 0..300 * times {
            let label = format!("{name} #{number}");
            let damaged = mutate_bytes(&bytes, number);
            refused += usize::from(applied(&label, &damaged, &file).is_err());
        }
        assert!(refused > 100, "{name}: {refused}");
    }
}

#[test]
fn a_state_takes_no_memory_by_what_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.npz");
    // An array whose header says what the file has not.
    let mut header = Vec::new();
    let dims = ndarray::Array4::<f32>::zeros([6, 4, 3, 3]);
    dims.write_npy(&mut header).unwrap();
    let at = header
        .windows(12)
        .position(|w| w == b"(6, 4, 3, 3)")
        .unwrap();
    let larger = b"(6, 4, 3, 3000000000), }";
    header[at..at + larger.len()].copy_from_slice(larger);
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    zip.start_file("param/conv2.w.npy", stored).unwrap();
    zip.write_all(&header).unwrap();
    let bytes = zip.finish().unwrap().into_inner();
    let told = applied("npz", &bytes, &file).unwrap_err();
    assert!(
        told.contains("`param/conv2.w` is not as it must be"),
        "{told}"
    );
    // The header of a safetensors file that is longer than the file.
    state().write(&file.with_extension("safetensors")).unwrap();
    let mut bytes = std::fs::read(file.with_extension("safetensors")).unwrap();
    bytes[..8].copy_from_slice(&(1u64 << 60).to_le_bytes());
    let told = applied("header", &bytes, &file).unwrap_err();
    assert!(told.contains("is no state"), "{told}");
}
