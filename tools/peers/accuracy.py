#!/usr/bin/env python3
"""Accuracy over time, ours and PyTorch's: the same backbone, the same split, the same cores.

    python3 tools/peers/accuracy.py efficientnet_lite0.onnx:signed --data photos --work FOLDER --venv TORCH

Ours are runs of `ftsurgery tune` with the flags of OURS; PyTorch's are those of accuracy_torch.py with the recipes of
THEIRS. The split of a seed is that of ftsurgery, which `ftsurgery plan` writes. Both sides choose the epoch (ours the
strategy, too) on the validation part, and are judged on the held-out part. Seconds, by the clock and of the
processor, are those of a side's whole process, decoding included.

What a run came to is a line of the ledger and is not made again, so that the study may be stopped at any time and goes
on on another machine; the same command prints what there is. To measure anew after a change, delete lines. `--out
docs/accuracy` writes the tables and the picture between the marks of a page.
"""

import argparse
import json
import os
import pathlib
import platform
import shlex
import shutil
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import accuracy_page  # noqa: E402
import bench  # noqa: E402
from ledger import FIXED, Ledger, merged  # noqa: E402


def fixed(change):
    return " ".join(merged(FIXED, change))


# Name: flags of `tune` besides model, data, size, split, seed and threads.
OURS = {
    "no flag": "",
    "no flag, squash, no changes": "--resize squash --augment none",
    "no flag but crop": "--resize crop --augment none",
    "no flag but crop, standard": "--resize crop --augment standard",
    "head": fixed("--strategies head"),
    "head, crop": fixed("--strategies head --resize crop"),
    "fast": fixed("--strategies head,last40%"),
    "fast, crop": fixed("--strategies head,last40% --resize crop"),
    "fast, full": fixed("--strategies head,full"),
    "fast, 3 epochs": fixed("--strategies head,last40% --epochs 3"),
    "best": "--recipe best",
    "as PyTorch": fixed(
        "--strategies full --augment standard --resize crop --label-smoothing 0.1 --bn batch --epochs 8"
    ),
}

COMMON = {"batch": 16, "warmup": 0.5, "weight_decay": 0.01, "label_smoothing": 0.1, "bn": "batch", "area": 0.35}

# Name: the recipe of accuracy_torch.py.
THEIRS = {
    "probe": {"kind": "probe"},
    "full": {**COMMON, "kind": "full", "lr": 1e-3, "epochs": 8},
    "full, 16 epochs": {**COMMON, "kind": "full", "lr": 1e-3, "epochs": 16},
    "full, 3 epochs": {**COMMON, "kind": "full", "lr": 1e-3, "epochs": 3},
    "probe, full": {**COMMON, "kind": "probe-full", "lr": 3e-4, "epochs": 8},
    "probe, full, 3 epochs": {**COMMON, "kind": "probe-full", "lr": 3e-4, "epochs": 3},
    "probe, full, frozen BN": {**COMMON, "kind": "probe-full", "lr": 3e-4, "epochs": 8, "bn": "frozen"},
}

FIELDS = ("side", "model", "data", "image_size", "share", "validation", "seed", "flags", "threads")


