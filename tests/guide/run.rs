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

/// Some digits.
const CLASSES: [&str; 3] = ["1", "3", "7"];
/// Pictures of each: enough for every part of a split.
const EACH: usize = 8;

fn is_run(block: &Block) -> bool {
    let calls = block
        .code
        .lines()
        .any(|line| line.starts_with("ftsurgery "));
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
    for class in CLASSES {
        let folder = to.join(class);
        fs::create_dir_all(&folder).unwrap();
        let files = fs::read_dir(root().join("fixtures/digits").join(class)).unwrap();
        let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
        files.sort();
        for file in &files[..EACH] {
            fs::copy(file, folder.join(file.file_name().unwrap())).unwrap();
        }
    }
}

/// What the pages speak of, in a folder: a small network under the names that they use, and pictures.
fn prepare(folder: &Path) {
    let network = root().join("fixtures/exporters/torch_older_mobile.onnx");
    let mut rename = program();
    rename
        .args(["--quiet", "rename"])
        .arg(network)
        .args(["--out", "mobilenet.onnx"]);
    rename.args(["--value", "/excite/Mul_output_0=features/relu"]);
    rename.args(["--regex", "^(stem|norm1)", "features.$1"]);
    assert_eq!(
        fault("the model", &rename.current_dir(folder).output().unwrap()),
        None
    );
    fs::create_dir(folder.join("onnx-models")).unwrap();
    for name in [
        "model.onnx",
        "other.onnx",
        "small.onnx",
        "large.onnx",
        "onnx-models/fashion_mobilenet.onnx",
    ] {
        fs::copy(folder.join("mobilenet.onnx"), folder.join(name)).unwrap();
    }
    pictures(&folder.join("photos"));
    pictures(&folder.join("fixtures/digits"));
    let mut labels = "file,labels\n".to_owned();
    for class in CLASSES {
        for file in fs::read_dir(folder.join("photos").join(class)).unwrap() {
            let name = file.unwrap().file_name().into_string().unwrap();
            labels += &format!("photos/{class}/{name},{class}|odd\n");
            fs::copy(
                folder.join("photos").join(class).join(name),
                folder.join("photo.jpg"),
            )
            .unwrap();
        }
    }
    fs::write(folder.join("labels.csv"), labels).unwrap();
}

/// A run of `tune` without flags, `run`.
fn tune(folder: &Path) {
    let mut command = program();
    command
        .args([
            "--quiet",
            "tune",
            "mobilenet.onnx",
            "--data",
            "photos",
            "--out",
            "run",
        ])
        .current_dir(folder);
    assert_eq!(fault("the run before", &command.output().unwrap()), None);
}

/// What a command said that failed.
fn fault(what: &str, output: &Output) -> Option<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = || {
        format!(
            "{what}: {}\n{}{}",
            output.status,
            text(&output.stdout),
            text(&output.stderr)
        )
    };
    (!output.status.success()).then(said)
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
    let wrong: Vec<String> = pages
        .par_iter()
        .flat_map_iter(|(page, blocks)| {
            let folder = place.path().join(page.path.file_stem().unwrap());
            copy(&before, &folder);
            // A page that makes the run has none before.
            let makes = |block: &Block| {
                block.code.contains("--out run ") || block.code.contains("--out run\n")
            };
            if blocks.iter().any(makes) {
                fs::remove_dir_all(folder.join("run")).unwrap();
            }
            let run = |block: &Block| {
                let output = run(block, &folder)?;
                let place = format!("{}:{}", page.path.display(), block.line);
                fault(&place, &output)
            };
            blocks.iter().filter_map(run).collect::<Vec<_>>()
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
