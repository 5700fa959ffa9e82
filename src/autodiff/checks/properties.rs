//! Properties over random shapes and attributes, shrunk to the smallest that fails. The choices are
//! the same in every run.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

use super::case::{Case, Random};
use super::resize::{POSITIONS, ROUNDINGS};
use super::scatter::{distinct_tuples, indices, shaped};
use crate::onnx::Tensor;
use crate::runtime::testing::runtime;

const CASES: u32 = 48;

/// Holds every case of `strategy` against finite differences.
fn hold(strategy: impl Strategy<Value = Case>) {
    let Some(runtime) = runtime() else { return };
    let config = Config {
        cases: CASES,
        failure_persistence: None,
        ..Config::default()
    };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let result = TestRunner::new_with_rng(config, rng).run(&strategy, |case| {
        case.check(&runtime).map_err(TestCaseError::fail)
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

fn random() -> impl Strategy<Value = u64> {
    any::<u64>().no_shrink()
}

fn dims(rank: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = Vec<usize>> {
    vec(1..=3usize, rank)
}

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
                super::resize::scaled(random, &x, &scales.collect::<Vec<f32>>())
            } else {
                super::resize::sized(random, &x, &dims(axes.iter().map(|a| a.1).collect()))
            };
            let case = case.with("mode", mode).with("nearest_mode", rounding);
            let case = case.with("exclude_outside", i64::from(inside && mode == "cubic"));
            case.with("coordinate_transformation_mode", position)
        }),
    );
}

#[test]
fn pads_of_any_axes_agree_with_finite_differences() {
    let modes = select(vec!["constant", "edge", "reflect", "wrap"]);
    let axes = vec((2..=4usize, [0..=2i64, 0..=2], any::<bool>()), 1..=4);
    hold((axes, modes, random()).prop_map(|(axes, mode, seed)| {
        let random = &mut Random::new(seed);
        let x: Vec<usize> = axes.iter().map(|a| a.0).collect();
        let named: Vec<usize> = (0..x.len()).filter(|&a| axes[a].2).collect();
        // onnxruntime reflects by less than the size.
        let pad = |a: usize, side: usize| axes[a].1[side].min(x[a] as i64 - 1);
        let begins = named.iter().map(|&a| pad(a, 0));
        let pads: Vec<i64> = begins.chain(named.iter().map(|&a| pad(a, 1))).collect();
        let named: Vec<i64> = named.iter().map(|&a| a as i64).collect();
        let case = Case::new("Pad").trained(random.any(&x)).ints(&pads);
        case.absent().ints(&named).with("mode", mode)
    }));
}

#[test]
fn slices_of_any_step_agree_with_finite_differences() {
    let axes = vec((1..=5usize, [-7..=7i64, -7..=7], -3..=3i64), 1..=3);
    let strategy = (axes, random()).prop_filter_map("an empty slice", |(axes, seed)| {
        let random = &mut Random::new(seed);
        let x: Vec<usize> = axes.iter().map(|a| a.0).collect();
        let mut starts = Vec::new();
        let mut ends = Vec::new();
        let mut steps = Vec::new();
        for &(size, [start, end], step) in &axes {
            let (size, step) = (size as i64, if step == 0 { 1 } else { step });
            let wrap = |i: i64| if i < 0 { i + size } else { i };
            let empty = match step > 0 {
                true => wrap(start).clamp(0, size) >= wrap(end).clamp(0, size),
                false => wrap(start).clamp(0, size - 1) <= wrap(end).clamp(-1, size - 1),
            };
            if empty {
                return None;
            }
            starts.push(start);
            ends.push(end);
            steps.push(step);
        }
        let axes: Vec<i64> = (0..x.len()).map(|a| a as i64).collect();
        let case = Case::new("Slice").trained(random.any(&x)).ints(&starts);
        Some(case.ints(&ends).ints(&axes).ints(&steps))
    });
    hold(strategy);
}

#[test]
fn reductions_over_any_axes_agree_with_finite_differences() {
    let ops = [
        "ReduceL1",
        "ReduceL2",
        "ReduceLogSum",
        "ReduceLogSumExp",
        "ReduceMax",
        "ReduceMean",
        "ReduceMin",
        "ReduceSum",
        "ReduceSumSquare",
    ];
    let axes = vec(any::<(bool, bool)>(), 4);
    let strategy = (dims(1..=4), select(ops.to_vec()), axes, 0..=1i64, random());
    hold(strategy.prop_map(|(x, op, axes, keep, seed)| {
        let random = &mut Random::new(seed);
        let values = match op {
            "ReduceMax" | "ReduceMin" => random.distinct(&x),
            "ReduceL1" | "ReduceL2" => random.avoiding(&x, &[0.0]),
            "ReduceLogSum" => random.positive(&x),
            _ => random.any(&x),
        };
        let rank = x.len() as i64;
        let named: Vec<i64> = (0..rank)
            .zip(&axes)
            .filter(|(_, (named, _))| *named)
            .map(|(a, (_, negative))| if *negative { a - rank } else { a })
            .collect();
        let case = Case::new(op).trained(values).ints(&named);
        case.with("keepdims", keep)
    }));
}

