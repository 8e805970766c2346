"""The interface of adapters: what every adapter provides, in this order, under these names.

    read -> encode -> epoch_rows -> build -> decode_batch -> merge -> ensemble -> score -> submit -> show

In: a card and a run's settings. Out: the task's adapter, a class in the module or folder here that is named
as the card's ``adapter``; nothing else maps a name to a class. Adapters are the only place that sees a
record, its rows and its tensors at once. Keras is imported inside ``build`` and ``own_network`` alone, so
that reading, scoring and submitting need no backend. Knows nothing about single tasks, steps or run folders.
"""

from __future__ import annotations

import importlib.util
import inspect
import json
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from clue_runner import adapters
from clue_runner.adapters.answers import Partials, Prediction, Predictions, Scores
from clue_runner.adapters.checks import require_in_range, require_learnable
from clue_runner.adapters.settings import AdapterSettings, own_settings
from clue_runner.adapters.shown.shown import Shown
from clue_runner.config.schema import Run
from clue_runner.data.cards import CARD_FILE, Card, Submission
from clue_runner.data.records import Records
from clue_runner.data.sources import DataSource
from clue_runner.errors import UsageError, suggest
from clue_runner.tokens.any_tokenizer import AnyTokenizer
from clue_runner.tokens.rows import Array, IntArray, Rows

if TYPE_CHECKING:
    from clue_runner.models.heads.base import Head

__all__ = [
    "Adapter",
    "AdapterSettings",
    "AnyTokenizer",
    "MemoryFacts",
    "Partials",
    "Prediction",
    "Predictions",
    "Scores",
    "Shown",
    "adapter_class",
    "adapter_names",
    "load_adapter",
]


@dataclass(frozen=True)
class MemoryFacts:
    """What the memory of a training step depends on besides the backbone; heads give the same facts.

    Args:
        every_token: the head reads all tokens, so the last block computes all of them.
        span_tables: number of (length x length) float32 score tables per row.
        word_scores: fraction of the tokens with float32 scores over the vocabulary.
        word_places: places of a row with such scores, however long the row is.
        beams: sequences written beside each other for a row, with keys and values of all their tokens and
            of those of the row; 0: answers are not written.
    """

    every_token: bool
    span_tables: int = 0
    word_scores: float = 0.0
    word_places: int = 0
    beams: int = 0

    @property
    def scores_words(self) -> bool:
        """Return whether the vocabulary is scored, by the token embeddings."""
        return self.word_scores > 0 or self.word_places > 0


