use super::case::Case;
use super::random::Random;
use crate::onnx::Tensor;

pub fn cases(random: &mut Random) -> Vec<Case> {
    let mut cases = Vec::new();
    for dims in [&[9][..], &[2, 3, 4], &[2, 2, 3, 3]] {
        let at = |random: &mut Random, op: &str, kinks: &[f32]| {
            Case::new(op).trained(random.avoiding(dims, kinks))
        };
        for op in [
            "Sigmoid",
            "Tanh",
            "Softplus",
            "Gelu",
            "Mish",
            "Relu",
            "LeakyRelu",
            "Elu",
            "Softsign",
            "Selu",
            "Celu",
        ] {
            cases.push(at(random, op, &[0.0]));
        }
        cases.push(at(random, "Gelu", &[]).with("approximate", "tanh"));
        cases.push(at(random, "LeakyRelu", &[0.0]).with("alpha", 0.3f32));
        cases.push(at(random, "LeakyRelu", &[0.0]).with("alpha", 0f32));
        cases.push(at(random, "Elu", &[0.0]).with("alpha", 0.4f32));
        cases.push(at(random, "Elu", &[0.0]).with("alpha", 0f32));
        cases.push(at(random, "Celu", &[0.0]).with("alpha", 0.6f32));
        let selu = at(random, "Selu", &[0.0]).with("alpha", 1.2f32);
        cases.push(selu.with("gamma", 0.8f32));
        cases.push(at(random, "ThresholdedRelu", &[1.0]));
        cases.push(at(random, "ThresholdedRelu", &[-0.5]).with("alpha", -0.5f32));
        cases.push(at(random, "HardSigmoid", &[-2.5, 2.5]));
        let hard = at(random, "HardSigmoid", &[-1.0, 1.5]).with("alpha", 0.4f32);
        cases.push(hard.with("beta", 0.4f32));
        cases.push(at(random, "HardSwish", &[-3.0, 3.0]));
        let (low, high) = (Tensor::scalar_f32(-1.0), Tensor::scalar_f32(2.0));
        let clip = |random: &mut Random| at(random, "Clip", &[-1.0, 2.0]);
        cases.push(clip(random).constant(low.clone()).constant(high.clone()));
        cases.push(clip(random).constant(low));
        cases.push(clip(random).absent().constant(high));
        cases.push(clip(random));
        for slope in [dims.to_vec(), vec![1], dims[dims.len() - 1..].to_vec()] {
            let case = at(random, "PRelu", &[0.0]);
            cases.push(case.trained(random.any(&slope)));
        }
    }
    let case = Case::new("PRelu").trained(random.avoiding(&[2, 3, 2, 2], &[0.0]));
    cases.push(case.trained(random.any(&[3, 1, 1])));
    for op in ["Softmax", "LogSoftmax"] {
        for (dims, axis) in [
            (&[5][..], 0),
            (&[3, 4], 1),
            (&[3, 4], 0),
            (&[2, 3, 2], 1),
            (&[2, 3, 2, 2], -3),
            (&[2, 3, 2, 2], -1),
            (&[2, 1, 3], 1),
        ] {
            cases.push(Case::new(op).trained(random.any(dims)).with("axis", axis));
        }
        cases.push(Case::new(op).trained(random.any(&[3, 2, 4])));
    }
    cases
}