#[test]
fn gathers_along_any_axis_agree_with_finite_differences() {
    let strategy = (
        dims(1..=3),
        dims(0..=2),
        any::<Index>(),
        any::<bool>(),
        random(),
    );
    hold(strategy.prop_map(|(x, picked, axis, whole, seed)| {
        let random = &mut Random::new(seed);
        let axis = axis.index(x.len());
        let case = |op: &str, random: &mut Random| {
            let case = Case::new(op).trained(random.any(&x));
            case.with("axis", axis as i64)
        };
        if whole {
            let places = indices(random, &picked, x[axis]);
            return case("Gather", random).given(places);
        }
        let mut along = x.clone();
        along[axis] += picked.len();
        let places = indices(random, &along, x[axis]);
        case("GatherElements", random).given(places)
    }));
}

#[test]
fn gathers_by_tuples_agree_with_finite_differences() {
    let strategy = (dims(1..=4), dims(0..=2), any::<[Index; 2]>(), random());
    hold(strategy.prop_map(|(x, picked, [batch, depth], seed)| {
        let random = &mut Random::new(seed);
        let batch = batch.index(x.len());
        let depth = 1 + depth.index(x.len() - batch);
        let lead = [&x[..batch], picked.as_slice()].concat();
        let count: usize = lead.iter().product();
        let values: Vec<i64> = (0..count)
            .flat_map(|_| &x[batch..batch + depth])
            .map(|&size| random.size(0, 2 * size - 1) as i64 - size as i64)
            .collect();
        let places = shaped(&[lead, vec![depth]].concat(), &values);
        let case = Case::new("GatherND").trained(random.any(&x));
        case.given(places).with("batch_dims", batch as i64)
    }));
}

#[test]
fn scatters_agree_with_finite_differences() {
    let strategy = (
        dims(1..=4),
        any::<[Index; 2]>(),
        any::<[bool; 2]>(),
        random(),
    );
    hold(
        strategy.prop_map(|(x, [depth, count], [adds, tuples], seed)| {
            let random = &mut Random::new(seed);
            let reduction = if adds { "add" } else { "none" };
            let depth = match tuples {
                true => 1 + depth.index(x.len()),
                false => depth.index(x.len()),
            };
            if tuples {
                let total: usize = x[..depth].iter().product();
                let lead = [1 + count.index(total)];
                let places = distinct_tuples(random, &lead, &x[..depth]);
                let updates = [&lead, &x[depth..]].concat();
                let case = Case::new("ScatterND").trained(random.any(&x));
                let case = case.given(places).trained(random.any(&updates));
                return case.with("reduction", reduction);
            }
            // Along the axis a random start and every place once, so that no two updates meet.
            let mut along = x.clone();
            along[depth] = 1 + count.index(x[depth]);
            let inner: usize = x[depth + 1..].iter().product();
            let start = random.size(0, x[depth] - 1);
            let places: Vec<i64> = (0..along.iter().product())
                .map(|i| ((i / inner % along[depth] + start) % x[depth]) as i64)
                .collect();
            let case = Case::new("ScatterElements").trained(random.any(&x));
            let case = case.given(shaped(&along, &places));
            let case = case.trained(random.any(&along));
            case.with("reduction", reduction).with("axis", depth as i64)
        }),
    );
}

#[test]
fn normalisations_along_any_axis_agree_with_finite_differences() {
    let ops = select(vec![
        "Softmax",
        "LogSoftmax",
        "LpNormalization",
        "LayerNormalization",
    ]);
    let strategy = (
        dims(1..=4),
        ops,
        any::<Index>(),
        any::<bool>(),
        1..=2i64,
        random(),
    );
    hold(strategy.prop_map(|(x, op, axis, negative, p, seed)| {
        let random = &mut Random::new(seed);
        let axis = axis.index(x.len());
        let mut case = Case::new(op).trained(random.avoiding(&x, &[0.0]));
        case = case.with(
            "axis",
            axis as i64 - if negative { x.len() as i64 } else { 0 },
        );
        match op {
            "LpNormalization" => case.with("p", p),
            "LayerNormalization" => {
                case = case.trained(random.any(&x[axis..])).with("epsilon", 0.1f32);
                case.trained(random.any(&x[axis..]))
            }
            _ => case,
        }
    }));
}

