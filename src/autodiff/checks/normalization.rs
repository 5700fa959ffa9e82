use super::case::Case;
use super::random::Random;

pub fn cases(random: &mut Random) -> Vec<Case> {
    let mut cases = Vec::new();
    for dims in [&[4, 3][..], &[2, 3, 4], &[2, 2, 3, 2], &[1, 2, 2, 2, 3]] {
        let channels = [dims[1]];
        let case = Case::new("BatchNormalization")
            .trained(random.any(dims))
            .trained(random.any(&channels))
            .trained(random.any(&channels))
            .constant(random.any(&channels))
            .constant(random.positive(&channels));
        cases.push(case.with("epsilon", 0.01f32));
        // Statistics that are computed, as those of a standardised weight.
        let case = Case::new("BatchNormalization")
            .trained(random.any(dims))
            .trained(random.any(&channels))
            .trained(random.any(&channels))
            .trained(random.any(&channels))
            .trained(random.positive(&channels));
        cases.push(case.with("epsilon", 0.01f32));
        let case = Case::new("BatchNormalization")
            .constant(random.any(dims))
            .constant(random.any(&channels))
            .constant(random.any(&channels))
            .constant(random.any(&channels))
            .trained(random.positive(&channels));
        cases.push(case);
        let of_batch = Case::new("BatchNormalization")
            .trained(random.any(dims))
            .trained(random.any(&channels))
            .trained(random.any(&channels))
            .constant(random.any(&channels))
            .constant(random.positive(&channels))
            .outputs(3, &[0])
            .with("training_mode", 1)
            .with("momentum", 0f32);
        cases.push(of_batch.with("epsilon", 0.01f32));
        for axis in 0..dims.len() {
            let size = &dims[axis..];
            let case = Case::new("LayerNormalization")
                .trained(random.any(dims))
                .trained(random.any(size))
                .trained(random.any(size))
                .with("axis", axis as i64);
            cases.push(case);
        }
        let last = &dims[dims.len() - 1..];
        let case = Case::new("LayerNormalization").trained(random.any(dims));
        cases.push(case.trained(random.any(last)).with("epsilon", 0.1f32));
    }
    for dims in [&[2, 4, 3][..], &[2, 4, 2, 3], &[1, 4, 2, 2, 2]] {
        let instance = Case::new("InstanceNormalization").trained(random.avoiding(dims, &[]));
        let instance = instance.trained(random.any(&[4])).trained(random.any(&[4]));
        cases.push(instance.with("epsilon", 0.1f32));
        for groups in [1, 2, 4] {
            let group = Case::new("GroupNormalization").trained(random.avoiding(dims, &[]));
            let group = group.trained(random.any(&[4])).trained(random.any(&[4]));
            // It computes its statistics in single precision, whatever the input's.
            cases.push(group.with("num_groups", groups).single());
        }
    }
    for (dims, axis) in [
        (&[5][..], -1),
        (&[2, 3], 0),
        (&[2, 3, 2], 1),
        (&[2, 2, 3], -1),
    ] {
        for p in [1, 2] {
            let case = Case::new("LpNormalization").trained(random.avoiding(dims, &[0.0]));
            cases.push(case.with("axis", axis).with("p", p));
        }
    }
    // onnxruntime has it for images and odd sizes only.
    for (size, dims) in [
        (1, [2, 3, 2, 1]),
        (3, [2, 5, 2, 2]),
        (3, [1, 1, 2, 2]),
        (5, [1, 3, 2, 2]),
    ] {
        let case = Case::new("LRN").trained(random.any(&dims));
        let case = case.with("size", size).with("alpha", 0.9f32);
        cases.push(case.with("beta", 0.6f32).with("bias", 0.7f32));
    }
    cases
}
