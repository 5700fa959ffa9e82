//! How a node is written in the form that its operator had before the version that changed it.
//!
//! What an older form cannot say is refused; attributes and inputs that are new and at their defaults need no adapter.
//! Source: <https://github.com/onnx/onnx/blob/main/docs/Changelog.md>.

use crate::graph::schemas::Kind;
use crate::graph::{Attribute, attribute_to_proto};
use crate::onnx::messages::NodeProto;
use crate::onnx::{Tensor, element_name};

use super::super::known::{Known, int, ints, named, remove, set, string};
use super::up::Adapter;
use super::writer::{Adapted, Refusal, Writer, become_, cannot, makes, put, reads};
use super::{resize, softmax};

/// What a node needs to go behind a version that changed its operator; `None` where the older form is the same but for what
/// it lacks.
pub(super) fn adapter(operator: &str, version: i64) -> Option<Adapter> {
    Some(match (operator, version) {
        ("BatchNormalization", 14) => inference_alone,
        ("Cast" | "CastLike", 24) => |node, _| at_default(node, "round_mode", "up"),
        ("Clip", 11) => clip,
        ("Constant", 11 | 12) => constant,
        ("DFT", 20) => dft,
        ("Dropout", 10) => mask,
        ("Dropout", 12) => dropout,
        ("Gemm", 11) => gemm,
        ("GroupNormalization", 21) => return super::decompose::adapter(operator),
        ("GridSample", 20) => grid_sample,
        ("Pad", 11) => pad,
        ("Pad", 18) => pad_axes,
        ("Pad", 19) => |node, _| not(node, "mode", &["wrap"]),
        ("Pow", 12) => pow,
        ("Reshape", 14) => reshape,
        ("Resize", 11) => resize::lowered_11,
        ("Resize", 13) => resize::lowered_13,
        ("Resize", 19) => |node, _| {
            not(
                node,
                "coordinate_transformation_mode",
                &["half_pixel_symmetric"],
            )?;
            not(
                node,
                "keep_aspect_ratio_policy",
                &["not_larger", "not_smaller"],
            )
        },
        ("RoiAlign", 16) => roi_align,
        ("ScatterElements" | "ScatterND", 18) => |node, _| not(node, "reduction", &["min", "max"]),
        ("Shape", 15) => shape,
        ("Slice", 10) => slice,
        ("Softmax" | "LogSoftmax", 13) | ("Hardmax", 13) => softmax::lowered,
        ("Split", 13) => |node, w| to_attribute(node, w, "split", 1),
        ("Split", 18) => split,
        ("Squeeze" | "Unsqueeze", 13) => |node, w| to_attribute(node, w, "axes", 1),
        ("TopK", 10) => top_k,
        ("TopK", 11) => |node, _| {
            // Sorted ones are in some order, too.
            remove(node, "sorted");
            Ok(())
        },
        ("ReduceSum", 13) => reduction,
        (reduced, 18) if reduced.starts_with("Reduce") => reduction,
        _ => return None,
    })
}

/// That a node does not say what the older version does not know.
fn not(node: &NodeProto, name: &str, news: &[&str]) -> Adapted {
    match string(node, name, "").as_str() {
        said if news.contains(&said) => cannot(format!("its {name} is `{said}`, which is newer")),
        _ => Ok(()),
    }
}

/// Takes away an attribute that is at its default.
fn at_default(node: &mut NodeProto, name: &str, default: &str) -> Adapted {
    match string(node, name, default) == default {
        true => drop(remove(node, name)),
        false => return cannot(format!("its {name} is newer")),
    }
    Ok(())
}

/// A constant input becomes an attribute, a list of integers.
fn to_attribute(node: &mut NodeProto, w: &mut Writer<'_>, name: &str, index: usize) -> Adapted {
    if let Some(values) = w.ints(node, index, name)? {
        set(node, name, values);
        w.drop_input(node, index);
    }
    Ok(())
}

