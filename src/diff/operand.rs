//! The constant tensors of a graph.

use crate::onnx::Tensor;
use crate::onnx::messages::{
    AttributeProto, GraphProto, NodeProto, SparseTensorProto, TensorProto,
};

use super::{Counts, words};

/// A constant tensor, and what it is.
pub(super) struct Operand<'a> {
    pub name: &'a str,
    pub content: Content<'a>,
    /// The `Constant` that makes it; an initializer has none.
    pub node: Option<&'a NodeProto>,
}

/// What a constant tensor is written as.
pub(super) enum Content<'a> {
    Dense(&'a TensorProto),
    /// Made of the numbers of an attribute.
    Made(Box<TensorProto>),
    Sparse(&'a SparseTensorProto),
}

impl Content<'_> {
    /// The tensor, if it is a dense one.
    pub fn dense(&self) -> Option<&TensorProto> {
        match self {
            Content::Dense(tensor) => Some(tensor),
            Content::Made(tensor) => Some(tensor),
            Content::Sparse(_) => None,
        }
    }

    /// Type and dimensions.
    pub fn declared(&self) -> String {
        match self {
            Content::Dense(tensor) => words::declared(tensor),
            Content::Made(tensor) => words::declared(tensor),
            Content::Sparse(sparse) => {
                let declared = TensorProto {
                    data_type: sparse.values.as_ref().and_then(|v| v.data_type),
                    dims: sparse.dims.clone(),
                    ..TensorProto::default()
                };
                format!("sparse {}", words::declared(&declared))
            }
        }
    }

    /// How many elements it is declared to have.
    pub fn elements(&self) -> u64 {
        let dims = match self {
            Content::Dense(tensor) => &tensor.dims,
            Content::Made(tensor) => &tensor.dims,
            Content::Sparse(sparse) => &sparse.dims,
        };
        let sizes = dims.iter().map(|&d| u64::try_from(d).unwrap_or(0));
        sizes.fold(1, u64::saturating_mul)
    }
}

impl Counts {
    /// Counts the elements of tensors of one side, whose sizes are as a file claims them.
    pub(super) fn add_elements<'a>(
        &mut self,
        side: usize,
        contents: impl Iterator<Item = &'a Content<'a>>,
    ) {
        let sizes = contents.map(Content::elements);
        self.elements[side] = sizes.fold(self.elements[side], u64::saturating_add);
    }
}

impl<'a> Operand<'a> {
    /// What the operand is.
    pub fn kind(&self) -> String {
        let attribute = self.node.and_then(|node| node.attribute.first());
        match attribute {
            None => "initializer".to_owned(),
            Some(attribute) => format!("`{}` of a Constant", attribute.name()),
        }
    }

    /// The constants that nodes make.
    pub fn of_nodes(nodes: &'a [NodeProto]) -> impl Iterator<Item = Operand<'a>> {
        nodes.iter().filter_map(|node| {
            Some(Operand {
                name: node.output.first()?,
                content: constant(node)?,
                node: Some(node),
            })
        })
    }

    /// The constants of a graph: its initializers, then what its nodes make.
    pub fn of_graph(graph: &'a GraphProto) -> impl Iterator<Item = Operand<'a>> {
        let initializer = |name, content| Operand {
            name,
            content,
            node: None,
        };
        let dense = graph.initializer.iter();
        let dense = dense.map(move |t| initializer(t.name(), Content::Dense(t)));
        let sparse = graph.sparse_initializer.iter().map(move |s| {
            let name = s.values.as_ref().map_or("", |values| values.name());
            initializer(name, Content::Sparse(s))
        });
        dense.chain(sparse).chain(Operand::of_nodes(&graph.node))
    }
}

/// The tensor that a `Constant` makes; `None` of another node, and of one that is not written as the operator has it.
fn constant(node: &NodeProto) -> Option<Content<'_>> {
    let own = matches!(node.domain(), "" | "ai.onnx") && node.op_type() == "Constant";
    let [attribute] = &node.attribute[..] else {
        return None;
    };
    if !own || !attribute.ref_attr_name().is_empty() {
        return None;
    }
    let made = |tensor: Tensor| Some(Content::Made(Box::new(tensor.to_proto(""))));
    let strings = |dims: Vec<i64>, strings: Vec<_>| {
        Some(Content::Made(Box::new(TensorProto {
            data_type: Some(8),
            dims,
            string_data: strings,
            ..TensorProto::default()
        })))
    };
    match attribute.name() {
        "value" => Some(Content::Dense(attribute.t.as_ref()?)),
        "sparse_value" => Some(Content::Sparse(attribute.sparse_tensor.as_ref()?)),
        "value_float" => made(Tensor::scalar_f32(attribute.f?)),
        "value_int" => made(Tensor::scalar_i64(attribute.i?)),
        "value_floats" => made(Tensor::f32(&[attribute.floats.len()], &attribute.floats)),
        "value_ints" => made(Tensor::i64s(&attribute.ints)),
        "value_string" => strings(vec![], vec![attribute.s.clone()?]),
        "value_strings" => {
            let count = attribute.strings.len() as i64;
            strings(vec![count], attribute.strings.clone())
        }
        _ => None,
    }
}

/// The tensors of an attribute, its one and then its list.
pub(super) fn of_attribute(a: &AttributeProto) -> Vec<Content<'_>> {
    let dense = a.t.iter().chain(&a.tensors);
    let dense = dense.map(Content::Dense);
    let sparse = a.sparse_tensor.iter().chain(&a.sparse_tensors);
    dense.chain(sparse.map(Content::Sparse)).collect()
}
