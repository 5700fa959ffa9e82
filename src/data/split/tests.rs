use super::*;

fn options(search: f64, train: f64) -> SplitOptions {
    SplitOptions {
        search_fraction: search,
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
        let fractions = [search * 0.7, search * 0.3, train, 1.0 - search - train];
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
fn the_default_divides_1000_into_70_30_700_200() {
    let labels = labels(&[400, 600]);
    let split = Split::stratified(&labels, 2, &SplitOptions::default()).unwrap();
    assert_eq!(lens(&split), [70, 30, 700, 200]);
    assert_eq!(count(&split.search, &labels, 0), 28);
    assert_eq!(count(&split.train, &labels, 0), 280);
}

#[test]
fn rounding_remainders_go_to_the_largest_so_totals_fit() {
    // 10 classes of 15: a tenth of each is 1.5, a tenth of all is 15, the minimum of 2 each 20.
    let split = Split::stratified(&labels(&[15; 10]), 10, &options(0.1, 0.7)).unwrap();
    assert_eq!(lens(&split), [10, 10, 105, 25]);
    // 10 classes of 25: 2.5 each, 25 in all.
    let split = Split::stratified(&labels(&[25; 10]), 10, &options(0.1, 0.7)).unwrap();
    assert_eq!(lens(&split), [15, 10, 175, 50]);
}

#[test]
fn every_class_is_searched_validated_and_trained_if_it_can_be() {
    for counts in COUNTS {
        let labels = labels(counts);
        let split = Split::stratified(&labels, counts.len(), &options(0.1, 0.7)).unwrap();
        for class in 0..counts.len() {
            for list in [&split.search, &split.validation, &split.train] {
                assert!(count(list, &labels, class) >= 1, "{counts:?} {split:?}");
            }
        }
    }
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
        search_fraction: 0.2,
        train_fraction: 0.5,
        seed: 3,
        shuffle: false,
    };
    let split = Split::stratified(&labels, 2, &options).unwrap();
    assert_eq!(split.search, [0, 1, 2, 20, 21, 22]);
    assert_eq!(split.validation, [3, 23]);
    let train: Vec<usize> = (4..14).chain(24..34).collect();
    assert_eq!(split.train, train);
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
