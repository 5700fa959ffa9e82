#!/usr/bin/env python3
"""What decoding JPEG photos at a reduced scale (DCT scaling, Pillow's `draft`) does to pixels, and what it saves.

    python3 tools/jpeg_scale.py photos --sides 64 96

Prints, for each side: how many photos were decoded at a reduced scale, the largest and the mean difference of a
value in levels of 255, the share of values that differ by more than one level, and milliseconds a photo for
decoding it whole and reduced. Needs numpy and Pillow.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from PIL import Image


def pixels(path: Path, side: int, reduced: bool) -> tuple[np.ndarray, float, tuple[int, int]]:
    """The photo at side × side, the seconds its decoding took, and the size it was decoded at."""
    image = Image.open(path)
    if reduced:
        image.draft("RGB", (side, side))
    start = time.perf_counter()
    image = image.convert("RGB")
    seconds = time.perf_counter() - start
    return np.asarray(image.resize((side, side), Image.BILINEAR)).astype(int), seconds, image.size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path, help="a folder with .jpg files at any depth")
    parser.add_argument("--sides", type=int, nargs="+", default=[64, 96])
    parser.add_argument("--count", type=int, default=200, help="photos that are looked at")
    args = parser.parse_args()
    files = sorted(args.photos.rglob("*.jpg"))
    files = files[:: max(1, len(files) // args.count)][: args.count]
    for side in args.sides:
        differences, whole, less = [], 0.0, 0.0
        for path in files:
            a, seconds_a, size_a = pixels(path, side, False)
            b, seconds_b, size_b = pixels(path, side, True)
            if size_a != size_b:
                differences.append(np.abs(a - b))
                whole, less = whole + seconds_a, less + seconds_b
        if not differences:
            print(f"{side}: none of {len(files)} photos is large enough")
            continue
        count = len(differences)
        print(
            f"{side}: {count} of {len(files)} photos reduced, largest difference {max(d.max() for d in differences)}, "
            f"mean {np.mean([d.mean() for d in differences]):.2f}, "
            f"more than one level {np.mean([(d > 1).mean() for d in differences]):.1%}, "
            f"{whole / count * 1e3:.2f} ms whole, {less / count * 1e3:.2f} ms reduced"
        )


if __name__ == "__main__":
    main()
