#!/usr/bin/env python3
"""Makes a folder of small JPEG images, one sub-folder per class, to see how the tool scales.

    python3 tools/make_image_folder.py OUT --images 100000 --classes 10 --side 96

Each class is a hue with a pattern of its own, disturbed at random from a seed, so that a network learns
the classes and no two images are equal. Needs Pillow.
"""

import argparse
import colorsys
import io
import pathlib
import random

from PIL import Image


def picture(number, classes, side, seed):
    draw = random.Random(f"{seed} {number}")
    kind = random.Random(f"{seed} class {number % classes}")
    hue = kind.random()
    pattern = [kind.random() for _ in range(64)]
    pixels = bytearray()
    for value in pattern:
        strength = min(1.0, max(0.0, value + draw.gauss(0, 0.25)))
        rgb = colorsys.hsv_to_rgb((hue + draw.gauss(0, 0.03)) % 1.0, 0.7, strength)
        pixels += bytes(int(255 * c) for c in rgb)
    coarse = Image.frombytes("RGB", (8, 8), bytes(pixels))
    file = io.BytesIO()
    coarse.resize((side, side), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
    return file.getvalue()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--images", type=int, default=1000, help="in all")
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--side", type=int, default=96, help="pixels")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.out.exists():
        parser.error(f"{args.out} is there already")
    digits = len(str(args.classes - 1))
    for c in range(args.classes):
        (args.out / f"class{c:0{digits}}").mkdir(parents=True)
    for number in range(args.images):
        folder = args.out / f"class{number % args.classes:0{digits}}"
        content = picture(number, args.classes, args.side, args.seed)
        (folder / f"{number:07}.jpg").write_bytes(content)


if __name__ == "__main__":
    main()
