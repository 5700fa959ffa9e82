"""The model and the data of the repository."""

import shutil
from pathlib import Path

import numpy
import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def model() -> Path:
    return ROOT / "onnx-models/fashion_mobilenet.onnx"


@pytest.fixture(scope="session")
def digits(tmp_path_factory) -> Path:
    """Thirty pictures of each digit, in a folder for each."""
    to = tmp_path_factory.mktemp("digits")
    for label in sorted((ROOT / "fixtures/digits").iterdir()):
        (to / label.name).mkdir()
        for path in sorted(label.iterdir())[:30]:
            shutil.copy(path, to / label.name)
    return to


@pytest.fixture(scope="session")
def pictures(digits: Path) -> list:
    """Four pictures of each digit, and their classes."""
    return [(path, label.name) for label in sorted(digits.iterdir()) if label.is_dir() for path in sorted(label.iterdir())[:4]]


@pytest.fixture(scope="session")
def arrays() -> tuple:
    """Dark and bright samples of two classes."""
    random = numpy.random.default_rng(7)
    y = numpy.arange(24) % 2
    x = (random.random((24, 3, 32, 32)) * 0.2 + y[:, None, None, None] * 0.7).astype(numpy.float32)
    return x, y


@pytest.fixture(scope="session")
def tuned(model, digits, tmp_path_factory):
    """A run of one strategy and one epoch, what was heard of it, and its folder."""
    import ftsurgery

    events = []
    out = tmp_path_factory.mktemp("tuned") / "run"
    run = ftsurgery.tune(
        model, digits, out, strategies=["head"], epochs=1, preprocess="unit", on_event=events.append
    )
    return run, events
