//! Whether a model is well-formed, and whether runtimes agree on what it computes.

mod error;
mod outputs;
mod structure;

pub use error::VerifyError;
pub use outputs::{
    Asked, Gap, Latency, Outputs, Report, Runner, answer_job, inputs, outputs, runners,
};
pub use structure::{Fault, Rule, Structure, structure};
