#!/usr/bin/env python3
"""Builds models that surgery breaks on: for `tools/peers/surgery.py`, and for trying commands by hand.

    python3 tools/surgery_corpus.py --out corpus [--models backbones]

Each has something that tools lose or trip over. `corpus.json` has for each its file, what is in it, a value at which
it falls into two halves (`cut`: the only float value that crosses a place in the middle), and what its inputs take. Numbers are drawn from a seed,
so that the same files come out of the same versions of these packages.

`vit`, `dynamo_vit`, `unet` and `convnext` are small networks by PyTorch's two exporters (the second needs `onnxscript`),
`light_*` are from the `onnx` wheel, `mobilenet_v2` and `mobilenet_v3_small` are files of yours in --models (without them those of
torchvision, with random weights). What cannot be made is told and left out.
"""

import argparse
import importlib.util
import json
import pathlib
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import surgery_networks

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
LARGE = 1024  # bytes of a tensor that goes into a file beside the model


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, required=True, help="folder for the models")
    parser.add_argument("--models", type=pathlib.Path, help="folder with mobilenet_v2.onnx and mobilenet_v3_small.onnx")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=list(CORPUS), help="some of them")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    index = args.out / "corpus.json"
    made = {row["name"]: row for row in json.loads(index.read_text())} if index.exists() else {}
    for name, (what, make) in CORPUS.items():
        if args.only and name not in args.only:
            continue
        try:
            model = make(args)
        except (ImportError, FileNotFoundError) as error:
            print(f"{name}: left out, {error}", file=sys.stderr)
            continue
        path = args.out / name / "model.onnx"
        path.parent.mkdir(exist_ok=True)
        save(model, path, external=name == "external")
        made[name] = {"name": name, "file": f"{name}/model.onnx", "what": what, "cut": middle(model), "inputs": feeds(model)}
        print(f"{name}: {path.stat().st_size / 1e6:.1f} MB, {len(model.graph.node)} nodes, falls apart at {made[name]['cut']}")
    index.write_text(json.dumps([made[n] for n in CORPUS if n in made], indent=1) + "\n")


def save(model, path, external):
    """Writes a model; of an external one all tensors above a size go into a file beside it."""
    path.unlink(missing_ok=True)
    (path.parent / "weights.bin").unlink(missing_ok=True)
    if external:
        beside = {"save_as_external_data": True, "location": "weights.bin", "size_threshold": LARGE}
        onnx.save(model, path, all_tensors_to_one_file=True, **beside)
    else:
        onnx.save(model, path)


def feeds(model):
    """By input that is no initializer its type and shape; 1 where a dimension is free."""
    held = {t.name for t in model.graph.initializer} | {t.values.name for t in model.graph.sparse_initializer}
    own = [value for value in model.graph.input if value.name not in held]
    return {v.name: {"type": v.type.tensor_type.elem_type, "shape": [d.dim_value or 1 for d in v.type.tensor_type.shape.dim]} for v in own}


def reads(node):
    """All values that a node reads, its subgraphs with it."""
    names = [name for name in node.input if name]
    for attribute in node.attribute:
        for graph in [attribute.g, *attribute.graphs]:
            names += [name for inner in graph.node for name in reads(inner)]
            names += [value.name for value in graph.output]
    return names


def middle(model):
    """The float value nearest to the middle that alone crosses its place in the order of nodes, or none."""
    graph = model.graph
    inputs = {value for value in feeds(model)}
    last = {value.name: len(graph.node) for value in graph.output}
    for place, node in enumerate(graph.node):
        last.update({name: max(place, last.get(name, 0)) for name in reads(node)})
    crossing, found = {name for name in inputs if name in last}, []
    for place, node in enumerate(graph.node):
        crossing |= {name for name in node.output if name in last}
        crossing = {name for name in crossing if last[name] > place}
        # What is made of weights alone could be made on either side.
        if len(crossing) == 1 and (name := next(iter(crossing))) in node.output and place + 1 < len(graph.node):
            found.append((abs(place + 1 - len(graph.node) / 2), name))
    typed = {value.name: value.type.tensor_type.elem_type for value in onnx.shape_inference.infer_shapes(model).graph.value_info}
    wanted = (FLOAT, TensorProto.FLOAT16, 0)
    return min(((far, name) for far, name in found if typed.get(name, 0) in wanted), default=(0, None))[1]


