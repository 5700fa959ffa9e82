"""What a network exported by another library is, and how its library is asked for."""

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .backbone import describe

SIDE = 224
# Without statistics of their own, normalisations of random networks would all be the same tensors,
# which exporters then share. Order: scale, bias, mean, variance; lowest and highest value.
STATISTICS = [(0.8, 1.2), (-0.1, 0.1), (-0.1, 0.1), (0.5, 1.5)]


def wanted(purpose, packages, *modules):
    """Imports modules, or stops the program with the command that installs them."""
    try:
        return [importlib.import_module(module) for module in modules]
    except ImportError as error:
        sys.exit(f"{purpose} needs other packages ({error}): pip install {packages}")


def random_statistics(rng, channels):
    """Scale, bias, mean and variance of a normalisation."""
    return [rng.uniform(*bounds, channels).astype(np.float32) for bounds in STATISTICS]


@dataclass(frozen=True)
class Export:
    """`export(name, random_weights)` is the model (a `ModelProto`) and a function from an input
    to the library's own scores, to check it."""

    title: str
    source: str
    weights: str
    licence: str
    preprocess: str
    name: str
    export: Callable

    def model(self, random_weights):
        model, scores = self.export(self.name, random_weights)
        weights = "random weights" if random_weights else f"weights {self.weights}"
        source = f"{self.source}, {weights}"
        return describe(model, self.title, source, self.licence, self.preprocess), scores
