//! Vectors of channels.

use pulp::{Scalar, Simd, WithSimd};

/// Work on channels, compiled once per instruction set.
pub(super) trait Kernel {
    type Output;

    /// Everything this calls has to be `#[inline(always)]`: instruction sets do not cross calls.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

struct Fitting<K> {
    channels: usize,
    kernel: K,
}

impl<K: Kernel> WithSimd for Fitting<K> {
    type Output = K::Output;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> K::Output {
        match self.channels < S::F32_LANES {
            true => self.kernel.run(Scalar),
            false => self.kernel.run(simd),
        }
    }
}

/// Runs `kernel` with the widest vectors that `channels` fill at least once.
pub(super) fn dispatch<K: Kernel>(channels: usize, kernel: K) -> K::Output {
    pulp::Arch::new().dispatch(Fitting { channels, kernel })
}

/// How channels are cut into vectors: all full, the last one overlapping its neighbour if it must.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lanes {
    pub(super) channels: usize,
    pub(super) lanes: usize,
}

impl Lanes {
    /// The cut that [`dispatch`] will work with.
    pub(super) fn of(channels: usize) -> Self {
        struct Count;
        impl Kernel for Count {
            type Output = usize;
            #[inline(always)]
            fn run<S: Simd>(self, _: S) -> usize {
                S::F32_LANES
            }
        }
        Self {
            channels,
            lanes: dispatch(channels, Count),
        }
    }

    /// Number of vectors.
    #[inline(always)]
    pub(super) fn vectors(self) -> usize {
        self.channels.div_ceil(self.lanes)
    }

    /// First channel of a vector.
    #[inline(always)]
    pub(super) fn start(self, vector: usize) -> usize {
        (vector * self.lanes).min(self.channels - self.lanes)
    }

    /// Copies `taps` values per channel, `[channel][tap]`, to vectors: `[vector][tap][lane]`.
    pub(super) fn pack(self, taps: usize, from: impl Fn(usize, usize) -> f32, to: &mut [f32]) {
        for (vector, block) in to.chunks_exact_mut(taps * self.lanes).enumerate() {
            for (tap, lanes) in block.chunks_exact_mut(self.lanes).enumerate() {
                for (lane, value) in lanes.iter_mut().enumerate() {
                    *value = from(self.start(vector) + lane, tap);
                }
            }
        }
    }

    /// Floats of a packed array with `taps` values per channel.
    pub(super) fn packed(self, taps: usize) -> usize {
        self.vectors() * taps * self.lanes
    }

    /// Where a packed array has a channel's tap.
    pub(super) fn index(self, taps: usize, channel: usize, tap: usize) -> usize {
        let vector = channel / self.lanes;
        (vector * taps + tap) * self.lanes + channel - self.start(vector)
    }
}

/// Repeats a block with `$index` = 0 … `$end` − 1 for a constant `$end` of at most 7, as text: arrays
/// indexed with it become registers, which arrays indexed in a loop may not.
macro_rules! unroll {
    ($index:ident < $end:expr, $body:block) => {
        $crate::kernels::channelwise::channels::unroll!(@ $index, $end, $body, 0 1 2 3 4 5 6)
    };
    (@ $index:ident, $end:expr, $body:block, $($value:literal)*) => {
        $(if $value < $end {
            let $index: usize = $value;
            $body
        })*
    };
}
pub(super) use unroll;

/// The vector at `from`.
///
/// # Safety
/// `F32_LANES` floats from there must be readable.
#[inline(always)]
#[allow(unsafe_code)]
pub(super) unsafe fn load<S: Simd>(from: *const f32) -> S::f32s {
    // SAFETY: readable by the caller's promise; vectors are plain data.
    unsafe { from.cast::<S::f32s>().read_unaligned() }
}

/// Writes a vector to `to`.
///
/// # Safety
/// `F32_LANES` floats from there must be writable.
#[inline(always)]
#[allow(unsafe_code)]
pub(super) unsafe fn store<S: Simd>(to: *mut f32, value: S::f32s) {
    // SAFETY: writable by the caller's promise.
    unsafe { to.cast::<S::f32s>().write_unaligned(value) }
}

/// Floats of a cache line.
pub(super) const LINE: usize = 16;

/// Asks for the cache line at `address`, which may be any, to be read soon.
#[inline(always)]
#[allow(unsafe_code)]
pub(super) fn prefetch_read(address: *const f32) {
    // SAFETY: a hint; it cannot fault.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        std::arch::asm!("prefetcht1 [{}]", in(reg) address,
            options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// Asks for the cache line at `address`, which may be any, to be written soon.
#[inline(always)]
#[allow(unsafe_code)]
pub(super) fn prefetch_write(address: *mut f32) {
    // SAFETY: a hint; it cannot fault, and where it is unknown it does nothing.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        std::arch::asm!("prefetchw [{}]", in(reg) address,
            options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}
