//! The operators of [`crate::kernels`], for sessions on the processor.

mod conv;
mod elementwise;
mod gemm;
mod guard;
mod pool;

use std::sync::RwLock;

use ort::operator::{
    BoxedKernel, ComputeContext, KernelContext, OperatorDomain, OperatorInput, OperatorOutput,
    ShapeInferenceContext,
};
use ort::value::{SymbolicDimensions, TensorElementType, ValueRef, ValueRefMut, ValueType};

use crate::kernels::dialect::{
    self, Attributes, DOMAIN, DialectError, Kernel, Operator, Optional, Signature,
};
use crate::kernels::{KernelError, Parallel};

/// The domain with all operators, for a session of `threads` threads.
pub(super) fn domain(threads: usize) -> ort::Result<OperatorDomain> {
    Operator::ALL
        .into_iter()
        .try_fold(OperatorDomain::new(DOMAIN)?, |domain, operator| {
            let signature = operator.signature();
            domain.add(Custom {
                operator,
                signature,
                threads,
            })
        })
}

/// Whether a session with the kernels' domain has been made in this process.
static REGISTERED: RwLock<bool> = RwLock::new(false);

/// Makes a session, which may use the kernels' domain.
///
/// onnxruntime notes a domain in a list of the process when the first session with it is made, and
/// does not guard that list: meanwhile no other session may be.
pub(super) fn registered<T>(
    kernels: bool,
    make: impl FnOnce() -> ort::Result<T>,
) -> ort::Result<T> {
    let known = REGISTERED.read().unwrap_or_else(|e| e.into_inner());
    if !kernels || *known {
        return make();
    }
    drop(known);
    let mut known = REGISTERED.write().unwrap_or_else(|e| e.into_inner());
    let made = make()?;
    *known = true;
    Ok(made)
}

/// An operator on float32 tensors.
struct Custom {
    operator: Operator,
    signature: Signature,
    threads: usize,
}

impl ort::operator::Operator for Custom {
    type Kernel<'a> = BoxedKernel<'a>;

    fn name(&self) -> &str {
        self.signature.name
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        let float = TensorElementType::Float32;
        let optional = self.signature.optional.iter();
        (0..self.signature.inputs)
            .map(move |_| OperatorInput::required(float))
            .chain(optional.map(move |_| OperatorInput::optional(float)))
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        let float = TensorElementType::Float32;
        (0..self.signature.outputs)
            .map(move |_| OperatorOutput::required(float))
            .chain(
                (0..self.signature.optional_outputs).map(move |_| OperatorOutput::optional(float)),
            )
    }

    /// The shapes that the graph's writer noted.
    fn infer_shape(&self, context: &mut ShapeInferenceContext) -> ort::Result<()> {
        for index in 0..self.signature.outputs + self.signature.optional_outputs {
            let Ok(dims) = context.attr::<Vec<i64>>(dialect::shape_attribute(index)) else {
                continue;
            };
            let shape = ValueType::Tensor {
                ty: TensorElementType::Float32,
                dimension_symbols: SymbolicDimensions::empty(dims.len()),
                shape: dims.into(),
            };
            context.set_output(index, &shape)?;
        }
        Ok(())
    }

    fn create_kernel<'a>(&self, info: &KernelContext<'a>) -> ort::Result<Self::Kernel<'a>> {
        guard::create(info, |info| create(self.operator, info, self.threads))
    }
}

/// What computes a node of `operator` with a number of threads.
fn create(
    operator: Operator,
    info: &KernelContext,
    threads: usize,
) -> ort::Result<BoxedKernel<'static>> {
    let attributes = Said(info);
    match Kernel::read(operator, &attributes).map_err(unread)? {
        Kernel::Conv {
            window,
            activation,
            coarse,
        } => {
            let bias = attributes.place(Optional::Bias)?;
            let residual = attributes.place(Optional::Residual)?;
            conv::forward(
                info,
                threads,
                window,
                (activation, coarse),
                [bias, residual],
            )
        }
        Kernel::ConvInputGradient { window, activation } => {
            let addend = attributes.place(Optional::Addend)?;
            let x = attributes.place(Optional::X)?;
            conv::input_gradient(info, threads, window, activation, [addend, x])
        }
        Kernel::ConvWeightGradient(window) => conv::weight_gradient(threads, window),
        Kernel::ActivationGradient(activation) => elementwise::gradient(threads, activation),
        Kernel::Gemm { transposed } => {
            gemm::gemm(threads, transposed, attributes.place(Optional::Bias)?)
        }
        Kernel::GemmWeightGradient { .. } => gemm::weight_gradient(threads),
        Kernel::HardSwish => elementwise::hard_swish(threads),
        Kernel::HardSwishGradient => elementwise::hard_swish_gradient(threads),
        Kernel::RowScaleGradient => elementwise::row_scale_gradient(threads),
        Kernel::MaxPool(window) => pool::max(threads, window),
        Kernel::MaxPoolGradient(window) => pool::max_gradient(threads, window),
    }
}

