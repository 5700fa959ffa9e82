//! Adapters that are damaged, or say what is not so.

use std::path::Path;

use ftsurgery::adapter::{Adapter, Makes, NewHead, Preparation, Recipe, Tuned, backbone_sha256};
use ftsurgery::onnx::{Model, encode};
use ftsurgery::surgery::rewrite::{AdaFilter, FilterGate, GateStart, LowRank};
use ftsurgery::surgery::{Features, HeadKind, Rewrite};
use ftsurgery::task::Task;

use crate::guard::{Outcome, guarded_within};
use crate::models;
use crate::mutate::mutate_bytes;

/// What a small file may take in memory.
const FEW: isize = 64 << 20;

fn backbone() -> Model {
    let bytes = encode(&models::plain()).unwrap();
    Model::decode(bytes.into(), Path::new("plain.onnx")).unwrap()
}

fn head() -> NewHead {
    NewHead {
        kind: HeadKind::Linear,
        classes: 2,
        task: Task::SingleLabel,
        logits: false,
        features: Features {
            value: "relu2".to_owned(),
            channels: 6,
            height: 2,
            width: 2,
            nhwc: false,
        },
    }
}

fn low_rank() -> LowRank {
    LowRank {
        weights: vec!["conv2.w".to_owned()],
        rank: 2,
        alpha: 2,
        seed: 0,
    }
}

fn adafilter(width: usize) -> Rewrite {
    Rewrite::AdaFilter(AdaFilter {
        weights: vec!["conv1.w".to_owned(), "conv2.w".to_owned()],
        gate: FilterGate::Random,
        start: GateStart::Tuned,
        width,
        share: None,
        seed: 0,
        dependent: None,
    })
}

/// An adapter that fits but for what it makes.
fn adapter() -> Adapter {
    let tensor = |name: &str, dims: &[usize]| Tuned {
        name: name.to_owned(),
        dims: dims.to_vec(),
        values: vec![0.5; dims.iter().product()],
    };
    Adapter {
        backbone: backbone_sha256(&backbone()).unwrap(),
        makes: Makes {
            sha256: "none".to_owned(),
            data: None,
        },
        recipe: Recipe {
            prepared: Preparation::default(),
            head: Some(head()),
            rewrite: Rewrite::LowRank(low_rank()),
            frees_batch: false,
            metadata: vec![("key".to_owned(), "value".to_owned())],
        },
        tensors: vec![
            tensor("ftsurgery/head/logits/bias", &[2]),
            tensor("ftsurgery/head/logits/weight", &[6, 2]),
            tensor("ftsurgery/low_rank/conv2.w/a", &[2, 4, 3, 3]),
            tensor("ftsurgery/low_rank/conv2.w/b", &[6, 2, 1, 1]),
        ],
    }
}

/// Why a file is refused.
fn refused(label: &str, bytes: &[u8]) -> String {
    let file = Path::new("a.safetensors");
    let backbone = backbone();
    let outcome = guarded_within(label, FEW, || {
        let adapter = Adapter::decode(bytes, file)?;
        adapter.apply(&backbone)?.check()
    });
    match outcome {
        Outcome::Done(Err(error)) => {
            assert!(error.is_bad_input(), "{label}: {error}");
            error.to_string()
        }
        Outcome::Done(Ok(())) => panic!("{label}: it is taken"),
        Outcome::Failed(why) => panic!("{label}: {why}"),
    }
}

fn written(adapter: &Adapter) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.safetensors");
    adapter.write(&file).unwrap();
    std::fs::read(file).unwrap()
}

#[test]
fn damaged_adapters_end_in_errors() {
    let bytes = written(&adapter());
    // All of it is right, but the model that it makes.
    assert!(refused("whole", &bytes).contains("and not none"));
    let times = std::env::var("FTSURGERY_HOSTILE_CASES").map_or(1, |n| n.parse().unwrap());
    for number in 0..300 * times {
        refused(&format!("adapter #{number}"), &mutate_bytes(&bytes, number));
    }
}

#[test]
fn an_adapter_takes_no_memory_by_what_it_says() {
    let many = usize::MAX / 16;
    for (label, change) in [
        (
            "classes",
            &(|r: &mut Recipe| r.head.as_mut().unwrap().classes = many) as &dyn Fn(&mut Recipe),
        ),
        ("channels", &|r| {
            r.head.as_mut().unwrap().features.channels = many
        }),
        ("a map of the paper's head", &|r| {
            let head = r.head.as_mut().unwrap();
            (head.kind, head.features.height) = (HeadKind::Paper, 1 << 40);
        }),
        ("an image", &|r| r.prepared.image_size = Some((many, many))),
        ("a gate", &|r| r.rewrite = adafilter(many)),
        ("a rank", &|r| {
            r.rewrite = Rewrite::LowRank(LowRank {
                rank: many,
                ..low_rank()
            });
        }),
        ("α", &|r| {
            r.rewrite = Rewrite::LowRank(LowRank {
                alpha: usize::MAX,
                ..low_rank()
            });
        }),
        ("weights", &|r| {
            r.rewrite = Rewrite::LowRank(LowRank {
                weights: vec!["conv2.w".to_owned(); 1000],
                ..low_rank()
            });
        }),
    ] {
        let mut adapter = adapter();
        change(&mut adapter.recipe);
        refused(label, &written(&adapter));
    }
    // A header that is longer than the file.
    let mut bytes = written(&adapter());
    bytes[..8].copy_from_slice(&(1u64 << 60).to_le_bytes());
    assert!(refused("header", &bytes).contains("is no adapter"));
}
