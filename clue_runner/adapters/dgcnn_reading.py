"""A question is asked over several passages and gets one short answer, with the place where it was found.

In: a card, records with passages, a character tokenizer; no backbone, the network is its own.
Out: rows (one per passage), an epoch's draw of them, the network, voted answers with evidence, scores, the
submission's bytes. Knows nothing about training steps or files' places.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from clue_runner.adapters.answers import Prediction, Predictions, Scores
from clue_runner.adapters.base import Adapter, AdapterSettings, MemoryFacts, Partials
from clue_runner.adapters.checks import (
    require_all_rows,
    require_answers,
    require_members,
    require_order,
    text_answers,
)
from clue_runner.adapters.shown.shown import Shown, ShownSpan, ShownText
from clue_runner.config.schema import Positive, Share
from clue_runner.data.cards import Submission
from clue_runner.data.readers.passages import read_passage_records
from clue_runner.data.records import Passage, PassagesRecord, Records
from clue_runner.data.sources import DataSource
from clue_runner.metrics.answers_short import score_short_answers
from clue_runner.metrics.votes import Spans, Vote, Voted, candidate_spans, gated_probabilities, vote
from clue_runner.submission.tables import table
from clue_runner.tokens.characters import CharacterTokenizer, count_characters, open_vectors, read_characters
from clue_runner.tokens.layouts.passages import Sampling, encode_passages, occurrences, sample_passages
from clue_runner.tokens.rows import Array, GoldAnswers, Rows

if TYPE_CHECKING:
    from clue_runner.models.heads.base import Head

LONGEST = 12  # default limit of characters in an answer
EVIDENCE_SHOWN = 3  # places shown with an answer


class Settings(AdapterSettings):
    """How texts are cropped and sampled, and how passages vote."""

    FORMER: ClassVar[Mapping[str, str]] = {
        "passage_crop": "data.passage_crop",
        "negative_share": "data.negative_share",
        "min_count": "data.min_count",
        "max_question_length": "data.max_question_length",
        "max_answer_length": "data.max_answer_length",
        "word_vectors": "model.word_vectors",
        "answer_threshold": "model.answer_threshold",
        "answer_vote": "model.answer_vote",
        "focal_alpha": "train.focal_alpha",
        "focal_gamma": "train.focal_gamma",
    }

    passage_crop: Positive | None = Field(
        default=256,
        description="most characters of a passage in training, cropped anew in each epoch; null: all",
    )
    negative_share: Share = Field(
        default=0.0, description="fraction of training draws that use a passage of another question"
    )
    min_count: Positive = Field(
        default=16, description="characters less frequent in train become unknown (2 for small data)"
    )
    max_question_length: Positive = Field(default=64, description="characters of a question; the rest is cut")
    max_answer_length: Positive | None = Field(
        default=LONGEST, description=f"most characters in a predicted answer; null: {LONGEST}"
    )
    word_vectors: str | None = Field(
        default=None,
        description="word2vec file, text or binary, added to the characters; null: characters only",
    )
    answer_threshold: Share = Field(
        default=0.1, description="minimum probability of both the first and last character of an answer"
    )
    answer_vote: Vote = Field(
        default="squares", description="how passages vote for an answer; squares: sum(s^2) / (1 + sum(s))"
    )
    focal_alpha: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.25, description="focal loss: weight of the positions where an answer begins or ends"
    )
    focal_gamma: Annotated[float, Field(ge=0)] = Field(
        default=2.0, description="focal loss: gamma, less weight for easy positions; 0: cross-entropy"
    )


class DgcnnReading(Adapter):
    """Questions over passages, without pre-trained weights."""

    chance_means = "the most frequent answer"
    settings_type = Settings
    settings: Settings
    family = "dgcnn"
    pretrained = ("words",)  # the map of word vectors, of a run that had some
    answers_questions = True

    # ------------------------------------------------------------------------ read

    def read(self, source: DataSource, split: str) -> Records[PassagesRecord]:
        """Return the questions of one split; wrong ones raise ``DataError`` with file:line."""
        return read_passage_records(self.card, source, split)

    def question_records(self, question: str, passages: Sequence[str]) -> Records[PassagesRecord]:
        """Return one question as the records of a split without labels."""
        record = PassagesRecord(0, question, tuple(Passage(text) for text in passages), None)
        content = "\x00".join((question, *passages)).encode()
        return Records("question", (record,), "question", hashlib.sha256(content).hexdigest(), 1)

    # ------------------------------------------------------------------------ encode

    def own_tokenizer(self, records: Mapping[str, Records[Any]]) -> CharacterTokenizer:
        """Return the tokenizer whose characters are those of train.

        Raises:
            DataError: no character is frequent enough, or the word vectors cannot be used.
        """
        texts = (
            text
            for record in records["train"].items
            for text in (record.question, *(passage.text for passage in record.passages))
        )
        vectors = open_vectors(self.settings.word_vectors)
        return CharacterTokenizer(count_characters(texts, self.settings.min_count), vectors)

    def load_own_tokenizer(self, path: Path) -> CharacterTokenizer:
        """Return the tokenizer of a saved run; ``path`` is its vocabulary."""
        return CharacterTokenizer(read_characters(path), open_vectors(self.settings.word_vectors))

    def encode(self, records: Records[PassagesRecord], tokenizer: CharacterTokenizer) -> Rows:
        """Return one row per passage, in record order; see ``tokens.passages``."""
        rows = encode_passages(
            records.items,
            tokenizer,
            max_length=self.run.data.max_length,
            max_question_length=self.settings.max_question_length,
        )
        longest = self.settings.max_answer_length or LONGEST
        gold, notes = _gold(records, rows, longest), dict(rows.notes)
        if gold.lost:
            notes[f"questions whose answers are cut off or longer than {longest} characters"] = gold.lost
        return replace(rows, notes=notes, host_columns=frozenset({"repeat"}), gold=gold)

    def epoch_rows(self, rows: Rows, seed: int, epoch: int) -> Rows:
        """Return one random passage per question, cut at random, new each epoch."""
        sampling = Sampling(self.settings.passage_crop, self.settings.negative_share)
        return sample_passages(rows, seed, epoch, sampling)

    # ------------------------------------------------------------------------ build

    def build(self, backbone: Any) -> Head:
        """Refuse: the network is the adapter's own."""
        raise NotImplementedError("this adapter has no backbone: use own_network")

    def own_network(self, *, vocab_size: int, precision: str) -> Head:
        """Return the network; ``vocab_size`` counts the rows of the character table."""
        from clue_runner.architectures.settings import build_backbone

        settings = self.settings
        vectors = open_vectors(settings.word_vectors)
        network: Head = build_backbone(
            self.run.model,
            vocab_size,
            precision=precision,
            seed=self.run.seed,
            vectors=None if vectors is None else vectors.table,
            focal=(settings.focal_alpha, settings.focal_gamma),
        )
        return network

    def memory_facts(self) -> MemoryFacts:
        """Return that every character is read."""
        return MemoryFacts(every_token=True)

    # ------------------------------------------------------------------------ decode

    def decode_batch(self, outputs: Mapping[str, Array], batch: Mapping[str, Array]) -> Sequence[Spans]:
        """Return the candidate spans of each passage from its logits."""
        start, end = gated_probabilities(*(np.asarray(outputs[name]) for name in ("gate", "start", "end")))
        threshold, longest = self.settings.answer_threshold, self.settings.max_answer_length or LONGEST
        return [
            candidate_spans(start[row, :length], end[row, :length], threshold=threshold, longest=longest)
            for row, length in enumerate(np.asarray(batch["lengths"]).tolist())
        ]

    def merge(self, partials: Partials, rows: Rows, records: Records[PassagesRecord]) -> Predictions:
        """Return the voted answer of each question, in file order; empty where no span is probable enough.

        Raises:
            RuntimeError: a passage has no row or a row no passage (our bug).
        """
        require_all_rows(partials, sum(len(record.passages) for record in records.items), records.file)
        answers, place = [], 0
        for record in records.items:
            spans = {number: partials[place + number] for number in range(len(record.passages))}
            place += len(record.passages)
            texts = [passage.text for passage in record.passages]
            answers.append(_prediction(record, vote(texts, spans, self.settings.answer_vote)))
        return answers

    def ensemble(self, members: Sequence[Predictions], records: Records[PassagesRecord]) -> Predictions:
        """Return the answers with the highest sum of votes over several runs; of equal ones the first run's.

        Raises:
            DataError: a member answers other records.
        """
        require_members(members, records)
        answers = []
        for index, record in enumerate(records.items):
            votes: dict[str, float] = {}
            best: dict[str, Prediction] = {}
            for member in members:
                given = member[index]
                votes[given.prediction] = votes.get(given.prediction, 0.0) + (given.probability or 0.0)
                best.setdefault(given.prediction, given)
            text = max(votes, key=lambda answer: votes[answer])
            share = votes[text] / len(members)
            answers.append(Prediction(record.id, text, share, evidence=best[text].evidence))
        return answers

    # ------------------------------------------------------------------------ score

    def score(self, predictions: Predictions, records: Records[PassagesRecord]) -> Scores:
        """Return exact, fuzzy (character F1) and mean score with their interval.

        Exact: the answer equals a reference but for width, case, punctuation and spaces. Both take the best
        reference. Chance: that of the most frequent first reference. The official scores use separate gold
        files: ``clue evaluate --gold``.

        Raises:
            DataError: the split is empty or has no answers, or an answer is not a text.
            RuntimeError: predictions are not aligned with the records (our bug).
        """
        require_answers(records, (record.answers for record in records.items))
        require_order(predictions, records)
        answers = list(text_answers(predictions, records).values())
        scores = score_short_answers(answers, [record.answers or () for record in records.items])
        metric = self.card.metric
        summed = scores.summed(metric)
        return Scores(metric, scores.values, scores.chance, summed.interval, len(records), summed)

    # ------------------------------------------------------------------------ submit

    def submit(self, predictions: Predictions, submission: Submission) -> bytes:
        """Return lines of id, tab and answer in file order, as the Sogou scoring tool reads them."""
        return table((prediction.id, prediction.prediction) for prediction in predictions)

    def show(self, record: PassagesRecord, prediction: Prediction) -> Shown:
        """Return the question and its passages, with every right answer and the evidence marked."""
        texts = [ShownText("question", record.question)]
        for number, passage in enumerate(record.passages):
            spans = [
                ShownSpan(place, place + len(answer), answer, "gold")
                for answer in passage.answers
                for place in occurrences(answer, passage.text)
            ]
            spans += [
                ShownSpan(start, end, passage.text[start:end], "predicted")
                for where, start, end, _ in prediction.evidence
                if where == number
            ]
            texts.append(ShownText(f"passage {number + 1}", passage.text, tuple(spans)))
        answer, references = str(prediction.prediction), record.answers
        exact = None if references is None else score_short_answers([answer], [references]).values["exact"]
        return Shown(
            id=record.id,
            texts=tuple(texts),
            answer=answer,
            gold=None if references is None else " / ".join(references),
            is_right=None if exact is None else exact == 100,
            probability=prediction.probability,
        )


def _gold(records: Records[PassagesRecord], rows: Rows, longest: int) -> GoldAnswers:
    """Return how many questions have answers, and how many of them no passage can give."""
    starts = np.asarray(rows.tokens["start_tags"], np.int64)
    places = np.flatnonzero((starts > 0) & (starts <= longest))
    owners = rows.record[np.searchsorted(rows.offsets, places, side="right") - 1]
    answered = np.array([bool(record.answers) for record in records.items], np.bool_)
    answerable = np.zeros(len(records), np.bool_)
    answerable[owners] = True
    return GoldAnswers(int(answered.sum()), int((answered & ~answerable).sum()))


def _prediction(record: PassagesRecord, voted: Sequence[Voted]) -> Prediction:
    """Return the answer with the highest vote and its places."""
    if not voted:
        return Prediction(record.id, "", 0.0)
    text, vote_sum, evidence = voted[0].text, voted[0].vote, voted[0].evidence[:EVIDENCE_SHOWN]
    places = tuple((place.passage, place.start, place.end, place.score) for place in evidence)
    return Prediction(record.id, text, vote_sum, evidence=places)
