//! A search whose share follows from the data.

use super::*;

#[test]
fn a_share_of_the_search_that_is_left_open_gives_candidates_enough_to_train_on() {
    let auto = SplitOptions {
        search_fraction: Choice::Auto,
        ..SplitOptions::default()
    };
    let share = |options: &SplitOptions, samples, classes| {
        let SplitOptions {
            search_fraction,
            validation_fraction,
            ..
        } = options.resolved(samples, classes);
        (search_fraction.given().unwrap(), validation_fraction)
    };
    // 700 of them, 20 of each class, and no more than half of what winners are trained on.
    assert_eq!(share(&auto, 3670, 5), (0.28, Some(0.1)));
    assert_eq!(share(&auto, 100_000, 100), (0.03, Some(0.1)));
    assert_eq!(share(&auto, 300, 5), (0.5, Some(0.1)));
    let apart = SplitOptions {
        search_apart: true,
        ..auto.clone()
    };
    assert_eq!(share(&apart, 300, 5), (0.15, None));
    let counts = [734; 5];
    let split = Split::stratified(&labels(&counts), 5, &auto).unwrap();
    assert_eq!(split.retraining().len(), 2569);
    let near = |part: &[usize], expected: usize| part.len().abs_diff(expected) < 10;
    assert!(near(&split.search, 719) && near(&split.validation, 367));
    assert!(near(&split.held_out, 734));
    assert_eq!(auto.resolved(300, 5).resolved(9, 9), auto.resolved(300, 5));
}
