#!/usr/bin/env python3
"""Writes models with everything that ONNX files may hold, for trying surgery on them.

    python3 tools/surgery_corpus.py corpus                              # those that need onnx and numpy alone
    python3 tools/surgery_corpus.py corpus --models models              # and those made of mobilenet_v2.onnx, ... there
    python3 tools/surgery_corpus.py corpus --try target/release/ftsurgery
    python3 tools/surgery_corpus.py fixtures/surgery --small            # what the tests have

| model | what it has |
| --- | --- |
| mbv2 | a network of `--models`, or of `onnx-models/`, as it is |
| meta | the same with metadata of model, graph, nodes and tensors, documentation, annotations, noted types |
| ext/model | the same with external data |
| func | nested functions with references to attributes |
| sub | If in If, Loop, values and initializers that inner graphs read from outside |
| f16 | float16 |
| ir3 | IR 3, initializers among the inputs |
| odd | sparse initializers, int4, float8, bfloat16, another domain, empty optional inputs, blanks and colons in names |
| vit, convnext | transformers and large kernels, of the exporters' fixtures |
| dynamo_vit, unet | written by PyTorch, where it is installed |
| light_* | zoo models of the onnx package (IR 3) |
| mbv3 | of `--models`, or of the exporters' fixtures |

With `--try` every model is given to the operations of the command: `extract` up to a value in the middle and from it, `prune`,
`rename`, `externalize`, `internalize`. What comes out must pass the checker of onnx with full_check where the original does, give
the original's numbers in onnxruntime, unoptimised, to the bit (float16 within a rounding), and have kept everything; a table says what did. Needs onnx and numpy, for
`--try` onnxruntime.
"""

import argparse
import pathlib
import subprocess
import tempfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HERE = pathlib.Path(__file__).resolve().parent.parent
RANDOM = np.random.default_rng(0)


def weight(name, *dims, dtype=np.float32):
    return numpy_helper.from_array((RANDOM.standard_normal(dims) * 0.3).astype(dtype), name)


def model_of(graph, opset=17, ir=8, domains=(), functions=()):
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, v) for d, v in domains)]
    return helper.make_model(graph, opset_imports=imports, ir_version=ir, functions=list(functions))


def tensor(name, dims, dtype=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, dtype, dims)


