//! Updates of low rank (LoRA; Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models").
//!
//! A layer of weight W gives `W x + (α / r) B A x`, with W frozen: A brings x down to r values, B up again. A
//! convolution of k × k is followed by A of k × k with the same window to r channels, and B of 1 × 1. B begins
//! at zero, so that the network is at first what it was. After training `W + (α / r) B A` takes the place of
//! W, and the emitted model has the nodes of the original.

#[cfg(test)]
mod tests;

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use crate::graph::{Graph, Node};
use crate::onnx::Model;
use crate::random::{Purpose, stream};

use super::super::SurgeryError;
use super::Values;
use super::changes::{Changes, Splice};
use super::layer::{Layer, refuse};

/// Updates of low rank of some layers: `Conv` without groups, `Gemm`, and `MatMul` with a matrix.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LowRank {
    /// Names of the layers' weights (initializers, or constants by their output).
    pub weights: Vec<String>,
    /// The rank r of an update, at least 1 and at most that which a weight can have.
    pub rank: usize,
    /// α: an update counts α / r.
    pub alpha: usize,
    /// Decides the first values of A.
    pub seed: u64,
}

/// Operators of layers that can have an update.
const OPERATORS: [&str; 3] = ["Conv", "Gemm", "MatMul"];

/// How a layer's weight lies, as the matrix that brings `inputs` values to `outputs`.
enum Lies {
    /// `[outputs, channels, kernel…]`; inputs are channels times kernel.
    Conv,
    /// `[inputs, outputs]`.
    Straight,
    /// `[outputs, inputs]`.
    Turned,
}

/// A weight beside which an update of low rank can be trained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Updatable {
    /// Its name.
    pub weight: String,
    /// The highest rank that an update of it can have.
    pub highest_rank: usize,
}

/// A layer that can have an update, with its weight as a matrix.
struct Target<'g> {
    layer: Layer<'g>,
    lies: Lies,
    inputs: usize,
    outputs: usize,
    /// What the layer itself multiplies its product by.
    factor: f32,
}

impl<'g> Target<'g> {
    fn of(graph: &'g Graph, weight: &str) -> Result<Self, SurgeryError> {
        let layer = Layer::of_stored(graph, weight, &OPERATORS)?;
        let node = layer.node;
        let (lies, outputs, inputs) = match layer.weight.dims.as_slice() {
            [outputs, rest @ ..] if node.is("Conv") && !rest.is_empty() => {
                if node.int("group", 1)? != 1 {
                    return refuse(weight, format!("node {node} has groups"));
                }
                (Lies::Conv, *outputs, rest.iter().product())
            }
            &[first, second] if !node.is("Conv") => {
                let gemm = node.is("Gemm");
                if gemm && node.int("transA", 0)? != 0 {
                    return refuse(weight, format!("node {node} turns its input over"));
                }
                match gemm && node.int("transB", 0)? != 0 {
                    true => (Lies::Turned, first, second),
                    false => (Lies::Straight, second, first),
                }
            }
            dims => return refuse(weight, format!("it has dimensions {dims:?}")),
        };
        let factor = match node.is("Gemm") {
            true => node.float("alpha", 1.0)?,
            false => 1.0,
        };
        Ok(Target {
            layer,
            lies,
            inputs,
            outputs,
            factor,
        })
    }

    fn highest_rank(&self) -> usize {
        self.inputs.min(self.outputs)
    }
}

/// What names of added tensors and values begin with.
const PREFIX: &str = "ftsurgery/low_rank/";

impl LowRank {
    /// The names of A and B of a weight.
    pub fn parameters_of(weight: &str) -> [String; 2] {
        ["a", "b"].map(|part| format!("{PREFIX}{weight}/{part}"))
    }

    /// The weight whose A or B this is.
    pub(super) fn stands_for(parameter: &str) -> Option<&str> {
        let (weight, _) = parameter.strip_prefix(PREFIX)?.rsplit_once('/')?;
        Some(weight)
    }

