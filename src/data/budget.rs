//! How much memory kept features may take in all.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A number of bytes that the [`FeatureStore`](super::FeatureStore)s made with it may hold in
/// memory together. Clones share it.
#[derive(Debug, Clone)]
pub struct MemoryBudget(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    total: u64,
    used: AtomicU64,
}

/// A share of a budget, given back when dropped.
#[derive(Debug)]
pub(super) struct Reservation {
    budget: MemoryBudget,
    bytes: u64,
}

impl MemoryBudget {
    /// A budget of that many bytes.
    pub fn new(total: u64) -> Self {
        MemoryBudget(Arc::new(Inner {
            total,
            used: AtomicU64::new(0),
        }))
    }

    /// The whole of it, in bytes.
    pub fn total(&self) -> u64 {
        self.0.total
    }

    /// Bytes in use now.
    pub fn used(&self) -> u64 {
        self.0.used.load(Ordering::Relaxed)
    }

    /// A share of `bytes`, if so many are free.
    pub(super) fn reserve(&self, bytes: u64) -> Option<Reservation> {
        let grow = |used: u64| used.checked_add(bytes).filter(|&sum| sum <= self.0.total);
        self.0
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, grow)
            .ok()?;
        Some(Reservation {
            budget: self.clone(),
            bytes,
        })
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.0.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
