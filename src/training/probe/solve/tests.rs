use super::*;
use crate::training::probe::lbfgs::Function;

fn pool(threads: usize) -> ThreadPool {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .unwrap()
}

/// Numbers from -1 to 1 that look random and are always the same.
fn noise(count: usize) -> impl Iterator<Item = f64> {
    let mut state = 12345u32;
    (0..count).map(move |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(state >> 8) / f64::from(1u32 << 23) - 1.0
    })
}

/// 60 samples of 3 classes, 30, 20 and 10 of each, with 6 features of different sizes.
fn sixty() -> (Vec<f32>, Vec<usize>) {
    let labels: Vec<usize> = (0..60).map(|i| [0, 0, 0, 1, 1, 2][i % 6]).collect();
    let mut features: Vec<f64> = noise(360).collect();
    for (row, &label) in features.chunks_mut(6).zip(&labels) {
        row[label] += 0.7;
        for (value, (times, plus)) in row.iter_mut().zip([
            (1.0, 0.0),
            (10.0, 5.0),
            (0.1, -1.0),
            (1.0, 3.0),
            (1.0, 0.0),
            (1.0, 0.0),
        ]) {
            *value = *value * times + plus;
        }
    }
    (features.into_iter().map(|v| v as f32).collect(), labels)
}

fn samples<'a>(
    features: &[f32],
    labels: &'a [usize],
    classes: usize,
    class_weights: Option<&'a [f32]>,
) -> Samples<'a> {
    Samples {
        columns: features.len() / labels.len(),
        features: features.to_vec(),
        labels,
        sets: None,
        classes,
        class_weights,
    }
}

fn solved(features: &[f32], labels: &[usize], classes: usize) -> Solved {
    let samples = samples(features, labels, classes, None);
    solve(samples, &pool(2), &|_| true).unwrap()
}

/// What a head gives for features, row by row.
fn probabilities(head: &Solved, features: &[f32], columns: usize) -> Vec<Vec<f64>> {
    let classes = head.bias.len();
    let rows = features.chunks(columns);
    rows.map(|row| {
        let mut scores: Vec<f64> = head.bias.iter().map(|&b| f64::from(b)).collect();
        for (x, weights) in row.iter().zip(head.weight.chunks(classes)) {
            for (score, w) in scores.iter_mut().zip(weights) {
                *score += f64::from(*x) * f64::from(*w);
            }
        }
        let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = scores.iter().map(|z| (z - top).exp()).sum();
        scores.iter().map(|z| (z - top).exp() / sum).collect()
    })
    .collect()
}

fn assert_close(found: &[Vec<f64>], expected: &[[f64; 3]]) {
    for (found, expected) in found.iter().zip(expected) {
        for (f, e) in found.iter().zip(expected) {
            assert!((f - e).abs() < 1e-4, "{found:?} is not {expected:?}");
        }
    }
}

/// Made by scikit-learn 1.9 from the same numbers:
///
/// ```python
/// n, d, c = 60, 6, 3
/// labels = np.array([[0, 0, 0, 1, 1, 2][i % 6] for i in range(n)])
/// x = np.array(noise(n * d)).reshape(n, d)
/// x[np.arange(n), labels] += 0.7
/// x = (x * [1, 10, 0.1, 1, 1, 1] + [0, 5, -1, 3, 0, 0]).astype(np.float32).astype(float)
/// z = StandardScaler().fit_transform(x)
/// folds, turn = np.zeros(n, int), 0
/// for k in range(c):
///     for i in np.flatnonzero(labels == k):
///         folds[i], turn = turn % 5, turn + 1
/// for balanced in [None, "balanced"]:
///     s = np.ones(n) if balanced is None else (n / (c * np.bincount(labels)))[labels]
///     def fit(rows, strength):
///         head = LogisticRegression(C=1 / (strength * s[rows].sum()), tol=1e-12, max_iter=100000)
///         return head.fit(z[rows], labels[rows], sample_weight=s[rows])
///     tried = []
///     for step in range(20):
///         strength, loss = 0.1 * d * 0.1 ** (step / 2), 0
///         for fold in range(5):
///             head, held = fit(folds != fold, strength), folds == fold
///             p = head.predict_proba(z[held])
///             loss += (s[held] * -np.log(p[np.arange(held.sum()), labels[held]])).sum()
///         tried.append((loss / s.sum(), strength))
///         if step and tried[-1][0] >= tried[-2][0]:
///             break
///     loss, strength = tried[-2]
///     print(strength, loss, fit(np.arange(n) >= 0, strength).predict_proba(z)[:4])
/// ```
#[test]
fn heads_strengths_and_losses_are_those_of_scikit_learn() {
    let (features, labels) = sixty();
    let balanced = [60.0 / 90.0, 1.0, 2.0];
    let plain = [
        [0.639509, 0.164965, 0.195526],
        [0.596469, 0.242432, 0.161099],
        [0.820794, 0.057266, 0.121940],
        [0.202079, 0.629202, 0.168718],
    ];
    let of_balanced = [
        [0.426925, 0.164361, 0.408714],
        [0.454041, 0.253396, 0.292564],
        [0.650269, 0.066477, 0.283254],
        [0.144745, 0.586129, 0.269127],
    ];
    for (weights, loss, expected) in [
        (None, 0.78227030, plain),
        (Some(&balanced[..]), 0.86888946, of_balanced),
    ] {
        let samples = samples(&features, &labels, 3, weights);
        let head = solve(samples, &pool(1), &|_| true).unwrap();
        assert!((head.strength - 0.18973666).abs() < 1e-6, "{head:?}");
        assert!((head.loss.unwrap() - loss).abs() < 1e-4, "{head:?}");
        assert!(head.slope <= WANTED.tolerance, "{head:?}");
        assert_close(&probabilities(&head, &features, 6), &expected);
    }
}

