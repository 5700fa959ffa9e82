//! What a model says of a picture, for people.

use serde_json::{Value, json};

use super::ModelCard;
use crate::task::Task;

/// Classes that are told of a model that tells which one applies.
const TOP: usize = 5;

/// A class with its probability.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranked {
    /// Its name, or its number where the model has no names.
    pub name: String,
    /// Its probability, 0 to 1.
    pub probability: f64,
    /// Where each class is told by itself, the probability from which on it applies.
    pub threshold: Option<f64>,
}

impl Ranked {
    /// Whether it reaches its threshold; true where there is none.
    pub fn applies(&self) -> bool {
        self.threshold.is_none_or(|least| self.probability >= least)
    }

    /// `name`, `probability`, and where there is a threshold that and whether the class `applies`.
    pub fn json(&self) -> Value {
        let mut class = json!({ "name": self.name, "probability": self.probability });
        if let Some(threshold) = self.threshold {
            class["threshold"] = json!(threshold);
            class["applies"] = json!(self.applies());
        }
        class
    }
}

impl ModelCard {
    /// The `top` most probable classes (5 where no number is given) of the probabilities of all; where each is told by itself
    /// and no number is given, those that reach their threshold.
    pub fn ranked(&self, probabilities: &[f64], top: Option<usize>) -> Vec<Ranked> {
        let mut order: Vec<usize> = (0..probabilities.len()).collect();
        order.sort_by(|&a, &b| probabilities[b].total_cmp(&probabilities[a]));
        let names = self.classes.as_ref();
        let names = names.filter(|names| names.len() == probabilities.len());
        let several = self.task.is_some_and(Task::is_multi_label);
        let of = |i: usize| Ranked {
            name: names.map_or_else(|| i.to_string(), |names| names[i].clone()),
            probability: probabilities[i],
            threshold: several.then(|| {
                let chosen = self.thresholds.as_ref().and_then(|all| all.get(i));
                chosen.copied().unwrap_or(0.5)
            }),
        };
        let all = order.into_iter().map(of);
        match top {
            None if several => all.filter(Ranked::applies).collect(),
            top => all.take(top.unwrap_or(TOP)).collect(),
        }
    }
}
