"""Reads weights out of pickles without running anything: every class that a pickle may name is
replaced by a stand-in from this file, and all others are refused.

Two layouts: PyTorch's old one (`torch.save` before 1.6; no zip), with `state_dict`, and numpy
arrays inside dictionaries and lists, with `arrays`.

PyTorch's old layout is five pickles in a row - a magic number, a version, facts about the machine,
the object, the list of its storages' keys - and then, per key, the number of elements (int64,
little-endian) and the elements. A tensor is a view: (storage, offset, sizes, strides), in elements.
"""

import io
import math
import pickle
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np

MAGIC = 0x1950A86A20F9469CFC6C
VERSION = 1001
STORAGES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "IntStorage": "<i4",
    "LongStorage": "<i8",
}  # fmt: skip


class Safe(pickle.Unpickler):
    """An unpickler that knows only the names in `known`, a dictionary of (module, name)."""

    def __init__(self, file, known, persistent=None):
        super().__init__(file)
        self.known, self.persistent = known, persistent

    def find_class(self, module, name):
        if (module, name) not in self.known:
            raise pickle.UnpicklingError(f"{module}.{name} may not be in a file of weights")
        return self.known[module, name]

    def persistent_load(self, pid):
        if self.persistent is None:
            raise pickle.UnpicklingError("a persistent identifier where none belongs")
        return self.persistent(pid)


@dataclass
class View:
    """A tensor: a storage's key and type, and a place inside it. All counts are of elements."""

    key: str
    dtype: str
    offset: int
    sizes: tuple
    strides: tuple

    @classmethod
    def rebuild(cls, storage, offset, sizes, strides, *_gradient):
        key, dtype = storage
        counts = (offset, *sizes, *strides)
        if any(type(n) is not int or n < 0 for n in counts) or len(sizes) != len(strides):
            raise pickle.UnpicklingError(f"a tensor of sizes {sizes} and strides {strides}")
        return cls(key, dtype, offset, tuple(sizes), tuple(strides))

    def of(self, storages):
        """The values, copied. A place outside the storage is an error."""
        storage = storages[self.key]
        if math.prod(self.sizes) == 0:
            return np.zeros(self.sizes, self.dtype)
        last = self.offset + sum((n - 1) * s for n, s in zip(self.sizes, self.strides, strict=True))
        # More elements than the storage has would be one value many times over.
        if last >= len(storage) or math.prod(self.sizes) > len(storage):
            raise ValueError(f"a tensor reaches element {last} of a storage of {len(storage)}")
        strides = [s * storage.itemsize for s in self.strides]
        part = storage[self.offset :]
        return np.lib.stride_tricks.as_strided(part, self.sizes, strides, writeable=False).copy()


def state_dict(content):
    """The tensors by name (numpy arrays) of a file in PyTorch's old layout."""
    if content[:4] == b"PK\x03\x04":
        raise ValueError("PyTorch's zip layout; only the layout before PyTorch 1.6 is read")
    file = io.BytesIO(content)
    facts = [Safe(file, {}).load() for _ in range(3)]
    if facts[:2] != [MAGIC, VERSION] or not facts[2]["little_endian"]:
        raise ValueError("not PyTorch's old layout")

    sizes = {}

    def storage(pid):
        kind, dtype, key, _device, count, view = pid
        if kind != "storage" or view is not None:
            raise pickle.UnpicklingError(f"a persistent identifier of kind {kind!r}")
        if sizes.setdefault(key, (dtype, count)) != (dtype, count):
            raise pickle.UnpicklingError(f"storage {key} has two sizes")
        return key, dtype

    known = {("torch", name): dtype for name, dtype in STORAGES.items()}
    known["torch._utils", "_rebuild_tensor_v2"] = View.rebuild
    known["collections", "OrderedDict"] = OrderedDict
    views = Safe(file, known, storage).load()

    storages = {}
    for key in Safe(file, {}).load():
        dtype, count = sizes[key]
        stored = int.from_bytes(file.read(8), "little")
        raw = file.read(count * np.dtype(dtype).itemsize)
        if stored != count:
            raise ValueError(f"storage {key} has {stored} elements instead of {count}")
        storages[key] = np.frombuffer(raw, dtype, count)
    return {name: view.of(storages) for name, view in views.items()}


class Dtype:
    """Stands in for numpy.dtype: `Dtype("f4", ...)`, with the byte order in its state."""

    def __init__(self, code, *_flags):
        if code not in ("f2", "f4", "f8", "i4", "i8"):
            raise pickle.UnpicklingError(f"an array of type {code!r}")
        self.code, self.order = code, "<"

    def __setstate__(self, state):
        self.order = state[1]
        if self.order not in ("<", ">"):
            raise pickle.UnpicklingError(f"byte order {self.order!r}")


class Array:
    """Stands in for numpy.ndarray: its state is (version, shape, type, by columns?, bytes)."""

    def __setstate__(self, state):
        _version, shape, dtype, by_columns, raw = state
        values = np.frombuffer(raw, np.dtype(dtype.order + dtype.code))
        self.values = values.reshape(shape, order="F" if by_columns else "C")


def arrays(content):
    """A pickle of dictionaries, lists and tuples with numpy arrays as their leaves."""
    known = {
        ("numpy", "ndarray"): Array,
        ("numpy", "dtype"): Dtype,
        ("numpy.core.multiarray", "_reconstruct"): lambda *_: Array(),
    }
    return plain(Safe(io.BytesIO(content), known).load())


def plain(value):
    """`value` with the stand-ins replaced by numpy's arrays."""
    if isinstance(value, Array):
        return value.values
    if isinstance(value, dict):
        return {plain(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return value
