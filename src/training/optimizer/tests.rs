//! Updates by hand, and PyTorch's.

use super::*;

fn optimizer(kind: OptimizerKind) -> Optimizer {
    Optimizer {
        kind,
        learning_rate: 0.1.into(),
        weight_decay: 0.5,
        momentum: 0.9,
    }
}

fn at(step: u64) -> Update<'static> {
    Update {
        step,
        learning_rate: 0.1,
        scale: 1.0,
        towards: None,
    }
}

#[test]
fn sgd_adds_decay_and_momentum() {
    let (mut p, mut m) = ([1.0], Moments::default());
    let sgd = optimizer(OptimizerKind::Sgd);
    sgd.update(at(1), &mut p, GradientValues::Whole(&[2.0]), &mut m, 1); // v = 2.5
    assert!((p[0] - 0.75).abs() < 1e-6);
    sgd.update(at(2), &mut p, GradientValues::Whole(&[2.0]), &mut m, 1); // v = 2.25 + 2.375
    assert!((p[0] - (0.75 - 0.4625)).abs() < 1e-6);
}

#[test]
fn the_first_step_of_adam_has_the_length_of_the_learning_rate() {
    for (kind, expected) in [
        (OptimizerKind::Adam, 0.9),
        (OptimizerKind::Adamw, 0.95 - 0.1),
    ] {
        let (mut p, mut m) = ([1.0], Moments::default());
        optimizer(kind).update(at(1), &mut p, GradientValues::Whole(&[3.0]), &mut m, 1);
        assert!((p[0] - expected).abs() < 1e-6, "{kind:?}: {}", p[0]);
    }
}

#[test]
fn a_scaled_gradient_is_one_of_that_size() {
    for kind in [
        OptimizerKind::Adam,
        OptimizerKind::Adamw,
        OptimizerKind::Sgd,
    ] {
        let updated = |scale: f32, gradient: f32| {
            let (mut p, mut m) = ([1.0, -2.0], Moments::default());
            for step in 1..=3 {
                let at = Update { scale, ..at(step) };
                let gradient = [gradient, 3.0 * gradient];
                optimizer(kind).update(at, &mut p, GradientValues::Whole(&gradient), &mut m, 1);
            }
            (p, m.first, m.second)
        };
        assert_eq!(updated(0.25, 2.0), updated(1.0, 0.5), "{kind:?}");
    }
}

/// To the bit, however many threads make how many pieces of it.
#[test]
fn factors_update_as_their_product() {
    let dims @ [rows, depth, width] = [3, 701, 300];
    let numbers = |n: usize, k: usize| -> Vec<f32> {
        let value = |i: usize| ((i * k) % 101) as f32 / 50.0 - 1.0;
        (0..n).map(value).collect()
    };
    let (a, dy) = (numbers(rows * depth, 37), numbers(rows * width, 53));
    let mut product = vec![0.0; depth * width];
    crate::kernels::gemm_weight_gradient_rows(dims, 0, &a, &dy, &mut product);
    let factors = GradientValues::Factors {
        a: &a,
        dy: &dy,
        dims,
    };
    for kind in [
        OptimizerKind::Adam,
        OptimizerKind::Adamw,
        OptimizerKind::Sgd,
    ] {
        let updated = |gradient, threads| {
            let (mut p, mut m) = (numbers(depth * width, 7), Moments::default());
            for step in 1..=2 {
                optimizer(kind).update(at(step), &mut p, gradient, &mut m, threads);
            }
            (p, m.first, m.second)
        };
        let whole = GradientValues::Whole(&product);
        let expected = updated(whole, 1);
        assert!(updated(factors, 1) == expected, "{kind:?}");
        assert!(updated(factors, 3) == expected, "{kind:?}, three threads");
        assert!(updated(whole, 3) == expected, "{kind:?}, three threads");
    }
}

/// PyTorch's numbers for three steps, with α/2 ‖p − w‖² in the loss, or for AdamW with η α (p − w) taken from p.
#[test]
fn what_it_decays_to_need_not_be_0() {
    let towards = [1.0, -0.5, 0.25];
    let gradients = [[2.0, -1.0, 0.5], [-0.5, 0.25, 1.0], [0.125, 3.0, -2.0]];
    for (kind, expected) in [
        (OptimizerKind::Sgd, [0.941_187_5, -0.594, -0.775_343_7]),
        (
            OptimizerKind::Adam,
            [1.291_769_1, -0.407_068_85, -0.896_328_1],
        ),
        (
            OptimizerKind::Adamw,
            [1.253_744_7, -0.413_789_3, -0.984_281_7],
        ),
    ] {
        let (mut p, mut m) = ([1.5, -0.5, -1.0], Moments::default());
        for (step, gradient) in (1..).zip(gradients) {
            let at = Update {
                towards: Some(&towards),
                ..at(step)
            };
            optimizer(kind).update(at, &mut p, GradientValues::Whole(&gradient), &mut m, 1);
        }
        for (found, expected) in p.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{kind:?}: {p:?}");
        }
    }
}

#[test]
fn what_stands_where_it_decays_to_stays_to_the_bit() {
    let numbers = |k: usize| (0..3 * MANY).map(move |i| ((i * k) % 97) as f32 / 31.0 - 1.5);
    let (first, zeros): (Vec<f32>, _) = (numbers(5).collect(), vec![0.0; 3 * MANY]);
    for kind in [
        OptimizerKind::Adam,
        OptimizerKind::Adamw,
        OptimizerKind::Sgd,
    ] {
        let moved = |gradient: &[f32], threads| {
            let (mut p, mut m) = (first.clone(), Moments::default());
            for step in 1..=2 {
                let at = Update {
                    towards: Some(&first),
                    ..at(step)
                };
                let gradient = GradientValues::Whole(gradient);
                optimizer(kind).update(at, &mut p, gradient, &mut m, threads);
            }
            p
        };
        assert!(moved(&zeros, 1) == first, "{kind:?}");
        // Threads have their own part of it.
        let gradient: Vec<f32> = numbers(7).collect();
        let one = moved(&gradient, 1);
        assert!(one != first && moved(&gradient, 3) == one, "{kind:?}");
    }
}
