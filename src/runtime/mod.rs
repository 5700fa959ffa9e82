//! Finding and loading the onnxruntime library; devices, sessions and bound tensors.
//!
//! A process loads one onnxruntime library, once, and keeps it until it ends:
//!
//! ```no_run
//! use ftsurgery::runtime::{Runtime, Session, SessionOptions, locate};
//!
//! let found = locate::locate(None)?;
//! let runtime = Runtime::load(&found.located)?;
//! let model = std::fs::read("model.onnx").unwrap_or_default();
//! let session = Session::new(&runtime, &model, &[], &SessionOptions::default())?;
//! println!("{:?}", session.inputs());
//! # Ok::<(), ftsurgery::runtime::RuntimeError>(())
//! ```
//!
//! This room knows nothing of graphs: a model is bytes, a tensor is a name, a shape and numbers.

mod binding;
mod buffer;
mod capture;
mod cuda;
pub(crate) mod denormals;
mod device;
mod error;
pub mod install;
mod library;
pub mod locate;
mod operators;
mod options;
mod refusal;
mod session;
mod tensor;
#[doc(hidden)]
pub mod testing;
#[cfg(feature = "training")]
mod trainer;
#[cfg(not(feature = "training"))]
#[path = "no_trainer.rs"]
mod trainer;
mod version;

pub use crate::kernels::instructions;
pub use binding::Binding;
pub use buffer::{Buffer, Read, Write};
pub use device::Device;
pub use error::RuntimeError;
pub use library::Runtime;
pub use locate::{Located, Origin};
pub use options::{Packing, SessionOptions};
pub use session::{Port, Session};
pub use tensor::{Array, SharedTensor, dtype};
pub use trainer::Trainer;
pub use version::Version;
