#!/usr/bin/env python3
"""Makes fixtures/exporters: small classifiers as many exporters write them, with expectations.

usage: make_exporter_fixtures.py torch|tf|hand ...

`torch` needs PyTorch and onnxscript, `tf` TensorFlow and tf2onnx, all of them numpy and onnx. Each
network is saved as NAME.onnx. index.json says of each: the dimensions of a sample, the number of
classes, the parameters that must have a gradient, or what a refusal must say. Networks of PyTorch
come with NAME.npz: a batch `x`, `y`, PyTorch's `loss`, and `grad/INITIALIZER` for every initializer
that holds a parameter of the module, as it is or transposed.

The weights are drawn from a seed; exporters of other versions may write other bytes.
"""

import json
import pathlib
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OUT = pathlib.Path(__file__).resolve().parent.parent / "fixtures" / "exporters"
CLASSES = 3


class Index:
    def __init__(self):
        self.path = OUT / "index.json"
        self.entries = json.loads(self.path.read_text()) if self.path.exists() else {}

    def add(self, name, model, made_by, sample, parameters=None, refused=None):
        onnx.save(model, OUT / f"{name}.onnx")
        entry = {"made_by": made_by, "sample": list(sample), "classes": CLASSES}
        if refused is None:
            entry["parameters"] = sorted(parameters)
        else:
            entry["refused"] = refused
        self.entries[name] = entry
        text = json.dumps(dict(sorted(self.entries.items())), indent=1, ensure_ascii=False)
        self.path.write_text(text + "\n")
        print(name, (OUT / f"{name}.onnx").stat().st_size)


# ---------------------------------------------------------------- PyTorch


