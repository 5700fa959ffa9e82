//! Products: the batch may be in what is kept of one operand, or in a leading axis of both.

use crate::graph::Einsum;

use super::super::places::Place;
use super::{Reading, UNREAD};

/// What an axis of a matrix product's operand becomes.
#[derive(PartialEq)]
enum Role {
    /// The axis that is that far before the rows.
    Lead(usize),
    /// Rows of the first or columns of the second operand.
    Own,
    /// It is summed over.
    Summed,
}

pub(super) fn matmul(r: &Reading) -> Result<Place, String> {
    let ranks = [r.rank(0)?, r.rank(1)?];
    let role = |operand: usize, axis: usize| match ranks[operand] - axis {
        _ if ranks[operand] == 1 => Role::Summed,
        1 if operand == 0 => Role::Summed,
        2 if operand == 1 => Role::Summed,
        1 | 2 => Role::Own,
        far => Role::Lead(far - 2),
    };
    let lead = ranks.map(|rank| rank.saturating_sub(2));
    let lead = lead[0].max(lead[1]);
    let becomes = |operand: usize, place: Place| match role(operand, place.axis) {
        Role::Lead(far) => Ok(lead - far),
        Role::Own if operand == 0 => Ok(lead),
        Role::Own => Ok(lead + usize::from(ranks[0] > 1)),
        Role::Summed => Err(format!(
            "it sums over axis {} of input {operand}, which the batch is in",
            place.axis
        )),
    };
    match (r.data(0)?, r.data(1)?) {
        (Some(a), Some(b)) => {
            let axes = [becomes(0, a)?, becomes(1, b)?];
            let leads = matches!(role(0, a.axis), Role::Lead(_));
            if axes[0] != axes[1] || a.ahead != b.ahead || !leads {
                return Err("it multiplies each sample with every other".to_owned());
            }
            Ok(Place { axis: axes[0], ..a })
        }
        (Some(a), None) => Ok(Place {
            axis: becomes(0, a)?,
            ..a
        }),
        (None, Some(b)) => Ok(Place {
            axis: becomes(1, b)?,
            ..b
        }),
        (None, None) => Err(UNREAD.to_owned()),
    }
}

pub(super) fn gemm(r: &Reading) -> Result<Place, String> {
    let turned = [
        r.attribute("transA", 0)? != 0,
        r.attribute("transB", 0)? != 0,
    ];
    let mut found: Option<Place> = None;
    for index in 0..r.node.inputs.len() {
        let Some(place) = r.data(index)? else {
            continue;
        };
        // Rows of A and columns of B are those of the result.
        let axis = match turned.get(index) {
            Some(&turned) if (place.axis == index) == turned => {
                return Err(format!(
                    "it sums over axis {} of input {index}, which the batch is in",
                    place.axis
                ));
            }
            Some(_) => index,
            None => (place.axis + 2).checked_sub(r.rank(index)?).ok_or(UNREAD)?,
        };
        let aligned = Place { axis, ..place };
        if found.is_some_and(|found| found != aligned) {
            return Err("it multiplies each sample with every other".to_owned());
        }
        found = Some(aligned);
    }
    found.ok_or_else(|| UNREAD.to_owned())
}

pub(super) fn einsum(r: &Reading) -> Result<Place, String> {
    let count = r.node.inputs.len();
    let dims: Vec<&[usize]> = (0..count).map(|i| r.dims(i)).collect::<Result<_, _>>()?;
    let sum = Einsum::of(r.node, &dims).map_err(|e| e.to_string())?;
    let mut found: Option<(char, Place)> = None;
    for index in 0..count {
        let Some(place) = r.data(index)? else {
            continue;
        };
        let letter = sum.inputs[index][place.axis];
        let once = sum.inputs[index].iter().filter(|l| **l == letter).count() == 1;
        let same = |(other, at): (char, Place)| other == letter && at.ahead == place.ahead;
        if !once || !found.is_none_or(same) {
            return Err("it multiplies each sample with every other".to_owned());
        }
        found = Some((letter, place));
    }
    let (letter, place) = found.ok_or(UNREAD)?;
    let axis = sum.output.iter().position(|l| *l == letter);
    let axis = axis.ok_or_else(|| format!("it sums over `{letter}`, which the batch is in"))?;
    Ok(Place { axis, ..place })
}
