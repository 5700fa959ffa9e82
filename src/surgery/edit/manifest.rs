//! What an editor did.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::onnx::Model;

use super::super::difference::{Difference, Part, What};
use super::rename::replay;

/// All in which an edited model differs from its original, in an order in which it can be told: what was
/// renamed, one after the other; then the rest under the names of now.
///
/// As text, one sentence a line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The changes.
    pub changes: Vec<Difference>,
}

impl fmt::Display for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.changes.iter().try_for_each(|c| writeln!(f, "{c}"))
    }
}

impl Manifest {
    /// Whether the functions that the original carries are [written out](super::Editor::inline).
    pub fn writes_out_functions(&self) -> bool {
        let removed = |c: &Difference| c.part == Part::Function && c.what == What::Removed;
        self.changes.iter().any(removed)
    }

    /// Whether a tensor of this name is not the original's but was added.
    pub fn adds_tensor(&self, name: &str) -> bool {
        let added = |c: &Difference| {
            c.part == Part::Tensor && matches!(c.what, What::Added { .. }) && c.name == name
        };
        self.changes.iter().any(added)
    }

    /// The entries that are renames.
    pub(in crate::surgery) fn renames(&self) -> impl Iterator<Item = &Difference> {
        let mut all = self.changes.iter();
        std::iter::from_fn(move || all.find(|c| matches!(c.what, What::Renamed { .. })))
    }

    /// All other entries.
    pub(in crate::surgery) fn others(&self) -> impl Iterator<Item = &Difference> {
        let mut all = self.changes.iter();
        std::iter::from_fn(move || all.find(|c| !matches!(c.what, What::Renamed { .. })))
    }

    /// `original` under its new names, `None` where all names stay; and the renames of things that it
    /// does not have.
    pub(in crate::surgery) fn with_renames(
        &self,
        original: &Model,
    ) -> (Option<Model>, Vec<Difference>) {
        if self.renames().next().is_none() {
            return (None, Vec::new());
        }
        let mut proto = original.proto.clone();
        let missing = replay(proto.graph.get_or_insert_default(), self.renames());
        (Some(original.with_proto(proto)), missing)
    }
}
