"""What comes out, as dataclasses."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

if TYPE_CHECKING:
    import numpy
    import pandas

    from ._call import PathLike

__all__ = [
    "Analysis",
    "Block",
    "ClassFigures",
    "Evaluation",
    "Gradients",
    "Layer",
    "Prediction",
    "Ranked",
    "Run",
    "Strategy",
    "Tensor",
]


def _pandas() -> Any:
    try:
        import pandas
    except ImportError as error:
        raise RuntimeError("to_pandas needs pandas: pip install 'ftsurgery[pandas]'") from error
    return pandas


def _frame(rows: list[dict[str, Any]]) -> pandas.DataFrame:
    return _pandas().DataFrame(rows)


def _known(of: type, data: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a dataclass that `data` has."""
    return {f.name: data[f.name] for f in fields(of) if f.name in data and f.name != "data"}


def _plain(record: Any) -> dict[str, Any]:
    """The fields of a record for a row of a table: those that are one value."""
    values = {f.name: getattr(record, f.name) for f in fields(record) if f.name != "data"}
    return {name: value for name, value in values.items() if not isinstance(value, (list, dict))}


@dataclass(frozen=True)
class Tensor:
    """A trainable constant of a model."""

    name: str
    elements: int
    #: The layer that owns it; `None` if it belongs to the block alone.
    layer: Optional[str] = None


@dataclass(frozen=True)
class Layer:
    """A layer of a model."""

    name: str
    op_type: str
    block: str
    #: Dimensions of its output; an open one is a string. `None` where it is not known.
    output_shape: Optional[list[Any]]
    parameters: int
    buffers: int
    #: Multiplications with addition, per sample.
    macs: Optional[int]
    activation_bytes: Optional[int]
    #: Whether it is the operator of a weighted layer.
    weighted: bool


@dataclass(frozen=True)
class Block:
    """A block of layers."""

    name: str
    layers: list[str]
    tensors: list[Tensor]
    parameters: int
    #: Of the parameters of the model, 0 to 1.
    share: float
    is_classifier: bool


@dataclass(frozen=True)
class Analysis:
    """Layers and blocks of a model, and what tuning would consider."""

    layers: list[Layer]
    blocks: list[Block]
    totals: dict[str, Any]
    #: The numbers of candidates that strategies would try.
    candidates: dict[str, Any]
    #: The last feature map, its size, and the model's input; `None` of a model without.
    backbone: Optional[dict[str, Any]]
    warnings: list[str]
    data: dict[str, Any] = field(repr=False)

    @classmethod
    def _of(cls, data: dict[str, Any]) -> Analysis:
        blocks = [
            Block(**{**_known(Block, b), "tensors": [Tensor(**_known(Tensor, t)) for t in b["tensors"]]})
            for b in data["blocks"]
        ]
        layers = [Layer(**_known(Layer, layer)) for layer in data["layers"]]
        return cls(**{**_known(cls, data), "layers": layers, "blocks": blocks}, data=data)

    def to_pandas(self) -> pandas.DataFrame:
        """A row for each layer."""
        return _frame([{**_plain(layer), "output_shape": layer.output_shape} for layer in self.layers])


