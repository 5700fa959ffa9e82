//! The stages that networks are drawn from, those of convolutional networks first.

use ftsurgery::graph::Attribute;

use super::activation::activation;
use super::net::{Map, Net};
use super::window::{Kind, Window};
use super::{mixing, sizes};

/// Adds a stage behind a map; `None`, with nothing added, where what was drawn does not fit it.
type Stage = fn(&mut Net, &Map) -> Option<Map>;

/// Every stage with its name and how often it is drawn.
const STAGES: [(usize, &str, Stage); 22] = [
    (20, "conv", conv),
    (6, "pool", pool),
    (5, "act", |net, x| Some(activate(net, x))),
    (5, "norm", |net, x| Some(norm(net, x))),
    (6, "residual", residual),
    (4, "squeeze-excite", squeeze_excite),
    (5, "join", join),
    (3, "split", split),
    (2, "shuffle", shuffle),
    (3, "pad", sizes::pad),
    (3, "resize", sizes::resize),
    (2, "conv-transpose", sizes::conv_transpose),
    (2, "depth-to-space", sizes::depth_to_space),
    (2, "space-to-depth", sizes::space_to_depth),
    (2, "crop", sizes::crop),
    (2, "lrn", lrn),
    (2, "softmax", mixing::softmax),
    (7, "island", mixing::island),
    (4, "attention", mixing::attention),
    (2, "rows", mixing::rows),
    (2, "scale", mixing::scale),
    (2, "formula", mixing::formula),
];

/// Adds one stage behind `x`.
pub fn stage(net: &mut Net, x: &Map) -> Map {
    let total: usize = STAGES.iter().map(|(weight, ..)| weight).sum();
    loop {
        let mut at = net.dice.size(0, total - 1);
        let drawn = STAGES.iter().find(|(weight, ..)| {
            let found = at < *weight;
            at = at.saturating_sub(*weight);
            found
        });
        let Some((_, name, add)) = drawn else {
            continue;
        };
        let before = net.mark();
        let fits = |m: &Map| m.channels <= 32 && m.height <= 20 && m.width <= 20;
        if let Some(made) = add(net, x).filter(fits) {
            net.story.push((*name).to_owned());
            net.earlier.push(made.clone());
            return made;
        }
        net.back_to(before);
    }
}

/// A convolution with what mostly follows it.
fn conv(net: &mut Net, x: &Map) -> Option<Map> {
    let channels = net.dice.size(1, 12);
    let mut y = conv_only(net, x, channels)?;
    if net.dice.chance(30) {
        y = batch_norm(net, &y);
    }
    Some(if net.dice.chance(60) {
        activate(net, &y)
    } else {
        y
    })
}

/// A convolution to about `channels` channels: groups may ask for another number.
fn conv_only(net: &mut Net, x: &Map, channels: usize) -> Option<Map> {
    let kind = Kind {
        dilated: true,
        pads_beyond: true,
        same_dilated: false,
        ceil: false,
    };
    let window = Window::draw(&mut net.dice, [x.height, x.width], kind)?;
    let c = x.channels;
    let divisors: Vec<usize> = (1..=c).filter(|g| c.is_multiple_of(*g)).collect();
    let group = match net.dice.size(0, 9) {
        0..=4 => 1,
        5..=7 => c,
        _ => net.dice.pick(&divisors),
    };
    let each = match group == c && c > 1 {
        true => net.dice.pick(&[1, 1, 1, 2, 3]),
        false => channels.div_ceil(group),
    };
    let m = group * each;
    let [kh, kw] = window.kernel;
    let w = net.kernel(&[m, c / group, kh, kw], c / group * kh * kw);
    let mut inputs = vec![x.name.clone(), w];
    if net.dice.chance(60) {
        inputs.push(net.bias(m));
    }
    let mut with = window.attributes;
    if group != 1 || net.dice.chance(20) {
        with.push(("group", (group as i64).into()));
    }
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    let [h, w] = window.output;
    Some(Map::new(net.op("Conv", &inputs, &with), [m, h, w]))
}