/// The attributes of a node in a session.
struct Said<'i, 'a>(&'i KernelContext<'a>);

impl Said<'_, '_> {
    /// Which input an optional one is.
    fn place(&self, input: Optional) -> ort::Result<Option<usize>> {
        dialect::read_place(self, input).map_err(unread)
    }
}

impl Attributes for Said<'_, '_> {
    fn int(&self, name: &str) -> Option<i64> {
        self.0.get(name)
    }

    fn float(&self, name: &str) -> Option<f32> {
        self.0.get(name)
    }

    fn ints(&self, name: &str) -> Option<Vec<i64>> {
        self.0.get(name)
    }
}

fn unread(error: DialectError) -> ort::Error {
    ort::Error::new(error.to_string())
}

/// onnxruntime's threads, as a kernel's.
struct Threads<'a> {
    context: &'a ComputeContext,
    threads: usize,
}

// SAFETY: onnxruntime's loop hands out each number once and returns when all are done, and what fails
// is not begun anew.
#[allow(unsafe_code)]
unsafe impl Parallel for Threads<'_> {
    fn threads(&self) -> usize {
        self.threads
    }

    /// # Panics
    /// When a piece does, or onnxruntime's threads fail: in front of [`guard`].
    fn run(&self, pieces: usize, piece: &(dyn Fn(usize) + Sync)) {
        if self.threads <= 1 || pieces <= 1 {
            return (0..pieces).for_each(piece);
        }
        let caught = guard::Caught::default();
        let ran = self
            .context
            .par_for(pieces, pieces, |index| caught.catch(|| piece(index)));
        caught.resume();
        if let Err(error) = ran {
            // Some pieces may have run, and none may run twice.
            panic!("onnxruntime's threads failed: {error}");
        }
    }
}

fn size(value: i64) -> ort::Result<usize> {
    usize::try_from(value).map_err(|_| ort::Error::new(format!("{value} is no size")))
}

fn failed(error: KernelError) -> ort::Error {
    ort::Error::new(error.to_string())
}

/// Input `index`, or an error.
fn input(context: &ComputeContext, index: usize) -> ort::Result<ValueRef<'_>> {
    context
        .input(index)?
        .ok_or_else(|| ort::Error::new(format!("input {index} is missing")))
}

/// The optional input at `place`.
fn optional(context: &ComputeContext, place: Option<usize>) -> ort::Result<Option<ValueRef<'_>>> {
    place.map(|index| input(context, index)).transpose()
}

/// Output `index`, allocated; an error when the node has none.
fn output<'c>(
    context: &'c ComputeContext,
    index: usize,
    dims: &[usize],
) -> ort::Result<ValueRefMut<'c>> {
    let dims: Vec<i64> = dims.iter().map(|&d| d as i64).collect();
    context
        .output(index, dims)?
        .ok_or_else(|| ort::Error::new(format!("output {index} is missing")))
}

/// The dimensions and elements of a tensor of four dimensions.
fn map<'v>(value: &'v ValueRef<'_>) -> ort::Result<([usize; 4], &'v [f32])> {
    let (shape, elements) = value.try_extract_tensor::<f32>()?;
    let dims: Vec<usize> = shape.iter().map(|&d| size(d)).collect::<ort::Result<_>>()?;
    let dims = dims
        .try_into()
        .map_err(|dims| ort::Error::new(format!("dimensions {dims:?} are not four")))?;
    Ok((dims, elements))
}

/// The elements of an optional tensor.
fn elements<'v>(value: Option<&'v ValueRef<'_>>) -> ort::Result<Option<&'v [f32]>> {
    match value {
        None => Ok(None),
        Some(value) => Ok(Some(value.try_extract_tensor::<f32>()?.1)),
    }
}