/// By the same script, with a strength of 1e-3.
#[test]
fn weak_penalties_are_solved_as_well() {
    let (features, labels) = sixty();
    let pool = pool(1);
    let problem = Problem::new(samples(&features, &labels, 3, None), &pool).unwrap();
    let head = problem.fit(1e-3, None, &|| true).unwrap();
    assert!(head.slope <= WANTED.tolerance, "{head:?}");
    let expected = [
        [0.657020, 0.077526, 0.265454],
        [0.775853, 0.145423, 0.078725],
        [0.928052, 0.006577, 0.065371],
        [0.119580, 0.787900, 0.092520],
    ];
    assert_close(&probabilities(&head, &features, 6), &expected);
}

#[test]
fn the_gradient_is_that_of_the_loss() {
    let (features, labels) = sixty();
    let pool = pool(1);
    let problem = Problem::new(samples(&features, &labels, 3, None), &pool).unwrap();
    let counts = (0..60).map(|i| f64::from(i % 4)).collect();
    let mut function = problem.logistic(0.1, counts, &|| true);
    let x: Vec<f64> = noise(21).collect();
    let mut gradient = vec![0.0; 21];
    function.evaluate(&x, &mut gradient).unwrap();
    let mut value = |x: &[f64]| function.evaluate(x, &mut [0.0; 21]).unwrap();
    for (i, slope) in gradient.iter().enumerate() {
        let mut at = |step: f64| {
            let mut x = x.clone();
            x[i] += step;
            value(&x)
        };
        let expected = (at(0.01) - at(-0.01)) / 0.02;
        assert!(
            (slope - expected).abs() < 1e-4,
            "{i}: {slope} and {expected}"
        );
    }
}

#[test]
fn the_number_of_threads_shows_in_no_bit() {
    // More samples and columns than a piece of parallel work has.
    let features: Vec<f32> = noise(300 * 200).map(|v| v as f32).collect();
    let labels: Vec<usize> = (0..300).map(|i| i % 7).collect();
    let of = |threads| {
        let samples = samples(&features, &labels, 7, None);
        solve(samples, &pool(threads), &|_| true).unwrap()
    };
    assert_eq!(of(1), of(3));
}

#[test]
fn more_features_than_samples_are_no_obstacle() {
    let features: Vec<f32> = noise(12 * 100).map(|v| v as f32).collect();
    let labels: Vec<usize> = (0..12).map(|i| i % 3).collect();
    let head = solved(&features, &labels, 3);
    assert!(head.slope <= WANTED.tolerance, "{head:?}");
    let all = head.weight.iter().chain(&head.bias);
    assert!(all.clone().all(|v| v.is_finite()));
}

#[test]
fn constant_columns_have_no_weight() {
    let (features, labels) = sixty();
    let plain = solved(&features, &labels, 3);
    // A constant, one that is so but for rounding, and one that is nothing beside the others.
    let wider: Vec<f32> = features
        .chunks(6)
        .enumerate()
        .flat_map(|(i, row)| {
            let almost = if i % 2 == 0 { 1000.0 } else { 1000.0001 };
            let mut row = row.to_vec();
            row.extend([7.0, almost, i as f32 * 1e-9]);
            row
        })
        .collect();
    let head = solved(&wider, &labels, 3);
    assert!(head.weight[18..].iter().all(|&w| w == 0.0), "{head:?}");
    assert_eq!(head.weight[..18], plain.weight);
    let constant = solved(&[5.0; 12], &[0, 1, 1, 1, 1, 1], 2);
    assert_eq!(constant.weight, [0.0; 4]);
    let p = &probabilities(&constant, &[5.0, 5.0], 2)[0];
    assert!((p[1] - 5.0 / 6.0).abs() < 1e-4, "{p:?}");
}

