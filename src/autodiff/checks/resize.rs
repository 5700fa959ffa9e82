use super::case::Case;
use super::random::Random;
use crate::onnx::Tensor;

pub const POSITIONS: [&str; 5] = [
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
];
pub const ROUNDINGS: [&str; 4] = ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"];

/// Resize by scales, of all axes.
pub fn scaled(random: &mut Random, dims: &[usize], scales: &[f32]) -> Case {
    let case = Case::new("Resize").trained(random.any(dims)).absent();
    case.constant(Tensor::f32(&[scales.len()], scales))
}

/// Resize to sizes, of all axes.
pub fn sized(random: &mut Random, dims: &[usize], sizes: &[usize]) -> Case {
    let sizes: Vec<i64> = sizes.iter().map(|&s| s as i64).collect();
    let case = Case::new("Resize").trained(random.any(dims)).absent();
    case.absent().ints(&sizes)
}

pub fn cases(random: &mut Random) -> Vec<Case> {
    let mut cases = Vec::new();
    for position in POSITIONS {
        for scales in [
            [1.0, 1.0, 2.0, 2.0],
            [1.0, 1.0, 0.6, 1.7],
            [1.0, 1.0, 0.2, 1.0],
        ] {
            for rounding in ROUNDINGS {
                let case = scaled(random, &[1, 2, 5, 4], &scales);
                let case = case.with("coordinate_transformation_mode", position);
                cases.push(case.with("nearest_mode", rounding));
            }
            for mode in ["linear", "cubic"] {
                let case = scaled(random, &[2, 1, 5, 4], &scales);
                let case = case.with("coordinate_transformation_mode", position);
                cases.push(case.with("mode", mode));
            }
        }
        let line = sized(random, &[1, 2, 4], &[1, 2, 7]);
        let line = line.with("coordinate_transformation_mode", position);
        cases.push(line.with("mode", "linear"));
        let volume = sized(random, &[1, 1, 2, 3, 2], &[1, 1, 3, 2, 4]);
        let volume = volume.with("coordinate_transformation_mode", position);
        cases.push(volume.with("mode", "linear"));
    }
    for mode in ["nearest", "linear", "cubic"] {
        let case = Case::new("Resize").trained(random.any(&[1, 1, 4, 3]));
        let case = case.absent().absent().ints(&[8, 7]);
        cases.push(case.with("axes", vec![3, -2]).with("mode", mode));
        for scales in [[0.4, 0.5], [1.0, 0.3]] {
            let scales = [&[1.0, 1.0], &scales[..]].concat();
            let case = scaled(random, &[1, 1, 7, 6], &scales).with("mode", mode);
            cases.push(case.with("antialias", i64::from(mode != "nearest")));
        }
    }
    for inside in [0, 1] {
        let case = sized(random, &[1, 1, 5, 4], &[1, 1, 3, 7]).with("mode", "cubic");
        let case = case.with("cubic_coeff_a", -0.5f32);
        cases.push(case.with("exclude_outside", inside));
    }
    // Nothing to do, and channels last.
    cases.push(sized(random, &[1, 1, 3, 2], &[1, 1, 3, 2]).with("mode", "linear"));
    cases.push(sized(random, &[1, 3, 2, 2], &[1, 5, 3, 2]).with("mode", "linear"));
    cases
}
