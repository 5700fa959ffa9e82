"""Writes fixtures/gradients/opset*.onnx: operators with their gradients as PyTorch computes them.

Every output of such a file's graph is a case: the nodes it depends on, and as initializers their
inputs and PyTorch's numbers for them. For a case `y` with a differentiated input `y/0`:

    value/y     the output
    seed/y      the gradient of a loss with respect to the output, random
    grad/y/0    the gradient of that loss with respect to the input

PyTorch computes in double precision, on the single-precision inputs. Same numbers in every run.
Beside them, since.json tells the opset that brought each of ONNX's operators, as onnx knows it.

Usage: python tools/torch_gradients.py   (needs numpy, onnx and torch)
"""
import collections
import json
import math
import pathlib

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper

OUT = pathlib.Path(__file__).resolve().parent.parent / "fixtures" / "gradients"
rng = np.random.default_rng(7)
graphs = collections.defaultdict(lambda: ([], [], []))  # opset: nodes, outputs, initializers


def x(*dims, low=-1.5, high=1.5):
    """Random values to differentiate by."""
    return rng.uniform(low, high, dims).astype(np.float32)


def positive(*dims):
    return x(*dims, low=0.5, high=2)


def away(*dims, kinks=(0,)):
    """Values from -4 to 4, none of them near a kink."""
    values = x(*dims, low=-4, high=4)
    while True:
        near = np.any([np.abs(values - k) < 0.05 for k in kinks], axis=0)
        if not near.any():
            return values
        values[near] = x(int(near.sum()), low=-4, high=4)


def distinct(*dims):
    return (rng.permutation(math.prod(dims)).reshape(dims) * 0.1 - 1).astype(np.float32)


class Fixed:
    """An input that is not differentiated by."""

    def __init__(self, *values, dtype=np.float32):
        self.array = np.array(values[0] if len(values) == 1 else values, dtype=dtype)


def ints(*values):
    return Fixed(list(values), dtype=np.int64)


def case(op, function, *inputs, opset=21, outputs=1, join=None, **attributes):
    """A node `op` on `inputs`, which PyTorch computes by `function` of the arrays among them.

    Of several outputs, those that `join` names are concatenated.
    """
    nodes, results, initializers = graphs[opset]
    name = f"{op}.{sum(n.op_type == op for n in nodes)}"
    arrays, names = {}, []
    for i, value in enumerate(inputs):
        names.append("" if value is None else f"{name}/{i}")
        if isinstance(value, Fixed):
            initializers.append(numpy_helper.from_array(value.array, names[-1]))
        elif value is not None:
            arrays[names[-1]] = value
    parts = [name] if outputs == 1 else [f"{name}/output{i}" for i in range(outputs)]
    nodes.append(helper.make_node(op, names, parts, f"{name}/node", **attributes))
    if outputs > 1:
        nodes.append(helper.make_node("Concat", [parts[i] for i in join], [name], axis=0))
    tensors = [torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in arrays.values()]
    value = function(*tensors)
    seed = x(*value.shape)
    gradients = torch.autograd.grad(value, tensors, torch.tensor(seed, dtype=torch.float64))
    saved = arrays | {f"value/{name}": value.detach().numpy(), f"seed/{name}": seed}
    saved |= {f"grad/{n}": g.numpy() for n, g in zip(arrays, gradients)}
    for key, array in saved.items():
        initializers.append(numpy_helper.from_array(np.asarray(array, dtype=np.float32), key))
    results.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, value.shape))


