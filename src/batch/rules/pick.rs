//! Operators that pick and put elements by position.

use super::super::places::Place;
use super::Reading;

pub(super) fn gather(r: &Reading) -> Result<Place, String> {
    let axis = r.positive(r.attribute("axis", 0)?, r.rank(0)?)?;
    let (picked, rank) = (r.data(1)?, r.rank(1)?);
    match (r.data(0)?, picked) {
        (Some(place), None) if place.axis == axis => {
            Err(format!("it picks from axis {axis}, which the batch is in"))
        }
        (Some(place), None) if place.axis < axis => Ok(place),
        (Some(place), None) => Ok(Place {
            axis: place.axis + rank - 1,
            ..place
        }),
        (None, Some(place)) => Ok(Place {
            axis: place.axis + axis,
            ..place
        }),
        _ => Err("it picks from each sample what another names".to_owned()),
    }
}

/// Inputs of one form, each with a part for every sample.
pub(super) fn elements(r: &Reading) -> Result<Place, String> {
    let place = r.first()?;
    if r.positive(r.attribute("axis", 0)?, r.rank(0)?)? == place.axis {
        return Err(format!(
            "it works along axis {}, which the batch is in",
            place.axis
        ));
    }
    for index in 1..r.node.inputs.len() {
        if r.data(index)? != Some(place) {
            return Err(format!(
                "its input {index} does not follow the batch as input 0 does"
            ));
        }
    }
    Ok(place)
}

pub(super) fn gather_nd(r: &Reading) -> Result<Place, String> {
    let shared = r.attribute("batch_dims", 0)?;
    match (r.data(0)?, r.data(1)?) {
        (Some(data), Some(indices)) if data == indices && (data.axis as i64) < shared => Ok(data),
        (None, Some(indices)) if indices.axis + 1 < r.rank(1)? && shared == 0 => Ok(indices),
        // What is picked lies in the axes before the batch's.
        (Some(data), None) => {
            let indices = r.dims(1)?;
            let picked = usize::try_from(shared).unwrap_or(0) + indices.last().unwrap_or(&0);
            let behind = data.axis.checked_sub(picked);
            let behind = behind.ok_or("it picks along the axis that the batch is in")?;
            Ok(Place {
                axis: indices.len() - 1 + behind,
                ..data
            })
        }
        _ => Err("it picks along an axis that the batch is in".to_owned()),
    }
}

pub(super) fn one_hot(r: &Reading) -> Result<Place, String> {
    let place = r.first()?;
    r.fixed_from(1)?;
    let rank = r.result()?.len();
    let new = r.positive(r.attribute("axis", -1)?, rank)?;
    Ok(Place {
        axis: place.axis + usize::from(new <= place.axis),
        ..place
    })
}
