//! What onnxruntime says of the network as it was written: its loss, and how that changes with the
//! weights.

use ftsurgery::graph::{Attribute, Graph, Value};
use ftsurgery::onnx::{DataType, Tensor, encode};
use ftsurgery::runtime::{Array, Runtime, Session, SessionOptions};
use ndarray::{ArrayD, IxDyn};

use super::draw::Drawn;
use super::net::{Ending, INPUT};

/// The original network on onnxruntime, some of its weights as inputs.
pub struct Oracle<'a> {
    drawn: &'a Drawn,
    session: Session,
    double: bool,
    weights: Vec<(String, Tensor)>,
}

impl<'a> Oracle<'a> {
    /// The file as it is.
    pub fn original(runtime: &Runtime, drawn: &'a Drawn) -> Result<Self, String> {
        Ok(Oracle {
            drawn,
            session: session(runtime, &drawn.bytes)?,
            double: false,
            weights: vec![],
        })
    }

    /// With `names` as inputs; in double precision if onnxruntime has that for every operator.
    pub fn open(runtime: &Runtime, drawn: &'a Drawn, names: &[String]) -> Result<Self, String> {
        let mut graph = drawn.net.graph.clone();
        let mut weights = Vec::new();
        for name in names {
            let stored = take(&mut graph, name).ok_or_else(|| format!("no weight `{name}`"))?;
            let values = stored.to_f32().ok_or("a weight without floats")?;
            let tensor = Tensor::f32(&stored.dims, &values);
            let declared = Value::fixed(name, DataType::Float, &tensor.dims);
            graph.inputs.push(declared);
            weights.push((name.clone(), tensor));
        }
        let bytes =
            |graph: &Graph| encode(&graph.to_model(usize::MAX).0).map_err(|e| e.to_string());
        let (session, double) = match session(runtime, &bytes(&widened(&graph))?) {
            Ok(session) => (session, true),
            Err(_) => (session(runtime, &bytes(&graph)?)?, false),
        };
        Ok(Oracle {
            drawn,
            session,
            double,
            weights,
        })
    }

    pub fn is_double(&self) -> bool {
        self.double
    }

    /// Whether its loss has no kinks.
    pub fn is_smooth(&self) -> bool {
        self.drawn.net.smooth
    }

    pub fn weight(&self, index: usize) -> Vec<f32> {
        self.weights[index].1.to_f32().expect("made of floats")
    }

    /// Mean cross-entropy of the output; a network for one image sees one after the other.
    pub fn loss(&mut self, x: &[f32], labels: &[i64]) -> Result<f64, String> {
        self.loss_at(x, labels, None)
    }

    /// The same with `step` times `direction` added to the weight of this index.
    pub fn loss_at(
        &mut self,
        x: &[f32],
        labels: &[i64],
        moved: Option<(usize, &[f32], f64)>,
    ) -> Result<f64, String> {
        let mut weights = Vec::new();
        for (i, (_, tensor)) in self.weights.iter().enumerate() {
            let values = tensor.to_f32().ok_or("a weight without floats")?;
            let mut values: Vec<f64> = values.into_iter().map(f64::from).collect();
            if let Some((_, direction, step)) = moved.filter(|(at, ..)| *at == i) {
                for (value, d) in values.iter_mut().zip(direction) {
                    *value += f64::from(*d) * step;
                }
            }
            weights.push(self.array(&tensor.dims, values)?);
        }
        let rows = labels.len();
        let (runs, per_run) = if self.drawn.net.one_image {
            (rows, 1)
        } else {
            (1, rows)
        };
        let sample: usize = self.drawn.sample.iter().product();
        let mut total = 0.0;
        for run in 0..runs {
            let values = &x[run * per_run * sample..][..per_run * sample];
            let dims = [&[per_run], self.drawn.sample.as_slice()].concat();
            let batch = self.array(&dims, values.iter().map(|&v| v.into()).collect())?;
            let named = self.weights.iter().map(|(n, _)| n.as_str()).zip(&weights);
            let mut feeds: Vec<(&str, &Array)> = vec![(INPUT, &batch)];
            feeds.extend(named);
            let made = self.session.run(&feeds).map_err(|e| e.to_string())?;
            let output = floats(&made[0])?;
            total += self.cross_entropy(&output, &labels[run * per_run..][..per_run])?;
        }
        Ok(total / rows as f64)
    }

