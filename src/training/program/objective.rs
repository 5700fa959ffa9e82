//! What a step makes smaller.

use crate::autodiff::{Labels, Loss, binary_cross_entropy, cross_entropy, squared_error};
use crate::graph::{Builder, Value};
use crate::onnx::{DataType, Tensor};
use crate::task::Task;

use super::{LABELS, OTHER_LABELS, Port, Prepared, Program, SHARE, TARGETS};
use crate::training::TrainingError;

/// What a step makes smaller, and so what is taken of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Objective {
    /// The cross-entropy, or the binary one, of a classifier that tells this of a sample: of its logits, from which a
    /// softmax or sigmoids at its end are taken away.
    Task(Task),
    /// The mean over samples and elements of the squared difference of the model's output, as it is, from targets of its
    /// dimensions.
    SquaredError,
    /// The model's output itself, which is one number.
    Output,
}

impl From<Task> for Objective {
    fn from(task: Task) -> Self {
        Objective::Task(task)
    }
}

impl Objective {
    /// What is told of a sample; without meaning where nothing is classified.
    pub(in crate::training) fn task(self) -> Task {
        match self {
            Objective::Task(task) => task,
            Objective::SquaredError | Objective::Output => Task::default(),
        }
    }

    /// How many numbers an output of dimensions `dims` has for each of `batch` samples.
    ///
    /// # Errors
    /// When it is none that the loss can be taken of.
    pub(super) fn classes(self, dims: &[usize], batch: usize) -> Result<usize, TrainingError> {
        match (self, dims) {
            (Objective::Task(_), [n, classes, rest @ ..])
                if *n == batch && rest.iter().all(|&d| d == 1) =>
            {
                Ok(*classes)
            }
            (Objective::Task(_), _) => Err(TrainingError::Mismatch(format!(
                "the model's output has dimensions {dims:?} for {batch} samples; a classifier has one row of class \
                 scores per sample"
            ))),
            (Objective::SquaredError, [n, rest @ ..]) if *n == batch => Ok(rest.iter().product()),
            (Objective::SquaredError, _) => Err(TrainingError::Mismatch(format!(
                "the model's output has dimensions {dims:?} for {batch} samples, of which the first is not the batch"
            ))),
            (Objective::Output, dims) if dims.iter().all(|&d| d == 1) => Ok(1),
            (Objective::Output, _) => Err(TrainingError::Mismatch(format!(
                "the value that is to be made smaller has dimensions {dims:?}; it must be one number"
            ))),
        }
    }
}

/// Appends the loss of `prepared` to the forward pass of `program`, with inputs for what it is held against.
///
/// # Errors
/// When the output is none that the loss can be taken of.
pub(super) fn append(
    program: &mut Program,
    prepared: &Prepared,
    batch: usize,
) -> Result<Loss, TrainingError> {
    let several = prepared.task.is_multi_label();
    match prepared.objective {
        Objective::Task(_) if !several && prepared.classes == 1 => {
            return Err(TrainingError::Mismatch(format!(
                "the model's output `{}` has one number for a sample, of which the softmax is 1 whatever it is; one \
                 that tells two classes apart is of --task binary",
                prepared.scores
            )));
        }
        Objective::Task(_) => {}
        Objective::SquaredError => {
            let dims = program.logits.dims.clone();
            take_targets(program, dims.clone());
            let mut builder = Builder::new(&mut program.graph);
            return Ok(squared_error(
                &mut builder,
                &program.logits.name,
                &dims,
                TARGETS,
            ));
        }
        Objective::Output => {
            let mut builder = Builder::new(&mut program.graph);
            let scalar = builder.ints(&[]);
            let loss = builder.op("loss", "Reshape", &[&program.logits.name, &scalar], vec![]);
            let one = Tensor::f32(&program.logits.dims, &[1.0]);
            let gradient = builder.constant(one);
            return Ok(Loss { loss, gradient });
        }
    }
    let labels = |name: &str| Value::fixed(name, DataType::Int64, &[batch]);
    match several {
        true => take_targets(program, vec![batch, prepared.classes]),
        false => program.graph.inputs.push(labels(LABELS)),
    }
    program.is_mixed = prepared.is_mixed && !several;
    let labels = match program.is_mixed {
        false => Labels::One(LABELS),
        true => {
            let share = Value::fixed(SHARE, DataType::Float, &[batch, 1]);
            program.graph.inputs.extend([labels(OTHER_LABELS), share]);
            Labels::Two {
                labels: [LABELS, OTHER_LABELS],
                share: SHARE,
            }
        }
    };
    let mut builder = Builder::new(&mut program.graph);
    let (logits, dims) = (&program.logits.name, &program.logits.dims);
    Ok(match several {
        true => binary_cross_entropy(&mut builder, logits, dims, TARGETS, &prepared.targets),
        false => cross_entropy(&mut builder, logits, dims, labels, &prepared.targets),
    }?)
}

/// Makes targets of dimensions `dims` an input.
fn take_targets(program: &mut Program, dims: Vec<usize>) {
    let input = Value::fixed(TARGETS, DataType::Float, &dims);
    program.graph.inputs.push(input);
    program.targets = Some(Port {
        name: TARGETS.to_owned(),
        dims,
    });
}
