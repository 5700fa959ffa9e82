//! Parts of a data set that are given: by its folders, by a list, or by the file of a split.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{DataError, Dataset};

/// A part of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// See [`Split::search`](super::Split::search).
    Search,
    /// See [`Split::validation`](super::Split::validation).
    Validation,
    /// See [`Split::train`](super::Split::train).
    Train,
    /// See [`Split::held_out`](super::Split::held_out).
    HeldOut,
}

/// What people call the parts, in lower case.
const NAMES: [(&str, Part); 13] = [
    ("train", Part::Train),
    ("training", Part::Train),
    ("trn", Part::Train),
    ("val", Part::Validation),
    ("valid", Part::Validation),
    ("validation", Part::Validation),
    ("dev", Part::Validation),
    ("eval", Part::Validation),
    ("test", Part::HeldOut),
    ("testing", Part::HeldOut),
    ("tst", Part::HeldOut),
    ("holdout", Part::HeldOut),
    ("heldout", Part::HeldOut),
];

impl Part {
    /// The part that people call so, in any letter case and also with a word such as `set` or `images` behind:
    /// `train`, `Validation`, `test_set`, `valset`.
    pub(super) fn named(name: &str) -> Option<Self> {
        let name = name.to_lowercase();
        let words = name.split(|c: char| !c.is_alphanumeric());
        let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
        if words == ["held", "out"] {
            return Some(Part::HeldOut);
        }
        let (&first, rest) = words.split_first()?;
        let is_noun = |word: &&str| ["set", "data", "images", "img", "split"].contains(word);
        let bare = first.strip_suffix("set").unwrap_or(first);
        let (_, part) = NAMES.into_iter().find(|(known, _)| *known == bare)?;
        rest.iter().all(is_noun).then_some(part)
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Part::Search => "search",
            Part::Validation => "validation",
            Part::Train => "train",
            Part::HeldOut => "held out",
        })
    }
}

/// The parts of a data set that are given, as indices of its samples. What is `None` is split off from what is
/// trained on; what is in no list is not used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Given {
    /// See [`Split::search`](super::Split::search).
    pub search: Option<Vec<usize>>,
    /// See [`Split::validation`](super::Split::validation).
    pub validation: Option<Vec<usize>>,
    /// What is trained on, and of which the parts that are not given are made.
    pub train: Vec<usize>,
    /// See [`Split::held_out`](super::Split::held_out).
    pub held_out: Option<Vec<usize>>,
    /// Whether the winners are not trained on `search`; only where that is given.
    pub search_apart: bool,
}

impl Given {
    /// The lists of samples whose parts are these; `None` where no part is given of any.
    pub(super) fn of(parts: &[Option<Part>]) -> Option<Self> {
        let list = |part: Part| -> Vec<usize> {
            let of_part = parts.iter().enumerate().filter(|(_, p)| **p == Some(part));
            of_part.map(|(sample, _)| sample).collect()
        };
        let some = |part| Some(list(part)).filter(|list| !list.is_empty());
        let any = parts.iter().any(Option::is_some);
        any.then(|| Given {
            search: some(Part::Search),
            validation: some(Part::Validation),
            train: list(Part::Train),
            held_out: some(Part::HeldOut),
            search_apart: false,
        })
    }

    /// The samples of a part; `None` where it is not given.
    pub fn part(&self, part: Part) -> Option<&[usize]> {
        match part {
            Part::Search => self.search.as_deref(),
            Part::Validation => self.validation.as_deref(),
            Part::Train => Some(&self.train),
            Part::HeldOut => self.held_out.as_deref(),
        }
    }

    /// The parts that are given besides that which is trained on.
    pub fn beside(&self) -> Vec<Part> {
        let all = [Part::Search, Part::Validation, Part::HeldOut];
        let given = all.into_iter().filter(|part| self.part(*part).is_some());
        given.collect()
    }

    /// The part of each of `count` samples.
    pub(super) fn parts(&self, count: usize) -> Vec<Option<Part>> {
        let mut parts = vec![None; count];
        for part in [Part::Search, Part::Validation, Part::Train, Part::HeldOut] {
            for &sample in self.part(part).into_iter().flatten() {
                if let Some(place) = parts.get_mut(sample) {
                    *place = Some(part);
                }
            }
        }
        parts
    }

    /// Fails where a class has samples, but none to train on.
    ///
    /// # Errors
    /// [`DataError::Untrained`], with the name of the first such class.
    pub(super) fn ensure_trained(&self, dataset: &Dataset) -> Result<(), DataError> {
        let classes = dataset.classes();
        let label = |sample: &usize| dataset.classes_of(*sample);
        let mut trained = vec![false; classes.len()];
        let trains = self.train.iter().chain(self.search.iter().flatten());
        for class in trains.flat_map(label) {
            trained[class] = true;
        }
        for part in [Part::Validation, Part::HeldOut] {
            let of_part = self.part(part).into_iter().flatten();
            if let Some(class) = of_part.flat_map(label).find(|&class| !trained[class]) {
                return Err(DataError::Untrained {
                    class: classes[class].clone(),
                    part,
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_split_are_known_by_their_names() {
        for (name, part) in [
            ("train", Part::Train),
            ("Val", Part::Validation),
            ("TEST", Part::HeldOut),
            ("validation", Part::Validation),
            ("training_set", Part::Train),
            ("test set", Part::HeldOut),
            ("valset", Part::Validation),
            ("train-images", Part::Train),
            ("held_out", Part::HeldOut),
        ] {
            assert_eq!(Part::named(name), Some(part), "{name}");
        }
        for name in [
            "cat",
            "trains",
            "test tube",
            "train_station",
            "valley",
            "",
            "set",
            "held",
        ] {
            assert_eq!(Part::named(name), None, "{name}");
        }
    }
}
