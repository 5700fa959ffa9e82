#!/usr/bin/env python3
"""Table I of the block-wise paper: backbones by strategies, over seeds, by the paper's recipe and ours.

    python3 tools/table1.py mobilenet_v1.onnx:signed mobilenet_v3_small.onnx:raw --data photos --work FOLDER

A cell is a run of `ftsurgery tune` with all strategies: one backbone, one recipe, one seed. What it came to is a line
of the ledger and is not made again; a run that was stopped goes on where its folder is still there. The study may so
be stopped at any time and go on on another machine, and the same command prints what there is so far.

`--estimate` runs nothing: it has `ftsurgery plan` say which trials a cell begins with, and tells the operations of all
of them and of the winners, and the hours that takes at `--rate`, operations per second (what cells of the ledger took
is printed with the tables).

What the paper claims of `blocks` and `full` is tested by enumeration, without any distribution assumed: over
backbones, each with its mean over the seeds, since the seeds of one backbone are not independent.
- Accuracy: Wilcoxon's signed-rank test of the differences, one-sided.
- Variance over backbones: each backbone's two figures, less the means of their strategies, are exchanged in all ways;
  how often is the variance of `blocks` below that of `full` by as much as measured.
With five backbones neither p can be below 1/32.
"""

import argparse
import itertools
import json
import math
import os
import pathlib
import shlex
import shutil
import statistics
import subprocess
import sys
import time

from ledger import FIXED, Ledger

STRATEGIES = "head,full,layers,blocks,top3,top5,windows"

# Name: flags of `tune` besides model, data, size, split, strategies, seed and threads.
RECIPES = {
    "paper": "--recipe paper --epochs 20 --search-epochs 20 --early-stopping 5",
    "paper, short": "--recipe paper --epochs 20 --search-epochs 6 --early-stopping 5",
    "ours": FIXED,
    "ours, halving": f"{FIXED} --search halving",
}

# The paper's own figures, in the order of STRATEGIES: of five backbones, one run each.
PAPER = {
    "VGG16": [0.713896, 0.873751, 0.864668, 0.875568, 0.86921, 0.881926, 0.877384],
    "MobileNet v1": [0.828338, 0.875568, 0.847411, 0.877389, 0.875568, 0.883742, 0.879201],
    "MobileNet v2": [0.811081, 0.86921, 0.823797, 0.867393, 0.833787, 0.86921, 0.839237],
    "MobileNet v3 small": [0.30881, 0.762035, 0.438692, 0.790191, 0.516803, 0.648501, 0.667575],
    "ResNet50 v2": [0.778383, 0.828338, 0.857402, 0.848320, 0.86921, 0.868302, 0.849228],
}

FIELDS = ("model", "recipe", "data", "image_size", "train", "validation", "search", "seed", "strategies", "flags")


