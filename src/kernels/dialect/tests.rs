//! What is written is read.

use std::collections::HashMap;

use super::*;
use crate::kernels::Activation;

impl Attributes for HashMap<&'static str, Value> {
    fn int(&self, name: &str) -> Option<i64> {
        match self.get(name)? {
            Value::Int(v) => Some(*v),
            _ => None,
        }
    }

    fn float(&self, name: &str) -> Option<f32> {
        match self.get(name)? {
            Value::Float(v) => Some(*v),
            _ => None,
        }
    }

    fn ints(&self, name: &str) -> Option<Vec<i64>> {
        match self.get(name)? {
            Value::Ints(v) => Some(v.clone()),
            _ => None,
        }
    }
}

fn kernels() -> Vec<Kernel> {
    let window = Window {
        strides: [1, 2],
        pads: [0, 3],
        dilations: [4, 1],
        extent: [5, 6],
    };
    let conv = ConvWindow { window, group: 7 };
    let pool = PoolWindow {
        window,
        kernel: [2, 3],
    };
    let clip = Activation::between(-1.0, 6.0);
    let forward = |activation, coarse| Kernel::Conv {
        window: conv,
        activation,
        coarse,
    };
    vec![
        forward(Activation::None, false),
        forward(Activation::Relu, true),
        Kernel::ConvInputGradient {
            window: conv,
            activation: clip,
        },
        Kernel::ConvWeightGradient(conv),
        Kernel::ActivationGradient(Activation::Relu),
        Kernel::Gemm { transposed: true },
        Kernel::GemmWeightGradient { rows: 8 },
        Kernel::HardSwish,
        Kernel::HardSwishGradient,
        Kernel::RowScaleGradient,
        Kernel::MaxPool(pool),
        Kernel::MaxPoolGradient(pool),
    ]
}

#[test]
fn what_is_written_is_read_again_for_every_operator() {
    for kernel in kernels() {
        let attributes: HashMap<_, _> = kernel.attributes().into_iter().collect();
        assert_eq!(Kernel::read(kernel.operator(), &attributes), Ok(kernel));
    }
    for operator in Operator::ALL {
        assert!(kernels().iter().any(|k| k.operator() == operator));
        assert_eq!(Operator::named(operator.name()), Some(operator));
    }
}

#[test]
fn what_lacks_an_attribute_or_has_a_wrong_one_is_refused_by_its_name() {
    for kernel in kernels() {
        let optional = ["low", "high", "coarse", "transB"];
        for (name, _) in kernel.attributes() {
            let mut attributes: HashMap<_, _> = kernel.attributes().into_iter().collect();
            attributes.insert(name, Value::Ints(vec![-1, 1]));
            let read = Kernel::read(kernel.operator(), &attributes);
            assert_eq!(read.is_err(), !optional.contains(&name), "{name}");
            attributes.remove(name);
            if let Err(error) = Kernel::read(kernel.operator(), &attributes) {
                assert!(error.to_string().contains(name), "{error}");
            }
        }
    }
}
