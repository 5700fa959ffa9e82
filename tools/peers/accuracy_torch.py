"""Fine-tunes a backbone in PyTorch, on the processor, as people do, and tells what each epoch came to.

    python3 tools/peers/accuracy_torch.py JOB.json

The job is written by accuracy.py: model, split, how pixels become input, and the recipe:

- `probe`: the head alone, logistic regression on the features of the frozen network (L-BFGS), its penalty chosen on
  the validation part;
- `full`: a new linear head and everything, AdamW, a cosine behind a linear warm-up, random resized crops and flips,
  label smoothing; statistics of the batch (`bn` `batch`) or stored ones (`frozen`);
- `probe-full`: the one, then the other.

Photos are decoded once, by as many threads as there are, and kept in memory; the batches to come are cropped while
one is computed. Validation and test see the centre of a photo (short side 1/0.875 of the input). PyTorch runs
channels-last, denormals flushed, the optimizer fused, batch normalisation folded into convolutions where stored
statistics count. It is not compiled (`torch.compile` needs a C++ compiler and minutes).

Prints a line of JSON per epoch and one at the end. Seconds, by the clock and of the processor, are those of the whole
process since it was asked for, import of PyTorch and decoding included, without the looks at the held-out part that
only serve the curve: one of them counts, at the end.
"""

import concurrent.futures
import copy
import json
import math
import pathlib
import platform
import sys
import time

import numpy as np
import onnx_torch
import torch
from PIL import Image, ImageOps
from torch.nn import functional as f

CENTRE = 0.875
RATIO = (3 / 4, 4 / 3)
# Penalties that the probe tries, in observations; from strong to weak, each from where the last ended.
PENALTIES = (1000.0, 100.0, 10.0, 1.0, 0.1)
EVALUATED = 32


class Clock:
    """Seconds since the process was asked for, by the clock and of the processor, less what is left out."""

    def __init__(self, began):
        self.began, self.left_out = began, (0.0, 0.0)

    def now(self):
        wall, processor = time.time() - self.began, time.process_time()
        return wall - self.left_out[0], processor - self.left_out[1]

    def leave_out(self, since):
        """What has passed since `since` does not count; gives it."""
        passed = tuple(b - a for a, b in zip(since, self.now(), strict=True))
        self.left_out = tuple(a + b for a, b in zip(self.left_out, passed, strict=True))
        return passed

    def count(self, passed):
        self.left_out = tuple(a - b for a, b in zip(self.left_out, passed, strict=True))


def centre(image, side):
    """The middle of a photo, its short side brought to the input's over CENTRE first, as torchvision does."""
    short = math.floor(side / CENTRE)
    width, height = image.size
    if width <= height:
        width, height = short, int(short * height / width)
    else:
        width, height = int(short * width / height), short
    left, top = round((width - side) / 2), round((height - side) / 2)
    sized = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(sized.crop((left, top, left + side, top + side)))


