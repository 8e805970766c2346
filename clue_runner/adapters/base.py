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
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from clue_runner.config.presets import model_preset, model_presets
from clue_runner.config.schema import Run
from clue_runner.data.cards import Card, Submission
from clue_runner.data.records import Records
from clue_runner.data.sources import DataSource
from clue_runner.errors import UsageError
from clue_runner.tokens.rows import Array, Rows
from clue_runner.tokens.tokenizer import Tokenizer

BERT = "bert"  # the family of every encoder


@dataclass(frozen=True)
class Prediction:
    """The answer to one record: its id, the answer, and the answer's probability.

    ``decoding`` names the way the answer was taken from the probabilities, where a task has several.
    ``alternatives`` are the best answers with their probabilities, best first, where a task lists such.
    ``evidence`` is where the answer stands, best place first: passage number, characters from and to, score.
    """

    id: int | str
    prediction: Any
    probability: float | None = None
    probabilities: NDArray[np.float32] | None = None
    decoding: str | None = None
    alternatives: tuple[tuple[str, float], ...] = ()
    evidence: tuple[tuple[int, int, int, float], ...] = ()


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


class OwnNetwork(Protocol):
    """What an adapter has besides where it brings its own network and its own way of cutting text.

    Its ``build`` gets ``None`` for the backbone, and the keywords ``vocab_size`` and ``precision``.
    """

    family: str

    def make_tokenizer(self, records: Mapping[str, Records[Any]], run: Run) -> Tokenizer:
        """Return the tokenizer that the records of all splits give."""

    def load_tokenizer(self, path: Path, run: Run) -> Tokenizer:
        """Return the tokenizer whose vocabulary a run has saved."""

    def build(
        self, backbone: Any | None, card: Card, run: Run, *, vocab_size: int = 2, precision: str = "float32"
    ) -> Head:
        """Return the network."""


class Askable(Protocol):
    """What an adapter has besides where a user may ask it a single question."""

    def question_records(self, question: str, passages: Sequence[str]) -> Records[Any]:
        """Return one question over texts as the records of a split without labels."""


def load_adapter(card: Card, run: Run | None = None) -> Adapter:
    """Return the adapter that the card names: its module, or what the module makes of the run's settings."""
    module = importlib.import_module(f"clue_runner.adapters.{card.adapter}")
    configure = getattr(module, "configure", None)
    return cast(Adapter, configure(run) if configure else module)


def own_network(adapter: Adapter) -> OwnNetwork | None:
    """Return the adapter where it brings its own network, else None."""
    return cast(OwnNetwork, adapter) if hasattr(adapter, "make_tokenizer") else None


def require_family(card: Card, run: Run) -> None:
    """Refuse a model that is of another kind than the task's adapter.

    Raises:
        UsageError: a BERT for a task with its own network, or the other way round.
    """
    _require_family(card, run.model.name, run.model.family)


def require_preset_family(card: Card, model: str | None) -> None:
    """Refuse a preset of another kind, before its settings are checked beside the card's.

    Raises:
        UsageError: as ``require_family``.
    """
    if model in model_presets():
        _require_family(card, model, str(model_preset(model).layer.values.get("model.family", BERT)))


def require_droppable(card: Card, run: Run) -> None:
    """Refuse ``train.drop_tokens`` where answers are about single tokens, which must not be missing.

    Raises:
        UsageError: the task's adapter cannot train on rows with tokens left out.
    """
    if run.train.drop_tokens and not getattr(load_adapter(card, run), "DROPS_TOKENS", False):
        raise UsageError(
            f"{card.name} asks about single tokens, so that none may be dropped",
            where="train.drop_tokens",
            received=str(run.train.drop_tokens),
            allowed="0",
            next_step="DropToken is for tasks with one answer a row: classification and multiple choice",
        )


def _require_family(card: Card, model: str, family: str) -> None:
    """Refuse a model's family that is not the adapter's."""
    own = own_network(load_adapter(card))
    wanted = own.family if own else BERT
    if family != wanted:
        raise UsageError(
            f"{card.name} needs a model of the family {wanted}",
            where="--model",
            received=f"{model}, which is of the family {family}",
            next_step="--model dgcnn" if wanted == "dgcnn" else "all models: clue models",
        )
