"""The command: `ftsurgery`, or `python -m ftsurgery`."""

from __future__ import annotations

import signal
import sys

from . import _call, _native


def main() -> int:
    """Runs the command on the words of this process."""
    # Python's handler would be heard only when the command has ended, which listens itself where a stop needs care.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    return _native.command(_call.program(), sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