# --- the models ---


def backbone(name):
    def make(args):
        path = args.models / f"{name}.onnx" if args.models else None
        if path and path.exists():
            return onnx.load(path)
        return surgery_networks.torchvision(name)

    return make


def annotated(model):
    """Adds all that the format has room for and that no runtime reads."""
    model.producer_name, model.producer_version, model.domain = "maker", "1.2", "org.example"
    model.model_version, model.doc_string = 7, "a model with notes"
    graph = model.graph
    graph.doc_string = "a graph with notes"
    for owner, key in [(model, "labels"), (graph, "graph-note")]:
        entry = owner.metadata_props.add()
        entry.key, entry.value = key, "a,b,c: ä"
    for place, node in enumerate(graph.node):
        node.doc_string = f"node {place}"
        entry = node.metadata_props.add()
        entry.key, entry.value = "place", str(place)
    for place, tensor in enumerate(graph.initializer):
        tensor.doc_string = f"tensor {place}"
        entry = tensor.metadata_props.add()
        entry.key, entry.value = "place", str(place)
    for tensor in [t for t in graph.initializer if t.dims][:2]:
        note = graph.quantization_annotation.add()
        note.tensor_name = tensor.name
        entry = note.quant_parameter_tensor_names.add()
        entry.key, entry.value = "SCALE_TENSOR", graph.initializer[0].name
    inferred = onnx.shape_inference.infer_shapes(model)
    del graph.value_info[:]
    graph.value_info.extend(inferred.graph.value_info)
    return model


def tensor(name, *dims, seed=0, scale=0.3):
    values = np.random.default_rng([seed, len(name), *map(ord, name)]).normal(0, scale, dims)
    return numpy_helper.from_array(values.astype(np.float32), name)


def value(name, *dims, elem_type=FLOAT):
    return helper.make_tensor_value_info(name, elem_type, list(dims))


def model_of(graph, opset=17, ir=8, domains=(), functions=()):
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    return helper.make_model(graph, opset_imports=imports, ir_version=ir, functions=functions, producer_name="maker")


def conv_net(opset=17, ir=8, initializers_are_inputs=False):
    """conv, normalisation, Relu, twice; a dense layer."""
    node = helper.make_node
    nodes, tensors, reads_from = [], [], "image"
    for layer, (inside, out) in enumerate([(3, 8), (8, 16)], 1):
        of = lambda part, layer=layer: f"layer{layer}.{part}"
        tensors += [tensor(of("weight"), out, inside, 3, 3), tensor(of("bias"), out)]
        tensors += [tensor(of("scale"), out), tensor(of("shift"), out), tensor(of("mean"), out)]
        variance = np.abs(numpy_helper.to_array(tensor(of("var"), out))) + 0.5
        tensors.append(numpy_helper.from_array(variance.astype(np.float32), of("var")))
        norm = [of("conv"), of("scale"), of("shift"), of("mean"), of("var")]
        nodes += [
            node("Conv", [reads_from, of("weight"), of("bias")], [of("conv")], of("Conv"), pads=[1] * 4, strides=[2, 2]),
            node("BatchNormalization", norm, [of("norm")], of("Norm"), epsilon=1e-3),
            node("Relu", [of("norm")], [of("relu")], of("Relu")),
        ]
        reads_from = of("relu")
    tensors += [tensor("dense.weight", 5, 16), tensor("dense.bias", 5)]
    nodes += [
        node("GlobalAveragePool", [reads_from], ["pooled"], "Pool"),
        node("Flatten", ["pooled"], ["flat"], "Flatten"),
        node("Gemm", ["flat", "dense.weight", "dense.bias"], ["logits"], "Dense", transB=1),
    ]
    inputs = [value("image", "N", 3, 32, 32)]
    if initializers_are_inputs:
        inputs += [value(t.name, *t.dims) for t in tensors]
    return model_of(helper.make_graph(nodes, "net", inputs, [value("logits", "N", 5)], tensors), opset, ir)


