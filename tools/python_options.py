#!/usr/bin/env python3
"""Writes `python/ftsurgery/_options.pyi`, the keywords of functions with their descriptions, from the flags of the command.

Run it with a Python that has ftsurgery installed; `--check` fails where the file is another.
"""

import sys
import textwrap
from pathlib import Path

from ftsurgery._call import flags

TO = Path(__file__).resolve().parents[1] / "python/ftsurgery/_options.pyi"

#: Commands whose functions take their flags, and the flags that these functions give themselves.
COMMANDS = {
    "analyze": {"format"},
    "tune": {"data", "out", "json"},
    "evaluate": {"data", "json"},
    "predict": {"json"},
    "gradients": {"batch", "out"},
    "differentiate": {"out"},
    **{
        name: {"out", "json", "dry-run"}
        for name in (
            "extract head rename prune fold merge batch opset precision externalize internalize"
        ).split()
    },
}

HEAD = '''\
"""The options of functions: the flags of the command. Written by `tools/python_options.py`."""

import os
from collections.abc import Mapping, Sequence
from typing import TypedDict, Union

Word = Union[str, int, float, "os.PathLike[str]"]
Words = Union[Word, Sequence[Word], Mapping[str, Union[Word, Sequence[int]]]]
'''


def options(command: str, left_out: set[str]) -> str:
    lines = [f"\nclass {command.title()}(TypedDict, total=False):"]
    for keyword, flag in flags(command).items():
        if flag["name"] in left_out:
            continue
        many = flag["many"] or keyword == "image_size"
        kind = "bool" if flag["switch"] else "Words" if many else "Word"
        if keyword == "classes" and not flag["switch"]:
            kind = "Words"
        text = flag["help"].rstrip(".") + "."
        if flag["values"]:
            text += f" One of {', '.join(flag['values'])}."
        if flag["default"] and "[default" not in text:
            text += f" Default: {flag['default']}."
        lines.append(f"    {keyword}: {kind}")
        text = text.replace('"""', "'''")
        wrapped = textwrap.wrap(f'r"""{text}"""' if "\\" in text else f'"""{text}"""', 110)
        lines += [f"    {line}" for line in wrapped]
    return "\n".join(lines) + "\n"


def main() -> int:
    text = HEAD + "".join(options(command, left_out) for command, left_out in COMMANDS.items())
    if "--check" in sys.argv[1:]:
        if TO.read_text(encoding="utf-8") == text:
            return 0
        print(f"{TO.name} is not what tools/python_options.py writes", file=sys.stderr)
        return 1
    TO.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
