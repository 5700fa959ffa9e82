//! Whether a node's inputs can have the dimensions that are known of them.
//!
//! Only what contradicts an operator's definition whatever the unknown dimensions are is told.

use crate::graph::Node;
use crate::graph::operators::{self, Mixing};

use super::shapes::{Known, words};

/// A node with what is known of its inputs.
pub(super) struct Operands<'a> {
    pub node: &'a Node,
    /// The version of the default operator set.
    pub opset: i64,
    /// Dimensions of each input.
    pub dims: Vec<Option<&'a Known>>,
    /// The whole numbers of each input that is a small constant.
    pub constants: Vec<Option<&'a [i64]>>,
}

type Why = Option<String>;

/// Why a node cannot have its inputs, if it cannot.
pub(super) fn contradiction(of: &Operands) -> Why {
    if !of.node.domain.is_empty() {
        return None;
    }
    let op_type = of.node.op_type.as_str();
    match op_type {
        "Conv" | "ConvTranspose" => {
            window(of).or_else(|| convolution(of, op_type == "ConvTranspose"))
        }
        "MaxPool" | "AveragePool" | "LpPool" => window(of).or_else(|| pool(of)),
        "BatchNormalization" | "InstanceNormalization" => per_channel(of),
        "MatMul" => matmul(of),
        "Gemm" => gemm(of),
        "Concat" => concat(of),
        "Transpose" => transpose(of),
        "Reshape" => reshape(of),
        "Split" => axis(of, 0).or_else(|| split(of)),
        "Flatten" => flatten(of),
        "Softmax" | "LogSoftmax" | "Hardmax" | "Gather" | "GatherElements" | "ArgMax"
        | "ArgMin" | "TopK" | "ScatterElements" | "LpNormalization" => axis(of, default_axis(of)),
        "Squeeze" | "Unsqueeze" => axes(of, op_type == "Unsqueeze"),
        _ if op_type.starts_with("Reduce") => axes(of, false),
        _ if of.opset >= 7 && is_elementwise(op_type) => broadcast(of),
        _ => None,
    }
}

fn is_elementwise(op_type: &str) -> bool {
    operators::named(op_type).is_some_and(|operator| operator.mixing == Mixing::Elementwise)
}

impl Operands<'_> {
    fn of(&self, index: usize) -> Option<&Known> {
        self.dims.get(index).copied().flatten()
    }

    fn rank(&self, index: usize) -> Option<usize> {
        self.of(index).map(Vec::len)
    }

    /// A dimension that is known.
    fn size(&self, index: usize, axis: usize) -> Option<usize> {
        self.of(index)?.get(axis).copied().flatten()
    }

    fn int(&self, name: &str, default: i64) -> i64 {
        self.node.int(name, default).unwrap_or(default)
    }

    fn ints(&self, name: &str) -> Option<&[i64]> {
        self.node.ints(name).ok().flatten()
    }
}

/// Two dimensions that must be the same.
fn differ(a: Option<usize>, b: Option<usize>) -> Option<(usize, usize)> {
    a.zip(b).filter(|(a, b)| a != b)
}

fn in_range(axis: i64, rank: usize) -> bool {
    (-(rank as i64)..rank as i64).contains(&axis)
}

fn convolution(of: &Operands, transposed: bool) -> Why {
    let (rank, of_weight) = (of.rank(0), of.rank(1));
    if let Some(rank) = rank.filter(|&rank| rank < 3) {
        return Some(format!(
            "its data have {rank} dimensions, and a convolution takes 3 or more"
        ));
    }
    if let Some((a, b)) = differ(rank, of_weight) {
        return Some(format!("its data have {a} dimensions, and its weight {b}"));
    }
    let group = usize::try_from(of.int("group", 1))
        .ok()
        .filter(|&group| group > 0);
    let channels = match transposed {
        true => of.size(1, 0),
        false => of
            .size(1, 1)
            .zip(group)
            .and_then(|(n, group)| n.checked_mul(group)),
    };
    if let Some((a, b)) = differ(of.size(0, 1), channels) {
        return Some(format!(
            "its data have {a} channels, and its weight is for {b}"
        ));
    }
    let maps = match transposed {
        true => of
            .size(1, 1)
            .zip(group)
            .and_then(|(n, group)| n.checked_mul(group)),
        false => of.size(1, 0),
    };
    if let Some((a, b)) = differ(of.size(2, 0), maps) {
        return Some(format!("its bias has {a} elements for {b} channels"));
    }
    let kernel = of.ints("kernel_shape")?;
    let weight = of.of(1)?.get(2..)?;
    let same = kernel.len() == weight.len()
        && kernel
            .iter()
            .zip(weight)
            .all(|(k, w)| w.is_none_or(|w| usize::try_from(*k) == Ok(w)));
    (!same).then(|| {
        format!(
            "its `kernel_shape` is {kernel:?}, and its weight has {}",
            words(weight)
        )
    })
}