def float16(_):
    model = conv_net()
    for held in model.graph.initializer:
        held.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(held).astype(np.float16), held.name))
    for declared in [*model.graph.input, *model.graph.output]:
        declared.type.tensor_type.elem_type = TensorProto.FLOAT16
    return model


def functions(_):
    """A function that calls another, with attributes that come from the call."""
    node = helper.make_node
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    leaky = helper.make_node("LeakyRelu", ["x"], ["y"], name="leaky")
    by = leaky.attribute.add()
    by.name, by.ref_attr_name, by.type = "alpha", "slope", onnx.AttributeProto.FLOAT
    activation = helper.make_function("local", "Activation", ["x"], ["y"], [leaky], opsets, ["slope"])
    call = node("Activation", ["c"], ["y"], name="call", domain="local")
    by = call.attribute.add()
    by.name, by.ref_attr_name, by.type = "slope", "slope", onnx.AttributeProto.FLOAT
    conv = node("Conv", ["x", "w", "b"], ["c"], name="conv", pads=[1, 1, 1, 1])
    block = helper.make_function("local", "Block", ["x", "w", "b"], ["y"], [conv, call], opsets, ["slope"])
    nodes = [
        node("Block", ["image", "w1", "b1"], ["h1"], name="first", domain="local", slope=0.1),
        node("Block", ["h1", "w2", "b2"], ["h2"], name="second", domain="local", slope=0.3),
        node("GlobalAveragePool", ["h2"], ["pooled"], name="pool"),
        node("Flatten", ["pooled"], ["logits"], name="flatten"),
    ]
    tensors = [tensor("w1", 8, 3, 3, 3), tensor("b1", 8), tensor("w2", 6, 8, 3, 3), tensor("b2", 6)]
    graph = helper.make_graph(nodes, "net", [value("image", "N", 3, 16, 16)], [value("logits", "N", 6)], tensors)
    return model_of(graph, domains=["local"], functions=[activation, block])


def subgraphs(_):
    """If inside If inside a Loop, which read values and weights of the graphs around them."""
    node = helper.make_node
    constant = lambda name, values, kind: numpy_helper.from_array(np.array(values, kind), name)

    def branch(name, nodes, output, tensors=()):
        return helper.make_graph(nodes, name, [], [value(output, None, 8)], list(tensors))

    twice = branch("twice", [node("Mul", ["state", "two"], ["t"], "double")], "t", [constant("two", 2.0, np.float32)])
    outer = branch("outer", [node("Add", ["state", "captured"], ["o"], "add captured")], "o")
    inner = node("If", ["is_even"], ["i"], "inner if", then_branch=twice, else_branch=outer)
    then = branch("then", [inner], "i")
    other = branch("other", [node("MatMul", ["state", "only.below"], ["m"], "below")], "m")
    body = helper.make_graph(
        [
            node("Mod", ["step", "period"], ["rest"], "mod"),
            node("Equal", ["rest", "zero"], ["is_even"], "even"),
            node("If", ["flag"], ["n"], "outer if", then_branch=then, else_branch=other),
            node("Tanh", ["n"], ["next"], "squash"),
            node("Identity", ["go"], ["go_on"], "on"),
        ],
        "body",
        [value("step", elem_type=INT64), value("go", elem_type=BOOL), value("state", None, 8)],
        [value("go_on", elem_type=BOOL), value("next", None, 8)],
        [constant("period", 2, np.int64), constant("zero", 0, np.int64)],
    )
    nodes = [
        node("MatMul", ["x", "w"], ["h"], "first"),
        node("Relu", ["h"], ["captured"], "relu"),
        node("ReduceSum", ["captured"], ["sum"], "sum", keepdims=0),
        node("Greater", ["sum", "threshold"], ["flag"], "flag"),
        node("Loop", ["trips", "", "captured"], ["end"], "loop", body=body),
        node("Gemm", ["end", "dense"], ["y"], "dense"),
    ]
    tensors = [tensor("w", 4, 8), tensor("only.below", 8, 8), tensor("dense", 8, 3)]
    tensors += [constant("trips", 3, np.int64), constant("threshold", 0.0, np.float32)]
    return model_of(helper.make_graph(nodes, "net", [value("x", "N", 4)], [value("y", "N", 3)], tensors))


