//! That products of pieces are those of the floats, to the last bit where that can be told.

use super::super::tests::{Pair, Stream};
use super::available;
use crate::kernels::*;

/// Whether these tests can run; says so if not.
fn skipped() -> bool {
    if !available() {
        crate::testing::skip("amx", "this processor");
    }
    !available()
}

/// Pointwise, over `pixels`.
fn pointwise(pixels: usize, [in_channels, out_channels]: [usize; 2]) -> ConvShape {
    ConvShape {
        batch: 1,
        input: [1, pixels],
        in_channels,
        output: [1, pixels],
        out_channels,
        kernel: [1, 1],
        strides: [1, 1],
        pads: [0, 0],
        dilations: [1, 1],
        group: 1,
    }
}

/// A float of any sign, any 24 bits and an exponent from −40 to 40.
fn any_float(stream: &mut Stream) -> f32 {
    let fraction = stream.next() as u32 & 0x007f_ffff;
    let exponent = stream.between(127 - 40, 127 + 40) as u32;
    let sign = stream.below(2) as u32;
    f32::from_bits(sign << 31 | exponent << 23 | fraction)
}

fn any_floats(stream: &mut Stream, len: usize) -> Vec<f32> {
    (0..len).map(|_| any_float(stream)).collect()
}

/// `rows` lines of `columns`, all zero but for a one in each, at the place of the line times `step`.
fn ones([rows, columns]: [usize; 2], step: usize) -> Vec<f32> {
    let mut ones = vec![0.0; rows * columns];
    for row in 0..rows {
        ones[row * columns + row * step % columns] = 1.0;
    }
    ones
}

fn forward(shape: &ConvShape, x: &[f32], w: &[f32], parallel: &dyn Parallel) -> Vec<f32> {
    let mut y = vec![f32::NAN; shape.y_len()];
    conv(shape, x, w, &Epilogue::default(), &mut y, parallel).unwrap();
    y
}

/// Fails where `found`, rows of `columns`, is not what is wanted by row and column.
#[track_caller]
fn exactly(found: &[f32], columns: usize, wanted: impl Fn(usize, usize) -> f32) {
    for (at, found) in found.iter().enumerate() {
        let [row, column] = [at / columns, at % columns];
        assert_eq!(*found, wanted(row, column), "row {row}, column {column}");
    }
}

#[test]
fn one_times_a_float_is_the_float() {
    if skipped() {
        return;
    }
    // Steps and their ends, tiles and their ends, several blocks of steps.
    for (pixels, channels) in [(81, [400, 80]), (70, [401, 91]), (200, [1100, 72])] {
        let mut stream = Stream(pixels as u64);
        let shape = pointwise(pixels, channels);
        let [inputs, outputs] = channels;
        let x = any_floats(&mut stream, shape.x_len());
        let w = ones([outputs, inputs], 7);
        let y = forward(&shape, &x, &w, &Pair);
        exactly(&y, outputs, |pixel, output| {
            x[pixel * inputs + output * 7 % inputs]
        });
        let x = ones([pixels, inputs], 5);
        let w = any_floats(&mut stream, shape.w_len());
        let y = forward(&shape, &x, &w, &Pair);
        exactly(&y, outputs, |pixel, output| {
            w[output * inputs + pixel * 5 % inputs]
        });
    }
}

#[test]
fn one_times_a_gradient_is_the_gradient() {
    if skipped() {
        return;
    }
    for (pixels, channels) in [(300, [400, 112]), (77, [112, 400]), (256, [272, 208])] {
        let mut stream = Stream(pixels as u64);
        let shape = pointwise(pixels, channels);
        let [inputs, outputs] = channels;
        let mut dw = vec![f32::NAN; shape.w_len()];
        // Every channel of X is one in at most one pixel.
        let count = pixels.min(inputs);
        let mut x = ones([count, inputs], 1);
        x.resize(shape.x_len(), 0.0);
        let dy = any_floats(&mut stream, shape.y_len());
        conv_weight_gradient(&shape, &x, &dy, &mut dw, None, &Pair).unwrap();
        exactly(&dw, inputs, |output, input| match input < count {
            true => dy[input * outputs + output],
            false => 0.0,
        });
        let count = pixels.min(outputs);
        let mut dy = ones([count, outputs], 1);
        dy.resize(shape.y_len(), 0.0);
        let x = any_floats(&mut stream, shape.x_len());
        conv_weight_gradient(&shape, &x, &dy, &mut dw, None, &Pair).unwrap();
        exactly(&dw, inputs, |output, input| match output < count {
            true => x[output * inputs + input],
            false => 0.0,
        });
    }
}

/// The error's norm over the sums'.
fn distance(found: &[f32], wanted: &[f64]) -> f64 {
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let mut errors = found.iter().zip(wanted).map(|(f, w)| f64::from(*f) - w);
    norm(&mut errors) / norm(&mut wanted.iter().copied())
}

#[test]
fn sums_are_as_exact_as_those_of_floats() {
    if skipped() {
        return;
    }
    let mut stream = Stream(3);
    let mut random = |len| -> Vec<f32> {
        let mut between = || stream.next() as f32 / (1u64 << 31) as f32 * 2.0 - 1.0;
        (0..len).map(|_| between()).collect()
    };
    for (pixels, channels) in [(100, [384, 96]), (100, [1500, 64])] {
        let shape = pointwise(pixels, channels);
        let [inputs, outputs] = channels;
        let [x, w] = [random(shape.x_len()), random(shape.w_len())];
        let y = forward(&shape, &x, &w, &Serial);
        let mut exact: Vec<f64> = Vec::new();
        let mut plain: Vec<f32> = Vec::new();
        for (pixel, output) in (0..pixels).flat_map(|p| (0..outputs).map(move |o| (p, o))) {
            let x = &x[pixel * inputs..][..inputs];
            let w = &w[output * inputs..][..inputs];
            let both = || x.iter().zip(w);
            exact.push(both().map(|(x, w)| f64::from(*x) * f64::from(*w)).sum());
            plain.push(both().fold(0.0, |sum: f32, (x, w)| x.mul_add(*w, sum)));
        }
        let [tiles, plain] = [distance(&y, &exact), distance(&plain, &exact)];
        println!("{inputs} products: {tiles:.1e} on tiles, {plain:.1e} one by one");
        assert!(tiles <= plain, "{tiles:e} {plain:e}");
        // The number of threads changes nothing.
        assert_eq!(forward(&shape, &x, &w, &Pair), y);
    }
}