def arithmetic():
    for op, function in {"Add": torch.add, "Sub": torch.sub, "Mul": torch.mul, "Div": torch.div}.items():
        case(op, function, x(2, 3), positive(2, 3))
        case(op, function, x(3, 1, 2), positive(4, 1))
    for op, pick in {"Max": torch.maximum, "Min": torch.minimum}.items():
        case(op, lambda a, b, c: pick(pick(a, b), c), x(2, 3), x(3), x(2, 1))
        case(op, pick, np.float32([1, 1, 2]), np.float32([1, 2, 1]))  # a tie
    case("Sum", lambda a, b, c: a + b + c, x(2, 3), x(3), x(2, 1))
    case("Mean", lambda a, b: (a + b) / 2, x(2, 3), x(3))
    case("Neg", torch.neg, x(5))
    case("Abs", torch.abs, np.append(away(5), np.float32(0)))
    case("Sqrt", torch.sqrt, positive(5))
    case("Exp", torch.exp, x(5))
    case("Log", torch.log, positive(5))
    case("Reciprocal", torch.reciprocal, positive(5))
    case("Erf", torch.erf, x(5))
    case("Sin", torch.sin, x(5))
    case("Cos", torch.cos, x(5))
    case("Pow", lambda a: a**3, away(5), Fixed(3))
    case("Pow", lambda a: a**0.5, positive(5), Fixed(0.5))
    mask = Fixed([[True, False, True]], dtype=np.bool_)
    chosen = torch.tensor([[True, False, True]])
    case("Where", lambda a, b: torch.where(chosen, a, b), mask, x(2, 3), x(2, 1))
    case("Cast", lambda a: a, x(3), to=TensorProto.FLOAT)
    bounded = np.append(away(6, kinks=(-1, 2)), np.float32([-1, 2]))
    case("Clip", lambda a: a.clamp(-1, 2), bounded, Fixed(-1), Fixed(2))
    case("Clip", lambda a: a.clamp(max=2), away(6, kinks=(2,)), None, Fixed(2))
    case("Clip", lambda a: a.clamp(-1, 2), away(6, kinks=(-1, 2)), opset=9, min=-1.0, max=2.0)


def activations():
    at_zero = lambda: np.append(away(7), np.float32(0))
    case("Relu", F.relu, at_zero())
    case("LeakyRelu", F.leaky_relu, at_zero())
    case("LeakyRelu", lambda a: F.leaky_relu(a, 0.3), at_zero(), alpha=0.3)
    case("PRelu", F.prelu, away(2, 3, 4), x(1))
    case("PRelu", lambda a, s: F.prelu(a, s.flatten()), away(2, 3, 4), x(3, 1))
    case("Elu", F.elu, at_zero())
    case("Elu", lambda a: F.elu(a, 0.4), at_zero(), alpha=0.4)
    case("Selu", F.selu, away(8))
    case("Celu", lambda a: F.celu(a, 0.6), away(8), alpha=0.6)
    case("Sigmoid", torch.sigmoid, x(8))
    case("HardSigmoid", F.hardsigmoid, away(8, kinks=(-3, 3)), alpha=1 / 6, beta=0.5)
    case("HardSwish", F.hardswish, away(8, kinks=(-3, 3)))
    case("Mish", F.mish, x(8))
    case("Softplus", F.softplus, x(8))
    case("Softsign", F.softsign, x(8))
    case("Tanh", torch.tanh, x(8))
    case("Gelu", F.gelu, x(8))
    case("Gelu", lambda a: F.gelu(a, approximate="tanh"), x(8), approximate="tanh")
    case("ThresholdedRelu", lambda a: F.threshold(a, 0.7, 0), away(8, kinks=(0.7,)), alpha=0.7)
    case("Swish", F.silu, x(8), opset=24)
    case("Swish", lambda a: a * torch.sigmoid(1.7 * a), x(8), opset=24, alpha=1.7)
    for op, function in {"Softmax": torch.softmax, "LogSoftmax": torch.log_softmax}.items():
        case(op, lambda a: function(a, -1), x(2, 5))
        case(op, lambda a: function(a, 1), x(2, 3, 2), axis=1)
        case(op, lambda a: function(a.flatten(1), 1).view_as(a), x(2, 3, 2), opset=11)


