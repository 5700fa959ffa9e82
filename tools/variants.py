#!/usr/bin/env python3
"""Compares what may be trained by held-out accuracy, size, time and latency: all, blocks, filters and blocks that the
picture chooses, updates of low rank, biases, normalisations.

    python3 tools/variants.py --work FOLDER --data photos a.onnx:signed b.onnx:raw --image-size 128

A cell is a backbone and a seed; its runs (`RUNS`) are of the default recipe, with one split. What a run came to is a line of
the ledger and is not made again, and a run that was stopped goes on: the same command again prints what there is so
far, and `--report-only` runs nothing. `--doc` writes the table into docs/variants.md.

The table has, by backbone and over all of them, the mean held-out accuracy over the seeds with its standard deviation and the
number of runs, the mean difference to `full` of the same cell with its standard error, the parameters that were trained
(a head's with them) and those that the model holds, the processor's seconds of the training, against those of `full`, and
the median seconds of the processor for one picture in onnxruntime on one thread, against that of the backbone with a new head. Of gates it also has
the share of tuned filters or blocks that is taken.
"""

import argparse
import json
import math
import pathlib
import shlex
import shutil
import sys
import time

import numpy as np
import onnx
import onnxruntime

from doc_table import write_table
from few_shot import mean
from ledger import Ledger
from runs import tuned

ROOT = pathlib.Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- variants: begin -->", "<!-- variants: end -->"

# Flags beside the defaults, and the strategies that are run with them.
RUNS = [
    ("", ("head", "full", "last40%", "lora4", "bias", "adafilter", "spottune")),
    ("--search exhaustive", ("blocks",)),
    # Where normalisations are folded into convolutions there are none.
    ("", ("norm",)),
    ("--adafilter-start half", ("adafilter",)),
    # Drawn gates that begin open would all be open.
    ("--adafilter-gate random --adafilter-start half", ("adafilter",)),
    ("--adafilter-gate ones", ("adafilter",)),
    ("--spottune-policy features", ("spottune",)),
    ("--spottune-start half", ("spottune",)),
]
WAYS = [(strategy, flags) for flags, strategies in RUNS for strategy in strategies]
BASE = ("full", "")
# Runs of a model, behind some that are not timed.
TIMED, UNTIMED = 100, 20


