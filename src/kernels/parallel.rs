//! Who runs the pieces of a kernel.

/// Runs independent pieces of work, on the threads of whoever owns them.
pub trait Parallel {
    /// Number of threads, at least 1.
    fn threads(&self) -> usize;

    /// Calls `piece(0) … piece(pieces − 1)`, each once, in any order, and returns when all are done.
    fn run(&self, pieces: usize, piece: &(dyn Fn(usize) + Sync));
}

/// Everything on the calling thread.
#[derive(Clone, Copy, Debug)]
pub struct Serial;

impl Parallel for Serial {
    fn threads(&self) -> usize {
        1
    }

    fn run(&self, pieces: usize, piece: &(dyn Fn(usize) + Sync)) {
        (0..pieces).for_each(piece);
    }
}
