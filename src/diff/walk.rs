//! The walk over two models: their own fields, and their functions.

use std::collections::HashMap;

use crate::onnx::messages::{
    AttributeProto, DeviceConfigurationProto, FunctionProto, GraphProto, ModelProto,
    OperatorSetIdProto, StringStringEntryProto, TrainingInfoProto,
};
use crate::onnx::{EMPTY_GRAPH, Model, OnnxError};

use super::lists::{List, change};
use super::operand::Operand;
use super::pairing::{Names, Side};
use super::{Change, Diff, FieldChange, words};

/// All differences of two models.
pub(super) fn models(before: &Model, after: &Model) -> Result<Diff, OnnxError> {
    let mut walk = Walk {
        models: (before, after),
        scope: Vec::new(),
        diff: Diff::default(),
    };
    walk.model(&before.proto, &after.proto)?;
    Ok(walk.diff)
}

pub(super) struct Walk<'a> {
    pub models: (&'a Model, &'a Model),
    pub scope: Vec<String>,
    pub diff: Diff,
}

pub(super) type Walked = Result<(), OnnxError>;

/// A text as a field has it, with whether it is there.
pub(super) fn text(field: &str, before: &Option<String>, after: &Option<String>) -> Option<Change> {
    plain(field, before.clone(), after.clone())
}

/// A field in words, which say all that is in it.
pub(super) fn plain(field: &str, before: Option<String>, after: Option<String>) -> Option<Change> {
    (before != after).then(|| Change {
        field: field.to_owned(),
        before,
        after,
    })
}

/// Metadata properties.
pub(super) fn metadata(
    part: &'static str,
    before: &[StringStringEntryProto],
    after: &[StringStringEntryProto],
) -> Vec<Change> {
    let list = List {
        part,
        key: &|entry: &StringStringEntryProto| entry.key().to_owned(),
        words: &|entry| entry.value().to_owned(),
        renamed: &str::to_owned,
        ordered: false,
    };
    list.changes(before, after)
}

fn operator_sets(before: &[OperatorSetIdProto], after: &[OperatorSetIdProto]) -> Vec<Change> {
    let list = List {
        part: "opset",
        key: &|set: &OperatorSetIdProto| match set.domain() {
            "" => "ai.onnx".to_owned(),
            domain => domain.to_owned(),
        },
        words: &|set| set.version.map_or_else(String::new, |v| v.to_string()),
        renamed: &str::to_owned,
        ordered: true,
    };
    list.changes(before, after)
}

