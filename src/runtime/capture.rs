//! Who may use a GPU while the work of a run is being recorded.
//!
//! A session with [`SessionOptions::replay`](super::SessionOptions::replay) has its first run on some buffers recorded as a
//! CUDA graph. While that goes on CUDA refuses much of what another thread of the process asks for, memory above all
//! (`cudaStreamCaptureModeGlobal`). So whoever records is alone.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

static USE: RwLock<()> = RwLock::new(());

/// To be held while a device is used and nothing recorded.
pub(super) fn running() -> RwLockReadGuard<'static, ()> {
    USE.read().unwrap_or_else(PoisonError::into_inner)
}

/// To be held while a run is recorded.
pub(super) fn recording() -> RwLockWriteGuard<'static, ()> {
    USE.write().unwrap_or_else(PoisonError::into_inner)
}
