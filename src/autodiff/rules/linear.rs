//! Matrix products.

use super::super::context::{Context, Contributions};
use super::Rule;

pub(super) const RULES: &[Rule] = &[
    Rule {
        op_type: "Gemm",
        limits: "",
        backward: gemm,
    },
    Rule {
        op_type: "MatMul",
        limits: "inputs of rank 1",
        backward: matmul,
    },
];

/// Gemm: Y = α A'B' + β C with A' = A or Aᵀ, B' = B or Bᵀ.
///
/// dA' = α dY B'ᵀ, dB' = α A'ᵀ dY, dC = β dY summed to the shape of C.
/// Source: <https://onnx.ai/onnx/operators/onnx__Gemm.html>.
fn gemm(c: &mut Context) -> Contributions {
    let (alpha, beta) = (c.node.float("alpha", 1.0)?, c.node.float("beta", 1.0)?);
    let ta = c.node.int("transA", 0)? != 0;
    let tb = c.node.int("transB", 0)? != 0;
    let dy = c.gradient()?;
    let (a, b) = (c.input(0)?, c.input(1)?);
    let product = |c: &mut Context, x: &str, tx: bool, y: &str, ty: bool| {
        let attributes = vec![
            ("alpha", alpha.into()),
            ("transA", i64::from(tx).into()),
            ("transB", i64::from(ty).into()),
        ];
        c.op("Gemm", &[x, y], attributes)
    };
    let da = c.wants(0).then(|| match ta {
        false => product(c, &dy, false, b, !tb),
        true => product(c, b, tb, &dy, true),
    });
    let db = c.wants(1).then(|| match tb {
        false => product(c, a, !ta, &dy, false),
        true => product(c, &dy, true, a, ta),
    });
    let dc = if c.wants(2) {
        let scaled = c.scale(&dy, beta);
        let (from, to) = (c.output_dims()?, c.input_dims(2)?);
        Some(c.unbroadcast(&scaled, &from, &to))
    } else {
        None
    };
    Ok(vec![da, db, dc])
}

/// MatMul: Y = A B over the last two axes, the leading ones broadcast.
///
/// dA = dY Bᵀ, dB = Aᵀ dY, each summed over the axes along which its input was broadcast.
/// Source: <https://onnx.ai/onnx/operators/onnx__MatMul.html>.
fn matmul(c: &mut Context) -> Contributions {
    let (a, b) = (c.input(0)?, c.input(1)?);
    let (ad, bd, yd) = (c.dims(a)?, c.dims(b)?, c.output_dims()?);
    if ad.len() < 2 || bd.len() < 2 {
        return c.refuse("an input of rank 1");
    }
    let dy = c.gradient()?;
    let swapped = |rank: usize| {
        let mut p: Vec<usize> = (0..rank).collect();
        p.swap(rank - 2, rank - 1);
        p
    };
    let lead = |dims: &[usize], rows: usize, columns: usize| {
        let mut d = dims[..dims.len() - 2].to_vec();
        d.extend([rows, columns]);
        d
    };
    let (m, k, n) = (ad[ad.len() - 2], ad[ad.len() - 1], bd[bd.len() - 1]);
    let da = if c.wants(0) {
        let bt = c.transpose(b, &swapped(bd.len()));
        let product = c.op("MatMul", &[&dy, &bt], vec![]);
        Some(c.unbroadcast(&product, &lead(&yd, m, k), &ad))
    } else {
        None
    };
    let db = if c.wants(1) && bd.len() == 2 {
        // One product over all leading axes, instead of many that are summed.
        let rows: usize = yd[..yd.len() - 1].iter().product();
        let flat_a = c.reshape(a, &[rows, k]);
        let flat_dy = c.reshape(&dy, &[rows, n]);
        Some(c.op("Gemm", &[&flat_a, &flat_dy], vec![("transA", 1.into())]))
    } else if c.wants(1) {
        let at = c.transpose(a, &swapped(ad.len()));
        let product = c.op("MatMul", &[&at, &dy], vec![]);
        Some(c.unbroadcast(&product, &lead(&yd, k, n), &bd))
    } else {
        None
    };
    Ok(vec![da, db])
}