#[test]
fn classes_without_a_sample_are_improbable_and_change_nothing_else() {
    let (features, labels) = sixty();
    let plain = solved(&features, &labels, 3);
    let moved: Vec<usize> = labels.iter().map(|&l| [0, 2, 4][l]).collect();
    let head = solved(&features, &moved, 6);
    for (of_all, of_three) in head.weight.chunks(6).zip(plain.weight.chunks(3)) {
        assert_eq!([of_all[0], of_all[2], of_all[4]], of_three);
        assert_eq!([of_all[1], of_all[3], of_all[5]], [0.0; 3]);
    }
    for p in probabilities(&head, &features, 6) {
        let absent = p[1] + p[3] + p[5];
        assert!(absent > 0.0 && absent <= 1.001 / 120.0, "{p:?}");
    }
    // Of one class alone there is nothing to learn.
    let only = solved(&features, &[1; 60], 2);
    assert_eq!(only.weight, [0.0; 12]);
    assert!(
        probabilities(&only, &features, 6)
            .iter()
            .all(|p| p[1] > 0.99)
    );
}

#[test]
fn classes_of_few_samples_are_held_out_as_often_as_they_can_be() {
    let folds = Folds::of(&[0, 0, 0, 0, 0, 0, 0, 1, 1, 2], 3);
    assert_eq!(folds.count, 5);
    let of: Vec<Option<usize>> = [0, 1, 2, 3, 4, 0, 1, 2, 3].map(Some).to_vec();
    assert_eq!(folds.of[..9], of);
    assert_eq!(folds.of[9], None);
    assert_eq!(Folds::of(&[0, 1, 0, 1], 2).count, 2);
    assert_eq!(Folds::of(&[0, 1, 2], 3).count, 0);
    // With one sample of each class the strength is that of scikit-learn's default.
    let features: Vec<f32> = noise(15).map(|v| v as f32).collect();
    let head = solved(&features, &[0, 1, 2], 3);
    assert_eq!((head.loss, head.strength), (None, 1.0 / 3.0));
    assert!((0..3).all(|i| probabilities(&head, &features, 5)[i][i] > 0.5));
}

#[test]
fn features_that_are_not_finite_are_refused_by_their_sample() {
    let (mut features, labels) = sixty();
    for wrong in [f32::NAN, f32::INFINITY] {
        features[6 * 17 + 3] = wrong;
        let samples = samples(&features, &labels, 3, None);
        let error = solve(samples, &pool(1), &|_| true).unwrap_err();
        assert_eq!(error, SolveError::NotFinite { sample: 17 });
    }
}

#[test]
fn it_stops_when_asked_to() {
    let (features, labels) = sixty();
    let asked = std::cell::Cell::new(0);
    let watch = |_| {
        asked.set(asked.get() + 1);
        asked.get() < 20
    };
    let samples = samples(&features, &labels, 3, None);
    let ended = solve(samples, &pool(1), &watch);
    assert_eq!((ended, asked.get()), (Err(SolveError::Stopped), 20));
}

#[test]
fn of_many_samples_or_values_fewer_parts_are_held_out() {
    assert_eq!(effort(2000, 1000), (5, 10));
    assert_eq!(effort(3000, 1000), (4, 10));
    assert_eq!(effort(20_000, 1000), (1, 10));
    assert_eq!(effort(2000, 10_000_000), (1, 4));
    assert_eq!(effort(2000, 100_000_000), (1, 3));
    // 10,000 classes on 1280 features of 50,000 samples.
    let gib = bytes(50_000, 1280, 10_000) as f64 / f64::from(1 << 30);
    assert!(gib < 1.3, "{gib}");
}

