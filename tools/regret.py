#!/usr/bin/env python3
"""Holds the search of `auto` at a budget against an exhaustive one: what a twentieth of the cost gives up.

    python3 tools/regret.py --work FOLDER --photos photos a.onnx:signed b.onnx:raw \\
        --digits fixtures/digits --digits-model onnx-models/fashion_mobilenet.onnx:unit --image-size 128

A cell is a backbone, a data set and a seed. In each, `auto` with --budget-share is run beside `layers`, `blocks`,
`windows` and `full`, all searched exhaustively by the same recipe on the same split. The data sets of --photos are

- `plain`: as they are;
- `damaged`: every photo blurred and with noise, so that the pixels are what is new;
- `merged`: classes joined two by two, so that the labels are what is new. (To swap labels would change nothing: the
  head is a new one.)

and `digits` on --digits-model. Each side of a cell is a line of the ledger and is not made again; of one that was stopped the
run goes on. The same command prints what there is so far; `--report-only` runs nothing. The exhaustive side takes nearly all
of the time, and says nothing of how `auto` searches: with --again only the sides of `auto` are made anew, and count from then on.

The regret of a cell is by how many points of held-out accuracy `auto` is behind the best of the four strategies, once
the best on the held-out samples themselves, which nobody could have known, and once the best on the validation samples,
which is what a user of the exhaustive search would take. Below the cells: the rank correlation (Spearman) of each score
of `scores.json`, and of depth, with what the exhaustive search made of the single blocks and layers, and where in the
network the best block lies (0 at the input, 1 at the head).

`operations` is what the search of `auto` cost besides the training of its winner, as a share of an exhaustive one; `time`
that of all its trials, the winner's with them, as a share of all trials of the four strategies and their winners.
"""

import argparse
import json
import math
import os
import pathlib
import shlex
import shutil
import zlib

import numpy as np
from PIL import Image, ImageFilter

from ledger import Ledger
from runs import tuned

RECIPE = (
    "--head linear --head-init solved --optimizer adamw --lr auto --weight-decay 0.01 --batch-size 16 "
    "--schedule cosine --warmup 0.5 --bn frozen --augment none --resize squash --rank-by calibrated-loss"
)
EXHAUSTIVE = ("layers", "blocks", "windows", "full")
UNITS = ("blocks", "layers")
SCORES = ("relative_gradient", "signal_to_noise", "fisher", "fisher_per_cost", "gain")
PICTURES = (".jpg", ".jpeg", ".png")


def pictures(folder):
    """`(class, file)` of a folder of images by class, in order."""
    classes = sorted(p for p in folder.iterdir() if p.is_dir())
    return [(c.name, f) for c in classes for f in sorted(c.iterdir()) if f.suffix.lower() in PICTURES]