class Study:
    def __init__(self, args):
        self.args, self.checked = args, {}
        self.ledger = Ledger(args.ledger, FIELDS)
        self.python = args.venv / "bin" / "python" if args.venv else None

    def runs(self):
        """Every run that is asked for, what it came to with it where it is there."""
        args = self.args
        for seed in args.seeds:
            for size in args.image_size:
                for model in args.models:
                    for side, names in (("ftsurgery", args.ours), ("PyTorch", args.theirs)):
                        for name in names:
                            yield self.row(side, name, model, size, seed)

    def row(self, side, name, model, size, seed):
        args = self.args
        path = pathlib.Path(model.partition(":")[0])
        return {
            "side": side,
            "model": path.stem,
            "data": args.data.resolve().name,
            "image_size": size,
            "share": args.share,
            "validation": args.validation,
            "seed": seed,
            "flags": OURS[name] if side == "ftsurgery" else json.dumps(THEIRS[name]),
            "threads": args.threads,
            "name": name,
            "given": model,
        }

    def rows(self):
        """What there is of the runs that are asked for."""
        for row in self.runs():
            if known := self.ledger.get(**row):
                # Names may have changed since.
                yield {**known, "name": row["name"]}

    def make(self):
        for row in self.runs():
            if self.ledger.get(**row):
                continue
            told = f"{row['model']} {row['image_size']} px seed {row['seed']}: {row['side']} {row['name']}"
            model = row.pop("given")
            load = os.getloadavg()[0]
            made = self.ours(row, model) if row["side"] == "ftsurgery" else self.theirs(row, model)
            if made is None:
                bench.say(f"{told}: failed")
                continue
            processor = bench.machine()["cpu"]
            self.ledger.add({**row, "came_to": made, "load": round(load, 1), "processor": processor})
            bench.say(
                f"{told}: {made['held_out_accuracy']:.2%} held out, {made['seconds']:.0f} s, "
                f"{made['processor_seconds']:.0f} s of the processor"
            )

    def data_flags(self, row, model):
        """The flags of `tune` and `plan` that say what is trained on."""
        path, _, preset = model.partition(":")
        flags = [path, "--data", self.args.data, "--image-size", row["image_size"], "--seed", row["seed"]]
        flags += ["--train-fraction", row["share"], "--validation-fraction", row["validation"]]
        flags += ["--search-fraction", self.args.search, "--threads", row["threads"]]
        return flags + (["--preprocess", preset] if preset else [])

    def split(self, row, model):
        """The split of a seed and how pixels become input, as ftsurgery has them."""
        key = "-".join(str(row[f]) for f in ("model", "image_size", "share", "validation", "seed"))
        kept = self.args.work / f"split-{key}-{self.args.search}.json"
        if not kept.exists():
            out = self.args.work / f"plan-{key}"
            shutil.rmtree(out, ignore_errors=True)
            command = [self.args.ftsurgery, "--quiet", "plan", *self.data_flags(row, model), "--out", out]
            subprocess.run([*map(str, command), "--strategies", "head"], check=True, stdout=subprocess.DEVNULL)
            record = json.loads((out / "run.json").read_text())
            split = json.loads((out / "split.json").read_text())
            kept.write_text(json.dumps({"split": split, "preprocess": record["configuration"]["preprocess"]}))
            shutil.rmtree(out)
        return json.loads(kept.read_text())

    def ours(self, row, model):
        """A run of ftsurgery: what it came to, by its best strategy on the validation part, and how it got there."""
        out = self.args.work / "run"
        shutil.rmtree(out, ignore_errors=True)
        split = self.split(row, model)["split"]
        command = [self.args.ftsurgery, "--quiet", "tune", *self.data_flags(row, model), "--out", out]
        begin = time.time()
        child = subprocess.Popen([*map(str, command), *shlex.split(row["flags"])], stdout=subprocess.DEVNULL)
        curve = Follower(child.pid, out, begin)
        while True:
            pid, status, usage = os.wait4(child.pid, os.WNOHANG)
            curve.look()
            if pid:
                break
            time.sleep(0.1)
        seconds, processor = time.time() - begin, usage.ru_utime + usage.ru_stime
        if status:
            return None
        own = json.loads((out / "split.json").read_text())
        for part in ("validation", "held_out"):
            assert sorted(own[part]) == sorted(split[part]), f"{part} is another than PyTorch's"
        record = json.loads((out / "run.json").read_text())
        ended = [s for s in json.loads((out / "results.json").read_text())["strategies"] if not s.get("error")]
        # Of strategies that are as good the first that was asked for.
        sign = -1 if "loss" in record["configuration"]["monitor"] else 1
        best = max(ended, key=lambda s: sign * s["monitored"])
        there, winners = [], []
        for name, *spent in curve.winners:
            there.append(next(s for s in ended if s["name"] == name))
            so_far = max(there, key=lambda s: sign * s["monitored"])
            winners.append(
                {
                    "strategy": name,
                    "held_out_accuracy": so_far["held_out_accuracy"],
                    "seconds": spent[0],
                    # That which was there only when the process had ended.
                    "processor_seconds": spent[1] or processor,
                }
            )
        shutil.rmtree(out)
        return {
            "held_out_accuracy": best["held_out_accuracy"],
            "held_out_loss": best["held_out"]["score"]["loss"],
            "validation_accuracy": best["validation_accuracy"],
            "seconds": round(seconds, 2),
            "processor_seconds": round(processor, 2),
            "strategy": best["name"],
            "strategies": {s["name"]: s["held_out_accuracy"] for s in ended},
            "winners": winners,
            "curve": curve.lines,
            "versions": record["versions"],
        }

    def theirs(self, row, model):
        job = {
            "model": str(pathlib.Path(model.partition(":")[0]).resolve()),
            "data": str(self.args.data),
            "image_size": row["image_size"],
            "seed": row["seed"],
            "threads": row["threads"],
            "recipe": json.loads(row["flags"]),
            **self.split(row, model),
        }
        self.check(job)
        lines = self.torch({**job, "began": time.time()})
        return lines and {**lines[-1]["came_to"], "curve": lines[:-1]}

    def check(self, job):
        """Sees that the network in PyTorch is the one in the file, once for each."""
        what = job["model"], job["image_size"]
        if what not in self.checked:
            lines = self.torch({**job, "recipe": {"kind": "probe"}, "check": True})
            if not lines:
                raise SystemExit("the network in PyTorch could not be held against onnxruntime")
            self.checked[what] = lines[0]
            bench.say(f"{what[0]} at {what[1]} px: logits differ by {lines[0]['logits_differ_by']:.1e}")

    def torch(self, job):
        """The lines that accuracy_torch.py prints for a job."""
        if self.python is None:
            cache = (
                pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "ftsurgery-peers"
            )
            self.python = bench.environment(cache / "torch", sys.executable, HERE / "requirements.txt")
        asked = self.args.work / "job.json"
        asked.write_text(json.dumps(job))
        threads = {"OMP_NUM_THREADS": str(job["threads"])}
        command = [self.python, HERE / "accuracy_torch.py", asked]
        ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, env={**os.environ, **threads})
        return None if ended.returncode else [json.loads(line) for line in ended.stdout.splitlines()]


