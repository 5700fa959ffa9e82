//! Arrays whose labels are names of classes.

use std::fs;
use std::io::Write;
use std::path::Path;

use ftsurgery::data::{Resize, load_image};
use ndarray::Array4;
use ndarray_npy::WriteNpyExt;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::scene::*;
use crate::support::*;

/// That of the model's images.
const SIDE: usize = 16;

/// The images of a folder of classes as NumPy's `savez(x=pixels, y=names)` has them.
fn save_arrays(photos: &Path, path: &Path) {
    let (mut pixels, mut names, mut rows) = (Vec::new(), Vec::new(), 0);
    let mut folders: Vec<_> = fs::read_dir(photos)
        .unwrap()
        .map(|f| f.unwrap().path())
        .collect();
    folders.sort();
    for folder in folders {
        let mut files: Vec<_> = fs::read_dir(&folder)
            .unwrap()
            .map(|f| f.unwrap().path())
            .collect();
        files.sort();
        for file in files {
            pixels.extend(load_image(&file, SIDE, SIDE, 3, Resize::SQUASH).unwrap());
            let mut name: Vec<u32> = folder
                .file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .chars()
                .map(u32::from)
                .collect();
            name.resize(8, 0);
            names.extend(name.into_iter().flat_map(u32::to_le_bytes));
            rows += 1;
        }
    }
    let x = Array4::from_shape_vec((rows, SIDE, SIDE, 3), pixels).unwrap();
    let mut zip = ZipWriter::new(fs::File::create(path).unwrap());
    zip.start_file("x.npy", SimpleFileOptions::default())
        .unwrap();
    x.write_npy(&mut zip).unwrap();
    let header = format!("{{'descr': '<U8', 'fortran_order': False, 'shape': ({rows},), }}\n");
    zip.start_file("y.npy", SimpleFileOptions::default())
        .unwrap();
    zip.write_all(b"\x93NUMPY\x01\0").unwrap();
    zip.write_all(&(header.len() as u16).to_le_bytes()).unwrap();
    zip.write_all(header.as_bytes()).unwrap();
    zip.write_all(&names).unwrap();
    zip.finish().unwrap();
}

#[test]
fn labels_of_arrays_that_are_names_are_matched_to_a_models_as_those_of_folders() {
    if !has_runtime() {
        return;
    }
    let scene = Scene::of(12);
    save_arrays(&scene.at("photos"), &scene.at("arrays.npz"));
    // The order of another training, which is not that of the alphabet.
    fs::write(scene.at("classes.txt"), "red\nblue\ngreen\n").unwrap();
    let flags = "--strategies head --head linear --head-init solved --search-fraction 0.3 --epochs 1 --search-epochs 1 \
                 --preprocess signed";
    let ordered = format!("{flags} --classes {}", scene.at("classes.txt").display());
    scene.tune("run", &ordered).assert().success();
    let figures = |data: &str, model: &str| {
        let (evaluated, told) = evaluate(scene.path(), &format!("{model} --data {data}"));
        (
            evaluated["accuracy"].as_f64().unwrap(),
            evaluated["loss"].clone(),
            told,
        )
    };
    let (accuracy, loss, _) = figures("photos", "run/winners/head.onnx");
    assert!(accuracy > 0.9);
    let of_arrays = figures("arrays.npz", "run/winners/head.onnx");
    assert_eq!((of_arrays.0, of_arrays.1), (accuracy, loss));

    // A kept head takes them in its own order, a new one in that of folders.
    let keep = "--strategies head --head keep --search-fraction 0.3 --epochs 1 --preprocess signed";
    let model = scene.at("run/winners/head.onnx");
    let kept = keep.split(' ').collect::<Vec<_>>();
    tune(&model, &scene.at("arrays.npz"), &scene.at("kept"), &kept)
        .assert()
        .success();
    scene.tune_on("arrays.npz", "new", flags).assert().success();
    for (run, classes) in [
        ("kept", ["red", "blue", "green"]),
        ("new", ["blue", "green", "red"]),
    ] {
        let record = json(&scene.at(&format!("{run}/run.json")));
        assert_eq!(
            record["data"]["classes"],
            serde_json::json!(classes),
            "{run}"
        );
        let (accuracy, _, told) = figures("photos", &format!("{run}/winners/head.onnx"));
        assert!(accuracy > 0.9, "{run}: {told}");
    }
}
