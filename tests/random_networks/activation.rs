//! Activations, as operators and as the formulas that exporters write for them.

use ftsurgery::graph::Attribute;

use super::net::Net;

/// An activation of the values `x`, whatever their dimensions; `channels` is that of axis 1.
pub fn activation(net: &mut Net, x: &str, channels: Option<usize>) -> String {
    let alpha = |v: f32| vec![("alpha", Attribute::from(v))];
    loop {
        let smooth: &[&str] = &[
            "Sigmoid", "Tanh", "Softplus", "silu", "gelu", "Mish", "Gelu", "Elu", "Celu",
        ];
        let kinked: &[&str] = &[
            "Relu",
            "Relu",
            "Relu",
            "LeakyRelu",
            "HardSigmoid",
            "HardSwish",
            "hard-swish",
            "Clip",
            "PRelu",
            "Selu",
            "Softsign",
            "Abs",
            "ThresholdedRelu",
        ];
        let op = match net.smooth || net.dice.chance(30) {
            true => net.dice.pick(smooth),
            false => net.dice.pick(kinked),
        };
        let since = match op {
            "Gelu" => 20,
            "Mish" => 18,
            "HardSwish" => 14,
            "Celu" => 12,
            "ThresholdedRelu" => 10,
            _ => 0,
        };
        if net.opset() < since {
            continue;
        }
        return match op {
            "silu" => {
                let gate = net.op("Sigmoid", &[x], &[]);
                let inputs = if net.dice.chance(50) {
                    [x, &gate]
                } else {
                    [&gate, x]
                };
                net.op("Mul", &inputs, &[])
            }
            "gelu" => {
                let [root, one, half] = [2f32.sqrt(), 1.0, 0.5].map(|v| net.scalar(v));
                let y = net.op("Div", &[x, &root], &[]);
                let y = net.op("Erf", &[&y], &[]);
                let y = net.op("Add", &[&y, &one], &[]);
                let y = net.op("Mul", &[x, &y], &[]);
                net.op("Mul", &[&y, &half], &[])
            }
            "hard-swish" => {
                let [three, six] = [3.0, 6.0].map(|v| net.scalar(v));
                let y = net.op("Add", &[x, &three], &[]);
                let y = net.clip(&y, 0.0, 6.0);
                let y = net.op("Mul", &[x, &y], &[]);
                net.op("Div", &[&y, &six], &[])
            }
            "Clip" => {
                let low = net.dice.pick(&[0.0, -0.5]);
                net.clip(x, low, 6.0)
            }
            "PRelu" => match channels {
                Some(c) => {
                    let slope = net.weight(&[c, 1, 1], 0.25, 0.1);
                    net.op("PRelu", &[x, &slope], &[])
                }
                None => continue,
            },
            "LeakyRelu" | "HardSigmoid" => {
                let with = if net.dice.chance(50) {
                    alpha(0.15)
                } else {
                    vec![]
                };
                net.op(op, &[x], &with)
            }
            "Elu" | "Celu" => net.op(op, &[x], &[]),
            "ThresholdedRelu" => net.op(op, &[x], &alpha(0.2)),
            "Gelu" => {
                let with = [("approximate", net.dice.pick(&["none", "tanh"]).into())];
                net.op(op, &[x], &with)
            }
            _ => net.op(op, &[x], &[]),
        };
    }
}
