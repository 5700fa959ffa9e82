"""Writes models with one fault each, and sound ones, into a folder, with what `onnx.checker` says of each.

    python broken.py FOLDER [MODEL...]

Prints JSON: of each file whether the full check accepts it, and its complaint. MODELs are checked as they are.
"""

import json
import sys
from pathlib import Path

import numpy as np

import onnx
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper as nh

F = T.FLOAT
CASES = {}


def case(function):
    CASES[function.__name__] = function
    return function


def value(name, dims, kind=F):
    return h.make_tensor_value_info(name, kind, dims)


def tensor(name, dims, kind=np.float32):
    return nh.from_array(np.full(dims, 0.5, kind), name)


def base(opset=17, nodes=None):
    """x [N, 3, 8, 8] -> Conv -> Relu -> pool -> Flatten -> Gemm -> y [N, 5]"""
    nodes = nodes or [
        h.make_node("Conv", ["x", "w"], ["c"], "conv", pads=[1, 1, 1, 1]),
        h.make_node("Relu", ["c"], ["r"], "relu"),
        h.make_node("GlobalAveragePool", ["r"], ["p"], "pool"),
        h.make_node("Flatten", ["p"], ["f"], "flat"),
        h.make_node("Gemm", ["f", "v", "b"], ["y"], "fc"),
    ]
    graph = h.make_graph(
        nodes, "g", [value("x", ["N", 3, 8, 8])], [value("y", ["N", 5])],
        [tensor("w", [4, 3, 3, 3]), tensor("v", [4, 5]), tensor("b", [5])],
    )
    return h.make_model(graph, opset_imports=[h.make_opsetid("", opset)], ir_version=8)


def small(nodes, inputs, outputs, tensors=(), opset=17, **more):
    graph = h.make_graph(nodes, "g", inputs, outputs, list(tensors), **more)
    return h.make_model(graph, opset_imports=[h.make_opsetid("", opset)], ir_version=8)


def edited(edit, opset=17):
    m = base(opset)
    edit(m, m.graph)
    return m


def simple(name, edit, opset=17):
    CASES[name] = lambda: edited(edit, opset)


def node(g, name):
    return next(n for n in g.node if n.name == name)


# Sound ones.
simple("ok", lambda m, g: None)
simple("ok_no_shapes_known", lambda m, g: [d.Clear() for d in g.input[0].type.tensor_type.shape.dim])
simple("ok_other_domain", lambda m, g: (
    g.node.append(h.make_node("Odd", ["y"], ["z"], "odd", domain="my.own", thing=1)),
    m.opset_import.append(h.make_opsetid("my.own", 1))))
simple("ok_doc_strings", lambda m, g: setattr(g.node[0], "doc_string", "what"))
simple("ok_unused_initializer", lambda m, g: g.initializer.append(tensor("unused", [2])))
simple("ok_repeated_node_names", lambda m, g: setattr(g.node[1], "name", "conv"))
simple("ok_no_node_names", lambda m, g: [setattr(n, "name", "") for n in g.node])
simple("ok_value_info", lambda m, g: g.value_info.append(value("c", ["N", 4, 8, 8])))
simple("ok_value_info_other_symbol", lambda m, g: g.value_info.append(value("c", ["M", 4, 8, 8])))
simple("ok_output_open", lambda m, g: g.output[0].CopyFrom(value("y", [None, None])))
simple("ok_wildcard_batch", lambda m, g: g.output[0].CopyFrom(value("y", ["batch", 5])))
simple("ok_opset_11", lambda m, g: None, 11)
simple("ok_opset_25", lambda m, g: None, 25)


@case
def ok_if():
    then = h.make_graph([h.make_node("Add", ["x", "one"], ["t"])], "then", [], [value("t", ["N", 2])])
    other = h.make_graph([h.make_node("Relu", ["x"], ["e"])], "else", [], [value("e", ["N", 2])])
    return small([h.make_node("If", ["c"], ["y"], "if", then_branch=then, else_branch=other)],
                 [value("x", ["N", 2]), value("c", [], T.BOOL)], [value("y", ["N", 2])], [tensor("one", [1])])


