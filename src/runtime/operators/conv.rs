//! Convolution and its gradients.

use ort::operator::{BoxedKernel, ComputeContext, KernelContext};
use ort::value::DynTensorValueType;

use crate::kernels::dialect::ConvWindow;
use crate::kernels::{
    Activation, Epilogue, InputEpilogue, Kept, Weight, conv, conv_input_gradient,
    conv_weight_gradient,
};

use super::{Threads, elements, failed, input, map, optional, output};

/// For what is made of the weight, input 1, where that is an initializer.
fn kept(info: &KernelContext) -> Option<Kept> {
    let weight = info.constant_input::<DynTensorValueType>(1);
    weight.is_ok().then(Kept::default)
}

pub(super) fn forward(
    info: &KernelContext,
    threads: usize,
    attributes: ConvWindow,
    (activation, coarse): (Activation, bool),
    [bias, residual]: [Option<usize>; 2],
) -> ort::Result<BoxedKernel<'static>> {
    let kept = kept(info);
    Ok(Box::new(move |context: &ComputeContext| {
        let (x, w) = (input(context, 0)?, input(context, 1)?);
        let (bias, residual) = (optional(context, bias)?, optional(context, residual)?);
        let ((x_dims, x), ([o, _, kh, kw], w)) = (map(&x)?, map(&w)?);
        let [height, width] = attributes.window.extent;
        let shape = attributes.shape(x_dims, [height, width, o], [kh, kw]);
        let epilogue = Epilogue {
            bias: elements(bias.as_ref())?,
            residual: elements(residual.as_ref())?,
            activation,
            coarse,
        };
        let mut y = output(context, 0, &[x_dims[0], height, width, o])?;
        let y = y.try_extract_tensor_mut::<f32>()?.1;
        let parallel = Threads { context, threads };
        let w = Weight {
            values: w,
            kept: kept.as_ref(),
        };
        conv(&shape, x, w, &epilogue, y, &parallel).map_err(failed)
    }))
}

pub(super) fn input_gradient(
    info: &KernelContext,
    threads: usize,
    attributes: ConvWindow,
    activation: Activation,
    [addend, x]: [Option<usize>; 2],
) -> ort::Result<BoxedKernel<'static>> {
    let kept = kept(info);
    Ok(Box::new(move |context: &ComputeContext| {
        let (dy, w) = (input(context, 0)?, input(context, 1)?);
        let (addend, x) = (optional(context, addend)?, optional(context, x)?);
        let (([n, h, width, o], dy), ([_, per_group, kh, kw], w)) = (map(&dy)?, map(&w)?);
        let [height, columns] = attributes.window.extent;
        let x_dims = [n, height, columns, per_group * attributes.group];
        let shape = attributes.shape(x_dims, [h, width, o], [kh, kw]);
        let epilogue = InputEpilogue {
            addend: elements(addend.as_ref())?,
            mask: elements(x.as_ref())?.map(|x| (activation, x)),
        };
        let mut dx = output(context, 0, &x_dims)?;
        let dx = dx.try_extract_tensor_mut::<f32>()?.1;
        let parallel = Threads { context, threads };
        let w = Weight {
            values: w,
            kept: kept.as_ref(),
        };
        conv_input_gradient(&shape, dy, w, &epilogue, dx, &parallel).map_err(failed)
    }))
}

pub(super) fn weight_gradient(
    threads: usize,
    attributes: ConvWindow,
) -> ort::Result<BoxedKernel<'static>> {
    Ok(Box::new(move |context: &ComputeContext| {
        let (x, dy) = (input(context, 0)?, input(context, 1)?);
        let ((x_dims, x), ([_, h, width, o], dy)) = (map(&x)?, map(&dy)?);
        let kernel = attributes.window.extent;
        let shape = attributes.shape(x_dims, [h, width, o], kernel);
        let per_group = x_dims[3] / attributes.group.max(1);
        let mut dw = output(context, 0, &[o, per_group, kernel[0], kernel[1]])?;
        let dw = dw.try_extract_tensor_mut::<f32>()?.1;
        let mut db = match context.num_outputs()? {
            2.. => Some(output(context, 1, &[o])?),
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
