"""Writes fixtures/shapes/{models,cases}.json: shapes as onnxruntime itself computes them.

models.json: type and dimensions of every value of the shared models, by running them.
cases.json: single-node models of random attributes over opsets 9 to 22, one per line, with the
outputs that onnxruntime gives. Cases it refuses are left out.

Usage: python tools/make_shape_fixtures.py [SHARED_FOLDER]   (needs numpy, onnx, onnxruntime; without the
folder of the shared models models.json stays as it is)
"""
import collections
import json
import pathlib
import random
import sys

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

OUT = pathlib.Path(__file__).resolve().parent.parent / "fixtures" / "shapes"
NP = {TensorProto.FLOAT: np.float32, TensorProto.INT64: np.int64, TensorProto.BOOL: np.bool_,
      TensorProto.INT32: np.int32, TensorProto.UINT8: np.uint8}
options = ort.SessionOptions()
options.log_severity_level = 4
options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
options.intra_op_num_threads = 1


def run(model, feeds):
    session = ort.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds)))


def described(array):
    return [helper.np_dtype_to_tensor_dtype(array.dtype), list(array.shape)]


def models(shared):
    result = {}
    for path in sorted([*shared.glob("models/*.onnx"), *shared.glob("reference/*/model.onnx")]):
        model = onnx.load(path)
        initializers = {t.name for t in model.graph.initializer}
        feeds = {}
        for value in model.graph.input:
            if value.name not in initializers:
                dims = [d.dim_value or 2 for d in value.type.tensor_type.shape.dim]
                feeds[value.name] = np.random.rand(*dims).astype(np.float32)
        present = {o.name for o in model.graph.output}
        for node in model.graph.node:
            for name in node.output:
                if name and name not in present:
                    model.graph.output.append(onnx.ValueInfoProto(name=name))
        values = run(model, feeds)
        result[str(path.relative_to(shared))] = {
            "inputs": {k: list(v.shape) for k, v in feeds.items()},
            "values": {k: described(v) for k, v in values.items()},
        }
    (OUT / "models.json").write_text(json.dumps(result, indent=1, sort_keys=True) + "\n")


r = random.Random(7)


def dims(rank, low=1, high=6):
    return [r.randint(low, high) for _ in range(rank)]


def pick(*choices):
    return r.choice(choices)


def ints(values):
    return np.array(values, dtype=np.int64)


def window(spatial, pool):
    """Attributes of a window; absent ones stay absent at times."""
    a = {}
    if r.random() < 0.7:
        a["strides"] = dims(spatial, 1, 3)
    if r.random() < 0.3:
        a["dilations"] = dims(spatial, 1, 2)
    kind = r.random()
    if kind < 0.35:
        a["auto_pad"] = pick("SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET")
        if a["auto_pad"].startswith("SAME"):
            a.pop("dilations", None)
    elif kind < 0.8:
        a["pads"] = dims(2 * spatial, 0, 1 if pool else 2)
    return a


def rand_axes(rank):
    axes = r.sample(range(rank), r.randint(1, rank))
    return [a - rank if r.random() < 0.3 else a for a in axes]


