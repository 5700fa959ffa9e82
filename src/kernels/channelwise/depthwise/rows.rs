//! One row of a depthwise correlation, all channels.
//!
//! A row is made vector by vector of channels, walking along the columns: each input is loaded once
//! and multiplied into the outputs under way, which wait in registers.

use pulp::Simd;

use super::finish::Finish;
use crate::kernels::channelwise::channels::{Lanes, load, store};
use crate::kernels::channelwise::taps::Taps;

/// How outputs and inputs of a row lie to each other.
#[derive(Clone, Copy, Debug)]
pub(super) enum Walk {
    /// Output q sums input q · stride + tap − pad.
    Gather {
        /// 1 or 2.
        stride: usize,
        /// Any sign.
        pad: isize,
    },
    /// Input q adds to output q · 2 + tap − pad.
    Scatter {
        /// Not negative.
        pad: usize,
    },
    /// As a table says.
    Table,
}

/// A correlation of `input` maps to `output` maps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Correlation<'a> {
    pub(super) lanes: Lanes,
    pub(super) input: [usize; 2],
    pub(super) output: [usize; 2],
    /// Taps along a row.
    pub(super) width: usize,
    /// Taps in all.
    pub(super) taps: usize,
    pub(super) walk: Walk,
    /// From output rows and columns to input rows and columns.
    pub(super) rows: &'a Taps,
    pub(super) columns: &'a Taps,
    /// `[vector][tap][lane]`
    pub(super) weights: &'a [f32],
    /// What sums start from, `[vector][lane]`.
    pub(super) start: &'a [f32],
}

/// A row under work: row `p` of an example's map `x`, written to `y`, whose first element stands at
/// `offset` of the whole output.
#[derive(Clone, Copy)]
pub(super) struct Row {
    pub(super) x: *const f32,
    pub(super) y: *mut f32,
    pub(super) offset: usize,
}

