//! What a classifier's output says, and the value that the cross-entropy is taken of.

mod bounded;
#[cfg(test)]
mod tests;
mod written_out;

use std::collections::HashMap;

use crate::graph::operators::{Class, Data, Elements, Mixing};
use crate::graph::{Attribute, Dim, Graph, Node};
use crate::onnx::{DataType, Tensor};

use super::SurgeryError;
use crate::task::Task;
use written_out::{is_sigmoid, log_softmax, softmax};

/// What the values of a classifier's output are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scores {
    /// Any numbers, the softmax of which are probabilities.
    Logits,
    /// Logarithms of probabilities that sum to 1.
    LogProbabilities,
    /// Probabilities that sum to 1.
    Probabilities,
    /// A probability for each class by itself, of a sigmoid.
    Independent,
    /// Any numbers, the sigmoid of each of which is the probability of a class by itself; nodes do not tell that.
    IndependentLogits,
    /// Numbers between 0 and 1, of which it is not told whether they sum to 1.
    Bounded,
}

impl Scores {
    /// What `values`, rows of `classes` numbers, are: where no softmax was found but every row is in [0, 1]
    /// and sums to 1 ± 1e-3, they are probabilities all the same; what is bounded and does not is
    /// independent.
    pub fn of_values(self, values: &[f32], classes: usize) -> Self {
        let is_row = |row: &[f32]| {
            row.iter().all(|p| (0.0..=1.0).contains(p))
                && (row.iter().map(|&p| f64::from(p)).sum::<f64>() - 1.0).abs() <= 1e-3
        };
        let told = classes > 1 && !values.is_empty() && values.chunks(classes).all(is_row);
        match self {
            Scores::Logits | Scores::Bounded if told => Scores::Probabilities,
            Scores::Bounded => Scores::Independent,
            scores => scores,
        }
    }
}

/// How a classifier ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// What the first output says.
    pub scores: Scores,
    /// The value that this is made of: the logits, or what the sigmoid is taken of; [N, classes]. The
    /// output itself where it is bounded.
    pub logits: String,
    /// The node that makes it so; `None` where the output is the logits.
    pub node: Option<String>,
}

/// The value that the cross-entropy of a classifier is taken of, see [`ending`].
///
/// # Errors
/// As [`ending`], and where the output is of a sigmoid or lies between 0 and 1 otherwise.
pub fn logits(graph: &Graph) -> Result<String, SurgeryError> {
    let output = graph.outputs.first().ok_or(SurgeryError::NoOutput)?;
    match ending(graph)? {
        Ending {
            scores: Scores::Independent,
            logits,
            node,
        } => Err(SurgeryError::Probabilities {
            output: output.name.clone(),
            node: node.unwrap_or_default(),
            value: logits,
            between: String::new(),
        }),
        Ending {
            scores: Scores::Bounded,
            node,
            ..
        } => Err(SurgeryError::Bounded {
            output: output.name.clone(),
            node: node.unwrap_or_default(),
        }),
        ending => Ok(ending.logits),
    }
}

/// The value that the loss of a task is taken of: as [`logits`] says, or where each class, or the one output of a
/// binary task, is told by itself, what the sigmoid is taken of, or the output where that is no probability.
///
/// # Errors
/// As [`logits`]; and where each class is to be told by itself, and the output is of a softmax.
pub fn logits_of(graph: &Graph, task: Task) -> Result<String, SurgeryError> {
    if task == Task::SingleLabel {
        return logits(graph);
    }
    let output = graph.outputs.first().ok_or(SurgeryError::NoOutput)?;
    let Ending {
        scores,
        logits,
        node,
    } = ending(graph)?;
    let (output, node) = (output.name.clone(), node.unwrap_or_default());
    match scores {
        Scores::Independent | Scores::Logits | Scores::IndependentLogits => Ok(logits),
        Scores::Probabilities | Scores::LogProbabilities => {
            Err(SurgeryError::Exclusive { output, node, task })
        }
        Scores::Bounded => Err(SurgeryError::Bounded { output, node }),
    }
}

