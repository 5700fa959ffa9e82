#!/usr/bin/env python3
"""Tests the readers of this folder on files made here: no network, numpy and onnx only, a second.

    python3 tools/backbones/selftest.py

The files are written byte by byte from the formats' descriptions, with hostile ones among them.
"""

import os
import pickle
import pickletools
import struct
import sys
import unittest
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from backbones import numpy_layers as layers
from backbones.check import check
from backbones.hdf5 import File
from backbones.network import Network
from backbones.pickles import MAGIC, VERSION, arrays, state_dict
from backbones.tf_graph import Graph


def old_pth(
    sizes, strides, offset, values, count=None, call=b"ctorch._utils\n_rebuild_tensor_v2\n"
):
    """A file in PyTorch's old layout with one tensor `w`, written in pickle's protocol 2."""

    def body(value):
        # Without the header and the final STOP.
        return pickletools.optimize(pickle.dumps(value, 2))[2:-1]

    count = len(values) if count is None else count
    storage = b"(" + body("storage") + b"ctorch\nFloatStorage\n"
    storage += body("0") + body("cpu") + body(count) + b"N" + b"tQ"
    rest = body(offset) + body(tuple(sizes)) + body(tuple(strides)) + b"\x89" + b"}" + b"t"
    tensor = call + b"(" + storage + rest + b"R"
    object_ = b"\x80\x02}" + body("w") + tensor + b"s."
    facts = [MAGIC, VERSION, {"little_endian": True}]
    data = np.asarray(values, "<f4").tobytes()
    return b"".join(
        [*(pickle.dumps(f, 2) for f in facts), object_, pickle.dumps(["0"], 2)]
        + [struct.pack("<q", len(values)), data]
    )


class Pickles(unittest.TestCase):
    def test_a_strided_tensor_is_read_as_a_view_of_its_storage(self):
        found = state_dict(old_pth((2, 3), (1, 2), 1, range(8)))
        np.testing.assert_array_equal(found["w"], [[1, 3, 5], [2, 4, 6]])

    def test_tensors_outside_their_storage_are_refused(self):
        for sizes, strides, offset in [((9,), (1,), 0), ((2,), (1,), 7), ((2, 2), (8, 1), 0)]:
            with self.assertRaises(ValueError):
                state_dict(old_pth(sizes, strides, offset, range(8)))
        with self.assertRaises(ValueError):
            state_dict(old_pth((10**9,), (0,), 0, range(8)))
        with self.assertRaises(pickle.UnpicklingError):
            state_dict(old_pth((2,), (-1,), 4, range(8)))

    def test_a_storage_shorter_than_it_says_is_refused(self):
        with self.assertRaises(ValueError):
            state_dict(old_pth((2,), (1,), 0, range(8), count=9))

    def test_a_pickle_that_names_another_function_is_refused(self):
        with self.assertRaisesRegex(pickle.UnpicklingError, "posix.system"):
            state_dict(old_pth((2,), (1,), 0, range(8), call=b"cposix\nsystem\n"))

        class Hostile:
            def __reduce__(self):
                return os.system, ("exit 1",)

        with self.assertRaisesRegex(pickle.UnpicklingError, "may not be"):
            arrays(pickle.dumps({"w": Hostile()}))

    def test_arrays_come_back_as_they_were_pickled(self):
        kept = {"a": [np.arange(6, dtype=">f4").reshape(2, 3), np.arange(4.0)[None]]}
        kept["b"] = [np.asfortranarray(np.arange(6, dtype="<i8").reshape(2, 3))]
        content = pickle.dumps(kept, 3).replace(b"numpy._core.", b"numpy.core.")
        found = arrays(content)
        for key, values in kept.items():
            for old, new in zip(values, found[key], strict=True):
                np.testing.assert_array_equal(old, new)
                self.assertEqual(old.dtype, new.dtype)
        with self.assertRaises(pickle.UnpicklingError):
            arrays(pickle.dumps(np.array([None]), 3).replace(b"numpy._core.", b"numpy.core."))


def field(number, value):
    """A protobuf field: a varint of an int, length-delimited bytes of the rest."""

    def varint(n):
        out = b""
        while n >= 0x80:
            out, n = out + bytes([n & 0x7F | 0x80]), n >> 7
        return out + bytes([n])

    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def tf_node(name, op, inputs=(), **attributes):
    parts = field(1, name) + field(2, op) + b"".join(field(3, i) for i in inputs)
    entries = (field(1, k) + field(2, v) for k, v in attributes.items())
    return field(1, parts + b"".join(field(5, e) for e in entries))


def tf_constant(name, values):
    dims = b"".join(field(2, field(1, n)) for n in values.shape)
    content = field(1, 1) + field(2, dims) + field(4, values.astype("<f4").tobytes())
    return tf_node(name, "Const", value=field(8, content))


