//! Rounding to integers in floats, so that it can be trained through.
//!
//! A pair with scale s and zero point z gives y = s · round(min(max(x / s, low − z), high − z)): in floats the same numbers
//! as by integers, to the bit. Rounding has a gradient of 0 nearly everywhere. Instead of it the straight-through estimator
//! is taken: with d = round(u) − u as a constant, u + d is round(u) with the gradient of u. So dX is dY where the number that
//! x is rounded to lies in the range, as of PyTorch's `fake_quantize_per_tensor_affine`, and 0 where it is cut to it. For
//! that the bounds lie [`BEYOND`] the numbers, which changes none that is rounded.
//!
//! Of tensors that the file holds as integers of 8 or 16 bits the floats beneath are trained, and rounded in each step: a
//! float adds up what is less than one step. Those of 32 bits, biases, have steps so small that they are trained as they are.
//!
//! Sources: Jacob et al. 2018, Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference,
//! section 3 (<https://arxiv.org/abs/1712.05877>); Bengio et al. 2013, Estimating or Propagating Gradients Through Stochastic
//! Neurons (<https://arxiv.org/abs/1308.3432>).

use std::collections::HashSet;

use crate::onnx::messages::NodeProto;
use crate::onnx::{Model, Tensor};

use super::super::SurgeryError;
use super::{Steps, Work, like};

/// How many steps bounds lie beyond the least and the largest number: what is nearer than half a step is rounded to it.
const BEYOND: f32 = 0.49;

/// A quantised model as one of floats that rounds as it does.
#[derive(Debug)]
pub struct Rounding {
    /// The model of floats.
    pub model: Model,
    /// Values that count as constants for [gradients](crate::autodiff::gradients): what rounding adds to a number.
    pub constants: Vec<String>,
    /// All values that are none of the quantised model: numbers of steps and what is added to them.
    pub inner: HashSet<String>,
    /// The tensors that the file holds as integers, or rounds before they are used.
    pub tensors: Vec<Latent>,
    /// Pairs on data.
    pub pairs: usize,
}

/// What is known of nodes that round.
#[derive(Default)]
pub(super) struct Noted {
    pub constants: Vec<String>,
    pub inner: HashSet<String>,
    pub tensors: Vec<Latent>,
}

/// A tensor that a file holds as integers, or rounds before it is used, as the floats that are trained for it.
#[derive(Clone, Debug)]
pub struct Latent {
    /// The initializer of the model of floats.
    pub name: String,
    /// What is made of it: the output of the file's `DequantizeLinear`.
    pub value: String,
    /// The tensor of the file.
    pub stored: String,
    /// Its integers and what they stand for; `None` where it is of floats there.
    integers: Option<(Tensor, Steps)>,
}

impl Latent {
    pub(super) fn of_floats(name: String, value: String) -> Self {
        Latent {
            stored: name.clone(),
            name,
            value,
            integers: None,
        }
    }

    pub(super) fn of_integers(
        [name, value, stored]: [String; 3],
        integers: Tensor,
        steps: Steps,
    ) -> Self {
        Latent {
            name,
            value,
            stored,
            integers: Some((integers, steps)),
        }
    }

    /// The integers of the file; `None` where it has floats.
    pub fn integers(&self) -> Option<&Tensor> {
        self.integers.as_ref().map(|(tensor, _)| tensor)
    }

    /// The tensor of the file for new values of the floats, and what it stands for; `None` where it is of floats. Floats that
    /// stay what the integers stood for keep them.
    ///
    /// # Errors
    /// When there are not as many floats as integers.
    pub fn stored(&self, floats: &[f32]) -> Result<Option<(Tensor, Vec<f32>)>, SurgeryError> {
        let Some((old, steps)) = &self.integers else {
            return Ok(None);
        };
        if floats.len() != old.len() {
            return Err(SurgeryError::Length {
                tensor: self.stored.clone(),
                expected: old.len(),
                given: floats.len(),
            });
        }
        let before = steps.floats(old)?.to_f32().unwrap_or_default();
        let kept = old.to_i64().unwrap_or_default();
        let new = steps.integers(&old.dims, floats)?;
        let pairs = before.iter().zip(floats).zip(kept.into_iter().zip(new));
        let width = old.dtype.size();
        let data = pairs.flat_map(|((before, float), (kept, new))| {
            let integer = if before == float { kept } else { new };
            integer.to_le_bytes().into_iter().take(width)
        });
        let tensor = Tensor {
            data: data.collect(),
            ..old.clone()
        };
        let stands_for = steps.floats(&tensor)?.to_f32().unwrap_or_default();
        Ok(Some((tensor, stands_for)))
    }
}

impl Work {
    /// Nodes that round the value `from` to what integers stand for: `to`. Data have one scale; a tensor, of dimensions `dims`,
    /// may have one for each place along an axis. There are no nodes where its zero points differ.
    pub(super) fn round(
        &mut self,
        [from, to]: [&str; 2],
        steps: &Steps,
        dims: Option<&[usize]>,
    ) -> Result<Vec<NodeProto>, SurgeryError> {
        let axis = match dims {
            Some(dims) => steps.axis(dims)?,
            None => steps.single().map(|_| None)?,
        };
        let Some(&zero) = steps.zero.first() else {
            return Ok(Vec::new());
        };
        if steps.zero.iter().any(|other| *other != zero) {
            return Ok(Vec::new());
        }
        let along: Vec<usize> = match (dims, axis) {
            (Some(dims), Some(axis)) => {
                let sizes = dims.iter().enumerate();
                sizes
                    .map(|(at, &size)| if at == axis { size } else { 1 })
                    .collect()
            }
            _ => Vec::new(),
        };
        let scale = self.names.fresh(&format!("{to}/scale"));
        self.new
            .push((scale.clone(), like(steps.dtype, &along, &steps.scale)));
        let inner = ["steps", "bounded", "whole", "rest", "rounded"];
        let [in_steps, bounded, whole, rest, rounded] =
            inner.map(|what| self.names.fresh(&format!("{to}/{what}")));
        let mut clip = made("Clip", &[&in_steps], &bounded);
        let [low, high] = steps.reach(zero);
        self.bound(&mut clip, steps, [low - BEYOND, high + BEYOND]);
        if let Some(rounding) = &mut self.rounding {
            rounding.constants.push(rest.clone());
            let all = [&in_steps, &bounded, &whole, &rest, &rounded];
            rounding.inner.extend(all.into_iter().cloned());
        }
        Ok(vec![
            made("Div", &[from, &scale], &in_steps),
            clip,
            made("Round", &[&bounded], &whole),
            made("Sub", &[&whole, &bounded], &rest),
            made("Add", &[&bounded, &rest], &rounded),
            made("Mul", &[&rounded, &scale], to),
        ])
    }
}

fn made(operator: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        name: Some(output.to_owned()),
        op_type: Some(operator.to_owned()),
        input: inputs.iter().map(|name| (*name).to_owned()).collect(),
        output: vec![output.to_owned()],
        ..NodeProto::default()
    }
}
