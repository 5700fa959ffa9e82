//! The models, places for files, and what is looked at in each result.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use ftsurgery::onnx::messages::{AttributeProto, GraphProto, ModelProto, NodeProto};
use ftsurgery::onnx::{Model, is_external};
use ftsurgery::runtime::testing::runtime;
use ftsurgery::runtime::{Runtime, RuntimeError};

/// The models of `fixtures/surgery` and `fixtures/exporters`, by name.
pub fn corpus() -> Vec<(String, PathBuf)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let mut models = Vec::new();
    for folder in ["surgery", "surgery/external", "exporters"] {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|e| e == "onnx") {
                let name = path.strip_prefix(&root).unwrap().display().to_string();
                models.push((name, path));
            }
        }
    }
    models.sort();
    assert!(models.len() > 30, "{}", models.len());
    models
}

pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/surgery")
        .join(name)
}

/// The runtime, for the library.
pub fn given(runtime: &Runtime) -> impl Fn() -> Result<Runtime, RuntimeError> {
    let runtime = runtime.clone();
    move || Ok(runtime.clone())
}

/// Whether there is one; where not, that is a skip.
pub fn library() -> Option<Runtime> {
    runtime()
}

/// A command's exit code, and what it said: results and notes.
pub struct Said {
    pub code: i32,
    pub out: String,
    pub notes: String,
}

pub fn ftsurgery(words: &[&str]) -> Said {
    let ran = Command::new(env!("CARGO_BIN_EXE_ftsurgery"))
        .args(words)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said {
        code: ran.status.code().unwrap(),
        out: text(&ran.stdout),
        notes: text(&ran.stderr),
    }
}

impl Said {
    #[track_caller]
    pub fn well(self) -> Self {
        assert_eq!(self.code, 0, "{}{}", self.out, self.notes);
        self
    }

    /// Bad input, for a reason that has these words.
    #[track_caller]
    pub fn refused(self, words: &[&str]) {
        assert_eq!(self.code, 2, "{}{}", self.out, self.notes);
        for word in words {
            assert!(self.notes.contains(word), "no `{word}` in {}", self.notes);
        }
    }
}

/// What nodes read, those of their inner graphs included.
fn reads(node: &NodeProto, read: &mut HashSet<String>) {
    read.extend(node.input.iter().cloned());
    for inner in node.attribute.iter().flat_map(AttributeProto::subgraphs) {
        inner.node.iter().for_each(|node| reads(node, read));
        read.extend(inner.output.iter().map(|o| o.name().to_owned()));
    }
}

/// A value in the middle, from which all outputs follow without another value of the data or an input.
pub fn middle(graph: &GraphProto) -> Option<String> {
    let tensors = graph.initializer.iter().map(|t| t.name());
    let sparse = graph.sparse_initializer.iter();
    let sparse = sparse.filter_map(|s| Some(s.values.as_ref()?.name()));
    let stored: HashSet<&str> = tensors.chain(sparse).collect();
    let inputs = graph
        .input
        .iter()
        .map(|i| i.name())
        .filter(|i| !stored.contains(i));
    let mut data: HashSet<String> = inputs.map(str::to_owned).collect();
    let mut last: BTreeMap<String, usize> = BTreeMap::new();
    let mut found = Vec::new();
    for (at, node) in graph.node.iter().enumerate() {
        let mut read = HashSet::new();
        reads(node, &mut read);
        last.extend(read.iter().map(|name| (name.clone(), at)));
        if read.iter().any(|name| data.contains(name)) {
            data.extend(node.output.iter().cloned());
        }
    }
    for output in &graph.output {
        last.insert(output.name().to_owned(), graph.node.len());
    }
    let mut made: Vec<&str> = graph.input.iter().map(|i| i.name()).collect();
    for (at, node) in graph.node.iter().enumerate() {
        made.extend(
            node.output
                .iter()
                .map(String::as_str)
                .filter(|o| !o.is_empty()),
        );
        let lives = |name: &&&str| data.contains(**name) && last.get(**name) > Some(&at);
        let crossing: Vec<&&str> = made.iter().filter(lives).collect();
        if let [&only] = crossing[..]
            && !graph.output.iter().any(|o| o.name() == only)
            && !graph.input.iter().any(|i| i.name() == only)
        {
            found.push(only.to_owned());
        }
    }
    found.get(found.len() / 2).cloned()
}

/// What of the original the new model does not have as it was, of all that both have by the same name; looked at in the messages,
/// and in the bytes of every tensor.
pub fn lost(original: &Path, new: &Path) -> Vec<String> {
    let (before, after) = (Model::open(original).unwrap(), Model::open(new).unwrap());
    let mut lost = Vec::new();
    let bare = |model: &ModelProto| ModelProto {
        graph: None,
        ..model.clone()
    };
    if bare(&before.proto) != bare(&after.proto) {
        lost.push("something of the model itself".to_owned());
    }
    let (old, new) = (before.graph(), after.graph());
    if (&old.name, &old.doc_string, &old.metadata_props)
        != (&new.name, &new.doc_string, &new.metadata_props)
    {
        lost.push("something of the graph itself".to_owned());
    }
    for node in &new.node {
        let mut same = old.node.iter().filter(|o| o.output == node.output);
        match same.next() {
            Some(was) if was != node => lost.push(format!("node {:?}", node.output)),
            Some(_) => {}
            None => lost.push(format!("node {:?} is new", node.output)),
        }
    }
    for tensor in &new.initializer {
        let Some(was) = old.initializer.iter().find(|o| o.name() == tensor.name()) else {
            lost.push(format!("tensor {} is new", tensor.name()));
            continue;
        };
        let notes = (
            &was.dims,
            was.data_type,
            &was.doc_string,
            &was.metadata_props,
        );
        if notes
            != (
                &tensor.dims,
                tensor.data_type,
                &tensor.doc_string,
                &tensor.metadata_props,
            )
        {
            lost.push(format!("notes of {}", tensor.name()));
        }
        let bytes = |model: &Model, tensor| {
            let values = model.values_of(tensor).ok().flatten();
            values.map(|values| values.read().unwrap())
        };
        if bytes(&before, was) != bytes(&after, tensor) {
            lost.push(format!("values of {}", tensor.name()));
        }
        if !is_external(tensor) && !is_external(was) && was != tensor {
            lost.push(format!("message of {}", tensor.name()));
        }
    }
    let made = |name: &str| new.node.iter().flat_map(|n| &n.output).any(|o| o == name);
    let declared = |name: &str| {
        let mut all = new.input.iter().chain(&new.output);
        all.any(|v| v.name() == name)
    };
    for noted in &old.value_info {
        let there = new.value_info.contains(noted);
        if made(noted.name()) && !declared(noted.name()) && !there {
            lost.push(format!("noted type of {}", noted.name()));
        }
    }
    for annotation in &old.quantization_annotation {
        let there = new.quantization_annotation.contains(annotation);
        if made(annotation.tensor_name.as_deref().unwrap_or_default()) && !there {
            lost.push(format!("annotation of {:?}", annotation.tensor_name));
        }
        for scale in &annotation.quant_parameter_tensor_names {
            let stays = new
                .initializer
                .iter()
                .any(|t| Some(t.name()) == scale.value.as_deref());
            if there && !stays {
                lost.push(format!("tensor {:?} of an annotation", scale.value));
            }
        }
    }
    lost
}
