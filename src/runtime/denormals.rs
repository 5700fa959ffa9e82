//! Flushing denormal numbers to zero on the current thread.
//!
//! Gradients and optimizer moments decay into denormal numbers, on which processors are many times
//! slower. onnxruntime sets the flag for the worker threads of a session, but of the threads that
//! *call* it only for the first one that ever creates a session; with one thread per session the
//! caller does all the work. So every call into a session holds a [`FlushToZero`].
//!
//! Rust takes the processor's floating-point state to be the default one: arithmetic of compiled Rust code
//! under another is not defined by the language. A [`FlushToZero`] is therefore to live around a call into
//! onnxruntime and nothing else. Our own kernels run inside such a call, on its threads, where they
//! compute by vector instructions that take the state as it is, and where plain Rust arithmetic on floats
//! can at most flush denormals too: no result that they promise depends on that.

use std::marker::PhantomData;

/// While it lives, the thread that made it treats denormal numbers as zero, read and written.
///
/// The former state returns when it is dropped. On processors other than x86-64 and AArch64 it does
/// nothing.
#[derive(Debug)]
pub struct FlushToZero {
    saved: u64,
    /// The flag belongs to one thread.
    not_send: PhantomData<*const ()>,
}

impl FlushToZero {
    /// Sets the flag on the current thread.
    #[must_use = "the flag is reset when the value is dropped"]
    pub fn new() -> Self {
        let saved = control::read();
        control::write(saved | control::FLUSH);
        Self {
            saved,
            not_send: PhantomData,
        }
    }
}

impl Default for FlushToZero {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for FlushToZero {
    fn drop(&mut self) {
        control::write(self.saved);
    }
}

#[cfg(target_arch = "x86_64")]
mod control {
    use std::arch::asm;

    /// MXCSR: flush-to-zero (bit 15) and denormals-are-zero (bit 6).
    pub const FLUSH: u64 = 1 << 15 | 1 << 6;

    #[allow(unsafe_code)]
    pub fn read() -> u64 {
        let mut state = 0_u32;
        // SAFETY: stores the control register into a live, aligned u32; SSE is part of x86-64.
        unsafe { asm!("stmxcsr [{}]", in(reg) &mut state, options(nostack, preserves_flags)) };
        u64::from(state)
    }

    #[allow(unsafe_code)]
    pub fn write(state: u64) {
        let state = state as u32;
        // SAFETY: `state` comes from `read`, with the two flush bits set at most: no reserved bit, no
        // unmasked exception and no other rounding. What runs until it is set back is told above.
        unsafe { asm!("ldmxcsr [{}]", in(reg) &state, options(nostack, preserves_flags)) };
    }
}

#[cfg(target_arch = "aarch64")]
mod control {
    use std::arch::asm;

    /// FPCR: flush-to-zero (bit 24).
    pub const FLUSH: u64 = 1 << 24;

    #[allow(unsafe_code)]
    pub fn read() -> u64 {
        let state: u64;
        // SAFETY: reads the floating-point control register of this thread.
        unsafe { asm!("mrs {}, fpcr", out(reg) state, options(nomem, nostack, preserves_flags)) };
        state
    }

    #[allow(unsafe_code)]
    pub fn write(state: u64) {
        // SAFETY: `state` comes from `read`, with the flush bit set at most.
        unsafe { asm!("msr fpcr, {}", in(reg) state, options(nostack, preserves_flags)) };
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod control {
    pub const FLUSH: u64 = 0;

    pub fn read() -> u64 {
        0
    }

    pub fn write(_state: u64) {}
}

#[cfg(all(test, any(target_arch = "x86_64", target_arch = "aarch64")))]
mod tests {
    use std::hint::black_box;

    use super::*;

    #[test]
    fn products_flush_while_the_guard_lives_and_only_then() {
        let product = || black_box(1e-30_f32) * black_box(1e-10_f32);
        assert!(product() > 0.0);
        {
            let _flush = FlushToZero::new();
            assert_eq!(black_box(product()), 0.0);
        }
        assert!(product() > 0.0);
    }
}