def drawn(image, side, area, rng):
    """A random crop of a photo, mirrored or not: torchvision's RandomResizedCrop and RandomHorizontalFlip."""
    width, height = image.size
    box = None
    for _ in range(10):
        pixels = width * height * rng.uniform(*area)
        ratio = math.exp(rng.uniform(math.log(RATIO[0]), math.log(RATIO[1])))
        w, h = round(math.sqrt(pixels * ratio)), round(math.sqrt(pixels / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, top = rng.integers(0, width - w + 1), rng.integers(0, height - h + 1)
            box = (left, top, left + w, top + h)
            break
    if box is None:
        w, h = min(width, round(height * RATIO[1])), min(height, round(width / RATIO[0]))
        box = ((width - w) // 2, (height - h) // 2, (width + w) // 2, (height + h) // 2)
    pixels = np.asarray(image.resize((side, side), Image.Resampling.BILINEAR, box=box))
    return pixels[:, ::-1] if rng.random() < 0.5 else pixels


class Photos:
    """The photos of the split: those that are trained on as they are, all of them as the network is tested."""

    def __init__(self, job, pool):
        self.job, self.pool, self.side = job, pool, job["image_size"]
        split = job["split"]
        classes = split["classes"]
        names = {"validation": split["validation"], "held_out": split["held_out"]}
        names["train"] = [name for part in split["winners_train_on"] for name in split[part]]
        self.labels = {p: torch.tensor([classes.index(n.split("/")[0]) for n in names[p]]) for p in names}
        self.whole, self.tested = [], {}
        crops = job["recipe"]["kind"] != "probe"
        for part, listed in names.items():
            read = list(pool.map(lambda name: self.read(name), listed))
            self.tested[part] = np.stack(list(pool.map(lambda image: centre(image, self.side), read)))
            if part == "train" and crops:
                self.whole = read

    def read(self, name):
        with Image.open(pathlib.Path(self.job["data"]) / name) as file:
            return ImageOps.exif_transpose(file).convert("RGB")

    def input(self, pixels):
        """[N, side, side, 3] bytes as the network's input, channels-last."""
        how = self.job["preprocess"]
        x = torch.from_numpy(np.ascontiguousarray(pixels[..., ::-1] if how["order"] == "bgr" else pixels))
        scale, shift = how["scale"] / np.array(how["std"]), np.array(how["mean"]) / np.array(how["std"])
        x = x.float() * torch.tensor(scale, dtype=torch.float32) - torch.tensor(shift, dtype=torch.float32)
        return x.permute(0, 3, 1, 2)

    def batches(self, epoch):
        """Inputs and labels of an epoch, in random order, the next batch made while one is used."""
        recipe, seed = self.job["recipe"], self.job["seed"]
        labels, size = self.labels["train"], recipe["batch"]
        order = np.random.default_rng([seed, epoch]).permutation(len(labels))
        groups = [order[i : i + size] for i in range(0, len(order), size)]
        # A batch of one has no variance.
        groups = [g for g in groups if len(g) > 1]

        def one(index):
            rng = np.random.default_rng([seed, epoch, int(index)])
            return drawn(self.whole[index], self.side, (recipe["area"], 1.0), rng)

        coming = [self.pool.submit(one, i) for i in groups[0]]
        for place, group in enumerate(groups):
            made = np.stack([future.result() for future in coming])
            if place + 1 < len(groups):
                coming = [self.pool.submit(one, i) for i in groups[place + 1]]
            yield self.input(made), labels[torch.from_numpy(group)]


@torch.inference_mode()
def outputs(photos, part, function):
    """What a function gives for the photos of a part, as they are tested."""
    pixels = photos.tested[part]
    return torch.cat([function(photos.input(pixels[i : i + EVALUATED])) for i in range(0, len(pixels), EVALUATED)])


def score(logits, labels):
    """Accuracy and loss."""
    return (logits.argmax(1) == labels).float().mean().item(), f.cross_entropy(logits, labels).item()


def solve(features, labels, classes, penalty, weight, bias):
    """Multinomial logistic regression by L-BFGS; `weight` and `bias` are where it begins and what it gives."""
    weight, bias = weight.clone().requires_grad_(), bias.clone().requires_grad_()
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=500, line_search_fn="strong_wolfe", tolerance_grad=1e-5)

    def closure():
        optimizer.zero_grad()
        loss = f.cross_entropy(f.linear(features, weight, bias), labels)
        loss = loss + penalty / (2 * len(labels)) * weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return weight.detach(), bias.detach()


def probe(network, photos):
    """Solves the head on the frozen features."""
    found = {part: outputs(photos, part, network.features) for part in ("train", "validation")}
    # Features of mean 0 and deviation 1 are what a penalty is the same for.
    mean, deviation = found["train"].mean(0), found["train"].std(0).clamp_min(1e-6)
    classes = network.head.out_features
    weight, bias = torch.zeros(classes, len(mean)), torch.zeros(classes)
    best = None
    for penalty in PENALTIES:
        normal = ((found["train"] - mean) / deviation).clone()
        weight, bias = solve(normal, photos.labels["train"], classes, penalty, weight, bias)
        logits = f.linear((found["validation"] - mean) / deviation, weight, bias)
        accuracy, loss = score(logits, photos.labels["validation"])
        if best is None or (accuracy, -loss) > best[0]:
            best = (accuracy, -loss), penalty, weight / deviation, bias - (weight / deviation) @ mean
    _, penalty, weight, bias = best
    with torch.no_grad():
        network.head.weight.copy_(weight)
        network.head.bias.copy_(bias)
    return penalty


def rate(step, steps, warmup):
    """The share of the learning rate at a step: a line up, then half a cosine down to 0."""
    if step < warmup:
        return (step + 1) / warmup
    return (1 + math.cos(math.pi * (step - warmup) / max(steps - warmup, 1))) / 2


class Trial:
    def __init__(self, job):
        self.job, self.clock = job, Clock(job["began"])
        torch.set_num_threads(job["threads"])
        torch.set_flush_denormal(True)
        torch.manual_seed(job["seed"])
        self.pool = concurrent.futures.ThreadPoolExecutor(job["threads"])
        self.photos = Photos(job, self.pool)
        self.network = onnx_torch.Network(job["model"], len(job["split"]["classes"]))
        self.best, self.looked = None, (0.0, 0.0)

    def look(self, epoch, **more):
        """Scores an epoch, keeps it where it is the best so far, and tells of it."""
        self.network.batch_statistics = False
        labels = self.photos.labels
        accuracy, loss = score(outputs(self.photos, "validation", self.network), labels["validation"])
        wall, processor = since = self.clock.now()
        held_out, held_out_loss = score(outputs(self.photos, "held_out", self.network), labels["held_out"])
        self.looked = self.clock.leave_out(since)
        line = {
            "epoch": epoch,
            "seconds": round(wall, 2),
            "processor_seconds": round(processor, 2),
            "validation_accuracy": accuracy,
            "validation_loss": loss,
            "held_out_accuracy": held_out,
            "held_out_loss": held_out_loss,
            **more,
        }
        if self.best is None or (accuracy, -loss) > (self.best["validation_accuracy"], -self.best["validation_loss"]):
            self.best = line
            # What would be written to a file.
            self.state = copy.deepcopy(self.network.state_dict())
        print(json.dumps(line), flush=True)

    def train(self):
        recipe, network = self.job["recipe"], self.network
        parameters = list(network.parameters())
        groups = [
            {"params": [p for p in parameters if p.dim() > 1], "weight_decay": recipe["weight_decay"]},
            {"params": [p for p in parameters if p.dim() == 1], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, lr=recipe["lr"], fused=True)
        per_epoch = -(-len(self.photos.labels["train"]) // recipe["batch"])
        steps, warmup = recipe["epochs"] * per_epoch, recipe["warmup"] * per_epoch
        step = 0
        for epoch in range(1, recipe["epochs"] + 1):
            network.batch_statistics = recipe["bn"] == "batch"
            losses = []
            for inputs, labels in self.photos.batches(epoch):
                for group in optimizer.param_groups:
                    group["lr"] = recipe["lr"] * rate(step, steps, warmup)
                optimizer.zero_grad()
                loss = f.cross_entropy(network(inputs), labels, label_smoothing=recipe["label_smoothing"])
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
                step += 1
            self.look(epoch, loss=sum(losses) / len(losses))

    def run(self):
        kind = self.job["recipe"]["kind"]
        if kind != "full":
            penalty = probe(self.network, self.photos)
            self.look(0, penalty=penalty)
        if kind != "probe":
            self.train()
        self.clock.count(self.looked)
        wall, processor = self.clock.now()
        told = {
            "held_out_accuracy": self.best["held_out_accuracy"],
            "held_out_loss": self.best["held_out_loss"],
            "validation_accuracy": self.best["validation_accuracy"],
            "best_epoch": self.best["epoch"],
            "seconds": round(wall, 2),
            "processor_seconds": round(processor, 2),
            "versions": {"torch": torch.__version__, "python": platform.python_version()},
        }
        print(json.dumps({"came_to": told}), flush=True)


def check(job):
    """Holds the logits of the model's own classifier against onnxruntime's, on photos of the split."""
    import onnxruntime

    photos = Photos(
        {
            **job,
            "split": {
                **job["split"],
                **{p: job["split"][p][:8] for p in ("validation", "held_out")},
                "winners_train_on": ["validation"],
            },
        },
        concurrent.futures.ThreadPoolExecutor(1),
    )
    pixels = photos.input(photos.tested["validation"]).contiguous()
    network = onnx_torch.Network(job["model"])
    session = onnxruntime.InferenceSession(onnx_torch.any_size(job["model"]), providers=["CPUExecutionProvider"])
    (theirs,) = session.run(None, {network.input: pixels.numpy()})
    with torch.inference_mode():
        plain = network(pixels).numpy()
    # Adds up to the same when batch normalisation stands by itself.
    network.norm_of = {}
    network.inside = set()
    with torch.inference_mode():
        apart = network(pixels).numpy()
    limit = 1e-4 * max(1.0, float(np.abs(theirs).max()))
    worst = max(float(np.abs(theirs - ours).max()) for ours in (plain, apart))
    assert worst <= limit, f"logits differ from onnxruntime's by {worst}, more than {limit}"
    print(json.dumps({"logits_differ_by": worst, "onnxruntime": onnxruntime.__version__}))


def main():
    job = json.loads(pathlib.Path(sys.argv[1]).read_text())
    if job.get("check"):
        check(job)
    else:
        Trial(job).run()


if __name__ == "__main__":
    main()
