//! One node, its input values, and the comparison.

mod compare;

use std::collections::HashMap;
use std::fmt;

use super::random::Random;
use crate::autodiff::{Operators, gradients};
use crate::channels_last::channels_last;
use crate::graph::{Attribute, Builder, Graph, Node, Shapes, Value, infer_shapes};
use crate::onnx::{DataType, Tensor};
use crate::runtime::{Array, Runtime};

use compare::widen;
pub use compare::{array, floats, run, session};

#[derive(Clone, Copy, PartialEq)]
enum Role {
    /// The gradient with respect to it is checked.
    Trained,
    /// Given when the graph runs.
    Given,
    /// An initializer.
    Constant,
    /// Left out.
    Absent,
}

/// One node with values for its inputs.
pub struct Case {
    node: Node,
    inputs: Vec<(Role, Tensor)>,
    /// The outputs that the loss depends on.
    used: Vec<usize>,
    single: bool,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.node.op_type, self.node.attributes)?;
        for (role, tensor) in &self.inputs {
            match role {
                Role::Absent => write!(f, " -")?,
                Role::Constant if !tensor.dtype.is_float() => write!(f, " {:?}", tensor.to_i64())?,
                Role::Constant if tensor.len() <= 8 => write!(f, " {:?}", tensor.to_f32())?,
                _ => write!(f, " {:?}", tensor.dims)?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Case {
    pub fn new(op_type: &str) -> Self {
        Case {
            node: Node::new("node", op_type, &[], &["y0"]),
            inputs: Vec::new(),
            used: vec![0],
            single: false,
        }
    }

    pub fn op_type(&self) -> &str {
        &self.node.op_type
    }

    fn push(mut self, role: Role, tensor: Tensor) -> Self {
        let name = match role {
            Role::Absent => String::new(),
            _ => format!("x{}", self.inputs.len()),
        };
        self.node.inputs.push(name);
        self.inputs.push((role, tensor));
        self
    }

    pub fn trained(self, tensor: Tensor) -> Self {
        self.push(Role::Trained, tensor)
    }

    pub fn given(self, tensor: Tensor) -> Self {
        self.push(Role::Given, tensor)
    }

    pub fn constant(self, tensor: Tensor) -> Self {
        self.push(Role::Constant, tensor)
    }

    pub fn ints(self, values: &[i64]) -> Self {
        self.constant(Tensor::i64s(values))
    }

    pub fn absent(self) -> Self {
        self.push(Role::Absent, Tensor::i64s(&[]))
    }

    pub fn with(mut self, name: &str, value: impl Into<Attribute>) -> Self {
        self.node = self.node.with(name, value);
        self
    }

    pub fn sizes(self, name: &str, values: &[usize]) -> Self {
        let values: Vec<i64> = values.iter().map(|&v| v as i64).collect();
        self.with(name, values)
    }

    /// A node of `count` outputs, of which the loss reads `used`.
    pub fn outputs(mut self, count: usize, used: &[usize]) -> Self {
        self.node.outputs = (0..count).map(|i| format!("y{i}")).collect();
        self.used = used.to_vec();
        self
    }

    /// Differences of the single-precision kernel, where a double-precision one says nothing.
    pub fn single(mut self) -> Self {
        self.single = true;
        self
    }

    fn role(&self, role: Role) -> impl Iterator<Item = (&str, &Tensor)> {
        self.inputs
            .iter()
            .enumerate()
            .filter(move |(_, (r, _))| *r == role)
            .map(|(i, (_, tensor))| (self.node.inputs[i].as_str(), tensor))
    }

    /// The forward graph, float values of type `float`, with its shapes in single precision.
    fn graph(&self, float: DataType) -> Result<Graph, String> {
        let typed = |t: &Tensor| if t.dtype.is_float() { float } else { t.dtype };
        let value = |(name, t): (&str, &Tensor)| Value::fixed(name, typed(t), &t.dims);
        let mut graph = Graph {
            opset: 21,
            domains: vec![],
            nodes: vec![self.node.clone()],
            inputs: self
                .role(Role::Trained)
                .chain(self.role(Role::Given))
                .map(value)
                .collect(),
            outputs: vec![],
            initializers: self
                .role(Role::Constant)
                .map(|(name, t)| (name.to_owned(), widen(t, float)))
                .collect(),
        };
        let mut builder = Builder::new(&mut graph);
        let mut joined = self.node.outputs[self.used[0]].clone();
        if self.used.len() > 1 {
            let all = builder.ints(&[-1]);
            let flat: Vec<String> = self
                .used
                .iter()
                .map(|&i| builder.op("flat", "Reshape", &[&self.node.outputs[i], &all], vec![]))
                .collect();
            let flat: Vec<&str> = flat.iter().map(String::as_str).collect();
            joined = builder.op("joined", "Concat", &flat, vec![("axis", 0.into())]);
        }
        let shapes = infer(&graph)?;
        let info = shapes.info(&joined).map_err(|e| e.to_string())?;
        graph
            .outputs
            .push(Value::fixed(&joined, info.dtype, &info.dims));
        Ok(graph)
    }

    /// Compares the rule with differences.
    pub fn check(&self, runtime: &Runtime) -> Result<(), String> {
        let graph = self.graph(DataType::Float)?;
        let shapes = infer(&graph)?;
        let output = graph.outputs[0].name.clone();
        let dims = shapes.dims(&output).map_err(|e| e.to_string())?.to_vec();
        let seed = Random::new(11).any(&dims);
        let expected = self.differences(runtime, &seed)?;
        let trained: Vec<String> = self
            .role(Role::Trained)
            .map(|(n, _)| n.to_owned())
            .collect();
        self.compare(runtime, &graph, &shapes, &seed, &trained, &expected)?;
        if trained.len() > 1 {
            for name in &trained {
                let alone = std::slice::from_ref(name);
                self.compare(runtime, &graph, &shapes, &seed, alone, &expected)
                    .map_err(|e| format!("{e} (alone)"))?;
            }
        }
        Ok(())
    }

    /// Whether the gradient is made with kernels of ours, too.
    pub fn has_kernels(&self) -> Result<bool, String> {
        let graph = self.graph(DataType::Float)?;
        let shapes = infer(&graph)?;
        let dims = shapes.dims(&graph.outputs[0].name);
        let seed = Random::new(11).any(dims.map_err(|e| e.to_string())?);
        let trained: Vec<String> = self
            .role(Role::Trained)
            .map(|(n, _)| n.to_owned())
            .collect();
        let backward = differentiate(&graph, &shapes, &seed, &trained, Operators::Kernels)?;
        Ok(backward.nodes.iter().any(|n| n.kernel_operator().is_some()))
    }

    /// The gradients of the sum of the output.
    pub fn gradients(&self, runtime: &Runtime) -> Result<Vec<Vec<f64>>, String> {
        let graph = self.graph(DataType::Float)?;
        let shapes = infer(&graph)?;
        let dims = shapes.dims(&graph.outputs[0].name);
        let dims = dims.map_err(|e| e.to_string())?;
        let ones = Tensor::f32(dims, &vec![1.0; dims.iter().product()]);
        let trained: Vec<String> = self
            .role(Role::Trained)
            .map(|(n, _)| n.to_owned())
            .collect();
        let backward = differentiate(&graph, &shapes, &ones, &trained, Operators::Standard)?;
        let mut session = session(runtime, &backward)?;
        let feeds: Vec<(&str, Array)> = self
            .role(Role::Trained)
            .map(|(name, t)| Ok((name, array(t, DataType::Float)?)))
            .collect::<Result<_, String>>()?;
        run(&mut session, &feeds)?.iter().map(floats).collect()
    }

    /// This case with one number of its attributes or constants replaced.
    pub fn mutated(mut self, random: &mut Random, by: i64) -> Self {
        let integers = |(_, t): &&mut (Role, Tensor)| t.dtype == DataType::Int64 && !t.is_empty();
        let attributes = self.node.attributes.len();
        let constants = self.inputs.iter_mut().filter(integers).count();
        if attributes + constants == 0 {
            return self;
        }
        let which = random.size(0, attributes + constants - 1);
        if let Some(value) = self.node.attributes.values_mut().nth(which) {
            match value {
                Attribute::Ints(v) if !v.is_empty() => {
                    let at = random.size(0, v.len() - 1);
                    v[at] = by;
                }
                other => *other = by.into(),
            }
            return self;
        }
        let mut constants = self.inputs.iter_mut().filter(integers);
        if let Some((_, tensor)) = constants.nth(which - attributes)
            && let Some(mut values) = tensor.to_i64()
        {
            let at = random.size(0, values.len() - 1);
            values[at] = by;
            let dims = std::mem::take(&mut tensor.dims);
            *tensor = Tensor::i64s(&values);
            tensor.dims = dims;
        }
        self
    }

    /// This case with one dimension of one of its inputs 0.
    pub fn emptied(mut self, random: &mut Random) -> Self {
        let mut tensors: Vec<&mut Tensor> = self
            .inputs
            .iter_mut()
            .map(|(_, tensor)| tensor)
            .filter(|tensor| !tensor.dims.is_empty())
            .collect();
        if !tensors.is_empty() {
            let which = random.size(0, tensors.len() - 1);
            let tensor = &mut tensors[which];
            let axis = random.size(0, tensor.dims.len() - 1);
            tensor.dims[axis] = 0;
            tensor.data = Default::default();
        }
        self
    }

    /// The error of differentiating, for a node that a rule refuses.
    pub fn refusal(&self) -> Result<String, String> {
        let graph = self.graph(DataType::Float)?;
        let shapes = infer(&graph)?;
        let trained: Vec<String> = self
            .role(Role::Trained)
            .map(|(n, _)| n.to_owned())
            .collect();
        let seed = Tensor::scalar_f32(1.0);
        match differentiate(&graph, &shapes, &seed, &trained, Operators::Standard) {
            Err(message) => Ok(message),
            Ok(_) => Err("it was not refused".to_owned()),
        }
    }
}

/// `graph` with its output replaced by the gradients of the output's sum weighted by `seed`.
fn differentiate(
    graph: &Graph,
    shapes: &Shapes,
    seed: &Tensor,
    wrt: &[String],
    operators: Operators,
) -> Result<Graph, String> {
    let mut graph = graph.clone();
    let output = graph.outputs[0].name.clone();
    let mut builder = Builder::new(&mut graph);
    let seed = builder.constant(seed.clone());
    let seeds = [(output.as_str(), seed.as_str())];
    let names =
        gradients(&mut builder, shapes, &seeds, wrt, &[], operators).map_err(|e| e.to_string())?;
    graph.outputs = names
        .iter()
        .zip(wrt)
        .map(|(name, of)| {
            let dims = shapes.dims(of).map_err(|e| e.to_string())?;
            Ok(Value::fixed(name, DataType::Float, dims))
        })
        .collect::<Result<_, String>>()?;
    graph.prune();
    if operators == Operators::Kernels {
        channels_last(&mut graph).map_err(|e| e.to_string())?;
    }
    Ok(graph)
}

fn infer(graph: &Graph) -> Result<Shapes, String> {
    infer_shapes(graph, &HashMap::new()).map_err(|e| e.to_string())
}