class Follower:
    """Looks on as a run of ftsurgery writes its metrics and models: which epoch ended and which model was there when,
    and after how many seconds of the processor."""

    def __init__(self, pid, out, begin):
        self.pid, self.out, self.begin, self.lines = pid, out, begin, []
        # Trial and epoch of each line. Metrics are written anew when a trial goes on.
        self.seen = set()
        # Strategy, seconds, seconds of the processor.
        self.winners = []

    def look(self):
        try:
            strategies = json.loads((self.out / "results.json").read_text())["strategies"]
        except FileNotFoundError:
            strategies = []
        for name in [s["name"] for s in strategies if not s.get("error")]:
            if name not in [known for known, *_ in self.winners]:
                self.winners.append((name, round(time.time() - self.begin, 2), self.processor()))
        for path in sorted(self.out.glob("trials/*/metrics.jsonl")):
            try:
                text = path.read_text()
            except FileNotFoundError:
                continue
            for line in text.splitlines(keepends=True):
                # What is being written is read the next time.
                entry = json.loads(line) if line.endswith("\n") else {}
                if not entry.get("validation") or (path.parent.name, entry["epoch"]) in self.seen:
                    continue
                self.seen.add((path.parent.name, entry["epoch"]))
                self.lines.append(
                    {
                        "trial": path.parent.name,
                        "epoch": entry["epoch"],
                        "validation_accuracy": entry["validation"]["accuracy"],
                        "seconds": round(time.time() - self.begin, 2),
                        "processor_seconds": self.processor(),
                    }
                )

    def processor(self):
        try:
            fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("models", nargs="+", help="ONNX files, each maybe with its preset: a.onnx:signed")
    add("--data", type=pathlib.Path, required=True, help="folder of images by class")
    add("--work", type=pathlib.Path, required=True, help="folder for runs and splits")
    add("--image-size", type=int, nargs="+", default=[128, 224])
    add("--share", type=float, default=0.7, help="of the data, to train on (default 0.7)")
    add("--validation", type=float, default=0.1, help="share of the data (default 0.1)")
    add("--search", type=float, default=0.1, help="share that ours searches on, part of --share (default 0.1)")
    add("--seeds", type=int, nargs="+", default=[0, 1, 2])
    add("--ours", nargs="*", default=["head", "fast", "best"], choices=list(OURS), metavar="NAME")
    add("--theirs", nargs="*", default=["probe", "full", "probe, full"], choices=list(THEIRS), metavar="NAME")
    add("--threads", type=int, default=2)
    add("--ftsurgery", default="target/release/ftsurgery")
    add("--venv", type=pathlib.Path, metavar="DIR", help="environment with PyTorch, onnx, onnxruntime and Pillow")
    add("--ledger", default="docs/accuracy.jsonl", help="file of what runs came to")
    add("--out", type=pathlib.Path, metavar="PATH", help="write the tables into PATH.md, the picture to PATH.svg")
    add("--report-only", action="store_true", help="run nothing")
    return parser.parse_args()


def main():
    args = parse_arguments()
    study = Study(args)
    args.work.mkdir(parents=True, exist_ok=True)
    if not args.report_only:
        bench.say(f"{platform.platform()}, {bench.machine()['cpu']}, {args.threads} threads")
        study.make()
    accuracy_page.write(list(study.rows()), args.out)


if __name__ == "__main__":
    main()
