//! Nodes that carry the batch size of the export, so that they serve any.

use crate::graph::{Builder, GraphError, Node, infer};

use super::advance;
use super::places::{Place, Trail, places};
use super::sizes::{Sizes, Value};

/// Gives a `Reshape` a target that serves any batch size, if its own does not.
pub(super) fn reshape(
    b: &mut Builder,
    node: &mut Node,
    sizes: &mut Sizes,
    trail: &mut Trail,
) -> Result<(), GraphError> {
    let Some((data, target)) = data_and_target(node, sizes) else {
        return Ok(());
    };
    let output = node.output(0).unwrap_or_default().to_owned();
    if !sizes.follows(data) {
        return Ok(());
    }
    let (before, _) = sizes.dims(data)?;
    let dims = sizes.at_old.dims(&output)?;
    let own = sizes.place(data);
    let from = own.or_else(|| sizes.grown(data).filter(|_| sizes.is_known(data)));
    let places = from.map_or(Vec::new(), |from| places(before, from, dims, sizes.old));
    let Some((from, &to)) = from.zip(trail.choose(&places)) else {
        return Err(node.error(format!(
            "its target {target:?} fixes the batch size {} in a way that cannot be freed",
            sizes.old
        )));
    };
    if !matches!(target[to.axis], 0 | -1) {
        let mut freed = target;
        if from == to && before[from.axis] == sizes.old && dims[to.axis] == sizes.old {
            freed[to.axis] = 0;
        } else {
            freed = dims.iter().map(|&d| d as i64).collect();
            freed[to.axis] = -1;
        }
        node.inputs[1] = b.ints(&freed);
        node.attributes.remove("allowzero");
    }
    if own.is_some() {
        sizes.set_place(&output, to);
    }
    Ok(())
}

/// Has an `Expand` of what follows the batch leave the batch's axis as it is.
pub(super) fn expand(b: &mut Builder, node: &mut Node, sizes: &Sizes) -> Result<(), GraphError> {
    let Some((data, mut target)) = data_and_target(node, sizes) else {
        return Ok(());
    };
    let Value::Batched(place) = sizes.value(data) else {
        return Ok(());
    };
    let (before, _) = sizes.dims(data)?;
    let size = before[place.axis] as i64;
    let from_the_end = before.len() - place.axis;
    let at = target.len().checked_sub(from_the_end);
    if let Some(at) = at.filter(|&at| target[at] == size) {
        target[at] = 1;
        node.inputs[1] = b.ints(&target);
    }
    Ok(())
}

/// Has a `Resize` to literal sizes ask for that of the batch's axis, which it keeps.
pub(super) fn resize(
    b: &mut Builder,
    node: &mut Node,
    sizes: &mut Sizes,
) -> Result<(), GraphError> {
    let target = node.input(3).and_then(|name| sizes.fixed_ints(name));
    let place = node.input(0).and_then(|data| sizes.place(data));
    let (Some(target), Some(Place { axis, .. }), Some(data)) = (target, place, node.input(0))
    else {
        return Ok(());
    };
    let data = data.to_owned();
    let (before, _) = sizes.dims(&data)?;
    let (axis, rank) = (axis as i64, before.len() as i64);
    let at = match node.ints("axes")? {
        Some(axes) => axes.iter().position(|&a| a == axis || a + rank == axis),
        None => usize::try_from(axis).ok(),
    };
    let kept = before[axis as usize] as i64;
    let Some(at) = at.filter(|&at| target.get(at) == Some(&kept)) else {
        return Ok(());
    };
    let from = b.graph().nodes.len();
    let hint = node.output(0).unwrap_or_default().to_owned();
    let own = size_of(b, &format!("{hint}/batch"), &data, axis);
    let (ahead, behind) = (b.ints(&target[..at]), b.ints(&target[at + 1..]));
    let parts = [ahead.as_str(), own.as_str(), behind.as_str()];
    let along = vec![("axis", 0.into())];
    node.inputs[3] = b.op(&format!("{hint}/sizes"), "Concat", &parts, along);
    learn(b, from, sizes)
}

/// What an operator of an input and a target reads; `None` where the target follows from the batch size,
/// or is not known.
fn data_and_target<'n>(node: &'n Node, sizes: &Sizes) -> Option<(&'n str, Vec<i64>)> {
    Some((node.input(0)?, sizes.fixed_ints(node.input(1)?)?))
}