@dataclass(frozen=True)
class Strategy:
    """What a strategy came to. Accuracies are from 0 to 1; of several labels per sample they are exact matches."""

    name: str
    #: The tuned model's file; `None` where there is none.
    model: Optional[Path]
    #: The winning candidate.
    candidate: Optional[str] = None
    #: The layers of the backbone that it trained.
    layers: list[str] = field(default_factory=list)
    validation_accuracy: Optional[float] = None
    held_out_accuracy: Optional[float] = None
    trained_parameters: Optional[int] = None
    epochs: Optional[int] = None
    #: The learning rate that was found; `None` where it was given.
    rate: Optional[float] = None
    #: Of its trials, added up.
    seconds: float = 0.0
    #: Why there is no model.
    error: Optional[str] = None
    #: All that `results.json` has of it.
    data: dict[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def _of(cls, data: dict[str, Any], root: Path) -> Strategy:
        model = data.get("model")
        return cls(**{**_known(cls, data), "model": root / model if model else None}, data=data)


@dataclass(frozen=True)
class Run:
    """What a run came to."""

    #: Its folder, with the report in `report.html`.
    out: Path
    strategies: list[Strategy]
    #: Whether it was stopped before its end; `tune(resume=run.out)` goes on.
    interrupted: bool = False
    #: By the clock on the wall; `None` where other processes carried out trials.
    seconds: Optional[float] = None
    #: All that `results.json` has.
    data: dict[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def _of(cls, data: dict[str, Any], root: Path) -> Run:
        strategies = [Strategy._of(s, root) for s in data["strategies"]]
        return cls(root, strategies, data.get("interrupted", False), data.get("clock"), data)

    @classmethod
    def read(cls, out: PathLike) -> Run:
        """The results that a run's folder holds, whoever made it.

        Raises:
            OSError: where it has none.
        """
        root = Path(out)
        return cls._of(json.loads((root / "results.json").read_text(encoding="utf-8")), root)

    @property
    def best(self) -> Strategy:
        """The strategy of the highest accuracy on validation samples: held-out ones are for its figure, not for the choice.

        Raises:
            ValueError: where no strategy has a model.
        """
        made = [s for s in self.strategies if s.model is not None]
        if not made:
            raise ValueError(f"no strategy has a model; see {self.out / 'results.json'}")
        return max(made, key=lambda s: s.validation_accuracy if s.validation_accuracy is not None else -1.0)

    def __getitem__(self, name: str) -> Strategy:
        for strategy in self.strategies:
            if strategy.name == name:
                return strategy
        raise KeyError(name)

    def __iter__(self) -> Iterator[Strategy]:
        return iter(self.strategies)

    def trials(self) -> list[dict[str, str]]:
        """The lines of `trials.csv`: one for each trial."""
        with open(self.out / "trials.csv", newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def to_pandas(self, of: str = "strategies") -> pandas.DataFrame:
        """A row for each strategy, or with `of="trials"` for each trial."""
        if of == "strategies":
            return _frame([_plain(s) for s in self.strategies])
        if of != "trials":
            raise ValueError('of= is "strategies" or "trials"')
        return _pandas().read_csv(self.out / "trials.csv")


@dataclass(frozen=True)
class ClassFigures:
    """What a class came to."""

    name: str
    precision: Optional[float]
    recall: Optional[float]
    f1: Optional[float]
    #: Samples that are of it.
    support: int
    average_precision: Optional[float] = None
    threshold: Optional[float] = None


@dataclass(frozen=True)
class Evaluation:
    """How good a classifier is on data. Shares are from 0 to 1."""

    samples: int
    classes: list[ClassFigures]
    #: Of one class per sample; of several labels see `exact_match`.
    accuracy: Optional[float] = None
    balanced_accuracy: Optional[float] = None
    macro_f1: Optional[float] = None
    loss: Optional[float] = None
    calibrated_loss: Optional[float] = None
    #: Of several labels per sample.
    exact_match: Optional[float] = None
    average_precision: Optional[float] = None
    micro_f1: Optional[float] = None
    #: `[true class, predicted class, samples]` of the pairs that occur.
    confusion: list[list[int]] = field(default_factory=list)
    #: All that the command prints with `--json`.
    data: dict[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def _of(cls, data: dict[str, Any]) -> Evaluation:
        classes = [ClassFigures(**_known(ClassFigures, c)) for c in data["classes"]]
        return cls(**{**_known(cls, data), "classes": classes}, data=data)

    def to_pandas(self) -> pandas.DataFrame:
        """A row for each class."""
        return _frame([_plain(c) for c in self.classes])


@dataclass(frozen=True)
class Ranked:
    """A class of a picture."""

    name: str
    probability: float
    #: Of a model that tells each class by itself, the probability from which on it applies, and whether it does.
    threshold: Optional[float] = None
    applies: Optional[bool] = None


@dataclass(frozen=True)
class Prediction:
    """The classes of a picture, the most probable first."""

    #: The path of the picture, where it was given as one.
    image: Optional[str]
    classes: list[Ranked]
    #: Why it could not be classified.
    error: Optional[str] = None

    @property
    def label(self) -> Optional[str]:
        """The most probable class."""
        return self.classes[0].name if self.classes else None

    @property
    def probability(self) -> Optional[float]:
        """That of the most probable class."""
        return self.classes[0].probability if self.classes else None


@dataclass(frozen=True)
class Gradients:
    """The loss of a batch, and its gradients."""

    loss: float
    #: Of each parameter, of its dimensions, float32.
    gradients: dict[str, numpy.ndarray]

    def __getitem__(self, name: str) -> numpy.ndarray:
        return self.gradients[name]
