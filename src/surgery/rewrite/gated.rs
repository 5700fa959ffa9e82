//! Gated convolutions: each exists twice, pre-trained S and tuned F, and a gate chooses per output channel.
//!
//! `y = g ∘ F(x) + (1 − g) ∘ S(x)`, `g = step(sigmoid(p + ε) − ½)`, with p one number per channel and ε Gumbel noise
//! per sample and channel, 0 where the model is evaluated. Backward the threshold is passed as if it were not
//! there (straight-through). The mean of the gates counts as a penalty. This is the simplest gate on which
//! methods that choose filters for each sample stand (AdaFilter, SpotTune): theirs has a network in place of p.

use serde::{Deserialize, Serialize};

use crate::graph::{Graph, Node};

use super::super::SurgeryError;
use super::changes::{Changes, Distribution, Noise, Penalty, Splice};
use super::layer::{Layer, refuse, tensor};
use super::{Form, Number};

/// Gates of some convolutions.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Gated {
    /// Names of the convolutions' weights (initializers, or constants by their output).
    pub weights: Vec<String>,
    /// What the mean of each convolution's gates counts in the loss: above 0, tuned channels must be worth it.
    pub penalty: Number,
}

impl Gated {
    pub(super) fn changes(&self, graph: &Graph, form: Form) -> Result<Changes, SurgeryError> {
        let mut changes = Changes::default();
        for weight in &self.weights {
            self.gate(graph, weight, form, &mut changes)?;
        }
        Ok(changes)
    }

    fn gate(
        &self,
        graph: &Graph,
        weight: &str,
        form: Form,
        changes: &mut Changes,
    ) -> Result<(), SurgeryError> {
        let layer = Layer::of(graph, weight, &["Conv"])?;
        let (node, dtype, dims) = (layer.node, layer.weight.dtype, &layer.weight.dims);
        let Some(&channels) = dims.first().filter(|_| dims.len() > 2) else {
            return refuse(weight, format!("it has dimensions {dims:?}"));
        };
        let name = |part: &str| format!("ftsurgery/gated/{weight}/{part}");
        let per_channel = [&[channels][..], &vec![1; dims.len() - 2]].concat();
        let per_sample = [&[1][..], &per_channel].concat();

        let copy = changes.copy(name("weight"), (weight, layer.weight))?;
        let mut reads = vec![layer.input.to_owned(), copy];
        if let Some(bias) = node.input(2) {
            let Some(old) = tensor(graph, bias) else {
                return refuse(weight, format!("the bias of node {node} is computed"));
            };
            reads.push(changes.copy(name("bias"), (bias, old))?);
        }
        let zeros = vec![0.0; channels];
        let logits = changes.parameter(name("logits"), dtype, &per_sample, &zeros)?;
        let half = changes.tensor(name("half"), dtype, &[], &[0.5])?;
        let one = changes.tensor(name("one"), dtype, &[], &[1.0])?;

        let mut nodes = Vec::new();
        let mut op = |part: &str, op: &str, inputs: &[&str]| {
            let output = name(part);
            nodes.push(Node::new(&output, op, inputs, &[&output]));
            output
        };
        let reads: Vec<&str> = reads.iter().map(String::as_str).collect();
        let tuned = op("tuned", "Conv", &reads);
        let mut open_by = logits;
        if form == Form::Training {
            let noise = Noise {
                name: name("noise"),
                dims: per_channel,
                distribution: Distribution::Gumbel,
                rest: 0.0,
            };
            let noise = changes.noise(noise, dtype)?;
            open_by = op("noisy", "Add", &[&open_by, &noise]);
        }
        let soft = op("soft", "Sigmoid", &[&open_by]);
        let open = op("open", "Greater", &[&soft, &half]);
        let mut gate = op("hard", "Cast", &[&open]);
        if form == Form::Training {
            let jump = op("jump", "Sub", &[&gate, &soft]);
            gate = op("gate", "Add", &[&soft, &jump]);
            let value = op("mean", "ReduceMean", &[&gate]);
            changes.constants.push(jump);
            changes.penalties.push(Penalty {
                value,
                weight: self.penalty.0,
            });
        }
        let closed = op("closed", "Sub", &[&one, &gate]);
        let tuned = op("of_tuned", "Mul", &[&gate, &tuned]);
        let kept = op("of_kept", "Mul", &[&closed, layer.output]);
        let sum = op("sum", "Add", &[&tuned, &kept]);
        for new in &mut nodes {
            let attributes = &mut new.attributes;
            match new.op_type.as_str() {
                "Conv" => attributes.clone_from(&node.attributes),
                "Cast" => drop(attributes.insert("to".to_owned(), (dtype as i64).into())),
                "ReduceMean" => drop(attributes.insert("keepdims".to_owned(), 0.into())),
                _ => {}
            }
        }
        changes.splices.push(Splice {
            value: layer.output.to_owned(),
            nodes,
            instead: sum,
        });
        Ok(())
    }
}