def torch_networks():
    import torch
    from torch import nn
    from torch.nn import functional as f

    class Excite(nn.Module):
        def __init__(self, channels):
            super().__init__()
            self.down = nn.Conv2d(channels, 2, 1)
            self.up = nn.Conv2d(2, channels, 1)

        def forward(self, x):
            s = f.adaptive_avg_pool2d(x, 1)
            return x * f.hardsigmoid(self.up(f.relu(self.down(s))))

    class Mobile(nn.Module):
        """Convolution, batch normalisation, hard-swish, squeeze-and-excitation."""

        def __init__(self):
            super().__init__()
            self.stem = nn.Conv2d(3, 6, 3, stride=2, padding=1, bias=False)
            self.norm1 = nn.BatchNorm2d(6)
            self.depth = nn.Conv2d(6, 6, 3, padding=1, groups=6, bias=False)
            self.norm2 = nn.BatchNorm2d(6)
            self.excite = Excite(6)
            self.fc = nn.Linear(6, CLASSES)

        def forward(self, x):
            x = f.hardswish(self.norm1(self.stem(x)))
            x = x + f.relu6(self.norm2(self.depth(x)))
            x = self.excite(x)
            return self.fc(f.adaptive_avg_pool2d(x, 1).flatten(1))

    class Transformer(nn.Module):
        """Patches, one pre-norm block of two attention heads, and the mean of the tokens."""

        def __init__(self, width=8):
            super().__init__()
            self.patch = nn.Conv2d(3, width, 4, stride=4)
            self.place = nn.Parameter(torch.zeros(1, 4, width))
            self.norm1 = nn.LayerNorm(width)
            self.qkv = nn.Linear(width, 3 * width)
            self.join = nn.Linear(width, width)
            self.norm2 = nn.LayerNorm(width)
            self.up = nn.Linear(width, 2 * width)
            self.down = nn.Linear(2 * width, width)
            self.fc = nn.Linear(width, CLASSES)

        def forward(self, x):
            x = self.patch(x).flatten(2).transpose(1, 2) + self.place
            n, t, w = x.shape
            q, k, v = self.qkv(self.norm1(x)).reshape(n, t, 3, 2, w // 2).permute(2, 0, 3, 1, 4)
            a = f.scaled_dot_product_attention(q, k, v)
            x = x + self.join(a.transpose(1, 2).reshape(n, t, w))
            x = x + self.down(f.gelu(self.up(self.norm2(x))))
            return self.fc(x.mean(1))

    class Shuffle(nn.Module):
        """A channel shuffle by sizes asked of the tensor: Shape, Gather, Concat, Reshape."""

        def __init__(self):
            super().__init__()
            self.first = nn.Conv2d(3, 4, 3, padding=1)
            self.second = nn.Conv2d(4, 4, 3, padding=1, groups=2)
            self.fc = nn.Linear(4 * 16, CLASSES)

        def forward(self, x):
            x = torch.tanh(self.first(x))
            n, c, h, w = x.size()
            x = x.view(n, 2, c // 2, h, w).transpose(1, 2).contiguous().view(n, -1, h, w)
            x = f.max_pool2d(f.leaky_relu(self.second(x)), 2)
            return f.log_softmax(self.fc(x.view(x.size(0), -1)), dim=1)

    class Standardised(nn.Conv2d):
        """Weights brought to mean 0 and variance 1, as NFNet and BiT do it."""

        def forward(self, x):
            rows = self.weight.reshape(1, self.out_channels, -1)
            weight = f.batch_norm(rows, None, None, training=True, eps=1e-4).reshape_as(self.weight)
            return f.conv2d(x, weight, self.bias, padding=1)

    class Token(nn.Module):
        """Weights standardised, a pyramid enlarged, two norms of equal statistics, a class token."""

        def __init__(self, width=6):
            super().__init__()
            self.first = Standardised(3, width, 3)
            self.norm1 = nn.BatchNorm2d(width)
            self.norm2 = nn.BatchNorm2d(width)
            self.token = nn.Parameter(torch.zeros(1, 1, width))
            self.places = nn.Parameter(torch.zeros(1, 17, width))
            self.mix = nn.Linear(width, width)
            self.fc = nn.Linear(width, CLASSES)

        def forward(self, x):
            x = self.norm1(self.first(x))
            x = x + f.interpolate(torch.tanh(self.norm2(f.avg_pool2d(x, 2))), scale_factor=2)
            x = f.avg_pool2d(x, 2).flatten(2).transpose(1, 2)
            x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.places
            n, t, w = x.shape
            x = f.gelu(self.mix(x.reshape(n * t, w))).reshape(n, t, w)
            return self.fc(x[:, 0] + x.mean(1))

    return [(Mobile, 16), (Transformer, 8), (Shuffle, 8), (Token, 8)]


def with_pytorch(index):
    import torch

    for network, size in torch_networks():
        torch.manual_seed(7)
        module = network().eval()
        for parameter in module.parameters():
            parameter.data = torch.randn_like(parameter) * 0.4
        for buffer_name, buffer in module.named_buffers():
            if "running_mean" in buffer_name:
                buffer.data = torch.randn_like(buffer) * 0.1
            if "running_var" in buffer_name:
                buffer.data = torch.rand_like(buffer) + 0.5
        base = network.__name__.lower()
        if base == "token":
            # The older exporter writes equal tensors once, with Identity nodes for the others.
            module.norm2.running_mean = module.norm1.running_mean.clone()
            module.norm2.running_var = module.norm1.running_var.clone()
        x = torch.randn(4, 3, size, size)
        y = torch.randint(0, CLASSES, (4,))
        loss = torch.nn.functional.cross_entropy(module(x), y)
        loss.backward()
        # Attention and BatchNormalization in training mode came to the older exporter with opset 14.
        oldest = 14 if base in ("transformer", "token") else 11
        kinds = [
            ("older", dict(dynamo=False, opset_version=17, dynamic_axes={"image": {0: "n"}},
                           training=torch.onnx.TrainingMode.PRESERVE)),
            ("older_fused", dict(dynamo=False, opset_version=oldest, dynamic_axes={"image": {0: "n"}})),
            ("newer", dict(dynamo=True, dynamic_shapes=({0: "n"},))),
        ]  # fmt: skip
        if base == "token":
            kinds.append(("older_one_image", dict(dynamo=False, opset_version=17, do_constant_folding=False,
                                                  training=torch.onnx.TrainingMode.PRESERVE)))
        for kind, options in kinds:
            name = f"torch_{kind}_{base}"
            path = OUT / f"{name}.onnx"
            inner = dict(input_names=["image"], output_names=["scores"])
            images = x[:1] if kind == "older_one_image" else x
            torch.onnx.export(module, (images,), str(path), external_data=False, **inner, **options)
            model = onnx.load(path)
            strip(model)
            save_pytorch(index, name, kind, model, module, x, y, loss)


def strip(model):
    """Without what takes room and means nothing here: notes of where a node came from."""
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for value in [*model.graph.value_info, *model.graph.input, *model.graph.output]:
        del value.metadata_props[:]
    del model.graph.value_info[:]
    del model.metadata_props[:]


def save_pytorch(index, name, kind, model, module, x, y, loss):
    stored = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    gradients = {}
    for parameter in module.parameters():
        values, gradient = parameter.detach().numpy(), parameter.grad.numpy()
        for key, tensor in stored.items():
            if tensor.shape == values.shape and np.array_equal(tensor, values):
                gradients[key] = gradient
            elif tensor.shape == values.T.shape and np.array_equal(tensor, values.T):
                gradients[key] = gradient.T
    arrays = {f"grad/{key}": value for key, value in gradients.items()}
    np.savez_compressed(
        OUT / f"{name}.npz", x=x.numpy(), y=y.numpy(), loss=loss.detach().numpy(), **arrays
    )
    made_by = f"PyTorch, {kind.replace('_', ' ')} exporter, opset {model.opset_import[0].version}"
    index.add(name, model, made_by, x.shape[1:], weights(model))


def weights(model):
    """Float tensors of more than one element that a node multiplies, filters or adds with.

    Ones and zeros in `Constant` nodes stand for the scale and shift that a normalisation has not.
    """
    no_places = {"Clip", "Pad", "Resize", "Pow", "Dropout", "OneHot", "Where", "Max", "Min"}
    read, aliases = set(), {}
    scales = {n.input[2] for n in model.graph.node if n.op_type == "Resize" and len(n.input) > 2}
    needed, nodes = {o.name for o in model.graph.output}, []
    for node in reversed(model.graph.node):
        if needed.intersection(node.output):
            nodes.insert(0, node)
            needed.update(node.input[:3] if node.op_type == "BatchNormalization" else node.input)
    for node in nodes:
        if node.op_type == "Identity":
            aliases[node.output[0]] = aliases.get(node.input[0], node.input[0])
        elif node.op_type not in no_places and node.output[0] not in scales:
            training = any(a.name == "training_mode" and a.i for a in node.attribute)
            places = [1, 2] if node.op_type == "BatchNormalization" and not training else range(3)
            names = [node.input[i] for i in places if i < len(node.input)]
            read.update(aliases.get(name, name) for name in names)
    floats = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)
    stored = [t for t in model.graph.initializer if t.data_type in floats and np.prod(t.dims) > 1]
    for node in model.graph.node:
        tensors = [a.t for a in node.attribute if node.op_type == "Constant" and a.name == "value"]
        for t in tensors:
            filler = set(numpy_helper.to_array(t).ravel()) in ({0.0}, {1.0})
            if t.data_type in floats and len(t.dims) and np.prod(t.dims) > 1 and not filler:
                stored.append(TensorProto(name=node.output[0], dims=t.dims))
    return [t.name for t in stored if t.name in read]


# ---------------------------------------------------------------- TensorFlow


def with_tensorflow(index):
    import tensorflow as tf
    import tf2onnx

    rng = np.random.default_rng(5)

    def draw(*dims, scale=0.4):
        return rng.normal(0, scale, dims).astype(np.float32)

    stem, depth, dense = draw(3, 3, 3, 6), draw(3, 3, 6, 1), draw(6 * 16, CLASSES)
    scale, offset, mean = np.abs(draw(6)) + 0.5, draw(6), draw(6, scale=0.1)
    variance = rng.uniform(0.5, 1.5, 6).astype(np.float32)

    def network(x):
        x = tf.nn.conv2d(x, stem, strides=2, padding="SAME")
        x, *_ = tf.compat.v1.nn.fused_batch_norm(x, scale, offset, mean, variance, is_training=False)
        x = x * tf.nn.relu6(x + 3.0) / 6.0
        x = tf.nn.depthwise_conv2d(x, depth, strides=[1, 1, 1, 1], padding="SAME")
        x = tf.nn.batch_normalization(x, mean, variance, offset, scale, 1e-3)
        x = tf.nn.max_pool2d(tf.nn.relu(x), 2, 2, "VALID")
        x = tf.reshape(x, [tf.shape(x)[0], -1])
        return tf.nn.softmax(tf.matmul(x, dense) + offset[:CLASSES])

    spec = tf.TensorSpec([None, 16, 16, 3], tf.float32, name="image")
    for opset in (9, 13, 18):
        model, _ = tf2onnx.convert.from_function(
            tf.function(network, input_signature=[spec]), input_signature=[spec], opset=opset
        )
        strip(model)
        name = f"tf2onnx_{opset}"
        made_by = f"tf2onnx {tf2onnx.__version__}, opset {opset}, channels last"
        index.add(name, model, made_by, (16, 16, 3), weights(model))


# ---------------------------------------------------------------- written by hand


class Net:
    """A graph in the making."""

    def __init__(self, sample=(3, 8, 8), dtype=np.float32, batch="N"):
        self.nodes, self.tensors, self.dtype = [], [], dtype
        self.sample, self.batch = sample, batch
        self.rng = np.random.default_rng(3)

    def weight(self, name, *dims, scale=0.4, values=None):
        values = self.rng.normal(0, scale, dims) if values is None else np.asarray(values)
        self.tensors.append(numpy_helper.from_array(values.astype(self.dtype), name))
        return name

    def ints(self, name, values):
        self.tensors.append(numpy_helper.from_array(np.array(values, np.int64), name))
        return name

    def op(self, op, inputs, name=None, **attributes):
        name = name or f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], name=f"n_{name}", **attributes))
        return name

    def model(self, output, opset=17, ir=8, listed=False, dtype=None, out_batch=None):
        number = helper.np_dtype_to_tensor_dtype(np.dtype(dtype or self.dtype))
        value = helper.make_tensor_value_info
        inputs = [value("image", number, [self.batch, *self.sample])]
        if listed:
            inputs += [value(t.name, t.data_type, t.dims) for t in self.tensors]
        outputs = [value(output, number, [out_batch or self.batch, CLASSES])]
        graph = helper.make_graph(self.nodes, "hand", inputs, outputs, self.tensors)
        imports = [helper.make_opsetid("", opset)]
        model = helper.make_model(graph, opset_imports=imports, ir_version=ir, producer_name="hand")
        onnx.checker.check_model(model, full_check=True)
        return model


