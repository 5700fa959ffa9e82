"""The library; what is for users is in the package `ftsurgery`."""

import os
from typing import Callable, Optional, Sequence

__version__: str

def host(interpreter: os.PathLike[str], onnxruntime: Optional[os.PathLike[str]]) -> None:
    """What this process is: the Python that runs it, and the folder of its onnxruntime."""

def command(program: os.PathLike[str], words: Sequence[str]) -> int:
    """Runs the command as this process; gives its exit code. `program` is what others start to run it."""

def flags(subcommand: str) -> Optional[str]:
    """The flags of a subcommand, as JSON."""

def ray_script() -> str:
    """The script that has Ray carry out trials."""

def call(program: os.PathLike[str], words: Sequence[str], on_event: Optional[Callable[[str], object]]) -> bytes:
    """Does what a subcommand does; gives what it prints. `on_event` is called with JSON of what is heard meanwhile."""
