//! One canonical form of a graph, for training only; it is never written out.
//!
//! The passes, in order: `constants` (Constant nodes become initializers), `identity`
//! (Identity and Dropout go), `constants` again (joined scales), `early` (nodes are raised to opset 7) and
//! `opset` (to 21, some by `rewrite`).
//! [`to_float32`] and [`whole_as_floats`] go further where that is needed.

mod constants;
mod early;
mod identity;
mod opset;
mod precision;
#[cfg(test)]
pub(crate) mod raised;
mod refuse;
mod rewrite;
#[cfg(test)]
mod tests;
mod whole;

use super::{Graph, GraphError};

pub use precision::to_float32;
pub use refuse::refuse_untrainable;
pub use whole::whole_as_floats;

/// The version of the default operator set that normalised graphs are written in.
pub const OPSET: i64 = 21;
/// The oldest opset that is taken.
pub const OLDEST: i64 = 1;
/// The newest opset that is taken.
pub const NEWEST: i64 = 26;

/// Brings a graph to the canonical form.
///
/// # Errors
/// When a constant has no tensor form, a dropout's mask is used, or the opset or an operator in it
/// is not supported; the graph is then unchanged.
pub fn normalise(graph: &mut Graph) -> Result<(), GraphError> {
    let mut work = graph.clone();
    constants::hoist(&mut work)?;
    identity::remove(&mut work)?;
    constants::join_scales(&mut work);
    early::raise(&mut work)?;
    opset::raise(&mut work)?;
    work.sort()?;
    *graph = work;
    Ok(())
}
