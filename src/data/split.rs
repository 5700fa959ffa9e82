//! Sharing out a data set between the search, the retraining and the final figures.

mod assign;

use std::collections::{BTreeMap, HashSet};

use super::{DataError, Dataset};
use assign::{Samples, apportion, assign, quotas};

/// The part of the search share on which candidates are trained; the paper's 7 % of 10 %.
const SEARCH_TRAIN_FRACTION: f64 = 0.7;
/// Fractions given in decimal may add up to a little more than 1.
const EPSILON: f64 = 1e-9;
/// Fewer samples of a class than these say little of it.
const FEW: usize = 5;

/// How to make a [`Split`].
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct SplitOptions {
    /// The share of the samples that the search has, 0 to 1: candidates are trained on 70 % of it.
    pub search_fraction: f64,
    /// The share of the samples the winners are trained on, 0 to 1.
    pub train_fraction: f64,
    /// The share of the samples by which candidates and epochs are chosen, 0 to 1. `None` for as
    /// much as `search_fraction` (with `search_apart`: the 30 % of it that are left).
    pub validation_fraction: Option<f64>,
    /// Whether the winners are not trained on what the candidates were trained on, so that
    /// `train_fraction` comes on top of it: the protocol of the block-wise paper.
    pub search_apart: bool,
    /// Decides which samples go where.
    pub seed: u64,
    /// Whether to draw at random; if not, each list takes the first samples of each class that
    /// the lists before it left, and keeps their order.
    pub shuffle: bool,
}

impl Default for SplitOptions {
    fn default() -> Self {
        Self {
            search_fraction: 0.1,
            train_fraction: 0.7,
            validation_fraction: None,
            search_apart: false,
            seed: 0,
            shuffle: true,
        }
    }
}

/// Four disjoint lists of sample indices that together hold every sample.
///
/// With the default fractions `search` has 7 % of the samples, `validation` 10 %, `train` 63 % and
/// `held_out` 20 %: winners are trained on `search` and `train`, 70 %. What the fractions leave is
/// held out.
///
/// Each class is represented in each list by its share, up to rounding by largest remainders. Every
/// class has at least one sample in each list that its fractions ask for (in `train` only where
/// `search` does not serve for training as well), even if that exceeds the fraction; the other
/// lists then share what is left in proportion to theirs. A class of three samples thus has one in
/// `search`, `validation` and `held_out` each; one with fewer is refused.
///
/// Copies of a sample are all in one list, so that nothing is measured on what was trained on; the
/// lists' lengths then fit the fractions as well as that allows. Only those of a class that has too few
/// others are shared out, which [`Split::notes`] tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// Candidates are trained on these.
    pub search: Vec<usize>,
    /// Candidates are ranked on these; also watched while the winners are trained.
    pub validation: Vec<usize>,
    /// The winners are trained on these, and on `search` unless it is kept apart.
    pub train: Vec<usize>,
    /// Used only for the final figures.
    pub held_out: Vec<usize>,
    /// Whether the winners are not trained on `search`.
    pub search_apart: bool,
}

impl Split {
    /// Splits samples with these `labels`, each within `0..n_classes`, no two of which are copies.
    ///
    /// # Errors
    /// When a fraction is outside 0..=1, the fractions add up to more than 1, or a class has too
    /// few samples for one in each list its fractions ask for.
    pub fn stratified(
        labels: &[i64],
        n_classes: usize,
        options: &SplitOptions,
    ) -> Result<Self, DataError> {
        let groups: Vec<usize> = (0..labels.len()).collect();
        split(labels, &groups, n_classes, options, |class| {
            class.to_string()
        })
    }

    /// As [`Split::stratified`], with copies in one list, and with the classes' names in errors.
    ///
    /// # Errors
    /// As [`Split::stratified`].
    pub fn of(dataset: &Dataset, options: &SplitOptions) -> Result<Self, DataError> {
        let classes = dataset.classes();
        let (labels, groups) = (dataset.labels(), dataset.groups());
        split(labels, groups, classes.len(), options, |class| {
            classes[class].clone()
        })
    }

