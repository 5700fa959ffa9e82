//! One graph for any batch size, of graphs for some.
//!
//! The graphs are the same but for constants: sizes in shapes, which are `a n + b` for a batch of n, and factors of means,
//! which are `c / n`. Each such constant becomes nodes that compute it of the batch size that there is. Whatever else
//! differs is refused, and a constant that is neither at three sizes.

use std::collections::HashMap;

use crate::graph::{Builder, Dim, Graph, Node, Value};
use crate::onnx::{DataType, Tensor};

use super::TrainingGraphError;

/// The batch sizes of the graphs. Primes, which are not likely to be another size in a network, and alike, so that what is
/// chosen by sizes is the same.
pub(super) const SIZES: [usize; 3] = [29, 31, 37];

/// Name of the symbolic dimension.
const BATCH: &str = "N";
/// How far a float may be from the rule that it follows, relative to it.
const TOLERANCE: f64 = 1e-6;

/// The graph for any batch size of those for [`SIZES`], whose first input has the batch in front.
///
/// # Errors
/// [`TrainingGraphError::FixedBatch`], with what does not follow the batch size in such a way.
pub(super) fn joined(graphs: [&Graph; 3]) -> Result<Graph, TrainingGraphError> {
    let refuse = |reason: String| Err(TrainingGraphError::FixedBatch { reason });
    let mut graph = graphs[0].clone();
    let Some(data) = graph.inputs.first().map(|input| input.name.clone()) else {
        return refuse("there is no input".to_owned());
    };
    let others = [&graphs[1].inputs, &graphs[2].inputs];
    open_dims(&mut graph.inputs, others);
    let others = [&graphs[1].outputs, &graphs[2].outputs];
    open_dims(&mut graph.outputs, others);
    let nodes = std::mem::take(&mut graph.nodes);
    if graphs.iter().any(|other| other.nodes.len() != nodes.len()) {
        return refuse("the number of nodes depends on it".to_owned());
    }
    let mut builder = Builder::new(&mut graph);
    // By the names of the constants at each size: equal ones are made once, so that the names of others may differ.
    let mut known: HashMap<[&str; 3], String> = HashMap::new();
    for (index, mut node) in nodes.into_iter().enumerate() {
        let [a, b, c] = graphs.map(|graph| &graph.nodes[index]);
        if !(is_alike(a, b) && is_alike(a, c)) {
            return refuse(format!("{a} depends on it by more than a constant"));
        }
        for (at, input) in node.inputs.iter_mut().enumerate() {
            let names = [a, b, c].map(|node| node.inputs[at].as_str());
            if let Some(value) = known.get(&names) {
                input.clone_from(value);
                continue;
            }
            let [x, y, z] = [0, 1, 2].map(|i| graphs[i].initializers.get(names[i]));
            let is_one = names[0] == names[1] && names[0] == names[2];
            let tensors = match (x, y, z) {
                (None, None, None) if is_one => continue,
                (Some(x), Some(y), Some(z)) if x == y && x == z => continue,
                (Some(x), Some(y), Some(z)) => [x, y, z],
                _ => return refuse(format!("{a} depends on it by more than a constant")),
            };
            let Some(rule) = Rule::of(tensors) else {
                return refuse(format!(
                    "the constant `{}` of dimensions {:?}, which {a} reads, follows from it in a way that is not known",
                    names[0], tensors[0].dims
                ));
            };
            let value = rule.append(&mut builder, &data);
            known.insert(names, value.clone());
            *input = value;
        }
        builder.graph_mut().nodes.push(node);
    }
    graph.sort()?;
    Ok(graph)
}

/// Whether nodes are the same but for what they read.
fn is_alike(a: &Node, b: &Node) -> bool {
    let what = |node: &Node| (node.op_type.clone(), node.domain.clone(), node.inputs.len());
    what(a) == what(b) && a.attributes == b.attributes && a.outputs == b.outputs
}

/// Makes each dimension that is the batch size symbolic, and others that depend on it nameless; `others` are the same
/// values at the other sizes.
fn open_dims(values: &mut [Value], [second, third]: [&Vec<Value>; 2]) {
    let sizes = SIZES.map(Dim::Known);
    for (value, (b, c)) in values.iter_mut().zip(second.iter().zip(third)) {
        let (Some(dims), Some(b), Some(c)) = (&mut value.dims, &b.dims, &c.dims) else {
            continue;
        };
        for (dim, (b, c)) in dims.iter_mut().zip(b.iter().zip(c)) {
            if [&*dim, b, c] == [&sizes[0], &sizes[1], &sizes[2]] {
                *dim = Dim::Symbolic(BATCH.to_owned());
            } else if &*dim != b || b != c {
                *dim = Dim::Symbolic(String::new());
            }
        }
    }
}

