//! Names of element types.

/// By the numbers of `TensorProto.DataType`.
const NAMES: [&str; 29] = [
    "undefined",
    "float32",
    "uint8",
    "int8",
    "uint16",
    "int16",
    "int32",
    "int64",
    "string",
    "bool",
    "float16",
    "float64",
    "uint32",
    "uint64",
    "complex64",
    "complex128",
    "bfloat16",
    "float8e4m3fn",
    "float8e4m3fnuz",
    "float8e5m2",
    "float8e5m2fnuz",
    "uint4",
    "int4",
    "float4e2m1",
    "float8e8m0",
    "uint2",
    "int2",
    "float6e2m3",
    "float6e3m2",
];

/// The name of an element type by its number in `TensorProto.DataType`, as NumPy and its extensions have it: `float32`;
/// `None` of a number that stands for none.
pub(crate) fn known_element(number: i32) -> Option<&'static str> {
    let name = usize::try_from(number).ok().and_then(|at| NAMES.get(at));
    name.copied()
}

/// That name, or the number where it has none.
pub(crate) fn element_name(number: i32) -> String {
    known_element(number).map_or_else(|| format!("type {number}"), str::to_owned)
}
