mod copies;
mod folds;
mod given;
mod groups;
mod open;
mod seen;

use super::super::dataset::{Samples, Workers};
use super::assign::apportion;
use super::*;
use crate::choice::Choice;

fn options(search: f64, train: f64) -> SplitOptions {
    SplitOptions {
        search_fraction: search.into(),
        train_fraction: train,
        ..SplitOptions::default()
    }
}

/// Labels in an order that mixes the classes.
fn labels(counts: &[usize]) -> Vec<i64> {
    let mut left = counts.to_vec();
    let mut labels = vec![];
    while left.iter().any(|count| *count > 0) {
        for (class, count) in left.iter_mut().enumerate() {
            if *count > 0 {
                *count -= 1;
                labels.push(class as i64);
            }
        }
    }
    labels
}

fn lists(split: &Split) -> [&Vec<usize>; 4] {
    [
        &split.search,
        &split.validation,
        &split.train,
        &split.held_out,
    ]
}

fn lens(split: &Split) -> [usize; 4] {
    lists(split).map(Vec::len)
}

fn count(list: &[usize], labels: &[i64], class: usize) -> usize {
    list.iter().filter(|i| labels[**i] == class as i64).count()
}

const FRACTIONS: [(f64, f64); 8] = [
    (0.1, 0.7),
    (0.0, 1.0),
    (0.0, 0.7),
    (0.3, 0.7),
    (1.0, 0.0),
    (0.1, 0.9),
    (0.33, 0.33),
    (0.0, 0.0),
];
const COUNTS: [&[usize]; 5] = [
    &[100, 100],
    &[633, 898, 641, 699, 799],
    &[3, 3, 3],
    &[7, 50, 1000, 4],
    &[11, 13, 17, 19, 23, 29, 31, 37, 41, 43],
];

#[test]
fn lists_are_disjoint_and_together_hold_every_sample() {
    for counts in COUNTS {
        let labels = labels(counts);
        for (search, train) in FRACTIONS {
            for shuffle in [true, false] {
                let options = SplitOptions {
                    shuffle,
                    ..options(search, train)
                };
                let split = Split::stratified(&labels, counts.len(), &options).unwrap();
                let mut all: Vec<usize> = lists(&split).into_iter().flatten().copied().collect();
                all.sort_unstable();
                assert!(all.into_iter().eq(0..labels.len()));
            }
        }
    }
}

#[test]
fn classes_are_represented_by_their_share() {
    let counts = [633, 898, 641, 699, 799];
    let labels = labels(&counts);
    for (search, train) in FRACTIONS {
        let split = Split::stratified(&labels, 5, &options(search, train)).unwrap();
        let trained = train.max(search * 0.7);
        let fractions = [
            search * 0.7,
            search + train - trained,
            trained - search * 0.7,
            1.0 - search - train,
        ];
        for (list, fraction) in lists(&split).into_iter().zip(fractions) {
            let exact = fraction * labels.len() as f64;
            assert!((list.len() as f64 - exact).abs() <= 1.0, "{split:?}");
            for (class, of) in counts.into_iter().enumerate() {
                let exact = fraction * of as f64;
                let actual = count(list, &labels, class) as f64;
                // Held out is what three roundings leave.
                assert!((actual - exact).abs() < 3.0, "{actual} of {exact}");
            }
        }
    }
}

#[test]
fn of_1000_the_default_tries_on_350_chooses_by_100_trains_on_700_and_holds_200_out() {
    let labels = labels(&[400, 600]);
    let split = Split::stratified(&labels, 2, &SplitOptions::default()).unwrap();
    assert_eq!(lens(&split), [350, 100, 350, 200]);
    assert_eq!(count(&split.search, &labels, 0), 140);
    assert_eq!(count(&split.validation, &labels, 0), 40);
    assert_eq!(split.retraining().len(), 700);
    assert_eq!(count(&split.retraining(), &labels, 0), 280);
}

