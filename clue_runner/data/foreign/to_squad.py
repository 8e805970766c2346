"""Converts CMRC2018's first layout and single SQuAD records into the SQuAD layout.

In: bytes. Out: one record per paragraph. Knows nothing about files, splits or models.

CMRC2018's first layout: a list of ``{context_id, context_text, title, qas}``, ``qas`` a list of ``{query_id,
query_text, answers}`` with answers as texts; an answer's offset is its first occurrence, -1 where it is
missing (it then counts for scoring only).
Single records: ``{id, context, question, answers: {text: [...], answer_start: [...]}}``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from clue_runner.data.card import Card
from clue_runner.data.foreign.converted import ConvertedFile, ConvertedRecord
from clue_runner.data.foreign.objects import parse_objects
from clue_runner.errors import Problem

NOWHERE = "answers appear nowhere in their context: they count for scoring and are not trained on"
SEVERAL = "answers appear more than once in their context: the first one is used"


class _RecordError(ValueError):
    """One record that cannot be converted."""


def to_squad(raw: bytes, path: str, card: Card, *, labelled: bool) -> ConvertedFile:
    """Return the paragraphs of a file.

    Args:
        raw: the file's bytes.
        path: its name in messages.
        card: the task; unused.
        labelled: whether questions must have answers.

    Raises:
        DataError: not JSON, or not a list of objects.
    """
    converted = ConvertedFile()
    counts = {NOWHERE: 0, SEVERAL: 0}
    paragraphs: dict[str, list[dict[str, Any]]] = {}
    for number, row in parse_objects(raw, path).rows:
        try:
            for context, question in _questions(row, number):
                question["answers"] = list(_answers(question["answers"], context, counts)) if labelled else []
                if labelled and not question["answers"]:
                    raise _RecordError(f"question {question['id']}: no answer")
                paragraphs.setdefault(context, []).append(question)
        except _RecordError as error:
            converted.problems.append(Problem(str(error), f"{path}, record {number}"))
    for place, (context, questions) in enumerate(paragraphs.items()):
        value = {"id": f"P{place}", "context": context, "qas": questions}
        converted.records.append(ConvertedRecord(value, context))
    converted.remarks = [f"{count:,} {what}" for what, count in counts.items() if count]
    return converted


def _questions(row: dict[str, Any], number: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (context, question with raw answers) of one record of either layout."""
    if "context_text" in row or "qas" in row:
        context = _text(row, "context_text")
        questions = row.get("qas")
        if not isinstance(questions, list) or not all(isinstance(asked, dict) for asked in questions):
            raise _RecordError("'qas' must be a list of objects")
        for asked in questions:
            name = _name(asked, "query_id", f"{number}")
            yield (
                context,
                {"id": name, "question": _text(asked, "query_text"), "answers": asked.get("answers", [])},
            )
    else:
        name = _name(row, "id", f"{number}")
        question = {"id": name, "question": _text(row, "question"), "answers": row.get("answers", [])}
        yield _text(row, "context"), question


def _answers(given: Any, context: str, counts: dict[str, int]) -> Iterator[dict[str, Any]]:
    """Yield answers with offsets: texts, objects, or one object of two lists."""
    if isinstance(given, dict):
        texts, starts = given.get("text"), given.get("answer_start")
        if not isinstance(texts, list) or not isinstance(starts, list) or len(texts) != len(starts):
            raise _RecordError("'answers' needs the lists 'text' and 'answer_start' of equal length")
        given = [{"text": text, "answer_start": start} for text, start in zip(texts, starts, strict=True)]
    if not isinstance(given, list):
        raise _RecordError(f"'answers' must be a list, got {given!r:.60}")
    for answer in given:
        if (
            isinstance(answer, dict)
            and isinstance(answer.get("text"), str)
            and type(answer.get("answer_start")) is int
        ):
            yield {"text": answer["text"], "answer_start": answer["answer_start"]}
        elif isinstance(answer, str) and answer:
            start = context.find(answer)
            counts[NOWHERE] += start < 0
            counts[SEVERAL] += start >= 0 and context.find(answer, start + 1) >= 0
            yield {"text": answer, "answer_start": start}
        else:
            raise _RecordError(f"an answer must be a string, got {answer!r:.60}")


def _text(row: dict[str, Any], key: str) -> str:
    """Return a required text."""
    value = row.get(key)
    if not isinstance(value, str) or not value.strip():
        raise _RecordError(f"{key!r} must be a string, got {value!r:.60}")
    return value


def _name(row: dict[str, Any], key: str, default: str) -> str:
    """Return an id as text."""
    value = row.get(key, default)
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise _RecordError(f"{key!r} must be a string or a number, got {value!r:.60}")
    return str(value)
