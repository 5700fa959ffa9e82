"""MobileNet v1 (1.0, 224 pixels) out of the TensorFlow graph in nudity 0.2.3.

The graph is TensorFlow-Slim's MobileNet for ImageNet (1001 classes, 0 is "background"), whole, with
a small classifier of the package's author behind its scores; that one is left out here. Trunk: 14
convolutions and 13 depthwise ones, each with a batch normalisation (written as its arithmetic,
gathered into one BatchNormalization here) and ReLU6; then the average and a 1 x 1 convolution,
which on one place is a dense layer.
"""

import numpy as np

from .backbone import Backbone
from .network import Network
from .tf_graph import Graph

SIDE = 224
SCORES = "MobilenetV1/Predictions/Reshape"


def network(content):
    graph = Graph(content)
    net = Network(SIDE)
    for name in layer_names():
        depthwise = name.endswith("depthwise")
        weights = graph.constant(f"MobilenetV1/{name}/{'depthwise_' * depthwise}weights")
        norm = f"MobilenetV1/MobilenetV1/{name}/BatchNorm/batchnorm"
        operator = graph.nodes[
            f"MobilenetV1/MobilenetV1/{name}/{'depthwise' if depthwise else 'convolution'}"
        ]
        # H x W x in x out; a depthwise one H x W x channels x 1.
        order = (2, 3, 0, 1) if depthwise else (3, 2, 0, 1)
        group = weights.shape[2] if depthwise else 1
        net.conv(name, weights.transpose(order), stride=operator.stride(), group=group)
        stored = (
            graph.constant(f"MobilenetV1/{name}/BatchNorm/{part}")
            for part in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        net.batch_norm(f"{name}/bn", *stored, graph.constant(f"{norm}/add/y"))
        net.relu6(f"{name}/relu6")
    logits = "MobilenetV1/Logits/Conv2d_1c_1x1"
    weights = graph.constant(f"{logits}/weights")[0, 0].T
    net.global_average("pool").flatten("flat").dense(
        "logits", weights, graph.constant(f"{logits}/biases")
    )
    return net.model("mobilenet_v1")


def layer_names():
    yield "Conv2d_0"
    for block in range(1, 14):
        yield f"Conv2d_{block}_depthwise"
        yield f"Conv2d_{block}_pointwise"


def scores(content, x):
    """TensorFlow's graph, operator by operator."""
    fed = {"input": np.ascontiguousarray(x.transpose(0, 2, 3, 1))}
    return Graph(content).evaluate([SCORES], fed)[0]


BACKBONE = Backbone(
    title="MobileNet v1 1.0, ImageNet, 1001 classes (0: background)",
    requirement="nudity==0.2.3",
    archive="nudity-0.2.3.tar.gz",
    sha256="d26e10346f00ad76b1166a221f1b56877d154ca343e82c6e6c8e738ca5f27d5f",
    member="nudity-0.2.3/nudity/files/retrained_graph.pb",
    licence="MIT, as the package's metadata says",
    preprocess="signed",
    side=SIDE,
    network=network,
    scores=scores,
)
