//! Products of few rows with a matrix.

use ort::operator::{BoxedKernel, ComputeContext};
use ort::value::ValueRef;

use crate::kernels::{self, GemmShape, gemm_weight_gradient};

use super::{Threads, elements, failed, input, optional, output, size};

pub(super) fn gemm(
    threads: usize,
    transposed: bool,
    bias: Option<usize>,
) -> ort::Result<BoxedKernel<'static>> {
    Ok(Box::new(move |context: &ComputeContext| {
        let (a, b) = (input(context, 0)?, input(context, 1)?);
        let bias = optional(context, bias)?;
        let (([rows, depth], a), (b_dims, b)) = (matrix(&a)?, matrix(&b)?);
        let shape = GemmShape {
            rows,
            depth,
            width: b_dims[usize::from(!transposed)],
            transposed,
        };
        let mut y = output(context, 0, &[rows, shape.width])?;
        let y = y.try_extract_tensor_mut::<f32>()?.1;
        let parallel = Threads { context, threads };
        kernels::gemm(&shape, a, b, elements(bias.as_ref())?, y, &parallel).map_err(failed)
    }))
}

/// The dimensions and elements of a matrix.
fn matrix<'v>(value: &'v ValueRef<'_>) -> ort::Result<([usize; 2], &'v [f32])> {
    let (shape, elements) = value.try_extract_tensor::<f32>()?;
    match shape.as_ref() {
        [rows, columns] => Ok(([size(*rows)?, size(*columns)?], elements)),
        dims => Err(ort::Error::new(format!("dimensions {dims:?} are not two"))),
    }
}

pub(super) fn weight_gradient(threads: usize) -> ort::Result<BoxedKernel<'static>> {
    Ok(Box::new(move |context: &ComputeContext| {
        let (a, dy) = (input(context, 0)?, input(context, 1)?);
        let (([rows, depth], a), ([_, width], dy)) = (matrix(&a)?, matrix(&dy)?);
        let mut db = output(context, 0, &[depth, width])?;
        let db = db.try_extract_tensor_mut::<f32>()?.1;
        let parallel = Threads { context, threads };
        gemm_weight_gradient([rows, depth, width], a, dy, db, &parallel).map_err(failed)
    }))
}
