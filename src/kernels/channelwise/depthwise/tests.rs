use super::*;
use crate::kernels::channelwise::testing::{Numbers, Sum, Threads, assert_close};
use crate::kernels::{Activation, Serial};

/// A shape whose windows may lie in padding altogether; the first ones are the common ones.
fn shape(seed: usize) -> ConvShape {
    let mut n = Numbers::new(seed as u64);
    let common = seed.is_multiple_of(2);
    let mut axis = |most: usize| match common {
        true => {
            let kernel = [3, 5, 3, 7][n.below(4)];
            (
                n.between(1, 12),
                kernel,
                n.between(1, 2),
                1,
                n.between(0, kernel - 1),
            )
        }
        false => {
            let kernel = n.between(1, 7);
            (
                n.between(1, most),
                kernel,
                n.between(1, 3),
                n.between(1, 2),
                n.below(kernel + 2),
            )
        }
    };
    let axes = [axis(9), axis(14)];
    let output = axes.map(|(input, kernel, stride, dilation, pad)| {
        let reach = (kernel - 1) * dilation + 1;
        // Behind the end another pad than before the begin.
        (input + pad + pad.div_ceil(2) + seed % 2).saturating_sub(reach) / stride + 1
    });
    let mut n = Numbers::new(seed as u64 + 99);
    let in_channels = match n.below(3) {
        0 => 16 * n.between(1, 4),
        1 => n.between(17, 70),
        _ => n.between(1, 16),
    };
    let times = match n.below(4) {
        0 => n.between(2, 3),
        _ => 1,
    };
    ConvShape {
        batch: n.between(1, 3),
        input: axes.map(|a| a.0),
        in_channels,
        output,
        out_channels: in_channels * times,
        kernel: axes.map(|a| a.1),
        strides: axes.map(|a| a.2),
        pads: axes.map(|a| a.4),
        dilations: axes.map(|a| a.3),
        group: in_channels,
    }
}

/// Calls `term(y, x, w)` with the indices of every product of the convolution.
fn terms(s: &ConvShape, mut term: impl FnMut(usize, usize, usize)) {
    let times = s.out_channels / s.in_channels;
    for n in 0..s.batch {
        for p in 0..s.output[0] {
            for q in 0..s.output[1] {
                for i in 0..s.kernel[0] {
                    for j in 0..s.kernel[1] {
                        let h = (p * s.strides[0] + i * s.dilations[0]).checked_sub(s.pads[0]);
                        let w = (q * s.strides[1] + j * s.dilations[1]).checked_sub(s.pads[1]);
                        let (Some(h), Some(w)) = (h, w) else { continue };
                        if h >= s.input[0] || w >= s.input[1] {
                            continue;
                        }
                        for o in 0..s.out_channels {
                            term(
                                ((n * s.output[0] + p) * s.output[1] + q) * s.out_channels + o,
                                ((n * s.input[0] + h) * s.input[1] + w) * s.in_channels + o / times,
                                (o * s.kernel[0] + i) * s.kernel[1] + j,
                            );
                        }
                    }
                }
            }
        }
    }
}

fn product(a: f32, b: f32) -> f64 {
    f64::from(a) * f64::from(b)
}

const ACTIVATIONS: [Activation; 3] = [
    Activation::None,
    Activation::Relu,
    Activation::Clip {
        low: -0.25,
        high: 0.5,
    },
];

struct Case {
    shape: ConvShape,
    x: Vec<f32>,
    w: Vec<f32>,
    dy: Vec<f32>,
    numbers: Numbers,
}

fn cases() -> impl Iterator<Item = (String, Case)> {
    (0..400).map(|seed| {
        let shape = shape(seed);
        let mut numbers = Numbers::new(seed as u64 + 7);
        let case = Case {
            x: numbers.floats(shape.x_len()),
            w: numbers.floats(shape.w_len()),
            dy: numbers.floats(shape.y_len()),
            shape,
            numbers,
        };
        (format!("{shape:?}"), case)
    })
}

#[test]
fn conv_is_the_plain_loop_with_its_epilogue() {
    for (index, (name, mut case)) in cases().enumerate() {
        let s = case.shape;
        let bias = case.numbers.floats(s.out_channels);
        let residual = case.numbers.floats(s.y_len());
        let epilogue = Epilogue {
            bias: (index & 1 > 0).then_some(&bias),
            residual: (index & 2 > 0).then_some(&residual),
            activation: ACTIVATIONS[index % 3],
            coarse: false,
        };
        let mut wanted = vec![Sum::default(); s.y_len()];
        terms(&s, |y, x, w| wanted[y].add(product(case.x[x], case.w[w])));
        for (index, sum) in wanted.iter_mut().enumerate() {
            if let Some(bias) = epilogue.bias {
                sum.add(bias[index % s.out_channels].into());
            }
            if let Some(residual) = epilogue.residual {
                sum.add(residual[index].into());
            }
            sum.value = match epilogue.activation {
                Activation::None => sum.value,
                Activation::Relu => sum.value.max(0.0),
                Activation::Clip { low, high } => sum.value.clamp(low.into(), high.into()),
            };
        }
        let mut y = vec![f32::NAN; s.y_len()];
        conv(&s, &case.x, &case.w, &epilogue, &mut y, &Serial).unwrap();
        assert_close(&name, &y, &wanted);
        let mut again = vec![f32::NAN; s.y_len()];
        conv(&s, &case.x, &case.w, &epilogue, &mut again, &Threads(2)).unwrap();
        assert_eq!(y, again, "{name}");
    }
}

