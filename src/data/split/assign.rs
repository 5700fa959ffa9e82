//! How many samples of each class go to each list, and which.

use std::collections::BTreeMap;

use rand::seq::SliceRandom;

use crate::random::{Purpose, stream};

use super::{Shares, SplitOptions};

/// The order in which lists take their share of what the ones before left; the last takes the rest.
const ORDER: [usize; 4] = [0, 1, 3, 2];

/// Samples by class, copies of each other together.
pub(super) struct Samples {
    /// Samples per class.
    pub counts: Vec<usize>,
    /// Of each class, the samples that are not copies of each other.
    pub units: Vec<usize>,
    /// Sets of copies: class and index of each sample.
    copies: Vec<Vec<(usize, usize)>>,
    /// The others, by class.
    alone: Vec<Vec<usize>>,
    /// Of each sample, whether it must not be held out; of none where all may be.
    seen: Vec<bool>,
}

/// The list of what is held out, and that of what is trained on.
const HELD_OUT: usize = 3;
const TRAIN: usize = 2;

impl Samples {
    /// Samples of these `classes`; those of one of the `groups` are copies of each other.
    pub fn new(classes: &[usize], groups: &[usize], n_classes: usize) -> Self {
        let mut sets: BTreeMap<usize, Vec<(usize, usize)>> = BTreeMap::new();
        for (sample, (&class, &group)) in classes.iter().zip(groups).enumerate() {
            sets.entry(group).or_default().push((class, sample));
        }
        let mut samples = Samples {
            counts: vec![0; n_classes],
            units: vec![0; n_classes],
            copies: Vec::new(),
            alone: vec![Vec::new(); n_classes],
            seen: Vec::new(),
        };
        for set in sets.into_values() {
            for (class, count) in counted(&set) {
                samples.counts[class] += count;
                samples.units[class] += 1;
            }
            match set.as_slice() {
                &[(class, sample)] => samples.alone[class].push(sample),
                _ => samples.copies.push(set),
            }
        }
        samples
    }

    /// Notes which samples must not be held out: neither are their copies.
    pub fn mark(&mut self, seen: &[bool]) {
        self.seen = seen.to_vec();
        for set in &self.copies {
            let any = set.iter().any(|&(_, sample)| self.is_seen(sample));
            if any {
                set.iter().for_each(|&(_, sample)| self.seen[sample] = true);
            }
        }
    }

    fn is_seen(&self, sample: usize) -> bool {
        self.seen.get(sample).is_some_and(|&seen| seen)
    }

    /// Takes from what is to be held out of each class as many as there are too few that may be.
    pub fn limit(&self, quotas: &mut [[usize; 4]], shares: &Shares) {
        let copies = self.copies.iter().flatten().copied();
        let alone = (0..).zip(&self.alone);
        let alone = alone.flat_map(|(class, list)| list.iter().map(move |&sample| (class, sample)));
        let mut unseen = vec![0_usize; quotas.len()];
        for (class, sample) in copies.chain(alone) {
            unseen[class] += usize::from(!self.is_seen(sample));
        }
        // They are trained on: by the winners, or where these are trained on nothing of their own, by all.
        let to = if shares.of[TRAIN] > 0.0 { TRAIN } else { 0 };
        for (quota, unseen) in quotas.iter_mut().zip(unseen) {
            let too_many = quota[HELD_OUT].saturating_sub(unseen);
            quota[HELD_OUT] -= too_many;
            quota[to] += too_many;
        }
    }
}

/// How many of a set are of each class.
fn counted(set: &[(usize, usize)]) -> BTreeMap<usize, usize> {
    let mut counts = BTreeMap::new();
    for &(class, _) in set {
        *counts.entry(class).or_default() += 1;
    }
    counts
}

/// How many of the samples of each class each list is to have.
pub(super) fn quotas(counts: &[usize], shares: &Shares) -> Vec<[usize; 4]> {
    let mut quotas = vec![[0; 4]; counts.len()];
    let mut left = counts.to_vec();
    let mut open: Vec<usize> = ORDER.into_iter().filter(|&l| shares.of[l] > 0.0).collect();
    while !open.is_empty() {
        let list = open.remove(0);
        let later = open.iter().filter(|&&l| shares.asked[l]).count();
        let total: usize = left.iter().sum();
        let others: f64 = open.iter().map(|&l| shares.of[l]).sum();
        let part = shares.of[list] / (shares.of[list] + others);
        let target = (part * total as f64).round() as usize;
        let least: Vec<usize> = left
            .iter()
            .map(|&n| n.min(usize::from(shares.asked[list])))
            .collect();
        let most: Vec<usize> = left.iter().map(|n| n.saturating_sub(later)).collect();
        let given = match open.is_empty() {
            true => left.clone(),
            false => apportion(target, &left, &least, &most),
        };
        for ((quota, left), given) in quotas.iter_mut().zip(&mut left).zip(given) {
            quota[list] = given;
            *left -= given;
        }
    }
    quotas
}

