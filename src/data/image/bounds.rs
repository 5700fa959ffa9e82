//! The memory of all images that are decoded at one time.

use std::sync::{Condvar, Mutex, PoisonError};

use super::{MAX_DECODED_BYTES, MAX_DECODING_BYTES};

static HELD: Mutex<u64> = Mutex::new(0);
static FREED: Condvar = Condvar::new();

// Else an image could wait for ever.
const _: () = assert!(MAX_DECODED_BYTES <= MAX_DECODING_BYTES);

/// A share of the memory for decoding, given back when dropped.
pub(super) struct Share(u64);

/// Waits until `bytes`, at most [`MAX_DECODED_BYTES`], are free.
///
/// Whoever holds a share must not wait for another.
pub(super) fn wait_for(bytes: u64) -> Share {
    let held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
    let full = |held: &mut u64| *held + bytes > MAX_DECODING_BYTES;
    let mut held = FREED
        .wait_while(held, full)
        .unwrap_or_else(PoisonError::into_inner);
    *held += bytes;
    Share(bytes)
}

impl Drop for Share {
    fn drop(&mut self) {
        *HELD.lock().unwrap_or_else(PoisonError::into_inner) -= self.0;
        FREED.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn threads_never_hold_more_than_is_allowed_together() {
        let (now, most) = (AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for bytes in [MAX_DECODED_BYTES, 1, MAX_DECODED_BYTES / 3] {
                        let share = wait_for(bytes);
                        let sum = now.fetch_add(bytes, Ordering::SeqCst) + bytes;
                        most.fetch_max(sum, Ordering::SeqCst);
                        std::thread::sleep(std::time::Duration::from_millis(2));
                        now.fetch_sub(bytes, Ordering::SeqCst);
                        drop(share);
                    }
                });
            }
        });
        assert!(most.into_inner() <= MAX_DECODING_BYTES);
    }
}
