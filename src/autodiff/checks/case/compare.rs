//! What a rule gives against central differences, and what runs graphs for both.

use std::collections::HashMap;

use ndarray::{ArrayD, IxDyn};

use super::{Case, Role, differentiate};
use crate::autodiff::Operators;
use crate::graph::{Graph, Shapes};
use crate::onnx::{DataType, Tensor, encode};
use crate::runtime::{Array, Runtime, Session, SessionOptions};

/// Largest difference allowed, relative to the largest element of the gradient (or to 1).
const TOLERANCE: f64 = 2e-4;

impl Case {
    pub(super) fn compare(
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
        if kernels.nodes.iter().any(|n| n.kernel_operator().is_some()) {
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
    pub(super) fn differences(
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

pub fn session(runtime: &Runtime, graph: &Graph) -> Result<Session, String> {
    let bytes = encode(&graph.to_model(usize::MAX).0).map_err(|e| e.to_string())?;
    let options = SessionOptions {
        threads: 1,
        kernels: graph.has_kernels(),
        ..SessionOptions::default()
    };
    Session::new(runtime, &bytes, &[], &options).map_err(|e| e.to_string())
}

pub fn run(session: &mut Session, feeds: &[(&str, Array)]) -> Result<Vec<Array>, String> {
    let feeds: Vec<(&str, &Array)> = feeds.iter().map(|(n, a)| (*n, a)).collect();
    session.run(&feeds).map_err(|e| e.to_string())
}

/// A float tensor as one of type `float`; others as they are.
pub(super) fn widen(tensor: &Tensor, float: DataType) -> Tensor {
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