#[test]
fn the_papers_protocol_keeps_what_candidates_were_trained_on_from_the_winners() {
    let labels = labels(&[400, 600]);
    let options = SplitOptions {
        search_fraction: Choice::Given(0.1),
        search_apart: true,
        ..SplitOptions::default()
    };
    let split = Split::stratified(&labels, 2, &options).unwrap();
    assert_eq!(lens(&split), [70, 30, 700, 200]);
    let mut train = split.train.clone();
    train.sort_unstable();
    assert_eq!(split.retraining().len(), 700);
    assert!(split.retraining().iter().all(|i| !split.search.contains(i)));
}

#[test]
fn validation_has_the_share_that_is_asked_for() {
    let labels = labels(&[400, 600]);
    let with = |search, train, validation, search_apart| {
        let options = SplitOptions {
            validation_fraction: Some(validation),
            search_apart,
            ..options(search, train)
        };
        Split::stratified(&labels, 2, &options).map(|split| lens(&split))
    };
    assert_eq!(with(0.1, 0.7, 0.2, false).unwrap(), [70, 200, 630, 100]);
    assert_eq!(with(0.1, 0.7, 0.2, true).unwrap(), [70, 200, 700, 30]);
    assert_eq!(with(0.0, 0.7, 0.2, false).unwrap(), [0, 200, 700, 100]);
    assert_eq!(with(0.1, 0.7, 0.0, false).unwrap(), [70, 0, 630, 300]);
    for (search, train, validation) in [(0.1, 0.7, 0.31), (0.1, 1.0, 0.1), (0.1, 0.7, f64::NAN)] {
        let error = with(search, train, validation, false).unwrap_err();
        assert!(error.is_bad_input(), "{error}");
    }
}

#[test]
fn rounding_remainders_go_to_the_largest_so_totals_fit() {
    // 10 classes of 25: 1.75 of each to try on, 2.5 to choose by, 5 held out.
    let split = Split::stratified(&labels(&[25; 10]), 10, &options(0.1, 0.7)).unwrap();
    assert_eq!(lens(&split), [17, 25, 158, 50]);
}

#[test]
fn small_data_keep_the_shares_of_what_the_smallest_parts_leave() {
    // Of 2 × 5, one of each class must be tried on, chosen by and held out: training has what is left.
    let split = Split::stratified(&labels(&[5, 5]), 2, &options(0.1, 0.7)).unwrap();
    assert_eq!(lens(&split), [2, 2, 4, 2]);
    assert_eq!(split.retraining().len(), 6);
    // Of 3 × 10 a fifth is held out.
    let split = Split::stratified(&labels(&[10; 3]), 3, &options(0.1, 0.7)).unwrap();
    assert_eq!(lens(&split), [3, 3, 18, 6]);
}

/// Sizes of classes: equal and unequal ones, few and many, from the smallest that is accepted on.
fn sizes() -> impl Iterator<Item = Vec<usize>> {
    let equal = (3..40).flat_map(|size| [2, 3, 7, 40].map(|classes| vec![size; classes]));
    let unequal =
        (0..40).map(|i: usize| (0..2 + i % 5).map(|c| 3 + (i * i + c * 17) % 60).collect());
    equal.chain(unequal)
}