def windows():
    for axes, conv in ((1, F.conv1d), (2, F.conv2d), (3, F.conv3d)):
        size, kernel = (5, 4, 4)[:axes], (3, 2, 2)[:axes]
        case("Conv", conv, x(2, 2, *size), x(3, 2, *kernel), x(3))
        case("Conv", lambda a, w: conv(a, w, stride=2, padding=1, groups=2), x(1, 4, *size),
             x(2, 2, *kernel), strides=[2] * axes, pads=[1] * 2 * axes, group=2)
    case("Conv", lambda a, w: F.conv2d(a, w, dilation=(2, 1), padding=(2, 0)), x(1, 2, 5, 4),
         x(2, 2, 3, 2), dilations=[2, 1], pads=[2, 0, 2, 0])
    case("Conv", lambda a, w: F.conv2d(a, w, padding=1, groups=3), x(2, 3, 4, 4), x(3, 1, 3, 3),
         pads=[1] * 4, group=3)
    case("Conv", lambda a, w: F.conv2d(a, w, stride=2, groups=2), x(1, 2, 6, 6), x(4, 1, 3, 3),
         strides=[2, 2], group=2)
    case("Conv", F.conv2d, x(2, 3, 3, 2), x(2, 3, 1, 1), x(2))
    case("Conv", lambda a, w: F.conv2d(F.pad(a, (1, 0, 0, 2)), w, stride=(1, 2)), x(1, 2, 4, 5),
         x(2, 2, 3, 3), pads=[0, 1, 2, 0], strides=[1, 2])
    case("Conv", lambda a, w: F.conv2d(F.pad(a, (0, 1, 0, 1)), w, stride=2), x(1, 2, 6, 4),
         x(2, 2, 3, 3), auto_pad="SAME_UPPER", strides=[2, 2])
    case("Conv", lambda a, w: F.conv2d(F.pad(a, (1, 0, 1, 0)), w), x(1, 2, 3, 4), x(2, 2, 2, 2),
         auto_pad="SAME_LOWER")
    transposed = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)
    for axes, conv in enumerate(transposed, start=1):
        size, kernel = (3, 2, 2)[:axes], (3, 2, 2)[:axes]
        case("ConvTranspose", conv, x(2, 2, *size), x(2, 3, *kernel), x(3))
        case("ConvTranspose", lambda a, w: conv(a, w, stride=2, padding=1, output_padding=1, groups=2),
             x(1, 4, *size), x(4, 1, *kernel), strides=[2] * axes, pads=[1] * 2 * axes,
             output_padding=[1] * axes, group=2)
    case("ConvTranspose", lambda a, w: F.conv_transpose2d(a, w, dilation=(2, 1)), x(1, 2, 3, 2),
         x(2, 2, 2, 3), dilations=[2, 1])
    case("ConvTranspose", lambda a, w: F.conv_transpose2d(a, w, stride=2)[:, :, 1:, :-1],
         x(1, 2, 2, 3), x(2, 1, 3, 3), strides=[2, 2], pads=[1, 0, 0, 1])
    case("ConvTranspose", lambda a, w: F.conv_transpose2d(a, w, stride=2)[:, :, :-1, :-1],
         x(1, 2, 2, 3), x(2, 1, 3, 3), strides=[2, 2], auto_pad="SAME_UPPER")
    image = lambda: distinct(1, 2, 5, 6)
    case("MaxPool", lambda a: F.max_pool2d(a, 2), image(), kernel_shape=[2, 2], strides=[2, 2])
    case("MaxPool", lambda a: F.max_pool2d(a, 3, 2, 1, ceil_mode=True), image(),
         kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4, ceil_mode=1)
    case("MaxPool", lambda a: F.max_pool2d(a, 2, 1, dilation=(2, 3)), image(), kernel_shape=[2, 2],
         dilations=[2, 3])
    case("MaxPool", lambda a: F.max_pool1d(a, 3, 1), distinct(2, 2, 6), kernel_shape=[3])
    case("MaxPool", lambda a: F.max_pool3d(a, 2, 1), distinct(1, 1, 3, 3, 3), kernel_shape=[2] * 3)
    for include in (False, True):
        case("AveragePool", lambda a: F.avg_pool2d(a, 3, 2, 1, count_include_pad=include), x(1, 2, 5, 6),
             kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4, count_include_pad=int(include))
    case("AveragePool", lambda a: F.avg_pool2d(a, 3, 2, ceil_mode=True), x(1, 2, 6, 6),
         kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
    case("AveragePool", lambda a: F.avg_pool1d(a, 2, 1), x(2, 2, 5), kernel_shape=[2])
    case("AveragePool", lambda a: F.avg_pool3d(a, 2, 1), x(1, 1, 3, 3, 3), kernel_shape=[2] * 3)
    case("GlobalAveragePool", lambda a: F.adaptive_avg_pool2d(a, 1), x(2, 3, 3, 2))
    case("GlobalMaxPool", lambda a: F.adaptive_max_pool2d(a, 1), distinct(2, 3, 3, 2))


def products():
    case("Gemm", lambda a, b, c: a @ b + c, x(2, 3), x(3, 4), x(4))
    case("Gemm", lambda a, b, c: 0.7 * a.T @ b.T - 1.3 * c, x(3, 2), x(4, 3), x(2, 1), transA=1,
         transB=1, alpha=0.7, beta=-1.3)
    for a, b in (((2, 3), (3, 4)), ((2, 1, 2, 3), (3, 3, 2)), ((2, 2, 3), (3, 2)), ((3,), (2, 3, 2)),
                 ((2, 3), (3,))):
        case("MatMul", torch.matmul, x(*a), x(*b))
    for equation, *operands in (
        ("ij,jk->ik", (2, 3), (3, 4)),
        ("bhqd,bhkd->bhqk", (2, 2, 3, 2), (2, 2, 2, 2)),
        ("...ij,jk->...ik", (2, 2, 3), (3, 2)),
        ("bij,bjk", (2, 2, 3), (2, 3, 2)),
        ("ijk,k->i", (2, 2, 3), (3,)),
    ):
        case("Einsum", lambda *a: torch.einsum(equation, *a), *(x(*d) for d in operands),
             equation=equation)


def normalisations():
    mean, variance = x(3), positive(3)
    stored = [torch.tensor(v, dtype=torch.float64) for v in (mean, variance)]
    case("BatchNormalization", lambda a, g, b: F.batch_norm(a, *stored, g, b, eps=0.01),
         x(2, 3, 2, 2), x(3), x(3), Fixed(mean), Fixed(variance), epsilon=0.01)
    case("LayerNormalization", lambda a, g, b: F.layer_norm(a, (4,), g, b), x(2, 3, 4), x(4), x(4))
    case("LayerNormalization", lambda a, g: F.layer_norm(a, (3, 4), g, eps=0.1), x(2, 3, 4), x(3, 4),
         axis=1, epsilon=0.1)
    case("RMSNormalization", lambda a, g: F.rms_norm(a, (4,), g, eps=1e-5), x(2, 3, 4), x(4), opset=23)
    case("RMSNormalization", lambda a, g: F.rms_norm(a, (3, 4), g, eps=0.1), x(2, 3, 4), x(3, 4),
         opset=23, axis=-2, epsilon=0.1)
    case("InstanceNormalization", lambda a, g, b: F.instance_norm(a, weight=g, bias=b, eps=0.01),
         x(2, 3, 2, 3), x(3), x(3), epsilon=0.01)
    case("GroupNormalization", lambda a, g, b: F.group_norm(a, 2, g, b, eps=0.01), x(2, 4, 2, 3),
         x(4), x(4), num_groups=2, epsilon=0.01)
    each = lambda v: v.repeat_interleave(2)
    case("GroupNormalization", lambda a, g, b: F.group_norm(a, 2, each(g), each(b), eps=0.01),
         x(2, 4, 2, 3), x(2), x(2), opset=18, num_groups=2, epsilon=0.01)
    case("LRN", lambda a: F.local_response_norm(a, 3, 0.9, 0.6, 0.7), x(2, 5, 2, 2), size=3, alpha=0.9,
         beta=0.6, bias=0.7)
    for p in (1, 2):
        case("LpNormalization", lambda a: F.normalize(a, p, 1), away(2, 3, 2), axis=1, p=p)


def reductions():
    functions = {
        "ReduceMean": torch.mean,
        "ReduceSum": torch.sum,
        "ReduceMax": torch.amax,
        "ReduceMin": torch.amin,
        "ReduceLogSumExp": torch.logsumexp,
        "ReduceLogSum": lambda a, *r: a.sum(*r).log(),
        "ReduceL1": lambda a, *r: a.abs().sum(*r),
        "ReduceL2": lambda a, *r: torch.linalg.vector_norm(a, 2, *r),
        "ReduceSumSquare": lambda a, *r: (a**2).sum(*r),
    }
    for op, function in functions.items():
        case(op, lambda a: function(a, (0, 2), True), positive(2, 3, 2), ints(0, -1))
        case(op, lambda a: function(a, (1,), False), positive(2, 3, 2), ints(1), keepdims=0)
        case(op, lambda a: function(a, (1,), True), positive(2, 3), opset=11, axes=[1])
    for op, function in (("ReduceMax", torch.amax), ("ReduceMin", torch.amin)):
        case(op, lambda a: function(a, 0), np.float32([3, 1, 3, 1]), ints(0), keepdims=0)  # ties


def layout():
    case("Identity", lambda a: a * 1, x(3))
    case("Dropout", lambda a: F.dropout(a, 0.5, False), x(3))
    case("Reshape", lambda a: a.reshape(3, 4), x(2, 3, 2), ints(3, -1))
    case("Flatten", lambda a: a.flatten(1), x(2, 3, 2))
    case("Transpose", lambda a: a.permute(2, 0, 1), x(2, 3, 2), perm=[2, 0, 1])
    case("Squeeze", lambda a: a.squeeze(1), x(2, 1, 3), ints(1))
    case("Squeeze", lambda a: a.squeeze(1), x(2, 1, 3), opset=11, axes=[1])
    case("Unsqueeze", lambda a: a.unsqueeze(1), x(2, 3), ints(1))
    case("Unsqueeze", lambda a: a.unsqueeze(1), x(2, 3), opset=11, axes=[1])
    case("Concat", lambda *a: torch.cat(a, 1), x(2, 1), x(2, 3), x(2, 2), axis=1)
    parts = lambda a: torch.cat([a[3:], a[:1]])
    case("Split", parts, x(6, 2), ints(1, 2, 3), outputs=3, join=[2, 0], axis=0)
    case("Split", parts, x(6, 2), opset=11, outputs=3, join=[2, 0], axis=0, split=[1, 2, 3])
    case("Slice", lambda a: a[1:3, :, ::2], x(4, 2, 5), ints(1, 0), ints(3, 9), ints(0, 2), ints(1, 2))
    case("Slice", lambda a: a.flip(1)[:, 1:], x(2, 4), ints(-2), ints(-9), ints(1), ints(-1))
    case("Slice", lambda a: a[1:3], x(4, 2), opset=9, starts=[1], ends=[3])
    case("Expand", lambda a: a.expand(2, 3, 4), x(3, 1), ints(2, 3, 4))
    case("Tile", lambda a: a.tile(2, 3), x(2, 2), ints(2, 3))
    for ours, torchs in (("constant", "constant"), ("edge", "replicate"), ("reflect", "reflect"),
                         ("wrap", "circular")):
        case("Pad", lambda a: F.pad(a, (1, 2, 2, 0), torchs), x(1, 1, 3, 4),
             ints(0, 0, 2, 1, 0, 0, 0, 2), mode=ours)
    case("Pad", lambda a: F.pad(a, (1, 2)), x(2, 3), opset=9, pads=[0, 1, 0, 2])
    index = torch.tensor([[0, 2], [2, 2]])
    pairs = torch.tensor([[0, 1], [2, 0], [0, 1]])
    whole = lambda t: Fixed(t.numpy(), dtype=np.int64)
    case("Gather", lambda a: a[:, index], x(2, 3), whole(index), axis=1)
    case("Gather", lambda a: F.embedding(torch.tensor([1, 0, 1, 3]), a), x(4, 3), ints(1, 0, 1, 3))
    case("GatherElements", lambda a: a.gather(1, index), x(2, 3), whole(index), axis=1)
    case("GatherND", lambda a: a[pairs[:, 0], pairs[:, 1]], x(3, 2, 2), whole(pairs))
    case("GatherND", lambda a: a[torch.arange(2), torch.tensor([2, 0])], x(2, 3, 2),
         Fixed([[2], [0]], dtype=np.int64), batch_dims=1)
    put = torch.tensor([[0, 2], [2, 1]])
    case("ScatterElements", lambda a, u: a.scatter(1, put, u), x(2, 3), whole(put), x(2, 2), axis=1)
    case("ScatterElements", lambda a, u: a.scatter_add(1, index, u), x(2, 3), whole(index), x(2, 2),
         axis=1, reduction="add")
    case("Scatter", lambda a, u: a.scatter(1, put, u), x(2, 3), whole(put), x(2, 2), opset=9, axis=1)
    apart, rows = pairs[:2], (pairs[:2, 0], pairs[:2, 1])
    case("ScatterND", lambda a, u: a.index_put(rows, u), x(3, 2, 2), whole(apart), x(2, 2))
    rows = (pairs[:, 0], pairs[:, 1])
    case("ScatterND", lambda a, u: a.index_put(rows, u, True), x(3, 2, 2), whole(pairs), x(3, 2),
         reduction="add")
    case("TopK", lambda a: a.topk(2, 0).values, distinct(4, 3), ints(2), outputs=2, join=[0], axis=0)
    case("TopK", lambda a: a.topk(2, 1).values, distinct(2, 4), opset=9, outputs=2, join=[0], k=2)
    case("Trilu", lambda a: a.triu(1), x(3, 4), Fixed(1, dtype=np.int64))
    case("Trilu", torch.tril, x(3, 4), upper=0)
    case("DepthToSpace", lambda a: F.pixel_shuffle(a, 2), x(1, 8, 2, 3), blocksize=2, mode="CRD")
    turned = lambda a: a.view(1, 4, 2, 2, 3).transpose(1, 2).reshape(1, 8, 2, 3)
    case("DepthToSpace", lambda a: F.pixel_shuffle(turned(a), 2), x(1, 8, 2, 3), blocksize=2)
    channels = lambda a: a.view(1, 2, 4, 2, 3).transpose(1, 2).reshape(1, 8, 2, 3)
    case("SpaceToDepth", lambda a: channels(F.pixel_unshuffle(a, 2)), x(1, 2, 4, 6), blocksize=2)


def resizes():
    def resize(size, mode, dims, onnx_mode, position, align=None, **attributes):
        sizes = ints(*dims[:2], *size)
        case("Resize", lambda a: F.interpolate(a, size, mode=mode, align_corners=align), x(*dims), None,
             None, sizes, mode=onnx_mode, coordinate_transformation_mode=position, **attributes)

    for size in ((8, 6), (3, 5), (2, 2)):
        image = (1, 2, 4, 3)
        resize(size, "nearest", image, "nearest", "asymmetric", nearest_mode="floor")
        resize(size, "nearest-exact", image, "nearest", "half_pixel", nearest_mode="round_prefer_ceil")
        for align, position in ((False, "half_pixel"), (True, "align_corners")):
            resize(size, "bilinear", image, "linear", position, align)
            resize(size, "bicubic", image, "cubic", position, align)
    resize((7,), "linear", (1, 2, 4), "linear", "half_pixel", False)
    resize((3, 4, 2), "trilinear", (1, 1, 2, 3, 3), "linear", "half_pixel", False)
    scales = Fixed([1, 1, 2, 3])
    case("Resize", lambda a: F.interpolate(a, scale_factor=(2, 3)), x(1, 2, 2, 3), scales, opset=10)
    case("Upsample", lambda a: F.interpolate(a, scale_factor=(2, 3)), x(1, 2, 2, 3), scales, opset=9)


def conversions():
    case("CastLike", lambda a: a, x(3), Fixed([1, 2]))


if __name__ == "__main__":
    for family in (arithmetic, activations, windows, products, normalisations, reductions, layout,
                   resizes, conversions):
        family()
    OUT.mkdir(exist_ok=True)
    for opset, (nodes, outputs, initializers) in graphs.items():
        graph = helper.make_graph(nodes, f"opset{opset}", [], outputs, initializers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
        if opset != 18:  # whose GroupNormalization the checker calls deprecated
            onnx.checker.check_model(model)
        (OUT / f"opset{opset}.onnx").write_bytes(model.SerializeToString())
    since = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        if schema.domain == "":
            since[schema.name] = min(schema.since_version, since.get(schema.name, 99))
    since = {op: since[op] for op in sorted(since)}
    (OUT / "since.json").write_text(json.dumps(since, indent=1) + "\n")
