//! Models that were handed over, where they are: each with what is right.

use std::path::Path;

use ftsurgery::onnx::Model;
use ftsurgery::runtime::testing::has_runtime;

use crate::models::*;

/// What is right for a model.
enum Right {
    /// It is tuned with a new head and its own; these values are the weights that must then be in the file.
    Tuned(&'static [&'static str]),
    /// As [`Right::Tuned`], but it has no head of its own.
    Headless(&'static [&'static str]),
    /// It is tuned with a new head, as [`Right::Tuned`]; its own is refused with these words.
    New(&'static [&'static str], &'static [&'static str]),
    /// It is refused with these words.
    Refused(&'static [&'static str]),
}

#[test]
fn models_that_were_handed_over_come_to_what_is_right() {
    use Right::{Headless, New, Refused, Tuned};
    let Some(folder) = handed("models") else {
        return;
    };
    if !has_runtime() {
        return;
    }
    let place = Place::new(&proto(&classifier()));
    for (name, right) in [
        ("base", Tuned(&["w1", "w2"])),
        ("softmax", Tuned(&["w1", "w2"])),
        ("aux_first", Tuned(&["w1", "w2"])),
        ("zipmap", Tuned(&["w1", "w2"])),
        ("meta", Tuned(&["w1", "w2"])),
        ("opset7", Tuned(&["w1"])),
        ("localfn", Tuned(&["w1", "w2"])),
        ("if_squeeze", Tuned(&["w1", "w2"])),
        ("unsorted", Tuned(&["w1", "w2"])),
        ("dupnames", Tuned(&["w1", "w2"])),
        ("oddnames", Tuned(&["w1", "w2"])),
        ("inter_out", Tuned(&["w1", "w2"])),
        ("fixed1", Tuned(&["w1", "w2"])),
        ("fixed1r", Tuned(&["w1", "w2"])),
        ("headless_vec", Headless(&["w1", "w2"])),
        ("headless_map", Headless(&["w1", "w2"])),
        ("headless_res", Headless(&["w1", "w2", "w3"])),
        ("sigmoid", New(&["w1", "w2"], &["--task multi-label"])),
        ("bin", New(&["w1", "w2"], &["one output", "have 3"])),
        (
            "fusedconv",
            Refused(&["(FusedConv)", "before they made this one"]),
        ),
        ("bn_train", Refused(&["training mode", "--inference-mode"])),
    ] {
        let model = folder.join(format!("{name}.onnx"));
        std::fs::copy(&model, place.at("copy.onnx")).unwrap();
        std::fs::rename(place.at("copy.onnx"), place.at("model.onnx")).unwrap();
        let tune = |arguments: &str| {
            let _ = std::fs::remove_dir_all(place.at("run"));
            eprintln!("{name} {arguments}");
            place.tune(arguments)
        };
        let holds = |weights: &[&str]| {
            let model = place.winner();
            for weight in weights {
                assert!(!floats(&model, weight).is_empty(), "{name}: {weight}");
            }
            assert!(in_order(&model), "{name}");
        };
        match right {
            Tuned(weights) => {
                tune("").well();
                holds(weights);
                // Its classes are others than those of the photos.
                place.run("analyze model.onnx").well();
                if name != "meta" {
                    tune("--head keep").well();
                    holds(weights);
                    let said = place.run("evaluate model.onnx --data photos --preprocess unit");
                    assert_eq!(said.code(), Some(0), "{name}: {}", said.text());
                }
            }
            Headless(weights) => {
                let said = tune("").well();
                assert!(said.contains("all layers stay"), "{said}");
                holds(weights);
            }
            New(weights, words) => {
                tune("").well();
                holds(weights);
                tune("--head keep").refused(words);
            }
            Refused(words) => {
                for arguments in ["", "--head keep"] {
                    tune(arguments).refused(words);
                }
            }
        }
    }
}

fn in_order(model: &Model) -> bool {
    let graph = model.graph();
    let inputs = graph.input.iter().map(|i| i.name());
    let mut made: Vec<&str> = inputs
        .chain(graph.initializer.iter().map(|t| t.name()))
        .collect();
    graph.node.iter().all(|node| {
        let is_in_order = node
            .input
            .iter()
            .all(|i| i.is_empty() || made.contains(&i.as_str()));
        made.extend(node.output.iter().map(String::as_str));
        is_in_order
    })
}

#[cfg(unix)]
#[test]
fn the_cache_that_was_handed_over_is_read() {
    use std::os::unix::fs::symlink;
    let Some(folder) = handed("models/hf_cache/blobs") else {
        return;
    };
    if !has_runtime() || !Path::new(&folder).is_dir() {
        return;
    }
    let place = Place::new(&proto(&classifier()));
    for name in ["cache/blobs", "cache/snapshots/abc"] {
        std::fs::create_dir_all(place.at(name)).unwrap();
    }
    for file in ["aaa", "bbb"] {
        std::fs::copy(folder.join(file), place.at("cache/blobs").join(file)).unwrap();
    }
    symlink(
        "../../blobs/aaa",
        place.at("cache/snapshots/abc/model.onnx"),
    )
    .unwrap();
    symlink(
        "../../blobs/bbb",
        place.at("cache/snapshots/abc/model.onnx_data"),
    )
    .unwrap();
    assert_eq!(
        place.predicted("cache/snapshots/abc/model.onnx", "").len(),
        3
    );
}
