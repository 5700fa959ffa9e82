//! Every rule against PyTorch's numbers: the cases of `fixtures/gradients`, which
//! `tools/torch_gradients.py` makes.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use super::case::{array, floats, run, session};
use crate::autodiff::{Operators, gradients, rules};
use crate::graph::normalise::NEWEST;
use crate::graph::operators;
use crate::graph::{Builder, Graph, Value, infer_shapes, normalise};
use crate::onnx::{DataType, Model, Tensor};
use crate::runtime::Runtime;
use crate::runtime::testing::runtime;

/// Largest difference allowed, relative to the largest element and to the norm.
const TOLERANCE: f64 = 1e-4;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/gradients")
}

fn files() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder()).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "onnx"));
    files.sort();
    files
}

fn open(path: &Path) -> Graph {
    Graph::from_model(&Model::open(path).unwrap()).unwrap()
}

/// The numbers of a case: values and gradients by name, in the order of the graph's outputs.
struct Expected {
    inputs: Vec<(String, Tensor)>,
    seed: Tensor,
    outputs: Vec<Tensor>,
}

/// The part of `file` that makes `output`, its differentiated initializers turned into inputs.
fn case(file: &Graph, output: &Value) -> Result<(Graph, Expected), String> {
    let number = |kind: &str, of: &str| file.initializers.get(&format!("{kind}/{of}")).cloned();
    let mut graph = file.clone();
    graph.outputs = vec![output.clone()];
    graph.prune();
    let mut outputs = vec![number("value", &output.name).ok_or("no value")?];
    let mut inputs = Vec::new();
    let names: Vec<String> = graph.initializers.keys().cloned().collect();
    for name in names {
        if let Some(gradient) = number("grad", &name)
            && let Some(tensor) = graph.initializers.shift_remove(&name)
        {
            graph
                .inputs
                .push(Value::fixed(&name, DataType::Float, &tensor.dims));
            inputs.push((name, tensor));
            outputs.push(gradient);
        }
    }
    let seed = number("seed", &output.name).ok_or("no seed")?;
    let expected = Expected {
        inputs,
        seed,
        outputs,
    };
    Ok((graph, expected))
}

fn check(runtime: &Runtime, mut graph: Graph, expected: &Expected) -> Result<(), String> {
    normalise(&mut graph).map_err(|e| e.to_string())?;
    let shapes = infer_shapes(&graph, &HashMap::new()).map_err(|e| e.to_string())?;
    let output = graph.outputs[0].name.clone();
    let wrt: Vec<String> = expected.inputs.iter().map(|(n, _)| n.clone()).collect();
    let mut builder = Builder::new(&mut graph);
    let seed = builder.constant(expected.seed.clone());
    let names = gradients(
        &mut builder,
        &shapes,
        &[(&output, &seed)],
        &wrt,
        &[],
        Operators::Standard,
    )
    .map_err(|e| e.to_string())?;
    for (name, (_, input)) in names.iter().zip(&expected.inputs) {
        let value = Value::fixed(name, DataType::Float, &input.dims);
        graph.outputs.push(value);
    }
    graph.prune();
    let mut session = session(runtime, &graph)?;
    let feeds = expected.inputs.iter();
    let feeds: Vec<_> = feeds
        .map(|(name, tensor)| Ok((name.as_str(), array(tensor, DataType::Float)?)))
        .collect::<Result<_, String>>()?;
    let results = run(&mut session, &feeds)?;
    let all = std::iter::once(&output).chain(&wrt);
    for ((got, want), of) in results.iter().zip(&expected.outputs).zip(all) {
        if got.dims() != want.dims {
            return Err(format!("{of}: {:?}, not {:?}", got.dims(), want.dims));
        }
        let got = floats(got)?;
        let want: Vec<f64> = want
            .to_f32()
            .ok_or("no floats")?
            .into_iter()
            .map(f64::from)
            .collect();
        let largest =
            |values: &mut dyn Iterator<Item = f64>| values.fold(0.0, |m, v| v.abs().max(m));
        let norm =
            |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
        let differences = || got.iter().zip(&want).map(|(g, w)| g - w);
        let far = |of: f64, whole: f64| of.is_nan() || of > TOLERANCE * whole;
        if far(
            largest(&mut differences()),
            largest(&mut want.iter().copied()),
        ) || far(norm(&mut differences()), norm(&mut want.iter().copied()))
        {
            return Err(format!("{of}: {got:?}, not {want:?}"));
        }
    }
    Ok(())
}

#[test]
fn outputs_and_gradients_are_those_of_pytorch() {
    let Some(runtime) = runtime() else { return };
    let mut count = 0;
    let mut failures = Vec::new();
    for path in files() {
        let file = open(&path);
        for output in &file.outputs {
            let checked =
                case(&file, output).and_then(|(graph, expected)| check(&runtime, graph, &expected));
            if let Err(problem) = checked {
                failures.push(format!("opset {} {}: {problem}", file.opset, output.name));
            }
            count += 1;
        }
    }
    let list = failures.join("\n");
    assert!(
        failures.is_empty(),
        "{} of {count} cases:\n{list}",
        failures.len()
    );
    assert!(count > 150, "only {count} cases");
}

#[test]
fn every_rule_and_every_rewritten_operator_has_numbers_of_pytorch() {
    let mut there: BTreeSet<(String, i64)> = BTreeSet::new();
    for path in files() {
        let file = open(&path);
        there.extend(file.nodes.iter().map(|n| (n.op_type.clone(), file.opset)));
    }
    let has = |op: &str, below: i64| there.iter().any(|(o, v)| o == op && *v < below);
    let missing: Vec<&str> = rules::all()
        .map(|rule| rule.op_type)
        .filter(|op| !has(op, i64::MAX))
        .collect();
    assert!(missing.is_empty(), "no case for {missing:?}");
    let trainable = |op: &str| rules::all().any(|r| r.op_type == op);
    let missing: Vec<&str> = operators::all()
        .filter_map(|o| Some((o.name, o.adapted?.below)))
        .filter(|(name, below)| below.is_none() || trainable(name))
        .filter(|(name, below)| !has(name, below.unwrap_or(i64::MAX)))
        .map(|(name, _)| name)
        .collect();
    assert!(
        missing.is_empty(),
        "no case of an old opset for {missing:?}"
    );
}

#[test]
fn every_row_of_the_table_tells_the_opset_that_brought_its_operator() {
    let since = std::fs::read(folder().join("since.json")).unwrap();
    let since: HashMap<String, i64> = serde_json::from_slice(&since).unwrap();
    for row in operators::all() {
        assert_eq!(since[row.name], row.since, "{}", row.name);
    }
}

#[test]
fn every_case_of_opset_21_is_the_same_in_newer_opsets() {
    let mut file = open(&folder().join("opset21.onnx"));
    let normal = |file: &Graph| {
        let mut graph = file.clone();
        normalise(&mut graph).map(|()| graph)
    };
    let expected = normal(&file).unwrap();
    for opset in [22, 23, NEWEST] {
        file.opset = opset;
        assert_eq!(normal(&file).unwrap(), expected, "opset {opset}");
    }
}