def tail(net, x, channels):
    """Average, dense layer, bias, softmax."""
    x = net.op("Flatten", [net.op("GlobalAveragePool", [x])])
    x = net.op("MatMul", [x, net.weight("fc.weight", channels, CLASSES)])
    x = net.op("Add", [x, net.weight("fc.bias", CLASSES)])
    return net.op("Softmax", [x], "probabilities", axis=1)


def plain(**options):
    net = Net(**options)
    x = net.op("Conv", ["image", net.weight("conv.weight", 5, 3, 3, 3), net.weight("conv.bias", 5)])
    x = net.op("Sigmoid", [x])
    return net, tail(net, x, 5)


PLAIN = ["conv.weight", "conv.bias", "fc.weight", "fc.bias"]


def constant_nodes():
    """Weights in Constant nodes, as a tensor and as a list of floats."""
    net, output = plain()
    nodes = []
    for tensor in net.tensors:
        if tensor.name == "fc.bias":
            values = [float(v) for v in numpy_helper.to_array(tensor)]
            nodes.append(helper.make_node("Constant", [], [tensor.name], value_floats=values))
        else:
            nodes.append(helper.make_node("Constant", [], [tensor.name], value=tensor))
    net.nodes, net.tensors = nodes + net.nodes, []
    return net.model(output), (3, 8, 8), PLAIN