@case
def ok_loop():
    body = h.make_graph([h.make_node("Identity", ["k"], ["k2"]), h.make_node("Add", ["s", "s"], ["s2"])], "body",
                        [value("i", [], T.INT64), value("k", [], T.BOOL), value("s", [2])],
                        [value("k2", [], T.BOOL), value("s2", [2])])
    n = nh.from_array(np.array(3, np.int64), "n")
    return small([h.make_node("Loop", ["n", "", "x"], ["y"], "loop", body=body)], [value("x", [2])], [value("y", [2])], [n])


@case
def ok_function():
    f = h.make_function("local", "Twice", ["a"], ["b"], [h.make_node("Add", ["a", "a"], ["b"])], [h.make_opsetid("", 17)])
    m = small([h.make_node("Twice", ["x"], ["y"], domain="local")], [value("x", [2])], [value("y", [2])])
    m.functions.append(f)
    m.opset_import.append(h.make_opsetid("local", 1))
    return m


@case
def ok_reshape_of_shape():
    nodes = [h.make_node("Shape", ["x"], ["s"]), h.make_node("Gather", ["s", "zero"], ["n"]),
             h.make_node("Unsqueeze", ["n", "axes"], ["n1"]), h.make_node("Concat", ["n1", "rest"], ["t"], axis=0),
             h.make_node("Reshape", ["x", "t"], ["r"]), h.make_node("MatMul", ["r", "w"], ["y"])]
    ints = lambda name, v: nh.from_array(np.array(v, np.int64), name)
    return small(nodes, [value("x", ["N", 3, 4])], [value("y", ["N", 2])],
                 [ints("zero", 0), ints("axes", [0]), ints("rest", [-1]), tensor("w", [12, 2])])


@case
def ok_open_size_that_must_be_one():
    nodes = [h.make_node("Flatten", ["x"], ["f"]), h.make_node("MatMul", ["f", "w"], ["y"])]
    return small(nodes, [value("x", ["N", 3, "H", "W"])], [value("y", ["N", 2])], [tensor("w", [147, 2])])


@case
def ok_optional_inputs_left_out():
    nodes = [h.make_node("Clip", ["x", "", "hi"], ["y"])]
    return small(nodes, [value("x", [2])], [value("y", [2])], [tensor("hi", [])])


@case
def ok_initializers_among_inputs():
    m = base()
    m.ir_version = 3
    for t in m.graph.initializer:
        m.graph.input.append(value(t.name, list(t.dims)))
    return m


@case
def ok_sequence():
    nodes = [h.make_node("SequenceConstruct", ["x", "x"], ["s"]), h.make_node("ConcatFromSequence", ["s"], ["y"], axis=0)]
    return small(nodes, [value("x", [2])], [value("y", [4])])


@case
def ok_strings():
    s = h.make_tensor("s", T.STRING, [2], [b"a", b"b"])
    return small([h.make_node("Identity", ["s"], ["y"])], [], [value("y", [2], T.STRING)], [s])


@case
def ok_broadcast():
    return small([h.make_node("Add", ["x", "w"], ["y"])], [value("x", ["N", 1, 4])], [value("y", ["N", 3, 4])], [tensor("w", [3, 1])])


# Headers.
simple("no_ir_version", lambda m, g: m.ClearField("ir_version"))
simple("ir_version_of_the_future", lambda m, g: setattr(m, "ir_version", 99))
simple("no_opset", lambda m, g: m.ClearField("opset_import"))
simple("opset_of_the_future", lambda m, g: setattr(m.opset_import[0], "version", 99))
simple("opset_0", lambda m, g: setattr(m.opset_import[0], "version", 0))
simple("opset_twice", lambda m, g: m.opset_import.append(h.make_opsetid("", 17)))
simple("opset_twice_otherwise", lambda m, g: m.opset_import.append(h.make_opsetid("", 13)))
simple("metadata_twice", lambda m, g: [m.metadata_props.append(onnx.StringStringEntryProto(key="k", value=v)) for v in "ab"])
simple("graph_without_a_name", lambda m, g: g.ClearField("name"))
simple("no_outputs", lambda m, g: g.ClearField("output"))

