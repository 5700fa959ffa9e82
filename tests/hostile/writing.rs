//! Outputs are whole or absent.

use ftsurgery::onnx::{save, write_atomic};
use ftsurgery::runtime::testing::runtime;

use crate::cases::{batch, ftsurgery};
use crate::models;

#[test]
fn a_file_that_cannot_be_written_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), b"old").unwrap();
    for name in ["absent/out", "file/out"] {
        assert!(write_atomic(&folder.path().join(name), b"new").is_err());
    }
    // A folder stands where the file should go.
    std::fs::create_dir_all(folder.path().join("taken/inside")).unwrap();
    assert!(write_atomic(&folder.path().join("taken"), b"new").is_err());
    let mut left: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    left.sort();
    assert_eq!(left, ["file", "taken"]);
    assert_eq!(std::fs::read(folder.path().join("file")).unwrap(), b"old");
}

#[test]
fn the_command_names_the_output_it_cannot_write() {
    if runtime().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model.onnx");
    save(&models::plain(), &model).unwrap();
    let batch = batch(folder.path());
    for out in ["absent/out.npz", "model.onnx/out.npz"] {
        let out = folder.path().join(out);
        let (model, out) = (model.to_str().unwrap(), out.to_str().unwrap());
        let output = ftsurgery(&["gradients", model, "--batch", &batch, "--out", out]);
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(message.contains(out), "{message}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}