    /// The weights of a model that can have an update.
    ///
    /// # Errors
    /// When the model's graph is malformed.
    pub fn updatable(model: &Model) -> Result<Vec<Updatable>, SurgeryError> {
        let graph = Graph::from_model(model)?;
        let layers = graph
            .nodes
            .iter()
            .filter(|n| OPERATORS.iter().any(|o| n.is(o)));
        let producers = graph.producers();
        let stored = |read| match producers.get(read).map(|&at| &graph.nodes[at]) {
            Some(cast) if cast.is("Cast") => cast.input(0),
            _ => Some(read),
        };
        let weights = layers.filter_map(|node| stored(node.input(1)?));
        let updatable = weights.filter_map(|weight| {
            let target = Target::of(&graph, weight).ok()?;
            Some(Updatable {
                weight: weight.to_owned(),
                highest_rank: target.highest_rank(),
            })
        });
        Ok(updatable.filter(|u| u.highest_rank > 0).collect())
    }

    /// The layer of a weight, if it can have an update of this rank.
    fn target<'g>(&self, graph: &'g Graph, weight: &str) -> Result<Target<'g>, SurgeryError> {
        let target = Target::of(graph, weight)?;
        let highest = target.highest_rank();
        if self.rank == 0 || self.rank > highest {
            let (outputs, inputs) = (target.outputs, target.inputs);
            return refuse(
                weight,
                format!(
                    "an update of rank {} of {outputs} × {inputs} values; the rank is 1 to {highest}",
                    self.rank
                ),
            );
        }
        Ok(target)
    }

    fn scale(&self) -> f32 {
        self.alpha as f32 / self.rank as f32
    }

    pub(super) fn changes(&self, graph: &Graph) -> Result<Changes, SurgeryError> {
        let mut changes = Changes::default();
        for weight in &self.weights {
            let target = self.target(graph, weight)?;
            let Layer {
                node,
                input,
                output,
                ..
            } = target.layer;
            // The layer before may have an update of its own, and nothing between the two.
            let input = changes.instead_of(input);
            let (dtype, dims) = (target.layer.dtype, &target.layer.weight.dims);
            let rank = self.rank;
            let (down, up) = match target.lies {
                Lies::Conv => {
                    let kernel = [&[rank][..], &dims[1..]].concat();
                    let pointwise = vec![1; dims.len() - 2];
                    (kernel, [&[target.outputs, rank][..], &pointwise].concat())
                }
                Lies::Straight | Lies::Turned => {
                    (vec![target.inputs, rank], vec![rank, target.outputs])
                }
            };
            let [a, b] = Self::parameters_of(weight);
            let first = gaussian(target.inputs, rank, self.seed, weight);
            let a = changes.parameter(a, dtype, &down, &first)?;
            let zeros = vec![0.0; rank * target.outputs];
            let b = changes.parameter(b, dtype, &up, &zeros)?;
            let name = |part: &str| format!("{PREFIX}{weight}/{part}");
            let scale =
                changes.tensor(name("scale"), dtype, &[], &[self.scale() * target.factor])?;
            let [low, scaled, high, sum] = ["low", "scaled", "high", "sum"].map(name);
            let op = |op: &str, inputs: [&str; 2], output: &str| {
                Node::new(output, op, &inputs, &[output])
            };
            let (lower, raise) = match target.lies {
                Lies::Conv => {
                    let mut lower = op("Conv", [&input, &a], &low);
                    lower.attributes.clone_from(&node.attributes);
                    (lower, op("Conv", [&scaled, &b], &high))
                }
                Lies::Straight | Lies::Turned => (
                    op("MatMul", [&input, &a], &low),
                    op("MatMul", [&scaled, &b], &high),
                ),
            };
            changes.splices.push(Splice {
                value: output.to_owned(),
                nodes: vec![
                    lower,
                    op("Mul", [&low, &scale], &scaled),
                    raise,
                    op("Add", [output, &high], &sum),
                ],
                instead: sum,
            });
        }
        Ok(changes)
    }

    /// `tuned` without A and B, but with the weights into which they are merged.
    pub(super) fn merged(
        &self,
        graph: &Graph,
        tuned: &Values,
    ) -> Result<Vec<(String, Vec<f32>)>, SurgeryError> {
        let given = |name: &str| tuned.iter().find(|(n, _)| n == name).map(|(_, v)| v);
        let mut merged: Vec<(String, Vec<f32>)> = Vec::new();
        let mut parts = Vec::new();
        for weight in &self.weights {
            let names = Self::parameters_of(weight);
            let target = self.target(graph, weight)?;
            parts.extend(names.clone());
            let [a, b] = &names;
            // A B that is not trained is zero.
            let Some(b) = given(b) else { continue };
            let drawn;
            let a = match given(a) {
                Some(a) => a,
                None => {
                    drawn = gaussian(target.inputs, self.rank, self.seed, weight);
                    &drawn
                }
            };
            let of_model = || target.layer.weight.to_f32().unwrap_or_default();
            let mut values = given(weight).cloned().unwrap_or_else(of_model);
            target.add(self, weight, [a, b], &mut values)?;
            merged.push((weight.clone(), values));
        }
        let stays = |name: &String| !parts.contains(name) && merged.iter().all(|(n, _)| n != name);
        let others = tuned.iter().filter(|(name, _)| stays(name)).cloned();
        let others: Vec<_> = others.collect();
        merged.extend(others);
        Ok(merged)
    }
}

