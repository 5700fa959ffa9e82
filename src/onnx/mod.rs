//! The ONNX file format: messages, tensors, mapped reading and atomic writing.

mod error;
mod file;
#[allow(missing_docs)]
pub mod messages;
mod tensor;
mod unknown;
mod write;

pub use error::OnnxError;
pub use file::{Model, encode, save, set_metadata};
pub use tensor::{DataType, Tensor, element_count, is_external};
pub use unknown::find_unknown_field;
pub use write::{TEMPORARY_PREFIX, partial, write_atomic, write_atomic_with};
