use super::case::Case;
use super::random::Random;
use crate::onnx::Tensor;

pub fn cases(random: &mut Random) -> Vec<Case> {
    let mut cases = shape_cases(random);
    cases.extend(part_cases(random));
    cases.extend(pad_cases(random));
    cases.extend(index_cases(random));
    cases
}

fn shape_cases(random: &mut Random) -> Vec<Case> {
    let mut cases = Vec::new();
    let x = |random: &mut Random, op: &str| Case::new(op).trained(random.any(&[2, 3, 4]));
    cases.push(x(random, "Identity"));
    for axis in [0, 1, 2, 3, -1] {
        cases.push(x(random, "Flatten").with("axis", axis));
    }
    cases.push(x(random, "Flatten"));
    for shape in [&[6, 4][..], &[-1], &[0, -1], &[4, 0, 2], &[1, 24, 1]] {
        cases.push(x(random, "Reshape").ints(shape));
    }
    let one = |random: &mut Random| Case::new("Squeeze").trained(random.any(&[1, 3, 1, 2]));
    cases.push(one(random));
    cases.push(one(random).ints(&[0]));
    cases.push(one(random).ints(&[-2, 0]));
    cases.push(x(random, "Unsqueeze").ints(&[0, -1]));
    cases.push(x(random, "Unsqueeze").ints(&[2]));
    cases.push(x(random, "Transpose"));
    for perm in [[1, 2, 0], [2, 0, 1], [0, 2, 1], [0, 1, 2]] {
        cases.push(x(random, "Transpose").with("perm", perm.to_vec()));
    }
    for (from, to) in [
        (&[3, 1][..], &[3, 4][..]),
        (&[3, 1], &[2, 1, 4]),
        (&[2, 3], &[1, 1]),
        (&[], &[2, 2]),
        (&[1], &[3]),
    ] {
        cases.push(Case::new("Expand").trained(random.any(from)).ints(to));
    }
    for (from, repeats) in [
        (&[3][..], &[2][..]),
        (&[2, 3], &[1, 3]),
        (&[2, 1, 2], &[2, 3, 1]),
    ] {
        cases.push(Case::new("Tile").trained(random.any(from)).ints(repeats));
    }
    for mode in ["DCR", "CRD"] {
        let case = Case::new("DepthToSpace").trained(random.any(&[2, 8, 2, 3]));
        cases.push(case.with("blocksize", 2).with("mode", mode));
    }
    let blocks = Case::new("SpaceToDepth").trained(random.any(&[2, 2, 4, 6]));
    cases.push(blocks.with("blocksize", 2));
    cases
}

fn part_cases(random: &mut Random) -> Vec<Case> {
    let mut cases = Vec::new();
    for axis in -3..3 {
        let at = (axis + 3) as usize % 3;
        let mut case = Case::new("Concat").with("axis", axis);
        for size in [1, 3, 2] {
            let mut dims = [2, 2, 2];
            dims[at] = size;
            case = case.trained(random.any(&dims));
        }
        cases.push(case.constant(random.any(&[2, 2, 2])));
        let mut dims = [2, 2, 2];
        dims[at] = 6;
        for used in [&[0, 1, 2][..], &[1], &[2, 0]] {
            let case = Case::new("Split").trained(random.any(&dims));
            let case = case.ints(&[1, 3, 2]).with("axis", axis);
            cases.push(case.outputs(3, used));
        }
    }
    let equal = Case::new("Split").trained(random.any(&[5, 2]));
    cases.push(equal.with("num_outputs", 2).outputs(2, &[0, 1]));
    for (starts, ends, axes, steps) in [
        (
            &[1, 0, 2][..],
            &[3, 2, 4][..],
            &[0, 1, 2][..],
            &[1, 1, 1][..],
        ),
        (&[-3], &[-1], &[2], &[1]),
        (&[0], &[i64::MAX], &[-2], &[2]),
        (&[-1], &[i64::MIN], &[0], &[-1]),
        (&[3, 1], &[0, 100], &[2, 1], &[-2, 1]),
        (&[100, 1], &[0, 3], &[0, 2], &[-3, 1]),
        (&[-100, 1], &[3, 6], &[0, 2], &[1, 3]),
    ] {
        let case = Case::new("Slice").trained(random.any(&[4, 3, 5]));
        cases.push(case.ints(starts).ints(ends).ints(axes).ints(steps));
    }
    let bare = Case::new("Slice").trained(random.any(&[4, 3]));
    cases.push(bare.ints(&[1, -2]).ints(&[4, 3]));
    let stepped = Case::new("Slice").trained(random.any(&[4, 3]));
    cases.push(stepped.ints(&[0, 0]).ints(&[4, 3]).absent().ints(&[2, 2]));
    cases
}

fn pad_cases(random: &mut Random) -> Vec<Case> {
    let mut cases = Vec::new();
    for mode in ["constant", "edge", "reflect", "wrap"] {
        for pads in [[0, 1, 2, 2, 0, 1], [0, 0, 0, 0, 0, 0], [1, 2, 1, 1, 1, 2]] {
            let case = Case::new("Pad").trained(random.any(&[3, 3, 4]));
            cases.push(case.ints(&pads).with("mode", mode));
        }
        let some = Case::new("Pad").trained(random.any(&[3, 3, 4]));
        let some = some.ints(&[1, 2, 2, 0]).absent().ints(&[-1, 1]);
        cases.push(some.with("mode", mode));
    }
    let value = Case::new("Pad").trained(random.any(&[2, 3]));
    cases.push(value.ints(&[1, 0, 0, 2]).constant(Tensor::scalar_f32(0.5)));
    let negative = Case::new("Pad").trained(random.any(&[4, 3]));
    cases.push(negative.ints(&[-1, 2, -2, -1]));
    cases
}

fn index_cases(random: &mut Random) -> Vec<Case> {
    let mut cases = Vec::new();
    for axis in -3..3 {
        for (dims, values) in [
            (&[][..], &[1][..]),
            (&[4], &[1, 0, 1, -1]),
            (&[2, 2], &[0, -2, 1, 1]),
        ] {
            let mut indices = Tensor::i64s(values);
            indices.dims = dims.to_vec();
            let case = |random: &mut Random| {
                let case = Case::new("Gather").trained(random.any(&[3, 2, 4]));
                case.with("axis", axis)
            };
            cases.push(case(random).constant(indices.clone()));
            cases.push(case(random).given(indices));
        }
    }
    cases
}
