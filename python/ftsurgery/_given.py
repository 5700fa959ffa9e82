"""What is given to a function, as files that the command reads: models, data, pictures, names."""

from __future__ import annotations

import contextlib
import csv
import os
import struct
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, Union, cast

import numpy

if TYPE_CHECKING:
    import onnx

#: A model: the path of a file, the bytes of one, or an `onnx.ModelProto`.
Model = Union[str, "os.PathLike[str]", bytes, "onnx.ModelProto"]
#: The same kind of model comes out that goes in.
M = TypeVar("M", bound=Model)

#: Data: a folder, list or `.npz` file by its path; `(x, y)`, arrays of samples and labels; or a list of `(path, label)`
#: or `(path, label, part)`.
Data = Union[str, "os.PathLike[str]", tuple[Any, Any], Sequence[tuple[Any, ...]]]


def is_path(given: object) -> bool:
    """Whether it is a path."""
    return isinstance(given, (str, os.PathLike))


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """A folder for what is given, which goes when the work is done."""
    with tempfile.TemporaryDirectory(prefix="ftsurgery-") as path:
        yield Path(path)


def model_file(model: Model, inside: Path, name: str = "model.onnx") -> Path:
    """The file of a model, which is written into the folder `inside` where there is none."""
    if isinstance(model, (str, os.PathLike)):
        return Path(model)
    path = inside / name
    content = model if isinstance(model, bytes) else model.SerializeToString()
    path.write_bytes(content)
    return path


def model_like(given: M, path: Path) -> M:
    """The model of a file, as the kind of what was given."""
    return cast(M, _model_like(given, path))


def _model_like(given: Model, path: Path) -> Model:
    if isinstance(given, str):
        return str(path)
    if isinstance(given, os.PathLike):
        return path
    if len(list(path.parent.glob(f"{path.stem}*"))) > 1 and isinstance(given, bytes):
        raise ValueError("the values of the new model lie beside it; give the model as a path, and out=")
    if isinstance(given, bytes):
        return path.read_bytes()
    import onnx

    return onnx.load(path)


def data_file(data: Data, path: Path) -> Path:
    """The file or folder of data, which is written to `path` (and `.npz` or `.csv`) where there is none."""
    if isinstance(data, (str, os.PathLike)):
        return Path(data)
    if isinstance(data, tuple) and len(data) == 2 and hasattr(data[0], "shape"):
        path = path.with_name(path.name + ".npz")
        x, y = data
        # Classes as names are text, not objects.
        numpy.savez(path, x=numpy.ascontiguousarray(x), y=numpy.asarray(y))
        return path
    rows = [list(row) for row in data]
    lengths = {len(row) for row in rows}
    if lengths not in ({2}, {3}):
        raise ValueError("a list of data has (path, label) or (path, label, part) in each row")
    path = path.with_name(path.name + ".csv")
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "split"][: lengths.pop()])
        writer.writerows([os.path.abspath(row[0]), *row[1:]] for row in rows)
    return path


def images_given(images: Any) -> list[Any]:
    """Pictures as a list, of one or of several."""
    if is_path(images) or hasattr(images, "save") or getattr(images, "ndim", 0) in (2, 3):
        return [images]
    return list(images)


def image_file(image: Any, path: Path) -> Path:
    """The file of a picture, which is written to `path` (a PNG file) where there is none."""
    if is_path(image):
        return Path(image)
    if hasattr(image, "save"):
        image.save(path)
        return path
    pixels = numpy.asarray(image)
    if pixels.dtype != numpy.uint8 or pixels.ndim not in (2, 3):
        raise ValueError("a picture as an array is of uint8, [height, width] or [height, width, 1, 3 or 4]")
    path.write_bytes(png(pixels))
    return path


def png(pixels: numpy.ndarray) -> bytes:
    """A PNG file of pixels, uint8 [height, width] or [height, width, 1, 3 or 4]."""
    height, width = pixels.shape[:2]
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    kind = {1: 0, 3: 2, 4: 6}.get(channels)
    if kind is None:
        raise ValueError(f"a picture has 1, 3 or 4 channels, not {channels}")

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    # In front of each line stands how it is filtered: not at all.
    lines = numpy.zeros((height, 1 + width * channels), numpy.uint8)
    lines[:, 1:] = pixels.reshape(height, width * channels)
    header = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    content = zlib.compress(lines.tobytes(), 1)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", content) + chunk(b"IEND", b"")


def with_names(options: dict[str, Any], inside: Path) -> dict[str, Any]:
    """Options whose `classes`, where they are a list of names, are a file of them."""
    classes = options.get("classes")
    if classes is None or isinstance(classes, (str, int, os.PathLike)):
        return options
    path = inside / "classes.txt"
    path.write_text("".join(f"{name}\n" for name in classes), encoding="utf-8")
    return {**options, "classes": path}
