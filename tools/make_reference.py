"""Writes fixtures/reference/NAME: a small network and training steps of PyTorch's on it, five by each recipe.

    model.onnx        the network as PyTorch exports it, before the first step
    reference.npz     x [5, B, 3, S, S] and y [5, B]: a batch for each step
                      loss0 and grad/PARAM: loss and gradients of the first batch
                      OPT/loss [5] and OPT/param/PARAM for OPT of sgd (rate 0.05, momentum 0.9,
                      weight decay 1e-4), adam (1e-3) and adamw (1e-3, weight decay 1e-2): the loss
                      before each step, and the parameters after the last

    recipes.npz       of convnet: further trajectories on the same batches, from the same start
                      targets [5, B, C] and classes [5, B, C]: floats, and 0 or 1
                      RECIPE/loss [5] and RECIPE/param/PARAM for RECIPE of
                      batch   adamw (1e-3, weight decay 1e-2); BatchNormalization on the statistics of
                              the batch, gradients clipped to a norm of 0.5, labels smoothed by 0.1,
                              classes weighted by WEIGHTS (the mean over samples, not over weights);
                              also batch/running/NAME, the running statistics, and
                              batch/average/NAME, averages of parameters and statistics of decay 0.9
                              (of the first steps (1 + t) / (10 + t), t steps being done before)
                      mse     sgd (0.05, no momentum) on the mean squared difference from targets
                      bce     adam (1e-3, weight decay 1e-2) on the binary cross-entropy of classes,
                              smoothed by 0.1, classes weighted by WEIGHTS (`pos_weight`)

But for `batch`, BatchNormalization keeps to its stored statistics. Every parameter is drawn anew, so that no two are
equal: the exporter writes equal tensors once. Same numbers in every run.

Usage: python tools/make_reference.py   (needs numpy, onnx, onnxscript and torch)
"""
import math
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn
from torch.nn import functional as f

OUT = Path(__file__).resolve().parent.parent / "fixtures" / "reference"
STEPS, BATCH, SIDE, CLASSES = 5, 4, 16, 5
WEIGHTS, SMOOTHING, CLIP, DECAY = [0.5, 1.0, 2.0, 1.5, 0.25], 0.1, 0.5, 0.9
OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=1e-4),
    "adam": lambda p: torch.optim.Adam(p, lr=1e-3),
    "adamw": lambda p: torch.optim.AdamW(p, lr=1e-3, weight_decay=1e-2),
}


class Dense(nn.Module):
    """x W + b, which becomes MatMul and Add whatever the exporter does to `nn.Linear`."""

    def __init__(self, inputs, outputs, bias=True):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(inputs, outputs))
        self.bias = nn.Parameter(torch.empty(outputs)) if bias else None

    def forward(self, x):
        x = x @ self.weight
        return x if self.bias is None else x + self.bias


