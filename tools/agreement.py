"""Holds changed forms of a classifier against it, on pictures that none of them says it has seen.

Prints for each the relative error of its outputs (the root of the sum of squared differences over that of the original's
squares) and for which share of pictures the first class is the original's. Pixels go in from -1 to 1, resized by Pillow.

Usage: python tools/agreement.py ORIGINAL FOLDER MODEL...   (needs numpy, onnx, onnxruntime and pillow)
"""
import base64
import hashlib
import json
import pathlib
import random
import sys

import numpy as np
import onnx
import onnxruntime
from PIL import Image

PICTURES, BATCH = 400, 20


def seen(path):
    """The digests of the pictures that a model's metadata name: the first bytes of their files' SHA-256."""
    for entry in onnx.load(path, load_external_data=False).metadata_props:
        if entry.key == "ftsurgery.data":
            digests = base64.b64decode(json.loads(entry.value)["digests"])
            return {digests[i : i + 6] for i in range(0, len(digests), 6)}
    return set()


def outputs(path, pictures):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0]
    channels_last = given.shape[-1] == 3
    size = given.shape[1:3] if channels_last else given.shape[2:4]
    rows = []
    for start in range(0, len(pictures), BATCH):
        batch = [picture.resize(size[::-1], Image.BILINEAR) for picture in pictures[start : start + BATCH]]
        batch = np.stack([np.asarray(picture, np.float32) for picture in batch]) / 127.5 - 1
        batch = batch if channels_last else batch.transpose(0, 3, 1, 2)
        rows.append(session.run(None, {given.name: np.ascontiguousarray(batch)})[0])
    return np.concatenate(rows).reshape(len(pictures), -1)


original, folder, *models = sys.argv[1:]
known = set().union(*(seen(path) for path in [original, *models]))
files = sorted(path for path in pathlib.Path(folder).rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
random.Random(1).shuffle(files)
new = (path for path in files if hashlib.sha256(path.read_bytes()).digest()[:6] not in known)
pictures = [Image.open(path).convert("RGB") for path, _ in zip(new, range(PICTURES))]
wanted = outputs(original, pictures)
for path in models:
    made = outputs(path, pictures)
    error = np.linalg.norm(made - wanted) / np.linalg.norm(wanted)
    same = np.mean(made.argmax(1) == wanted.argmax(1))
    print(f"{path}: relative error {error:.4f}, the same class for {100 * same:.1f} % of {len(pictures)} pictures")
