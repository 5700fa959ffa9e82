//! Gradient rules, one file per operator family, and their registry.
//!
//! A rule receives the forward node (of canonical opset) and the gradient dY of its output and
//! returns, for each input that wants one, the gradient as a value of standard operators. To add
//! an operator: write its rule in the file of its family and add it to that file's `RULES`;
//! `docs/adding-an-operator.md` shows one.

mod activation;
mod arithmetic;
mod conv;
mod conv_transpose;
mod conv_weight;
mod correlation;
mod einsum;
mod indexing;
mod layout;
mod linear;
mod normalization;
mod pooling;
mod reduction;
mod resize;
mod scatter;
mod selection;
mod smooth;
mod softmax;

use crate::graph::Node;

use super::context::{Context, Contributions};

/// The rule of one operator of the default domain.
#[derive(Clone, Copy)]
pub struct Rule {
    /// The operator, which has a row in `graph::operators`.
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
    conv_transpose::RULES,
    einsum::RULES,
    indexing::RULES,
    layout::RULES,
    linear::RULES,
    normalization::RULES,
    pooling::RULES,
    reduction::RULES,
    resize::RULES,
    scatter::RULES,
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
    use std::fmt::Write;
    use std::path::Path;

    use super::Rule;
    use crate::graph::normalise::{NEWEST, OLDEST, OPSET};
    use crate::graph::operators;

    const HEAD: &str = "\
# Operators that can be trained through

A gradient passes from the loss back to a trained parameter through the operators below. Other
operators may stand anywhere before the first trained parameter, and in computations of shapes and
indices. What a rule does not cover it refuses, naming the node and the parameter; no gradient is
approximate. All values on the way are float32.

Every rule is compared with finite differences in onnxruntime and with PyTorch's numbers
(`cargo test checks`).
";

    fn sorted() -> Vec<&'static Rule> {
        let mut rules: Vec<_> = super::all().collect();
        rules.sort_by_key(|r| r.op_type);
        rules
    }

    fn link(op_type: &str) -> String {
        format!("[{op_type}](https://onnx.ai/onnx/operators/onnx__{op_type}.html)")
    }

    /// The opsets in which a rule's operator is taken, and what older nodes of it are brought from.
    fn opsets(rule: &Rule) -> String {
        let operator = operators::named(rule.op_type).unwrap();
        let mut text = format!("{} to {NEWEST}", operator.since.max(OLDEST));
        match operator.adapted {
            Some(a) => match a.below {
                None => write!(text, "; {}", a.change),
                Some(below) => write!(text, "; below {below}: {}", a.change),
            },
            None => Ok(()),
        }
        .unwrap();
        text
    }

    fn table() -> String {
        let mut table = HEAD.to_owned();
        write!(
            table,
            "\nModels of opsets {OLDEST} to {NEWEST} are brought to opset {OPSET} in memory; where an operator \
             had\nanother form in an older opset, the table says what is adapted.\n\n\
             | operator | opsets | not covered |\n| --- | --- | --- |\n"
        )
        .unwrap();
        for rule in sorted() {
            let link = link(rule.op_type);
            writeln!(table, "| {link} | {} | {} |", opsets(rule), rule.limits).unwrap();
        }
        table.push_str(
            "\nThese are written in operators of the table before anything else:\n\n\
             | operator | how |\n| --- | --- |\n",
        );
        let ruled = |op_type: &str| super::all().any(|r| r.op_type == op_type);
        let mut written: Vec<_> = operators::all()
            .filter(|o| !ruled(o.name))
            .filter_map(|o| Some((o.name, o.adapted.filter(|a| a.below.is_none())?.change)))
            .collect();
        written.sort_unstable();
        for (name, change) in written {
            writeln!(table, "| {} | {change} |", link(name)).unwrap();
        }
        let dropout = "goes, as at inference; its mask must be unused, and a training_mode that is not false is refused";
        writeln!(table, "| {} | {dropout} |", link("Dropout")).unwrap();
        table
    }

    #[test]
    fn weights_pass_every_operator_that_gradients_pass() {
        use crate::graph::{Graph, Node, Value, weights};
        use crate::onnx::Tensor;
        // Of a constant itself, a root is taken where it is a variance.
        for rule in super::all().filter(|r| r.op_type != "Sqrt") {
            let made = Node::new("made", rule.op_type, &["v"; 3], &["made"]).with("to", 1);
            let graph = Graph {
                opset: OPSET,
                domains: vec![],
                nodes: vec![
                    made,
                    Node::new("layer", "MatMul", &["x", "w"], &["layer"]),
                    Node::new("y", "Add", &["layer", "made"], &["y"]),
                ],
                inputs: vec![Value::batched("x", &[2])],
                outputs: vec![],
                initializers: ["v", "w"]
                    .map(|name| (name.to_owned(), Tensor::f32(&[2, 2], &[0.5; 4])))
                    .into_iter()
                    .collect(),
            };
            let found = weights(&graph);
            assert!(found.iter().any(|w| w.name == "v"), "{}", rule.op_type);
        }
    }

    #[test]
    fn every_operator_has_one_rule_and_a_row_that_knows_its_shapes() {
        assert!(sorted().windows(2).all(|w| w[0].op_type != w[1].op_type));
        for rule in super::all() {
            let row = operators::named(rule.op_type);
            let shaped = row.is_some_and(|row| row.knows_shapes());
            assert!(shaped, "{}", rule.op_type);
        }
    }

    /// With `UPDATE_DOCS=1` it writes the table instead.
    #[test]
    fn the_table_of_operators_is_up_to_date() {
        let table = table();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operators.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &table).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            written == table,
            "docs/operators.md is not what the rules say; run this test with UPDATE_DOCS=1"
        );
    }
}
