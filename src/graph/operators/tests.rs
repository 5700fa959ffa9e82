//! The table itself, and that nothing beside it lists operators.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::{all, named};

#[test]
fn every_operator_has_one_row() {
    let names: BTreeSet<&str> = all().map(|o| o.name).collect();
    assert_eq!(names.len(), all().count());
}

/// Files in which three operators or more may follow each other, and why.
const DONE_WITH_EACH: &[(&str, &str)] = &[
    (
        "graph/infer/arithmetic.rs",
        "computes each by a formula of its own",
    ),
    (
        "graph/normalise/opset.rs",
        "has one adapter for the three that `axis` made a matrix of",
    ),
    (
        "surgery/logits/bounded.rs",
        "has a formula for the range of each",
    ),
    (
        "surgery/rewrite/low_rank.rs",
        "writes the update of each in a form of its own",
    ),
    (
        "distil/ends.rs",
        "ends blocks by the number of products in them, of any kind",
    ),
    (
        "verify/structure/fits.rs",
        "checks what ONNX asks of the attributes of each",
    ),
    (
        "training_graph/operators.rs",
        "is a promise, which a test holds against what graphs are made of",
    ),
];

#[test]
fn operators_are_listed_in_the_table_alone() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut lists: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut open = vec![root.clone()];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).unwrap();
            open.extend(entries.map(|entry| entry.unwrap().path()));
        } else if is_code(path.strip_prefix(&root).unwrap()) {
            let text = std::fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
            let found = runs(code).into_iter().filter(|run| run.len() > 2);
            let found: Vec<String> = found.map(|run| run.join(", ")).collect();
            if !found.is_empty() {
                let name = path.strip_prefix(&root).unwrap().to_string_lossy();
                lists.insert(name.replace('\\', "/"), found);
            }
        }
    }
    for (file, why) in DONE_WITH_EACH {
        assert!(lists.remove(*file).is_some(), "{file} no longer {why}");
    }
    assert!(lists.is_empty(), "ask a column of the table: {lists:#?}");
}

/// Whether a file, by its path below `src`, is neither of the table nor for tests.
fn is_code(path: &Path) -> bool {
    let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
    let is = |part: &str, name: &str| part.trim_end_matches(".rs").ends_with(name);
    let for_tests = [
        "tests", "testing", "checks", "cases", "raised", "mixing", "nets",
    ];
    let tests = parts
        .iter()
        .any(|part| for_tests.iter().any(|name| is(part, name)));
    let table = path
        .parent()
        .is_some_and(|folder| folder.ends_with(PathBuf::from("graph/operators")));
    path.extension().is_some_and(|e| e == "rs") && !tests && !table
}

/// The operators that stand next to each other in `code`, with nothing but `,` or `|` between.
fn runs(code: &str) -> Vec<Vec<&str>> {
    let mut runs: Vec<Vec<&str>> = vec![Vec::new()];
    // Every second piece is inside of quotes; where that fails, the names between do not fit either.
    for (index, piece) in code.split('"').enumerate() {
        let between = piece.trim();
        if named(piece).is_some() {
            if let Some(run) = runs.last_mut() {
                run.push(piece);
            }
        } else if index == 0 || !matches!(between, "," | "|") {
            runs.push(Vec::new());
        }
    }
    runs
}
