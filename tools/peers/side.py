"""What every side of the comparison shares: the batch, the loop, and the report."""

import argparse
import fnmatch
import json
import pathlib
import time

import numpy as np

# Learning rate of Adam, small enough that random networks stay put.
RATE = 1e-4


# Bytes held before there is a network; set by `arguments`, which every side calls first.
LIBRARIES = None


def arguments(description):
    """A parser of the flags that bench.py gives every side."""
    global LIBRARIES
    LIBRARIES = held("VmRSS:")
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("model", help="name of the network")
    parser.add_argument("--models", type=pathlib.Path, required=True, help="folder of networks.py")
    parser.add_argument("--train", action="append", default=[], help="patterns; none for all")
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--warmup", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True)
    return parser


def batch(size, image_size, classes=1000):
    """Inputs [size, 3, image_size, image_size] and labels, as `ftsurgery bench` makes them."""
    count = size * 3 * image_size * image_size
    bits = (np.arange(count, dtype=np.uint32) * np.uint32(2654435769)) >> np.uint32(8)
    inputs = (bits.astype(np.float32) / np.float32(2**23) - np.float32(1)) * np.sqrt(np.float32(3))
    labels = np.arange(size, dtype=np.int64) % classes
    return inputs.reshape(size, 3, image_size, image_size), labels


def is_trained(name, patterns):
    """Whether a parameter is trained under these patterns."""
    return not patterns or any(fnmatch.fnmatchcase(name, p) for p in patterns)


def run(step, warmup, steps, **more):
    """Runs `step`, which gives the loss, and prints the report as one line of JSON."""
    losses = [step() for _ in range(warmup)]
    before = peak()
    restarted = restart_peak()
    seconds = []
    for _ in range(steps):
        start = time.perf_counter()
        losses.append(step())
        seconds.append(time.perf_counter() - start)
    after = peak()
    memory = {
        "libraries": LIBRARIES,
        "steps": after if restarted else None,
        "process": max(before, after) if before else None,
    }
    print(json.dumps({"seconds": seconds, "losses": losses, "peak_memory": memory, **more}))


def held(field):
    """A figure of this process's memory in bytes, where Linux tells it."""
    try:
        lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(field)), None)


def peak():
    """The most bytes this process has held at a time, or since `restart_peak`."""
    return held("VmHWM:")


def restart_peak():
    """Sets the peak back to what is held now; whether that worked."""
    try:
        pathlib.Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True