fn reduction(node: &mut NodeProto, w: &mut Writer<'_>) -> Adapted {
    let nothing = match w.ints(node, 1, "axes")? {
        None => true,
        Some(axes) => axes.is_empty(),
    };
    let noop = int(node, "noop_with_empty_axes", 0) != 0;
    remove(node, "noop_with_empty_axes");
    if nothing {
        w.drop_input(node, 1);
        if noop {
            let x = node.input.first().cloned().unwrap_or_default();
            match node.op_type.as_deref() {
                Some("ReduceSumSquare") => become_(node, "Mul", &[&x, &x], vec![]),
                Some("ReduceL1" | "ReduceL2") => become_(node, "Abs", &[&x], vec![]),
                Some("ReduceLogSum") => become_(node, "Log", &[&x], vec![]),
                _ => become_(node, "Identity", &[&x], vec![]),
            }
        }
        return Ok(());
    }
    to_attribute(node, w, "axes", 1)
}

fn inference_alone(node: &mut NodeProto, _: &mut Writer<'_>) -> Adapted {
    if int(node, "training_mode", 0) != 0 {
        return cannot("it has training_mode=1");
    }
    remove(node, "training_mode");
    node.output.truncate(1);
    Ok(())
}

/// The one value of an input.
fn scalar(
    node: &NodeProto,
    w: &Writer<'_>,
    index: usize,
    what: &str,
) -> Result<Option<f32>, Refusal> {
    if !reads(node, index) {
        return Ok(None);
    }
    let value = w
        .constant(node, index)
        .and_then(|t| t.to_f32()?.first().copied());
    match value {
        Some(value) => Ok(Some(value)),
        None => cannot(format!(
            "its {what} is computed or no float, and was an attribute"
        )),
    }
}

fn clip(node: &mut NodeProto, w: &mut Writer<'_>) -> Adapted {
    for (index, name) in [(2, "max"), (1, "min")] {
        if let Some(value) = scalar(node, w, index, name)? {
            set(node, name, value);
            w.drop_input(node, index);
        }
    }
    node.input.truncate(1);
    Ok(())
}

fn pad(node: &mut NodeProto, w: &mut Writer<'_>) -> Adapted {
    if let Some(value) = scalar(node, w, 2, "value")? {
        set(node, "value", value);
        w.drop_input(node, 2);
    }
    to_attribute(node, w, "pads", 1)
}

/// Pads of some axes become pads of all.
fn pad_axes(node: &mut NodeProto, w: &mut Writer<'_>) -> Adapted {
    let Some(axes) = w.ints(node, 3, "axes")? else {
        return Ok(());
    };
    let rank = w.rank(node, 0)?;
    let Some(pads) = w.ints(node, 1, "pads")? else {
        return cannot("its pads are missing");
    };
    if pads.len() != 2 * axes.len() {
        return cannot("it has not two pads for each of its axes");
    }
    let mut all = vec![0; 2 * rank as usize];
    for (at, &axis) in axes.iter().enumerate() {
        let axis = if axis < 0 { axis + rank } else { axis };
        if !(0..rank).contains(&axis) {
            return cannot(format!("axis {axis} of {rank} dimensions"));
        }
        all[axis as usize] = pads[at];
        all[(rank + axis) as usize] = pads[axes.len() + at];
    }
    w.drop_input(node, 3);
    let made = w.numbers(node, "pads", &all);
    w.let_go.push(std::mem::replace(&mut node.input[1], made));
    Ok(())
}

fn slice(node: &mut NodeProto, w: &mut Writer<'_>) -> Adapted {
    if let Some(steps) = w.ints(node, 4, "steps")? {
        if steps.iter().any(|&step| step != 1) {
            return cannot("its steps are not 1");
        }
        w.drop_input(node, 4);
    }
    to_attribute(node, w, "axes", 3)?;
    to_attribute(node, w, "ends", 2)?;
    to_attribute(node, w, "starts", 1)
}

fn top_k(node: &mut NodeProto, w: &mut Writer<'_>) -> Adapted {
    match w.ints(node, 1, "numbers of elements")?.as_deref() {
        Some(&[k]) => set(node, "k", k),
        _ => return cannot("the number of its elements is missing"),
    }
    w.drop_input(node, 1);
    Ok(())
}

