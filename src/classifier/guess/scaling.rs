//! The first steps of a graph, as far as they scale its pixels.

use crate::data::{ChannelOrder, Preprocess};
use crate::graph::operators::Elements;
use crate::graph::{Attribute, Dim, Graph, Node};
use crate::onnx::Tensor;

/// How pixels are to be scaled before the first steps of a graph.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// As the preset of RGB has it.
    pub preprocess: Preprocess,
    /// The order of the colours, where the numbers of each tell it.
    pub order: Option<ChannelOrder>,
}

/// The first steps of a graph, as far as each multiplies its input by constants or adds some, one number or one per
/// channel: together `x * factor[c] + shift[c]`.
pub(super) struct Scaling<'g> {
    /// The first of these nodes.
    pub node: &'g Node,
    /// Its numbers.
    constant: Vec<f32>,
    factor: [f64; CHANNELS],
    shift: [f64; CHANNELS],
    /// Whether the channels are turned round on the way; factor and shift are those of the turned ones.
    turned: bool,
}

const CHANNELS: usize = 3;

impl<'g> Scaling<'g> {
    pub fn of(graph: &'g Graph, input: &str) -> Option<Self> {
        let mut value = input;
        let mut found: Option<Self> = None;
        let mut turned = false;
        let mut axis = channel_axis(graph, input);
        // A graph has no circles.
        while let Some(node) = only_reader(graph, value) {
            if turns_channels(graph, node, axis) {
                turned = !turned;
                if let Some(all) = &mut found {
                    all.factor.reverse();
                    all.shift.reverse();
                }
            } else if keeps_scale(node) {
                axis = axis.and_then(|axis| axis_behind(node, axis));
            } else {
                let Some((constant, factor, shift)) = step(graph, node, value) else {
                    break;
                };
                let all = found.get_or_insert(Scaling {
                    node,
                    constant,
                    factor: [1.0; CHANNELS],
                    shift: [0.0; CHANNELS],
                    turned: false,
                });
                for c in 0..CHANNELS {
                    all.shift[c] = all.shift[c] * factor[c] + shift[c];
                    all.factor[c] *= factor[c];
                }
            }
            let Some(output) = node.output(0) else { break };
            value = output;
        }
        found.map(|found| Self { turned, ..found })
    }

    /// How pixels are to be scaled before these steps: by the preset of which they make another, else as
    /// they are, where the first step's numbers are of bytes.
    pub fn wanted(&self) -> Option<Wanted> {
        let presets = Preprocess::PRESETS.iter().filter_map(|p| p.parse().ok());
        let known: Vec<Preprocess> = presets
            .clone()
            .chain(presets.clone().map(|p: Preprocess| p.swapped()))
            .collect();
        let orders_made = |from: &Preprocess| -> Vec<ChannelOrder> {
            let own = affine(from);
            let made: [_; CHANNELS] = std::array::from_fn(|c| {
                let (factor, shift) = own[c];
                (
                    factor * self.factor[c],
                    shift * self.factor[c] + self.shift[c],
                )
            });
            let is_made = |to: &&Preprocess| affine(to) != own && are_close(&made, &affine(to));
            known.iter().filter(is_made).map(|to| to.order).collect()
        };
        let first = [Preprocess::RAW, Preprocess::UNIT, Preprocess::SIGNED];
        for preprocess in first {
            let orders = orders_made(&preprocess);
            let Some(order) = orders.first() else {
                continue;
            };
            let one = orders.iter().all(|other| other == order);
            let order = one.then_some(match (self.turned, order) {
                (false, order) => *order,
                (true, ChannelOrder::Rgb) => ChannelOrder::Bgr,
                (true, ChannelOrder::Bgr) => ChannelOrder::Rgb,
            });
            return Some(Wanted { preprocess, order });
        }
        self.is_of_bytes().then_some(Wanted {
            preprocess: Preprocess::RAW,
            order: None,
        })
    }

    fn is_of_bytes(&self) -> bool {
        let largest = self.constant.iter().fold(0f32, |top, v| top.max(v.abs()));
        match self.node.op_type.as_str() {
            "Mul" => largest < 0.1,
            "Div" | "BatchNormalization" => largest > 10.0,
            "Sub" | "Add" => largest > 2.0,
            _ => false,
        }
    }

    pub fn because(&self) -> String {
        let numbers: Vec<String> = self.constant.iter().map(f32::to_string).collect();
        format!(
            "it begins by scaling its input itself, in node {} with {}",
            self.node,
            numbers.join(", ")
        )
    }
}

/// Where the channels of an image input are declared to stand.
fn channel_axis(graph: &Graph, input: &str) -> Option<usize> {
    let dims = graph
        .inputs
        .iter()
        .find(|v| v.name == input)?
        .dims
        .as_ref()?;
    let mut places = [1, 3].into_iter();
    places.find(|&axis| dims.get(axis) == Some(&Dim::Known(CHANNELS)))
}

