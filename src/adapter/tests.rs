use std::collections::HashMap;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, TensorView, serialize};
use sha2::{Digest, Sha256};

use super::recipe::with_head;
use super::*;
use crate::graph::{Graph, Node, Value, float_tensors};
use crate::hex;
use crate::onnx::{Model, Tensor, encode, save, save_within};
use crate::surgery::rewrite::{AdaFilter, FilterGate, GateStart, LowRank};
use crate::surgery::{Features, HeadKind, Rewrite};
use crate::task::Task;

/// Numbers that look random, and are the same for the same seed.
fn numbers(count: usize, seed: usize) -> Vec<f32> {
    let at = |i: usize| ((i * 37 + seed * 11) % 101) as f32 / 50.0 - 1.0;
    (0..count).map(at).collect()
}

/// A convolution, `conv.weight`, and the classifier `fc.weight`, `fc.bias`.
fn graph() -> Graph {
    let mut graph = Graph::new(17);
    graph.inputs = vec![Value::batched("image", &[3, 8, 8])];
    graph.outputs = vec![Value::batched("scores", &[2])];
    for (name, dims) in [
        ("conv.weight", &[4, 3, 3, 3][..]),
        ("fc.weight", &[4, 2]),
        ("fc.bias", &[2]),
    ] {
        let values = numbers(dims.iter().product(), name.len());
        let tensor = Tensor::f32(dims, &values);
        graph.initializers.insert(name.to_owned(), tensor);
    }
    graph.nodes = vec![
        Node::new("conv", "Conv", &["image", "conv.weight"], &["conv"]),
        Node::new("relu", "Relu", &["conv"], &["relu"]),
        Node::new("pool", "GlobalAveragePool", &["relu"], &["pool"]),
        Node::new("flat", "Flatten", &["pool"], &["flat"]),
        Node::new("fc", "Gemm", &["flat", "fc.weight", "fc.bias"], &["scores"]),
    ];
    graph
}

/// A backbone in a folder of its own.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Place {
            folder: tempfile::tempdir().unwrap(),
        };
        save(&graph().to_model(usize::MAX).0, &place.at("model.onnx")).unwrap();
        place
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn backbone(&self) -> Model {
        Model::open(&self.at("model.onnx")).unwrap()
    }

    /// The adapter of a model that this recipe tunes, and the model; `in_two` files where that is asked for, as
    /// `tuned.onnx`.
    fn kept(&self, recipe: Recipe, own: &[&str], in_two: bool) -> (Adapter, PathBuf) {
        let backbone = self.backbone();
        let Prepared {
            model: original, ..
        } = recipe.prepared.of(&backbone).unwrap();
        let grafted = with_head(&original, &recipe).unwrap();
        let rewritten = recipe.rewrite.apply(&grafted).unwrap();
        let network = Graph::from_model(&rewritten.model).unwrap();
        let dims = float_tensors(&network);
        let own = own.iter().map(|&name| name.to_owned());
        let names = rewritten.parameters.iter().chain(&grafted.head_parameters);
        let tensors = names.cloned().chain(own).enumerate();
        let tensors: Vec<Tuned> = tensors
            .map(|(seed, name)| Tuned {
                dims: dims[name.as_str()].clone(),
                values: numbers(dims[name.as_str()].iter().product(), seed),
                name,
            })
            .collect();
        let values = tensors.iter().map(|t| (t.name.clone(), t.values.clone()));
        let values: Vec<_> = values.collect();
        let merged = recipe.rewrite.merge(&grafted, &values).unwrap();
        let body = Body {
            original: &original,
            grafted: &grafted,
            freed: None,
        };
        let proto = tuned(body, &merged, &recipe.metadata).unwrap().edited.proto;
        let path = self.at("tuned.onnx");
        let most = if in_two { 0 } else { usize::MAX };
        let location = "tuned.onnx.data".to_owned();
        let has_data = save_within(most, proto, &path, &location).unwrap();
        assert_eq!(has_data, in_two);
        let data = has_data.then(|| Beside {
            sha256: hex::file_sha256(&self.at(&location)).unwrap(),
            location,
        });
        let mut tensors = tensors;
        tensors.sort_by(|a, b| a.name.cmp(&b.name));
        let adapter = Adapter {
            backbone: backbone_sha256(&backbone).unwrap(),
            makes: Makes {
                sha256: hex::file_sha256(&path).unwrap(),
                data,
            },
            recipe,
            tensors,
        };
        (adapter, path)
    }

    /// That of updates of the convolution, with a new head.
    fn of_updates(&self) -> Adapter {
        self.kept(recipe(low_rank(), true), &[], false).0
    }
}

