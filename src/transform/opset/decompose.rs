//! Operators written in those of the versions before they came.
//!
//! Source: the functions at <https://onnx.ai/onnx/operators/>.

use crate::graph::Attribute;
use crate::onnx::messages::NodeProto;

use super::super::known::{Known, float, int, string};
use super::up::Adapter;
use super::writer::{Adapted, Refusal, Writer, become_, cannot, made, makes, reads};

/// How an operator is written in others; `None` where there are none for it here.
pub(super) fn adapter(operator: &str) -> Option<Adapter> {
    Some(match operator {
        "CastLike" => cast_like,
        "Celu" => celu,
        "Gelu" => gelu,
        "GreaterOrEqual" => |node, w| or_equal(node, w, "Greater"),
        "GroupNormalization" => group_norm,
        "HardSwish" => hard_swish,
        "LayerNormalization" => layer_norm,
        "LessOrEqual" => |node, w| or_equal(node, w, "Less"),
        "Mish" => mish,
        "RMSNormalization" => rms_norm,
        "Resize" => super::resize::upsample,
        "ScatterElements" => |node, _| {
            node.op_type = Some("Scatter".to_owned());
            Ok(())
        },
        "Swish" => swish,
        _ => return None,
    })
}

/// Writes nodes ahead of one, on values of its type.
struct Formula<'a, 'w> {
    of: NodeProto,
    w: &'a mut Writer<'w>,
    known: Known,
}

impl<'a, 'w> Formula<'a, 'w> {
    fn of(node: &NodeProto, w: &'a mut Writer<'w>) -> Result<Self, Refusal> {
        let element = w.element(node, 0)?;
        let known = Known {
            element,
            ..w.known(node, 0)
        };
        Ok(Formula {
            of: node.clone(),
            w,
            known,
        })
    }

    fn op(&mut self, hint: &str, operator: &str, inputs: &[&str]) -> String {
        self.with(hint, operator, inputs, vec![])
    }

    fn with(
        &mut self,
        hint: &str,
        operator: &str,
        inputs: &[&str],
        attributes: Vec<(&str, Attribute)>,
    ) -> String {
        self.w.op(
            &self.of,
            (hint, operator),
            inputs,
            attributes,
            self.known.clone(),
        )
    }

    fn number(&mut self, hint: &str, value: f32) -> Result<String, Refusal> {
        self.w.float(&self.of, hint, self.known.element, value)
    }

    /// The value in another type, from here on.
    fn cast(&mut self, hint: &str, value: &str, element: i32) -> String {
        self.known.element = element;
        self.with(
            hint,
            "Cast",
            &[value],
            vec![("to", i64::from(element).into())],
        )
    }
}

fn input(node: &NodeProto, index: usize) -> Result<String, Refusal> {
    match reads(node, index) {
        true => Ok(node.input[index].clone()),
        false => cannot(format!("input {index} is missing")),
    }
}

fn cast_like(node: &mut NodeProto, w: &mut Writer<'_>) -> Adapted {
    let (x, to) = (input(node, 0)?, w.element(node, 1)?);
    w.drop_input(node, 1);
    let saturate: Vec<(&str, Attribute)> = match int(node, "saturate", 1) {
        1 => vec![],
        other => vec![("saturate", other.into())],
    };
    become_(node, "Cast", &[&x], vec![("to", i64::from(to).into())]);
    for (name, value) in saturate {
        super::super::known::set(node, name, value);
    }
    Ok(())
}

/// α ELU(X / α), of a float.
fn celu(node: &mut NodeProto, w: &mut Writer<'_>) -> Adapted {
    let (x, alpha) = (input(node, 0)?, float(node, "alpha", 1.0));
    let mut f = Formula::of(node, w)?;
    let alpha = f.number("alpha", alpha)?;
    let scaled = f.op("scaled", "Div", &[&x, &alpha]);
    let elu = f.op("elu", "Elu", &[&scaled]);
    become_(node, "Mul", &[&elu, &alpha], vec![]);
    Ok(())
}

