use super::case::Case;
use super::conv::Sizes;
use super::random::Random;

pub fn cases(random: &mut Random) -> Vec<Case> {
    let mut cases = Vec::new();
    for round in 0..48 {
        let axes = [2, 1, 2, 3][round % 4];
        let mut sizes = Sizes::random(random, axes, true);
        // No window lies in the padding alone.
        for (input, &dilation) in sizes.input.iter_mut().zip(&sizes.dilations) {
            *input = (*input).max(dilation);
        }
        let x = [vec![random.size(1, 2), 2], sizes.input.clone()].concat();
        let ceil = (round / 4 % 2) as i64;
        let max = Case::new("MaxPool")
            .trained(random.distinct(&x))
            .with("ceil_mode", ceil);
        cases.push(sizes.attributes(max));
        let average = Case::new("AveragePool")
            .trained(random.any(&x))
            .with("ceil_mode", ceil)
            .with("count_include_pad", i64::from(ceil == 0 && random.flip()));
        cases.push(sizes.attributes(average));
    }
    for round in 0..12 {
        let mode = ["SAME_UPPER", "SAME_LOWER", "VALID"][round % 3];
        let kernel = random.sizes(2, 1, 3);
        // onnxruntime fails where a stride is beyond the kernel.
        let strides: Vec<usize> = kernel.iter().map(|&k| random.size(1, k)).collect();
        let x = [
            2,
            2,
            kernel[0] + random.size(0, 4),
            kernel[1] + random.size(0, 4),
        ];
        for op in ["MaxPool", "AveragePool"] {
            let case = Case::new(op)
                .trained(random.distinct(&x))
                .sizes("kernel_shape", &kernel)
                .sizes("strides", &strides)
                .with("auto_pad", mode);
            cases.push(case);
        }
    }
    // A last window that ceil_mode adds, and one that it must not add.
    for (size, kernel, stride) in [(6, 3, 2), (5, 2, 3), (7, 2, 2), (4, 1, 3)] {
        for op in ["MaxPool", "AveragePool"] {
            let case = Case::new(op)
                .trained(random.distinct(&[2, 2, size, size]))
                .sizes("kernel_shape", &[kernel, kernel])
                .sizes("strides", &[stride, stride])
                .with("ceil_mode", 1);
            cases.push(case);
        }
    }
    for dims in [
        &[2, 3, 4][..],
        &[1, 2, 3, 4],
        &[2, 2, 2, 2, 3],
        &[2, 3, 1, 1],
    ] {
        for op in ["GlobalAveragePool", "GlobalMaxPool"] {
            cases.push(Case::new(op).trained(random.distinct(dims)));
        }
    }
    cases
}
