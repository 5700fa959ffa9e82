//! What a run or an evaluation came to, as tables for the terminal.

mod tables;

pub use tables::{evaluation, results};
