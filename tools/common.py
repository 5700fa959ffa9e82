"""What the recipes in this folder share: image folders."""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent


def write_images(folder, names, images):
    """Writes grey images (N x H x W, uint8) as `folder/NAME.png`, one for each of `names`."""
    for name, image in zip(names, images, strict=True):
        path = folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path, optimize=True)


def refuse_filled(folder):
    """Stops the program when `folder` holds anything: images of two runs must not mix."""
    if folder.exists() and any(folder.iterdir()):
        sys.exit(f"{folder} is not empty: remove it or choose another folder with --out")


def resize(images, side):
    """Resizes N x H x W uint8 images to N x side x side, bilinear."""
    sized = [Image.fromarray(i).resize((side, side), Image.Resampling.BILINEAR) for i in images]
    return np.stack([np.asarray(image) for image in sized])
