//! The operators as ONNX defines them, in all versions: `schemas.tsv`, which `tools/onnx_schemas.py` writes.
//!
//! What this tool knows of an operator beyond that stands in the table of operators beside this file.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::onnx::known_element;

/// An operator in one of its versions.
#[derive(Debug)]
pub(crate) struct Schema {
    /// The version of the operator set that brought it.
    pub since: i64,
    /// Whether it is no longer to be used.
    pub deprecated: bool,
    /// Its inputs.
    pub inputs: Vec<Parameter>,
    /// Its outputs.
    pub outputs: Vec<Parameter>,
    /// Its attributes, by name in order.
    pub attributes: Vec<Attribute>,
    /// The types that each of its variables may stand for.
    variables: HashMap<&'static str, Types>,
}

/// An input or output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parameter {
    /// A type, as ONNX writes it: `tensor(float)`; or the name of a variable.
    pub kind: &'static str,
    /// How often.
    pub occurs: Occurs,
}

/// How often a parameter occurs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Occurs {
    /// Always.
    Once,
    /// Once or not at all.
    Optional,
    /// So often or more.
    Repeated {
        /// How often at least.
        least: usize,
        /// Whether all are of one type.
        of_one_type: bool,
    },
}

/// An attribute.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attribute {
    /// Its name.
    pub name: &'static str,
    /// The number of its type in `AttributeProto.AttributeType`.
    pub kind: i32,
    /// Whether each node must say it.
    pub required: bool,
    /// What it is where a node does not say it.
    pub default: Option<&'static str>,
}

/// Types, as ONNX writes them.
type Types = &'static [&'static str];

/// Names of attributes' types, in the order of their numbers in `onnx.proto` (from 1).
pub(crate) const ATTRIBUTE_TYPES: [&str; 14] = [
    "float",
    "int",
    "string",
    "tensor",
    "graph",
    "floats",
    "ints",
    "strings",
    "tensors",
    "graphs",
    "sparse_tensor",
    "sparse_tensors",
    "type_proto",
    "type_protos",
];

/// What holds the elements of a value.
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

/// The name of an element type within that of a type: `float` in `tensor(float)`.
pub(crate) fn type_element(number: i32) -> Option<&'static str> {
    match known_element(number)? {
        "undefined" => None,
        "float32" => Some("float"),
        "float64" => Some("double"),
        name => Some(name),
    }
}

impl Kind {
    const ALL: [Kind; 4] = [
        Kind::OptionalSequence,
        Kind::Optional,
        Kind::Sequence,
        Kind::Tensor,
    ];

    /// What stands before and behind the element's name.
    fn around(self) -> (&'static str, &'static str) {
        match self {
            Kind::Tensor => ("tensor(", ")"),
            Kind::Sequence => ("seq(tensor(", "))"),
            Kind::Optional => ("optional(tensor(", "))"),
            Kind::OptionalSequence => ("optional(seq(tensor(", ")))"),
        }
    }

    /// The type of this kind with elements of a number of `TensorProto.DataType`: `seq(tensor(float))`.
    pub fn of(self, element: i32) -> Option<String> {
        let (before, behind) = self.around();
        type_element(element).map(|name| format!("{before}{name}{behind}"))
    }

    /// The kind of a type and the number of its elements; `None` of maps and sparse tensors.
    pub fn read(text: &str) -> Option<(Kind, i32)> {
        Kind::ALL.into_iter().find_map(|kind| {
            let (before, behind) = kind.around();
            let name = text.strip_prefix(before)?.strip_suffix(behind)?;
            let element = (1..32).find(|&number| type_element(number) == Some(name))?;
            Some((kind, element))
        })
    }
}

impl Parameter {
    /// Whether those of its places are all of one type.
    pub fn is_of_one_type(&self) -> bool {
        match self.occurs {
            Occurs::Repeated { of_one_type, .. } => of_one_type,
            Occurs::Once | Occurs::Optional => true,
        }
    }
}

impl Schema {
    /// The formal parameter of input `index`.
    pub fn input(&self, index: usize) -> Option<&Parameter> {
        Schema::parameter(&self.inputs, index)
    }

    /// The formal parameter of output `index`.
    pub fn output(&self, index: usize) -> Option<&Parameter> {
        Schema::parameter(&self.outputs, index)
    }

    /// The formal parameter of place `index`.
    pub fn parameter(parameters: &[Parameter], index: usize) -> Option<&Parameter> {
        let repeated = |p: &&Parameter| matches!(p.occurs, Occurs::Repeated { .. });
        parameters
            .get(index)
            .or_else(|| parameters.last().filter(repeated))
    }