/// The batch size as an int64 `[1]`: the first dimension of `data`.
pub(super) fn batch_size(builder: &mut Builder, data: &str) -> String {
    let known = builder.graph().nodes.iter();
    let mut known = known.filter(|n| n.is("Shape") && n.input(0) == Some(data));
    let is_first = |n: &&Node| {
        let at = |name| n.int(name, 0).ok();
        at("start") == Some(0) && at("end") == Some(1)
    };
    if let Some(output) = known.find(is_first).and_then(|n| n.output(0)) {
        return output.to_owned();
    }
    let part = vec![("start", 0.into()), ("end", 1.into())];
    builder.op("batch/size", "Shape", &[data], part)
}

/// The batch size as a float32 scalar.
pub(super) fn batch_size_as_float(builder: &mut Builder, data: &str) -> String {
    let size = batch_size(builder, data);
    let to = vec![("to", (DataType::Float as i64).into())];
    let float = builder.op("batch/size/float", "Cast", &[&size], to);
    builder.op("batch/size/scalar", "Squeeze", &[&float], vec![])
}

/// `a n + b` of the batch size n that `data` has, an int64 `[1]`.
fn of_size(builder: &mut Builder, data: &str, a: i64, b: i64) -> String {
    let mut size = batch_size(builder, data);
    if a != 1 {
        let a = builder.ints(&[a]);
        size = builder.op("batch/size/times", "Mul", &[&size, &a], vec![]);
    }
    if b != 0 {
        let b = builder.ints(&[b]);
        size = builder.op("batch/size/more", "Add", &[&size, &b], vec![]);
    }
    size
}

/// How a constant follows from the batch size n.
enum Rule {
    /// Whole numbers of these dimensions, each a n + b.
    Sizes {
        dims: Vec<usize>,
        each: Vec<(i64, i64)>,
    },
    /// Floats c / n.
    Shares(Tensor),
}

impl Rule {
    fn of(tensors: [&Tensor; 3]) -> Option<Self> {
        let [first, second, third] = tensors;
        let is_alike = |t: &Tensor| t.dtype == first.dtype && t.dims == first.dims;
        if !(is_alike(second) && is_alike(third)) {
            return None;
        }
        match first.dtype {
            DataType::Int64 => Self::sizes(tensors),
            DataType::Float => Self::shares(tensors),
            _ => None,
        }
    }

    fn sizes(tensors: [&Tensor; 3]) -> Option<Self> {
        let [x, y, z] = tensors.map(Tensor::to_i64);
        let (x, y, z) = (x?, y?, z?);
        let [n, m, o] = SIZES.map(|size| size as i64);
        let mut each = Vec::new();
        for ((x, y), z) in x.into_iter().zip(y).zip(z) {
            let rise = y.checked_sub(x)?;
            let a = rise / (m - n);
            let b = x.checked_sub(a.checked_mul(n)?)?;
            let fits = rise % (m - n) == 0 && a.checked_mul(o)?.checked_add(b)? == z;
            if !fits {
                return None;
            }
            each.push((a, b));
        }
        Some(Rule::Sizes {
            dims: tensors[0].dims.clone(),
            each,
        })
    }

    fn shares(tensors: [&Tensor; 3]) -> Option<Self> {
        let [x, y, z] = tensors.map(Tensor::to_f32);
        let (x, y, z) = (x?, y?, z?);
        let [n, m, o] = SIZES.map(|size| size as f64);
        let mut shares = Vec::new();
        for ((x, y), z) in x.into_iter().zip(y).zip(z) {
            let of = [f64::from(x) * n, f64::from(y) * m, f64::from(z) * o];
            let mean = of.iter().sum::<f64>() / 3.0;
            if of.iter().any(|c| (c - mean).abs() > TOLERANCE * mean.abs()) {
                return None;
            }
            shares.push(mean as f32);
        }
        Some(Rule::Shares(Tensor::f32(&tensors[0].dims, &shares)))
    }

