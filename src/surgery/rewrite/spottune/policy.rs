//! The policy network, and the choices that it makes.
//!
//! For each block it gives two logits, `a` of the frozen and `b` of the tuned one. While training the choice is a sample of
//! `softmax(a, b)` by Gumbel noise, `I = [b + ε_b > a + ε_a]`, with the gradient of the softmax at a temperature τ in
//! place of its own (Gumbel-softmax, straight-through; Jang et al. 2017, Maddison et al. 2017): of two,
//! `σ((b + ε_b − a − ε_a) / τ)`. Where the model is evaluated there is no noise, and the choice is the larger logit.
//!
//! `conv`: the picture, each channel brought to mean 0 and deviation 1 so that it does not matter how the model wants its
//! pixels, four convolutions of 3 × 3 and stride 2 with a rectifier behind each, their mean, and a dense layer. (The authors
//! have a ResNet as large as the smallest networks that are tuned here.) `features`: the mean over space or tokens of what the
//! first block reads, two dense layers with a rectifier between.

use crate::graph::{Attribute, Graph, Node};
use crate::layout::TO_NCHW;

use super::super::super::SurgeryError;
use super::super::changes::{Changes, Distribution, Noise};
use super::super::choice::{Adder, GateStart, Place, drawn};
use super::{Policy, SpotTune};

const PREFIX: &str = "ftsurgery/spottune/policy";

/// τ, that of the authors' code.
const TEMPERATURE: f32 = 5.0;

/// What the bias of the tuned blocks' logits begins with where training begins at them: seven of eight draws take them.
const AHEAD: f32 = 2.0;

/// Output channels of the convolutions, in widths.
const CONVOLUTIONS: [usize; 4] = [1, 2, 4, 4];

/// The two logits.
const LOGITS: [&str; 2] = ["frozen", "tuned"];

/// The layers of the policy network before the logits, by name, and their outputs.
fn layers(of: &SpotTune) -> Vec<(String, usize)> {
    match of.policy {
        Policy::Conv => {
            let widths = (1..).zip(CONVOLUTIONS);
            let layer = |(at, widths): (usize, usize)| (format!("conv{at}"), widths * of.width);
            widths.map(layer).collect()
        }
        Policy::Features => vec![("hidden".to_owned(), of.width)],
    }
}

pub(super) fn parameters(of: &SpotTune) -> Vec<String> {
    let layers = layers(of).into_iter().map(|(name, _)| name);
    let all = layers.chain(LOGITS.map(str::to_owned));
    all.flat_map(|layer| ["weight", "bias"].map(|part| format!("{PREFIX}/{layer}/{part}")))
        .collect()
}

/// Adds the network, and gives its choices before the threshold, `[N, blocks]`: above ½ the tuned block is taken.
pub(super) fn choices(
    of: &SpotTune,
    graph: &Graph,
    place: Place,
    changes: &mut Changes,
    nodes: &mut Vec<Node>,
) -> Result<String, SurgeryError> {
    let mut network = Network {
        of,
        place,
        changes,
        add: Adder::new(PREFIX, nodes),
    };
    let (described, width) = match of.policy {
        Policy::Conv => network.of_picture(graph)?,
        Policy::Features => network.of_features()?,
    };
    let blocks = of.blocks.len();
    let ahead = match of.start {
        GateStart::Tuned => AHEAD,
        GateStart::Half => 0.0,
    };
    let [frozen, tuned] = [(LOGITS[0], 0.0), (LOGITS[1], ahead)].map(|(part, bias)| {
        let logits = network.dense(part, &described, [blocks, width], (1.0, bias))?;
        network.noisy(part, logits)
    });
    let Network {
        mut add, changes, ..
    } = network;
    let ahead = add.op("ahead", "Sub", &[&tuned?, &frozen?]);
    let cooled = changes.tensor(add.name("cooled"), place.dtype, &[], &[1.0 / TEMPERATURE])?;
    let ahead = add.op("ahead/cooled", "Mul", &[&ahead, &cooled]);
    Ok(add.op("soft", "Sigmoid", &[&ahead]))
}

struct Network<'a, 'n> {
    of: &'a SpotTune,
    place: Place,
    changes: &'a mut Changes,
    add: Adder<'n>,
}

/// The gain of what a rectifier follows (He et al. 2015): √6 of an even distribution.
const RECTIFIED: f32 = 2.449_489_8;