def meta(model):
    """The model with something in every field that tools lose."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    model.producer_name, model.producer_version = "corpus", "1.0"
    model.domain, model.model_version, model.doc_string = "org.example", 7, "a documented model"
    graph = model.graph
    graph.doc_string = "a documented graph"

    def note(message, key, value):
        entry = message.metadata_props.add()
        entry.key, entry.value = key, value

    note(model, "author", "someone")
    note(graph, "made", "by hand")
    for i, node in enumerate(graph.node):
        node.doc_string = f"node {i}"
        note(node, "namespace", f"layer{i}")
    for i, initializer in enumerate(graph.initializer):
        initializer.doc_string = f"tensor {i}"
        note(initializer, "kind", "weight")
    inferred = onnx.shape_inference.infer_shapes(model)
    del graph.value_info[:]
    graph.value_info.extend(inferred.graph.value_info)
    for info in graph.value_info:
        note(info, "noted", "yes")
    scale = numpy_helper.from_array(np.float32(0.5), "annotation/scale")
    graph.initializer.append(scale)
    for node in graph.node[:3]:
        annotation = graph.quantization_annotation.add()
        annotation.tensor_name = node.output[0]
        entry = annotation.quant_parameter_tensor_names.add()
        entry.key, entry.value = "SCALE_TENSOR", scale.name
    return model


def func():
    """Functions that call functions, and hand an attribute on."""
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    leaky = helper.make_node("LeakyRelu", ["y"], ["z"], name="leaky")
    reference = leaky.attribute.add()
    reference.name, reference.ref_attr_name, reference.type = "alpha", "slope", onnx.AttributeProto.FLOAT
    inner = helper.make_function(
        "local", "inner", ["x", "w"], ["z"],
        [helper.make_node("MatMul", ["x", "w"], ["y"], name="product"), leaky], opsets[:1], ["slope"],
    )
    call = helper.make_node("inner", ["x", "w"], ["a"], domain="local", name="call")
    reference = call.attribute.add()
    reference.name, reference.ref_attr_name, reference.type = "slope", "slope", onnx.AttributeProto.FLOAT
    outer = helper.make_function(
        "local", "block", ["x", "w"], ["b"], [call, helper.make_node("Add", ["a", "x"], ["b"], name="sum")],
        opsets, ["slope"],
    )
    nodes = [
        helper.make_node("block", ["x", "w1"], ["h1"], domain="local", name="first", slope=0.1),
        helper.make_node("Relu", ["h1"], ["h2"], name="relu"),
        helper.make_node("block", ["h2", "w2"], ["h3"], domain="local", name="second", slope=0.2),
        helper.make_node("ReduceMean", ["h3"], ["y"], name="mean", axes=[1]),
    ]
    graph = helper.make_graph(
        nodes, "func", [tensor("x", ["batch", 8])], [tensor("y", ["batch", 1])],
        [weight("w1", 8, 8), weight("w2", 8, 8), weight("unused", 4)],
    )
    return model_of(graph, 17, 8, [("local", 1)], [inner, outer])


def sub():
    """If in If, a Loop, and what their graphs read from around them."""
    def branch(name, nodes, output, initializers=()):
        return helper.make_graph(nodes, name, [], [tensor(output, None)], list(initializers))

    deep = [
        branch("deep_then", [helper.make_node("Add", ["h", "bias"], ["d1"], name="deep_add")], "d1"),
        branch("deep_else", [helper.make_node("Mul", ["h", "only_inside"], ["d2"], name="deep_mul")], "d2"),
    ]
    then_branch = branch(
        "then", [helper.make_node("If", ["inner_condition"], ["t"], name="inner_if",
                                  then_branch=deep[0], else_branch=deep[1])], "t")
    else_branch = branch(
        "else", [helper.make_node("Sub", ["h", "own"], ["e"], name="else_sub")], "e", [weight("own", 8)])
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["state", "loop_weight"], ["m"], name="loop_product"),
            helper.make_node("Tanh", ["m"], ["next"], name="loop_tanh"),
            helper.make_node("Identity", ["go"], ["go_on"], name="loop_condition"),
        ],
        "body",
        [tensor("i", [], TensorProto.INT64), tensor("go", [], TensorProto.BOOL), tensor("state", ["n", 8])],
        [tensor("go_on", [], TensorProto.BOOL), tensor("next", ["n", 8])],
    )
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], name="product"),
        helper.make_node("ReduceSum", ["h"], ["sum"], name="total", keepdims=0),
        helper.make_node("Greater", ["sum", "zero"], ["condition"], name="positive"),
        helper.make_node("Not", ["condition"], ["inner_condition"], name="negative"),
        helper.make_node("If", ["condition"], ["chosen"], name="outer_if",
                         then_branch=then_branch, else_branch=else_branch),
        helper.make_node("Loop", ["trips", "", "chosen"], ["looped"], name="loop", body=body),
        helper.make_node("Softmax", ["looped"], ["y"], name="softmax", axis=1),
    ]
    graph = helper.make_graph(
        nodes, "sub", [tensor("x", ["n", 4])], [tensor("y", ["n", 8])],
        [weight("w", 4, 8), weight("bias", 8), weight("only_inside", 8), weight("loop_weight", 8, 8),
         numpy_helper.from_array(np.float32(0), "zero"), numpy_helper.from_array(np.int64(3), "trips")],
    )
    return model_of(graph, 17, 8)


def f16():
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["c1"], name="conv1", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"], name="relu1"),
        helper.make_node("GlobalAveragePool", ["r1"], ["p"], name="pool"),
        helper.make_node("Flatten", ["p"], ["f"], name="flat"),
        helper.make_node("Gemm", ["f", "w2", "b2"], ["y"], name="dense"),
    ]
    half = TensorProto.FLOAT16
    graph = helper.make_graph(
        nodes, "f16", [tensor("x", ["N", 3, 16, 16], half)], [tensor("y", ["N", 5], half)],
        [weight("w1", 8, 3, 3, 3, dtype=np.float16), weight("w2", 8, 5, dtype=np.float16),
         weight("b2", 5, dtype=np.float16)],
    )
    return model_of(graph, 17, 8)


def ir3():
    tensors = [weight("w1", 6, 3, 3, 3), weight("b1", 6), weight("w2", 6, 4), weight("b2", 4)]
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], name="conv", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"], name="relu"),
        helper.make_node("GlobalAveragePool", ["r1"], ["p1"], name="pool"),
        helper.make_node("Flatten", ["p1"], ["f1"], name="flat"),
        helper.make_node("Gemm", ["f1", "w2", "b2"], ["y"], name="dense"),
    ]
    inputs = [tensor("x", [1, 3, 8, 8])] + [tensor(t.name, list(t.dims)) for t in tensors]
    graph = helper.make_graph(nodes, "ir3", inputs, [tensor("y", [1, 4])], tensors)
    return model_of(graph, 9, 3)


def odd():
    values = numpy_helper.from_array(np.array([1, 2, 3], np.float32), "sparse weight")
    indices = numpy_helper.from_array(np.array([1, 10, 25], np.int64), "sparse weight indices")
    nodes = [
        helper.make_node("MatMul", ["an input:0", "sparse weight"], ["a product:0"], name="a product"),
        helper.make_node("Gelu", ["a product:0"], ["gelu:0"], domain="com.microsoft", name="a gelu"),
        helper.make_node("Cast", ["brain"], ["brain:f"], name="cast bf16", to=TensorProto.FLOAT),
        helper.make_node("Add", ["gelu:0", "brain:f"], ["sum:0"], name="a sum"),
        helper.make_node("Clip", ["sum:0", "", "most"], ["clipped:0"], name="clip above"),
        helper.make_node("DequantizeLinear", ["four bits", "scale"], ["four:f"], name="of int4"),
        helper.make_node("Add", ["clipped:0", "four:f"], ["summed:0"], name="second sum"),
        helper.make_node("Cast", ["eight"], ["eight:f"], name="cast f8", to=TensorProto.FLOAT),
        helper.make_node("Mul", ["summed:0", "eight:f"], ["an output:0"], name="last"),
    ]
    graph = helper.make_graph(
        nodes, "odd", [tensor("an input:0", ["any", 6])], [tensor("an output:0", ["any", 6])],
        [
            helper.make_tensor("brain", TensorProto.BFLOAT16, [6], [1, 2, 3, 4, 5, 6]),
            numpy_helper.from_array(np.float32(9), "most"),
            helper.make_tensor("four bits", TensorProto.INT4, [6], [1, -2, 3, -4, 5, -6]),
            numpy_helper.from_array(np.float32(0.25), "scale"),
            helper.make_tensor("eight", TensorProto.FLOAT8E4M3FN, [6], [1, 2, 0.5, 1, 2, 4]),
        ],
        sparse_initializer=[helper.make_sparse_tensor(values, indices, [6, 6])],
    )
    return model_of(graph, 21, 10, [("com.microsoft", 1)])


def with_torch(folder):
    """Networks that PyTorch writes; none where it is not installed."""
    try:
        import torch
        from torch import nn
    except ImportError:
        print("no PyTorch: without dynamo_vit and unet")
        return

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.patch = nn.Conv2d(3, 32, 8, 8)
            self.token = nn.Parameter(torch.randn(1, 1, 32))
            layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True, activation="gelu")
            self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
            self.head = nn.Linear(32, 5)

        def forward(self, x):
            x = self.patch(x).flatten(2).transpose(1, 2)
            x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1)
            return self.head(self.layers(x)[:, 0])

    class Unet(nn.Module):
        def __init__(self):
            super().__init__()
            self.down, self.deep = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 16, 3, 2, 1)
            self.up, self.out = nn.ConvTranspose2d(16, 8, 2, 2), nn.Conv2d(16, 2, 1)

        def forward(self, x):
            a = torch.relu(self.down(x))
            b = torch.relu(self.deep(a))
            b = nn.functional.interpolate(nn.functional.max_pool2d(b, 2), scale_factor=2.0)
            return self.out(torch.cat([a, torch.relu(self.up(b))], 1))

    torch.manual_seed(0)
    image = torch.randn(2, 3, 32, 32)
    torch.onnx.export(Unet().eval(), (image,), folder / "unet.onnx", dynamo=False, input_names=["image"],
                      output_names=["mask"], dynamic_axes={"image": {0: "N"}, "mask": {0: "N"}})
    try:
        torch.onnx.export(Attention().eval(), (image,), folder / "dynamo_vit.onnx", dynamo=True,
                          input_names=["image"], output_names=["logits"])
    except Exception as error:  # of the exporter, which needs more packages
        print(f"without dynamo_vit: {error}")


def write(folder, models, small):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ext").mkdir(exist_ok=True)
    fixtures = HERE / "fixtures" / "exporters"
    own = fixtures / "torch_newer_mobile.onnx" if small else HERE / "onnx-models" / "fashion_mobilenet.onnx"
    given = models / "mobilenet_v2.onnx" if models else None
    base = onnx.load(given if given and given.exists() else own)
    if not small:
        onnx.save(base, folder / "mbv2.onnx")
    onnx.save(meta(base), folder / "meta.onnx")
    external = onnx.ModelProto.FromString(base.SerializeToString())
    (folder / "ext" / "model.data").unlink(missing_ok=True)
    onnx.save(external, folder / "ext" / "model.onnx", save_as_external_data=True, location="model.data",
              size_threshold=256)
    for make in [func, sub, f16, ir3, odd]:
        model = make()
        onnx.checker.check_model(model)
        onnx.save(model, folder / f"{make.__name__}.onnx")
    if small:
        return
    light = pathlib.Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
    mbv3 = models / "mobilenet_v3_small.onnx" if models else None
    copies = {
        "vit": fixtures / "vision_transformer.onnx",
        "convnext": fixtures / "convnext.onnx",
        "light_shufflenet": light / "light_shufflenet.onnx",
        "light_inception_v2": light / "light_inception_v2.onnx",
        "mbv3": mbv3 if mbv3 and mbv3.exists() else fixtures / "torch_newer_mobile.onnx",
    }
    for name, path in copies.items():
        if path.exists():
            onnx.save(onnx.load(path), folder / f"{name}.onnx")
        else:
            print(f"without {name}: {path} is absent")
    with_torch(folder)


# What follows tries a command on them.


def inputs_of(session):
    """Random inputs; `None` where one is of a type that is not made here."""
    made = {}
    random = np.random.default_rng(1)
    for port in session.get_inputs():
        dims = [d if isinstance(d, int) else (2 if i == 0 else 32) for i, d in enumerate(port.shape)]
        kind = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64,
                "tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(bool)": np.bool_,
                "tensor(uint8)": np.uint8}.get(port.type)
        if kind is None:
            return None
        made[port.name] = random.standard_normal(dims).astype(kind)
    return made


def session(path, outputs=None):
    """A session of a file, unoptimised; `outputs` are made outputs of it."""
    import onnxruntime as ort
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    if outputs is None:
        return ort.InferenceSession(str(path), options)
    model = onnx.load(path)
    known = {o.name for o in model.graph.output}
    # A graph says a type twice where a value is noted and given.
    model.graph.output.extend(onnx.ValueInfoProto(name=o) for o in outputs if o not in known)
    return ort.InferenceSession(model.SerializeToString(), options)


def middle(model):
    """A value in the middle from which all outputs follow: the cut of fewest values, of one."""
    graph = model.graph
    stored = {i.name for i in graph.initializer} | {s.values.name for s in graph.sparse_initializer}
    following = {i.name for i in graph.input} - stored

    def reads(node):
        names = list(node.input)
        for attribute in node.attribute:
            for inner in [attribute.g] if attribute.HasField("g") else []:
                own = {i.name for i in inner.input} | {i.name for i in inner.initializer}
                for within in inner.node:
                    names += [n for n in reads(within) if n not in own]
                    own |= set(within.output)
        return names

    live, found = {}, []
    last = {}
    for at, node in enumerate(graph.node):
        for name in reads(node):
            last[name] = at
    for output in graph.output:
        last[output.name] = len(graph.node)
    for at, node in enumerate(graph.node):
        if any(name in following for name in reads(node)):
            following |= set(node.output)
        for name in node.output:
            live[name] = at
        crossing = [n for n, made in live.items() if n in following and last.get(n, -1) > at and made <= at]
        inputs = [i.name for i in graph.input if i.name not in stored and last.get(i.name, -1) > at]
        if len(crossing) == 1 and not inputs and crossing[0] not in {o.name for o in graph.output}:
            found.append(crossing[0])
    return found[len(found) // 2]


def kept(before, after, renamed=None):
    """What of the original is not in the new model, in words: for what both have."""
    lost = []
    for field in ["ir_version", "producer_name", "producer_version", "domain", "model_version", "doc_string"]:
        if getattr(before, field) != getattr(after, field):
            lost.append(field)

    def properties(message):
        return sorted((p.key, p.value) for p in message.metadata_props)

    if properties(before) != properties(after) or properties(before.graph) != properties(after.graph):
        lost.append("metadata")
    if before.graph.doc_string != after.graph.doc_string or before.graph.name != after.graph.name:
        lost.append("the graph's notes")
    if [(o.domain, o.version) for o in before.opset_import] != [(o.domain, o.version) for o in after.opset_import]:
        lost.append("operator sets")
    if renamed:
        return lost
    nodes = {n.output[0]: n for n in before.graph.node}
    if any(nodes[n.output[0]] != n for n in after.graph.node if n.output[0] in nodes):
        lost.append("nodes")

    def plain(tensor):
        copy = onnx.TensorProto()
        copy.CopyFrom(tensor)
        return (copy.name, copy.data_type, tuple(copy.dims), copy.doc_string, str(properties(copy)))

    tensors = {t.name: t for t in before.graph.initializer}
    for tensor in after.graph.initializer:
        old = tensors.get(tensor.name)
        if old is None or plain(old) != plain(tensor):
            lost.append(f"tensor {tensor.name}")
        elif old.raw_data != tensor.raw_data and tensor.data_location == old.data_location == 0:
            lost.append(f"bytes of {tensor.name}")
    values = {o for n in after.graph.node for o in n.output}
    for field in ["value_info", "quantization_annotation"]:
        name = (lambda v: v.name) if field == "value_info" else (lambda v: v.tensor_name)
        there = {name(v) for v in getattr(after.graph, field)}
        declared = {v.name for v in list(after.graph.input) + list(after.graph.output)}
        gone = [name(v) for v in getattr(before.graph, field)
                if name(v) in values and name(v) not in there and name(v) not in declared]
        if gone:
            lost.append(f"{field} of {gone[:3]}")
    return lost


def passes(path):
    try:
        onnx.checker.check_model(str(path), full_check=True)
        return True
    except Exception:  # of the checker: many kinds
        return False


def attempt(command, model, path, folder):
    """Results by operation: `right`, or what is wrong."""
    cut = middle(model)
    original = session(path)
    feeds = inputs_of(original)
    names = [o.name for o in original.get_outputs()]
    with_cut = session(path, [cut]) if not any(t.data_location for t in model.graph.initializer) else None
    if with_cut is None:
        flat = onnx.load(path)
        whole = folder / "whole.onnx"
        onnx.save(flat, whole)
        with_cut = session(whole, [cut])
    at_cut = with_cut.run([cut], feeds)[0]
    expected = original.run(names, feeds)
    checks = passes(path)
    operations = {
        "prefix": (["extract", path, "--outputs", cut], lambda s: (feeds, [cut], [at_cut])),
        "suffix": (["extract", path, "--inputs", cut], lambda s: ({cut: at_cut}, names, expected)),
        "prune": (["prune", path], lambda s: (feeds, names, expected)),
        "rename": (["rename", path, "--prefix", "new/"],
                   lambda s: ({"new/" + k: v for k, v in feeds.items()}, ["new/" + n for n in names], expected)),
        "externalize": (["externalize", path, "--least", "0"], lambda s: (feeds, names, expected)),
        "internalize": (["internalize", path], lambda s: (feeds, names, expected)),
    }
    results = {}
    for operation, (arguments, numbers) in operations.items():
        out = folder / f"{operation}.onnx"
        ran = subprocess.run([command, *map(str, arguments), "--out", str(out)], check=False, capture_output=True, text=True)
        if ran.returncode != 0:
            results[operation] = f"refused: {ran.stderr.strip().splitlines()[0]}"
            continue
        wrong = []
        if "is equal" not in ran.stdout and "are equal" not in ran.stdout:
            wrong.append("numbers not compared by the command")
        try:
            new = session(out)
            given, wanted, values = numbers(new)
            given = {k: v for k, v in given.items() if k in {i.name for i in new.get_inputs()}}
            for value, now in zip(values, new.run(wanted, given)):
                # Between two nodes onnxruntime keeps more digits of float16 than a cut has.
                half = value.dtype == np.float16
                same = np.allclose(value, now, 2e-3, 2e-3, True) if half else np.array_equal(value, now, equal_nan=True)
                if not same:
                    wrong.append("other numbers")
        except Exception as error:  # of onnxruntime
            wrong.append(f"does not run: {str(error).splitlines()[0]}")
        if checks and not passes(out):
            wrong.append("the checker refuses it")
        after = onnx.load(out, load_external_data=False)
        wrong += [f"lost: {what}" for what in kept(model, after, operation == "rename")]
        results[operation] = "; ".join(wrong) or "right"
    return results


def try_all(command, corpus):
    totals = {}
    for path in sorted(corpus.glob("**/*.onnx")):
        model = onnx.load(path, load_external_data=False)
        with tempfile.TemporaryDirectory() as folder:
            results = attempt(command, model, path, pathlib.Path(folder))
        for operation, result in results.items():
            right, of = totals.get(operation, (0, 0))
            totals[operation] = (right + (result == "right"), of + 1)
        wrong = {o: r for o, r in results.items() if r != "right"}
        print(f"{path.relative_to(corpus)}: {wrong or 'all right'}")
    print()
    for operation, (right, of) in totals.items():
        print(f"{operation:12} {right} of {of}")
    return all(right == of for right, of in totals.values())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--models", type=pathlib.Path, help="a folder with mobilenet_v2.onnx and mobilenet_v3_small.onnx")
    parser.add_argument("--small", action="store_true", help="only what is written here, in a small form")
    parser.add_argument("--try", dest="command", help="the command to try on them")
    options = parser.parse_args()
    write(options.folder, options.models, options.small)
    if options.command and not try_all(options.command, options.folder):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