    /// What the winners are trained on, in the order of the data.
    pub fn retraining(&self) -> Vec<usize> {
        let mut samples = self.train.clone();
        if !self.search_apart {
            samples.extend(&self.search);
            samples.sort_unstable();
        }
        samples
    }

    /// What candidates are ranked on: the validation part and, where it has fewer than `count`, as many samples
    /// of `train` as that takes, of each class by its share. No candidate is trained on any of them.
    pub fn ranking(&self, labels: &[i64], count: usize) -> Vec<usize> {
        let mut ranking = self.validation.clone();
        if !ranking.is_empty() {
            let wanted = count.saturating_sub(ranking.len());
            ranking.extend(Self::spread(&self.train, labels, wanted));
        }
        ranking
    }

    /// Some of `samples`, `count` or as many as there are, of each class by its share and evenly spaced, in the
    /// order of the data.
    pub fn spread(samples: &[usize], labels: &[i64], count: usize) -> Vec<usize> {
        let mut classes = BTreeMap::<Option<&i64>, Vec<usize>>::new();
        for &sample in samples {
            let class = classes.entry(labels.get(sample)).or_default();
            class.push(sample);
        }
        let mut spread = Vec::new();
        let counts: Vec<usize> = classes.values().map(Vec::len).collect();
        let shares = apportion(
            count.min(samples.len()),
            &counts,
            &vec![0; counts.len()],
            &counts,
        );
        for (class, share) in classes.values().zip(shares) {
            spread.extend((0..share).map(|i| class[i * class.len() / share]));
        }
        spread.sort_unstable();
        spread
    }

    /// Sentences for people: that nothing is held out; on copies that are in two parts, and on each part
    /// that is too small to choose or to judge by, in which a class has fewer than five samples.
    pub fn notes(&self, dataset: &Dataset) -> Vec<String> {
        let mut notes = self.small_parts(dataset);
        if self.held_out.is_empty() {
            notes.push(
                "nothing is held out: no figure will tell what the models make of new samples; a smaller \
                 --train-fraction leaves some"
                    .to_owned(),
            );
        }
        let mut part = vec![0_u8; dataset.len()];
        let lists = [&self.search, &self.validation, &self.train, &self.held_out];
        for (number, list) in (1..).zip(lists) {
            list.iter().for_each(|&sample| part[sample] = number);
        }
        let apart = dataset.groups().iter().zip(&part);
        let apart = apart.filter(|&(&first, &own)| part[first] != own).count();
        if apart > 0 {
            notes.push(format!(
                "{apart} copies are in another part than what they are copies of, because their class \
                 has too few other samples: what is measured on them is better than it should be"
            ));
        }
        notes
    }

    fn small_parts(&self, dataset: &Dataset) -> Vec<String> {
        let mut sizes = vec![0_usize; dataset.classes().len()];
        let class = |&sample: &usize| usize::try_from(dataset.labels()[sample]).ok();
        let all: Vec<usize> = (0..dataset.len()).collect();
        let present: HashSet<usize> = all.iter().filter_map(class).collect();
        let parts = [
            ("validation", &self.validation, "choose by"),
            ("held-out", &self.held_out, "judge by"),
        ];
        let mut notes = Vec::new();
        for (name, part, purpose) in parts.into_iter().filter(|(_, part, _)| !part.is_empty()) {
            sizes.fill(0);
            part.iter()
                .filter_map(class)
                .for_each(|class| sizes[class] += 1);
            let few = |&class: &usize| present.contains(&class) && sizes[class] < FEW;
            let small: Vec<usize> = (0..sizes.len()).filter(few).collect();
            let Some(&least) = small.iter().min_by_key(|&&class| sizes[class]) else {
                continue;
            };
            notes.push(format!(
                "the {name} part is small to {purpose}: {} samples, fewer than {FEW} in {} of {} \
                 classes ({:?} has {}); one sample is {:.1} points of accuracy",
                part.len(),
                small.len(),
                present.len(),
                dataset.classes()[least],
                sizes[least],
                100.0 / part.len() as f64
            ));
        }
        notes
    }
}

