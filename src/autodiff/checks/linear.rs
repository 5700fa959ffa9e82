use super::case::Case;
use super::random::Random;

pub fn cases(random: &mut Random) -> Vec<Case> {
    let mut cases = Vec::new();
    for round in 0..32 {
        let (ta, tb) = (round & 1 == 1, round & 2 == 2);
        let (m, k, n) = (random.size(1, 4), random.size(1, 4), random.size(1, 4));
        let a = if ta { [k, m] } else { [m, k] };
        let b = if tb { [n, k] } else { [k, n] };
        let case = Case::new("Gemm")
            .trained(random.any(&a))
            .trained(random.any(&b))
            .with("transA", i64::from(ta))
            .with("transB", i64::from(tb));
        let scaled = case.with("alpha", 0.7f32).with("beta", -1.3f32);
        cases.push(match round / 4 {
            0 => scaled,
            1 => scaled.trained(random.any(&[n])),
            2 => scaled.trained(random.any(&[m, n])),
            3 => scaled.trained(random.any(&[1, n])),
            4 => scaled.trained(random.any(&[m, 1])),
            5 => scaled.trained(random.any(&[1])),
            6 => scaled.trained(random.any(&[])),
            _ => scaled.with("alpha", 1f32).with("beta", 1f32),
        });
    }
    for (a, b) in [
        (&[3, 2][..], &[2, 4][..]),
        (&[2, 3, 2], &[2, 4]),
        (&[2, 1, 3, 2], &[2, 4]),
        (&[3, 2], &[5, 2, 4]),
        (&[2, 3, 2], &[2, 2, 4]),
        (&[2, 1, 3, 2], &[1, 3, 2, 2]),
        (&[4, 1, 2], &[3, 1, 2, 3]),
        (&[1, 3, 2], &[1, 2, 2]),
        (&[3], &[3]),
        (&[3], &[3, 2]),
        (&[2, 3], &[3]),
        (&[3], &[2, 2, 3, 4]),
        (&[2, 2, 4, 3], &[3]),
    ] {
        let case = Case::new("MatMul").trained(random.any(a));
        cases.push(case.trained(random.any(b)));
    }
    for (equation, operands) in [
        ("ij,jk->ik", &[&[2, 3][..], &[3, 4]][..]),
        ("bhqd,bhkd->bhqk", &[&[2, 2, 3, 2], &[2, 2, 4, 2]]),
        ("bij,bjk", &[&[2, 2, 3], &[2, 3, 2]]),
        ("...ij,jk->...ik", &[&[2, 2, 3], &[3, 2]]),
        ("...ij,...jk->...ik", &[&[2, 1, 2, 3], &[1, 3, 3, 2]]),
        ("i,j->ij", &[&[2], &[3]]),
        ("ij->ji", &[&[2, 3]]),
        ("ij->i", &[&[2, 3]]),
        ("ij,ij->", &[&[2, 3], &[2, 3]]),
        ("ij,jk,kl->il", &[&[2, 3], &[3, 2], &[2, 2]]),
        ("ij,jk->ik", &[&[2, 1], &[3, 2]]),
    ] {
        let case = Case::new("Einsum").with("equation", equation);
        let operands = operands.iter().map(|dims| random.any(dims));
        cases.push(operands.fold(case, Case::trained));
    }
    cases
}
