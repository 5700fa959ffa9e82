//! One trial: its programs, the optimizer, epochs and metrics.

mod batch_norm;
mod bench;
mod differentiate;
mod dropout;
mod error;
mod features;
mod inference;
mod lab;
mod metrics;
mod optimizer;
mod parameters;
mod prefix;
pub mod program;
mod reach;
mod schedule;
mod sessions;
mod spec;
mod trial;

pub use batch_norm::{BatchNormMode, StepNorm, Trained};
pub use bench::{Bench, BenchOptions, Flops, StepSeconds};
pub use differentiate::{Differentiated, differentiate};
pub use error::TrainingError;
pub use inference::{Fill, Inference, Outputs};
pub use lab::{Gradient, InputSpec, Lab, LabOptions};
pub use metrics::{ClassScore, Predictions, Score, softmax};
pub use optimizer::{Moments, Optimizer, OptimizerKind};
pub use parameters::trainable_parameters;
pub use reach::differentiable;
pub use schedule::{Plateau, PlateauState};
pub use spec::{EpochMetrics, Observer, TrialOutcome, TrialSpec};