/// How the first output of a classifier is made.
///
/// That is by a `Softmax` or `LogSoftmax` over the last axis, by one that is written out (`Exp`,
/// `ReduceSum`, `Div`, also with the largest subtracted; `Exp` or `Log` of the other kind), or by a
/// sigmoid; without any the output is the logits, unless it lies between 0 and 1 by what makes it, as a
/// mean of softmaxes does. Behind a softmax or sigmoid may stand `Identity`, `Dropout`, a `Cast` to a
/// float type, a `Clip` of at least 0.0001 to 0.9999, a `QuantizeLinear` with its `DequantizeLinear`, and a `Flatten`, `Squeeze` or `Reshape` if the
/// softmax is of two dimensions already.
///
/// # Errors
/// When there is no output, it is made from a softmax over another axis or of another rank, or
/// probabilities are computed with by other operators before they are the output.
pub fn ending(graph: &Graph) -> Result<Ending, SurgeryError> {
    let output = graph.outputs.first().ok_or(SurgeryError::NoOutput)?;
    let look = Look {
        graph,
        producers: graph.producers(),
    };
    let mut value = output.name.as_str();
    let mut reshaped = false;
    let mut log = false;
    let mut changed: Option<&Node> = None;
    while let Some(node) = look.producer(value) {
        let Some(input) = node.input(0) else { break };
        let found = if is_sigmoid(&look, node) {
            Some((Scores::Independent, input, true))
        } else if let Some((of, last)) = softmax(&look, node)? {
            Some((Scores::Probabilities, of, last))
        } else if let Some((of, last)) = log_softmax(&look, node)? {
            Some((Scores::LogProbabilities, of, last))
        } else {
            None
        };
        if let Some((scores, of, over_last)) = found {
            let made_log = log && scores == Scores::Probabilities;
            if changed.is_some() || log && !made_log {
                return Err(SurgeryError::Probabilities {
                    output: output.name.clone(),
                    node: node.to_string(),
                    value: of.to_owned(),
                    between: changed.map_or("a logarithm".to_owned(), |n| format!("node {n}")),
                });
            }
            let declared = output.dims.as_deref().filter(|_| !reshaped);
            let two = has_two_dimensions(graph, of, declared);
            // Of unknown rank: a classifier's output is [N, classes] unless it says otherwise.
            let fits = over_last && two != Some(false) && (!reshaped || two == Some(true));
            if scores != Scores::Independent && !fits {
                return Err(SurgeryError::Logits {
                    output: output.name.clone(),
                    node: node.to_string(),
                });
            }
            return Ok(Ending {
                scores: if made_log {
                    Scores::LogProbabilities
                } else {
                    scores
                },
                logits: of.to_owned(),
                node: Some(node.to_string()),
            });
        }
        value = if node.elements().is_copy() || is_float_cast(node)? {
            input
        } else if node.elements() == Elements::Reshaped && !node.is("Unsqueeze") {
            reshaped = true;
            input
        } else if node.is("Log") && !log && changed.is_none() {
            log = true;
            input
        } else if look.is_wide_clip(node) || quantises(node) {
            input
        } else if let Some(operand) = look.only_operand(node) {
            changed.get_or_insert(node);
            operand
        } else {
            break;
        };
    }
    let bounded = bounded::is_between_0_and_1(&look, &output.name);
    Ok(Ending {
        scores: match bounded {
            true => Scores::Bounded,
            false => Scores::Logits,
        },
        logits: output.name.clone(),
        node: look
            .producer(&output.name)
            .filter(|_| bounded)
            .map(Node::to_string),
    })
}

/// Whether a node rounds to integers, or makes floats of them again.
fn quantises(node: &Node) -> bool {
    node.is("QuantizeLinear") || node.is("DequantizeLinear")
}

/// Finds nodes and constants of a graph.
struct Look<'g> {
    graph: &'g Graph,
    producers: HashMap<&'g str, usize>,
}

