//! Softmax and sigmoid, as operators and written out in arithmetic.

use crate::graph::Node;

use super::{Look, SurgeryError};

/// What `node` takes the softmax of, and whether that is over the last of two axes.
pub(super) fn softmax<'g>(
    look: &Look<'g>,
    node: &'g Node,
) -> Result<Option<(&'g str, bool)>, SurgeryError> {
    if node.is("Softmax") {
        return operator(look, node);
    }
    if node.is("Exp") {
        let source = node.input(0).and_then(|v| look.source(v));
        return source.map_or(Ok(None), |of| log_softmax(look, of));
    }
    Ok(quotient(look, node))
}

/// What `node` takes the logarithm of the softmax of, and whether that is over the last of two axes.
pub(super) fn log_softmax<'g>(
    look: &Look<'g>,
    node: &'g Node,
) -> Result<Option<(&'g str, bool)>, SurgeryError> {
    if node.is("LogSoftmax") {
        return operator(look, node);
    }
    Ok(difference(look, node))
}

/// Whether `node` gives a sigmoid: 1 / (1 + e^−x), or e^x / (1 + e^x).
pub(super) fn is_sigmoid(look: &Look<'_>, node: &Node) -> bool {
    if node.is("Sigmoid") || node.is("HardSigmoid") {
        return true;
    }
    let above_one = |value: &str| {
        let sum = look.source(value).filter(|n| n.is("Add"))?;
        let (a, b) = (sum.input(0)?, sum.input(1)?);
        let exp = if look.number(a) == Some(1.0) {
            b
        } else {
            Some(a).filter(|_| look.number(b) == Some(1.0))?
        };
        look.source(exp).filter(|n| n.is("Exp"))
    };

    if node.is("Reciprocal") {
        node.input(0).and_then(above_one).is_some()
    } else if node.is("Div") {
        node.input(0)
            .zip(node.input(1))
            .is_some_and(|(top, bottom)| {
                above_one(bottom).is_some_and(|exp| {
                    look.number(top) == Some(1.0) || look.source(top).is_some_and(|n| n == exp)
                })
            })
    } else {
        false
    }
}

fn operator<'g>(look: &Look<'g>, node: &'g Node) -> Result<Option<(&'g str, bool)>, SurgeryError> {
    let default = if look.graph.opset < 13 { 1 } else { -1 };
    let axis = node.int("axis", default)?;
    Ok(node.input(0).map(|of| (of, matches!(axis, 1 | -1))))
}

/// e^x / Σ e^x, or that as a product with the reciprocal.
fn quotient<'g>(look: &Look<'g>, node: &'g Node) -> Option<(&'g str, bool)> {
    let (a, b) = (node.input(0)?, node.input(1)?);
    let is_exp = |n: &&Node| n.is("Exp");
    let (exp, sum) = if node.is("Div") {
        (look.source(a).filter(is_exp)?, b)
    } else if node.is("Mul") {
        let inverse = |value: &str| {
            let node = look.source(value)?;
            match node.is("Div") {
                true => node
                    .input(1)
                    .filter(|_| node.input(0).and_then(|v| look.number(v)) == Some(1.0)),
                false => node.input(0).filter(|_| node.is("Reciprocal")),
            }
        };
        match (look.source(a).filter(is_exp), look.source(b).filter(is_exp)) {
            (Some(exp), None) => (exp, inverse(b)?),
            (None, Some(exp)) => (exp, inverse(a)?),
            _ => return None,
        }
    } else {
        return None;
    };
    let sum = look.source(sum)?;
    let sums = sum.is("ReduceSum") || sum.is("ReduceL1");
    if !sums || look.source(sum.input(0)?)? != exp {
        return None;
    }
    let over_last = is_last(look, sum);
    Some((without_largest(look, exp.input(0)?), over_last))
}

/// x − log Σ e^x, the sum of one operator or of three.
fn difference<'g>(look: &Look<'g>, node: &'g Node) -> Option<(&'g str, bool)> {
    let (of, log) = (node.input(0)?, node.input(1).filter(|_| node.is("Sub"))?);
    let sum = look.source(log)?;
    let sum = match sum.is("Log") {
        true => look.source(sum.input(0)?).filter(|n| n.is("ReduceSum"))?,
        false => Some(sum).filter(|n| n.is("ReduceLogSumExp"))?,
    };
    let summed = match sum.is("ReduceSum") {
        true => look
            .source(sum.input(0)?)
            .filter(|n| n.is("Exp"))?
            .input(0)?,
        false => sum.input(0)?,
    };
    let over_last = is_last(look, sum);
    (summed == of).then(|| (without_largest(look, of), over_last))
}

fn is_last(look: &Look<'_>, reduction: &Node) -> bool {
    let axes = look.axes(reduction);
    let keeps = reduction.int("keepdims", 1).is_ok_and(|k| k != 0);
    keeps && matches!(axes.as_deref(), Some([1 | -1]))
}

/// The x of x − max x, which has the same softmax.
fn without_largest<'g>(look: &Look<'g>, value: &'g str) -> &'g str {
    let shifted = || {
        let node = look.source(value).filter(|n| n.is("Sub"))?;
        let of = node.input(0)?;
        let largest = look.source(node.input(1)?)?;
        (largest.is("ReduceMax") && largest.input(0) == Some(of)).then_some(of)
    };
    shifted().unwrap_or(value)
}
