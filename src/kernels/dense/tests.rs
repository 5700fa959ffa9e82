//! Dense and grouped convolutions and their gradients, against loops in double precision.

mod shapes;

use crate::kernels::*;

pub(super) use shapes::Stream;
use shapes::shapes;

/// Calls `term(x index, w index, y index)` for every product of the convolution.
fn each_product(s: &ConvShape, mut term: impl FnMut(usize, usize, usize)) {
    let [ig, og] = [s.in_channels / s.group, s.out_channels / s.group];
    for n in 0..s.batch {
        for (oy, ox) in (0..s.output[0]).flat_map(|y| (0..s.output[1]).map(move |x| (y, x))) {
            for (ky, kx) in (0..s.kernel[0]).flat_map(|y| (0..s.kernel[1]).map(move |x| (y, x))) {
                let iy = (oy * s.strides[0] + ky * s.dilations[0]).wrapping_sub(s.pads[0]);
                let ix = (ox * s.strides[1] + kx * s.dilations[1]).wrapping_sub(s.pads[1]);
                if iy >= s.input[0] || ix >= s.input[1] {
                    continue;
                }
                for o in 0..s.out_channels {
                    for i in 0..ig {
                        let x = ((n * s.input[0] + iy) * s.input[1] + ix) * s.in_channels
                            + o / og * ig
                            + i;
                        let w = ((o * ig + i) * s.kernel[0] + ky) * s.kernel[1] + kx;
                        let y = ((n * s.output[0] + oy) * s.output[1] + ox) * s.out_channels + o;
                        term(x, w, y);
                    }
                }
            }
        }
    }
}

/// Two threads, whatever the machine has.
pub(super) struct Pair;

// SAFETY: even and odd numbers, each once, and the scope ends after both threads.
#[allow(unsafe_code)]
unsafe impl Parallel for Pair {
    fn threads(&self) -> usize {
        2
    }

    fn run(&self, pieces: usize, piece: &(dyn Fn(usize) + Sync)) {
        std::thread::scope(|scope| {
            scope.spawn(|| (0..pieces).skip(1).step_by(2).for_each(piece));
            (0..pieces).step_by(2).for_each(piece);
        });
    }
}

/// Fails where `found` is further from `wanted` than rounding explains, given the sums of sizes.
#[track_caller]
fn close(found: &[f32], wanted: &[f64], sizes: &[f64], what: &str, shape: &ConvShape) {
    for (at, &found) in found.iter().enumerate() {
        let error = (f64::from(found) - wanted[at]).abs();
        assert!(
            error <= 1e-5 * (sizes[at] + 1e-3),
            "{what}[{at}]: {found}, not {} for {shape:?}",
            wanted[at]
        );
    }
}

struct Case {
    x: Vec<f32>,
    w: Vec<f32>,
    dy: Vec<f32>,
}

fn case(shape: ConvShape) -> Case {
    let mut stream = Stream(shape.x_len() as u64);
    Case {
        x: stream.floats(shape.x_len()),
        w: stream.floats(shape.w_len()),
        dy: stream.floats(shape.y_len()),
    }
}

const ACTIVATIONS: [Activation; 3] = [
    Activation::None,
    Activation::Relu,
    Activation::Clip {
        low: -0.5,
        high: 0.75,
    },
];

#[test]
fn forward_agrees_with_loops() {
    for (index, shape) in shapes().into_iter().enumerate() {
        let Case { x, w, .. } = case(shape);
        let mut stream = Stream(index as u64);
        let bias = stream.floats(shape.out_channels);
        let residual = stream.floats(shape.y_len());
        let bias = (index % 2 == 0).then_some(&bias[..]);
        let residual = (index % 4 < 2).then_some(&residual[..]);
        let activation = ACTIVATIONS[index % 3];
        let mut wanted: Vec<f64> = (0..shape.y_len())
            .map(|at| {
                bias.map_or(0.0, |b| f64::from(b[at % b.len()]))
                    + residual.map_or(0.0, |r| f64::from(r[at]))
            })
            .collect();
        let mut sizes: Vec<f64> = wanted.iter().map(|v| v.abs()).collect();
        each_product(&shape, |i, j, o| {
            let term = f64::from(x[i]) * f64::from(w[j]);
            wanted[o] += term;
            sizes[o] += term.abs();
        });
        for value in &mut wanted {
            *value = f64::from(activation.apply(*value as f32));
        }
        let epilogue = Epilogue {
            bias,
            residual,
            activation,
            coarse: index % 2 == 0,
        };
        for parallel in [&Serial as &dyn Parallel, &Pair] {
            let mut y = vec![f32::NAN; shape.y_len()];
            conv(&shape, &x, &w, &epilogue, &mut y, parallel).unwrap();
            close(&y, &wanted, &sizes, "Y", &shape);
        }
    }
}

