#!/usr/bin/env python3
"""Writes an untrained MobileNet-like network as ONNX, ready to be trained by `ftsurgery tune`.

From: nothing but a seed and some images that set the BatchNormalization statistics.
Licence: the project's own.

The network is MobileNet v1 (A. Howard et al., 2017) in small: a 3x3 stem and six
depthwise-separable blocks, each convolution with BatchNormalization and ReLU, then global average
pooling and one Gemm that gives logits. Input `input` [N, 3, 32, 32], RGB in 0..1 (`--preprocess
unit`): three channels, so that colour photos and grey scans go the same way as with any ImageNet
backbone, and a black background is the zero that convolutions pad with. Opset 17.

Weights are drawn as He et al. (2015) propose. ftsurgery trains BatchNormalization with frozen
statistics by default, so these must suit the untrained network from the start: layer after layer,
the mean and variance of each channel are measured on `--images` and stored.

    python3 tools/fashion_mnist.py --out /tmp/fashion-mnist
    python3 tools/make_backbone.py --images /tmp/fashion-mnist/train --out /tmp/untrained.onnx
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from common import resize

OPSET = 17
IR_VERSION = 8
SIDE = 32
CHANNELS = 3
STEM = 32
# Output channels and stride of each depthwise-separable block.
BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 1))
EPSILON = 1e-3


@dataclass(frozen=True)
class Layer:
    """A convolution with BatchNormalization and ReLU."""

    name: str
    inputs: int
    outputs: int
    kernel: int
    stride: int
    groups: int

    @property
    def weight_shape(self):
        return (self.outputs, self.inputs // self.groups, self.kernel, self.kernel)


def layers():
    """The convolutions of the network, from the input on."""
    yield Layer("stem", CHANNELS, STEM, 3, 2, 1)
    width = STEM
    for number, (outputs, stride) in enumerate(BLOCKS, 1):
        yield Layer(f"block{number}/depthwise", width, width, 3, stride, width)
        yield Layer(f"block{number}/pointwise", width, outputs, 1, 1, 1)
        width = outputs


def he_normal(rng, shape):
    """Weights of mean 0 and variance 2 / (inputs of one output)."""
    deviation = np.sqrt(2 / np.prod(shape[1:]))
    return (rng.standard_normal(shape) * deviation).astype(np.float32)


def convolve(x, weight, layer):
    """The convolution of `x` [N, C, H, W], padded with zeros by half the kernel."""
    half = layer.kernel // 2
    padded = np.pad(x, ((0, 0), (0, 0), (half, half), (half, half)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, weight.shape[2:], axis=(2, 3))
    windows = windows[:, :, :: layer.stride, :: layer.stride]
    if layer.groups == layer.inputs == layer.outputs:
        return np.einsum("nchwij,cij->nchw", windows, weight[:, 0], optimize=True)
    return np.einsum("nchwij,ocij->nohw", windows, weight, optimize=True)


def initialise(x, classes, seed):
    """The initializers by name, with the statistics that `x` [N, C, H, W] gives each layer."""
    rng = np.random.default_rng(seed)
    tensors = {}
    for layer in layers():
        weight = he_normal(rng, layer.weight_shape)
        x = convolve(x, weight, layer)
        mean, var = x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3))
        tensors[f"{layer.name}/conv.weight"] = weight
        tensors[f"{layer.name}/bn.scale"] = np.ones_like(mean)
        tensors[f"{layer.name}/bn.bias"] = np.zeros_like(mean)
        tensors[f"{layer.name}/bn.mean"] = mean
        tensors[f"{layer.name}/bn.var"] = var
        x = (x - mean[:, None, None]) / np.sqrt(var + EPSILON)[:, None, None]
        x = np.maximum(x, 0)
    tensors["classifier.weight"] = he_normal(rng, (classes, x.shape[1])) / np.float32(np.sqrt(2))
    tensors["classifier.bias"] = np.zeros(classes, np.float32)
    return tensors


def build_nodes():
    """The nodes of the network from `input` to `logits`; each is named for its output."""
    value = "input"
    for layer in layers():
        conv, bn, relu = (f"{layer.name}/{part}" for part in ("conv", "bn", "relu"))
        yield helper.make_node(
            "Conv",
            [value, f"{conv}.weight"],
            [conv],
            name=conv,
            kernel_shape=[layer.kernel] * 2,
            strides=[layer.stride] * 2,
            pads=[layer.kernel // 2] * 4,
            group=layer.groups,
        )
        statistics = [f"{bn}.{part}" for part in ("scale", "bias", "mean", "var")]
        yield helper.make_node(
            "BatchNormalization", [conv, *statistics], [bn], name=bn, epsilon=EPSILON
        )
        yield helper.make_node("Relu", [bn], [relu], name=relu)
        value = relu
    yield helper.make_node("GlobalAveragePool", [value], ["pool"], name="pool")
    yield helper.make_node("Flatten", ["pool"], ["flatten"], name="flatten")
    gemm = ["flatten", "classifier.weight", "classifier.bias"]
    yield helper.make_node("Gemm", gemm, ["logits"], name="classifier", transB=1)


def build_model(tensors, classes):
    """The checked ONNX model over `tensors`."""
    shape = ["N", CHANNELS, SIDE, SIDE]
    graph = helper.make_graph(
        list(build_nodes()),
        "mobilenet",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", classes])],
        [numpy_helper.from_array(tensor, name) for name, tensor in tensors.items()],
    )
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
    model.producer_name = "ftsurgery tools/make_backbone.py"
    onnx.checker.check_model(model, full_check=True)
    return model


def read_images(folder, count):
    """`count` images spread evenly over the PNG files under `folder`, N x 3 x 32 x 32 in 0..1."""
    paths = sorted(folder.rglob("*.png"))
    if len(paths) < count:
        raise SystemExit(f"{folder} holds {len(paths)} PNG images, {count} are asked for")
    chosen = (paths[i * len(paths) // count] for i in range(count))
    pixels = resize([np.asarray(Image.open(path).convert("L")) for path in chosen], SIDE)
    x = pixels.astype(np.float32)[:, None] / 255
    return np.repeat(x, CHANNELS, axis=1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True, help="a folder with PNG images")
    parser.add_argument("--count", type=int, default=500, help="how many of them to measure on")
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    tensors = initialise(read_images(args.images, args.count), args.classes, args.seed)
    onnx.save(build_model(tensors, args.classes), args.out)
    weights = sum(tensor.size for tensor in tensors.values())
    print(f"{args.out}: {weights:,} numbers, {args.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
