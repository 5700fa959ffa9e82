//! The walk over two models.

use std::collections::{HashMap, HashSet};

use prost::Message;

use crate::onnx::messages::{
    AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, SparseTensorProto,
    StringStringEntryProto, TensorProto, TrainingInfoProto,
};
use crate::onnx::{EMPTY_GRAPH, Model};

use super::super::SurgeryError;
use super::super::difference::{Difference, Part, What};
use super::super::edit::is_constant;
use super::keys::{Named, digest, digest_of, keys};
use super::parts::{self, Files};

/// All differences of two models.
pub(super) fn models(before: &Model, after: &Model) -> Result<Vec<Difference>, SurgeryError> {
    let mut walk = Walk {
        files: (before, after),
        scope: Vec::new(),
        found: Vec::new(),
    };
    walk.model(&before.proto, &after.proto)?;
    Ok(walk.found)
}

struct Walk<'a> {
    files: Files<'a>,
    scope: Vec<String>,
    found: Vec<Difference>,
}

type Walked = Result<(), SurgeryError>;

impl Walk<'_> {
    fn note(&mut self, part: Part, name: &str, what: What) {
        self.found.push(Difference {
            scope: self.scope.clone(),
            part,
            name: name.to_owned(),
            what,
        });
    }

    fn within(&mut self, scope: String, walk: impl FnOnce(&mut Self) -> Walked) -> Walked {
        self.scope.push(scope);
        let walked = walk(self);
        self.scope.pop();
        walked
    }

    fn model(&mut self, before: &ModelProto, after: &ModelProto) -> Walked {
        let fields = |model: &ModelProto| {
            // Without `..`, so that a new field of the schema has to be named.
            let ModelProto {
                ir_version,
                producer_name,
                producer_version,
                domain,
                model_version,
                doc_string,
                configuration,
                opset_import: _,
                metadata_props: _,
                graph: _,
                functions: _,
                training_info: _,
            } = model;
            let none = ModelProto::default;
            let field = |name: &'static str, alone: ModelProto| (name, alone.encode_to_vec());
            [
                field(
                    "ir_version",
                    ModelProto {
                        ir_version: *ir_version,
                        ..none()
                    },
                ),
                field(
                    "producer_name",
                    ModelProto {
                        producer_name: producer_name.clone(),
                        ..none()
                    },
                ),
                field(
                    "producer_version",
                    ModelProto {
                        producer_version: producer_version.clone(),
                        ..none()
                    },
                ),
                field(
                    "domain",
                    ModelProto {
                        domain: domain.clone(),
                        ..none()
                    },
                ),
                field(
                    "model_version",
                    ModelProto {
                        model_version: *model_version,
                        ..none()
                    },
                ),
                field(
                    "doc_string",
                    ModelProto {
                        doc_string: doc_string.clone(),
                        ..none()
                    },
                ),
                field(
                    "configuration",
                    ModelProto {
                        configuration: configuration.clone(),
                        ..none()
                    },
                ),
            ]
        };
        for ((name, before), (_, after)) in fields(before).iter().zip(fields(after)) {
            self.field(name, before, &after);
        }
        let (old, new) = (&before.opset_import, &after.opset_import);
        self.plain(Part::OperatorSet, old, new)?;
        self.metadata(&before.metadata_props, &after.metadata_props)?;
        let [old, new] = [before, after].map(|m| m.graph.as_ref().unwrap_or(&EMPTY_GRAPH));
        self.graph(old, new)?;
        let lists = (&before.functions[..], &after.functions[..]);
        self.list(Part::Function, lists, true, Self::function)?;
        self.training(&before.training_info, &after.training_info)
    }

    fn field(&mut self, name: &str, before: &[u8], after: &[u8]) {
        if before != after {
            let content = digest(&[after]);
            self.note(Part::Header, name, What::Changed { content });
        }
    }

    fn training(&mut self, before: &[TrainingInfoProto], after: &[TrainingInfoProto]) -> Walked {
        let bare = |list: &[TrainingInfoProto]| {
            let bare = |info: &TrainingInfoProto| TrainingInfoProto {
                initialization: info.initialization.as_ref().map(|_| GraphProto::default()),
                algorithm: info.algorithm.as_ref().map(|_| GraphProto::default()),
                ..info.clone()
            };
            let training_info = list.iter().map(bare).collect();
            ModelProto {
                training_info,
                ..ModelProto::default()
            }
            .encode_to_vec()
        };
        let (old, new) = (bare(before), bare(after));
        if old != new {
            let whole = ModelProto {
                training_info: after.to_vec(),
                ..ModelProto::default()
            };
            let content = digest_of(&whole, self.files.1)?;
            self.note(Part::Header, "training_info", What::Changed { content });
            return Ok(());
        }
        for (i, (before, after)) in before.iter().zip(after).enumerate() {
            let pairs = [
                (
                    "initialization",
                    &before.initialization,
                    &after.initialization,
                ),
                ("algorithm", &before.algorithm, &after.algorithm),
            ];
            for (name, before, after) in pairs {
                if let (Some(before), Some(after)) = (before, after) {
                    let scope = format!("`{name}` of training_info {i}");
                    self.within(scope, |walk| walk.graph(before, after))?;
                }
            }
        }
        Ok(())
    }

    fn function(&mut self, name: &str, before: &FunctionProto, after: &FunctionProto) -> Walked {
        let bare = |function: &FunctionProto| {
            FunctionProto {
                name: function.name.clone(),
                input: function.input.clone(),
                output: function.output.clone(),
                attribute: function.attribute.clone(),
                doc_string: function.doc_string.clone(),
                opset_import: function.opset_import.clone(),
                domain: function.domain.clone(),
                overload: function.overload.clone(),
                // What is looked into below; without `..`, so that a new field of the schema has to be named.
                attribute_proto: Vec::new(),
                node: Vec::new(),
                value_info: Vec::new(),
                metadata_props: Vec::new(),
            }
            .encode_to_vec()
        };
        let (old, new) = (bare(before), bare(after));
        if old != new {
            let content = digest(&[&new]);
            self.note(Part::Function, name, What::Changed { content });
        }
        self.within(format!("function `{name}`"), |walk| {
            // The defaults of its attributes are written as those of a node.
            let defaults = |function: &FunctionProto| NodeProto {
                name: Some("attribute_proto".to_owned()),
                attribute: function.attribute_proto.clone(),
                ..NodeProto::default()
            };
            walk.node("attribute_proto", &defaults(before), &defaults(after))?;
            walk.metadata(&before.metadata_props, &after.metadata_props)?;
            let lists = (&before.node[..], &after.node[..]);
            walk.list(Part::Node, lists, true, Self::node)?;
            walk.plain(Part::ValueInfo, &before.value_info, &after.value_info)
        })
    }

    fn graph(&mut self, before: &GraphProto, after: &GraphProto) -> Walked {
        // Without `..`, so that a new field of the schema has to be named.
        let GraphProto {
            node,
            name,
            initializer,
            sparse_initializer,
            doc_string,
            input,
            output,
            value_info,
            quantization_annotation,
            metadata_props,
        } = before;
        let text = |text: &Option<String>| {
            let given = text.as_ref().map_or(0, |_| 1);
            [&[given], text.as_deref().unwrap_or_default().as_bytes()].concat()
        };
        self.field("graph.name", &text(name), &text(&after.name));
        let (old, new) = (text(doc_string), text(&after.doc_string));
        self.field("graph.doc_string", &old, &new);
        if *metadata_props != after.metadata_props {
            let scope = "the graph's metadata".to_owned();
            self.within(scope, |walk| {
                walk.metadata(metadata_props, &after.metadata_props)
            })?;
        }
        self.list(Part::Node, (node, &after.node), true, Self::node)?;
        let lists = (&initializer[..], &after.initializer[..]);
        self.list(Part::Tensor, lists, true, Self::initializer)?;
        let lists = (&sparse_initializer[..], &after.sparse_initializer[..]);
        self.list(Part::SparseTensor, lists, true, Self::sparse)?;
        self.plain(Part::Input, input, &after.input)?;
        self.plain(Part::Output, output, &after.output)?;
        self.plain(Part::ValueInfo, value_info, &after.value_info)?;
        let (old, new) = (quantization_annotation, &after.quantization_annotation);
        self.plain(Part::Annotation, old, new)
    }

    fn metadata(
        &mut self,
        before: &[StringStringEntryProto],
        after: &[StringStringEntryProto],
    ) -> Walked {
        let whole = Self::whole(Part::Metadata);
        self.list(Part::Metadata, (before, after), false, whole)
    }

    /// A list of parts that are compared whole.
    fn plain<M: Named + Clone>(&mut self, part: Part, before: &[M], after: &[M]) -> Walked {
        self.list(part, (before, after), true, Self::whole(part))
    }

    fn whole<M: Named>(part: Part) -> impl Fn(&mut Self, &str, &M, &M) -> Walked {
        move |walk, name, before, after| {
            if before.encode_to_vec() != after.encode_to_vec() {
                let content = after.digest(walk.files.1)?;
                walk.note(part, name, What::Changed { content });
            }
            Ok(())
        }
    }

    /// A list of named parts: those that went, came or moved; `pair` compares those that are in both.
    fn list<M: Named>(
        &mut self,
        part: Part,
        (before, after): (&[M], &[M]),
        ordered: bool,
        pair: impl Fn(&mut Self, &str, &M, &M) -> Walked,
    ) -> Walked {
        let (old, new) = (keys(before), keys(after));
        let places: HashMap<&str, usize> = old.iter().map(String::as_str).zip(0..).collect();
        let stays: HashSet<&str> = new.iter().map(String::as_str).collect();
        for name in old.iter().filter(|name| !stays.contains(name.as_str())) {
            self.note(part, name, What::Removed);
        }
        let mut furthest = None;
        let mut previous = "";
        for (name, message) in new.iter().zip(after) {
            match places.get(name.as_str()) {
                Some(&place) => {
                    if ordered && furthest > Some(place) {
                        let after = previous.to_owned();
                        self.note(part, name, What::Moved { after });
                    }
                    furthest = furthest.max(Some(place));
                    pair(self, name, &before[place], message)?;
                }
                None => {
                    let content = message.digest(self.files.1)?;
                    let after = ordered.then(|| previous.to_owned());
                    self.note(part, name, What::Added { content, after });
                }
            }
            previous = name;
        }
        Ok(())
    }

    fn initializer(&mut self, name: &str, before: &TensorProto, after: &TensorProto) -> Walked {
        let what = parts::tensor(self.files, before, after)?;
        if let Some(what) = what {
            self.note(Part::Tensor, name, what);
        }
        Ok(())
    }

    fn sparse(
        &mut self,
        name: &str,
        before: &SparseTensorProto,
        after: &SparseTensorProto,
    ) -> Walked {
        let what = parts::sparse_tensor(self.files, before, after)?;
        if let Some(what) = what {
            self.note(Part::SparseTensor, name, what);
        }
        Ok(())
    }

    /// A node. Of its attributes, graphs are looked into, and tensors that were taken in or, in a
    /// `Constant`, have other values, are told as such.
    fn node(&mut self, name: &str, before: &NodeProto, after: &NodeProto) -> Walked {
        let constant = is_constant(before);
        let files = self.files;
        let content = || after.digest(files.1);
        if parts::bare(before, constant) != parts::bare(after, constant) {
            let content = content()?;
            self.note(Part::Node, name, What::Changed { content });
            return Ok(());
        }
        let mut tensors = Vec::new();
        for (old, new) in before.attribute.iter().zip(&after.attribute) {
            let named = match constant {
                true => name.to_owned(),
                false => format!("{name}.{}", old.name.as_deref().unwrap_or_default()),
            };
            for (old, new) in old
                .t
                .iter()
                .chain(&old.tensors)
                .zip(new.t.iter().chain(&new.tensors))
            {
                let what = parts::tensor(self.files, old, new)?;
                tensors.extend(what.map(|what| (Part::Tensor, named.clone(), what)));
            }
            let sparse = |a: &'_ AttributeProto| -> Vec<SparseTensorProto> {
                a.sparse_tensor
                    .iter()
                    .chain(&a.sparse_tensors)
                    .cloned()
                    .collect()
            };
            for (old, new) in sparse(old).iter().zip(&sparse(new)) {
                let what = parts::sparse_tensor(self.files, old, new)?;
                tensors.extend(what.map(|what| (Part::SparseTensor, named.clone(), what)));
            }
            if parts::numbers(old) != parts::numbers(new) {
                let what = What::Set {
                    content: content()?,
                };
                tensors.push((Part::Tensor, named, what));
            }
        }
        let told = |what: &What| match what {
            What::Set { .. } => constant,
            what => what.is_place(),
        };
        if !tensors.iter().all(|(_, _, what)| told(what)) {
            let content = content()?;
            self.note(Part::Node, name, What::Changed { content });
            return Ok(());
        }
        tensors.dedup();
        for (part, name, what) in tensors {
            self.note(part, &name, what);
        }
        for (old, new) in before.attribute.iter().zip(&after.attribute) {
            let graphs = |a| AttributeProto::subgraphs(a).collect::<Vec<&GraphProto>>();
            for (i, (inner, after)) in graphs(old).into_iter().zip(graphs(new)).enumerate() {
                let attribute = old.name.as_deref().unwrap_or_default();
                let scope = match i {
                    0 => format!("`{attribute}` of node `{name}`"),
                    i => format!("`{attribute}` {i} of node `{name}`"),
                };
                self.within(scope, |walk| walk.graph(inner, after))?;
            }
        }
        Ok(())
    }
}