def some(entries, per_class):
    """Of each class as many as `per_class`, evenly spaced; all where that is 0."""
    if not per_class:
        return entries
    chosen = []
    for name in sorted({c for c, _ in entries}):
        own = [e for e in entries if e[0] == name]
        count = min(per_class, len(own))
        chosen += [own[i * len(own) // count] for i in range(count)]
    return chosen


def copy(source, target):
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def damage(source, target, args):
    """Blurs a photo, of --damage-side pixels at the short side, and adds noise that its name decides."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(source) as image:
        image = image.convert("RGB")
    scale = args.damage_side / min(image.size)
    image = image.resize([max(1, round(side * scale)) for side in image.size], Image.Resampling.BILINEAR)
    image = image.filter(ImageFilter.GaussianBlur(args.blur))
    random = np.random.default_rng(zlib.crc32(f"{target.parent.name}/{target.name}".encode()))
    pixels = np.asarray(image, np.float32) + random.normal(0, args.noise, (image.height, image.width, 3))
    Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8)).save(target)


def made(args, name):
    """The folder of a data set of the study, made where it is not there."""
    if name == "digits":
        return args.digits
    folder = args.work / "data" / f"{name}-{args.per_class or 'all'}"
    if folder.exists():
        return folder
    building = folder.with_name(folder.name + ".part")
    shutil.rmtree(building, ignore_errors=True)
    entries = some(pictures(args.photos), args.per_class)
    classes = sorted({c for c, _ in entries})
    for c, file in entries:
        match name:
            case "plain":
                copy(file, building / c / file.name)
            case "damaged":
                damage(file, building / c / f"{file.stem}.png", args)
            case "merged":
                first = classes.index(c) // 2 * 2
                copy(file, building / "+".join(classes[first : first + 2]) / f"{c}-{file.name}")
    building.rename(folder)
    return folder


# What is run on each side of a cell.
SIDES = {
    "exhaustive": (",".join(("head", *EXHAUSTIVE)), ["--search", "exhaustive"]),
    "auto": ("head,auto", []),
}


class Cell:
    """A backbone, a data set and a seed: its two runs and what they came to."""

    def __init__(self, args, model, data, seed):
        self.args, self.data, self.seed = args, data, seed
        self.model = model
        self.name = pathlib.Path(model.partition(":")[0]).stem

    def row(self, side):
        """What tells a side of it apart in the ledger."""
        args = self.args
        return {
            "side": side,
            "model": self.name,
            "data": self.data,
            "seed": self.seed,
            "per_class": args.per_class if self.data != "digits" else 0,
            "image_size": args.image_size if self.data != "digits" else "",
            "budget_share": args.budget_share if side == "auto" else "",
            "flags": shlex.join(self.flags()),
        }

    def flags(self):
        args = self.args
        flags = [*shlex.split(args.recipe), "--epochs", args.epochs, "--search-epochs", args.search_epochs]
        flags += ["--search-fraction", str(args.search), "--train-fraction", str(args.train)]
        flags += ["--validation-fraction", str(args.validation)]
        return flags

    def tune(self, kind, strategies, more=()):
        """Runs `ftsurgery tune`, or goes on with it; gives the run's folder, or `None` where it fails."""
        args = self.args
        out = args.work / "runs" / f"{self.name}-{self.data}-{self.seed}-{kind}"
        flags = [*self.flags(), *more, "--strategies", strategies, "--seed", str(self.seed)]
        side = args.image_size if self.data != "digits" else None
        return out if tuned(args, self.model, made(args, self.data), out, flags, side) else None

    def come_to(self, side):
        """What the run of a side came to; `None` where it failed. The run is removed."""
        strategies, more = SIDES[side]
        if side == "auto":
            more = ["--budget-share", str(self.args.budget_share)]
        out = self.tune(side, strategies, more)
        if not out:
            return None
        found = came_to(out, side)
        if not self.args.keep:
            shutil.rmtree(out)
        return found


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def came_to(out, side):
    results = json.loads((out / "results.json").read_text())
    found = {
        "strategies": {
            s["name"]: {
                "candidate": s["candidate"],
                "held_out": s["held_out_accuracy"],
                "held_out_loss": s["held_out"]["score"]["loss"],
                "validation": s["validation_accuracy"],
                "layers": s["layers"],
            }
            for s in results["strategies"]
            if not s.get("error")
        },
        "seconds": round(seconds(out), 1),
    }
    run = json.loads((out / "run.json").read_text())
    trials = lines(out / "trials.jsonl")
    if side == "auto":
        cost = next(s["search_cost"] for s in results["strategies"] if s["name"] == "auto")
        found["operations_share"] = cost["operations"] / cost["exhaustive"]
        found["tried"] = [[t["candidate"], t.get("rate"), t["ranking"]["accuracy"]] for t in trials if t.get("ranking")]
        scores = json.loads((out / "scores.json").read_text())
        found["scores"] = {
            unit: {u["name"]: {score: u[score] for score in SCORES} for u in scores[unit]} for unit in UNITS
        }
    else:
        found["held_out"] = run["data"]["parts"]["held_out"]
        found["units"] = {unit: units(run, trials, unit) for unit in UNITS}
    return found


def seconds(out):
    """Seconds of all trials of a run, each once, winners with them; of one that went on all that it took."""
    last = {t["id"]: t for t in lines(out / "trials.jsonl") if not t.get("same_as")}
    return sum(t["seconds"] for t in last.values())


def units(run, trials, strategy):
    """Of each block or layer, from input to output: what the exhaustive search made of it."""
    planned = next(p for p in run["strategies"] if p["name"] == strategy)
    ended = {t["id"]: t for t in trials}
    place = {layer["name"]: i for i, layer in enumerate(run["layers"])}
    rows = []
    for candidate in planned["candidates"]:
        trial = ended.get(f"{candidate['id']}-search", {})
        # What never was better than at the start has the figures of the start.
        figure = trial.get("last") or trial.get("ranking") or trial.get("validation")
        if figure:
            at = min(place[layer] for layer in candidate["layers"])
            rows.append(
                {"name": candidate["label"], "place": at, "loss": figure["loss"], "accuracy": figure["accuracy"]}
            )
    return sorted(rows, key=lambda row: row["place"])


def ranks(values):
    """Ranks from 1, of equal values their mean."""
    values = np.asarray(values, float)
    order = np.argsort(values, kind="stable")
    found = np.empty(len(values))
    found[order] = np.arange(1, len(values) + 1)
    for value in np.unique(values):
        found[values == value] = found[values == value].mean()
    return found


def spearman(a, b):
    """Rank correlation; `None` of fewer than three pairs, or where one side is constant."""
    pairs = [(x, y) for x, y in zip(a, b, strict=True) if x is not None and y is not None]
    if len(pairs) < 3:
        return None
    a, b = (ranks(side) for side in zip(*pairs, strict=True))
    return None if a.std() == 0 or b.std() == 0 else float(np.corrcoef(a, b)[0, 1])


def spread(values):
    """Mean and standard error: `+0.52 ± 0.20`."""
    values = [v for v in values if v is not None]
    if not values:
        return "–"
    mean = sum(values) / len(values)
    if len(values) < 2:
        return f"{mean:+.2f}"
    variance = sum((v - mean) ** 2 for v in values) / (len(values) - 1)
    return f"{mean:+.2f} ± {math.sqrt(variance / len(values)):.2f}"


def regrets(cell):
    """Points by which `auto` is behind the best on the held-out samples, and the best on the validation samples."""
    strategies = cell["exhaustive"]["strategies"]
    tried = [strategies[name] for name in EXHAUSTIVE if name in strategies]
    auto = cell["auto"]["strategies"]["auto"]["held_out"]
    oracle = max(s["held_out"] for s in tried)
    chosen = max(tried, key=lambda s: s["validation"])["held_out"]
    return 100 * (oracle - auto), 100 * (chosen - auto)


def costs(cell):
    """Shares of an exhaustive search: operations of the search, and seconds of all that was trained."""
    auto, exhaustive = cell["auto"], cell["exhaustive"]
    return auto["operations_share"], auto["seconds"] / max(exhaustive["seconds"], 1e-9)


def depth(cell):
    """Where the best block lies, by the loss of the exhaustive search: 0 at the input, 1 at the head."""
    blocks = cell["exhaustive"]["units"]["blocks"]
    best = min(range(len(blocks)), key=lambda i: blocks[i]["loss"], default=None)
    return None if best is None or len(blocks) < 2 else best / (len(blocks) - 1)


def correlations(cell, unit, score):
    """Of a score (or of depth) with the fall of the loss that the exhaustive search found."""
    scores = cell["auto"]["scores"][unit]
    rows = [row for row in cell["exhaustive"]["units"][unit] if row["name"] in scores]
    values = [row["place"] if score == "depth" else scores[row["name"]][score] for row in rows]
    return spearman(values, [-row["loss"] for row in rows])


def report(cells):
    names = ("head", *EXHAUSTIVE, "auto")
    print("| backbone | data | seed | " + " | ".join(names) + " | `auto` trains | regret | to the chosen | operations |"
          " time | best block at |")
    print("| --- | --- | ---: |" + " ---: |" * len(names) + " --- |" + " ---: |" * 5)
    for cell in cells:
        strategies = {**cell["exhaustive"]["strategies"], "auto": cell["auto"]["strategies"]["auto"]}
        figures = [f"{100 * strategies[n]['held_out']:.2f}" if n in strategies else "failed" for n in names]
        operations, time = costs(cell)
        oracle, chosen = regrets(cell)
        at = depth(cell)
        print(
            f"| {cell['model']} | {cell['data']} | {cell['seed']} | {' | '.join(figures)} |"
            f" {strategies['auto']['candidate']} | {oracle:+.2f} | {chosen:+.2f} |"
            f" {100 * operations:.1f} % | {100 * time:.1f} % | {'–' if at is None else f'{at:.2f}'} |"
        )
    print("\n| data | cells | regret | to the chosen | before the head | operations | time | best block at |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for data in [*dict.fromkeys(cell["data"] for cell in cells), "all"]:
        own = [cell for cell in cells if data in (cell["data"], "all")]
        oracle, chosen = zip(*(regrets(cell) for cell in own), strict=True)
        both = [[c["auto"]["strategies"][name]["held_out"] for name in ("auto", "head")] for c in own]
        gains = [100 * (auto - head) for auto, head in both]
        shares = [100 * sum(values) / len(own) for values in zip(*(costs(f) for f in own), strict=True)]
        print(f"| {data} | {len(own)} | {spread(oracle)} | {spread(chosen)} | {spread(gains)} | {shares[0]:.1f} % |"
              f" {shares[1]:.1f} % | {spread([depth(f) for f in own])} |")
    print("\n| rank correlation with the outcome of | blocks | layers |")
    print("| --- | ---: | ---: |")
    for score in (*SCORES, "depth"):
        of = [spread([correlations(cell, unit, score) for cell in cells]) for unit in UNITS]
        print(f"| `{score}` | {of[0]} | {of[1]} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", help="backbones for --photos, each maybe with its preset: a.onnx:signed")
    parser.add_argument("--work", type=pathlib.Path, required=True, help="folder for data and runs")
    parser.add_argument("--photos", type=pathlib.Path, help="folder of photos by class")
    parser.add_argument("--digits", type=pathlib.Path, help="folder of digits by class")
    parser.add_argument("--digits-model", help="the backbone for --digits, maybe with its preset")
    parser.add_argument("--data", nargs="+", default=["plain", "damaged", "merged"], help="data sets of --photos")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--budget-share", type=float, default=0.05)
    parser.add_argument("--image-size", help="of --photos; smaller is faster")
    parser.add_argument("--per-class", type=int, default=0, help="photos of each class [default: all]")
    parser.add_argument("--search", type=float, default=0.1, help="share of the data that candidates are trained on")
    parser.add_argument("--train", type=float, default=0.2, help="share that winners are trained on")
    parser.add_argument("--validation", type=float, default=0.1, help="share that ranks candidates, with that of --train")
    parser.add_argument("--epochs", default="auto")
    parser.add_argument("--search-epochs", default="auto")
    parser.add_argument("--recipe", default=RECIPE, help="flags of both runs")
    parser.add_argument("--blur", type=float, default=1.0, help="deviation of the blur, pixels of --damage-side")
    parser.add_argument("--noise", type=float, default=40.0, help="deviation of the noise, of 255")
    parser.add_argument("--damage-side", type=int, default=128, help="short side of damaged photos")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--ftsurgery", default="target/release/ftsurgery")
    parser.add_argument("--ledger", default="docs/regret.jsonl", help="file of what cells came to")
    parser.add_argument("--keep", action="store_true", help="keep the folders of the runs")
    parser.add_argument("--again", action="store_true", help="run `auto` again where it was run before")
    parser.add_argument("--report-only", action="store_true", help="run nothing")
    args = parser.parse_args()
    ledger = Ledger(
        args.ledger, ("side", "model", "data", "seed", "per_class", "image_size", "budget_share", "flags")
    )
    wanted = [(model, data) for data in args.data for model in args.models] if args.photos else []
    wanted += [(args.digits_model, "digits")] if args.digits and args.digits_model else []
    cells = []
    for seed in args.seeds:
        for model, data in wanted:
            cell = Cell(args, model, data, seed)
            sides = {}
            for side in SIDES:
                row = cell.row(side)
                known = ledger.get(**row)
                is_new = known is None or (args.again and side == "auto")
                found = cell.come_to(side) if is_new and not args.report_only else None
                if found:
                    ledger.add({**row, "came_to": found})
                    known = ledger.get(**row)
                if known:
                    sides[side] = known["came_to"]
            if len(sides) == len(SIDES):
                cells.append({"model": cell.name, "data": data, "seed": seed, **sides})
    if cells:
        report(cells)


if __name__ == "__main__":
    main()
