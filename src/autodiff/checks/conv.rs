use super::case::Case;
use super::random::Random;

/// Sizes of a random window over `axes` spatial axes, and of an input that it fits.
pub struct Sizes {
    pub kernel: Vec<usize>,
    pub strides: Vec<usize>,
    pub dilations: Vec<usize>,
    pub pads: Vec<usize>,
    pub input: Vec<usize>,
}

impl Sizes {
    pub fn random(random: &mut Random, axes: usize, pad_below_kernel: bool) -> Self {
        let largest = if axes == 3 { 2 } else { 3 };
        let kernel = random.sizes(axes, 1, largest);
        let dilations = random.sizes(axes, 1, 2);
        let mut pads = random.sizes(2 * axes, 0, 2);
        let mut input = Vec::new();
        for a in 0..axes {
            let span = (kernel[a] - 1) * dilations[a] + 1;
            if pad_below_kernel {
                pads[a] = pads[a].min(kernel[a] - 1);
                pads[a + axes] = pads[a + axes].min(kernel[a] - 1);
            }
            let least = span.saturating_sub(pads[a] + pads[a + axes]).max(1);
            input.push(least + random.size(0, if axes == 3 { 2 } else { 4 }));
        }
        Sizes {
            strides: random.sizes(axes, 1, 3),
            kernel,
            dilations,
            pads,
            input,
        }
    }

    pub fn attributes(&self, case: Case) -> Case {
        case.sizes("kernel_shape", &self.kernel)
            .sizes("strides", &self.strides)
            .sizes("dilations", &self.dilations)
            .sizes("pads", &self.pads)
    }
}

/// The rows of `x` that no window of `k` reaches in steps of `s` with automatic pads.
pub fn left_out(x: usize, k: usize, s: usize) -> usize {
    x.saturating_sub((x.div_ceil(s) - 1) * s + k)
}

/// A convolution of `batch` samples of `inputs` channels to `outputs` in `group` groups.
fn conv(
    random: &mut Random,
    [batch, inputs, outputs, group]: [usize; 4],
    input: &[usize],
    kernel: &[usize],
    bias: bool,
) -> Case {
    let x = [&[batch, inputs], input].concat();
    let w = [&[outputs, inputs / group], kernel].concat();
    let case = Case::new("Conv")
        .trained(random.any(&x))
        .trained(random.any(&w))
        .with("group", group as i64);
    match bias {
        true => case.trained(random.any(&[outputs])),
        false => case,
    }
}

/// A transposed convolution of `batch` samples of `inputs` channels to `outputs` in `group` groups.
fn conv_transpose(
    random: &mut Random,
    [batch, inputs, outputs, group]: [usize; 4],
    input: &[usize],
    kernel: &[usize],
) -> Case {
    let x = [&[batch, inputs], input].concat();
    let w = [&[inputs, outputs / group], kernel].concat();
    Case::new("ConvTranspose")
        .trained(random.any(&x))
        .trained(random.any(&w))
        .with("group", group as i64)
}

fn transposed_cases(random: &mut Random) -> Vec<Case> {
    let mut cases = Vec::new();
    let plain = |random: &mut Random| conv_transpose(random, [2, 3, 2, 1], &[3, 2], &[2, 3]);
    cases.push(plain(random));
    cases.push(plain(random).trained(random.any(&[2])));
    cases.push(plain(random).sizes("pads", &[1, 0, 0, 2]));
    let strided = plain(random).sizes("strides", &[2, 3]);
    cases.push(strided.sizes("output_padding", &[1, 2]));
    cases.push(plain(random).sizes("dilations", &[3, 2]));
    let shaped = |random: &mut Random| plain(random).sizes("strides", &[2, 3]);
    for mode in ["NOTSET", "SAME_UPPER", "SAME_LOWER"] {
        let case = shaped(random).with("auto_pad", mode);
        cases.push(case.sizes("output_shape", &[5, 3]));
    }
    cases.push(conv_transpose(random, [2, 4, 4, 2], &[3], &[3]).sizes("strides", &[2]));
    cases.push(conv_transpose(random, [1, 3, 3, 3], &[2, 3], &[2, 2]));
    cases.push(conv_transpose(random, [1, 2, 4, 2], &[2, 1, 2], &[2, 2, 1]));
    for channels in [[2, 3, 2, 1], [1, 4, 2, 2]] {
        let case = conv_transpose(random, channels, &[3, 2], &[2, 3]);
        let case = case.sizes("dilations", &[11, 9]);
        cases.push(case.sizes("pads", &[6, 9, 6, 8]));
    }
    cases
}

