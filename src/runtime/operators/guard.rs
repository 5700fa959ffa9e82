//! The border to onnxruntime: what panics in a kernel becomes an error that names the node.
//!
//! onnxruntime calls kernels, and its threads their pieces, from C++: a panic that reached it would
//! end the process.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Mutex;

use ort::operator::{BoxedKernel, ComputeContext, KernelContext};

/// Makes a node's kernel by `make`, and has it fail with an error where it would panic.
pub(super) fn create<'a>(
    info: &KernelContext<'a>,
    make: impl FnOnce(&KernelContext<'a>) -> ort::Result<BoxedKernel<'static>>,
) -> ort::Result<BoxedKernel<'a>> {
    let node = info.node_name().unwrap_or_default();
    let mut kernel = guarded(&node, || make(info))?;
    Ok(Box::new(move |context: &ComputeContext| {
        guarded(&node, || kernel.compute(context))
    }))
}

/// What `work` gives; an error of the node, too, where it panics.
fn guarded<T>(node: &str, work: impl FnOnce() -> ort::Result<T>) -> ort::Result<T> {
    // A kernel keeps nothing between calls but packed weights, which are there whole or not at all.
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(|error| named(node, error.message())),
        Err(panic) => Err(named(node, &reason(panic.as_ref()))),
    }
}

/// An error that onnxruntime can take: it hands texts on as far as their first NUL.
fn named(node: &str, reason: &str) -> ort::Error {
    ort::Error::new(format!("node `{node}`: {reason}").replace('\0', ""))
}

fn reason(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("its kernel failed: {}", text.unwrap_or("of unknown cause"))
}

/// The first panic among the pieces of a kernel.
#[derive(Default)]
pub(super) struct Caught(Mutex<Option<Box<dyn Any + Send>>>);

impl Caught {
    /// Does `work`, and keeps its panic.
    pub(super) fn catch(&self, work: impl FnOnce()) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(work)) {
            let mut first = self.0.lock().unwrap_or_else(|e| e.into_inner());
            first.get_or_insert(panic);
        }
    }

    /// Goes on with the panic that was caught, if one was.
    pub(super) fn resume(self) {
        let caught = self.0.into_inner().unwrap_or_else(|e| e.into_inner());
        if let Some(panic) = caught {
            resume_unwind(panic);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::testing::runtime;

    #[test]
    fn what_panics_in_a_kernel_is_an_error_that_names_the_node() {
        // Errors are made by the library.
        let Some(_runtime) = runtime() else { return };
        let failed = |work: fn() -> ort::Result<()>| {
            let error = guarded("layer4/conv", work).unwrap_err();
            error.message().to_owned()
        };
        let index = failed(|| panic!("index {} is out of range", 7));
        assert!(index.contains("`layer4/conv`"), "{index}");
        assert!(index.contains("index 7 is out of range"), "{index}");
        let other = failed(|| std::panic::panic_any(3u8));
        assert!(other.contains("`layer4/conv`"), "{other}");
        let refused = failed(|| Err(ort::Error::new("no such shape")));
        assert_eq!(refused, "node `layer4/conv`: no such shape");
    }

    #[test]
    fn a_panic_on_another_thread_goes_on_where_the_pieces_were_handed_out() {
        let Some(_runtime) = runtime() else { return };
        let run = || {
            let caught = Caught::default();
            std::thread::scope(|scope| {
                for index in 0..4 {
                    let caught = &caught;
                    scope.spawn(move || caught.catch(|| assert!(index != 2, "piece {index}")));
                }
            });
            caught.resume();
            Ok(())
        };
        let error = guarded("conv", run).unwrap_err();
        assert!(error.message().contains("piece 2"), "{error}");
    }
}
