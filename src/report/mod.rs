//! What an analysis, a run or an evaluation came to, for people to read.

mod analysis;
mod dot;
mod tables;
mod text;

pub use analysis::analysis;
pub use dot::dot;
pub use tables::{evaluation, results};