def latency(model, size):
    """Median milliseconds of the processor for one picture on one thread, so that other work counts little."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    node = session.get_inputs()[0]
    dims = [d if isinstance(d, int) else None for d in node.shape]
    channels_last = dims[-1] == 3
    side = [int(s) for s in (size or "224").split("x")] * 2
    fill = [1, *side[:2], 3] if channels_last else [1, 3, *side[:2]]
    dims = [d or f for d, f in zip(dims, fill, strict=True)]
    pixels = np.random.default_rng(0).standard_normal(dims).astype(np.float32)
    spans = []
    for _ in range(UNTIMED + TIMED):
        begun = time.process_time()
        session.run(None, {node.name: pixels})
        spans.append(time.process_time() - begun)
    return 1000 * float(np.median(spans[UNTIMED:]))


def stored(model):
    """Numbers that a model holds as floats."""
    graph = onnx.load(model).graph
    floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE)
    return sum(math.prod(t.dims) for t in graph.initializer if t.data_type in floats)


class Study:
    def __init__(self, args):
        self.args = args
        self.ledger = Ledger(args.ledger, ("model", "data", "image_size", "share", "seed", "flags", "strategies"))

    def run(self, model, seed, change, strategies):
        """What a run came to, by strategy. It is made where it is not there; `None` where it fails."""
        args = self.args
        strategies = ",".join(strategies)
        row = {
            "model": pathlib.Path(model.partition(":")[0]).stem,
            "data": args.data.resolve().name,
            "image_size": args.image_size or "",
            "share": args.share,
            "seed": seed,
            "flags": change,
            "strategies": strategies,
        }
        known = self.ledger.get(**row)
        if known or args.report_only:
            return known and known["came_to"]
        name = "-".join([row["model"], str(seed), strategies.partition(",")[0], change.replace(" ", "").strip("-")])
        out = args.work / name
        args.work.mkdir(parents=True, exist_ok=True)
        flags = [*shlex.split(change), "--strategies", strategies, "--seed", str(seed)]
        flags += ["--train-fraction", str(args.share), "--validation-fraction", "0.1"]
        flags += [] if "search" in change else ["--search-fraction", "0"]
        if not tuned(args, model, args.data, out, flags, args.image_size):
            return None
        row["came_to"] = self.came_to(out)
        self.ledger.add(row)
        shutil.rmtree(out)
        return row["came_to"]

    def came_to(self, out):
        """What the run in a folder came to, by strategy."""
        found = {}
        trials = {}
        for line in (out / "trials.jsonl").read_text().splitlines():
            trial = json.loads(line)
            trials[trial["id"]] = trial
        for s in json.loads((out / "results.json").read_text())["strategies"]:
            if s.get("error"):
                print(f"{out}: {s['name']}: {s['error']}", file=sys.stderr)
                continue
            model, gates = out / s["model"], s.get("gates")
            layers = (gates or {}).get("layers", [])
            all_gates = sum(layer["gates"] for layer in layers)
            found[s["name"]] = {
                "candidate": s["candidate"],
                "held_out_accuracy": s["held_out_accuracy"],
                "trained": s["trained_parameters"],
                "stored": stored(model),
                "latency": round(latency(model, self.args.image_size), 3),
                "seconds": round(trials[s["trial"]]["seconds"], 1),
                "epochs": s["epochs"],
                "rate": s.get("rate"),
                "taken": sum(layer["mean"] * layer["gates"] for layer in layers) / all_gates if all_gates else None,
            }
        return found

    def figures(self):
        """`way -> {(model, seed): what it came to}` of what there is; runs what there is not."""
        found = {}
        for seed in self.args.seeds:
            for model in self.args.models:
                for change, strategies in RUNS:
                    for strategy, s in (self.run(model, seed, change, strategies) or {}).items():
                        name = pathlib.Path(model.partition(":")[0]).stem
                        found.setdefault((strategy, change), {})[name, seed] = s
        return found


def spread(values):
    """The mean with its standard deviation and how many there are: `84.12 ± 0.50 (3)`; empty without any."""
    if not values:
        return ""
    middle = sum(values) / len(values)
    deviation = math.sqrt(sum((v - middle) ** 2 for v in values) / max(len(values) - 1, 1))
    return f"{middle:.2f} ± {deviation:.2f} ({len(values)})"


def table(found):
    """Rows of text, the first of them headings."""
    rows = [["backbone", "trained", "held out", "against `full`", "trained", "stored", "time", "latency", "taken"]]
    rows.append(["---", "---", *["---:"] * 7])
    models = list(dict.fromkeys(model for figures in found.values() for model, _ in figures))
    base, plain = found.get(BASE, {}), found.get(("head", ""), {})
    for label, names in [(m, [m]) for m in models] + [("all", models)] * (len(models) > 1):
        for way in WAYS:
            own = {k: s for k, s in found.get(way, {}).items() if k[0] in names}
            if not own:
                continue
            strategy, flags = way

            def share(field, of):
                ratios = [s[field] / of[k][field] for k, s in own.items() if k in of and of[k][field]]
                return f"{sum(ratios) / len(ratios):.2f}" if ratios else ""

            taken = [s["taken"] for s in own.values() if s["taken"] is not None]
            apart = [100 * (s["held_out_accuracy"] - base[k]["held_out_accuracy"]) for k, s in own.items() if k in base]
            millions = [f"{sum(s[f] for s in own.values()) / len(own) / 1e6:.3f} M" for f in ("trained", "stored")]
            rows.append(
                [
                    label,
                    f"`{strategy}`" + (f" `{flags}`" if flags else ""),
                    spread([100 * s["held_out_accuracy"] for s in own.values()]),
                    "" if way == BASE else mean(apart, "{:+.2f}"),
                    *millions,
                    share("seconds", base),
                    share("latency", plain),
                    f"{100 * sum(taken) / len(taken):.0f} %" if taken else "",
                ]
            )
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="ONNX files, each maybe with its preset: a.onnx:signed")
    parser.add_argument("--data", type=pathlib.Path, required=True, help="folder of images by class")
    parser.add_argument("--work", type=pathlib.Path, required=True, help="folder for the runs")
    parser.add_argument("--ftsurgery", default="target/release/ftsurgery")
    parser.add_argument("--image-size")
    parser.add_argument("--share", type=float, default=0.3, help="share of the data to train on")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int)
    parser.add_argument("--ledger", default=str(ROOT / "docs" / "variants.jsonl"), help="file of what runs came to")
    parser.add_argument("--report-only", action="store_true", help="run nothing")
    parser.add_argument("--doc", action="store_true", help="write the table into docs/variants.md")
    args = parser.parse_args()
    rows = table(Study(args).figures())
    for row in rows:
        print("| " + " | ".join(row) + " |")
    if args.doc:
        write_table(ROOT / "docs" / "variants.md", (BEGIN, END), rows)


if __name__ == "__main__":
    main()
