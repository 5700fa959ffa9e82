//! `Upsample` and `Resize`, from version to version.

use crate::onnx::Tensor;
use crate::onnx::messages::NodeProto;

use super::super::known::{named, remove, set, string};
use super::writer::{Adapted, Writer, cannot, float_tensor, made, put, reads};

/// The scales of opset 7 become an input.
pub(super) fn scales(node: &mut NodeProto, w: &mut Writer<'_>) -> Adapted {
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
pub(super) fn raised_11(node: &mut NodeProto, w: &mut Writer<'_>) -> Adapted {
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

pub(super) fn raised_13(node: &mut NodeProto, _: &mut Writer<'_>) -> Adapted {
    let mode = string(node, "coordinate_transformation_mode", "half_pixel");
    match mode.as_str() {
        "tf_half_pixel_for_nn" => cannot("its tf_half_pixel_for_nn is gone since opset 13"),
        _ => Ok(()),
    }
}

/// Before opset 13 the region and the scales had to be there, empty where they say nothing.
pub(super) fn lowered_13(node: &mut NodeProto, w: &mut Writer<'_>) -> Adapted {
    for index in [1, 2] {
        if !reads(node, index) {
            let nothing = w.tensor(node, "nothing", Tensor::f32(&[0], &[]));
            put(node, index, nothing);
        }
    }
    Ok(())
}

/// Before opset 11 positions were `asymmetric` and rounded down along axes that grow.
pub(super) fn lowered_11(node: &mut NodeProto, w: &mut Writer<'_>) -> Adapted {
    let mode = string(node, "coordinate_transformation_mode", "half_pixel");
    if mode != "asymmetric" {
        return cannot(format!("its positions are `{mode}`, not `asymmetric`"));
    }
    if reads(node, 3) {
        return cannot("its sizes are given, not its scales");
    }
    let scales = w
        .constant(node, 2)
        .and_then(|t| t.to_f32())
        .unwrap_or_default();
    let grows = scales.iter().all(|&s| s >= 1.0) && !scales.is_empty();
    let rounds_down = string(node, "nearest_mode", "round_prefer_floor") == "floor";
    let as_before = match string(node, "mode", "nearest").as_str() {
        "nearest" => grows && rounds_down,
        "linear" => !scales.is_empty(),
        _ => false,
    };
    if !as_before {
        return cannot(
            "it does not resize as it did before: linearly, or to larger maps by `floor`",
        );
    }
    w.drop_input(node, 1);
    node.input.remove(1);
    for name in [
        "coordinate_transformation_mode",
        "nearest_mode",
        "cubic_coeff_a",
        "exclude_outside",
        "extrapolation_value",
    ] {
        remove(node, name);
    }
    Ok(())
}

/// `Upsample` has the form that `Resize` had at first, and makes nothing smaller.
pub(super) fn upsample(node: &mut NodeProto, w: &mut Writer<'_>) -> Adapted {
    let scales = w.constant(node, 1).and_then(|t| t.to_f32());
    if scales.is_none_or(|scales| scales.iter().any(|&s| s < 1.0)) {
        return cannot("its scales are computed or less than 1");
    }
    node.op_type = Some("Upsample".to_owned());
    Ok(())
}
