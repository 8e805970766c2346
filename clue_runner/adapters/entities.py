"""A text gets spans of several types: CLUENER2020.

In: a card whose labels are the types, records, a tokenizer, a backbone.
Out: rows, a network, each record's entities by character, scores, the submission's bytes.
Knows nothing about training steps or files' places.

A prediction is ``{type: {surface: [[start, end], ...]}}`` with inclusive ends, as the files write it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from clue_runner.adapters.answers import Prediction, Predictions, Scores
from clue_runner.adapters.base import Adapter, AdapterSettings, MemoryFacts, Partials
from clue_runner.adapters.checks import (
    label_numbers,
    place_of,
    require_all_rows,
    require_answers,
    require_members,
    require_order,
)
from clue_runner.adapters.shown.shown import Shown, ShownSpan, ShownText
from clue_runner.config.schema import Positive
from clue_runner.data.cards import Submission
from clue_runner.data.readers.entities import entities_of, read_entity_records
from clue_runner.data.records import Entity, EntityRecord, Records
from clue_runner.data.sources import DataSource
from clue_runner.errors import DataError, Problem
from clue_runner.metrics.entities import score_entities
from clue_runner.submission.writers import json_lines
from clue_runner.tokens.layouts.span_decoding import RowSpans, decode_spans, join_spans
from clue_runner.tokens.layouts.span_windows import SpanWindows
from clue_runner.tokens.layouts.spans import chars_to_tokens
from clue_runner.tokens.layouts.tags import TokenSpan, tag_count
from clue_runner.tokens.rows import Array, IntArray, Rows
from clue_runner.tokens.tokenizer import Tokenizer

if TYPE_CHECKING:
    from clue_runner.models.heads.base import Head

CharacterSpan = tuple[int, int, int]  # number of the type, first and last character


class Settings(AdapterSettings):
    """How spans are scored."""

    FORMER: ClassVar[Mapping[str, str]] = {"head": "model.entity_head", "head_size": "model.head_size"}

    head: Literal["globalpointer", "efficient", "crf", "softmax"] = Field(
        default="globalpointer",
        description="pointers to all spans, their efficient form, a CRF over tags, or single tags",
    )
    head_size: Annotated[int, Field(gt=0, multiple_of=2)] = Field(
        default=64, description="width of the vectors whose products score spans"
    )

    max_spans: Positive = Field(
        default=100, description="most entities kept per text, those with the highest scores"
    )

    @property
    def scores_spans(self) -> bool:
        """Return whether the head scores every pair of tokens."""
        return self.head in {"globalpointer", "efficient"}


class Entities(Adapter):
    """Texts with typed spans."""

    chance_means = "an answer without entities"
    settings_type = Settings
    settings: Settings

    # ------------------------------------------------------------------------ read

    def read(self, source: DataSource, split: str) -> Records[EntityRecord]:
        """Return the usable records of one split; bad ones raise ``DataError`` with file:line."""
        return read_entity_records(self.card, source, split)

    # ------------------------------------------------------------------------ encode

    def encode(self, records: Records[EntityRecord], tokenizer: Tokenizer) -> Rows:
        """Return one row per record, or per window of a text that is too long; see ``tokens.span_windows``.

        Entities that do not end at token boundaries cannot be learned. They are counted here and stay in
        the records, so that scoring counts them as missed.
        """
        types = (
            (place, one.type) for place, record in enumerate(records.items) for one in record.entities or ()
        )
        numbers = iter(label_numbers(records, types, self.card.label_names))
        encoded = tokenizer.encode_texts([record.text for record in records.items])
        by_tags = not self.settings.scores_spans
        windows = SpanWindows(tokenizer, self.run.data.max_length, by_tags)
        for index, (record, tokens) in enumerate(zip(records.items, encoded, strict=True)):
            spans: list[TokenSpan] = []
            for entity in record.entities or ():
                number, place = next(numbers), chars_to_tokens(tokens, entity.start, entity.end)
                if place is not None:
                    spans.append(TokenSpan(number, *place))
            windows.add(index, record.text, tokens, spans, lost=len(record.entities or ()) - len(spans))
        return windows.rows()

    def tables(self, rows: Rows) -> Mapping[str, tuple[Array, int | IntArray]]:
        """Return types, tags and places of the entities, and the tables that they are looked up in."""
        types, spans = len(self.card.labels), rows.columns["spans"]
        highest = np.maximum.reduceat(np.asarray(rows.tokens["tag"]), rows.offsets[:-1])
        return {
            "entity type": (spans[:, :, 0], types),
            "entity token": (spans[:, :, 1:], rows.lengths),
            "tag": (highest, tag_count(types)),
        }

    # ------------------------------------------------------------------------ build

    def build(self, backbone: Any) -> Head:
        """Return ``backbone`` with the head that ``task.head`` names."""
        from clue_runner.models.heads.entity_heads import PointerHead, TagHead

        kind, types = self.settings.head, len(self.card.labels)
        rate, seed = self.run.model.head_dropout, self.run.seed
        if not self.settings.scores_spans:
            return TagHead(backbone, tag_count(types), chain=kind == "crf", dropout_rate=rate, seed=seed)
        return PointerHead(
            backbone,
            types,
            head_size=self.settings.head_size,
            efficient=kind == "efficient",
            dropout_rate=rate,
            seed=seed,
        )

    def memory_facts(self) -> MemoryFacts:
        """Return that every token is read, and one table of spans for each type where pointers score them."""
        return MemoryFacts(True, len(self.card.labels) if self.settings.scores_spans else 0)

    # ------------------------------------------------------------------------ decode

    def decode_batch(self, outputs: Mapping[str, Array], batch: Mapping[str, Array]) -> Sequence[RowSpans]:
        """Return the best entities of each row in characters of its text."""
        return decode_spans(outputs, batch, self.settings.max_spans)

    def merge(self, partials: Partials, rows: Rows, records: Records[EntityRecord]) -> Predictions:
        """Return one prediction per record in file order; a record's windows are merged.

        Raises:
            RuntimeError: a record has no row or a row has no record (our bug).
        """
        require_all_rows(partials, len(rows), records.file)
        windows: list[list[RowSpans]] = [[] for _ in records.items]
        for index, record in enumerate(rows.record.tolist()):
            windows[record].append(partials[index])
        texts = [join_spans(own, self.settings.max_spans) for own in windows]
        return [
            Prediction(record.id, self._label(record.text, text.spans.tolist()), left_out=text.left_out)
            for record, text in zip(records.items, texts, strict=True)
        ]

    def answer_notes(self, predictions: Predictions) -> dict[str, int]:
        """Return how many entities were left out of the answers."""
        left_out = sum(prediction.left_out for prediction in predictions)
        most = self.settings.max_spans
        return (
            {f"entities left out beside the {most} best of a text (task.max_spans)": left_out}
            if left_out
            else {}
        )

    def ensemble(self, members: Sequence[Predictions], records: Records[EntityRecord]) -> Predictions:
        """Return the entities that more than half of several runs found.

        Raises:
            DataError: a member answers other records.
        """
        require_members(members, records)
        numbers = {name: number for number, name in enumerate(self.card.label_names)}
        answers = []
        for index, record in enumerate(records.items):
            votes: dict[CharacterSpan, int] = {}
            for member in members:
                for entity in self._entities(member[index], record, place_of(records, index)):
                    key = (numbers[entity.type], entity.start, entity.end)
                    votes[key] = votes.get(key, 0) + 1
            chosen = [entity for entity, count in votes.items() if 2 * count > len(members)]
            answers.append(Prediction(record.id, self._label(record.text, chosen)))
        return answers

    def _label(self, text: str, entities: Iterable[CharacterSpan]) -> dict[str, dict[str, list[list[int]]]]:
        """Return entities as the files write them: types in the card's order, mentions in the text's."""
        label: dict[str, dict[str, list[list[int]]]] = {}
        for kind, start, end in sorted({(kind, start, end) for kind, start, end in entities}):
            mentions = label.setdefault(self.card.label_names[kind], {})
            mentions.setdefault(text[start : end + 1], []).append([start, end])
        return label

    def _entities(self, prediction: Prediction, record: EntityRecord, where: str) -> tuple[Entity, ...]:
        """Return a prediction's entities.

        Raises:
            DataError: it names other types, or spans that are not the text's.
        """
        entities, faults = entities_of(prediction.prediction, record.text, self.card.label_names)
        if faults:
            raise DataError(
                f"the answer to record {record.id!r} cannot be used",
                where=where,
                problems=[Problem(fault, where) for fault in faults],
                next_step="ends are inclusive, offsets count characters from 0",
            )
        return entities

    # ------------------------------------------------------------------------ score

    def score(self, predictions: Predictions, records: Records[EntityRecord]) -> Scores:
        """Return the three F1 scores, precision and recall (strict, micro), and each type's F1.

        The chance score is that of an answer without entities: 0, in all three.

        Raises:
            DataError: the split has no labels, or an answer is not of the right form.
            RuntimeError: predictions are not aligned with the records (our bug).
        """
        require_answers(records, (record.entities for record in records.items))
        require_order(predictions, records)
        answers = [
            self._entities(prediction, record, place_of(records, index))
            for index, (prediction, record) in enumerate(zip(predictions, records.items, strict=True))
        ]
        gold = [record.entities or () for record in records.items]
        scores = score_entities(answers, gold, self.card.label_names)
        values = {
            "site_macro_f1": scores.site_macro_f1,
            "strict_macro_f1": scores.strict_macro_f1,
            "strict_micro_f1": scores.strict_micro_f1,
            "strict_precision": scores.precision,
            "strict_recall": scores.recall,
        }
        for name, one in scores.by_type.items():
            values |= {
                f"{kind}/{name}": value
                for kind, value in (("site_f1", one.site_f1), ("strict_f1", one.strict_f1))
                if value is not None
            }
        return Scores(
            main=self.card.metric,
            values=values,
            chance=0.0,
            confidence_interval=scores.summed[self.card.metric].interval,
            examples=len(gold),
            summed=scores.summed[self.card.metric],
        )

    # ------------------------------------------------------------------------ submit

    def submit(self, predictions: Predictions, submission: Submission) -> bytes:
        """Return JSON lines of ``id`` and ``label`` in file order: types, surfaces and spans."""
        return json_lines(((prediction.id, prediction.prediction) for prediction in predictions), submission)

    def show(self, record: EntityRecord, prediction: Prediction) -> Shown:
        """Return the text with the gold and the predicted entities marked."""
        predicted = self._entities(prediction, record, f"id {record.id}")
        gold = record.entities
        spans = (*self._marked(gold or (), "gold"), *self._marked(predicted, "predicted"))
        return Shown(
            id=record.id,
            texts=(ShownText("text", record.text, spans),),
            answer=self._words(predicted),
            gold=None if gold is None else self._words(gold),
            is_right=None if gold is None else set(predicted) == set(gold),
        )

    def _marked(
        self, entities: Iterable[Entity], role: Literal["gold", "predicted"]
    ) -> tuple[ShownSpan, ...]:
        """Return entities as marked pieces of the text."""
        return tuple(
            ShownSpan(entity.start, entity.end + 1, self.label_words(entity.type), role)
            for entity in entities
        )

    def _words(self, entities: Iterable[Entity]) -> str:
        """Return entities on one line in the text's order."""
        ordered = sorted(entities, key=lambda entity: (entity.start, entity.end))
        return ", ".join(f"{entity.surface} {self.label_words(entity.type)}" for entity in ordered)
