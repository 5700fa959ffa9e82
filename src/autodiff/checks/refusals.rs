//! What rules do not cover they refuse, with the reason.

use super::case::Case;
use super::random::Random;
use crate::onnx::Tensor;
use crate::runtime::testing::runtime;

#[test]
fn what_a_rule_does_not_cover_it_refuses_by_name() {
    let random = &mut Random::new(3);
    let image = |random: &mut Random, op: &str| Case::new(op).trained(random.any(&[1, 2, 5, 5]));
    let statistics = |random: &mut Random| {
        let case = Case::new("BatchNormalization").trained(random.any(&[2, 3]));
        case.trained(random.any(&[3])).trained(random.any(&[3]))
    };
    let training = |random: &mut Random| {
        let case = statistics(random).constant(random.any(&[3]));
        let case = case.constant(random.positive(&[3]));
        case.with("training_mode", 1)
    };
    let running = training(random).outputs(3, &[0]);
    let read = training(random).with("momentum", 0f32);
    let read = read.outputs(3, &[0, 1]);
    let pool = image(random, "AveragePool")
        .sizes("kernel_shape", &[2, 2])
        .sizes("strides", &[2, 2])
        .with("ceil_mode", 1)
        .with("count_include_pad", 1);
    let skipping = image(random, "AveragePool")
        .sizes("kernel_shape", &[1, 1])
        .sizes("strides", &[3, 3])
        .with("auto_pad", "SAME_UPPER");
    let cropped = |random: &mut Random, op: &str| {
        let case = image(random, op).sizes("strides", &[5, 5]);
        case.with("auto_pad", "SAME_UPPER")
    };
    let cropped_pool = cropped(random, "MaxPool").sizes("kernel_shape", &[1, 1]);
    let cropped_conv = cropped(random, "Conv").trained(random.any(&[1, 2, 2, 2]));
    let columns = image(random, "MaxPool")
        .sizes("kernel_shape", &[2, 2])
        .with("storage_order", 1);
    let bounds = image(random, "Clip").trained(Tensor::scalar_f32(0.0));
    let exponent = Case::new("Pow")
        .trained(random.positive(&[2]))
        .trained(random.any(&[2]));
    let value = Case::new("Pad").trained(random.any(&[2]));
    let value = value.ints(&[1, 1]).trained(Tensor::scalar_f32(0.0));
    let negative = Case::new("Pad").trained(random.any(&[4]));
    let negative = negative.ints(&[-1, 1]).with("mode", "reflect");
    let nothing = Case::new("ReduceSumSquare").trained(random.any(&[2]));
    let mean = Case::new("LayerNormalization")
        .trained(random.any(&[2, 3]))
        .trained(random.any(&[3]))
        .outputs(2, &[0, 1]);
    let policy = image(random, "Resize").absent().absent();
    let policy = policy.ints(&[2, 4, 8, 8]);
    let kept = image(random, "Resize").absent();
    let kept = kept.constant(Tensor::f32(&[4], &[1.0, 1.0, 1.1, 2.0]));
    // A rule that knows nothing of an input must not lose its gradient.
    let region = image(random, "Resize").trained(random.any(&[8]));
    let region = region.constant(Tensor::f32(&[4], &[1.0, 1.0, 2.0, 2.0]));
    let diagonal = Case::new("Einsum").trained(random.any(&[2, 2]));
    let places = || Tensor::i64s(&[0]);
    let product = Case::new("ScatterElements").trained(random.any(&[2]));
    let product = product.given(places()).trained(random.any(&[1]));
    let transposed = |random: &mut Random| {
        let case = image(random, "ConvTranspose").trained(random.any(&[2, 1, 1, 1]));
        case.sizes("strides", &[2, 2])
    };
    let double = image(random, "Cast").with("to", 11);
    for (case, reason) in [
        (running, "a momentum other than 0"),
        (read, "depends on its statistics"),
        (pool, "count_include_pad"),
        (skipping, "a stride beyond the kernel"),
        (cropped_pool, "a stride beyond the kernel"),
        (cropped_conv, "a stride beyond the kernel"),
        (columns, "storage_order"),
        (bounds, "trained bounds"),
        (exponent, "a trained exponent"),
        (value, "a trained padding value"),
        (negative, "negative pads in mode `reflect`"),
        (nothing.with("noop_with_empty_axes", 1), "no axes"),
        (mean, "its mean or deviation"),
        (
            image(random, "LeakyRelu").with("alpha", -1f32),
            "alpha is -1",
        ),
        (image(random, "Elu").with("alpha", -1f32), "alpha is -1"),
        (image(random, "Celu").with("alpha", -1f32), "alpha is -1"),
        (image(random, "Selu").with("gamma", -1f32), "gamma is -1"),
        (
            policy.with("keep_aspect_ratio_policy", "not_larger"),
            "keep_aspect_ratio_policy",
        ),
        (kept.with("mode", "linear"), "leaves a size"),
        (region, "its rule gives no gradient for input 1"),
        (diagonal.with("equation", "ii->i"), "named twice"),
        (product.with("reduction", "mul"), "reduction = mul"),
        (
            transposed(random).sizes("output_padding", &[2, 0]),
            "output_padding",
        ),
        (
            transposed(random).with("auto_pad", "SAME_UPPER"),
            "beyond what its kernel reaches",
        ),
        (
            image(random, "Round"),
            "no gradient rule for operator Round",
        ),
    ] {
        match case.refusal() {
            Ok(message) => assert!(
                message.contains(reason) && message.contains("`node`") && message.contains("x0"),
                "{case}: {message}"
            ),
            Err(problem) => panic!("{case}: {problem}"),
        }
    }
    // A cast alone passes; what would compute on its result does not.
    assert!(double.refusal().is_err());
}

