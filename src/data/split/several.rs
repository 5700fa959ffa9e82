//! Sharing out samples that may have several labels each.
//!
//! Source: Sechidis, Tsoumakas and Vlahavas, "On the Stratification of Multi-label Data", 2011: of the class with the
//! fewest samples left, each goes to the list that lacks most of that class; of equal lists to the one that lacks most
//! samples. Sets of samples that stay together go as one.

use std::collections::BTreeMap;

use rand::seq::SliceRandom;

use super::assign::quotas;
use super::options::Shares;
use super::{Split, SplitOptions};
use crate::data::DataError;
use crate::random::{Purpose, stream};

const HELD_OUT: usize = 3;
/// Of equal lists the first of these.
const ORDER: [usize; 4] = [0, 1, 3, 2];

/// Samples that stay together.
struct Unit {
    samples: Vec<usize>,
    /// How many of them are of each class that one is of.
    counts: BTreeMap<usize, usize>,
    /// Whether one of them must not be held out.
    is_seen: bool,
}

/// As [`Split::of`], of samples with these classes each; the other arguments are as in the split of samples that have
/// one.
pub(super) fn split(
    sets: &[&[u32]],
    (groups, copies): (&[usize], &[usize]),
    n_classes: usize,
    options: &SplitOptions,
    seen: &[bool],
    class_name: impl Fn(usize) -> String,
) -> Result<Split, DataError> {
    let options = &options.resolved(sets.len(), n_classes);
    let shares = Shares::of(options)?;
    let needed = shares.needed();
    let too_few = |count: &usize| (1..needed).contains(count);
    let mut samples = vec![0; n_classes];
    sets.iter()
        .flat_map(|set| set.iter())
        .for_each(|&class| samples[class as usize] += 1);
    if let Some(class) = samples.iter().position(too_few) {
        return Err(DataError::ClassTooSmall {
            class: class_name(class),
            count: samples[class],
            needed,
        });
    }
    let mut units = together(sets, groups, seen);
    let of_class = |units: &[Unit]| {
        let mut counts = vec![0; n_classes];
        let all = units.iter().flat_map(|unit| unit.counts.keys());
        all.for_each(|&class| counts[class] += 1);
        counts
    };
    let mut left = of_class(&units);
    if let Some(class) = left.iter().position(too_few) {
        if groups != copies {
            return Err(DataError::TooFewGroups {
                class: class_name(class),
                groups: left[class],
                needed,
            });
        }
        // Copies may be shared out.
        let mut parted = groups.to_vec();
        for (sample, set) in sets.iter().enumerate() {
            if set.iter().any(|&class| too_few(&left[class as usize])) {
                parted[sample] = sample;
            }
        }
        units = together(sets, &parted, seen);
        left = of_class(&units);
    }
    let lists = shared_out(units, left, (&samples, sets.len()), &shares, options);
    let [search, validation, train, held_out] = lists;
    Ok(Split {
        search,
        validation,
        train,
        held_out,
        search_apart: options.search_apart,
    })
}

fn together(sets: &[&[u32]], groups: &[usize], seen: &[bool]) -> Vec<Unit> {
    let mut units: BTreeMap<usize, Unit> = BTreeMap::new();
    for (sample, (set, &group)) in sets.iter().zip(groups).enumerate() {
        let unit = units.entry(group).or_insert_with(|| Unit {
            samples: Vec::new(),
            counts: BTreeMap::new(),
            is_seen: false,
        });
        unit.samples.push(sample);
        unit.is_seen |= seen.get(sample).is_some_and(|&seen| seen);
        for &class in *set {
            *unit.counts.entry(class as usize).or_default() += 1;
        }
    }
    units.into_values().collect()
}

