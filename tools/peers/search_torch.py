"""The search of strategy `layers` as a straightforward loop in PyTorch, on the processor.

For each convolution with its BatchNorm: load the network, put the block-wise paper's head on it,
freeze all but that layer and the head, train one epoch by Adam (BatchNorm in evaluation mode), score
the validation part. Images and split are read before the clock starts.

With `--cached` the frozen layers before the trained one are computed once for all trials, as an expert
may write it for a network that is a chain: what a layer is given is what the layer before was given, one
layer on. Maps are channels-last there.
"""

import argparse
import json
import pathlib
import time

import networks
import numpy as np
import torch
from PIL import Image
from torch import nn

RATE = 1e-4


class Tuned(nn.Module):
    """The network without its classifier, and the paper's head on its last feature map."""

    def __init__(self, name, folder, classes, image_size):
        super().__init__()
        self.backbone = networks.load(name, folder)
        with torch.no_grad():
            shape = self.backbone.forward_features(torch.zeros(1, 3, image_size, image_size)).shape
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Linear(shape[1:].numel(), 128),
            nn.Dropout(0.5),
            nn.Linear(128, 64),
            nn.ReLU(),
            nn.Linear(64, classes),
        )

    def forward(self, images):
        return self.head(self.backbone.forward_features(images))


def layers(model):
    """Every convolution with the BatchNorm behind it, from input to output."""
    found = []
    for module in model.backbone.modules():
        if isinstance(module, nn.Conv2d):
            found.append([module])
        elif isinstance(module, nn.BatchNorm2d):
            found[-1].append(module)
    return found


def read(data, names, classes, size):
    """Images [N, 3, size, size] in -1 to 1, and labels."""
    images = np.empty((len(names), 3, size, size), np.float32)
    for image, name in zip(images, names):
        with Image.open(data / name) as file:
            pixels = np.asarray(file.convert("RGB").resize((size, size)), np.float32)
        image[:] = pixels.transpose(2, 0, 1) / 127.5 - 1
    labels = [classes.index(name.split("/")[0]) for name in names]
    return torch.from_numpy(images), torch.tensor(labels)


def chain(model):
    """The backbone's layers from input to output, each with the BatchNorm behind it, as one list of modules."""
    named = {id(module) for layer in layers(model) for module in layer}
    modules = [m for m in model.backbone.modules() if id(m) in named]
    # A BatchNorm of timm has its activation in it.
    found = []
    for module in modules:
        if isinstance(module, nn.Conv2d):
            found.append(nn.Sequential(module))
        else:
            found[-1].append(module)
    return found


def trial(args, place, classes, train, validation):
    """Trains layer `place` and the head; gives the validation accuracy."""
    torch.manual_seed(0)
    model = Tuned(args.model, args.models, classes, args.image_size)
    for parameter in model.backbone.parameters():
        parameter.requires_grad_(False)
    for module in layers(model)[place]:
        for parameter in module.parameters():
            parameter.requires_grad_(True)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=RATE)
    head = model.head
    if args.cached:
        # What is given begins at the trained layer.
        model = nn.Sequential(*chain(model)[place:], head).to(memory_format=torch.channels_last)
    images, labels = train
    head.train()
    for rows in torch.randperm(len(labels)).split(args.batch_size):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(images[rows]), labels[rows])
        loss.backward()
        optimizer.step()
    head.eval()
    images, labels = validation
    with torch.no_grad():
        right = sum(
            (model(images[rows]).argmax(1) == labels[rows]).sum().item()
            for rows in torch.arange(len(labels)).split(16)
        )
    return right / len(labels)


@torch.no_grad()
def ahead(layer, maps):
    """What the next layer is given."""
    return torch.cat([layer(rows) for rows in maps.split(16)])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--models", type=pathlib.Path, required=True)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--split", type=pathlib.Path, required=True)
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--image-size", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--cached", action="store_true", help="compute frozen layers once")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    split = json.loads(args.split.read_text())
    classes = split["classes"]
    parts = [read(args.data, split[p], classes, args.image_size) for p in ("search", "validation")]
    whole = Tuned(args.model, args.models, len(classes), args.image_size)
    count = len(layers(whole))
    if args.cached:
        prefix = nn.Sequential(*chain(whole)).eval().to(memory_format=torch.channels_last)
        with torch.no_grad():
            some = parts[0][0][:2]
            expected = whole.backbone.forward_features(some)
            if not torch.allclose(prefix(some), expected, rtol=1e-3, atol=1e-4 * expected.abs().max().item()):
                raise SystemExit(f"{args.model} is no chain of its convolutions")
        parts = [(maps.contiguous(memory_format=torch.channels_last), labels) for maps, labels in parts]
    start = time.perf_counter()
    accuracies = []
    for place in range(count):
        accuracies.append(trial(args, place, len(classes), *parts))
        if args.cached and place + 1 < count:
            parts = [(ahead(prefix[place], maps), labels) for maps, labels in parts]
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "trials": count, "accuracies": accuracies}))


if __name__ == "__main__":
    main()
