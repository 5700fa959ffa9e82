//! Exact copies in a split.

use super::*;

/// Labels with copies: groups of `size` samples, all in one class, or over two.
fn copied(samples: usize, size: usize, classes: usize, across: bool) -> (Vec<i64>, Vec<usize>) {
    let group = |i: usize| {
        if (i / size).is_multiple_of(3) {
            i / size * size
        } else {
            i
        }
    };
    let groups: Vec<usize> = (0..samples).map(group).collect();
    let label = |i: usize| match across && i % size == 1 {
        true => (i / size + 1) % classes,
        false => i / size % classes,
    };
    ((0..samples).map(|i| label(i) as i64).collect(), groups)
}

#[test]
fn copies_are_in_one_part_and_every_class_still_in_each() {
    for seed in 0..10 {
        for size in 2..6 {
            for across in [false, true] {
                let (labels, groups) = copied(180, size, 3, across);
                let options = SplitOptions {
                    search_fraction: Choice::Given(0.1),
                    seed,
                    ..SplitOptions::default()
                };
                let name = |class: usize| class.to_string();
                let split = split(&labels, (&groups, &groups), 3, &options, &[], name).unwrap();
                let mut part = vec![9; labels.len()];
                for (number, list) in lists(&split).into_iter().enumerate() {
                    list.iter().for_each(|&i| part[i] = number);
                    for class in 0..3 {
                        let least = usize::from(number != 2);
                        assert!(
                            count(list, &labels, class) >= least,
                            "{size} {across} {split:?}"
                        );
                    }
                }
                assert!(
                    groups
                        .iter()
                        .zip(&part)
                        .all(|(&g, &p)| part[g] == p && p < 4)
                );
                // Within a set of copies per class.
                let exact = [12.6, 18.0, 113.4, 36.0];
                for (len, exact) in lens(&split).into_iter().zip(exact) {
                    assert!(
                        (len as f64 - exact).abs() <= 3.0 * size as f64,
                        "{:?}",
                        lens(&split)
                    );
                }
            }
        }
    }
}

#[test]
fn copies_of_a_class_that_has_nothing_else_are_shared_out_and_told() {
    for (copies, apart) in [
        (0, false),
        (1, false),
        (60, false),
        (98, false),
        (99, true),
        (100, true),
    ] {
        let dataset = in_turn(100, copies);
        let split = Split::of(&dataset, &SplitOptions::default()).unwrap();
        for list in [&split.search, &split.validation, &split.held_out] {
            assert!(count(list, dataset.labels(), 0) >= 1, "{copies}");
        }
        let notes = split.notes(&dataset);
        let told = notes.iter().any(|note| note.contains("in another part"));
        assert_eq!(told, apart, "{copies}: {notes:?}");
    }
}