fn dft(node: &mut NodeProto, w: &mut Writer<'_>) -> Adapted {
    let axis = match w.ints(node, 2, "axes")?.as_deref() {
        None => -2,
        Some(&[axis]) => axis,
        Some(_) => return cannot("its axis is no number"),
    };
    let axis = match axis < 0 {
        true => axis + w.rank(node, 0)?,
        false => axis,
    };
    w.drop_input(node, 2);
    set(node, "axis", axis);
    Ok(())
}

fn mask(node: &mut NodeProto, _: &mut Writer<'_>) -> Adapted {
    match makes(node, 1) {
        true => cannot("its mask is of truth values"),
        false => Ok(()),
    }
}

fn dropout(node: &mut NodeProto, w: &mut Writer<'_>) -> Adapted {
    if reads(node, 2) {
        let trains = w
            .constant(node, 2)
            .map(|t| t.to_i64().is_none_or(|v| v != [0]));
        if trains != Some(false) {
            return cannot("whether it trains is an input");
        }
        w.drop_input(node, 2);
    }
    // It is drawn in training alone.
    remove(node, "seed");
    if let Some(ratio) = scalar(node, w, 1, "ratio")? {
        set(node, "ratio", ratio);
        w.drop_input(node, 1);
    }
    Ok(())
}

/// Before opset 11 it had to add something.
fn gemm(node: &mut NodeProto, w: &mut Writer<'_>) -> Adapted {
    if !reads(node, 2) {
        let element = w.element(node, 0)?;
        let zero = w.float(node, "nothing", element, 0.0)?;
        put(node, 2, zero);
    }
    Ok(())
}

fn grid_sample(node: &mut NodeProto, w: &mut Writer<'_>) -> Adapted {
    if w.known(node, 0).dims.is_some_and(|dims| dims.len() != 4) {
        return cannot("it samples volumes");
    }
    let mode = match string(node, "mode", "linear").as_str() {
        "linear" => "bilinear",
        "cubic" => "bicubic",
        _ => return Ok(()),
    };
    if named(node, "mode").is_some() {
        set(node, "mode", mode);
    }
    Ok(())
}

/// Before opset 12 the exponent had to be of the type of the base.
fn pow(node: &mut NodeProto, w: &mut Writer<'_>) -> Adapted {
    let (base, exponent) = (w.known(node, 0).element, w.known(node, 1).element);
    if base != exponent && base != 0 && exponent != 0 {
        let of = node.clone();
        let to: Vec<(&str, Attribute)> = vec![("to", i64::from(base).into())];
        let inputs = [of.input[1].as_str()];
        let known = Known {
            element: base,
            ..w.known(node, 1)
        };
        node.input[1] = w.op(&of, ("exponent", "Cast"), &inputs, to, known);
    }
    Ok(())
}

/// Before opset 14 a 0 in the shape always stood for the size of the data.
fn reshape(node: &mut NodeProto, w: &mut Writer<'_>) -> Adapted {
    if int(node, "allowzero", 0) != 0 {
        match w.constant(node, 1).and_then(|t| t.to_i64()) {
            Some(shape) if shape.contains(&0) => {
                return cannot("a size of its shape is 0, and means that (allowzero=1)");
            }
            Some(_) => {}
            None => w.note(
                node,
                "a size of 0, if one is computed, stands for that of its data (allowzero=1 is newer)",
            ),
        }
    }
    remove(node, "allowzero");
    Ok(())
}

/// Before opset 16 positions were not moved by half a pixel.
fn roi_align(node: &mut NodeProto, _: &mut Writer<'_>) -> Adapted {
    let mode = string(node, "coordinate_transformation_mode", "half_pixel");
    if mode != "output_half_pixel" {
        return cannot(format!(
            "its positions are `{mode}`, not `output_half_pixel`"
        ));
    }
    remove(node, "coordinate_transformation_mode");
    Ok(())
}

