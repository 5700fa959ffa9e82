//! A model file that others change while a run is under way: told, and nothing made of it.

use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

use crate::scene::*;
use crate::support::*;

/// Settings with which a run takes some seconds.
const SLOW: &str = "--preprocess signed --search-fraction 0.4 --train-fraction 0.4 --epochs 300 \
                    --search-epochs 300 --strategies head,blocks --threads 1";

/// Starts a run that takes some seconds, does `change` to the model once the run has begun, and
/// returns the exit code and what was said.
fn changed_during(scene: &Scene, change: impl FnOnce(&Path)) -> (Option<i32>, String) {
    let mut run = scene.start("run", SLOW);
    while !scene.at("run/run.json").exists() {
        assert_eq!(run.try_wait().unwrap(), None, "it ends before it begins");
        std::thread::sleep(Duration::from_millis(5));
    }
    change(&scene.at("model.onnx"));
    said(run)
}

#[test]
fn a_model_that_is_truncated_or_overwritten_during_a_run_ends_it_without_a_winner() {
    if !has_runtime() {
        return;
    }
    let truncate = |path: &Path| {
        let file = File::options().write(true).open(path).unwrap();
        file.set_len(100).unwrap();
    };
    let overwrite = |path: &Path| {
        // Weights in the middle, in place.
        use std::io::{Seek, SeekFrom, Write};
        let mut file = File::options().write(true).open(path).unwrap();
        let middle = file.metadata().unwrap().len() / 2;
        file.seek(SeekFrom::Start(middle)).unwrap();
        file.write_all(&[0; 400]).unwrap();
    };
    let replace = |path: &Path| {
        let mut other = fs::read(path).unwrap();
        let middle = other.len() / 2;
        other[middle] ^= 1;
        fs::write(path.with_extension("new"), other).unwrap();
        fs::rename(path.with_extension("new"), path).unwrap();
    };
    for change in [truncate as fn(&Path), overwrite, replace] {
        let scene = Scene::of(8);
        let (code, said) = changed_during(&scene, change);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("model.onnx has been changed"), "{said}");
        assert!(said.contains("hint: "), "{said}");
        assert!(!scene.at("run/winners/head.onnx").exists());
        // What had ended is kept: with the file as it was, the run goes on.
        save_backbone(&scene.at("model.onnx"));
        succeeds(scene.resume("run", &[]));
        assert!(scene.at("run/winners/head.onnx").exists());
    }
}

#[test]
fn a_model_that_is_touched_or_written_anew_with_the_same_bytes_does_not_end_a_run() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::of(8);
    let rewrite = |path: &Path| {
        fs::copy(path, path.with_extension("new")).unwrap();
        fs::rename(path.with_extension("new"), path).unwrap();
    };
    let (code, said) = changed_during(&scene, rewrite);
    assert_eq!(code, Some(0), "{said}");
    assert!(scene.at("run/winners/head.onnx").exists());
}