class Study:
    def __init__(self, args):
        self.args, self.ledger = args, Ledger(args.ledger, FIELDS)

    def row(self, model, recipe, seed):
        args = self.args
        large = model in args.large
        return {
            "model": pathlib.Path(model.partition(":")[0]).stem,
            "recipe": recipe,
            "data": args.data.resolve().name,
            "image_size": args.large_image_size if large else args.image_size,
            "train": args.train,
            "validation": args.validation,
            "search": args.search,
            "seed": seed,
            "strategies": args.large_strategies if large else args.strategies,
            "flags": f"{RECIPES[recipe]} {args.flags}".strip(),
        }

    def cells(self):
        """In an order in which the tables fill up evenly: a seed of all first, those of one backbone together."""
        models = [*self.args.models, *self.args.large]
        for seed, model, recipe in itertools.product(self.args.seeds, models, self.args.recipes):
            yield model, self.row(model, recipe, seed)

    def flags(self, model, row):
        path, _, preset = model.partition(":")
        flags = [path, "--data", self.args.data, *shlex.split(row["flags"]), "--strategies", row["strategies"]]
        flags += ["--image-size", row["image_size"], "--seed", row["seed"], "--train-fraction", row["train"]]
        flags += ["--search-fraction", row["search"]]
        flags += [] if "--recipe paper" in row["flags"] else ["--validation-fraction", row["validation"]]
        flags += ["--preprocess", preset] if preset else []
        return [*map(str, flags), "--threads", str(self.args.threads), "--image-cache", "disk"]

    def make(self):
        for model, row in self.cells():
            if self.ledger.get(**row):
                continue
            name = "-".join(str(row[f]) for f in ("model", "recipe", "image_size", "seed")).replace(", ", "-")
            out = self.args.work / name
            command = [self.args.ftsurgery, "--quiet", "tune"]
            resumed = (out / "run.json").exists()
            command += ["--resume", str(out)] if resumed else [*self.flags(model, row), "--out", str(out)]
            load, begin = os.getloadavg()[0], time.time()
            child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            _, status, usage = os.wait4(child.pid, 0)
            if code := os.waitstatus_to_exitcode(status):
                print(f"{name}: exit code {code}", file=sys.stderr)
                # A stop is not a failure of the cell.
                if code < 0 or code > 128:
                    raise SystemExit(code)
                continue
            made = came_to(out)
            # Of a run that was stopped once, these are of its last session.
            made["seconds"], made["resumed"] = round(time.time() - begin, 1), resumed
            made["processor_seconds"] = round(usage.ru_utime + usage.ru_stime, 1)
            self.ledger.add({**row, "threads": self.args.threads, "load": round(load, 1), "came_to": made})
            shutil.rmtree(out)
            print(f"{name}: {made['processor_seconds']:.0f} s of the processor", file=sys.stderr)

    def found(self, recipe):
        """`model -> strategy -> held-out accuracies in per cent, by seed`."""
        table = {}
        for _, row in self.cells():
            known = row["recipe"] == recipe and self.ledger.get(**row)
            if known:
                for name, strategy in known["came_to"]["strategies"].items():
                    table.setdefault(row["model"], {}).setdefault(name, {})[row["seed"]] = (
                        100 * strategy["held_out_accuracy"]
                    )
        return table

    def estimate(self):
        """Operations of each cell of one seed, and what they take."""
        print("| backbone | recipe | trials of the search | their operations | winners, at most | hours at the rate |")
        print("| --- | --- | ---: | ---: | ---: | ---: |")
        total = 0.0
        for model, row in self.cells():
            if row["seed"] != self.args.seeds[0]:
                continue
            count, search, winners = self.operations(model, row)
            hours = (search + winners) / self.args.rate / 3600
            total += hours * len(self.args.seeds)
            print(
                f"| {row['model']} | {row['recipe']} | {count} | {search / 1e12:.0f} TFLOP | "
                f"{winners / 1e12:.0f} TFLOP | {hours:.2f} |",
                flush=True,
            )
        print(f"\n{len(self.args.seeds)} seeds: {total:.1f} hours at {self.args.rate / 1e9:.0f} GFLOP/s, at most.")

    def operations(self, model, row):
        """Trials of the search, their operations, and those of the winners at most: each as if it trained everything,
        for all epochs."""
        out = self.args.work / "planned"
        shutil.rmtree(out, ignore_errors=True)
        # `head` would be all that is asked for at first, and costs little.
        others = ",".join(s for s in row["strategies"].split(",") if s != "head")
        command = [self.args.ftsurgery, "--quiet", "plan", *self.flags(model, {**row, "strategies": others})]
        command += ["--out", str(out)]
        lines = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
        trials = [t for t in map(json.loads, lines) if "id" in t]
        record = json.loads((out / "run.json").read_text())
        parts, how = record["data"]["parts"], record["configuration"]
        batches = math.ceil(parts["search"] / how["batch_size"])
        searched = [t for t in trials if t["id"].endswith("-search")]
        search = sum(t["flops"] * t["epochs"] * batches for t in searched)
        if how["search"] != "exhaustive":
            # The best third goes on for three times as many epochs: each rung costs two thirds of the first.
            rungs = math.log(how["search_epochs"] / min(t["epochs"] for t in searched), 3)
            search *= 1 + 2 / 3 * math.ceil(rungs)
        images = parts["train"] + (0 if how["search_apart"] else parts["search"])
        steps = math.ceil(images / how["batch_size"]) * how["epochs"]
        winners = max(t["flops"] for t in trials) * steps * len(record["strategies"])
        shutil.rmtree(out)
        return len(searched), search, winners

    def print(self):
        strategies = STRATEGIES.split(",")
        print("### The paper's own figures\n")
        paper = {name: {s: {0: 100 * v} for s, v in zip(strategies, row, strict=True)} for name, row in PAPER.items()}
        self.print_table(paper)
        self.print_tests(paper)
        for recipe in self.args.recipes:
            if table := self.found(recipe):
                print(f"\n### {recipe}\n\n`{RECIPES[recipe]} {self.args.flags}`\n".replace(" `\n", "`\n"))
                self.print_table(table)
                self.print_tests(table)
        rows = [known for _, row in self.cells() if (known := self.ledger.get(**row))]
        print("\n| backbone | recipe | cells | processor seconds of one |\n| --- | --- | ---: | ---: |")
        # What a cell took that was stopped once is not known.
        rows = [row for row in rows if not row["came_to"]["resumed"]]
        for model, recipe in dict.fromkeys((row["model"], row["recipe"]) for row in rows):
            taken = [r["came_to"]["processor_seconds"] for r in rows if (r["model"], r["recipe"]) == (model, recipe)]
            print(f"| {model} | {recipe} | {len(taken)} | {statistics.fmean(taken):.0f} |")

    def print_table(self, table):
        strategies = self.args.strategies.split(",")
        print("| | " + " | ".join(strategies) + " |")
        print("| --- |" + " ---: |" * len(strategies))
        for model, found in table.items():
            print(f"| {model} | " + " | ".join(cell(found.get(s, {}).values()) for s in strategies) + " |")
        columns = [[statistics.fmean(f[s].values()) for f in table.values() if s in f] for s in strategies]
        print("| mean | " + " | ".join(f"{statistics.fmean(c):.2f} %" if c else "" for c in columns) + " |")
        if len(table) > 1:
            # The paper's variance is that of shares.
            variances = [statistics.variance(c) / 1e4 if len(c) > 1 else None for c in columns]
            print("| variance | " + " | ".join("" if v is None else f"{v:.6f}" for v in variances) + " |")

    def print_tests(self, table):
        both = [f for f in table.values() if "blocks" in f and "full" in f]
        pairs = [tuple(statistics.fmean(f[s].values()) for s in ("blocks", "full")) for f in both]
        if len(pairs) < 2:
            return
        higher = sum(a > b for a, b in pairs)
        means = [statistics.fmean(p) for p in zip(*pairs, strict=True)]
        variances = [statistics.variance(p) / 1e4 for p in zip(*pairs, strict=True)]
        print(
            f"\n`blocks` is more accurate than `full` on {higher} of {len(pairs)} backbones, in the mean by "
            f"{means[0] - means[1]:+.2f} points (p = {signed_rank([a - b for a, b in pairs]):.3f}); its variance over "
            f"them is {variances[0]:.6f}, that of `full` {variances[1]:.6f} (p = {less_variance(pairs):.3f})."
        )
        deviations = [
            [statistics.stdev(f[s].values()) for s in ("blocks", "full")] for f in both if len(f["blocks"]) > 1
        ]
        if deviations:
            less = sum(a < b for a, b in deviations)
            a, b = (statistics.fmean(d) for d in zip(*deviations, strict=True))
            print(
                f"Over the seeds `blocks` deviates less than `full` on {less} of {len(deviations)} backbones: by "
                f"{a:.2f} points in the mean, `full` by {b:.2f}."
            )


