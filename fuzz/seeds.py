#!/usr/bin/env python3
"""Makes the corpora from which the fuzz targets start, out of the project's fixtures.

    python3 fuzz/seeds.py [RUN...]

Each RUN is the folder of a run (as `ftsurgery demo --out RUN` makes one), whose files become seeds of
`run_folder`. Standard library only.
"""

import io
import pathlib
import shutil
import struct
import sys

HERE = pathlib.Path(__file__).parent
FIXTURES = HERE.parent / "fixtures"
LARGEST = 20_000


def seed(target, name, content):
    folder = HERE / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)


def npy(descr, shape, payload):
    head = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}"
    head += " " * (-(len(head) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + payload


def arrays():
    x = struct.pack("<72f", *(i / 72 for i in range(72)))
    y = struct.pack("<2q", 0, 1)
    doubles = struct.pack("<72d", *(i / 72 for i in range(72)))
    for name, first, second in [
        ("float32", npy("<f4", (2, 3, 3, 4), x), npy("<i8", (2,), y)),
        ("float64", npy("<f8", (2, 3, 3, 4), doubles), npy("<i4", (2,), struct.pack("<2i", 1, 0))),
    ]:
        seed("npz", name, b"P" + struct.pack("<H", len(second)) + second + first)
    file = io.BytesIO()
    import zipfile

    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", npy("<f4", (2, 3, 3, 4), x))
        archive.writestr("y.npy", npy("<i8", (2,), y))
    seed("npz", "whole", b"R" + file.getvalue())


def run_files(run, number):
    def part(name, lines=None):
        path = run / name
        content = path.read_bytes() if path.is_file() else b""
        return f"==> {name}\n".encode() + b"".join(content.splitlines(keepends=True)[:lines])

    metrics = next(iter(sorted(run.glob("trials/*/metrics.jsonl"))), None)
    first = part("run.json") + part("trials.jsonl", 2)
    if metrics:
        lines = metrics.read_bytes().splitlines(keepends=True)
        first += b"==> trials/a/metrics.jsonl\n" + b"".join(lines[:4])
    seed("run_folder", f"run-{number}", first)
    # These are read where a run has begun, whatever its record says.
    for name in ["results.json", "split.json"]:
        seed("run_folder", f"{name}-{number}", b"==> run.json\n{}\n" + part(name))


def main():
    for path in sorted(FIXTURES.rglob("*.onnx")):
        if path.stat().st_size <= LARGEST:
            shutil.copy(path, corpus("onnx") / f"{path.parent.name}-{path.name}")
    pictures = [p for p in sorted(FIXTURES.rglob("*")) if p.suffix in {".png", ".jpg", ".jpeg"}]
    for path in pictures[::40] + [p for p in pictures if p.suffix != ".png"]:
        if path.stat().st_size <= LARGEST:
            shutil.copy(path, corpus("picture") / path.name)
    arrays()
    seed("run_folder", "empty", b"==> run.json\n{}\n==> trials.jsonl\n{}\n==> split.json\n{}\n")
    for number, run in enumerate(sys.argv[1:]):
        run_files(pathlib.Path(run), number)


def corpus(target):
    folder = HERE / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    return folder


if __name__ == "__main__":
    main()