/// Where they stand behind a node that keeps the scale, if that is known.
fn axis_behind(node: &Node, axis: usize) -> Option<usize> {
    if node.is("Transpose") {
        let perm = node.ints("perm").ok()??;
        return perm
            .iter()
            .position(|&from| usize::try_from(from) == Ok(axis));
    }
    let moves = matches!(node.elements(), Elements::Reshaped | Elements::Permuted);
    (!moves).then_some(axis)
}

/// Whether a node puts the channels, which stand at `axis`, in the other order.
fn turns_channels(graph: &Graph, node: &Node, axis: Option<usize>) -> bool {
    let numbers = |place: usize| constant(graph, node.input(place)?)?.to_i64();
    let is_axis = |of: i64| axis.is_some_and(|axis| of == axis as i64 || of + 4 == axis as i64);
    match node.op_type.as_str() {
        "Gather" => {
            let of = node.int("axis", 0).is_ok_and(is_axis);
            of && numbers(1).is_some_and(|order| order == [2, 1, 0])
        }
        "Slice" => {
            let backwards = numbers(4).is_some_and(|steps| steps == [-1]);
            backwards && numbers(3).is_some_and(|axes| axes.len() == 1 && is_axis(axes[0]))
        }
        _ => false,
    }
}

/// Whether a node moves, crops, pads or resizes what it reads, which may be scaled before or behind it alike.
fn keeps_scale(node: &Node) -> bool {
    let resizes = node.is("Resize") || node.is("Upsample");
    node.elements().is_rearrangement() || node.is("Pad") || node.is("Slice") || resizes
}

/// The one node that reads a value, besides those that read its shape.
fn only_reader<'g>(graph: &'g Graph, value: &str) -> Option<&'g Node> {
    let reads = |n: &&Node| !n.is("Shape") && n.inputs.iter().any(|i| i == value);
    let mut readers = graph.nodes.iter().filter(reads);
    readers.next().filter(|_| readers.next().is_none())
}

type Step = (Vec<f32>, [f64; CHANNELS], [f64; CHANNELS]);

/// The numbers of a node that scales or shifts `value`, and the factor and shift that they make of each channel.
fn step(graph: &Graph, node: &Node, value: &str) -> Option<Step> {
    let numbers = |name: Option<&str>| {
        let numbers = constant(graph, name?)?.to_f32()?;
        // One, or one per channel.
        let fits = matches!(numbers.len(), 1 | CHANNELS) && numbers.iter().all(|v| v.is_finite());
        fits.then_some(numbers)
    };
    let spread = |numbers: &[f32]| -> [f64; CHANNELS] {
        std::array::from_fn(|c| f64::from(numbers[c % numbers.len()]))
    };
    const ONE: [f64; CHANNELS] = [1.0; CHANNELS];
    const ZERO: [f64; CHANNELS] = [0.0; CHANNELS];
    if node.is("BatchNormalization") {
        let [scale, shift, mean, var] = [1, 2, 3, 4].map(|i| numbers(node.input(i)));
        let (scale, shift, mean, var) = (scale?, shift?, mean?, var?);
        let epsilon = f64::from(node.float("epsilon", 1e-5).ok()?);
        let [scale, shift, centre, var] = [&scale, &shift, &mean, &var].map(|n| spread(n));
        let factor: [f64; CHANNELS] = std::array::from_fn(|c| scale[c] / (var[c] + epsilon).sqrt());
        let shift = std::array::from_fn(|c| shift[c] - centre[c] * factor[c]);
        return Some((mean, factor, shift));
    }
    let is_first = node.input(0) == Some(value);
    let found = numbers(node.input(usize::from(is_first)))?;
    let each = spread(&found);
    let (factor, shift) = match node.op_type.as_str() {
        "Mul" => (each, ZERO),
        "Div" if is_first && each.iter().all(|&v| v != 0.0) => (each.map(f64::recip), ZERO),
        "Add" => (ONE, each),
        "Sub" if is_first => (ONE, each.map(|v| -v)),
        _ => return None,
    };
    Some((found, factor, shift))
}

/// Factor and shift of each channel, of a pixel of 0 to 255.
fn affine(preprocess: &Preprocess) -> [(f64, f64); CHANNELS] {
    let Preprocess {
        scale, mean, std, ..
    } = preprocess;
    let [scale, mean, std] = [&[*scale; 3], mean, std].map(|v| v.map(f64::from));
    std::array::from_fn(|c| (scale[c] / std[c], -mean[c] / std[c]))
}

/// Whether two ways of scaling differ by less than a fiftieth of their range.
fn are_close(one: &[(f64, f64)], other: &[(f64, f64)]) -> bool {
    one.iter().zip(other).all(|(a, b)| {
        let range = 255.0 * b.0;
        (255.0 * (a.0 - b.0)).abs() < range / 50.0 && (a.1 - b.1).abs() < range / 50.0
    })
}

fn constant<'g>(graph: &'g Graph, value: &str) -> Option<&'g Tensor> {
    graph.initializers.get(value).or_else(|| {
        let makes = |n: &&Node| n.is("Constant") && n.output(0) == Some(value);
        match graph.nodes.iter().find(makes)?.attributes.get("value")? {
            Attribute::Tensor(tensor) => Some(tensor),
            _ => None,
        }
    })
}