impl Target<'_> {
    /// Adds (α / r) B A to the values of a weight.
    fn add(
        &self,
        of: &LowRank,
        weight: &str,
        [a, b]: [&[f32]; 2],
        values: &mut [f32],
    ) -> Result<(), SurgeryError> {
        let (inputs, outputs, rank) = (self.inputs, self.outputs, of.rank);
        for (tensor, expected, given) in [
            (weight.to_owned(), inputs * outputs, values.len()),
            (
                LowRank::parameters_of(weight)[0].clone(),
                inputs * rank,
                a.len(),
            ),
            (
                LowRank::parameters_of(weight)[1].clone(),
                outputs * rank,
                b.len(),
            ),
        ] {
            if expected != given {
                return Err(SurgeryError::Length {
                    tensor,
                    expected,
                    given,
                });
            }
        }
        // The factor of a Gemm's own is that of its weight, too.
        let scale = f64::from(of.scale());
        // The steps from one input, one output and one rank to the next, in A, B and the weight.
        let (a_steps, b_steps, steps) = match self.lies {
            Lies::Conv => ([1, inputs], [rank, 1], [1, inputs]),
            Lies::Straight => ([rank, 1], [1, outputs], [outputs, 1]),
            Lies::Turned => ([rank, 1], [1, outputs], [1, inputs]),
        };
        // Along the weight as it lies.
        let turned = steps[0] == 1;
        let (outer, inner) = if turned {
            (outputs, inputs)
        } else {
            (inputs, outputs)
        };
        for first in 0..outer {
            for second in 0..inner {
                let (i, o) = if turned {
                    (second, first)
                } else {
                    (first, second)
                };
                let product = |r: usize| {
                    f64::from(a[i * a_steps[0] + r * a_steps[1]])
                        * f64::from(b[o * b_steps[0] + r * b_steps[1]])
                };
                let sum: f64 = (0..rank).map(product).sum();
                let value = &mut values[i * steps[0] + o * steps[1]];
                *value = (f64::from(*value) + scale * sum) as f32;
            }
        }
        Ok(())
    }
}

/// The first values of A: normally distributed with variance 1 / inputs, in the order of the layer's form. (The
/// paper says Gaussian and no more; with this variance A keeps the size of what it is given.)
pub(super) fn gaussian(inputs: usize, rank: usize, seed: u64, weight: &str) -> Vec<f32> {
    let mut rng = stream(Purpose::LowRank, seed, &[weight.as_bytes()]);
    let deviation = (1.0 / inputs.max(1) as f64).sqrt();
    (0..inputs * rank)
        .map(|_| (normal(&mut rng) * deviation) as f32)
        .collect()
}

/// A standard normal number, by Box and Muller.
fn normal(rng: &mut impl Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.random::<f64>()).cos()
}