/// A part of a shape is cut out of it.
fn shape(node: &mut NodeProto, w: &mut Writer<'_>) -> Adapted {
    let (start, end) = (int(node, "start", 0), named(node, "end").and_then(|a| a.i));
    remove(node, "start");
    remove(node, "end");
    if start == 0 && end.is_none() {
        return Ok(());
    }
    let of = node.clone();
    let inputs = [of.input.first().map_or("", String::as_str)];
    let whole = w.op(
        &of,
        ("whole", "Shape"),
        &inputs,
        vec![],
        Known::of_rank(7, 1),
    );
    let starts = w.numbers(&of, "start", &[start]);
    let ends = w.numbers(&of, "end", &[end.unwrap_or(i64::MAX)]);
    become_(node, "Slice", &[&whole, &starts, &ends], vec![]);
    Ok(())
}

/// Parts that are not equal are given by their sizes.
fn split(node: &mut NodeProto, w: &mut Writer<'_>) -> Adapted {
    let parts = node.output.len() as i64;
    if int(node, "num_outputs", parts) != parts {
        return cannot("it has not as many outputs as it says");
    }
    remove(node, "num_outputs");
    if reads(node, 1) {
        return Ok(());
    }
    let dims = w.known(node, 0).dims;
    let axis = int(node, "axis", 0);
    let size = dims.and_then(|dims| {
        let axis = if axis < 0 {
            axis + dims.len() as i64
        } else {
            axis
        };
        dims.get(usize::try_from(axis).ok()?).copied().flatten()
    });
    if let Some(size) = size.filter(|size| parts > 0 && size % parts != 0) {
        let each = (size + parts - 1) / parts;
        let mut sizes = vec![each; parts as usize];
        sizes[parts as usize - 1] = size - each * (parts - 1);
        let sizes = w.numbers(node, "split", &sizes);
        put(node, 1, sizes);
    }
    Ok(())
}

/// What is no tensor in an attribute becomes one.
fn constant(node: &mut NodeProto, _: &mut Writer<'_>) -> Adapted {
    let number = |name: &str| named(node, name);
    let tensor = if let Some(value) = number("value_float").and_then(|a| a.f) {
        Tensor::scalar_f32(value)
    } else if let Some(value) = number("value_int").and_then(|a| a.i) {
        Tensor::scalar_i64(value)
    } else if let Some(list) = number("value_floats") {
        Tensor::f32(&[list.floats.len()], &list.floats)
    } else if let Some(list) = number("value_ints") {
        Tensor::i64s(&list.ints)
    } else {
        return Ok(());
    };
    node.attribute = vec![attribute_to_proto("value", &tensor.into())];
    Ok(())
}

/// Before opset 11 axes counted from the front alone.
pub(super) fn count_axes_from_the_front(node: &mut NodeProto, w: &mut Writer<'_>) -> Adapted {
    let negative = int(node, "axis", 0) < 0;
    let axes = ints(node, "axes").filter(|axes| axes.iter().any(|&axis| axis < 0));
    if !negative && axes.is_none() {
        return Ok(());
    }
    let added = match (node.op_type.as_deref(), &axes) {
        (Some("Unsqueeze"), Some(axes)) => axes.len() as i64,
        (Some("OneHot"), _) => 1,
        _ => 0,
    };
    let rank = w.rank(node, 0)? + added;
    if negative {
        let axis = int(node, "axis", 0) + rank;
        set(node, "axis", axis);
    }
    if let Some(axes) = axes {
        let front = |axis: i64| if axis < 0 { axis + rank } else { axis };
        set(node, "axes", Vec::from_iter(axes.into_iter().map(front)));
    }
    Ok(())
}

/// That something of a type is newer than the older form.
pub(super) fn newer_type(what: &str, known: &Known) -> Refusal {
    let kind = match known.kind {
        Kind::Tensor => element_name(known.element),
        _ => known.described(),
    };
    Refusal::Cannot(format!(
        "{what} is {kind}, which it does not take in that version"
    ))
}