/// X Φ(X): with the error function, or by tanh.
fn gelu(node: &mut NodeProto, w: &mut Writer<'_>) -> Adapted {
    let (x, form) = (input(node, 0)?, string(node, "approximate", "none"));
    let mut f = Formula::of(node, w)?;
    let bent = match form.as_str() {
        "none" => {
            let factor = f.number("factor", std::f32::consts::FRAC_1_SQRT_2)?;
            let scaled = f.op("scaled", "Mul", &[&x, &factor]);
            f.op("erf", "Erf", &[&scaled])
        }
        "tanh" => {
            let (cubic, factor) = (
                f.number("cubic", 0.044_715)?,
                f.number("factor", 0.797_884_6)?,
            );
            let square = f.op("square", "Mul", &[&x, &x]);
            let cube = f.op("cube", "Mul", &[&square, &x]);
            let part = f.op("part", "Mul", &[&cube, &cubic]);
            let sum = f.op("inner", "Add", &[&x, &part]);
            let scaled = f.op("scaled", "Mul", &[&sum, &factor]);
            f.op("tanh", "Tanh", &[&scaled])
        }
        other => return cannot(format!("approximate=`{other}` is not known")),
    };
    let (one, half) = (f.number("one", 1.0)?, f.number("half", 0.5)?);
    let raised = f.op("raised", "Add", &[&bent, &one]);
    let halved = f.op("halved", "Mul", &[&x, &half]);
    become_(node, "Mul", &[&halved, &raised], vec![]);
    Ok(())
}

fn or_equal(node: &mut NodeProto, w: &mut Writer<'_>, operator: &str) -> Adapted {
    let (a, b) = (input(node, 0)?, input(node, 1)?);
    let of = node.clone();
    let truth = Known::tensor(9);
    let one = w.op(&of, ("apart", operator), &[&a, &b], vec![], truth.clone());
    let other = w.op(&of, ("equal", "Equal"), &[&a, &b], vec![], truth);
    become_(node, "Or", &[&one, &other], vec![]);
    Ok(())
}

/// X HardSigmoid(X; 1/6, 1/2).
fn hard_swish(node: &mut NodeProto, w: &mut Writer<'_>) -> Adapted {
    let x = input(node, 0)?;
    let mut f = Formula::of(node, w)?;
    let form: Vec<(&str, Attribute)> =
        vec![("alpha", (1.0f32 / 6.0).into()), ("beta", 0.5f32.into())];
    let gate = f.with("gate", "HardSigmoid", &[&x], form);
    become_(node, "Mul", &[&x, &gate], vec![]);
    Ok(())
}

/// X tanh(softplus(X)).
fn mish(node: &mut NodeProto, w: &mut Writer<'_>) -> Adapted {
    let x = input(node, 0)?;
    let mut f = Formula::of(node, w)?;
    let soft = f.op("softplus", "Softplus", &[&x]);
    let gate = f.op("tanh", "Tanh", &[&soft]);
    become_(node, "Mul", &[&x, &gate], vec![]);
    Ok(())
}

/// X σ(α X).
fn swish(node: &mut NodeProto, w: &mut Writer<'_>) -> Adapted {
    let (x, alpha) = (input(node, 0)?, float(node, "alpha", 1.0));
    let mut f = Formula::of(node, w)?;
    let mut scaled = x.clone();
    if alpha != 1.0 {
        let alpha = f.number("alpha", alpha)?;
        scaled = f.op("scaled", "Mul", &[&x, &alpha]);
    }
    let gate = f.op("gate", "Sigmoid", &[&scaled]);
    become_(node, "Mul", &[&x, &gate], vec![]);
    Ok(())
}

