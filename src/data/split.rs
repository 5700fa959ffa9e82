//! Sharing out a data set between the search, the retraining and the final figures.

mod assign;
mod folds;
mod options;
mod several;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};

use super::seen::{Digest, Seen};
use super::{DataError, Dataset, Given, Part};
use assign::{Samples, apportion, assign, quotas};
pub use folds::Fold;
use options::Shares;
pub use options::SplitOptions;

/// Fewer samples of a class than these say little of it.
const FEW: usize = 5;

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
/// Samples that may have several labels are shared out by iterative stratification: of the class that the fewest of
/// those left are of, each goes to the list that lacks most of it; a class may then have a few more or fewer in a list
/// than its share, and one list less than asked where its samples are of others' lists, too.
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
        split(
            labels,
            (&groups, &groups),
            n_classes,
            options,
            &[],
            |class| class.to_string(),
        )
    }

    /// As [`Split::stratified`], with copies in one list, and with the classes' names in errors. Lists that
    /// [are given](Dataset::given) are what they are, and the others are made of what is to be trained on.
    ///
    /// # Errors
    /// As [`Split::stratified`], and when a class has samples in a given list and none to train on.
    pub fn of(dataset: &Dataset, options: &SplitOptions) -> Result<Self, DataError> {
        Self::with(dataset, options, &[])
    }

    /// As [`Split::of`], for a model that was trained on the samples in `seen`: of these, and of their copies, none
    /// is held out, nor any of which that is not known. Where others are fewer than the fractions hold out, the
    /// rest is trained on. Samples that were all held out by the same fractions, seed and data still are, and the other
    /// lists are what they were. Where none are left to hold out, the split is that of [`Split::of`].
    ///
    /// # Errors
    /// As [`Split::stratified`].
    pub fn unseen(
        dataset: &Dataset,
        options: &SplitOptions,
        seen: &Seen,
    ) -> Result<Self, DataError> {
        let digests = (0..dataset.len()).map(|sample| dataset.digest(sample));
        let digests: Vec<Option<Digest>> = digests.collect();
        let of_pool = |sample: usize| digests.get(sample).copied().flatten();
        if options.fold.is_some() {
            return Self::of(dataset, options);
        }
        let pool = pool(dataset);
        let any = seen.overlap(pool.iter().filter_map(|&s| of_pool(s))).seen > 0;
        let may = |digest: &Option<Digest>| digest.is_some_and(|d| seen.may_have(&d));
        let seen: Vec<bool> = digests.iter().map(may).collect();
        match any && pool.iter().any(|&sample| !seen[sample]) {
            true => Self::with(dataset, options, &seen),
            false => Self::of(dataset, options),
        }
    }

    fn with(dataset: &Dataset, options: &SplitOptions, seen: &[bool]) -> Result<Self, DataError> {
        let classes = dataset.classes();
        let (labels, groups) = (dataset.labels(), dataset.groups());
        let class_name = |class: usize| classes[class].clone();
        let made_of = |pool: Option<&[usize]>,
                       sets: (&[usize], &[usize]),
                       options: &SplitOptions,
                       seen: &[bool]| {
            let labels: Cow<'_, [i64]> = match pool {
                None => labels.into(),
                Some(pool) => pool.iter().map(|&sample| labels[sample]).collect(),
            };
            match dataset.sets() {
                None => split(&labels, sets, classes.len(), options, seen, class_name),
                Some(of) => several::split(
                    &Vec::from_iter(
                        (0..labels.len())
                            .map(|place| of.get(pool.map_or(place, |pool| pool[place]))),
                    ),
                    sets,
                    classes.len(),
                    options,
                    seen,
                    class_name,
                ),
            }
        };
        let apart = dataset.copies();
        let of_fold = match options.fold {
            Some(fold) => Some(fold.given(dataset, options)?),
            None => None,
        };
        let Some(given) = of_fold.as_ref().or(dataset.given()) else {
            return made_of(None, (groups, apart), options, seen);
        };
        given.ensure_trained(dataset)?;
        ensure_together(dataset, given)?;
        let pool = &given.train;
        let options = SplitOptions {
            given_parts: given.beside(),
            ..options.clone()
        };
        let seen: Vec<bool> = match seen.is_empty() {
            true => Vec::new(),
            false => pool.iter().map(|&sample| seen[sample]).collect(),
        };
        let [groups, apart] = [groups, apart].map(|groups| within(groups, pool));
        let sets = (groups.as_slice(), apart.as_slice());
        let made = made_of(Some(pool), sets, &options, &seen)?;
        let own = |list: Vec<usize>| list.into_iter().map(|place| pool[place]).collect();
        let or = |given: &Option<Vec<usize>>, made| given.clone().unwrap_or_else(|| own(made));
        Ok(Split {
            search: or(&given.search, made.search),
            validation: or(&given.validation, made.validation),
            held_out: or(&given.held_out, made.held_out),
            search_apart: match given.search {
                Some(_) => given.search_apart,
                None => made.search_apart,
            },
            train: match given.beside().len() {
                // A split that is given whole keeps its order.
                3 => pool.clone(),
                _ => own(made.train),
            },
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
        let apart = dataset.copies().iter().zip(&part);
        let apart = apart.filter(|&(&first, &own)| part[first] != own).count();
        if apart > 0 {
            let because = match dataset.given() {
                Some(_) => "as the parts are given",
                None => "because their class has too few other samples",
            };
            notes.push(format!(
                "{apart} copies are in another part than what they are copies of, {because}: what is measured on \
                 them is better than it should be"
            ));
        }
        notes
    }

    fn small_parts(&self, dataset: &Dataset) -> Vec<String> {
        let mut sizes = vec![0_usize; dataset.classes().len()];
        let class = |&sample: &usize| dataset.classes_of(sample);
        let all: Vec<usize> = (0..dataset.len()).collect();
        let present: HashSet<usize> = all.iter().flat_map(class).collect();
        let parts = [
            ("validation", &self.validation, "choose by"),
            ("held-out", &self.held_out, "judge by"),
        ];
        let figure = match dataset.sets() {
            None => "accuracy",
            Some(_) => "exact match",
        };
        let mut notes = Vec::new();
        for (name, part, purpose) in parts.into_iter().filter(|(_, part, _)| !part.is_empty()) {
            sizes.fill(0);
            part.iter()
                .flat_map(class)
                .for_each(|class| sizes[class] += 1);
            let few = |&class: &usize| present.contains(&class) && sizes[class] < FEW;
            let small: Vec<usize> = (0..sizes.len()).filter(few).collect();
            let Some(&least) = small.iter().min_by_key(|&&class| sizes[class]) else {
                continue;
            };
            notes.push(format!(
                "the {name} part is small to {purpose}: {} samples, fewer than {FEW} in {} of {} \
                 classes ({:?} has {}); one sample is {:.1} points of {figure}",
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

/// Fails where a group has samples in two given parts. Copies may be: they are told.
///
/// # Errors
/// [`DataError::Straddles`], with the first such group.
fn ensure_together(dataset: &Dataset, given: &Given) -> Result<(), DataError> {
    let parts = given.parts(dataset.len());
    let mut first: HashMap<&str, (usize, Part)> = HashMap::new();
    for (sample, (group, part)) in dataset.group_names.iter().zip(parts).enumerate() {
        let Some(part) = part.filter(|_| !group.is_empty()) else {
            continue;
        };
        // Search and training are both what winners are trained on.
        let trains = |part: Part| matches!(part, Part::Search | Part::Train);
        let &mut (before, of) = first.entry(group).or_insert((sample, part));
        if of != part && !(trains(of) && trains(part)) {
            return Err(DataError::Straddles {
                group: group.clone(),
                first: of,
                sample: dataset.name(before),
                second: part,
                other: dataset.name(sample),
            });
        }
    }
    Ok(())
}

/// The samples of which parts are made.
fn pool(dataset: &Dataset) -> Vec<usize> {
    match dataset.given() {
        Some(given) => given.train.clone(),
        None => (0..dataset.len()).collect(),
    }
}

/// Groups among the samples `pool` alone, by the place of their first sample there.
fn within(groups: &[usize], pool: &[usize]) -> Vec<usize> {
    let mut first = HashMap::new();
    let places = pool.iter().enumerate();
    let group = places.map(|(place, &sample)| *first.entry(groups[sample]).or_insert(place));
    group.collect()
}

/// Splits samples of which those of a group stay together. Groups that are of nothing but copies are shared out where
/// their class has too few others.
fn split(
    labels: &[i64],
    (groups, copies): (&[usize], &[usize]),
    n_classes: usize,
    options: &SplitOptions,
    seen: &[bool],
    class_name: impl Fn(usize) -> String,
) -> Result<Split, DataError> {
    let options = &options.resolved(labels.len(), n_classes);
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
    let needed = shares.needed();
    // Arrays may lack a class altogether; nothing is asked of it.
    let too_few = |count: &usize| (1..needed).contains(count);
    if let Some(class) = samples.counts.iter().position(too_few) {
        return Err(DataError::ClassTooSmall {
            class: class_name(class),
            count: samples.counts[class],
            needed,
        });
    }
    // Copies may be shared out, groups may not.
    if let Some(class) = samples.units.iter().position(too_few)
        && groups != copies
    {
        return Err(DataError::TooFewGroups {
            class: class_name(class),
            groups: samples.units[class],
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
    let mut quotas = quotas(&samples.counts, &shares);
    // Where nothing but that is asked for, all is held out.
    if shares.of[..3].iter().any(|&share| share > 0.0) {
        samples.mark(seen);
        samples.limit(&mut quotas, &shares);
    }
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
