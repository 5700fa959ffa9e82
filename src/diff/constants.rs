//! Two constants that belong to each other.

use crate::onnx::element_name;
use crate::onnx::messages::TensorProto;

use super::graph::given_name;
use super::operand::{Content, Operand};
use super::values::{self, Held};
use super::walk::{Walk, Walked, metadata, plain, text};
use super::{Change, Fate, Stored, TensorChange, words};

impl Walk<'_> {
    pub fn tensor_change(&mut self, tensor: &Operand, what: Fate) {
        self.diff.tensors.push(TensorChange {
            scope: self.scope.clone(),
            name: tensor.name.to_owned(),
            declared: tensor.content.declared(),
            what,
            changes: Vec::new(),
            values: None,
        });
    }

    /// Two constants that belong to each other.
    pub fn operand(&mut self, before: &Operand, after: &Operand) -> Walked {
        let mut changes = Vec::new();
        changes.extend(plain("kind", Some(before.kind()), Some(after.kind())));
        if let (Some(x), Some(y)) = (before.node, after.node) {
            changes.extend(text("doc_string of the node", &x.doc_string, &y.doc_string));
            changes.extend(metadata(
                "metadata of the node",
                &x.metadata_props,
                &y.metadata_props,
            ));
            changes.extend(given_name("name of the node", x, y));
        }
        let mut held = Held::Same;
        match (&before.content, &after.content) {
            (Content::Sparse(x), Content::Sparse(y)) => {
                let none = TensorProto::default();
                let pairs = [(&x.indices, &y.indices), (&x.values, &y.values)];
                for (what, (p, q)) in ["indices", "values"].into_iter().zip(pairs) {
                    let [p, q] = [p, q].map(|t| t.as_ref().unwrap_or(&none));
                    let found = values::compare((self.models.0, p), (self.models.1, q))?;
                    self.stored(before.name, p, q);
                    changes.extend(declaration(p, q).into_iter().map(|c| Change {
                        field: format!("{} of the {what}", c.field),
                        ..c
                    }));
                    held = match (what, found) {
                        (_, Held::Same) => held,
                        ("indices", _) => Held::Others,
                        (_, found) => found,
                    };
                }
                let (p, q) = (format!("{:?}", x.dims), format!("{:?}", y.dims));
                changes.extend(plain("dimensions", Some(p), Some(q)));
            }
            (x, y) => match x.dense().zip(y.dense()) {
                Some((x, y)) => {
                    changes.extend(declaration(x, y));
                    held = values::compare((self.models.0, x), (self.models.1, y))?;
                    if before.node.is_none() && after.node.is_none() {
                        self.stored(before.name, x, y);
                    }
                }
                None => {
                    changes.extend(plain("type", Some(x.declared()), Some(y.declared())));
                    held = Held::Others;
                }
            },
        }
        let values = match held {
            Held::Same => None,
            Held::Numbers(change) => Some(change),
            // Of another form it is told already.
            Held::Others if !changes.is_empty() => None,
            Held::Others => {
                let [x, y] = [before, after].map(|t| Some(content(&t.content)));
                changes.push(Change {
                    field: "values".to_owned(),
                    before: x,
                    after: y,
                });
                None
            }
        };
        if changes.is_empty() && values.is_none() {
            self.diff.counts.tensors_same += 1;
            return Ok(());
        }
        self.diff.tensors.push(TensorChange {
            scope: self.scope.clone(),
            name: before.name.to_owned(),
            declared: before.content.declared(),
            what: Fate::Changed,
            changes,
            values,
        });
        Ok(())
    }

    fn stored(&mut self, name: &str, before: &TensorProto, after: &TensorProto) {
        let (before, after) = (words::stored(before), words::stored(after));
        if before != after {
            self.diff.stored.push(Stored {
                scope: self.scope.clone(),
                name: name.to_owned(),
                before,
                after,
            });
        }
    }
}

/// What two tensors are declared to be, but for names, values and where these are stored.
fn declaration(before: &TensorProto, after: &TensorProto) -> Vec<Change> {
    let (x, y) = (
        element_name(before.data_type()),
        element_name(after.data_type()),
    );
    let dims = |tensor: &TensorProto| Some(format!("{:?}", tensor.dims));
    let segment = |tensor: &TensorProto| tensor.segment.as_ref().map(|s| format!("{s:?}"));
    let mut changes = Vec::new();
    changes.extend(plain("type", Some(x), Some(y)));
    changes.extend(plain("dimensions", dims(before), dims(after)));
    changes.extend(plain("segment", segment(before), segment(after)));
    changes.extend(text("doc_string", &before.doc_string, &after.doc_string));
    changes.extend(metadata(
        "metadata",
        &before.metadata_props,
        &after.metadata_props,
    ));
    changes
}

/// Values that are no numbers, in words.
fn content(content: &Content) -> String {
    match content.dense() {
        Some(tensor) if !tensor.string_data.is_empty() => {
            let shown = tensor.string_data.iter().take(8);
            let shown = shown.map(|s| format!("`{}`", String::from_utf8_lossy(s)));
            shown.collect::<Vec<_>>().join(", ")
        }
        _ => content.declared(),
    }
}
