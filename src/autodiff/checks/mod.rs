//! Every rule against finite differences, over random shapes and attributes.
//!
//! A [`Case`] is one node with values for its inputs. Its gradient with respect to a random
//! weighting of its outputs is computed by the rule, in onnxruntime, once in standard operators and,
//! where a rule has them, once by our kernels, and compared with central differences of the forward node: of its double-precision kernel where onnxruntime has one,
//! else of the single-precision one. Values lie away from kinks.

mod activations;
mod arithmetic;
mod case;
mod conv;
mod kinks;
mod layout;
mod linear;
mod loss;
mod normalization;
mod pooling;
mod properties;
mod pytorch;
mod random;
mod reduction;
mod refusals;
mod resize;
mod scatter;
mod sweep;

use std::collections::BTreeSet;

use super::rules;
use crate::runtime::testing::runtime;
use case::Case;
use random::Random;

type Cases = fn(&mut Random) -> Vec<Case>;

const FAMILIES: &[Cases] = &[
    activations::cases,
    arithmetic::cases,
    conv::cases,
    layout::cases,
    linear::cases,
    normalization::cases,
    pooling::cases,
    reduction::cases,
    resize::cases,
    scatter::cases,
];

/// Checks all cases of a family and reports all failures.
fn check(cases: Cases) {
    let Some(runtime) = runtime() else { return };
    let cases = cases(&mut Random::new(7));
    let failures: Vec<String> = cases
        .iter()
        .filter_map(|case| case.check(&runtime).err().map(|e| format!("{case}: {e}")))
        .collect();
    assert!(
        failures.is_empty(),
        "{} of {} cases:\n{}",
        failures.len(),
        cases.len(),
        failures.join("\n")
    );
}

#[test]
fn every_rule_has_a_case() {
    let checked: BTreeSet<String> = FAMILIES
        .iter()
        .flat_map(|cases| cases(&mut Random::new(7)))
        .map(|case| case.op_type().to_owned())
        .collect();
    let registered: BTreeSet<String> = rules::all().map(|r| r.op_type.to_owned()).collect();
    assert_eq!(checked, registered);
}

#[test]
fn kernels_of_ours_are_among_what_is_checked() {
    let operators: BTreeSet<String> = FAMILIES
        .iter()
        .flat_map(|cases| cases(&mut Random::new(7)))
        .filter(|case| case.has_kernels() == Ok(true))
        .map(|case| case.op_type().to_owned())
        .collect();
    for operator in ["Conv", "MaxPool", "Mul", "Relu", "Clip", "HardSwish"] {
        assert!(
            operators.contains(operator),
            "{operator} not in {operators:?}"
        );
    }
}

#[test]
fn activations_agree_with_finite_differences() {
    check(activations::cases);
}

#[test]
fn arithmetic_agrees_with_finite_differences() {
    check(arithmetic::cases);
}

#[test]
fn convolutions_agree_with_finite_differences() {
    check(conv::cases);
}

#[test]
fn layout_operators_agree_with_finite_differences() {
    check(layout::cases);
}

#[test]
fn matrix_products_agree_with_finite_differences() {
    check(linear::cases);
}

#[test]
fn normalisations_agree_with_finite_differences() {
    check(normalization::cases);
}

#[test]
fn pools_agree_with_finite_differences() {
    check(pooling::cases);
}

#[test]
fn reductions_agree_with_finite_differences() {
    check(reduction::cases);
}

#[test]
fn resizes_agree_with_finite_differences() {
    check(resize::cases);
}

#[test]
fn picking_and_placing_agree_with_finite_differences() {
    check(scatter::cases);
}
