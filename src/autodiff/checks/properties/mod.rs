//! Properties over random shapes and attributes, shrunk to the smallest that fails. The choices are
//! the same in every run.

mod index;
mod window;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

use super::case::Case;
use super::random::Random;
use crate::runtime::testing::runtime;

const CASES: u32 = 48;

/// Holds every case of `strategy` against finite differences.
fn hold(strategy: impl Strategy<Value = Case>) {
    let Some(runtime) = runtime() else { return };
    hold_with(strategy, |case| case.check(&runtime));
}

/// Holds every value of `strategy` against `check`.
fn hold_with<T: std::fmt::Debug>(
    strategy: impl Strategy<Value = T>,
    check: impl FnMut(T) -> Result<(), String>,
) {
    let config = Config {
        cases: CASES,
        failure_persistence: None,
        ..Config::default()
    };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let check = std::cell::RefCell::new(check);
    let result = TestRunner::new_with_rng(config, rng).run(&strategy, |value| {
        (check.borrow_mut())(value).map_err(TestCaseError::fail)
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