impl<'g> Look<'g> {
    /// The node that defines `value`.
    fn producer(&self, value: &str) -> Option<&'g Node> {
        self.producers.get(value).map(|&at| &self.graph.nodes[at])
    }

    /// The node that computes `value`, seen through what leaves numbers as they are.
    fn source(&self, value: &str) -> Option<&'g Node> {
        let mut node = self.producer(value)?;
        while node.elements().is_copy() || is_float_cast(node).unwrap_or(false) {
            node = self.producer(node.input(0)?)?;
        }
        Some(node)
    }

    /// The initializer or constant `value`.
    fn constant(&self, value: &str) -> Option<&'g Tensor> {
        self.graph.initializers.get(value).or_else(|| {
            let node = self.producer(value).filter(|n| n.is("Constant"))?;
            match node.attributes.get("value") {
                Some(Attribute::Tensor(tensor)) => Some(tensor),
                _ => None,
            }
        })
    }

    fn number(&self, value: &str) -> Option<f32> {
        let tensor = self.constant(value).filter(|t| t.len() == 1)?;
        tensor.to_f32()?.first().copied()
    }

    /// The axes of a reduction that keeps the rank; `None` where they cannot be told.
    fn axes(&self, node: &Node) -> Option<Vec<i64>> {
        match node.ints("axes") {
            Ok(Some(axes)) => Some(axes.to_vec()),
            _ => self.constant(node.input(1)?)?.to_i64(),
        }
    }

    /// Whether a node leaves probabilities between 0.0001 and 0.9999 as they are.
    fn is_wide_clip(&self, node: &Node) -> bool {
        let bound = |name: &str, place: usize, open: f32| match node.input(place) {
            Some(value) => self.number(value),
            None => node.float(name, open).ok(),
        };
        node.is("Clip")
            && bound("min", 1, f32::NEG_INFINITY).is_some_and(|low| low <= 1e-4)
            && bound("max", 2, f32::INFINITY).is_some_and(|high| high >= 1.0 - 1e-4)
    }

    /// What a node computes element by element with constants alone, or moves.
    fn only_operand(&self, node: &'g Node) -> Option<&'g str> {
        let fits = node.operator().is_some_and(|o| {
            let moves = matches!(o.elements, Elements::Permuted | Elements::Reshaped);
            o.mixing == Mixing::Elementwise || moves || o.name == "Expand"
        });
        let mut operands = node.present_inputs().filter(|v| self.constant(v).is_none());
        let operand = operands.next().filter(|_| fits)?;
        operands.next().is_none().then_some(operand)
    }
}

fn is_float_cast(node: &Node) -> Result<bool, SurgeryError> {
    let to = || -> Result<_, SurgeryError> {
        Ok(i32::try_from(node.int("to", 0)?)
            .ok()
            .and_then(DataType::from_number))
    };
    Ok(node.is("Cast") && to()?.is_some_and(DataType::is_float))
}

/// Whether `value` is [N, C]; `None` if that cannot be told.
pub(super) fn has_two_dimensions(
    graph: &Graph,
    value: &str,
    declared: Option<&[Dim]>,
) -> Option<bool> {
    if let Some(dims) = declared {
        return Some(dims.len() == 2);
    }
    let producers = graph.producers();
    let mut value = value;
    for _ in 0..=graph.nodes.len() {
        let node = &graph.nodes[*producers.get(value)?];
        if node.is("Gemm") || node.is("Flatten") {
            return Some(true);
        }
        if node.is("Reshape") {
            let shape = node.input(1)?;
            let fixed = match graph.initializers.get(shape) {
                Some(tensor) => tensor,
                None => match graph.nodes[*producers.get(shape)?]
                    .attributes
                    .get("value")?
                {
                    Attribute::Tensor(tensor) => tensor,
                    _ => return None,
                },
            };
            return Some(fixed.len() == 2);
        }
        let operator = node.operator()?;
        if operator.data == Data::Map {
            return Some(false);
        }
        // An addition of a bias, an activation or an alias keeps the rank of what it works on.
        let alias = operator.elements.is_copy() || operator.elements == Elements::Converted;
        let keeps = alias || operator.class == Class::Activation;
        if !keeps && !node.is("Add") && !node.is("MatMul") {
            return None;
        }
        value = node
            .present_inputs()
            .find(|i| !graph.initializers.contains_key(*i))?;
    }
    None
}