# Names and order.
simple("value_twice", lambda m, g: g.node[1].output.__setitem__(0, "c"))
simple("input_twice", lambda m, g: g.input.append(g.input[0]))
simple("output_twice", lambda m, g: g.output.append(g.output[0]))
simple("initializer_twice", lambda m, g: g.initializer.append(tensor("w", [4, 3, 3, 3])))
simple("initializer_without_a_name", lambda m, g: g.initializer.append(tensor("", [1])))
simple("node_makes_an_input", lambda m, g: g.node[1].output.__setitem__(0, "x"))
simple("node_makes_an_initializer", lambda m, g: g.node[1].output.__setitem__(0, "b"))
simple("missing_input", lambda m, g: g.node[1].input.__setitem__(0, "nowhere"))
simple("missing_weight", lambda m, g: g.initializer.__delitem__(0))
simple("missing_output", lambda m, g: g.output[0].CopyFrom(value("nowhere", ["N", 5])))
simple("unsorted", lambda m, g: (g.node.insert(0, g.node[4]), g.node.__delitem__(5)))
simple("cycle", lambda m, g: g.node[0].input.__setitem__(0, "r"))
simple("reads_itself", lambda m, g: g.node[1].input.__setitem__(0, "r"))
simple("input_without_a_name", lambda m, g: g.input[0].ClearField("name"))
simple("output_without_a_name", lambda m, g: g.output[0].ClearField("name"))

# Operators.
simple("unknown_operator", lambda m, g: setattr(g.node[1], "op_type", "Rely"))
simple("no_operator", lambda m, g: g.node[1].ClearField("op_type"))
simple("operator_of_a_later_opset", lambda m, g: setattr(g.node[1], "op_type", "Gelu"))
simple("operator_that_is_gone", lambda m, g: setattr(g.node[1], "op_type", "Upsample"))
simple("domain_not_imported", lambda m, g: setattr(g.node[1], "domain", "my.own"))
simple("unknown_attribute", lambda m, g: g.node[1].attribute.append(h.make_attribute("alpha", 0.5)))
simple("attribute_twice", lambda m, g: g.node[0].attribute.append(g.node[0].attribute[0]))
simple("attribute_of_another_type", lambda m, g: g.node[0].attribute.append(h.make_attribute("group", 1.0)))
simple("attribute_type_and_field_disagree", lambda m, g: setattr(g.node[0].attribute[0], "type", 2))
simple("attribute_without_a_name", lambda m, g: g.node[0].attribute[0].ClearField("name"))
simple("attribute_without_a_type", lambda m, g: g.node[0].attribute[0].ClearField("type"))
simple("attribute_without_a_value", lambda m, g: g.node[0].attribute.append(onnx.AttributeProto(name="group", type=2)))
simple("attribute_with_two_values", lambda m, g: setattr(g.node[0].attribute[0], "f", 1.0))
simple("reference_to_an_attribute_outside_functions", lambda m, g: g.node[0].attribute.append(
    onnx.AttributeProto(name="group", type=2, ref_attr_name="g")))
simple("required_attribute_missing", lambda m, g: g.node.append(h.make_node("Cast", ["y"], ["z"])))
simple("too_few_inputs", lambda m, g: g.node[0].input.pop())
simple("too_many_inputs", lambda m, g: g.node[1].input.append("x"))
simple("too_many_outputs", lambda m, g: g.node[1].output.append("more"))
simple("required_input_empty", lambda m, g: g.node[1].input.__setitem__(0, ""))
simple("required_output_empty", lambda m, g: g.node[1].output.__setitem__(0, ""))
simple("node_with_nothing", lambda m, g: g.node.append(onnx.NodeProto(op_type="Relu")))
simple("training_domain_typo", lambda m, g: (
    g.node.append(h.make_node("Adamm", ["y"], ["z"], domain="ai.onnx.ml")), m.opset_import.append(h.make_opsetid("ai.onnx.ml", 3))))

