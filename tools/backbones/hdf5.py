"""Reads the part of HDF5 that Keras' .h5 files use, in numpy: groups, datasets of numbers stored
in one piece, and text attributes.

From the HDF5 File Format Specification 3.0: superblock version 0 (II.A), version 1 B-trees (III.A),
symbol table nodes (III.B), local heaps (III.D), global heaps (III.E), object headers of version 1
(IV.A.1.a) and the messages below. Addresses and lengths have 8 bytes. Compressed, chunked or
compact datasets, newer headers, links and dense attributes are refused.
"""

from dataclasses import dataclass, field

import numpy as np

SIGNATURE = b"\x89HDF\r\n\x1a\n"
# Messages of an object header.
DATASPACE, DATATYPE, LAYOUT, ATTRIBUTE, CONTINUATION, SYMBOLS = 0x1, 0x3, 0x8, 0xC, 0x10, 0x11
FIXED, FLOAT, STRING, VARIABLE = 0, 1, 3, 9
# Nothing that Keras writes nests deeper than this or has more parts.
MOST_DEPTH, MOST_NODES = 32, 100_000


@dataclass
class Item:
    """A group, with `members`, or a dataset, with `values`."""

    members: dict = field(default_factory=dict)
    values: np.ndarray | None = None
    attributes: dict = field(default_factory=dict)

    def at(self, path):
        """The item at `a/b/c` below this one."""
        item = self
        for name in path.split("/"):
            item = item.members[name]
        return item


