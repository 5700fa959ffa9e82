#!/usr/bin/env python3
"""Tries `ftsurgery differentiate` on the node tests of the `onnx` wheel.

usage: try_node_tests.py [--ftsurgery PATH] [--verbose] [NAME ...]

Each test of a node with float inputs becomes a classifier: its float inputs are trained weights, its
first output, flattened, the scores (times the data, which keeps them small). A little noise is added
to the inputs, which in the tests lie on kinks and are often equal. The slope of the loss along the
gradients of the written file is held against a central difference of onnxruntime on the classifier.
Prints the tests that disagree, and how many agree, have no gradient rule or are refused, and are left
out (no float input, or onnxruntime does not run the classifier).

Needs Python 3.10 or newer with numpy, onnx and onnxruntime.
"""

import argparse
import collections
import os
import pathlib
import subprocess
import tempfile
import warnings

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnx.backend.test.loader import load_model_tests  # noqa: F401  (fails early without the tests)

os.environ.setdefault("OMP_NUM_THREADS", "2")
ROOT = pathlib.Path(__file__).resolve().parent.parent
TOLERANCE = 2e-2
STEPS = [1e-2, 3e-3, 1e-3]
# Inputs that may be weights, where not all float inputs may.
WEIGHTS = {"Resize": [0], "Upsample": [0], "BatchNormalization": [0, 1, 2], "Pow": [0]}


def cases():
    """(name, node, inputs by name, opset imports) of every test of a single node."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.case.node import collect_testcases

        collected = collect_testcases(None)
    for case in collected:
        graph = case.model.graph
        if len(graph.node) != 1 or graph.node[0].domain or case.data_sets is None or not case.data_sets:
            continue
        inputs = case.data_sets[0][0]
        if len(inputs) == len(graph.input):
            yield case.name, graph.node[0], dict(zip([i.name for i in graph.input], inputs)), case.model


def classifier(node, inputs, imports):
    """The node between weights and scores; None if it has no float input."""
    nodes, tensors, weights = [], [], {}
    node = onnx.NodeProto.FromString(node.SerializeToString())
    rng = np.random.default_rng(4)
    for i, name in enumerate(node.input):
        value = inputs.get(name)
        if not isinstance(value, (np.ndarray, np.generic)):
            if name:
                return None
            continue
        value = np.asarray(value)
        trained = i in WEIGHTS.get(node.op_type, [i])
        if trained and value.dtype == np.float32 and value.size > 1:
            value = value * (1 + rng.uniform(-0.03, 0, value.shape).astype(np.float32))
            value += rng.uniform(0, 0.02, value.shape).astype(np.float32) * (np.abs(value) < 0.5)
            weight = f"weight_{i}"
            weights[weight] = value
            tensors.append(numpy_helper.from_array(value, weight))
            tensors.append(numpy_helper.from_array(np.ones_like(value), f"one_{i}"))
            nodes.append(helper.make_node("Mul", [weight, f"one_{i}"], [f"moved_{i}"]))
            node.input[i] = f"moved_{i}"
        elif name not in [t.name for t in tensors]:
            tensors.append(numpy_helper.from_array(value, name))
    if not weights:
        return None
    first = next(o for o in node.output if o)
    rest = numpy_helper.from_array(np.array([1, -1], np.int64), "as_row")
    tensors += [rest, numpy_helper.from_array(np.zeros((1, 2), np.float32), "zeros")]
    nodes += [
        node,
        helper.make_node("Reshape", [first, "as_row"], ["row"]),
        helper.make_node("Concat", ["row", "zeros"], ["all"], axis=1),
        helper.make_node("MatMul", ["data", "all"], ["scores"]),
    ]
    data = helper.make_tensor_value_info("data", TensorProto.FLOAT, ["N", 1])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "case", [data], [scores], tensors)
    return helper.make_model(graph, opset_imports=imports, ir_version=10), weights


def session(model):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def loss(model, weights, data):
    for tensor in model.graph.initializer:
        if tensor.name in weights:
            values = weights[tensor.name].astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    z = session(model).run(None, {"data": data})[0].astype(float)
    top = z.max(axis=1, keepdims=True)
    return float(np.mean(np.log(np.exp(z - top).sum(axis=1)) + top[:, 0] - z[:, 0]))


def attempt(args, node, inputs, model, work):
    made = classifier(node, inputs, model.opset_import)
    if made is None:
        return "left out", "no float input"
    network, weights = made
    data = np.ones((1, 1), np.float32)
    try:
        scores = session(network).run(None, {"data": data})[0]
        data /= max(1.0, float(np.abs(scores).max()) / 2)
        if not np.isfinite(loss(network, weights, data)):
            return "left out", "the loss is not finite"
    except Exception as error:
        return "left out", f"onnxruntime: {str(error)[:90]}"
    path, step = work / "case.onnx", work / "step.onnx"
    onnx.save(network, path)
    done = subprocess.run(
        [args.ftsurgery, "-q", "differentiate", path, "--out", step, "--force"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        said = done.stderr.splitlines()[0].removeprefix("error: ")
        kind = "no rule" if "no gradient rule" in said else "refused"
        return (kind if done.returncode == 2 else "failed"), said
    written = onnx.load(step)
    try:
        onnx.checker.check_model(written, full_check=True)
        run = session(written)
    except Exception as error:
        return "failed", str(error)[:200]
    found = dict(
        zip(
            [o.name for o in run.get_outputs()],
            run.run(None, {"data": data, "labels": np.zeros(1, np.int64)}),
        )
    )
    gradients = {n: found[f"grad/{n}"].astype(float) for n in weights if f"grad/{n}" in found}
    rng = np.random.default_rng(2)
    way = {n: g + 0.3 * np.abs(g).mean() * rng.normal(size=g.shape) for n, g in gradients.items()}
    norm = np.sqrt(sum((w**2).sum() for w in way.values()))
    if norm < 1e-9:
        moved = {n: weights[n] + 1e-2 * rng.normal(size=weights[n].shape) for n in gradients}
        same = abs(loss(network, weights | moved, data) - loss(network, weights, data)) < 1e-5
        return ("agree", "0") if same else ("disagree", "the gradient is 0, the slope is not")
    slope = sum((gradients[n] * way[n]).sum() for n in gradients) / norm
    errors = []
    for size in STEPS:
        ahead, back = (
            loss(network, weights | {n: weights[n] + s * way[n] / norm for n in way}, data)
            for s in (size, -size)
        )
        errors.append(abs((ahead - back) / (2 * size) - slope) / abs(slope))
    return ("agree" if min(errors) <= TOLERANCE else "disagree"), f"{min(errors):.1e}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--ftsurgery", default=str(ROOT / "target/release/ftsurgery"))
    parser.add_argument("--verbose", action="store_true")
    args = parser.parse_args()
    counts, missing = collections.Counter(), collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        for name, node, inputs, model in cases():
            if args.names and not any(n in name for n in args.names):
                continue
            outcome, detail = attempt(args, node, inputs, model, pathlib.Path(folder))
            counts[outcome] += 1
            if outcome == "no rule":
                missing[node.op_type] += 1
            if args.verbose or outcome in ("disagree", "failed", "refused"):
                print(f"{outcome}: {name}: {detail}", flush=True)
    print(", ".join(f"{count} {outcome}" for outcome, count in counts.most_common()))
    print("without a rule:", ", ".join(f"{op} {n}" for op, n in missing.most_common()))


if __name__ == "__main__":
    main()
