//! Gradient rules, one file per operator family, and their registry.
//!
//! A rule receives the forward node (of canonical opset) and the gradient dY of its output and
//! returns, for each input that wants one, the gradient as a value of standard operators. To add
//! an operator: write its rule in the file of its family and add it to that file's `RULES`.

mod activation;
mod arithmetic;
mod conv;
mod conv_weight;
mod indexing;
mod layout;
mod linear;
mod normalization;
mod pooling;
mod reduction;
mod selection;
mod smooth;
mod softmax;

use crate::graph::Node;

use super::context::{Context, Contributions};

/// The rule of one operator of the default domain.
#[derive(Clone, Copy)]
pub struct Rule {
    /// The operator.
    pub op_type: &'static str,
    /// What the rule does not cover; empty when it covers everything.
    pub limits: &'static str,
    /// Appends the gradients.
    pub backward: fn(&mut Context) -> Contributions,
}

const FAMILIES: &[&[Rule]] = &[
    activation::RULES,
    arithmetic::RULES,
    conv::RULES,
    indexing::RULES,
    layout::RULES,
    linear::RULES,
    normalization::RULES,
    pooling::RULES,
    reduction::RULES,
    selection::RULES,
    smooth::RULES,
    softmax::RULES,
];

/// All rules.
pub fn all() -> impl Iterator<Item = &'static Rule> {
    FAMILIES.iter().copied().flatten()
}

/// The rule for a node, if there is one.
pub fn find_rule(node: &Node) -> Option<&'static Rule> {
    all().find(|r| node.is(r.op_type))
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_operator_has_one_rule() {
        let mut names: Vec<_> = super::all().map(|r| r.op_type).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