/// A window that has no size, or does not move.
fn window(of: &Operands) -> Why {
    ["kernel_shape", "strides", "dilations"]
        .into_iter()
        .find_map(|name| {
            let sizes = of.ints(name)?;
            let none = sizes.iter().any(|&size| size < 1);
            none.then(|| format!("its `{name}` are {sizes:?}"))
        })
}

fn pool(of: &Operands) -> Why {
    let rank = of.rank(0)?;
    let kernel = of.ints("kernel_shape")?.len();
    (rank != kernel + 2).then(|| {
        format!("its window has {kernel} dimensions, and its data {rank}, two of them no space")
    })
}

fn per_channel(of: &Operands) -> Why {
    let channels = of.size(0, 1);
    (1..of.dims.len()).find_map(|index| {
        let (a, b) = differ(of.size(index, 0), channels)?;
        Some(format!(
            "its input {index} has {a} elements for {b} channels"
        ))
    })
}

/// Why dimensions that meet from the last on cannot be brought together.
fn meet(list: &[&[Option<usize>]]) -> Why {
    let rank = list.iter().map(|dims| dims.len()).max()?;
    for back in 1..=rank {
        let sizes = list
            .iter()
            .filter_map(|dims| dims.len().checked_sub(back).and_then(|axis| dims[axis]));
        let mut first = None;
        for size in sizes.filter(|&size| size != 1) {
            if *first.get_or_insert(size) != size {
                let dims: Vec<String> = list.iter().map(|dims| words(dims)).collect();
                return Some(format!(
                    "its inputs of {} cannot be broadcast together",
                    dims.join(", ")
                ));
            }
        }
    }
    None
}

fn broadcast(of: &Operands) -> Why {
    let known: Vec<&[Option<usize>]> = of
        .dims
        .iter()
        .flatten()
        .map(|dims| dims.as_slice())
        .collect();
    meet(&known)
}

fn matmul(of: &Operands) -> Why {
    let (a, b) = (of.of(0)?, of.of(1)?);
    if a.is_empty() || b.is_empty() {
        return Some("it multiplies a single number".to_owned());
    }
    let inner = b.len().saturating_sub(2);
    if let Some((x, y)) = differ(*a.last()?, b[inner]) {
        return Some(format!(
            "it multiplies {} by {}: {x} is not {y}",
            words(a),
            words(b)
        ));
    }
    let around = |dims: &'_ Known| dims.len().saturating_sub(2);
    meet(&[&a[..around(a)], &b[..around(b)]])
}

fn gemm(of: &Operands) -> Why {
    for index in [0, 1] {
        if let Some(rank) = of.rank(index).filter(|&rank| rank != 2 && of.opset >= 7) {
            return Some(format!(
                "its input {index} has {rank} dimensions instead of 2"
            ));
        }
    }
    let [row, inner_a] = if of.int("transA", 0) != 0 {
        [1, 0]
    } else {
        [0, 1]
    };
    let [inner_b, column] = if of.int("transB", 0) != 0 {
        [1, 0]
    } else {
        [0, 1]
    };
    if let Some((a, b)) = differ(of.size(0, inner_a), of.size(1, inner_b)) {
        return Some(format!("it multiplies along {a} and {b} elements"));
    }
    if of.opset < 7 {
        return None;
    }
    let bias = of.of(2)?;
    let out = [of.size(0, row), of.size(1, column)];
    let fits = bias.len() <= 2
        && bias
            .iter()
            .rev()
            .zip(out.iter().rev())
            .all(|(bias, out)| differ(*bias, *out).is_none_or(|(bias, _)| bias == 1));
    (!fits).then(|| {
        format!(
            "its bias of {} cannot be added to {}",
            words(bias),
            words(&out)
        )
    })
}

