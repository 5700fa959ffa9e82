#!/usr/bin/env python3
"""Tries ftsurgery on small models that frameworks write here, and tells what came of it.

usage: try_frameworks.py [--python PYTHON]... [--ftsurgery PATH] [--work FOLDER] [--doc docs/exporters.md] [NAME ...]

`framework_models.py` makes the models (all, or those whose name begins with NAME), run by each --python: frameworks
that do not go together have an environment of their own each. Without any, models that are in --work are tried. For each of them:

- `ftsurgery gradients` of all parameters on a random batch, held against a central difference as in try_exporters.py.
- `ftsurgery tune`, the strategies `head` and `full` for an epoch, on digits of this repository in the model's image size, with
  no word on how it wants its pixels: *pixels* is what ftsurgery took, and who said so; what contradicts the maker is
  told.
- `ftsurgery evaluate` and `predict` on the tuned model; and onnxruntime itself, each image alone and
  five together, on pixels that are prepared here as the model's metadata say. *apart* is the largest difference of a probability.
- *metadata*: what the model says in metadata of other tools, before and after.

With --doc, the table between the markers of that file is replaced. Needs Python 3.10 or newer with numpy, onnx,
onnxruntime and Pillow; what frameworks are tried is up to what the other Pythons have: torch, torchvision, onnxscript, timm,
fastai, ultralytics with onnxslim, transformers, open_clip_torch, optimum-onnx, keras with tensorflow and tf2onnx, flax with jax2onnx,
paddlepaddle with paddle2onnx (which wants packaging), scikit-learn with skl2onnx.
"""

import argparse
import json
import pathlib
import shutil
import subprocess

import numpy as np
import onnx
import onnxruntime
from PIL import Image
from doc_table import write_table
from try_exporters import command, initializers, slope

ROOT = pathlib.Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- frameworks -->", "<!-- /frameworks -->"
# Of models that leave it open.
SIDE, BATCH = 64, 5
HEADER = ["model", "written by", "pixels", "gradients", "difference", "tune", "batch", "apart", "metadata"]


def image_input(model):
    """The input, the sizes [channels, height, width] of a sample, 0 where they are open, and whether channels are last."""
    stored = initializers(model)
    value = [i for i in model.graph.input if i.name not in stored][0]
    _, *dims = [d.dim_value for d in value.type.tensor_type.shape.dim]
    last = len(dims) == 3 and dims[2] in (1, 3) and dims[0] not in (1, 3)
    return value, [dims[2], *dims[:2]] if last else dims, last


def metadata(model):
    return {e.key: e.value for e in model.metadata_props if not e.key.startswith("ftsurgery.")}


def pictures(folder, height, width):
    """Digits of three classes in this size, in colours."""
    shutil.rmtree(folder, ignore_errors=True)
    for number in "123":
        (folder / number).mkdir(parents=True)
        for path in sorted((ROOT / "fixtures/digits" / number).iterdir())[:8]:
            grey = np.asarray(Image.open(path).convert("L").resize((width, height)), float)
            colours = np.stack([grey, 255 - grey, 0.6 * grey], axis=-1)
            Image.fromarray(colours.astype(np.uint8)).save(folder / number / path.name)
    return folder


def prepared(paths, how, last, dtype):
    """Images as the model's metadata want them; they have its size."""
    x = np.stack([np.asarray(Image.open(p).convert("RGB"), float) for p in paths])
    x = (x * how["scale"] - how["mean"]) / how["std"]
    x = x[..., ::-1] if how["order"] == "bgr" else x
    return (x if last else x.transpose(0, 3, 1, 2)).astype(dtype)


def probabilities(session, x, classes):
    """What the model gives, by batches of one, and of all if it takes them."""
    first, *idle = session.get_inputs()
    fed = {i.name: np.zeros(i.shape, np.float32) for i in idle}
    several = [len(x)] if not isinstance(first.shape[0], int) else []
    for rows in [1, *several]:
        parts = [session.run(None, fed | {first.name: x[i : i + rows]}) for i in range(0, len(x), rows)]
        scores = [np.concatenate(each) for each in zip(*parts) if each[0].shape[1:] == (classes,)][0]
        scores = scores.astype(float)
        if np.allclose(scores.sum(axis=1), 1, atol=1e-2) and scores.min() >= 0:
            yield rows, scores
        else:
            e = np.exp(scores - scores.max(axis=1, keepdims=True))
            yield rows, e / e.sum(axis=1, keepdims=True)