/// The four lists: sets of copies first, each where most is missing, then the other samples.
pub(super) fn assign(
    samples: Samples,
    quotas: Vec<[usize; 4]>,
    shares: &Shares,
    options: &SplitOptions,
) -> [Vec<usize>; 4] {
    let Samples {
        mut units,
        mut copies,
        alone,
        seen,
        ..
    } = samples;
    let is_seen = |sample: usize| seen.get(sample).is_some_and(|&seen| seen);
    let marked = seen.contains(&true);
    let mut rng = stream(Purpose::Split, options.seed, &[]);
    let mut lists: [Vec<usize>; 4] = Default::default();
    let mut missing: Vec<[isize; 4]> = quotas.iter().map(|q| q.map(|n| n as isize)).collect();
    // Lists in which a class must still get a sample.
    let mut unmet: Vec<[bool; 4]> = vec![shares.asked; quotas.len()];
    for (unmet, quota) in unmet.iter_mut().zip(&quotas) {
        unmet[HELD_OUT] &= quota[HELD_OUT] > 0;
    }

    if options.shuffle {
        copies.shuffle(&mut rng);
    }
    copies.sort_by_key(|set| std::cmp::Reverse(set.len()));
    for set in copies {
        let counts = counted(&set);
        let mut open = shares.of.map(|share| share > 0.0);
        if marked {
            let held_out = |&class: &usize| missing[class][HELD_OUT];
            let is_wanted = counts.keys().map(held_out).sum::<isize>() > 0;
            match set.iter().any(|&(_, sample)| is_seen(sample)) {
                true => open[HELD_OUT] = false,
                // What may be held out is, before it is anything else.
                false if open[HELD_OUT] && is_wanted => open = [false, false, false, true],
                false => {}
            }
        }
        for &class in counts.keys() {
            let unmet = unmet[class];
            if units[class] <= unmet.iter().filter(|&&u| u).count() {
                let both: [bool; 4] = std::array::from_fn(|l| open[l] && unmet[l]);
                // Where two classes ask for different lists, one must do without.
                if both.contains(&true) {
                    open = both;
                }
            }
        }
        let lacking = |&l: &usize| counts.keys().map(|&c| missing[c][l]).sum::<isize>();
        let list = ORDER.into_iter().filter(|&l| open[l]).max_by_key(lacking);
        let list = list.unwrap_or(ORDER[3]);
        for (&class, &count) in &counts {
            missing[class][list] -= count as isize;
            unmet[class][list] = false;
            units[class] -= 1;
        }
        lists[list].extend(set.iter().map(|&(_, sample)| sample));
    }

    for (class, mut samples) in alone.into_iter().enumerate() {
        if options.shuffle {
            samples.shuffle(&mut rng);
        }
        // Those that may be held out stand at the end, from where they are.
        samples.sort_by_key(|&sample| !is_seen(sample));
        let unseen = samples.iter().filter(|&&sample| !is_seen(sample)).count();
        let mut least = unmet[class].map(usize::from);
        let mut most = shares.of.map(|share| match share > 0.0 {
            true => samples.len(),
            false => 0,
        });
        most[HELD_OUT] = most[HELD_OUT].min(unseen);
        least[HELD_OUT] = least[HELD_OUT].min(unseen);
        let mut weights = missing[class].map(|n| usize::try_from(n).unwrap_or(0));
        if weights == [0; 4] {
            weights = shares.of.map(|share| (share * 1e6) as usize);
            weights[HELD_OUT] *= usize::from(unseen > 0);
        }
        let counts = apportion(samples.len(), &weights, &least, &most);
        let mut rest = samples.as_slice();
        for (list, count) in lists.iter_mut().zip(counts) {
            let (taken, others) = rest.split_at(count.min(rest.len()));
            list.extend(taken);
            rest = others;
        }
    }
    for list in &mut lists {
        list.sort_unstable();
        if options.shuffle {
            list.shuffle(&mut rng);
        }
    }
    lists
}

/// Shares `total` out in proportion to `weights` by largest remainders, each share within its
/// `least..=most`; where these bounds do not admit `total`, as near to it as they do.
pub(super) fn apportion(
    total: usize,
    weights: &[usize],
    least: &[usize],
    most: &[usize],
) -> Vec<usize> {
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
