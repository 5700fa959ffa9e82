//! The graphs inside of nodes.

use super::messages::{AttributeProto, GraphProto};

impl AttributeProto {
    /// The graphs that the attribute holds: its one, then its list.
    pub fn subgraphs(&self) -> impl Iterator<Item = &GraphProto> {
        self.g.as_deref().into_iter().chain(&self.graphs)
    }

    /// As [`AttributeProto::subgraphs`], to change them.
    pub fn subgraphs_mut(&mut self) -> impl Iterator<Item = &mut GraphProto> {
        self.g.as_deref_mut().into_iter().chain(&mut self.graphs)
    }
}
