//! Operators that move elements, choose among them, or make constants.

use crate::graph::infer::{gather, layout, parts, resize, source};

use super::row::operator;
use super::{Axes, ChannelsLast, Data, Elements, Gives, Inputs, Mixing, Operator, Own, Parameters};

/// The same elements in the same order.
const fn reshaping(name: &'static str) -> Operator {
    operator(name, 1)
        .carries()
        .mixing(Mixing::Own(Own::Rearranged))
        .elements(Elements::Reshaped)
}

/// Picks from a table at input 0.
const fn table(name: &'static str, since: i64, own: Own) -> Operator {
    operator(name, since)
        .weights(&[0])
        .mixing(Mixing::Own(own))
        .elements(Elements::Picked)
}

const SCATTERED: Parameters = Parameters::Mixed(Inputs::At(&[0]));

pub(super) const ROWS: &[Operator] = &[
    reshaping("Flatten").shapes(layout::flatten),
    reshaping("Reshape").shapes(layout::reshape),
    reshaping("Squeeze")
        .shapes(layout::squeeze)
        .adapted(13, "axes were an attribute"),
    reshaping("Unsqueeze")
        .shapes(layout::unsqueeze)
        .adapted(13, "axes were an attribute"),
    operator("Transpose", 1)
        .shapes(layout::transpose)
        .carries()
        .mixing(Mixing::Own(Own::Transpose))
        .channels_last(ChannelsLast::Transpose)
        .elements(Elements::Permuted),
    operator("DepthToSpace", 1)
        .shapes(layout::depth_to_space)
        .reads(Data::Map)
        .carries()
        .mixing(Mixing::Behind(1)),
    operator("SpaceToDepth", 1)
        .shapes(layout::space_to_depth)
        .reads(Data::Map)
        .carries()
        .mixing(Mixing::Behind(1)),
    operator("Expand", 8)
        .shapes(layout::expand)
        .carries()
        .mixing(Mixing::Own(Own::Expand))
        .channels_last(ChannelsLast::Expand)
        .elements(Elements::Picked),
    operator("Tile", 1)
        .shapes(layout::tile)
        .carries()
        .mixing(Mixing::Own(Own::Tile))
        .elements(Elements::Picked),
    operator("Trilu", 14)
        .shapes(layout::trilu)
        .carries()
        .mixing(Mixing::Along(Axes::Fixed(&[-2, -1]))),
    operator("Concat", 1)
        .shapes(parts::concat)
        .parameters(Parameters::Mixed(Inputs::Every))
        .mixing(Mixing::Own(Own::Concat))
        .channels_last(ChannelsLast::AlongAxis),
    operator("Split", 1)
        .shapes(parts::split)
        .carries()
        .mixing(Mixing::Along(Axes::Axis(0)))
        .channels_last(ChannelsLast::AlongAxis)
        .elements(Elements::Picked)
        .adapted(18, "sizes were an attribute (below 13) or equal by default"),
    operator("Slice", 1)
        .shapes(parts::slice)
        .carries()
        .mixing(Mixing::Own(Own::Slice))
        .elements(Elements::Picked)
        .adapted(10, "starts, ends and axes were attributes"),
    operator("Pad", 1)
        .shapes(parts::pad)
        .carries()
        .mixing(Mixing::Own(Own::Pad))
        .adapted(11, "pads were an attribute"),
    operator("Resize", 10)
        .shapes(resize::resize)
        .carries()
        .mixing(Mixing::Own(Own::Resize))
        .adapted(
            13,
            "scales were input 1 (10); tf_half_pixel_for_nn is refused (11, 12)",
        ),
    operator("Upsample", 1).rewritten("becomes Resize"),
    table("Gather", 1, Own::Gather).shapes(gather::gather),
    table("GatherElements", 11, Own::Elements).shapes(gather::gather_elements),
    table("GatherND", 11, Own::GatherNd).shapes(gather::gather_nd),
    operator("Scatter", 9).rewritten("becomes ScatterElements"),
    operator("ScatterElements", 11)
        .shapes(gather::scatter_elements)
        .parameters(SCATTERED)
        .mixing(Mixing::Own(Own::Elements)),
    operator("ScatterND", 11)
        .shapes(gather::scatter_nd)
        .parameters(SCATTERED),
    operator("OneHot", 9)
        .shapes(gather::one_hot)
        .mixing(Mixing::Own(Own::OneHot)),
    // Constants and sizes.
    operator("Constant", 1),
    operator("ConstantOfShape", 9)
        .shapes(source::constant_of_shape)
        .mixing(Mixing::Own(Own::Repeated)),
    operator("Range", 11).shapes(source::range),
    operator("Shape", 1)
        .shapes(source::shape)
        .gives(Gives::Sizes),
    operator("Size", 1).shapes(source::size).gives(Gives::Sizes),
];
