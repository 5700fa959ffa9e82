"""Layers in plain numpy, channels last (N x H x W x C), for checks: another reading of a source
than the ONNX operators, and slow. Values keep their type, so float64 goes in for a sharp check.

A convolution sums over a window's places with one dense product each:
y[n,i,j,:] = sum over (u,v) of x[n, i*s+u, j*s+v, :] @ w[u,v,:,:].
"""

import numpy as np


def same_padding(size, kernel, stride):
    """TensorFlow's SAME along one axis: the output has ceil(size / stride) places, and an odd
    number of zeros puts the larger half behind. Returns (before, behind)."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def pad(x, kernel, stride, padding, value=0.0):
    """`x` under padding "same", "valid" or ((top, bottom), (left, right))."""
    if isinstance(padding, str):
        sides = {
            "same": [same_padding(n, k, stride) for n, k in zip(x.shape[1:3], kernel, strict=True)],
            "valid": [(0, 0), (0, 0)],
        }[padding.lower()]
    else:
        sides = list(padding)
    return np.pad(x, [(0, 0), *sides, (0, 0)], constant_values=value)


def places(x, kernel, stride):
    """For each (u, v) of the window: its part of `x`, N x out_h x out_w x C."""
    height, width = ((n - k) // stride + 1 for n, k in zip(x.shape[1:3], kernel, strict=True))
    for u in range(kernel[0]):
        for v in range(kernel[1]):
            rows = slice(u, u + (height - 1) * stride + 1, stride)
            columns = slice(v, v + (width - 1) * stride + 1, stride)
            yield u, v, x[:, rows, columns, :]


def convolution(x, kernel, stride=1, padding="same"):
    """`kernel` is H x W x in x out."""
    window = kernel.shape[:2]
    x = pad(x, window, stride, padding)
    return sum(part @ kernel[u, v] for u, v, part in places(x, window, stride))


def depthwise(x, kernel, stride=1, padding="same"):
    """`kernel` is H x W x channels x 1."""
    if kernel.shape[3] != 1:
        raise ValueError(f"depth multiplier {kernel.shape[3]} is not supported")
    window = kernel.shape[:2]
    x = pad(x, window, stride, padding)
    return sum(part * kernel[u, v, :, 0] for u, v, part in places(x, window, stride))


def batch_norm(x, scale, bias, mean, variance, epsilon):
    return (x - mean) / np.sqrt(variance + epsilon) * scale + bias


def max_pool(x, size, stride, padding="valid"):
    x = pad(x, (size, size), stride, padding, -np.inf)
    return np.max([part for _, _, part in places(x, (size, size), stride)], axis=0)


def average_pool(x, size, stride):
    """Without padding."""
    return sum(part for _, _, part in places(x, (size, size), stride)) / (size * size)


def relu6(x):
    return np.clip(x, 0, 6)


def softmax(x):
    grown = np.exp(x - x.max(axis=-1, keepdims=True))
    return grown / grown.sum(axis=-1, keepdims=True)
