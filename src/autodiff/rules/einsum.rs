//! Einstein sums.

use crate::graph::Einsum;

use super::super::context::{Context, Contributions};
use super::Rule;

pub(super) const RULES: &[Rule] = &[Rule {
    op_type: "Einsum",
    limits: "an axis named twice in one input (a diagonal)",
    backward: einsum,
}];

/// Einsum: Y = Σ Π Xⱼ, each axis named by a letter; dXᵢ is the Einstein sum of dY and the other inputs
/// over the letters of Xᵢ.
///
/// A letter that Xᵢ alone has was summed away: dXᵢ repeats along it. A letter along which Xᵢ was
/// repeated (size 1) is summed.
/// Source: <https://onnx.ai/onnx/operators/onnx__Einsum.html>.
fn einsum(c: &mut Context) -> Contributions {
    let count = c.node.inputs.len();
    let dims: Vec<Vec<usize>> = (0..count)
        .map(|i| c.input_dims(i))
        .collect::<Result<_, _>>()?;
    let borrowed: Vec<&[usize]> = dims.iter().map(Vec::as_slice).collect();
    let equation = Einsum::of(c.node, &borrowed)?;
    let diagonal = |term: &Vec<char>| (1..term.len()).any(|i| term[..i].contains(&term[i]));
    if equation.inputs.iter().any(diagonal) {
        return c.refuse("an axis is named twice in one input");
    }
    let dy = c.gradient()?;
    let mut gradients = Vec::with_capacity(count);
    for (i, own) in equation.inputs.iter().enumerate() {
        if !c.wants(i) {
            gradients.push(None);
            continue;
        }
        let whole: Vec<usize> = equation.output.iter().map(|l| equation.sizes[l]).collect();
        let mut terms = vec![(&equation.output, &whole)];
        let mut values = vec![dy.as_str()];
        for j in (0..count).filter(|&j| j != i) {
            terms.push((&equation.inputs[j], &dims[j]));
            values.push(c.input(j)?);
        }
        // The size that the sum has along a letter, where it has one.
        let size = |letter: &char| {
            let along = terms.iter().flat_map(|(term, dims)| term.iter().zip(*dims));
            along.filter(|(l, _)| *l == letter).map(|(_, &d)| d).max()
        };
        let kept: Vec<(char, usize)> = own
            .iter()
            .zip(&dims[i])
            .filter(|&(letter, &wanted)| wanted > 1 || size(letter) == Some(1))
            .filter_map(|(&letter, _)| Some((letter, size(&letter)?)))
            .collect();
        let left: Vec<String> = terms.iter().map(|(t, _)| t.iter().collect()).collect();
        let right: String = kept.iter().map(|(letter, _)| letter).collect();
        let text = format!("{}->{right}", left.join(","));
        let mut gradient = c.op("Einsum", &values, vec![("equation", text.as_str().into())]);
        let ones: Vec<usize> = own
            .iter()
            .map(|letter| {
                kept.iter()
                    .find(|(l, _)| l == letter)
                    .map_or(1, |(_, n)| *n)
            })
            .collect();
        if kept.len() < own.len() {
            gradient = c.reshape(&gradient, &ones);
        }
        if ones != dims[i] {
            gradient = c.expand(&gradient, &dims[i]);
        }
        gradients.push(Some(gradient));
    }
    Ok(gradients)
}