    /// How many inputs or outputs there may be.
    pub fn range(parameters: &[Parameter]) -> (usize, Option<usize>) {
        let mut least = 0;
        let mut most = Some(0);
        for (index, parameter) in parameters.iter().enumerate() {
            match parameter.occurs {
                Occurs::Once => (least, most) = (index + 1, most.map(|most| most + 1)),
                Occurs::Optional => most = most.map(|most| most + 1),
                Occurs::Repeated { least: n, .. } => {
                    if n > 0 {
                        least = index + n;
                    }
                    most = None;
                }
            }
        }
        (least, most)
    }

    /// The types that a variable may stand for; `None` where `kind` is a type.
    pub fn variable(&self, kind: &str) -> Option<Types> {
        self.variables.get(kind).copied()
    }

    /// Whether something of this kind and element may stand where a parameter does.
    pub fn takes(&self, parameter: &Parameter, kind: Kind, element: i32) -> bool {
        let Some(is) = kind.of(element) else {
            return false;
        };
        match self.variable(parameter.kind) {
            Some(types) => types.contains(&is.as_str()),
            None => parameter.kind == is,
        }
    }

    /// The kind that a parameter always is.
    pub fn kind(&self, parameter: &Parameter) -> Option<Kind> {
        let own = [parameter.kind];
        let types = self.variable(parameter.kind).unwrap_or(&own);
        let mut kinds = types.iter().map(|text| Kind::read(text).map(|(k, _)| k));
        let first = kinds.next().flatten()?;
        kinds.all(|kind| kind == Some(first)).then_some(first)
    }

    /// An attribute.
    pub fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes.iter().find(|a| a.name == name)
    }

    /// What an attribute is where a node does not say it.
    pub fn default(&self, attribute: &str) -> Option<&'static str> {
        self.attribute(attribute).and_then(|a| a.default)
    }
}

/// By domain and name, the versions of an operator from the oldest on.
type Versions = HashMap<&'static str, HashMap<&'static str, Vec<Schema>>>;

const TABLE: &str = include_str!("schemas.tsv");

static SCHEMAS: LazyLock<Versions> = LazyLock::new(|| {
    let mut sets: Vec<Types> = Vec::new();
    let mut schemas = Versions::new();
    for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
        let cells: Vec<&str> = line.split('\t').collect();
        match cells[..] {
            ["set", _, types] => sets.push(words(types).collect::<Vec<_>>().leak()),
            [
                domain,
                name,
                since,
                deprecated,
                inputs,
                outputs,
                attributes,
                variables,
            ] => {
                let variables = words(variables).filter_map(|text| variable(text, &sets));
                let schema = Schema {
                    since: since.parse().unwrap_or(i64::MAX),
                    deprecated: !deprecated.is_empty(),
                    inputs: words(inputs).map(parameter).collect(),
                    outputs: words(outputs).map(parameter).collect(),
                    attributes: words(attributes).filter_map(attribute).collect(),
                    variables: variables.collect(),
                };
                let operators = schemas.entry(domain).or_default();
                operators.entry(name).or_default().push(schema);
            }
            _ => {}
        }
    }
    schemas
});

fn words(cell: &'static str) -> impl Iterator<Item = &'static str> {
    cell.split(' ').filter(|word| !word.is_empty())
}

fn parameter(text: &'static str) -> Parameter {
    let repeated = |(kind, least): (&'static str, &str), of_one_type| Parameter {
        kind,
        occurs: Occurs::Repeated {
            least: least.parse().unwrap_or(1),
            of_one_type,
        },
    };
    if let Some(parts) = text.split_once('*') {
        return repeated(parts, true);
    }
    if let Some(parts) = text.split_once('~') {
        return repeated(parts, false);
    }
    let (kind, occurs) = match text.strip_suffix('?') {
        Some(kind) => (kind, Occurs::Optional),
        None => (text, Occurs::Once),
    };
    Parameter { kind, occurs }
}

fn attribute(text: &'static str) -> Option<Attribute> {
    let (name, rest) = text.split_once(':')?;
    let (rest, default) = match rest.split_once('=') {
        Some((rest, default)) => (rest, Some(default)),
        None => (rest, None),
    };
    let kind = rest.trim_end_matches('!');
    let number = ATTRIBUTE_TYPES.iter().position(|known| *known == kind)?;
    Some(Attribute {
        name,
        kind: number as i32 + 1,
        required: rest.ends_with('!'),
        default,
    })
}

fn variable(text: &'static str, sets: &[Types]) -> Option<(&'static str, Types)> {
    let (name, set) = text.split_once('=')?;
    Some((name, sets.get(set.parse::<usize>().ok()?)?))
}

/// The newest version of ONNX's own operator set that is known.
pub(crate) fn newest() -> i64 {
    let own = SCHEMAS.get("").into_iter().flatten();
    let versions = own.flat_map(|(_, versions)| versions);
    versions.map(|schema| schema.since).max().unwrap_or(0)
}

/// Whether all operators of a domain are known.
pub(crate) fn knows(domain: &str) -> bool {
    SCHEMAS.contains_key(domain)
}

/// The operator in a version of its operator set.
pub(crate) fn schema(domain: &str, operator: &str, version: i64) -> Option<&'static Schema> {
    let versions = SCHEMAS.get(domain)?.get(operator)?;
    versions.iter().rev().find(|schema| schema.since <= version)
}

