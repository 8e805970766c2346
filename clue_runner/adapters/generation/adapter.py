"""Generates a text from one or two others: csl_title, cmrc_question.

In: a card, records, a tokenizer, a backbone.
Out: rows (source and target in one stream), a network, one text per record, scores, the answers as lines.
Knows nothing about training steps or files' places.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, cast

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
from clue_runner.adapters.shown.shown import Shown, ShownOption, ShownText
from clue_runner.architectures.base import load_architecture
from clue_runner.config.schema import Positive
from clue_runner.data.card import Submission, Template
from clue_runner.data.layouts import read_records
from clue_runner.data.records import Records, TargetRecord
from clue_runner.data.sources import DataSource
from clue_runner.metrics.confidence import mean_interval, summed_mean
from clue_runner.metrics.written import bleu, rouge
from clue_runner.submission.writers import json_lines
from clue_runner.tokens.layouts.joining import joined
from clue_runner.tokens.layouts.source_target import SOURCE, StreamLimits, encode_streams
from clue_runner.tokens.rows import Array, IntArray, Rows
from clue_runner.tokens.tokenizer import Tokenizer

if TYPE_CHECKING:
    from clue_runner.models.heads.base import Head

SILENT = ("[PAD]", "[UNK]", "[CLS]", "[MASK]")  # pieces that stand for no text


class Settings(AdapterSettings):
    """How long targets are, and how answers are searched."""

    max_target_length: Positive = Field(
        default=48, description="most tokens of a target, including its [SEP]; longer ones are cut"
    )
    max_leading_length: Positive = Field(
        default=48, description="most tokens of each text before the last one, such as the answer to ask for"
    )
    beam: Positive = Field(default=4, description="beam width; 1 is greedy and fastest")
    length_penalty: float = Field(
        default=1.0, description="length penalty: a sequence's score is divided by its length to this power"
    )
    min_target_length: Positive = Field(default=2, description="fewest tokens of an answer")


class Written(NamedTuple):
    """The sequences of one row, best first: token ids without the end, and mean log-probabilities."""

    tokens: list[list[int]]
    scores: list[float]


class Generation(Adapter):
    """Texts that are written."""

    chance_means = "the beginning of the text"
    pretrained: ClassVar[tuple[str, ...]] = ("masked_words",)
    settings_type = Settings
    settings: Settings

    @property
    def words(self) -> Tokenizer:
        """Return the tokenizer of the run.

        Raises:
            RuntimeError: there is none yet (our bug).
        """
        if self.tokenizer is None:
            raise RuntimeError(f"the adapter of {self.card.name} has no tokenizer to write with")
        return cast(Tokenizer, self.tokenizer)

    # ------------------------------------------------------------------------ read

    def read(self, source: DataSource, split: str) -> Records[TargetRecord]:
        """Return the records of one split; wrong ones raise ``DataError`` with file:line."""
        return read_records(self.card, source, split)

    # ------------------------------------------------------------------------ encode

    def encode(self, records: Records[TargetRecord], tokenizer: Tokenizer) -> Rows:
        """Return one row per record, see ``tokens.layouts.source_target``."""
        self.tokenizer = tokenizer
        own = self.settings
        limits = StreamLimits(self.run.data.max_length, own.max_target_length, own.max_leading_length)
        return encode_streams(records.items, tokenizer, limits, segments=self.run.model.segments)

    def tables(self, rows: Rows) -> Mapping[str, tuple[Array, int | IntArray]]:
        """Return the lengths of the sources; they must be in their rows."""
        return {"last token of the source": (np.asarray(rows.columns[SOURCE], np.int64) - 1, rows.lengths)}

    # ------------------------------------------------------------------------ build

    def build(self, backbone: Any) -> Head:
        """Return ``backbone`` with word scores, and with a search where the vocabulary is known."""
        from clue_runner.models.decoding.beam import Beam
        from clue_runner.models.heads.writing_head import Writing, WritingHead

        own, run, writing = self.settings, self.run, None
        if self.tokenizer is not None:
            beam = Beam(
                own.beam,
                own.max_target_length,
                self.words.sep_id,
                own.length_penalty,
                min(own.min_target_length, own.max_target_length),
            )
            forbidden = [self.words.token_id(piece) for piece in SILENT]
            writing = Writing(beam, forbidden, int(run.model.segments == "real"))
        return WritingHead(
            backbone,
            longest=own.max_target_length,
            writing=writing,
            transform=not load_architecture(run.model.family).shape.WRITES,
            dropout_rate=run.model.head_dropout,
            seed=run.seed,
        )

    def memory_facts(self) -> MemoryFacts:
        """Return that every token is read, the scores of a target, and the beams that are written."""
        own = self.settings
        return MemoryFacts(every_token=True, word_places=own.max_target_length, beams=own.beam)

    # ------------------------------------------------------------------------ decode

    def decode_batch(self, outputs: Mapping[str, Array], batch: Mapping[str, Array]) -> Sequence[Written]:
        """Return the sequences of each row, from ``tokens`` and ``scores``, cut at their end."""
        end = self.words.sep_id
        tokens = np.asarray(outputs["tokens"], np.int64).tolist()
        scores = np.asarray(outputs["scores"], np.float64).tolist()
        return [
            Written([one[: one.index(end)] if end in one else one for one in beams], own)
            for beams, own in zip(tokens, scores, strict=True)
        ]

    def merge(self, partials: Partials, rows: Rows, records: Records[TargetRecord]) -> Predictions:
        """Return one text per record in file order.

        Raises:
            RuntimeError: a record has no row or a row has no record (our bug).
        """
        require_all_rows(partials, len(records), records.file, "records")
        return [
            _prediction(record.id, self._texts(partials[index])) for index, record in enumerate(records.items)
        ]

    def _texts(self, written: Written) -> dict[str, float]:
        """Return the texts of a row with the geometric mean of their tokens' probabilities."""
        found: dict[str, float] = {}
        for tokens, score in zip(*written, strict=True):
            text = joined(self.words.pieces(tokens))
            found[text] = max(found.get(text, 0.0), float(np.exp(score)))
        return found

    def ensemble(self, members: Sequence[Predictions], records: Records[TargetRecord]) -> Predictions:
        """Return the texts with the highest mean probability over several runs; one not listed counts 0.

        Raises:
            DataError: a member answers other records.
        """
        require_members(members, records)
        answers = []
        for index, record in enumerate(records.items):
            chances: dict[str, float] = {}
            for member in members:
                for text, chance in member[index].alternatives:
                    chances[text] = chances.get(text, 0.0) + chance / len(members)
            answers.append(_prediction(record.id, chances))
        return answers

    # ------------------------------------------------------------------------ score

    def score(self, predictions: Predictions, records: Records[TargetRecord]) -> Scores:
        """Return Rouge-1, Rouge-2 and Rouge-L (F, over characters) and corpus BLEU.

        The chance score is that of the source's first characters, as many as the target has.

        Raises:
            DataError: the split has no targets, or an answer is not a text.
            RuntimeError: predictions are not aligned with the records (our bug).
        """
        require_answers(records, (record.target for record in records.items))
        require_order(predictions, records)
        answers = text_answers(predictions, records)
        written = [_plain(answers[index]) for index in range(len(records))]
        wanted = [_plain(record.target or "") for record in records.items]
        found = rouge(written, wanted)
        begins = [
            _plain(one.texts[-1])[: len(target)] for one, target in zip(records.items, wanted, strict=True)
        ]
        metric = self.card.metric
        return Scores(
            main=metric,
            values={
                **{name: float(values.mean()) for name, values in found.items()},
                "bleu": bleu(written, wanted),
            },
            chance=float(rouge(begins, wanted)[metric].mean()),
            confidence_interval=mean_interval(found[metric]),
            examples=len(records),
            summed=summed_mean(found[metric]),
        )

    # ------------------------------------------------------------------------ submit

    def submit(self, predictions: Predictions, submission: Submission) -> bytes:
        """Return JSON lines of ``id`` and the text in file order."""
        return json_lines(((prediction.id, prediction.prediction) for prediction in predictions), submission)

    def show(self, record: TargetRecord, prediction: Prediction) -> Shown:
        """Return the texts, what was written and the next best texts."""
        names = _text_names(self.card.template, len(record.texts))
        answer = str(prediction.prediction)
        right = None if record.target is None else _plain(answer) == _plain(record.target)
        return Shown(
            id=record.id,
            texts=tuple(ShownText(*pair) for pair in zip(names, record.texts, strict=True)),
            answer=answer,
            gold=record.target,
            is_right=right,
            probability=prediction.probability,
            options=tuple(
                ShownOption(
                    text,
                    chance,
                    text == answer,
                    None if record.target is None else _plain(text) == _plain(record.target),
                )
                for text, chance in prediction.alternatives
            ),
        )


def _prediction(name: int | str, chances: Mapping[str, float]) -> Prediction:
    """Return the best of several texts, the first among equals."""
    best = tuple(sorted(chances.items(), key=lambda item: -item[1]))
    text, chance = best[0] if best else ("", 0.0)
    return Prediction(name, text, chance, alternatives=best)


def _plain(text: str) -> str:
    """Return a text as the vocabulary writes it: lower-cased, spaces apart from words left out."""
    return "".join(text.lower().split())


def _text_names(template: Template | None, count: int) -> list[str]:
    """Return what each text is made of; an answer and its text where there is no template."""
    if template is None:
        return ["answer", "text"][-count:]
    names = [", ".join(Template(parts=[part]).used_fields) for part in template.parts]
    return [name or f"text {number}" for number, name in enumerate(names, start=1)]
