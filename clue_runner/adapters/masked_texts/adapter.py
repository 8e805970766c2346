"""Masked tokens of running text are guessed: pre-training as a task whose records are rows of tokens.

In: a card, token files, a tokenizer, a backbone.
Out: rows whose masks are drawn anew in each epoch, a network, what was guessed of each held-out row, scores.
Knows nothing about training steps, or about how token files are made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from clue_runner.adapters.answers import Prediction, Predictions, Scores
from clue_runner.adapters.base import Adapter, AdapterSettings, MemoryFacts, Partials
from clue_runner.adapters.checks import require_all_rows
from clue_runner.adapters.shown.shown import Shown
from clue_runner.config.schema import Positive
from clue_runner.data.card import Submission
from clue_runner.data.layouts import read_records
from clue_runner.data.records import Records
from clue_runner.data.sources import DataSource
from clue_runner.data.texts.source import RowNumbers
from clue_runner.errors import UsageError
from clue_runner.metrics.confidence import FloatArray, Summed
from clue_runner.tokens.corpus.make import ordinary_ids
from clue_runner.tokens.corpus.masks import Draw, Masking, Split
from clue_runner.tokens.corpus.store import mapped_rows
from clue_runner.tokens.rows import Array, Rows
from clue_runner.tokens.tokenizer import Tokenizer

if TYPE_CHECKING:
    from clue_runner.models.heads.base import Head

HELD_OUT_SEED, HELD_OUT_EPOCH = 0, -1  # every run, whatever its seed, is asked the same
LOSS, RIGHT, ASKED = "loss", "right", "asked"


class Settings(AdapterSettings):
    """How tokens are masked."""

    masks: Literal["words", "tokens"] = Field(
        default="words", description="unit of masking: whole words (jieba), or single tokens"
    )
    longest_run: Positive = Field(
        default=1, description="most consecutive words masked together; shorter spans are more frequent"
    )
    mask_rate: float = Field(default=0.15, gt=0, lt=1, description="fraction of a row's tokens to mask")
    drop_masked: bool = Field(
        default=False,
        description="as MAE: the encoder reads the other tokens alone, and one block more guesses",
    )


class MaskedTexts(Adapter):
    """Tokens that are guessed."""

    chance_means = "the most frequent token"
    pretrained: ClassVar[tuple[str, ...]] = ("masked_words",)
    settings_type = Settings
    settings: Settings

    def masking(self, tokenizer: Tokenizer) -> Masking:
        """Return how tokens are masked."""
        mask, keep, other = map(float, self.run.model.mlm_split.split("/"))
        own, total = self.settings, mask + keep + other
        return Masking(
            rate=own.mask_rate,
            split=Split(mask / total, keep / total, other / total),
            words=own.masks == "words",
            longest=own.longest_run,
            dropped=own.drop_masked,
            mask_id=tokenizer.mask_id,
            ordinary=ordinary_ids(tokenizer),
        )

    # ------------------------------------------------------------------------ read

    def read(self, source: DataSource, split: str) -> Records[int]:
        """Return the rows of one split of the token files."""
        return read_records(self.card, source, split)

    # ------------------------------------------------------------------------ encode

    def encode(self, records: Records[int], tokenizer: Tokenizer) -> Rows:
        """Return the rows, mapped into memory; the masks of a held-out row are the same whenever it is read.

        Raises:
            RuntimeError: the records are not numbers of rows (our bug).
        """
        numbers = records.items
        if not isinstance(numbers, RowNumbers):
            raise RuntimeError(f"{records.shown}: {type(numbers).__name__} in place of rows")
        length = self.run.data.max_length
        rows = mapped_rows(numbers.folder, numbers.split, len(numbers), length, tokenizer.vocab_size)
        self.tokenizer = tokenizer
        draw = Draw(self.masking(tokenizer), HELD_OUT_SEED, HELD_OUT_EPOCH)
        return replace(rows, draw=draw)

    def check_rows(self, rows: Rows, records: Records[int]) -> None:
        """Take the rows as they are: what is asked of them is drawn from their own tokens."""

    def epoch_rows(self, rows: Rows, seed: int, epoch: int) -> Rows:
        """Return the rows with the masks of an epoch."""
        return replace(rows, draw=replace(self._draw(rows), seed=seed, epoch=epoch))

    def _draw(self, rows: Rows) -> Draw:
        if not isinstance(rows.draw, Draw):
            raise RuntimeError("rows without masks (our bug)")
        return rows.draw

    # ------------------------------------------------------------------------ build

    def build(self, backbone: Any) -> Head:
        """Return ``backbone`` with word scores at the masked places."""
        from clue_runner.models.heads.masked_words_head import MaskedWordsHead

        return MaskedWordsHead(
            backbone,
            dropped=self.settings.drop_masked,
            longest=self.run.data.max_length,
            seed=self.run.seed,
        )

    def memory_facts(self) -> MemoryFacts:
        """Return that every token is read, and the share of them that is scored over all words."""
        return MemoryFacts(every_token=True, word_scores=self.settings.mask_rate)

    # ------------------------------------------------------------------------ decode

    def decode_batch(self, outputs: Mapping[str, Array], batch: Mapping[str, Array]) -> Sequence[Any]:
        """Return (sum of losses, right, asked) of each row."""
        columns = (np.asarray(outputs[name]) for name in ("losses", RIGHT, ASKED))
        return [(float(loss), int(right), int(asked)) for loss, right, asked in zip(*columns, strict=True)]

    def merge(self, partials: Partials, rows: Rows, records: Records[int]) -> Predictions:
        """Return what was guessed of each row, in the order of the rows.

        Raises:
            RuntimeError: a record has no row or a row has no record (our bug).
        """
        require_all_rows(partials, len(records), records.file, "records")
        return [
            Prediction(number, dict(zip((LOSS, RIGHT, ASKED), partials[number], strict=True)))
            for number in range(len(records))
        ]

    def ensemble(self, members: Sequence[Predictions], records: Records[int]) -> Predictions:
        """Refuse: guesses are counted, not kept.

        Raises:
            UsageError: always.
        """
        raise UsageError(
            "runs of pre-training have no joint answer",
            where="--run",
            received=f"{len(members)} runs",
            next_step="compare them: clue compare RUN RUN",
        )

    # ------------------------------------------------------------------------ score

    def score(self, predictions: Predictions, records: Records[int]) -> Scores:
        """Return the share of masked tokens that were guessed, in percent, and the mean loss of one.

        Chance is the share of the commonest token of the held-out text.
        """
        counts = np.array(
            [[one.prediction[name] for name in (LOSS, RIGHT, ASKED)] for one in predictions], np.float64
        )
        loss, right, asked = map(float, counts.sum(axis=0))
        asked, summed = max(asked, 1.0), Summed(counts[:, 1:], _accuracy)
        return Scores(
            main=self.card.metric,
            values={
                self.card.metric: 100.0 * right / asked,
                "heldout_loss": loss / asked,
            },
            chance=100.0 * records.counts["commonest"] / max(records.counts["ordinary"], 1),
            confidence_interval=summed.interval,
            examples=len(records),
            summed=summed,
        )

    # ------------------------------------------------------------------------ submit

    def submit(self, predictions: Predictions, submission: Submission) -> bytes:
        """Refuse: no leaderboard takes guesses.

        Raises:
            RuntimeError: the card has a submission (our bug).
        """
        raise RuntimeError(f"{self.card.name} has no leaderboard")

    def show(self, record: int, prediction: Prediction) -> Shown:
        """Return how many masked tokens of a row were guessed; the row itself is neither right nor wrong."""
        found = prediction.prediction
        return Shown(
            id=record,
            texts=(),
            answer=f"{found[RIGHT]} of {found[ASKED]} masked tokens, loss {found[LOSS]:.2f}",
            gold=None,
            is_right=None,
        )


def _accuracy(sums: FloatArray) -> FloatArray:
    """Return percent for (n, 2) sums of right and asked."""
    right, asked = sums[:, 0], np.maximum(sums[:, 1], 1.0)
    percent: NDArray[np.float64] = 100.0 * right / asked
    return percent
