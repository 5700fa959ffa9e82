#!/usr/bin/env python3
"""Writes src/graph/operators/schemas.txt: the forms that each operator of ONNX's own domain has had, as `onnx` knows them.

    python3 tools/onnx_schemas.py > src/graph/operators/schemas.txt

A line is a form: name, the version that brought it (`!` where it is deprecated since), inputs, outputs, attributes with
their defaults, type variables; between them a tabulator. Inputs and outputs are the names of type variables, or the number of
an element type; `?` stands behind one that may be absent, `*` behind the last where it may be repeated, `+` where each may then
be of another type. A type variable is a
mask of element types (bit n: number n of `TensorProto.DataType`) for tensors, sequences, optionals and optional
sequences. Of what was there before opset 7 the last form is written.
"""

from onnx import defs, helper

KINDS = ["tensor(", "seq(tensor(", "optional(tensor(", "optional(seq(tensor("]
NUMBERS = {"float": 1, "uint8": 2, "int8": 3, "uint16": 4, "int16": 5, "int32": 6, "int64": 7, "string": 8, "bool": 9,
           "float16": 10, "double": 11, "uint32": 12, "uint64": 13, "complex64": 14, "complex128": 15, "bfloat16": 16,
           "float8e4m3fn": 17, "float8e4m3fnuz": 18, "float8e5m2": 19, "float8e5m2fnuz": 20, "uint4": 21, "int4": 22,
           "float4e2m1": 23, "float8e8m0": 24, "uint2": 25, "int2": 26, "float6e2m3": 27, "float6e3m2": 28}


def mask(types):
    masks = [0] * len(KINDS)
    for text in types:
        for kind, start in reversed(list(enumerate(KINDS))):
            if text.startswith(start):
                masks[kind] |= 1 << NUMBERS[text[len(start):].rstrip(")")]
                break
        else:
            raise SystemExit(f"no type: {text}")
    while len(masks) > 1 and masks[-1] == 0:
        masks.pop()
    return ":".join(f"{m:x}" for m in masks)


def places(parameters, variables):
    made = []
    for parameter in parameters:
        kind = parameter.type_str
        if kind not in variables:
            name = kind.removeprefix("tensor(").rstrip(")")
            if name in NUMBERS and kind.startswith("tensor("):
                kind = str(NUMBERS[name])
            else:
                # A type of its own that is no tensor's.
                variables[f"V{len(variables)}"] = [kind]
                kind = f"V{len(variables) - 1}"
        option = str(parameter.option).rsplit(".", 1)[-1]
        repeated = "*" if parameter.is_homogeneous else "+"
        made.append(kind + {"Single": "", "Optional": "?", "Variadic": repeated}[option])
    return ",".join(made)


def default(attribute):
    if not attribute.default_value or not attribute.default_value.name:
        return ""
    value = helper.get_attribute_value(attribute.default_value)
    return "=" + (value.decode() if isinstance(value, bytes) else str(value).replace(" ", ""))


def main():
    forms = {}
    for schema in defs.get_all_schemas_with_history():
        if schema.domain == "":
            forms.setdefault(schema.name, []).append(schema)
    for name in sorted(forms):
        schemas = sorted(forms[name], key=lambda s: s.since_version)
        first = max((i for i, s in enumerate(schemas) if s.since_version <= 7), default=0)
        for schema in schemas[first:]:
            variables = {v.type_param_str: list(v.allowed_type_strs) for v in schema.type_constraints}
            inputs, outputs = places(schema.inputs, variables), places(schema.outputs, variables)
            attributes = [a + default(schema.attributes[a]) for a in sorted(schema.attributes)]
            types = [f"{v}={mask(t)}" for v, t in variables.items()]
            since = f"{schema.since_version}{'!' if schema.deprecated else ''}"
            print("\t".join([name, since, inputs, outputs, ",".join(attributes), " ".join(types)]))


if __name__ == "__main__":
    main()