/// How long it takes: `cargo test --release --lib solving_takes -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn solving_takes_seconds() {
    for (rows, columns, classes) in [(3000, 1280, 5), (3000, 1280, 100), (30_000, 1280, 5)] {
        let labels: Vec<usize> = (0..rows).map(|i| i % classes).collect();
        let mixed: Vec<f64> = noise(columns * 64).collect();
        let mut drawn = noise(rows * (64 + columns) + classes * 64);
        let centres: Vec<f64> = drawn.by_ref().take(classes * 64).collect();
        let mut features = Vec::with_capacity(rows * columns);
        // Correlated columns of which a few directions tell the classes apart, cut off at 0.
        for &label in &labels {
            let hidden: Vec<f64> = drawn.by_ref().take(64).collect();
            let hidden = hidden
                .iter()
                .zip(&centres[label * 64..])
                .map(|(h, c)| h + 0.5 * c);
            let hidden: Vec<f64> = hidden.collect();
            for (column, own) in mixed.chunks(64).zip(drawn.by_ref().take(columns)) {
                let sum: f64 = column.iter().zip(&hidden).map(|(a, b)| a * b).sum();
                features.push((0.3 * sum + own).max(0.0) as f32);
            }
        }
        for threads in [1, 2] {
            let start = std::time::Instant::now();
            let samples = samples(&features, &labels, classes, None);
            let passes = std::cell::Cell::new(0);
            let count = |_| {
                passes.set(passes.get() + 1);
                true
            };
            let head = solve(samples, &pool(threads), &count).unwrap();
            let chosen = start.elapsed();
            println!(
                "{rows} x {columns} x {classes}, {threads} threads: {chosen:.2?}, strength {:.2e}, loss {:?}, \
                 {} iterations, slope {:.1e}, {} passes",
                head.strength,
                head.loss,
                head.iterations,
                head.slope,
                passes.get() / rows.div_ceil(1024)
            );
        }
    }
}

/// Each class by itself against the others, with one strength for all. Made by scikit-learn 1.9 from the same features,
/// of the classes above, of class 1 each fourth sample as well, and each seventh of none:
///
/// ```python
/// truth[np.arange(n), labels] = True; truth[::4, 1] = True; truth[::7] = False
/// # Folds as above, by the rarest class of each sample, or a fourth kind of none.
/// w = np.ones(c) if balanced is None else (n - truth.sum(0)) / truth.sum(0)
/// def fit(rows, strength):
///     y, C = truth[rows], 1 / (strength * len(rows))
///     return [LogisticRegression(C=C, tol=1e-12, max_iter=100000).fit(
///         z[rows], y[:, k], sample_weight=np.where(y[:, k], w[k], 1)) for k in range(c)]
/// # The loss is the mean over samples and classes, a class that a sample is of weighing w.
/// ```
#[test]
fn of_several_labels_each_class_is_solved_as_by_scikit_learn() {
    let (features, labels) = sixty();
    let truth: Vec<[bool; 3]> = (0..60)
        .map(|i| {
            let of = |class| labels[i] == class || class == 1 && i % 4 == 0;
            std::array::from_fn(|class| of(class) && i % 7 != 0)
        })
        .collect();
    let counts: [usize; 3] = std::array::from_fn(|c| truth.iter().filter(|row| row[c]).count());
    assert_eq!(counts, [24, 26, 9]);
    let rarest: Vec<usize> = truth
        .iter()
        .map(|row| {
            let own = (0..3).filter(|&class| row[class]);
            own.min_by_key(|&class| counts[class]).unwrap_or(3)
        })
        .collect();
    let balanced = counts.map(|count| (60 - count) as f32 / count as f32);
    type Expected = (f64, f64, [[f64; 3]; 4]);
    let expected: [(Option<&[f32]>, Expected); 2] = [
        (
            None,
            (
                0.06,
                0.551_261_086,
                [
                    [0.499496, 0.308903, 0.290203],
                    [0.569378, 0.471077, 0.092097],
                    [0.768208, 0.16552, 0.129642],
                    [0.176941, 0.667933, 0.118314],
                ],
            ),
        ),
        (
            Some(&balanced),
            (
                0.189_736_66,
                0.851_779_887,
                [
                    [0.581769, 0.40154, 0.697007],
                    [0.606729, 0.523154, 0.309888],
                    [0.762956, 0.274681, 0.394414],
                    [0.286198, 0.668808, 0.357068],
                ],
            ),
        ),
    ];
    for (weights, (strength, loss, probabilities)) in expected {
        let samples = Samples {
            sets: Some(truth.iter().flatten().copied().collect()),
            ..samples(&features, &rarest, 3, weights)
        };
        let head = solve(samples, &pool(2), &|_| true).unwrap();
        assert!((head.strength / strength - 1.0).abs() < 1e-6, "{head:?}");
        assert!((head.loss.unwrap() - loss).abs() < 1e-4, "{head:?}");
        for (row, expected) in features.chunks(6).zip(probabilities) {
            for (class, expected) in expected.into_iter().enumerate() {
                let products = row.iter().zip(head.weight.chunks(3));
                let products = products.map(|(x, w)| f64::from(*x) * f64::from(w[class]));
                let z = products.sum::<f64>() + f64::from(head.bias[class]);
                let found = 1.0 / (1.0 + (-z).exp());
                assert!((found - expected).abs() < 1e-3, "{found} {expected}");
            }
        }
    }
}
