//! Resizing by interpolation.

use crate::onnx::Tensor;

use super::super::context::{Context, Contributions, Refusal};
use super::Rule;

/// Elements beyond which the matrix of one axis is refused: it is made here.
const MAX_MATRIX: usize = 1 << 26;

pub(super) const RULES: &[Rule] = &[Rule {
    op_type: "Resize",
    since: 10,
    limits: "computed scales or sizes; antialias = 1; tf_crop_and_resize; \
             an axis whose sizes multiply to more than 2²⁶",
    backward: resize,
}];

/// Resize: along each axis, Y is a constant matrix M [out, in] times X; dX is Mᵀ times dY along each
/// axis.
/// Source: <https://onnx.ai/onnx/operators/onnx__Resize.html>.
fn resize(c: &mut Context) -> Contributions {
    let (x_dims, y_dims) = (c.input_dims(0)?, c.output_dims()?);
    let rank = x_dims.len();
    if c.node.int("antialias", 0)? != 0 {
        return c.refuse("antialias = 1");
    }
    if x_dims.contains(&0) || y_dims.contains(&0) {
        return c.refuse("an empty input or output");
    }
    if x_dims == y_dims {
        // Whatever the scales, the runtime copies.
        return Ok(vec![Some(c.gradient()?)]);
    }
    let axes = match c.node.ints("axes")? {
        Some(axes) => axes
            .iter()
            .map(|&a| c.axis(a, rank))
            .collect::<Result<Vec<_>, _>>()?,
        None => (0..rank).collect(),
    };
    let scales = scales(c, &axes, &x_dims)?;
    let kernel = Kernel::of(c)?;
    let mut gradient = c.gradient()?;
    let mut dims = y_dims.clone();
    for (&axis, scale) in axes.iter().zip(scales) {
        let (size, count) = (x_dims[axis], y_dims[axis]);
        if scale == 1.0 && size == count {
            continue;
        }
        if size.checked_mul(count).is_none_or(|n| n > MAX_MATRIX) {
            return c.refuse(format!("resizing {size} to {count}"));
        }
        let matrix = kernel.matrix(size, count, scale);
        let (outer, inner): (usize, usize) = (
            dims[..axis].iter().product(),
            dims[axis + 1..].iter().product(),
        );
        gradient = if inner == 1 {
            let rows = c.reshape(&gradient, &[outer, count]);
            let matrix = c.constant(Tensor::f32(&[count, size], &matrix));
            c.call("MatMul", &[&rows, &matrix])
        } else {
            let columns = c.reshape(&gradient, &[outer, count, inner]);
            let turned: Vec<f32> = (0..size)
                .flat_map(|i| (0..count).map(move |o| (o, i)))
                .map(|(o, i)| matrix[o * size + i])
                .collect();
            let turned = c.constant(Tensor::f32(&[size, count], &turned));
            c.call("MatMul", &[&turned, &columns])
        };
        dims[axis] = size;
    }
    Ok(vec![Some(c.reshape(&gradient, &x_dims))])
}

/// The scale of each of `axes`, as the runtime takes it: given, or from the sizes.
fn scales(c: &Context, axes: &[usize], x_dims: &[usize]) -> Result<Vec<f32>, Refusal> {
    let given = c.constant_input(2)?.and_then(|t| t.to_f32());
    if let Some(scales) = given.filter(|s| !s.is_empty()) {
        if scales.len() != axes.len() {
            return Err(c.node.error("scales do not fit the axes").into());
        }
        return Ok(scales);
    }
    let Some(sizes) = c.int_input(3)?.filter(|s| s.len() == axes.len()) else {
        return Err(c.node.error("neither scales nor sizes fit the axes").into());
    };
    let ratios = axes
        .iter()
        .zip(&sizes)
        .map(|(&a, &s)| s as f32 / x_dims[a] as f32);
    let common = match c.node.string("keep_aspect_ratio_policy", "stretch")? {
        "stretch" => return Ok(ratios.collect()),
        "not_larger" => ratios.fold(f32::INFINITY, f32::min),
        "not_smaller" => ratios.fold(0.0, f32::max),
        other => return c.refuse(format!("keep_aspect_ratio_policy = {other}")),
    };
    Ok(vec![common; axes.len()])
}

/// How an output element is made of input elements along one axis.
struct Kernel {
    position: Position,
    mode: Mode,
}

#[derive(Clone, Copy)]
enum Position {
    HalfPixel,
    HalfPixelSymmetric,
    PytorchHalfPixel,
    AlignCorners,
    Asymmetric,
}

