//! What a hostile file could hold must end in an error, never in a panic.

use std::collections::HashMap;

use rand::{RngExt, SeedableRng};

use crate::batch::free_batch;
use crate::graph::cases::{case_graph, fixture};
use crate::graph::{Attribute, Dim, Graph, Node, infer_shapes, normalise};
use crate::onnx::Tensor;

#[test]
fn mutated_nodes_never_panic() {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    let extremes = [i64::MIN, -3, -1, 0, 1, 2, 1 << 31, 1 << 62, i64::MAX];
    let cases = fixture("cases.json");
    let mut survivors = 0;
    for case in cases.as_array().unwrap() {
        for _ in 0..40 {
            let mut graph = case_graph(case);
            let mut number = || extremes[rng.random_range(0..extremes.len())];
            let count = (number().unsigned_abs() % 4) as usize;
            let numbers: Vec<i64> = (0..count).map(|_| number()).collect();
            let size = number().unsigned_abs() as usize;
            let node = &mut graph.nodes[0];
            let at = |length: usize, rng: &mut rand_chacha::ChaCha8Rng| {
                rng.random_range(0..length.max(1))
            };
            match rng.random_range(0..7) {
                0 if !node.attributes.is_empty() => {
                    let which = at(node.attributes.len(), &mut rng);
                    for value in node.attributes.values_mut().skip(which).take(1) {
                        match value {
                            Attribute::Ints(v) if !v.is_empty() => {
                                let i = at(v.len(), &mut rng);
                                v[i] = extremes[at(extremes.len(), &mut rng)];
                            }
                            Attribute::Int(v) => *v = extremes[at(extremes.len(), &mut rng)],
                            other => *other = numbers.clone().into(),
                        }
                    }
                }
                1 => {
                    let names = ["axis", "axes", "group", "strides", "pads", "k", "split"];
                    let name = names[at(names.len(), &mut rng)];
                    let value = if rng.random() {
                        numbers.into()
                    } else {
                        extremes[at(extremes.len(), &mut rng)].into()
                    };
                    node.attributes.insert(name.to_owned(), value);
                }
                2 if !node.inputs.is_empty() => {
                    let i = at(node.inputs.len(), &mut rng);
                    node.inputs[i].clear();
                }
                3 => {
                    node.inputs.pop();
                }
                4 if !graph.inputs.is_empty() => {
                    let i = at(graph.inputs.len(), &mut rng);
                    let dims = graph.inputs[i].dims.as_mut().unwrap();
                    if rng.random() && !dims.is_empty() {
                        let d = at(dims.len(), &mut rng);
                        dims[d] = Dim::Known(size);
                    } else if rng.random() {
                        dims.pop();
                    } else {
                        dims.push(Dim::Known(size));
                    }
                }
                5 if !graph.initializers.is_empty() => {
                    let i = at(graph.initializers.len(), &mut rng);
                    if let Some((_, tensor)) = graph.initializers.get_index_mut(i) {
                        *tensor = Tensor::i64s(&numbers);
                    }
                }
                _ => {
                    let i = at(graph.initializers.len(), &mut rng);
                    if let Some((_, tensor)) = graph.initializers.get_index_mut(i)
                        && let Some(mut values) = tensor.to_i64().filter(|v| !v.is_empty())
                    {
                        let v = at(values.len(), &mut rng);
                        values[v] = extremes[at(extremes.len(), &mut rng)];
                        let dims = tensor.dims.clone();
                        *tensor = Tensor {
                            dims,
                            ..Tensor::i64s(&values)
                        };
                    }
                }
            }
            let inferred =
                normalise(&mut graph).and_then(|()| infer_shapes(&graph, &HashMap::new()));
            survivors += usize::from(inferred.is_ok());
            let _ = free_batch(&mut graph);
        }
    }
    assert!(survivors > 0, "no mutation left a valid node");
}

#[test]
fn an_operator_of_one_input_that_is_given_two_is_not_evaluated() {
    let mut graph = Graph {
        nodes: vec![Node::new("y", "Neg", &["one", "two"], &["y"])],
        ..Graph::new(21)
    };
    let wide = Tensor {
        dims: vec![1, 1, 2],
        ..Tensor::i64s(&[1, 2])
    };
    graph.initializers.insert("one".into(), Tensor::i64s(&[1]));
    graph.initializers.insert("two".into(), wide);
    let shapes = infer_shapes(&graph, &HashMap::new()).unwrap();
    assert!(shapes.constant("y").is_none());
}

#[test]
fn a_dimension_of_zero_does_not_hide_an_overflow() {
    let mut graph = Graph::new(21);
    let empty = Tensor {
        dims: vec![0, 1 << 40, 1 << 40],
        ..Tensor::i64s(&[])
    };
    graph.initializers.insert("empty".into(), empty);
    assert!(infer_shapes(&graph, &HashMap::new()).is_err());
}