def initializers_as_inputs():
    """IR 3: every initializer is an input, too; batch normalisation of opset 9."""
    net = Net()
    x = net.op("Conv", ["image", net.weight("conv.weight", 5, 3, 3, 3)])
    names = [net.weight("bn.scale", 5, values=np.linspace(0.5, 1.5, 5)), net.weight("bn.bias", 5)]
    names += [net.weight("bn.mean", 5), net.weight("bn.var", 5, values=np.linspace(0.6, 1.4, 5))]
    x = net.op("Softplus", [net.op("BatchNormalization", [x, *names])])
    output = tail(net, x, 5)
    parameters = ["conv.weight", "bn.scale", "bn.bias", "fc.weight", "fc.bias"]
    return net.model(output, opset=9, ir=3, listed=True), (3, 8, 8), parameters


def shared_initializers():
    """One weight in two convolutions and one bias in three places."""
    net = Net()
    weight, bias = net.weight("weight", 3, 3, 3, 3, scale=0.3), net.weight("bias", 3)
    x = "image"
    for _ in range(2):
        x = net.op("Tanh", [net.op("Conv", [x, weight, bias], pads=[1, 1, 1, 1])])
    x = net.op("Flatten", [net.op("GlobalMaxPool", [x])])
    x = net.op("Gemm", [x, net.weight("fc.weight", CLASSES, 3), bias], "scores", transB=1)
    return net.model(x), (3, 8, 8), ["weight", "bias", "fc.weight"]


