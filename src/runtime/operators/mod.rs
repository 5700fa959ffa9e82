//! The operators of [`crate::kernels`], for sessions on the processor.

mod conv;
mod elementwise;
mod gemm;
mod guard;
mod pool;

use std::sync::RwLock;

use ort::operator::{
    BoxedKernel, ComputeContext, KernelContext, Operator, OperatorDomain, OperatorInput,
    OperatorOutput, ShapeInferenceContext,
};
use ort::value::{SymbolicDimensions, TensorElementType, ValueRef, ValueRefMut, ValueType};

use crate::kernels::{Activation, DOMAIN, KernelError, Parallel};

/// The domain with all operators, for a session of `threads` threads.
pub(super) fn domain(threads: usize) -> ort::Result<OperatorDomain> {
    const ALL: [Custom; 11] = [
        Custom::new("Conv", [2, 2], [1, 0], conv::forward),
        Custom::new("ConvInputGradient", [2, 2], [1, 0], conv::input_gradient),
        Custom::new("ConvWeightGradient", [2, 0], [1, 1], conv::weight_gradient),
        Custom::new("ActivationGradient", [2, 0], [1, 0], elementwise::gradient),
        Custom::new("Gemm", [2, 1], [1, 0], gemm::gemm),
        Custom::new("GemmWeightGradient", [2, 0], [1, 0], gemm::weight_gradient),
        Custom::new("HardSwish", [1, 0], [1, 0], elementwise::hard_swish),
        Custom::new(
            "HardSwishGradient",
            [2, 0],
            [1, 0],
            elementwise::hard_swish_gradient,
        ),
        Custom::new(
            "RowScaleGradient",
            [3, 0],
            [2, 0],
            elementwise::row_scale_gradient,
        ),
        Custom::new("MaxPool", [1, 0], [1, 0], pool::max),
        Custom::new("MaxPoolGradient", [2, 0], [1, 0], pool::max_gradient),
    ];
    ALL.into_iter()
        .try_fold(OperatorDomain::new(DOMAIN)?, |domain, operator| {
            domain.add(Custom {
                threads,
                ..operator
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

/// Reads a node's attributes and makes what computes it with a number of threads.
type Create = fn(&KernelContext, usize) -> ort::Result<BoxedKernel<'static>>;

/// An operator on float32 tensors.
struct Custom {
    name: &'static str,
    /// Required and optional inputs.
    inputs: [usize; 2],
    /// Required and optional outputs.
    outputs: [usize; 2],
    create: Create,
    threads: usize,
}

impl Custom {
    const fn new(
        name: &'static str,
        inputs: [usize; 2],
        outputs: [usize; 2],
        create: Create,
    ) -> Self {
        Custom {
            name,
            inputs,
            outputs,
            create,
            threads: 1,
        }
    }
}

impl Operator for Custom {
    type Kernel<'a> = BoxedKernel<'a>;

    fn name(&self) -> &str {
        self.name
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        let [required, optional] = self.inputs;
        let float = TensorElementType::Float32;
        (0..required)
            .map(move |_| OperatorInput::required(float))
            .chain((0..optional).map(move |_| OperatorInput::optional(float)))
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        let [required, optional] = self.outputs;
        let float = TensorElementType::Float32;
        (0..required)
            .map(move |_| OperatorOutput::required(float))
            .chain((0..optional).map(move |_| OperatorOutput::optional(float)))
    }

    /// The shapes that the graph's writer noted.
    fn infer_shape(&self, context: &mut ShapeInferenceContext) -> ort::Result<()> {
        for index in 0..self.outputs.iter().sum() {
            let Ok(dims) = context.attr::<Vec<i64>>(format!("shape{index}")) else {
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
        guard::create(info, |info| (self.create)(info, self.threads))
    }
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

/// Strides, pads, dilations and the size of what comes out, as the attributes say.
struct Window {
    strides: [usize; 2],
    pads: [usize; 2],
    dilations: [usize; 2],
    extent: [usize; 2],
}

impl Window {
    fn read(info: &KernelContext) -> ort::Result<Self> {
        Ok(Window {
            strides: pair(info, "strides")?,
            pads: pair(info, "pads")?,
            dilations: pair(info, "dilations")?,
            extent: pair(info, "extent")?,
        })
    }
}

/// An attribute of two sizes.
fn pair(info: &KernelContext, name: &str) -> ort::Result<[usize; 2]> {
    let values: Vec<i64> = info.get(name).ok_or_else(|| missing(name))?;
    match values.as_slice() {
        [a, b] => Ok([size(*a)?, size(*b)?]),
        _ => Err(missing(name)),
    }
}

/// The activation that the attributes `low` and `high` tell.
fn activation(info: &KernelContext) -> Activation {
    match (info.get("low"), info.get("high")) {
        (Some(0.0), Some(f32::INFINITY)) => Activation::Relu,
        (Some(low), Some(high)) => Activation::Clip { low, high },
        _ => Activation::None,
    }
}

fn missing(attribute: &str) -> ort::Error {
    ort::Error::new(format!("attribute `{attribute}` is missing or malformed"))
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

/// The place of an optional input, as the attribute of its name tells.
fn place(info: &KernelContext, name: &str) -> ort::Result<Option<usize>> {
    info.get::<i64>(name).map(size).transpose()
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
