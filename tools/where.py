#!/usr/bin/env python3
"""Where a training step runs, and how fast: the table of docs/training-graph.md.

    python3 tools/where.py mobilenet_v2.onnx --batch-size 8 --threads 2
    python3 tools/where.py mobilenet_v2.onnx --ort-training-python ort119/bin/python --node-modules node_modules

Each line is the same step (forward pass, cross-entropy, gradients of all weights, Adam) on made-up images, in a process of
its own, and says the command it was measured by. A place that is not at hand (no node, no GPU) is `not run`, with the reason.
Nothing else should run meanwhile; on a machine that others use, --processor-time tells what a step takes of one processor, as
the difference between a process of few steps and one of more. Needs `numpy` and `onnxruntime`; the other places what their lines name.
"""

import argparse
import http.server
import json
import os
import pathlib
import queue
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import threading

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
RATE = 1e-4


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("model", type=pathlib.Path)
    add("--ftsurgery", type=pathlib.Path, default=ROOT / "target" / "release" / "ftsurgery")
    add("--batch-size", type=int, default=8)
    add("--image-size", type=int, default=224)
    add("--threads", type=int, default=2)
    add("--steps", type=int, default=7, help="timed steps (default 7)")
    add("--processor-time", action="store_true", help="of one thread, instead of the clock's time of --threads")
    add("--warmup", type=int, default=2)
    add("--timeout", type=float, default=600, help="seconds for each place (default 600)")
    add("--node-modules", type=pathlib.Path, help="a folder with onnxruntime-node and onnxruntime-web")
    add("--chromium", default="chromium", help="the browser (default chromium)")
    add("--ort-training-python", type=pathlib.Path, help="a Python with onnxruntime-training 1.19.2")
    add("--only", default="", help="only places whose name has this in it")
    parser.set_defaults(beyond=0.0)
    return parser.parse_args()


class NotRun(Exception):
    """Why a place was not measured."""


