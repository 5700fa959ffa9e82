"""Times a training step of ftsurgery and of its peers, side by side on this machine.

    python3 tools/peers/bench.py

makes the virtual environments, builds ftsurgery, makes the networks, runs every side in turns (each
measurement in a process of its own), and prints tables. Sides: ftsurgery; PyTorch as people write
it; PyTorch at its best; onnxruntime-training. A side that fails is recorded as failed and the rest
goes on. Nothing else should run meanwhile.
"""

import argparse
import datetime
import hashlib
import json
import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import sys

import tables

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent

# For each network, what is trained when only the last block is, and when only the head is: the
# names of PyTorch's parameters, which the ONNX initializers keep. The last block is the last one
# that repeats in the network's design, without a final convolution behind it.
NETWORKS = {
    "mobilenet_v1": {"block": ["blocks.4.1.*"], "head": ["classifier.*"]},
    "mobilenet_v2": {"block": ["features.17.*"], "head": ["classifier.*"]},
    "mobilenet_v3_small": {"block": ["features.11.*"], "head": ["classifier.*"]},
    "efficientnet_lite0": {"block": ["blocks.6.0.*"], "head": ["classifier.*"]},
    "resnet50": {"block": ["layer4.2.*"], "head": ["fc.*"]},
    "vgg16": {
        "block": ["features.24.*", "features.26.*", "features.28.*"],
        "head": ["classifier.*"],
    },
}
SCOPES = ["all", "block", "head"]
SIDES = ["ftsurgery", "torch", "torch_best", "ort_training"]
# Asked for by name.
MORE_SIDES = ["torch_compiled", "torch_bfloat16"]


def say(text):
    print(text, file=sys.stderr, flush=True)


def listed(choices):
    """A parser of lists such as `a,b` of these choices."""

    def parse(text):
        chosen = text.split(",")
        for item in chosen:
            if item not in choices:
                raise argparse.ArgumentTypeError(f"`{item}` is none of {', '.join(choices)}")
        return chosen

    return parse


def parse_arguments():
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--models", type=listed(NETWORKS), default=list(NETWORKS), metavar="LIST")
    add("--sides", type=listed(SIDES + MORE_SIDES), default=SIDES, metavar="LIST")
    add("--device", default="cpu", help="cpu, or cuda where there is one (not for ort_training)")
    add("--tf32", action="store_true", help="let the GPU multiply in TF32 on all sides")
    add("--train", type=listed(SCOPES), default=SCOPES, metavar="LIST", help="all, block, head")
    add("--batch", default="8,4", metavar="LIST", help="batch sizes (default 8,4)")
    add("--threads", type=int, default=2)
    add("--rounds", type=int, default=3, help="processes per figure (default 3)")
    add("--steps", type=int, default=7, help="timed steps per process (default 7)")
    add("--warmup", type=int, default=2, help="steps before those (default 2)")
    add("--quick", action="store_true", help="one round of two steps at batch 4: does it run?")
    add("--json", type=pathlib.Path, metavar="FILE", help="write all figures, after every process")
    add("--ftsurgery", type=pathlib.Path, metavar="PATH", help="the binary (default: cargo build)")
    add("--runtime", type=pathlib.Path, metavar="PATH", help="onnxruntime library for ftsurgery")
    add("--cache", type=pathlib.Path, default=cache / "ftsurgery-peers", metavar="DIR")
    add("--venv", type=pathlib.Path, metavar="DIR", help="environment with PyTorch to use")
    add("--ort-venv", type=pathlib.Path, metavar="DIR", help="one with onnxruntime-training")
    add("--ort-python", default="python3.11", metavar="PATH", help="Python to make that one with")
    add("--timeout", type=float, default=1800, metavar="SECONDS", help="per process (default 1800)")
    args = parser.parse_args()
    args.batch = [int(size) for size in args.batch.split(",")]
    if args.quick:
        args.rounds, args.steps, args.warmup, args.batch = 1, 2, 1, [4]
    return args


def environment(folder, python, requirements):
    """The Python of a virtual environment that satisfies a requirements file; pip is asked only
    when the file has changed since."""
    interpreter = folder / "bin" / "python"
    stamp = folder / requirements.name
    if not interpreter.exists():
        say(f"making {folder}")
        subprocess.run([python, "-m", "venv", folder], check=True)
    if not stamp.exists() or stamp.read_bytes() != requirements.read_bytes():
        say(f"installing {requirements.name} into {folder}")
        pip = [interpreter, "-m", "pip", "install", "--quiet", "-r", requirements]
        subprocess.run(pip, check=True)
        shutil.copyfile(requirements, stamp)
    return interpreter


