//! The operators as ONNX defines them, in all versions: `schemas.tsv`, which `tools/schemas/write.py` writes.
//!
//! What this tool knows of an operator beyond that stands in the table of operators of the room `graph`.

use std::collections::HashMap;
use std::sync::LazyLock;

const TABLE: &str = include_str!("schemas.tsv");

/// An operator in one of its versions.
#[derive(Debug)]
pub(super) struct Schema {
    /// The version of the operator set that brought it.
    pub since: i64,
    /// Whether it is no longer to be used.
    pub deprecated: bool,
    pub inputs: Vec<Parameter>,
    pub outputs: Vec<Parameter>,
    /// Attributes by name: the number of its type, and whether it is required.
    pub attributes: HashMap<&'static str, (i32, bool)>,
    /// What the variables may stand for.
    pub variables: HashMap<&'static str, &'static [&'static str]>,
}

/// A formal input or output.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parameter {
    /// A type, or the name of a variable.
    pub kind: &'static str,
    pub occurs: Occurs,
}

/// How often a parameter occurs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Occurs {
    Once,
    Optional,
    /// So often or more.
    Repeated {
        least: usize,
        of_one_type: bool,
    },
}

/// Names of attributes' types, in the order of their numbers in `onnx.proto` (from 1).
pub(super) const ATTRIBUTE_TYPES: [&str; 14] = [
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

/// By domain and name, the versions of an operator from the oldest on.
type Versions = HashMap<&'static str, HashMap<&'static str, Vec<Schema>>>;

static SCHEMAS: LazyLock<Versions> = LazyLock::new(|| {
    let mut sets: Vec<&'static [&'static str]> = Vec::new();
    let mut schemas = Versions::new();
    for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
        let cells: Vec<&str> = line.split('\t').collect();
        match cells[..] {
            ["set", _, types] => sets.push(types.split(' ').collect::<Vec<_>>().leak()),
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
                let schema = Schema {
                    since: since.parse().unwrap_or(i64::MAX),
                    deprecated: !deprecated.is_empty(),
                    inputs: words(inputs).map(parameter).collect(),
                    outputs: words(outputs).map(parameter).collect(),
                    attributes: words(attributes).filter_map(attribute).collect(),
                    variables: words(variables)
                        .filter_map(|v| variable(v, &sets))
                        .collect(),
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
    let repeated = |kind, least: &str, of_one_type| Parameter {
        kind,
        occurs: Occurs::Repeated {
            least: least.parse().unwrap_or(1),
            of_one_type,
        },
    };
    if let Some((kind, least)) = text.split_once('*') {
        return repeated(kind, least, true);
    }
    if let Some((kind, least)) = text.split_once('~') {
        return repeated(kind, least, false);
    }
    match text.strip_suffix('?') {
        Some(kind) => Parameter {
            kind,
            occurs: Occurs::Optional,
        },
        None => Parameter {
            kind: text,
            occurs: Occurs::Once,
        },
    }
}

fn attribute(text: &'static str) -> Option<(&'static str, (i32, bool))> {
    let (name, kind) = text.split_once(':')?;
    let (kind, required) = match kind.strip_suffix('!') {
        Some(kind) => (kind, true),
        None => (kind, false),
    };
    let number = ATTRIBUTE_TYPES.iter().position(|known| *known == kind)?;
    Some((name, (number as i32 + 1, required)))
}

fn variable(
    text: &'static str,
    sets: &[&'static [&'static str]],
) -> Option<(&'static str, &'static [&'static str])> {
    let (name, set) = text.split_once('=')?;
    Some((name, sets.get(set.parse::<usize>().ok()?)?))
}

/// The newest version of the default operator set that is known.
pub(super) fn newest() -> i64 {
    let own = SCHEMAS.get("").into_iter().flatten();
    let versions = own.flat_map(|(_, versions)| versions);
    versions.map(|schema| schema.since).max().unwrap_or(0)
}

/// Whether all operators of a domain are known.
pub(super) fn knows(domain: &str) -> bool {
    SCHEMAS.contains_key(domain)
}

/// The operator in a version of its operator set.
pub(super) fn schema(domain: &str, name: &str, version: i64) -> Option<&'static Schema> {
    let versions = SCHEMAS.get(domain)?.get(name)?;
    versions.iter().rev().find(|schema| schema.since <= version)
}

impl Schema {
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_is_known_in_the_version_that_a_model_imports() {
        assert_eq!(schema("", "Relu", 12).unwrap().since, 6);
        assert_eq!(schema("", "Relu", 30).unwrap().since, 14);
        assert!(schema("", "Gelu", 19).is_none() && schema("", "Gelu", 20).is_some());
        assert!(schema("", "Upsample", 17).unwrap().deprecated);
        let conv = schema("", "Conv", 11).unwrap();
        assert_eq!(Schema::range(&conv.inputs), (2, Some(3)));
        assert_eq!(conv.attributes["pads"], (7, false));
        assert!(conv.variables["T"].contains(&"tensor(float)"));
        let concat = schema("", "Concat", 13).unwrap();
        assert_eq!(Schema::range(&concat.inputs), (1, None));
        assert!(concat.attributes["axis"].1);
        let loop_ = schema("", "Loop", 13).unwrap();
        assert_eq!(Schema::range(&loop_.inputs), (0, None));
        assert!(newest() >= 26 && knows("ai.onnx.ml") && !knows("com.microsoft"));
    }
}
