//! How a node of the version before is written in the version that changed its operator.
//!
//! Source: <https://github.com/onnx/onnx/blob/main/docs/Changelog.md>.

use crate::graph::Attribute;
use crate::onnx::Tensor;
use crate::onnx::messages::NodeProto;

use super::super::known::{Known, float, int, ints, named, remove, set, string};
use super::writer::{Adapted, Writer, become_, cannot, float_tensor, made, makes, put, reads};

/// Writes a node in another form.
pub(super) type Adapter = fn(&mut NodeProto, &mut Writer<'_>) -> Adapted;

/// What a node needs where a version of the operator set changed its operator; `None` where it means there what it meant.
pub(super) fn adapter(operator: &str, version: i64) -> Option<Adapter> {
    Some(match (operator, version) {
        ("BatchNormalization", 9) => spatial,
        ("BatchNormalization", 14) => one_output,
        ("Clip", 11) => clip,
        ("DFT", 20) => dft,
        ("Dropout", 10) => mask,
        ("Dropout", 12) => dropout,
        ("GridSample", 20) => grid_sample,
        ("GroupNormalization", 21) => group_norm,
        ("Pad", 11) => pad,
        ("Resize", 11) | ("Upsample", 10) => resize,
        ("Resize", 13) => resize_13,
        ("RoiAlign", 16) => roi_align,
        ("Scan", 9) => |_, _| cannot("its scans had a batch of their own, which is gone"),
        ("Scatter", 11) => |node, _| {
            node.op_type = Some("ScatterElements".to_owned());
            Ok(())
        },
        ("Slice", 10) => slice,
        ("Softmax" | "LogSoftmax", 13) | ("Hardmax", 13) => softmax,
        ("Split", 13) => |node, w| to_input(node, w, "split", 1),
        ("Split", 18) => |node, _| {
            if !reads(node, 1) {
                set(node, "num_outputs", node.output.len() as i64);
            }
            Ok(())
        },
        ("Squeeze" | "Unsqueeze", 13) | ("ReduceSum", 13) => |node, w| to_input(node, w, "axes", 1),
        ("TopK", 10) => top_k,
        ("Upsample", 9) => scales,
        (reduction, 18) if reduction.starts_with("Reduce") => {
            |node, w| to_input(node, w, "axes", 1)
        }
        _ => return None,
    })
}

/// A list of integers becomes an input.
fn to_input(node: &mut NodeProto, w: &mut Writer<'_>, name: &str, index: usize) -> Adapted {
    if let Some(values) = ints(node, name) {
        let input = w.numbers(node, name, &values);
        put(node, index, input);
        remove(node, name);
    }
    Ok(())
}

/// Before opset 9 statistics could be those of each place of a map.
fn spatial(node: &mut NodeProto, _: &mut Writer<'_>) -> Adapted {
    if int(node, "spatial", 1) != 1 {
        return cannot("it has spatial=0, which no later version knows");
    }
    remove(node, "spatial");
    Ok(())
}

/// Before opset 14 more outputs than one meant that it trains.
fn one_output(node: &mut NodeProto, _: &mut Writer<'_>) -> Adapted {
    if node.output.iter().skip(1).any(|o| !o.is_empty()) {
        return cannot("its outputs besides the first are those of training, which were others");
    }
    node.output.truncate(1);
    Ok(())
}

fn clip(node: &mut NodeProto, w: &mut Writer<'_>) -> Adapted {
    node.input.truncate(1);
    for (index, name) in [(1, "min"), (2, "max")] {
        if named(node, name).is_some() {
            let (value, element) = (float(node, name, 0.0), w.element(node, 0)?);
            let input = w.float(node, name, element, value)?;
            put(node, index, input);
            remove(node, name);
        }
    }
    Ok(())
}

fn pad(node: &mut NodeProto, w: &mut Writer<'_>) -> Adapted {
    node.input.truncate(1);
    to_input(node, w, "pads", 1)?;
    let value = float(node, "value", 0.0);
    if value != 0.0 {
        let element = w.element(node, 0)?;
        let input = w.float(node, "value", element, value)?;
        put(node, 2, input);
    }
    remove(node, "value");
    Ok(())
}

fn slice(node: &mut NodeProto, w: &mut Writer<'_>) -> Adapted {
    node.input.truncate(1);
    to_input(node, w, "starts", 1)?;
    to_input(node, w, "ends", 2)?;
    to_input(node, w, "axes", 3)
}

fn top_k(node: &mut NodeProto, w: &mut Writer<'_>) -> Adapted {
    let k = int(node, "k", 1);
    let input = w.numbers(node, "k", &[k]);
    put(node, 1, input);
    remove(node, "k");
    Ok(())
}

fn dft(node: &mut NodeProto, w: &mut Writer<'_>) -> Adapted {
    let axis = Tensor::scalar_i64(int(node, "axis", 1));
    let input = w.tensor(node, "axis", axis);
    put(node, 2, input);
    remove(node, "axis");
    Ok(())
}

/// Before opset 10 the mask was of the data's type.
fn mask(node: &mut NodeProto, _: &mut Writer<'_>) -> Adapted {
    match makes(node, 1) {
        true => cannot("its mask was of the type of its data"),
        false => Ok(()),
    }
}

fn dropout(node: &mut NodeProto, w: &mut Writer<'_>) -> Adapted {
    if named(node, "ratio").is_some() {
        let ratio = float(node, "ratio", 0.5);
        let input = w.float(node, "ratio", 1, ratio)?;
        put(node, 1, input);
        remove(node, "ratio");
    }
    Ok(())
}

fn grid_sample(node: &mut NodeProto, _: &mut Writer<'_>) -> Adapted {
    let mode = match string(node, "mode", "bilinear").as_str() {
        "bilinear" => "linear",
        "bicubic" => "cubic",
        _ => return Ok(()),
    };
    if named(node, "mode").is_some() {
        set(node, "mode", mode);
    }
    Ok(())
}

/// Before opset 16 positions were not moved by half a pixel.
fn roi_align(node: &mut NodeProto, _: &mut Writer<'_>) -> Adapted {
    set(node, "coordinate_transformation_mode", "output_half_pixel");
    Ok(())
}

/// Before opset 21 scale and bias had a number per group: it is repeated for the channels of the group.
fn group_norm(node: &mut NodeProto, w: &mut Writer<'_>) -> Adapted {
    let Some(x) = node.input.first().cloned().filter(|_| reads(node, 2)) else {
        return cannot("an input is missing");
    };
    let of = node.clone();
    let integers = Known::tensor(7);
    let groups = w.numbers(&of, "groups", &[int(node, "num_groups", 1)]);
    let ends: Vec<(&str, Attribute)> = vec![("start", 1.into()), ("end", 2.into())];
    let channels = w.op(&of, ("channels", "Shape"), &[&x], ends, integers.clone());
    let each = w.op(
        &of,
        ("each", "Div"),
        &[&channels, &groups],
        vec![],
        integers.clone(),
    );
    let axis: Vec<(&str, Attribute)> = vec![("axis", 0.into())];
    let target = w.op(&of, ("target", "Concat"), &[&groups, &each], axis, integers);
    let (column, flat) = (
        w.numbers(&of, "column", &[-1, 1]),
        w.numbers(&of, "flat", &[-1]),
    );
    for index in 1..3 {
        let known = Known::tensor(w.known(node, index).element);
        let value = node.input[index].clone();
        let value = w.op(
            &of,
            ("columns", "Reshape"),
            &[&value, &column],
            vec![],
            known.clone(),
        );
        let value = w.op(
            &of,
            ("repeated", "Expand"),
            &[&value, &target],
            vec![],
            known.clone(),
        );
        node.input[index] = w.op(
            &of,
            ("channelwise", "Reshape"),
            &[&value, &flat],
            vec![],
            known,
        );
    }
    Ok(())
}

/// The scales of opset 7 become an input.
fn scales(node: &mut NodeProto, w: &mut Writer<'_>) -> Adapted {
    let scales = named(node, "scales")
        .map(|a| a.floats.clone())
        .unwrap_or_default();
    let input = w.tensor(node, "scales", Tensor::f32(&[scales.len()], &scales));
    put(node, 1, input);
    remove(node, "scales");
    Ok(())
}

/// `Upsample` and `Resize` of opset 10 take positions as `asymmetric`, rounded down along axes that grow and up along
/// those that shrink: where both are there, in two steps. `Upsample` becomes a `Resize` of opset 10, which has the same
/// form, and that one of opset 11.
fn resize(node: &mut NodeProto, w: &mut Writer<'_>) -> Adapted {
    if node.op_type.as_deref() == Some("Upsample") {
        node.op_type = Some("Resize".to_owned());
        return Ok(());
    }
    let Some(scales) = node.input.get(1).cloned() else {
        return cannot("its scales are missing");
    };
    let nothing = float_tensor(1, &[0], &[]).map(|tensor| w.tensor(node, "roi", tensor));
    let roi = nothing.unwrap_or_default();
    set(node, "coordinate_transformation_mode", "asymmetric");
    node.input.truncate(1);
    put(node, 1, roi.clone());
    put(node, 2, scales.clone());
    if string(node, "mode", "nearest") != "nearest" {
        return Ok(());
    }
    let known = w
        .env
        .constants
        .get(&scales)
        .and_then(|t| w.model.tensor(t).ok()?.to_f32());
    let Some(known) = known else {
        return cannot("its scales are computed, and decide how it rounds");
    };
    let (grows, shrinks) = (
        known.iter().any(|&s| s > 1.0),
        known.iter().any(|&s| s < 1.0),
    );
    let rounding = if shrinks { "ceil" } else { "floor" };
    if grows && shrinks {
        let larger: Vec<f32> = known.iter().map(|s| s.max(1.0)).collect();
        let smaller: Vec<f32> = known.iter().map(|s| s.min(1.0)).collect();
        let of = node.clone();
        let first = w.tensor(&of, "enlarging", Tensor::f32(&[larger.len()], &larger));
        let second = w.tensor(&of, "shrinking", Tensor::f32(&[smaller.len()], &smaller));
        let enlarged = w.known(node, 0);
        let between = w.between(&of, "enlarged", enlarged);
        let mut ahead = made(
            &between,
            "Resize",
            &[&node.input[0], &roi, &first],
            &between,
            vec![],
        );
        ahead.attribute.clone_from(&node.attribute);
        set(&mut ahead, "nearest_mode", "floor");
        w.ahead.push(ahead);
        w.let_go.push(scales);
        node.input[0] = between;
        node.input[2] = second;
    }
    set(node, "nearest_mode", rounding);
    Ok(())
}

fn resize_13(node: &mut NodeProto, _: &mut Writer<'_>) -> Adapted {
    let mode = string(node, "coordinate_transformation_mode", "half_pixel");
    match mode.as_str() {
        "tf_half_pixel_for_nn" => cannot("its tf_half_pixel_for_nn is gone since opset 13"),
        _ => Ok(()),
    }
}

/// Before opset 13 it ran over all axes from `axis` (1 by default) on.
fn softmax(node: &mut NodeProto, w: &mut Writer<'_>) -> Adapted {
    let axis = int(node, "axis", 1);
    let rank = w.known(node, 0).dims.map(|dims| dims.len() as i64);
    if axis == -1 || rank.is_some() && rank == axis.checked_add(1) {
        set(node, "axis", axis);
        return Ok(());
    }
    let Some(input) = node.input.first().cloned() else {
        return cannot("its input is missing");
    };
    let of = node.clone();
    let known = Known::tensor(w.known(node, 0).element);
    let flat = Known::of_rank(known.element, 2);
    let shape = w.op(
        &of,
        ("shape", "Shape"),
        &[&input],
        vec![],
        Known::of_rank(7, 1),
    );
    let rows = w.op(
        &of,
        ("rows", "Flatten"),
        &[&input],
        vec![("axis", axis.into())],
        flat.clone(),
    );
    let result = w.between(&of, "flat", flat);
    // The one that makes the output keeps what was noted of it.
    let operator = node.op_type.clone().unwrap_or_default();
    w.ahead.push(made(
        &result,
        &operator,
        &[&rows],
        &result,
        vec![("axis", (-1).into())],
    ));
    become_(node, "Reshape", &[&result, &shape], vec![]);
    Ok(())
}