/// What belongs to each of the four lists, in the order in which they take samples.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Shares {
    /// Shares of the whole: search, validation, train, held out.
    of: [f64; 4],
    /// Whether every class must have a sample in the list.
    asked: [bool; 4],
}

impl Shares {
    fn of(options: &SplitOptions) -> Result<Self, DataError> {
        let SplitOptions {
            search_fraction,
            train_fraction,
            validation_fraction,
            search_apart,
            ..
        } = *options;
        for (option, fraction) in [
            ("search_fraction", Some(search_fraction)),
            ("train_fraction", Some(train_fraction)),
            ("validation_fraction", validation_fraction),
        ] {
            if let Some(fraction) = fraction.filter(|f| !(0.0..=1.0).contains(f)) {
                let reason = "expected a number from 0 to 1";
                return Err(DataError::option(option, fraction, reason));
            }
        }
        let search = SEARCH_TRAIN_FRACTION * search_fraction;
        let train = match search_apart {
            true => train_fraction,
            false => (train_fraction - search).max(0.0),
        };
        let both = search_fraction + train_fraction;
        let validation = validation_fraction.unwrap_or(both - search - train);
        let held_out = 1.0 - search - train - validation;
        if held_out < -EPSILON {
            let (option, sum) = match validation_fraction {
                None => ("search_fraction + train_fraction", both),
                Some(_) => (
                    "the fractions of training and validation",
                    search + train + validation,
                ),
            };
            return Err(DataError::option(option, sum, "together they exceed 1"));
        }
        let of = [search, validation, train, held_out]
            .map(|share| if share < EPSILON { 0.0 } else { share });
        let mut asked = of.map(|share| share > 0.0);
        asked[2] &= search_apart || !asked[0];
        Ok(Shares { of, asked })
    }
}

fn split(
    labels: &[i64],
    groups: &[usize],
    n_classes: usize,
    options: &SplitOptions,
    class_name: impl Fn(usize) -> String,
) -> Result<Split, DataError> {
    let shares = Shares::of(options)?;
    let mut classes = Vec::with_capacity(labels.len());
    for (sample, &label) in labels.iter().enumerate() {
        let class = usize::try_from(label)
            .ok()
            .filter(|&class| class < n_classes);
        let Some(class) = class else {
            let reason = format!("sample {sample} is outside 0..{n_classes}");
            return Err(DataError::option("label", label, reason));
        };
        classes.push(class);
    }
    let mut samples = Samples::new(&classes, groups, n_classes);
    let needed = shares.asked.iter().filter(|&&asked| asked).count().max(1);
    // Arrays may lack a class altogether; nothing is asked of it.
    let too_few = |count: &usize| (1..needed).contains(count);
    if let Some(class) = samples.counts.iter().position(too_few) {
        return Err(DataError::ClassTooSmall {
            class: class_name(class),
            count: samples.counts[class],
            needed,
        });
    }
    if samples.units.iter().any(&too_few) {
        let mut parted = groups.to_vec();
        for (sample, &class) in classes.iter().enumerate() {
            if too_few(&samples.units[class]) {
                parted[sample] = sample;
            }
        }
        samples = Samples::new(&classes, &parted, n_classes);
    }
    let quotas = quotas(&samples.counts, &shares);
    let [search, validation, train, held_out] = assign(samples, quotas, &shares, options);
    Ok(Split {
        search,
        validation,
        train,
        held_out,
        search_apart: options.search_apart,
    })
}

#[cfg(test)]
mod tests;