def came_to(out):
    """What the run in a folder came to, by strategy."""
    record = json.loads((out / "run.json").read_text())
    results = json.loads((out / "results.json").read_text())
    strategies = {
        s["name"]: {
            "held_out_accuracy": s["held_out_accuracy"],
            "validation_accuracy": s["validation_accuracy"],
            "candidate": s["candidate"],
            "epochs": s["epochs"],
        }
        for s in results["strategies"]
        if not s.get("error")
    }
    return {"strategies": strategies, "versions": record["versions"], "parts": record["data"]["parts"]}


def cell(values):
    """Mean and standard deviation."""
    values = list(values)
    if not values:
        return ""
    deviation = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.2f} %{deviation}"


def share(assignments, at_least):
    """How many of the values are at least this, as a share; a value that rounding moved counts."""
    values = list(assignments)
    return sum(v >= at_least - 1e-9 for v in values) / len(values)


def signed_rank(differences):
    """p of Wilcoxon's signed-rank test, exact and one-sided: that the differences are above 0."""
    differences = [d for d in differences if d]
    sizes = sorted(abs(d) for d in differences)
    # Equal ones share their ranks.
    ranks = {d: statistics.fmean(i + 1 for i, s in enumerate(sizes) if s == abs(d)) for d in differences}
    measured = sum(ranks[d] for d in differences if d > 0)
    signs = itertools.product((0, 1), repeat=len(differences))
    return share((sum(s * ranks[d] for s, d in zip(some, differences, strict=True)) for some in signs), measured)