/// The axes from `axis` on, counted from the last.
fn axes_from(axis: i64, f: &Formula<'_, '_>) -> Result<Vec<i64>, Refusal> {
    let first = match axis < 0 {
        true => axis,
        false => axis - f.w.rank(&f.of, 0)?,
    };
    match (-64..0).contains(&first) {
        true => Ok((first..0).collect()),
        false => cannot(format!("it has no axis {axis}")),
    }
}

/// What layer and RMS normalisation begin and end with.
struct Normalising<'a, 'w> {
    f: Formula<'a, 'w>,
    /// X in the type that `stash_type` says, in which all is computed; doubles stay doubles, as in onnxruntime.
    data: String,
    /// Those from `axis` on, counted from the back.
    axes: Vec<i64>,
    /// ε in that type.
    epsilon: String,
    /// The type of X.
    element: i32,
}

impl<'a, 'w> Normalising<'a, 'w> {
    fn of(node: &NodeProto, w: &'a mut Writer<'w>) -> Result<Self, Refusal> {
        let mut data = input(node, 0)?;
        let stash = i32::try_from(int(node, "stash_type", 1)).unwrap_or(1);
        let mut f = Formula::of(node, w)?;
        let axes = axes_from(int(node, "axis", -1), &f)?;
        let element = f.known.element;
        if element != stash && element != 11 {
            data = f.cast("wide", &data, stash);
        }
        let epsilon = f.number("epsilon", float(node, "epsilon", 1e-5))?;
        Ok(Normalising {
            f,
            data,
            axes,
            epsilon,
            element,
        })
    }

    /// √(x + ε).
    fn root(&mut self, hint: &str, x: &str) -> String {
        let raised = self.f.op("raised", "Add", &[x, &self.epsilon]);
        self.f.op(hint, "Sqrt", &[&raised])
    }

    /// In the type of X again.
    fn narrow(&mut self, normal: String) -> String {
        match self.f.known.element == self.element {
            true => normal,
            false => self.f.cast("narrow", &normal, self.element),
        }
    }
}

/// (X − E\[X\]) / √(Var\[X\] + ε) γ + β over the axes from `axis` on, in the type that `stash_type` says.
fn layer_norm(node: &mut NodeProto, w: &mut Writer<'_>) -> Adapted {
    let gamma = input(node, 1)?;
    let beta = reads(node, 2).then(|| node.input[2].clone());
    let mut n = Normalising::of(node, w)?;
    let over = |n: &Normalising<'_, '_>| -> Vec<(&str, Attribute)> {
        vec![("axes", n.axes.clone().into())]
    };
    let axes = over(&n);
    let mean = n.f.with("mean", "ReduceMean", &[&n.data], axes);
    let off = n.f.op("centred", "Sub", &[&n.data, &mean]);
    let square = n.f.op("square", "Mul", &[&off, &off]);
    let axes = over(&n);
    let variance = n.f.with("variance", "ReduceMean", &[&square], axes);
    let deviation = n.root("deviation", &variance);
    let normal = n.f.op("normal", "Div", &[&off, &deviation]);
    let normal = n.narrow(normal);
    for (index, operator, value) in [(1, "Identity", &mean), (2, "Reciprocal", &deviation)] {
        if makes(node, index) {
            let output = &node.output[index];
            let made = made(output, operator, &[value], output, vec![]);
            n.f.w.behind.push(made);
        }
    }
    node.output.truncate(1);
    match beta {
        None => become_(node, "Mul", &[&normal, &gamma], vec![]),
        Some(beta) => {
            let scaled = n.f.op("scaled", "Mul", &[&normal, &gamma]);
            become_(node, "Add", &[&scaled, &beta], vec![]);
        }
    }
    Ok(())
}

