"""Carries out a run of ftsurgery on a Ray cluster: `python -m ftsurgery.ray RUN`, of a run that `ftsurgery plan` has begun.

`python -m ftsurgery.ray --help` describes it. Trials run the `ftsurgery` of this Python, which all nodes have to find at the
same path.
"""

from __future__ import annotations

import sys

from . import _call, _native


def main() -> None:
    """Runs the script that is part of the command."""
    given = any(word == "--ftsurgery" or word.startswith("--ftsurgery=") for word in sys.argv)
    if not given:
        sys.argv[1:1] = ["--ftsurgery", str(_call.program())]
    # As `__main__`, so that Ray sends its functions along by value.
    exec(compile(_native.ray_script(), "on_ray.py", "exec"), sys.modules["__main__"].__dict__)


if __name__ == "__main__":
    main()
