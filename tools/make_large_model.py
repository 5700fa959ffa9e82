#!/usr/bin/env python3
"""Writes a classifier of any size as ONNX, with its weights in one file beside it.

    python3 tools/make_large_model.py large.onnx                # 2.2 GiB in large.onnx.data
    python3 tools/make_large_model.py small.onnx --bytes 4e6

Two convolutions with ReLUs, then wide dense layers (`Gemm` with `transB`, as PyTorch exports them) with ReLUs,
then one of a column per class; an input of 3 x 32 x 32. How wide they are follows from the size that is
asked for. Weights are random, drawn from a seed so that the values keep their size from layer to layer; they
are written piece by piece, never held all at once. Serves to measure what a model beyond protobuf's 2 GiB
takes. Needs numpy and onnx.
"""

import argparse
import math
import pathlib

import numpy as np
import onnx
from onnx import TensorProto, helper

SIDE = 32
STEM = [(3, 16), (16, 32)]
FEATURES = STEM[-1][1] * (SIDE // 4) ** 2
# Values that are drawn and written at a time.
PIECE = 1 << 22


def width_for(size, layers, classes):
    """The width of `layers` dense layers with which all weights take about `size` bytes."""
    quadratic, linear, constant = layers - 1, FEATURES + layers + classes, classes
    constant += sum(9 * i * o + o for i, o in STEM) - size / 4
    if quadratic == 0:
        width = -constant / linear
    else:
        root = math.sqrt(max(linear**2 - 4 * quadratic * constant, 0))
        width = (root - linear) / (2 * quadratic)
    return max(16, round(width / 16) * 16)


class Weights:
    """The file beside the model, and the tensors that lie in it."""

    def __init__(self, path, seed):
        self.name = path.name
        self.file = path.open("wb")
        self.seed = seed
        self.tensors = []

    def add(self, name, dims, deviation):
        """A tensor of random values, 0 on average; returns its name."""
        # Of pages, so that it can be mapped.
        self.file.seek(-self.file.tell() % 4096, 1)
        offset, left = self.file.tell(), math.prod(dims)
        draw = np.random.default_rng([self.seed, len(self.tensors)])
        length = 4 * left
        while left > 0:
            piece = draw.standard_normal(min(left, PIECE), dtype=np.float32)
            piece *= np.float32(deviation)
            self.file.write(piece.astype("<f4", copy=False).tobytes())
            left -= len(piece)
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=dims)
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in [("location", self.name), ("offset", offset), ("length", length)]:
            tensor.external_data.add(key=key, value=str(value))
        self.tensors.append(tensor)
        return name


def write(path, size, layers, classes, seed):
    weights = Weights(path.with_name(path.name + ".data"), seed)
    nodes = []

    def layer(op, value, output, dims, **attributes):
        name = f"{output}.weight"
        fan_in = math.prod(dims[1:])
        inputs = [
            value,
            weights.add(name, dims, math.sqrt(2 / fan_in)),
            weights.add(f"{output}.bias", dims[:1], 0.01),
        ]
        nodes.append(helper.make_node(op, inputs, [output], name=f"/{output}", **attributes))
        return output

    def node(op, value, output, **attributes):
        nodes.append(helper.make_node(op, [value], [output], name=f"/{output}", **attributes))
        return output

    value = "input"
    for i, (before, after) in enumerate(STEM):
        value = layer("Conv", value, f"conv{i}", [after, before, 3, 3], strides=[2, 2], pads=[1] * 4)
        value = node("Relu", value, f"conv{i}.relu")
    value = node("Flatten", value, "flat", axis=1)
    width, before = width_for(size, layers, classes), FEATURES
    for i in range(layers):
        value = layer("Gemm", value, f"dense{i}", [width, before], transB=1)
        value = node("Relu", value, f"dense{i}.relu")
        before = width
    layer("Gemm", value, "scores", [classes, before], transB=1)
    weights.file.close()

    graph = helper.make_graph(
        nodes,
        "large",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", classes])],
        weights.tensors,
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="make_large_model"
    )
    model.ir_version = 8
    path.write_bytes(model.SerializeToString(deterministic=True))
    onnx.checker.check_model(str(path))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("output", type=pathlib.Path, help="file to write; OUTPUT.data lies beside it")
    parser.add_argument("--bytes", type=float, default=2.2 * 2**30, help="of all weights together")
    parser.add_argument("--layers", type=int, default=6, help="wide dense layers")
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.layers < 1:
        parser.error("--layers must be 1 or more")
    write(args.output, args.bytes, args.layers, args.classes, args.seed)


if __name__ == "__main__":
    main()