impl Network<'_, '_> {
    fn of_picture(&mut self, graph: &Graph) -> Result<(String, usize), SurgeryError> {
        let reads = &self.of.reads;
        let mut x = reads.value.clone();
        let declared = graph.inputs.iter().find(|input| input.name == x);
        if declared.is_some_and(|input| input.dtype != self.place.dtype) {
            let to = ("to", Attribute::Int(self.place.dtype as i64));
            x = self.add.with("picture", "Cast", &[&x], &[to]);
        }
        if reads.channels_last {
            let perm = ("perm", Attribute::Ints(TO_NCHW.to_vec()));
            x = self.add.with("picture/turned", "Transpose", &[&x], &[perm]);
        }
        let channels = [reads.channels];
        let [one, zero] = [("one", 1.0), ("zero", 0.0)].map(|(part, value)| {
            let values = vec![value; reads.channels];
            let name = self.add.name(&format!("picture/{part}"));
            self.changes
                .tensor(name, self.place.dtype, &channels, &values)
        });
        x = self.add.op(
            "picture/even",
            "InstanceNormalization",
            &[&x, &one?, &zero?],
        );
        let mut inputs = reads.channels;
        for (name, outputs) in layers(self.of) {
            let ints = |key, values: &[i64]| (key, Attribute::Ints(values.to_vec()));
            let window = [
                ints("kernel_shape", &[3, 3]),
                ints("pads", &[1; 4]),
                ints("strides", &[2, 2]),
            ];
            let [weight, bias] = self.weights(&name, &[outputs, inputs, 3, 3], (RECTIFIED, 0.0))?;
            x = self.add.with(&name, "Conv", &[&x, &weight, &bias], &window);
            x = self.add.op(&format!("{name}/relu"), "Relu", &[&x]);
            inputs = outputs;
        }
        Ok((self.mean(&x), inputs))
    }

    fn of_features(&mut self) -> Result<(String, usize), SurgeryError> {
        let reads = &self.of.reads;
        let mut x = reads.value.clone();
        if reads.rank > 2 {
            if reads.channels_last {
                let last = reads.rank as i64 - 1;
                let perm = [0, last].into_iter().chain(1..last).collect();
                let perm = ("perm", Attribute::Ints(perm));
                x = self.add.with("turned", "Transpose", &[&x], &[perm]);
            }
            x = self.mean(&x);
        }
        let dims = [self.of.width, reads.channels];
        let hidden = self.dense("hidden", &x, dims, (RECTIFIED, 0.0))?;
        Ok((
            self.add.op("hidden/relu", "Relu", &[&hidden]),
            self.of.width,
        ))
    }

    /// The mean of `[N, channels, …]` over all but these.
    fn mean(&mut self, x: &str) -> String {
        let pooled = self.add.op("pooled", "GlobalAveragePool", &[x]);
        self.add.op("flat", "Flatten", &[&pooled])
    }

    fn dense(
        &mut self,
        layer: &str,
        x: &str,
        dims: [usize; 2],
        first: (f32, f32),
    ) -> Result<String, SurgeryError> {
        let [weight, bias] = self.weights(layer, &dims, first)?;
        let turned = ("transB", Attribute::Int(1));
        Ok(self
            .add
            .with(layer, "Gemm", &[x, &weight, &bias], &[turned]))
    }

    /// Weight, `[outputs, inputs…]`, and bias of a layer, which begin with the gain and the value given.
    fn weights(
        &mut self,
        layer: &str,
        dims: &[usize],
        (gain, bias): (f32, f32),
    ) -> Result<[String; 2], SurgeryError> {
        let [of_weight, of_bias] =
            ["weight", "bias"].map(|part| self.add.name(&format!("{layer}/{part}")));
        let inputs: usize = dims[1..].iter().product();
        let values = drawn(self.of.seed, &of_weight, dims[0] * inputs, (inputs, gain));
        let dtype = self.place.dtype;
        Ok([
            self.changes.parameter(of_weight, dtype, dims, &values)?,
            self.changes
                .parameter(of_bias, dtype, &dims[..1], &vec![bias; dims[0]])?,
        ])
    }

    /// Logits with noise, while training.
    fn noisy(&mut self, part: &str, logits: String) -> Result<String, SurgeryError> {
        if self.place.form == super::super::Form::Inference {
            return Ok(logits);
        }
        let noise = Noise {
            name: self.add.name(&format!("{part}/noise")),
            dims: vec![self.of.blocks.len()],
            distribution: Distribution::Gumbel,
            rest: 0.0,
        };
        let noise = self.changes.noise(noise, self.place.dtype)?;
        Ok(self
            .add
            .op(&format!("{part}/noisy"), "Add", &[&logits, &noise]))
    }
}
