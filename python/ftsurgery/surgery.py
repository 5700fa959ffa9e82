"""Surgery on models: a model in, a model out, with what was asked for changed and nothing else.

Each function takes a model as a path, as bytes or as an `onnx.ModelProto`, and gives one of the same kind; of a path `out` says
which file is written, and its path is given. Models beyond 2 GiB, and such whose values lie beside them, go from file to file.
Before a new model is given it is held against the old one: nothing else may differ, and where onnxruntime runs both they have to
compute the same (`check="structure"` and `check="off"` do less). Options are the flags of the command of the same name.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from ._call import PathLike, call
from ._given import M, Model, folder, model_file, model_like, with_names

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from . import _options as options_of

__all__ = [
    "batch",
    "externalize",
    "extract",
    "fold",
    "head",
    "internalize",
    "merge",
    "opset",
    "precision",
    "prune",
    "rename",
]


def _make(command: str, model: M, out: Optional[PathLike], options: dict[str, Any], others: tuple[Model, ...] = ()) -> M:
    """What a command of surgery makes of a model."""

    is_path = isinstance(model, (str, os.PathLike))
    if is_path and out is None:
        raise ValueError(f"{command} of a file needs out=, the file to write")
    if not is_path and out is not None:
        raise ValueError("out= is for models that are given as paths; of others the new model is given back")
    with folder() as inside:
        given = [model_file(model, inside)]
        given += [model_file(other, inside, f"model{i}.onnx") for i, other in enumerate(others, 2)]
        made = Path(out) if out is not None else inside / "made.onnx"
        call(command, *given, out=made, **with_names(options, inside))
        return model_like(model, made)


def extract(model: M, *, out: Optional[PathLike] = None, **options: Unpack[options_of.Extract]) -> M:
    """The part of a model between any values, `inputs` and `outputs`.

    >>> backbone = ftsurgery.extract(model, outputs=["features"])  # doctest: +SKIP
    """
    return _make("extract", model, out, dict(options))


def head(model: M, *, out: Optional[PathLike] = None, **options: Unpack[options_of.Head]) -> M:
    """The model with a new classifier for `classes` (a number, or names), or with `remove=True` without one.

    >>> ten = ftsurgery.head(model, classes=10)  # doctest: +SKIP
    """
    return _make("head", model, out, dict(options))


def rename(model: M, *, out: Optional[PathLike] = None, **options: Unpack[options_of.Rename]) -> M:
    """Other names for values and tensors (`value={"old": "new"}`), nodes (`node=…`), by a regular expression
    (`regex=("^a/", "b/")`) or with a `prefix`.

    >>> renamed = ftsurgery.rename(model, value={"input.1": "image"})  # doctest: +SKIP
    """
    return _make("rename", model, out, dict(options))


def prune(model: M, *, out: Optional[PathLike] = None, **options: Unpack[options_of.Prune]) -> M:
    """The model without what no output needs."""
    return _make("prune", model, out, dict(options))


def fold(model: M, *, out: Optional[PathLike] = None, **options: Unpack[options_of.Fold]) -> M:
    """The model with what is known before it runs computed; `fix_shape={"image": (1, 3, 224, 224)}` and
    `dim={"batch": 1}` declare sizes first, `batch_norm=True` folds normalisations."""
    return _make("fold", model, out, dict(options))


def merge(model: M, *others: Model, out: Optional[PathLike] = None, **options: Unpack[options_of.Merge]) -> M:
    """Several models as one, one behind the other (`connect={"value": "input"}`) or side by side (`join=True`)."""
    return _make("merge", model, out, dict(options), others)


def batch(model: M, *, out: Optional[PathLike] = None, **options: Unpack[options_of.Batch]) -> M:
    """The model for batches of any size (`free=True`), or of one (`fix=8`)."""
    return _make("batch", model, out, dict(options))


def opset(model: M, *, out: Optional[PathLike] = None, **options: Unpack[options_of.Opset]) -> M:
    """The model in another version of ONNX's operators (`to=21`)."""
    return _make("opset", model, out, dict(options))


def precision(model: M, *, out: Optional[PathLike] = None, **options: Unpack[options_of.Precision]) -> M:
    """The model with floats of 16 bits (`to="f16"`, `to="bf16"`), or of 32 again (`to="f32"`)."""
    return _make("precision", model, out, dict(options))


def externalize(model: PathLike, *, out: PathLike, **options: Unpack[options_of.Externalize]) -> PathLike:
    """Moves the values of large tensors to a file beside the new model."""
    return _make("externalize", model, out, dict(options))


def internalize(model: M, *, out: Optional[PathLike] = None, **options: Unpack[options_of.Internalize]) -> M:
    """Takes values that lie beside a model inside."""
    return _make("internalize", model, out, dict(options))
