//! Activations and their gradients, element by element.

use ort::operator::{BoxedKernel, ComputeContext};

use crate::kernels::{self, Activation, KernelError, Parallel, activation_gradient};

use super::{Threads, failed, input};

/// dY and what the slope is told from, to dX.
type Binary = dyn Fn(&[f32], &[f32], &mut [f32], &dyn Parallel) -> Result<(), KernelError> + Send;

pub(super) fn gradient(
    threads: usize,
    activation: Activation,
) -> ort::Result<BoxedKernel<'static>> {
    binary(
        threads,
        Box::new(move |dy, y, dx, p| activation_gradient(activation, dy, y, dx, p)),
    )
}

pub(super) fn hard_swish_gradient(threads: usize) -> ort::Result<BoxedKernel<'static>> {
    binary(
        threads,
        Box::new(|dy, x, dx, p| kernels::hard_swish_gradient(dy, x, dx, p)),
    )
}

pub(super) fn hard_swish(threads: usize) -> ort::Result<BoxedKernel<'static>> {
    Ok(Box::new(move |context: &ComputeContext| {
        let x = input(context, 0)?;
        let (shape, x) = x.try_extract_tensor::<f32>()?;
        let Some(mut y) = context.output(0, shape.to_vec())? else {
            return Ok(());
        };
        let y = y.try_extract_tensor_mut::<f32>()?.1;
        kernels::hard_swish(x, y, &Threads { context, threads }).map_err(failed)
    }))
}

pub(super) fn row_scale_gradient(threads: usize) -> ort::Result<BoxedKernel<'static>> {
    Ok(Box::new(move |context: &ComputeContext| {
        let [dy, a, s] = [input(context, 0)?, input(context, 1)?, input(context, 2)?];
        let dy = dy.try_extract_tensor::<f32>()?.1;
        let (a_shape, a) = a.try_extract_tensor::<f32>()?;
        let (s_shape, s) = s.try_extract_tensor::<f32>()?;
        let da = context.output(0, a_shape.to_vec())?;
        let ds = context.output(1, s_shape.to_vec())?;
        let (Some(mut da), Some(mut ds)) = (da, ds) else {
            return Ok(());
        };
        let da = da.try_extract_tensor_mut::<f32>()?.1;
        let ds = ds.try_extract_tensor_mut::<f32>()?.1;
        let parallel = Threads { context, threads };
        kernels::row_scale_gradient(dy, a, s, da, ds, &parallel).map_err(failed)
    }))
}

fn binary(threads: usize, kernel: Box<Binary>) -> ort::Result<BoxedKernel<'static>> {
    Ok(Box::new(move |context: &ComputeContext| {
        let (dy, told) = (input(context, 0)?, input(context, 1)?);
        let (shape, dy) = dy.try_extract_tensor::<f32>()?;
        let told = told.try_extract_tensor::<f32>()?.1;
        let Some(mut dx) = context.output(0, shape.to_vec())? else {
            return Ok(());
        };
        let dx = dx.try_extract_tensor_mut::<f32>()?.1;
        kernel(dy, told, dx, &Threads { context, threads }).map_err(failed)
    }))
}