# Types.
simple("input_of_a_type_not_allowed", lambda m, g: g.input[0].CopyFrom(value("x", ["N", 3, 8, 8], T.INT32)))
simple("two_types_for_one", lambda m, g: g.initializer[0].CopyFrom(tensor("w", [4, 3, 3, 3], np.float64)))
simple("output_of_another_type", lambda m, g: g.output[0].CopyFrom(value("y", ["N", 5], T.INT64)))
simple("value_info_of_another_type", lambda m, g: g.value_info.append(value("c", ["N", 4, 8, 8], T.DOUBLE)))
simple("input_without_a_type", lambda m, g: g.input[0].ClearField("type"))
simple("input_of_type_0", lambda m, g: setattr(g.input[0].type.tensor_type, "elem_type", 0))
simple("input_without_a_shape", lambda m, g: g.input[0].type.tensor_type.ClearField("shape"))
simple("output_without_a_type", lambda m, g: g.output[0].ClearField("type"))
simple("output_without_a_shape", lambda m, g: g.output[0].type.tensor_type.ClearField("shape"))
simple("input_of_an_unknown_type", lambda m, g: setattr(g.input[0].type.tensor_type, "elem_type", 77))

# Shapes.
simple("channels_do_not_fit", lambda m, g: g.initializer[0].CopyFrom(tensor("w", [4, 2, 3, 3])))
simple("inner_sizes_do_not_fit", lambda m, g: g.initializer[1].CopyFrom(tensor("v", [3, 5])))
simple("bias_does_not_fit", lambda m, g: g.initializer[2].CopyFrom(tensor("b", [4])))
simple("output_of_another_size", lambda m, g: g.output[0].CopyFrom(value("y", ["N", 6])))
simple("output_of_another_rank", lambda m, g: g.output[0].CopyFrom(value("y", ["N", 5, 1])))
simple("value_info_of_another_size", lambda m, g: g.value_info.append(value("c", ["N", 4, 9, 8])))
simple("value_info_of_another_rank", lambda m, g: g.value_info.append(value("c", ["N", 4, 8])))
simple("input_of_another_rank", lambda m, g: g.input[0].CopyFrom(value("x", ["N", 3])))
simple("kernel_shape_contradicts_the_weight", lambda m, g: g.node[0].attribute.append(h.make_attribute("kernel_shape", [5, 5])))


@case
def sizes_do_not_broadcast():
    return small([h.make_node("Add", ["x", "w"], ["y"])], [value("x", ["N", 4])], [value("y", ["N", 4])], [tensor("w", [3])])


@case
def matmul_does_not_fit():
    return small([h.make_node("MatMul", ["x", "w"], ["y"])], [value("x", ["N", 4])], [value("y", ["N", 2])], [tensor("w", [3, 2])])


@case
def concat_does_not_fit():
    return small([h.make_node("Concat", ["x", "w"], ["y"], axis=1)], [value("x", [2, 4])], [value("y", [2, 7])], [tensor("w", [3, 3])])


@case
def reshape_does_not_fit():
    t = nh.from_array(np.array([5, 2], np.int64), "t")
    return small([h.make_node("Reshape", ["x", "t"], ["y"])], [value("x", [3, 4])], [value("y", [5, 2])], [t])


@case
def axis_out_of_range():
    return small([h.make_node("Softmax", ["x"], ["y"], axis=3)], [value("x", [3, 4])], [value("y", [3, 4])])


