//! How rows are written.

use crate::graph::infer::{ShapeRule, elementwise};

use super::{
    Adapted, Carries, ChannelsLast, Class, Data, Elements, Gives, Inputs, Mixing, Operator,
    Parameters, Work,
};

/// An operator of which nothing else is known.
pub(super) const fn operator(name: &'static str, since: i64) -> Operator {
    Operator {
        name,
        since,
        adapted: None,
        shapes: None,
        class: Class::Other,
        data: Data::Any,
        parameters: Parameters::None,
        carries: Carries::Nothing,
        mixing: Mixing::Unknown,
        channels_last: ChannelsLast::Plain,
        elements: Elements::Computed,
        gives: Gives::Floats,
        work: Work::None,
        range: None,
    }
}

/// An operator whose elements each depend on those at the same place, with broadcasting.
pub(super) const fn elementwise(name: &'static str, since: i64, shapes: ShapeRule) -> Operator {
    operator(name, since)
        .shapes(shapes)
        .mixing(Mixing::Elementwise)
        .channels_last(ChannelsLast::Elementwise)
}

/// A function of each element of one input.
pub(super) const fn unary(name: &'static str, since: i64) -> Operator {
    elementwise(name, since, elementwise::unary)
}

/// An activation function.
pub(super) const fn activation(name: &'static str, since: i64) -> Operator {
    unary(name, since).class(Class::Activation).carries()
}

impl Operator {
    pub(super) const fn shapes(mut self, rule: ShapeRule) -> Self {
        self.shapes = Some(rule);
        self
    }

    /// Nodes of an older opset are rewritten.
    pub(super) const fn adapted(mut self, below: i64, change: &'static str) -> Self {
        self.adapted = Some(Adapted {
            below: Some(below),
            change,
        });
        self
    }

    /// Nodes of every opset are rewritten.
    pub(super) const fn rewritten(mut self, change: &'static str) -> Self {
        self.adapted = Some(Adapted {
            below: None,
            change,
        });
        self
    }

    pub(super) const fn class(mut self, class: Class) -> Self {
        self.class = class;
        self
    }

    pub(super) const fn reads(mut self, data: Data) -> Self {
        self.data = data;
        self
    }

    /// Constants at these inputs are weights.
    pub(super) const fn weights(mut self, places: &'static [usize]) -> Self {
        self.parameters = Parameters::Own(Inputs::At(places));
        self
    }

    pub(super) const fn parameters(mut self, parameters: Parameters) -> Self {
        self.parameters = parameters;
        self
    }

    /// What is made of a weight at input 0 is still that weight.
    pub(super) const fn carries(mut self) -> Self {
        self.carries = Carries::First;
        self
    }

    /// As [`Operator::carries`], for all inputs.
    pub(super) const fn carries_every(mut self) -> Self {
        self.carries = Carries::Every;
        self
    }

    pub(super) const fn mixing(mut self, mixing: Mixing) -> Self {
        self.mixing = mixing;
        self
    }

    pub(super) const fn channels_last(mut self, how: ChannelsLast) -> Self {
        self.channels_last = how;
        self
    }

    pub(super) const fn elements(mut self, elements: Elements) -> Self {
        self.elements = elements;
        self
    }

    pub(super) const fn gives(mut self, gives: Gives) -> Self {
        self.gives = gives;
        self
    }

    pub(super) const fn work(mut self, work: Work) -> Self {
        self.work = work;
        self
    }

    /// Its elements lie between these.
    pub(super) const fn within(mut self, low: f64, high: f64) -> Self {
        self.range = Some([low, high]);
        self
    }
}
