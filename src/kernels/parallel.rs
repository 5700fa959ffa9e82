//! Who runs the pieces of a kernel.

/// Runs independent pieces of work, on the threads of whoever owns them.
///
/// # Safety
/// [`Parallel::run`] must call each piece at most once, and none after it has returned or panicked:
/// every piece writes a part of the output that it takes to be its own.
#[allow(unsafe_code)]
pub unsafe trait Parallel {
    /// Number of threads, at least 1.
    fn threads(&self) -> usize;

    /// Calls `piece(0) … piece(pieces − 1)`, each once, in any order, and returns when all are done.
    fn run(&self, pieces: usize, piece: &(dyn Fn(usize) + Sync));
}

/// Everything on the calling thread.
#[derive(Clone, Copy, Debug)]
pub struct Serial;

// SAFETY: a range has each number once.
#[allow(unsafe_code)]
unsafe impl Parallel for Serial {
    fn threads(&self) -> usize {
        1
    }

    fn run(&self, pieces: usize, piece: &(dyn Fn(usize) + Sync)) {
        (0..pieces).for_each(piece);
    }
}
