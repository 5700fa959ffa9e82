"""Markdown tables of the figures, with the ratios that are aimed at.

    python3 tools/peers/tables.py results.json
"""

import json
import pathlib
import statistics
import sys

TITLES = {
    "ftsurgery": "ftsurgery",
    "torch": "PyTorch as written",
    "torch_best": "PyTorch at its best",
    "torch_compiled": "PyTorch, compiled",
    "torch_bfloat16": "PyTorch, bfloat16",
    "ort_training": "onnxruntime-training",
}
SCOPES = {"all": "All layers", "block": "Only the last block", "head": "Only the head"}

# Losses before the first update may differ by this share.
SAME_LOSS = 1e-3


def target(side, train, model):
    """The least ratio of a peer's time to ours that is aimed at; `None` for none."""
    if train == "block" and side in ("torch", "torch_best"):
        return 2.5
    if train != "all":
        return None
    if side == "torch":
        return {"resnet50": 1.15, "vgg16": 1.25}.get(model, 1.6)
    return {"torch_best": 0.8, "ort_training": 1.4}.get(side)


def works(reports):
    return bool(reports) and "failed" not in reports[-1]


def seconds(reports):
    """Median over processes of each one's median step."""
    return statistics.median(statistics.median(r["seconds"]) for r in reports)


def memory(reports):
    """Median over processes of the most bytes held while stepping; `None` where not known."""
    known = [r["peak_memory"]["steps"] or r["peak_memory"]["process"] for r in reports]
    return statistics.median(known) if all(known) else None


def render(results):
    """All tables."""
    machine, gemm = results["machine"], statistics.median(results["gemm"])
    lines = [
        f"{results['date']}, {machine['cpu']}, {machine['cores']} cores (load "
        f"{machine['load']:.1f} at the start), {results['threads']} threads, 224 px. "
        f"Versions: {versions(results)}. "
        f"Median step of {results['steps']} in each of {results['rounds']} processes. "
        f"Dense products run at {gemm / 1e9:.0f} GFLOP/s (from "
        f"{min(results['gemm']) / 1e9:.0f} to {max(results['gemm']) / 1e9:.0f}).",
        "",
        "× is the peer's time over ftsurgery's, with the ratio aimed at where it is missed; GEMM "
        "is the share of the rate of dense products that the step's counted operations reach; "
        "memory is the most that the process held while stepping, and of it what a Python side "
        "held before it loaded the network.",
    ]
    notes = []
    for train in dict.fromkeys(case["train"] for case in results["cases"]):
        for batch in dict.fromkeys(case["batch"] for case in results["cases"]):
            cases = [c for c in results["cases"] if (c["train"], c["batch"]) == (train, batch)]
            lines += ["", f"### {SCOPES[train]}, batch {batch}", "", *table(cases, gemm)]
            for case in cases:
                notes += remarks(case)
    if notes:
        lines += ["", *dict.fromkeys(notes)]
    return "\n".join(lines)


def versions(results):
    """Name and version of everything that took part."""
    found = {}
    for case in results["cases"]:
        for reports in case["sides"].values():
            for report in reports:
                found.update(report.get("versions", {}))
    return ", ".join(f"{name} {version}" for name, version in sorted(found.items()))


def table(cases, gemm):
    """One table: a row for each network, a column for each side."""
    sides = list(cases[0]["sides"])
    rows = [["network", "GFLOP", *(TITLES[s] for s in sides)]]
    for case in cases:
        ours = case["sides"].get("ftsurgery", [])
        flops = None
        if works(ours) and ours[-1]["flops"]:
            flops = sum(ours[-1]["flops"].values())
        row = [case["model"], f"{flops / 1e9:.1f}" if flops else "–"]
        row += [cell(case, side, ours, flops, gemm) for side in sides]
        rows.append(row)
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "| --- | ---: |" + " --- |" * len(sides))
    return lines


def cell(case, side, ours, flops, gemm):
    """Time, ratio to ours, share of the GEMM rate, memory."""
    reports = case["sides"][side]
    if not works(reports):
        return "fails" if reports else "–"
    time = seconds(reports)
    parts = [f"{time:.3f} s"]
    if side != "ftsurgery" and works(ours):
        ratio, aim = time / seconds(ours), target(side, case["train"], case["model"])
        missed = f" (< {aim})" if aim and ratio < aim else ""
        parts.append(f"**{ratio:.2f} ×**{missed}")
    if flops:
        parts.append(f"{flops / time / gemm:.0%} GEMM")
    if held := memory(reports):
        libraries = reports[-1]["peak_memory"].get("libraries")
        of_them = f" ({libraries / 2**20:.0f} of them libraries)" if libraries else ""
        parts.append(f"{held / 2**20:.0f} MiB{of_them}")
    return ", ".join(parts)


def remarks(case):
    """What a reader must know besides: failures, sides that computed something else, memory."""
    where = f"{case['model']}, train {case['train']}, batch {case['batch']}"
    for side, reports in case["sides"].items():
        if reports and not works(reports):
            yield f"- {TITLES[side]} fails on {case['model']}: `{reports[-1]['failed']}`"
    working = {side: r for side, r in case["sides"].items() if works(r)}
    losses = {side: r[0]["losses"][0] for side, r in working.items()}
    first = next(iter(losses.values()), None)
    for side, loss in losses.items():
        if abs(loss - first) > SAME_LOSS * abs(first):
            yield f"- losses differ on {where}: {TITLES[side]} begins at {loss}, not {first}"
    values = {s: working[s][0].get("trained_values") for s in ("ftsurgery", "torch") if s in working}
    if len(set(values.values())) > 1:
        yield f"- trained values differ on {where}: {values}"
    held = {s: memory(working[s]) for s in ("ftsurgery", "torch") if s in working}
    if len(held) == 2 and all(held.values()) and held["ftsurgery"] > held["torch"]:
        yield f"- ftsurgery holds more memory than PyTorch as written on {where}"


if __name__ == "__main__":
    print(render(json.loads(pathlib.Path(sys.argv[1]).read_text())))
