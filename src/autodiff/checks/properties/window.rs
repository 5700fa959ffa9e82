//! Sliding windows and interpolation.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::{hold, hold_with, random};
use crate::autodiff::checks::case::Case;
use crate::autodiff::checks::conv::left_out;
use crate::autodiff::checks::random::Random;
use crate::autodiff::checks::resize::{POSITIONS, ROUNDINGS, scaled, sized};
use crate::runtime::testing::runtime;

/// A window along one axis, and how much larger than it the input is.
#[derive(Clone, Debug)]
struct Along {
    kernel: usize,
    stride: usize,
    dilation: usize,
    pads: [usize; 2],
    slack: usize,
    output_padding: usize,
}

impl Along {
    fn span(&self) -> usize {
        (self.kernel - 1) * self.dilation + 1
    }

    /// A length of input that the window fits.
    fn length(&self) -> usize {
        let least = self.span().saturating_sub(self.pads[0] + self.pads[1]);
        least.max(1) + self.slack
    }
}

fn window() -> impl Strategy<Value = Vec<Along>> {
    let along = (
        1..=3usize,
        1..=3usize,
        1..=2usize,
        [0..=2usize, 0..=2],
        0..=3usize,
        0..=2usize,
    )
        .prop_map(
            |(kernel, stride, dilation, pads, slack, output_padding)| Along {
                kernel,
                stride,
                dilation,
                pads,
                slack,
                output_padding,
            },
        );
    vec(along, 1..=3)
}

fn each(window: &[Along], of: impl Fn(&Along) -> usize) -> Vec<usize> {
    window.iter().map(of).collect()
}

fn attributes(case: Case, window: &[Along]) -> Case {
    let pads = [each(window, |w| w.pads[0]), each(window, |w| w.pads[1])].concat();
    case.sizes("kernel_shape", &each(window, |w| w.kernel))
        .sizes("strides", &each(window, |w| w.stride))
        .sizes("dilations", &each(window, |w| w.dilation))
        .sizes("pads", &pads)
}

/// Batch, groups, input and output channels of each group.
fn channels() -> impl Strategy<Value = [usize; 4]> {
    [1..=2usize, 1..=3, 1..=2, 1..=2]
}

#[test]
fn convolutions_of_any_window_agree_with_finite_differences() {
    let strategy = (window(), channels(), any::<bool>(), random());
    hold(
        strategy.prop_map(|(window, [batch, group, i, o], bias, seed)| {
            let random = &mut Random::new(seed);
            let x = [vec![batch, group * i], each(&window, Along::length)].concat();
            let w = [vec![group * o, i], each(&window, |w| w.kernel)].concat();
            let mut case = Case::new("Conv").trained(random.any(&x));
            case = case.trained(random.any(&w)).with("group", group as i64);
            if bias {
                case = case.trained(random.any(&[group * o]));
            }
            attributes(case, &window)
        }),
    );
}

#[test]
fn automatic_pads_of_any_stride_agree_with_finite_differences_or_are_refused() {
    let along = (1..=3usize, 1..=6usize, 0..=5usize);
    let ops = select(vec!["Conv", "MaxPool", "AveragePool"]);
    let modes = select(vec!["SAME_UPPER", "SAME_LOWER", "VALID"]);
    let strategy = (vec(along, 1..=2), ops, modes, 1..=2usize, random());
    let Some(runtime) = runtime() else { return };
    let mut covered = 0;
    hold_with(strategy, |(axes, op, mode, channels, seed)| {
        let random = &mut Random::new(seed);
        let size = |&(k, _, slack): &(usize, usize, usize)| k + slack;
        let x = [vec![1, channels], axes.iter().map(size).collect()].concat();
        let kernel: Vec<usize> = axes.iter().map(|a| a.0).collect();
        let strides: Vec<usize> = axes.iter().map(|a| a.1).collect();
        let mut case = Case::new(op).trained(random.distinct(&x));
        if op == "Conv" {
            let w = [vec![2, channels], kernel.clone()].concat();
            case = case.trained(random.any(&w));
        }
        let case = case.with("auto_pad", mode).sizes("strides", &strides);
        let case = case.sizes("kernel_shape", &kernel);
        let most = axes.iter().map(|a| left_out(size(a), a.0, a.1)).max();
        // Most of onnxruntime's pools do not run where a row is left out: nothing to compare with.
        let runs = mode == "VALID" || most <= Some(if op == "Conv" { 1 } else { 0 });
        if runs {
            covered += 1;
            return case.check(&runtime);
        }
        if op == "MaxPool" && most <= Some(1) {
            return Ok(());
        }
        let message = case.refusal()?;
        match message.contains("`node`") && message.contains("a stride beyond the kernel") {
            true => Ok(()),
            false => Err(message),
        }
    });
    assert!(covered > 10, "{covered}");
}