def gradients(args, path, wants):
    """How many parameters have one, and how far off the slope is."""
    model = onnx.load(path)
    _, dims, last = image_input(model)
    rng = np.random.default_rng(1)
    shape = (2, *dims) if len(dims) != 3 else (2, dims[0] or 3, dims[1] or SIDE, dims[2] or SIDE)
    x = rng.integers(0, 256, shape) if wants == "raw" else rng.uniform(0, 1, shape) if wants else rng.normal(0, 1, shape)
    x, y = x.astype(np.float32), rng.integers(0, 3, 2)
    batch, out = args.work / "batch.npz", args.work / "gradients.npz"
    np.savez(batch, x=x, y=y)
    code, said = command(args, "gradients", path, "--batch", batch, "--out", out)
    if code:
        return ["no", said.removeprefix("error: ").replace(f"{args.work}/", "")]
    found = np.load(out)
    each = {n[len("grad/") :]: found[n] for n in found.files if n.startswith("grad/")}
    loss, off = slope(path, x.transpose(0, 2, 3, 1) if last else x, y, each)
    if any(t.data_type == onnx.TensorProto.FLOAT16 for t in model.graph.initializer):
        return [str(len(each)), "–"]
    assert abs(loss - float(found["loss"])) <= 1e-3 * (1 + abs(loss)), f"loss {found['loss']} instead of {loss}"
    return [str(len(each)), f"{off:.1e}"]


def tuned(args, path, wants):
    """What `tune`, `evaluate` and `predict` make of it: pixels, tune, batch, apart, metadata."""
    before = onnx.load(path, load_external_data=False)
    _, dims, last = image_input(before)
    _, h, w = dims if len(dims) == 3 else (0, 0, 0)
    h, w = h or SIDE, w or SIDE
    data, run = pictures(args.work / "pictures", h, w), args.work / "run"
    shutil.rmtree(run, ignore_errors=True)
    code, said = command(
        args, "tune", path, "--data", data, "--out", run, "--head", "linear", "--strategies", "head,full", "--epochs", 1,
        "--search-fraction", 0.3, "--batch-size", 4, "--lr", 1e-5, "--image-size", f"{h}x{w}", "--resize", "squash",
    )  # fmt: skip
    if code:
        return ["", f"no: {said.removeprefix('error: ')}", "", "", ""]
    taken = json.loads((run / "run.json").read_text())["configuration"]
    winner = run / "winners/full.onnx"
    after = onnx.load(winner, load_external_data=False)
    own = {e.key: e.value for e in after.metadata_props}
    how = json.loads(own["ftsurgery.preprocess"])
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(winner), options, providers=["CPUExecutionProvider"])
    dtype = onnx.helper.tensor_dtype_to_np_dtype(image_input(after)[0].type.tensor_type.elem_type)

    images = [*sorted(data.glob("1/*"))[:2], *sorted(data.glob("2/*"))[:2], *sorted(data.glob("3/*"))[:1]][:BATCH]
    code, said = command(args, "evaluate", winner, "--data", data, "--json")
    assert code == 0, said
    code, said = command(args, "predict", winner, *images, "--top", 3, "--json")
    assert code == 0, said
    told = [{c["name"]: c["probability"] for c in image["classes"]} for image in json.loads(said)]
    told = np.array([[image[n] for n in "123"] for image in told])
    given = list(probabilities(session, prepared(images, how, last, dtype), 3))
    apart = max(np.abs(p - told).max() for _, p in given)
    sizes = [rows for rows, _ in given]
    fixed = image_input(before)[0].type.tensor_type.shape.dim[0].dim_value
    batch = "any" if not fixed else "freed" if len(sizes) > 1 else str(fixed)

    pixels, origin = named(how), taken["preprocess_from"]
    if origin == "guess":
        pixels = f"nothing says it; {wants} is right" if wants else "nothing says it"
    elif pixels != wants:
        pixels = f"{pixels} ({origin}), but {wants} is right" if wants else f"{pixels} ({origin})"
    return [pixels, "head, full", batch, f"{apart:.0e}", compared(metadata(before), metadata(after))]


def named(how):
    """The preset that a preprocessing is."""
    if how["mean"] != [0, 0, 0]:
        return "signed" if how["mean"] == [0.5] * 3 else "imagenet" if how["scale"] < 1 else "caffe"
    return "raw" if how["scale"] == 1 else "unit"


def compared(before, after):
    """How the metadata of other tools came out."""
    lost = before.keys() - after.keys()
    changed = sorted(k for k in before.keys() & after.keys() if before[k] != after[k])
    parts = [f"{n} {what}" for n, what in [(len(before) - len(lost) - len(changed), "kept"), (len(lost), "lost")] if n]
    return ", ".join(parts + [f"`{k}` told anew" for k in changed])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--python", action="append", default=[])
    parser.add_argument("--ftsurgery", default=str(ROOT / "target/release/ftsurgery"))
    parser.add_argument("--work", type=pathlib.Path, default=ROOT / "target/frameworks")
    parser.add_argument("--doc", type=pathlib.Path)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    for python in args.python:
        subprocess.run([python, ROOT / "tools/framework_models.py", args.work, *args.names], check=True)
    rows = [HEADER, ["---"] * len(HEADER)]
    for path in sorted(args.work.glob("*.onnx")):
        if args.names and not any(path.stem.startswith(n) for n in args.names):
            continue
        note = json.loads(path.with_suffix(".json").read_text())
        found = [f"{path.stem}: {note['form']}", note["by"]]
        pixels, *rest = tuned(args, path, note["wants"])
        rows.append([*found, pixels, *gradients(args, path, note["wants"]), *rest])
        print(" | ".join(rows[-1]), flush=True)
    if args.doc:
        write_table(args.doc, (BEGIN, END), rows)


if __name__ == "__main__":
    main()
