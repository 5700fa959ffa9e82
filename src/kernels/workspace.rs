//! Memory that kernels use while they run and keep for the next call.

use std::cell::RefCell;

thread_local! {
    static BUFFER: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Bytes of a cache line; vectors that straddle two cost twice.
const LINE: usize = 64;

/// Calls `work` with `len` floats of any value, the first at the begin of a cache line.
///
/// The memory belongs to the calling thread and stays allocated, because fresh pages would cost
/// more than some kernels. A call inside `work` gets memory of its own.
pub(super) fn with<T>(len: usize, work: impl FnOnce(&mut [f32]) -> T) -> T {
    let mut buffer = BUFFER.take();
    let spare = LINE / size_of::<f32>();
    if buffer.len() < len + spare {
        buffer.resize(len + spare, 0.0);
    }
    let start = buffer.as_ptr().align_offset(LINE).min(spare);
    let result = work(&mut buffer[start..start + len]);
    BUFFER.set(buffer);
    result
}
