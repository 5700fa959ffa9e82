//! The ONNX file format: messages, tensors, reading and atomic writing.

mod beside;
mod each_tensor;
mod element;
mod error;
mod external;
#[doc(hidden)]
pub mod fault;
mod file;
mod functions;
mod in_place;
mod lay_out;
#[allow(missing_docs)]
pub mod messages;
mod node_names;
mod places;
mod source;
mod subgraphs;
mod tensor;
mod values;
mod wire;
mod write;

pub use beside::{LARGEST_FILE, save_within};
pub(crate) use each_tensor::each_tensor;
pub(crate) use element::{element_name, known_element};
pub use error::OnnxError;
pub(crate) use file::EMPTY_GRAPH;
pub use file::{Model, OUTPUT, encode, save, set_metadata};
pub(crate) use functions::stay_few as functions_stay_few;
pub use lay_out::{Laid, Placement, lay_out};
pub(crate) use tensor::set_at_hand;
pub use tensor::{DataType, Tensor, element_count, is_external, set_external};
pub use values::Values;
pub use write::{
    TEMPORARY_PREFIX, append, create_folder, is_same_file, partial, remove, rename, write_atomic,
    write_atomic_with,
};
