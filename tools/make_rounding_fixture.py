"""Writes fixtures/rewrites/rounding.onnx: a network of integers, with the gradients of PyTorch's `fake_quantize`.

Data are rounded in pairs of QuantizeLinear and DequantizeLinear; weights are stored as integers, of one scale per filter or
of one with a zero point, biases as integers of 32 bits. The file's further initializers, which no node reads, are

    case/input, case/targets    samples, and what is to come out for them
    case/first/W                values of the floats beneath the weight W (by the output of its DequantizeLinear), of which
                                some lie between integers and some beyond their range
    case/output, case/loss      what comes out with these, and the mean of its squared differences from the targets
    case/gradient/W             the gradient of that

No number that is rounded lies near the middle of two. Same numbers in every run.

Usage: python tools/make_rounding_fixture.py   (needs numpy, onnx and torch)
"""

import pathlib

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper

OUT = pathlib.Path(__file__).resolve().parent.parent / "fixtures" / "rewrites" / "rounding.onnx"
SAMPLES = 4
# Scale, zero point, type of each pair on data. The second stands for a ReLU, too.
PAIRS = {
    "x": (0.015, 121, np.uint8),
    "c1": (0.02, 0, np.uint8),
    "c2": (0.03, -10, np.int8),
}


def bounds(dtype):
    return np.iinfo(dtype).min, np.iinfo(dtype).max


class Middle(Exception):
    """A number lies where runtimes may round otherwise."""


def apart(values, scale, zero, dtype):
    """Refuses numbers near the middle of two, and near where a gradient ends."""
    steps = (values / scale).detach().numpy()
    ends = [bounds(dtype)[0] - zero - 0.5, bounds(dtype)[1] - zero + 0.5]
    middles = np.abs(steps - np.floor(steps) - 0.5) < 0.002
    if np.any(middles) or any(np.any(np.abs(steps - end) < 0.02) for end in ends):
        raise Middle


def rounded(values, name):
    scale, zero, dtype = PAIRS[name]
    apart(values, scale, zero, dtype)
    return torch.fake_quantize_per_tensor_affine(values, scale, zero, *bounds(dtype))


def attempt(seed):
    random = np.random.default_rng(seed)
    stored = {
        "w1": random.integers(-127, 128, (4, 3, 3, 3)).astype(np.int8),
        "b1": random.integers(-4000, 4000, 4).astype(np.int32),
        "w2": random.integers(0, 256, (5, 4, 1, 1)).astype(np.uint8),
    }
    scales = {
        "w1": random.uniform(0.001, 0.004, 4).astype(np.float32),
        "b1": np.float32(1e-4),
        "w2": np.float32(0.006),
    }
    zeros = {"w1": np.zeros(4, np.int8), "b1": np.int32(0), "w2": np.uint8(131)}
    first = {}
    for name, integers in stored.items():
        scale = scales[name].reshape(-1, *[1] * (integers.ndim - 1)) if scales[name].ndim else scales[name]
        steps = integers.astype(np.float32) - zeros[name].astype(np.float32).flat[0]
        steps += random.choice([-0.3, -0.1, 0, 0.2, 0.4], integers.shape)
        if name != "b1":
            # Beyond the range.
            steps.flat[:3] = [300.0, -300.0, 300.0]
        first[name] = torch.tensor((steps * scale).astype(np.float32), requires_grad=True)
    x = random.integers(-127, 141, (SAMPLES, 3, 5, 5)) + random.uniform(-0.4, 0.4, (SAMPLES, 3, 5, 5))
    x = torch.tensor((x * PAIRS["x"][0]).astype(np.float32))
    targets = torch.tensor(random.normal(0, 0.5, (SAMPLES, 5)).astype(np.float32))

    w1 = torch.fake_quantize_per_channel_affine(
        first["w1"], torch.tensor(scales["w1"]), torch.tensor(zeros["w1"].astype(np.int32)), 0, -128, 127
    )
    w2 = torch.fake_quantize_per_tensor_affine(first["w2"], float(scales["w2"]), 131, 0, 255)
    c1 = F.conv2d(rounded(x, "x"), w1, first["b1"])
    c2 = F.conv2d(rounded(c1, "c1"), w2)
    y = rounded(c2, "c2").mean((2, 3))
    loss = F.mse_loss(y, targets)
    loss.backward()

    nodes, tensors = [], {}

    def add(op, inputs, output, **attributes):
        nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))

    def pair(name):
        scale, zero, dtype = PAIRS[name]
        tensors[f"{name}.scale"], tensors[f"{name}.zero"] = np.float32(scale), dtype(zero)
        add("QuantizeLinear", [name, f"{name}.scale", f"{name}.zero"], f"{name}.q")
        add("DequantizeLinear", [f"{name}.q", f"{name}.scale", f"{name}.zero"], f"{name}.held")

    for name, integers in stored.items():
        tensors[f"{name}.q"], tensors[f"{name}.scale"] = integers, scales[name]
        tensors[f"{name}.zero"] = zeros[name]
        add("DequantizeLinear", [f"{name}.q", f"{name}.scale", f"{name}.zero"], name, axis=0)
    pair("x")
    add("Conv", ["x.held", "w1", "b1"], "c1", kernel_shape=[3, 3])
    pair("c1")
    add("Conv", ["c1.held", "w2"], "c2", kernel_shape=[1, 1])
    pair("c2")
    add("GlobalAveragePool", ["c2.held"], "pool")
    add("Flatten", ["pool"], "y")
    numbers = {"input": x, "targets": targets, "output": y, "loss": loss}
    numbers |= {f"first/{name}": value for name, value in first.items()}
    numbers |= {f"gradient/{name}": value.grad for name, value in first.items()}
    tensors |= {f"case/{name}": value.detach().numpy() for name, value in numbers.items()}
    graph = helper.make_graph(
        nodes,
        "rounding",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 5, 5])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 5])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in tensors.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


seed = 0
while True:
    try:
        model = attempt(seed)
        break
    except Middle:
        seed += 1
onnx.checker.check_model(model)
onnx.save(model, OUT)
print(f"seed {seed}: {OUT.stat().st_size} bytes")