#[test]
fn matrix_products_of_any_batches_agree_with_finite_differences() {
    let sizes = [1..=3usize, 1..=3, 1..=3];
    let vectors = any::<[bool; 2]>();
    hold(
        (dims(0..=3), sizes, vectors, random()).prop_map(|(lead, [m, k, n], vectors, seed)| {
            let random = &mut Random::new(seed);
            let mut operand = |rows: usize, columns: usize, vector: bool| match vector {
                true => random.any(&[k]),
                false => {
                    let lead = random.broadcastable(&lead);
                    random.any(&[lead, vec![rows, columns]].concat())
                }
            };
            let a = operand(m, k, vectors[0]);
            let b = operand(k, n, vectors[1]);
            Case::new("MatMul").trained(a).trained(b)
        }),
    );
}

#[test]
fn gemms_of_any_transposes_agree_with_finite_differences() {
    let sizes = [1..=4usize, 1..=4, 1..=4];
    let factors = (-2.0f32..2.0, -2.0f32..2.0);
    let strategy = (sizes, any::<[bool; 2]>(), factors, random());
    hold(
        strategy.prop_map(|([m, k, n], [ta, tb], (alpha, beta), seed)| {
            let random = &mut Random::new(seed);
            let order = |turned: bool, [a, b]: [usize; 2]| if turned { [b, a] } else { [a, b] };
            let case = Case::new("Gemm").trained(random.any(&order(ta, [m, k])));
            let case = case.trained(random.any(&order(tb, [k, n])));
            let bias = random.broadcastable(&[m, n]);
            let case = case.trained(random.any(&bias));
            let case = case.with("alpha", alpha).with("beta", beta);
            case.with("transA", i64::from(ta))
                .with("transB", i64::from(tb))
        }),
    );
}

#[test]
fn einstein_sums_agree_with_finite_differences() {
    // Of letters with sizes, a subset in random order for each of two inputs and the output.
    let term = || proptest::sample::subsequence(vec!['a', 'b', 'c', 'd'], 1..=3).prop_shuffle();
    let strategy = ([term(), term(), term()], dims(4..=4), 1..=3usize, random());
    hold(strategy.prop_map(|(terms, sizes, count, seed)| {
        let random = &mut Random::new(seed);
        let [first, second, output] = terms;
        let inputs = match count {
            1 => vec![first],
            2 => vec![first, second],
            _ => vec![first.clone(), second, first],
        };
        let known = |l: &&char| inputs.iter().any(|t| t.contains(l));
        let output: String = output.iter().filter(known).collect();
        let texts: Vec<String> = inputs.iter().map(|t| t.iter().collect()).collect();
        let equation = format!("{}->{output}", texts.join(","));
        let size = |l: &char| sizes[*l as usize - 'a' as usize];
        let case = Case::new("Einsum").with("equation", equation.as_str());
        inputs.iter().fold(case, |case, term| {
            let dims: Vec<usize> = term.iter().map(size).collect();
            case.trained(random.any(&dims))
        })
    }));
}

#[test]
fn blocks_and_channels_change_places_with_the_gradients_of_finite_differences() {
    let ops = select(vec!["DCR", "CRD", "SpaceToDepth"]);
    let strategy = ([1..=2usize, 1..=2, 1..=2, 1..=2], 1..=3usize, ops, random());
    hold(strategy.prop_map(|([n, c, h, w], block, op, seed)| {
        let random = &mut Random::new(seed);
        let case = match op {
            "SpaceToDepth" => Case::new(op).trained(random.any(&[n, c, h * block, w * block])),
            mode => {
                let x = random.any(&[n, c * block * block, h, w]);
                Case::new("DepthToSpace").trained(x).with("mode", mode)
            }
        };
        case.with("blocksize", block as i64)
    }));
}

#[test]
fn tiles_and_expansions_agree_with_finite_differences() {
    let strategy = (dims(0..=4), any::<bool>(), random());
    hold(strategy.prop_map(|(target, tile, seed)| {
        let random = &mut Random::new(seed);
        let sizes: Vec<i64> = target.iter().map(|&d| d as i64).collect();
        if tile {
            let x = random.sizes(target.len(), 1, 3);
            return Case::new("Tile").trained(random.any(&x)).ints(&sizes);
        }
        let x = random.broadcastable(&target);
        let case = Case::new("Expand").trained(random.any(&x));
        case.constant(Tensor::i64s(&sizes))
    }));
}
