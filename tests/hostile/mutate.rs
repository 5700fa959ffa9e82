//! Seeded mutations of bytes and of messages.

mod messages;

use ftsurgery::onnx::messages::{AttributeProto, DimensionValue, ModelProto, NodeProto, TypeValue};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

pub use messages::mutate_message;

/// A seeded source of small choices.
struct Dice(ChaCha8Rng);

impl Dice {
    fn new(number: u64) -> Self {
        Dice(ChaCha8Rng::seed_from_u64(number))
    }

    /// A number below `end`; 0 if that is 0.
    fn below(&mut self, end: usize) -> usize {
        (self.0.next_u64() % end.max(1) as u64) as usize
    }

    fn of<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }

    fn of_mut<'a, T>(&mut self, choices: &'a mut [T]) -> Option<&'a mut T> {
        let index = self.below(choices.len());
        choices.get_mut(index)
    }
}

/// One to three changes: bytes flipped or replaced, ranges cut, doubled or moved, the end cut off,
/// lengths and varints changed.
pub fn mutate_bytes(bytes: &[u8], number: u64) -> Vec<u8> {
    let mut dice = Dice::new(number);
    let mut bytes = bytes.to_vec();
    for _ in 0..=dice.below(3) {
        if bytes.is_empty() {
            break;
        }
        let start = dice.below(bytes.len());
        let end = (start + 1 + dice.below(40)).min(bytes.len());
        let at = start.min(bytes.len() - 1);
        match dice.below(8) {
            0 => bytes[at] ^= 1 << dice.below(8),
            1 => bytes[at] = dice.below(256) as u8,
            2 => bytes.truncate(start.max(1)),
            3 => drop(bytes.drain(start..end)),
            4 => {
                let copy = bytes[start..end].to_vec();
                bytes.splice(start..start, copy);
            }
            5 => {
                // A varint of the greatest length.
                bytes.splice(start..end.min(start + 1), [0xff; 9].into_iter().chain([1]));
            }
            6 => bytes[at] |= 0x80,
            _ => bytes[at] = bytes[at].wrapping_add(1),
        }
    }
    bytes
}

/// Changes that pass the first checks and reach what computes: windows far beyond their map, sizes of 0,
/// weights that are no numbers.
pub fn mutate_numbers(proto: &ModelProto, number: u64) -> Option<Vec<u8>> {
    const SIZES: [i64; 8] = [0, 1, 2, 5, 20, 60, 300, 1 << 20];
    let mut dice = Dice::new(number);
    let mut proto = proto.clone();
    let graph = proto.graph.as_mut()?;
    let is_window = |node: &NodeProto| {
        let name = node.op_type.as_deref();
        matches!(name, Some("Conv" | "MaxPool" | "AveragePool"))
    };
    let mut windows: Vec<_> = graph.node.iter_mut().filter(|n| is_window(n)).collect();
    if let Some(node) = dice.of_mut(&mut windows) {
        let size = *dice.of(&SIZES);
        for (name, count) in [
            ("dilations", 2),
            ("pads", 4),
            ("strides", 2),
            ("kernel_shape", 2),
        ] {
            let weighted = node.op_type.as_deref() == Some("Conv") && name == "kernel_shape";
            if dice.below(2) == 0 || weighted {
                continue;
            }
            node.attribute.retain(|a| a.name.as_deref() != Some(name));
            node.attribute.push(AttributeProto {
                name: Some(name.to_owned()),
                r#type: Some(7),
                ints: vec![size; count],
                ..AttributeProto::default()
            });
        }
    }
    let floats = graph
        .initializer
        .iter_mut()
        .filter(|t| t.data_type == Some(1));
    let mut floats: Vec<_> = floats.collect();
    match (dice.below(4), dice.of_mut(&mut floats)) {
        (0, Some(tensor)) => {
            let mut data = tensor.raw_data.take()?.to_vec();
            let (numbers, _) = data.as_chunks_mut::<4>();
            if let Some(number) = dice.of_mut(numbers) {
                *number = dice.of(&messages::FLOATS).to_le_bytes();
            }
            tensor.raw_data = Some(data.into());
        }
        (1, _) => {
            let axis = 1 + dice.below(3);
            let input = graph.input.first_mut()?.r#type.as_mut()?.value.as_mut()?;
            if let TypeValue::Tensor(tensor) = input
                && let Some(dim) = tensor.shape.as_mut().and_then(|s| s.dim.get_mut(axis))
            {
                dim.value = Some(DimensionValue::DimValue(0));
            }
        }
        _ => {}
    }
    ftsurgery::onnx::encode(&proto).ok()
}