#[test]
fn input_gradient_agrees_with_loops() {
    for (index, shape) in shapes().into_iter().enumerate() {
        let Case { x, w, dy, .. } = case(shape);
        let addend = Stream(index as u64).floats(shape.x_len());
        let addend = (index % 2 == 0).then_some(&addend[..]);
        let mask = (index % 4 < 2).then_some((ACTIVATIONS[index % 3], &x[..]));
        let mut wanted: Vec<f64> = (0..shape.x_len())
            .map(|at| addend.map_or(0.0, |a| f64::from(a[at])))
            .collect();
        let mut sizes: Vec<f64> = wanted.iter().map(|v| v.abs()).collect();
        each_product(&shape, |i, j, o| {
            let term = f64::from(dy[o]) * f64::from(w[j]);
            wanted[i] += term;
            sizes[i] += term.abs();
        });
        if let Some((activation, x)) = mask {
            for (value, x) in wanted.iter_mut().zip(x) {
                *value *= f64::from(activation.slope(*x));
            }
        }
        for parallel in [&Serial as &dyn Parallel, &Pair] {
            let mut dx = vec![f32::NAN; shape.x_len()];
            let epilogue = InputEpilogue { addend, mask };
            conv_input_gradient(&shape, &dy, &w, &epilogue, &mut dx, parallel).unwrap();
            close(&dx, &wanted, &sizes, "dX", &shape);
        }
    }
}

#[test]
fn weight_gradient_agrees_with_loops() {
    for (index, shape) in shapes().into_iter().enumerate() {
        let Case { x, dy, .. } = case(shape);
        let mut wanted = vec![0.0; shape.w_len()];
        let mut sizes = vec![0.0; shape.w_len()];
        each_product(&shape, |i, j, o| {
            let term = f64::from(x[i]) * f64::from(dy[o]);
            wanted[j] += term;
            sizes[j] += term.abs();
        });
        let mut bias = vec![0.0; shape.out_channels];
        let mut bias_sizes = bias.clone();
        for (at, &dy) in dy.iter().enumerate() {
            bias[at % shape.out_channels] += f64::from(dy);
            bias_sizes[at % shape.out_channels] += f64::from(dy.abs());
        }
        for parallel in [&Serial as &dyn Parallel, &Pair] {
            let mut dw = vec![f32::NAN; shape.w_len()];
            let mut db = vec![f32::NAN; shape.out_channels];
            let wants_bias = index % 2 == 0;
            let given = wants_bias.then_some(&mut db[..]);
            conv_weight_gradient(&shape, &x, &dy, &mut dw, given, parallel).unwrap();
            close(&dw, &wanted, &sizes, "dW", &shape);
            if wants_bias {
                close(&db, &bias, &bias_sizes, "db", &shape);
            }
        }
    }
}

#[test]
fn nan_reaches_what_reads_it_and_nothing_else() {
    // On vectors, and on AMX where there is one.
    for channels in [[20, 35], [384, 80]] {
        nan_reaches_what_reads_it(channels);
    }
}

