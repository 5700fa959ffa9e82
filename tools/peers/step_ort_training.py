"""A training step in onnxruntime-training, on the processor.

The network has its BatchNormalization folded into the convolutions: onnxruntime-training has no
gradient for one that uses its stored statistics. Its optimizer is AdamW; it has no Adam.
"""

import sys
import tempfile
import types

import onnx
import onnxruntime
import side

# Its optimizers for PyTorch import PyTorch, which nothing here needs.
sys.modules["onnxruntime.training.optim"] = types.ModuleType("onnxruntime.training.optim")

from onnxruntime.training import artifacts  # noqa: E402
from onnxruntime.training.api import CheckpointState, Module, Optimizer  # noqa: E402


def main():
    args = side.arguments(__doc__.splitlines()[0]).parse_args()
    model = onnx.load(args.models / f"{args.model}.folded.onnx")
    floats = [t.name for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT]
    weights = [name for name in floats if name.endswith((".weight", ".bias"))]
    trained = [name for name in weights if side.is_trained(name, args.train)]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = args.threads
    with tempfile.TemporaryDirectory() as folder:
        artifacts.generate_artifacts(
            model,
            requires_grad=trained,
            frozen_params=[name for name in weights if name not in trained],
            loss=artifacts.LossType.CrossEntropyLoss,
            optimizer=artifacts.OptimType.AdamW,
            artifact_directory=folder,
        )
        del model
        state = CheckpointState.load_checkpoint(f"{folder}/checkpoint")
        module = Module(
            f"{folder}/training_model.onnx",
            state,
            f"{folder}/eval_model.onnx",
            device="cpu",
            session_options=options,
        )
        optimizer = Optimizer(f"{folder}/optimizer_model.onnx", module)
    optimizer.set_learning_rate(side.RATE)
    inputs, labels = side.batch(args.batch_size, args.image_size)
    module.train()

    def step():
        loss = module(inputs, labels)
        optimizer.step()
        module.lazy_reset_grad()
        return float(loss)

    side.run(
        step,
        args.warmup,
        args.steps,
        versions={"onnxruntime-training": onnxruntime.__version__},
    )


if __name__ == "__main__":
    main()
