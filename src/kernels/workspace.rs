//! Memory that kernels use while they run and keep for the next call.

use std::cell::RefCell;

thread_local! {
    static BUFFERS: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// Floats in a cache line.
const LINE: usize = 16;

/// Calls `work` with `len` floats of any value that begin a cache line.
///
/// The memory belongs to the calling thread and stays allocated, because fresh pages would cost
/// more than some kernels. A call inside `work` gets memory of its own, which stays too.
pub(super) fn with<T>(len: usize, work: impl FnOnce(&mut [f32]) -> T) -> T {
    let mut buffer = BUFFERS.with_borrow_mut(Vec::pop).unwrap_or_default();
    if buffer.len() < len + LINE {
        buffer.resize(len + LINE, 0.0);
    }
    let start = buffer.as_ptr().align_offset(LINE * size_of::<f32>());
    let start = start.min(LINE);
    let result = work(&mut buffer[start..start + len]);
    BUFFERS.with_borrow_mut(|buffers| buffers.push(buffer));
    result
}
