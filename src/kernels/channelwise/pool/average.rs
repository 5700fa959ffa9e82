//! Means of windows and of whole maps.

use std::ops::Range;

use pulp::Simd;

use super::PoolShape;
use crate::kernels::channelwise::bands::Bands;
use crate::kernels::channelwise::channels::{Kernel, Lanes, dispatch, load, slope, store};
use crate::kernels::channelwise::taps::Taps;
use crate::kernels::shape::expect;
use crate::kernels::shared::Shared;
use crate::kernels::{Activation, KernelError, Parallel};

/// Y `[batch, channels]` = the means of X `[batch, positions, channels]` over positions.
///
/// # Errors
/// [`KernelError::Length`] when a slice does not fit the sizes.
pub fn global_average_pool(
    batch: usize,
    positions: usize,
    channels: usize,
    x: &[f32],
    y: &mut [f32],
    parallel: &dyn Parallel,
) -> Result<(), KernelError> {
    expect("X", x.len(), batch * positions * channels)?;
    expect("Y", y.len(), batch * channels)?;
    if y.is_empty() {
        return Ok(());
    }
    let bands = Bands::new(batch, x.len(), parallel.threads());
    let shared = Shared::new(y);
    parallel.run(bands.pieces(), &|piece| {
        let range = bands.range(piece);
        #[allow(unsafe_code)]
        // SAFETY: pieces have examples of their own.
        let y = unsafe { shared.part(range.start * channels..range.end * channels) };
        let x = &x[range.start * positions * channels..range.end * positions * channels];
        let kernel = Means {
            positions,
            channels,
            x,
            y,
        };
        dispatch(channels, kernel);
    });
    Ok(())
}

/// dX = dY / positions at every position, ⊙ slope of the activation that made X, told from X.
///
/// # Errors
/// [`KernelError::Length`] when a slice does not fit the sizes.
pub fn global_average_pool_gradient(
    batch: usize,
    positions: usize,
    channels: usize,
    dy: &[f32],
    mask: Option<(Activation, &[f32])>,
    dx: &mut [f32],
    parallel: &dyn Parallel,
) -> Result<(), KernelError> {
    expect("dY", dy.len(), batch * channels)?;
    expect("dX", dx.len(), batch * positions * channels)?;
    if let Some((_, x)) = mask {
        expect("X", x.len(), dx.len())?;
    }
    if dx.is_empty() {
        return Ok(());
    }
    let bands = Bands::new(batch * positions, 2 * dx.len(), parallel.threads());
    let shared = Shared::new(dx);
    parallel.run(bands.pieces(), &|piece| {
        let range = bands.range(piece);
        #[allow(unsafe_code)]
        // SAFETY: pieces have positions of their own.
        let dx = unsafe { shared.part(range.start * channels..range.end * channels) };
        let mask = mask
            .map(|(activation, x)| (activation, &x[range.start * channels..range.end * channels]));
        let kernel = Spread {
            positions,
            channels,
            dy,
            mask,
            dx,
            first: range.start,
        };
        dispatch(channels, kernel);
    });
    Ok(())
}

/// Y = the mean of each window: of all its taps with `count_pads`, where padding counts as zero,
/// else of the elements that exist. An empty window gives 0.
///
/// # Errors
/// [`KernelError`] when sizes contradict each other or a slice does not fit them.
pub fn average_pool(
    shape: &PoolShape,
    count_pads: bool,
    x: &[f32],
    y: &mut [f32],
    parallel: &dyn Parallel,
) -> Result<(), KernelError> {
    shape.check()?;
    expect("X", x.len(), shape.x_len())?;
    expect("Y", y.len(), shape.y_len())?;
    let [rows, columns] = [0, 1].map(|axis| Taps::forward(shape.axis(axis)));
    let taps = (shape.kernel[0] * shape.kernel[1]) as f32;
    let gather = |p: usize, q: usize, sources: &mut Vec<(usize, f32)>| {
        let (pairs, columns) = (rows.at(p), columns.at(q));
        let count = match count_pads {
            true => taps,
            false => (pairs.len() * columns.len()) as f32,
        };
        for &(_, h) in pairs {
            sources.extend(
                columns
                    .iter()
                    .map(|&(_, c)| (h * shape.input[1] + c, 1.0 / count)),
            );
        }
    };
    weigh(
        shape.channels,
        x,
        shape.input,
        y,
        shape.output,
        gather,
        parallel,
    );
    Ok(())
}

/// dX of [`average_pool`].
///
/// # Errors
/// [`KernelError`] when sizes contradict each other or a slice does not fit them.
pub fn average_pool_gradient(
    shape: &PoolShape,
    count_pads: bool,
    dy: &[f32],
    dx: &mut [f32],
    parallel: &dyn Parallel,
) -> Result<(), KernelError> {
    shape.check()?;
    expect("dY", dy.len(), shape.y_len())?;
    expect("dX", dx.len(), shape.x_len())?;
    let [rows, columns] = [0, 1].map(|axis| Taps::forward(shape.axis(axis)));
    let back = [0, 1].map(|axis| Taps::backward(shape.axis(axis)));
    let taps = (shape.kernel[0] * shape.kernel[1]) as f32;
    let gather = |h: usize, w: usize, sources: &mut Vec<(usize, f32)>| {
        for &(_, p) in back[0].at(h) {
            for &(_, q) in back[1].at(w) {
                let count = match count_pads {
                    true => taps,
                    false => (rows.at(p).len() * columns.at(q).len()) as f32,
                };
                sources.push((p * shape.output[1] + q, 1.0 / count));
            }
        }
    };
    weigh(
        shape.channels,
        dy,
        shape.output,
        dx,
        shape.input,
        gather,
        parallel,
    );
    Ok(())
}

