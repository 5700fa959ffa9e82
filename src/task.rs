//! What a classifier tells of a sample.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a classifier tells of a sample, and so by which loss it is trained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// Which one of its classes a sample is of: a softmax over the classes, cross-entropy.
    #[default]
    SingleLabel,
    /// Of each class by itself whether a sample is of it, be it none or several: a sigmoid for each, binary
    /// cross-entropy.
    MultiLabel,
    /// Which of two classes a sample is of, by one number: a sigmoid of it is the probability of the second class.
    /// That is the softmax of 0 and that number.
    Binary,
}

impl Task {
    /// The names that [`Task::from_str`] reads.
    pub const NAMES: [&str; 3] = ["single-label", "multi-label", "binary"];
    const ALL: [Task; 3] = [Task::SingleLabel, Task::MultiLabel, Task::Binary];

    /// Whether samples may have several labels, or none.
    pub fn is_multi_label(self) -> bool {
        self == Task::MultiLabel
    }

    /// How many outputs a classifier of so many classes has.
    pub fn outputs(self, classes: usize) -> usize {
        match self {
            Task::Binary => 1,
            Task::SingleLabel | Task::MultiLabel => classes,
        }
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::NAMES[*self as usize])
    }
}

impl FromStr for Task {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let named = Self::ALL.into_iter().find(|task| task.to_string() == name);
        named.ok_or_else(|| format!("`{name}` is none of {}", Self::NAMES.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_is_read_by_its_name() {
        for (task, name) in Task::ALL.into_iter().zip(Task::NAMES) {
            assert_eq!(task.to_string(), name);
            assert_eq!(name.parse(), Ok(task));
            assert_eq!(serde_json::to_value(task).unwrap(), name);
        }
        assert!("regression".parse::<Task>().is_err());
    }
}