#[test]
fn every_class_of_three_is_tried_chosen_by_trained_on_and_held_out() {
    for counts in sizes() {
        let labels = labels(&counts);
        for fractions in [(0.1, 0.7), (0.05, 0.9), (0.4, 0.4), (0.02, 0.97)] {
            let options = options(fractions.0, fractions.1);
            let split = Split::stratified(&labels, counts.len(), &options).unwrap();
            let mut all = lists(&split).map(Vec::as_slice).concat();
            all.sort_unstable();
            assert!(all.into_iter().eq(0..labels.len()), "{counts:?}");
            let trained = split.retraining();
            for class in 0..counts.len() {
                for list in [&split.search, &split.validation, &trained, &split.held_out] {
                    assert!(
                        count(list, &labels, class) >= 1,
                        "{counts:?} {fractions:?} {split:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_class_of_two_is_split_where_nothing_is_searched() {
    let labels = labels(&[2, 2]);
    let split = Split::stratified(&labels, 2, &options(0.0, 0.7)).unwrap();
    assert_eq!(lens(&split), [0, 0, 2, 2]);
    assert!(Split::stratified(&labels, 2, &options(0.1, 0.7)).is_err());
    // Nothing is to be held out.
    assert!(Split::stratified(&labels, 2, &options(0.3, 0.7)).is_ok());
}

/// Samples of the classes a and b in turn; the first `copies` of a are copies of one.
fn in_turn(per_class: usize, copies: usize) -> Dataset {
    let group = |i: usize| {
        if i.is_multiple_of(2) && i / 2 < copies {
            0
        } else {
            i
        }
    };
    Dataset {
        classes: vec!["a".into(), "b".into()],
        labels: (0..2 * per_class as i64).map(|i| i % 2).collect(),
        sets: None,
        names: vec![],
        digests: vec![],
        groups: (0..2 * per_class).map(group).collect(),
        copies: (0..2 * per_class).map(group).collect(),
        group_names: Vec::new(),
        given: None,
        roots: Default::default(),
        skipped: vec![],
        told: Vec::new(),
        notes: vec![],
        fingerprint: String::new(),
        shape: [1, 1, 1],
        samples: Samples::Arrays(vec![0.0; 2 * per_class]),
        workers: Workers::default(),
    }
}

#[test]
fn parts_with_few_samples_of_a_class_are_told() {
    let notes = |per_class| {
        let dataset = in_turn(per_class, 0);
        let split = Split::of(&dataset, &SplitOptions::default()).unwrap();
        split.notes(&dataset)
    };
    assert_eq!(
        notes(5)[1],
        "the held-out part is small to judge by: 2 samples, fewer than 5 in 2 of 2 classes (\"a\" \
         has 1); one sample is 50.0 points of accuracy"
    );
    assert_eq!(notes(30).len(), 1);
    assert!(notes(500).is_empty());
}

#[test]
fn a_class_too_small_is_named_with_its_count() {
    let error = Split::stratified(&labels(&[9, 2]), 2, &options(0.1, 0.7)).unwrap_err();
    assert!(error.is_bad_input());
    assert_eq!(
        error.to_string(),
        "class \"1\" has 2 usable samples, but the split asked for needs at least 3 per class"
    );
    assert!(Split::stratified(&labels(&[9, 2]), 2, &options(0.0, 0.7)).is_ok());
    let error = Split::stratified(&labels(&[9, 1]), 2, &options(0.0, 0.7)).unwrap_err();
    assert!(
        error.to_string().contains("at least 2 per class"),
        "{error}"
    );
}

#[test]
fn without_search_everything_can_be_trained_on() {
    let split = Split::stratified(&labels(&[5, 6]), 2, &options(0.0, 1.0)).unwrap();
    assert_eq!(lens(&split), [0, 0, 11, 0]);
}

#[test]
fn the_seed_alone_decides_the_draw() {
    let labels = labels(&[50, 60]);
    let with = |seed| {
        let options = SplitOptions {
            seed,
            ..SplitOptions::default()
        };
        Split::stratified(&labels, 2, &options).unwrap()
    };
    assert_eq!(with(1), with(1));
    assert_ne!(with(1), with(2));
    assert_eq!(lens(&with(1)), lens(&with(2)));
}

#[test]
fn without_shuffle_each_list_takes_the_first_of_each_class_in_order() {
    let labels: Vec<i64> = (0..40).map(|i| i64::from(i >= 20)).collect();
    let options = SplitOptions {
        search_fraction: 0.2.into(),
        train_fraction: 0.5,
        validation_fraction: None,
        search_apart: false,
        seed: 3,
        shuffle: false,
        ..SplitOptions::default()
    };
    let split = Split::stratified(&labels, 2, &options).unwrap();
    assert_eq!(split.search, [0, 1, 2, 20, 21, 22]);
    assert_eq!(split.validation, [3, 4, 5, 6, 23, 24, 25, 26]);
    let train: Vec<usize> = (7..14).chain(27..34).collect();
    assert_eq!(split.train, train);
    let retraining: Vec<usize> = (0..3).chain(7..14).chain(20..23).chain(27..34).collect();
    assert_eq!(split.retraining(), retraining);
}

#[test]
fn impossible_fractions_and_labels_are_refused_by_name() {
    for (search, train, name) in [
        (-0.1, 0.5, "search_fraction"),
        (f64::NAN, 0.5, "search_fraction"),
        (0.1, 1.5, "train_fraction"),
        (0.5, 0.6, "search_fraction + train_fraction"),
    ] {
        let error = Split::stratified(&[0, 1], 2, &options(search, train)).unwrap_err();
        assert!(
            error.is_bad_input() && error.to_string().starts_with(name),
            "{error}"
        );
    }
    for label in [-1, 2] {
        assert!(Split::stratified(&[0, label], 2, &options(0.0, 1.0)).is_err());
    }
}

#[test]
fn apportioning_keeps_to_total_and_bounds() {
    assert_eq!(apportion(10, &[1, 1, 1], &[0; 3], &[9; 3]), [4, 3, 3]);
    assert_eq!(apportion(3, &[10, 10, 100], &[1; 3], &[9; 3]), [1, 1, 1]);
    assert_eq!(apportion(10, &[10, 10, 100], &[2; 3], &[9; 3]), [2, 2, 6]);
    assert_eq!(apportion(50, &[1, 1], &[0; 2], &[3, 4]), [3, 4]);
    assert_eq!(apportion(0, &[0, 0], &[0; 2], &[0; 2]), [0, 0]);
}

#[test]
fn a_class_without_samples_is_let_be() {
    let labels = [0, 2, 0, 2, 0, 2, 0, 2];
    let split = Split::stratified(&labels, 3, &SplitOptions::default()).unwrap();
    let lists = [split.search, split.validation, split.train, split.held_out];
    assert_eq!(lists.iter().map(Vec::len).sum::<usize>(), labels.len());
}

#[test]
fn candidates_are_ranked_on_validation_and_on_what_they_are_not_trained_on() {
    let labels = labels(&[90, 60, 30]);
    let split = Split::stratified(&labels, 3, &options(0.1, 0.7)).unwrap();
    let few = split.validation.len();
    for count in [0, 1, few] {
        assert_eq!(split.ranking(&labels, count), split.validation);
    }
    for wanted in [few + 1, few + 30, few + 61, 1000] {
        let ranking = split.ranking(&labels, wanted);
        let most = few + split.train.len();
        assert_eq!(ranking.len(), wanted.min(most));
        let distinct: HashSet<usize> = ranking.iter().copied().collect();
        assert_eq!(distinct.len(), ranking.len());
        assert!(split.validation.iter().all(|i| distinct.contains(i)));
        assert!(split.search.iter().all(|i| !distinct.contains(i)));
        assert!(split.held_out.iter().all(|i| !distinct.contains(i)));
        for (class, share) in [(0, 0.5), (1, 1.0 / 3.0), (2, 1.0 / 6.0)] {
            let expected = share * ranking.len() as f64;
            let found = count(&ranking, &labels, class) as f64;
            assert!(
                (found - expected).abs() <= 2.0,
                "{class}: {found} of {expected}"
            );
        }
    }
    let nothing = Split {
        validation: Vec::new(),
        ..split
    };
    assert!(nothing.ranking(&labels, 50).is_empty());
}

#[test]
fn a_spread_has_each_class_by_its_share() {
    let labels = labels(&[80, 20]);
    let all: Vec<usize> = (0..100).collect();
    let few = Split::spread(&all, &labels, 10);
    assert_eq!((few.len(), count(&few, &labels, 1)), (10, 2));
    assert_eq!(Split::spread(&all, &labels, 1000), all);
    assert!(
        Split::spread(&all, &labels, 0).is_empty() && Split::spread(&[], &labels, 5).is_empty()
    );
}
