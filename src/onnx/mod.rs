//! The ONNX file format: messages, tensors, reading and atomic writing.

mod beside;
mod error;
mod external;
#[doc(hidden)]
pub mod fault;
mod file;
mod functions;
#[allow(missing_docs)]
pub mod messages;
mod node_names;
mod places;
mod source;
mod subgraphs;
mod tensor;
mod wire;
mod write;

pub use beside::{LARGEST_FILE, save_within};
pub use error::OnnxError;
pub(crate) use file::EMPTY_GRAPH;
pub use file::{Model, OUTPUT, encode, save, set_metadata};
pub(crate) use functions::stay_few as functions_stay_few;
pub use tensor::{DataType, Tensor, element_count, is_external, set_external};
pub use write::{
    TEMPORARY_PREFIX, append, create_folder, partial, remove, rename, write_atomic,
    write_atomic_with,
};