pub fn cases(random: &mut Random) -> Vec<Case> {
    let mut cases = Vec::new();
    for round in 0..72 {
        // onnxruntime convolves over at most three spatial axes.
        let axes = [2, 1, 2, 3][round % 4];
        let sizes = Sizes::random(random, axes, false);
        let (inputs, outputs, group) = [
            (2, 3, 1),
            (4, 2, 2),
            (2, 4, 2),
            (3, 3, 3),
            (2, 6, 2),
            (1, 2, 1),
        ][round / 4 % 6];
        let channels = [random.size(1, 2), inputs, outputs, group];
        let bias = random.flip();
        let case = conv(random, channels, &sizes.input, &sizes.kernel, bias);
        cases.push(sizes.attributes(case));
    }
    // Automatic pads; onnxruntime takes them with dilation 1 only. Strides go beyond the kernel as far as
    // they leave out one row.
    for round in 0..24 {
        let axes = round % 2 + 1;
        let mode = ["SAME_UPPER", "SAME_LOWER", "VALID"][round % 3];
        let kernel = random.sizes(axes, 1, 4);
        let strides: Vec<usize> = kernel.iter().map(|&k| random.size(1, k + 3)).collect();
        let input: Vec<usize> = kernel
            .iter()
            .zip(&strides)
            .map(|(&k, &s)| {
                let longest = k + random.size(0, 4);
                match mode {
                    "VALID" => longest,
                    _ => (k..=longest)
                        .rev()
                        .find(|&x| left_out(x, k, s) <= 1)
                        .unwrap_or(k),
                }
            })
            .collect();
        let group = round / 6 % 2 * 2 + 1;
        let case = conv(random, [2, 3, 3, group], &input, &kernel, false);
        cases.push(case.with("auto_pad", mode).sizes("strides", &strides));
    }
    // Pointwise: few positions with large matrices, many with small ones, strided, padded.
    cases.push(conv(random, [2, 8, 8, 1], &[2, 1], &[1, 1], true));
    cases.push(conv(random, [2, 2, 3, 1], &[4, 5], &[1, 1], true));
    cases.push(conv(random, [2, 4, 4, 2], &[2, 3], &[1, 1], false));
    cases.push(conv(random, [2, 3, 2, 1], &[5, 4], &[1, 1], false).sizes("strides", &[2, 3]));
    cases.push(conv(random, [1, 3, 2, 1], &[3, 3], &[1, 1], false).sizes("pads", &[1, 0, 2, 1]));
    // Depthwise over everything: the output is one position.
    cases.push(conv(random, [2, 3, 3, 3], &[4, 3], &[4, 3], true));
    // Pads beyond the kernel, dense and depthwise.
    for channels in [[1, 2, 2, 1], [1, 2, 2, 2]] {
        let case = conv(random, channels, &[3, 3], &[2, 2], false);
        cases.push(case.sizes("pads", &[3, 2, 2, 3]));
    }
    // Pads out of proportion to the map: taps meet a few positions, or padding alone.
    for channels in [[2, 2, 4, 1], [2, 4, 2, 2], [1, 3, 3, 3]] {
        let case = conv(random, channels, &[3, 3], &[3, 2], true);
        let case = case.sizes("strides", &[1, 2]).sizes("dilations", &[9, 7]);
        cases.push(case.sizes("pads", &[9, 7, 9, 7]));
    }
    cases.extend(transposed_cases(random));
    cases
}
