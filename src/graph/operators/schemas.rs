//! The forms that each operator of ONNX's own domain has had: its inputs, outputs, attributes and types.
//!
//! `schemas.txt` is written by `tools/onnx_schemas.py`, which says how it is read.

use std::collections::HashMap;
use std::sync::LazyLock;

/// What an operator takes and gives since some version of the operator set.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Form {
    /// The version.
    pub since: i64,
    /// Whether it is gone since.
    pub deprecated: bool,
    /// Its inputs.
    pub inputs: Vec<Place>,
    /// Its outputs.
    pub outputs: Vec<Place>,
    /// Its attributes and their defaults.
    pub attributes: Vec<(&'static str, Option<&'static str>)>,
    types: Vec<(&'static str, Types)>,
}

/// An input or output.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Place {
    /// Its type.
    pub of: Of,
    /// Whether all that follow are as this one.
    pub repeated: bool,
    /// Whether of those each may have a type of its own.
    pub mixed: bool,
    /// Whether it may be left out.
    pub optional: bool,
}

/// The type of an input or output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Of {
    /// That of all which name this variable.
    Variable(&'static str),
    /// A tensor of elements of this number of `TensorProto.DataType`.
    Element(i32),
}

/// What a value is, by its place among the masks of a variable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// A tensor.
    #[default]
    Tensor,
    /// A sequence of tensors.
    Sequence,
    /// A tensor or nothing.
    Optional,
    /// A sequence or nothing.
    OptionalSequence,
}

/// Masks of element types, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Types([u32; 4]);

impl Types {
    /// Whether elements of this number are among them.
    pub fn have(&self, kind: Kind, element: i32) -> bool {
        (0..32).contains(&element) && self.0[kind as usize] >> element & 1 == 1
    }

    /// The kind that all of them are.
    pub fn kind(&self) -> Option<Kind> {
        use Kind::{Optional, OptionalSequence, Sequence, Tensor};
        let mut kinds = [Tensor, Sequence, Optional, OptionalSequence]
            .into_iter()
            .filter(|kind| self.0[*kind as usize] != 0);
        kinds.next().filter(|_| kinds.next().is_none())
    }
}

impl Form {
    /// Input `index` of a node.
    pub fn input(&self, index: usize) -> Option<Place> {
        place(&self.inputs, index)
    }

    /// Output `index` of a node.
    pub fn output(&self, index: usize) -> Option<Place> {
        place(&self.outputs, index)
    }

    /// What a variable may stand for.
    pub fn types(&self, variable: &str) -> Types {
        let found = self.types.iter().find(|(name, _)| *name == variable);
        found.map(|(_, types)| *types).unwrap_or_default()
    }

    /// Whether something of this type may be there.
    pub fn takes(&self, place: Place, kind: Kind, element: i32) -> bool {
        match place.of {
            Of::Variable(variable) => self.types(variable).have(kind, element),
            Of::Element(number) => kind == Kind::Tensor && number == element,
        }
    }

    /// Whether it has an attribute of this name.
    pub fn has(&self, attribute: &str) -> bool {
        self.attributes.iter().any(|(name, _)| *name == attribute)
    }

    /// What an attribute is where a node does not say it.
    pub fn default(&self, attribute: &str) -> Option<&'static str> {
        let found = self.attributes.iter().find(|(name, _)| *name == attribute);
        found.and_then(|(_, default)| *default)
    }
}

fn place(places: &[Place], index: usize) -> Option<Place> {
    let last = places.last().filter(|place| place.repeated);
    places.get(index).or(last).copied()
}

static FORMS: LazyLock<HashMap<&'static str, Vec<Form>>> = LazyLock::new(|| {
    let mut forms: HashMap<&str, Vec<Form>> = HashMap::new();
    for (name, form) in include_str!("schemas.txt").lines().filter_map(read) {
        forms.entry(name).or_default().push(form);
    }
    forms
});

fn read(line: &'static str) -> Option<(&'static str, Form)> {
    let mut fields = line.split('\t');
    let mut field = || fields.next();
    let (name, since) = (field()?, field()?);
    let (inputs, outputs, attributes, types) = (field()?, field()?, field()?, field()?);
    let list = |text: &'static str| text.split(',').filter(|part| !part.is_empty());
    let place = |text: &'static str| {
        let of = text.trim_end_matches(['?', '*', '+']);
        Place {
            of: of.parse().map_or(Of::Variable(of), Of::Element),
            repeated: text.ends_with(['*', '+']),
            mixed: text.ends_with('+'),
            optional: text.ends_with('?'),
        }
    };
    let attribute = |text: &'static str| match text.split_once('=') {
        Some((name, default)) => (name, Some(default)),
        None => (text, None),
    };
    let variable = |text: &'static str| {
        let (name, masks) = text.split_once('=')?;
        let mut types = Types::default();
        for (mask, text) in types.0.iter_mut().zip(masks.split(':')) {
            *mask = u32::from_str_radix(text, 16).ok()?;
        }
        Some((name, types))
    };
    let form = Form {
        since: since.trim_end_matches('!').parse().ok()?,
        deprecated: since.ends_with('!'),
        inputs: list(inputs).map(place).collect(),
        outputs: list(outputs).map(place).collect(),
        attributes: list(attributes).map(attribute).collect(),
        types: types.split(' ').filter_map(variable).collect(),
    };
    Some((name, form))
}

/// All forms of an operator, the oldest first; none where ONNX has no such operator.
pub(crate) fn forms(operator: &str) -> &'static [Form] {
    FORMS.get(operator).map_or(&[], Vec::as_slice)
}

/// The form that an operator has in a version of the operator set.
pub(crate) fn form(operator: &str, opset: i64) -> Option<&'static Form> {
    let older = forms(operator).iter().rev();
    older.into_iter().find(|form| form.since <= opset)
}

/// The newest version of the operator set that is known.
pub(crate) fn newest() -> i64 {
    let all = FORMS.values().flatten();
    all.map(|form| form.since).max().unwrap_or(0)
}

/// Every operator that has changed, with its forms.
#[cfg(test)]
pub(crate) fn all() -> impl Iterator<Item = (&'static str, &'static [Form])> {
    FORMS.iter().map(|(name, forms)| (*name, forms.as_slice()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_is_read() {
        let lines = include_str!("schemas.txt").lines().count();
        assert_eq!(all().map(|(_, forms)| forms.len()).sum::<usize>(), lines);
        for (name, forms) in all() {
            assert!(forms.is_sorted_by_key(|f| f.since), "{name}");
            let places = forms
                .iter()
                .flat_map(|f| f.inputs.iter().chain(&f.outputs).map(move |p| (f, p)));
            for (form, place) in places {
                if let Of::Variable(variable) = place.of {
                    assert!(
                        form.types.iter().any(|(n, _)| *n == variable),
                        "{name} {variable}"
                    );
                }
            }
        }
    }

    #[test]
    fn forms_are_found_by_version() {
        assert_eq!(form("Clip", 10).unwrap().inputs.len(), 1);
        assert_eq!(form("Clip", 11).unwrap().inputs.len(), 3);
        assert!(form("Gelu", 19).is_none());
        let resize = form("Resize", 13).unwrap();
        assert_eq!(resize.input(2).unwrap().of, Of::Element(1));
        assert!(resize.takes(resize.input(0).unwrap(), Kind::Tensor, 10));
        assert_eq!(resize.default("mode"), Some("nearest"));
    }
}
