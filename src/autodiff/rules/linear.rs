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
        limits: "",
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

/// MatMul: Y = A B over the last two axes, the leading ones broadcast; a vector A is one row, a
/// vector B one column.
///
/// dA = dY Bᵀ, dB = Aᵀ dY, each summed over the axes along which its input was broadcast.
/// Source: <https://onnx.ai/onnx/operators/onnx__MatMul.html>.
fn matmul(c: &mut Context) -> Contributions {
    let (a_dims, b_dims) = (c.input_dims(0)?, c.input_dims(1)?);
    let (mut ad, mut bd, mut yd) = (a_dims.clone(), b_dims.clone(), c.output_dims()?);
    let mut a = c.input(0)?.to_owned();
    let mut b = c.input(1)?.to_owned();
    let mut dy = c.gradient()?;
    if bd.len() == 1 {
        bd.push(1);
        yd.push(1);
        b = c.reshape(&b, &bd);
    }
    if ad.len() == 1 {
        ad.insert(0, 1);
        yd.insert(yd.len() - 1, 1);
        a = c.reshape(&a, &ad);
    }
    if ad.len() < 2 || bd.len() < 2 {
        return c.refuse("a scalar input");
    }
    if ad != a_dims || bd != b_dims {
        dy = c.reshape(&dy, &yd);
    }
    let swapped = |rank: usize| {
        let mut p: Vec<usize> = (0..rank).collect();
        p.swap(rank - 2, rank - 1);
        p
    };
    let lead = |rows: usize, columns: usize| {
        let mut d = yd[..yd.len() - 2].to_vec();
        d.extend([rows, columns]);
        d
    };
    let (m, k, n) = (ad[ad.len() - 2], ad[ad.len() - 1], bd[bd.len() - 1]);
    let mut grads = vec![None, None];
    // With a matrix B one product over all leading axes does, which needs no B turned around.
    let rows: usize = yd[..yd.len() - 1].iter().product();
    let flat_dy = match bd.len() {
        2 => c.reshape(&dy, &[rows, n]),
        _ => String::new(),
    };
    if c.wants(0) {
        let da = if bd.len() == 2 {
            let product = c.op("Gemm", &[&flat_dy, &b], vec![("transB", 1.into())]);
            c.reshape(&product, &ad)
        } else {
            let bt = c.transpose(&b, &swapped(bd.len()));
            let product = c.call("MatMul", &[&dy, &bt]);
            c.unbroadcast(&product, &lead(m, k), &ad)
        };
        grads[0] = Some(if ad == a_dims {
            da
        } else {
            c.reshape(&da, &a_dims)
        });
    }
    if c.wants(1) {
        let db = if bd.len() == 2 {
            let flat_a = c.reshape(&a, &[rows, k]);
            c.op("Gemm", &[&flat_a, &flat_dy], vec![("transA", 1.into())])
        } else {
            let at = c.transpose(&a, &swapped(ad.len()));
            let product = c.call("MatMul", &[&at, &dy]);
            c.unbroadcast(&product, &lead(k, n), &bd)
        };
        grads[1] = Some(if bd == b_dims {
            db
        } else {
            c.reshape(&db, &b_dims)
        });
    }
    Ok(grads)
}
