"""A question is asked over several passages and gets one short answer, with the place where it stands.

In: a card, records with passages, a character tokenizer; no backbone, the network is its own.
Out: rows (one a passage), an epoch's draw of them, the network, voted answers with evidence, scores, the
submission's bytes. Knows nothing about training steps or files' places.

It needs the run's settings when it samples, builds and decodes: ``configure(run)`` gives it with them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from clue_runner.adapters.base import Head, Prediction, Predictions, Scores
from clue_runner.config.schema import Run
from clue_runner.data.cards import Card, Submission
from clue_runner.data.readers.passages import read_passage_records
from clue_runner.data.records import Passage, PassagesRecord, Records
from clue_runner.data.sources import DataSource
from clue_runner.errors import DataError, NotFiniteError
from clue_runner.metrics.answers_short import score_short_answers
from clue_runner.metrics.votes import Spans, Voted, candidate_spans, vote
from clue_runner.submission.tables import table
from clue_runner.tokens.characters import CharacterTokenizer, count_characters, open_vectors, read_characters
from clue_runner.tokens.passages import Sampling, encode_passages, sample_passages
from clue_runner.tokens.rows import Array, Rows

DEFAULT_SAMPLING = Sampling(crop=256, negative_share=0.0)
DEFAULT_LONGEST = 12  # characters in an answer at most where data.max_answer_length says nothing
DEFAULT_THRESHOLD = 0.1
EVIDENCE_SHOWN = 3  # places an answer comes with


@dataclass(frozen=True)
class DgcnnReading:
    """The adapter with a run's settings; without a run it has the reference's own."""

    run: Run | None = None
    family: str = "dgcnn"

    # ------------------------------------------------------------------------ read

    def read(self, card: Card, source: DataSource, split: str) -> Records[PassagesRecord]:
        """Return the questions of one split; wrong ones raise ``DataError`` with file:line."""
        return read_passage_records(card, source, split)

    def question_records(self, question: str, passages: Sequence[str]) -> Records[PassagesRecord]:
        """Return one question as the records of a split without labels."""
        record = PassagesRecord(0, question, tuple(Passage(text) for text in passages), None)
        content = "\x00".join((question, *passages)).encode()
        return Records("question", (record,), "question", hashlib.sha256(content).hexdigest(), 1)

    # ------------------------------------------------------------------------ encode

    def make_tokenizer(self, records: Mapping[str, Records[Any]], run: Run) -> CharacterTokenizer:
        """Return the tokenizer whose characters are those of train.

        Raises:
            DataError: no character is frequent enough, or the word vectors cannot be used.
        """
        texts = (
            text
            for record in records["train"].items
            for text in (record.question, *(passage.text for passage in record.passages))
        )
        vectors = open_vectors(run.model.word_vectors)
        return CharacterTokenizer(count_characters(texts, run.data.min_count), vectors)

    def load_tokenizer(self, path: Path, run: Run) -> CharacterTokenizer:
        """Return the tokenizer of a saved run; ``path`` is its vocabulary."""
        return CharacterTokenizer(read_characters(path), open_vectors(run.model.word_vectors))

    def encode(self, records: Records[PassagesRecord], card: Card, tokenizer: Any, run: Run) -> Rows:
        """Return one row a passage, in record order; see ``tokens.passages``."""
        return encode_passages(
            records.items,
            tokenizer,
            max_length=run.data.max_length,
            max_question_length=run.data.max_question_length,
        )

    def epoch_rows(self, rows: Rows, seed: int, epoch: int) -> Rows:
        """Return one random passage a question, cut at random, new each epoch."""
        if self.run is None:
            return sample_passages(rows, seed, epoch, DEFAULT_SAMPLING)
        data = self.run.data
        return sample_passages(rows, seed, epoch, Sampling(data.passage_crop, data.negative_share))

    # ------------------------------------------------------------------------ build

    def build(
        self, backbone: Any | None, card: Card, run: Run, *, vocab_size: int = 2, precision: str = "float32"
    ) -> Head:
        """Return the network.

        Args:
            backbone: None; this adapter brings its own.
            card: the task.
            run: the settings.
            vocab_size: rows of the character table.
            precision: ``float32`` or ``bfloat16``.
        """
        from clue_runner.architectures.settings import build_backbone

        if backbone is not None:
            raise ValueError("this adapter brings its own network")
        vectors = open_vectors(run.model.word_vectors)
        head = build_backbone(
            run.model,
            vocab_size,
            precision=precision,
            seed=run.seed,
            vectors=None if vectors is None else vectors.table,
            focal=(run.train.focal_alpha, run.train.focal_gamma),
        )
        return cast(Head, head)

    # ------------------------------------------------------------------------ decode

    def decode_batch(self, outputs: Mapping[str, Array], batch: Mapping[str, Array]) -> Sequence[Spans]:
        """Return the candidate spans of each passage from its logits."""
        start, end = probabilities(outputs)
        return [
            candidate_spans(
                start[row, :length], end[row, :length], threshold=self._threshold, longest=self._longest
            )
            for row, length in enumerate(np.asarray(batch["lengths"]).tolist())
        ]

    def merge(self, partials: Mapping[int, Any], records: Records[PassagesRecord], card: Card) -> Predictions:
        """Return the voted answer of each question, in file order; empty where no span is probable enough.

        Raises:
            RuntimeError: a passage has no row or a row no passage (a bug of ours).
        """
        rows = {index for index in partials if index >= 0}
        wanted = sum(len(record.passages) for record in records.items)
        if rows != set(range(wanted)):
            raise RuntimeError(f"{records.file}: {len(rows)} rows for {wanted} passages")
        found, place = [], 0
        for record in records.items:
            spans = {number: partials[place + number] for number in range(len(record.passages))}
            place += len(record.passages)
            rule = "squares" if self.run is None else self.run.model.answer_vote
            voted = vote([passage.text for passage in record.passages], spans, rule)
            found.append(_prediction(record, voted))
        return found

    @property
    def _threshold(self) -> float:
        """Return the probability that begin and end must be above."""
        return DEFAULT_THRESHOLD if self.run is None else self.run.model.answer_threshold

    @property
    def _longest(self) -> int:
        """Return the most characters in an answer."""
        return (self.run.data.max_answer_length if self.run else None) or DEFAULT_LONGEST

    def ensemble(
        self, members: Sequence[Predictions], records: Records[PassagesRecord], card: Card
    ) -> Predictions:
        """Return the answers with the highest sum of votes over several runs; of equals the first run's.

        Raises:
            DataError: a member answers other records.
        """
        answers = []
        for index, record in enumerate(records.items):
            votes: dict[str, float] = {}
            best: dict[str, Prediction] = {}
            for number, member in enumerate(members, start=1):
                if len(member) != len(records) or member[index].id != record.id:
                    raise DataError(f"run {number} of the ensemble answers other records than {records.file}")
                one = member[index]
                votes[one.prediction] = votes.get(one.prediction, 0.0) + (one.probability or 0.0)
                best.setdefault(one.prediction, one)
            text = max(votes, key=lambda answer: votes[answer])
            one = best[text]
            answers.append(Prediction(record.id, text, votes[text] / len(members), evidence=one.evidence))
        return answers

    # ------------------------------------------------------------------------ score

    def score(self, predictions: Predictions, records: Records[PassagesRecord], card: Card) -> Scores:
        """Return exact, fuzzy (character F1) and mean score with their interval.

        Exact: the answer is a reference but for width, case, punctuation and spaces. Both take the best
        reference. Chance is the share of the most frequent first reference. The official scores use gold
        files of their own: ``clue evaluate --gold``.

        Raises:
            DataError: the split is empty or has no answers.
            RuntimeError: predictions are not aligned with the records (a bug of ours).
        """
        if not len(records) or any(record.answers is None for record in records.items):
            raise DataError(
                "a split without answers cannot be scored", where=records.file, allowed="train, dev"
            )
        if [prediction.id for prediction in predictions] != [record.id for record in records.items]:
            raise RuntimeError(f"{records.file}: predictions are not in the order of the records")
        found = score_short_answers(
            [str(one.prediction) for one in predictions], [record.answers or () for record in records.items]
        )
        return Scores(card.metric, found.values, found.chance, found.interval(card.metric), len(records))

    # ------------------------------------------------------------------------ submit

    def submit(self, predictions: Predictions, card: Card, submission: Submission) -> bytes:
        """Return lines of id, tab and answer in file order, as the Sogou scoring tool reads them."""
        return table((prediction.id, prediction.prediction) for prediction in predictions)


def configure(run: Run | None) -> DgcnnReading:
    """Return the adapter with a run's settings."""
    return DgcnnReading(run)


def probabilities(outputs: Mapping[str, Array]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return (rows, length) probabilities that an answer begins and that it ends at a character.

    Raises:
        NotFiniteError: a logit is not a number.
    """
    gate, start, end = (np.asarray(outputs[name], np.float32) for name in ("gate", "start", "end"))
    if not (np.isfinite(gate).all() and np.isfinite(start).all() and np.isfinite(end).all()):
        raise NotFiniteError(
            "the network's tags are not numbers", next_step="train again with a lower learning rate"
        )
    return _sigmoid(gate)[:, None] * _sigmoid(start), _sigmoid(gate)[:, None] * _sigmoid(end)


def _sigmoid(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return 1 / (1 + e^-x) without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * values)), np.float32)


def _prediction(record: PassagesRecord, voted: Sequence[Voted]) -> Prediction:
    """Return the answer with the highest vote and where it stands."""
    if not voted:
        return Prediction(record.id, "", 0.0)
    best = voted[0]
    places = tuple((one.passage, one.start, one.end, one.score) for one in best.evidence[:EVIDENCE_SHOWN])
    return Prediction(record.id, best.text, best.vote, evidence=places)
