//! The heads: which there are, and the nodes and first weights of each.

use std::str::FromStr;

use rand::Rng;

use crate::graph::{Attribute, Names, Node};
use crate::layout::TO_NCHW;
use crate::onnx::{DataType, Tensor};
use crate::random::{Purpose, stream};

use super::{Dropout, Features, SurgeryError};
use crate::task::Task;

/// All that a new head adds to a model is named with this prefix, except its output value.
pub const HEAD_PREFIX: &str = "ftsurgery/head/";
/// The output of a new head, with a number behind it where the name is taken.
pub const HEAD_OUTPUT: &str = "probabilities";
/// As [`HEAD_OUTPUT`], where it ends in its last dense layer.
pub const LOGITS_OUTPUT: &str = "logits";

/// What cosines are multiplied by before training.
const COSINE_SCALE: f32 = 10.0;

/// Bytes of one layer's weight beyond which the model could not be written.
const MAX_LAYER: usize = i32::MAX as usize;

/// The kinds of heads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HeadKind {
    /// Flatten → dense 128 → dropout → dense 64, ReLU → dense C, softmax (or the sigmoid of its task), as in "Improving
    /// Reliability of Fine-tuning with Block-wise Optimisation".
    Paper,
    /// Global average pooling → dense C, softmax.
    Linear,
    /// Global average pooling → the cosine of the features and a vector for each class, times a scale that is trained and
    /// begins at 10, softmax ("Dynamic Few-Shot Visual Learning without Forgetting", section 3.2).
    Cosine,
    /// The model's own head.
    Keep,
}

impl FromStr for HeadKind {
    type Err = SurgeryError;

    fn from_str(s: &str) -> Result<Self, SurgeryError> {
        match s {
            "paper" => Ok(HeadKind::Paper),
            "linear" => Ok(HeadKind::Linear),
            "cosine" => Ok(HeadKind::Cosine),
            "keep" => Ok(HeadKind::Keep),
            _ => Err(SurgeryError::UnknownHead(s.to_owned())),
        }
    }
}

impl std::fmt::Display for HeadKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            HeadKind::Paper => "paper",
            HeadKind::Linear => "linear",
            HeadKind::Cosine => "cosine",
            HeadKind::Keep => "keep",
        })
    }
}

/// What head is wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct HeadSpec {
    /// The kind.
    pub kind: HeadKind,
    /// Number of classes, at least 2.
    pub classes: usize,
    /// What it tells of a sample: a new head ends in the softmax or the sigmoid of that, unless in its `logits`.
    pub task: Task,
    /// Whether a new head ends in its last dense layer, without the softmax or sigmoid behind it.
    pub logits: bool,
    /// Share of values that training drops after the first hidden layer of
    /// [`HeadKind::Paper`], in [0, 1).
    pub dropout: f32,
    /// Widths of the two hidden layers of [`HeadKind::Paper`].
    pub hidden: (usize, usize),
    /// Seed of the first weights.
    pub seed: u64,
}

impl HeadSpec {
    /// The share of values that the paper drops.
    pub const DROPOUT: f32 = 0.5;

    /// A head as the paper has it: dropout [0.5](Self::DROPOUT), hidden layers of 128 and 64.
    pub fn new(kind: HeadKind, classes: usize, seed: u64) -> Self {
        HeadSpec {
            kind,
            classes,
            task: Task::SingleLabel,
            logits: false,
            dropout: Self::DROPOUT,
            hidden: (128, 64),
            seed,
        }
    }

