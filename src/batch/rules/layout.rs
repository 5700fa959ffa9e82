//! Operators that move, join, cut, repeat and resample.

use super::super::places::{Place, places};
use super::{Reading, elementwise};

/// The same elements in the same order.
pub(super) fn rearranged(r: &Reading) -> Result<Place, String> {
    let name = r.node.output(0).unwrap_or_default();
    let from = r.first()?;
    // What was chosen when its target was freed.
    if let Some(chosen) = r.sizes.place(name) {
        return Ok(chosen);
    }
    let grown = r.sizes.grown(name).map(|grown| grown.axis);
    places(r.dims(0)?, from, r.result()?, r.sizes.old)
        .into_iter()
        .find(|place| Some(place.axis) == grown)
        .ok_or_else(|| "the batch is in no single axis of its result".to_owned())
}

pub(super) fn transpose(r: &Reading) -> Result<Place, String> {
    let (place, rank) = (r.first()?, r.rank(0)?);
    let axis = match r.list("perm")? {
        None => Some(rank - 1 - place.axis),
        Some(perm) => {
            let order: Vec<usize> = perm
                .iter()
                .map(|&axis| r.positive(axis, rank))
                .collect::<Result<_, _>>()?;
            order.iter().position(|&axis| axis == place.axis)
        }
    };
    let axis = axis.ok_or("its perm leaves the batch out")?;
    Ok(Place { axis, ..place })
}

pub(super) fn expand(r: &Reading) -> Result<Place, String> {
    let (rank, own) = (r.result()?.len(), r.rank(0)?);
    match r.data(0)? {
        Some(place) => Ok(Place {
            axis: place.axis + rank - own,
            ..place
        }),
        None => r.repeated(Some(r.dims(0)?)),
    }
}

pub(super) fn tile(r: &Reading) -> Result<Place, String> {
    let Some(place) = r.data(0)? else {
        return r.repeated(Some(r.dims(0)?));
    };
    match r.axes(1)?.get(place.axis) {
        Some(1) => Ok(place),
        _ => Err(format!(
            "it repeats axis {}, which the batch is in",
            place.axis
        )),
    }
}

pub(super) fn concat(r: &Reading) -> Result<Place, String> {
    let place = elementwise(r)?;
    if r.positive(r.attribute("axis", 0)?, r.rank(0)?)? == place.axis {
        return Err(format!(
            "it joins along axis {}, which the batch is in",
            place.axis
        ));
    }
    Ok(place)
}

/// A cut that leaves the axis of the batch as it is passes: PyTorch writes `x[:, 0]` as two.
pub(super) fn slice(r: &Reading) -> Result<Place, String> {
    let place = r.first()?;
    let steps = r.ints(4)?.unwrap_or_default();
    let axes = r.ints(3)?;
    let rank = r.rank(0)?;
    for (index, &step) in steps.iter().enumerate() {
        let axis = match &axes {
            Some(axes) => axes.get(index).copied().unwrap_or_default(),
            None => index as i64,
        };
        if step < 0 && r.positive(axis, rank)? == place.axis {
            return Err(format!("it turns axis {} round", place.axis));
        }
    }
    keeps_size(r, place)
}

/// Refuses a change of the axis that the batch is in.
fn keeps_size(r: &Reading, place: Place) -> Result<Place, String> {
    let before = r.sizes.dims(r.name(0)?).map_err(|e| e.to_string())?;
    let after = r.sizes.dims(r.node.output(0).unwrap_or_default());
    let after = after.map_err(|e| e.to_string())?;
    let at = |(old, new): (&[usize], &[usize])| {
        (old.get(place.axis).copied(), new.get(place.axis).copied())
    };
    if at(before) == at(after) {
        return Ok(place);
    }
    Err(format!(
        "it changes axis {}, which the batch is in",
        place.axis
    ))
}

pub(super) fn pad(r: &Reading) -> Result<Place, String> {
    let (place, rank) = (r.first()?, r.rank(0)?);
    let pads = r.axes(1)?;
    let axes = r.ints(3)?.unwrap_or_else(|| (0..rank as i64).collect());
    if r.data(2)?.is_some() {
        return Err("its value differs between the samples".to_owned());
    }
    for (index, &axis) in axes.iter().enumerate() {
        let pair = [pads.get(index), pads.get(index + axes.len())];
        if r.positive(axis, rank)? == place.axis && pair != [Some(&0), Some(&0)] {
            return Err(format!(
                "it pads axis {}, which the batch is in",
                place.axis
            ));
        }
    }
    Ok(place)
}

pub(super) fn resize(r: &Reading) -> Result<Place, String> {
    let (place, rank) = (r.first()?, r.rank(0)?);
    let axes = r.list("axes")?;
    let index = match axes {
        None => Some(place.axis),
        Some(axes) => {
            let axes: Vec<usize> = axes
                .iter()
                .map(|&axis| r.positive(axis, rank))
                .collect::<Result<_, _>>()?;
            axes.iter().position(|&axis| axis == place.axis)
        }
    };
    if let (Some(index), Some(name)) = (index, r.node.input(2)) {
        let known = r.sizes.at_old.constant(name);
        let known = known.or_else(|| r.graph.initializers.get(name));
        let scales = known.and_then(|t| t.to_f32()).unwrap_or_default();
        // A scale of 1.1 keeps an axis of 7 and not one of 70.
        if scales.get(index).is_some_and(|&s| s != 1.0) {
            return Err(format!(
                "it scales axis {}, which the batch is in",
                place.axis
            ));
        }
    }
    keeps_size(r, place)
}