/// X / √(E\[X²\] + ε) γ over the axes from `axis` on, in the type that `stash_type` says.
fn rms_norm(node: &mut NodeProto, w: &mut Writer<'_>) -> Adapted {
    let gamma = input(node, 1)?;
    let mut n = Normalising::of(node, w)?;
    // It came with opset 23, where axes are an input.
    let axes = n.f.w.numbers(&n.f.of, "axes", &n.axes);
    let square = n.f.op("square", "Mul", &[&n.data, &n.data]);
    let mean = n.f.op("mean", "ReduceMean", &[&square, &axes]);
    let root = n.root("root", &mean);
    let normal = n.f.op("normal", "Div", &[&n.data, &root]);
    let normal = n.narrow(normal);
    become_(node, "Mul", &[&normal, &gamma], vec![]);
    Ok(())
}

/// A normalisation of instances whose channels are the groups. Opset 21 has a scale and bias for each channel, 18 for each
/// group.
fn group_norm(node: &mut NodeProto, w: &mut Writer<'_>) -> Adapted {
    let (x, scale, bias) = (input(node, 0)?, input(node, 1)?, input(node, 2)?);
    let groups = int(node, "num_groups", 1);
    let epsilon = float(node, "epsilon", 1e-5);
    let each_group = w.version == 18;
    let mut f = Formula::of(node, w)?;
    let Some(count) = usize::try_from(groups).ok().filter(|&n| n < 1 << 20) else {
        return cannot(format!("num_groups={groups}"));
    };
    let shape = f.w.op(
        &f.of,
        ("shape", "Shape"),
        &[&x],
        vec![],
        Known::of_rank(7, 1),
    );
    let target = f.w.numbers(&f.of, "groups", &[0, groups, -1]);
    f.known = Known::of_rank(f.known.element, 3);
    let grouped = f.op("grouped", "Reshape", &[&x, &target]);
    let by: Vec<(&str, Attribute)> = vec![("epsilon", epsilon.into())];
    if each_group {
        let normal = f.with(
            "normal",
            "InstanceNormalization",
            &[&grouped, &scale, &bias],
            by,
        );
        become_(node, "Reshape", &[&normal, &shape], vec![]);
        return Ok(());
    }
    let constant = |f: &mut Formula<'_, '_>, hint: &str, value: f32| {
        let tensor = super::writer::float_tensor(f.known.element, &[count], &vec![value; count]);
        match tensor {
            Some(tensor) => Ok(f.w.tensor(&f.of, hint, tensor)),
            None => cannot("it is not of floats"),
        }
    };
    let (ones, zeros) = (
        constant(&mut f, "ones", 1.0)?,
        constant(&mut f, "zeros", 0.0)?,
    );
    let normal = f.with(
        "normal",
        "InstanceNormalization",
        &[&grouped, &ones, &zeros],
        by,
    );
    // Of the maps each channel is a row.
    let rows = f.w.numbers(&f.of, "rows", &[-1, 1]);
    let channels = f.w.op(
        &f.of,
        ("channels", "Shape"),
        &[&scale],
        vec![],
        Known::of_rank(7, 1),
    );
    let (same, rest) = (
        f.w.numbers(&f.of, "same", &[0]),
        f.w.numbers(&f.of, "rest", &[-1]),
    );
    let axis: Vec<(&str, Attribute)> = vec![("axis", 0.into())];
    let known = Known::of_rank(7, 1);
    let target = f.w.op(
        &f.of,
        ("target", "Concat"),
        &[&same, &channels, &rest],
        axis,
        known,
    );
    let channelwise = f.op("channelwise", "Reshape", &[&normal, &target]);
    f.known = Known::of_rank(f.known.element, 2);
    let scale = f.op("scale", "Reshape", &[&scale, &rows]);
    let bias = f.op("bias", "Reshape", &[&bias, &rows]);
    f.known = Known::of_rank(f.known.element, 3);
    let scaled = f.op("scaled", "Mul", &[&channelwise, &scale]);
    let moved = f.op("moved", "Add", &[&scaled, &bias]);
    become_(node, "Reshape", &[&moved, &shape], vec![]);
    Ok(())
}
