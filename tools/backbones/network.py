"""Writes a network as ONNX, layer by layer: opset 17, IR 8, channels first, any batch size.

A layer's node has the layer's name, its output the node's name, and its parameters the names
NAME.weight and NAME.bias; of a BatchNormalization NAME.scale, .bias, .mean and .var. Nothing is
folded.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from .numpy_layers import same_padding

OPSET = 17
IR_VERSION = 8
INPUT, OUTPUT = "input", "logits"


class Network:
    """Grows at its end: `self.last` is the value that the next layer reads, `self.shape` its shape
    per image (channels, height, width)."""

    def __init__(self, side):
        self.nodes, self.tensors = [], {}
        self.last, self.shape = INPUT, (3, side, side)
        self.input_shape = self.shape

    def tensor(self, name, values):
        values = np.ascontiguousarray(values, dtype=np.float32)
        if name in self.tensors:
            raise ValueError(f"two tensors are named {name}")
        self.tensors[name] = numpy_helper.from_array(values, name)
        return name

    def node(self, kind, name, inputs, shape, **attributes):
        self.nodes.append(helper.make_node(kind, inputs, [name], name, **attributes))
        self.last, self.shape = name, tuple(shape)
        return self

    def conv(self, name, weight, bias=None, stride=1, group=1, padding="same"):
        """`weight` is out x in/group x H x W; padding is TensorFlow's "same" or "valid"."""
        out, per_group, *kernel = weight.shape
        channels, *sides = self.shape
        if per_group * group != channels:
            raise ValueError(f"{name}: weights {weight.shape}, {group} groups, {channels} channels")
        pairs = [
            same_padding(n, k, stride) if padding == "same" else (0, 0)
            for n, k in zip(sides, kernel, strict=True)
        ]
        inputs = [self.last, self.tensor(f"{name}.weight", weight)]
        if bias is not None:
            inputs.append(self.tensor(f"{name}.bias", bias))
        places = [
            (n + sum(pair) - k) // stride + 1
            for n, k, pair in zip(sides, kernel, pairs, strict=True)
        ]
        (top, bottom), (left, right) = pairs
        return self.node(
            "Conv", name, inputs, (out, *places), group=group, kernel_shape=kernel,
            pads=[top, left, bottom, right], strides=[stride, stride],
        )  # fmt: skip

    def batch_norm(self, name, scale, bias, mean, variance, epsilon):
        parts = {"scale": scale, "bias": bias, "mean": mean, "var": variance}
        inputs = [self.last, *(self.tensor(f"{name}.{k}", v) for k, v in parts.items())]
        return self.node("BatchNormalization", name, inputs, self.shape, epsilon=float(epsilon))

    def relu(self, name):
        return self.node("Relu", name, [self.last], self.shape)

    def relu6(self, name):
        for bound, value in (("relu6.min", 0.0), ("relu6.max", 6.0)):
            if bound not in self.tensors:
                self.tensors[bound] = numpy_helper.from_array(np.array(value, np.float32), bound)
        return self.node("Clip", name, [self.last, "relu6.min", "relu6.max"], self.shape)

    def add(self, name, other):
        return self.node("Add", name, [other, self.last], self.shape)

    def concat(self, name, values, channels):
        return self.node("Concat", name, values, (channels, *self.shape[1:]), axis=1)

    def max_pool(self, name, size, stride):
        """Without padding."""
        places = [(n - size) // stride + 1 for n in self.shape[1:]]
        return self.node(
            "MaxPool", name, [self.last], (self.shape[0], *places),
            kernel_shape=[size, size], strides=[stride, stride],
        )  # fmt: skip

    def global_average(self, name):
        return self.node("GlobalAveragePool", name, [self.last], (self.shape[0], 1, 1))

    def flatten(self, name):
        return self.node("Flatten", name, [self.last], (int(np.prod(self.shape)),), axis=1)

    def dense(self, name, weight, bias):
        """`weight` is out x in."""
        inputs = [self.last, self.tensor(f"{name}.weight", weight)]
        inputs.append(self.tensor(f"{name}.bias", bias))
        return self.node("Gemm", name, inputs, (len(bias),), transB=1)

    def affine(self, name, scale, shift):
        """Times `scale`, plus `shift`: a Mul and an Add."""
        self.node(
            "Mul", f"{name}/mul", [self.last, self.tensor(f"{name}.scale", scale)], self.shape
        )
        shift = self.tensor(f"{name}.shift", shift)
        return self.node("Add", f"{name}/add", [self.last, shift], self.shape)

    def model(self, name):
        """The finished model: its output is the last layer's, renamed."""
        self.nodes[-1].output[0] = OUTPUT
        values = [
            helper.make_tensor_value_info(value, TensorProto.FLOAT, ["N", *shape])
            for value, shape in ((INPUT, self.input_shape), (OUTPUT, self.shape))
        ]
        graph = helper.make_graph(
            self.nodes, name, values[:1], values[1:], list(self.tensors.values())
        )
        opset = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION)
        onnx.checker.check_model(model, full_check=True)
        return model
