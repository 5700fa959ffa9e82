//! Operators that work element by element: functions, activations, arithmetic, comparisons.

use crate::graph::infer::elementwise::{
    binary, cast, cast_like, compare, pow, prelu, select, test, variadic,
};

use super::row::{activation, elementwise, operator, unary};
use super::{Class, Elements, Gives, Inputs, Mixing, Operator, Parameters};

const EVERY: Parameters = Parameters::Mixed(Inputs::Every);

pub(super) const ROWS: &[Operator] = &[
    // Activations.
    activation("Celu", 12),
    activation("Clip", 1).adapted(11, "bounds were attributes"),
    activation("Elu", 1),
    activation("Erf", 9).within(-1.0, 1.0),
    activation("Gelu", 20),
    activation("HardSigmoid", 1).within(0.0, 1.0),
    activation("HardSwish", 14),
    activation("LeakyRelu", 1),
    activation("Mish", 18),
    activation("PRelu", 1).shapes(prelu).weights(&[1]),
    activation("Relu", 1),
    activation("Selu", 1),
    activation("Sigmoid", 1).within(0.0, 1.0),
    activation("Softplus", 1),
    activation("Softsign", 1).within(-1.0, 1.0),
    activation("Tanh", 1).within(-1.0, 1.0),
    activation("ThresholdedRelu", 10),
    operator("Swish", 24)
        .class(Class::Activation)
        .rewritten("becomes its formula")
        .carries(),
    // Functions that a gradient passes.
    unary("Abs", 1).carries(),
    unary("Cos", 7).carries().within(-1.0, 1.0),
    unary("Exp", 1).carries(),
    unary("Log", 1).carries(),
    unary("Neg", 1).carries(),
    unary("Reciprocal", 1).carries(),
    unary("Sin", 7).carries().within(-1.0, 1.0),
    unary("Sqrt", 1).carries(),
    // Functions that have no gradient rule, or steps.
    unary("Acos", 7),
    unary("Acosh", 9),
    unary("Asin", 7),
    unary("Asinh", 9),
    unary("Atan", 7),
    unary("Atanh", 9),
    unary("Ceil", 1),
    unary("Cosh", 9),
    unary("Floor", 1),
    unary("Round", 11),
    unary("Shrink", 9),
    unary("Sign", 9),
    unary("Sinh", 9),
    unary("Tan", 7),
    // Copies and conversions.
    unary("Identity", 1).carries().elements(Elements::Same),
    elementwise("Cast", 1, cast)
        .carries()
        .elements(Elements::Converted)
        .gives(Gives::TypeOfTo),
    operator("CastLike", 15)
        .shapes(cast_like)
        .carries()
        .mixing(Mixing::Nothing)
        .elements(Elements::Converted),
    // Arithmetic with broadcasting.
    elementwise("Add", 1, binary)
        .class(Class::Affine)
        .parameters(EVERY),
    elementwise("Div", 1, binary)
        .class(Class::Affine)
        .parameters(EVERY),
    elementwise("Max", 1, variadic).carries_every(),
    elementwise("Mean", 1, variadic).parameters(EVERY),
    elementwise("Min", 1, variadic).carries_every(),
    elementwise("Mod", 10, binary),
    elementwise("Mul", 1, binary)
        .class(Class::Affine)
        .parameters(EVERY),
    elementwise("Pow", 1, pow).carries(),
    elementwise("Sub", 1, binary)
        .class(Class::Affine)
        .parameters(EVERY),
    elementwise("Sum", 1, variadic).parameters(EVERY),
    elementwise("Where", 9, select).parameters(Parameters::Mixed(Inputs::At(&[1, 2]))),
    // Comparisons, logic and bits.
    elementwise("And", 1, binary).gives(Gives::Integers),
    elementwise("BitShift", 11, binary).gives(Gives::Integers),
    elementwise("BitwiseAnd", 18, binary).gives(Gives::Integers),
    unary("BitwiseNot", 18).gives(Gives::Integers),
    elementwise("BitwiseOr", 18, binary).gives(Gives::Integers),
    elementwise("BitwiseXor", 18, binary).gives(Gives::Integers),
    elementwise("Equal", 1, compare).gives(Gives::Integers),
    elementwise("Greater", 1, compare).gives(Gives::Integers),
    elementwise("GreaterOrEqual", 12, compare).gives(Gives::Integers),
    elementwise("IsInf", 10, test).gives(Gives::Integers),
    elementwise("IsNaN", 9, test).gives(Gives::Integers),
    elementwise("Less", 1, compare).gives(Gives::Integers),
    elementwise("LessOrEqual", 12, compare).gives(Gives::Integers),
    unary("Not", 1).gives(Gives::Integers),
    elementwise("Or", 1, binary).gives(Gives::Integers),
    elementwise("Xor", 1, binary).gives(Gives::Integers),
];
