//! Parts that are given.

use super::*;
use crate::data::Given;

/// 100 samples of each of two classes, in turn, of which the last of each are in given parts.
fn given(validation: usize, held_out: usize) -> Dataset {
    let mut dataset = in_turn(100, 0);
    dataset.groups = (0..dataset.len()).collect();
    let list = |from: usize, count: usize| (from..from + count).collect::<Vec<_>>();
    let train = dataset.len() - validation - held_out;
    let some = |list: Vec<usize>| Some(list).filter(|list| !list.is_empty());
    dataset.given = Some(Given {
        search: None,
        validation: some(list(train, validation)),
        train: list(0, train),
        held_out: some(list(train + validation, held_out)),
        search_apart: false,
    });
    dataset
}

#[test]
fn given_lists_are_what_they_are_and_the_others_are_made_of_what_is_trained_on() {
    // Of `in_turn`'s samples, each class has one in turn.
    let samples = given(0, 0).len();
    for (validation, held_out, lens_of_rest) in [
        // Search 50 %, as much as half of what winners have; validation 10 %, held out 20 %.
        (0, 0, [0.35, 0.1, 0.35, 0.2]),
        (40, 0, [0.4, 0.0, 0.4, 0.2]),
        (0, 40, [0.45, 0.1, 0.45, 0.0]),
        (40, 60, [0.5, 0.0, 0.5, 0.0]),
    ] {
        let dataset = given(validation, held_out);
        let split = Split::of(&dataset, &SplitOptions::default()).unwrap();
        let pool = (samples - validation - held_out) as f64;
        let mut all: Vec<usize> = lists(&split).into_iter().flatten().copied().collect();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..samples));
        for ((list, share), given) in lists(&split)
            .into_iter()
            .zip(lens_of_rest)
            .zip([0, validation, 0, held_out])
        {
            match given {
                0 => assert!(
                    (list.len() as f64 - share * pool).abs() <= 2.0,
                    "{:?}",
                    lens(&split)
                ),
                given => assert_eq!(list.len(), given),
            }
        }
        let of = dataset.given().unwrap();
        for (list, given) in [
            (&split.validation, &of.validation),
            (&split.held_out, &of.held_out),
        ] {
            if let Some(given) = given {
                assert_eq!(list, given);
            }
        }
    }
}

#[test]
fn a_split_that_is_given_whole_is_that_split() {
    let mut dataset = given(0, 0);
    let split = Split::of(&in_turn(100, 0), &SplitOptions::default()).unwrap();
    for search_apart in [false, true] {
        dataset.given = Some(Given {
            search: Some(split.search.clone()),
            validation: Some(split.validation.clone()),
            train: split.train.clone(),
            held_out: Some(split.held_out.clone()),
            search_apart,
        });
        let same = Split::of(
            &dataset,
            &SplitOptions {
                seed: 9,
                ..SplitOptions::default()
            },
        )
        .unwrap();
        assert_eq!(
            same,
            Split {
                search_apart,
                ..split.clone()
            }
        );
    }
}

#[test]
fn a_class_that_cannot_be_trained_is_named() {
    let mut dataset = given(0, 40);
    let label = dataset.labels()[0];
    let given = dataset.given.as_mut().unwrap();
    given
        .train
        .retain(|&sample| dataset.labels[sample] != label);
    let error = Split::of(&dataset, &SplitOptions::default()).unwrap_err();
    let class = &dataset.classes()[label as usize];
    assert!(
        error.is_bad_input() && error.to_string().contains(&format!("{class:?}")),
        "{error}"
    );
    assert!(matches!(
        error,
        DataError::Untrained {
            part: Part::HeldOut,
            ..
        }
    ));
}

#[test]
fn what_is_trained_on_has_the_shares_of_the_parts_that_are_given() {
    let of = |given_parts: &[Part]| SplitOptions {
        given_parts: given_parts.to_vec(),
        search_fraction: Choice::Given(0.0),
        validation_fraction: Some(0.1),
        ..SplitOptions::default()
    };
    let winners = |parts: &[Part]| (100.0 * of(parts).winners_fraction()).round();
    assert_eq!(winners(&[]), 70.0);
    assert_eq!(winners(&[Part::Validation]), 80.0);
    assert_eq!(winners(&[Part::HeldOut]), 90.0);
    assert_eq!(winners(&[Part::Validation, Part::HeldOut]), 100.0);
    assert!(of(&[Part::Validation]).validates() && !of(&[]).searches());
}
