//! Pictures that are in the folders of several classes, where samples may have several labels.

use std::collections::HashMap;

use super::super::DataError;
use super::super::pixels::Content;
use super::find::{Aside, list};
use super::listing::Listed;

/// Gives copies of a picture, which may be in the folders of several classes, the labels of all. Of those of one part
/// that had other labels than an earlier one, that one stands for them.
pub(super) fn join(
    candidates: &mut [(Vec<usize>, Listed)],
    decoded: &[Result<Content, DataError>],
    aside: &mut Aside,
) {
    let mut same: HashMap<[u8; 32], Vec<usize>> = HashMap::new();
    for (place, result) in decoded.iter().enumerate() {
        if let Ok((content, _)) = result {
            same.entry(*content).or_default().push(place);
        }
    }
    let mut joined = Vec::new();
    for places in same.into_values().filter(|places| places.len() > 1) {
        let mut all: Vec<usize> = Vec::new();
        for (at, &place) in places.iter().enumerate() {
            let (own, image) = &candidates[place];
            let stands_for = |&&earlier: &&usize| {
                let (before, other) = &candidates[earlier];
                other.part == image.part && before != own
            };
            if places[..at].iter().any(|earlier| stands_for(&earlier)) {
                joined.push(place);
            }
            all.extend(own);
        }
        all.sort_unstable();
        all.dedup();
        for place in places {
            candidates[place].0.clone_from(&all);
        }
    }
    joined.sort_unstable();
    let names = joined.iter().map(|&place| candidates[place].1.name.clone());
    let names: Vec<String> = names.collect();
    for place in joined {
        candidates[place].1.is_joined = true;
    }
    if !names.is_empty() {
        aside.notes.push(format!(
            "{} files are pictures that others are, with other labels; one stands for each with the labels of all: {}",
            names.len(),
            list(&names)
        ));
    }
}
