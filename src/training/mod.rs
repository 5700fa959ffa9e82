//! One trial: its programs, the optimizer, epochs and metrics.

mod apart;
mod bank;
mod batch_norm;
mod bench;
mod chain;
mod checkpoint;
mod cost;
mod differentiate;
mod dropout;
mod error;
mod features;
mod gradient;
mod identity;
mod lab;
mod live;
mod monitor;
mod optimizer;
mod parameters;
mod prefix;
#[doc(hidden)]
pub mod program;
mod reach;
mod schedule;
mod sessions;
mod spec;
mod stages;
mod trial;

pub use apart::samples_stay_apart;
pub(crate) use bank::{BankOptions, FeatureBank};
pub(crate) use batch_norm::StepNorm;
pub use batch_norm::{BatchNormMode, Trained};
pub use bench::{Bench, BenchOptions, Flops, StepSeconds};
pub use checkpoint::Checkpointing;
pub(crate) use cost::StepCost;
pub use differentiate::{Differentiated, differentiate};
pub use error::{Divergence, TrainingError};
pub use features::{Features, Pass};
pub(crate) use gradient::{GradientOutput, GradientValues};
pub use lab::{Gradient, Lab, LabOptions, Logits};
pub use monitor::Monitor;
pub(crate) use optimizer::Moments;
pub use optimizer::{Optimizer, OptimizerKind};
pub use parameters::{Parameters, trainable_parameters};
pub use reach::differentiable;
pub use schedule::{Plateau, PlateauState};
pub use spec::{ClassWeights, EpochMetrics, Observer, TrialOutcome, TrialSpec};