class File:
    """`File(content).root` is the outermost group."""

    def __init__(self, content):
        self.data = memoryview(content)
        if self.bytes(0, 8) != SIGNATURE or content[8] != 0:
            raise ValueError("not an HDF5 file with a superblock of version 0")
        if tuple(content[13:15]) != (8, 8):
            raise ValueError("addresses and lengths of another size than 8 bytes")
        self.base = self.number(24, 8)
        self.visited = 0
        # The root group's symbol table entry: the address of its header is its second field.
        self.root = self.item(self.number(56 + 8, 8), 0)

    def bytes(self, at, size):
        if at + size > len(self.data):
            raise ValueError(f"{size} bytes at {at} are behind the end of the file")
        return self.data[at : at + size].tobytes()

    def number(self, at, size):
        return int.from_bytes(self.bytes(at, size), "little")

    def signed(self, address, signature):
        """The place of a structure that begins with a signature."""
        at = self.base + address
        if self.bytes(at, 4) != signature:
            raise ValueError(f"no {signature.decode()} at {at}")
        self.visited += 1
        if self.visited > MOST_NODES:
            raise ValueError("too many parts, or parts in a circle")
        return at

    def messages(self, address):
        """(kind, place, size) of the messages of an object header of version 1."""
        at = self.base + address
        if self.number(at, 1) != 1:
            raise ValueError(f"an object header of version {self.number(at, 1)}")
        left = self.number(at + 2, 2)
        blocks = [(at + 16, self.number(at + 8, 4))]
        while blocks:
            at, size = blocks.pop(0)
            end = at + size
            while left and at + 8 <= end:
                kind, size, flags = (self.number(at + n, w) for n, w in ((0, 2), (2, 2), (4, 1)))
                if flags & 2:
                    raise ValueError("a shared message")
                if kind == CONTINUATION:
                    blocks.append((self.base + self.number(at + 8, 8), self.number(at + 16, 8)))
                yield kind, at + 8, size
                at, left = at + 8 + size, left - 1

    def item(self, address, depth):
        if depth > MOST_DEPTH:
            raise ValueError("groups too deep, or in a circle")
        item, dims, dtype, place = Item(), None, None, None
        for kind, at, _ in self.messages(address):
            if kind == SYMBOLS:
                heap = self.signed(self.number(at + 8, 8), b"HEAP")
                names = self.base + self.number(heap + 24, 8)
                for name, child in self.tree(self.number(at, 8), names):
                    item.members[name] = self.item(child, depth + 1)
            elif kind == DATASPACE:
                dims = self.dataspace(at)
            elif kind == DATATYPE:
                dtype = self.datatype(at)
            elif kind == LAYOUT:
                # Version 3, class 1: in one piece.
                if (self.number(at, 1), self.number(at + 1, 1)) != (3, 1):
                    raise ValueError("a dataset that is not stored in one piece")
                place = self.number(at + 2, 8)
            elif kind == ATTRIBUTE:
                name, value = self.attribute(at)
                item.attributes[name] = value
        if place is not None:
            item.values = self.array(self.base + place, dims, dtype)
        return item

    def tree(self, address, names):
        """(name, address of the header) of the entries below a node of a group's B-tree."""
        at = self.signed(address, b"TREE")
        if self.number(at + 4, 1) != 0:
            raise ValueError("a B-tree of another kind than a group's")
        level, used = self.number(at + 5, 1), self.number(at + 6, 2)
        for child in range(used):
            # Keys (8 bytes) and children take turns, a key first.
            below = self.number(at + 24 + 8 + 16 * child, 8)
            if level:
                yield from self.tree(below, names)
                continue
            table = self.signed(below, b"SNOD")
            for entry in range(self.number(table + 6, 2)):
                place = table + 8 + 40 * entry
                if self.number(place + 16, 4) == 2:
                    raise ValueError("a symbolic link")
                yield self.text(names + self.number(place, 8)), self.number(place + 8, 8)

    def text(self, at):
        """Text up to a zero, of less than 4 KB."""
        return self.data[at : at + 4096].tobytes().split(b"\0", 1)[0].decode()

    def dataspace(self, at):
        """The dimensions; none for a single value."""
        version, rank = self.number(at, 1), self.number(at + 1, 1)
        start = at + {1: 8, 2: 4}[version]
        return [self.number(start + 8 * axis, 8) for axis in range(rank)]

    def datatype(self, at):
        """(class, size, numpy's type): the type is None for text."""
        kind, bits = self.number(at, 1) & 0xF, self.number(at + 1, 1)
        size = self.number(at + 4, 4)
        if kind in (STRING, VARIABLE):
            if kind == VARIABLE and bits & 0xF != 1:
                raise ValueError("a sequence of variable length that is not text")
            return kind, size, None
        if kind == FLOAT and bits & 1 == 0 and size in (2, 4, 8):
            return kind, size, np.dtype(f"<f{size}")
        if kind == FIXED and bits & 1 == 0 and size in (1, 2, 4, 8):
            return kind, size, np.dtype(f"<{'i' if bits & 8 else 'u'}{size}")
        raise ValueError(f"values of class {kind} with {size} bytes")

    def array(self, at, dims, datatype):
        _, size, dtype = datatype
        if dtype is None:
            return None
        count = int(np.prod(dims, dtype=object)) if dims else 1
        return np.frombuffer(self.bytes(at, count * size), dtype).reshape(dims)

    def attribute(self, at):
        """(name, value) of an attribute message: text, a list of texts, or an array."""
        version = self.number(at, 1)
        if version not in (1, 2, 3):
            raise ValueError(f"an attribute of version {version}")
        sizes = [self.number(at + n, 2) for n in (2, 4, 6)]
        # Version 1 pads each part to 8 bytes; version 3 has the name's encoding in front of it.
        room = [-(-n // 8) * 8 for n in sizes] if version == 1 else sizes
        name = at + (9 if version == 3 else 8)
        kind, space = name + room[0], name + room[0] + room[1]
        value = space + room[2]
        datatype, dims = self.datatype(kind), self.dataspace(space)
        label = self.text(name)
        if datatype[2] is not None:
            return label, self.array(value, dims, datatype)
        count = int(np.prod(dims, dtype=object)) if dims else 1
        if count > MOST_NODES:
            raise ValueError(f"{count} texts in an attribute")
        texts = []
        for place in range(value, value + count * datatype[1], datatype[1]):
            if datatype[0] == STRING:
                raw = self.bytes(place, datatype[1])
            else:
                # Length, then the address of a global heap and a number in it.
                raw = self.heap(*(self.number(place + n, w) for n, w in ((4, 8), (12, 4))))
                raw = raw[: self.number(place, 4)]
            texts.append(raw.rstrip(b"\0").decode())
        return label, texts if dims else texts[0]

    def heap(self, address, index):
        """An object's bytes in a global heap collection."""
        start = self.signed(address, b"GCOL")
        at, end = start + 16, start + self.number(start + 8, 8)
        while at + 16 <= end:
            found, size = self.number(at, 2), self.number(at + 8, 8)
            if found == index:
                return self.bytes(at + 16, size)
            if found == 0:
                break
            at += 16 + -(-size // 8) * 8
        raise ValueError(f"no object {index} in the global heap at {start}")