/// Repeats what a `Concat` joins to every sample, such as a class token. An export for one image has it
/// once, and nothing that repeats it.
pub(super) fn concat(
    b: &mut Builder,
    node: &mut Node,
    sizes: &mut Sizes,
) -> Result<(), GraphError> {
    let Some(other) = node.present_inputs().find(|name| sizes.follows(name)) else {
        return Ok(());
    };
    let other = other.to_owned();
    let (before, after) = sizes.dims(&other)?;
    let rank = before.len();
    let along = node.int("axis", 0)?;
    let leads = sizes.value(&other) == Value::Batched(Place { axis: 0, ahead: 1 })
        && before.first() == Some(&sizes.old)
        && after.first() == Some(&sizes.new);
    if sizes.old != 1 || !leads || along == 0 || along == -(rank as i64) {
        return Ok(());
    }
    for index in 0..node.inputs.len() {
        let name = node.inputs[index].clone();
        let dims = sizes.at_new.dims(&name)?;
        if sizes.follows(&name) || dims.len() != rank || dims[0] != 1 {
            continue;
        }
        let from = b.graph().nodes.len();
        let batch = size_of(b, &format!("{name}/batch"), &other, 0);
        let ones = b.ints(&vec![1; rank - 1]);
        let axis = vec![("axis", 0.into())];
        let target = b.op(&format!("{name}/target"), "Concat", &[&batch, &ones], axis);
        let each = b.op(&format!("{name}/each"), "Expand", &[&name, &target], vec![]);
        learn(b, from, sizes)?;
        node.inputs[index] = each;
    }
    Ok(())
}

/// Has a `Gather` along the batch's axis, in a model for one image, pick from each image's own elements.
///
/// PyTorch writes strided views so: `[1, 7, 7, C]` as one row of `49 · C` numbers, of which a table of
/// places picks. For N images the rows become `[N, 49 · C]`, of which each is picked from alike.
pub(super) fn gather(
    b: &mut Builder,
    node: &mut Node,
    sizes: &mut Sizes,
) -> Result<(), GraphError> {
    let (Some(data), Some(indices)) = (node.input(0), node.input(1)) else {
        return Ok(());
    };
    let (data, indices) = (data.to_owned(), indices.to_owned());
    let (before, _) = sizes.dims(&data)?;
    let Value::Batched(Place { axis, ahead: 1 }) = sizes.value(&data) else {
        return Ok(());
    };
    let along = node.int("axis", 0)?;
    let along = if along < 0 {
        along + before.len() as i64
    } else {
        along
    };
    let result = sizes.at_old.dims(node.output(0).unwrap_or_default())?;
    if sizes.old != 1
        || along != axis as i64
        || axis >= result.len()
        || sizes.value(&indices) != Value::Fixed
    {
        return Ok(());
    }
    let ints = |dims: &[usize]| dims.iter().map(|&d| d as i64).collect::<Vec<_>>();
    let mut apart = ints(before);
    apart.insert(axis, -1);
    let mut joined = ints(result);
    joined[axis] = -1;
    let (apart, joined) = (b.ints(&apart), b.ints(&joined));
    let hint = node.output(0).unwrap_or_default().to_owned();
    let from = b.graph().nodes.len();
    let own = b.op(
        &format!("{hint}/apart"),
        "Reshape",
        &[&data, &apart],
        vec![],
    );
    let axis = vec![("axis", (axis as i64 + 1).into())];
    let picked = b.op(&format!("{hint}/picked"), "Gather", &[&own, &indices], axis);
    learn(b, from, sizes)?;
    node.op_type = "Reshape".to_owned();
    node.inputs = vec![picked, joined];
    node.attributes.clear();
    Ok(())
}

/// The length of an axis of `value`, as a list of one number, by nodes of any opset.
fn size_of(b: &mut Builder, hint: &str, value: &str, axis: i64) -> String {
    let sizes = b.op(&format!("{hint}/of"), "Shape", &[value], vec![]);
    let axis = b.ints(&[axis]);
    b.op(hint, "Gather", &[&sizes, &axis], vec![("axis", 0.into())])
}

/// Takes note of the nodes from `from` on, which were put before another one.
fn learn(b: &Builder, from: usize, sizes: &mut Sizes) -> Result<(), GraphError> {
    for node in &b.graph().nodes[from..] {
        sizes.learn_constants(b.graph(), node);
        infer::step(b.graph(), node, &mut sizes.at_old)?;
        advance(b.graph(), node, sizes)?;
    }
    Ok(())
}