fn nan_reaches_what_reads_it([inputs, outputs]: [usize; 2]) {
    let shape = ConvShape {
        batch: 1,
        input: [6, 6],
        in_channels: inputs,
        output: [6, 6],
        out_channels: outputs,
        kernel: [3, 3],
        strides: [1, 1],
        pads: [1, 1],
        dilations: [1, 1],
        group: 1,
    };
    let Case {
        mut x, w, mut dy, ..
    } = case(shape);
    x[0] = f32::NAN;
    dy[(5 * 6 + 5) * outputs] = f32::NAN;
    let near = |pixel: usize, y: usize, x: usize| {
        (pixel / 6).abs_diff(y) <= 1 && (pixel % 6).abs_diff(x) <= 1
    };
    let mut y = vec![0.0; shape.y_len()];
    let epilogue = Epilogue {
        activation: Activation::Relu,
        ..Epilogue::default()
    };
    conv(&shape, &x, &w, &epilogue, &mut y, &Serial).unwrap();
    for (at, value) in y.iter().enumerate() {
        assert_eq!(value.is_nan(), near(at / outputs, 0, 0), "Y[{at}]");
    }
    let mut dx = vec![0.0; shape.x_len()];
    conv_input_gradient(&shape, &dy, &w, &InputEpilogue::default(), &mut dx, &Serial).unwrap();
    for (at, value) in dx.iter().enumerate() {
        assert_eq!(value.is_nan(), near(at / inputs, 5, 5), "dX[{at}]");
    }
    let mut dw = vec![0.0; shape.w_len()];
    let mut db = vec![0.0; outputs];
    conv_weight_gradient(&shape, &x, &dy, &mut dw, Some(&mut db), &Serial).unwrap();
    // Channel 0 of the last pixel of dY also meets padding, with which it makes NaN.
    for (at, value) in dw.iter().enumerate() {
        let [o, i, tap] = [at / 9 / inputs, at / 9 % inputs, at % 9];
        let by_x = i == 0 && tap / 3 <= 1 && tap % 3 <= 1;
        assert_eq!(value.is_nan(), by_x || o == 0, "dW[{o}, {i}, {tap}]");
    }
    assert!(db[0].is_nan() && db[1..].iter().all(|v| !v.is_nan()));
}

#[test]
fn slices_of_other_lengths_are_refused() {
    let shape = shapes()[0];
    let Case { x, w, dy, .. } = case(shape);
    let mut y = dy.clone();
    let plain = Epilogue::default();
    let refused = |result: Result<(), KernelError>, name: &str| match result {
        Err(KernelError::Length { what, .. }) => assert_eq!(what, name),
        other => panic!("{name}: {other:?}"),
    };
    refused(conv(&shape, &x[1..], &w, &plain, &mut y, &Serial), "X");
    refused(conv(&shape, &x, &w[1..], &plain, &mut y, &Serial), "W");
    refused(conv(&shape, &x, &w, &plain, &mut y[1..], &Serial), "Y");
    let bias = Epilogue {
        bias: Some(&x[..1]),
        ..plain
    };
    refused(conv(&shape, &x, &w, &bias, &mut y, &Serial), "the bias");
    let residual = Epilogue {
        residual: Some(&x[..1]),
        ..plain
    };
    refused(
        conv(&shape, &x, &w, &residual, &mut y, &Serial),
        "the residual",
    );
    let mut dx = x.clone();
    let mut gradient = |dy: &[f32], w: &[f32], epilogue: InputEpilogue, name: &str| {
        let result = conv_input_gradient(&shape, dy, w, &epilogue, &mut dx, &Serial);
        refused(result, name);
    };
    gradient(&dy[1..], &w, InputEpilogue::default(), "dY");
    gradient(&dy, &w[1..], InputEpilogue::default(), "W");
    let addend = Some(&x[1..]);
    gradient(&dy, &w, InputEpilogue { addend, mask: None }, "the addend");
    let mask = Some((Activation::Relu, &x[1..]));
    gradient(
        &dy,
        &w,
        InputEpilogue { addend: None, mask },
        "the activation",
    );
    let mut dw = w.clone();
    let short = &mut [0.0][..];
    refused(
        conv_weight_gradient(&shape, &x, &dy, &mut dw[1..], None, &Serial),
        "dW",
    );
    refused(
        conv_weight_gradient(&shape, &x, &dy, &mut dw, Some(short), &Serial),
        "db",
    );
    let uneven = ConvShape { group: 2, ..shape };
    assert!(matches!(
        conv(&uneven, &x, &w, &plain, &mut y, &Serial),
        Err(KernelError::Shape(_))
    ));
}
