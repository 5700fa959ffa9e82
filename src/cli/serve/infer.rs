//! Requests for inference and their answers, by the Open Inference Protocol in JSON.
//!
//! Source: <https://github.com/kserve/open-inference-protocol>, `inference_rest.md`.

use std::fmt;

use crate::classifier::Outputs;
use crate::onnx::DataType;
use crate::package::{Facts, datatype};
use serde::de::{DeserializeSeed, Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::worker::{Refusal, Reply};

/// Samples of one request.
const MOST_SAMPLES: usize = 256;
/// Lists within lists: batch, channels, height, width.
const DEPTH: usize = 4;

/// What is asked.
pub struct Request {
    pub id: Option<String>,
    pub count: usize,
    /// The dimensions of a sample.
    pub sample: Vec<usize>,
    /// All samples, one after the other.
    pub values: Vec<f32>,
}

#[derive(Deserialize)]
struct Body {
    id: Option<String>,
    inputs: Vec<Input>,
    #[serde(default)]
    outputs: Vec<Output>,
}

#[derive(Deserialize)]
struct Input {
    name: String,
    shape: Vec<usize>,
    datatype: String,
    data: Option<Numbers>,
}

#[derive(Deserialize)]
struct Output {
    name: String,
}

fn bad(reason: impl Into<String>) -> Refusal {
    Refusal(400, reason.into())
}

impl Request {
    /// Reads a body, and holds it against what the model takes.
    pub fn read(bytes: &[u8], facts: &Facts) -> Result<Self, Refusal> {
        let body: Body = serde_json::from_slice(bytes)
            .map_err(|e| bad(format!("no request of the Open Inference Protocol: {e}")))?;
        let Ok([input]) = <[Input; 1]>::try_from(body.inputs) else {
            return Err(bad(format!(
                "one input is expected, `{}`",
                facts.input.name
            )));
        };
        if input.name != facts.input.name {
            return Err(bad(format!(
                "the model has no input `{}`; its input is `{}`",
                input.name, facts.input.name
            )));
        }
        let own = datatype(facts.input.dtype).map_err(|e| bad(e.to_string()))?;
        if input.datatype != own {
            return Err(bad(format!(
                "input `{}` is {own}, not {}",
                input.name, input.datatype
            )));
        }
        if let Some(other) = body.outputs.iter().find(|o| o.name != facts.output.name) {
            return Err(bad(format!(
                "the model has no output `{}`; its output is `{}`",
                other.name, facts.output.name
            )));
        }
        let fits = |(dim, own): (&usize, &Option<usize>)| match own {
            Some(own) => dim == own,
            None => *dim > 0,
        };
        let shape = &input.shape;
        let is_one = shape.len() == facts.input.sample.len() + 1
            && shape[1..].iter().zip(&facts.input.sample).all(fits);
        if !is_one || !(1..=MOST_SAMPLES).contains(&shape[0]) {
            let own = facts.input_dims().into_iter();
            let own: Vec<String> = own
                .map(|d| d.map_or("any".into(), |n| n.to_string()))
                .collect();
            return Err(bad(format!(
                "the shape {shape:?} does not fit: input `{}` is {}, and {MOST_SAMPLES} samples at most",
                input.name,
                own.join(" × ")
            )));
        }
        let Some(Numbers(values)) = input.data else {
            return Err(bad(
                "the input has no `data` (tensors in binary are not read here)",
            ));
        };
        let length = shape.iter().try_fold(1usize, |n, dim| n.checked_mul(*dim));
        if length != Some(values.len()) {
            return Err(bad(format!(
                "the shape {shape:?} does not have {} values",
                values.len()
            )));
        }
        let is_byte = facts.input.dtype == DataType::Uint8;
        let fits = |v: &f32| !is_byte || ((0.0..=255.0).contains(v) && v.fract() == 0.0);
        if let Some(value) = values.iter().find(|v| !fits(v)) {
            return Err(bad(format!("{value} is no {own}")));
        }
        Ok(Request {
            id: body.id,
            count: shape[0],
            sample: shape[1..].to_vec(),
            values,
        })
    }
}

/// The answer to a request: what the model gives, as it gives it.
pub fn reply(id: Option<String>, count: usize, outputs: &Outputs, facts: &Facts) -> Reply {
    // Of one number for two classes both were made.
    let values: Vec<f32> = match facts.is_single {
        true => outputs
            .values
            .chunks(2)
            .filter_map(|row| row.last().copied())
            .collect(),
        false => outputs.values.clone(),
    };
    if values.iter().any(|value| !value.is_finite()) {
        let said = "the model's output is not a finite number";
        return Err(Refusal(500, said.to_owned()));
    }
    let dims = facts.output.sample.iter().map(|dim| dim.unwrap_or(1));
    let shape: Vec<usize> = [count].into_iter().chain(dims).collect();
    let mut answer = json!({
        "model_name": facts.name,
        "model_version": "1",
        "outputs": [{
            "name": facts.output.name,
            "datatype": datatype(facts.output.dtype).map_err(|e| bad(e.to_string()))?,
            "shape": shape,
            "data": values,
        }],
    });
    if let Some(id) = id {
        answer["id"] = Value::from(id);
    }
    Ok(answer)
}

/// Numbers, in one list or in lists of lists.
struct Numbers(Vec<f32>);

impl<'de> Deserialize<'de> for Numbers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut all = Vec::new();
        let list = Nested {
            into: &mut all,
            depth: DEPTH,
        };
        deserializer.deserialize_seq(list)?;
        Ok(Numbers(all))
    }
}

/// A list, or a number of one.
struct Nested<'a> {
    into: &'a mut Vec<f32>,
    /// Lists that may be inside of each other from here on.
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Nested<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Nested<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("numbers, or lists of them")
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.into.push(value as f32);
        Ok(())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.visit_f64(value as f64)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.visit_f64(value as f64)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Some(depth) = self.depth.checked_sub(1) else {
            return Err(Error::custom("lists are nested too deep"));
        };
        let into = self.into;
        while let Some(()) = list.next_element_seed(Nested {
            into: &mut *into,
            depth,
        })? {}
        Ok(())
    }
}