fn concat(of: &Operands) -> Why {
    let known: Vec<&Known> = of.dims.iter().copied().flatten().collect();
    let first = *known.first()?;
    let rank = first.len();
    if let Some(other) = known.iter().find(|dims| dims.len() != rank) {
        return Some(format!("it joins {} and {}", words(first), words(other)));
    }
    let along = of.int("axis", 1);
    if !in_range(along, rank) {
        return Some(format!(
            "its axis is {along}, and its inputs have {rank} dimensions"
        ));
    }
    let along = along.rem_euclid(rank as i64) as usize;
    (0..rank).filter(|&axis| axis != along).find_map(|axis| {
        let mut sizes = known.iter().filter_map(|dims| dims[axis]);
        let size = sizes.next()?;
        let other = sizes.find(|&other| other != size)?;
        Some(format!(
            "it joins sizes {size} and {other} of axis {axis} along axis {along}"
        ))
    })
}

fn transpose(of: &Operands) -> Why {
    let (rank, perm) = (of.rank(0)?, of.ints("perm")?);
    let mut sorted = perm.to_vec();
    sorted.sort_unstable();
    let all: Vec<i64> = (0..rank as i64).collect();
    (sorted != all).then(|| format!("its `perm` is {perm:?}, and its input has {rank} dimensions"))
}

fn reshape(of: &Operands) -> Why {
    let from = of.of(0)?;
    let attribute = if of.opset < 5 { of.ints("shape") } else { None };
    let to = attribute.or(of.constants.get(1).copied().flatten())?;
    let keeps = of.int("allowzero", 0) == 0;
    let whole: Option<Vec<usize>> = from.iter().copied().collect();
    let count = whole?.into_iter().try_fold(1usize, usize::checked_mul)?;
    let mut product = 1usize;
    let mut open = 0;
    for (axis, &size) in to.iter().enumerate() {
        match size {
            -1 => open += 1,
            0 if keeps => product = product.checked_mul(of.size(0, axis)?)?,
            size => product = product.checked_mul(usize::try_from(size).ok()?)?,
        }
    }
    let fits = match open {
        0 => product == count,
        1 if product == 0 => true,
        1 => count.is_multiple_of(product),
        _ => false,
    };
    (!fits).then(|| format!("it cannot bring {} to {to:?}", words(from)))
}

fn split(of: &Operands) -> Why {
    let attribute = if of.opset < 13 {
        of.ints("split")
    } else {
        None
    };
    let parts = attribute.or(of.constants.get(1).copied().flatten())?;
    let axis = of.int("axis", 0).rem_euclid(of.rank(0)?.max(1) as i64) as usize;
    let size = of.size(0, axis)?;
    let sum: i64 = parts
        .iter()
        .try_fold(0i64, |sum, part| sum.checked_add(*part))?;
    (i64::try_from(size) != Ok(sum)).then(|| format!("its parts {parts:?} come to {sum} of {size}"))
}

fn flatten(of: &Operands) -> Why {
    let (rank, axis) = (of.rank(0)? as i64, of.int("axis", 1));
    (!(-rank..=rank).contains(&axis))
        .then(|| format!("its axis is {axis}, and its input has {rank} dimensions"))
}

fn default_axis(of: &Operands) -> i64 {
    match of.node.op_type.as_str() {
        "Softmax" | "LogSoftmax" | "Hardmax" if of.opset < 13 => 1,
        "Gather" | "GatherElements" | "ArgMax" | "ArgMin" | "ScatterElements" => 0,
        _ => -1,
    }
}

fn axis(of: &Operands, default: i64) -> Why {
    let (rank, axis) = (of.rank(0)?, of.int("axis", default));
    // Of a single number some take axis 0 or -1.
    let rank_or_one = rank.max(1);
    let fits = in_range(axis, rank_or_one) || of.opset < 13 && axis == rank as i64;
    (!fits).then(|| format!("its axis is {axis}, and its input has {rank} dimensions"))
}

/// The axes of a reduction, or those that go or come.
fn axes(of: &Operands, come: bool) -> Why {
    let rank = of.rank(0)?;
    let axes = of.ints("axes").or(of.constants.get(1).copied().flatten())?;
    let room = if come { rank + axes.len() } else { rank.max(1) };
    let axis = axes.iter().find(|axis| !in_range(**axis, room))?;
    Some(format!("its axis is {axis} of {room} dimensions"))
}
