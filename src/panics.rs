//! Panics of libraries that read files of strangers.
//!
//! They report malformed files as errors, but not without exception, and one such file must not end a
//! run that has thousands of others.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};

thread_local! {
    static CATCHING: Cell<bool> = const { Cell::new(false) };
}

/// What `work` returns, or `None` if it panics.
///
/// The panic is printed as the process's hook has it: see [`hush_caught`].
pub fn caught<T>(work: impl FnOnce() -> T) -> Option<T> {
    // The unit tests are a program as well.
    #[cfg(test)]
    {
        static HUSHED: std::sync::Once = std::sync::Once::new();
        HUSHED.call_once(hush_caught);
    }
    let before = CATCHING.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    CATCHING.set(before);
    result.ok()
}

/// Keeps panics that [`caught`] catches from being printed. For programs: a library has no business
/// with the hook of the process.
pub fn hush_caught() {
    let before = take_hook();
    set_hook(Box::new(move |info| {
        if !CATCHING.get() {
            before(info);
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_caught_and_the_next_one_is_not_hidden() {
        assert_eq!(caught(|| 1), Some(1));
        assert_eq!(caught(|| caught(|| panic!("inner"))), Some(None::<()>));
        assert!(!CATCHING.get());
    }
}