class Adapter(ABC):
    """One kind of task, bound to a card and to a run's settings.

    Attributes:
        settings_type: the class of the adapter's settings.
        family: the family of the task's models; None: any encoder.
        drops_tokens: an answer is about a whole row, so ``train.drop_tokens`` is allowed.
        answers_questions: a user may ask a single question (``question_records``).
        chance_means: the baseline whose score is ``Scores.chance``.
        express_advice: what to change if tokens cannot represent any answer.
        pretrained: pre-training heads that initialise the task's head, if a checkpoint has them.
        settings: the run's values of ``settings_type``; the defaults without a run.
    """

    settings_type: ClassVar[type[AdapterSettings]] = AdapterSettings
    family: ClassVar[str | None] = None
    drops_tokens: ClassVar[bool] = False
    answers_questions: ClassVar[bool] = False
    chance_means: ClassVar[str] = "the most frequent label"
    express_advice: ClassVar[str] = "raise data.max_length, or use a vocabulary that has these characters"
    pretrained: ClassVar[tuple[str, ...]] = ()
    settings: AdapterSettings

    def __init__(self, card: Card, run: Run | None = None) -> None:
        self.card = card
        self.settings = own_settings(self.settings_type, run)
        self.tokenizer: AnyTokenizer | None = None  # whose ids written answers are made of; set by the run
        self._run = run

    @property
    def run(self) -> Run:
        """Return the settings; reading, scoring and submitting must not need them.

        Raises:
            RuntimeError: the adapter was loaded without a run (our bug).
        """
        if self._run is None:
            raise RuntimeError(f"the adapter of {self.card.name} was loaded without a run's settings")
        return self._run

    def label_words(self, name: str) -> str:
        """Return a label as people read it: the code and, where the card describes it, what it means."""
        described = next((one.description for one in self.card.labels if one.name == name), "")
        return f"{name} ({described})" if described else name

    # ------------------------------------------------------------------------ read

    @abstractmethod
    def read(self, source: DataSource, split: str) -> Records[Any]:
        """Return the usable records of one split; bad ones raise ``DataError`` with file:line."""

    def question_records(self, question: str, passages: Sequence[str]) -> Records[Any]:
        """Return one question over texts as the records of a split without labels."""
        raise NotImplementedError(f"{self.card.adapter} does not answer single questions")

    # ------------------------------------------------------------------------ encode

    def own_tokenizer(self, records: Mapping[str, Records[Any]]) -> AnyTokenizer | None:
        """Return the tokenizer built from the records; None: the model brings one."""
        return None

    def load_own_tokenizer(self, path: Path) -> AnyTokenizer | None:
        """Return the tokenizer with a run's saved vocabulary; None: the model brings one."""
        return None

    def row_settings(self, tokenizer: AnyTokenizer) -> dict[str, str]:
        """Return everything beside the records that ``encode`` reads: the key under which rows are kept.

        It covers the card, all of the adapter's settings and what ``encode`` may read of the run: a
        superfluous setting costs an encoding, a forgotten one would return another run's rows.
        """
        return {
            "card": self.card.model_dump_json(exclude={"folder"}),
            "task": self.settings.model_dump_json(),
            "vocabulary": tokenizer.sha256,
            "lowercase": str(tokenizer.lowercase),
            "data.max_length": str(self.run.data.max_length),
            "model.segments": self.run.model.segments,
        }

    @abstractmethod
    def encode(self, records: Records[Any], tokenizer: Any) -> Rows:
        """Return rows in record order; ``record`` and ``group`` tell their origin.

        Of the run it may read only what ``row_settings`` names.
        """

    def check_rows(self, rows: Rows, records: Records[Any]) -> None:
        """Refuse rows that would train silently on something other than the card says.

        Raises:
            DataError: a label, type or place outside its table (file:line); train without a usable answer.
        """
        for name, (values, limit) in self.tables(rows).items() if len(rows) else ():
            require_in_range(rows, records, name, values, limit)
        if records.split == "train":
            require_learnable(rows, records, self.express_advice)

    def tables(self, rows: Rows) -> Mapping[str, tuple[Array, int | IntArray]]:
        """Return name -> (values, (rows, ...); the first invalid number) of the head's look-ups."""
        return {}

    def epoch_rows(self, rows: Rows, seed: int, epoch: int) -> Rows:
        """Return the rows to train on in one epoch: the same ones, unless the task samples."""
        return rows

    # ------------------------------------------------------------------------ build

    @abstractmethod
    def build(self, backbone: Any) -> Head:
        """Return the network for the task on top of ``backbone``."""

    def own_network(self, *, vocab_size: int, precision: str) -> Head | None:
        """Return the network of a task without a backbone; None: it has one.

        Args:
            vocab_size: rows of the token embeddings.
            precision: ``float32`` or ``bfloat16``.
        """
        return None

    @abstractmethod
    def memory_facts(self) -> MemoryFacts:
        """Return the head's memory facts; no backend is loaded."""

    # ------------------------------------------------------------------------ decode

    @abstractmethod
    def decode_batch(self, outputs: Mapping[str, Array], batch: Mapping[str, Array]) -> Sequence[Any]:
        """Return one partial result per row of the batch, padding rows too; host columns are in ``batch``."""

    @abstractmethod
    def merge(self, partials: Partials, rows: Rows, records: Records[Any]) -> Predictions:
        """Return one prediction per record in file order; a negative row number is padding."""

    @abstractmethod
    def ensemble(self, members: Sequence[Predictions], records: Records[Any]) -> Predictions:
        """Return the joint answer of several runs."""

    def answer_notes(self, predictions: Predictions) -> dict[str, int]:
        """Return what answering lost -> how often, as ``Rows.notes`` does for encoding; no entry for 0."""
        return {}

    # ------------------------------------------------------------------------ score

    @abstractmethod
    def score(self, predictions: Predictions, records: Records[Any]) -> Scores:
        """Return the official scores of predictions against labelled records."""

    def degenerate(self, predictions: Predictions, scores: Scores) -> str | None:
        """Return one sentence if a run has apparently learned nothing; None otherwise.

        That is: the same answer to all of several records, or a score that the baseline
        (``Scores.chance``) reaches too.
        """
        answers = {json.dumps(one.prediction, sort_keys=True, ensure_ascii=False) for one in predictions}
        if len(predictions) > 1 and len(answers) == 1:
            return f"all {len(predictions):,} answers are the same: {self.answer_words(predictions[0])}"
        if scores.score <= scores.chance:
            return (
                f"{scores.main} {scores.score:.2f} is not above {scores.chance:.2f}, "
                f"the score of {self.chance_means}"
            )
        return None

    def answer_words(self, prediction: Prediction) -> str:
        """Return an answer for people, shortened if it is long."""
        if isinstance(prediction.prediction, str):
            return f"{self.label_words(prediction.prediction) or 'no answer'!s:.80}"
        return f"{json.dumps(prediction.prediction, ensure_ascii=False):.80}"

    # ------------------------------------------------------------------------ submit

    @abstractmethod
    def submit(self, predictions: Predictions, submission: Submission) -> bytes:
        """Return the submission file's bytes."""

    @abstractmethod
    def show(self, record: Any, prediction: Prediction) -> Shown:
        """Return a record beside its answer as a page draws it."""


def load_adapter(card: Card, run: Run | None = None) -> Adapter:
    """Return the card's adapter, bound to the settings; without a run, with default settings.

    Raises:
        UsageError: there is no such adapter; the message names those there are.
    """
    return adapter_class(card.adapter, where=f"{card.folder / CARD_FILE}, adapter")(card, run)


def adapter_class(name: str, where: str | None = None) -> type[Adapter]:
    """Return the adapter called ``name``.

    Raises:
        UsageError: there is none; ``where`` says who named it.
    """
    kind = _adapter_in(name)
    if kind is None:
        names = adapter_names()
        guess = suggest(name, names)
        raise UsageError(
            f"no adapter called {name!r}",
            where=where,
            allowed=", ".join(names),
            next_step=f"did you mean {guess}?" if guess else "name the kind of task of the data",
        )
    return kind


def adapter_names() -> tuple[str, ...]:
    """Return the names of all adapters; there is no list but the folder."""
    names = sorted(module.name for module in pkgutil.iter_modules(adapters.__path__))
    return tuple(name for name in names if _adapter_in(name) is not None)


def _adapter_in(name: str) -> type[Adapter] | None:
    """Return the adapter class that the module ``name`` here defines; None where there is no such module."""
    full = f"{adapters.__name__}.{name}"
    if not name.isidentifier() or importlib.util.find_spec(full) is None:
        return None
    module = importlib.import_module(full)
    kinds = [
        value
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, Adapter) and not inspect.isabstract(value)
        if f"{value.__module__}.".startswith(f"{full}.")
    ]
    if len(kinds) > 1:
        raise RuntimeError(f"{full} defines {len(kinds)} adapters, and its name can mean only one")
    return kinds[0] if kinds else None
