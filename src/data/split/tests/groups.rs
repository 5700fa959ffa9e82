//! Groups in a split.

use super::*;
use crate::data::Given;

/// 120 samples of three classes of which those of a patient, five of one class or of two, stay together.
pub(super) fn patients(across: bool) -> Dataset {
    let count = 120;
    let patient = |i: usize| i / 5;
    let label = |i: usize| match across && i % 5 > 2 {
        true => (patient(i) + 1) % 3,
        false => patient(i) % 3,
    };
    Dataset {
        classes: ["a", "b", "c"].map(str::to_owned).to_vec(),
        labels: (0..count).map(|i| label(i) as i64).collect(),
        sets: None,
        copies: (0..count).collect(),
        groups: (0..count).map(|i| i / 5 * 5).collect(),
        group_names: (0..count).map(|i| format!("p{}", patient(i))).collect(),
        samples: Samples::Arrays(vec![0.0; count]),
        ..in_turn(0, 0)
    }
}

#[test]
fn groups_are_in_one_part_and_the_parts_have_their_shares() {
    for seed in 0..10 {
        for across in [false, true] {
            let dataset = patients(across);
            let options = SplitOptions {
                seed,
                ..SplitOptions::default()
            };
            let split = Split::of(&dataset, &options).unwrap();
            let mut part = vec![9; dataset.len()];
            for (number, list) in lists(&split).into_iter().enumerate() {
                list.iter().for_each(|&i| part[i] = number);
            }
            let groups = dataset.groups().iter().zip(&part);
            assert!(groups.into_iter().all(|(&first, &own)| part[first] == own));
            for (len, share) in lens(&split).into_iter().zip([0.35, 0.1, 0.35, 0.2]) {
                assert!(
                    (len as f64 - 120.0 * share).abs() <= 15.0,
                    "{:?}",
                    lens(&split)
                );
            }
            for class in 0..3 {
                assert!(
                    count(&split.held_out, dataset.labels(), class) > 0,
                    "{across} {split:?}"
                );
            }
        }
    }
}

#[test]
fn a_class_of_too_few_groups_is_refused_and_copies_are_not() {
    let mut dataset = patients(false);
    for (sample, label) in dataset.labels.iter().enumerate() {
        if *label == 1 {
            dataset.groups[sample] = 5;
        }
    }
    let error = Split::of(&dataset, &SplitOptions::default()).unwrap_err();
    assert!(error.is_bad_input(), "{error}");
    assert!(
        error.to_string().contains("class \"b\" are of 1 groups"),
        "{error}"
    );
    dataset.copies.clone_from(&dataset.groups);
    Split::of(&dataset, &SplitOptions::default()).unwrap();
}

#[test]
fn a_group_in_two_given_parts_is_refused_by_name() {
    let mut dataset = patients(false);
    let mut given = Given {
        train: (0..100).collect(),
        held_out: Some((100..120).collect()),
        ..Given::default()
    };
    dataset.given = Some(given.clone());
    Split::of(&dataset, &SplitOptions::default()).unwrap();
    given.train.retain(|&sample| sample != 99);
    given.held_out.as_mut().unwrap().push(99);
    dataset.given = Some(given);
    let error = Split::of(&dataset, &SplitOptions::default()).unwrap_err();
    assert!(error.is_bad_input(), "{error}");
    assert!(error.to_string().contains("\"p19\""), "{error}");
}