    /// The sum over the rows of an output.
    fn cross_entropy(&self, output: &[f64], labels: &[i64]) -> Result<f64, String> {
        let classes = self.drawn.classes;
        if output.len() != labels.len() * classes {
            return Err(format!("{} numbers come out", output.len()));
        }
        let of = |(row, &label): (&[f64], &i64)| {
            let own = row[label as usize];
            match self.drawn.ending {
                Ending::Softmax => -own.ln(),
                Ending::LogSoftmax => -own,
                Ending::Logits => {
                    let most = row.iter().copied().fold(f64::MIN, f64::max);
                    let sum: f64 = row.iter().map(|v| (v - most).exp()).sum();
                    most + sum.ln() - own
                }
            }
        };
        Ok(output.chunks(classes).zip(labels).map(of).sum())
    }

    fn array(&self, dims: &[usize], values: Vec<f64>) -> Result<Array, String> {
        let dims = IxDyn(dims);
        let made = match self.double {
            true => ArrayD::from_shape_vec(dims, values).map(Array::F64),
            false => {
                let values = values.into_iter().map(|v| v as f32).collect();
                ArrayD::from_shape_vec(dims, values).map(Array::F32)
            }
        };
        made.map_err(|e| e.to_string())
    }
}

/// The value of an initializer or a `Constant` node, taken out of the graph.
fn take(graph: &mut Graph, name: &str) -> Option<Tensor> {
    if let Some(tensor) = graph.initializers.shift_remove(name) {
        return Some(tensor);
    }
    let at = graph
        .nodes
        .iter()
        .position(|n| n.is("Constant") && n.output(0) == Some(name))?;
    match graph.nodes.remove(at).attributes.remove("value")? {
        Attribute::Tensor(tensor) => Some(tensor),
        _ => None,
    }
}

/// The graph with float64 for float32 (what is stored in other floats is cast to that).
fn widened(graph: &Graph) -> Graph {
    let wide = |tensor: &mut Tensor| {
        if let (DataType::Float, Some(values)) = (tensor.dtype, tensor.to_f32()) {
            let bytes = values.iter().flat_map(|&v| f64::from(v).to_le_bytes());
            tensor.data = bytes.collect();
            tensor.dtype = DataType::Double;
        }
    };
    let mut graph = graph.clone();
    for (_, tensor) in &mut graph.initializers {
        // The scales of a Resize stay what they are: then it is not of double precision.
        wide(tensor);
    }
    for node in &mut graph.nodes {
        let cast = node.is("Cast");
        for (name, attribute) in &mut node.attributes {
            match attribute {
                Attribute::Tensor(tensor) => wide(tensor),
                Attribute::Int(to) if cast && name == "to" && *to == 1 => *to = 11,
                _ => {}
            }
        }
    }
    for value in graph.inputs.iter_mut().chain(&mut graph.outputs) {
        if value.dtype == DataType::Float {
            value.dtype = DataType::Double;
        }
    }
    graph
}

fn session(runtime: &Runtime, bytes: &[u8]) -> Result<Session, String> {
    let options = SessionOptions {
        label: "the original".to_owned(),
        threads: 1,
        ..SessionOptions::default()
    };
    Session::new(runtime, bytes, &[], &options).map_err(|e| e.to_string())
}

fn floats(array: &Array) -> Result<Vec<f64>, String> {
    match array {
        Array::F32(values) => Ok(values.iter().map(|&v| v.into()).collect()),
        Array::F64(values) => Ok(values.iter().copied().collect()),
        other => Err(format!("the output is of type {}", other.dtype())),
    }
}
