//! Windows of convolutions and pools.

use ftsurgery::graph::Attribute;

use super::dice::Dice;

/// Taps, strides, dilations and pads over height and width, with the size that comes out.
pub struct Window {
    pub kernel: [usize; 2],
    pub output: [usize; 2],
    pub attributes: Vec<(&'static str, Attribute)>,
}

/// What a window may have.
#[derive(Clone, Copy)]
pub struct Kind {
    pub dilated: bool,
    /// Pads may be as large as the kernel, or larger.
    pub pads_beyond: bool,
    /// SAME_… may be dilated, too: onnxruntime refuses it for convolutions.
    pub same_dilated: bool,
    pub ceil: bool,
}

fn ints(of: &[usize]) -> Attribute {
    of.iter().map(|&v| v as i64).collect::<Vec<i64>>().into()
}

impl Window {
    /// A window over a map of `size`; `None` where the one drawn has nothing to stand on.
    pub fn draw(dice: &mut Dice, size: [usize; 2], kind: Kind) -> Option<Self> {
        let two = |dice: &mut Dice, of: &mut dyn FnMut(&mut Dice) -> usize| {
            let first = of(dice);
            [first, if dice.chance(70) { first } else { of(dice) }]
        };
        let kernel = two(dice, &mut |d| d.pick(&[1, 2, 3, 3, 3, 4, 5]));
        let strides = two(dice, &mut |d| match d.size(0, 9) {
            0..=5 => 1,
            6..=8 => 2,
            // Also beyond the kernel.
            _ => d.size(1, kernel[0] + 3),
        });
        let dilated = kind.dilated && dice.chance(25);
        let dilations = match dilated {
            true => two(dice, &mut |d| d.size(1, 3)),
            false => [1, 1],
        };
        let reach = [0, 1].map(|i| (kernel[i] - 1) * dilations[i] + 1);
        let mut attributes = vec![("kernel_shape", ints(&kernel)), ("strides", ints(&strides))];
        if dilated {
            attributes.push(("dilations", ints(&dilations)));
        }
        let mut pads = [0; 4];
        let most = |i: usize| match kind.pads_beyond {
            true => reach[i] + 1,
            false => kernel[i] - 1,
        };
        let auto = match dice.size(0, 9) {
            0..=1 => None,
            2..=4 => {
                pads = [reach[0] / 2, reach[1] / 2, reach[0] / 2, reach[1] / 2];
                pads = [0, 1, 2, 3].map(|i| pads[i].min(most(i % 2)));
                None
            }
            5..=6 => {
                pads = [0, 1, 2, 3].map(|i| dice.size(0, most(i % 2)));
                None
            }
            7 => Some("VALID"),
            _ if dilated && !kind.same_dilated => Some("VALID"),
            8 => Some("SAME_UPPER"),
            _ => Some("SAME_LOWER"),
        };
        let ceil = kind.ceil && auto.is_none() && dice.chance(25);
        if ceil {
            attributes.push(("ceil_mode", 1.into()));
        }
        match auto {
            Some(auto) => attributes.push(("auto_pad", auto.into())),
            None if pads == [0; 4] => {}
            None => attributes.push(("pads", ints(&pads))),
        }
        let same = matches!(auto, Some("SAME_UPPER" | "SAME_LOWER"));
        let along = |i: usize| {
            if same {
                return Some(size[i].div_ceil(strides[i]));
            }
            let slack = (size[i] + pads[i] + pads[i + 2]).checked_sub(reach[i])?;
            if !ceil {
                return Some(slack / strides[i] + 1);
            }
            let last = slack.div_ceil(strides[i]);
            // A window that would begin in the padding at the end is left out.
            Some(if last * strides[i] >= size[i] + pads[i] {
                last
            } else {
                last + 1
            })
        };
        Some(Window {
            kernel,
            output: [along(0)?, along(1)?],
            attributes,
        })
    }
}
