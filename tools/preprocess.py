#!/usr/bin/env python3
"""Measures how surely the preprocessing of a model is found by the statistics that its first normalisation layers store.

    python3 tools/preprocess.py measure mobilenet_v1.onnx:signed more.onnx:unit-bgr --data PHOTOS
    python3 tools/preprocess.py train --data PHOTOS --out NETS

`measure` draws sets of 1 to 32 photos, 300 of each size, and prints for each how many times farther the nearest other
scale is than the right one, and the other order of colours than the right one: the median, and the least, which is below
1 where the wrong one is nearer. The distance is that of `src/classifier/witness/statistics.rs`. `train` makes networks
to measure: two architectures, each under every preset in both orders of colours, named by these.

Needs numpy, onnx, onnxruntime and Pillow; `train` PyTorch and torchvision.
"""

import argparse
import pathlib

import numpy as np
from PIL import Image

LAYERS = 4
SETS = 300
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
# Scale, mean and standard deviation of red, green and blue.
PRESETS = {
    "unit": (1 / 255, [0] * 3, [1] * 3),
    "signed": (1 / 255, [0.5] * 3, [0.5] * 3),
    "imagenet": (1 / 255, MEAN, STD),
    "caffe": (1, [123.68, 116.779, 103.939], [1] * 3),
    "raw": (1, [0] * 3, [1] * 3),
}


def files(data):
    return sorted(p for p in data.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png"))


def pixels(paths, side):
    images = (Image.open(p).convert("RGB").resize((side, side), Image.BILINEAR) for p in paths)
    return np.stack([np.asarray(image) for image in images])


def written(images, scale, order):
    factor, mean, std = PRESETS[scale]
    values = (images.astype(np.float32) * factor - np.float32(mean)) / np.float32(std)
    values = values[..., ::-1] if order == "bgr" else values
    return np.ascontiguousarray(values.transpose(0, 3, 1, 2), np.float32)


def parted(name):
    """Scale and order of a preset's name."""
    scale, _, order = name.partition("-")
    return scale, order or ("bgr" if scale == "caffe" else "rgb")


def moments(path, paths):
    """For each way of scaling, mean and mean square of each image and channel before the first normalisations, and
    what these store."""
    import onnx
    import onnxruntime
    from onnx import numpy_helper

    model = onnx.load(path)
    graph = model.graph
    tensors = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            tensors[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    norms = [n for n in graph.node if n.op_type == "BatchNormalization"][:LAYERS]
    needed, kept = {n.input[0] for n in norms}, []
    for node in reversed(graph.node):
        if needed & set(node.output):
            kept.append(node)
            needed.update(node.input)
    del graph.node[:], graph.output[:]
    graph.node.extend(reversed(kept))
    graph.output.extend(onnx.ValueInfoProto(name=n.input[0]) for n in norms)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    fed = session.get_inputs()[0]
    images = pixels(paths, fed.shape[2])
    seen = {}
    for scale in PRESETS:
        for order in ("rgb", "bgr"):
            values = written(images, scale, order)
            outs = [session.run(None, {fed.name: values[i : i + 4]}) for i in range(0, len(values), 4)]
            layers = [np.concatenate(parts).astype(np.float64) for parts in zip(*outs)]
            seen[scale, order] = [(x.mean((2, 3)), (x * x).mean((2, 3))) for x in layers]
    epsilon = lambda n: next((a.f for a in n.attribute if a.name == "epsilon"), 1e-5)
    return seen, [(tensors[n.input[3]], tensors[n.input[4]], epsilon(n)) for n in norms]


def distance(seen, stored, chosen):
    layers = []
    for (means, squares), (mean, var, epsilon) in zip(seen, stored):
        centre = means[chosen].mean(0)
        one = np.maximum(squares[chosen].mean(0) - centre**2, 0) + epsilon
        other = var + epsilon
        apart = (centre - mean) ** 2 * (1 / one + 1 / other) / 4
        layers.append(np.log1p((one / other + other / one - 2) / 4 + apart).mean())
    return np.mean(layers)


def measure(models, data):
    draw = np.random.default_rng(0)
    every = files(data)
    paths = [every[i] for i in draw.permutation(len(every))[:80]]
    print("| model | images | other scale / right: median, least | other order / right: median, least |")
    print("| --- | --- | --- | --- |")
    for model in models:
        path, _, name = model.rpartition(":")
        scale, order = parted(name)
        seen, stored = moments(path, paths)
        for count in (1, 2, 4, 8, 16, 32):
            scales, orders = [], []
            for _ in range(SETS):
                chosen = draw.choice(len(paths), count, replace=False)
                far = {key: distance(value, stored, chosen) for key, value in seen.items()}
                right = min(far[scale, "rgb"], far[scale, "bgr"])
                scales.append(min(d for (s, _), d in far.items() if s != scale) / right)
                orders.append(far[scale, "bgr" if order == "rgb" else "rgb"] / far[scale, order])
            shown = [f"{np.median(r):.1f}, {min(r):.2f}" for r in (scales, orders)]
            print(f"| {pathlib.Path(path).stem} | {count} | {shown[0]} | {shown[1]} |", flush=True)


def vgg(classes):
    from torch import nn

    layers, channels = [], 3
    for width in (16, 32, 48, 64):
        layers += [nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2)]
        channels = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


def resnet(classes):
    from torchvision.models import resnet

    return resnet.ResNet(resnet.BasicBlock, [1] * 4, num_classes=classes)


def train(data, out, side=64):
    import torch

    paths = files(data)[::3]
    classes = sorted({p.parent.name for p in paths})
    labels = torch.tensor([classes.index(p.parent.name) for p in paths])
    images = pixels(paths, side)
    out.mkdir(parents=True, exist_ok=True)
    for scale in PRESETS:
        for order in ("rgb", "bgr"):
            values = torch.tensor(written(images, scale, order))
            for make, epochs in ((vgg, 3), (resnet, 2)):
                torch.manual_seed(1)
                net = make(len(classes)).train()
                optimizer = torch.optim.Adam(net.parameters(), 2e-3)
                for _ in range(epochs):
                    for batch in torch.randperm(len(values)).split(64):
                        optimizer.zero_grad()
                        torch.nn.functional.cross_entropy(net(values[batch]), labels[batch]).backward()
                        optimizer.step()
                torch.onnx.export(
                    net.eval(),
                    values[:1],
                    str(out / f"{make.__name__}-{scale}-{order}.onnx"),
                    input_names=["x"],
                    dynamic_axes={"x": {0: "N"}},
                    opset_version=17,
                    dynamo=False,
                    do_constant_folding=False,
                    training=torch.onnx.TrainingMode.PRESERVE,
                )
                print(make.__name__, scale, order, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("measure", "train"):
        command = commands.add_parser(name)
        command.add_argument("--data", type=pathlib.Path, required=True)
        if name == "measure":
            command.add_argument("models", nargs="+", metavar="MODEL:PRESET")
        else:
            command.add_argument("--out", type=pathlib.Path, required=True)
    args = parser.parse_args()
    if args.command == "measure":
        measure(args.models, args.data)
    else:
        train(args.data, args.out)


if __name__ == "__main__":
    main()
