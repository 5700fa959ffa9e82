"""Checks an ONNX model by forward passes on two fixed random images.

`onnx.reference` computes the model (numpy only), and onnxruntime too where it is installed; both
must agree with scores that were computed from the source, without the model. Scores are compared
less their mean, which a softmax does not see; the largest difference is given as a share of the
largest such score. Limit: 1e-4, for float32 with sums of some thousand terms; some 1e-6 is usual.
"""

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

LIMIT = 1e-4


def images(model, seed=0):
    """A batch of two, values from -1 to 1, in the shape of the model's input."""
    (value,) = model.graph.input
    shape = [d.dim_value or 2 for d in value.type.tensor_type.shape.dim]
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def difference(found, expected):
    found, expected = (s - s.mean(axis=-1, keepdims=True) for s in (found, expected))
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def sound(scores, classes):
    """Stops with an error when scores cannot be a classifier's."""
    if scores.shape != (2, classes):
        raise ValueError(f"scores of shape {scores.shape} for 2 images, {classes} classes")
    if not np.isfinite(scores).all():
        raise ValueError("scores that are not finite")
    if np.ptp(scores) == 0:
        raise ValueError("scores that are all the same")


def onnxruntime_scores(content, x):
    """None where onnxruntime is not installed."""
    try:
        import onnxruntime
    except ImportError:
        return None
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def check(model, expected):
    """Checks a model against `expected(x)`; returns the differences found, as text."""
    onnx.checker.check_model(model, full_check=True)
    x = images(model)
    found = {
        "onnx.reference": ReferenceEvaluator(model).run(None, {model.graph.input[0].name: x})[0]
    }
    if (scores := onnxruntime_scores(model.SerializeToString(), x)) is not None:
        found["onnxruntime"] = scores
    classes = model.graph.output[0].type.tensor_type.shape.dim[-1].dim_value
    # In double, so that the differences are the model's own rounding.
    reference = expected(x.astype(np.float64))
    differences = {}
    for name, scores in found.items():
        sound(scores, classes)
        differences[name] = difference(scores, reference)
        if not differences[name] <= LIMIT:
            raise ValueError(f"{name} differs from the source by {differences[name]:.1e}")
    return "off the source by " + ", ".join(f"{d:.1e} ({n})" for n, d in differences.items())
