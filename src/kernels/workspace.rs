//! Memory that kernels use while they run and keep for the next call.

use std::cell::RefCell;

thread_local! {
    static BUFFERS: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// Floats in a cache line.
const LINE: usize = 16;

/// Floats that begin a cache line.
#[derive(Debug)]
pub(super) struct Aligned {
    buffer: Vec<f32>,
    start: usize,
    len: usize,
}

impl Aligned {
    /// `len` zeros.
    pub(super) fn new(len: usize) -> Self {
        let mut buffer = Vec::new();
        grow(&mut buffer, len);
        Aligned {
            start: line_start(&buffer),
            buffer,
            len,
        }
    }

    pub(super) fn get(&self) -> &[f32] {
        &self.buffer[self.start..self.start + self.len]
    }

    pub(super) fn get_mut(&mut self) -> &mut [f32] {
        &mut self.buffer[self.start..self.start + self.len]
    }
}

/// Makes room for `len` floats from any float of the first cache line on.
///
/// # Panics
/// When there is no memory for them. To run out of it in the usual way would end the process.
fn grow(buffer: &mut Vec<f32>, len: usize) {
    let wanted = len.saturating_add(LINE);
    let more = wanted.saturating_sub(buffer.len());
    if let Err(error) = buffer.try_reserve_exact(more) {
        panic!("{wanted} floats of memory are not to be had: {error}");
    }
    if more > 0 {
        buffer.resize(wanted, 0.0);
    }
}

/// The first float that begins a cache line.
fn line_start(buffer: &[f32]) -> usize {
    let start = buffer.as_ptr().align_offset(LINE * size_of::<f32>());
    start.min(LINE)
}

/// Calls `work` with `len` floats of any value that begin a cache line.
///
/// The memory belongs to the calling thread and stays allocated, because fresh pages would cost
/// more than some kernels. A call inside `work` gets memory of its own, which stays too.
pub(super) fn with<T>(len: usize, work: impl FnOnce(&mut [f32]) -> T) -> T {
    let mut buffer = BUFFERS.with_borrow_mut(Vec::pop).unwrap_or_default();
    grow(&mut buffer, len);
    let start = line_start(&buffer);
    let result = work(&mut buffer[start..start + len]);
    BUFFERS.with_borrow_mut(|buffers| buffers.push(buffer));
    result
}
