"""Computes a Keras model in numpy, from an .h5 file's own description: the `model_config` of its
root and the arrays below `model_weights`.

For the layers of Keras 3's image classifiers in evaluation mode; others, and settings that change
what a layer computes and are not read here, are errors.
"""

import json

import numpy as np

from . import numpy_layers as layers


def activated(x, name):
    if name == "linear":
        return x
    if name == "relu":
        return np.maximum(x, 0)
    if name == "softmax":
        return layers.softmax(x)
    raise ValueError(f"activation {name} is not supported")


def inputs_of(layer):
    """Names of the layers that a layer reads."""
    (call,) = layer["inbound_nodes"]
    tensors = call["args"][0]
    tensors = tensors if isinstance(tensors, list) else [tensors]
    return [tensor["config"]["keras_history"][0] for tensor in tensors]


class Model:
    def __init__(self, root):
        self.config = json.loads(root.attributes["model_config"])["config"]
        self.weights = root.at("model_weights")

    def evaluate(self, x):
        """The output for N x H x W x 3, in the type of `x`."""
        return self._functional(self.config, x, self.weights)

    def _functional(self, config, x, weights):
        values = {}
        for layer in config["layers"]:
            if layer["class_name"] == "InputLayer":
                values[layer["config"]["name"]] = x
                continue
            inputs = [values[name] for name in inputs_of(layer)]
            name = layer["config"]["name"]
            values[name] = self._layer(layer, inputs, weights).astype(x.dtype)
        return values[config["output_layers"][0]]

    def _layer(self, layer, inputs, weights):
        kind, config = layer["class_name"], layer["config"]
        name, x = config["name"], inputs[0]
        if config.get("data_format", "channels_last") != "channels_last":
            raise ValueError(f"{name}: channels first")
        if kind == "Functional":
            return self._functional(config, x, weights.at(name))
        # A layer of the outermost model has a group of its own around its arrays.
        group = weights.members.get(name)
        group = group.members.get(name, group) if group else None

        def stored(part):
            return group.members[part].values

        match kind:
            case "Conv2D" | "DepthwiseConv2D":
                return self._convolution(kind, config, x, stored)
            case "BatchNormalization":
                if not (config["center"] and config["scale"]) or config["axis"] not in (-1, 3):
                    raise ValueError(f"{name}: a normalisation without scale, bias or last axis")
                parts = ("gamma", "beta", "moving_mean", "moving_variance")
                return layers.batch_norm(x, *map(stored, parts), config["epsilon"])
            case "ReLU":
                if config["negative_slope"] or config["threshold"]:
                    raise ValueError(f"{name}: a leaky ReLU or one with a threshold")
                return np.clip(x, 0, config["max_value"])
            case "Add":
                return sum(inputs)
            case "ZeroPadding2D":
                return layers.pad(x, None, None, config["padding"])
            case "GlobalAveragePooling2D" if not config["keepdims"]:
                return x.mean(axis=(1, 2))
            case "Dropout":
                return x
            case "Dense":
                return activated(x @ stored("kernel") + stored("bias"), config["activation"])
        raise ValueError(f"{name}: layer {kind} is not supported")

    def _convolution(self, kind, config, x, stored):
        name, (stride, other) = config["name"], config["strides"]
        if stride != other or set(config["dilation_rate"]) != {1} or config.get("groups", 1) != 1:
            raise ValueError(f"{name}: uneven strides, dilation or groups")
        kernel = layers.convolution if kind == "Conv2D" else layers.depthwise
        y = kernel(x, stored("kernel"), stride, config["padding"])
        if config["use_bias"]:
            y = y + stored("bias")
        return activated(y, config["activation"])
