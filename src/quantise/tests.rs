//! Tests of what is said where the tool cannot be had.

use super::*;

fn quantised(python: &Path) -> QuantiseError {
    let folder = tempfile::tempdir().unwrap();
    let calibration = Calibration {
        input: "x",
        sample: &[2],
        batch: None,
        pictures: 3,
        fill: &mut |_, values| {
            values.fill(0.5);
            Ok(())
        },
    };
    let out = folder.path().join("out.onnx");
    quantise(python, Path::new("m.onnx"), calibration, &out).unwrap_err()
}

#[test]
fn without_python_that_is_told_with_the_way_to_it() {
    let error = quantised(Path::new("/nowhere/python"));
    assert!(matches!(error, QuantiseError::NoPython { .. }), "{error}");
    assert!(error.to_string().contains("/nowhere/python"), "{error}");
    assert!(error.hint().unwrap().contains("FTSURGERY_PYTHON"));
    assert!(error.is_bad_input());
}

#[cfg(unix)]
#[test]
fn what_ends_without_a_word_is_told_by_its_last_line() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    let python = folder.path().join("python");
    let write = |script: &str| {
        std::fs::write(&python, script).unwrap();
        std::fs::set_permissions(&python, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    write("#!/bin/sh\ncat >/dev/null\necho 'out of memory' >&2\nexit 9\n");
    let error = quantised(&python);
    assert!(error.to_string().contains("out of memory"), "{error}");
    write(
        "#!/bin/sh\ncat >/dev/null\necho '{\"missing\": \"No module named onnx\", \"python\": \"/usr/bin/python3\"}'\n",
    );
    let error = quantised(&python);
    assert!(matches!(error, QuantiseError::Missing { .. }), "{error}");
    assert!(
        error.to_string().contains("No module named onnx"),
        "{error}"
    );
}

#[test]
fn pictures_are_an_array_that_numpy_reads() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pictures.npy");
    let mut calibration = Calibration {
        input: "x",
        sample: &[2, 1],
        batch: None,
        pictures: 3,
        fill: &mut |range, values| {
            values.copy_from_slice(&[range.start as f32, -1.0]);
            Ok(())
        },
    };
    assert!(write_pictures(&path, &mut calibration).is_ok());
    let array: ndarray::Array3<f32> = ndarray_npy::read_npy(&path).unwrap();
    assert_eq!(array.shape(), [3, 2, 1]);
    assert_eq!(array.as_slice().unwrap(), [0.0, -1.0, 1.0, -1.0, 2.0, -1.0]);
    assert_eq!(std::fs::metadata(&path).unwrap().len() % 64, 24);
}
