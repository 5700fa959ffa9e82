#!/usr/bin/env python3
"""Makes fixtures/digits: 1,000 handwritten digits as a folder of PNG images per class.

From: the test part of "Optical Recognition of Handwritten Digits" (E. Alpaydin and C. Kaynak,
UCI Machine Learning Repository, https://doi.org/10.24432/C50P49), as scikit-learn's wheel ships
it: 1,797 grey images of 8 x 8 pixels with values 0 to 16.
Licence of the data: CC BY 4.0 (the UCI repository's); of scikit-learn: BSD 3-Clause.

What is done to them: of each class 100 images are taken, evenly spaced over the file; the values
are scaled to 0..255 (ink is white); the images are enlarged to 32 x 32 by a bilinear filter. A
file is named for the image's row in the source.

    python3 tools/digits.py --out fixtures/digits
"""

import argparse
import gzip
from pathlib import Path

import numpy as np

from common import ROOT, refuse_filled, resize, write_images
from packages import read_from_wheel

SOURCE = "sklearn/datasets/data/digits.csv.gz"
SOURCE_SHA256 = "09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22"
FULL_INK = 16


def read_digits(table):
    """The images (N x 8 x 8, 0..=16) and labels of scikit-learn's table."""
    rows = np.loadtxt(gzip.decompress(table).decode().splitlines(), delimiter=",", dtype=np.int64)
    return rows[:, :-1].reshape(-1, 8, 8), rows[:, -1]


def pick(labels, per_class):
    """The rows to keep: `per_class` of each class, evenly spaced over the file."""
    kept = []
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        if len(rows) < per_class:
            raise SystemExit(f"class {label} has {len(rows)} images, {per_class} are asked for")
        kept.extend(rows[np.arange(per_class) * len(rows) // per_class])
    return np.array(kept)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "fixtures/digits")
    parser.add_argument("--per-class", type=int, default=100)
    parser.add_argument("--side", type=int, default=32, help="side of the images, in pixels")
    args = parser.parse_args()

    refuse_filled(args.out)
    images, labels = read_digits(read_from_wheel("scikit-learn", SOURCE, SOURCE_SHA256))
    rows = pick(labels, args.per_class)
    pixels = np.rint(images[rows] * (255 / FULL_INK)).astype(np.uint8)
    names = [f"{labels[row]}/{row:04}" for row in rows]
    write_images(args.out, names, resize(pixels, args.side))
    print(f"{len(rows)} images in {args.out}")


if __name__ == "__main__":
    main()