    /// The name of a new head's output.
    pub fn output_name(&self) -> &'static str {
        match self.logits {
            true => LOGITS_OUTPUT,
            false => HEAD_OUTPUT,
        }
    }

    /// How many outputs it has.
    pub fn outputs(&self) -> usize {
        self.task.outputs(self.classes)
    }

    /// How many values the layers of a new head on `features` have; none of [`HeadKind::Keep`]. `None` where they are
    /// more than can be counted.
    pub fn values(&self, features: &Features) -> Option<usize> {
        let dense = |inputs: usize, outputs: usize| inputs.checked_add(1)?.checked_mul(outputs);
        match self.kind {
            HeadKind::Keep => Some(0),
            HeadKind::Linear => dense(features.channels, self.outputs()),
            HeadKind::Cosine => {
                let vectors = features.channels.checked_mul(self.outputs())?;
                vectors.checked_add(1)
            }
            HeadKind::Paper => {
                let pixels = features.height.checked_mul(features.width)?;
                let layers = [
                    dense(features.channels.checked_mul(pixels)?, self.hidden.0)?,
                    dense(self.hidden.0, self.hidden.1)?,
                    dense(self.hidden.1, self.outputs())?,
                ];
                layers.into_iter().try_fold(0usize, usize::checked_add)
            }
        }
    }

    pub(super) fn check(&self) -> Result<(), SurgeryError> {
        let fail = |reason: String| Err(SurgeryError::Spec(reason));
        if self.classes < 2 {
            return fail(format!("{} classes; it needs 2 or more", self.classes));
        }
        if self.task == Task::Binary && self.classes != 2 {
            return fail(format!(
                "{} classes; one output tells 2 apart",
                self.classes
            ));
        }
        if self.kind == HeadKind::Paper {
            if !(0.0..1.0).contains(&self.dropout) {
                return fail(format!("dropout {} is not in [0, 1)", self.dropout));
            }
            if self.hidden.0 == 0 || self.hidden.1 == 0 {
                return fail("a hidden layer of width 0".to_owned());
            }
        }
        Ok(())
    }
}

/// The parts of a head, not yet in a model.
pub(super) struct Head {
    pub nodes: Vec<Node>,
    /// Weights and biases in the order of the layers.
    pub parameters: Vec<(String, Tensor)>,
    pub dropout: Vec<Dropout>,
    /// The probabilities, or logits, [N, outputs].
    pub output: String,
}

/// Builds a head on `features` under fresh `names`. The forms of all operators are
/// valid in every opset from 7 up.
pub(super) fn build(
    features: &Features,
    spec: &HeadSpec,
    dtype: DataType,
    mut names: Names,
) -> Result<Head, SurgeryError> {
    let output = names.fresh(spec.output_name());
    let mut maker = Maker {
        head: Head {
            nodes: Vec::new(),
            parameters: Vec::new(),
            dropout: Vec::new(),
            output: output.clone(),
        },
        names,
        dtype,
        seed: spec.seed,
    };
    let logits = match spec.kind {
        HeadKind::Keep => return Err(SurgeryError::Spec("`keep` adds no layers".to_owned())),
        HeadKind::Paper => {
            let width = features
                .channels
                .checked_mul(features.height)
                .and_then(|n| n.checked_mul(features.width))
                .filter(|&n| n > 0)
                .ok_or_else(|| empty(features))?;
            let flat = maker.flatten(&features.value);
            let first = maker.dense("dense_1", &flat, width, spec.hidden.0)?;
            if spec.dropout > 0.0 {
                maker.head.dropout.push(Dropout {
                    value: first.clone(),
                    ratio: spec.dropout,
                    width: spec.hidden.0,
                });
            }
            let second = maker.dense("dense_2", &first, spec.hidden.0, spec.hidden.1)?;
            let second = maker.node("relu", "Relu", &[&second], &[]);
            maker.dense("logits", &second, spec.hidden.1, spec.outputs())?
        }
        HeadKind::Linear => {
            let flat = maker.pooled(features)?;
            maker.dense("logits", &flat, features.channels, spec.outputs())?
        }
        HeadKind::Cosine => {
            let flat = maker.pooled(features)?;
            let [inputs, outputs] = [features.channels, spec.outputs()];
            let weights = maker.drawn("logits", inputs, outputs)?;
            let weight = maker.parameter("logits/weight", &[inputs, outputs], &weights)?;
            let scale = maker.parameter("logits/scale", &[1], &[COSINE_SCALE])?;
            let unit = |axis: i64| [("axis", axis.into()), ("p", 2.into())];
            let flat = maker.node("unit_features", "LpNormalization", &[&flat], &unit(1));
            let weight = maker.node("unit_weight", "LpNormalization", &[&weight], &unit(0));
            let cosine = maker.node("cosine", "MatMul", &[&flat, &weight], &[]);
            maker.node("logits", "Mul", &[&cosine, &scale], &[])
        }
    };
    if spec.logits {
        // What was added last is the layer that gives them.
        if let Some(dense) = maker.head.nodes.last_mut() {
            dense.outputs = vec![output];
        }
        return Ok(maker.head);
    }
    let last = match spec.task {
        Task::SingleLabel => {
            let name = maker.fresh("softmax");
            Node::new(&name, "Softmax", &[&logits], &[&output]).with("axis", 1)
        }
        Task::MultiLabel | Task::Binary => {
            let name = maker.fresh("sigmoid");
            Node::new(&name, "Sigmoid", &[&logits], &[&output])
        }
    };
    maker.head.nodes.push(last);
    Ok(maker.head)
}

