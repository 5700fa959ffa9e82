//! The page of a run that never was.

use std::fs;
use std::path::Path;

use ftsurgery::report;
use ftsurgery::run::RunFiles;
use image::{Rgb, RgbImage};
use tempfile::TempDir;

use crate::fake::{self, Shape, USUAL};

/// The folder of a run that never was, with its report. Two of its classes have photos.
pub fn reported(shape: Shape) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("run");
    let data = folder.path().join("photos");
    fs::create_dir(&root).unwrap();
    for class in ["daisy", "dandelion"] {
        fs::create_dir_all(data.join(class)).unwrap();
        for i in 0..3u8 {
            let picture = RgbImage::from_fn(60, 40, |x, y| Rgb([x as u8 * 4, y as u8 * 6, 80 * i]));
            picture
                .save(data.join(class).join(format!("{i:02}.png")))
                .unwrap();
        }
    }
    fake::write(&root, &data, shape);
    report::write(&root).unwrap();
    folder
}

pub fn page(folder: &TempDir) -> String {
    fs::read_to_string(folder.path().join("run/report.html")).unwrap()
}

/// Changes a JSON file of the run.
pub fn edit(root: &Path, name: &str, change: impl FnOnce(&mut serde_json::Value)) {
    let path = root.join(name);
    let mut value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut value);
    fs::write(path, value.to_string()).unwrap();
}

/// The page of the usual run, whose files were changed.
pub fn page_after(change: impl FnOnce(&Path)) -> String {
    page_of(USUAL, change)
}

/// The page of a run whose files were changed.
pub fn page_of(shape: Shape, change: impl FnOnce(&Path)) -> String {
    let folder = reported(shape);
    let root = folder.path().join("run");
    change(&root);
    report::html(&RunFiles::read(&root).unwrap())
}

pub const ONE_SEED: Shape = Shape {
    repeats: false,
    ..USUAL
};