fn batch_norm(net: &mut Net, x: &Map) -> Map {
    let scale = net.weight(&[x.channels], 1.0, 0.3);
    let bias = net.bias(x.channels);
    let mean = net.dice.values(x.channels, 0.3);
    let variance = net.dice.between(x.channels, 0.5, 1.5);
    let [mean, variance] = [mean, variance]
        .map(|values| net.constant(ftsurgery::onnx::Tensor::f32(&[x.channels], &values)));
    let inputs = [&x.name, &scale, &bias, &mean, &variance].map(String::as_str);
    Map::new(net.op("BatchNormalization", &inputs, &[]), x.dims())
}

fn norm(net: &mut Net, x: &Map) -> Map {
    let groups: Vec<usize> = (1..x.channels)
        .filter(|g| x.channels.is_multiple_of(*g))
        .collect();
    match net.dice.size(0, 2) {
        0 if x.pixels() > 2 => {
            let (scale, bias) = (net.weight(&[x.channels], 1.0, 0.3), net.bias(x.channels));
            // A map that is nearly constant is not blown up.
            let with = [("epsilon", Attribute::from(0.05f32))];
            let y = net.op("InstanceNormalization", &[&x.name, &scale, &bias], &with);
            Map::new(y, x.dims())
        }
        1 if net.opset() >= 18 && !groups.is_empty() && x.pixels() > 2 => {
            let group = net.dice.pick(&groups);
            let width = if net.opset() < 21 { group } else { x.channels };
            let (scale, bias) = (net.weight(&[width], 1.0, 0.3), net.bias(width));
            let with = [
                ("epsilon", Attribute::from(0.05f32)),
                ("num_groups", (group as i64).into()),
            ];
            let y = net.op("GroupNormalization", &[&x.name, &scale, &bias], &with);
            Map::new(y, x.dims())
        }
        _ => batch_norm(net, x),
    }
}

fn activate(net: &mut Net, x: &Map) -> Map {
    let y = activation(net, &x.name, Some(x.channels));
    Map::new(y, x.dims())
}

fn pool(net: &mut Net, x: &Map) -> Option<Map> {
    let max = !net.smooth && net.dice.chance(60);
    let kind = Kind {
        // With opset 10 both came to MaxPool; dilated averages with opset 19.
        dilated: net.opset() >= if max { 10 } else { 19 },
        pads_beyond: false,
        same_dilated: true,
        ceil: net.opset() >= 10,
    };
    let window = Window::draw(&mut net.dice, [x.height, x.width], kind)?;
    let mut with = window.attributes;
    let op = if max { "MaxPool" } else { "AveragePool" };
    if !max && net.dice.chance(40) {
        with.push(("count_include_pad", 1.into()));
    }
    let [h, w] = window.output;
    Some(Map::new(net.op(op, &[&x.name], &with), [x.channels, h, w]))
}

/// Two convolutions that keep the size, with a sum round them.
fn residual(net: &mut Net, x: &Map) -> Option<Map> {
    let c = x.channels;
    let same = |net: &mut Net, x: &Map, to: usize| {
        let k = net.dice.pick(&[1, 3, 3]);
        let group = if to == x.channels && net.dice.chance(30) {
            to
        } else {
            1
        };
        let w = net.kernel(&[to, x.channels / group, k, k], x.channels / group * k * k);
        let pad = (k / 2) as i64;
        let mut with = vec![("group", (group as i64).into())];
        with.push(match net.dice.chance(30) {
            true => ("auto_pad", "SAME_UPPER".into()),
            false => ("pads", vec![pad; 4].into()),
        });
        let mut inputs = vec![x.name.clone(), w];
        if net.dice.chance(50) {
            inputs.push(net.bias(to));
        }
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let y = net.op("Conv", &inputs, &with);
        let y = Map::new(y, [to, x.height, x.width]);
        if net.dice.chance(40) {
            batch_norm(net, &y)
        } else {
            y
        }
    };
    let middle = net.dice.size(1, 8);
    let y = same(net, x, middle);
    let y = activate(net, &y);
    let y = same(net, &y, c);
    let inputs = if net.dice.chance(50) {
        [&x.name, &y.name]
    } else {
        [&y.name, &x.name]
    };
    let sum = net.op("Add", &inputs.map(String::as_str), &[]);
    let sum = Map::new(sum, x.dims());
    Some(if net.dice.chance(60) {
        activate(net, &sum)
    } else {
        sum
    })
}

