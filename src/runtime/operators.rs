//! The operators of [`crate::kernels`], for sessions on the processor.

use ort::operator::{
    BoxedKernel, ComputeContext, KernelContext, Operator, OperatorDomain, OperatorInput,
    OperatorOutput,
};
use ort::value::{TensorElementType, ValueRef, ValueRefMut};

use crate::kernels::{
    Activation, ConvShape, DOMAIN, Epilogue, InputEpilogue, KernelError, Parallel,
    activation_gradient, conv, conv_input_gradient, conv_weight_gradient,
};

/// The domain with all operators, for a session of `threads` threads.
pub(super) fn domain(threads: usize) -> ort::Result<OperatorDomain> {
    OperatorDomain::new(DOMAIN)?
        .add(Conv { threads })?
        .add(ConvInputGradient { threads })?
        .add(ConvWeightGradient { threads })?
        .add(ActivationGradient { threads })
}

const REQUIRED: OperatorInput = OperatorInput::required(TensorElementType::Float32);
const OPTIONAL: OperatorInput = OperatorInput::optional(TensorElementType::Float32);
const OUTPUT: OperatorOutput = OperatorOutput::required(TensorElementType::Float32);
const OPTIONAL_OUTPUT: OperatorOutput = OperatorOutput::optional(TensorElementType::Float32);

/// onnxruntime's threads, as a kernel's.
struct Threads<'a> {
    context: &'a ComputeContext,
    threads: usize,
}

impl Parallel for Threads<'_> {
    fn threads(&self) -> usize {
        self.threads
    }

    fn run(&self, pieces: usize, piece: &(dyn Fn(usize) + Sync)) {
        let parallel = self.threads > 1 && pieces > 1;
        if !parallel || self.context.par_for(pieces, pieces, piece).is_err() {
            (0..pieces).for_each(piece);
        }
    }
}

/// Attributes of the convolution operators.
struct Window {
    strides: [usize; 2],
    pads: [usize; 2],
    dilations: [usize; 2],
    group: usize,
    extent: [usize; 2],
    activation: Activation,
}

impl Window {
    fn read(info: &KernelContext) -> ort::Result<Self> {
        let pair = |name: &str| -> ort::Result<[usize; 2]> {
            let values: Vec<i64> = info.get(name).ok_or_else(|| missing(name))?;
            match values.as_slice() {
                [a, b] => Ok([size(*a)?, size(*b)?]),
                _ => Err(missing(name)),
            }
        };
        let group: i64 = info.get("group").ok_or_else(|| missing("group"))?;
        Ok(Window {
            strides: pair("strides")?,
            pads: pair("pads")?,
            dilations: pair("dilations")?,
            group: size(group)?,
            extent: pair("extent")?,
            activation: activation(info),
        })
    }
}

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

fn output<'c>(
    context: &'c ComputeContext,
    index: usize,
    dims: &[usize],
) -> ort::Result<Option<ValueRefMut<'c>>> {
    let dims: Vec<i64> = dims.iter().map(|&d| d as i64).collect();
    context.output(index, dims)
}

fn absent() -> ort::Error {
    ort::Error::new("output 0 is missing")
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

/// Optional input `index`, also where the node has fewer.
fn optional(context: &ComputeContext, index: usize) -> ort::Result<Option<ValueRef<'_>>> {
    match index < context.num_inputs()? {
        true => context.input(index),
        false => Ok(None),
    }
}

struct Conv {
    threads: usize,
}

impl Operator for Conv {
    type Kernel<'a> = BoxedKernel<'a>;

    fn name(&self) -> &str {
        "Conv"
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        [REQUIRED, REQUIRED, OPTIONAL, OPTIONAL]
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OUTPUT]
    }

    fn create_kernel<'a>(&self, info: &KernelContext<'a>) -> ort::Result<Self::Kernel<'a>> {
        let window = Window::read(info)?;
        let threads = self.threads;
        Ok(Box::new(move |context: &ComputeContext| {
            let (x, w) = (input(context, 0)?, input(context, 1)?);
            let (bias, residual) = (optional(context, 2)?, optional(context, 3)?);
            let (([n, h, width, c], x), ([o, _, kh, kw], w)) = (map(&x)?, map(&w)?);
            let shape = window.shape(n, [h, width], c, window.extent, o, [kh, kw]);
            let epilogue = Epilogue {
                bias: elements(bias.as_ref())?,
                residual: elements(residual.as_ref())?,
                activation: window.activation,
            };
            let dims = [n, window.extent[0], window.extent[1], o];
            let mut y = output(context, 0, &dims)?.ok_or_else(absent)?;
            let y = y.try_extract_tensor_mut::<f32>()?.1;
            let parallel = Threads { context, threads };
            conv(&shape, x, w, &epilogue, y, &parallel).map_err(failed)
        }))
    }
}

