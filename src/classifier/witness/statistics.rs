//! How far what the first normalisation layers see is from the statistics that they store.

use std::collections::HashMap;

use ndarray::{ArrayD, Axis};

use crate::graph::{Dim, Graph, Node, Value, infer_what_fits, macs, normalise, to_float32};
use crate::onnx::{DataType, Model, encode};
use crate::runtime::{Device, Runtime, Session, SessionOptions};
use crate::surgery::extract;

use super::super::feed::Feed;
use super::super::untried::{limit, may_be_optimized, room};
use super::super::{ClassifierError, Fill};

/// Layers that are looked at, at most: the first.
const LAYERS: usize = 4;
/// Samples per run where the model leaves the batch size open.
const BATCH: usize = 4;
/// Multiply-accumulate operations that a preprocessing may take, beyond [`FEWEST`] images.
const MACS: u64 = 30_000_000_000;
/// Images that are looked at in any case.
const FEWEST: usize = 16;
/// Channels of a layer, from which on they are held against those of others.
const MANY: usize = 8;

/// The part of a model up to its first normalisation layers, and what these store.
pub(super) struct Statistics {
    session: Session,
    input: Feed,
    /// Of a batch.
    dims: Vec<usize>,
    layers: Vec<Layer>,
    macs: u64,
}

/// What a normalisation layer stores of each channel of its input.
struct Layer {
    mean: Vec<f64>,
    /// With what is added to it before its root is taken.
    var: Vec<f64>,
    epsilon: f64,
}

impl Statistics {
    /// Of a model for samples of dimensions `sample`; `None` where it has no normalisation layer that stores anything,
    /// or is not understood, here or by the runtime.
    pub(super) fn of(
        runtime: &Runtime,
        model: &Model,
        sample: &[usize],
        threads: usize,
    ) -> Option<Self> {
        let Part {
            graph,
            input,
            dims,
            layers,
            macs,
        } = Part::of(model, sample)?;
        let (proto, _) = graph.to_model(usize::MAX);
        let options = SessionOptions {
            label: format!("{}, the first layers", model.path().display()),
            device: Device::Cpu,
            threads,
            optimize: may_be_optimized(&graph),
            limit: limit(model),
            ..SessionOptions::default()
        };
        let session = Session::new(runtime, &encode(&proto).ok()?, &[], &options).ok()?;
        Some(Statistics {
            session,
            input,
            dims,
            layers,
            macs,
        })
    }

    /// How many layers are looked at.
    pub(super) fn layers(&self) -> usize {
        self.layers.len()
    }

    /// How many of `count` images are looked at: fewer in large networks.
    pub(super) fn images(&self, count: usize) -> usize {
        let most = MACS / self.macs.max(1);
        count.min(usize::try_from(most).unwrap_or(usize::MAX).max(FEWEST))
    }

    /// How far what is seen in `count` samples, which `fill` writes, is from what is stored.
    ///
    /// # Errors
    /// When `fill` fails.
    pub(super) fn distance(
        &mut self,
        count: usize,
        fill: &mut Fill<'_>,
    ) -> Result<Distance, ClassifierError> {
        let batch = self.dims[0];
        let length: usize = self.dims[1..].iter().product();
        let mut seen: Vec<Vec<Moments>> = self.layers.iter().map(Layer::nothing_seen).collect();
        for start in (0..count).step_by(batch) {
            let range = start..count.min(start + batch);
            let rows = range.len();
            let mut values = vec![0.0; batch * length];
            fill(range, &mut values[..rows * length])?;
            let input = self.input.array(&self.dims, values)?;
            let Ok(outputs) = self.session.run(&[(&self.input.name, &input)]) else {
                return Ok(Distance::UNKNOWN);
            };
            for (seen, output) in seen.iter_mut().zip(&outputs) {
                let Some(output) = output.as_f32() else {
                    return Ok(Distance::UNKNOWN);
                };
                take(seen, output, rows);
            }
        }
        let mean = |over: &dyn Fn(&Layer, &[Moments]) -> Option<f64>| {
            let of_layers = self.layers.iter().zip(&seen);
            let all: Vec<f64> = of_layers.filter_map(|(l, seen)| over(l, seen)).collect();
            let mean = all.iter().sum::<f64>() / all.len() as f64;
            if mean.is_nan() { f64::INFINITY } else { mean }
        };
        Ok(Distance {
            own: mean(&|layer, seen| Some(layer.distance(seen, 0))),
            others: mean(&|layer, seen| layer.of_others(seen)),
        })
    }
}

/// How far what is seen is from what is stored: of each channel, taken for normal distributions, half of Jeffreys'
/// divergence `j`; the mean of `ln(1 + j)` over the channels of a layer, then over the layers, so that no channel
/// outweighs the others. Infinite where it is not known.
///
/// Source: H. Jeffreys, "An invariant form for the prior probability in estimation problems", 1946.
#[derive(Clone, Copy, Debug)]
pub(super) struct Distance {
    /// Of what each channel stores.
    pub own: f64,
    /// Of what other channels of its layer store, in layers of many.
    pub others: f64,
}

impl Distance {
    /// Of numbers that are not finite, or cannot be computed.
    pub const UNKNOWN: Self = Distance {
        own: f64::INFINITY,
        others: f64::INFINITY,
    };
}

