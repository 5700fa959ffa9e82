use super::*;
use crate::kernels::channelwise::testing::{Numbers, Sum, Threads, assert_close};
use crate::kernels::{KernelError, Serial};

fn shape(seed: usize) -> PoolShape {
    let mut n = Numbers::new(seed as u64 + 5);
    let kernel = [n.between(1, 4), n.between(1, 4)];
    let input = [n.between(1, 11), n.between(1, 11)];
    let strides = [n.between(1, 3), n.between(1, 3)];
    let dilations = [n.between(1, 2), n.between(1, 2)];
    let pads = [n.below(kernel[0] + 1), n.below(kernel[1] + 1)];
    let output = [0, 1].map(|axis| {
        let reach = (kernel[axis] - 1) * dilations[axis] + 1;
        (input[axis] + 2 * pads[axis]).saturating_sub(reach) / strides[axis] + 1
    });
    PoolShape {
        batch: n.between(1, 3),
        input,
        output,
        channels: n.between(1, 40),
        kernel,
        strides,
        pads,
        dilations,
    }
}

/// For every window, its place in Y and the places in X it holds, row-major.
fn windows(s: &PoolShape) -> Vec<(usize, Vec<usize>)> {
    let mut all = Vec::new();
    for n in 0..s.batch {
        for p in 0..s.output[0] {
            for q in 0..s.output[1] {
                for channel in 0..s.channels {
                    let mut held = Vec::new();
                    for i in 0..s.kernel[0] {
                        for j in 0..s.kernel[1] {
                            let h = (p * s.strides[0] + i * s.dilations[0]).wrapping_sub(s.pads[0]);
                            let w = (q * s.strides[1] + j * s.dilations[1]).wrapping_sub(s.pads[1]);
                            if h < s.input[0] && w < s.input[1] {
                                let position = (n * s.input[0] + h) * s.input[1] + w;
                                held.push(position * s.channels + channel);
                            }
                        }
                    }
                    let y = ((n * s.output[0] + p) * s.output[1] + q) * s.channels + channel;
                    all.push((y, held));
                }
            }
        }
    }
    all
}

/// Few values, so that ties are common, and some NaN and −∞.
fn values(seed: usize, len: usize) -> Vec<f32> {
    let mut n = Numbers::new(seed as u64 + 77);
    (0..len)
        .map(|_| match n.below(60) {
            0 if seed.is_multiple_of(3) => f32::NAN,
            1 | 2 => f32::NEG_INFINITY,
            value => (value % 7) as f32 - 3.0,
        })
        .collect()
}

/// As PyTorch's loop picks it.
fn winner(x: &[f32], held: &[usize]) -> Option<usize> {
    let mut best = *held.first()?;
    let mut greatest = f32::NEG_INFINITY;
    for &place in held {
        if x[place] > greatest || x[place].is_nan() {
            (best, greatest) = (place, x[place]);
        }
    }
    Some(best)
}

#[test]
fn max_pool_and_its_gradient_pick_what_pytorch_picks() {
    for seed in 0..300 {
        let s = shape(seed);
        let x = values(seed, s.x_len());
        let dy = Numbers::new(seed as u64).floats(s.y_len());
        let mut wanted = vec![f32::NEG_INFINITY; s.y_len()];
        let mut gradient = vec![Sum::default(); s.x_len()];
        for (y, held) in windows(&s) {
            if let Some(place) = winner(&x, &held) {
                wanted[y] = x[place];
                gradient[place].add(dy[y].into());
            }
        }
        for threads in 1..3 {
            let mut y = vec![0.0; s.y_len()];
            max_pool(&s, &x, &mut y, &Threads(threads)).unwrap();
            let same = std::iter::zip(&y, &wanted).all(|(a, b)| a.total_cmp(b).is_eq());
            assert!(same || y.iter().any(|y| y.is_nan()), "{s:?}");
            for (y, wanted) in y.iter().zip(&wanted) {
                assert!(y == wanted || y.is_nan() && wanted.is_nan(), "{s:?}");
            }
            let mut dx = vec![f32::NAN; s.x_len()];
            max_pool_gradient(&s, &x, &dy, &mut dx, &Threads(threads)).unwrap();
            assert_close(&format!("{s:?}"), &dx, &gradient);
        }
    }
}

#[test]
fn max_pool_pieces_agree_with_the_whole() {
    let s = PoolShape {
        batch: 2,
        input: [37, 41],
        output: [19, 21],
        channels: 24,
        kernel: [3, 3],
        strides: [2, 2],
        pads: [1, 1],
        dilations: [1, 1],
    };
    let x = values(1, s.x_len());
    let dy = Numbers::new(2).floats(s.y_len());
    let (mut one, mut two) = (vec![0.0; s.x_len()], vec![0.0; s.x_len()]);
    max_pool_gradient(&s, &x, &dy, &mut one, &Serial).unwrap();
    max_pool_gradient(&s, &x, &dy, &mut two, &Threads(2)).unwrap();
    assert_eq!(one, two);
}

#[test]
fn slices_of_another_length_are_refused() {
    let s = shape(1);
    let (x, y) = (vec![0.0; s.x_len()], vec![0.0; s.y_len()]);
    let (mut to_x, mut to_y) = (x.clone(), y.clone());
    let refused = |result| assert!(matches!(result, Err(KernelError::Length { .. })));
    refused(max_pool(&s, &x[1..], &mut to_y, &Serial));
    refused(max_pool(&s, &x, &mut to_y[1..], &Serial));
    refused(max_pool_gradient(&s, &x, &y[1..], &mut to_x, &Serial));
    refused(max_pool_gradient(&s, &x, &y, &mut to_x[1..], &Serial));
    refused(max_pool_gradient(&s, &x[1..], &y, &mut to_x, &Serial));
}