fn low_rank() -> Rewrite {
    Rewrite::LowRank(LowRank {
        weights: vec!["conv.weight".to_owned()],
        rank: 2,
        alpha: 3,
        seed: 5,
    })
}

fn recipe(rewrite: Rewrite, has_new_head: bool) -> Recipe {
    let head = NewHead {
        kind: HeadKind::Linear,
        classes: 3,
        task: Task::SingleLabel,
        logits: false,
        features: Features {
            value: "relu".to_owned(),
            channels: 4,
            height: 8,
            width: 8,
            nhwc: false,
        },
    };
    let metadata = [("names", "a,b"), ("ftsurgery.version", "0.0.1")];
    Recipe {
        prepared: Preparation {
            image_size: Some((6, 6)),
            ..Preparation::default()
        },
        head: has_new_head.then_some(head),
        rewrite,
        frees_batch: false,
        metadata: metadata
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .to_vec(),
    }
}

#[test]
fn an_adapter_makes_the_tuned_model_again_to_the_byte() {
    let gated = Rewrite::AdaFilter(AdaFilter {
        weights: vec!["conv.weight".to_owned()],
        gate: FilterGate::Learned,
        start: GateStart::Tuned,
        width: 3,
        share: None,
        seed: 2,
        dependent: None,
    });
    for (rewrite, has_new_head, own) in [
        (Rewrite::None, true, &["conv.weight"][..]),
        (Rewrite::None, false, &["fc.weight", "fc.bias"]),
        (low_rank(), true, &[]),
        (low_rank(), false, &["fc.bias"]),
        (gated, true, &[]),
    ] {
        let place = Place::new();
        let (adapter, path) = place.kept(recipe(rewrite, has_new_head), own, false);
        let file = place.at("tuned.safetensors");
        adapter.write(&file).unwrap();
        let read = Adapter::read(&file).unwrap();
        assert_eq!(read, adapter);
        let backbone = place.backbone();
        let applied = read.apply(&backbone).unwrap();
        applied.check().unwrap();
        let again = place.at("again.onnx");
        assert_eq!(applied.write(&again).unwrap(), adapter.makes);
        assert!(std::fs::read(again).unwrap() == std::fs::read(path).unwrap());
        // Equal adapters are equal files.
        let second = place.at("second.safetensors");
        read.write(&second).unwrap();
        assert!(std::fs::read(second).unwrap() == std::fs::read(file).unwrap());
    }
}

#[test]
fn a_model_in_two_files_is_made_again_under_any_name() {
    let place = Place::new();
    // Only large tensors lie beside a model.
    let mut wide = graph();
    let values = numbers(8192 * 3, 1);
    wide.initializers.insert(
        "conv.weight".to_owned(),
        Tensor::f32(&[8192, 3, 1, 1], &values),
    );
    wide.initializers.insert(
        "fc.weight".to_owned(),
        Tensor::f32(&[8192, 2], &numbers(8192 * 2, 2)),
    );
    save(&wide.to_model(usize::MAX).0, &place.at("model.onnx")).unwrap();
    let (adapter, path) = place.kept(recipe(low_rank(), false), &[], true);
    let read = |path: &Path| std::fs::read(path).unwrap();
    let (model, data) = (read(&path), read(&place.at("tuned.onnx.data")));
    let backbone = place.backbone();

    let made = adapter.apply(&backbone).unwrap().write(&path).unwrap();
    assert_eq!(made, adapter.makes);
    assert!(read(&path) == model && read(&place.at("tuned.onnx.data")) == data);

    let made = adapter
        .apply(&backbone)
        .unwrap()
        .write(&place.at("other.onnx"))
        .unwrap();
    let beside = made.data.unwrap();
    assert_eq!(beside.location, "other.onnx.data");
    assert!(read(&place.at("other.onnx.data")) == data);
    let other = Model::open(&place.at("other.onnx")).unwrap();
    let tensors = &other.graph().initializer;
    assert!(tensors.iter().all(|tensor| other.tensor(tensor).is_ok()));
}

