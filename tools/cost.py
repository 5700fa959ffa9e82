#!/usr/bin/env python3
"""Measures how the time of `ftsurgery tune` grows with candidates, images and machines, and prints tables.

    python3 tools/cost.py onnx-models/fashion_mobilenet.onnx --work FOLDER

Makes images in FOLDER where they are not there (`tools/make_image_folder.py`, which needs Pillow). Every trial
has one thread. The tables of candidates and images are of one process on one processor; that of machines is
of Slurm tasks of one processor each, on a Slurm of two nodes on this machine (`tests/engines/slurm.sh`), and is
left out where there is no Slurm.

What the cost model says stands beside what was measured: a trial takes `steps * (a + b * operations of a step)`
seconds, with a and b fitted (least squares) to the trials of `head`, `full` and `blocks` on the fewest images,
which are not among the predicted ones. Linux only.
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).parent
ENGINE = HERE.parent / "tests" / "engines" / "slurm.sh"


class Run:
    """A finished run: what was asked, what its trials took, and what the whole command took."""

    def __init__(self, args, name, images, strategies, *more, environment=None):
        out = args.work / name
        shutil.rmtree(out, ignore_errors=True)
        data = args.work / f"images-{images}"
        if not data.exists():
            make = [sys.executable, HERE / "make_image_folder.py", data, "--images", str(images)]
            subprocess.run([*make, "--classes", "4", "--side", "32"], check=True)
        command = [args.ftsurgery, "--quiet", "tune", args.model, "--data", data, "--out", out]
        command += ["--strategies", strategies, "--epochs", str(args.epochs), "--threads", "1"]
        command += ["--search-epochs", str(args.epochs), "--memory-budget", "1GiB"]
        command += ["--search-fraction", "0.3", "--train-fraction", "0.3", "--head", "paper", "--head-init", "random"]
        command += ["--optimizer", "adam", "--lr", "1e-4", "--schedule", "constant", "--batch-size", "4"]
        command += ["--rank-samples", "0", *more]
        begin = time.monotonic()
        subprocess.run(command, stdout=subprocess.DEVNULL, env=environment, check=True)
        self.seconds = time.monotonic() - begin
        self.parts = json.loads((out / "run.json").read_text())["data"]["parts"]
        self.batch = json.loads((out / "run.json").read_text())["configuration"]["batch_size"]
        records = (out / "trials.jsonl").read_text().splitlines()
        self.trials = [r for r in map(json.loads, records) if not r.get("same_as")]
        # What the first round asks for, with the operations of a step of each trial.
        self.planned = args.work / f"planned-{name}"
        shutil.rmtree(self.planned, ignore_errors=True)
        command[2], command[7] = "plan", self.planned
        lines = subprocess.run(command[: len(command) - len(more)], stdout=subprocess.PIPE, check=True).stdout
        self.asked = [a for a in map(json.loads, lines.splitlines()) if "id" in a]

    def size(self, trial):
        """Steps of a trial, and the floating-point operations of one."""
        searches = trial["id"].endswith("-search")
        images = self.parts["search"] + (0 if searches else self.parts["train"])
        # The winner of a search has the step of the candidate that it was.
        ids = trial["id"], trial["id"].removesuffix("-train") + "-search"
        flops = next(a["flops"] for a in self.asked if a["id"] in ids)
        return -(-images // self.batch) * trial["epochs"], flops

    def around(self):
        """Seconds in which no trial ran."""
        return self.seconds - sum(t["seconds"] for t in self.trials)


def written_by(args, run, *trials):
    """Bytes that `ftsurgery trial` has written to a file system."""
    child = subprocess.Popen([args.ftsurgery, "--quiet", "trial", run, *trials])
    _, status, usage = os.wait4(child.pid, 0)
    assert status == 0
    return usage.ru_oublock * 512


def fit(trials):
    """`a` and `b` of seconds = steps * (a + b * flops), for triples of steps, flops and seconds."""
    rows = [(steps, steps * flops, seconds) for steps, flops, seconds in trials]
    xx, xy, yy, xs, ys = (sum(r[i] * r[j] for r in rows) for i, j in [(0, 0), (0, 1), (1, 1), (0, 2), (1, 2)])
    below = xx * yy - xy * xy
    return (xs * yy - ys * xy) / below, (ys * xx - xs * xy) / below


def divided(asked, tasks):
    """The trials of each task, as `src/cluster/divide.rs` divides them."""
    ordered = sorted(asked, key=lambda a: a["stage"])
    work = [a["flops"] * a["epochs"] for a in ordered]
    groups, before = [[] for _ in range(tasks)], 0
    for trial, w in zip(ordered, work):
        groups[(2 * before + w) * tasks // (2 * sum(work))].append(trial["id"])
        before += w
    return [group for group in groups if group]


def table(*head):
    print()
    print("|", " | ".join(head), "|")
    print("|", " | ".join("---" for _ in head), "|")


def row(*cells):
    print("|", " | ".join(cells), "|", flush=True)


def by_candidates_and_images(args):
    fewest = args.images[0]
    fitted = [Run(args, f"fitted-{s}", fewest, s) for s in ("head", "full", "blocks")]
    a, b = fit([(*run.size(t), t["seconds"]) for run in fitted for t in run.trials])
    around = sum(run.around() for run in fitted) / len(fitted)
    print(f"fitted: a = {1000 * a:.2f} ms, 1/b = {1e-9 / b:.1f} GFLOP/s, and {around:.1f} s around the trials")
    table("images", "strategies", "trials", "operations", "measured", "by the model", "difference")
    runs = [(fewest, s) for s in args.strategies] + [(i, "blocks") for i in args.images[1:]]
    for images, strategies in runs:
        run = Run(args, "run", images, strategies)
        sizes = [run.size(t) for t in run.trials]
        predicted = around + sum(steps * (a + b * flops) for steps, flops in sizes)
        row(
            f"{images:,}",
            f"`{strategies}`",
            str(len(run.trials)),
            f"{sum(steps * flops for steps, flops in sizes) / 1e9:,.0f} GFLOP",
            f"{run.seconds:.1f} s",
            f"{predicted:.1f} s",
            f"{100 * (predicted / run.seconds - 1):+.0f} %",
        )
    blocks = fitted[-1]
    ids = [a["id"] for a in blocks.asked[:3]]
    one, two = (written_by(args, blocks.planned, *some) for some in (ids[:1], ids[1:]))
    print(f"\nwritten by `trial`: {one / 1024:.0f} KiB with one trial, {two / 1024:.0f} KiB with two more")


def by_tasks(args):
    slurm = args.work / "slurm"
    shutil.rmtree(slurm, ignore_errors=True)
    if subprocess.run([ENGINE, "start", slurm]).returncode != 0:
        sys.exit("no table of Slurm tasks: Slurm did not start")
    environment = {**os.environ, "SLURM_CONF": str(slurm / "slurm.conf")}
    try:
        images = args.images[-1]
        here = Run(args, "here", images, "blocks")
        seconds = {t["id"]: t["seconds"] for t in here.trials}
        winner = sum(s for i, s in seconds.items() if not i.endswith("-search"))
        print(f"\nthe search's trials take {sum(seconds.values()) - winner:.1f} s, the winner {winner:.1f} s")
        around = None
        table("tasks", "measured", "trials' time in all", "by the model", "of which the winner")
        for tasks in args.tasks:
            more = ["--executor", "slurm", "--slurm-tasks", str(tasks)]
            run = tasks <= args.processors and Run(args, "run", images, "blocks", *more, environment=environment)
            longest = max(sum(seconds[i] for i in group) for group in divided(here.asked, tasks))
            if around is None and run:  # of the first: to start Slurm's jobs, and the processes in them
                around = run.seconds - longest - winner
            row(
                str(tasks),
                f"{run.seconds:.1f} s" if run else "not run",
                f"{sum(t['seconds'] for t in run.trials):.1f} s" if run else "",
                f"{around + longest + winner:.1f} s" if around is not None else "",
                f"{winner:.1f} s",
            )
    finally:
        subprocess.run([ENGINE, "stop", slurm])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--images", type=int, nargs="+", default=[1000, 2000, 4000])
    strategies = ["layers", "windows", "layers,blocks,windows"]
    parser.add_argument("--strategies", nargs="+", default=strategies)
    parser.add_argument("--tasks", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--processors", type=int, default=4, help="tasks that are run; more are predicted")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--ftsurgery", default="ftsurgery")
    args = parser.parse_args()
    args.work = args.work.resolve()
    args.work.mkdir(parents=True, exist_ok=True)
    by_candidates_and_images(args)
    if shutil.which("sbatch"):
        by_tasks(args)
    else:
        print("\nno table of Slurm tasks: there is no sbatch here")


if __name__ == "__main__":
    main()