fn empty(features: &Features) -> SurgeryError {
    SurgeryError::Spec(format!(
        "the feature map `{}` has {} channels of {}×{}",
        features.value, features.channels, features.height, features.width
    ))
}

struct Maker {
    head: Head,
    names: Names,
    dtype: DataType,
    seed: u64,
}

impl Maker {
    fn fresh(&mut self, hint: &str) -> String {
        self.names.fresh(&format!("{HEAD_PREFIX}{hint}"))
    }

    fn node(
        &mut self,
        hint: &str,
        op_type: &str,
        inputs: &[&str],
        attributes: &[(&str, Attribute)],
    ) -> String {
        let output = self.fresh(hint);
        let mut node = Node::new(&output, op_type, inputs, &[&output]);
        for (name, value) in attributes {
            node = node.with(name, value.clone());
        }
        self.head.nodes.push(node);
        output
    }

    /// The mean of a feature map over its pixels, [N, channels].
    fn pooled(&mut self, features: &Features) -> Result<String, SurgeryError> {
        if features.channels == 0 {
            return Err(empty(features));
        }
        let mut value = features.value.clone();
        // Features of one pixel may as well be [N, channels], which cannot be pooled.
        if features.height != 1 || features.width != 1 {
            if features.nhwc {
                let perm = Attribute::Ints(TO_NCHW.to_vec());
                value = self.node("transpose", "Transpose", &[&value], &[("perm", perm)]);
            }
            value = self.node("pool", "GlobalAveragePool", &[&value], &[]);
        }
        Ok(self.flatten(&value))
    }

    fn flatten(&mut self, value: &str) -> String {
        self.node("flatten", "Flatten", &[value], &[("axis", 1.into())])
    }

    /// A dense layer: weight [inputs, outputs] (`transB` 0), bias [outputs].
    fn dense(
        &mut self,
        hint: &str,
        value: &str,
        inputs: usize,
        outputs: usize,
    ) -> Result<String, SurgeryError> {
        let weights = self.drawn(hint, inputs, outputs)?;
        let weight = self.parameter(&format!("{hint}/weight"), &[inputs, outputs], &weights)?;
        let bias = self.parameter(&format!("{hint}/bias"), &[outputs], &vec![0.0; outputs])?;
        Ok(self.node(hint, "Gemm", &[value, &weight, &bias], &[]))
    }

    /// First weights of a layer, [inputs, outputs].
    fn drawn(&self, hint: &str, inputs: usize, outputs: usize) -> Result<Vec<f32>, SurgeryError> {
        let fits = |count: &usize| {
            count
                .checked_mul(self.dtype.size())
                .is_some_and(|bytes| bytes <= MAX_LAYER)
        };
        let count = inputs.checked_mul(outputs).filter(fits).ok_or_else(|| {
            SurgeryError::Spec(format!(
                "layer {hint} of {inputs}×{outputs} is too large for a file of 2 GiB"
            ))
        })?;
        // A stream of its own for each layer: its weights depend on the seed and its size alone.
        let layer = self.head.parameters.len() as u64;
        let mut rng = stream(Purpose::Head, self.seed, &[&layer.to_le_bytes()]);
        let limit = (6.0 / (inputs + outputs) as f64).sqrt();
        Ok((0..count)
            .map(|_| {
                let unit = f64::from(rng.next_u32() >> 8) / f64::from(1u32 << 24);
                ((2.0 * unit - 1.0) * limit) as f32
            })
            .collect())
    }

    fn parameter(
        &mut self,
        hint: &str,
        dims: &[usize],
        values: &[f32],
    ) -> Result<String, SurgeryError> {
        let name = self.fresh(hint);
        let like = Tensor {
            dtype: self.dtype,
            dims: dims.to_vec(),
            data: vec![0; values.len() * self.dtype.size()].into(),
        };
        let tensor = like.with_f32_values(values).ok_or(SurgeryError::NotFloat {
            tensor: name.clone(),
            dtype: self.dtype,
        })?;
        self.head.parameters.push((name.clone(), tensor));
        Ok(name)
    }
}
