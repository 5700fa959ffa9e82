//! Maximum pooling and its gradient.

use ort::operator::{BoxedKernel, ComputeContext, KernelContext};

use crate::kernels::pool::{PoolShape, max_pool, max_pool_gradient};

use super::{Threads, Window, failed, input, map, output, pair};

struct Attributes {
    window: Window,
    kernel: [usize; 2],
}

impl Attributes {
    fn read(info: &KernelContext) -> ort::Result<Self> {
        Ok(Attributes {
            window: Window::read(info)?,
            kernel: pair(info, "kernel_shape")?,
        })
    }

    /// For X of `[batch, height, width, channels]`.
    fn shape(&self, [batch, height, width, channels]: [usize; 4]) -> PoolShape {
        PoolShape {
            batch,
            input: [height, width],
            output: self.window.extent,
            channels,
            kernel: self.kernel,
            strides: self.window.strides,
            pads: self.window.pads,
            dilations: self.window.dilations,
        }
    }
}

pub(super) fn max(info: &KernelContext, threads: usize) -> ort::Result<BoxedKernel<'static>> {
    let attributes = Attributes::read(info)?;
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
    info: &KernelContext,
    threads: usize,
) -> ort::Result<BoxedKernel<'static>> {
    let attributes = Attributes::read(info)?;
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
