//! One node, its input values, and the comparison.

use std::collections::HashMap;
use std::fmt;

use ndarray::{ArrayD, IxDyn};

use super::random::Random;
use crate::autodiff::{Operators, gradients};
use crate::channels_last::channels_last;
use crate::graph::{Attribute, Builder, Graph, Node, Shapes, Value, infer_shapes};
use crate::kernels::DOMAIN;
use crate::onnx::{DataType, Tensor, encode};
use crate::runtime::{Array, Runtime, Session, SessionOptions};

/// Largest difference allowed, relative to the largest element of the gradient (or to 1).
const TOLERANCE: f64 = 2e-4;

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
        Ok(backward.nodes.iter().any(|n| n.domain == DOMAIN))
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

    fn compare(
        &self,
        runtime: &Runtime,
        graph: &Graph,
        shapes: &Shapes,
        seed: &Tensor,
        wrt: &[String],
        expected: &HashMap<String, Vec<f64>>,
    ) -> Result<(), String> {
        let standard = differentiate(graph, shapes, seed, wrt, Operators::Standard)?;
        self.compare_one(runtime, &standard, shapes, wrt, expected)?;
        let kernels = differentiate(graph, shapes, seed, wrt, Operators::Kernels)?;
        if kernels.nodes.iter().any(|n| n.domain == DOMAIN) {
            self.compare_one(runtime, &kernels, shapes, wrt, expected)
                .map_err(|e| format!("{e} (kernels)"))?;
        }
        Ok(())
    }

    /// Compares what `backward` computes with `expected`.
    fn compare_one(
        &self,
        runtime: &Runtime,
        backward: &Graph,
        shapes: &Shapes,
        wrt: &[String],
        expected: &HashMap<String, Vec<f64>>,
    ) -> Result<(), String> {
        let mut session = session(runtime, backward)?;
        let feeds: Vec<(&str, Array)> = self
            .role(Role::Trained)
            .chain(self.role(Role::Given))
            .map(|(name, t)| Ok((name, array(t, DataType::Float)?)))
            .collect::<Result<_, String>>()?;
        let results = run(&mut session, &feeds)?;
        for (name, result) in wrt.iter().zip(results) {
            let dims = shapes.dims(name).map_err(|e| e.to_string())?;
            if result.dims() != dims {
                return Err(format!("d{name} has dimensions {:?}", result.dims()));
            }
            let expected = &expected[name];
            let scale = expected.iter().fold(1.0f64, |m, v| m.max(v.abs()));
            for (i, (&got, &want)) in floats(&result)?.iter().zip(expected).enumerate() {
                let close = (got - want).abs() <= TOLERANCE * scale;
                if !close {
                    return Err(format!("d{name}[{i}] is {got}, not {want}"));
                }
            }
        }
        Ok(())
    }

    /// Central differences of the weighted sum of the outputs, of fourth order.
    fn differences(
        &self,
        runtime: &Runtime,
        seed: &Tensor,
    ) -> Result<HashMap<String, Vec<f64>>, String> {
        let weights = seed.to_f32().ok_or("no seed")?;
        let double = match self.single {
            true => None,
            false => session(runtime, &self.graph(DataType::Double)?).ok(),
        };
        let (mut session, float, step) = match double {
            Some(session) => (session, DataType::Double, 1e-3),
            None => {
                let session = session(runtime, &self.graph(DataType::Float)?)?;
                (session, DataType::Float, 1.0 / 64.0)
            }
        };
        let mut feeds: Vec<(&str, Array)> = self
            .role(Role::Trained)
            .chain(self.role(Role::Given))
            .map(|(name, t)| Ok((name, array(t, float)?)))
            .collect::<Result<_, String>>()?;
        let mut expected = HashMap::new();
        let count = self.role(Role::Trained).count();
        for index in 0..count {
            let mut slopes = Vec::new();
            for element in 0..feeds[index].1.dims().iter().product() {
                let mut at = |offset: f64| {
                    let old = nudge(&mut feeds[index].1, element, offset);
                    let result = run(&mut session, &feeds)?;
                    nudge(&mut feeds[index].1, element, old);
                    let loss: f64 = floats(&result[0])?
                        .iter()
                        .zip(&weights)
                        .map(|(y, w)| y * f64::from(*w))
                        .sum();
                    Ok::<f64, String>(loss)
                };
                let near = at(step)? - at(-step)?;
                let far = at(2.0 * step)? - at(-2.0 * step)?;
                slopes.push((8.0 * near - far) / (12.0 * step));
            }
            expected.insert(feeds[index].0.to_owned(), slopes);
        }
        Ok(expected)
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
    let names = gradients(&mut builder, shapes, (&output, &seed), wrt, operators)
        .map_err(|e| e.to_string())?;
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

pub fn session(runtime: &Runtime, graph: &Graph) -> Result<Session, String> {
    let bytes = encode(&graph.to_model(usize::MAX).0).map_err(|e| e.to_string())?;
    let options = SessionOptions {
        threads: 1,
        kernels: graph.domains.iter().any(|(domain, _)| domain == DOMAIN),
        ..SessionOptions::default()
    };
    Session::new(runtime, &bytes, &[], &options).map_err(|e| e.to_string())
}

pub fn run(session: &mut Session, feeds: &[(&str, Array)]) -> Result<Vec<Array>, String> {
    let feeds: Vec<(&str, &Array)> = feeds.iter().map(|(n, a)| (*n, a)).collect();
    session.run(&feeds).map_err(|e| e.to_string())
}

/// A float tensor as one of type `float`; others as they are.
fn widen(tensor: &Tensor, float: DataType) -> Tensor {
    match (tensor.dtype, float, tensor.to_f32()) {
        (DataType::Float, DataType::Double, Some(values)) => {
            let bytes: Vec<u8> = values
                .iter()
                .flat_map(|&v| f64::from(v).to_le_bytes())
                .collect();
            Tensor {
                dtype: float,
                dims: tensor.dims.clone(),
                data: bytes.into(),
            }
        }
        _ => tensor.clone(),
    }
}

pub fn array(tensor: &Tensor, float: DataType) -> Result<Array, String> {
    let dims = IxDyn(&tensor.dims);
    let fail = |e: ndarray::ShapeError| e.to_string();
    if tensor.dtype == DataType::Float {
        let values = tensor.to_f32().ok_or("no floats")?;
        if float == DataType::Double {
            let values = values.iter().map(|&v| f64::from(v)).collect();
            return Ok(ArrayD::<f64>::from_shape_vec(dims, values)
                .map_err(fail)?
                .into());
        }
        return Ok(ArrayD::<f32>::from_shape_vec(dims, values)
            .map_err(fail)?
            .into());
    }
    let values = tensor.to_i64().ok_or("neither floats nor integers")?;
    Ok(match tensor.dtype {
        DataType::Bool => {
            let values = values.iter().map(|&v| v != 0).collect();
            ArrayD::<bool>::from_shape_vec(dims, values)
                .map_err(fail)?
                .into()
        }
        _ => ArrayD::<i64>::from_shape_vec(dims, values)
            .map_err(fail)?
            .into(),
    })
}

pub fn floats(array: &Array) -> Result<Vec<f64>, String> {
    match array {
        Array::F32(a) => Ok(a.iter().map(|&v| f64::from(v)).collect()),
        Array::F64(a) => Ok(a.iter().copied().collect()),
        _ => Err("the output is not float".to_owned()),
    }
}

/// Adds `offset` to an element; returns what undoes that.
fn nudge(array: &mut Array, element: usize, offset: f64) -> f64 {
    match array {
        Array::F32(a) => {
            if let Some(v) = a.iter_mut().nth(element) {
                *v += offset as f32;
            }
        }
        Array::F64(a) => {
            if let Some(v) = a.iter_mut().nth(element) {
                *v += offset;
            }
        }
        _ => {}
    }
    -offset
}
