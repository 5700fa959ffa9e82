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
import zipfile

HERE = pathlib.Path(__file__).parent
FIXTURES = HERE.parent / "fixtures"
LARGEST = 20_000


def seed(target, name, content):
    folder = HERE / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)


def npy(descr, shape, payload, fortran=False, version=1):
    head = f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}"
    head += " " * (-(len(head) + 11) % 64) + "\n"
    length = struct.pack("<H" if version == 1 else "<I", len(head))
    return b"\x93NUMPY" + bytes([version, 0]) + length + head.encode() + payload


def arrays():
    shape = (2, 3, 3, 4)
    numbers = [i / 72 for i in range(72)]
    x = npy("'<f4'", shape, struct.pack("<72f", *numbers))
    y = npy("'<i8'", (2,), struct.pack("<2q", 0, 1))
    doubles = struct.pack("<72d", *numbers)
    record = "[('a', '<i8', (2,))]"
    for name, first, second in [
        ("float32", x, y),
        ("float64", npy("'<f8'", shape, doubles), npy("'<i4'", (2,), struct.pack("<2i", 1, 0))),
        ("fortran", npy("'<f8'", shape, doubles, fortran=True, version=2), y),
        ("version3", x, npy("'<i8'", (2,), struct.pack("<2q", 1, 1), version=3)),
        ("record", npy(record, (2,), bytes(32)), npy("'|O'", (2,), b"cos\nsystem\n")),
        ("scalar", npy("'<f4'", (), bytes(4)), npy("'<i8'", (1, 1), bytes(8))),
    ]:
        seed("npz", name, b"P" + struct.pack("<H", len(second)) + second + first)
    for name, members, kind, zip64 in [
        ("stored", ["x.npy", "y.npy"], zipfile.ZIP_STORED, False),
        ("deflated", ["x.npy", "y.npy"], zipfile.ZIP_DEFLATED, False),
        ("zip64", ["x.npy", "y.npy"], zipfile.ZIP_DEFLATED, True),
        ("twice", ["x.npy", "y.npy", "x"], zipfile.ZIP_STORED, False),
    ]:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", kind) as archive:
            for member in members:
                with archive.open(member, "w", force_zip64=zip64) as out:
                    out.write(y if member.startswith("y") else x)
        seed("npz", name, b"R" + file.getvalue())


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
    kinds = [p for folder in ("right", "refused") for p in sorted((FIXTURES / "pictures" / folder).iterdir())]
    for path in kinds + sorted((FIXTURES / "digits").rglob("*.png"))[::40]:
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
