//! One trial: its programs, the optimizer, epochs and metrics.

mod bank;
mod batch_norm;
mod bench;
mod chain;
mod differentiate;
mod dropout;
mod error;
mod features;
mod inference;
mod lab;
mod live;
mod metrics;
mod optimizer;
mod parameters;
pub mod program;
mod reach;
mod schedule;
mod sessions;
mod spec;
mod stages;
mod trial;

pub use bank::{BankOptions, FeatureBank};
pub use batch_norm::{BatchNormMode, StepNorm, Trained};
pub use bench::{Bench, BenchOptions, Flops, StepSeconds};
pub use differentiate::{Differentiated, differentiate};
pub use error::TrainingError;
pub use features::{Features, Pass};
pub use inference::{Fill, Inference, Outputs};
pub use lab::{Gradient, InputSpec, Lab, LabOptions};
pub use metrics::{ClassScore, Predictions, Score, softmax};
pub use optimizer::{Moments, Optimizer, OptimizerKind};
pub use parameters::trainable_parameters;
pub use reach::differentiable;
pub use schedule::{Plateau, PlateauState};
pub use spec::{ClassWeights, EpochMetrics, Observer, TrialOutcome, TrialSpec};
