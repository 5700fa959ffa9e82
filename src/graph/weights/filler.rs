//! Constants that exporters put where a normalisation has no parameter.

use crate::graph::Node;
use crate::graph::operators::Class;

use super::Constant;

/// Whether `constant`, which `node` reads at `place`, stands for a scale or shift that the module does not
/// have: ones or zeros in a `Constant` node or under a name that an exporter made up.
///
/// PyTorch writes a normalisation without parameters (`InstanceNorm2d`, `LayerNorm(…,
/// elementwise_affine=False)`), the one inside of a `GroupNorm`, and that of standardised filters with such
/// constants, since ONNX asks for them. A module's own ones, as a fresh `BatchNorm2d` has, bear its name.
pub(super) fn is_filler(node: &Node, place: usize, name: &str, constant: &Constant) -> bool {
    let value = match place {
        1 => 1.0,
        2 => 0.0,
        _ => return false,
    };
    let tensor = match constant {
        Constant::Tensor(tensor) if is_made_up(name) => tensor,
        Constant::Node(tensor) => tensor,
        _ => return false,
    };
    node.is_a(Class::Norm)
        && tensor
            .to_f32()
            .is_some_and(|all| all.iter().all(|&v| v == value))
}

/// Whether an exporter names its own constants so: `onnx::InstanceNormalization_27`, `val_12`,
/// `/norm/Constant_1_output_0`.
fn is_made_up(name: &str) -> bool {
    let numbered = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let last = name.rsplit('/').next().unwrap_or(name);
    name.starts_with("onnx::")
        || name.strip_prefix("val_").is_some_and(numbered)
        || last.starts_with("Constant_") && last.contains("output_")
}
