"""ftsurgery fine-tunes chosen parts of pretrained networks as ONNX files, on the stock onnxruntime.

    import ftsurgery

    run = ftsurgery.tune("mobilenet.onnx", "photos", "run", strategies=["head", "auto"])
    print(run.best.held_out_accuracy, run.best.model)

Functions are called as the commands of `ftsurgery`, and take their flags as keywords: `--search-epochs 2` is
`search_epochs=2`, `--no-shuffle` is `no_shuffle=True`, a flag that is given several times takes a list, one of `KEY=VALUE` a
dict. `call` does what any other command does. Bad usage and input raise `ValueError`, other failures `RuntimeError`, with the
texts of the command. While a function works, other threads of Python do, too; Ctrl-C stops the work at its next step. What the
command would tell in passing goes to the logger `ftsurgery`.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional, cast

import numpy

from . import surgery
from ._call import Event, OnEvent, PathLike, call, call_json
from ._given import (
    Data,
    M,
    Model,
    data_file,
    folder,
    image_file,
    images_given,
    is_path,
    model_file,
    with_names,
)
from ._native import __version__
from .results import (
    Analysis,
    Block,
    ClassFigures,
    Evaluation,
    Gradients,
    Layer,
    Prediction,
    Ranked,
    Run,
    Strategy,
    Tensor,
)
from .surgery import batch, externalize, extract, fold, head, internalize, merge, opset, precision, prune, rename

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from . import _options as options_of

__all__ = [
    "Analysis",
    "Block",
    "ClassFigures",
    "Data",
    "Evaluation",
    "Event",
    "Gradients",
    "Layer",
    "Model",
    "OnEvent",
    "Prediction",
    "Ranked",
    "Run",
    "Strategy",
    "Tensor",
    "__version__",
    "analyze",
    "batch",
    "call",
    "differentiate",
    "evaluate",
    "externalize",
    "extract",
    "fold",
    "gradients",
    "head",
    "internalize",
    "merge",
    "opset",
    "precision",
    "predict",
    "prune",
    "rename",
    "surgery",
    "tune",
]


def analyze(model: Model, **options: Unpack[options_of.Analyze]) -> Analysis:
    """Layers and blocks of a model, and what tuning would consider.

    >>> for block in ftsurgery.analyze("mobilenet.onnx").blocks:  # doctest: +SKIP
    ...     print(block.name, block.parameters)
    """
    with folder() as inside:
        printed = call("analyze", model_file(model, inside), format="json", **options)
    return Analysis._of(json.loads(printed))


def tune(
    model: Optional[Model] = None,
    data: Optional[Data] = None,
    out: Optional[PathLike] = None,
    *,
    on_event: Optional[OnEvent] = None,
    **options: Unpack[options_of.Tune],
) -> Run:
    """Fine-tunes a model on data, trying which of its parts to train, and writes one tuned model per strategy to the folder
    `out`.

    `data` is a folder with a sub-folder of pictures per class, a list or an `.npz` file, by its path; `(x, y)`: arrays of samples
    (uint8 pixels, or float32 as the model reads them) [N, channels, height, width] and classes [N]; or a list of `(path, label)`
    or `(path, label, part)`. A model, arrays and lists that are no files are written beside `out`, so that the run can go on
    from there.

    Ctrl-C stops after the current step; `tune(resume=out)` goes on, also after a crash, and comes to the same results.

    >>> run = ftsurgery.tune("mobilenet.onnx", (images, labels), "run", strategies=["head"], epochs=4)  # doctest: +SKIP
    >>> ftsurgery.tune(resume="run", repeats=3).to_pandas()  # doctest: +SKIP
    """
    given: dict[str, Any] = dict(options)
    resume = given.get("resume")
    if out is not None:
        given["out"] = out
    beside = Path(out if out is not None else resume if resume is not None else "run").absolute()
    if data is not None:
        given["data"] = data_file(data, beside.with_name(beside.name + ".data"))
    models = []
    if model is not None:
        models.append(model_file(model, beside.parent, beside.name + ".model.onnx"))
    with folder() as inside:
        printed = call("tune", *models, json=True, on_event=on_event, **with_names(given, inside))
    return Run._of(json.loads(printed), Path(cast("PathLike", out if out is not None else resume)))


def evaluate(
    model: Model,
    data: Data,
    *,
    on_event: Optional[OnEvent] = None,
    **options: Unpack[options_of.Evaluate],
) -> Evaluation:
    """Measures a classifier on data, which is given as to `tune`.

    >>> ftsurgery.evaluate(run.best.model, "photos", split="run/split.json", part="held_out").accuracy  # doctest: +SKIP
    """
    with folder() as inside:
        given = {**with_names(dict(options), inside), "data": data_file(data, inside / "data")}
        return Evaluation._of(call_json("evaluate", model_file(model, inside), on_event=on_event, **given))


def predict(model: Model, images: Any, **options: Unpack[options_of.Predict]) -> list[Prediction]:
    """The classes of pictures: of one, or of a list of them. A picture is a path, an array of uint8
    [height, width] or [height, width, channels], or one of Pillow.

    Pictures that cannot be read have an `error` in place of classes; where none can be classified, that is raised.

    >>> ftsurgery.predict("run/winners/auto.onnx", "rose.jpg")[0].label  # doctest: +SKIP
    """
    given = images_given(images)
    with folder() as inside:
        files = [image_file(image, inside / f"{i}.png") for i, image in enumerate(given)]
        options_given = with_names(dict(options), inside)
        try:
            printed = call("predict", model_file(model, inside), *files, json=True, **options_given)
        except RuntimeError as error:
            # Some may have been classified.
            printed = getattr(error, "printed", b"").decode()
            if not any("classes" in entry for entry in json.loads(printed or "[]")):
                raise
        told = json.loads(printed)
    return [
        Prediction(
            image=os.fspath(image) if is_path(image) else None,
            classes=[Ranked(**one) for one in entry.get("classes", [])],
            error=entry.get("error"),
        )
        for image, entry in zip(given, told)
    ]


def gradients(model: Model, x: Any, y: Any, **options: Unpack[options_of.Gradients]) -> Gradients:
    """The loss of a model on a batch, the mean cross-entropy, and its gradients by the parameters that `trainable` matches
    (all).

    `x`: float32 [N, channels, height, width], as the model reads it. `y`: classes [N], or with `task="multi-label"` 0 and 1
    [N, classes].

    >>> ftsurgery.gradients(model, x, y, trainable="fc.*")["fc.weight"].shape  # doctest: +SKIP
    """
    with folder() as inside:
        batch_file = data_file((numpy.asarray(x, numpy.float32), y), inside / "batch")
        call("gradients", model_file(model, inside), batch=batch_file, out=inside / "gradients.npz", **options)
        with numpy.load(inside / "gradients.npz") as arrays:
            found = {name[len("grad/") :]: arrays[name] for name in arrays.files if name != "loss"}
            return Gradients(float(arrays["loss"]), found)


def differentiate(model: M, *, out: Optional[PathLike] = None, **options: Unpack[options_of.Differentiate]) -> M:
    """A model's forward pass, loss and gradients as one ONNX model, which any runtime executes; with `optimizer` a whole
    training step. It is given as by the functions of `ftsurgery.surgery`; with `optimizer` or `format`, which give several
    files, the model is a path.

    >>> step = ftsurgery.differentiate(model, trainable=["fc.*"], batch_size=32)  # doctest: +SKIP
    """
    given: dict[str, Any] = dict(options)
    if not is_path(model) and (given.get("optimizer") or given.get("format", "onnx") != "onnx"):
        raise ValueError("with optimizer= or format= several files are written; give the model as a path, and out=")
    return surgery._make("differentiate", model, out, given)
