//! Layers, normalisations, pools, reductions.

use crate::graph::infer::{ShapeRule, elementwise, matrix, reduce, window};

use super::row::operator;
use super::{
    Axes, ChannelsLast, Class, Data, Elements, Gives, Inputs, Mixing, Operator, Own, Parameters,
    Work,
};

const fn layer(name: &'static str, since: i64, weight: &'static [usize]) -> Operator {
    operator(name, since).class(Class::Layer(weight))
}

/// A recurrent cell: weights at inputs 1 and 2, biases at 3.
const fn cell(name: &'static str) -> Operator {
    layer(name, 1, &[1])
        .weights(&[1, 2, 3])
        .work(Work::Recurrent)
}

/// A normalisation whose scale and shift are inputs 1 and 2.
const fn norm(name: &'static str, since: i64, shapes: ShapeRule) -> Operator {
    operator(name, since)
        .shapes(shapes)
        .class(Class::Norm)
        .weights(&[1, 2])
        .carries()
}

/// An operator that makes distributions, or the largest, along the attribute `axis`.
const fn distribution(name: &'static str) -> Operator {
    operator(name, 1)
        .shapes(reduce::along_axis)
        .mixing(Mixing::Along(Axes::Axis(-1)))
        .adapted(13, "axes from `axis` on were one")
}

const fn pool(name: &'static str) -> Operator {
    operator(name, 1)
        .shapes(window::pool)
        .class(Class::WindowPool)
        .reads(Data::Map)
        .mixing(Mixing::Behind(2))
}

const fn global_pool(name: &'static str) -> Operator {
    operator(name, 1)
        .shapes(window::global_pool)
        .class(Class::GlobalPool)
        .reads(Data::Map)
        .mixing(Mixing::Behind(2))
}

/// A reduction, whose axes came to be an input with opset 18.
const fn reduction(name: &'static str) -> Operator {
    operator(name, 1)
        .shapes(reduce::reduce)
        .mixing(Mixing::Reduction)
        .channels_last(ChannelsLast::Reduction)
        .adapted(18, "axes were an attribute")
}

pub(super) const ROWS: &[Operator] = &[
    // Layers.
    layer("Conv", 1, &[1])
        .shapes(window::conv)
        .reads(Data::Map)
        .weights(&[1, 2])
        .carries()
        .mixing(Mixing::Behind(1))
        .channels_last(ChannelsLast::Conv)
        .work(Work::Conv),
    layer("ConvTranspose", 1, &[1])
        .shapes(window::conv_transpose)
        .reads(Data::Map)
        .weights(&[1, 2])
        .carries()
        .mixing(Mixing::Behind(1))
        .work(Work::ConvTranspose),
    layer("DeformConv", 19, &[1])
        .reads(Data::Map)
        .weights(&[1, 3])
        .work(Work::Uncounted),
    layer("Gemm", 1, &[0, 1])
        .shapes(matrix::gemm)
        .weights(&[1, 0, 2])
        .mixing(Mixing::Own(Own::Gemm))
        .channels_last(ChannelsLast::Product)
        .work(Work::Gemm),
    layer("MatMul", 1, &[0, 1])
        .shapes(matrix::matmul)
        .weights(&[0, 1])
        .mixing(Mixing::Own(Own::MatMul))
        .channels_last(ChannelsLast::Product)
        .work(Work::MatMul),
    layer("Einsum", 12, &[0, 1, 2, 3])
        .shapes(matrix::einsum)
        .parameters(Parameters::Own(Inputs::Every))
        .mixing(Mixing::Own(Own::Einsum))
        .work(Work::Uncounted),
    cell("GRU"),
    cell("LSTM").weights(&[1, 2, 3, 7]),
    cell("RNN"),
    // Normalisations.
    norm("BatchNormalization", 1, reduce::batch_norm)
        .rewritten(
            "training outputs, which must be unused, go; of weights in training mode it becomes InstanceNormalization",
        )
        .reads(Data::Channels)
        .mixing(Mixing::Along(Axes::Fixed(&[1])))
        .channels_last(ChannelsLast::BatchNorm),
    norm("GroupNormalization", 18, reduce::channel_norm)
        .adapted(21, "scale and bias were per group")
        .reads(Data::Channels)
        .mixing(Mixing::Behind(1)),
    norm("InstanceNormalization", 1, reduce::channel_norm)
        .reads(Data::Channels)
        .mixing(Mixing::Behind(1)),
    norm("LayerNormalization", 17, reduce::layer_norm).mixing(Mixing::Along(Axes::FromAxis(-1))),
    operator("LpNormalization", 1)
        .shapes(reduce::along_axis)
        .class(Class::Norm)
        .carries()
        .mixing(Mixing::Along(Axes::Axis(-1)))
        .within(-1.0, 1.0),
    operator("LRN", 1)
        .shapes(elementwise::unary)
        .class(Class::Norm)
        .reads(Data::Channels)
        .carries()
        .mixing(Mixing::Along(Axes::Fixed(&[1]))),
    operator("MeanVarianceNormalization", 9)
        .shapes(elementwise::unary)
        .mixing(Mixing::Along(Axes::List(&[0, 2, 3]))),
    operator("RMSNormalization", 23)
        .class(Class::Norm)
        .weights(&[1])
        .carries()
        .rewritten("becomes its formula"),
    distribution("Hardmax").within(0.0, 1.0),
    distribution("LogSoftmax").carries().within(f64::NEG_INFINITY, 0.0),
    distribution("Softmax").carries().within(0.0, 1.0),
    // Pools.
    pool("AveragePool").carries(),
    pool("LpPool"),
    pool("MaxPool")
        .carries()
        .channels_last(ChannelsLast::MaxPool),
    global_pool("GlobalAveragePool")
        .carries()
        .channels_last(ChannelsLast::GlobalPool("ReduceMean")),
    global_pool("GlobalLpPool"),
    global_pool("GlobalMaxPool")
        .carries()
        .channels_last(ChannelsLast::GlobalPool("ReduceMax")),
    // Reductions.
    reduction("ReduceL1").carries(),
    reduction("ReduceL2").carries(),
    reduction("ReduceLogSum").carries(),
    reduction("ReduceLogSumExp").carries(),
    reduction("ReduceMax").carries(),
    reduction("ReduceMean").carries(),
    reduction("ReduceMin").carries(),
    reduction("ReduceProd"),
    reduction("ReduceSum")
        .carries()
        .adapted(13, "axes were an attribute"),
    reduction("ReduceSumSquare").carries(),
    operator("ArgMax", 1)
        .shapes(reduce::arg)
        .mixing(Mixing::Reduced(Axes::Axis(0)))
        .gives(Gives::Integers),
    operator("ArgMin", 1)
        .shapes(reduce::arg)
        .mixing(Mixing::Reduced(Axes::Axis(0)))
        .gives(Gives::Integers),
    operator("CumSum", 11)
        .shapes(reduce::cum_sum)
        .mixing(Mixing::Along(Axes::Input)),
    operator("TopK", 1)
        .shapes(reduce::top_k)
        .carries()
        .mixing(Mixing::Along(Axes::Axis(-1)))
        .adapted(10, "k was an attribute"),
    operator("Dropout", 1)
        .shapes(elementwise::dropout)
        .carries()
        .mixing(Mixing::Nothing)
        .elements(Elements::Dropped),
];
