"""The map of the house: what every adapter provides, in this order, under these names.

    read -> encode -> epoch_rows -> build -> decode_batch -> merge -> score -> submit

An adapter is a module in this folder; its name is the card's ``adapter``. Adapters are the only
place that sees a record, its rows and its tensors at once. Keras is imported inside ``build`` alone,
so that reading, scoring and submitting need no backend.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from clue_runner.config.schema import Run
from clue_runner.data.cards import Card, Submission
from clue_runner.data.records import Records
from clue_runner.data.sources import DataSource
from clue_runner.tokens.rows import Array, Rows
from clue_runner.tokens.tokenizer import Tokenizer


@dataclass(frozen=True)
class Prediction:
    """The answer to one record: its id, the answer, and the answer's probability.

    ``decoding`` names the way the answer was taken from the probabilities, where a task has several.
    ``alternatives`` are the best answers with their probabilities, best first, where a task lists such.
    """

    id: int | str
    prediction: Any
    probability: float | None = None
    probabilities: NDArray[np.float32] | None = None
    decoding: str | None = None
    alternatives: tuple[tuple[str, float], ...] = ()


Predictions = Sequence[Prediction]


@dataclass(frozen=True)
class Scores:
    """Named scores in percent; ``main`` names the card's metric, ``chance`` is what knowing nothing gets."""

    main: str
    values: Mapping[str, float]
    chance: float
    confidence_interval: tuple[float, float]
    examples: int

    @property
    def score(self) -> float:
        """Return the main score."""
        return self.values[self.main]


class Head(Protocol):
    """A trainable network: backbone and task layers as one Keras layer."""

    def __call__(self, batch: Mapping[str, Any], dropout_key: Any | None = None) -> Mapping[str, Any]:
        """Return named output tensors; ``dropout_key=None`` means inference."""

    def loss(self, outputs: Mapping[str, Any], batch: Mapping[str, Any]) -> tuple[Any, Any]:
        """Return (sum of example losses, sum of example weights), both float32 scalars."""


class Adapter(Protocol):
    """What a module in this folder provides."""

    def read(self, card: Card, source: DataSource, split: str) -> Records[Any]:
        """Return the usable records of one split; bad ones raise ``DataError`` with file:line."""

    def encode(self, records: Records[Any], card: Card, tokenizer: Tokenizer, run: Run) -> Rows:
        """Return rows in record order; ``record`` and ``group`` say whose they are."""

    def epoch_rows(self, rows: Rows, seed: int, epoch: int) -> Rows:
        """Return the rows to train on in one epoch (the same ones, unless the task samples)."""

    def build(self, backbone: Any | None, card: Card, run: Run) -> Head:
        """Return the network for the task on top of ``backbone``."""

    def decode_batch(self, outputs: Mapping[str, Array], batch: Mapping[str, Array]) -> Sequence[Any]:
        """Return one partial result a row of the batch, padding rows left out by ``merge``."""

    def merge(self, partials: Mapping[int, Any], records: Records[Any], card: Card) -> Predictions:
        """Return one prediction a record in file order; ``partials`` maps row index to partial."""

    def ensemble(self, members: Sequence[Predictions], records: Records[Any], card: Card) -> Predictions:
        """Return the joint answer of several runs."""

    def score(self, predictions: Predictions, records: Records[Any], card: Card) -> Scores:
        """Return the official scores of predictions against labelled records."""

    def submit(self, predictions: Predictions, card: Card, submission: Submission) -> bytes:
        """Return the submission file's bytes."""


def load_adapter(card: Card) -> Adapter:
    """Return the adapter module that the card names."""
    return cast(Adapter, importlib.import_module(f"clue_runner.adapters.{card.adapter}"))
