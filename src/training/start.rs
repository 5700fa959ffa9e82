//! Where training begins.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::runtime::Buffer;

use super::TrainingError;

/// Values with which some parameters begin instead of those that the model has. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Start(Arc<[(String, Vec<f32>)]>);

impl Start {
    /// With these values, row-major, by the names of their initializers.
    pub fn new(values: Vec<(String, Vec<f32>)>) -> Self {
        Start(values.into())
    }

    /// Them; none where every parameter begins as it stands in the model.
    pub fn values(&self) -> &[(String, Vec<f32>)] {
        &self.0
    }

    pub(super) fn put(&self, names: &[String], buffers: &[Buffer]) -> Result<(), TrainingError> {
        put(self.values(), names, buffers)
    }
}

/// Puts values into the buffers of the parameters `names`; of others they are left out.
///
/// # Errors
/// When there are not as many as a parameter has.
pub(super) fn put(
    values: &[(String, Vec<f32>)],
    names: &[String],
    buffers: &[Buffer],
) -> Result<(), TrainingError> {
    for (name, values) in values {
        let at = names.iter().position(|n| n == name);
        let Some(buffer) = at.and_then(|at| buffers.get(at)) else {
            continue;
        };
        let mut target = buffer.as_f32_mut()?;
        if target.len() != values.len() {
            return Err(TrainingError::Mismatch(format!(
                "`{name}` has {} values, not {}",
                target.len(),
                values.len()
            )));
        }
        target.copy_from_slice(values);
    }
    Ok(())
}

/// How a new head begins. The model's own begins as it stands in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HeadInit {
    /// With drawn weights: a search then measures, too, how fast a head learns.
    #[default]
    Random,
    /// With the weights that fit the features of the frozen network best: training begins where the head alone
    /// would end. Source: Kumar et al., "Fine-Tuning can Distort Pretrained Features and Underperform
    /// Out-of-Distribution", 2022 (linear probing, then fine-tuning).
    Solved,
}

impl fmt::Display for HeadInit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            HeadInit::Random => "random",
            HeadInit::Solved => "solved",
        })
    }
}

impl FromStr for HeadInit {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "random" => Ok(HeadInit::Random),
            "solved" => Ok(HeadInit::Solved),
            _ => Err(format!("`{name}` is neither random nor solved")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_go_to_the_parameters_of_their_names() {
        let names = ["a", "b", "c"].map(str::to_owned);
        let buffers = || [0.0, 1.0, 2.0].map(|v| Buffer::from_f32(&[2], &[v; 2]).unwrap());
        let read = |buffers: &[Buffer]| -> Vec<Vec<f32>> {
            let values = buffers.iter().map(|b| b.as_f32().unwrap().to_vec());
            values.collect()
        };
        let of = |name: &str, values: &[f32]| (name.to_owned(), values.to_vec());
        let start = Start::new(vec![of("x", &[9.0; 7]), of("b", &[5.0, 6.0])]);
        let these = buffers();
        start.put(&names, &these).unwrap();
        assert_eq!(read(&these), [[0.0, 0.0], [5.0, 6.0], [2.0, 2.0]]);
        let wrong = Start::new(vec![of("b", &[5.0])]);
        let error = wrong.put(&names, &buffers()).unwrap_err().to_string();
        assert!(error.contains("`b` has 2 values, not 1"), "{error}");
    }
}
