//! How a node of the version before is written in the version that changed its operator.
//!
//! Source: <https://github.com/onnx/onnx/blob/main/docs/Changelog.md>.

use crate::graph::Attribute;
use crate::onnx::Tensor;
use crate::onnx::messages::NodeProto;

use super::super::known::{Known, float, int, ints, named, remove, set, string};
use super::writer::{Adapted, Writer, cannot, makes, put, reads};
use super::{resize, softmax};

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
        ("Resize", 11) | ("Upsample", 10) => resize::raised_11,
        ("Resize", 13) => resize::raised_13,
        ("RoiAlign", 16) => roi_align,
        ("Scan", 9) => |_, _| cannot("its scans had a batch of their own, which is gone"),
        ("Scatter", 11) => |node, _| {
            node.op_type = Some("ScatterElements".to_owned());
            Ok(())
        },
        ("Slice", 10) => slice,
        ("Softmax" | "LogSoftmax", 13) | ("Hardmax", 13) => softmax::raised,
        ("Split", 13) => |node, w| to_input(node, w, "split", 1),
        ("Split", 18) => |node, _| {
            if !reads(node, 1) {
                set(node, "num_outputs", node.output.len() as i64);
            }
            Ok(())
        },
        ("Squeeze" | "Unsqueeze", 13) | ("ReduceSum", 13) => |node, w| to_input(node, w, "axes", 1),
        ("TopK", 10) => top_k,
        ("Upsample", 9) => resize::scales,
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
