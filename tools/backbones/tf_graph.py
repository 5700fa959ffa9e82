"""Reads a TensorFlow frozen graph (GraphDef, .pb) and computes it in numpy.

Only the protobuf wire format is read: fields of varints (type 0), 8 bytes (1), bytes (2) and
4 bytes (5). Numbers of the fields, from TensorFlow's graph.proto, node_def.proto, attr_value.proto
and tensor.proto:

    GraphDef    1 node
    NodeDef     1 name, 2 op, 3 input, 5 attr (a map: 1 key, 2 value)
    AttrValue   1 list (3 i, packed), 2 s, 3 i, 4 f, 5 b, 6 type, 8 tensor
    TensorProto 1 dtype, 2 shape (2 dim: 1 size), 4 tensor_content, 5 float_val, 7 int_val

What is not listed in `Graph._compute` is an error, not a guess.
"""

import struct
from dataclasses import dataclass, field

import numpy as np

from . import numpy_layers as layers

DTYPES = {1: np.dtype("<f4"), 3: np.dtype("<i4")}


def varint(data, at):
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise ValueError("not a protobuf message: a number does not end")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def fields(data):
    """(number, value) of each field of a message: an int of a varint, a memoryview of the rest."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, at = varint(data, at)
            yield number, value
            continue
        if kind == 2:
            size, at = varint(data, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError(f"not a protobuf message: wire type {kind}")
        if at + size > len(data):
            raise ValueError("not a protobuf message: a field is longer than the file")
        yield number, data[at : at + size]
        at += size


def packed(value):
    """The numbers of a repeated field of varints, of which `value` is one entry."""
    if isinstance(value, int):
        return [value]
    numbers, at = [], 0
    while at < len(value):
        number, at = varint(value, at)
        numbers.append(number)
    return numbers


def tensor(data):
    """A TensorProto as an array. One value in float_val or int_val stands for all of them."""
    dtype, dims, content, values = None, [], b"", []
    for number, value in fields(data):
        if number == 1:
            dtype = DTYPES.get(value)
        elif number == 2:
            dims = [dict(fields(dim)).get(1, 0) for kind, dim in fields(value) if kind == 2]
        elif number == 4:
            content = value
        elif number == 5:
            raw = value.tobytes()
            values += struct.unpack(f"<{len(raw) // 4}f", raw)
        elif number == 7:
            # Negative numbers are ten bytes of two's complement.
            values += [n - (1 << 64) if n >> 63 else n for n in packed(value)]
    if dtype is None:
        raise ValueError("a tensor of another type than float32 and int32")
    if len(content):
        return np.frombuffer(content, dtype).reshape(dims)
    array = np.array(values, dtype)
    return np.full(dims, array[0]) if array.size == 1 else array.reshape(dims)


def attribute(data):
    """An AttrValue: a number, bytes, a list of numbers, an array; None for what nobody asks for."""
    for number, value in fields(data):
        if number == 1:
            return [n for kind, entry in fields(value) if kind == 3 for n in packed(entry)]
        if number == 2:
            return value.tobytes()
        if number in (3, 5, 6):
            return value
        if number == 8:
            return tensor(value)
    return None


@dataclass
class Node:
    name: str = ""
    op: str = ""
    inputs: list = field(default_factory=list)
    attributes: dict = field(default_factory=dict)

    @classmethod
    def read(cls, data):
        node = cls()
        for number, value in fields(data):
            if number == 1:
                node.name = value.tobytes().decode()
            elif number == 2:
                node.op = value.tobytes().decode()
            elif number == 3:
                node.inputs.append(value.tobytes().decode())
            elif number == 5:
                entry = dict(fields(value))
                node.attributes[entry[1].tobytes().decode()] = attribute(entry[2])
        return node

    def stride(self):
        batch, rows, columns, channels = self.attributes["strides"]
        if (batch, channels) != (1, 1) or rows != columns:
            raise ValueError(f"{self.name}: strides {self.attributes['strides']}")
        return rows


class Graph:
    """The nodes of a GraphDef by name."""

    def __init__(self, content):
        nodes = (Node.read(v) for number, v in fields(memoryview(content)) if number == 1)
        self.nodes = {node.name: node for node in nodes}

    def constant(self, name):
        node = self.nodes[name]
        if node.op != "Const":
            raise ValueError(f"{name} is a {node.op} instead of a Const")
        return node.attributes["value"]

    def evaluate(self, fetches, feeds):
        """The values of the nodes `fetches`; `feeds` holds those of the placeholders. Computed in
        the type of the feeds."""
        values = dict(feeds)
        wide = next(iter(feeds.values())).dtype
        # No recursion: a graph may be deeper than Python's stack.
        waiting = list(fetches)
        while waiting:
            node = self.nodes[waiting[-1]]
            missing = [i for i in node.inputs if i not in values]
            if node.name in values:
                waiting.pop()
            elif missing:
                if len(waiting) > len(self.nodes):
                    raise ValueError(f"{node.name} depends on itself")
                waiting += missing[:1]
            else:
                value = self._compute(node, *(values[i] for i in node.inputs))
                values[node.name] = value.astype(wide) if value.dtype.kind == "f" else value
        return [values[name] for name in fetches]

    def _compute(self, node, *inputs):
        attributes = node.attributes
        match node.op:
            case "Const":
                return attributes["value"]
            case "Identity" | "PlaceholderWithDefault":
                return inputs[0]
            case "Add" | "BiasAdd":
                return inputs[0] + inputs[1]
            case "Sub":
                return inputs[0] - inputs[1]
            case "Mul":
                return inputs[0] * inputs[1]
            case "MatMul":
                if attributes.get("transpose_a") or attributes.get("transpose_b"):
                    raise ValueError(f"{node.name}: transposed MatMul")
                return inputs[0] @ inputs[1]
            case "Rsqrt":
                return 1 / np.sqrt(inputs[0])
            case "Relu6":
                return layers.relu6(inputs[0])
            case "Softmax":
                return layers.softmax(inputs[0])
            case "Squeeze":
                return np.squeeze(inputs[0], tuple(attributes["squeeze_dims"]))
            case "Reshape":
                return inputs[0].reshape(inputs[1])
            case "Conv2D" | "DepthwiseConv2dNative":
                if set(attributes.get("dilations", [1])) != {1}:
                    raise ValueError(f"{node.name}: dilated")
                kind = layers.convolution if node.op == "Conv2D" else layers.depthwise
                return kind(*inputs, node.stride(), attributes["padding"].decode())
            case "AvgPool":
                _, size, width, _ = attributes["ksize"]
                if size != width or attributes["padding"] != b"VALID":
                    raise ValueError(f"{node.name}: not a square AvgPool without padding")
                return layers.average_pool(inputs[0], size, node.stride())
        raise ValueError(f"{node.name}: operator {node.op} is not supported")