def output(command, args, **variables):
    """What a command prints; why it fails, where it does."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=args.timeout,
            env={**os.environ, **variables},
        )
    except FileNotFoundError:
        raise NotRun(f"there is no `{words[0]}`") from None
    except subprocess.TimeoutExpired:
        raise NotRun(f"no end within {args.timeout:.0f} s") from None
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or ["no message"]
        errors = [line for line in lines if "rror" in line] or lines
        raise NotRun(errors[0][:160])
    return done.stdout


def bench(*flags):
    """Median seconds of `ftsurgery bench` with these flags."""

    def measure(args, _files):
        command = [args.ftsurgery, "bench", args.model, *flags, "--json"]
        for flag in ["batch-size", "image-size", "threads", "steps", "warmup"]:
            command += [f"--{flag}", getattr(args, flag.replace("-", "_"))]
        return json.loads(output(command, args))["seconds"]["median"]

    words = " ".join(["ftsurgery bench MODEL", *flags])
    return measure, words


def in_python(args, files):
    return seconds_of(args, [sys.executable, __file__, "python", files / "step.onnx", files / "state.npz"])


def in_training(args, files):
    if not args.ort_training_python:
        raise NotRun("--ort-training-python is not given")
    return seconds_of(args, [args.ort_training_python, HERE / "where.py", "training", files / "artifacts", "-"])


def in_node(package):
    def measure(args, files):
        if not args.node_modules:
            raise NotRun("--node-modules is not given")
        command = ["node", HERE / "where.mjs", package, files / "step.onnx", files / "state.safetensors"]
        # An ES module finds packages by its own place alone.
        return seconds_of(args, command, ORT_MODULES=str(args.node_modules.resolve()))

    return measure


def in_browser(args, files):
    """As in node, by a page that is served to headless Chromium, with the headers that give it threads."""
    if not args.node_modules:
        raise NotRun("--node-modules is not given")
    said = queue.Queue()
    web = args.node_modules / "onnxruntime-web" / "dist"

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            name = self.path.lstrip("/")
            own = {"": b"<script type=module src=where.mjs></script>", "numbers.json": json.dumps(numbers(args)).encode()}
            places = [HERE / name] if name == "where.mjs" else [files / name, web / name.removeprefix("ort/")]
            there = [place for place in places if place.is_file()]
            body = own.get(name) if name in own else there[0].read_bytes() if there else None
            self.send_response(404 if body is None else 200)
            kind = {".mjs": "text/javascript", ".wasm": "application/wasm", "": "text/html"}
            self.send_header("Content-Type", kind.get(pathlib.Path(name).suffix, "application/octet-stream"))
            self.send_header("Cross-Origin-Opener-Policy", "same-origin")
            self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
            self.end_headers()
            self.wfile.write(body or b"")

        def do_POST(self):
            said.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", f"--user-data-dir={profile}"]
        command = [args.chromium, *flags, f"http://127.0.0.1:{server.server_port}/"]
        try:
            browser = subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
            )
        except FileNotFoundError:
            raise NotRun(f"there is no `{args.chromium}`") from None
        try:
            seconds = said.get(timeout=args.timeout)
        except queue.Empty:
            raise NotRun(f"no end within {args.timeout:.0f} s") from None
        finally:
            args.beyond += spent_by_children_of(browser.pid)
            os.killpg(browser.pid, signal.SIGKILL)
            browser.wait()
            server.shutdown()
    if isinstance(seconds, str):
        raise NotRun(seconds[:160])
    return statistics.median(seconds)


def spent_by_children_of(leader):
    """Seconds of a processor that the other processes of a session have taken, which nobody waits for."""
    ticks = 0
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == leader and int(stat.parent.name) != leader:
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def numbers(args):
    return [args.batch_size, args.image_size, args.threads, args.warmup, args.steps]


def seconds_of(args, command, **variables):
    """Median seconds of a program that prints those of each step."""
    lines = output([*command, *numbers(args)], args, **variables).splitlines()
    return statistics.median(json.loads(lines[-1]))


def processor_seconds(measure, args, files):
    """What a step takes of a processor."""
    def used(steps):
        few = argparse.Namespace(**{**vars(args), "steps": steps, "warmup": 1, "threads": 1, "beyond": 0.0})
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        measure(few, files)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime + few.beyond

    return (used(args.steps + 1) - used(1)) / args.steps


PLACES = [
    ("processor: our kernels", *bench()),
    ("processor: standard operators", *bench("--operators", "standard")),
    ("processor: our kernels, the optimizer in the graph", *bench("--optimizer-in-graph")),
    (
        "processor: standard operators, the optimizer in the graph",
        *bench("--operators", "standard", "--optimizer-in-graph"),
    ),
    ("Python, onnxruntime", in_python, "differentiate MODEL --optimizer adam"),
    ("Python, onnxruntime-training 1.19.2", in_training, "differentiate MODEL --format ort-training"),
    ("node, onnxruntime-node", in_node("onnxruntime-node"), "differentiate MODEL --optimizer adam"),
    ("node, onnxruntime-web in WebAssembly", in_node("onnxruntime-web"), "differentiate MODEL --optimizer adam"),
    ("browser, headless Chromium", in_browser, "differentiate MODEL --optimizer adam"),
    ("GPU", *bench("--device", "cuda")),
    ("GPU, TF32", *bench("--device", "cuda", "--tf32")),
]


def differentiate(args, folder):
    """The graph that trains, with its state in both forms, and the files of onnxruntime-training."""
    common = [args.ftsurgery, "--quiet", "differentiate", args.model, "--batch-size", args.batch_size]
    common += ["--image-size", args.image_size]
    graph = [*common, "--optimizer", "adam", "--out", folder / "step.onnx", "--state"]
    for state in ["state.npz", "state.safetensors"]:
        output([*graph, folder / state, "--force"], args)
    output([*common, "--format", "ort-training", "--optimizer", "adam", "--out", folder / "artifacts"], args)


def batch(count, side):
    """Images `[count, 3, side, side]` and labels, as `ftsurgery bench` makes them."""
    import numpy as np

    total = count * 3 * side * side
    bits = (np.arange(total, dtype=np.uint32) * np.uint32(2654435769)) >> np.uint32(8)
    images = (bits.astype(np.float32) / np.float32(2**23) - np.float32(1)) * np.sqrt(np.float32(3))
    return images.reshape(count, 3, side, side), np.arange(count, dtype=np.int64) % 1000


def timed(step, warmup, steps):
    import time

    for _ in range(warmup):
        step()
    seconds = []
    for _ in range(steps):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    print(json.dumps(seconds))


def run_python(step, state, count, side, threads, warmup, steps):
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(step, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    images, labels = batch(count, side)
    own = {session.get_inputs()[0].name: images, "labels": labels, "learning_rate": np.array(RATE, np.float32)}
    now = dict(np.load(state))

    def once():
        out = dict(zip(names, session.run(None, own | now)))
        for name in now:
            now[name] = out["next/" + name]

    timed(once, warmup, steps)


def run_training(folder, _state, count, side, threads, warmup, steps):
    import types

    # Its optimizers for PyTorch import PyTorch, which nothing here needs.
    sys.modules["onnxruntime.training.optim"] = types.ModuleType("onnxruntime.training.optim")
    import onnxruntime
    from onnxruntime.training.api import CheckpointState, Module, Optimizer

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    state = CheckpointState.load_checkpoint(f"{folder}/checkpoint")
    files = [f"{folder}/training_model.onnx", state, f"{folder}/eval_model.onnx"]
    module = Module(*files, device="cpu", session_options=options)
    optimizer = Optimizer(f"{folder}/optimizer_model.onnx", module)
    optimizer.set_learning_rate(RATE)
    images, labels = batch(count, side)
    module.train()

    def once():
        module(images, labels)
        optimizer.step()
        module.lazy_reset_grad()

    timed(once, warmup, steps)


def main():
    own = {"python": run_python, "training": run_training}
    if len(sys.argv) > 1 and sys.argv[1] in own:
        run, files, state, *numbers = sys.argv[1:]
        own[run](files, state, *map(int, numbers))
        return
    args = parse_arguments()
    what = "processor time of a step" if args.processor_time else "a step"
    print(f"| where | {what} of {args.batch_size} images of {args.image_size} pixels | by |")
    print("| --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        files = pathlib.Path(folder)
        differentiate(args, files)
        for name, measure, command in PLACES:
            if args.only not in name:
                continue
            try:
                by = processor_seconds if args.processor_time else lambda measure, *rest: measure(*rest)
                told = f"{by(measure, args, files):.3f} s"
            except NotRun as reason:
                told = f"not run: {reason}"
            print(f"| {name} | {told} | `{command}` |", flush=True)


if __name__ == "__main__":
    main()