def generate():
    """Yields (op, opset, attributes, inputs); an input is dims, or an array for a constant, or None."""
    for _ in range(60):
        s = pick(1, 2, 2, 3)
        g = pick(1, 1, 2)
        c, m = g * r.randint(1, 3), g * r.randint(1, 3)
        k = dims(s, 1, 3)
        x = [2, c, *dims(s, 5, 9)]
        a = window(s, False) | {"group": g}
        yield "Conv", pick(9, 11, 17, 21), a, [x, [m, c // g, *k]]
    for _ in range(40):
        s = pick(1, 2, 2)
        g = pick(1, 2)
        c = 2 * g
        a = window(s, False) | {"group": g}
        if a.get("auto_pad", "").startswith("SAME"):
            a.pop("auto_pad")
        stride = a.get("strides", [1] * s)
        if r.random() < 0.4:
            a["output_padding"] = [r.randint(0, t - 1) for t in stride]
        yield "ConvTranspose", pick(9, 11, 21), a, [[2, c, *dims(s, 4, 6)], [c, 3, *dims(s, 2, 3)]]
    for _ in range(140):
        s = pick(1, 2, 2)
        opset = pick(10, 11, 12, 19, 21, 22)
        op = pick("MaxPool", "MaxPool", "AveragePool", "LpPool")
        a = window(s, True) | {"kernel_shape": dims(s, 2, 3)}
        if op != "LpPool" or opset >= 18:
            a["ceil_mode"] = pick(0, 1)
        if op == "AveragePool" and opset < 19 or op == "LpPool" and opset < 18:
            a.pop("dilations", None)
        yield op, opset, a, [[2, 3, *dims(s, 5, 11)]]
    for op in ["GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"]:
        yield op, 11, {}, [[2, 3, 4, 5]]
    for _ in range(60):
        rank = r.randint(1, 4)
        x = dims(rank, 1, 7)
        axes = rand_axes(rank)
        starts = [r.randint(-9, 9) for _ in axes]
        ends = [pick(r.randint(-9, 9), 2**63 - 1, -(2**63 - 1)) for _ in axes]
        steps = [pick(1, 1, 2, 3, -1, -2) for _ in axes]
        yield "Slice", pick(11, 13, 21), {}, [x, ints(starts), ints(ends), ints(axes), ints(steps)]
        axes = [a % rank for a in axes]
        yield "Slice", 9, {"starts": starts, "ends": ends, "axes": axes}, [x]
    for _ in range(30):
        x = dims(4, 1, 3)
        total = int(np.prod(x))
        target = pick([0, -1], [0, 0, -1], [-1], [x[0], -1], [0, x[1], x[2] * x[3]], [-1, 0, 0, 0],
                      [1, total], [total, 1, 1], [x[3], 0, -1])
        yield "Reshape", pick(9, 13, 14, 21), {}, [x, ints(target)]
        yield "Flatten", pick(9, 11, 21), {"axis": r.randint(0, 4)}, [x]
        yield "Transpose", pick(9, 13), {"perm": r.sample(range(4), 4)}, [x]
        rank = r.randint(1, 3)
        repeats = dims(rank, 0, 3)
        yield "Tile", pick(9, 13), {}, [dims(rank), ints(repeats)]
        pads = [r.randint(-1, 3) for _ in range(8)]
        x = dims(4, 3, 6)
        yield "Pad", 9, {"pads": pads, "value": pick(0.0, 1.5), "mode": "constant"}, [x]
        yield "Pad", pick(11, 13, 18, 21), {}, [x, ints(pads)]
        axes = rand_axes(4)
        yield "Pad", pick(18, 21), {}, [x, ints(dims(2 * len(axes), 0, 3)), None, ints(axes)]
        a = {"keepdims": pick(0, 1)}
        op = pick("ReduceMean", "ReduceMax", "ReduceL2", "ReduceLogSumExp", "ReduceSumSquare")
        yield op, pick(11, 13, 17), a | {"axes": axes}, [x]
        yield op, pick(18, 20, 21), a, [x, ints(axes)]
        yield op, pick(11, 18, 21), a, [x]
        yield "ReduceSum", 11, a | {"axes": axes}, [x]
        yield "ReduceSum", pick(13, 21), a | {"noop_with_empty_axes": pick(0, 1)}, [x]
        yield "ArgMax", pick(11, 13), a | {"axis": r.randint(-4, 3)}, [x]
    for _ in range(20):
        x = [pick(1, 1, r.randint(2, 4)) for _ in range(4)]
        ones = [i for i in range(4) if x[i] == 1]
        yield "Squeeze", pick(9, 11, 13), {}, [x]
        if ones:
            yield "Squeeze", pick(9, 11), {"axes": ones}, [x]
            yield "Squeeze", pick(13, 21), {}, [x, ints([i - 4 for i in ones])]
        axes = r.sample(range(6), 2)
        yield "Unsqueeze", pick(9, 11), {"axes": axes}, [x]
        yield "Unsqueeze", pick(13, 21), {}, [x, ints([a - 6 for a in axes])]
        y = [pick(1, d) for d in x][r.randint(0, 3):]
        for op in [pick("Add", "Mul", "Sub", "Div", "PRelu", "Pow"), "Less", "Max"]:
            yield op, pick(9, 13, 21), {}, [x, y]
        yield "Expand", 13, {}, [x, ints(y)]
        split = dims(3, 0, 3)
        axis = r.randint(-2, 1)
        x = [sum(split)] * 2
        yield "Split", 11, {"axis": axis, "split": split}, [x], 3
        yield "Split", 13, {"axis": axis}, [x, ints(split)], 3
        yield "Split", 11, {"axis": 0}, [[6, 2]], 3
        yield "Split", 18, {"axis": 0, "num_outputs": 3}, [[pick(6, 7, 8), 2]], 3
        yield "Concat", pick(9, 11), {"axis": 1}, [[2, r.randint(0, 3), 3], [2, r.randint(1, 3), 3]]
        rank = r.randint(1, 3)
        yield "Gather", 13, {"axis": r.randint(-rank, rank - 1)}, [
            dims(rank, 2, 4), np.zeros(dims(r.randint(0, 2)), np.int64)]
        yield "GatherElements", 13, {"axis": 1}, [[3, 4], np.zeros(dims(2, 1, 3), np.int64)]
        b, d = pick(0, 1), r.randint(1, 2)
        yield "GatherND", 13, {"batch_dims": b}, [[2, 3, 4], np.zeros([2, 3, d], np.int64)]
        a = pick([2, 3], [3], [4, 1, 2, 3])
        c = pick([3, 5], [3], [4, 3, 2], [1, 3, 2])
        yield "MatMul", 13, {}, [a, c]
        ta, tb = pick(0, 1), pick(0, 1)
        yield "Gemm", pick(9, 11, 13), {"transA": ta, "transB": tb}, [
            [4, 2] if ta else [2, 4], [3, 4] if tb else [4, 3], pick([3], [2, 3], [1, 3], [2, 1], [])]
        scales = np.array([1, 1, pick(2, 0.5, 1.3), pick(2, 0.6, 3)], np.float32)
        x = [1, 2, r.randint(2, 7), r.randint(2, 7)]
        yield "Upsample", 9, {"mode": pick("nearest", "linear")}, [x, np.maximum(scales, 1)]
        yield "Resize", 10, {"mode": pick("nearest", "linear")}, [x, scales]
        yield "Resize", pick(13, 18, 19), {"mode": pick("nearest", "linear")}, [x, None, scales]
        yield "Resize", 11, {}, [x, np.zeros(0, np.float32), scales]
        yield "Resize", 18, {"axes": [2, 3], "keep_aspect_ratio_policy":
                             pick("stretch", "not_larger", "not_smaller")}, [
            x, None, None, ints(dims(2, 3, 9))]
        yield "TopK", 9, {"k": 2, "axis": pick(0, 1, -1)}, [[4, 3]], 2
        yield "TopK", pick(10, 11), {"axis": pick(0, 1, -1)}, [[4, 3], ints([2])], 2
        for op in ["Softmax", "LogSoftmax", "Hardmax"]:
            yield op, pick(9, 11, 12), {"axis": r.randint(0, 2)}, [[2, 3, 4]]
            yield op, pick(11, 13), pick({}, {"axis": -1}), [[2, 3, 4]]
        yield "OneHot", 11, {"axis": r.randint(-3, 2)}, [
            np.zeros([2, 3], np.int64), ints(4), np.array([0, 1], np.float32)]
        yield "Shape", pick(15, 21), {"start": r.randint(-5, 4), "end": r.randint(-5, 5)}, [[2, 3, 4]]
        lim = r.randint(-6, 9)
        yield "Range", 11, {}, [ints(1), ints(lim), ints(pick(1, 2, -2))]
    for _ in range(12):
        m = ints([[r.randint(-9, 9) or 1 for _ in range(3)] for _ in range(2)])
        v = ints([r.randint(-9, 9) or 2 for _ in range(3)])
        mask = np.array([True, False, bool(pick(0, 1))])
        for op in ["Add", "Sub", "Mul", "Div", "Min", "Max", "Equal", "Less", "Greater"]:
            yield op, 13, {}, [m, pick(v, ints(3), ints([[2], [-1]]))]
        yield "Where", 16, {}, [mask, m, v]
        yield "And", 13, {}, [mask, mask[::-1].copy()]
        yield pick("Neg", "Abs"), 13, {}, [m]
        yield "Not", 13, {}, [mask]
        yield "Cast", 13, {"to": pick(6, 9, 1)}, [m]
        yield "Cast", 13, {"to": 7}, [np.array([1.7, -1.7, 0.2], np.float32)]
        yield "Concat", 13, {"axis": pick(0, -2)}, [m, m[:1], m]
        yield "Concat", 13, {"axis": 1}, [m, m[:, :0], m[:, 1:]]
        yield "Gather", 13, {"axis": -1}, [m, ints(pick([2, -1], [[0], [-3]], 1))]
        yield "Slice", 13, {}, [m, ints([r.randint(-4, 4)]), ints([r.randint(-4, 4)]), ints([1]),
                                ints([pick(1, -1, 2)])]
        yield "Transpose", 13, {}, [m]
        yield "Reshape", 13, {}, [m, ints([3, -1])]
        yield "Expand", 13, {}, [v, ints([2, 1, 3])]
        yield "Tile", 13, {}, [m, ints(dims(2, 0, 2))]
        yield "Unsqueeze", 13, {}, [v, ints([0, -1])]
        yield pick("ReduceProd", "ReduceMin"), 18, {"keepdims": pick(0, 1)}, [m, ints([pick(0, 1, -1)])]
        yield pick("ReduceMax", "ReduceProd"), 13, {"keepdims": pick(0, 1)}, [m]
        yield "ReduceSum", 13, {}, [m, ints([0])]
    c = [3]
    yield "BatchNormalization", 9, {}, [[2, 3, 4, 4], c, c, c, c]
    yield "BatchNormalization", 15, {}, [[2, 3], c, c, c, c]
    yield "InstanceNormalization", 9, {}, [[2, 3, 4], c, c]
    yield "GroupNormalization", 21, {"num_groups": 2}, [[2, 4, 3], [4], [4]]
    yield "LayerNormalization", 17, {"axis": -2}, [[2, 3, 4], [3, 4], [3, 4]], 3
    yield "LpNormalization", 9, {}, [[2, 3]]
    yield "LRN", 13, {"size": 3}, [[1, 3, 4, 4]]
    yield "DepthToSpace", 9, {"blocksize": 2}, [[1, 8, 2, 3]]
    yield "DepthToSpace", 13, {"blocksize": 2, "mode": "CRD"}, [[1, 8, 2, 3]]
    yield "SpaceToDepth", 13, {"blocksize": 2}, [[1, 3, 4, 6]]
    yield "Einsum", 12, {"equation": "bij,bjk->bik"}, [[2, 3, 4], [2, 4, 5]]
    yield "Einsum", 12, {"equation": "ij,jk"}, [[3, 4], [4, 5]]
    yield "Einsum", 12, {"equation": "bhwc,hkc->bhwk"}, [[2, 3, 4, 5], [3, 6, 5]]
    yield "ConstantOfShape", 9, {}, [ints([2, 0, 3])]
    yield "CumSum", 14, {}, [[2, 3], ints(1)]
    yield "Trilu", 14, {}, [[2, 3, 3]]
    yield "Size", 13, {}, [[2, 3]]
    yield "Clip", 9, {"min": 0.0, "max": 6.0}, [[2, 3]]
    yield "Clip", 9, {"max": 0.5}, [[2, 3]]
    yield "Scatter", 9, {"axis": 1}, [[2, 3], ints([[1], [0]]), [2, 1]]
    yield "ScatterElements", 16, {"axis": 1}, [[2, 3], ints([[1], [0]]), [2, 1]]
    yield "ScatterND", 16, {}, [[4, 3], ints([[1], [3]]), [2, 3]]
    yield "Cast", 13, {"to": 7}, [[2, 3]]
    yield "ConvTranspose", 11, {"output_shape": [9, 9], "strides": [2, 2]}, [[1, 2, 4, 4], [2, 3, 3, 3]]
    for auto in ["SAME_UPPER", "SAME_LOWER"]:
        yield "ConvTranspose", 11, {"auto_pad": auto, "strides": [2, 2]}, [[1, 2, 4, 5], [2, 3, 3, 3]]
    yield from elementwise()


def elementwise():
    """Functions of each element and others that have no case above, in the opset that brought their present
    form, or 9."""
    for opset, ops in {
        9: ["Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Cos", "Cosh", "Elu", "HardSigmoid", "Selu",
            "Shrink", "Sin", "Sinh", "Softplus", "Softsign", "Tan"],
        12: ["Celu"],
        13: ["Ceil", "Erf", "Exp", "Floor", "Identity", "Log", "Reciprocal", "Relu", "Sigmoid", "Sign", "Sqrt",
             "Tanh"],
        14: ["HardSwish"],
        16: ["LeakyRelu"],
        18: ["Mish"],
        20: ["Gelu"],
    }.items():
        for op in ops:
            yield op, opset, {}, [[2, 3]]
    for op, opset in [("Round", 11), ("ThresholdedRelu", 10), ("IsInf", 10), ("IsNaN", 13), ("Dropout", 13),
                      ("MeanVarianceNormalization", 13)]:
        yield op, opset, {}, [[2, 3, 1, 2]]
    yield "CastLike", 15, {}, [[2, 3], ints([1])]
    yield "Mod", 13, {"fmod": 1}, [[2, 3], [3]]
    for op in ["Mean", "Sum"]:
        yield op, 13, {}, [[2, 1], [3], [1, 1, 1]]
    for op in ["GreaterOrEqual", "LessOrEqual"]:
        yield op, 16, {}, [[2, 1], [3]]
    truths = np.array([True, False, True])
    for op in ["Or", "Xor"]:
        yield op, 9, {}, [truths, truths[:1]]
    whole = np.array([[1], [6]], np.uint8)
    yield "BitShift", 11, {"direction": "LEFT"}, [whole, np.array([1, 2, 3], np.uint8)]
    for op in ["BitwiseAnd", "BitwiseOr", "BitwiseXor"]:
        yield op, 18, {}, [whole, np.array([3, 5, 1], np.uint8)]
    yield "BitwiseNot", 18, {}, [whole]
    for op in ["ReduceL1", "ReduceLogSum"]:
        yield op, 13, {"axes": [1], "keepdims": 0}, [[2, 3, 4]]
        yield op, 18, {}, [[2, 3, 4], ints([0, -1])]
    yield "ArgMin", 13, {"axis": -1, "keepdims": 0}, [[2, 3, 4]]


# Whose values are not computed, of constants either.
UNCOMPUTED = {"OneHot", "Xor", "BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitwiseNot"}


def case(op, opset, attributes, inputs, outputs=1):
    graph_inputs, initializers, names, feeds = [], [], [], {}
    for i, value in enumerate(inputs):
        name = f"i{i}"
        names.append("" if value is None else name)
        if isinstance(value, np.ndarray):
            initializers.append(numpy_helper.from_array(value, name))
        elif value is not None:
            graph_inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, value))
            feeds[name] = np.asarray(np.random.rand(*value), np.float32)
    if op == "MaxPool":
        outputs = 2
    results = [f"o{i}" for i in range(outputs)]
    node = helper.make_node(op, names, results, **attributes)
    graph = helper.make_graph([node], "g", graph_inputs,
                              [onnx.ValueInfoProto(name=n) for n in results], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    try:
        values = run(model, feeds)
    except Exception:
        return None
    def stored(value):
        if isinstance(value, np.ndarray):
            return {"type": helper.np_dtype_to_tensor_dtype(value.dtype), "dims": list(value.shape),
                    "values": value.flatten().tolist()}
        return value
    computed = op in ("Shape", "Size") or not graph_inputs and op not in UNCOMPUTED
    known = values["o0"].flatten().tolist() if computed else None
    return {"op": op, "opset": opset, "attributes": attributes,
            "inputs": [stored(v) for v in inputs],
            "outputs": [described(values[n]) for n in results], "known": known}


def cases():
    lines, made, refused = [], collections.Counter(), collections.Counter()
    for arguments in generate():
        one = case(*arguments)
        (refused if one is None else made)[arguments[0]] += 1
        if one is not None:
            lines.append(json.dumps(one))
    lines = list(dict.fromkeys(lines))
    (OUT / "cases.json").write_text("[\n" + ",\n".join(lines) + "\n]\n")
    print("kept", len(lines), dict(made))
    print("refused by onnxruntime", dict(refused))


OUT.mkdir(parents=True, exist_ok=True)
cases()
if len(sys.argv) > 1:
    models(pathlib.Path(sys.argv[1]))
