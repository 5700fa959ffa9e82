use super::case::Case;
use super::random::Random;

pub fn cases(random: &mut Random) -> Vec<Case> {
    let mut cases = Vec::new();
    for op in [
        "ReduceMean",
        "ReduceSum",
        "ReduceMax",
        "ReduceMin",
        "ReduceSumSquare",
        "ReduceL1",
        "ReduceL2",
        "ReduceLogSum",
        "ReduceLogSumExp",
    ] {
        let values = |random: &mut Random, dims: &[usize]| match op {
            "ReduceMax" | "ReduceMin" => random.distinct(dims),
            "ReduceL1" | "ReduceL2" => random.avoiding(dims, &[0.0]),
            "ReduceLogSum" => random.positive(dims),
            _ => random.any(dims),
        };
        for keep in [0, 1] {
            for (dims, axes) in [
                (&[4][..], &[0][..]),
                (&[2, 3], &[1]),
                (&[2, 3], &[-2]),
                (&[2, 3, 2], &[0, 2]),
                (&[2, 3, 2, 2], &[2, 3]),
                (&[2, 2, 3, 2], &[-1, 1]),
                (&[2, 1, 3], &[1]),
                (&[2, 3], &[0, 1]),
            ] {
                let case = Case::new(op).trained(values(random, dims));
                cases.push(case.ints(axes).with("keepdims", keep));
            }
            let all = Case::new(op).trained(values(random, &[2, 3]));
            cases.push(all.with("keepdims", keep));
            let none = Case::new(op).trained(values(random, &[2, 3]));
            cases.push(none.ints(&[]).with("keepdims", keep));
        }
    }
    for op in ["ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin"] {
        let case = Case::new(op).trained(random.distinct(&[2, 3]));
        cases.push(case.with("noop_with_empty_axes", 1));
    }
    cases
}