def channels_last():
    """Transposes around the convolutions, batch normalisation and hard-swish taken apart, and a
    Shape-Gather-Concat reshape."""
    net = Net(sample=(8, 8, 3))
    x = net.op("Transpose", ["image"], perm=[0, 3, 1, 2])
    x = net.op("Conv", [x, net.weight("conv.weight", 4, 3, 3, 3)], pads=[1, 1, 1, 1])
    x = net.op("Transpose", [x], perm=[0, 2, 3, 1])
    mean, variance = net.weight("bn.mean", 4), net.weight("bn.var", 4, values=[0.6, 0.9, 1.1, 1.4])
    scale = net.weight("bn.scale", 4, values=[0.7, 1.2, 0.9, 1.1])
    epsilon = net.weight("epsilon", values=1e-3)
    x = net.op("Sub", [x, mean])
    deviation = net.op("Sqrt", [net.op("Add", [variance, epsilon])])
    x = net.op("Mul", [net.op("Div", [x, deviation]), scale])
    x = net.op("Add", [x, net.weight("bn.bias", 4)])
    low, high = net.weight("zero", values=0.0), net.weight("six", values=6.0)
    gate = net.op("Clip", [net.op("Add", [x, net.weight("three", values=3.0)]), low, high])
    x = net.op("Div", [net.op("Mul", [x, gate]), high])
    x = net.op("Transpose", [x], perm=[0, 3, 1, 2])
    x = net.op("AveragePool", [x], kernel_shape=[4, 4], strides=[4, 4])
    rows = net.op("Gather", [net.op("Shape", [x]), net.ints("first", 0)], axis=0)
    rows = net.op("Unsqueeze", [rows, net.ints("axes", [0])])
    shape = net.op("Concat", [rows, net.ints("rest", [-1])], axis=0)
    x = net.op("Reshape", [x, shape])
    x = net.op("MatMul", [x, net.weight("fc.weight", 16, CLASSES)], "scores")
    # Taken apart, the statistics are statistics still.
    parameters = ["conv.weight", "bn.scale", "bn.bias", "fc.weight"]
    return net.model(x), (8, 8, 3), parameters


