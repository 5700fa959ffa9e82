#!/usr/bin/env python3
"""Surgery by ftsurgery and by other tools, on the models of `tools/surgery_corpus.py`: is it right, what is lost, what it costs.

    python3 tools/surgery_corpus.py --out corpus --models backbones
    python3 tools/peers/surgery.py --corpus corpus --ftsurgery target/release/ftsurgery

needs `onnx` and `onnxruntime`, and of the peers those that are to be compared (`requirements-surgery.txt`). Each operation of each tool on
each model is a process of its own, whose seconds (of the processor) and peak memory are noted, and a line of --ledger, so that what
was stopped goes on. A result is *right* when onnxruntime loads it and computes, without optimisations, what the original computes
on the same random values, to a tolerance that the operation allows; *kept* when nothing is lost that need not have changed (names, bytes of weights,
metadata, documentation, annotations, functions, noted types, where weights lie). `--large FILE` adds time and memory on large
models; what they come to is checked there by its size and first node alone.
"""

import argparse
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import onnx

import surgery_changes
import surgery_judge as judge
from surgery_tools import TOOLS

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from ledger import Ledger  # noqa: E402

OURS = "ftsurgery"
OPERATIONS = ("extract", "fold", "rename", "prune", "opset up", "opset down", "float16", "externalize", "merge", "diff", "verify")
UP, DOWN = 21, 13
# Relative to the largest value: rounding, another order of sums; half precision.
TOLERANCE = {"float16": 2e-2}
ROUNDING = 1e-5
HALF = 2e-3  # of models in half precision, whose kernels round by their own order
MAY_CHANGE = {
    "fold": ("nodes", "weights"),
    "rename": ("names", "nodes"),
    "opset up": ("opset", "nodes", "weights"),
    "opset down": ("opset", "nodes", "weights"),
    "float16": ("nodes", "weights"),
}
NEW_NAME = "renamed: value"
LAUNCHER = """
import os, resource, sys, time
limit, said, *words = sys.argv[1:]
started = time.monotonic()
child = os.fork()
if child == 0:
    try:
        file = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, 1)
        os.dup2(file, 2)
        resource.setrlimit(resource.RLIMIT_CPU, (int(limit), int(limit)))
        resource.setrlimit(resource.RLIMIT_AS, (13 << 30, 13 << 30))
        os.execvp(words[0], words)
    finally:
        os._exit(127)
_, status, used = os.wait4(child, 0)
seconds = [used.ru_utime + used.ru_stime, time.monotonic() - started]
print([os.waitstatus_to_exitcode(status), *(round(s, 3) for s in seconds), round(used.ru_maxrss / 1024, 1)])
"""
# How our report of differences names each kind.
NAMED = {
    "weight": "Norm of change",
    "attribute": "attribute `",
    "metadata": "metadata `",
    "opset": "opset `",
    "shape": "input `",
    "renamed": "Renamed values: 1",
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--corpus", type=pathlib.Path, required=True, help="folder that surgery_corpus.py made")
    add("--ftsurgery", default=shutil.which(OURS), help="the binary")
    add("--tools", nargs="+", choices=[OURS, *TOOLS], default=[OURS, *TOOLS])
    add("--operations", nargs="+", choices=OPERATIONS, default=OPERATIONS)
    add("--models", nargs="+", help="some of the corpus")
    add("--large", nargs="*", type=pathlib.Path, default=[], help="large models")
    add("--ledger", type=pathlib.Path, default=pathlib.Path("surgery.jsonl"))
    add("--again", action="store_true", help="make anew what the ledger has of these tools and operations")
    add("--limit", type=int, default=180, help="seconds for a process (default 180)")
    add("--report-only", action="store_true")
    args = parser.parse_args()
    ledger = Ledger(args.ledger, ("tool", "operation", "case"))
    corpus = json.loads((args.corpus / "corpus.json").read_text())
    corpus = [row for row in corpus if not args.models or row["name"] in args.models]
    if not args.report_only:
        with tempfile.TemporaryDirectory() as work:
            measure(args, corpus, ledger, pathlib.Path(work))
    print(report(list(ledger.rows.values())))


def measure(args, corpus, ledger, work):
    for operation in args.operations:
        for case in cases(operation, args.corpus, corpus, work):
            for tool in args.tools:
                word = operation.split()[0]
                if tool != OURS and word not in TOOLS[tool]:
                    continue
                key = {"tool": tool, "operation": operation, "case": case["name"]}
                if not args.again and ledger.get(**key):
                    continue
                ledger.add(key | outcome(args, tool, operation, case, work))
    for path in args.large:
        for operation in ("extract", "rename", "opset up", "externalize", "verify"):
            for tool in args.tools:
                key = {"tool": tool, "operation": operation, "case": f"large: {path.name}"}
                word = operation.split()[0]
                if tool != OURS and word not in TOOLS[tool] or not args.again and ledger.get(**key):
                    continue
                ledger.add(key | large(args, tool, operation, path, work))


def cases(operation, folder, corpus, work):
    """What an operation is tried on: a file, what is asked for, and the file whose numbers and contents it must have."""
    for row in corpus:
        source = folder / row["file"]
        case = {"name": row["name"], "model": source, "like": source, "inputs": row["inputs"], "asked": {}}
        outputs = [value.name for value in onnx.load(source, load_external_data=False).graph.output]
        cut = row["cut"]
        if operation == "extract":
            asked = {"inputs": list(row["inputs"]), "outputs": [cut]}
            yield case | {"name": f"{row['name']}, front", "asked": asked}
            yield case | {"name": f"{row['name']}, back", "asked": {"inputs": [cut], "outputs": outputs}}
        elif operation == "rename":
            yield case | {"asked": {"old": cut, "new": NEW_NAME, "prefix": "new_"}}
        elif operation == "prune":
            yield case | {"model": surgery_changes.with_dead_parts(source, row, work)}
        elif operation == "float16" and row["name"] == "float16":
            continue
        elif operation == "externalize" and not judge.has_large(source):
            continue
        elif operation in ("opset up", "opset down"):
            version = UP if operation == "opset up" else DOWN
            yield case | {"asked": {"opset": version}}
        elif operation == "merge":
            halves = [half for half in surgery_changes.halves(source, row, work) if half]
            if len(halves) == 2:
                yield case | {"model": halves[0], "asked": {"second": str(halves[1]), "joint": [cut]}}
        elif operation == "diff":
            for what, other in surgery_changes.changed(source, row, work):
                yield case | {"name": f"{row['name']}, {what}", "asked": {"second": str(other)}, "what": what}
        else:
            yield case


def command(args, tool, operation, case, out):
    """The words of a process."""
    model, asked = str(case["model"]), case["asked"]
    if tool != OURS:
        script = str(HERE / "surgery_tools.py")
        return [sys.executable, script, tool, operation.split()[0], model, str(out), json.dumps(asked)]
    to = ["--out", str(out)]
    words = {
        "extract": lambda: ["extract", model, *pairs("--inputs", asked["inputs"]), *pairs("--outputs", asked["outputs"]), *to],
        "fold": lambda: ["fold", model, *to],
        "rename": lambda: ["rename", model, "--value", f"{asked['old']}={asked['new']}", *to],
        "prune": lambda: ["prune", model, *to],
        "opset up": lambda: ["opset", model, "--to", str(asked["opset"]), *to],
        "opset down": lambda: ["opset", model, "--to", str(asked["opset"]), *to],
        "float16": lambda: ["precision", model, "--to", "f16", *to],
        "externalize": lambda: ["externalize", model, *to],
        "merge": lambda: ["merge", model, asked["second"], *to],
        "diff": lambda: ["diff", model, asked["second"]],
        "verify": lambda: ["verify", model],
    }
    return [args.ftsurgery, *words[operation]()]


def pairs(flag, values):
    return [word for value in values for word in (flag, value)]


def run(words, limit, said):
    """Runs a process; gives its exit status, seconds of the processor and by the clock, and MiB at peak."""
    # A process counts the memory of the one that it was forked from: that one must be small.
    small = [sys.executable, "-I", "-S", "-c", LAUNCHER, str(limit), str(said), *words]
    code, *costs = json.loads(subprocess.run(small, stdout=subprocess.PIPE, check=True).stdout)
    return code, dict(zip(("processor_seconds", "seconds", "peak_mib"), costs, strict=True))


def outcome(args, tool, operation, case, work):
    """What a tool's operation came to on a case."""
    out = work / "out" / "model.onnx"
    shutil.rmtree(out.parent, ignore_errors=True)
    out.parent.mkdir()
    said = work / "said"
    code, cost = run(command(args, tool, operation, case, out), args.limit, said)
    text = said.read_text(errors="replace")
    row = cost | {"code": code}
    if operation == "diff":
        sees = judged_as_seen(tool, code, text, case["what"])
        return row | {"right": sees, "lost": [], "why": "" if sees else text[-200:]}
    if operation == "verify":
        return row | {"right": code == 0, "lost": [], "why": "" if code == 0 else text[-200:]}
    if code != 0 or not out.exists():
        # An operator that has no counterpart in older sets must be refused; by name, where a tool says one.
        refused = operation == "opset down" and code not in (0, -9) and not out.exists()
        return row | {"right": False, "refused": refused, "lost": [], "why": text.strip()[-300:]}
    try:
        difference = numbers(operation, case, out)
    except Exception as error:  # noqa: BLE001 - whatever a runtime says of a file
        return row | {"right": False, "lost": [], "why": f"does not load: {error}"[:300]}
    if operation.startswith("opset"):
        version = {entry.domain: entry.version for entry in onnx.load(out, load_external_data=False).opset_import}.get("", 0)
        if version != case["asked"]["opset"]:
            return row | {"right": False, "lost": [], "why": f"is of operator set {version}"}
    half = any(of["type"] == onnx.TensorProto.FLOAT16 for of in case["inputs"].values())
    right = difference <= max(TOLERANCE.get(operation, ROUNDING), HALF if half else 0)
    lost = judge.lost(case["like"], out, MAY_CHANGE.get(operation, ()))
    if operation == "externalize":
        lost = [word for word in lost if word != "weights beside it"]
        right = right and judge.is_external(out)
    if operation == "prune" and "dead" in out.read_bytes().decode("latin-1"):
        right, difference = False, "dead parts are there"
    if judge.is_well_formed(case["like"]) is None and (fault := judge.is_well_formed(out)):
        lost.append(f"onnx's check: {fault[:60]}")
    size = out.stat().st_size
    return row | {"right": bool(right), "difference": difference, "lost": lost, "bytes": size, "why": ""}


def judged_as_seen(tool, code, text, what):
    """Whether the report of a difference names it: a changed weight by its norm, an attribute, a property, …"""
    if tool == OURS:
        return code == 1 and NAMED[what] in text
    return code not in (0, -1) or "no difference" not in text.lower() and bool(text.strip()) and what == "renamed"


def numbers(operation, case, out):
    """By how much what was made is off what it must compute."""
    asked = case["asked"]
    inputs = judge.feed(case["inputs"])
    if operation == "extract":
        model = onnx.load(case["like"])
        names = [*asked["inputs"], *asked["outputs"]]
        inner = [name for name in names if name not in case["inputs"]]
        seen = surgery_changes.with_outputs(model, inner, out.parent / "seen")
        values = inputs | judge.run(seen, inputs, inner)
        made = judge.run(out, values)
        return max(judge.off(made.get(name), values[name]) for name in asked["outputs"])
    wanted = judge.run(case["like"], inputs)
    if operation == "rename" and list(onnx.load(out, load_external_data=False).graph.input)[0].name not in inputs:
        inputs = {f"{asked['prefix']}{name}": value for name, value in inputs.items()}
    if operation == "merge":
        inputs |= {f"a_{name}": value for name, value in inputs.items()}  # of a tool that gives all names a prefix
    made = judge.run(out, inputs)
    if len(made) != len(wanted):
        return float("inf")
    return max(judge.off(one, other) for one, other in zip(made.values(), wanted.values(), strict=True))


def large(args, tool, operation, path, work):
    """Seconds and memory of an operation on a large model."""
    out = work / "out" / "model.onnx"
    shutil.rmtree(out.parent, ignore_errors=True)
    out.parent.mkdir()
    nodes = onnx.load(path, load_external_data=False).graph
    middle = nodes.node[len(nodes.node) // 3].output[0]
    asked = {"inputs": [middle], "outputs": [nodes.output[0].name], "old": middle, "new": NEW_NAME, "prefix": "new_", "opset": UP}
    case = {"model": path, "asked": asked}
    words = command(args, tool, operation, case, out)
    if tool == OURS and operation == "verify":
        words.append("--structure")  # as the others' do
    code, cost = run(words, args.limit, work / "said")
    files = sum(file.stat().st_size for file in out.parent.iterdir())
    shutil.rmtree(out.parent)
    return cost | {"code": code, "right": code == 0, "bytes": files, "lost": [], "why": "" if code == 0 else (work / "said").read_text(errors="replace")[-200:]}


def report(rows):
    """Tables in Markdown: what is right and kept by operation and tool, what is lost, large models."""
    small = [row for row in rows if not row["case"].startswith("large: ")]
    lines = ["| operation | tool | right | and all kept | processor, median | peak, median | lost, or wrong |", "| --- | --- | ---: | ---: | ---: | ---: | --- |"]
    for operation in OPERATIONS:
        tools = sorted({row["tool"] for row in small if row["operation"] == operation}, key=lambda tool: (tool != OURS, tool))
        for tool in tools:
            of = [row for row in small if row["operation"] == operation and row["tool"] == tool]
            right = [row for row in of if row["right"]]
            kept = [row for row in right if not row["lost"]]
            refused = sum(bool(row.get("refused")) for row in of)
            words = sorted({word.split(":")[0] for row in right for word in row["lost"]})
            wrong = [row["case"] for row in of if not row["right"] and not row.get("refused")]
            told = "; ".join([*words, *([f"wrong: {', '.join(wrong[:6])}{' …' if len(wrong) > 6 else ''}"] if wrong else [])])
            count = f"{len(right)} / {len(of)}" + (f", {refused} refused" if refused else "")
            cost = [sorted(row[field] for row in of)[len(of) // 2] for field in ("processor_seconds", "peak_mib")]
            lines.append(f"| {operation} | {tool} | {count} | {len(kept)} | {cost[0]:.2f} s | {cost[1]:.0f} MiB | {told} |")
    big = [row for row in rows if row["case"].startswith("large: ")]
    if big:
        lines += ["", "| large model | operation | tool | processor | by the clock | peak | |", "| --- | --- | --- | ---: | ---: | ---: | --- |"]
        for row in sorted(big, key=lambda row: (row["case"], OPERATIONS.index(row["operation"]), row["tool"] != OURS)):
            end = "" if row["right"] else "fails"
            lines.append(
                f"| {row['case'][7:]} | {row['operation']} | {row['tool']} | {row['processor_seconds']:.1f} s | {row['seconds']:.1f} s | {row['peak_mib']:.0f} MiB | {end} |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
