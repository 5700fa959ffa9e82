//! Stages that change the size of a map, or move between space and channels.

use ftsurgery::graph::Attribute;
use ftsurgery::onnx::Tensor;

use super::net::{Map, Net};

pub fn pad(net: &mut Net, x: &Map) -> Option<Map> {
    let mode = net.dice.pick(&["constant", "constant", "reflect", "edge"]);
    let size = [x.height, x.width];
    let mut pads = [0i64; 8];
    let mut out = size;
    for (i, side) in size.iter().enumerate() {
        for at in [2 + i, 6 + i] {
            let most = if mode == "reflect" {
                side.saturating_sub(1).min(3)
            } else {
                3
            };
            let low = if mode == "constant" && *side > 4 && net.dice.chance(20) {
                -1
            } else {
                0
            };
            pads[at] = net.dice.size(0, most) as i64 + low;
        }
        out[i] = usize::try_from(*side as i64 + pads[2 + i] + pads[6 + i]).ok()?;
    }
    let value = if mode == "constant" && net.dice.chance(30) {
        0.5
    } else {
        0.0
    };
    let y = net.pad(&x.name, mode, &pads, value);
    Some(Map::new(y, [x.channels, out[0], out[1]]))
}

pub fn resize(net: &mut Net, x: &Map) -> Option<Map> {
    let scales = [0, 1].map(|_| net.dice.pick(&[0.5f32, 1.0, 1.5, 2.0, 2.0]));
    let out = [x.height as f32 * scales[0], x.width as f32 * scales[1]].map(|s| s.floor() as usize);
    if out.contains(&0) {
        return None;
    }
    let factors = net.constant(Tensor::f32(&[4], &[1.0, 1.0, scales[0], scales[1]]));
    let y = if net.opset() < 11 {
        let mode = net.dice.pick(&["nearest", "linear"]);
        let op = if net.opset() < 10 {
            "Upsample"
        } else {
            "Resize"
        };
        if op == "Upsample" && scales.iter().any(|s| *s < 1.0) {
            return None;
        }
        net.op(op, &[&x.name, &factors], &[("mode", mode.into())])
    } else {
        let mode = net.dice.pick(&["nearest", "linear", "cubic"]);
        let from = [
            "half_pixel",
            "asymmetric",
            "align_corners",
            "pytorch_half_pixel",
        ];
        let mut with = vec![
            ("mode", Attribute::from(mode)),
            (
                "coordinate_transformation_mode",
                net.dice.pick(&from).into(),
            ),
        ];
        if mode == "nearest" {
            let how = ["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"];
            with.push(("nearest_mode", net.dice.pick(&how).into()));
        }
        let none = net.constant(Tensor::f32(&[0], &[]));
        match net.dice.chance(50) {
            true => net.op("Resize", &[&x.name, &none, &factors], &with),
            false => {
                // The batch's size would have to be known.
                if !net.one_image {
                    return None;
                }
                let sizes = [1, x.channels as i64, out[0] as i64, out[1] as i64];
                let (empty, sizes) = (String::new(), net.ints(&sizes));
                net.op("Resize", &[&x.name, &none, &empty, &sizes], &with)
            }
        }
    };
    Some(Map::new(y, [x.channels, out[0], out[1]]))
}

pub fn conv_transpose(net: &mut Net, x: &Map) -> Option<Map> {
    let c = x.channels;
    let divisors: Vec<usize> = (1..=c).filter(|g| c.is_multiple_of(*g)).collect();
    let group = if net.dice.chance(60) {
        1
    } else {
        net.dice.pick(&divisors)
    };
    let each = net.dice.size(1, 3);
    let (k, s) = (net.dice.size(1, 4), net.dice.size(1, 3));
    let more = net.dice.size(0, s - 1);
    let pad = net.dice.size(0, k - 1);
    let along = |side: usize| ((side - 1) * s + k + more).checked_sub(2 * pad);
    let out = [along(x.height)?, along(x.width)?];
    if out.contains(&0) {
        return None;
    }
    let w = net.kernel(&[c, each, k, k], c / group * k * k / (s * s));
    let mut inputs = vec![x.name.clone(), w];
    if net.dice.chance(50) {
        inputs.push(net.bias(group * each));
    }
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    let with = [
        ("group", Attribute::from(group as i64)),
        ("strides", vec![s as i64; 2].into()),
        ("pads", vec![pad as i64; 4].into()),
        ("output_padding", vec![more as i64; 2].into()),
    ];
    let y = net.op("ConvTranspose", &inputs, &with);
    Some(Map::new(y, [group * each, out[0], out[1]]))
}

pub fn depth_to_space(net: &mut Net, x: &Map) -> Option<Map> {
    if !x.channels.is_multiple_of(4) {
        return None;
    }
    let mut with = vec![("blocksize", Attribute::from(2))];
    if net.opset() >= 11 {
        with.push(("mode", net.dice.pick(&["DCR", "CRD"]).into()));
    }
    let y = net.op("DepthToSpace", &[&x.name], &with);
    Some(Map::new(y, [x.channels / 4, x.height * 2, x.width * 2]))
}

pub fn space_to_depth(net: &mut Net, x: &Map) -> Option<Map> {
    if !x.height.is_multiple_of(2) || !x.width.is_multiple_of(2) {
        return None;
    }
    let y = net.op("SpaceToDepth", &[&x.name], &[("blocksize", 2.into())]);
    Some(Map::new(y, [x.channels * 4, x.height / 2, x.width / 2]))
}

pub fn crop(net: &mut Net, x: &Map) -> Option<Map> {
    let axis = net.dice.size(1, 3);
    let mut dims = x.dims();
    let side = dims[axis - 1];
    if side < 3 {
        return None;
    }
    let start = net.dice.size(0, 1) as i64;
    let (step, end) = match net.opset() >= 10 {
        true => (net.dice.pick(&[1, 1, 2, -1, -2]), side as i64),
        false => (1, side as i64),
    };
    let y = if step > 0 {
        dims[axis - 1] = (end - start).div_euclid(step) as usize
            + usize::from((end - start).rem_euclid(step) > 0);
        net.slice(&x.name, axis as i64, start, end, step)
    } else {
        // From the last but `start` down to the first.
        dims[axis - 1] = ((side as i64 - start) as usize).div_ceil((-step) as usize);
        net.slice(&x.name, axis as i64, -1 - start, i64::from(i32::MIN), step)
    };
    Some(Map::new(y, dims))
}