def prepare(args):
    """Environments, binary, library and networks; the command of each side, without the figures
    that differ between measurements."""
    if args.venv:
        python = args.venv / "bin" / "python"
    else:
        python = environment(args.cache / "torch", sys.executable, HERE / "requirements.txt")
    place = ["--device", args.device, *(["--tf32"] if args.tf32 else [])]
    forms = {"torch": "written", "torch_best": "best"}
    forms |= {"torch_compiled": "compiled", "torch_bfloat16": "bfloat16"}
    step = [python, HERE / "step_torch.py", *place]
    commands = {side: [*step, "--form", form] for side, form in forms.items()}
    if "ort_training" in args.sides:
        ort_python = args.ort_venv / "bin" / "python" if args.ort_venv else None
        try:
            ort_python = ort_python or environment(
                args.cache / "ort-training",
                args.ort_python,
                HERE / "requirements-ort-training.txt",
            )
            commands["ort_training"] = [ort_python, HERE / "step_ort_training.py"]
        except (OSError, subprocess.CalledProcessError) as error:
            say(f"no onnxruntime-training: {error}")
    binary = args.ftsurgery
    if binary is None:
        subprocess.run(["cargo", "build", "--release", "--quiet"], cwd=ROOT, check=True)
        binary = ROOT / "target" / "release" / "ftsurgery"
    commands["ftsurgery"] = [binary, "bench", "--json", *place]
    # On a GPU it is the one that `ftsurgery runtime install --cuda` has fetched.
    if runtime := args.runtime or (args.device == "cpu" and library(python)):
        commands["ftsurgery"] += ["--runtime", runtime]
    models = models_folder(args.cache)
    subprocess.run([python, HERE / "networks.py", *args.models, "--out", models], check=True)
    return commands, python, models


def models_folder(cache):
    """Where the networks are; those of another recipe must not be taken for these."""
    recipe = hashlib.sha256((HERE / "networks.py").read_bytes()).hexdigest()
    return cache / f"models-{recipe[:8]}"


def library(python):
    """The onnxruntime library of an environment; `None` leaves ftsurgery to find one."""
    code = "import onnxruntime; print(onnxruntime.__path__[0])"
    result = subprocess.run([python, "-c", code], capture_output=True, text=True)
    found = sorted(pathlib.Path(result.stdout.strip()).glob("capi/libonnxruntime.so*"))
    return found[-1] if result.returncode == 0 and found else None


def measure(args, command, side, models, name, patterns, batch):
    """One process: its report, or {"failed": why}."""
    command = [*command]
    if side == "ftsurgery":
        command += [models / f"{name}.onnx"]
    else:
        command += [name, "--models", models]
    for pattern in patterns:
        command += ["--train", pattern]
    for flag in ["threads", "warmup", "steps"]:
        command += [f"--{flag}", getattr(args, flag)]
    command += ["--batch-size", batch, "--image-size", 224]
    variables = {**os.environ, "OMP_NUM_THREADS": str(args.threads)}
    try:
        result = subprocess.run(
            [str(part) for part in command],
            capture_output=True,
            text=True,
            env=variables,
            timeout=args.timeout,
            # What is wrong may be written in any encoding.
            errors="replace",
        )
    except subprocess.TimeoutExpired:
        return {"failed": f"no end within {args.timeout:.0f} s"}
    if result.returncode != 0:
        lines = [line for line in result.stderr.splitlines() if line.strip()]
        lines = [line for line in lines if "rror" in line] or lines
        why = lines[-1] if lines else ""
        # Long messages begin with C++ signatures and end with what is wrong.
        why = why if len(why) < 200 else f"… {why[-200:]}"
        return {"failed": f"exit {result.returncode}: {why}"}
    if side != "ftsurgery":
        return json.loads(result.stdout.splitlines()[-1])
    report = json.loads(result.stdout)
    return {**report, "seconds": report["seconds"]["all"]}


def gemm(args, python):
    """The best rate of dense products in operations per second."""
    result = subprocess.run(
        [python, HERE / "gemm.py", "--threads", str(args.threads), "--device", args.device],
        capture_output=True,
        text=True,
        check=True,
    )
    return max(json.loads(result.stdout).values())


def machine():
    """What a reader must know of this machine."""
    model = platform.processor()
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.split(":")[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        pass
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "load": os.getloadavg()[0],
    }


def main():
    args = parse_arguments()
    commands, python, models = prepare(args)
    results = {
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "threads": args.threads,
        "rounds": args.rounds,
        "steps": args.steps,
        "warmup": args.warmup,
        "gemm": [],
        "cases": [
            {"train": scope, "batch": batch, "model": name, "sides": {s: [] for s in args.sides}}
            for scope in args.train
            for batch in args.batch
            for name in args.models
        ],
    }
    if results["machine"]["load"] > 0.5:
        say(f"warning: the load is {results['machine']['load']:.1f}; figures need an idle machine")
    for round_number in range(1, args.rounds + 1):
        for case in results["cases"]:
            results["gemm"].append(gemm(args, python))
            for side, reports in case["sides"].items():
                if reports and "failed" in reports[-1]:
                    continue
                patterns = NETWORKS[case["model"]].get(case["train"], [])
                if side in commands:
                    report = measure(
                        args, commands[side], side, models, case["model"], patterns, case["batch"]
                    )
                else:
                    report = {"failed": "its environment could not be made"}
                reports.append(report)
                told = report.get("failed") or f"{statistics.median(report['seconds']):.3f} s"
                say(
                    f"round {round_number}: {case['model']} train {case['train']} "
                    f"batch {case['batch']} {side}: {told}"
                )
                if args.json:
                    args.json.write_text(json.dumps(results, indent=1))
    print(tables.render(results))


if __name__ == "__main__":
    main()