def fixed_batch():
    """Exported for one sample, with the batch in a Reshape."""
    net = Net(batch=1)
    x = net.op("Conv", ["image", net.weight("conv.weight", 5, 3, 3, 3), net.weight("conv.bias", 5)])
    x = net.op("GlobalAveragePool", [net.op("Sigmoid", [x])])
    x = net.op("Reshape", [x, net.ints("shape", [1, 5])])
    x = net.op("Gemm", [x, net.weight("fc.weight", 5, CLASSES), net.weight("fc.bias", CLASSES)])
    return net.model(net.op("Softmax", [x], "probabilities")), (3, 8, 8), PLAIN


def open_everything():
    """No dimension of the input is fixed."""
    net, output = plain(sample=("C", "H", "W"))
    return net.model(output), (3, 8, 8), PLAIN


def half():
    """float16 throughout."""
    net, output = plain(dtype=np.float16)
    return net.model(output), (3, 8, 8), PLAIN


def half_inside():
    """float16 weights between two Casts; input and output are float32."""
    net = Net(dtype=np.float16)
    x = net.op("Cast", ["image"], to=TensorProto.FLOAT16)
    x = net.op("Conv", [x, net.weight("conv.weight", 5, 3, 3, 3), net.weight("conv.bias", 5)])
    x = net.op("Sigmoid", [net.op("Clip", [x, net.weight("low", values=-2), net.weight("high", values=2)])])
    inner = tail(net, x, 5)
    output = net.op("Cast", [inner], "result", to=TensorProto.FLOAT)
    return net.model(output, dtype=np.float32), (3, 8, 8), PLAIN


def double():
    """double throughout, with operators that onnxruntime has in double."""
    net = Net(sample=(3, 4, 4), dtype=np.float64)
    x = net.op("Flatten", ["image"])
    x = net.op("Relu", [net.op("MatMul", [x, net.weight("one", 48, 6)])])
    x = net.op("Gemm", [x, net.weight("two", 6, CLASSES), net.weight("bias", CLASSES)], "scores")
    return net.model(x), (3, 4, 4), ["one", "two", "bias"]


def bfloat16():
    net, output = plain()
    x = net.op("Cast", [output], to=TensorProto.BFLOAT16)
    return net.model(net.op("Cast", [x], "result", to=TensorProto.FLOAT)), (3, 8, 8), "is bfloat16"


def quantised_pairs():
    """QDQ: QuantizeLinear and DequantizeLinear around a convolution."""
    net = Net()
    scale = net.weight("scale", values=0.05)
    net.tensors.append(numpy_helper.from_array(np.array(0, np.int8), "zero"))
    x = net.op("QuantizeLinear", ["image", scale, "zero"], "quantised")
    x = net.op("DequantizeLinear", [x, scale, "zero"])
    x = net.op("Conv", [x, net.weight("conv.weight", 5, 3, 3, 3)])
    return net.model(tail(net, x, 5)), (3, 8, 8), "`n_quantised` (QuantizeLinear)"


def control_flow():
    """An If around the activation, whose condition is a constant."""
    net = Net()
    x = net.op("Conv", ["image", net.weight("conv.weight", 5, 3, 3, 3)])
    net.tensors.append(numpy_helper.from_array(np.array(True), "flag"))
    branches = {}
    for key, op in (("then_branch", "Relu"), ("else_branch", "Sigmoid")):
        out = helper.make_tensor_value_info(key, TensorProto.FLOAT, None)
        branches[key] = helper.make_graph([helper.make_node(op, [x], [key])], key, [], [out])
    x = net.op("If", ["flag"], "chosen", **branches)
    return net.model(tail(net, x, 5)), (3, 8, 8), ["conv.weight", "fc.bias", "fc.weight"]