@case
def transpose_of_another_rank():
    return small([h.make_node("Transpose", ["x"], ["y"], perm=[0, 2, 1])], [value("x", [3, 4])], [value("y", [3, 4])])


@case
def gather_axis_out_of_range():
    i = nh.from_array(np.array([0], np.int64), "i")
    return small([h.make_node("Gather", ["x", "i"], ["y"], axis=2)], [value("x", [3, 4])], [value("y", [1, 4])], [i])


@case
def split_does_not_fit():
    s = nh.from_array(np.array([1, 1], np.int64), "s")
    return small([h.make_node("Split", ["x", "s"], ["a", "b"], axis=0)], [value("x", [3, 4])], [value("a", [1, 4]), value("b", [2, 4])], [s])


@case
def batch_norm_does_not_fit():
    return small([h.make_node("BatchNormalization", ["x", "s", "s", "s", "t"], ["y"])], [value("x", ["N", 4, 2, 2])],
                 [value("y", ["N", 4, 2, 2])], [tensor("s", [4]), tensor("t", [3])])


# Tensors.
simple("raw_data_too_short", lambda m, g: setattr(g.initializer[0], "raw_data", g.initializer[0].raw_data[:-4]))
simple("raw_data_too_long", lambda m, g: setattr(g.initializer[0], "raw_data", g.initializer[0].raw_data + b"1234"))
simple("no_data", lambda m, g: g.initializer[0].ClearField("raw_data"))
simple("tensor_without_a_type", lambda m, g: g.initializer[0].ClearField("data_type"))
simple("tensor_of_type_0", lambda m, g: setattr(g.initializer[0], "data_type", 0))
simple("tensor_of_an_unknown_type", lambda m, g: setattr(g.initializer[0], "data_type", 77))
simple("data_in_the_wrong_field", lambda m, g: g.initializer[2].CopyFrom(onnx.TensorProto(name="b", dims=[5], data_type=F, int32_data=[1] * 5)))
simple("data_in_two_fields", lambda m, g: g.initializer[2].float_data.append(1.0))
simple("negative_dimension", lambda m, g: g.initializer[2].dims.__setitem__(0, -5))
simple("strings_in_raw_data", lambda m, g: g.initializer.append(onnx.TensorProto(name="s", dims=[1], data_type=T.STRING, raw_data=b"abc")))


def external(location, **entries):
    def edit(m, g):
        t = g.initializer[2]
        t.ClearField("raw_data")
        t.data_location = T.EXTERNAL
        for key, text in dict(location=location, **entries).items():
            if text is not None:
                t.external_data.append(onnx.StringStringEntryProto(key=key, value=str(text)))
    return edit


simple("external_data_missing", external("nothing.bin"))
simple("external_data_outside", external("../outside.bin"))
simple("external_data_absolute", external("/etc/hostname"))
simple("external_data_without_a_location", external(None))
simple("ok_external_data", external("data.bin", offset=0, length=20))
simple("external_data_too_short", external("data.bin", offset=12, length=20))
simple("external_data_of_another_length", external("data.bin", offset=0, length=16))


# Inner graphs.
def with_branches(then=None, other=None, edit=None):
    m = ok_if()
    branches = {a.name: a.g for a in m.graph.node[0].attribute}
    edit(m, branches["then_branch"], branches["else_branch"])
    return m


def inner(name, edit):
    CASES["inner_" + name] = lambda: with_branches(edit=edit)


