//! Operators that are known by name and cannot be worked with.

use super::row::operator;
use super::{Class, Gives, Operator};

const fn control_flow(name: &'static str, since: i64) -> Operator {
    operator(name, since).class(Class::ControlFlow)
}

const fn quantised(name: &'static str) -> Operator {
    operator(name, 10).class(Class::Quantised)
}

const fn sequence(name: &'static str, since: i64) -> Operator {
    operator(name, since).class(Class::Sequence)
}

pub(super) const ROWS: &[Operator] = &[
    control_flow("If", 1),
    control_flow("Loop", 1),
    control_flow("Scan", 8),
    quantised("ConvInteger"),
    quantised("DequantizeLinear"),
    operator("DynamicQuantizeLinear", 11).class(Class::Quantised),
    quantised("MatMulInteger"),
    quantised("QLinearConv"),
    quantised("QLinearMatMul"),
    quantised("QuantizeLinear").gives(Gives::Integers),
    sequence("ConcatFromSequence", 11),
    sequence("Optional", 15),
    sequence("OptionalGetElement", 15),
    sequence("OptionalHasElement", 15),
    sequence("SequenceAt", 11),
    sequence("SequenceConstruct", 11),
    sequence("SequenceEmpty", 11),
    sequence("SequenceErase", 11),
    sequence("SequenceInsert", 11),
    sequence("SequenceLength", 11),
    sequence("SequenceMap", 17),
    sequence("SplitToSequence", 11),
    operator("DFT", 17).adapted(20, "its axis was an attribute"),
    operator("GridSample", 16).adapted(20, "modes had other names"),
    operator("NonZero", 9).gives(Gives::Integers),
    operator("RoiAlign", 10).adapted(16, "positions were not shifted by half a pixel"),
];