/// Every position of `to` becomes the sum of positions of `from`'s same example times factors, as
/// `gather(row, column)` names them.
fn weigh(
    channels: usize,
    from: &[f32],
    from_size: [usize; 2],
    to: &mut [f32],
    to_size: [usize; 2],
    gather: impl Fn(usize, usize, &mut Vec<(usize, f32)>) + Sync,
    parallel: &dyn Parallel,
) {
    let [from_len, to_len] = [from_size, to_size].map(|[height, width]| height * width);
    let bands = Bands::new(
        to.len() / channels,
        from.len() + to.len(),
        parallel.threads(),
    );
    let shared = Shared::new(to);
    parallel.run(bands.pieces(), &|piece| {
        let mut sources = Vec::new();
        for position in bands.range(piece) {
            #[allow(unsafe_code)]
            // SAFETY: positions have elements of their own.
            let to = unsafe { shared.part(position * channels..(position + 1) * channels) };
            let (example, place) = (position / to_len, position % to_len);
            sources.clear();
            gather(place / to_size[1], place % to_size[1], &mut sources);
            let from = &from[example * from_len * channels..(example + 1) * from_len * channels];
            to.fill(0.0);
            for &(position, factor) in &sources {
                let from = &from[position * channels..(position + 1) * channels];
                to.iter_mut()
                    .zip(from)
                    .for_each(|(to, from)| *to += factor * from);
            }
        }
    });
}

struct Means<'a> {
    positions: usize,
    channels: usize,
    x: &'a [f32],
    y: &'a mut [f32],
}

impl Kernel for Means<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let (positions, channels) = (self.positions, self.channels);
        let lanes = Lanes {
            channels,
            lanes: S::F32_LANES,
        };
        let factor = simd.splat_f32s(1.0 / positions as f32);
        for (n, y) in self.y.chunks_exact_mut(channels).enumerate() {
            let map = &self.x[n * positions * channels..(n + 1) * positions * channels];
            for vectors in blocks(lanes.vectors()) {
                let mut sums = [simd.splat_f32s(0.0); BLOCK];
                for position in map.chunks_exact(channels) {
                    for (sum, vector) in sums.iter_mut().zip(vectors.clone()) {
                        // SAFETY: a vector's channels lie within a position.
                        #[allow(unsafe_code)]
                        let x = unsafe { load::<S>(position.as_ptr().add(lanes.start(vector))) };
                        *sum = simd.add_f32s(*sum, x);
                    }
                }
                for (&sum, vector) in sums.iter().zip(vectors) {
                    // SAFETY: a vector's channels lie within a position.
                    #[allow(unsafe_code)]
                    unsafe {
                        let mean = simd.mul_f32s(sum, factor);
                        store::<S>(y.as_mut_ptr().add(lanes.start(vector)), mean);
                    }
                }
            }
        }
    }
}

const BLOCK: usize = 16;

/// `0..vectors` in ranges of at most [`BLOCK`].
fn blocks(vectors: usize) -> impl Iterator<Item = Range<usize>> {
    (0..vectors)
        .step_by(BLOCK)
        .map(move |start| start..(start + BLOCK).min(vectors))
}

struct Spread<'a> {
    positions: usize,
    channels: usize,
    dy: &'a [f32],
    mask: Option<(Activation, &'a [f32])>,
    dx: &'a mut [f32],
    first: usize,
}

impl Kernel for Spread<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let channels = self.channels;
        let lanes = Lanes {
            channels,
            lanes: S::F32_LANES,
        };
        let factor = simd.splat_f32s(1.0 / self.positions as f32);
        for (index, dx) in self.dx.chunks_exact_mut(channels).enumerate() {
            let n = (self.first + index) / self.positions;
            let dy = &self.dy[n * channels..(n + 1) * channels];
            let mask = self
                .mask
                .map(|(activation, x)| (activation, &x[index * channels..(index + 1) * channels]));
            for vector in 0..lanes.vectors() {
                let channel = lanes.start(vector);
                // SAFETY: a vector's channels lie within a position.
                #[allow(unsafe_code)]
                unsafe {
                    let mut value = simd.mul_f32s(load::<S>(dy.as_ptr().add(channel)), factor);
                    if let Some((activation, x)) = mask {
                        let x = load::<S>(x.as_ptr().add(channel));
                        value = slope(simd, activation, value, x);
                    }
                    store::<S>(dx.as_mut_ptr().add(channel), value);
                }
            }
        }
    }
}