def odd(_):
    """Types, names and domains that few tools expect: opset 21."""
    node = helper.make_node
    dense = np.zeros((8, 8), np.float32)
    dense[range(8), range(8)] = np.linspace(0.5, 1.5, 8)
    where = np.flatnonzero(dense)
    sparse = helper.make_sparse_tensor(
        numpy_helper.from_array(dense.reshape(-1)[where], "a sparse:weight"),
        numpy_helper.from_array(where.astype(np.int64), "a sparse:weight/indices"),
        [8, 8],
    )
    four = helper.make_tensor("four bits", TensorProto.INT4, [8, 8], [(i * 5) % 15 - 7 for i in range(64)])
    eight = helper.make_tensor("eight bits", TensorProto.FLOAT8E4M3FN, [8], [0.5 + i / 4 for i in range(8)])
    brain = helper.make_tensor("brain:float", TensorProto.BFLOAT16, [8], [1.0 - i / 8 for i in range(8)])
    scale = numpy_helper.from_array(np.array(0.1, np.float32), "a scale")
    top = numpy_helper.from_array(np.array(4.0, np.float32), "top")
    nodes = [
        node("MatMul", ["the input", "a sparse:weight"], ["h:1"], "first one"),
        node("DequantizeLinear", ["four bits", "a scale"], ["four/floats"], "open four"),
        node("MatMul", ["h:1", "four/floats"], ["h:2"], "second:one"),
        node("Gelu", ["h:2"], ["h:3"], "gelu", domain="com.microsoft"),
        node("Cast", ["eight bits"], ["eight/floats"], "open eight", to=FLOAT),
        node("Mul", ["h:3", "eight/floats"], ["h:4"], "times eight"),
        node("Clip", ["h:4", "", "top"], ["h:5"], "clip above"),
        node("Cast", ["brain:float"], ["brain/floats"], "open brain", to=FLOAT),
        node("Add", ["h:5", "brain/floats"], ["the output"], "shift"),
    ]
    ends = [value("the input", "N", 8)], [value("the output", "N", 8)]
    graph = helper.make_graph(nodes, "odd net", *ends, [four, eight, brain, scale, top], sparse_initializer=[sparse])
    return model_of(graph, 21, 10, ["com.microsoft"])


def light(name):
    def make(_):
        folder = pathlib.Path(importlib.util.find_spec("onnx").origin).parent
        return onnx.load(folder / "backend/test/data/light" / f"light_{name}.onnx")

    return make


CORPUS = {
    "mobilenet_v2": ("a backbone", backbone("mobilenet_v2")),
    "notes": ("metadata, documentation and annotations everywhere", lambda args: annotated(backbone("mobilenet_v2")(args))),
    "external": ("weights in a file beside it", backbone("mobilenet_v2")),
    "functions": ("functions of its own, one within the other", functions),
    "subgraphs": ("If, Loop and what they read of the graphs around them", subgraphs),
    "float16": ("float16", float16),
    "ir3": ("IR 3, initializers among the inputs, opset 9", lambda _: conv_net(9, 3, True)),
    "odd": ("sparse, 4-bit, 8-bit and bfloat16 tensors, names with blanks, another domain", odd),
    "vit": ("a transformer by PyTorch's older exporter", lambda _: surgery_networks.exported("vit")),
    "dynamo_vit": ("the same by the newer one", lambda _: surgery_networks.exported("vit", dynamo=True)),
    "unet": ("skips, Resize and shapes that are computed", lambda _: surgery_networks.exported("unet")),
    "convnext": ("LayerNormalization over channels, Gelu", lambda _: surgery_networks.exported("convnext")),
    "light_shufflenet": ("IR 3, weights of a single value", light("shufflenet")),
    "light_inception_v2": ("IR 3, weights of a single value", light("inception_v2")),
    "mobilenet_v3_small": ("a backbone with HardSwish", backbone("mobilenet_v3_small")),
}

if __name__ == "__main__":
    main()
