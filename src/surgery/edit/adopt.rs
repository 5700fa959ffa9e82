//! Changes that are made everywhere in a model.

use crate::onnx::messages::ModelProto;

use super::super::difference::Part;
use super::Editor;

/// A part anywhere in a model: the way to the graph or function where it is, its kind and its name, as a
/// [`Difference`](super::super::Difference) has them.
pub type Place = (Vec<String>, Part, String);

impl Editor<'_> {
    /// Takes messages that somebody has made of those of now, who names every part that may not be as it was. That no
    /// other differs is seen in the end, by [`Editor::finish`].
    pub fn adopt(&mut self, proto: ModelProto, parts: impl IntoIterator<Item = Place>) {
        self.proto = proto;
        for (scope, part, name) in parts {
            match scope.is_empty() {
                true => self.touch(part, name),
                false => drop(self.inside.insert((scope, part, name))),
            }
        }
    }
}