impl Window {
    fn shape(
        &self,
        batch: usize,
        input: [usize; 2],
        in_channels: usize,
        output: [usize; 2],
        out_channels: usize,
        kernel: [usize; 2],
    ) -> ConvShape {
        ConvShape {
            batch,
            input,
            in_channels,
            output,
            out_channels,
            kernel,
            strides: self.strides,
            pads: self.pads,
            dilations: self.dilations,
            group: self.group,
        }
    }
}

struct ConvInputGradient {
    threads: usize,
}

impl Operator for ConvInputGradient {
    type Kernel<'a> = BoxedKernel<'a>;

    fn name(&self) -> &str {
        "ConvInputGradient"
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        [REQUIRED, REQUIRED, OPTIONAL, OPTIONAL]
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OUTPUT]
    }

    fn create_kernel<'a>(&self, info: &KernelContext<'a>) -> ort::Result<Self::Kernel<'a>> {
        let window = Window::read(info)?;
        let threads = self.threads;
        Ok(Box::new(move |context: &ComputeContext| {
            let (dy, w) = (input(context, 0)?, input(context, 1)?);
            let (addend, x) = (optional(context, 2)?, optional(context, 3)?);
            let (([n, h, width, o], dy), ([_, per_group, kh, kw], w)) = (map(&dy)?, map(&w)?);
            let c = per_group * window.group;
            let shape = window.shape(n, window.extent, c, [h, width], o, [kh, kw]);
            let epilogue = InputEpilogue {
                addend: elements(addend.as_ref())?,
                mask: elements(x.as_ref())?.map(|x| (window.activation, x)),
            };
            let dims = [n, window.extent[0], window.extent[1], c];
            let mut dx = output(context, 0, &dims)?.ok_or_else(absent)?;
            let dx = dx.try_extract_tensor_mut::<f32>()?.1;
            let parallel = Threads { context, threads };
            conv_input_gradient(&shape, dy, w, &epilogue, dx, &parallel).map_err(failed)
        }))
    }
}

struct ConvWeightGradient {
    threads: usize,
}

impl Operator for ConvWeightGradient {
    type Kernel<'a> = BoxedKernel<'a>;

    fn name(&self) -> &str {
        "ConvWeightGradient"
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        [REQUIRED, REQUIRED]
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OUTPUT, OPTIONAL_OUTPUT]
    }

    fn create_kernel<'a>(&self, info: &KernelContext<'a>) -> ort::Result<Self::Kernel<'a>> {
        let window = Window::read(info)?;
        let threads = self.threads;
        Ok(Box::new(move |context: &ComputeContext| {
            let (x, dy) = (input(context, 0)?, input(context, 1)?);
            let (([n, h, width, c], x), ([_, oh, ow, o], dy)) = (map(&x)?, map(&dy)?);
            let shape = window.shape(n, [h, width], c, [oh, ow], o, window.extent);
            let dims = [
                o,
                c / window.group.max(1),
                window.extent[0],
                window.extent[1],
            ];
            let mut dw = output(context, 0, &dims)?.ok_or_else(absent)?;
            let dw = dw.try_extract_tensor_mut::<f32>()?.1;
            let mut db = match context.num_outputs()? {
                2.. => output(context, 1, &[o])?,
                _ => None,
            };
            let db = match &mut db {
                Some(db) => Some(db.try_extract_tensor_mut::<f32>()?.1),
                None => None,
            };
            let parallel = Threads { context, threads };
            conv_weight_gradient(&shape, x, dy, dw, db, &parallel).map_err(failed)
        }))
    }
}

struct ActivationGradient {
    threads: usize,
}

impl Operator for ActivationGradient {
    type Kernel<'a> = BoxedKernel<'a>;

    fn name(&self) -> &str {
        "ActivationGradient"
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        [REQUIRED, REQUIRED]
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OUTPUT]
    }

    fn create_kernel<'a>(&self, info: &KernelContext<'a>) -> ort::Result<Self::Kernel<'a>> {
        let activation = activation(info);
        let threads = self.threads;
        Ok(Box::new(move |context: &ComputeContext| {
            let (dy, y) = (input(context, 0)?, input(context, 1)?);
            let (shape, dy) = dy.try_extract_tensor::<f32>()?;
            let y = y.try_extract_tensor::<f32>()?.1;
            let mut dx = context.output(0, shape.to_vec())?.ok_or_else(absent)?;
            let dx = dx.try_extract_tensor_mut::<f32>()?.1;
            let parallel = Threads { context, threads };
            activation_gradient(activation, dy, y, dx, &parallel).map_err(failed)
        }))
    }
}
