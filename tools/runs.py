"""Runs of `ftsurgery tune` that studies make."""

import subprocess
import sys


def tuned(args, model, data, out, flags, image_size=None):
    """The run in the folder `out`, as a study's `args` have it: of `model`, maybe with its preset (a.onnx:signed), on
    `data`. It goes on where it was stopped. Gives whether it came to an end; what failed is printed."""
    path, _, preset = model.partition(":")
    command = [args.ftsurgery, "--quiet", "tune"]
    if (out / "run.json").exists():
        command += ["--resume", str(out)]
    else:
        command += [path, "--data", str(data), "--out", str(out), "--image-cache", "disk", *flags]
        command += ["--preprocess", preset] if preset else []
        command += ["--image-size", image_size] if image_size else []
        command += ["--threads", str(args.threads)] if args.threads else []
    ended = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if ended.returncode:
        print(f"{out}: {ended.stderr.strip()}", file=sys.stderr)
    return ended.returncode == 0
