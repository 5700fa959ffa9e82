use super::case::Case;
use super::random::{GAP, Random};
use crate::onnx::{DataType, Tensor};

/// Dimensions to which all of the returned shapes broadcast, the first of them being that.
fn shapes(random: &mut Random, count: usize) -> Vec<Vec<usize>> {
    let rank = random.size(0, 4);
    let full = random.sizes(rank, 1, 3);
    let mut shapes = vec![full.clone()];
    shapes.extend((1..count).map(|_| random.broadcastable(&full)));
    let turn = random.size(0, count - 1);
    shapes.rotate_left(turn);
    shapes
}

/// Values of the given shapes no two of which come close where they meet.
fn apart(random: &mut Random, shapes: &[Vec<usize>]) -> Vec<Tensor> {
    let total = shapes.len();
    let shift = |(i, dims): (usize, &Vec<usize>)| {
        let values = random.distinct(dims).to_f32().unwrap_or_default();
        let step = total as f32 * GAP;
        let shifted: Vec<f32> = values
            .iter()
            .map(|v| (v / GAP).round() * step + i as f32 * GAP)
            .collect();
        Tensor::f32(dims, &shifted)
    };
    shapes.iter().enumerate().map(shift).collect()
}

fn mask(random: &mut Random, dims: &[usize]) -> Tensor {
    let count: usize = dims.iter().product();
    let bytes: Vec<u8> = (0..count).map(|_| u8::from(random.flip())).collect();
    Tensor {
        dtype: DataType::Bool,
        dims: dims.to_vec(),
        data: bytes.into(),
    }
}

pub fn cases(random: &mut Random) -> Vec<Case> {
    let mut cases = Vec::new();
    for _ in 0..12 {
        for op in ["Add", "Sub", "Mul", "Div"] {
            let dims = shapes(random, 2);
            let case = Case::new(op).trained(random.any(&dims[0]));
            cases.push(case.trained(random.positive(&dims[1])));
        }
        for op in ["Sum", "Mean", "Max", "Min"] {
            let count = random.size(1, 3);
            let dims = shapes(random, count);
            let values = apart(random, &dims);
            cases.push(values.into_iter().fold(Case::new(op), Case::trained));
        }
        let dims = shapes(random, 3);
        let case = Case::new("Where").given(mask(random, &dims[0]));
        let case = case.trained(random.any(&dims[1]));
        cases.push(case.trained(random.any(&dims[2])));
    }
    for dims in [&[][..], &[5], &[2, 3, 2]] {
        cases.push(Case::new("Neg").trained(random.any(dims)));
        cases.push(Case::new("Abs").trained(random.avoiding(dims, &[0.0])));
        cases.push(Case::new("Sqrt").trained(random.positive(dims)));
        cases.push(Case::new("Exp").trained(random.any(dims)));
        cases.push(Case::new("Log").trained(random.positive(dims)));
        cases.push(Case::new("Reciprocal").trained(random.positive(dims)));
        cases.push(Case::new("Sin").trained(random.any(dims)));
        cases.push(Case::new("Cos").trained(random.any(dims)));
        cases.push(Case::new("Erf").trained(random.any(dims)));
        for exponent in [2.0, 3.0, 0.0, 1.0, 0.5, -1.5] {
            let case = Case::new("Pow").trained(random.positive(dims));
            cases.push(case.constant(Tensor::scalar_f32(exponent)));
        }
    }
    // Negative bases, integer exponents, exponents that broadcast.
    let case = Case::new("Pow").trained(random.avoiding(&[2, 3], &[0.0]));
    cases.push(case.constant(Tensor::scalar_f32(2.0)));
    let case = Case::new("Pow").trained(random.avoiding(&[2, 3], &[0.0]));
    cases.push(case.ints(&[3]));
    let case = Case::new("Pow").trained(random.positive(&[2, 1]));
    cases.push(case.constant(random.any(&[3])));
    // Exponents that are computed.
    let case = Case::new("Pow").trained(random.positive(&[2, 3]));
    cases.push(case.given(random.any(&[3])));
    let case = Case::new("Pow").trained(random.avoiding(&[2, 3], &[0.0]));
    cases.push(case.given(Tensor::i64s(&[3, 0, 2])));
    let case = Case::new("Pow").trained(Tensor::f32(&[3], &[0.0; 3]));
    cases.push(case.given(Tensor::f32(&[3], &[0.0, 1.0, 2.0])));
    let zeros = Tensor::f32(&[3], &[0.0; 3]);
    let case = Case::new("Pow").trained(zeros);
    cases.push(case.constant(Tensor::f32(&[3], &[0.0, 1.0, 2.0])));
    // In double precision a cast to float would round the steps away.
    cases.push(
        Case::new("Cast")
            .trained(random.any(&[3]))
            .with("to", 1)
            .single(),
    );
    let like = random.any(&[2]);
    cases.push(Case::new("CastLike").trained(random.any(&[3])).given(like));
    let like = random.any(&[2]);
    cases.push(
        Case::new("CastLike")
            .trained(random.any(&[3]))
            .trained(like),
    );
    cases
}
