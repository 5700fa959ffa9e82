//! A whole network: input, stages, classifier.

use ftsurgery::graph::Attribute;
use ftsurgery::onnx::encode;

use super::activation::activation;
use super::dice::Dice;
use super::net::{Ending, Map, Net};
use super::stages::stage;

/// A drawn network, written as a file would hold it, and a batch for it.
pub struct Drawn {
    pub net: Net,
    pub ending: Ending,
    pub bytes: Vec<u8>,
    /// Dimensions of a sample at the input.
    pub sample: Vec<usize>,
    /// Whether the input has its channels last.
    pub channels_last: bool,
    pub classes: usize,
    /// Samples per batch.
    pub batch: usize,
}

impl Drawn {
    /// A finished network whose samples have their channels first, with a batch of 3.
    pub fn of(net: Net, sample: &[usize], classes: usize, ending: Ending) -> Self {
        Drawn {
            bytes: encode(&net.graph.to_model(usize::MAX).0).expect("a graph in memory"),
            net,
            ending,
            sample: sample.to_vec(),
            channels_last: false,
            classes,
            batch: 3,
        }
    }

    /// What was drawn, in one line.
    pub fn story(&self) -> String {
        let net = &self.net;
        format!(
            "opset {}, {:?} weights{}{}, {:?} x {}, {}, {:?}",
            net.opset(),
            net.storage,
            if net.one_image { ", one image" } else { "" },
            if net.smooth { ", smooth" } else { "" },
            self.sample,
            self.batch,
            net.story.join(" "),
            self.ending,
        )
    }

    /// A batch: values row by row as the input has them, and labels.
    pub fn data(&self, seed: u64) -> (Vec<f32>, Vec<i64>) {
        let mut dice = Dice::new(seed);
        let count = self.batch * self.sample.iter().product::<usize>();
        let values = dice.values(count, 1.0);
        let label = |_| dice.size(0, self.classes - 1) as i64;
        (values, (0..self.batch).map(label).collect())
    }
}

/// The network of a seed.
pub fn draw(seed: u64) -> Drawn {
    let mut dice = Dice::new(seed);
    let opset = dice.pick(&[
        9, 10, 11, 12, 13, 14, 16, 17, 18, 18, 19, 20, 21, 21, 22, 24,
    ]);
    let channels = dice.pick(&[1, 2, 3, 3, 3, 4, 6, 8]);
    let (height, width) = (dice.size(5, 13), dice.size(5, 13));
    let channels_last = dice.chance(15);
    let batch = dice.size(1, 4);
    let mut net = Net::drawn(dice, opset);
    let (x, sample) = match channels_last {
        false => (
            net.input(&[channels, height, width]),
            vec![channels, height, width],
        ),
        true => {
            let sample = vec![height, width, channels];
            let x = net.input(&sample);
            (net.transpose(&x, &[0, 3, 1, 2]), sample)
        }
    };
    let mut map = Map::new(x, [channels, height, width]);
    for _ in 0..net.dice.size(4, 9) {
        map = stage(&mut net, &map);
    }
    let classes = net.dice.size(2, 6);
    let ending = classifier(&mut net, &map, classes);
    Drawn {
        channels_last,
        batch: if net.one_image { batch.max(2) } else { batch },
        ..Drawn::of(net, &sample, classes, ending)
    }
}

/// The end of the network: pooled or not, one or two dense layers, a softmax or none.
fn classifier(net: &mut Net, x: &Map, classes: usize) -> Ending {
    let n = net.batch();
    let mut width = x.channels;
    let flat = match net.dice.size(0, 5) {
        0 => {
            let y = net.op("GlobalAveragePool", &[&x.name], &[]);
            net.op("Flatten", &[&y], &[])
        }
        1 => net.reduce("ReduceMean", &x.name, &[2, 3], false),
        2 if !net.smooth => {
            let y = net.op("GlobalMaxPool", &[&x.name], &[]);
            net.rank("Squeeze", &y, &[2, 3])
        }
        3 => {
            width *= x.pixels();
            let with = if net.dice.chance(50) {
                vec![("axis", Attribute::from(1))]
            } else {
                vec![]
            };
            net.op("Flatten", &[&x.name], &with)
        }
        4 => {
            width *= x.pixels();
            net.reshape(&x.name, &[n, width as i64])
        }
        _ => {
            // The classifier is a convolution.
            let y = net.op("GlobalAveragePool", &[&x.name], &[]);
            let (w, b) = (
                net.kernel(&[classes, width, 1, 1], width),
                net.bias(classes),
            );
            let y = net.op("Conv", &[&y, &w, &b], &[]);
            let y = net.op("Flatten", &[&y], &[]);
            return ending(net, &y);
        }
    };
    let mut y = flat;
    if net.dice.chance(30) {
        let middle = net.dice.size(2, 20);
        y = dense(net, &y, width, middle);
        y = activation(net, &y, None);
        width = middle;
    }
    let y = dense(net, &y, width, classes);
    ending(net, &y)
}

fn dense(net: &mut Net, x: &str, from: usize, to: usize) -> String {
    match net.dice.size(0, 3) {
        0 => {
            let w = net.kernel(&[from, to], from);
            let bias = net.bias(to);
            let y = net.op("MatMul", &[x, &w], &[]);
            net.op("Add", &[&y, &bias], &[])
        }
        1 => {
            let w = net.kernel(&[from, to], from);
            let bias = net.bias(to);
            net.op(
                "Gemm",
                &[x, &w, &bias],
                &[("alpha", 0.8f32.into()), ("beta", 0.6f32.into())],
            )
        }
        _ => {
            let w = net.kernel(&[to, from], from);
            let bias = net.bias(to);
            net.op("Gemm", &[x, &w, &bias], &[("transB", 1.into())])
        }
    }
}

fn ending(net: &mut Net, logits: &str) -> Ending {
    let ending = net.dice.pick(&[
        Ending::Logits,
        Ending::Logits,
        Ending::Softmax,
        Ending::LogSoftmax,
    ]);
    let axis = net.dice.pick(&[1, -1]);
    let name = match ending {
        Ending::Logits => logits.to_owned(),
        Ending::Softmax => net.op("Softmax", &[logits], &[("axis", axis.into())]),
        Ending::LogSoftmax => net.op("LogSoftmax", &[logits], &[("axis", axis.into())]),
    };
    net.output(&name);
    ending
}