class Convnet(nn.Module):
    """Strided, depthwise and pointwise convolutions with BatchNormalization, a residual, a gate."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False)
        self.norm2 = nn.BatchNorm2d(8)
        self.reduce = nn.Conv2d(8, 4, 1)
        self.expand = nn.Conv2d(4, 8, 1)
        self.last = nn.Conv2d(8, 16, 3, stride=2, padding=1)
        self.classifier = nn.Linear(16, CLASSES)

    def forward(self, x):
        x = f.relu(self.norm1(self.stem(x)))
        y = f.hardswish(self.norm2(self.depthwise(x)))
        gate = f.hardsigmoid(self.expand(f.relu(self.reduce(y.mean((2, 3), keepdim=True)))))
        x = f.max_pool2d(f.relu(self.last(x + y * gate)), 2)
        return self.classifier(torch.flatten(f.adaptive_avg_pool2d(x, 1), 1))


class Tokens(nn.Module):
    """A ConvNeXt block and an encoder of words: what belongs to no convolution or dense layer has
    parameters, too (scales of a layer, a class token, embeddings of positions)."""

    def __init__(self, width=12, words=16):
        super().__init__()
        self.stem = nn.Conv2d(3, width, 2, stride=2)
        self.mix = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.norm1 = nn.LayerNorm(width)
        self.grow, self.shrink = Dense(width, 2 * width), Dense(2 * width, width)
        self.gamma = nn.Parameter(torch.empty(width))
        self.patch = nn.Conv2d(width, width, 2, stride=2)
        self.token = nn.Parameter(torch.empty(1, 1, width))
        self.position = nn.Parameter(torch.empty(1, words + 1, width))
        self.norm2 = nn.LayerNorm(width)
        self.query, self.value = Dense(width, width), Dense(width, width)
        # Softmax takes a bias of the keys away again: its gradient would be rounding.
        self.key = Dense(width, width, bias=False)
        self.norm3 = nn.LayerNorm(width)
        self.classifier = nn.Linear(width, CLASSES)

    def forward(self, x):
        x = self.stem(x)
        y = self.norm1(self.mix(x).permute(0, 2, 3, 1))
        x = x + (self.gamma * self.shrink(f.gelu(self.grow(y)))).permute(0, 3, 1, 2)
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], dim=1) + self.position
        y = self.norm2(x)
        scores = self.query(y) @ self.key(y).transpose(1, 2) / math.sqrt(y.shape[-1])
        x = x + torch.softmax(scores, dim=-1) @ self.value(y)
        return self.classifier(self.norm3(x)[:, 0])


@torch.no_grad()
def draw(network, generator):
    """Gives every parameter and statistic values of its own."""
    for name, value in network.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        noise = torch.randn(value.shape, generator=generator)
        if name.endswith("running_var"):
            value.copy_(0.5 + noise.abs())
        elif value.dim() > 1:
            inputs = value[0].numel() if value.dim() == 4 else value.shape[0]
            value.copy_(noise / math.sqrt(inputs))
        else:
            one = "norm" in name and name.endswith("weight") or name == "gamma"
            value.copy_(float(one) + 0.2 * noise)


def write(name, network, generator, older):
    draw(network, generator)
    network.eval()
    start = {key: value.clone() for key, value in network.state_dict().items()}
    x = torch.randn(STEPS, BATCH, 3, SIDE, SIDE, generator=generator)
    y = torch.randint(CLASSES, (STEPS, BATCH), generator=generator)
    folder = OUT / name
    folder.mkdir(parents=True, exist_ok=True)
    names = {"input_names": ["image"], "output_names": ["logits"], "verbose": False}
    if older:  # The newer exporter folds BatchNormalization away.
        torch.onnx.export(
            network, (x[0],), folder / "model.onnx", dynamo=False, opset_version=17,
            training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False,
            dynamic_axes={"image": {0: "N"}, "logits": {0: "N"}}, **names,
        )
        model = onnx.load(folder / "model.onnx")
    else:
        dims = ({0: torch.export.Dim("N")},)
        model = torch.onnx.export(network, (x[0],), dynamic_shapes=dims, **names).model_proto
    # Where in which file each node was written: of this machine, and larger than the network.
    for entry in [model, model.graph, *model.graph.node, *model.graph.value_info,
                  *model.graph.input, *model.graph.output, *model.graph.initializer]:
        entry.ClearField("metadata_props")
        entry.ClearField("doc_string")
    onnx.save(model, folder / "model.onnx")

    arrays = {"x": x.numpy(), "y": y.numpy()}
    loss = f.cross_entropy(network(x[0]), y[0])
    loss.backward()
    arrays["loss0"] = loss.detach().numpy()
    for key, value in network.named_parameters():
        arrays[f"grad/{key}"] = value.grad.numpy().copy()
    for label, optimizer in OPTIMIZERS.items():
        network.load_state_dict(start)
        steps = optimizer(network.parameters())
        losses = []
        for images, labels in zip(x, y):
            steps.zero_grad()
            loss = f.cross_entropy(network(images), labels)
            loss.backward()
            steps.step()
            losses.append(loss.item())
        arrays[f"{label}/loss"] = np.array(losses, dtype=np.float32)
        for key, value in network.named_parameters():
            arrays[f"{label}/param/{key}"] = value.detach().numpy().copy()
    np.savez_compressed(folder / "reference.npz", **arrays)
    return start, x, y


def recipes(name, network, start, x, y):
    generator = torch.Generator().manual_seed(12)
    targets = torch.randn(STEPS, BATCH, CLASSES, generator=generator)
    classes = torch.randint(2, (STEPS, BATCH, CLASSES), generator=generator).float()
    weights = torch.tensor(WEIGHTS)
    arrays = {"targets": targets.numpy(), "classes": classes.numpy()}

    def smoothed(logits, step):
        one_hot = f.one_hot(y[step], CLASSES) * (1 - SMOOTHING) + SMOOTHING / CLASSES
        return -(weights * one_hot * f.log_softmax(logits, 1)).sum() / BATCH

    def binary(logits, step):
        wanted = classes[step] * (1 - SMOOTHING) + SMOOTHING / 2
        return f.binary_cross_entropy_with_logits(logits, wanted, pos_weight=weights)

    def trajectory(label, optimizer, loss_of, trains=False):
        network.load_state_dict(start)
        network.train(trains)
        steps = optimizer(network.parameters())
        kept = lambda: {k: v for k, v in network.state_dict().items() if not k.endswith("tracked")}
        averages = {key: value.clone() for key, value in kept().items()}
        losses = []
        for step, images in enumerate(x):
            steps.zero_grad()
            loss = loss_of(network(images), step)
            loss.backward()
            if trains:
                nn.utils.clip_grad_norm_(network.parameters(), CLIP)
            steps.step()
            decay = min(DECAY, (1 + step) / (10 + step))
            for key, value in kept().items():
                averages[key] += (1 - decay) * (value - averages[key])
            losses.append(loss.item())
        arrays[f"{label}/loss"] = np.array(losses, dtype=np.float32)
        for key, value in kept().items():
            kind = "running" if ".running_" in key else "param"
            if trains or kind == "param":
                arrays[f"{label}/{kind}/{key}"] = value.detach().numpy().copy()
            if trains:
                arrays[f"{label}/average/{key}"] = averages[key].detach().numpy().copy()

    adamw = lambda p: torch.optim.AdamW(p, lr=1e-3, weight_decay=1e-2)
    trajectory("batch", adamw, smoothed, trains=True)
    trajectory("mse", lambda p: torch.optim.SGD(p, lr=0.05), lambda z, i: f.mse_loss(z, targets[i]))
    trajectory("bce", lambda p: torch.optim.Adam(p, lr=1e-3, weight_decay=1e-2), binary)
    np.savez_compressed(OUT / name / "recipes.npz", **arrays)


def main():
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(11)
    convnet = Convnet()
    start, x, y = write("convnet", convnet, generator, older=True)
    recipes("convnet", convnet, start, x, y)
    write("tokens", Tokens(), generator, older=False)


if __name__ == "__main__":
    main()
