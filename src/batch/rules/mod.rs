//! How operators treat the axis that the batch is in.
//!
//! An operator takes samples together without mixing them if the part of its result that belongs to a
//! sample depends on the same sample's part of what it reads alone. Which axes an operator mixes is a column
//! of the [table of operators](crate::graph::operators); what follows for the batch is told here. By way of an example, in a graph made for
//! one image, where pixels have become rows (`[1, 8, 8, C]` reshaped to `[64, C]`, so that a batch of N
//! makes it `[N · 64, C]`): a product with weights `[C, K]` works on each row and passes, a softmax over
//! the channels too; a softmax over the rows, their mean, or a product of rows with rows would mix
//! the pixels of all images.

mod layout;
mod pick;
mod product;

use crate::graph::operators::{Axes, Mixing, Own};
use crate::graph::{Graph, Node};

use super::places::Place;
use super::sizes::{Sizes, Value};

const UNREAD: &str = "its result depends on the batch size, though it reads no samples";

/// Where the batch is in the results of a node whose operator mixes these axes, or why there is no such
/// place; `None` where it is not known how the operator treats the batch.
fn after(mixing: Mixing, r: &Reading) -> Option<Result<Place, String>> {
    Some(match mixing {
        Mixing::Unknown => return None,
        Mixing::Elementwise => elementwise(r),
        Mixing::Nothing => r.first(),
        Mixing::Along(axes) => r.named(axes).and_then(|axes| r.along(&axes)),
        Mixing::Behind(first) => r.behind(first),
        Mixing::Reduction => reduction(r),
        Mixing::Reduced(axes) => r.named(axes).and_then(|axes| r.reduced(&axes)),
        Mixing::Own(own) => match own {
            Own::MatMul => product::matmul(r),
            Own::Gemm => product::gemm(r),
            Own::Einsum => product::einsum(r),
            Own::Rearranged => layout::rearranged(r),
            Own::Transpose => layout::transpose(r),
            Own::Expand => layout::expand(r),
            Own::Tile => layout::tile(r),
            Own::Repeated => r.repeated(None),
            Own::Concat => layout::concat(r),
            Own::Slice => layout::slice(r),
            Own::Pad => layout::pad(r),
            Own::Resize => layout::resize(r),
            Own::Gather => pick::gather(r),
            Own::Elements => pick::elements(r),
            Own::GatherNd => pick::gather_nd(r),
            Own::OneHot => pick::one_hot(r),
        },
    })
}

/// Where the batch is in the results of `node`; `None` where they have nothing to do with it.
pub(super) fn place(node: &Node, graph: &Graph, sizes: &Sizes) -> Result<Option<Place>, String> {
    // A small weight is known, too, also where it is repeated for each sample.
    let repeated = |name: &str| sizes.at_new.is_of_floats(name) && sizes.follows(name);
    let known = |name: &str| sizes.is_known(name) && !repeated(name);
    if node.present_outputs().all(known) {
        return Ok(None);
    }
    let fixed = |name: &str| sizes.value(name) == Value::Fixed;
    let grows = node.present_outputs().any(|name| sizes.follows(name));
    if node.present_inputs().all(fixed) && !grows {
        return Ok(None);
    }
    let mixing = node.operator().map_or(Mixing::Unknown, |o| o.mixing);
    let place = after(mixing, &Reading { node, graph, sizes })
        .ok_or("it is not known how this operator treats the samples of a batch")??;
    for name in node.outputs.iter().take(results(node)) {
        let grown = sizes.grown(name).map(|grown| grown.axis);
        if !name.is_empty() && grown != Some(place.axis) {
            return Err(format!(
                "`{name}` does not grow with the batch in one axis alone"
            ));
        }
    }
    Ok(Some(place))
}

/// The results that have a part for each sample: the indices of a pool count through the whole batch.
pub(super) fn results(node: &Node) -> usize {
    if node.is("MaxPool") {
        1
    } else {
        node.outputs.len()
    }
}

/// A node among what is known of what it reads.
pub(super) struct Reading<'a> {
    node: &'a Node,
    graph: &'a Graph,
    sizes: &'a Sizes,
}