#[test]
fn another_backbone_is_refused_with_both_hashes() {
    let place = Place::new();
    let adapter = place.of_updates();
    let mut other = graph();
    let bias = Tensor::f32(&[2], &[0.5, 0.25]);
    other.initializers.insert("fc.bias".to_owned(), bias);
    save(&other.to_model(usize::MAX).0, &place.at("model.onnx")).unwrap();
    let backbone = place.backbone();
    let error = adapter.apply(&backbone).unwrap_err();
    let found = hex::file_sha256(&place.at("model.onnx")).unwrap();
    let text = error.to_string();
    assert!(
        text.contains(&adapter.backbone) && text.contains(&found),
        "{text}"
    );
    assert!(error.is_bad_input() && error.hint().is_some());
}

#[test]
fn what_lies_beside_a_backbone_is_part_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let mut wide = graph();
    let values = numbers(8192 * 3, 1);
    let weight = Tensor::f32(&[8192, 3, 1, 1], &values);
    wide.initializers.insert("conv.weight".to_owned(), weight);
    let hash = || {
        let model = Model::open(&path).unwrap();
        backbone_sha256(&model).unwrap()
    };
    save(&wide.to_model(usize::MAX).0, &path).unwrap();
    assert_eq!(hash(), hex::file_sha256(&path).unwrap());
    save_within(0, wide.to_model(usize::MAX).0, &path, "weights").unwrap();
    let before = hash();
    assert_ne!(before, hex::file_sha256(&path).unwrap());
    let weights = folder.path().join("weights");
    let mut bytes = std::fs::read(&weights).unwrap();
    bytes[8] ^= 1;
    std::fs::write(&weights, bytes).unwrap();
    assert_ne!(hash(), before);
}

/// Whatever byte of an adapter is another one, it is refused, or makes what it made.
#[test]
fn no_damage_of_an_adapter_makes_another_model() {
    let place = Place::new();
    let adapter = place.of_updates();
    let file = place.at("a.safetensors");
    adapter.write(&file).unwrap();
    let bytes = std::fs::read(&file).unwrap();
    let backbone = place.backbone();
    let is_refused = |bytes: &[u8]| match Adapter::decode(bytes, &file) {
        Err(error) => error.is_bad_input(),
        Ok(read) => {
            let applied = read.apply(&backbone);
            read == adapter || applied.is_err() || applied.is_ok_and(|a| a.check().is_err())
        }
    };
    for at in (0..bytes.len()).step_by(3) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        assert!(is_refused(&damaged), "byte {at}");
    }
    for length in (0..bytes.len()).step_by(29) {
        assert!(
            Adapter::decode(&bytes[..length], &file).is_err(),
            "{length}"
        );
    }
    let longer = [&bytes[..], b"more"].concat();
    assert!(Adapter::decode(&longer, &file).is_err());
}

