//! Stages that mix pixels or channels without a window: channels-last islands, attention, softmax
//! and scales.

use ftsurgery::graph::Attribute;

use super::activation::activation;
use super::net::{Map, Net};

pub fn softmax(net: &mut Net, x: &Map) -> Option<Map> {
    let op = net.dice.pick(&["Softmax", "Softmax", "LogSoftmax"]);
    // Below opset 13 all axes from this one on are one.
    let axis = net.dice.pick(&[1, 1, 2, 3, -1]);
    Some(Map::new(
        net.op(op, &[&x.name], &[("axis", axis.into())]),
        x.dims(),
    ))
}

/// Channels go last, and come back.
pub fn island(net: &mut Net, x: &Map) -> Option<Map> {
    let mut y = net.transpose(&x.name, &[0, 2, 3, 1]);
    let [mut c, mut h, w] = x.dims();
    for _ in 0..net.dice.size(1, 3) {
        y = match net.dice.size(0, 6) {
            0 | 1 => {
                let to = net.dice.size(1, 10);
                let weight = net.kernel(&[c, to], c);
                let product = net.op("MatMul", &[&y, &weight], &[]);
                c = to;
                match net.dice.chance(60) {
                    true => {
                        let bias = net.bias(c);
                        net.op("Add", &[&product, &bias], &[])
                    }
                    false => product,
                }
            }
            2 => activation(net, &y, None),
            3 if c > 1 => layer_norm(net, &y, c),
            4 => {
                let axis = net.dice.pick(&[3, -1, 2]);
                net.op("Softmax", &[&y], &[("axis", axis.into())])
            }
            5 => {
                let scale = net.factor(&[c], 1.0, 0.3);
                net.op("Mul", &[&scale, &y], &[])
            }
            _ => {
                h += 1;
                net.pad(&y, "constant", &[0, 1, 0, 0, 0, 0, 0, 0], 0.0)
            }
        };
    }
    Some(Map::new(net.transpose(&y, &[0, 3, 1, 2]), [c, h, w]))
}

/// LayerNormalization over the last axis of `width`, as an operator or as its formula.
fn layer_norm(net: &mut Net, x: &str, width: usize) -> String {
    if net.opset() >= 17 && net.dice.chance(60) {
        let (scale, bias) = (net.weight(&[width], 1.0, 0.3), net.bias(width));
        let with = [("axis", (-1).into()), ("epsilon", Attribute::from(0.05f32))];
        return net.op("LayerNormalization", &[x, &scale, &bias], &with);
    }
    let scale = net.factor(&[width], 1.0, 0.3);
    let bias = net.factor(&[width], 0.0, 0.3);
    let mean = net.reduce("ReduceMean", x, &[-1], true);
    let centred = net.op("Sub", &[x, &mean], &[]);
    let two = net.scalar(2.0);
    let square = net.op("Pow", &[&centred, &two], &[]);
    let variance = net.reduce("ReduceMean", &square, &[-1], true);
    let epsilon = net.scalar(0.05);
    let variance = net.op("Add", &[&variance, &epsilon], &[]);
    let root = net.op("Sqrt", &[&variance], &[]);
    let y = net.op("Div", &[&centred, &root], &[]);
    let y = net.op("Mul", &[&y, &scale], &[]);
    net.op("Add", &[&y, &bias], &[])
}

/// Attention between pixels, of one or two heads, with a sum round it.
pub fn attention(net: &mut Net, x: &Map) -> Option<Map> {
    let pixels = x.pixels();
    if !(2..=100).contains(&pixels) || x.channels < 2 {
        return None;
    }
    let (n, c) = (net.batch(), x.channels);
    let [ci, hi, wi] = x.dims().map(|d| d as i64);
    let p = pixels as i64;
    let rows = match net.dice.chance(50) {
        true => {
            let y = net.reshape(&x.name, &[n, ci, p]);
            net.transpose(&y, &[0, 2, 1])
        }
        false => {
            let y = net.transpose(&x.name, &[0, 2, 3, 1]);
            net.reshape(&y, &[n, p, ci])
        }
    };
    let normal = match net.dice.chance(50) {
        true => layer_norm(net, &rows, c),
        false => rows.clone(),
    };
    let heads = if c.is_multiple_of(2) && net.dice.chance(50) {
        2
    } else {
        1
    };
    let (head, d) = (heads as i64, ci / heads as i64);
    let mut parts = Vec::new();
    for _ in 0..3 {
        let w = net.kernel(&[c, c], c);
        let mut y = net.op("MatMul", &[&normal, &w], &[]);
        if net.dice.chance(50) {
            let b = net.bias(c);
            y = net.op("Add", &[&y, &b], &[]);
        }
        if heads > 1 {
            y = net.reshape(&y, &[n, p, head, d]);
            y = net.transpose(&y, &[0, 2, 1, 3]);
        }
        parts.push(y);
    }
    let order: &[i64] = if heads > 1 { &[0, 1, 3, 2] } else { &[0, 2, 1] };
    let scores = match heads == 1 && net.opset() >= 12 && net.dice.chance(30) {
        true => net.op(
            "Einsum",
            &[&parts[0], &parts[1]],
            &[("equation", "bid,bjd->bij".into())],
        ),
        false => {
            let keys = net.transpose(&parts[1], order);
            net.op("MatMul", &[&parts[0], &keys], &[])
        }
    };
    let scale = net.scalar(1.0 / (d as f32).sqrt());
    let scores = net.op("Mul", &[&scores, &scale], &[]);
    let axis = if net.opset() < 13 {
        order.len() as i64 - 1
    } else {
        -1
    };
    let shares = net.op("Softmax", &[&scores], &[("axis", axis.into())]);
    let mut y = net.op("MatMul", &[&shares, &parts[2]], &[]);
    if heads > 1 {
        y = net.transpose(&y, &[0, 2, 1, 3]);
        y = net.reshape(&y, &[n, p, ci]);
    }
    let y = net.op("Add", &[&rows, &y], &[]);
    let y = net.transpose(&y, &[0, 2, 1]);
    Some(Map::new(net.reshape(&y, &[n, ci, hi, wi]), x.dims()))
}

