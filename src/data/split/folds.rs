//! Folds: parts of the data of which each is held out in turn.

use rand::seq::SliceRandom;
use std::collections::BTreeMap;

use super::super::{DataError, Dataset, Given, Part};
use super::SplitOptions;
use crate::random::{Purpose, stream};

/// Which part of the data is held out, of how many that take turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Fold {
    /// Its number, from 1.
    pub number: usize,
    /// How many there are.
    pub of: usize,
}

impl Fold {
    /// The parts of a data set of which this fold is held out, and the rest is trained on or validates. Folds have equal
    /// shares of each class, as far as samples that stay together allow, and follow from the seed.
    ///
    /// # Errors
    /// When the data give what is held out, or samples that need not stay together are fewer than folds.
    pub(super) fn given(
        self,
        dataset: &Dataset,
        options: &SplitOptions,
    ) -> Result<Given, DataError> {
        let wrong = |reason: &str| Err(DataError::option("folds", self.of, reason));
        let given = dataset.given().cloned().unwrap_or_else(|| Given {
            train: (0..dataset.len()).collect(),
            ..Given::default()
        });
        if given.held_out.is_some() {
            return wrong("the data give what is held out, which folds would take turns at");
        }
        if given.part(Part::Search).is_some() {
            return wrong("the data give what the search has, which a fold may hold out");
        }
        let Some(folds) = folds(dataset, &given.train, self.of, options) else {
            return wrong("there are fewer samples that need not stay together");
        };
        let is_held_out = |place: &usize| folds[*place] + 1 == self.number;
        let list = |held_out: bool| {
            let places = (0..given.train.len()).filter(|place| is_held_out(place) == held_out);
            places.map(|place| given.train[place]).collect()
        };
        Ok(Given {
            train: list(false),
            held_out: Some(list(true)),
            ..given
        })
    }
}

/// The fold of each sample of `pool`, from 0; `None` where there is nothing for some.
fn folds(
    dataset: &Dataset,
    pool: &[usize],
    count: usize,
    options: &SplitOptions,
) -> Option<Vec<usize>> {
    let classes = |place: usize| dataset.classes_of(pool[place]);
    let mut sets: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (place, &sample) in pool.iter().enumerate() {
        sets.entry(dataset.groups()[sample])
            .or_default()
            .push(place);
    }
    let mut sets: Vec<Vec<usize>> = sets.into_values().collect();
    if sets.len() < count {
        return None;
    }
    if options.shuffle {
        sets.shuffle(&mut stream(Purpose::Split, options.seed, &[b"folds"]));
    }
    sets.sort_by_key(|set| std::cmp::Reverse(set.len()));
    // What each fold lacks of each class, times the number of folds, and how much it has of all.
    let mut of_class = vec![0_i64; dataset.classes().len()];
    (0..pool.len())
        .flat_map(classes)
        .for_each(|class| of_class[class] += 1);
    let mut lacking = vec![of_class; count];
    let mut sizes = vec![0_usize; count];
    let mut folds = vec![0; pool.len()];
    for set in sets {
        let lack = |fold: usize| {
            let own = set.iter().flat_map(|&place| classes(place));
            own.map(|class| lacking[fold][class]).sum::<i64>()
        };
        let best = (0..count).max_by_key(|&fold| {
            let first = std::cmp::Reverse(fold);
            (lack(fold), std::cmp::Reverse(sizes[fold]), first)
        });
        let fold = best.unwrap_or_default();
        for place in set {
            classes(place).for_each(|class| lacking[fold][class] -= count as i64);
            sizes[fold] += 1;
            folds[place] = fold;
        }
    }
    Some(folds)
}
