"""Holds a file of `ftsurgery differentiate` against the gradients of the same batch.

usage: gradients.py STEP.onnx BATCH.npz GRADIENTS.npz

BATCH has `x` and `y`, GRADIENTS `loss` and `grad/NAME`. Python, onnx and onnxruntime see the file as
any user of it would: by the names that `ftsurgery differentiate --help` promises. The loss is held
against its formula as well.
"""

import sys

import numpy as np
import onnx
import onnxruntime

TOLERANCE = 1e-5  # norm of the difference over the norm of what is expected

path, batch, expected = sys.argv[1], np.load(sys.argv[2]), np.load(sys.argv[3])
model = onnx.load(path)
onnx.checker.check_model(model, full_check=True)
assert all(o.domain == "" for o in model.opset_import), model.opset_import
assert all(n.domain == "" for n in model.graph.node)
notes = {p.key: p.value for p in model.metadata_props}
assert notes["ftsurgery.kind"] == "gradients", notes
losses = {"single-label": "cross-entropy", "multi-label": "binary-cross-entropy", "binary": "binary-cross-entropy"}
task = notes["ftsurgery.task"]
assert notes["ftsurgery.loss"] == losses[task], notes

options = onnxruntime.SessionOptions()
options.log_severity_level = 3
session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
data, labels = notes["ftsurgery.input.data"], notes["ftsurgery.input.labels"]
assert [i.name for i in session.get_inputs()] == [data, labels]
parameters = [i.name for i in session.get_overridable_initializers()]
outputs = [o.name for o in session.get_outputs()]
loss = notes["ftsurgery.output.loss"]
assert outputs[:2] == [loss, notes["ftsurgery.output.logits"]], outputs
gradients = dict(zip(parameters, outputs[2:], strict=True))


y = batch["y"].astype(np.float32) if task == "multi-label" else batch["y"].reshape(-1)


def by_formula(z):
    z = z.astype(float)
    if task == "single-label":
        z = z.reshape(len(z), -1)
        return np.mean(np.log(np.exp(z - z.max(1, keepdims=True)).sum(1)) + z.max(1) - z[range(len(y)), y])
    z = z.reshape(batch["y"].reshape(len(z), -1).shape)
    return np.mean(np.maximum(z, 0) - z * y.reshape(z.shape) + np.log1p(np.exp(-np.abs(z))))


def run(**fed):
    feed = {data: batch["x"], labels: y}
    feed.update(fed)
    return dict(zip(outputs, session.run(None, feed), strict=True))


def distance(got, wanted):
    assert got.shape == wanted.shape, (got.shape, wanted.shape)
    norm = np.linalg.norm(wanted.astype(float).ravel())
    return np.linalg.norm(got.astype(float).ravel() - wanted.ravel()) / max(norm, 1e-30)


got = run()
assert distance(got[loss], expected["loss"]) <= TOLERANCE
assert distance(got[loss], by_formula(got[outputs[1]])) <= TOLERANCE
names = [n[len("grad/") :] for n in expected.files if n.startswith("grad/")]
assert sorted(names) == sorted(parameters), (names, parameters)
worst = max(distance(got[gradients[n]], expected["grad/" + n]) for n in names)
assert worst <= TOLERANCE, worst

# The defaults are the model's own values, and fed values take their place: a step downhill.
values = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
square = sum(float((got[gradients[n]].astype(float) ** 2).sum()) for n in names)
rate = 0.01 * abs(float(got[loss])) / square
same = run(**{n: values[n] for n in names})
assert float(same[loss]) == float(got[loss])
moved = run(**{n: values[n] - np.float32(rate) * got[gradients[n]] for n in names})
drop = float(got[loss]) - float(moved[loss])
assert 0.5 * rate * square < drop < 1.5 * rate * square, (drop, rate * square)
print(f"{len(names)} gradients agree to {worst:.1e}; a step lowers the loss by {drop:.4f}")