/// The part of a model's normal form up to the first normalisation layers that store something.
struct Part {
    graph: Graph,
    input: Feed,
    dims: Vec<usize>,
    layers: Vec<Layer>,
    /// Multiply-accumulate operations of a sample.
    macs: u64,
}

impl Part {
    fn of(model: &Model, sample: &[usize]) -> Option<Self> {
        let declared = Graph::from_model(model).ok()?;
        let batch = match declared.inputs.first()?.dims.as_deref()? {
            [Dim::Known(batch), ..] if *batch > 0 => *batch,
            _ => BATCH,
        };
        let mut dims = vec![batch];
        dims.extend(sample);
        let mut graph = Graph::from_model_at(model, &dims).ok()?;
        graph.only_scores(&[]);
        normalise(&mut graph).ok()?;
        to_float32(&mut graph).ok()?;
        let norms = graph.nodes.iter().filter(|n| n.is("BatchNormalization"));
        let stored = norms.filter_map(|n| Some((n.input(0)?, Layer::of(&graph, n)?)));
        let (values, layers): (Vec<&str>, Vec<Layer>) = stored.take(LAYERS).unzip();
        let [input] = graph.inputs.as_slice() else {
            return None;
        };
        let feed = Feed::new(&input.name, Some(input.dtype)).ok()?;
        let input = Value::fixed(&input.name, input.dtype, &dims);
        let outputs = values.iter().map(|name| Value {
            name: (*name).to_owned(),
            dtype: DataType::Float,
            dims: None,
        });
        let outputs: Vec<Value> = outputs.collect();
        if outputs.is_empty() {
            return None;
        }
        let graph = extract(&graph, std::slice::from_ref(&input), &outputs).ok()?;
        let fed = HashMap::from([(input.name.clone(), dims.clone())]);
        let (shapes, _) = infer_what_fits(&graph, &fed).ok()?;
        room(&graph, &shapes, batch).ok()?;
        let dims_of = |name: &str| Some(shapes.info(name).ok()?.dims.as_slice());
        let of_nodes = graph.nodes.iter().filter_map(|node| macs(node, dims_of));
        let macs = of_nodes.fold(0, u64::saturating_add) / batch.max(1) as u64;
        Some(Part {
            graph,
            input: feed,
            dims,
            layers,
            macs,
        })
    }
}

impl Layer {
    /// `None` of a layer that stores what it was made with, or nothing that is known.
    fn of(graph: &Graph, node: &Node) -> Option<Self> {
        let stored = |index: usize| {
            let values = graph.initializers.get(node.input(index)?)?.to_f32()?;
            Some(values.into_iter().map(f64::from).collect::<Vec<f64>>())
        };
        let (mean, var) = (stored(3)?, stored(4)?);
        let epsilon = f64::from(node.float("epsilon", 1e-5).ok()?);
        let untrained = mean.iter().all(|&m| m == 0.0) && var.iter().all(|&v| v == 1.0);
        let sound = var.iter().all(|&v| v >= 0.0 && v.is_finite());
        (!untrained && sound && mean.len() == var.len()).then_some(Layer { mean, var, epsilon })
    }

    fn nothing_seen(&self) -> Vec<Moments> {
        vec![Moments::default(); self.mean.len()]
    }

    /// See [`Distance`], of what the channel stores that is `turn` behind each.
    fn distance(&self, seen: &[Moments], turn: usize) -> f64 {
        let stored = self.mean.iter().zip(&self.var).cycle().skip(turn);
        let channels = seen.iter().zip(stored);
        let all = channels.map(|(seen, (&mean, &var))| {
            let (seen_mean, seen_var) = seen.mean_and_var();
            let (one, other) = (seen_var + self.epsilon, var + self.epsilon);
            let apart = (seen_mean - mean).powi(2);
            let spread = (one / other + other / one - 2.0) / 4.0;
            (spread + apart * (1.0 / one + 1.0 / other) / 4.0).ln_1p()
        });
        all.sum::<f64>() / seen.len().max(1) as f64
    }
}

impl Layer {
    /// The mean distance of what the next channels store; `None` of a layer of few channels.
    fn of_others(&self, seen: &[Moments]) -> Option<f64> {
        let turns = 1..MANY;
        let all: f64 = turns.clone().map(|turn| self.distance(seen, turn)).sum();
        (seen.len() >= MANY).then_some(all / turns.len() as f64)
    }
}

/// Sums of a channel.
#[derive(Clone, Copy, Default)]
struct Moments {
    count: f64,
    sum: f64,
    squares: f64,
}

impl Moments {
    fn mean_and_var(self) -> (f64, f64) {
        let mean = self.sum / self.count;
        (mean, (self.squares / self.count - mean * mean).max(0.0))
    }
}

/// Adds the first `rows` samples of [batch, channels, …] to what is seen of each channel.
fn take(seen: &mut [Moments], output: &ArrayD<f32>, rows: usize) {
    for sample in output.axis_iter(Axis(0)).take(rows) {
        for (seen, channel) in seen.iter_mut().zip(sample.outer_iter()) {
            for &value in channel.iter() {
                let value = f64::from(value);
                seen.count += 1.0;
                seen.sum += value;
                seen.squares += value * value;
            }
        }
    }
}