/// Of a network for one image: pixels as the rows of a matrix, the batch written off. What mixes rows
/// then must not be taken for more images.
pub fn rows(net: &mut Net, x: &Map) -> Option<Map> {
    if !net.one_image || x.pixels() > 100 {
        return None;
    }
    let c = x.channels;
    let [ci, hi, wi] = x.dims().map(|d| d as i64);
    let y = net.transpose(&x.name, &[0, 2, 3, 1]);
    let y = net.reshape(&y, &[hi * wi, ci]);
    let w = net.kernel(&[c, c], c);
    let y = match net.dice.chance(50) {
        true => {
            let bias = net.bias(c);
            net.op("Gemm", &[&y, &w, &bias], &[])
        }
        false => net.op("MatMul", &[&y, &w], &[]),
    };
    let y = match net.dice.size(0, 5) {
        // Over the pixels of all images, should there be more.
        0 => net.op("Softmax", &[&y], &[("axis", 0.into())]),
        1 => {
            let turned = net.transpose(&y, &[1, 0]);
            let scores = net.op("MatMul", &[&y, &turned], &[]);
            let shares = net.op("Softmax", &[&scores], &[("axis", 1.into())]);
            net.op("MatMul", &[&shares, &y], &[])
        }
        2 => net.op("Softmax", &[&y], &[("axis", 1.into())]),
        3 => {
            let mean = net.reduce("ReduceMean", &y, &[0], true);
            net.op("Sub", &[&y, &mean], &[])
        }
        _ => activation(net, &y, None),
    };
    let y = net.reshape(&y, &[1, hi, wi, ci]);
    Some(Map::new(net.transpose(&y, &[0, 3, 1, 2]), x.dims()))
}

/// A weight per channel, pixel or element times, or added to, the map.
pub fn scale(net: &mut Net, x: &Map) -> Option<Map> {
    let [c, h, w] = x.dims();
    let dims = net.dice.pick(&[
        vec![1, c, 1, 1],
        vec![c, 1, 1],
        vec![1, 1, h, w],
        vec![c, h, w],
    ]);
    let op = net.dice.pick(&["Mul", "Add", "Sub", "Div"]);
    let by = net.factor(
        &dims,
        if op == "Mul" || op == "Div" { 1.5 } else { 0.0 },
        0.3,
    );
    let inputs = match op != "Div" && net.dice.chance(50) {
        true => [by.as_str(), &x.name],
        false => [x.name.as_str(), &by],
    };
    Some(Map::new(net.op(op, &inputs, &[]), x.dims()))
}

/// Arithmetic that exporters write in place of an operator.
pub fn formula(net: &mut Net, x: &Map) -> Option<Map> {
    let y = match net.dice.size(0, 3) {
        0 => {
            // A norm over the channels.
            let with = [("axis", Attribute::from(1)), ("p", 2.into())];
            net.op("LpNormalization", &[&x.name], &with)
        }
        1 => {
            // Standardised over all pixels, the statistics in the graph.
            let mean = net.reduce("ReduceMean", &x.name, &[2, 3], true);
            let y = net.op("Sub", &[&x.name, &mean], &[]);
            let square = net.op("Mul", &[&y, &y], &[]);
            let variance = net.reduce("ReduceMean", &square, &[2, 3], true);
            let epsilon = net.scalar(0.1);
            let variance = net.op("Add", &[&variance, &epsilon], &[]);
            let root = net.op("Sqrt", &[&variance], &[]);
            let inverse = net.op("Reciprocal", &[&root], &[]);
            net.op("Mul", &[&y, &inverse], &[])
        }
        2 => {
            // A product of the sizes of the map, read from a shape.
            let shape = net.op("Shape", &[&x.name], &[]);
            let two = net.ints(&[2]);
            let height = net.op("Gather", &[&shape, &two], &[("axis", 0.into())]);
            let height = net.op("Cast", &[&height], &[("to", 1.into())]);
            let sum = net.reduce("ReduceSum", &x.name, &[2], true);
            let mean = net.op("Div", &[&sum, &height], &[]);
            net.op("Sub", &[&x.name, &mean], &[])
        }
        _ => {
            // One channel gates all: an index into the map.
            let at = net.dice.size(0, x.channels - 1) as i64;
            let at = net.ints(&[at]);
            let one = net.op("Gather", &[&x.name, &at], &[("axis", 1.into())]);
            let gate = net.op("Tanh", &[&one], &[]);
            net.op("Mul", &[&x.name, &gate], &[])
        }
    };
    Some(Map::new(y, x.dims()))
}
