//! Maximum pooling and its gradient.

use ort::operator::{BoxedKernel, ComputeContext};

use crate::kernels::dialect::PoolWindow;
use crate::kernels::pool::{max_pool, max_pool_gradient};

use super::{Threads, failed, input, map, output};

pub(super) fn max(threads: usize, attributes: PoolWindow) -> ort::Result<BoxedKernel<'static>> {
    Ok(Box::new(move |context: &ComputeContext| {
        let x = input(context, 0)?;
        let (dims, x) = map(&x)?;
        let shape = attributes.shape(dims);
        let [height, width] = shape.output;
        let mut y = output(context, 0, &[shape.batch, height, width, shape.channels])?;
        let y = y.try_extract_tensor_mut::<f32>()?.1;
        max_pool(&shape, x, y, &Threads { context, threads }).map_err(failed)
    }))
}

pub(super) fn max_gradient(
    threads: usize,
    attributes: PoolWindow,
) -> ort::Result<BoxedKernel<'static>> {
    Ok(Box::new(move |context: &ComputeContext| {
        let (x, dy) = (input(context, 0)?, input(context, 1)?);
        let (dims, x) = map(&x)?;
        let dy = dy.try_extract_tensor::<f32>()?.1;
        let shape = attributes.shape(dims);
        let mut dx = output(context, 0, &dims)?;
        let dx = dx.try_extract_tensor_mut::<f32>()?.1;
        max_pool_gradient(&shape, x, dy, dx, &Threads { context, threads }).map_err(failed)
    }))
}