#[test]
fn transposed_convolutions_of_any_window_agree_with_finite_differences() {
    let modes = select(vec![
        "pads",
        "output_shape",
        "SAME_UPPER",
        "SAME_LOWER",
        "VALID",
    ]);
    let strategy = (window(), channels(), any::<bool>(), modes, random());
    hold(
        strategy.prop_map(|(mut window, [batch, group, i, o], bias, mode, seed)| {
            let random = &mut Random::new(seed);
            let mut lengths = Vec::new();
            for along in &mut window {
                along.output_padding %= along.stride;
                if mode.starts_with("SAME") {
                    along.stride = along.stride.min(along.span());
                    along.output_padding = 0;
                }
                let cropped = along.pads[0] + along.pads[1] + 1;
                let least = cropped.saturating_sub(along.span()).div_ceil(along.stride);
                lengths.push(1 + least + along.slack.min(1));
            }
            let x = [vec![batch, group * i], lengths.clone()].concat();
            let w = [vec![group * i, o], each(&window, |w| w.kernel)].concat();
            let mut case = Case::new("ConvTranspose").trained(random.any(&x));
            case = case.trained(random.any(&w)).with("group", group as i64);
            if bias {
                case = case.trained(random.any(&[group * o]));
            }
            let whole = |w: &Along, x: usize| (x - 1) * w.stride + w.span() + w.output_padding;
            case = case
                .sizes("strides", &each(&window, |w| w.stride))
                .sizes("dilations", &each(&window, |w| w.dilation));
            if !mode.starts_with("SAME") {
                case = case.sizes("output_padding", &each(&window, |w| w.output_padding));
            }
            match mode {
                "pads" => attributes(case, &window),
                "output_shape" => {
                    let shape: Vec<usize> = window
                        .iter()
                        .zip(&lengths)
                        .map(|(w, &x)| whole(w, x) - w.pads[0].min(whole(w, x) - 1))
                        .collect();
                    case.sizes("output_shape", &shape)
                }
                mode => case.with("auto_pad", mode),
            }
        }),
    );
}

#[test]
fn pools_of_any_window_agree_with_finite_differences() {
    let ops = select(vec!["MaxPool", "AveragePool"]);
    let flags = [0..=1i64, 0..=1];
    let strategy = (window(), [1..=2usize, 1..=2], ops, flags, random());
    hold(
        strategy.prop_map(|(mut window, lead, op, [ceil, include], seed)| {
            let random = &mut Random::new(seed);
            for along in &mut window {
                // No window lies in the padding alone.
                along.pads = along.pads.map(|p| p.min(along.kernel - 1));
                let short = along.dilation.saturating_sub(along.length());
                along.slack += short;
            }
            let x = [lead.to_vec(), each(&window, Along::length)].concat();
            let mut case = Case::new(op).trained(random.distinct(&x));
            case = case.with("ceil_mode", ceil);
            if op == "AveragePool" && ceil == 0 {
                case = case.with("count_include_pad", include);
            }
            attributes(case, &window)
        }),
    );
}

#[test]
fn resizes_of_any_mode_agree_with_finite_differences() {
    let modes = select(vec!["nearest", "linear", "cubic"]);
    let names = (
        modes,
        select(POSITIONS.to_vec()),
        select(ROUNDINGS.to_vec()),
    );
    let axes = vec((1..=6usize, 1..=9usize, 0.05f32..0.95), 1..=3);
    let options = (any::<bool>(), any::<bool>());
    let strategy = (axes, names, options, random());
    hold(
        strategy.prop_map(|(mut axes, names, (by_scales, inside), seed)| {
            let (mode, position, rounding) = names;
            let random = &mut Random::new(seed);
            // The axes that onnxruntime interpolates cubically.
            if mode == "cubic" {
                axes.resize(2, (3, 4, 0.5));
            }
            let dims = |own: Vec<usize>| [vec![1, 2], own].concat();
            let x = dims(axes.iter().map(|a| a.0).collect());
            let case = if by_scales {
                // A size that stays has scale 1.
                let scale = |&(size, count, part): &(usize, usize, f32)| match size == count {
                    true => 1.0,
                    false => (count as f32 + part) / size as f32,
                };
                let scales = [1.0, 1.0].into_iter().chain(axes.iter().map(scale));
                scaled(random, &x, &scales.collect::<Vec<f32>>())
            } else {
                sized(random, &x, &dims(axes.iter().map(|a| a.1).collect()))
            };
            let case = case.with("mode", mode).with("nearest_mode", rounding);
            let case = case.with("exclude_outside", i64::from(inside && mode == "cubic"));
            case.with("coordinate_transformation_mode", position)
        }),
    );
}