/// The operator of ONNX's own set in a version of it.
pub(crate) fn standard(operator: &str, opset: i64) -> Option<&'static Schema> {
    schema("", operator, opset)
}

/// Every operator of ONNX's own set, with its versions.
#[cfg(test)]
pub(crate) fn all() -> impl Iterator<Item = (&'static str, &'static [Schema])> {
    let own = SCHEMAS.get("").into_iter().flatten();
    own.map(|(name, versions)| (*name, versions.as_slice()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_is_read() {
        let operators = |line: &&str| line.split('\t').count() == 8;
        let lines: Vec<&str> = TABLE.lines().filter(operators).collect();
        let all = || SCHEMAS.values().flatten();
        assert_eq!(all().map(|(_, s)| s.len()).sum::<usize>(), lines.len());
        let cells = |at: usize| {
            let words = |line: &&'static str| words(line.split('\t').nth(at).unwrap()).count();
            lines.iter().map(words).sum::<usize>()
        };
        let attributes = all().flat_map(|(_, s)| s).map(|s| s.attributes.len());
        assert_eq!(attributes.sum::<usize>(), cells(6));
        let variables = all().flat_map(|(_, s)| s).map(|s| s.variables.len());
        assert_eq!(variables.sum::<usize>(), cells(7));
        for (name, versions) in all() {
            assert!(versions.is_sorted_by_key(|s| s.since), "{name}");
            for schema in versions {
                for p in schema.inputs.iter().chain(&schema.outputs) {
                    let known = p.kind.contains('(') || schema.variable(p.kind).is_some();
                    assert!(known, "{name} {}", p.kind);
                }
            }
        }
    }

    #[test]
    fn an_operator_is_known_in_the_version_that_a_model_imports() {
        assert_eq!(standard("Relu", 12).unwrap().since, 6);
        assert_eq!(standard("Relu", 30).unwrap().since, 14);
        assert!(standard("Gelu", 19).is_none() && standard("Gelu", 20).is_some());
        assert!(standard("Upsample", 17).unwrap().deprecated);
        let conv = standard("Conv", 11).unwrap();
        assert_eq!(Schema::range(&conv.inputs), (2, Some(3)));
        let pads = conv.attribute("pads").unwrap();
        assert_eq!((pads.kind, pads.required, pads.default), (7, false, None));
        assert!(conv.variable("T").unwrap().contains(&"tensor(float)"));
        let concat = standard("Concat", 13).unwrap();
        assert_eq!(Schema::range(&concat.inputs), (1, None));
        assert!(concat.attribute("axis").unwrap().required);
        let loop_ = standard("Loop", 13).unwrap();
        assert_eq!(Schema::range(&loop_.inputs), (0, None));
        assert!(!loop_.input(5).unwrap().is_of_one_type());
        assert!(newest() >= 26 && knows("ai.onnx.ml") && !knows("com.microsoft"));
    }

    #[test]
    fn parameters_tell_what_they_take() {
        assert_eq!(standard("Clip", 10).unwrap().inputs.len(), 1);
        assert_eq!(standard("Clip", 11).unwrap().inputs.len(), 3);
        let resize = standard("Resize", 13).unwrap();
        assert_eq!(resize.input(2).unwrap().kind, "tensor(float)");
        assert!(resize.takes(resize.input(0).unwrap(), Kind::Tensor, 10));
        assert!(resize.takes(resize.input(2).unwrap(), Kind::Tensor, 1));
        assert!(!resize.takes(resize.input(2).unwrap(), Kind::Tensor, 10));
        assert_eq!(resize.default("mode"), Some("nearest"));
        let split = standard("SplitToSequence", 11).unwrap();
        assert_eq!(split.kind(split.output(0).unwrap()), Some(Kind::Sequence));
        assert_eq!(split.kind(split.input(0).unwrap()), Some(Kind::Tensor));
    }

    #[test]
    fn types_are_written_and_read() {
        for kind in Kind::ALL {
            for element in 1..=26 {
                let text = kind.of(element).unwrap();
                assert_eq!(Kind::read(&text), Some((kind, element)), "{text}");
            }
        }
        assert_eq!(Kind::read("map(int64,tensor(float))"), None);
        assert_eq!(Kind::Tensor.of(0), None);
    }
}
