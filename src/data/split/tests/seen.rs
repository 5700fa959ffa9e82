//! Splits for models that were trained on some of the samples before.

use std::collections::BTreeSet;

use super::*;

/// 300 samples of three classes, of which every ninth and the next are copies.
fn samples() -> (Vec<i64>, Vec<usize>) {
    let labels = (0..300).map(|i| (i / 2 % 3) as i64).collect();
    let group = |i: usize| if i % 18 == 1 { i - 1 } else { i };
    (labels, (0..300).map(group).collect())
}

fn split_of(options: &SplitOptions, seen: &[bool]) -> Split {
    let (labels, groups) = samples();
    split(&labels, (&groups, &groups), 3, options, seen, |c| {
        c.to_string()
    })
    .unwrap()
}

fn seen_by(split: &Split) -> Vec<bool> {
    let held_out: BTreeSet<usize> = split.held_out.iter().copied().collect();
    (0..300).map(|i| !held_out.contains(&i)).collect()
}

#[test]
fn what_was_held_out_still_is_and_by_the_same_seed_all_else_is_as_it_was() {
    for shuffle in [true, false] {
        for seed in 0..20 {
            let options = |seed| SplitOptions {
                seed,
                shuffle,
                ..SplitOptions::default()
            };
            let first = split_of(&options(seed), &[]);
            let seen = seen_by(&first);
            assert_eq!(split_of(&options(seed), &seen), first);
            let other = split_of(&options(seed + 100), &seen);
            let held_out = |split: &Split| BTreeSet::from_iter(split.held_out.clone());
            let (was, is) = (held_out(&first), held_out(&other));
            assert!(is.is_subset(&was), "{seed}");
            // Sets of copies may not fit to the sample.
            assert!(
                was.len() - is.len() <= 3,
                "{seed}: {} {}",
                was.len(),
                is.len()
            );
            if shuffle {
                assert_ne!(other.train, first.train);
            }
        }
    }
}

#[test]
fn nothing_that_was_seen_is_held_out_whatever_the_fractions_ask_for() {
    let first = split_of(&SplitOptions::default(), &[]);
    let seen = seen_by(&first);
    for (search, train) in [(0.1, 0.3), (0.0, 0.2), (0.3, 0.5), (0.1, 0.85), (0.5, 0.0)] {
        for seed in 0..10 {
            let options = SplitOptions {
                seed,
                ..options(search, train)
            };
            let plain = split_of(&options, &[]);
            let split = split_of(&options, &seen);
            assert!(!split.held_out.iter().any(|&i| seen[i]), "{search} {train}");
            let most = plain.held_out.len().min(first.held_out.len());
            assert!(split.held_out.len() <= most + 3);
            assert!(split.held_out.len() + 6 >= most, "{search} {train} {seed}");
            let mut all: Vec<usize> = lists(&split).into_iter().flatten().copied().collect();
            all.sort_unstable();
            assert!(all.into_iter().eq(0..300));
        }
    }
}

#[test]
fn new_samples_are_shared_out_once_enough_are_held_out() {
    let seen: Vec<bool> = (0..300).map(|i| i < 150).collect();
    let split = split_of(&SplitOptions::default(), &seen);
    assert_eq!(split.held_out.len(), 60);
    assert!(split.held_out.iter().all(|&i| !seen[i]));
    assert!(split.train.iter().any(|&i| !seen[i]));
    // A class of which all were seen has none to hold out; the others have.
    let (labels, _) = samples();
    let seen: Vec<bool> = labels.iter().map(|&label| label == 0).collect();
    let split = split_of(&SplitOptions::default(), &seen);
    let held_out = [0, 1, 2].map(|class| count(&split.held_out, &labels, class));
    assert!(
        held_out[0] == 0 && held_out[1] >= 18 && held_out[2] >= 18,
        "{held_out:?}"
    );
}