def number(net, value, *dims):
    """A constant of an exporter's own, as a scalar or of some form with one element."""
    net.numbers = getattr(net, "numbers", 0) + 1
    return net.weight(f"number_{net.numbers}", *dims, values=np.full(dims, value))


def gelu(net, x):
    """Half, root and one as numbers of three forms."""
    e = net.op("Erf", [net.op("Div", [x, number(net, np.sqrt(2))])])
    x = net.op("Mul", [x, net.op("Add", [e, number(net, 1, 1)])])
    return net.op("Mul", [x, number(net, 0.5, 1, 1, 1)])


def layer_norm(net, x, name, width):
    """Layer normalisation taken apart, as below opset 17."""
    centred = net.op("Sub", [x, net.op("ReduceMean", [x], axes=[-1])])
    squared = net.op("Pow", [centred, number(net, 2)])
    above = net.op("Add", [net.op("ReduceMean", [squared], axes=[-1]), number(net, 1e-5)])
    x = net.op("Div", [centred, net.op("Sqrt", [above])])
    x = net.op("Mul", [x, net.weight(f"{name}.weight", width)])
    return net.op("Add", [x, net.weight(f"{name}.bias", width)])


def linear(net, x, name, *dims, flip=False):
    x = net.op("MatMul", [x, net.weight(f"{name}.weight", *dims)])
    bias = net.weight(f"{name}.bias", dims[1])
    return net.op("Add", [bias, x] if flip else [x, bias])


