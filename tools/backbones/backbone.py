"""What a backbone out of a PyPI package is, and what its ONNX file says of itself."""

import json
from collections.abc import Callable
from dataclasses import dataclass

IMAGENET_MEAN = [0.485, 0.456, 0.406]
IMAGENET_STD = [0.229, 0.224, 0.225]
# How pixels (0 to 255) become input: (pixel * scale - mean[c]) / std[c], channels in `order`. The
# entries are those that `ftsurgery tune` finds in a model's metadata.
PREPROCESS = {
    "unit": {"order": "rgb", "scale": 1 / 255, "mean": [0.0] * 3, "std": [1.0] * 3},
    "signed": {"order": "rgb", "scale": 1 / 255, "mean": [0.5] * 3, "std": [0.5] * 3},
    "imagenet": {"order": "rgb", "scale": 1 / 255, "mean": IMAGENET_MEAN, "std": IMAGENET_STD},
    "caffe": {
        "order": "bgr", "scale": 1.0, "mean": [103.939, 116.779, 123.68], "std": [1.0] * 3,
    },
    "lite": {"order": "rgb", "scale": 1.0, "mean": [127.0] * 3, "std": [128.0] * 3},
}  # fmt: skip
IN_WORDS = {
    "unit": "RGB, pixels / 255",
    "signed": "RGB, pixels / 127.5 - 1",
    "imagenet": f"RGB, (pixels / 255 - {IMAGENET_MEAN}) / {IMAGENET_STD}",
    "caffe": "BGR, pixels - [103.939, 116.779, 123.68]",
    "lite": "RGB, (pixels - 127) / 128",
}


def describe(model, title, source, licence, preprocess):
    """Writes into a model where it is from and what it wants; adds the preprocessing in the form
    that ftsurgery reads."""
    sentences = [
        title,
        f"Source: {source}",
        f"Licence: {licence}",
        f"Input: N x 3 x height x width, {IN_WORDS[preprocess]}",
        "Output: scores before any softmax",
    ]
    model.doc_string = ". ".join(sentences) + "."
    model.producer_name, model.producer_version = "ftsurgery tools", ""
    del model.metadata_props[:]
    entry = model.metadata_props.add()
    entry.key, entry.value = "ftsurgery.preprocess", json.dumps(PREPROCESS[preprocess])
    return model


@dataclass(frozen=True)
class Backbone:
    """A network inside a package. `network(content)` is the ONNX model (a `ModelProto`) of the
    member's bytes; `scores(content, x)` computes the same scores from the same bytes (`x`: N x 3 x
    H x W) without ONNX, to check it."""

    title: str
    requirement: str
    archive: str
    sha256: str
    member: str
    licence: str
    preprocess: str
    side: int
    network: Callable
    scores: Callable

    @property
    def source(self):
        return f"PyPI {self.requirement}"

    def model(self, content):
        source = f"{self.source}, {self.member}"
        return describe(self.network(content), self.title, source, self.licence, self.preprocess)