inner("missing_input", lambda m, t, e: t.node[0].input.__setitem__(1, "nowhere"))
inner("unknown_operator", lambda m, t, e: setattr(t.node[0], "op_type", "Addd"))
inner("makes_a_value_of_the_outer_graph", lambda m, t, e: (t.node[0].output.__setitem__(0, "x"), t.output[0].CopyFrom(value("x", ["N", 2]))))
inner("initializer_of_an_outer_name", lambda m, t, e: t.initializer.append(tensor("one", [1])))
inner("no_outputs", lambda m, t, e: t.ClearField("output"))
inner("output_twice", lambda m, t, e: t.output.append(t.output[0]))
inner("two_outputs_of_one_branch", lambda m, t, e: (t.node.append(h.make_node("Relu", ["t"], ["t2"])), t.output.append(value("t2", ["N", 2]))))
inner("types_of_branches_differ", lambda m, t, e: (e.node.append(h.make_node("Cast", ["e"], ["e2"], to=T.INT64)), e.output[0].CopyFrom(value("e2", ["N", 2], T.INT64))))
inner("output_that_nothing_makes", lambda m, t, e: t.output[0].CopyFrom(value("nowhere", ["N", 2])))
inner("condition_is_a_float", lambda m, t, e: m.graph.input[1].CopyFrom(value("c", [], F)))
inner("shapes_do_not_fit", lambda m, t, e: m.graph.initializer[0].CopyFrom(tensor("one", [3])))
inner("unsorted", lambda m, t, e: (t.node.insert(0, h.make_node("Relu", ["t"], ["t3"]))))
inner("graph_without_a_name", lambda m, t, e: t.ClearField("name"))
inner("no_nodes", lambda m, t, e: (t.ClearField("node"), t.output[0].CopyFrom(value("x", ["N", 2]))))


@case
def loop_body_too_few_inputs():
    m = ok_loop()
    m.graph.node[0].attribute[0].g.input.pop()
    m.graph.node[0].attribute[0].g.node[1].input[:] = ["x", "x"]
    return m


@case
def loop_body_too_few_outputs():
    m = ok_loop()
    m.graph.node[0].attribute[0].g.output.pop()
    return m


# Functions.
def function(name, edit):
    def make():
        m = ok_function()
        edit(m, m.functions[0])
        return m
    CASES["function_" + name] = make


function("missing_input", lambda m, f: f.node[0].input.__setitem__(0, "nowhere"))
function("unknown_operator", lambda m, f: setattr(f.node[0], "op_type", "Addd"))
function("output_that_nothing_makes", lambda m, f: f.output.__setitem__(0, "nowhere"))
function("twice", lambda m, f: m.functions.append(f))
function("domain_not_imported", lambda m, f: m.opset_import.pop())
function("no_opset", lambda m, f: f.ClearField("opset_import"))
function("without_a_name", lambda m, f: f.ClearField("name"))
function("input_twice", lambda m, f: f.input.append("a"))
function("calls_itself", lambda m, f: (f.node[0].CopyFrom(h.make_node("Twice", ["a"], ["b"], domain="local")), f.opset_import.append(h.make_opsetid("local", 1))))
function("unknown_attribute", lambda m, f: f.node[0].attribute.append(h.make_attribute("alpha", 1)))
function("reference_to_an_attribute_it_has_not", lambda m, f: f.node[0].CopyFrom(
    onnx.NodeProto(op_type="Softmax", input=["a"], output=["b"], attribute=[onnx.AttributeProto(name="axis", type=2, ref_attr_name="axis")])))
function("too_many_inputs_given", lambda m, f: m.graph.node[0].input.append("x"))
function("attribute_it_has_not", lambda m, f: m.graph.node[0].attribute.append(h.make_attribute("alpha", 1)))


def verdict(path):
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except Exception as error:  # whatever it says, it refuses
        return {"accepted": False, "says": f"{type(error).__name__}: {error}"[:300]}
    return {"accepted": True, "says": ""}


def main():
    folder = Path(sys.argv[1])
    (folder / "data.bin").write_bytes(np.full(5, 0.5, np.float32).tobytes())
    (folder.parent / "outside.bin").write_bytes(b"\0" * 20)
    told = {}
    for name, make in CASES.items():
        path = folder / f"{name}.onnx"
        path.write_bytes(make().SerializeToString())
        told[str(path)] = verdict(path)
    for path in sys.argv[2:]:
        told[path] = verdict(path)
    json.dump(told, sys.stdout, indent=1)


main()