#[test]
fn input_gradient_is_the_plain_loop_with_its_epilogue() {
    for (index, (name, mut case)) in cases().enumerate() {
        let s = case.shape;
        let addend = case.numbers.floats(s.x_len());
        let activation = ACTIVATIONS[index % 3];
        let epilogue = InputEpilogue {
            addend: (index & 1 > 0).then_some(&addend),
            mask: (index & 2 > 0).then_some((activation, &case.x)),
        };
        let mut wanted = vec![Sum::default(); s.x_len()];
        terms(&s, |y, x, w| wanted[x].add(product(case.dy[y], case.w[w])));
        for (index, sum) in wanted.iter_mut().enumerate() {
            if let Some(addend) = epilogue.addend {
                sum.add(addend[index].into());
            }
            if let Some((activation, x)) = epilogue.mask {
                sum.value *= f64::from(activation.slope(x[index]));
            }
        }
        let mut dx = vec![f32::NAN; s.x_len()];
        conv_input_gradient(&s, &case.dy, &case.w, &epilogue, &mut dx, &Serial).unwrap();
        assert_close(&name, &dx, &wanted);
        let mut again = vec![f32::NAN; s.x_len()];
        conv_input_gradient(&s, &case.dy, &case.w, &epilogue, &mut again, &Threads(2)).unwrap();
        assert_eq!(dx, again, "{name}");
    }
}

#[test]
fn weight_gradient_is_the_plain_loop() {
    for (name, case) in cases() {
        let s = case.shape;
        let mut wanted = vec![Sum::default(); s.w_len()];
        terms(&s, |y, x, w| wanted[w].add(product(case.dy[y], case.x[x])));
        let mut wanted_bias = vec![Sum::default(); s.out_channels];
        for (index, &dy) in case.dy.iter().enumerate() {
            wanted_bias[index % s.out_channels].add(dy.into());
        }
        for threads in 0..3 {
            let parallel: &dyn Parallel = match threads {
                0 => &Serial,
                threads => &Threads(threads),
            };
            let mut dw = vec![f32::NAN; s.w_len()];
            let mut db = vec![f32::NAN; s.out_channels];
            conv_weight_gradient(&s, &case.x, &case.dy, &mut dw, Some(&mut db), parallel).unwrap();
            assert_close(&name, &dw, &wanted);
            assert_close(&name, &db, &wanted_bias);
            let mut again = vec![f32::NAN; s.w_len()];
            conv_weight_gradient(&s, &case.x, &case.dy, &mut again, None, parallel).unwrap();
            assert_eq!(dw, again, "{name}");
        }
    }
}

#[test]
fn nan_passes_through_activations() {
    for (name, mut case) in cases().take(40) {
        let s = case.shape;
        case.x.fill(f32::NAN);
        for activation in ACTIVATIONS {
            let epilogue = Epilogue {
                activation,
                ..Epilogue::default()
            };
            let mut met = vec![false; s.y_len()];
            terms(&s, |y, _, _| met[y] = true);
            let mut y = vec![0.0; s.y_len()];
            conv(&s, &case.x, &case.w, &epilogue, &mut y, &Serial).unwrap();
            for (y, met) in y.iter().zip(met) {
                assert_eq!(y.is_nan(), met, "{name}");
            }
        }
    }
}

#[test]
fn slices_of_another_length_are_refused() {
    let (_, mut case) = cases().next().unwrap();
    let s = case.shape;
    let mut out = vec![0.0; s.x_len().max(s.y_len())];
    let (x, w, dy) = (&case.x[..], &case.w[..], &case.dy[..]);
    let (plain, input) = (Epilogue::default(), InputEpilogue::default());
    let refused = |result: Result<(), KernelError>| {
        assert!(matches!(result, Err(KernelError::Length { .. })));
    };
    let y = &mut out[..s.y_len()];
    refused(conv(&s, &x[1..], w, &plain, y, &Serial));
    refused(conv(&s, x, &w[1..], &plain, y, &Serial));
    refused(conv(&s, x, w, &plain, &mut y[1..], &Serial));
    let bias = Epilogue {
        bias: Some(&[]),
        ..plain
    };
    refused(conv(&s, x, w, &bias, y, &Serial));
    let residual = Epilogue {
        residual: Some(&dy[1..]),
        ..plain
    };
    refused(conv(&s, x, w, &residual, y, &Serial));
    let dx = &mut out[..s.x_len()];
    refused(conv_input_gradient(&s, &dy[1..], w, &input, dx, &Serial));
    let addend = InputEpilogue {
        addend: Some(&x[1..]),
        ..input
    };
    refused(conv_input_gradient(&s, dy, w, &addend, dx, &Serial));
    let mask = InputEpilogue {
        mask: Some((Activation::Relu, &x[1..])),
        ..input
    };
    refused(conv_input_gradient(&s, dy, w, &mask, dx, &Serial));
    let dw = &mut case.w.clone()[..];
    refused(conv_weight_gradient(&s, x, &dy[1..], dw, None, &Serial));
    let db = Some(&mut out[..0]);
    refused(conv_weight_gradient(&s, x, dy, dw, db, &Serial));
    let dense = ConvShape {
        group: 1,
        in_channels: 2,
        ..s
    };
    case.x.clear();
    let result = conv(&dense, &case.x, w, &plain, &mut out, &Serial);
    assert!(matches!(result, Err(KernelError::Shape(_))));
}
