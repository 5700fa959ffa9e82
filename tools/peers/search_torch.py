"""The search of strategy `layers` as a straightforward loop in PyTorch, on the processor.

For each convolution with its BatchNorm: load the network, put the block-wise paper's head on it,
freeze all but that layer and the head, train one epoch by Adam (BatchNorm in evaluation mode), score
the validation part. Images and split are read before the clock starts.
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
    images, labels = train
    model.head.train()
    for rows in torch.randperm(len(labels)).split(args.batch_size):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(images[rows]), labels[rows])
        loss.backward()
        optimizer.step()
    model.head.eval()
    images, labels = validation
    with torch.no_grad():
        right = sum(
            (model(images[rows]).argmax(1) == labels[rows]).sum().item()
            for rows in torch.arange(len(labels)).split(16)
        )
    return right / len(labels)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--models", type=pathlib.Path, required=True)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--split", type=pathlib.Path, required=True)
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--image-size", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    split = json.loads(args.split.read_text())
    classes = split["classes"]
    parts = [read(args.data, split[p], classes, args.image_size) for p in ("search", "validation")]
    count = len(layers(Tuned(args.model, args.models, len(classes), args.image_size)))
    start = time.perf_counter()
    accuracies = [trial(args, place, len(classes), *parts) for place in range(count)]
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "trials": count, "accuracies": accuracies}))


if __name__ == "__main__":
    main()