#[test]
fn hostile_attributes_and_constants_are_differentiated_or_refused_and_never_panic() {
    let extremes = [
        i64::MIN,
        -3,
        -1,
        0,
        1,
        2,
        7,
        1 << 31,
        1 << 40,
        1 << 62,
        i64::MAX,
    ];
    let random = &mut Random::new(5);
    let (mut refused, mut passed) = (0, 0);
    for _ in 0..8 {
        for family in super::FAMILIES {
            for case in family(&mut Random::new(7)) {
                let by = extremes[random.size(0, extremes.len() - 1)];
                let case = case.mutated(random, by);
                match case.refusal() {
                    Ok(_) => refused += 1,
                    Err(_) => passed += 1,
                }
            }
        }
    }
    assert!(
        refused > 100 && passed > 100,
        "{refused} refused, {passed} passed"
    );
}

#[test]
fn empty_values_are_differentiated_or_refused_and_never_panic() {
    let random = &mut Random::new(6);
    let (mut refused, mut passed, mut panics) = (0, 0, Vec::new());
    for _ in 0..8 {
        for family in super::FAMILIES {
            for case in family(&mut Random::new(7)) {
                let mut case = case.emptied(random);
                if random.flip() {
                    case = case.mutated(random, -1);
                }
                match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| case.refusal())) {
                    Ok(Ok(_)) => refused += 1,
                    Ok(Err(_)) => passed += 1,
                    Err(_) => panics.push(case.to_string()),
                }
            }
        }
    }
    assert!(panics.is_empty(), "{panics:#?}");
    assert!(
        refused > 100 && passed > 100,
        "{refused} refused, {passed} passed"
    );
}

#[test]
fn slices_of_nothing_have_a_gradient_in_either_direction() {
    let Some(runtime) = runtime() else { return };
    let random = &mut Random::new(3);
    for dims in [&[2, 0][..], &[0], &[3, 0, 2]] {
        let axis = dims.iter().position(|&d| d == 0).unwrap() as i64;
        for (start, end, step) in [(-1, i64::MIN, -1), (0, i64::MAX, 1), (5, 0, -2), (1, 7, 3)] {
            let case = Case::new("Slice").trained(random.any(dims));
            let case = case.ints(&[start]).ints(&[end]).ints(&[axis]).ints(&[step]);
            case.check(&runtime).unwrap();
        }
    }
    // And one of something that takes nothing of it.
    let case = Case::new("Slice").trained(random.any(&[2, 4]));
    let case = case.ints(&[0]).ints(&[0]).ints(&[1]);
    case.check(&runtime).unwrap();
}
