//! Folds that take turns at being held out.

use super::groups::patients;
use super::*;

fn of_fold(number: usize, of: usize) -> SplitOptions {
    SplitOptions {
        fold: Some(Fold { number, of }),
        ..SplitOptions::default()
    }
}

/// The part of each sample, by the numbers of [`lists`].
fn parts(split: &Split, samples: usize) -> Vec<usize> {
    let mut part = vec![9; samples];
    for (number, list) in lists(split).into_iter().enumerate() {
        list.iter().for_each(|&sample| part[sample] = number);
    }
    part
}

#[test]
fn every_sample_is_held_out_once_and_folds_have_equal_shares_of_each_class() {
    for (dataset, within) in [
        (in_turn(52, 0), 1),
        (in_turn(52, 7), 7),
        (patients(false), 5),
    ] {
        let mut held_out = vec![0; dataset.len()];
        for number in 1..=5 {
            let split = Split::of(&dataset, &of_fold(number, 5)).unwrap();
            split
                .held_out
                .iter()
                .for_each(|&sample| held_out[sample] += 1);
            let parts = parts(&split, dataset.len());
            assert!(parts.iter().all(|part| *part < 4));
            let mut groups = dataset.groups().iter().zip(&parts);
            assert!(groups.all(|(&first, part)| parts[first] == *part));
            for class in 0..dataset.classes().len() {
                let all = (0..dataset.len()).collect::<Vec<_>>();
                let share = count(&all, dataset.labels(), class) as f64 / 5.0;
                let own = count(&split.held_out, dataset.labels(), class) as f64;
                assert!((own - share).abs() <= f64::from(within), "{own} of {share}");
            }
            // A tenth of the rest validates.
            let rest = dataset.len() - split.held_out.len();
            assert!((split.validation.len() as f64 - 0.1 * rest as f64).abs() <= 6.0);
        }
        assert!(held_out.iter().all(|times| *times == 1));
    }
}

#[test]
fn folds_follow_from_the_seed() {
    let dataset = in_turn(40, 0);
    let held_out = |seed| {
        let options = SplitOptions {
            seed,
            ..of_fold(2, 4)
        };
        Split::of(&dataset, &options).unwrap().held_out
    };
    assert_eq!(held_out(1), held_out(1));
    assert_ne!(held_out(1), held_out(2));
}

#[test]
fn folds_that_cannot_be_made_are_refused() {
    let mut dataset = patients(false);
    let refused = |dataset: &Dataset, of: usize| {
        let error = Split::of(dataset, &of_fold(1, of)).unwrap_err();
        assert!(
            error.is_bad_input() && error.to_string().contains("folds = "),
            "{error}"
        );
        error.to_string()
    };
    assert!(refused(&dataset, 25).contains("fewer samples"));
    dataset.given = Some(crate::data::Given {
        train: (0..100).collect(),
        held_out: Some((100..120).collect()),
        ..Default::default()
    });
    assert!(refused(&dataset, 3).contains("held out"));
}