impl Walk<'_> {
    /// Notes changes of fields where the walk is.
    pub fn note(&mut self, changes: impl IntoIterator<Item = Change>) {
        let scope = &self.scope;
        let changes = changes.into_iter().map(|change| FieldChange {
            scope: scope.clone(),
            change,
        });
        self.diff.fields.extend(changes);
    }

    pub fn within(&mut self, scope: String, walk: impl FnOnce(&mut Self) -> Walked) -> Walked {
        self.scope.push(scope);
        let walked = walk(self);
        self.scope.pop();
        walked
    }

    fn model(&mut self, before: &ModelProto, after: &ModelProto) -> Walked {
        // Without `..`, so that a new field of the schema has to be named.
        let ModelProto {
            ir_version,
            producer_name,
            producer_version,
            domain,
            model_version,
            doc_string,
            configuration,
            opset_import,
            metadata_props,
            graph,
            functions,
            training_info,
        } = before;
        let number = |n: &Option<i64>| n.map(|n| n.to_string());
        let configurations =
            |list: &[DeviceConfigurationProto]| (!list.is_empty()).then(|| format!("{list:?}"));
        self.note(plain(
            "ir_version",
            number(ir_version),
            number(&after.ir_version),
        ));
        self.note(text("producer_name", producer_name, &after.producer_name));
        self.note(text(
            "producer_version",
            producer_version,
            &after.producer_version,
        ));
        self.note(text("domain", domain, &after.domain));
        let (old, new) = (number(model_version), number(&after.model_version));
        self.note(plain("model_version", old, new));
        self.note(text("doc_string", doc_string, &after.doc_string));
        let (old, new) = (
            configurations(configuration),
            configurations(&after.configuration),
        );
        self.note(plain("configuration", old, new));
        self.note(operator_sets(opset_import, &after.opset_import));
        self.note(metadata("metadata", metadata_props, &after.metadata_props));
        let [old, new] = [graph, &after.graph].map(|g| g.as_ref().unwrap_or(&EMPTY_GRAPH));
        self.graph(old, new, &Names::new())?;
        self.functions(functions, &after.functions)?;
        self.training(training_info, &after.training_info)
    }

    fn functions(&mut self, before: &[FunctionProto], after: &[FunctionProto]) -> Walked {
        let list = List {
            part: "function",
            key: &key,
            words: &|function: &FunctionProto| format!("{} nodes", function.node.len()),
            renamed: &str::to_owned,
            ordered: true,
        };
        // Those that are in both are looked into; here they stand for themselves.
        let bare = |list: &[FunctionProto]| -> Vec<FunctionProto> {
            let bare = |f: &FunctionProto| FunctionProto {
                name: f.name.clone(),
                domain: f.domain.clone(),
                overload: f.overload.clone(),
                ..FunctionProto::default()
            };
            list.iter().map(bare).collect()
        };
        let changes = list.changes(&bare(before), &bare(after));
        self.note(changes);
        let stays: HashMap<String, &FunctionProto> = after.iter().map(|f| (key(f), f)).collect();
        for function in before {
            if let Some(other) = stays.get(&key(function)) {
                let scope = format!("function `{}`", key(function));
                self.within(scope, |walk| walk.function(function, other))?;
            }
        }
        Ok(())
    }

    fn function(&mut self, before: &FunctionProto, after: &FunctionProto) -> Walked {
        // Without `..`, so that a new field of the schema has to be named.
        let FunctionProto {
            name: _,
            domain: _,
            overload: _,
            input,
            output,
            attribute,
            attribute_proto,
            node,
            doc_string,
            opset_import,
            value_info,
            metadata_props,
        } = before;
        let names = |names: &[String]| Some(names.join(", ")).filter(|_| !names.is_empty());
        let (old, new) = (names(attribute), names(&after.attribute));
        self.note(plain("attributes", old, new));
        self.note(text("doc_string", doc_string, &after.doc_string));
        self.note(operator_sets(opset_import, &after.opset_import));
        self.note(metadata("metadata", metadata_props, &after.metadata_props));
        let list = List {
            part: "default of attribute",
            key: &|a: &AttributeProto| a.name().to_owned(),
            words: &words::attribute,
            renamed: &str::to_owned,
            ordered: true,
        };
        self.note(list.changes(attribute_proto, &after.attribute_proto));
        let (old, new) = (input.len().to_string(), after.input.len().to_string());
        self.note(plain("number of inputs", Some(old), Some(new)));
        let sides = [(node, input), (&after.node, &after.input)].map(|(nodes, inputs)| {
            let inputs = inputs.iter().map(String::as_str).collect();
            Side::new(nodes, Operand::of_nodes(nodes).collect(), inputs)
        });
        let names = self.body(&sides[0], &sides[1], &Names::new())?;
        let expected: Vec<&String> = output.iter().map(|o| names.get(o).unwrap_or(o)).collect();
        if expected != after.output.iter().collect::<Vec<_>>() {
            let (old, new) = (output.join(", "), after.output.join(", "));
            self.note(plain("outputs", Some(old), Some(new)));
        }
        self.declared("noted type of", value_info, &after.value_info, &names);
        Ok(())
    }

    fn training(&mut self, before: &[TrainingInfoProto], after: &[TrainingInfoProto]) -> Walked {
        let count = |list: &[TrainingInfoProto]| (!list.is_empty()).then(|| list.len().to_string());
        self.note(plain("training_info", count(before), count(after)));
        for (i, (old, new)) in before.iter().zip(after).enumerate() {
            let graphs = [
                ("initialization", &old.initialization, &new.initialization),
                ("algorithm", &old.algorithm, &new.algorithm),
            ];
            for (name, a, b) in graphs {
                let scope = format!("`{name}` of training_info {i}");
                let [a, b] = [a, b].map(|g| g.as_ref().unwrap_or(&EMPTY_GRAPH));
                self.within(scope, |walk| walk.graph(a, b, &Names::new()))?;
            }
            let bare = |info: &TrainingInfoProto| TrainingInfoProto {
                initialization: info.initialization.as_ref().map(|_| GraphProto::default()),
                algorithm: info.algorithm.as_ref().map(|_| GraphProto::default()),
                ..info.clone()
            };
            let bindings = |info: &TrainingInfoProto| {
                let both = [&info.initialization_binding, &info.update_binding];
                both.map(|list| words::entries(list)).join("; ")
            };
            let (x, y) = (bindings(old), bindings(new));
            self.note(change(
                &format!("training_info {i}"),
                &bare(old),
                &bare(new),
                x,
                y,
            ));
        }
        Ok(())
    }
}

fn key(function: &FunctionProto) -> String {
    let name = format!("{}:{}", function.domain(), function.name());
    match function.overload() {
        "" => name,
        overload => format!("{name}:{overload}"),
    }
}
