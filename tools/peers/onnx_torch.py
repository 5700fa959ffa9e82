"""A convolutional classifier in an ONNX file as a module of PyTorch: the same weights, to be trained there.

The graph is interpreted node by node with PyTorch's own functions, laid out channels-last. Weights and biases of
convolutions and dense layers and scale and shift of batch normalisation are parameters; its statistics are buffers.
A convolution and the batch normalisation behind it run as one convolution wherever the stored statistics count, as
PyTorch does it at its best. Operators that the backbones of this project do not have are refused.
"""

import collections

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import nn
from torch.nn import functional as f

# Share by which statistics of a batch move the stored ones: the default of `torch.nn.BatchNorm2d`.
MOMENTUM = 0.1


def unknown(node, why=""):
    raise SystemExit(f"{node.op_type} `{node.name or node.output[0]}` is not among what onnx_torch.py knows. {why}")


class Network(nn.Module):
    """The network of an ONNX file, with its own classifier or, with `classes`, a new linear one on the pooled last
    feature map."""

    def __init__(self, path, classes=None):
        super().__init__()
        graph = onnx.load(path).graph
        self.input, self.output = graph.input[0].name, graph.output[0].name
        self.nodes = list(graph.node)
        self.batch_statistics = False
        self.head = None
        if classes:
            pool = max(i for i, n in enumerate(self.nodes) if n.op_type == "GlobalAveragePool")
            self.nodes, self.output = self.nodes[: pool + 1], self.nodes[pool].output[0]
        self.attributes = [{a.name: helper.get_attribute_value(a) for a in n.attribute} for n in self.nodes]
        self.readers = collections.Counter(name for node in self.nodes for name in node.input)
        self.readers[self.output] += 1
        # Of each value, the last node that reads it: after that it is let go.
        self.last = {name: i for i, node in enumerate(self.nodes) for name in node.input}
        self._take(graph)
        self._fuse()
        if classes:
            self.head = nn.Linear(self._width(graph), classes)
        self.to(memory_format=torch.channels_last)

    def _take(self, graph):
        """Makes parameters, buffers and numbers of the initializers that are read."""
        values = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
        self.places, self.numbers = {}, {}
        for node in self.nodes:
            for place, name in enumerate(node.input):
                if name not in values or name in self.places or name in self.numbers:
                    continue
                value = torch.from_numpy(np.array(values[name]))
                if (
                    node.op_type in ("Conv", "Gemm")
                    and place > 0
                    or node.op_type == "BatchNormalization"
                    and place < 3
                ):
                    self.places[name] = f"p{len(self.places)}"
                    self.register_parameter(self.places[name], nn.Parameter(value))
                elif node.op_type == "BatchNormalization":
                    self.places[name] = f"s{len(self.places)}"
                    self.register_buffer(self.places[name], value)
                elif value.numel() == 1:
                    self.numbers[name] = float(value)
                else:
                    self.places[name] = f"c{len(self.places)}"
                    self.register_buffer(self.places[name], value)

    def _fuse(self):
        """Finds the batch normalisations that alone read what a convolution gives, and the activations that alone read
        what one of these gives, which may take its place."""
        made = {node.output[0]: i for i, node in enumerate(self.nodes)}
        self.norm_of, self.inside, self.in_place = {}, set(), set()
        for i, node in enumerate(self.nodes):
            before = made.get(node.input[0])
            if before is None or self.readers[node.input[0]] != 1:
                continue
            kind = self.nodes[before].op_type
            if node.op_type == "BatchNormalization" and kind == "Conv":
                self.norm_of[before] = i
                self.inside.add(i)
            elif node.op_type in ("Clip", "Relu") and kind in ("Conv", "BatchNormalization"):
                self.in_place.add(i)

    def _width(self, graph):
        """Channels of the last feature map."""
        shape = [d.dim_value for d in graph.input[0].type.tensor_type.shape.dim][1:]
        with torch.inference_mode():
            return self.features(torch.zeros(1, *(side or 224 for side in shape))).shape[1]

    def value(self, name):
        return self.numbers[name] if name in self.numbers else getattr(self, self.places[name])

    def convolution(self, i, x):
        """A convolution, with the batch normalisation behind it where that is stored statistics."""
        node, attributes = self.nodes[i], self.attributes[i]
        weight = self.value(node.input[1])
        bias = self.value(node.input[2]) if len(node.input) > 2 else None
        pads = attributes.get("pads", [0, 0, 0, 0])
        if attributes.get("auto_pad", b"NOTSET") != b"NOTSET" or len(pads) != 4:
            unknown(node, "Its padding.")
        norm = self.norm_of.get(i)
        if norm is not None and not self.batch_statistics:
            scale, shift, mean, variance = map(self.value, self.nodes[norm].input[1:])
            scale = scale * torch.rsqrt(variance + self.attributes[norm].get("epsilon", 1e-5))
            shift = shift - mean * scale
            weight = weight * scale.view(-1, 1, 1, 1)
            bias = shift if bias is None else shift + bias * scale
        top, left, bottom, right = pads
        if (top, left) != (bottom, right):
            x, top, left = f.pad(x, (left, right, top, bottom)), 0, 0
        strides, dilations = attributes.get("strides", [1, 1]), attributes.get("dilations", [1, 1])
        x = f.conv2d(x, weight, bias, strides, (top, left), dilations, attributes.get("group", 1))
        return self.normalise(norm, x) if norm is not None and self.batch_statistics else x

    def normalise(self, i, x):
        scale, shift, mean, variance = map(self.value, self.nodes[i].input[1:])
        epsilon = self.attributes[i].get("epsilon", 1e-5)
        return f.batch_norm(x, mean, variance, scale, shift, self.batch_statistics, MOMENTUM, epsilon)

    def compute(self, i, x, values):
        """What node `i` gives; `x` is its first input."""
        node, attributes = self.nodes[i], self.attributes[i]

        def other(place):
            name = node.input[place]
            return values[name] if name in values else self.value(name)

        match node.op_type:
            case "Conv":
                return self.convolution(i, x)
            case "BatchNormalization":
                # One that is inside of a convolution has been computed with it.
                return x if i in self.inside else self.normalise(i, x)
            case "Relu":
                return f.relu(x, inplace=i in self.in_place)
            case "HardSwish":
                return f.hardswish(x)
            case "Clip":
                return f.hardtanh(x, other(1), other(2), inplace=i in self.in_place)
            case "Add":
                return x + other(1)
            case "Mul":
                return x * other(1)
            case "GlobalAveragePool":
                return x.mean((2, 3), keepdim=True)
            case "Flatten" if attributes.get("axis", 1) == 1:
                return x.flatten(1)
            case "Gemm" if attributes.get("transA", 0) == 0 and {
                attributes.get("alpha", 1),
                attributes.get("beta", 1),
            } == {1}:
                weight = other(1) if attributes.get("transB", 0) else other(1).t()
                return f.linear(x, weight, other(2) if len(node.input) > 2 else None)
            case "Identity" | "Dropout":
                return x
        return unknown(node)

    def run(self, x):
        values = {self.input: x}
        for i, node in enumerate(self.nodes):
            first = node.input[0]
            x = values[first] if first in values else self.value(first)
            values[node.output[0]] = self.compute(i, x, values)
            for name in node.input:
                if self.last[name] == i and name != self.output:
                    values.pop(name, None)
        return values[self.output]

    def features(self, x):
        """What the new head reads: [batch, channels]."""
        return self.run(x).flatten(1)

    def forward(self, x):
        return self.run(x) if self.head is None else self.head(self.features(x))


def any_size(path):
    """The bytes of a model that takes images of any size, for onnxruntime."""
    model = onnx.load(path)
    for place, dim in enumerate(model.graph.input[0].type.tensor_type.shape.dim):
        if place != 1:
            dim.dim_param = f"d{place}"
    del model.graph.value_info[:]
    return model.SerializeToString()
