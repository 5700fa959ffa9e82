"""Trains through onnxruntime's training API with the files that `differentiate --format ort-training` wrote.

    ort_training.py FOLDER RATE GATHERED SCORES

FOLDER holds the files, and `batches.npz` with `x` and `y`, batches along the first axis. Gradients of GATHERED batches
make a step. Written there: `trained.npz` (`loss` and `eval` of each batch, `STEP/NAME` for each parameter behind each
step, from 0), `trained`, a checkpoint, and `inference.onnx`, the model of the output SCORES.
"""

import pathlib
import sys
import types

import numpy as np

# Its optimizers for PyTorch import PyTorch, which nothing here needs.
sys.modules["onnxruntime.training.optim"] = types.ModuleType("onnxruntime.training.optim")

from onnxruntime.training.api import CheckpointState, Module, Optimizer  # noqa: E402


def main():
    folder, rate, gathered, scores = sys.argv[1:]
    folder, gathered = pathlib.Path(folder), int(gathered)
    state = CheckpointState.load_checkpoint(folder / "checkpoint")
    module = Module(folder / "training_model.onnx", state, folder / "eval_model.onnx")
    optimizer = Optimizer(folder / "optimizer_model.onnx", module)
    optimizer.set_learning_rate(float(rate))
    batches = np.load(folder / "batches.npz")
    out = {"loss": [], "eval": []}
    for at, batch in enumerate(zip(batches["x"], batches["y"])):
        module.eval()
        loss, _ = module(*batch)
        out["eval"].append(loss)
        module.train()
        out["loss"].append(module(*batch))
        if (at + 1) % gathered:
            continue
        optimizer.step()
        module.lazy_reset_grad()
        for name, parameter in state.parameters:
            # An array of what the next step changes.
            out[f"{at // gathered}/{name}"] = parameter.data.copy()
    np.savez(folder / "trained.npz", **out)
    CheckpointState.save_checkpoint(state, folder / "trained", include_optimizer_state=True)
    module.export_model_for_inferencing(folder / "inference.onnx", [scores])


if __name__ == "__main__":
    main()
