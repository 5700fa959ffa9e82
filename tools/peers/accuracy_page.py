"""Tables and a picture of what accuracy.py has measured."""

import math
import re
import statistics
from collections import defaultdict

BEGIN, END = "<!-- accuracy -->", "<!-- /accuracy -->"
GROUP = ("model", "data", "image_size", "share", "validation", "threads")
CLOCKS = {"seconds": "seconds by the clock", "processor_seconds": "seconds of the processor"}

WIDTH, HEIGHT, LEFT, TOP, GAP, BOTTOM = 400, 260, 56, 34, 46, 44
LIGHT = ["#0067a6", "#00805c", "#6f4bb8", "#1f2933", "#2d8fc4", "#5b6573", "#b0508a"]
WARM = ["#c24400", "#b86e00", "#9c2f2f", "#8a5a00", "#d0661f", "#7d4a2a", "#a33f6a"]
LIGHT_OF_DARK = ["#5cb3ee", "#3fc79b", "#b39cf0", "#e6eaf0", "#8fd0f5", "#a3afbd", "#e48fc0"]
WARM_OF_DARK = ["#ff8a4c", "#f0a63a", "#f07f7f", "#d9b04f", "#ffab7a", "#c99a78", "#f090b8"]


class Recipe:
    """A recipe of one side: its runs, one for each seed."""

    def __init__(self, side, name, rows):
        self.side, self.name, self.rows = side, name, rows
        self.made = [row["came_to"] for row in rows]
        self.accuracy = self.mean("held_out_accuracy")

    def mean(self, field):
        return statistics.fmean(made[field] for made in self.made)

    def spread(self):
        """Mean and standard deviation of the held-out accuracy, in per cent."""
        values = [100 * made["held_out_accuracy"] for made in self.made]
        deviation = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
        return f"{statistics.fmean(values):.2f} %{deviation}"

    def points(self, clock):
        """What there would be if it were stopped after an epoch, ours after a model is written: seconds and held-out
        accuracy of the one that is the best so far by validation, means over the seeds; and the end."""
        epochs = defaultdict(list)
        for made in self.made:
            for place, winner in enumerate(made.get("winners", [])):
                epochs[place].append((winner[clock], winner["held_out_accuracy"]))
            so_far = []
            for line in made["curve"] if self.side == "PyTorch" else []:
                so_far.append(line)
                best = max(so_far, key=lambda one: (one["validation_accuracy"], -one["validation_loss"]))
                epochs[line["epoch"]].append((line[clock], best["held_out_accuracy"]))
        whole = [e for e in epochs.values() if len(e) == len(self.made)]
        means = [tuple(map(statistics.fmean, zip(*e, strict=True))) for e in whole]
        # The last epoch is the end.
        return [*means[:-1], (self.mean(clock), self.accuracy)]


def recipes(rows):
    """The recipes of each group of runs, as they were asked for."""
    groups = defaultdict(lambda: defaultdict(list))
    for row in rows:
        groups[tuple(row[field] for field in GROUP)][row["side"], row["name"]].append(row)
    return {group: [Recipe(*key, found) for key, found in by.items()] for group, by in groups.items()}


def percent(accuracy):
    return f"{100 * accuracy:.2f} %"


def title(group):
    model, data, size, share, validation, threads = group
    of = f"{100 * share:.0f} % of {data} to train on, {100 * validation:.0f} % to validate"
    return f"{model}, {size} px, {of}, {threads} thread{'s' if threads > 1 else ''}"


def tables(groups):
    lines = []
    for group, found in groups.items():
        rows = [row for recipe in found for row in recipe.rows]
        lines += ["", f"### {title(group)}", "", f"{provenance(rows)}", ""]
        lines += ["| side | recipe | runs | held out | of the processor | by the clock |"]
        lines += ["| --- | --- | ---: | ---: | ---: | ---: |"]
        for recipe in found:
            lines.append(
                f"| {recipe.side} | {recipe.name} | {len(recipe.rows)} | {recipe.spread()} | "
                f"{recipe.mean('processor_seconds'):.0f} s | {recipe.mean('seconds'):.0f} s |"
            )
        lines += ["", *verdicts(found)]
        lines += ["", "| recipe | is |", "| --- | --- |"]
        for recipe in found:
            flags = recipe.rows[0]["flags"] or "no flag"
            lines.append(f"| {recipe.side}: {recipe.name} | `{flags}` |")
    return lines