#[test]
fn what_is_no_adapter_is_told_from_what_is_damaged() {
    let place = Place::new();
    let adapter = place.of_updates();
    let file = place.at("a.safetensors");
    let refused = |change: &dyn Fn(&mut Adapter)| {
        let mut other = adapter.clone();
        change(&mut other);
        other.write(&file).unwrap();
        let backbone = place.backbone();
        let read = Adapter::read(&file);
        match &read {
            Err(error) => error.to_string(),
            Ok(read) => match read.apply(&backbone) {
                Err(error) => error.to_string(),
                Ok(applied) => applied.check().unwrap_err().to_string(),
            },
        }
    };
    let head = |a: &Adapter| {
        a.tensors
            .iter()
            .position(|t| t.name.contains("head"))
            .unwrap()
    };
    for (change, why) in [
        (
            &(|a: &mut Adapter| a.tensors[0].values[2] = f32::NAN) as &dyn Fn(&mut Adapter),
            "value 2 of its tensor `ftsurgery/head/logits/bias` is NaN",
        ),
        (&|a| a.tensors[0].values[0] = f32::INFINITY, "is inf"),
        (&|a| drop(a.tensors.remove(head(a))), "which its head has"),
        (
            &|a| a.tensors[0].name = "other".to_owned(),
            "no float tensor `other`",
        ),
        (
            &|a| a.tensors[0].dims.insert(0, 1),
            "and that of the network [3]",
        ),
        (&|a| a.tensors[0].values[0] += 1.0, "has SHA-256"),
        (
            &|a| a.recipe.metadata[0].1.push('c'),
            "was written by ftsurgery 0.0.1",
        ),
        (
            &|a| a.recipe.head.as_mut().unwrap().classes = usize::MAX / 8,
            "a head of more values than",
        ),
        (
            &|a| a.recipe.head.as_mut().unwrap().features.value = "no".to_owned(),
            "`no` is not a value of the model",
        ),
        (
            &|a| {
                let Rewrite::LowRank(low) = &mut a.recipe.rewrite else {
                    unreachable!()
                };
                low.rank = usize::MAX;
            },
            "the rank is 1 to 4",
        ),
    ] {
        let text = refused(change);
        assert!(text.contains(why), "{text}");
    }
    adapter.write(&file).unwrap();
    let text = std::fs::read(&file).unwrap();
    let at = text
        .windows(13)
        .position(|w| w == br#"{\"format\":1"#)
        .unwrap();
    let mut newer = text.clone();
    newer[at + 12] = b'2';
    let error = Adapter::decode(&newer, &file).unwrap_err();
    assert!(
        matches!(
            error,
            AdapterError::Format {
                format: 2,
                known: 1,
                ..
            }
        ),
        "{error}"
    );

    let view = |dtype, bytes| TensorView::new(dtype, vec![2], bytes).unwrap();
    let written = |tensors: Vec<(&str, TensorView<'_>)>, entry: Option<&str>| {
        let entry = entry.map(|e| HashMap::from([("ftsurgery.adapter".to_owned(), e.to_owned())]));
        let bytes = serialize(tensors, entry).unwrap();
        Adapter::decode(&bytes, &file).unwrap_err().to_string()
    };
    let (halves, floats) = (vec![0; 4], vec![0; 8]);
    let tensor = || vec![("t", view(Dtype::F32, &floats))];
    let text = written(tensor(), None);
    assert!(
        text.contains("is no adapter: its metadata have no `ftsurgery.adapter`"),
        "{text}"
    );
    let entry = |tensors: &str| {
        let recipe = serde_json::to_string(&adapter.recipe).unwrap();
        format!(
            r#"{{"format":1,"backbone":"","makes":{{"sha256":""}},"recipe":{recipe},"tensors":{tensors}}}"#
        )
    };
    let zeros = crc32c::crc32c(&floats);
    for (tensors, tensor, why) in [
        ("{}".to_owned(), tensor(), "a tensor `t` too many"),
        (
            format!(r#"{{"t":{zeros},"u":1}}"#),
            tensor(),
            "lacks the tensor `u`",
        ),
        (
            r#"{"t":1}"#.to_owned(),
            tensor(),
            "`t` is not as it was written",
        ),
        (
            r#"{"t":1}"#.to_owned(),
            vec![("t", view(Dtype::F16, &halves))],
            "`t` is F16, not F32",
        ),
    ] {
        let text = written(tensor, Some(&entry(&tensors)));
        assert!(text.contains("is damaged") && text.contains(why), "{text}");
    }
    assert!(written(tensor(), Some("{}")).contains("cannot be read"));
}

#[test]
fn a_backbone_is_not_written_over() {
    let place = Place::new();
    let adapter = place.of_updates();
    let backbone = place.backbone();
    let before = std::fs::read(place.at("model.onnx")).unwrap();
    let applied = adapter.apply(&backbone).unwrap();
    let error = applied.write(&place.at("./model.onnx")).unwrap_err();
    assert!(matches!(error, AdapterError::OverInput { .. }), "{error}");
    assert!(std::fs::read(place.at("model.onnx")).unwrap() == before);
}

#[test]
fn a_head_counts_its_values_as_grafting_makes_them() {
    let place = Place::new();
    let model = place.backbone();
    for kind in [HeadKind::Linear, HeadKind::Paper] {
        for task in [Task::SingleLabel, Task::Binary] {
            let mut recipe = recipe(Rewrite::None, true);
            let head = recipe.head.as_mut().unwrap();
            (head.kind, head.task, head.classes) = (kind, task, 2);
            let head = head.clone();
            let grafted = with_head(&model, &recipe).unwrap();
            let graph = Graph::from_model(&grafted.model).unwrap();
            let parameters = grafted.head_parameters.iter();
            let made: usize = parameters.map(|name| graph.initializers[name].len()).sum();
            assert_eq!(head.spec().values(&head.features), Some(made), "{kind}");
        }
    }
    // Sums that no number holds.
    let mut head = recipe(Rewrite::None, true).head.unwrap();
    (head.kind, head.features.width) = (HeadKind::Paper, usize::MAX);
    assert_eq!(head.spec().values(&head.features), None);
    let proto = graph().to_model(usize::MAX).0;
    let digest = Sha256::digest(encode(&proto).unwrap());
    assert_eq!(backbone_sha256(&model).unwrap(), hex::encode(digest));
}
