//! For tests: the onnxruntime library of this machine.

use std::sync::OnceLock;

use super::{Runtime, locate};

/// The library found in the usual order, loaded; `None` (and a line on stderr) when there is none,
/// so that the test can skip.
///
/// # Panics
/// When there is none and `FTSURGERY_REQUIRE` names `runtime`.
pub fn runtime() -> Option<Runtime> {
    static FOUND: OnceLock<Option<Runtime>> = OnceLock::new();
    FOUND
        .get_or_init(|| {
            let loaded = locate::locate(None).and_then(|found| Runtime::load(&found.located));
            match loaded {
                Ok(runtime) => Some(runtime),
                Err(error) => {
                    crate::testing::skip("runtime", error);
                    None
                }
            }
        })
        .clone()
}

/// Whether an onnxruntime library is found in the usual order; where none is, that is a skip.
pub fn has_runtime() -> bool {
    locate::locate(None)
        .map_err(|error| crate::testing::skip("runtime", error))
        .is_ok()
}
