#!/usr/bin/env python3
"""Carries out a run of ftsurgery on a Ray cluster.

    ftsurgery plan MODEL --data DATA --out RUN
    python3 on_ray.py RUN

`ftsurgery collect RUN` says which trials can run now; each becomes a Ray task that runs `ftsurgery trial`
on the node where Ray puts it, and is shown by the trial's name in Ray's dashboard. When all have ended,
`collect` ranks them and says what comes next, until the models are written.

RUN, the model, the data, onnxruntime and ftsurgery itself must have the same paths on all nodes: a shared
folder. Nothing but names of trials and exit codes goes through Ray. A task whose worker or node is lost is
started again by Ray, and its trial goes on from its checkpoint in RUN. So does this script, when it is
started again after Ctrl-C or any other end.

Needs Python 3.9 and `pip install ray`. Exit codes: 0 the run is complete, 1 trials or the cluster failed, 2
bad usage, 130 and 143 stopped by SIGINT and SIGTERM; else that of `ftsurgery collect`.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import ray

# How often a trial is submitted before it counts as failed. Lost workers and nodes do not count: Ray
# starts their tasks again by itself.
SUBMISSIONS = 3
# How often Ray starts a task again whose worker or node is lost.
RETRIES = 10
# Exit code of `ftsurgery trial` (EX_TEMPFAIL): another process has the trial.
HELD = 75
# Seconds that a trial has to save itself.
GRACE = 60


@dataclass(frozen=True)
class Trial:
    """A line of `ftsurgery collect`: a trial that can run now."""

    id: str
    round: int
    stage: int
    threads: int
    side_by_side: int
    bytes: int | None  # of a step, where known

    @property
    def key(self) -> tuple[int, str]:
        """A trial that goes on in a later round keeps its name."""
        return self.round, self.id

    @staticmethod
    def parse(line: dict) -> Trial:
        return Trial(**{name: line[name] for name in Trial.__dataclass_fields__})


def save_when_worker_ends() -> None:
    """In the new process: SIGTERM when the worker is gone, so that its trial does not go on unseen while
    another node has it. Linux only; elsewhere the lock of the trial makes the other node wait."""
    if sys.platform == "linux":
        parent_death_signal = 1  # PR_SET_PDEATHSIG
        ctypes.CDLL(None).prctl(parent_death_signal, signal.SIGTERM)


def run_to_end(command: list[str]) -> int:
    """The exit code of a command, which is asked to save itself when Ray cancels the task."""
    process = subprocess.Popen(command, preexec_fn=save_when_worker_ends)
    try:
        # Ray's cancellation is noticed between two looks, not within a wait.
        while process.poll() is None:
            time.sleep(0.1)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(GRACE)
            except subprocess.TimeoutExpired:
                process.kill()
    return process.returncode


def carry_out(ftsurgery: str, run: str, ids: list[str]) -> tuple[int, str]:
    """The task: exit code of `ftsurgery trial`, and the node."""
    command = [ftsurgery, "trial", run, *ids]
    # A lost task's process may still be about to save itself.
    until = time.monotonic() + 2 * GRACE
    while True:
        code = run_to_end(command)
        if code != HELD or time.monotonic() > until:
            return code, socket.gethostname()
        time.sleep(2)


def collect(ftsurgery: str, run: str) -> tuple[list[Trial], bool]:
    """The trials that can run now, and whether all is done."""
    answer = subprocess.run([ftsurgery, "collect", run], stdout=subprocess.PIPE, text=True)
    if answer.returncode != 0:
        sys.exit(answer.returncode)
    *trials, end = (json.loads(line) for line in answer.stdout.splitlines())
    return [Trial.parse(trial) for trial in trials], end["done"]


def divide(trials: list[Trial], each: int) -> list[list[Trial]]:
    """Groups of neighbouring stages, which share frozen layers."""
    trials = sorted(trials, key=lambda trial: (trial.round, trial.stage))
    return [trials[i : i + each] for i in range(0, len(trials), each)]


def submit(ftsurgery: str, run: str, group: list[Trial]) -> ray.ObjectRef:
    """Starts a task for a group of trials; what it needs is what those need that run side by side."""
    at_once = min(group[0].side_by_side, len(group))
    name = group[0].id + (f" and {len(group) - 1} more" if len(group) > 1 else "")
    task = ray.remote(carry_out).options(
        name=name,
        num_cpus=at_once * max(trial.threads for trial in group),
        memory=at_once * max(trial.bytes or 0 for trial in group),
        max_retries=RETRIES,
    )
    return task.remote(ftsurgery, run, [trial.id for trial in group])


def stop_all(tasks: list[ray.ObjectRef]) -> None:
    """Cancels tasks and gives their trials time to save themselves."""
    for task in tasks:
        ray.cancel(task)
    if tasks:
        ray.wait(tasks, num_returns=len(tasks), timeout=GRACE)


def carry_out_all(ftsurgery: str, run: str, groups: list[list[Trial]]) -> None:
    """Runs the groups to their ends, good or bad; prints a line for each."""
    under_way = {submit(ftsurgery, run, group): group for group in groups}
    count = len(under_way)
    try:
        while under_way:
            for task in ray.wait(list(under_way), timeout=1)[0]:
                names = ", ".join(trial.id for trial in under_way.pop(task))
                try:
                    code, node = ray.get(task)
                    end = f"on {node}" + (f" failed with exit code {code}" if code else "")
                except ray.exceptions.RayError as error:
                    end = f"failed: {error}"
                print(f"[{count - len(under_way)}/{count}] {names} {end}", flush=True)
    finally:
        stop_all(list(under_way))


def execute(ftsurgery: str, run: str, trials_per_task: int) -> None:
    """Round after round, until the run is complete."""
    submitted: Counter[tuple[int, str]] = Counter()
    while True:
        trials, done = collect(ftsurgery, run)
        if done:
            print(f"{run} is complete")
            return
        lost = [trial.id for trial in trials if submitted[trial.key] == SUBMISSIONS]
        if lost:
            sys.exit(f"given up after {SUBMISSIONS} attempts: {', '.join(lost)}")
        # A trial that ended its process gets a process of its own, so that it ends no other.
        again = [trial for trial in trials if trial.key in submitted]
        first = [trial for trial in trials if trial.key not in submitted]
        submitted.update(trial.key for trial in trials)
        carry_out_all(ftsurgery, run, divide(again, 1) + divide(first, trials_per_task))


class Stop:
    """Handles signals to stop: Ray lets one exception through, that of Ctrl-C."""

    signal = signal.SIGINT

    def __call__(self, number: int, _frame: object) -> None:
        self.signal = number
        raise KeyboardInterrupt


def main() -> None:
    description = __doc__.split("\n\n")[0]
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("run", type=Path, help="a run that `ftsurgery plan` has begun")
    parser.add_argument("--address", default="auto", help="the cluster, as ray.init takes it [auto]")
    parser.add_argument("--ftsurgery", default="ftsurgery", help="the binary, as all nodes find it")
    parser.add_argument(
        "--trials-per-task", type=int, default=1, metavar="N",
        help="trials of neighbouring stages that share a process and its frozen layers [1]",
    )  # fmt: skip
    arguments = parser.parse_args()
    if arguments.trials_per_task < 1:
        parser.error("--trials-per-task must be 1 or more")
    ftsurgery = shutil.which(arguments.ftsurgery)
    if ftsurgery is None:
        parser.error(f"there is no executable {arguments.ftsurgery}")
    # Workers have the environment of `ray start`: what is meant for ftsurgery goes along.
    variables = {k: v for k, v in os.environ.items() if k.startswith(("FTSURGERY_", "ORT_"))}
    try:
        ray.init(address=arguments.address, runtime_env={"env_vars": variables})
    except ConnectionError as error:
        sys.exit(f"no Ray cluster at {arguments.address} (`ray start --head` begins one): {error}")
    stop = Stop()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    try:
        execute(os.path.abspath(ftsurgery), str(arguments.run.resolve()), arguments.trials_per_task)
    except KeyboardInterrupt:
        print("stopped; the same command goes on", file=sys.stderr)
        sys.exit(128 + stop.signal)


if __name__ == "__main__":
    main()