impl Correlation<'_> {
    /// Writes row `p` of an example to `y`, the row's elements. `x` is the example's map and
    /// `offset` where `y` begins in the whole output.
    ///
    /// # Safety
    /// `finish` must be able to read `offset..offset + y.len()`.
    #[inline(always)]
    #[allow(unsafe_code)]
    pub(super) unsafe fn row<S: Simd, F: Finish>(
        &self,
        simd: S,
        finish: &F,
        p: usize,
        x: &[f32],
        y: &mut [f32],
        offset: usize,
    ) {
        let channels = self.lanes.channels;
        assert!(self.lanes.lanes == S::F32_LANES && self.lanes.channels >= S::F32_LANES);
        assert_eq!(x.len(), self.input[0] * self.input[1] * channels);
        assert_eq!(y.len(), self.output[1] * channels);
        assert_eq!(self.weights.len(), self.lanes.packed(self.taps));
        assert_eq!(self.start.len(), self.lanes.packed(1));
        let row = Row {
            x: x.as_ptr(),
            y: y.as_mut_ptr(),
            offset,
        };
        let pairs = self.rows.at(p);
        // SAFETY: the assertions above are what the row functions ask for; `width` is matched with
        // their taps, the number of pairs with their rows.
        unsafe {
            match (self.walk, self.width, pairs.len()) {
                _ if S::IS_SCALAR => self.table(simd, finish, pairs, row),
                (Walk::Gather { stride: 1, pad }, 3, 1) => {
                    self.gather::<S, F, 3, 1, 1>(simd, finish, pairs, pad, row);
                }
                (Walk::Gather { stride: 1, pad }, 3, 2) => {
                    self.gather::<S, F, 3, 1, 2>(simd, finish, pairs, pad, row);
                }
                (Walk::Gather { stride: 1, pad }, 3, 3) => {
                    self.gather::<S, F, 3, 1, 3>(simd, finish, pairs, pad, row);
                }
                (Walk::Gather { stride: 2, pad }, 3, 1) => {
                    self.gather::<S, F, 3, 2, 1>(simd, finish, pairs, pad, row);
                }
                (Walk::Gather { stride: 2, pad }, 3, 2) => {
                    self.gather::<S, F, 3, 2, 2>(simd, finish, pairs, pad, row);
                }
                (Walk::Gather { stride: 2, pad }, 3, 3) => {
                    self.gather::<S, F, 3, 2, 3>(simd, finish, pairs, pad, row);
                }
                (Walk::Gather { stride: 1, pad }, 5, 5) => {
                    self.gather::<S, F, 5, 1, 5>(simd, finish, pairs, pad, row);
                }
                (Walk::Gather { stride: 2, pad }, 5, 5) => {
                    self.gather::<S, F, 5, 2, 5>(simd, finish, pairs, pad, row);
                }
                (Walk::Gather { stride: 1, pad }, 7, 7) => {
                    self.gather::<S, F, 7, 1, 7>(simd, finish, pairs, pad, row);
                }
                (Walk::Gather { stride: 1, pad }, 5, _) => {
                    self.gather::<S, F, 5, 1, 0>(simd, finish, pairs, pad, row);
                }
                (Walk::Gather { stride: 2, pad }, 5, _) => {
                    self.gather::<S, F, 5, 2, 0>(simd, finish, pairs, pad, row);
                }
                (Walk::Gather { stride: 1, pad }, 7, _) => {
                    self.gather::<S, F, 7, 1, 0>(simd, finish, pairs, pad, row);
                }
                (Walk::Scatter { pad }, 3, 1) => {
                    self.scatter::<S, F, 3, 1>(simd, finish, pairs, pad, row);
                }
                (Walk::Scatter { pad }, 3, 2) => {
                    self.scatter::<S, F, 3, 2>(simd, finish, pairs, pad, row);
                }
                (Walk::Scatter { pad }, 5, 2) => {
                    self.scatter::<S, F, 5, 2>(simd, finish, pairs, pad, row);
                }
                (Walk::Scatter { pad }, 5, 3) => {
                    self.scatter::<S, F, 5, 3>(simd, finish, pairs, pad, row);
                }
                (Walk::Scatter { pad }, 5, _) => {
                    self.scatter::<S, F, 5, 0>(simd, finish, pairs, pad, row);
                }
                _ => self.table(simd, finish, pairs, row),
            }
        }
    }

    /// Any kernel, stride and dilation.
    ///
    /// # Safety
    /// As [`Self::row`] asserts; `pairs` must be the row's.
    #[inline(always)]
    #[allow(unsafe_code)]
    unsafe fn table<S: Simd, F: Finish>(
        &self,
        simd: S,
        finish: &F,
        pairs: &[(usize, usize)],
        row: Row,
    ) {
        let channels = self.lanes.channels;
        let row_len = self.input[1] * channels;
        let ready = finish.ready(simd);
        for vector in 0..self.lanes.vectors() {
            let channel = self.lanes.start(vector);
            for q in 0..self.output[1] {
                let columns = self.columns.at(q);
                // SAFETY: the tables hold rows, columns and taps that exist.
                unsafe {
                    let w = self.weights.as_ptr().add(vector * self.taps * S::F32_LANES);
                    let mut sum = load::<S>(self.start.as_ptr().add(vector * S::F32_LANES));
                    for &(i, h) in pairs {
                        let w = w.add(i * self.width * S::F32_LANES);
                        let x = row.x.add(h * row_len + channel);
                        for &(j, c) in columns {
                            let w = load::<S>(w.add(j * S::F32_LANES));
                            let x = load::<S>(x.add(c * channels));
                            sum = simd.mul_add_f32s(w, x, sum);
                        }
                    }
                    let element = q * channels + channel;
                    let value = F::finish(simd, &ready, sum, row.offset + element);
                    store::<S>(row.y.add(element), value);
                }
            }
        }
    }
}