def vision_transformer():
    """A class token, position embeddings, attention with a table of relative positions and a mask, layer
    scales; the pixels are scaled in the graph."""
    net, width, tokens = Net(sample=(3, 8, 8)), 8, 5
    x = net.op("Sub", ["image", net.weight("pixel_mean", 3, 1, 1)])
    x = net.op("Div", [x, net.weight("pixel_deviation", 3, 1, 1, values=np.full((3, 1, 1), 0.5))])
    weight = net.weight("patch.weight", width, 3, 4, 4, scale=0.1)
    x = net.op("Conv", [x, weight, net.weight("patch.bias", width)], strides=[4, 4])
    x = net.op("Reshape", [x, net.ints("flat", [0, width, -1])])
    x = net.op("Transpose", [x], perm=[0, 2, 1])
    rows = net.op("Gather", [net.op("Shape", [x]), net.ints("first", [0])])
    shape = net.op("Concat", [rows, net.ints("one_token", [1, width])], axis=0)
    token = net.op("Expand", [net.weight("token", 1, 1, width), shape])
    x = net.op("Concat", [token, x], axis=1)
    x = net.op("Add", [x, net.weight("places", 1, tokens, width)])
    y = linear(net, layer_norm(net, x, "norm1", width), "qkv", width, 3 * width, flip=True)
    y = net.op("Reshape", [y, net.ints("heads", [0, tokens, 3, 2, width // 2])])
    y = net.op("Transpose", [y], perm=[2, 0, 3, 1, 4])
    q, k, v = (net.op("Gather", [y, net.ints(f"part_{i}", i)], axis=0) for i in range(3))
    scores = net.op("MatMul", [q, net.op("Transpose", [k], perm=[0, 1, 3, 2])])
    scores = net.op("Mul", [scores, number(net, 0.5, 1)])
    relative = np.subtract.outer(np.arange(tokens), np.arange(tokens)) + tokens - 1
    table = net.weight("relative", 2 * tokens - 1, 2)
    bias = net.op("Gather", [table, net.ints("relative_index", relative)], axis=0)
    scores = net.op("Add", [scores, net.op("Transpose", [bias], perm=[2, 0, 1])])
    mask = np.zeros((1, 1, tokens, tokens))
    mask[..., 1, 3] = mask[..., 3, 1] = -100
    scores = net.op("Add", [scores, net.weight("mask", values=mask)])
    y = net.op("MatMul", [net.op("Softmax", [scores], axis=-1), v])
    y = net.op("Transpose", [y], perm=[0, 2, 1, 3])
    y = linear(net, net.op("Reshape", [y, net.ints("joined", [0, tokens, width])]), "join", width, width)
    x = net.op("Add", [x, net.op("Mul", [y, net.weight("scale1", width)])])
    y = gelu(net, linear(net, layer_norm(net, x, "norm2", width), "up", width, 2 * width))
    y = linear(net, y, "down", 2 * width, width)
    x = net.op("Add", [x, net.op("Mul", [y, net.weight("scale2", width)])])
    x = net.op("Gather", [layer_norm(net, x, "norm", width), net.ints("class_token", 0)], axis=1)
    weight = net.weight("fc.weight", CLASSES, width)
    x = net.op("Gemm", [x, weight, net.weight("fc.bias", CLASSES)], "scores", transB=1)
    constants = ("number_", "pixel_", "mask")
    floats = [t.name for t in net.tensors if t.data_type == TensorProto.FLOAT]
    return net.model(x), (3, 8, 8), [n for n in floats if not n.startswith(constants)]


def convnext():
    """A stem and a block: a depthwise convolution with its bias in an `Add`, a norm, two dense layers and a
    layer scale on channels that stand last; a learned number."""
    net, width = Net(sample=(3, 8, 8)), 4
    stem = net.weight("stem.weight", width, 3, 2, 2)
    x = net.op("Conv", ["image", stem, net.weight("stem.bias", width)], strides=[2, 2])
    y = net.op("Conv", [x, net.weight("depth.weight", width, 1, 3, 3)], group=width, pads=[1] * 4)
    y = net.op("Add", [y, net.weight("depth.bias", width, 1, 1)])
    y = net.op("Transpose", [y], perm=[0, 2, 3, 1])
    norm = [net.weight("norm.weight", width), net.weight("norm.bias", width)]
    y = net.op("LayerNormalization", [y, *norm])
    y = gelu(net, linear(net, y, "up", width, 4 * width))
    y = linear(net, y, "down", 4 * width, width, flip=True)
    y = net.op("Mul", [net.weight("gamma", width), y])
    y = net.op("Transpose", [y], perm=[0, 3, 1, 2])
    x = net.op("Add", [x, net.op("Mul", [y, net.weight("block.gain", 1)])])
    x = net.op("Flatten", [net.op("GlobalAveragePool", [x])])
    x = layer_norm(net, x, "last", width)
    x = net.op("MatMul", [x, net.weight("fc.weight", width, CLASSES)])
    x = net.op("Add", [x, net.weight("fc.bias", CLASSES)], "scores")
    names = [t.name for t in net.tensors if t.data_type == TensorProto.FLOAT]
    return net.model(x), (3, 8, 8), [n for n in names if not n.startswith("number_")]


HAND = [
    constant_nodes, initializers_as_inputs, shared_initializers, channels_last, fixed_batch,
    open_everything, half, half_inside, double, bfloat16, quantised_pairs, control_flow,
    vision_transformer, convnext,
]  # fmt: skip


def by_hand(index):
    for make in HAND:
        model, sample, expected = make()
        kind = "refused" if isinstance(expected, str) else "parameters"
        imported = model.opset_import[0].version
        made_by = f"by hand, opset {imported}, IR {model.ir_version}"
        index.add(make.__name__, model, made_by, sample, **{kind: expected})


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    makers = {"torch": with_pytorch, "tf": with_tensorflow, "hand": by_hand}
    if not sys.argv[1:] or set(sys.argv[1:]) - set(makers):
        sys.exit(__doc__)
    for kind in sys.argv[1:]:
        makers[kind](Index())