#[derive(Clone, Copy)]
enum Mode {
    Nearest(fn(f32) -> f32),
    Linear,
    Cubic { coefficient: f32, inside: bool },
}

impl Kernel {
    fn of(c: &Context) -> Result<Self, Refusal> {
        let position = match c
            .node
            .string("coordinate_transformation_mode", "half_pixel")?
        {
            "half_pixel" => Position::HalfPixel,
            "half_pixel_symmetric" => Position::HalfPixelSymmetric,
            "pytorch_half_pixel" => Position::PytorchHalfPixel,
            "align_corners" => Position::AlignCorners,
            "asymmetric" => Position::Asymmetric,
            other => return c.refuse(format!("coordinate_transformation_mode = {other}")),
        };
        let mode = match c.node.string("mode", "nearest")? {
            "nearest" => {
                Mode::Nearest(match c.node.string("nearest_mode", "round_prefer_floor")? {
                    "round_prefer_floor" => |x| (x - 0.5).ceil(),
                    "round_prefer_ceil" => f32::round,
                    "floor" => f32::floor,
                    "ceil" => f32::ceil,
                    other => return c.refuse(format!("nearest_mode = {other}")),
                })
            }
            "linear" => Mode::Linear,
            "cubic" => Mode::Cubic {
                coefficient: c.node.float("cubic_coeff_a", -0.75)?,
                inside: c.node.int("exclude_outside", 0)? != 0,
            },
            other => return c.refuse(format!("mode = {other}")),
        };
        Ok(Kernel { position, mode })
    }

    /// M [count, size]: the weight of each of `size` input elements in each of `count` outputs.
    fn matrix(&self, size: usize, count: usize, scale: f32) -> Vec<f32> {
        let mut matrix = vec![0.0; count * size];
        for (row, output) in matrix.chunks_exact_mut(size).zip(0..) {
            let at = match scale {
                1.0 => output as f32,
                _ => self.position(output as f32, scale, size as f32, count as f32),
            };
            self.spread(at, row);
        }
        matrix
    }

    /// Where output element `output` lies among the inputs, in the runtime's single precision.
    fn position(&self, output: f32, scale: f32, size: f32, count: f32) -> f32 {
        let centre = (output + 0.5) / scale;
        match self.position {
            Position::HalfPixel => centre - 0.5,
            Position::HalfPixelSymmetric => {
                let share = count / (scale * size);
                size / 2.0 * (1.0 - share) + centre - 0.5
            }
            Position::PytorchHalfPixel if count > 1.0 => centre - 0.5,
            Position::PytorchHalfPixel => 0.0,
            Position::AlignCorners if count > 1.0 => output * (size - 1.0) / (count - 1.0),
            Position::AlignCorners => 0.0,
            Position::Asymmetric => output / scale,
        }
    }

    /// Adds the weights of the inputs around `at` to `row`. Beyond the border its element repeats.
    fn spread(&self, at: f32, row: &mut [f32]) {
        let last = row.len() - 1;
        let clamp = |i: f32| i.clamp(0.0, last as f32) as usize;
        match self.mode {
            Mode::Nearest(round) => row[clamp(round(at))] += 1.0,
            Mode::Linear => {
                let at = at.clamp(0.0, last as f32);
                let (below, part) = (at.floor(), at - at.floor());
                row[clamp(below)] += 1.0 - part;
                row[clamp(below + 1.0)] += part;
            }
            Mode::Cubic {
                coefficient,
                inside,
            } => {
                let below = at.floor();
                let mut weights = cubic(at - below, coefficient);
                let places = [-1.0, 0.0, 1.0, 2.0].map(|offset| below + offset);
                if inside {
                    for (weight, place) in weights.iter_mut().zip(places) {
                        if place < 0.0 || place > last as f32 {
                            *weight = 0.0;
                        }
                    }
                    let sum: f32 = weights.iter().sum();
                    weights = weights.map(|w| w / sum);
                }
                for (weight, place) in weights.into_iter().zip(places) {
                    row[clamp(place)] += weight;
                }
            }
        }
    }
}

/// Weights of the four neighbours of a position `t` past the second, Keys' kernel with coefficient
/// `a`.
fn cubic(t: f32, a: f32) -> [f32; 4] {
    let near = |t: f32| ((a + 2.0) * t - (a + 3.0)) * t * t + 1.0;
    let far = |t: f32| ((a * t - 5.0 * a) * t + 8.0 * a) * t - 4.0 * a;
    [far(t + 1.0), near(t), near(1.0 - t), far(2.0 - t)]
}