    /// Appends nodes that compute it of the batch size that `data` has; the value that they make.
    fn append(&self, builder: &mut Builder, data: &str) -> String {
        match self {
            Rule::Sizes { dims, each } => {
                // Constants side by side stay one; so runtimes see which sizes are known.
                let runs = each.chunk_by(|a, b| a.0 == 0 && b.0 == 0);
                let parts: Vec<String> = runs
                    .map(|run| match run {
                        &[(a, b)] if a != 0 => of_size(builder, data, a, b),
                        known => {
                            let known: Vec<i64> = known.iter().map(|&(_, b)| b).collect();
                            builder.ints(&known)
                        }
                    })
                    .collect();
                let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
                let along = vec![("axis", 0.into())];
                let flat = match parts.as_slice() {
                    [one] => (*one).to_owned(),
                    parts => builder.op("batch/sizes", "Concat", parts, along),
                };
                if dims.len() == 1 {
                    return flat;
                }
                let dims: Vec<i64> = dims.iter().map(|&d| d as i64).collect();
                let dims = builder.ints(&dims);
                builder.op("batch/sizes/shaped", "Reshape", &[&flat, &dims], vec![])
            }
            Rule::Shares(shares) => {
                let size = batch_size_as_float(builder, data);
                let shares = builder.constant(shares.clone());
                builder.op("batch/share", "Div", &[&shares, &size], vec![])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensors(values: impl Fn(i64) -> Vec<i64>) -> [Tensor; 3] {
        SIZES.map(|n| Tensor::i64s(&values(n as i64)))
    }

    fn floats(value: impl Fn(f32) -> f32) -> [Tensor; 3] {
        SIZES.map(|n| Tensor::scalar_f32(value(n as f32)))
    }

    fn rule(tensors: &[Tensor; 3]) -> Option<Rule> {
        Rule::of([&tensors[0], &tensors[1], &tensors[2]])
    }

    #[test]
    fn sizes_and_shares_are_found_and_nothing_else() {
        match rule(&tensors(|n| vec![n, 7, 12 * n, n + 1])) {
            Some(Rule::Sizes { dims, each }) => {
                assert_eq!(dims, [4]);
                assert_eq!(each, [(1, 0), (0, 7), (12, 0), (1, 1)]);
            }
            _ => panic!("sizes"),
        }
        match rule(&floats(|n| -2.5 / n)) {
            Some(Rule::Shares(c)) => assert_eq!(c.to_f32().unwrap(), [-2.5]),
            _ => panic!("a share"),
        }
        assert!(rule(&tensors(|n| vec![n * n])).is_none());
        assert!(rule(&tensors(|n| vec![n / 2])).is_none());
        assert!(rule(&tensors(|n| vec![1; n as usize])).is_none());
        assert!(rule(&floats(|n| n)).is_none());
        assert!(rule(&floats(|n| 1.0 / (n - 1.0))).is_none());
    }

    /// At the second size, the constant that follows from the batch size and one that does not are made once.
    #[test]
    fn a_constant_that_is_the_batch_size_by_chance_stays_what_it_is() {
        let graphs = SIZES.map(|n| {
            let mut graph = Graph {
                inputs: vec![Value::fixed("x", DataType::Float, &[n, 1, 3])],
                ..Graph::new(21)
            };
            let w = Tensor::f32(&[93], &[0.5; 93]);
            graph.initializers.insert("w".to_owned(), w);
            let mut b = Builder::new(&mut graph);
            let rows = b.ints(&[n as i64, 3]);
            b.op("y", "Reshape", &["x", &rows], vec![]);
            let same = b.ints(&[SIZES[1] as i64, 3]);
            b.op("z", "Reshape", &["w", &same], vec![]);
            let share = b.scalar(2.0 / n as f32);
            b.op("s", "Mul", &["y", &share], vec![]);
            let outputs = [("z", [SIZES[1], 3]), ("s", [n, 3])];
            let output =
                |(name, dims): (&str, [usize; 2])| Value::fixed(name, DataType::Float, &dims);
            graph.outputs = outputs.map(output).to_vec();
            graph
        });
        let graph = joined([&graphs[0], &graphs[1], &graphs[2]]).unwrap();
        let batch = Dim::Symbolic("N".to_owned());
        assert_eq!(graph.inputs[0].dims.as_ref().unwrap()[0], batch);
        let first = |output: usize| graph.outputs[output].dims.as_ref().unwrap()[0].clone();
        assert_eq!((first(0), first(1)), (Dim::Known(31), batch));
        let producers = graph.producers();
        let made_by = |value: &str| {
            let node = &graph.nodes[producers[value]];
            node.input(1).map(str::to_owned).unwrap()
        };
        assert_eq!(graph.initializers[&made_by("z")].to_i64().unwrap(), [31, 3]);
        for (value, op) in [("y", "Concat"), ("s", "Div")] {
            assert!(graph.nodes[producers[made_by(value).as_str()]].is(op));
        }
        // Another node at one of the sizes.
        let mut other = graphs[2].clone();
        other.nodes[0].op_type = "Expand".to_owned();
        let error = joined([&graphs[0], &graphs[1], &other]).unwrap_err();
        assert!(error.to_string().contains("Reshape"), "{error}");
    }
}
