//! `ftsurgery gradients` as its users see it.

mod own;
mod reference;

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;

use assert_cmd::Command;
use ndarray::{Array, ArrayD, Dimension, Ix1, IxDyn, OwnedRepr};
use ndarray_npy::{NpzReader, NpzWriter, ReadableElement};

fn read<T: ReadableElement>(npz: &mut NpzReader<File>, name: &str) -> ArrayD<T> {
    npz.by_name::<OwnedRepr<T>, IxDyn>(name).unwrap()
}

fn open(path: &Path) -> NpzReader<File> {
    NpzReader::new(File::open(path).unwrap()).unwrap()
}

fn gradient_names(npz: &mut NpzReader<File>) -> BTreeSet<String> {
    let names = npz.names().unwrap().into_iter();
    names
        .map(|n| n.trim_end_matches(".npy").to_owned())
        .filter(|n| n.starts_with("grad/"))
        .collect()
}

fn save_batch<D: Dimension>(path: &Path, x: &Array<f32, D>, y: &[i64]) {
    save_arrays(path, x, &Array::<i64, Ix1>::from(y.to_vec()));
}

fn save_arrays<D: Dimension, E: Dimension>(path: &Path, x: &Array<f32, D>, y: &Array<i64, E>) {
    let mut npz = NpzWriter::new(File::create(path).unwrap());
    npz.add_array("x", x).unwrap();
    npz.add_array("y", y).unwrap();
    npz.finish().unwrap();
}

fn gradients(model: &Path, batch: &Path, out: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ftsurgery"));
    command.args(["--quiet", "gradients"]).arg(model);
    command.arg("--batch").arg(batch).arg("--out").arg(out);
    command
}