fn squeeze_excite(net: &mut Net, x: &Map) -> Option<Map> {
    let c = x.channels;
    let y = match net.dice.chance(50) {
        true => net.op("GlobalAveragePool", &[&x.name], &[]),
        false => net.reduce("ReduceMean", &x.name, &[2, 3], true),
    };
    let few = net.dice.size(1, 5);
    let (w, b) = (net.kernel(&[few, c, 1, 1], c), net.bias(few));
    let y = net.op("Conv", &[&y, &w, &b], &[]);
    let y = activation(net, &y, Some(few));
    let (w, b) = (net.kernel(&[c, few, 1, 1], few), net.bias(c));
    let y = net.op("Conv", &[&y, &w, &b], &[]);
    let gate = if net.smooth {
        "Sigmoid"
    } else {
        net.dice.pick(&["Sigmoid", "HardSigmoid"])
    };
    let gate = net.op(gate, &[&y], &[]);
    let inputs = if net.dice.chance(50) {
        [&x.name, &gate]
    } else {
        [&gate, &x.name]
    };
    Some(Map::new(
        net.op("Mul", &inputs.map(String::as_str), &[]),
        x.dims(),
    ))
}

/// The map with an earlier one of its size.
fn join(net: &mut Net, x: &Map) -> Option<Map> {
    let fit: Vec<Map> = net
        .earlier
        .iter()
        .filter(|m| m.name != x.name && (m.height, m.width) == (x.height, x.width))
        .cloned()
        .collect();
    if fit.is_empty() {
        return None;
    }
    let other = net.dice.pick(&fit);
    let both = [x.name.as_str(), other.name.as_str()];
    if other.channels != x.channels || net.dice.chance(30) {
        let y = net.op("Concat", &both, &[("axis", 1.into())]);
        return Some(Map::new(
            y,
            [x.channels + other.channels, x.height, x.width],
        ));
    }
    let kinked = ["Add", "Sub", "Mul", "Max", "Min", "Mean", "Sum"];
    let smooth = ["Add", "Sub", "Mul", "Mean", "Sum"];
    let op = if net.smooth {
        net.dice.pick(&smooth)
    } else {
        net.dice.pick(&kinked)
    };
    Some(Map::new(net.op(op, &both, &[]), x.dims()))
}

/// The channels in parts, each with its own way.
fn split(net: &mut Net, x: &Map) -> Option<Map> {
    let c = x.channels;
    let first = net.dice.size(1, c.checked_sub(1)?.max(1));
    let sizes = [first, c.checked_sub(first).filter(|&s| s > 0)?];
    let parts = net.split(&x.name, 1, &sizes);
    let mut ways = Vec::new();
    for (part, size) in parts.into_iter().zip(sizes) {
        let part = Map::new(part, [size, x.height, x.width]);
        ways.push(match net.dice.size(0, 2) {
            0 => part,
            1 => activate(net, &part),
            _ => batch_norm(net, &part),
        });
    }
    let inputs: Vec<&str> = ways.iter().map(|m| m.name.as_str()).collect();
    Some(Map::new(
        net.op("Concat", &inputs, &[("axis", 1.into())]),
        x.dims(),
    ))
}

/// Channels in groups, the groups interleaved.
fn shuffle(net: &mut Net, x: &Map) -> Option<Map> {
    let c = x.channels;
    let groups: Vec<usize> = (2..c).filter(|g| c.is_multiple_of(*g)).collect();
    if groups.is_empty() {
        return None;
    }
    let g = net.dice.pick(&groups);
    let n = net.batch();
    let [c, h, w] = x.dims().map(|d| d as i64);
    let y = net.reshape(&x.name, &[n, g as i64, c / g as i64, h, w]);
    let y = net.transpose(&y, &[0, 2, 1, 3, 4]);
    Some(Map::new(net.reshape(&y, &[n, c, h, w]), x.dims()))
}

fn lrn(net: &mut Net, x: &Map) -> Option<Map> {
    let with: [(&str, Attribute); 3] = [
        ("size", net.dice.pick(&[1i64, 3, 5]).into()),
        ("alpha", net.dice.pick(&[0.0001f32, 0.5]).into()),
        ("bias", net.dice.pick(&[1.0f32, 2.0]).into()),
    ];
    Some(Map::new(net.op("LRN", &[&x.name], &with), x.dims()))
}
