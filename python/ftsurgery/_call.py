"""Subcommands of the command as functions: keywords become flags, what is heard becomes events, what is printed is read."""

from __future__ import annotations

import functools
import importlib.util
import json
import logging
import os
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Optional, Union

from . import _native

#: A path, as Python's own functions take it.
PathLike = Union[str, "os.PathLike[str]"]

log = logging.getLogger("ftsurgery")


@dataclass(frozen=True)
class Event:
    """Something that is heard while work goes on.

    `kind` is one of `note`, `warning` (with `text`), `doing` (`what` is done for `of`: a trial, a strategy, or the run where
    it is empty), `round`, `trial`, `step` (with `loss`), `epoch`, `trial_end`, `strategy_end`, `head`, `model`, `repetition`,
    `fold`, `resumed`. `data` has all that there is.
    """

    kind: str
    text: str = ""
    of: str = ""
    what: str = ""
    done: Optional[int] = None
    total: Optional[int] = None
    loss: Optional[float] = None
    data: dict[str, Any] = field(default_factory=dict, repr=False)

    @staticmethod
    def _parse(text: str) -> Event:
        data = json.loads(text)
        names = [name for name in Event.__dataclass_fields__ if name != "data" and name in data]
        return Event(data=data, **{name: data[name] for name in names})


#: What is called with each event, by the thread that has called the function. What it raises stops the work.
OnEvent = Callable[[Event], object]


def introduce() -> None:
    """Tells the library what this process is."""
    package = importlib.util.find_spec("onnxruntime")
    folders = list(package.submodule_search_locations or []) if package else []
    library = Path(folders[0], "capi") if folders else None
    _native.host(Path(sys.executable), library)


def program() -> Path:
    """The program `ftsurgery` of this Python."""
    name = "ftsurgery.exe" if os.name == "nt" else "ftsurgery"
    started = Path(sys.argv[0]) if sys.argv and sys.argv[0] else Path()
    if started.name == name and started.is_file():
        return started.absolute()
    return Path(sysconfig.get_path("scripts"), name)


@functools.lru_cache(maxsize=None)
def flags(subcommand: str) -> dict[str, dict[str, Any]]:
    """The flags of a subcommand by their keywords."""
    text = _native.flags(subcommand)
    if text is None:
        raise ValueError(f"ftsurgery has no command `{subcommand}`")
    return {flag["name"].replace("-", "_"): flag for flag in json.loads(text)}


def words(subcommand: str, options: Mapping[str, Any]) -> list[str]:
    """The words that give these options to a subcommand.

    Raises:
        TypeError: where it has no such option.
    """
    known = flags(subcommand)
    found = []
    for keyword, value in options.items():
        flag = known.get(keyword)
        if flag is None:
            raise TypeError(f"{subcommand} has no option `{keyword}`; it has {', '.join(known)}")
        name = f"--{flag['name']}"
        if value is None or value is False:
            continue
        if value is True and (flag["switch"] or flag["words"] == 0):
            found.append(name)
        elif flag["words"] > 1:
            found += [name, *map(_word, value)]
        elif flag["many"]:
            found += [f"{name}={word}" for word in _several(value)]
        else:
            found.append(f"{name}={_word(value, 'x' if keyword == 'image_size' else ',')}")
    return found


def _several(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [f"{_word(key)}={_word(of)}" for key, of in value.items()]
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_word(item) for item in value]
    return [_word(value)]


def _word(value: Any, between: str = ",") -> str:
    """A value as the command reads it."""
    if isinstance(value, (str, os.PathLike)):
        return os.fspath(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Sequence):
        return between.join(_word(item, between) for item in value)
    return str(value)


def call(
    subcommand: str,
    *arguments: PathLike,
    on_event: Optional[OnEvent] = None,
    **options: Any,
) -> str:
    """Does what `ftsurgery SUBCOMMAND ARGUMENTS…` does, in this process, and gives what it prints.

    Options are the command's flags, with `_` for `-`: `True` for one that takes no value, a list for one that is given
    several times, a dict for one of `KEY=VALUE`. `ftsurgery SUBCOMMAND --help` describes them. What the command would tell
    in passing goes to the logger `ftsurgery`, and with the rest of the events to `on_event`.

    Ctrl-C stops the work at its next step, and is raised when files are whole; a second one is raised at once, while the
    work goes on to that step.

    Raises:
        ValueError: for bad usage or input (the command's exit code 2), with the command's text.
        RuntimeError: for any other failure (exit code 1).
        TypeError: where the subcommand has no such option.

    >>> ftsurgery.call("diff", "a.onnx", "b.onnx", json=True)  # doctest: +SKIP
    """
    line = [subcommand, *words(subcommand, options)]
    if arguments:
        line += ["--", *(os.fspath(argument) for argument in arguments)]

    def heard(text: str) -> None:
        event = Event._parse(text)
        if event.kind == "warning":
            log.warning("%s", event.text)
        elif event.kind == "note":
            log.info("%s", event.text)
        if on_event is not None:
            on_event(event)

    return _native.call(program(), line, heard).decode()


def call_json(subcommand: str, *arguments: PathLike, **options: Any) -> Any:
    """What a subcommand prints with `--json`."""
    return json.loads(call(subcommand, *arguments, json=True, **options))


introduce()
