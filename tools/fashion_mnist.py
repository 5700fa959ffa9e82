#!/usr/bin/env python3
"""Writes Fashion-MNIST as two folders of PNG images per class: OUT/train and OUT/test.

From: Debian's package dataset-fashion-mnist (https://github.com/zalandoresearch/fashion-mnist,
(c) 2017 Zalando SE): 60,000 and 10,000 grey images of 28 x 28 pixels in 10 classes. The package
is used where it is installed, else downloaded by apt-get and unpacked without installing it.
Licence of the data: MIT.

The images stay as they are; ftsurgery resizes them to the model's input.

    python3 tools/fashion_mnist.py --out /tmp/fashion-mnist
"""

import argparse
import gzip
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from common import refuse_filled, write_images

PACKAGE = "dataset-fashion-mnist"
FOLDER = Path("usr/share/datasets/fashion-mnist")
PARTS = {"train": "train", "test": "t10k"}
# In the order of the data set's label numbers.
CLASSES = (
    "t-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle-boot",
)


def unpack_package(root):
    """Downloads the Debian package and unpacks its files under `root`."""
    subprocess.run(["apt-get", "download", PACKAGE], cwd=root, check=True)
    (package,) = Path(root).glob(f"{PACKAGE}_*.deb")
    subprocess.run(["dpkg-deb", "--extract", package, root], check=True)


def read_idx(path):
    """A gzipped IDX file of unsigned bytes: two zero bytes, the type (8), the number of axes,
    each axis' length as a big-endian 32-bit number, the values."""
    content = gzip.decompress(path.read_bytes())
    if content[:3] != b"\0\0\x08":
        raise SystemExit(f"{path} is not an IDX file of unsigned bytes")
    axes = content[3]
    shape = np.frombuffer(content, ">u4", count=axes, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape)


def write_part(source, prefix, out):
    """Writes one part of the data set; a file is named for the image's place in the source."""
    images = read_idx(source / f"{prefix}-images-idx3-ubyte.gz")
    labels = read_idx(source / f"{prefix}-labels-idx1-ubyte.gz")
    names = [f"{CLASSES[label]}/{row:05}" for row, label in enumerate(labels)]
    write_images(out, names, images)
    print(f"{len(images)} images in {out}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()

    refuse_filled(args.out)
    with tempfile.TemporaryDirectory() as root:
        source = Path("/") / FOLDER
        if not source.exists():
            unpack_package(root)
            source = Path(root) / FOLDER
        for part, prefix in PARTS.items():
            write_part(source, prefix, args.out / part)


if __name__ == "__main__":
    main()
