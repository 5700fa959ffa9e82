//! Placeholder loops.
use super::*;
fn idx(s: &ConvShape, f: &mut dyn FnMut(usize, usize, usize, usize, usize)) {
    // y, x, w indices, o, c
    let (ig, og) = (s.in_channels / s.group, s.out_channels / s.group);
    for n in 0..s.batch {
        for oy in 0..s.output[0] {
            for ox in 0..s.output[1] {
                for ky in 0..s.kernel[0] {
                    for kx in 0..s.kernel[1] {
                        let iy =
                            (oy * s.strides[0] + ky * s.dilations[0]) as isize - s.pads[0] as isize;
                        let ix =
                            (ox * s.strides[1] + kx * s.dilations[1]) as isize - s.pads[1] as isize;
                        if iy < 0
                            || ix < 0
                            || iy >= s.input[0] as isize
                            || ix >= s.input[1] as isize
                        {
                            continue;
                        }
                        let yb = ((n * s.output[0] + oy) * s.output[1] + ox) * s.out_channels;
                        let xb = ((n * s.input[0] + iy as usize) * s.input[1] + ix as usize)
                            * s.in_channels;
                        for o in 0..s.out_channels {
                            let g = o / og;
                            for i in 0..ig {
                                f(
                                    yb + o,
                                    xb + g * ig + i,
                                    ((o * ig + i) * s.kernel[0] + ky) * s.kernel[1] + kx,
                                    o,
                                    g * ig + i,
                                );
                            }
                        }
                    }
                }
            }
        }
    }
}
pub fn conv(
    s: &ConvShape,
    x: &[f32],
    w: &[f32],
    e: &Epilogue,
    y: &mut [f32],
    _p: &dyn Parallel,
) -> Result<(), KernelError> {
    y.fill(0.0);
    idx(s, &mut |a, b, c, _, _| y[a] += x[b] * w[c]);
    for (i, v) in y.iter_mut().enumerate() {
        if let Some(b) = e.bias {
            *v += b[i % s.out_channels];
        }
        if let Some(r) = e.residual {
            *v += r[i];
        }
        *v = e.activation.apply(*v);
    }
    Ok(())
}
pub fn conv_input_gradient(
    s: &ConvShape,
    dy: &[f32],
    w: &[f32],
    e: &InputEpilogue,
    dx: &mut [f32],
    _p: &dyn Parallel,
) -> Result<(), KernelError> {
    dx.fill(0.0);
    idx(s, &mut |a, b, c, _, _| dx[b] += dy[a] * w[c]);
    for (i, v) in dx.iter_mut().enumerate() {
        if let Some(r) = e.addend {
            *v += r[i];
        }
        if let Some((a, x)) = e.mask {
            *v *= a.slope(x[i]);
        }
    }
    Ok(())
}
pub fn conv_weight_gradient(
    s: &ConvShape,
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
    db: Option<&mut [f32]>,
    _p: &dyn Parallel,
) -> Result<(), KernelError> {
    dw.fill(0.0);
    idx(s, &mut |a, b, c, _, _| dw[c] += dy[a] * x[b]);
    if let Some(db) = db {
        db.fill(0.0);
        for (i, v) in dy.iter().enumerate() {
            db[i % s.out_channels] += v;
        }
    }
    Ok(())
}
pub fn activation_gradient(
    act: Activation,
    dy: &[f32],
    y: &[f32],
    dx: &mut [f32],
    _p: &dyn Parallel,
) -> Result<(), KernelError> {
    for i in 0..dy.len() {
        dx[i] = dy[i] * act.slope(y[i]);
    }
    Ok(())
}