def less_variance(pairs):
    """p, exact and one-sided, that the first of each pair vary less than the second."""
    centres = [statistics.fmean(p) for p in zip(*pairs, strict=True)]
    pairs = [(a - centres[0], b - centres[1]) for a, b in pairs]

    def by(swaps):
        ordered = [p[::-1] if s else p for s, p in zip(swaps, pairs, strict=True)]
        first, second = (statistics.variance(p) for p in zip(*ordered, strict=True))
        return second - first

    return share(map(by, itertools.product((0, 1), repeat=len(pairs))), by([0] * len(pairs)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("models", nargs="*", help="ONNX files, each maybe with its preset: a.onnx:signed")
    add("--large", nargs="*", default=[], metavar="MODEL", help="models that are tried at less cost, below the others")
    add("--large-image-size", type=int, default=64)
    add("--large-strategies", default="head,full,blocks")
    add("--data", type=pathlib.Path, required=True, help="folder of images by class")
    add("--work", type=pathlib.Path, required=True, help="folder for the runs")
    add("--recipes", nargs="+", default=["paper, short", "ours, halving"], choices=list(RECIPES), metavar="NAME")
    add("--flags", default="", help="more flags of `tune`, for every recipe")
    add("--strategies", default=STRATEGIES)
    add("--image-size", type=int, default=128)
    add("--train", type=float, default=0.7, help="share of the data that winners are trained on")
    add("--validation", type=float, default=0.1, help="share, of recipes but the paper's, whose search part has it")
    add("--search", type=float, default=0.1, help="share that is searched on")
    add("--seeds", type=int, nargs="+", default=[0, 1, 2])
    add("--threads", type=int, default=2)
    add("--ftsurgery", default="target/release/ftsurgery")
    add("--ledger", default="docs/table1.jsonl", help="file of what runs came to")
    add("--rate", type=float, default=30e9, help="operations per second, for --estimate")
    add("--estimate", action="store_true", help="tell what the cells cost, run nothing")
    add("--report-only", action="store_true", help="run nothing")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    study = Study(args)
    if args.estimate:
        study.estimate()
        return
    if not args.report_only:
        study.make()
    study.print()


if __name__ == "__main__":
    main()
