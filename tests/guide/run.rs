//! The commands of README.md and the guide, run.
//!
//! A block of `sh` with a call of `ftsurgery` runs in a folder with `mobilenet.onnx`, `photos`, `photo.jpg` and what else the
//! pages speak of, the blocks of a page one after the other, unless the line above says `<!-- not run: WHY -->`. A
//! block of Python runs where that line is `<!-- run -->`. A block of TOML that begins with the name of a file is that file.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ftsurgery::runtime::testing::has_runtime;
use ftsurgery::testing::guide::{Block, Page, pages, root};
use ftsurgery::testing::python;
use rayon::prelude::*;

/// Pictures of each class: enough for every part of a split.
const EACH: usize = 8;

fn is_run(block: &Block) -> bool {
    let calls = block.code.lines().any(|line| line.starts_with("ftsurgery "));
    match block.language.as_str() {
        "sh" => calls && !block.above.starts_with("<!-- not run: "),
        "toml" => file(block).is_some(),
        _ => block.above == "<!-- run -->",
    }
}

/// The name of the file that a block is.
fn file(block: &Block) -> Option<&str> {
    let name = block.code.lines().next()?.strip_prefix("# ")?;
    name.ends_with(".toml").then_some(name)
}

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_ftsurgery"))
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in walkdir::WalkDir::new(from).min_depth(1) {
        let path = entry.unwrap().into_path();
        let target = to.join(path.strip_prefix(from).unwrap());
        match path.is_dir() {
            true => fs::create_dir_all(target).unwrap(),
            false => drop(fs::copy(&path, target).unwrap()),
        }
    }
}

/// Some pictures of each class of the digits.
fn pictures(to: &Path) {
    for class in fs::read_dir(root().join("fixtures/digits")).unwrap() {
        let class = class.unwrap();
        let folder = to.join(class.file_name());
        fs::create_dir_all(&folder).unwrap();
        let mut files: Vec<PathBuf> = fs::read_dir(class.path()).unwrap().map(|f| f.unwrap().path()).collect();
        files.sort();
        for file in &files[..EACH] {
            fs::copy(file, folder.join(file.file_name().unwrap())).unwrap();
        }
    }
}

/// What the pages speak of, in a folder.
fn prepare(folder: &Path) {
    let model = root().join("onnx-models/fashion_mobilenet.onnx");
    for name in ["mobilenet.onnx", "model.onnx", "other.onnx", "onnx-models/fashion_mobilenet.onnx"] {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::copy(&model, path).unwrap();
    }
    pictures(&folder.join("photos"));
    pictures(&folder.join("fixtures/digits"));
    let sevens = folder.join("photos/7");
    let seven = fs::read_dir(&sevens).unwrap().next().unwrap().unwrap();
    fs::copy(seven.path(), folder.join("photo.jpg")).unwrap();
    let mut labels = "file,labels\n".to_owned();
    for entry in walkdir::WalkDir::new(folder.join("photos")) {
        let path = entry.unwrap().into_path();
        let digit = path.parent().unwrap().file_name().unwrap().to_str().unwrap();
        if let (true, Ok(digit)) = (path.is_file(), digit.parse::<u8>()) {
            let parity = ["even", "odd"][usize::from(digit % 2)];
            let path = path.strip_prefix(folder).unwrap().display();
            labels += &format!("{path},{digit}|{parity}\n");
        }
    }
    fs::write(folder.join("labels.csv"), labels).unwrap();
}

/// A run of `tune` without flags, `run`.
fn tune(folder: &Path) {
    let mut command = program();
    command.current_dir(folder).args(["--quiet", "tune", "mobilenet.onnx", "--data", "photos", "--out", "run"]);
    told("the run before", &command.output().unwrap());
}

fn told(what: &str, output: &Output) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{what}: {}\n{}{}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    );
}

/// Runs a block in a folder.
fn run(block: &Block, folder: &Path) -> Option<Output> {
    if let Some(name) = file(block).filter(|_| block.language == "toml") {
        fs::write(folder.join(name), &block.code).unwrap();
        return None;
    }
    let mut command = match block.language.as_str() {
        "python" => {
            let mut command = Command::new(python(&["numpy", "onnxruntime", "PIL"])?);
            command.args(["-c", &block.code]);
            command
        }
        _ => {
            let mut command = Command::new("bash");
            command.args(["-euo", "pipefail", "-c", &block.code]);
            command
        }
    };
    let bin = Path::new(env!("CARGO_BIN_EXE_ftsurgery")).parent().unwrap();
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let paths = std::iter::once(bin.to_owned()).chain(std::env::split_paths(&paths));
    command.env("PATH", std::env::join_paths(paths).unwrap());
    Some(command.current_dir(folder).output().unwrap())
}

#[test]
fn every_block_that_can_run_here_does() {
    if !has_runtime() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let before = place.path().join("before");
    fs::create_dir(&before).unwrap();
    prepare(&before);
    tune(&before);
    let pages: Vec<(Page, Vec<Block>)> = pages()
        .into_iter()
        .map(|page| {
            let blocks = page.blocks().into_iter().filter(is_run).collect();
            (page, blocks)
        })
        .filter(|(_, blocks): &(Page, Vec<Block>)| !blocks.is_empty())
        .collect();
    assert!(pages.len() > 10, "{} pages", pages.len());
    pages.par_iter().for_each(|(page, blocks)| {
        let folder = place.path().join(page.path.file_stem().unwrap());
        copy(&before, &folder);
        // A page that makes the run has none before.
        if blocks.iter().any(|block| block.code.contains("--out run ") || block.code.contains("--out run\n")) {
            fs::remove_dir_all(folder.join("run")).unwrap();
        }
        for block in blocks {
            let place = format!("{}:{}", page.path.display(), block.line);
            let start = std::time::Instant::now();
            if let Some(output) = run(block, &folder) {
                told(&place, &output);
            }
            eprintln!("{place}: {:.1} s", start.elapsed().as_secs_f64());
        }
    });
}