def provenance(rows):
    """What the figures were measured with."""
    versions = defaultdict(set)
    for row in rows:
        for name, version in row["came_to"]["versions"].items():
            if version:
                versions[name].add(version)
    named = ", ".join(f"{name} {'/'.join(sorted(found))}" for name, found in sorted(versions.items()))
    loads = [row["load"] for row in rows]
    seeds = sorted({row["seed"] for row in rows})
    processors = "/".join(sorted({row["processor"] for row in rows}))
    text = f"Seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}. {processors}; {named}."
    if max(loads) > 0.5 + max(row["threads"] for row in rows):
        text += (
            f" Other work was running (load {min(loads)} to {max(loads)} before a run): seconds by the clock say"
            " little, those of the processor more."
        )
    return text


def verdicts(found):
    """What the issue of the comparison is: who is more accurate, who is there first, who is behind when."""
    ours = [r for r in found if r.side == "ftsurgery"]
    theirs = [r for r in found if r.side == "PyTorch"]
    if not ours or not theirs:
        return []
    peer, own = (max(side, key=lambda r: r.accuracy) for side in (theirs, ours))
    lines = [
        f"- Most accurate: PyTorch's `{peer.name}` {percent(peer.accuracy)}; ours `{own.name}` "
        f"{percent(own.accuracy)}, {difference(own, peer)} points."
    ]
    for clock, told in CLOCKS.items():
        there = [(at, r.name) for r in ours for at, accuracy in r.points(clock) if accuracy >= peer.accuracy]
        if there:
            at, name = min(there)
            share = at / peer.mean(clock)
            lines.append(f"- That accuracy: ours (`{name}`) after {at:.0f} s, {share:.2f} of PyTorch's {told}.")
        else:
            lines.append(f"- That accuracy is not reached by ours in {told}.")
        behind = [(r, *p, lead(p, ours, clock)) for r in theirs for p in r.points(clock)]
        behind = [b for b in behind if b[3] > 0]
        if behind:
            r, at, accuracy, most = max(behind, key=lambda b: b[3])
            where = f"most after {at:.0f} s (`{r.name}`, {percent(accuracy)}), by {100 * most:.2f} points"
            lines.append(f"- Ours is behind at {len(behind)} of PyTorch's points in {told}: {where}.")
        else:
            lines.append(f"- At none of PyTorch's points is ours behind in {told}.")
    return lines


def difference(own, peer):
    """Of held-out accuracy in points, over the seeds that both have."""
    theirs = {row["seed"]: row["came_to"]["held_out_accuracy"] for row in peer.rows}
    pairs = [(row["came_to"]["held_out_accuracy"], theirs[row["seed"]]) for row in own.rows if row["seed"] in theirs]
    values = [100 * (a - b) for a, b in pairs]
    deviation = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):+.2f}{deviation}" if values else "no seed in common:"


def lead(point, ours, clock):
    """By how much a point of PyTorch is ahead of the best of ours that is there by then."""
    at, accuracy = point
    there = (own for r in ours for seconds, own in r.points(clock) if seconds <= at)
    return accuracy - max(there, default=0.0)


def picture(groups):
    """Held-out accuracy over time: a row of two panels for each group."""
    legend = 18 * max(len(found) for found in groups.values()) + 8
    row = TOP + HEIGHT + BOTTOM + legend
    width, height = 2 * (LEFT + WIDTH) + GAP, row * len(groups)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        'font-family="system-ui, sans-serif" font-size="12">',
        f"<style>{style()}</style>",
        f'<rect class="page" width="{width}" height="{height}"/>',
    ]
    for place, (group, found) in enumerate(groups.items()):
        down = place * row
        parts.append(f'<text class="title" x="{LEFT}" y="{down + 20}">{escaped(title(group))}: held out</text>')
        for column, (clock, told) in enumerate(CLOCKS.items()):
            parts += panel(found, clock, told, column * (LEFT + WIDTH + GAP) + LEFT, down + TOP)
        parts += names(found, down + TOP + HEIGHT + BOTTOM)
    return "\n".join([*parts, "</svg>\n"])


def style():
    def rules(cool, warm):
        colours = [f".o{i}{{--ink:{c}}}" for i, c in enumerate(cool)] + [
            f".p{i}{{--ink:{c}}}" for i, c in enumerate(warm)
        ]
        return "".join(colours)

    light = "svg{--page:#fff;--text:#1b2229;--muted:#55606c;--grid:#dfe3e8}" + rules(LIGHT, WARM)
    dark = "svg{--page:#14181d;--text:#e4e8ed;--muted:#a2adb9;--grid:#313a44}" + rules(LIGHT_OF_DARK, WARM_OF_DARK)
    return (
        f"{light}@media (prefers-color-scheme:dark){{{dark}}}"
        ".page{fill:var(--page)}text{fill:var(--muted)}.title,.name{fill:var(--text)}.title{font-weight:600}"
        ".grid{stroke:var(--grid)}.line{fill:none;stroke:var(--ink);stroke-width:2}.dash{stroke-dasharray:5 3}"
        ".dot{fill:var(--ink);stroke:var(--page);stroke-width:1}"
        ".hollow{fill:var(--page);stroke:var(--ink);stroke-width:2}"
    )


