//! Operators that move, repeat, pick and place elements.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::{dims, hold, random};
use crate::autodiff::checks::case::Case;
use crate::autodiff::checks::random::Random;
use crate::autodiff::checks::scatter::{distinct_tuples, indices, shaped};
use crate::onnx::Tensor;

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