/// The four lists; `left`: how many units each class has, `counts`: how many samples, and all together.
fn shared_out(
    mut units: Vec<Unit>,
    mut left: Vec<usize>,
    (counts, all): (&[usize], usize),
    shares: &Shares,
    options: &SplitOptions,
) -> [Vec<usize>; 4] {
    let mut rng = stream(Purpose::Split, options.seed, &[]);
    if options.shuffle {
        units.shuffle(&mut rng);
    }
    units.sort_by_key(|unit| std::cmp::Reverse(unit.samples.len()));
    let marked = units.iter().any(|unit| unit.is_seen);
    let mut missing: Vec<[isize; 4]> = quotas(counts, shares)
        .into_iter()
        .map(|quota| quota.map(|n| n as isize))
        .collect();
    let mut room = shares.of.map(|share| (share * all as f64).round() as isize);
    let mut unmet: Vec<[bool; 4]> = missing
        .iter()
        .map(|quota| std::array::from_fn(|l| shares.asked[l] && quota[l] > 0))
        .collect();
    let mut lists: [Vec<usize>; 4] = Default::default();
    let mut open: Vec<Option<Unit>> = units.into_iter().map(Some).collect();
    // The units of each class, in their order.
    let mut of_class: Vec<Vec<usize>> = vec![Vec::new(); counts.len()];
    for (at, unit) in open.iter().enumerate() {
        let classes = unit.iter().flat_map(|unit| unit.counts.keys());
        classes.for_each(|&class| of_class[class].push(at));
    }
    let mut put = |unit: Unit, class: Option<usize>, left: &mut [usize]| {
        let mut may = shares.of.map(|share| share > 0.0);
        may[HELD_OUT] &= !unit.is_seen;
        if let Some(class) = class {
            // What may be held out is, before it is anything else.
            if marked && may[HELD_OUT] && missing[class][HELD_OUT] > 0 {
                may = [false, false, false, true];
            }
            let without = unmet[class];
            let urgent: [bool; 4] = std::array::from_fn(|l| may[l] && without[l]);
            let lacking = without.iter().filter(|&&unmet| unmet).count();
            if left[class] <= lacking && urgent.contains(&true) {
                may = urgent;
            }
        }
        let lacks = |&l: &usize| (class.map_or(0, |class| missing[class][l]), room[l]);
        let lists_that_may = ORDER.into_iter().filter(|&l| may[l]).rev();
        let list = lists_that_may.max_by_key(lacks).unwrap_or(ORDER[3]);
        for (&class, &count) in &unit.counts {
            missing[class][list] -= count as isize;
            unmet[class][list] = false;
            left[class] -= 1;
        }
        room[list] -= unit.samples.len() as isize;
        lists[list].extend(unit.samples);
    };
    // The classes that still have units, the rarest first.
    while let Some(class) = (0..left.len())
        .filter(|&class| left[class] > 0)
        .min_by_key(|&class| left[class])
    {
        for &at in &of_class[class] {
            if let Some(unit) = open[at].take() {
                put(unit, Some(class), &mut left);
            }
        }
    }
    for unit in open.into_iter().flatten() {
        put(unit, None, &mut left);
    }
    for list in &mut lists {
        list.sort_unstable();
        if options.shuffle {
            list.shuffle(&mut rng);
        }
    }
    lists
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::LabelSets;

    /// Samples of three frequent classes, alone and together, of a rare one that is always with another, and of none.
    fn sets() -> LabelSets {
        LabelSets::of((0..200).map(|i| {
            let mut own: Vec<usize> = (0..3).filter(|class| i >> class & 1 == 1).collect();
            if i % 20 == 3 {
                own.push(3);
            }
            own
        }))
    }

    fn of(sets: &LabelSets, groups: &[usize], options: &SplitOptions) -> Split {
        let own: Vec<&[u32]> = (0..sets.len()).map(|sample| sets.get(sample)).collect();
        split(&own, (groups, groups), 4, options, &[], |c| c.to_string()).unwrap()
    }

    #[test]
    fn every_list_has_its_share_of_every_class() {
        let (sets, groups) = (sets(), Vec::from_iter(0..200));
        let options = SplitOptions::default();
        let split = of(&sets, &groups, &options);
        let shares = Shares::of(&options.resolved(200, 4)).unwrap();
        let lists = [
            &split.search,
            &split.validation,
            &split.train,
            &split.held_out,
        ];
        let mut all: Vec<usize> = lists.into_iter().flatten().copied().collect();
        all.sort_unstable();
        assert_eq!(all, groups, "each sample is in one list");
        let totals = sets.counts(4);
        assert_eq!(totals[3], 10);
        for (list, share) in lists.into_iter().zip(shares.of) {
            assert!(
                (list.len() as f64 - share * 200.0).abs() <= 3.0,
                "{split:?}"
            );
            for (class, &total) in totals.iter().enumerate() {
                let has = |sample: &&usize| sets.get(**sample).contains(&(class as u32));
                let count = list.iter().filter(has).count();
                let wanted = share * total as f64;
                assert!(
                    (count as f64 - wanted).abs() <= 2.0,
                    "{class}: {count} of {wanted}"
                );
                assert!(count > 0, "{class}");
            }
        }
        assert_eq!(of(&sets, &groups, &options), split, "of the seed alone");
    }

    #[test]
    fn groups_stay_together_and_what_was_seen_is_not_held_out() {
        let sets = sets();
        let groups: Vec<usize> = (0..200).map(|sample| sample - sample % 4).collect();
        let split_of = of(&sets, &groups, &SplitOptions::default());
        for list in [&split_of.search, &split_of.validation, &split_of.held_out] {
            let whole = |&&sample: &&usize| (0..4).all(|k| list.contains(&(groups[sample] + k)));
            assert_eq!(list.iter().filter(whole).count(), list.len());
        }
        let own: Vec<&[u32]> = (0..200).map(|sample| sets.get(sample)).collect();
        let seen: Vec<bool> = (0..200).map(|sample| sample < 100).collect();
        let single = Vec::from_iter(0..200);
        let sets = (single.as_slice(), single.as_slice());
        let options = SplitOptions::default();
        let made = split(&own, sets, 4, &options, &seen, |c| c.to_string()).unwrap();
        assert!(made.held_out.len() >= 30 && made.held_out.iter().all(|&s| s >= 100));
        let few: [&[u32]; 4] = [&[0], &[0, 1], &[0], &[1]];
        let four = [0, 1, 2, 3];
        let error = split(&few, (&four, &four), 2, &options, &[], |c| c.to_string());
        assert!(matches!(
            error,
            Err(DataError::ClassTooSmall { count: 2, .. })
        ));
    }
}