class TensorFlowGraphs(unittest.TestCase):
    def test_a_graph_is_computed_by_its_operators(self):
        kernel = np.arange(9.0).reshape(3, 3, 1, 1)
        strides = field(1, field(3, bytes([1, 2, 2, 1])))
        content = tf_constant("w", kernel) + tf_node("x", "Placeholder")
        content += tf_node("y", "Conv2D", ["x", "w"], strides=strides, padding=field(2, "SAME"))
        content += tf_node("z", "Relu6", ["y"])
        x = np.random.default_rng(0).normal(size=(1, 4, 4, 1))
        (found,) = Graph(content).evaluate(["z"], {"x": x})
        # SAME at an even size and a stride of 2: zeros only behind.
        wide = np.pad(x[0, :, :, 0], ((0, 1), (0, 1)))
        naive = [
            [(wide[i : i + 3, j : j + 3] * kernel[:, :, 0, 0]).sum() for j in (0, 2)]
            for i in (0, 2)
        ]
        np.testing.assert_allclose(found[0, :, :, 0], np.clip(naive, 0, 6))

    def test_circles_strange_operators_and_torn_files_are_refused(self):
        circle = tf_node("a", "Relu6", ["b"]) + tf_node("b", "Relu6", ["a"])
        for content in (circle, tf_node("a", "Strange")):
            with self.assertRaises(ValueError):
                Graph(content).evaluate(["a"], {"x": np.zeros(1)})
        with self.assertRaises(ValueError):
            Graph(circle[:-1])


def hdf5():
    """A file with one dataset `w` of 2 x 2 float32 in its root group; the place of the data."""

    def pad(part):
        return part + b"\0" * (-len(part) % 8)

    def header(*messages):
        body = b"".join(struct.pack("<HHB3x", kind, len(m), 0) + m for kind, m in messages)
        return struct.pack("<BxHII4x", 1, len(messages), 1, len(body)) + body

    def blocks(places):
        root, tree, heap, names, table, item, data = places
        top = b"\x89HDF\r\n\x1a\n" + bytes([0, 0, 0, 0, 0, 8, 8, 0])
        top += struct.pack("<HHI", 4, 16, 0) + struct.pack("<4Q", 0, 2**64 - 1, 10**6, 2**64 - 1)
        top += struct.pack("<QQII16x", 0, root, 0, 0)
        kind = struct.pack("<BBBBI", 0x11, 0x20, 0x1F, 0, 4)
        kind += struct.pack("<HHBBBBI", 0, 32, 23, 8, 0, 23, 127)
        space = struct.pack("<BBBB4x2Q", 1, 2, 0, 0, 2, 2)
        layout = pad(struct.pack("<BBQQ", 3, 1, data, 16))
        return [
            top,
            header((0x11, struct.pack("<QQ", tree, heap))),
            b"TREE" + struct.pack("<BBHQQ", 0, 0, 1, 2**64 - 1, 2**64 - 1)
            + struct.pack("<QQQ", 0, table, 0),
            b"HEAP" + struct.pack("<B3xQQQ", 0, 16, 2**64 - 1, names),
            pad(b"\0" * 8 + b"w\0"),
            b"SNOD" + struct.pack("<BxH", 1, 1) + struct.pack("<QQII16x", 8, item, 0, 0),
            header((0x1, space), (0x3, pad(kind)), (0x8, layout)),
            np.array([[1, 2], [3, 4]], "<f4").tobytes(),
        ]  # fmt: skip

    sizes = [len(b) for b in blocks([0] * 7)]
    places = [sum(sizes[: i + 1]) for i in range(7)]
    return b"".join(blocks(places)), places


class Hdf5(unittest.TestCase):
    def test_a_dataset_is_found_through_the_groups_tree(self):
        content, _ = hdf5()
        np.testing.assert_array_equal(File(content).root.at("w").values, [[1, 2], [3, 4]])

    def test_torn_and_circular_files_are_refused(self):
        content, places = hdf5()
        with self.assertRaises(ValueError):
            File(content[:-1])
        # The dataset's entry leads back to the root group.
        table, root = places[4], places[0]
        at = table + 8 + 8
        with self.assertRaises(ValueError):
            File(content[:at] + struct.pack("<Q", root) + content[at + 8 :])


class Networks(unittest.TestCase):
    def test_the_written_model_agrees_with_numpy(self):
        rng = np.random.default_rng(1)
        kernel, deep = rng.normal(size=(4, 3, 3, 3)), rng.normal(size=(4, 1, 5, 5))
        norm = [rng.uniform(0.5, 1.5, 4) for _ in range(4)]
        weight, bias = rng.normal(size=(6, 8)), rng.normal(size=6)
        net = Network(17)
        net.conv("a", kernel, stride=2).batch_norm("a/bn", *norm, 1e-3).relu6("a/relu6")
        start = net.last
        net.conv("b", deep, group=4).add("sum", start)
        net.concat("twice", [net.last, net.last], 8).max_pool("pool", 3, 2)
        net.global_average("mean").flatten("flat").dense("fc", weight, bias)

        def scores(x):
            x = layers.convolution(x.transpose(0, 2, 3, 1), kernel.transpose(2, 3, 1, 0), 2)
            x = layers.relu6(layers.batch_norm(x, *norm, 1e-3))
            x = x + layers.depthwise(x, deep.transpose(2, 3, 0, 1))
            x = layers.max_pool(np.concatenate([x, x], axis=-1), 3, 2).mean(axis=(1, 2))
            return x @ weight.T + bias

        check(net.model("small"), scores)
        with self.assertRaisesRegex(ValueError, "differs"):
            check(net.model("small"), lambda x: scores(x) * np.arange(6))


if __name__ == "__main__":
    unittest.main()