impl Reading<'_> {
    fn name(&self, index: usize) -> Result<&str, String> {
        let name = self.node.input(index);
        name.ok_or_else(|| format!("input {index} is missing"))
    }

    /// Dimensions of an input at the batch size of the export.
    fn dims(&self, index: usize) -> Result<&[usize], String> {
        let dims = self.sizes.at_old.dims(self.name(index)?);
        dims.map_err(|e| e.to_string())
    }

    fn rank(&self, index: usize) -> Result<usize, String> {
        Ok(self.dims(index)?.len())
    }

    /// The dimensions of output 0 at the batch size of the export.
    fn result(&self) -> Result<&[usize], String> {
        let name = self.node.output(0).unwrap_or_default();
        self.sizes.at_old.dims(name).map_err(|e| e.to_string())
    }

    /// Where the batch is in an input; `None` where that is the same for all samples, or absent.
    fn data(&self, index: usize) -> Result<Option<Place>, String> {
        let Some(name) = self.node.input(index) else {
            return Ok(None);
        };
        match self.sizes.value(name) {
            Value::Fixed => Ok(None),
            Value::Batched(place) => Ok(Some(place)),
            Value::Varying => Err(format!(
                "it reads `{name}`, which depends on the batch size"
            )),
        }
    }

    /// Refuses inputs from `first` on that are not the same for all samples.
    fn fixed_from(&self, first: usize) -> Result<(), String> {
        for index in first..self.node.inputs.len() {
            if self.data(index)?.is_some() {
                return Err(format!("its input {index} differs between the samples"));
            }
        }
        Ok(())
    }

    fn attribute(&self, name: &str, default: i64) -> Result<i64, String> {
        self.node.int(name, default).map_err(|e| e.to_string())
    }

    fn list(&self, name: &str) -> Result<Option<Vec<i64>>, String> {
        let list = self.node.ints(name).map_err(|e| e.to_string())?;
        Ok(list.map(<[i64]>::to_vec))
    }

    /// The integers of an input; `None` when it is absent.
    fn ints(&self, index: usize) -> Result<Option<Vec<i64>>, String> {
        let Some(name) = self.node.input(index) else {
            return Ok(None);
        };
        let known = self.sizes.fixed_ints(name);
        known
            .map(Some)
            .ok_or_else(|| format!("its input `{name}` is computed"))
    }

    /// The axes that an input names.
    fn axes(&self, index: usize) -> Result<Vec<i64>, String> {
        let axes = self.ints(index)?;
        axes.ok_or_else(|| format!("input {index} is missing"))
    }

    /// The axes of input 0 that the operator names.
    fn named(&self, axes: Axes) -> Result<Vec<i64>, String> {
        Ok(match axes {
            Axes::Fixed(axes) => axes.to_vec(),
            Axes::Axis(default) => vec![self.attribute("axis", default)?],
            Axes::FromAxis(default) => {
                let rank = self.rank(0)?;
                let first = self.positive(self.attribute("axis", default)?, rank)?;
                (first as i64..rank as i64).collect()
            }
            Axes::List(default) => self.list("axes")?.unwrap_or_else(|| default.to_vec()),
            Axes::Input => self.axes(1)?,
        })
    }

    fn positive(&self, axis: i64, rank: usize) -> Result<usize, String> {
        let positive = i128::from(axis) + if axis < 0 { rank as i128 } else { 0 };
        let positive = usize::try_from(positive).ok().filter(|&a| a <= rank);
        positive.ok_or_else(|| format!("axis {axis} of {rank} dimensions"))
    }

    /// The place in input 0.
    fn first(&self) -> Result<Place, String> {
        self.data(0)?.ok_or_else(|| UNREAD.to_owned())
    }

    /// For an operator that works along some axes of input 0 and keeps all: the batch must be in another.
    fn along(&self, axes: &[i64]) -> Result<Place, String> {
        let place = self.first()?;
        for &axis in axes {
            if self.positive(axis, self.rank(0)?)? == place.axis {
                return Err(format!(
                    "it works along axis {}, which the batch is in",
                    place.axis
                ));
            }
        }
        self.fixed_from(1)?;
        Ok(place)
    }

    /// For an operator that works along all axes of input 0 from `first` on.
    fn behind(&self, first: usize) -> Result<Place, String> {
        let axes: Vec<i64> = (first as i64..self.rank(0)? as i64).collect();
        self.along(&axes)
    }

    /// For an operator that reduces some axes of input 0.
    fn reduced(&self, axes: &[i64]) -> Result<Place, String> {
        let rank = self.rank(0)?;
        let place = self.first()?;
        let axes: Vec<usize> = axes
            .iter()
            .map(|&axis| self.positive(axis, rank))
            .collect::<Result<_, _>>()?;
        if axes.contains(&place.axis) {
            return Err(format!(
                "it reduces axis {}, which the batch is in",
                place.axis
            ));
        }
        let gone = match self.attribute("keepdims", 1)? {
            0 => axes.iter().filter(|&&axis| axis < place.axis).count(),
            _ => 0,
        };
        Ok(Place {
            axis: place.axis - gone,
            ..place
        })
    }

    /// For what is the same for all samples, `from` input 0 or nothing, and is repeated for each.
    fn repeated(&self, from: Option<&[usize]>) -> Result<Place, String> {
        let name = self.node.output(0).unwrap_or_default();
        let rank = self.result()?.len();
        let place = self.sizes.grown(name).filter(|place| {
            let own = from.and_then(|dims| dims.get((place.axis + dims.len()).checked_sub(rank)?));
            self.sizes.is_batch(name, place.axis) && own.is_none_or(|&d| d == 1)
        });
        place.ok_or_else(|| "what it repeats is not repeated once per sample".to_owned())
    }
}

/// The place that all inputs share when their axes are aligned at the last.
fn elementwise(r: &Reading) -> Result<Place, String> {
    let rank = r.result()?.len();
    let mut found: Option<Place> = None;
    for index in 0..r.node.inputs.len() {
        let Some(place) = r.data(index)? else {
            continue;
        };
        let axis = (place.axis + rank).checked_sub(r.rank(index)?);
        let axis = axis.ok_or("its inputs do not fit its result")?;
        let aligned = Place { axis, ..place };
        if found.is_some_and(|found| found != aligned) {
            return Err("it joins values that have the batch in different places".to_owned());
        }
        found = Some(aligned);
    }
    found.ok_or_else(|| UNREAD.to_owned())
}

fn reduction(r: &Reading) -> Result<Place, String> {
    let axes = r.ints(1)?.unwrap_or_default();
    match axes.as_slice() {
        [] if r.attribute("noop_with_empty_axes", 0)? != 0 => r.first(),
        [] => r.reduced(&(0..r.rank(0)? as i64).collect::<Vec<_>>()),
        axes => r.reduced(axes),
    }
}
