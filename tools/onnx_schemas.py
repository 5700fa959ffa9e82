#!/usr/bin/env python3
"""Writes src/graph/operators/schemas.tsv: the operators of ONNX in all versions, as the package `onnx` defines them.

    python3 tools/onnx_schemas.py > src/graph/operators/schemas.tsv

A line for each set of types, `set`, its number and its types; then one for each version of each operator:
domain, name, version, `deprecated` or nothing, inputs, outputs, attributes, types of the variables.
A parameter is a type or a variable, with `?` behind it where it is optional, `*N` where it is repeated N times or
more, and `~N` where these may be of several types. An attribute is NAME:TYPE, with `!` where it is required and
`=DEFAULT` where it has one.
"""

import onnx.defs
import onnx.helper

OPTION = onnx.defs.OpSchema.FormalParameterOption


def parameter(p):
    if p.option == OPTION.Optional:
        return p.type_str + "?"
    if p.option == OPTION.Variadic:
        return p.type_str + ("*" if p.is_homogeneous else "~") + str(p.min_arity)
    return p.type_str


def attribute(name, a):
    text = f"{name}:{a.type.name.lower()}{'!' if a.required else ''}"
    if not a.default_value or not a.default_value.name:
        return text
    value = onnx.helper.get_attribute_value(a.default_value)
    words = [v.decode() if isinstance(v, bytes) else str(v) for v in (value if isinstance(value, list) else [value])]
    value = f"[{','.join(words)}]" if isinstance(value, list) else words[0]
    assert not set(value) & set(" \t="), f"{name}: {value!r} cannot be written"
    return f"{text}={value}"


def main():
    schemas = sorted(
        onnx.defs.get_all_schemas_with_history(),
        key=lambda s: (s.domain, s.name, s.since_version),
    )
    sets, rows = {}, []
    for s in schemas:
        variables = []
        for constraint in s.type_constraints:
            types = " ".join(sorted(constraint.allowed_type_strs))
            number = sets.setdefault(types, len(sets))
            variables.append(f"{constraint.type_param_str}={number}")
        attributes = [attribute(name, a) for name, a in sorted(s.attributes.items())]
        lists = [[parameter(p) for p in s.inputs], [parameter(p) for p in s.outputs], attributes, variables]
        deprecated = "deprecated" if s.deprecated else ""
        rows.append([s.domain, s.name, str(s.since_version), deprecated] + [" ".join(part) for part in lists])
    print(f"# onnx {onnx.__version__}, opset {onnx.defs.onnx_opset_version()}: written by tools/onnx_schemas.py")
    for types, number in sets.items():
        print(f"set\t{number}\t{types}")
    for row in rows:
        print("\t".join(row))


if __name__ == "__main__":
    main()
