//! Sharing out a data set between the search, the retraining and the final figures.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::{DataError, Dataset};

/// The part of the search share on which candidates are trained.
const SEARCH_TRAIN_FRACTION: f64 = 0.7;
/// Fractions given in decimal may add up to a little more than 1.
const EPSILON: f64 = 1e-9;

/// How to make a [`Split`].
#[derive(Debug, Clone, PartialEq)]
pub struct SplitOptions {
    /// The share of the samples the search uses (`search` and `validation`), 0 to 1.
    pub search_fraction: f64,
    /// The share of the samples the winners are retrained on, 0 to 1.
    pub train_fraction: f64,
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
            seed: 0,
            shuffle: true,
        }
    }
}

/// Four disjoint lists of sample indices that together hold every sample.
///
/// The share of `search_fraction` is divided 70 : 30 into `search` and `validation`;
/// `train_fraction` goes to `train`; the rest is held out. Each class is represented in each list
/// by its share, up to rounding by largest remainders, so that the lists' lengths fit the
/// fractions of the whole. Where a fraction is above 0, every class gets at least one sample in
/// each of its lists, even if that exceeds the fraction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// Candidates are trained on these.
    pub search: Vec<usize>,
    /// Candidates are ranked on these; also watched while the winners are retrained.
    pub validation: Vec<usize>,
    /// The winners are retrained on these.
    pub train: Vec<usize>,
    /// Used only for the final figures.
    pub held_out: Vec<usize>,
}

impl Split {
    /// Splits samples with these `labels`, each within `0..n_classes`.
    ///
    /// # Errors
    /// When a fraction is outside 0..=1, the fractions add up to more than 1, or a class has too
    /// few samples for one in each list its fractions ask for.
    pub fn stratified(
        labels: &[i64],
        n_classes: usize,
        options: &SplitOptions,
    ) -> Result<Self, DataError> {
        split(labels, n_classes, options, |class| class.to_string())
    }

    /// As [`Split::stratified`], with the classes' names in errors.
    ///
    /// # Errors
    /// As [`Split::stratified`].
    pub fn of(dataset: &Dataset, options: &SplitOptions) -> Result<Self, DataError> {
        let classes = dataset.classes();
        split(dataset.labels(), classes.len(), options, |class| {
            classes[class].clone()
        })
    }
}

fn check_fractions(options: &SplitOptions) -> Result<(), DataError> {
    let SplitOptions {
        search_fraction: search,
        train_fraction: train,
        ..
    } = *options;
    for (option, fraction) in [("search_fraction", search), ("train_fraction", train)] {
        if !(0.0..=1.0).contains(&fraction) {
            return Err(DataError::option(
                option,
                fraction,
                "expected a number from 0 to 1",
            ));
        }
    }
    if search + train > 1.0 + EPSILON {
        return Err(DataError::option(
            "search_fraction + train_fraction",
            search + train,
            "together they exceed 1",
        ));
    }
    Ok(())
}

fn split(
    labels: &[i64],
    n_classes: usize,
    options: &SplitOptions,
    class_name: impl Fn(usize) -> String,
) -> Result<Split, DataError> {
    check_fractions(options)?;
    let mut members = vec![Vec::new(); n_classes];
    for (sample, &label) in labels.iter().enumerate() {
        let class = usize::try_from(label)
            .ok()
            .and_then(|class| members.get_mut(class));
        let Some(class) = class else {
            let reason = format!("sample {sample} is outside 0..{n_classes}");
            return Err(DataError::option("label", label, reason));
        };
        class.push(sample);
    }
    let counts: Vec<usize> = members.iter().map(Vec::len).collect();
    let in_search = if options.search_fraction > 0.0 { 2 } else { 0 };
    let in_train = usize::from(options.train_fraction > 0.0);
    let needed = (in_search + in_train).max(1);
    if let Some(class) = counts.iter().position(|count| (1..needed).contains(count)) {
        return Err(DataError::ClassTooSmall {
            class: class_name(class),
            count: counts[class],
            needed,
        });
    }

    let total = labels.len();
    let share = |fraction: f64, of: usize| (fraction * of as f64).round() as usize;
    // Arrays may lack a class altogether; nothing is asked of it.
    let ones = |n: usize| -> Vec<usize> { counts.iter().map(|&count| n.min(count)).collect() };
    let less = |from: &[usize], taken: &[usize]| -> Vec<usize> {
        from.iter()
            .zip(taken)
            .map(|(from, taken)| from - taken)
            .collect()
    };

    let most = less(&counts, &ones(in_train));
    let both = apportion(
        share(options.search_fraction, total),
        &counts,
        &ones(in_search),
        &most,
    );
    let searched: usize = both.iter().sum();
    let validated = less(&both, &ones(in_search / 2));
    let search = apportion(
        share(SEARCH_TRAIN_FRACTION, searched),
        &both,
        &ones(in_search / 2),
        &validated,
    );
    let left = less(&counts, &both);
    let train = apportion(
        share(options.train_fraction, total).min(total - searched),
        &left,
        &ones(in_train),
        &left,
    );

    let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
    let mut split = Split {
        search: vec![],
        validation: vec![],
        train: vec![],
        held_out: vec![],
    };
    for (class, mut samples) in members.into_iter().enumerate() {
        if options.shuffle {
            samples.shuffle(&mut rng);
        }
        let (in_search, rest) = samples.split_at(search[class]);
        let (in_validation, rest) = rest.split_at(both[class] - search[class]);
        let (in_train, in_held_out) = rest.split_at(train[class]);
        split.search.extend(in_search);
        split.validation.extend(in_validation);
        split.train.extend(in_train);
        split.held_out.extend(in_held_out);
    }
    for list in [
        &mut split.search,
        &mut split.validation,
        &mut split.train,
        &mut split.held_out,
    ] {
        list.sort_unstable();
        if options.shuffle {
            list.shuffle(&mut rng);
        }
    }
    Ok(split)
}

/// Shares `total` out in proportion to `weights` by largest remainders, each share within its
/// `least..=most`; where these bounds do not admit `total`, as near to it as they do.
fn apportion(total: usize, weights: &[usize], least: &[usize], most: &[usize]) -> Vec<usize> {
    let sum: usize = weights.iter().sum();
    let quota = |i: usize| total as f64 * weights[i] as f64 / sum.max(1) as f64;
    let mut shares: Vec<usize> = (0..weights.len())
        .map(|i| (quota(i) as usize).min(most[i]).max(least[i]))
        .collect();
    let mut given: usize = shares.iter().sum();
    let owed = |shares: &[usize], i: usize| quota(i) - shares[i] as f64;
    while given < total {
        // The first of equals, so that the result does not depend on the search.
        let next = (0..shares.len())
            .filter(|&i| shares[i] < most[i])
            .rev()
            .max_by(|&a, &b| owed(&shares, a).total_cmp(&owed(&shares, b)));
        let Some(next) = next else { break };
        shares[next] += 1;
        given += 1;
    }
    while given > total {
        let next = (0..shares.len())
            .filter(|&i| shares[i] > least[i])
            .min_by(|&a, &b| owed(&shares, a).total_cmp(&owed(&shares, b)));
        let Some(next) = next else { break };
        shares[next] -= 1;
        given -= 1;
    }
    shares
}

#[cfg(test)]
mod tests;
