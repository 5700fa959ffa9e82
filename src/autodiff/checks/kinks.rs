//! At kinks and ties, where there is no one derivative, the gradients are PyTorch's.

use super::case::Case;
use crate::onnx::Tensor;
use crate::runtime::testing::runtime;

fn values(values: &[f32]) -> Tensor {
    Tensor::f32(&[values.len()], values)
}

/// The gradients with respect to each trained input of the sum of the output.
fn assert_gradients(case: &Case, expected: &[&[f64]]) {
    let Some(runtime) = runtime() else { return };
    let got = case.gradients(&runtime).unwrap();
    assert_eq!(got, expected, "{case}");
}

#[test]
fn equal_extremes_share_evenly() {
    for (op, x) in [
        ("ReduceMax", [0.0, 3.0, 3.0, 3.0, 3.0]),
        ("ReduceMin", [9.0, 3.0, 3.0, 3.0, 3.0]),
    ] {
        let case = Case::new(op).trained(values(&x)).ints(&[0]);
        assert_gradients(&case, &[&[0.0, 0.25, 0.25, 0.25, 0.25]]);
    }
    let one = || values(&[1.0, 1.0, 1.0]);
    let case = Case::new("Max")
        .trained(one())
        .trained(values(&[1.0, 0.0, 2.0]));
    assert_gradients(&case, &[&[0.5, 1.0, 0.0], &[0.5, 0.0, 1.0]]);
    let case = Case::new("Min")
        .trained(one())
        .trained(values(&[1.0, 2.0, 0.0]));
    assert_gradients(&case, &[&[0.5, 1.0, 0.0], &[0.5, 0.0, 1.0]]);
}

#[test]
fn pools_give_all_to_the_first_of_equal_maxima() {
    let x = || Tensor::f32(&[1, 1, 2, 3], &[1.0, 4.0, 4.0, 4.0, 0.0, 4.0]);
    let case = Case::new("GlobalMaxPool").trained(x());
    assert_gradients(&case, &[&[0.0, 1.0, 0.0, 0.0, 0.0, 0.0]]);
    let case = Case::new("MaxPool")
        .trained(x())
        .sizes("kernel_shape", &[2, 2]);
    assert_gradients(&case, &[&[0.0, 2.0, 0.0, 0.0, 0.0, 0.0]]);
}

#[test]
fn kinks_have_the_slope_of_pytorch() {
    let zero = || values(&[0.0]);
    for (op, slope) in [
        ("Relu", 0.0),
        ("LeakyRelu", f64::from(0.01f32)),
        ("Abs", 0.0),
        ("Elu", 1.0),
        ("Softsign", 1.0),
    ] {
        assert_gradients(&Case::new(op).trained(zero()), &[&[slope]]);
    }
    let case = Case::new("PRelu").trained(zero()).trained(values(&[0.5]));
    assert_gradients(&case, &[&[0.5], &[0.0]]);
    assert_gradients(
        &Case::new("ReduceL2").trained(values(&[0.0; 2])),
        &[&[0.0; 2]],
    );
    // As nn.ReLU6, nn.Hardtanh, nn.Hardsigmoid and nn.Hardswish.
    let case = Case::new("Clip").trained(values(&[0.0, 3.0, 6.0]));
    let case = case
        .constant(Tensor::scalar_f32(0.0))
        .constant(Tensor::scalar_f32(6.0));
    assert_gradients(&case, &[&[0.0, 1.0, 0.0]]);
    let case = Case::new("HardSigmoid").trained(values(&[-4.0, 4.0]));
    assert_gradients(&case, &[&[0.0, 0.0]]);
    let case = Case::new("HardSwish").trained(values(&[-4.0, 4.0]));
    assert_gradients(&case, &[&[0.0, 1.0]]);
}
