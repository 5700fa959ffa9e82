"""Writes JPEG files as no common encoder does: any sampling factors, any order of scans.

Source: ITU-T T.81. Pillow writes interleaved scans of three samplings only; a decoder has to be held
against the rest as well. Speed does not matter here, nor does size: Huffman codes all have one length.
"""

import struct

import numpy as np

ZIGZAG = sorted(range(64), key=lambda i: (s := i // 8 + i % 8, (i % 8, i // 8)[s % 2]))
LUMA = np.array([
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
])  # fmt: skip


def ycc(rgb):
    """JFIF's luma and chroma of RGB pixels."""
    r, g, b = np.moveaxis(rgb.astype(float), -1, 0)
    y = 0.299 * r + 0.587 * g + 0.114 * b
    return np.stack([y, (b - y) / 1.772 + 128, (r - y) / 1.402 + 128], -1)


def segment(marker, payload=b""):
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


class Bits:
    """Huffman-coded bits, with a zero behind each byte of ones."""

    def __init__(self):
        self.text = []

    def put(self, value, count):
        if count:
            self.text.append(format(value & (1 << count) - 1, f"0{count}b"))

    def bytes(self):
        text = "".join(self.text)
        text += "1" * (-len(text) % 8)
        raw = int(text or "0", 2).to_bytes(len(text) // 8, "big")
        self.text = []
        return raw.replace(b"\xff", b"\xff\x00")


class Jpeg:
    """A picture (H x W x components) as quantised coefficients, and the segments written of it.

    `samplings` has a pair (horizontal, vertical) for each component, `quality` divides the luma table.
    """

    DC = list(range(16))
    # Values of up to 14 bits behind up to 15 zeros, and the end of a block.
    AC = [0x00, 0xF0] + [run << 4 | size for run in range(16) for size in range(1, 11)]

    def __init__(self, picture, samplings, quality=2.0, bits=8, ids=(1, 2, 3, 4)):
        self.height, self.width, count = picture.shape
        self.samplings, self.bits, self.ids = samplings, bits, ids[:count]
        self.h = max(s[0] for s in samplings)
        self.v = max(s[1] for s in samplings)
        self.table = np.clip(LUMA / quality, 1, 255).astype(int)
        self.restart = 0
        self.blocks, self.sizes = [], []
        for c, (h, v) in enumerate(samplings):
            width, height = -(-self.width * h // self.h), -(-self.height * v // self.v)
            self.sizes.append((-(-width // 8), -(-height // 8)))
            # Interleaved scans have whole minimum coded units.
            across = -(-self.width // (8 * self.h)) * h
            down = -(-self.height // (8 * self.v)) * v
            self.blocks.append(self.transform(picture[..., c], h, v, across, down))

    def transform(self, plane, h, v, across, down):
        """The quantised blocks (down x across x 64, in zigzag order) of a component."""
        full = np.pad(plane, ((0, 8 * self.v * down // v - self.height),
                              (0, 8 * self.h * across // h - self.width)), "edge")  # fmt: skip
        small = full.reshape(8 * down, self.v // v, 8 * across, self.h // h).mean((1, 3))
        level = small - (1 << self.bits - 1)
        i = np.arange(8)
        basis = np.cos((2 * i[None] + 1) * i[:, None] * np.pi / 16) / 2
        basis[0] /= np.sqrt(2)
        blocks = level.reshape(down, 8, across, 8).transpose(0, 2, 1, 3)
        coefficients = np.einsum("ui,abij,vj->abuv", basis, blocks, basis).reshape(down, across, 64)
        return np.rint(coefficients / self.table).astype(int)[..., ZIGZAG]

    def start(self, frame=0xC0, adobe=None, between=b""):
        """Everything before the first scan."""
        out = b"\xff\xd8"
        if adobe is not None:
            out += segment(0xEE, b"Adobe" + struct.pack(">HHHB", 100, 0, 0, adobe))
        out += segment(0xDB, b"\x00" + bytes(self.table[ZIGZAG].tolist()))
        frame_text = struct.pack(">BHHB", self.bits, self.height, self.width, len(self.ids))
        for name, (h, v) in zip(self.ids, self.samplings, strict=True):
            frame_text += bytes([name, h << 4 | v, 0])
        out += segment(frame, frame_text) + between
        for kind, symbols in ((0x00, self.DC), (0x10, self.AC)):
            length = len(symbols).bit_length()
            counts = bytes(len(symbols) * (n == length) for n in range(1, 17))
            out += segment(0xC4, bytes([kind]) + counts + bytes(symbols))
        if self.restart:
            out += segment(0xDD, struct.pack(">H", self.restart))
        return out

    def symbol(self, bits, symbols, value):
        bits.put(symbols.index(value), len(symbols).bit_length())

    def value(self, bits, value):
        size = int(abs(value)).bit_length()
        bits.put(int(value) if value > 0 else int(value) - 1, size)

    def block(self, bits, block, before, first, last):
        """The coefficients first ..= last; `before` is the DC value to differ from."""
        if first == 0:
            difference = block[0] - before
            self.symbol(bits, self.DC, int(abs(difference)).bit_length())
            self.value(bits, difference)
            first = 1
        zeros = 0
        if last == 0:
            return
        for value in block[first : last + 1]:
            if value == 0:
                zeros += 1
                continue
            for _ in range(zeros // 16):
                self.symbol(bits, self.AC, 0xF0)
            self.symbol(bits, self.AC, zeros % 16 << 4 | int(abs(value)).bit_length())
            self.value(bits, value)
            zeros = 0
        if zeros:
            self.symbol(bits, self.AC, 0)

    def units(self, components):
        """The minimum coded units of a scan: lists of (component, row, column)."""
        if len(components) == 1:
            c = components[0]
            across, down = self.sizes[c]
            return [[(c, y, x)] for y in range(down) for x in range(across)]
        across, down = -(-self.width // (8 * self.h)), -(-self.height // (8 * self.v))
        return [
            [(c, y * v + j, x * h + i)
             for c in components for h, v in [self.samplings[c]] for j in range(v) for i in range(h)]
            for y in range(down) for x in range(across)
        ]  # fmt: skip

    def scan(self, components, first=0, last=63):
        """One scan of some components, of all coefficients or (progressive) of some."""
        head = bytes([len(components)])
        head += b"".join(bytes([self.ids[c], 0]) for c in components) + bytes([first, last, 0])
        out, bits = segment(0xDA, head), Bits()
        before = dict.fromkeys(components, 0)
        units = self.units(components)
        for number, unit in enumerate(units):
            if self.restart and number and number % self.restart == 0:
                out += bits.bytes() + bytes([0xFF, 0xD0 + (number // self.restart - 1) % 8])
                before = dict.fromkeys(components, 0)
            for c, y, x in unit:
                block = self.blocks[c][y, x]
                self.block(bits, block, before[c], first, last)
                before[c] = block[0]
        return out + bits.bytes()

    def file(self, scans, **start):
        """The whole file; `scans` are the arguments of `scan`."""
        return self.start(**start) + b"".join(self.scan(*s) for s in scans) + b"\xff\xd9"