def classes(found):
    """Each recipe with the class of its colour."""
    count = {"ftsurgery": 0, "PyTorch": 0}
    for recipe in found:
        letter = "o" if recipe.side == "ftsurgery" else "p"
        yield recipe, f"{letter}{count[recipe.side] % len(LIGHT)}"
        count[recipe.side] += 1


def panel(found, clock, told, left, top):
    drawn = [(recipe, colour, recipe.points(clock)) for recipe, colour in classes(found)]
    points = [p for _, _, some in drawn for p in some]
    low, high = span([100 * accuracy for _, accuracy in points])
    first, last = min(s for s, _ in points) / 1.3, max(s for s, _ in points) * 1.3

    def x(seconds):
        return left + WIDTH * math.log(seconds / first) / math.log(last / first)

    def y(accuracy):
        return top + HEIGHT * (high - 100 * accuracy) / (high - low)

    step = next(s for s in (0.5, 1, 2, 5, 10, 20) if (high - low) / s <= 8)
    tick = math.ceil(low / step) * step
    while tick <= high:
        at = y(tick / 100)
        yield f'<line class="grid" x1="{left}" x2="{left + WIDTH}" y1="{at:.1f}" y2="{at:.1f}"/>'
        yield f'<text x="{left - 6}" y="{at + 4:.1f}" text-anchor="end">{tick:g} %</text>'
        tick += step
    for seconds in (b * 10**e for e in range(5) for b in (1, 2, 5)):
        if first <= seconds <= last:
            at = x(seconds)
            yield f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{top}" y2="{top + HEIGHT}"/>'
            yield f'<text x="{at:.1f}" y="{top + HEIGHT + 16}" text-anchor="middle">{seconds}</text>'
    yield f'<text x="{left + WIDTH / 2}" y="{top + HEIGHT + 33}" text-anchor="middle">{told}</text>'
    ours = sorted((p for recipe, _, some in drawn if recipe.side == "ftsurgery" for p in some), key=lambda p: p[0])
    # What ours has to give by then.
    best, path = 0.0, ""
    for seconds, accuracy in ours:
        if accuracy > best:
            path += f"H{x(seconds):.1f}V{y(accuracy):.1f}" if path else f"M{x(seconds):.1f} {y(accuracy):.1f}"
            best = accuracy
    if path:
        yield f'<path class="line o0" d="{path}H{left + WIDTH}"/>'
    for recipe, colour, some in drawn:
        if len(some) > 1:
            path = " ".join(f"{x(s):.1f},{y(a):.1f}" for s, a in some)
            yield f'<polyline class="line dash {colour}" points="{path}"/>'
        for seconds, accuracy in some:
            whole = (seconds, accuracy) == some[-1]
            yield mark(recipe, colour, x(seconds), y(accuracy), 5 if whole else 2.5)


def span(values):
    """A little more than what the values take."""
    low, high = min(values), max(values)
    room = max(0.08 * (high - low), 0.5)
    return low - room, min(high + room, 100.0)


def mark(recipe, colour, x, y, size):
    if recipe.side == "ftsurgery":
        return f'<circle class="dot {colour}" cx="{x:.1f}" cy="{y:.1f}" r="{size + 1}"/>'
    return (
        f'<rect class="hollow {colour}" x="{x - size:.1f}" y="{y - size:.1f}" width="{2 * size}" height="{2 * size}"/>'
    )


def names(found, top):
    for place, (recipe, colour) in enumerate(classes(found)):
        at = top + 18 * place + 6
        yield mark(recipe, colour, LEFT + 8, at, 5)
        text = f"{recipe.side}: {recipe.name}, {recipe.spread()}"
        yield f'<text class="name" x="{LEFT + 22}" y="{at + 4}">{escaped(text)}</text>'


def escaped(text):
    return text.replace("&", "&amp;").replace("<", "&lt;")


def write(rows, out):
    """Prints the tables; with `out` they stand in OUT.md, between the marks, and the picture is OUT.svg."""
    groups = recipes(rows)
    if not groups:
        raise SystemExit("nothing has been measured yet")
    text = "\n".join(tables(groups)).strip()
    print(text)
    if out:
        page = out.with_suffix(".md")
        old = page.read_text()
        if BEGIN not in old or END not in old:
            raise SystemExit(f"{page} has no {BEGIN} and {END}")
        new = re.sub(f"{BEGIN}.*{END}", lambda _: f"{BEGIN}\n{text}\n{END}", old, flags=re.DOTALL)
        page.write_text(new)
        out.with_suffix(".svg").write_text(picture(groups))
